"""The process that CPython's contestants of group managers run in.

Writes `ready 0 VERSION`, then answers each line `run METHOD WORDS N` with the seconds that doing it N times took, or with
`failed: ` and the reason. There are one server and its clients at a time: those of the last contestant.
"""

import multiprocessing
import time
from multiprocessing.managers import BaseManager, SyncManager

from runner import answer_all

KEY = b"what all know, in 32 bytes of it"
KEYS = 64


def manager_at(place):
    """A manager, by a Unix socket or by TCP."""
    manager = SyncManager(address=("127.0.0.1", 0), authkey=KEY) if place == "tcp" else SyncManager(authkey=KEY)
    manager.start()
    return manager


def setter(entries, client):
    """What sets so many keys, one after the other and again, to one number after the other."""
    names = [f"{client}:key:{key:02}" for key in range(KEYS)]
    count = 0

    def part(times):
        nonlocal count
        began = time.perf_counter()
        for count in range(count, count + times):
            entries[names[count % KEYS]] = count
        took = time.perf_counter() - began
        if entries[names[count % KEYS]] != count:
            raise RuntimeError("a key has another number than it was set to")
        count += 1
        return took

    return part


def one(place):
    """One client."""
    manager = manager_at(place)
    part = setter(manager.dict(), 0)
    return part, manager.shutdown


def member(entries, client, pipe):
    """A child: sets its keys whenever it is told to, until nobody can."""
    part = setter(entries, client)
    while True:
        try:
            times = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(part(times))
        except Exception as error:  # Whatever it is, whoever asked has to know.
            pipe.send(repr(error))


def four(place):
    """Four clients at once."""
    multiprocessing.current_process().authkey = KEY
    manager = manager_at(place)
    entries = manager.dict()
    pipes = []
    for client in range(4):
        ours, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=member, args=(entries, client, theirs), daemon=True).start()
        theirs.close()
        pipes.append(ours)

    def runs(times):
        each = -(-times // 4)
        began = time.perf_counter()
        for pipe in pipes:
            pipe.send(each)
        for pipe in pipes:
            said = pipe.recv()
            if isinstance(said, str):
                raise RuntimeError(f"a client says: {said}")
        return (time.perf_counter() - began) * times / (4 * each)

    def end():
        for pipe in pipes:
            pipe.close()
        manager.shutdown()

    return runs, end


def queue():
    """An item goes in, and comes out."""
    manager = manager_at("unix")
    items = manager.Queue()

    def runs(times):
        began = time.perf_counter()
        for number in range(times):
            items.put(number)
            if items.get() != number:
                raise RuntimeError("another item has come out")
        return time.perf_counter() - began

    return runs, manager.shutdown


class Counter:
    """A type of one's own."""

    def __init__(self):
        self.number = 0

    def add(self, by):
        self.number += by
        return self.number


class OwnManager(BaseManager):
    """A manager that has it."""


OwnManager.register("Counter", Counter)


def method():
    """A method of a type that the server was given."""
    manager = OwnManager(authkey=KEY)
    manager.start()
    counter = manager.Counter()
    number = 0

    def runs(times):
        nonlocal number
        began = time.perf_counter()
        for _ in range(times):
            number += 7
            if counter.add(7) != number:
                raise RuntimeError("it has counted to something else")
        return time.perf_counter() - began

    return runs, manager.shutdown


def lock():
    """A lock that nobody else wants."""
    manager = manager_at("unix")
    one_lock = manager.Lock()

    def runs(times):
        began = time.perf_counter()
        for _ in range(times):
            with one_lock:
                pass
        return time.perf_counter() - began

    return runs, manager.shutdown


def start(words):
    """Starts those who do what is asked."""
    match words:
        case ["set" | "later", place]:
            return one(place)
        case ["four", place]:
            return four(place)
        case ["queue"]:
            return queue()
        case ["method"]:
            return method()
        case ["lock"]:
            return lock()
    raise ValueError("there is no such contestant")


def main():
    """Answers, and ends each server before the next one begins."""
    held = (None, None, lambda: None)

    def run(words, times):
        nonlocal held
        if held[0] != words:
            held[2]()
            held = (None, None, lambda: None)
            held = (words, *start(words))
        return held[1](times)

    try:
        answer_all(run)
    finally:
        held[2]()


if __name__ == "__main__":
    main()
