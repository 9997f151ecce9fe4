"""The process that CPython's contestants of group start_methods run in.

Called with a number of MiB, which it holds. Writes `ready RESIDENT_KIB VERSION`, then answers each line
`run METHOD N` with the seconds that starting and joining N children took, or with `failed: ` and the reason.
"""

import multiprocessing
import sys
import time

from runner import answer_all


def nothing():
    """The empty target."""


def start_and_join(context, times):
    """Returns how many seconds so many children took."""
    began = time.perf_counter()
    for _ in range(times):
        child = context.Process(target=nothing)
        child.start()
        child.join()
        if child.exitcode != 0:
            raise RuntimeError(f"the child ended with {child.exitcode}")
    return time.perf_counter() - began


def resident_kib():
    """How much of this process's memory is there, as the kernel counts."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def run(words, times):
    """Does what it is asked so many times, and says how many seconds it took."""
    (method,) = words
    return start_and_join(multiprocessing.get_context(method), times)


if __name__ == "__main__":
    held = bytearray(b"\x01") * (int(sys.argv[1]) << 20)
    answer_all(run, resident_kib())
