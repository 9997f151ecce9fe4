"""The process that CPython's contestants of group shared_memory run in.

Writes `ready 0 VERSION`, then answers each line `run METHOD WORDS N` with the seconds that doing it N times took, or with
`failed: ` and the reason.
"""

import multiprocessing
import sys
import time
from multiprocessing.shared_memory import SharedMemory

from runner import answer_all


def last(name, size):
    """The child: opens the segment by its name, and looks at the last byte."""
    segment = SharedMemory(name=name)
    value = segment.buf[size - 1]
    segment.close()
    sys.exit(0 if value == 42 else 1)


def share(size, method, times):
    """Starts children that get a segment, and joins them."""
    context = multiprocessing.get_context(method)
    segment = SharedMemory(create=True, size=size)
    try:
        segment.buf[size - 1] = 42
        began = time.perf_counter()
        for _ in range(times):
            child = context.Process(target=last, args=(segment.name, size))
            child.start()
            child.join()
            if child.exitcode != 0:
                raise RuntimeError(f"the child ended with {child.exitcode}")
        return time.perf_counter() - began
    finally:
        segment.close()
        segment.unlink()


def create(size, times):
    """Creates, closes and unlinks segments."""
    began = time.perf_counter()
    for _ in range(times):
        segment = SharedMemory(create=True, size=size)
        segment.close()
        segment.unlink()
    return time.perf_counter() - began


def attach(size, times):
    """Opens and closes one segment, again and again."""
    segment = SharedMemory(create=True, size=size)
    try:
        began = time.perf_counter()
        for _ in range(times):
            SharedMemory(name=segment.name).close()
        return time.perf_counter() - began
    finally:
        segment.close()
        segment.unlink()


def run(words, times):
    """Does what it is asked so many times, and says how many seconds it took."""
    match words:
        case ["share", size, method]:
            return share(int(size), method, times)
        case ["create", size]:
            return create(int(size), times)
        case ["open", size]:
            return attach(int(size), times)
    raise ValueError("there is no such contestant")


if __name__ == "__main__":
    answer_all(run)
