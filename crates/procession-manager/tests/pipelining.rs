//! Many calls at once: that each result comes to who asked for it, in order, and what becomes of those that nobody takes.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::mem;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_manager::{
    BaseManager, CALLS_AHEAD_MAX, CallError, DictProxy, Hosted, JoinableQueueProxy, ListProxy, Pending, QueueProxy,
    Refusal, SyncManager, ValueProxy, shared,
};
use procession_sys::{PidFd, Signal};
use procession_testkit::program;

use common::{await_objects, manager, methods, refusal, warm_up};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

/// As many calls as fill no ring, and more than are carried out at once.
const MANY: u64 = 100;

/// The environment variable that tells a program where its manager is, and its key.
const ADDRESS: &str = "ADDRESS";
const KEY: &[u8] = b"a key";

/// Too short for anything that does not happen.
const SHORT: Duration = Duration::from_millis(20);

#[derive(Default)]
pub(crate) struct Account {
    balance: i64,
}

#[shared]
impl Account {
    pub(crate) fn deposit(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.balance
    }
}

#[derive(Default)]
pub(crate) struct Bank {
    opened: Vec<Hosted<Account>>,
}

#[shared]
impl Bank {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Opens an account, which goes with its last proxy.
    pub(crate) fn open(&self) -> Hosted<Account> {
        Hosted::new(Account::default())
    }

    /// One that the bank keeps.
    pub(crate) fn keep(&mut self) -> Hosted<Account> {
        self.opened.push(Hosted::new(Account::default()));
        self.opened[self.opened.len() - 1].clone()
    }
}

/// One whose methods call objects of its own server.
#[derive(Default)]
pub(crate) struct Insider;

#[shared]
impl Insider {
    pub(crate) fn new() -> Self {
        Self
    }

    /// Gives a call up that has no answer; whether it was told so.
    pub(crate) fn gives_up(&self, queue: QueueProxy<u64>) -> bool {
        let late = queue.get_later().unwrap().get_timeout(SHORT);
        matches!(late, Err(CallError::TimedOut { after: SHORT, .. }))
    }

    /// Drops a call before it has taken something, or after that.
    pub(crate) fn drops(&self, queue: QueueProxy<u64>, is_taken: bool) -> bool {
        let mut taken = queue.get_later().unwrap();
        !is_taken || taken.wait_timeout(SOON)
    }

    /// Takes a job; whether there is nothing to be done twice.
    pub(crate) fn works(&self, jobs: JoinableQueueProxy<u64>) -> (u64, bool) {
        let job = jobs.get().unwrap();
        jobs.task_done().unwrap();
        (job, refusal(jobs.task_done()) == Refusal::NotHeld)
    }
}

/// What a call that was sent has for a result, against one that was waited for.
#[track_caller]
fn is_twin<R: PartialEq + std::fmt::Debug>(sent: Result<Pending<R>, CallError>, waited_for: Result<R, CallError>) {
    let sent = sent.and_then(Pending::get);
    match (&sent, &waited_for) {
        (Ok(sent), Ok(waited_for)) => assert_eq!(sent, waited_for),
        (Err(CallError::Refused { refusal: one, .. }), Err(CallError::Refused { refusal: other, .. })) => {
            assert_eq!(one, other);
        }
        _ => panic!("{sent:?} is not {waited_for:?}"),
    }
}

