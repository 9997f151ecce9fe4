"""The process that CPython's contestants of group locks run in.

Writes `ready 0 VERSION`, then answers each line `run METHOD WORDS N` with the seconds that doing it N times took, or with
`failed: ` and the reason. Processes that do something at the same time are started once, and told each time.
"""

import multiprocessing
import time

from runner import answer_all


class UnderLock:
    """A number that is increased by whoever has a lock."""

    def __init__(self):
        self.lock = multiprocessing.Lock()
        self.number = multiprocessing.RawValue("Q", 0)

    def part(self, _, times):
        """One process's part."""
        for _ in range(times):
            with self.lock:
                self.number.value += 1

    def done(self):
        """How many times all processes have done it."""
        return self.number.value


class Counted:
    """A value with a lock of its own, as the manual increases it."""

    def __init__(self):
        self.value = multiprocessing.Value("q", 0)

    def part(self, _, times):
        """One process's part."""
        for _ in range(times):
            with self.value.get_lock():
                self.value.value += 1

    def done(self):
        """How many times all processes have done it."""
        return self.value.value


class Events:
    """Two events: there, and back."""

    def __init__(self):
        self.events = [multiprocessing.Event(), multiprocessing.Event()]
        self.turns = multiprocessing.Array("Q", 2)

    def part(self, who, times):
        """One process's part."""
        own, other = self.events[who], self.events[1 - who]
        for _ in range(times):
            if who == 0:
                other.set()
            own.wait()
            own.clear()
            if who == 1:
                other.set()
        self.turns[who] += times

    def done(self):
        """How many times both processes have gone."""
        if any(event.is_set() for event in self.events):
            raise RuntimeError("an event was left behind")
        return sum(self.turns)


class Semaphores:
    """Two semaphores: there, and back."""

    def __init__(self):
        self.semaphores = [multiprocessing.Semaphore(0), multiprocessing.Semaphore(0)]
        self.turns = multiprocessing.Array("Q", 2)

    def part(self, who, times):
        """One process's part."""
        own, other = self.semaphores[who], self.semaphores[1 - who]
        for _ in range(times):
            if who == 0:
                other.release()
            own.acquire()
            if who == 1:
                other.release()
        self.turns[who] += times

    def done(self):
        """How many times both processes have gone."""
        return sum(self.turns)


def member(work, who, pipe):
    """A child: does its part whenever it is told to, until nobody can."""
    while True:
        try:
            times = pipe.recv()
        except EOFError:
            return
        try:
            work.part(who, times)
            pipe.send(None)
        except Exception as error:  # Whatever it is, whoever asked has to know.
            pipe.send(repr(error))


class Gang:
    """Processes that do the same thing at the same time."""

    def __init__(self, work, processes):
        self.work = work
        self.pipes = []
        for who in range(1, processes):
            ours, theirs = multiprocessing.Pipe()
            multiprocessing.Process(target=member, args=(work, who, theirs), daemon=True).start()
            theirs.close()
            self.pipes.append(ours)

    def share(self, times):
        """So many times in all, as evenly as it goes: how long that would take if it went exactly."""
        processes = len(self.pipes) + 1
        each = -(-times // processes)
        before = self.work.done()
        began = time.perf_counter()
        for pipe in self.pipes:
            pipe.send(each)
        self.work.part(0, each)
        for pipe in self.pipes:
            answer = pipe.recv()
            if answer is not None:
                raise RuntimeError(f"a process of the gang says: {answer}")
        took = time.perf_counter() - began
        done = self.work.done() - before
        if done != processes * each:
            raise RuntimeError(f"{done} times were counted, not {processes} times {each}")
        return took * times / done


def alone(times):
    """A lock that nobody else is at."""
    lock = multiprocessing.Lock()
    with lock:
        if lock.acquire(block=False):
            raise RuntimeError("taken twice")
    began = time.perf_counter()
    for _ in range(times):
        with lock:
            pass
    return time.perf_counter() - began


def set_event(times, clears):
    """An event that is set again and again."""
    event = multiprocessing.Event()
    began = time.perf_counter()
    if clears:
        for _ in range(times):
            event.set()
            event.clear()
    else:
        for _ in range(times):
            event.set()
    took = time.perf_counter() - began
    if event.is_set() == clears:
        raise RuntimeError("the event is not what was done to it")
    return took


WORK = {
    ("crowd", "lock"): UnderLock,
    ("count", "value"): Counted,
    ("to-and-fro", "event"): Events,
    ("to-and-fro", "semaphore"): Semaphores,
}

gangs = {}


def run(words, times):
    """Does what it is asked so many times, and says how many seconds it took."""
    match words:
        case ["alone", "lock"]:
            return alone(times)
        case ["set", "event"]:
            return set_event(times, clears=False)
        case ["set-clear", "event"]:
            return set_event(times, clears=True)
        case [verb, what, *processes] if (verb, what) in WORK:
            name = tuple(words)
            if name not in gangs:
                gangs[name] = Gang(WORK[verb, what](), int(processes[0]) if processes else 2)
            return gangs[name].share(times)
    raise ValueError("there is no such contestant")


if __name__ == "__main__":
    answer_all(run)
