//! Managers as users have them, by every start method.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

mod common;

use std::collections::HashMap;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_manager::{
    BaseManager, CallError, DictProxy, JoinableQueueProxy, LockProxy, ManagerError, MethodName, Pending, Proxy,
    QueueProxy, Refusal, Shared, SyncManager, shared,
};
use procession_wire::Fault;
use serde::{Deserialize, Deserializer, Serialize};

use common::{await_objects, manager, methods, refusal, rest, warm_up};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

fn send(signal: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

fn kill(pid: u32) {
    send("-KILL", pid);
}

/// A shared type.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    balance: i64,
}

#[shared]
impl Account {
    /// Opens an account.
    pub(crate) fn new(balance: i64) -> Result<Self, Fault> {
        if balance < 0 { Err(Fault::new("nobody begins with debts")) } else { Ok(Self { balance }) }
    }

    /// Adds something, and tells how much that makes.
    pub(crate) fn deposit(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.balance
    }

    /// Waits until the test goes on.
    pub(crate) fn wait(&self, port: u16) {
        wait_at(port);
    }

    /// Panics.
    pub(crate) fn fail(&mut self) {
        panic!("no such luck")
    }
}

/// Waits until the test goes on, if it is there.
fn wait_at(port: u16) {
    if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
        let _ = std::io::Read::read(&mut stream, &mut [0]);
    }
}

/// Where others wait until the test goes on.
fn gate() -> (TcpListener, u16) {
    let gate = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = gate.local_addr().unwrap().port();
    (gate, port)
}

/// Takes as long as the test likes to begin and to end.
#[derive(Debug)]
pub(crate) struct Slow {
    port: u16,
}

#[shared]
impl Slow {
    /// Waits until the test goes on.
    pub(crate) fn new(port: u16) -> Self {
        wait_at(port);
        Self { port }
    }

    /// Where it waits.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        wait_at(self.port);
    }
}

/// Has a proxy of itself.
#[derive(Debug)]
pub(crate) struct Narcissus(Option<NarcissusProxy>);

#[shared]
impl Narcissus {
    /// One that does not know itself.
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// Is given itself.
    pub(crate) fn know(&mut self, itself: NarcissusProxy) {
        self.0 = Some(itself);
    }

    /// Whether it knows itself.
    pub(crate) fn knows(&self) -> bool {
        self.0.is_some()
    }

    /// What it is told by itself when it changes, and when it calls itself and does not wait.
    pub(crate) fn asks_alone(&mut self) -> Vec<Result<(), String>> {
        let Some(itself) = &self.0 else { return Vec::new() };
        vec![
            itself.knows().map(drop).map_err(|error| error.to_string()),
            itself.know(itself.clone()).map_err(|error| error.to_string()),
            itself.knows_later().map(drop).map_err(|error| error.to_string()),
            itself.knows_later().and_then(Pending::get).map(drop).map_err(|error| error.to_string()),
        ]
    }

    /// What it is told by itself when it looks, after the test has gone on.
    pub(crate) fn asks(&self, port: u16) -> Vec<Result<(), String>> {
        wait_at(port);
        let Some(itself) = &self.0 else { return Vec::new() };
        vec![
            itself.knows().map(drop).map_err(|error| error.to_string()),
            itself.know(itself.clone()).map_err(|error| error.to_string()),
        ]
    }
}

/// Panics where it is read.
#[derive(Debug, Serialize)]
pub(crate) struct Unreadable;

#[shared]
impl Unreadable {
    /// One that was read.
    pub(crate) fn new(_from: Unreadable) -> Self {
        Self
    }

    /// Is never called.
    pub(crate) fn is_read(&self) -> bool {
        true
    }
}

impl<'de> Deserialize<'de> for Unreadable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("no such luck")
    }
}

fn bank(method: StartMethod) -> BaseManager {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Account>("Account");
    builder.register_object("treasury", Account { balance: 1000 }).start().unwrap()
}

fn objects_live_in_the_server(method: StartMethod) {
    let bank = bank(method);
    assert_ne!(bank.pid(), Some(std::process::id()));
    let account = bank.create::<Account>((5,)).unwrap();
    assert_eq!(account.deposit(10).unwrap(), 15);
    let treasury: AccountProxy = bank.get("treasury").unwrap();
    assert_eq!(treasury.deposit(-1).unwrap(), 999);
    let same: AccountProxy = bank.get("treasury").unwrap();
    assert_eq!(same, treasury);
    assert_eq!(bank.number_of_objects().unwrap(), 2);
    drop(account);
    await_objects(&bank, 1); // An object goes with its last proxy.
    bank.shutdown().unwrap();
}

