//! Peers that say what they must not: they are refused, or put out, and nobody else notices.
//!
//! Relies on the testkit, and on `common/raw.rs` for ends that say anything.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;
#[path = "common/raw.rs"]
mod raw;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use procession_ipc::{Connection, Listener};
use procession_launch::{Context, StartMethod, current_process};
use procession_manager::{
    BaseManager, CallError, DictProxy, ListProxy, ManagerBuilder, Proxy, QueueProxy, Refusal, SyncManager, TICKETS_MAX,
};

use common::{manager, warm_up};
use raw::{Frame, Hello, Raw, Ticket, Welcome, Written, greeted, greeting, kind, read, signature, value, written};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

const SERVER: [u8; 16] = [0; 16];

/// A manager, and a dictionary of a client that behaves.
fn with_honest() -> (SyncManager, DictProxy<u64, u64>) {
    let manager = manager(StartMethod::Spawn);
    let dict = manager.dict().unwrap();
    dict.insert(1, 1).unwrap();
    (manager, dict)
}

/// Nobody has changed what this client has, and it is served.
fn is_well(dict: &DictProxy<u64, u64>) {
    let begun = Instant::now();
    assert_eq!(dict.update(1, |n| n.unwrap() + 1).unwrap(), dict.get(&1).unwrap().unwrap());
    assert!(begun.elapsed() < SOON);
}

