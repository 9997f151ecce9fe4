"""The process that CPython's contestants of group strangers run in.

Writes `ready 0 VERSION`, then answers each line `run METHOD WORDS N` with the seconds that doing it N times took, or with
`failed: ` and the reason. Processes that take part are started once, and told each time.
"""

import multiprocessing
import os
import time
from multiprocessing.connection import Client, Listener

from runner import answer_all, started_once

KEY = b"what both know, in 32 bytes of it"

# In a run of so few every byte is looked at: the first ones, which do not count.
LOOKED_THROUGH_MAX = 2


def echo(address):
    """A child's part: sends back what comes."""
    connection = Client(address, authkey=KEY)

    def part(times):
        for _ in range(times):
            connection.send_bytes(connection.recv_bytes())
        return times

    return part


def caller(address):
    """A child's part: connects, and closes the connection when it is one."""

    def part(times):
        for _ in range(times):
            Client(address, authkey=KEY).close()
        return times

    return part


def member(make, address, pipe):
    """A child: does its part whenever it is told to, until nobody can."""
    part = make(address)
    while True:
        try:
            times = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(part(times))
        except Exception as error:  # Whatever it is, whoever asked has to know.
            pipe.send(repr(error))


def start_other(make, address):
    """Starts the process at the other end; the pipe by which it is told."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.Process(target=member, args=(make, address, theirs), daemon=True).start()
    theirs.close()
    return ours


def answer(other):
    """What it has answered, when it is through."""
    said = other.recv()
    if isinstance(said, str):
        raise RuntimeError(f"the other process says: {said}")
    return said


def back(listener, size):
    """A numbered message goes to another process and comes back."""
    other = start_other(echo, listener.address)
    connection = listener.accept()
    message = bytearray((at ^ (at >> 8)) & 0xFF | 1 for at in range(size))

    def runs(times):
        began = time.perf_counter()
        other.send(times)
        for number in range(times):
            mark = number.to_bytes(8, "little")
            message[:8] = message[size // 2 : size // 2 + 8] = mark
            connection.send_bytes(message)
            came = connection.recv_bytes()
            if came[:8] != mark or (times <= LOOKED_THROUGH_MAX and came != message):
                raise RuntimeError(f"message {number} has come back as another")
        answer(other)
        return time.perf_counter() - began

    return runs


def meet(listener):
    """One connection after the other is made."""
    other = start_other(caller, listener.address)

    def runs(times):
        began = time.perf_counter()
        other.send(times)
        for _ in range(times):
            listener.accept().close()
        answer(other)
        return time.perf_counter() - began

    return runs


def start(words):
    """Starts those who do what is asked."""
    where, *words = words
    name = "\0procession-bench-python-" + "-".join([str(os.getpid()), *words])
    address = ("127.0.0.1", 0) if where == "tcp" else name
    listener = Listener(address, authkey=KEY, backlog=128)
    match words:
        case ["back", size]:
            return back(listener, int(size))
        case ["meet"]:
            return meet(listener)
    raise ValueError("there is no such contestant")


if __name__ == "__main__":
    answer_all(started_once(start))
