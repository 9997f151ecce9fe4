"""The process that CPython's contestants of group pool run in.

Writes `ready 0 VERSION`, then answers each line `run METHOD WORDS N` with the seconds that doing it N times took, or with
`failed: ` and the reason. One contestant has workers at a time: the last one that was asked for.
"""

import functools
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from runner import answer_all, timed

BATCH = 1000
ITEMS = 1_000_000
LARGE = 64 << 20
PART = LARGE // 16
LONG_CALLS = 400


def square(number):
    """The number that a task is given comes back as its square."""
    return number * number


def short_call(number):
    """Takes about 100 ns."""
    return (number * 3 ^ 1) * 3 ^ 2


def long_call(number):
    """Takes about 100 us."""
    total = number
    for step in range(1200):
        total = (total * 3 ^ step) & 0xFFFFFFFF
    return total


def look(data):
    """What is said of a large argument."""
    return len(data), sum(data[::PART])


def sleep():
    """Goes on until it is killed."""
    time.sleep(600)


def begin(path):
    """Says that it has begun, and is killed then."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as said:
        said.sendto(os.getpid().to_bytes(4, sys.byteorder), path)
    sleep()


def same(result, expected):
    """Refuses what is not what it must be."""
    if result != expected:
        raise RuntimeError(f"{result!r:.100} came instead of {expected!r:.100}")


class Ear:
    """Hears of tasks that have begun."""

    def __init__(self):
        self.path = os.path.join(tempfile.gettempdir(), f"procession-bench-pool-python-{os.getpid()}")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(10)

    def kill(self):
        """Waits until a task has begun, and kills its process."""
        os.kill(int.from_bytes(self.socket.recv(4), sys.byteorder), signal.SIGKILL)

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def new_executor(workers):
    """An executor whose workers have done a task each."""
    executor = ProcessPoolExecutor(workers)
    for future in [executor.submit(long_call, 1) for _ in range(2 * workers)]:
        future.result()
    return executor


def new_pool(workers):
    """The same as a pool."""
    pool = multiprocessing.Pool(workers)
    pool.map(long_call, range(2 * workers), chunksize=1)
    return pool


def end(pool):
    """Ends a pool or an executor."""
    if isinstance(pool, ProcessPoolExecutor):
        pool.shutdown(cancel_futures=True)
    else:
        pool.terminate()
        pool.join()


def made(method):
    """A pool of two for one task."""

    def once():
        pool = multiprocessing.get_context(method).Pool(2)
        same(pool.apply(square, (7,)), 49)
        pool.close()
        pool.join()

    return timed(once), []


def round_trip(who):
    """One task after the other."""
    if who == "executor":
        pool = new_executor(2)
        once = lambda: same(pool.submit(square, 7).result(), 49)
    else:
        pool = new_pool(2)
        once = lambda: same(pool.apply(square, (7,)), 49)
    return timed(once), [pool]


def batch():
    """Many tasks at once, which are taken as they complete."""
    executor = new_executor(2)
    expected = sum(map(square, range(BATCH)))

    def once():
        futures = [executor.submit(square, number) for number in range(BATCH)]
        same(sum(future.result() for future in as_completed(futures)), expected)

    return timed(once), [executor]


def single(who):
    """A map in chunks of one."""
    pool = new_executor(2) if who == "executor" else new_pool(2)
    expected = list(map(square, range(BATCH)))
    return timed(lambda: same(list(pool.map(square, range(BATCH), chunksize=1)), expected)), [pool]


def many(work):
    """A map of many items."""
    pool = new_pool(2)
    function = {"squares": square, "calls": short_call}[work]
    expected = list(map(function, range(ITEMS)))
    return timed(lambda: same(pool.map(function, range(ITEMS)), expected)), [pool]


def large():
    """A large argument, which is made before the clock runs."""
    pool = new_pool(2)
    number = 0

    def runs(times):
        nonlocal number
        took = 0
        for _ in range(times):
            number = (number + 1) % 256
            data = bytearray(b"\x01") * LARGE
            data[::PART] = bytes([number]) * 16
            data = bytes(data)
            began = time.perf_counter()
            looked = pool.apply(look, (data,))
            took += time.perf_counter() - began
            same(looked, (LARGE, 16 * number))
        return took

    runs(1)
    return runs, [pool]


def killed(ear):
    """A worker is killed, of two: its executor is lost."""

    def runs(times):
        took = 0
        for _ in range(times):
            executor = new_executor(2)
            future = executor.submit(begin, ear.path)
            ear.kill()
            began = time.perf_counter()
            same(type(future.exception()), BrokenProcessPool)
            took += time.perf_counter() - began
            executor.shutdown()
        return took

    return runs, [ear]


def replaced(ear):
    """The only worker is killed; a new executor does the next task."""
    executor = new_executor(1)

    def runs(times):
        nonlocal executor
        took = 0
        for _ in range(times):
            future = executor.submit(begin, ear.path)
            ear.kill()
            began = time.perf_counter()
            same(type(future.exception()), BrokenProcessPool)
            executor = ProcessPoolExecutor(1)
            same(executor.submit(square, 3).result(), 9)
            took += time.perf_counter() - began
        return took

    return runs, [ear]


def resident():
    """How many bytes of this process's memory are there."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))