fn each_method_that_does_not_wait_is_its_twin(method: StartMethod) {
    let there = manager(method);
    let ([dict, other], a) = ([(); 2].map(|()| there.dict::<String, u64>().unwrap()), || "a".to_owned());
    for value in [1, 2] {
        is_twin(dict.insert_later(a(), value), other.insert(a(), value));
    }
    is_twin(dict.get_later(&a()), other.get(&a()));
    is_twin(dict.contains_key_later(&a()), other.contains_key(&a()));
    is_twin(dict.update_later(a(), |n| n.unwrap_or(0) + 1), other.update(a(), |n| n.unwrap_or(0) + 1));
    is_twin(dict.get_or_insert_later("b".to_owned(), 9), other.get_or_insert("b".to_owned(), 9));
    is_twin(dict.remove_later(&a()), other.remove(&a()));
    is_twin(dict.remove_later(&a()), other.remove(&a()));
    assert_eq!(dict.to_map().unwrap(), other.to_map().unwrap());

    let [list, other] = [(); 2].map(|()| there.list::<u64>().unwrap());
    is_twin(list.push_later(1), other.push(1));
    is_twin(list.set_later(0, 2), other.set(0, 2));
    is_twin(list.set_later(1, 2), other.set(1, 2));
    is_twin(list.get_later(0), other.get(0));
    is_twin(list.get_later(1), other.get(1));

    let [set, other] = [(); 2].map(|()| there.set::<u64>().unwrap());
    is_twin(set.insert_later(1), other.insert(1));
    is_twin(set.insert_later(1), other.insert(1));
    is_twin(set.contains_later(&1), other.contains(&1));
    is_twin(set.remove_later(&1), other.remove(&1));
    is_twin(set.remove_later(&1), other.remove(&1));

    let [value, other] = [(); 2].map(|()| there.value("a".to_owned()).unwrap());
    is_twin(value.set_later("b".to_owned()), other.set("b".to_owned()));
    is_twin(value.update_later(|text| text + "!"), other.update(|text| text + "!"));
    is_twin(value.get_later(), other.get());

    let [space, other] = [(); 2].map(|()| there.namespace().unwrap());
    is_twin(space.set_later("depth", 3_u32), other.set("depth", 3_u32));
    is_twin(space.set_later("title", a()), other.set("title", a()));
    is_twin(space.get_later::<u32>("depth"), other.get::<u32>("depth"));
    is_twin(space.get_later::<String>("title"), other.get::<String>("title"));
    is_twin(space.get_later::<u32>("nothing"), other.get::<u32>("nothing"));
    assert_eq!((space.get::<u32>("depth").unwrap(), space.get::<String>("title").unwrap()), (Some(3), Some(a())));

    let [event, other] = [(); 2].map(|()| there.event().unwrap());
    is_twin(event.set_later(), other.set());
    assert!(event.is_set().unwrap());

    let [queue, other] = [(); 2].map(|()| there.queue::<u64>().unwrap());
    is_twin(queue.put_later(&1), other.put(&1));
    is_twin(queue.get_later(), other.get());
    let [queue, other] = [(); 2].map(|()| there.joinable_queue::<u64>().unwrap());
    is_twin(queue.put_later(&1), other.put(&1));
    is_twin(queue.get_later(), other.get());
    queue.task_done().unwrap();

    let source = include_str!("../src/stock/later.rs");
    let methods = source.lines().filter(|line| line.contains("pub fn ") && line.contains("_later"));
    assert_eq!(methods.count(), 20, "a method is added here, too");
}

fn results_come_in_order_each_to_who_asked(method: StartMethod) {
    let manager = manager(method);
    let list = manager.list::<u64>().unwrap();
    let many = 2 * CALLS_AHEAD_MAX as u64 + 7;
    let pushed: Vec<_> = (0..many).map(|n| list.push_later(n).unwrap()).collect();
    let mut asked: Vec<(u64, Pending<Option<u64>>)> = Vec::new();
    for n in 0..100 {
        asked.push((n, list.get_later(n as usize).unwrap()));
        let nowhere = list.set_later(many as usize + 1, 0).unwrap();
        assert!(matches!(refusal(nowhere.get()), Refusal::OutOfRange { index, .. } if index == many + 1));
    }
    for (n, pending) in asked.into_iter().rev() {
        assert_eq!(pending.get().unwrap(), Some(n), "whatever is asked for first");
    }
    pushed.into_iter().for_each(|pending| pending.get().unwrap());
    assert!(list.to_vec().unwrap().into_iter().eq(0..many));
}

