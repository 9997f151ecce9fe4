//! Programs that are not ours, by a codec of these tests: all that they can do, and what becomes of what they had.
//!
//! Relies on the testkit, and on `python3`, which shares nothing with the server but the codec's words.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "these managers have more to them")]
mod common;
mod leaving;
mod text;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use procession_ipc::{BytesConnection, Client};
use procession_launch::{Context, StartMethod};
use procession_manager::{
    BaseManager, CodecListener, Data, DictProxy, GUESTS_MAX, Hosted, JoinableQueueProxy, ListProxy, NamespaceProxy,
    QUESTIONS_AHEAD_MAX, Refusal, SetProxy, SyncManager, ValueProxy, shared,
};

use common::{methods, refusal, warm_up};
use leaving::{
    Desk, what_is_in_line_at_the_end_is_done, what_was_sent_before_the_end_is_done,
    what_who_has_left_has_is_given_back_while_its_call_stands_in_line, what_who_has_left_would_take_stays,
    who_sends_much_ahead_of_a_call_that_is_soon_over_stays,
};
use text::Text;

/// Ten times what a dead program may cost until others know.
const SOON: Duration = Duration::from_secs(10);

const KEY: &[u8] = b"secret";
const WORDS: &str = include_str!("words.py");
const DRIVE: &str = include_str!("drive.py");

/// A type that Python has no idea of.
#[derive(Debug, Default)]
pub struct Account(i64);

#[shared]
impl Account {
    /// One with so much on it.
    ///
    /// # Errors
    /// For debts.
    pub fn new(balance: i64) -> Result<Self, String> {
        if balance < 0 { Err("nobody begins with debts".into()) } else { Ok(Self(balance)) }
    }

    /// Adds something, and tells how much that makes.
    pub fn deposit(&mut self, amount: i64) -> i64 {
        self.0 += amount;
        self.0
    }

    /// What it is given.
    #[must_use]
    pub fn fee(&self, rate: f64, note: &str) -> (f64, String) {
        (rate, note.to_owned())
    }

    /// Another one.
    #[must_use]
    pub fn of(&self, _name: String) -> Hosted<Account> {
        Hosted::new(Account(5))
    }

    /// Nothing.
    #[must_use]
    pub fn log(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A server that also speaks the words of these tests, at two addresses.
fn manager(method: StartMethod) -> SyncManager {
    let listener = CodecListener::at("127.0.0.1:0").allow_cpython().allow_legacy_md5();
    let builder = BaseManager::builder().context(Context::new(method)).authkey(KEY).register::<Account>("Account");
    let builder = builder.register::<Desk>("Desk").codec::<Text>(listener);
    let near = CodecListener::at(format!("@codec-{}", std::process::id()));
    builder.codec::<Text>(near).start().unwrap().into()
}

/// A Python that has connected as `server`, and runs this.
fn python(manager: &SyncManager, script: &str) -> Child {
    let script = format!("{WORDS}\n{DRIVE}\nserver = Server()\n{script}");
    let address = manager.codec_addresses()[0].to_string();
    let mut command = Command::new("python3");
    command.args(["-c", &script, &address]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().expect("python3")
}

/// The same, to its end.
#[track_caller]
fn runs(manager: &SyncManager, script: &str) {
    let status = python(manager, script).wait().unwrap();
    assert!(status.success(), "{status}");
}

/// A connection of this program, as others have one.
fn guest(manager: &SyncManager) -> BytesConnection {
    Client::builder(manager.codec_addresses()[0].clone()).unwrap().authkey(KEY).connect_bytes().unwrap()
}

fn ask(guest: &BytesConnection, question: &str) -> String {
    guest.send(question.as_bytes()).unwrap();
    String::from_utf8(guest.recv_timeout(SOON).unwrap()).unwrap()
}

/// The name of a published object.
fn named(guest: &BytesConnection, name: &str) -> String {
    ask(guest, &format!("get {name}")).split(' ').nth(1).unwrap().to_owned()
}

fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < SOON, "it does not become so");
        std::thread::yield_now();
    }
}