fn mistakes_are_told(method: StartMethod) {
    let bank = bank(method);
    assert!(matches!(refusal(bank.get::<AccountProxy>("vault")), Refusal::NoName { name } if name == "vault"));
    let refused = refusal(bank.create::<Account>((-1,)));
    assert!(matches!(&refused, Refusal::Construct { reason } if reason == "nobody begins with debts"), "{refused}");
    let account = bank.create::<Account>((0,)).unwrap();
    bank.publish("vault", &account).unwrap();
    assert!(bank.get::<AccountProxy>("vault").unwrap() == account);
    for taken in ["vault", "treasury"] {
        assert!(matches!(refusal(bank.publish(taken, &account)), Refusal::NameTaken { name } if name == taken));
    }
    let unknown = MethodName { name: "Account::unknown", signature: 77 };
    let refused = refusal(account.as_raw().call::<_, ()>(unknown, &()));
    assert!(matches!(&refused, Refusal::NoMethod { method, .. } if method == "unknown"), "{refused}");
    let deposit = Account::methods().into_iter().find(|method| method.name == "deposit").unwrap();
    let deposit = MethodName { name: "Account::deposit", signature: deposit.signature };
    let wrong = refusal(account.as_raw().call::<_, i64>(deposit, &("a text".to_string(),)));
    assert!(matches!(wrong, Refusal::Arguments { .. }), "{wrong}");
    let panicked = refusal(account.fail());
    assert!(matches!(&panicked, Refusal::Panicked { message, .. } if message == "no such luck"), "{panicked}");
    assert_eq!(refusal(account.deposit(1)), Refusal::Poisoned);
    bank.get::<AccountProxy>("vault").unwrap().clear_poison().unwrap();
    account.deposit(1).unwrap();
    bank.create::<Account>((0,)).unwrap().deposit(1).unwrap();
}

fn a_managers_text_is_one_line(method: StartMethod) {
    let bank = bank(method);
    let (address, pid) = (bank.address().clone(), bank.pid().unwrap());
    let name = "BaseManager";
    assert_eq!(format!("{bank:?}"), format!("BaseManager {{ name: {name:?}, address: {address}, pid: {pid}, .. }}"));
    let key = procession_launch::current_process().authkey();
    let other = SyncManager::connect(address.clone(), key.as_bytes()).unwrap();
    assert_eq!(format!("{other:?}"), format!("SyncManager(BaseManager {{ address: {address}, .. }})"));
}

fn a_method_that_would_wait_for_itself_is_told_so(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Narcissus>("Narcissus");
    let manager = builder.start().unwrap();
    let narcissus = manager.create::<Narcissus>(()).unwrap();
    narcissus.know(narcissus.clone()).unwrap();
    let is_refused = |told: &Result<(), String>| {
        told.as_ref().is_err_and(|told| told.contains("wait for itself") && told.contains("know"))
    };
    let told = narcissus.asks_alone().unwrap();
    assert!(is_refused(&told[0]) && is_refused(&told[1]) && told[2].is_ok() && is_refused(&told[3]), "{told:?}");
    let told = narcissus.asks(0).unwrap(); // Nobody is there.
    assert!(told[0].is_ok() && is_refused(&told[1]), "{told:?}");
    let (gate, port) = gate();
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| narcissus.asks(port).unwrap());
        let guest = gate.accept().unwrap();
        let changes = narcissus.know_later(narcissus.clone()).unwrap();
        let begun = Instant::now();
        while manager.objects().unwrap()[0].waiting == 0 {
            assert!(begun.elapsed() < SOON);
        }
        drop(guest);
        let told = asks.join().unwrap();
        assert!(is_refused(&told[0]) && is_refused(&told[1]), "somebody else is to change it first: {told:?}");
        changes.get().unwrap();
    });
    assert!(narcissus.knows().unwrap());
}