def waiting(tasks, times):
    """What each of many tasks takes of a process's memory while they wait, a millisecond for a byte.

    That process is new each time, so that it has no memory left from before.
    """
    total = 0
    for _ in range(times):
        told, telling = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("spawn").Process(target=memory_of_waiting, args=(tasks, telling))
        child.start()
        total += told.recv()
        child.join()
    return total / 1e3


def memory_of_waiting(tasks, telling):
    """Says what each of so many tasks takes. Their handles are kept."""
    executor = new_executor(1)
    futures = [executor.submit(sleep)]
    before = resident()
    for number in range(tasks):
        futures.append(executor.submit(square, number))
    telling.send((resident() - before) // tasks)
    for process in list(executor._processes.values()):
        process.kill()
    executor.shutdown()


def divided(who):
    """Work that two workers divide, or one process does."""
    expected = list(map(long_call, range(LONG_CALLS)))
    if who == "serial":
        return timed(lambda: same(list(map(long_call, range(LONG_CALLS))), expected)), []
    pool = new_pool(2)
    return timed(lambda: same(pool.map(long_call, range(LONG_CALLS)), expected)), [pool]


def processor_time(pids):
    """How many seconds processors have worked for these processes."""
    nanos = 0
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as stat:
                nanos += int(stat.read().split()[0])
    return nanos / 1e9


def idle():
    """A pool of eight that has nothing to do: how long processors work for it in 1,000 s."""
    pool = new_pool(8)
    time.sleep(0.1)
    pids = [os.getpid(), *(process.pid for process in pool._pool)]

    def runs(times):
        took = 0
        for _ in range(times):
            before = processor_time(pids)
            time.sleep(0.5)
            took += 2000 * (processor_time(pids) - before)
        return took

    return runs, [pool]


def start(words):
    """Starts those who do what is asked, and has each of them do a task; what it gives besides is to be ended."""
    match words:
        case ["made", method]:
            return made(method)
        case ["round-trip", who]:
            return round_trip(who)
        case ["batch", "executor"]:
            return batch()
        case ["single", who]:
            return single(who)
        case ["many", "pool", work]:
            return many(work)
        case ["large", "pool"]:
            return large()
        case ["killed", "executor"]:
            return killed(Ear())
        case ["replaced", "executor"]:
            return replaced(Ear())
        case ["waiting", "executor", tasks]:
            return functools.partial(waiting, int(tasks)), []
        case ["divided", who]:
            return divided(who)
        case ["idle", "pool"]:
            return idle()
    raise ValueError("there is no such contestant")


held = {}


def end_held():
    """Ends the workers that there are."""
    for _, kept in held.values():
        for one in kept:
            one.close() if isinstance(one, Ear) else end(one)
    held.clear()


def run(words, times):
    """Does what it is asked so many times, and says how many seconds it took."""
    name = tuple(words)
    if name not in held:
        end_held()
        held[name] = start(words)
    return held[name][0](times)


if __name__ == "__main__":
    answer_all(run)
    end_held()
