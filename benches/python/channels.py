"""The process that CPython's contestants of group channels run in.

Writes `ready 0 VERSION`, then answers each line `run METHOD WORDS N` with the seconds that doing it N times took, or with
`failed: ` and the reason. Processes that take part are started once, and told each time.
"""

import array
import multiprocessing
import time
from multiprocessing.connection import Connection

from runner import answer_all, started_once

LARGE = 1 << 20
PARTS = 16

# Longer than anybody who waits goes on looking before it sleeps, and one of so many round trips is made.
PAUSE = 0.0003
ASLEEP_SHARE = 16

# In a run of so few every byte is looked at: the first ones, which do not count.
LOOKED_THROUGH_MAX = 2

# How many large items are under way at most.
UNDER_WAY = 8


class Number:
    """A number by itself."""

    def numbered(self, number):
        """The item of this number."""
        return number

    fresh = numbered

    def number(self, item):
        """An item's number."""
        return item


class Large:
    """Much of something, with a number at the beginning of each of its parts."""

    def __init__(self, item, mark):
        self.item = item
        self.mark = mark
        self.part = len(item) // PARTS

    def numbered(self, number):
        """The item of this number: the same one, each time."""
        mark = self.mark(number)
        for at in range(0, len(self.item), self.part):
            self.item[at : at + len(mark)] = mark
        return self.item

    def fresh(self, number):
        """A copy: a queue's thread pickles it when `put` has returned."""
        item = self.numbered(number)
        return bytes(item) if isinstance(item, bytearray) else item[:]

    def number(self, item):
        """An item's number, which is told by the item itself only if it stands at all places."""
        mark = item[: len(self.mark(0))]
        places = range(0, len(self.item), self.part)
        if len(item) != len(self.item) or any(item[at : at + len(mark)] != mark for at in places):
            raise RuntimeError("an item has arrived damaged")
        return int.from_bytes(mark, "little") if isinstance(item, (bytes, bytearray)) else int(mark[0])


class Nested(Large):
    """Bytes that are a part of something else."""

    def numbered(self, number):
        return number, super().numbered(number)

    def fresh(self, number):
        return number, bytes(super().numbered(number))

    def number(self, item):
        number = super().number(item[1])
        if number != item[0]:
            raise RuntimeError("an item has arrived damaged")
        return number


def mark_bytes(number):
    """A number as bytes."""
    return number.to_bytes(8, "little")


def mark_numbers(number):
    """A number as an array of one."""
    return array.array("d", [number])