/// An object's name, as it goes over the connection.
fn name_of(proxy: &impl Proxy) -> [u8; 16] {
    let text = proxy.as_raw().object().to_string();
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

/// The kibibytes of memory that a process has to itself: what a connection shares is as large as what is under way.
fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn whoever_does_not_greet_is_put_out() {
    let (manager, dict) = with_honest();
    let mut bad = greeting(&Hello { pid: 7, name: "of another version".to_owned() });
    bad.0[7] += 1;
    let long = greeting(&Hello { pid: 7, name: "n".repeat(256) });
    for words in [b"GET / HTTP/1.1".to_vec(), Vec::new(), bad.0, long.0, greeting(&(7_u32,)).0, vec![0xff; 100_000]] {
        let raw = Raw::strange(manager.address());
        raw.say(words);
        assert!(raw.is_put_out());
        is_well(&dict);
    }
    let wrong = BaseManager::connect(manager.address().clone(), b"another key");
    assert!(wrong.is_err());
    is_well(&dict);
}

fn frames_that_make_no_sense_put_their_client_out() {
    let (manager, dict) = with_honest();
    let head = |kind: u8, rest: &[u8]| [&[kind], &1_u64.to_le_bytes()[..], &SERVER, rest].concat();
    let call = |counts: [u64; 3]| {
        let counts: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        head(kind::CALL, &[&7_u64.to_le_bytes()[..], &counts].concat())
    };
    let frames = [
        Vec::new(),
        vec![0],
        vec![99; 1000],
        head(kind::CALL, &[]),
        call([u64::MAX, 0, 0]),
        call([0, u64::MAX, 0]),
        call([0, 0, u64::MAX]),
        call([1, 1, 1]),
        head(kind::ACKNOWLEDGE, &[1]),
        head(kind::TICKET, &[0; 7]),
        vec![kind::DROP, 1, 2, 3],
        [&[kind::DROP][..], &[0; 20 * 1025]].concat(),
        head(kind::RETURN, &[]),
        head(kind::REFUSE, &[]),
    ];
    for frame in frames {
        let raw = Raw::connect(manager.address());
        raw.say(frame.clone());
        assert!(raw.is_put_out(), "{frame:?}");
        is_well(&dict);
    }
}

fn what_is_not_there_is_refused() {
    let (manager, dict) = with_honest();
    let raw = Raw::connect(manager.address());
    let refused = |(kind, bytes): (u8, Vec<u8>)| {
        assert_eq!(kind, kind::REFUSE);
        read::<Refusal>(&bytes)
    };
    assert!(matches!(refused(raw.call([7; 16], 1, &[])), Refusal::NoObject { .. }));
    assert!(matches!(refused(raw.call(SERVER, 1, &[])), Refusal::NoMethod { .. }));
    let name = name_of(&dict);
    assert!(matches!(refused(raw.call(name, 1, &[])), Refusal::NoMethod { .. }));
    let get = signature("dict.get");
    assert!(matches!(refused(raw.call(name, get, &[])), Refusal::Arguments { .. }), "no key");
    assert!(matches!(refused(raw.call(name, get, &value(&[0xff; 30], &[]))), Refusal::Arguments { .. }), "no number");
    let unknown = raw.call(name, get, &value(&written(&1_u64), &[[9; 16]]));
    assert!(matches!(refused(unknown), Refusal::NoObject { .. }), "a key that refers to nothing");
    for ask in ["create", "make", "get", "publish", "redeem", "attach"] {
        let garbage = [value(&[0xff; 12], &[]), value(&[0xfe; 3], &[])].concat();
        let (kind, _) = raw.call(SERVER, signature(ask), &garbage);
        assert_eq!(kind, kind::REFUSE, "{ask}");
    }
    let update = [value(&written(&1_u64), &[]), value(&[7; 60], &[])].concat();
    let (kind, _) = raw.call(name, signature("dict.update"), &update);
    assert_eq!(kind, kind::REFUSE, "no function of the server's image");
    is_well(&dict);
}

fn floods_leave_nothing_behind() {
    let (manager, dict) = with_honest();
    let raw = Raw::connect(manager.address());
    let name = name_of(&dict);
    let before = memory_of(manager.pid().unwrap());
    for number in 0..TICKETS_MAX as u64 + 1000 {
        raw.about(kind::ACKNOWLEDGE, number, name, &[]);
        raw.about(kind::ABANDON, number, [9; 16], &[]);
        raw.about(kind::TICKET, number, name, &[]);
        raw.say([&[kind::DROP][..], &name, &u32::MAX.to_le_bytes()].concat());
    }
    raw.call(SERVER, signature("number_of_objects"), &[]);
    is_well(&dict);
    let grown = memory_of(manager.pid().unwrap()).saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB for a limited number of tickets and nothing else");
    assert_eq!(manager.objects().unwrap().iter().map(|object| object.waiting).sum::<u64>(), 0);
}

fn waits_that_are_given_up_leave_nothing_behind() {
    const WAITS: u64 = 40_000;
    let manager = manager(StartMethod::Spawn);
    let queue: QueueProxy<u64> = manager.queue().unwrap();
    manager.publish("queue", &queue).unwrap();
    let raw = Raw::connect(manager.address());
    raw.call(SERVER, signature("get"), &value(&written(&"queue".to_owned()), &[]));
    let hour = value(&written(&Some(3_600_000_000_000_u64)), &[]);
    let wait = [&signature("queue.get").to_le_bytes()[..], &hour].concat();
    let wait_for_all = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            raw.about(kind::CALL, number, name_of(&queue), &wait);
            raw.about(kind::ABANDON, number, name_of(&queue), &[]);
        }
        raw.call(SERVER, signature("number_of_objects"), &[]);
        memory_of(manager.pid().unwrap())
    };
    let memory: Vec<u64> = (0..4).map(|round| wait_for_all(10 + round * WAITS..10 + (round + 1) * WAITS)).collect();
    // What threads take that were not there before is not what each wait takes.
    let grown = memory.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min().unwrap();
    assert!(grown < WAITS * 16 / 1024, "sixteen bytes for each would be less: {memory:?} KiB");
    // The last of them may still stand in the queue's line.
    let begun = Instant::now();
    while manager.objects().unwrap()[0].waiting > 0 {
        assert!(begun.elapsed() < SOON);
    }
    drop(raw);
    queue.put(&5).unwrap();
    assert_eq!(queue.get().unwrap(), 5);
}

fn numbers_of_others_tickets_are_worth_nothing() {
    let manager = manager(StartMethod::Spawn);
    let (sender, receiver) = procession_ipc::pipe::<ListProxy<u8>, ()>().unwrap();
    let raw = Raw::connect(manager.address());
    let list: ListProxy<u8> = manager.list().unwrap();
    list.push(1).unwrap();
    // Takes what others have sent, and will send, by its numbers: of a client it knows no objects.
    let guess = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            for client in 1..4_u64 {
                let asked = value(&written(&([9_u8; 16], Ticket { client, number })), &[]);
                let (kind, _) = raw.call(SERVER, signature("redeem"), &asked);
                assert_eq!(kind, kind::REFUSE);
            }
        }
    };
    guess(0..200);
    sender.send(&list).unwrap();
    drop(list);
    guess(0..200);
    let list = receiver.recv().unwrap();
    assert_eq!(list.get(0).unwrap(), Some(1));
}