fn a_slow_method_keeps_nobody_waiting(method: StartMethod) {
    let bank = bank(method);
    let (slow, other) = (bank.create::<Account>((0,)).unwrap(), bank.create::<Account>((0,)).unwrap());
    let (gate, port) = gate();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| slow.wait(port));
        let (guest, _) = gate.accept().unwrap();
        for _ in 0..100 {
            other.deposit(1).unwrap();
        }
        assert!(!waits.is_finished());
        drop(guest);
        waits.join().unwrap().unwrap();
    });
}

fn a_slow_beginning_and_a_slow_end_keep_nobody_waiting(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Account>("Account");
    let bank = builder.register::<Slow>("Slow").start().unwrap();
    let other = bank.create::<Account>((0,)).unwrap();
    let (gate, port) = gate();
    std::thread::scope(|scope| {
        let makes = scope.spawn(|| bank.create::<Slow>((port,)).unwrap());
        let (guest, _) = gate.accept().unwrap();
        for _ in 0..100 {
            other.deposit(1).unwrap();
        }
        assert!(!makes.is_finished());
        drop(guest);
        let made = makes.join().unwrap();
        assert_eq!(made.port().unwrap(), port);
        drop(made);
        let (_guest, _) = gate.accept().unwrap();
        for _ in 0..100 {
            other.deposit(1).unwrap();
        }
        assert_eq!(bank.number_of_objects().unwrap(), 1, "what ends is not known any more");
    });
}

fn a_value_that_panics_when_it_is_read_harms_nobody(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Unreadable>("Unreadable");
    let manager = builder.register_object("one", Unreadable).start().unwrap();
    for _ in 0..2 {
        for refused in
            [refusal(manager.create::<Unreadable>((Unreadable,))), refusal(manager.get::<UnreadableProxy>("one"))]
        {
            assert!(matches!(&refused, Refusal::Panicked { message, .. } if message == "no such luck"), "{refused}");
        }
    }
    await_objects(&manager, 0);
}

fn a_server_that_ends_hangs_up_though_a_method_takes_long(_: StartMethod) {
    const KEY: &[u8] = b"a key of its own";
    let server = BaseManager::builder().register::<Account>("Account").authkey(KEY).get_server().unwrap();
    let address = server.address().clone();
    let connect = || BaseManager::connect(address.clone(), KEY);
    let (gate, port) = gate();
    std::thread::scope(|scope| {
        let serves = scope.spawn(|| server.serve_forever());
        let (bank, other): (BaseManager, SyncManager) = (connect().unwrap(), connect().unwrap().into());
        let (account, queue) = (bank.create::<Account>((0,)).unwrap(), other.queue::<u64>().unwrap());
        let waits = scope.spawn(move || account.wait(port));
        let (guest, _) = gate.accept().unwrap();
        let takes = scope.spawn(move || queue.get());
        connect().unwrap().shutdown().unwrap();
        assert!(matches!(takes.join().unwrap(), Err(CallError::Disconnected { .. })));
        assert!(matches!(waits.join().unwrap(), Err(CallError::Disconnected { .. })));
        assert!(matches!(connect(), Err(ManagerError::Connect { .. })));
        drop(guest);
        serves.join().unwrap().unwrap();
    });
}

fn a_dictionary_is_one(method: StartMethod) {
    let manager = manager(method);
    let dict: DictProxy<String, i64> = manager.dict().unwrap();
    assert_eq!(dict.insert("one".into(), 1).unwrap(), None);
    assert_eq!(dict.insert("two".into(), 2).unwrap(), None);
    assert_eq!(dict.insert("one".into(), 11).unwrap(), Some(1));
    assert_eq!(dict.get(&"one".into()).unwrap(), Some(11));
    assert_eq!(dict.get(&"three".into()).unwrap(), None);
    assert_eq!((dict.len().unwrap(), dict.contains_key(&"two".into()).unwrap()), (2, true));
    assert_eq!(dict.update("two".into(), |n| n.unwrap_or(0) + 40).unwrap(), 42);
    assert_eq!(dict.update("new".into(), |n| n.unwrap_or(7)).unwrap(), 7);
    let keys: Vec<String> = dict.iter().map(|item| item.unwrap().0).collect();
    assert_eq!(keys, ["one", "two", "new"], "in the order of insertion");
    assert_eq!(dict.pop_item().unwrap(), Some(("new".into(), 7)));
    assert_eq!(dict.remove(&"one".into()).unwrap(), Some(11));
    assert_eq!(dict.to_map().unwrap(), HashMap::from([("two".to_string(), 42)]));
    dict.clear().unwrap();
    assert!(dict.is_empty().unwrap());
    for n in 0..5000 {
        dict.insert(n.to_string(), n).unwrap();
    }
    assert!(dict.iter().map(Result::unwrap).eq((0..5000).map(|n| (n.to_string(), n))), "in several batches");
}