fn python_drives_every_type(method: StartMethod) {
    let manager = manager(method);
    let (dict, list) = (manager.dict::<String, i64>().unwrap(), manager.list::<i64>().unwrap());
    let nested = manager.dict::<String, ListProxy<i64>>().unwrap();
    let inner = manager.list::<i64>().unwrap();
    inner.extend([10, 20]).unwrap();
    nested.insert("inner".into(), inner).unwrap();
    let namespace = manager.namespace().unwrap();
    namespace.set("ours", vec![1_u8, 2]).unwrap();
    manager.publish("dict", &dict).unwrap();
    manager.publish("list", &list).unwrap();
    manager.publish("nested", &nested).unwrap();
    manager.publish("namespace", &namespace).unwrap();
    manager.publish("set", &manager.set::<String>().unwrap()).unwrap();
    let value = manager.value(0.5_f64).unwrap();
    manager.publish("value", &value).unwrap();
    manager.publish("queue", &manager.bounded_queue::<(String, u32)>(2).unwrap()).unwrap();
    manager.publish("joinable_queue", &manager.joinable_queue::<String>().unwrap()).unwrap();
    manager.publish("lock", &manager.lock().unwrap()).unwrap();
    manager.publish("rlock", &manager.rlock().unwrap()).unwrap();
    manager.publish("semaphore", &manager.semaphore(1).unwrap()).unwrap();
    manager.publish("bounded_semaphore", &manager.bounded_semaphore(1).unwrap()).unwrap();
    manager.publish("condition", &manager.condition().unwrap()).unwrap();
    manager.publish("event", &manager.event().unwrap()).unwrap();
    manager.publish("barrier", &manager.barrier(2).unwrap()).unwrap();
    runs(&manager, "everything(server)");

    assert_eq!(dict.get(&"a".into()).unwrap(), Some(3));
    assert_eq!(list.to_vec().unwrap(), [2, 8]);
    assert_eq!(value.get().unwrap(), 3.5);
    assert_eq!(namespace.get::<u32>("depth").unwrap(), Some(3), "which Python has set");
    assert_eq!(namespace.get::<Vec<u8>>("ours").unwrap(), Some(vec![1, 2]));
    let theirs = nested.get(&"made by Python".into()).unwrap().unwrap();
    assert_eq!(theirs.to_vec().unwrap(), [2, 8]);

    // What Python has made has no types: a typed proxy converts at its end, and says what does not fit.
    let theirs: ListProxy<i64> = manager.get("own/list").unwrap();
    theirs.push(0).unwrap();
    theirs.sort().unwrap();
    assert_eq!((theirs.to_vec().unwrap(), theirs.position(&2).unwrap()), (vec![0, 1, 2, 3], Some(2)));
    assert_eq!(theirs.update(0, |n| n + 9).unwrap(), 9);
    assert_eq!(manager.get::<ListProxy<f64>>("own/list").unwrap().get(0).unwrap(), Some(9.0));
    assert!(manager.get::<ListProxy<String>>("own/list").unwrap().get(0).is_err());
    let theirs: DictProxy<String, Data> = manager.get("own/dict").unwrap();
    assert_eq!(theirs.get(&"big".into()).unwrap().unwrap().to_string(), (1_u128 << 100).to_string());
    let as_lists: DictProxy<String, ListProxy<i64>> = manager.get("own/dict").unwrap();
    as_lists.insert("proxy".into(), list.clone()).unwrap();
    drop(list);
    assert_eq!(as_lists.get(&"proxy".into()).unwrap().unwrap().to_vec().unwrap(), [2, 8]);
    let Some(Data::Object(proxy)) = theirs.get(&"proxy".into()).unwrap() else { panic!("it is a proxy") };
    assert_eq!(
        proxy.object(),
        procession_manager::Proxy::as_raw(&as_lists.get(&"proxy".into()).unwrap().unwrap()).object()
    );
    assert!(manager.get::<SetProxy<String>>("own/set").unwrap().contains(&"of ours".into()).unwrap());
    let theirs: ValueProxy<u8> = manager.get("own/value").unwrap();
    assert_eq!(theirs.update(|n| n + 1).unwrap(), 5);
    assert_eq!(theirs.compare_exchange(&5, 6).unwrap(), Ok(()));
    let theirs: NamespaceProxy = manager.get("own/namespace").unwrap();
    assert_eq!(theirs.get::<String>("from").unwrap().as_deref(), Some("Python"));
    let theirs: AccountProxy = manager.get("own/account").unwrap();
    assert_eq!(theirs.deposit(0).unwrap(), 120);
    let tasks: JoinableQueueProxy<(u8, String)> = manager.get("own/joinable_queue").unwrap();
    tasks.put(&(1, "x".into())).unwrap();
    assert_eq!(tasks.get().unwrap(), (1, "x".into()));
    tasks.task_done().unwrap();
    tasks.join().unwrap();
}