ITEMS = {
    "number": Number,
    "bytes": lambda: Large(bytearray((at ^ (at >> 8)) & 0xFF for at in range(LARGE)), mark_bytes),
    "numbers": lambda: Large(array.array("d", range(LARGE // 8)), mark_numbers),
    "nested": lambda: Nested(bytearray((at ^ (at >> 8)) & 0xFF for at in range(LARGE)), mark_bytes),
}


def produce(make, put, times):
    """Puts numbered items; their sum."""
    for number in range(times):
        put(make(number))
    return times * (times - 1) // 2


def consume(kind, get, times, in_order):
    """Takes them; their sum."""
    total = 0
    for at in range(times):
        item = get()
        number = kind.number(item)
        if number >= times or (in_order and number != at):
            raise RuntimeError(f"item {number} has arrived as number {at} of {times}")
        if times <= LOOKED_THROUGH_MAX and kind.numbered(number) != item:
            raise RuntimeError("an item has arrived damaged")
        total += number
    return total


def producer(name, put):
    """A child's part."""
    kind = ITEMS[name]()
    make = kind.numbered if isinstance(put.__self__, Connection) else kind.fresh
    return lambda times: produce(make, put, times)


def consumer(name, get):
    """A child's part."""
    kind = ITEMS[name]()
    return lambda times: consume(kind, get, times, in_order=False)


def echo(_, connection):
    """A child's part: sends back what comes."""

    def part(times):
        for _ in range(times):
            connection.send(connection.recv())
        return times

    return part


def put_time(connection):
    """Sends what time it is, when the other side is asleep."""
    time.sleep(PAUSE)
    connection.send(time.monotonic_ns())


def take_age(connection, since):
    """How long ago that was, as soon as it has arrived."""
    sent = connection.recv()
    now = time.monotonic_ns()
    if not since <= sent <= now:
        raise RuntimeError("a time has arrived that nobody has just put")
    return now - sent


def sleeper(_, connection):
    """A child's part: takes a time, and sends another."""

    def part(times):
        ages = 0
        since = 0
        for _ in range(times):
            ages += take_age(connection, since)
            since = time.monotonic_ns()
            put_time(connection)
        return ages

    return part


def member(make, name, end, pipe):
    """A child: does its part whenever it is told to, until nobody can."""
    part = make(name, end)
    while True:
        try:
            times = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(part(times))
        except Exception as error:  # Whatever it is, whoever asked has to know.
            pipe.send(repr(error))


class Others:
    """The processes that take part beside this one."""

    def __init__(self):
        self.pipes = []

    def start(self, make, name, end):
        """Starts one more."""
        ours, theirs = multiprocessing.Pipe()
        multiprocessing.Process(target=member, args=(make, name, end, theirs), daemon=True).start()
        theirs.close()
        self.pipes.append(ours)

    def ask(self, each):
        """Each begins its part, so many times."""
        for pipe in self.pipes:
            pipe.send(each)

    def answers(self):
        """What each has answered, when the last is through."""
        answers = [pipe.recv() for pipe in self.pipes]
        for answer in answers:
            if isinstance(answer, str):
                raise RuntimeError(f"a process of the gang says: {answer}")
        return answers


def stream(name, pairs, ends):
    """Items go from processes that put to as many that take."""
    get, put = ends
    others = Others()
    for _ in range(pairs):
        others.start(producer, name, put)
    for _ in range(1, pairs):
        others.start(consumer, name, get)
    kind = ITEMS[name]()

    def runs(times):
        each = -(-times // pairs)
        began = time.perf_counter()
        others.ask(each)
        own = consume(kind, get, each, in_order=pairs == 1)
        answers = others.answers()
        took = time.perf_counter() - began
        if sum(answers[:pairs]) != own + sum(answers[pairs:]):
            raise RuntimeError("what was taken is not what was put")
        return took * times / (each * pairs)

    return runs


def queue_ends(bound):
    """Both ends of a queue."""
    queue = multiprocessing.Queue(bound)
    return queue.get, queue.put


def bytes_ends():
    """Both ends of a pipe, for bytes."""
    receiver, sender = multiprocessing.Pipe(duplex=False)
    return receiver.recv_bytes, sender.send_bytes


def round_trip():
    """A number goes to another process and comes back."""
    ours, theirs = multiprocessing.Pipe()
    others = Others()
    others.start(echo, None, theirs)

    def runs(times):
        began = time.perf_counter()
        others.ask(times)
        for number in range(times):
            ours.send(number)
            if ours.recv() != number:
                raise RuntimeError(f"{number} has come back as another")
        others.answers()
        return time.perf_counter() - began

    return runs


def asleep():
    """The same, but whoever waits has fallen asleep. Only the way counts, not the pause before it."""
    ours, theirs = multiprocessing.Pipe()
    others = Others()
    others.start(sleeper, None, theirs)

    def runs(times):
        made = -(-times // ASLEEP_SHARE)
        others.ask(made)
        ages = 0
        for _ in range(made):
            since = time.monotonic_ns()
            put_time(ours)
            ages += take_age(ours, since)
        ages += sum(others.answers())
        return ages / 1e9 * times / made

    return runs


def start(words):
    """Starts those who do what is asked."""
    match words:
        case ["round-trip", "pipe"]:
            return round_trip()
        case ["asleep", "pipe"]:
            return asleep()
        case ["numbers", "queue", pairs]:
            return stream("number", int(pairs), queue_ends(0))
        case ["copied", "pipe"]:
            return stream("bytes", 1, bytes_ends())
        case ["item", "queue", name]:
            return stream(name, 1, queue_ends(UNDER_WAY))
    raise ValueError("there is no such contestant")


if __name__ == "__main__":
    answer_all(started_once(start))