fn a_dictionary_knows_its_keys(method: StartMethod) {
    #[derive(Debug, Serialize, Deserialize, Eq)]
    struct Caseless(String);
    impl PartialEq for Caseless {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(&other.0)
        }
    }
    impl std::hash::Hash for Caseless {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }
    let manager = manager(method);
    let dict: DictProxy<Caseless, i64> = manager.dict().unwrap();
    dict.insert(Caseless("Key".into()), 1).unwrap();
    assert_eq!(dict.insert(Caseless("KEY".into()), 2).unwrap(), Some(1));
    assert_eq!((dict.len().unwrap(), dict.get(&Caseless("key".into())).unwrap()), (1, Some(2)));
}

fn a_queue_serves_those_who_wait(method: StartMethod) {
    let manager = manager(method);
    let queue: QueueProxy<u64> = manager.bounded_queue(2).unwrap();
    assert_eq!(refusal(queue.try_get()), Refusal::WouldBlock);
    assert_eq!(refusal(queue.get_timeout(Duration::from_millis(20))), Refusal::TimedOut);
    std::thread::scope(|scope| {
        let takes = scope.spawn(|| queue.get().unwrap());
        queue.put(&5).unwrap();
        assert_eq!(takes.join().unwrap(), 5);
        queue.put(&1).unwrap();
        queue.put(&2).unwrap();
        assert!(queue.is_full().unwrap());
        assert_eq!(refusal(queue.try_put(&3)), Refusal::WouldBlock);
        let puts = scope.spawn(|| queue.put(&3).unwrap());
        assert_eq!((queue.get().unwrap(), queue.get().unwrap(), queue.get().unwrap()), (1, 2, 3));
        puts.join().unwrap();
    });
    assert!(queue.is_empty().unwrap());
}

fn a_lock_is_one_processs(method: StartMethod) {
    let manager = manager(method);
    let lock: LockProxy = manager.lock().unwrap();
    let guard = lock.lock().unwrap();
    assert!(lock.is_locked().unwrap() && !guard.owner_died());
    assert_eq!(refusal(lock.try_lock()), Refusal::WouldBlock);
    assert_eq!(refusal(lock.lock_timeout(Duration::from_millis(20))), Refusal::TimedOut);
    drop(guard);
    drop(lock.try_lock().unwrap());
    assert!(!lock.is_locked().unwrap());
}

fn proxies_live_in_objects(method: StartMethod) {
    let manager = manager(method);
    let outer: DictProxy<u8, QueueProxy<i64>> = manager.dict().unwrap();
    let inner = manager.queue().unwrap();
    inner.put(&1).unwrap();
    outer.insert(0, inner).unwrap();
    assert_eq!(manager.number_of_objects().unwrap(), 2, "the outer one keeps the inner one");
    let again = outer.get(&0).unwrap().unwrap();
    assert_eq!(again.get().unwrap(), 1);
    drop(outer);
    await_objects(&manager, 1);
    drop(again);
    await_objects(&manager, 0);
}

fn a_killed_server_is_told_at_once(method: StartMethod) {
    let manager = manager(method);
    let queue: QueueProxy<u64> = manager.queue().unwrap();
    let pid = manager.pid().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| queue.get());
        queue.len().unwrap();
        kill(pid);
        assert!(matches!(waits.join().unwrap(), Err(CallError::Disconnected { .. })));
    });
    assert!(matches!(queue.len(), Err(CallError::Disconnected { .. })));
}

fn children_use_proxies(method: StartMethod) {
    let manager = manager(method);
    let (queue, dict) = (manager.queue::<u64>().unwrap(), manager.dict::<String, u64>().unwrap());
    let sums = |queue: QueueProxy<u64>, dict: DictProxy<String, u64>| {
        let sum = (0..10).map(|_| queue.get().unwrap()).sum();
        dict.insert("sum".into(), sum).unwrap();
    };
    let child = Context::new(method).start(sums, (queue.clone(), dict.clone())).unwrap();
    (1..=10).for_each(|n| queue.put(&n).unwrap());
    child.join().unwrap();
    assert_eq!(dict.get(&"sum".into()).unwrap(), Some(55));
    assert_eq!(manager.number_of_objects().unwrap(), 2);
    drop((queue, dict));
    await_objects(&manager, 0);
}

