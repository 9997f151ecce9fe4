"""How the scripts beside this one are asked and answer, as `src/runner.rs` tells it."""

import platform
import sys
import time


def answer_all(run, resident_kib=0):
    """Says that this process is ready, then calls `run` with the words and the number of each line."""
    print("ready", resident_kib, platform.python_implementation(), platform.python_version(), flush=True)
    for line in sys.stdin:
        _, *words, times = line.split()
        try:
            answer = run(words, int(times))
        except Exception as error:  # Whatever it is, whoever asked has to know.
            answer = f"failed: {error!r}"
        print(answer, flush=True)


def started_once(start):
    """What to run: what `start` gives for the words, which it is asked once for."""
    started = {}

    def run(words, times):
        name = tuple(words)
        if name not in started:
            started[name] = start(words)
        return started[name](times)

    return run


def timed(once):
    """Does a thing so many times, and says how many seconds that took."""

    def runs(times):
        began = time.perf_counter()
        for _ in range(times):
            once()
        return time.perf_counter() - began

    return runs