fn a_killed_python_gives_back_what_it_had(method: StartMethod) {
    let manager = manager(method);
    let lock = manager.lock().unwrap();
    let (tasks, empty) = (manager.joinable_queue::<String>().unwrap(), manager.queue::<u32>().unwrap());
    manager.publish("lock", &lock).unwrap();
    manager.publish("tasks", &tasks).unwrap();
    manager.publish("empty", &empty).unwrap();
    tasks.put(&"first".into()).unwrap();
    tasks.put(&"second".into()).unwrap();
    let before = manager.number_of_objects().unwrap();
    let holds = "
server.get('lock').acquire(None)
server.get('tasks').get(None)
server.create('list').push(1)
print('ready', flush=True)
server.get('empty').get(None)
";
    let mut child = python(&manager, holds);
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert_eq!(refusal(lock.try_lock()), Refusal::WouldBlock);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(lock.lock_timeout(SOON).unwrap().owner_died());
    until(|| tasks.len().unwrap() == 2);
    assert_eq!(tasks.get_timeout(SOON).unwrap(), "first");
    until(|| manager.number_of_objects().unwrap() == before);
    empty.put(&1).unwrap();
    assert_eq!(empty.get_timeout(SOON).unwrap(), 1, "nobody is there any more who waited for it");
}

fn an_item_that_cannot_be_told_stays(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<Option<Option<u8>>>().unwrap();
    manager.publish("queue", &queue).unwrap();
    queue.put(&Some(None)).unwrap(); // Which no other language can tell from nothing.
    queue.put(&Some(Some(1))).unwrap();
    let guest = guest(&manager);
    let name = named(&guest, "queue");
    assert!(ask(&guest, &format!("call {name} get n")).starts_with("refused Output "));
    assert_eq!((queue.get_timeout(SOON).unwrap(), queue.get_timeout(SOON).unwrap()), (Some(None), Some(Some(1))));
}

fn what_nobody_waits_for_is_converted_as_well(method: StartMethod) {
    let manager = manager(method);
    let space = manager.namespace().unwrap();
    manager.publish("space", &space).unwrap();
    space.set_later("a", (3_u8, 0.5)).unwrap().get().unwrap();
    let guest = guest(&manager);
    let name = named(&guest, "space");
    assert_eq!(ask(&guest, &format!("call {name} get s61")), "values ( i3 d0.5 )");
    assert_eq!(ask(&guest, &format!("call {name} set s62 i7")), "values");
    assert_eq!(space.get_later::<u8>("b").unwrap().get().unwrap(), Some(7));
}

/// What no other language can tell from nothing.
const UNTELLABLE: Option<Option<u8>> = Some(None);