fn a_key_of_ones_own_goes_to_children(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).authkey(b"a key of its own");
    let manager: SyncManager = builder.address("127.0.0.1:0").start().unwrap().into();
    let queue = manager.queue::<u64>().unwrap();
    let child = Context::new(method).start(|queue: QueueProxy<u64>| queue.put(&7).unwrap(), (queue.clone(),)).unwrap();
    child.join().unwrap();
    assert_eq!(queue.get().unwrap(), 7);
    let wrong = BaseManager::connect(manager.address().clone(), b"another key");
    assert!(matches!(wrong, Err(ManagerError::Connect { .. })), "{wrong:?}");
}

fn a_reference_on_its_way_keeps_its_object(method: StartMethod) {
    let manager = manager(method);
    let outer: QueueProxy<u64> = manager.queue().unwrap();
    let (sender, receiver) = procession_ipc::pipe::<QueueProxy<u64>, ()>().unwrap();
    let forwards = |outer: QueueProxy<u64>, to: procession_ipc::Connection<QueueProxy<u64>, ()>| {
        outer.put(&1).unwrap();
        to.send(&outer).unwrap();
    };
    let child = Context::new(method).start(forwards, (outer.clone(), sender)).unwrap();
    drop(outer);
    child.join().unwrap();
    assert_eq!(manager.number_of_objects().unwrap(), 1, "nobody has it but the message");
    let outer = receiver.recv().unwrap();
    assert_eq!(outer.get().unwrap(), 1);
    drop(outer);
    await_objects(&manager, 0);
}

fn a_killed_client_gives_back_what_it_had(method: StartMethod) {
    let manager = manager(method);
    let (lock, queue) = (manager.lock().unwrap(), manager.queue::<u64>().unwrap());
    let told = manager.queue::<u64>().unwrap();
    let holds = |lock: LockProxy, queue: QueueProxy<u64>, told: QueueProxy<u64>| {
        let _guard = lock.lock().unwrap();
        told.put(&1).unwrap();
        let _ = queue.get();
    };
    let child = Context::new(method).start(holds, (lock.clone(), queue.clone(), told.clone())).unwrap();
    told.get().unwrap();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| lock.lock_timeout(SOON).map(|guard| guard.owner_died()));
        child.kill().unwrap();
        assert!(waits.join().unwrap().unwrap(), "the next one is told that the holder died");
    });
    queue.put(&5).unwrap();
    assert_eq!(queue.get_timeout(SOON).unwrap(), 5, "nothing is given to the dead");
    let _ = child.join();
}

fn a_call_that_is_given_up_loses_nothing(method: StartMethod) {
    // Long enough for those that are not given up, on a machine that has others to run.
    let builder = BaseManager::builder().context(Context::new(method)).call_timeout(Duration::from_secs(2));
    let manager: SyncManager = builder.start().unwrap().into();
    let (queue, lock) = (manager.queue::<u64>().unwrap(), manager.lock().unwrap());
    assert!(matches!(queue.get(), Err(CallError::TimedOut { .. })));
    queue.put(&1).unwrap();
    assert_eq!(queue.try_get().unwrap(), 1);
    let guard = lock.lock().unwrap();
    assert!(matches!(lock.lock(), Err(CallError::TimedOut { .. })));
    drop(guard);
    drop(lock.try_lock().unwrap());
}

fn a_manager_ends_with_its_handle(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Account>("Account");
    let first = builder.address("127.0.0.1:0").start().unwrap();
    let (address, account) = (first.address().clone(), first.create::<Account>((0,)).unwrap());
    drop(first);
    assert!(matches!(account.deposit(1), Err(CallError::Disconnected { .. })));
    // Its address is free at once.
    for _ in 0..10 {
        let again = BaseManager::builder().context(Context::new(method)).address(address.clone()).start();
        again.unwrap().shutdown().unwrap();
    }
}