/// Starts clients that are killed while they do something, again and again.
fn kill_in_the_middle(manager: &SyncManager, writes: bool) {
    let dict: DictProxy<u64, Vec<u8>> = manager.dict().unwrap();
    let told: QueueProxy<u64> = manager.queue().unwrap();
    dict.insert(0, vec![7; 3 << 20]).unwrap();
    for round in 0..20_u64 {
        let child = Context::new(StartMethod::Spawn).start(works, (dict.clone(), told.clone(), writes)).unwrap();
        told.get_timeout(SOON).unwrap();
        let until = Instant::now() + Duration::from_micros(round * 700);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        let _ = child.join();
        let value = dict.get(&0).unwrap().unwrap();
        assert!(value.len() == 3 << 20 && value.iter().all(|byte| *byte == value[0]), "half a value");
    }
    let begun = Instant::now();
    while manager.clients().unwrap().len() > 1 {
        assert!(begun.elapsed() < SOON, "{:?}", manager.clients().unwrap());
    }
}

fn works(dict: DictProxy<u64, Vec<u8>>, told: QueueProxy<u64>, writes: bool) {
    told.put(&1).unwrap();
    for byte in (0..=255).cycle() {
        if writes {
            dict.insert(0, vec![byte; 3 << 20]).unwrap();
        } else {
            dict.get(&0).unwrap();
        }
    }
}

fn clients_are_killed_in_the_middle_of_a_request() {
    kill_in_the_middle(&manager(StartMethod::Spawn), true);
    let by_tcp: SyncManager = BaseManager::builder().address("127.0.0.1:0").start().unwrap().into();
    kill_in_the_middle(&by_tcp, true);
}

fn clients_are_killed_in_the_middle_of_an_answer() {
    kill_in_the_middle(&manager(StartMethod::Spawn), false);
    let by_tcp: SyncManager = BaseManager::builder().address("127.0.0.1:0").start().unwrap().into();
    kill_in_the_middle(&by_tcp, false);
}

fn a_server_is_killed_in_the_middle_of_an_answer() {
    for (round, address) in (0_u64..5).flat_map(|round| [(round, None), (round, Some("127.0.0.1:0"))]) {
        let builder = BaseManager::builder();
        let builder = address.into_iter().fold(builder, ManagerBuilder::address);
        let manager: SyncManager = builder.start().unwrap().into();
        let dict: DictProxy<u64, Vec<u8>> = manager.dict().unwrap();
        dict.insert(0, vec![7; 6 << 20]).unwrap();
        std::thread::scope(|scope| {
            let reads = scope.spawn(|| {
                loop {
                    match dict.get(&0) {
                        Ok(value) => assert_eq!(value.unwrap().len(), 6 << 20),
                        Err(error) => return error,
                    }
                }
            });
            let until = Instant::now() + Duration::from_millis(7 * round);
            while Instant::now() < until {
                std::thread::yield_now();
            }
            let pid = manager.pid().unwrap();
            assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
            let begun = Instant::now();
            let error = reads.join().unwrap();
            assert!(matches!(error, CallError::Disconnected { .. }), "{error}");
            assert!(begun.elapsed() < SOON);
        });
    }
}

/// A server in a thread, which answers each request as it is told to, until the client is gone.
fn liar(answers: impl Fn(&Connection<Frame, Frame>, &[u8]) + Send + 'static) -> (BaseManager, Arc<AtomicBool>) {
    let key = current_process().authkey();
    let listener = Listener::temporary().unwrap().authkey(key.as_bytes());
    let address = listener.address().clone();
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&has_ended);
    std::thread::spawn(move || {
        let connection = listener.accept::<Frame, Frame>().unwrap();
        let hello: Hello = read(greeted(&connection.recv().unwrap()));
        assert_eq!(hello.pid, std::process::id());
        connection.send(&greeting(&Welcome { server: [5; 16], client: 1 })).unwrap();
        while let Ok(Frame(request)) = connection.recv() {
            if request[0] == kind::CALL {
                answers(&connection, &request[1..9]);
            }
        }
        ended.store(true, SeqCst);
    });
    let builder = BaseManager::builder().address(address).call_timeout(Duration::from_secs(1));
    (builder.connect().unwrap(), has_ended)
}