fn what_cannot_be_told_stays_where_it_is(method: StartMethod) {
    let manager = manager(method);
    let (list, set) = (manager.list().unwrap(), manager.set::<Option<Option<u8>>>().unwrap());
    let (dict, keys) = (manager.dict::<u8, Option<Option<u8>>>().unwrap(), manager.dict().unwrap());
    let value = manager.value(UNTELLABLE).unwrap();
    list.push(UNTELLABLE).unwrap();
    set.insert(UNTELLABLE).unwrap();
    dict.insert(7, UNTELLABLE).unwrap();
    keys.insert(UNTELLABLE, 7_u8).unwrap();
    manager.publish("list", &list).unwrap();
    manager.publish("set", &set).unwrap();
    manager.publish("dict", &dict).unwrap();
    manager.publish("keys", &keys).unwrap();
    manager.publish("value", &value).unwrap();
    let guest = guest(&manager);
    let questions = [
        ("list", "pop"),
        ("list", "remove i0"),
        ("list", "set i0 i1"),
        ("set", "pop"),
        ("dict", "remove i7"),
        ("dict", "pop_item"),
        ("dict", "insert i7 i1"),
        ("keys", "pop_item"),
        ("value", "replace i1"),
    ];
    for (name, question) in questions {
        let reply = ask(&guest, &format!("call {} {question}", named(&guest, name)));
        assert!(reply.starts_with("refused Output "), "{name} {question}: {reply}");
    }
    assert_eq!((list.to_vec().unwrap(), value.get().unwrap()), (vec![UNTELLABLE], UNTELLABLE));
    assert_eq!((set.len().unwrap(), dict.get(&7).unwrap(), keys.len().unwrap()), (1, Some(UNTELLABLE), 1));
    assert_eq!((set.pop().unwrap(), keys.pop_item().unwrap()), (Some(UNTELLABLE), Some((UNTELLABLE, 7))));
    // What can be told is taken, and what nobody is told of goes.
    list.push(Some(Some(1))).unwrap();
    let list_there = named(&guest, "list");
    assert_eq!(ask(&guest, &format!("call {list_there} pop")), "values i1");
    assert_eq!(ask(&guest, &format!("call {list_there} truncate i0")), "values");
    assert_eq!(ask(&guest, &format!("call {list_there} pop")), "values");
}

fn a_queue_of_nothing_is_one_without_a_bound(method: StartMethod) {
    let manager = manager(method);
    let guest = guest(&manager);
    for kind in ["queue", "joinable_queue"] {
        let made = ask(&guest, &format!("create {kind} i0"));
        let queue = made.split(' ').nth(1).unwrap();
        for item in ["i1", "i2"] {
            assert_eq!(ask(&guest, &format!("call {queue} put i0 {item}")), "values");
        }
        assert_eq!(ask(&guest, &format!("call {queue} is_full")), "values f");
        assert_eq!(ask(&guest, &format!("call {queue} get i0")), "values i1");
    }
}

fn a_plain_queue_is_joined_when_nothing_is_in_it(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u8>().unwrap();
    manager.publish("queue", &queue).unwrap();
    queue.put(&1).unwrap();
    let guest = guest(&manager);
    let name = named(&guest, "queue");
    guest.send(format!("call {name} join n").as_bytes()).unwrap();
    until(|| manager.objects().unwrap()[0].waiting == 1);
    assert_eq!(queue.get().unwrap(), 1);
    assert_eq!(guest.recv_timeout(SOON).unwrap(), b"values");
}

fn what_makes_no_sense_is_refused(method: StartMethod) {
    let manager = manager(method);
    let lock = manager.lock().unwrap();
    manager.publish("lock", &lock).unwrap();
    let (hostile, other) = (guest(&manager), guest(&manager));
    let name = named(&other, "lock");
    let deep = "[ ".repeat(100_000);
    let questions = [
        String::new(),
        "call".into(),
        "call x acquire".into(),
        format!("call {} acquire n", "0".repeat(32)),
        format!("call {name} acquire i-1"),
        format!("call {name} acquire d1.5"),
        format!("call {name} acquire"),
        format!("call {name} acquire n n"),
        format!("call {name} release i1"),
        format!("call {name} acquire {deep}"),
        "create value { i1 i2 i1 }".into(),
        "create list i1".into(),
        "create barrier i0".into(),
        "create barrier i99999999999999999999".into(),
        "drop 00000000000000000000000000000001".into(),
        "publish lock 00000000000000000000000000000001".into(),
        format!("publish lock {name}"),
        "\u{fffd}".into(),
    ];
    for question in questions {
        let reply = ask(&hostile, &question);
        assert!(reply.starts_with("refused "), "{question:.60}: {reply}");
    }
    hostile.send(&[0xff; 1000]).unwrap();
    assert!(hostile.recv_timeout(SOON).unwrap().starts_with(b"refused "));
    assert_eq!(ask(&hostile, "hello"), "values");
    hostile.send(b"panic").unwrap();
    assert!(hostile.recv_timeout(SOON).is_err(), "its connection has ended, and nothing else");
    assert!(ask(&other, &format!("call {name} acquire n")).starts_with("values ( i1 f )"));
    assert_eq!(refusal(lock.try_lock()), Refusal::WouldBlock);
    assert_eq!(ask(&other, "bye"), "values");
    assert!(other.recv_timeout(SOON).is_err());
    assert!(lock.lock_timeout(SOON).unwrap().owner_died());
}