fn a_server_that_is_stopped_ends_with_its_manager(method: StartMethod) {
    let start = || {
        let builder = BaseManager::builder().context(Context::new(method));
        builder.shutdown_timeout(Duration::from_millis(100)).start().unwrap()
    };
    let [dropped, shut_down] = [start(), start()];
    for stopped in [&dropped, &shut_down] {
        send("-STOP", stopped.pid().unwrap());
    }
    let began = Instant::now();
    drop(dropped);
    shut_down.shutdown().unwrap();
    assert!(began.elapsed() < SOON * 2); // That nothing of them is left is seen by who looks after each case.
}

fn what_a_dead_worker_had_is_done_by_another(method: StartMethod) {
    let manager = manager(method);
    let jobs = manager.joinable_queue::<u64>().unwrap();
    let told = manager.queue::<u64>().unwrap();
    (1..=3).for_each(|job| jobs.put(&job).unwrap());
    let takes = |jobs: JoinableQueueProxy<u64>, told: QueueProxy<u64>| -> () {
        jobs.get().unwrap();
        jobs.task_done().unwrap();
        told.put(&jobs.get().unwrap()).unwrap();
        rest()
    };
    let worker = Context::new(method).start(takes, (jobs.clone(), told.clone())).unwrap();
    assert_eq!(told.get().unwrap(), 2);
    assert_eq!((jobs.len().unwrap(), jobs.is_empty().unwrap(), jobs.is_full().unwrap()), (1, false, false));
    assert_eq!(refusal(jobs.join_timeout(Duration::from_millis(20))), Refusal::TimedOut);
    worker.kill().unwrap();
    let _ = worker.join();
    let mut left = [jobs.get_timeout(SOON).unwrap(), jobs.get_timeout(SOON).unwrap()];
    left.sort_unstable(); // The server may hear of the death after the first of them.
    assert_eq!(left, [2, 3]);
    assert_eq!(refusal(jobs.join_timeout(Duration::from_millis(20))), Refusal::TimedOut);
    jobs.task_done().unwrap();
    jobs.task_done().unwrap();
    jobs.join().unwrap();
    assert_eq!(refusal(jobs.task_done()), Refusal::NotHeld);
}

fn a_busy_client_keeps_nobody_waiting(method: StartMethod) {
    let manager = manager(method);
    let (busy, told) = (manager.dict::<u64, u64>().unwrap(), manager.queue::<u64>().unwrap());
    // Whoever sends proxies on tells the server, and waits for no answer: there is always something to read.
    let hammers = |busy: DictProxy<u64, u64>, told: QueueProxy<u64>| {
        told.put(&1).unwrap();
        while procession_wire::encode(&busy).is_ok() {}
    };
    let children: Vec<_> =
        (0..3).map(|_| Context::new(method).start(hammers, (busy.clone(), told.clone())).unwrap()).collect();
    for _ in &children {
        told.get().unwrap();
    }
    assert_eq!(refusal(told.get_timeout(Duration::from_millis(20))), Refusal::TimedOut, "a time comes");
    let key = procession_launch::current_process().authkey();
    let other = BaseManager::connect(manager.address().clone(), key.as_bytes()).unwrap();
    assert!(other.number_of_objects().unwrap() >= 2, "another client is heard");
    manager.shutdown().unwrap();
    children.into_iter().for_each(|child| child.join().unwrap());
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        objects_live_in_the_server,
        mistakes_are_told,
        a_managers_text_is_one_line,
        a_method_that_would_wait_for_itself_is_told_so,
        a_slow_method_keeps_nobody_waiting,
        a_slow_beginning_and_a_slow_end_keep_nobody_waiting,
        a_value_that_panics_when_it_is_read_harms_nobody,
        a_server_that_ends_hangs_up_though_a_method_takes_long,
        a_dictionary_is_one,
        a_dictionary_knows_its_keys,
        a_queue_serves_those_who_wait,
        a_lock_is_one_processs,
        proxies_live_in_objects,
        a_killed_server_is_told_at_once,
        children_use_proxies,
        a_key_of_ones_own_goes_to_children,
        a_reference_on_its_way_keeps_its_object,
        a_killed_client_gives_back_what_it_had,
        a_call_that_is_given_up_loses_nothing,
        a_server_that_is_stopped_ends_with_its_manager,
        a_manager_ends_with_its_handle,
        what_a_dead_worker_had_is_done_by_another,
        a_busy_client_keeps_nobody_waiting,
    ];
}