fn threads_share_the_connection(method: StartMethod) {
    let manager = manager(method);
    let lists: Vec<ListProxy<u64>> = (0..4).map(|_| manager.list().unwrap()).collect();
    let dict = manager.dict::<String, u64>().unwrap();
    std::thread::scope(|scope| {
        for (who, list) in lists.iter().enumerate() {
            let dict = &dict;
            scope.spawn(move || {
                for n in 0..500 {
                    let (pushed, other) = (list.push_later(n).unwrap(), list.push_later(n + 1000).unwrap());
                    let set = dict.insert_later(format!("{who} {n}"), n).unwrap();
                    assert_eq!(dict.insert(format!("{who}"), n).unwrap(), n.checked_sub(1));
                    assert_eq!(set.get().unwrap(), None);
                    other.get().unwrap();
                    drop(pushed);
                }
            });
        }
    });
    for list in lists {
        assert!(list.to_vec().unwrap().into_iter().eq((0..500).flat_map(|n| [n, n + 1000])), "each thread's, in order");
    }
    assert_eq!(dict.len().unwrap(), 4 * 501);
}

fn a_killed_server_is_told_to_all(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    let waiting: Vec<_> = (0..1000).map(|_| queue.get_later().unwrap()).collect();
    let killed = Instant::now();
    PidFd::open(manager.pid().unwrap()).unwrap().send(Signal::KILL).unwrap();
    for pending in waiting {
        assert!(matches!(pending.get(), Err(CallError::Disconnected { .. })));
    }
    assert!(killed.elapsed() < SOON);
    assert!(matches!(queue.put_later(&1), Err(CallError::Disconnected { .. })));
}

fn what_is_given_up_takes_nothing(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    let late = queue.get_later().unwrap().get_timeout(SHORT);
    assert!(matches!(late, Err(CallError::TimedOut { after: SHORT, .. })), "{late:?}");
    let mut waits = queue.get_later().unwrap();
    assert!(!waits.is_ready() && !waits.wait_timeout(SHORT));
    drop(queue.get_later().unwrap());
    queue.put(&1).unwrap();
    assert!(waits.wait_timeout(SOON) && waits.is_ready() && waits.is_ready());
    assert_eq!(waits.get().unwrap(), 1);
    queue.put(&2).unwrap();
    queue.put(&3).unwrap();
    let mut taken = queue.get_later().unwrap();
    assert!(taken.wait_timeout(SOON));
    assert_eq!(queue.len().unwrap(), 1);
    drop(taken);
    assert_eq!((queue.get().unwrap(), queue.get().unwrap()), (2, 3), "it is the first again");
    assert!(queue.is_empty().unwrap());
}

fn what_is_given_up_within_the_server_takes_nothing(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Insider>("Insider");
    let manager: SyncManager = builder.start().unwrap().into();
    let (insider, queue) = (manager.create::<Insider>(()).unwrap(), manager.queue::<u64>().unwrap());
    assert!(insider.gives_up(queue.clone()).unwrap());
    assert!(insider.drops(queue.clone(), false).unwrap());
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    assert!(insider.drops(queue.clone(), true).unwrap());
    assert_eq!((queue.try_get().unwrap(), queue.try_get().unwrap()), (1, 2), "it is the first again");
}

fn what_is_done_within_the_server_is_done(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).register::<Insider>("Insider");
    let manager: SyncManager = builder.start().unwrap().into();
    let (insider, jobs) = (manager.create::<Insider>(()).unwrap(), manager.joinable_queue::<u64>().unwrap());
    jobs.put(&7).unwrap();
    std::thread::scope(|scope| {
        let joins = scope.spawn(|| jobs.join_timeout(SOON));
        let begun = Instant::now();
        while manager.objects().unwrap().iter().all(|object| object.waiting == 0) {
            assert!(begun.elapsed() < SOON);
        }
        assert_eq!(insider.works(jobs.clone()).unwrap(), (7, true));
        joins.join().unwrap().unwrap();
    });
    assert_eq!(refusal(jobs.task_done()), Refusal::NotHeld);
}

fn what_comes_back_to_a_full_queue_is_above_its_bound_for_now(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.bounded_queue::<u64>(1).unwrap();
    queue.put(&1).unwrap();
    let mut taken = queue.get_later().unwrap();
    assert!(taken.wait_timeout(SOON));
    queue.put(&2).unwrap();
    let waits = [queue.put_later(&3).unwrap(), queue.put_later(&4).unwrap()];
    drop(taken);
    assert_eq!(queue.len().unwrap(), 2);
    assert_eq!(queue.get().unwrap(), 1);
    assert_eq!((queue.len().unwrap(), waits[0].is_ready()), (1, false), "nobody else has room yet");
    for item in 2..=4 {
        assert_eq!(queue.get_timeout(SOON).unwrap(), item);
    }
    waits.into_iter().for_each(|put| put.get().unwrap());
    assert!(queue.is_empty().unwrap());
}