fn answer(connection: &Connection<Frame, Frame>, kind: u8, call: &[u8], rest: &[u8]) {
    let _ = connection.send(&Frame([&[kind], call, rest].concat()));
}

fn a_server_that_lies_is_an_error() {
    let number = |rest: Vec<u8>| {
        let (manager, _) = liar(move |connection, call| answer(connection, kind::RETURN, call, &rest));
        manager.number_of_objects().unwrap_err()
    };
    assert!(matches!(number(Vec::new()), CallError::Output { .. }), "no value");
    assert!(matches!(number(value(&[0xff; 20], &[])), CallError::Output { .. }), "another value");
    assert!(matches!(number(vec![1; 23]), CallError::Disconnected { .. }), "half a frame");
    assert!(matches!(number([u64::MAX.to_le_bytes(); 3].concat()), CallError::Disconnected { .. }), "counts");
    let (manager, _) = liar(|connection, call| answer(connection, kind::REFUSE, call, &[0xff; 40]));
    assert!(matches!(manager.number_of_objects(), Err(CallError::Output { .. })), "a refusal that is none");
    let (manager, _) = liar(|connection, call| answer(connection, 99, call, &[]));
    assert!(matches!(manager.number_of_objects(), Err(CallError::Disconnected { .. })));
    assert!(matches!(manager.number_of_objects(), Err(CallError::Disconnected { .. })), "and stays so");
}

fn answers_that_nobody_asked_for_are_nothing() {
    let (manager, _) = liar(|connection, call| {
        for number in 1000..3000_u64 {
            answer(connection, kind::RETURN, &number.to_le_bytes(), &value(&[1; 100], &[]));
        }
        answer(connection, kind::RETURN, call, &value(&written(&7_u64), &[]));
        answer(connection, kind::RETURN, call, &value(&written(&8_u64), &[]));
    });
    let begun = memory_of(std::process::id());
    for _ in 0..5 {
        assert_eq!(manager.number_of_objects().unwrap(), 7);
    }
    assert!(memory_of(std::process::id()) - begun < 8 << 10);
    let (manager, _) = liar(|connection, _| answer(connection, kind::RETURN, &[0; 8], &[]));
    assert!(matches!(manager.number_of_objects(), Err(CallError::TimedOut { .. })), "another call's");
}

fn references_that_a_server_makes_up_lead_nowhere() {
    let (manager, has_ended) = liar(|connection, call| {
        let name = [7; 16];
        // As a list's proxy is written: one of those that came with it.
        let bytes = written(&Written::Within(name));
        answer(connection, kind::RETURN, call, &value(&bytes, &[name, [8; 16], name]));
    });
    let list: ListProxy<u8> = manager.get("anything").unwrap();
    assert_eq!(name_of(&list), [7; 16]);
    assert!(list.len().is_err(), "the answer is no number");
    assert!(!has_ended.load(SeqCst));
    let (manager, _) = liar(|connection, call| {
        answer(connection, kind::RETURN, call, &value(&written(&Written::Within([7; 16])), &[]));
    });
    assert!(matches!(manager.get::<ListProxy<u8>>("anything"), Err(CallError::Output { .. })), "it did not come");
}

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        whoever_does_not_greet_is_put_out,
        frames_that_make_no_sense_put_their_client_out,
        what_is_not_there_is_refused,
        floods_leave_nothing_behind within 60,
        waits_that_are_given_up_leave_nothing_behind within 60,
        numbers_of_others_tickets_are_worth_nothing,
        clients_are_killed_in_the_middle_of_a_request within 60,
        clients_are_killed_in_the_middle_of_an_answer within 60,
        a_server_is_killed_in_the_middle_of_an_answer within 60,
        a_server_that_lies_is_an_error,
        answers_that_nobody_asked_for_are_nothing,
        references_that_a_server_makes_up_lead_nowhere,
    ];
}
