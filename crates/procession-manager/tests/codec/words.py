"""The other side of the text codec, with nothing but Python's own library."""

import sys
import threading
from multiprocessing.connection import Client


class Ref(str):
    """The name of an object, as a value."""


class Refused(Exception):
    """Why a question has no answer: the kind is the first argument."""


BRACKETS = {list: "[]", tuple: "()", set: "<>"}
ENDS = {"[": "]", "(": ")", "<": ">", "{": "}"}
SECOND = 1_000_000_000


def encode(value):
    if value is None:
        return ["n"]
    if isinstance(value, bool):
        return ["t" if value else "f"]
    if isinstance(value, int):
        return [f"i{value}"]
    if isinstance(value, float):
        return [f"d{value!r}"]
    if isinstance(value, (Ref, Proxy)):
        return [f"o{value}" if isinstance(value, Ref) else f"o{value.name}"]
    if isinstance(value, str):
        return ["s" + value.encode().hex()]
    if isinstance(value, bytes):
        return ["b" + value.hex()]
    if isinstance(value, dict):
        return ["{", *(word for pair in value.items() for item in pair for word in encode(item)), "}"]
    begin, end = BRACKETS[type(value)]
    return [begin, *(word for item in value for word in encode(item)), end]


def decode(word, words):
    """The value that begins with a word, and goes on in an iterator of words."""
    kind, rest = word[0], word[1:]
    if kind in ENDS:
        items = [decode(first, words) for first in iter(lambda: next(words), ENDS[kind])]
        if kind == "{":
            return dict(zip(items[::2], items[1::2]))
        return {"[": list, "(": tuple, "<": set}[kind](items)
    return {
        "n": lambda: None,
        "t": lambda: True,
        "f": lambda: False,
        "i": lambda: int(rest),
        "d": lambda: float(rest),
        "s": lambda: bytes.fromhex(rest).decode(),
        "b": lambda: bytes.fromhex(rest),
        "o": lambda: Ref(rest),
    }[kind]()


class Server:
    """A connection."""

    def __init__(self):
        host, port = sys.argv[1].rsplit(":", 1)
        self.connection = Client((host, int(port)), authkey=b"secret")

    def ask(self, *words):
        self.connection.send_bytes(" ".join(words).encode())
        kind, *words = self.connection.recv_bytes().decode().split()
        if kind == "refused":
            raise Refused(words[0], bytes.fromhex(words[1]).decode())
        if kind == "object":
            return Proxy(self, words[0], bytes.fromhex(words[1]).decode(), words[2:])
        words = iter(words)
        return [decode(word, words) for word in words]

    def create(self, kind, *arguments):
        return self.ask("create", kind, *(word for argument in arguments for word in encode(argument)))

    def get(self, name):
        return self.ask("get", name)

    def publish(self, name, proxy):
        self.ask("publish", name, proxy.name)

    def of(self, name):
        """A proxy of an object whose name came in a value."""
        return self.ask("describe", name)


class Proxy:
    """An object; its methods give all results, in a list."""

    def __init__(self, server, name, kind, methods):
        self.server, self.name, self.kind, self.methods = server, name, kind, methods

    def __getattr__(self, method):
        def call(*arguments):
            words = [word for argument in arguments for word in encode(argument)]
            return self.server.ask("call", self.name, method, *words)

        return call


def refused(kind, call, *arguments):
    """That a call is refused, and why."""
    try:
        result = call(*arguments)
    except Refused as error:
        assert error.args[0] == kind, error
        return error.args[1]
    raise AssertionError(f"it was not refused: {result}")


def aside(work):
    """Has another connection do something; gives what it did, when it is asked for."""
    done = []
    thread = threading.Thread(target=lambda: done.append(work(Server())))
    thread.start()

    def result():
        thread.join()
        return done[0]

    return result