fn a_clients_patience_is_for_each_call(method: StartMethod) {
    const PATIENCE: Duration = Duration::from_secs(1);
    let builder = BaseManager::builder().context(Context::new(method)).call_timeout(PATIENCE);
    let manager: SyncManager = builder.start().unwrap().into();
    let queue = manager.queue::<u64>().unwrap();
    let begun = Instant::now();
    let waiting: Vec<_> = (0..20).map(|_| queue.get_later().unwrap()).collect();
    for pending in waiting {
        assert!(matches!(pending.get(), Err(CallError::TimedOut { .. })));
    }
    assert!(begun.elapsed() < 20 * PATIENCE / 2, "they wait at the same time");
    queue.put(&1).unwrap();
    assert_eq!(queue.get().unwrap(), 1);
}

fn what_is_dropped_is_done_and_leaves_nothing(method: StartMethod) {
    let bank = BaseManager::builder().context(Context::new(method)).register::<Bank>("Bank").start().unwrap();
    let manager = manager(method);
    let list = manager.list::<u64>().unwrap();
    let many = 3 * CALLS_AHEAD_MAX as u64;
    (0..many).for_each(|n| drop(list.push_later(n).unwrap()));
    (0..many).for_each(|_| drop(list.set_later(usize::MAX, 0).unwrap())); // Refusals.
    assert_eq!(list.len().unwrap() as u64, many);

    let there = bank.create::<Bank>(()).unwrap();
    let mut accounts = [there.open_later().unwrap(), there.keep_later().unwrap(), there.keep_later().unwrap()];
    assert!(accounts.iter_mut().all(|account| account.wait_timeout(SOON)));
    let [opened, kept, used] = accounts;
    assert_eq!(bank.number_of_objects().unwrap(), 4);
    drop([opened, kept]); // Their answers have come.
    drop(there.open_later().unwrap()); // This one's has not.
    let used = used.get().unwrap();
    assert_eq!(used.deposit_later(7).unwrap().get().unwrap(), 7);
    await_objects(&bank, 2); // What nobody refers to goes.
}

/// Puts so many items, and waits for none of them.
fn put_many(queue: QueueProxy<u64>) {
    (0..MANY).for_each(|item| drop(queue.put_later(&item).unwrap()));
}

fn put_many_and_die(queue: QueueProxy<u64>) {
    put_many(queue.clone());
    PidFd::open(std::process::id()).unwrap().send(Signal::KILL).unwrap();
}

fn what_is_dropped_is_done_after_its_client_has_ended(method: StartMethod) {
    for address in [None, Some("127.0.0.1:0")] {
        let builder = BaseManager::builder().context(Context::new(method));
        let builder = if let Some(address) = address { builder.address(address) } else { builder };
        let manager = SyncManager::from(builder.start().unwrap());
        let queue = manager.queue().unwrap();
        // A forked copy has its parent's proxies, and ends without dropping them.
        Context::new(method).start(put_many, (queue.clone(),)).unwrap().join().unwrap();
        (0..MANY).for_each(|item| assert_eq!(queue.get_timeout(SOON).unwrap(), item, "{address:?}"));
    }
    let manager = manager(method);
    let queue = manager.queue().unwrap();
    Context::new(method).start(put_many_and_die, (queue.clone(),)).unwrap().join().unwrap_err();
    (0..MANY).for_each(|item| assert_eq!(queue.get_timeout(SOON).unwrap(), item));
}

/// A program that puts many, waits for none of them, and drops nothing before its end, while another thread of it waits for an
/// answer.
fn leaves_much() {
    let manager = SyncManager::connect(std::env::var(ADDRESS).unwrap(), KEY).unwrap();
    let queue: QueueProxy<u64> = manager.get("queue").unwrap();
    let never = manager.event().unwrap();
    std::thread::spawn(move || never.wait());
    put_many(queue.clone());
    // The answers bring proxies, which nobody takes.
    let values: DictProxy<u64, ValueProxy<u64>> = manager.dict().unwrap();
    let value = manager.value(1).unwrap();
    (0..MANY).for_each(|_| drop(values.insert_later(1, value.clone()).unwrap()));
    mem::forget((manager, queue, values, value));
}

