"""Every method of every type, on objects of Rust's and on our own."""


def drive(make):
    a_dict(make("dict"))
    a_list(make("list"))
    a_set(make("set"))
    a_value(make("value"))
    a_namespace(make("namespace"))
    a_queue(make("queue"))
    tasks(make("joinable_queue"))
    a_lock(make("lock"))
    an_rlock(make("rlock"))
    a_semaphore(make("semaphore"), make("bounded_semaphore"))
    a_condition(make("condition"))
    an_event(make("event"))
    a_barrier(make("barrier"))


def a_dict(d):
    assert d.kind == "dict" and "get_or_insert" in d.methods
    assert d.insert("a", 1) == [] and d.insert("b", 2) == []
    assert d.insert("a", 3) == [1] and d.get("a") == [3] and d.get("z") == []
    assert d.contains_key("b") == [True] and d.len() == [2]
    assert d.get_or_insert("c", 5) == [5] and d.get_or_insert("c", 6) == [5]
    *items, last = d.batch(None)
    assert items == ["a", 3, "b", 2, "c", 5], items
    assert d.batch(last) == [last]
    assert d.pop_item() == ["c", 5] and d.remove("b") == [2] and d.remove("b") == []
    refused("Arguments", d.update, "a", "no function")
    refused("NoFunction", d.update, "a", {"offset": 1, "hash": 2})
    refused("NoMethod", d.append, 1)


def a_list(l):
    l.extend(3, 1, 2)
    l.push(1)
    assert l.get(0) == [3] and l.get(9) == [] and l.len() == [4]
    assert l.positions(9, None, 1) == [[1, 3]], l.positions(9, None, 1)
    l.sort(None)
    assert l.batch(0) == [1, 1, 2, 3, 4]
    assert l.set(0, 7) == [1] and l.pop() == [3] and l.remove(1) == [1]
    l.insert(1, 8)
    l.reverse()
    assert l.batch(0) == [2, 8, 7, 3]
    refused("OutOfRange", l.remove, 9)
    l.truncate(2)


def a_set(s):
    assert s.insert("a") == [True] and s.insert("a") == [False]
    assert s.insert("b") == [True] and s.contains("a") == [True] and s.len() == [2]
    assert s.batch(None)[:-1] == ["a", "b"]
    assert s.pop() == ["b"] and s.remove("a") == [True] and s.remove("a") == [False]
    s.insert("left")


def a_value(v):
    v.set(1.5)
    assert v.get() == [1.5] and v.replace(2.5) == [1.5]
    assert v.compare_exchange(None, 1.0, 3.0) == [2.5]
    assert v.compare_exchange(None, 2.5, 3.5) == []


def a_namespace(n):
    n.set("depth", 3)
    n.set("title", "Persuasion")
    assert n.get("depth") == [3] and n.get("nothing") == []
    assert "title" in n.names()[0] and n.remove("title") == [True]


