//! A server that has no descriptors left: it says so, serves whom it can, and goes on with the others when it has some again.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::fs::File;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod, current_process};
use procession_manager::{BaseManager, EventProxy, LockProxy, ManagerError, QueueProxy, SyncManager, shared};
use procession_testkit::{assert_cost, processor_time_of};
use procession_wire::Descriptor;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use common::warm_up;

/// Ten times what anything here may take.
const SOON: Duration = Duration::from_secs(10);

/// How long a server is looked at that has nothing to do, and how much of that it may work.
const WATCHED: Duration = Duration::from_secs(1);
const WORKED_MAX: Duration = Duration::from_millis(300);

/// What this process was warned of.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        SAID.lock().unwrap().push(message.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Has all descriptors of its process that nobody else has.
#[derive(Debug)]
pub(crate) struct Hoard(Vec<File>);

#[shared]
impl Hoard {
    pub(crate) fn new() -> Self {
        tracing::subscriber::set_global_default(Ear).unwrap();
        procession_sys::set_file_limit([256; 2]).unwrap();
        Self(Vec::new())
    }

    /// Takes all that are left.
    pub(crate) fn fill(&mut self) {
        while let Ok(file) = File::open("/dev/null") {
            self.0.push(file);
        }
    }

    /// Gives them back.
    pub(crate) fn empty(&mut self) {
        self.0.clear();
    }

    /// How often the process was warned of this.
    pub(crate) fn said(&self, what: String) -> usize {
        SAID.lock().unwrap().iter().filter(|said| said.contains(&what)).count()
    }
}

/// A manager whose server has no descriptors left, and what has them.
fn hoarding() -> (SyncManager, HoardProxy) {
    let builder = BaseManager::builder().context(Context::new(StartMethod::Spawn)).register::<Hoard>("Hoard");
    let manager: SyncManager = builder.start().unwrap().into();
    let hoard = manager.create::<Hoard>(()).unwrap();
    (manager, hoard)
}

/// As another client of the same server.
fn another(manager: &BaseManager) -> Result<SyncManager, ManagerError> {
    SyncManager::connect(manager.address().clone(), current_process().authkey().as_bytes())
}

fn null() -> Descriptor {
    std::os::fd::OwnedFd::from(File::open("/dev/null").unwrap()).into()
}

#[track_caller]
fn await_said(hoard: &HoardProxy, what: &str) {
    let begun = Instant::now();
    while hoard.said(what.to_owned()).unwrap() == 0 {
        assert!(begun.elapsed() < SOON, "nothing is said of {what}");
    }
}

/// A server that cannot do what it is to does not try without a pause.
#[track_caller]
fn is_at_rest(manager: &BaseManager) {
    let pid = manager.pid().unwrap();
    assert_cost(WORKED_MAX, || {
        let before = processor_time_of(pid);
        thread::park_timeout(WATCHED);
        processor_time_of(pid) - before
    });
}

const UNREAD: &str = "waits until the server has descriptors";

fn what_a_client_sends_waits_until_there_are_descriptors_for_it() {
    let (manager, hoard) = hoarding();
    let (queue, lock) = (manager.queue::<Descriptor>().unwrap(), manager.lock().unwrap());
    manager.publish("queue", &queue).unwrap();
    manager.publish("lock", &lock).unwrap();
    let other = another(&manager).unwrap();
    let (same, guard) =
        (other.get::<QueueProxy<Descriptor>>("queue").unwrap(), other.get::<LockProxy>("lock").unwrap());
    let guard = guard.lock().unwrap();
    hoard.fill().unwrap();
    thread::scope(|scope| {
        let puts = scope.spawn(|| same.put(&null()));
        await_said(&hoard, UNREAD); // This client is served meanwhile.
        is_at_rest(&manager);
        assert!(!puts.is_finished() && queue.is_empty().unwrap() && lock.is_locked().unwrap());
        hoard.empty().unwrap();
        puts.join().unwrap().unwrap();
    });
    queue.get().unwrap();
    assert_eq!(hoard.said(UNREAD.to_owned()).unwrap(), 1, "it is said once");
    drop(guard);
    assert!(!lock.lock_timeout(SOON).unwrap().owner_died(), "its client was not put out");
}

fn who_is_killed_with_something_that_waits_so_gives_back_what_it_had() {
    let (manager, hoard) = hoarding();
    let (queue, lock) = (manager.queue::<Descriptor>().unwrap(), manager.lock().unwrap());
    let (told, goes_on) = (manager.queue::<u8>().unwrap(), manager.event().unwrap());
    let arguments = (queue, lock.clone(), told.clone(), goes_on.clone());
    let child = Context::new(StartMethod::Spawn).start(locks_and_puts, arguments).unwrap();
    told.get_timeout(SOON).unwrap();
    hoard.fill().unwrap();
    goes_on.set().unwrap();
    await_said(&hoard, UNREAD);
    child.kill().unwrap();
    let _ = child.join();
    assert!(lock.lock_timeout(SOON).unwrap().owner_died());
    hoard.empty().unwrap();
}

fn locks_and_puts(queue: QueueProxy<Descriptor>, lock: LockProxy, told: QueueProxy<u8>, goes_on: EventProxy) {
    let (_guard, file) = (lock.lock().unwrap(), null());
    told.put(&1).unwrap();
    goes_on.wait().unwrap();
    let _ = queue.put(&file);
}

fn who_connects_waits_until_there_are_descriptors() {
    let (manager, hoard) = hoarding();
    hoard.fill().unwrap();
    thread::scope(|scope| {
        let connects = scope.spawn(|| another(&manager));
        await_said(&hoard, "who connects waits");
        is_at_rest(&manager);
        assert!(!connects.is_finished());
        hoard.empty().unwrap();
        assert_eq!(connects.join().unwrap().unwrap().clients().unwrap().len(), 2);
    });
    assert_eq!(hoard.said("who connects waits".to_owned()).unwrap(), 1, "it is said once");
}

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        what_a_client_sends_waits_until_there_are_descriptors_for_it,
        who_is_killed_with_something_that_waits_so_gives_back_what_it_had,
        who_connects_waits_until_there_are_descriptors,
    ];
}