fn what_is_dropped_is_done_after_a_main_that_drops_no_proxies() {
    let manager = BaseManager::builder().address("127.0.0.1:0").authkey(KEY).start().unwrap();
    let manager = SyncManager::from(manager);
    let queue = manager.queue::<u64>().unwrap();
    manager.publish("queue", &queue).unwrap();
    let mut program = program("leaves_much");
    let output = program.env(ADDRESS, manager.address().to_string()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    (0..MANY).for_each(|item| assert_eq!(queue.get_timeout(SOON).unwrap(), item));
}

/// A program with a thread that goes on dropping calls, which are never done, while the program ends.
fn never_stops() {
    let manager = SyncManager::connect(std::env::var(ADDRESS).unwrap(), KEY).unwrap();
    let queue: QueueProxy<u64> = manager.get("queue").unwrap();
    let (dropped, has_dropped) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        loop {
            drop(queue.put_later(&1));
            let _ = dropped.send(());
            // Somebody who reports now and then does not come to the end of what a link may have on its way.
            std::thread::sleep(SHORT);
        }
    });
    has_dropped.recv().unwrap();
    mem::forget(manager);
}

fn a_program_ends_though_a_thread_of_it_goes_on_dropping_calls() {
    let manager = BaseManager::builder().address("127.0.0.1:0").authkey(KEY).start().unwrap();
    let manager = SyncManager::from(manager);
    let queue = manager.bounded_queue::<u64>(1).unwrap();
    queue.put(&0).unwrap();
    manager.publish("queue", &queue).unwrap();
    let begun = Instant::now();
    let output = program("never_stops").env(ADDRESS, manager.address().to_string()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

/// A program that puts something when it ends.
fn says_farewell() {
    let manager = SyncManager::connect(std::env::var(ADDRESS).unwrap(), KEY).unwrap();
    let queue: QueueProxy<u64> = manager.get("queue").unwrap();
    queue.put(&1).unwrap();
    let hook = procession_launch::at_exit(move || queue.put(&2).unwrap());
    assert!(hook.is_active());
}

fn who_ends_may_call_in_an_exit_hook() {
    let manager = SyncManager::from(BaseManager::builder().authkey(KEY).start().unwrap());
    let queue = manager.queue::<u64>().unwrap();
    manager.publish("queue", &queue).unwrap();
    let output = program("says_farewell").env(ADDRESS, manager.address().to_string()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!([queue.get_timeout(SOON).unwrap(), queue.get_timeout(SOON).unwrap()], [1, 2]);
}

fn who_is_full_waits_for_answers(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    let many = CALLS_AHEAD_MAX + 100;
    let taken = std::thread::scope(|scope| {
        let takes = scope.spawn(|| {
            let taken: Vec<_> = (0..many).map(|_| queue.get_later().unwrap()).collect();
            taken.into_iter().map(|item| item.get().unwrap()).collect::<Vec<_>>()
        });
        for n in 0..many as u64 {
            queue.put(&n).unwrap(); // A call that is waited for finds room always.
        }
        takes.join().unwrap()
    });
    assert!(taken.into_iter().eq(0..many as u64));
}

/// More than a process has on its way to the server, and a hundred megabytes back: more than the connection holds, and than
/// the server keeps before it waits.
fn as_much_as_one_likes(dict: &DictProxy<u64, Vec<u8>>) {
    const LEN: usize = 4 << 20;
    let value = |n: u64| vec![n as u8; LEN];
    let set: Vec<_> = (0..12).map(|n| dict.insert_later(n % 4, value(n)).unwrap()).collect();
    for (n, pending) in (0..).zip(set) {
        let before = pending.get().unwrap();
        assert_eq!(before.map(|before| (before.len(), before[0])), (n >= 4).then(|| (LEN, (n - 4) as u8)));
    }
    let got: Vec<_> = (0..24).map(|n| dict.get_later(&(n % 4)).unwrap()).collect();
    drop(dict.insert_later(9, value(9)).unwrap());
    assert_eq!(dict.len().unwrap(), 5);
    for (n, pending) in (0..).zip(got) {
        let found = pending.get().unwrap().unwrap();
        assert_eq!((found.len(), found[0]), (LEN, 8 + (n % 4)));
    }
}

fn neither_side_waits_for_the_other(method: StartMethod) {
    as_much_as_one_likes(&manager(method).dict().unwrap());
}

fn neither_side_waits_for_the_other_over_a_socket(method: StartMethod) {
    let builder = BaseManager::builder().context(Context::new(method)).address("127.0.0.1:0");
    let manager: SyncManager = builder.start().unwrap().into();
    as_much_as_one_likes(&manager.dict().unwrap());
}

static ASKED: Mutex<Vec<Pending<u64>>> = Mutex::new(Vec::new());

fn a_forked_copy_is_nobodys(method: StartMethod) {
    let manager = manager(method);
    let queue = manager.queue::<u64>().unwrap();
    ASKED.lock().unwrap().extend([queue.get_later().unwrap(), queue.get_later().unwrap()]);
    let asks = |queue: QueueProxy<u64>| {
        let mut asked = mem::take(&mut *ASKED.lock().unwrap());
        let count = asked.len();
        if let Some(first) = asked.pop() {
            assert!(first.is_ready());
            assert!(matches!(first.get(), Err(CallError::Forked { .. })));
        }
        drop(asked);
        queue.put_later(&1).unwrap().get().unwrap();
        queue.put(&2).unwrap();
        count
    };
    let child = Context::new(method).start(asks, (queue.clone(),)).unwrap();
    assert_eq!(child.join().unwrap(), if method == StartMethod::Fork { 2 } else { 0 });
    let asked = mem::take(&mut *ASKED.lock().unwrap());
    assert!(asked.into_iter().map(|item| item.get().unwrap()).eq([1, 2]), "the parent's go on");
}

fn many_items_are_set_at_once(method: StartMethod) {
    let manager = manager(method);
    let dict = manager.dict::<String, u64>().unwrap();
    dict.insert("a".into(), 0).unwrap();
    dict.extend((1..=100).map(|n| (format!("{n}"), n)).chain([("a".into(), 7)])).unwrap();
    assert_eq!((dict.len().unwrap(), dict.get(&"a".into()).unwrap()), (101, Some(7)));
    assert!(dict.iter().skip(1).map(|item| item.unwrap().1).eq(1..=100), "in their order");
    dict.extend([]).unwrap();
}

fn what_is_released_is_free_for_the_next_call(method: StartMethod) {
    let manager = manager(method);
    let (lock, semaphore) = (manager.lock().unwrap(), manager.semaphore(1).unwrap());
    for _ in 0..200 {
        drop(lock.try_lock().unwrap());
        drop(semaphore.try_acquire().unwrap());
    }
    assert_eq!((lock.is_locked().unwrap(), semaphore.available().unwrap()), (false, 1));
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        each_method_that_does_not_wait_is_its_twin,
        results_come_in_order_each_to_who_asked,
        threads_share_the_connection,
        a_killed_server_is_told_to_all,
        what_is_given_up_takes_nothing,
        what_is_given_up_within_the_server_takes_nothing,
        what_is_done_within_the_server_is_done,
        what_comes_back_to_a_full_queue_is_above_its_bound_for_now,
        a_clients_patience_is_for_each_call,
        what_is_dropped_is_done_and_leaves_nothing,
        what_is_dropped_is_done_after_its_client_has_ended,
        who_is_full_waits_for_answers,
        neither_side_waits_for_the_other,
        neither_side_waits_for_the_other_over_a_socket,
        a_forked_copy_is_nobodys,
        many_items_are_set_at_once,
        what_is_released_is_free_for_the_next_call,
    ];
    cases: [
        what_is_dropped_is_done_after_a_main_that_drops_no_proxies,
        a_program_ends_though_a_thread_of_it_goes_on_dropping_calls,
        who_ends_may_call_in_an_exit_hook,
    ];
    programs: [leaves_much, never_stops, says_farewell];
}