fn who_sends_ahead_is_put_out_in_the_end(method: StartMethod) {
    let manager = manager(method);
    let event = manager.event().unwrap();
    manager.publish("event", &event).unwrap();
    let (patient, hasty) = (guest(&manager), guest(&manager));
    let name = named(&patient, "event");
    for guest in [&patient, &hasty] {
        guest.send(format!("call {name} wait n").as_bytes()).unwrap();
    }
    until(|| event.waiters().unwrap() == 2);
    for _ in 0..QUESTIONS_AHEAD_MAX {
        patient.send(b"hello").unwrap();
    }
    for _ in 0..=QUESTIONS_AHEAD_MAX {
        hasty.send(b"hello").unwrap();
    }
    assert!(hasty.recv_timeout(SOON).is_err());
    until(|| event.waiters().unwrap() == 1);
    event.set().unwrap();
    for _ in 0..=QUESTIONS_AHEAD_MAX {
        assert_eq!(patient.recv_timeout(SOON).unwrap(), b"values");
    }
}

fn no_more_than_so_many_come_in(method: StartMethod) {
    let manager = manager(method);
    let guests: Vec<BytesConnection> = (0..GUESTS_MAX).map(|_| guest(&manager)).collect();
    assert_eq!(ask(&guests[GUESTS_MAX - 1], "hello"), "values");
    let late = guest(&manager);
    assert!(late.recv_timeout(SOON).unwrap().starts_with(b"refused Limit"));
    assert!(late.recv_timeout(SOON).is_err());
    assert_eq!(ask(&guests[0], "bye"), "values");
    assert!(guests[0].recv_timeout(SOON).is_err());
    until(|| {
        let guest = guest(&manager);
        // Its place is free a moment after its connection has ended.
        let _ = guest.send(b"hello");
        guest.recv_timeout(SOON).is_ok_and(|reply| reply == b"values")
    });
}

fn another_program_ends_the_server(method: StartMethod) {
    let manager = manager(method);
    let list = manager.list::<u8>().unwrap();
    let (guest, other) = (guest(&manager), guest(&manager));
    assert_eq!(ask(&other, "count"), "values i1");
    assert_eq!(ask(&guest, "shutdown"), "values");
    assert!(other.recv_timeout(SOON).is_err());
    until(|| list.len().is_err());
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        python_drives_every_type,
        a_killed_python_gives_back_what_it_had,
        an_item_that_cannot_be_told_stays,
        what_nobody_waits_for_is_converted_as_well,
        what_cannot_be_told_stays_where_it_is,
        a_queue_of_nothing_is_one_without_a_bound,
        a_plain_queue_is_joined_when_nothing_is_in_it,
        what_makes_no_sense_is_refused,
        who_sends_ahead_is_put_out_in_the_end,
        what_was_sent_before_the_end_is_done,
        what_is_in_line_at_the_end_is_done,
        what_who_has_left_has_is_given_back_while_its_call_stands_in_line,
        what_who_has_left_would_take_stays,
        who_sends_much_ahead_of_a_call_that_is_soon_over_stays,
        no_more_than_so_many_come_in,
        another_program_ends_the_server,
    ];
}