def a_queue(q):
    q.put(None, ("a", 1))
    q.put(0, ("b", 2))
    assert q.len() == [2] and q.is_full() == [True]
    refused("WouldBlock", q.put, 0, ("c", 3))
    assert q.get(None) == [("a", 1)] and q.get(0) == [("b", 2)]
    refused("WouldBlock", q.get, 0)
    refused("TimedOut", q.get, SECOND // 100)
    waits = aside(lambda server: server.of(q.name).get(None))
    q.put(None, ("d", 4))
    assert waits() == [("d", 4)]


def tasks(q):
    q.put(None, "sweep")
    refused("TimedOut", q.join, SECOND // 100)
    assert q.get(None) == ["sweep"]
    q.task_done()
    q.join(None)
    refused("NotHeld", q.task_done)


def a_lock(lock):
    [(first, died)] = lock.acquire(None)
    assert not died and lock.is_locked() == [True]
    refused("WouldBlock", lock.acquire, 0)
    waits = aside(lambda server: server.of(lock.name).acquire(None))
    lock.release(first)
    refused("NotHeld", lock.release, first)
    [(second, died)] = waits()
    assert not died
    # Its connection has ended or will, and gives it back.
    [(third, died)] = lock.acquire(10 * SECOND)
    assert died and second < third
    lock.release(third)


def an_rlock(lock):
    [(first, _)] = lock.acquire(None, 1)
    [(second, _)] = lock.acquire(0, 1)
    refused("WouldBlock", lock.acquire, 0, 2)
    assert lock.depth() == [2]
    lock.release(second)
    lock.release(first)
    assert lock.depth() == [0] and lock.waiters() == [0]


def a_semaphore(semaphore, bounded):
    for each in semaphore, bounded:
        [permit] = each.acquire(None)
        refused("WouldBlock", each.acquire, 0)
        each.give(permit)
        [permit] = each.acquire(None)
        each.forget(permit)
        each.release(1)
        assert each.available() == [1] and each.waiters() == [0]
    refused("NotHeld", bounded.release, 1)


def a_condition(c):
    def changes(server):
        other = server.of(c.name)
        [(held, *_)] = other.acquire(None)
        other.notify(1)
        other.release(held)

    [(held, *_)] = c.acquire(None)
    changed = aside(changes)
    [(held, died, was_notified)] = c.wait(held, None)
    changed()
    assert was_notified and not died and c.is_locked() == [True] and c.waiters() == [0]
    [(held, died, was_notified)] = c.wait(held, SECOND // 100)
    assert not was_notified
    c.release(held)
    refused("NotHeld", c.wait, held, None)


def an_event(e):
    refused("TimedOut", e.wait, SECOND // 100)
    waits = aside(lambda server: server.of(e.name).wait(None))
    e.set()
    assert waits() == [] and e.is_set() == [True] and e.waiters() == [0]
    e.clear()


def a_barrier(b):
    assert b.parties() == [2]
    refused("WouldBlock", b.wait, None, True)
    waits = aside(lambda server: server.of(b.name).wait(None, False))
    [mine], [its] = b.wait(None, False), waits()
    assert {mine, its} == {0, 1} and b.n_waiting() == [0]
    b.abort()
    assert b.is_broken() == [True]
    refused("Broken", b.wait, None, False)
    b.reset()


WITH = {
    "value": [0.5],
    "queue": [2],
    "joinable_queue": [None],
    "semaphore": [1],
    "bounded_semaphore": [1],
    "barrier": [2],
}


def everything(server):
    drive(server.get)
    drive(lambda kind: server.create(kind, *WITH.get(kind, [])))
    for kind in "dict", "list", "set", "value", "namespace", "joinable_queue":
        own = server.create(kind, *WITH.get(kind, []))
        server.publish("own/" + kind, own)
    server.get("own/dict").insert("big", 1 << 100)
    server.get("own/dict").insert(7, [None, True, b"x", (1, {2}), {"k": -1.5}])
    assert server.get("own/dict").get(7.0) == [[None, True, b"x", (1, {2}), {"k": -1.5}]]
    server.get("own/list").extend(1, 2, 3)
    server.get("own/set").insert("of ours")
    server.get("own/value").set(4)
    server.get("own/namespace").set("from", "Python")

    account = server.create("Account", 100)
    assert account.kind == "Account" and account.methods == ["deposit", "fee", "of", "log"]
    assert account.deposit(20) == [120] and account.fee(2.5, "x") == [(2.5, "x")]
    refused("Arguments", account.deposit, "much")
    refused("Arguments", account.deposit)
    refused("Construct", server.create, "Account", -1)
    refused("NoName", server.create, "Acount", 1)
    server.publish("own/account", account)

    # Objects in objects: given, kept alive by whoever holds them, let go of.
    nested = server.get("nested")
    [inner] = nested.get("inner")
    assert server.of(inner).batch(0)[:-1] == [10, 20]
    mine = server.create("list")
    server.get("own/dict").insert("mine", mine)
    server.ask("drop", mine.name)
    refused("NotHeld", server.ask, "drop", mine.name)
    mine.push("still here")
    nested.insert("made by Python", server.get("list"))
    refused("Arguments", nested.insert, "no list", 5)
    server.get("own/dict").remove("mine")
    [part] = account.of("part")
    assert server.of(part).deposit(1) == [6]
    lines = server.ask("objects")
    assert any(line.startswith(part + " Account: ") for line in lines), lines
    before = server.ask("count")
    assert before == [len(lines)]
    server.ask("drop", part)
    assert server.ask("count") <= before
