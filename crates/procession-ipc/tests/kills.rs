//! Deaths of those who put and of those who take, at each step: at most their own item is lost, and nobody waits for them.
//!
//! Relies on the test kit, whose fail points kill a child at a step of the protocol; order is told by pipes. The table of
//! `docs/src/guide/channel-crashes.md` names these tests.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::{hear, methods, pipe, start, tell};
use procession_ipc::{GetError, PutError, Queue};
use procession_launch::{Process, StartMethod};
use procession_sync::RawValue;
use procession_sys::{Deadline, fail_points, poll_readable};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        who_is_stopped_in_the_middle_holds_nobody_up_for_longer_than_they_said,
        a_producer_killed_at_any_step_costs_its_own_item,
        a_producer_killed_at_a_segments_border_costs_its_own_item,
        a_producer_killed_half_through_a_large_item_costs_it,
        a_producer_killed_with_descriptors_under_way_leaks_none,
        a_producer_killed_before_it_tells_holds_nobody_up,
        a_producer_killed_asleep_leaves_the_others_their_room,
        a_producer_killed_just_woken_leaves_the_others_their_room,
        a_consumer_killed_at_any_step_costs_its_own_item,
        a_consumer_killed_at_a_segments_border_costs_its_own_item,
        a_consumer_killed_half_through_a_large_item_costs_it,
        a_consumer_killed_with_descriptors_under_way_leaks_none,
        a_consumer_killed_before_it_tells_holds_nobody_up,
        a_consumer_killed_asleep_leaves_the_others_their_items,
        a_consumer_killed_just_woken_leaves_the_others_their_items,
    ];
    cases: [what_two_dead_have_left_is_had_by_who_needs_it];
}

/// For how long the living wait for a dead one at worst, as `docs/src/guide/channel-crashes.md` promises.
const PROMISED: Duration = Duration::from_millis(100);

/// The fence of every wait below: much more than is promised, for machines that stand still for a moment. Nothing else would end these waits sooner, for
/// nobody says anything meanwhile, so a wake-up that is lost for good is found here however long the fence is. One that only
/// comes late, between the promise and the fence, is for the kill loop to find, which counts those that looked by themselves.
const SOON: Duration = PROMISED.saturating_mul(50);

/// Its number, its bytes, and what it carries.
type Item = (u64, Vec<u8>, Vec<Descriptor>);

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Some bytes in its record.
    Small,
    /// As many as stand in a record; four of them fill a segment, but for less than another one needs.
    Long,
    /// A block of its own.
    Large,
    /// Some bytes, and a descriptor.
    Carrying,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Small | Self::Carrying => 10,
            Self::Long => 16_000,
            Self::Large => 100_000,
        }
    }

    fn item(self, number: u64, carried: &[&Descriptor]) -> Item {
        let carried = carried.iter().map(|fd| fd.as_fd().try_clone_to_owned().unwrap().into());
        (number, vec![number as u8; self.bytes()], carried.collect())
    }

    fn by_name(name: &str) -> Self {
        [Self::Small, Self::Long, Self::Large, Self::Carrying]
            .into_iter()
            .find(|kind| format!("{kind:?}") == name)
            .expect("a kind")
    }
}

/// The number of an item that is whole.
fn number_of((number, bytes, _): &Item) -> u64 {
    assert!(bytes.iter().all(|&byte| byte == *number as u8), "item {number} is torn");
    *number
}

/// Has this process killed at a step, when it comes there again.
fn die_at(place: String) {
    fail_points::arm(Box::leak(place.into_boxed_str()), 0, fail_points::kill);
}

fn was_killed<R>(child: Process<R>, what: &str) {
    assert_eq!(child.wait().unwrap().exitcode(), -9, "{what}: it never came there");
}

/// What must hold when all has been taken.
fn is_quiet(queue: &Queue<Item>, what: &str) {
    let usage = queue.usage();
    assert_eq!((usage.held, usage.queued, usage.bytes), (0, 0, 0), "{what}: {usage:?}");
    assert!(usage.segments <= 1 && usage.left <= 1, "{what}: {usage:?}");
    assert!(queue.is_empty());
}

/// A pipe in which the word is given already.
fn given() -> Descriptor {
    let (read, write) = pipe();
    tell(&write);
    read
}

/// Whether nobody holds the other end of a pipe.
fn is_at_end(read: &Descriptor) -> bool {
    let ready = poll_readable(&[read.as_fd()], Deadline::after(SOON)).unwrap();
    ready[0] && File::from(read.as_fd().try_clone_to_owned().unwrap()).read(&mut [0]).unwrap() == 0
}

// Producers.

fn put_and_die(queue: Queue<Item>, kind: String, place: String, go: Descriptor, carried: Descriptor) {
    hear(&go);
    queue.put(Kind::Small.item(1, &[])).unwrap();
    hear(&go);
    die_at(place);
    let kind = Kind::by_name(&kind);
    let carried = if kind == Kind::Carrying { vec![&carried] } else { vec![] };
    let _ = queue.put(kind.item(2, &carried));
}

/// A producer dies at the step of putting its second item, of which `is_there` says whether others have it. So many long
/// items are put before.
fn killed_in_put(method: StartMethod, kind: Kind, before: usize, place: &str, is_there: bool) {
    let what = format!("{kind:?}, {place}");
    let queue = Queue::<Item>::unbounded().unwrap();
    for _ in 0..before {
        queue.put(Kind::Long.item(0, &[])).unwrap();
    }
    let ((go, goes), (read, write)) = (pipe(), pipe());
    let arguments = (queue.clone(), format!("{kind:?}"), place.to_owned(), go, write);
    let child = start(method, put_and_die, arguments);
    (0..2).for_each(|_| tell(&goes));
    was_killed(child, &what);
    let died = Instant::now();
    queue.put(Kind::Small.item(3, &[])).unwrap();
    assert!(died.elapsed() < SOON, "{what}");
    let all: Vec<u64> = std::iter::from_fn(|| queue.try_get().ok()).map(|item| number_of(&item)).collect();
    let expected: &[u64] = if is_there { &[1, 2, 3] } else { &[1, 3] };
    assert_eq!(all[before..], *expected, "{what}");
    assert!(is_at_end(&read), "{what}: a descriptor has leaked");
    is_quiet(&queue, &what);
}

const PUTS: [(&str, bool); 3] = [("ring: to put", false), ("ring: written", false), ("ring: published", true)];

fn a_producer_killed_at_any_step_costs_its_own_item(method: StartMethod) {
    for (place, is_there) in PUTS {
        killed_in_put(method, Kind::Small, 0, place, is_there);
    }
}

fn a_producer_killed_at_a_segments_border_costs_its_own_item(method: StartMethod) {
    for place in ["store: segment taken", "store: segment begun", "ring: written"] {
        killed_in_put(method, Kind::Long, 4, place, false);
    }
    killed_in_put(method, Kind::Long, 4, "ring: published", true);
}

fn a_producer_killed_half_through_a_large_item_costs_it(method: StartMethod) {
    let steps = ["channel: block claimed", "channel: body written", "channel: block queued", "ring: written"];
    for place in steps {
        killed_in_put(method, Kind::Large, 0, place, false);
    }
    killed_in_put(method, Kind::Large, 0, "ring: published", true);
}

fn a_producer_killed_with_descriptors_under_way_leaks_none(method: StartMethod) {
    for place in ["channel: descriptors sent", "ring: written"] {
        killed_in_put(method, Kind::Carrying, 0, place, false);
    }
    killed_in_put(method, Kind::Carrying, 0, "ring: published", true);
}

/// Takes until it has had item 9, and says which it has had.
fn take_all(queue: &Queue<Item>, asleep: &Descriptor, may_go_on: Option<&Descriptor>, had: &mpsc::Sender<u64>) {
    let mut last = 0;
    while last != 9 {
        if let (1, Some(may_go_on)) = (last, may_go_on) {
            hear(may_go_on);
        }
        let asleep = asleep.as_fd().try_clone_to_owned().unwrap().into();
        fail_points::disarm();
        fail_points::arm("park: sleeps", 0, move || tell(&asleep));
        last = number_of(&queue.get().unwrap());
        had.send(last).unwrap();
    }
    fail_points::disarm();
}

/// How often a producer is started that does not come to a step because the consumer does not sleep just then.
const TRIES: usize = 20;

/// As above, while a consumer sleeps, or has just been awake and left its mark. False if the producer never came there.
fn killed_in_telling(method: StartMethod, place: &str, sleeps: bool) -> bool {
    let queue = Queue::<Item>::unbounded().unwrap();
    let ((go, goes), (asleep, tells_asleep), (on, goes_on)) = (pipe(), pipe(), pipe());
    let child = start(method, put_and_die, (queue.clone(), "Small".to_owned(), place.to_owned(), go, pipe().1));
    // A second handle: this process may put something yet.
    let taken_from = queue.clone();
    let (has, had) = mpsc::channel();
    thread::scope(|scope| {
        let taker = scope.spawn(|| take_all(&taken_from, &tells_asleep, (!sleeps).then_some(&on), &has));
        hear(&asleep);
        tell(&goes);
        if sleeps {
            hear(&asleep);
        }
        tell(&goes);
        let is_killed = child.wait().unwrap().exitcode() == -9;
        if !sleeps {
            tell(&goes_on);
        }
        // Nobody else says anything until the taker has had it.
        let first = [(); 2].map(|()| had.recv_timeout(SOON));
        queue.put(Kind::Small.item(9, &[])).unwrap();
        taker.join().unwrap();
        assert_eq!(first, [Ok(1), Ok(2)], "{place}");
        assert_eq!(had.try_recv(), Ok(9), "{place}");
        is_quiet(&queue, place);
        is_killed
    })
}

fn a_producer_killed_before_it_tells_holds_nobody_up(method: StartMethod) {
    for place in ["ring: published", "ring: not told"] {
        assert!((0..TRIES).any(|_| killed_in_telling(method, place, true)), "{place}");
    }
    for place in ["ring: nobody woken", "ring: mark cleared"] {
        assert!((0..TRIES).any(|_| killed_in_telling(method, place, false)), "{place}");
    }
}

/// Puts a number, and says when it is about to sleep.
fn put_one(queue: Queue<Item>, number: u64, asleep: Descriptor) {
    fail_points::arm("park: sleeps", 0, move || tell(&asleep));
    queue.put(Kind::Small.item(number, &[])).unwrap();
    fail_points::disarm();
}

fn a_producer_killed_asleep_leaves_the_others_their_room(method: StartMethod) {
    let queue = Queue::<Item>::bounded(1).unwrap();
    queue.put(Kind::Small.item(1, &[])).unwrap();
    let (asleep, tells) = pipe();
    let again = || Descriptor::from(tells.as_fd().try_clone_to_owned().unwrap());
    let victim = start(method, put_one, (queue.clone(), 2, again()));
    hear(&asleep);
    let other = start(method, put_one, (queue.clone(), 3, again()));
    hear(&asleep);
    victim.kill().unwrap();
    was_killed(victim, "asleep");
    assert_eq!(number_of(&queue.get().unwrap()), 1);
    let taken = Instant::now();
    assert_eq!(number_of(&queue.get().unwrap()), 3);
    assert!(taken.elapsed() < SOON);
    other.join().unwrap();
    is_quiet(&queue, "asleep");
}

/// Has the first that wakes after the order is given be killed there.
fn die_if_ordered(order: RawValue<u32>) {
    fail_points::arm("ring: woken", 0, move || match order.compare_exchange(1, 0) {
        Ok(_) => fail_points::kill(),
        Err(_) => die_if_ordered(order),
    });
}

fn put_or_die(queue: Queue<Item>, number: u64, asleep: Descriptor, order: RawValue<u32>) {
    die_if_ordered(order);
    put_one(queue, number, asleep);
}

fn a_producer_killed_just_woken_leaves_the_others_their_room(method: StartMethod) {
    let queue = Queue::<Item>::bounded(1).unwrap();
    let order = RawValue::new(0).unwrap();
    queue.put(Kind::Small.item(1, &[])).unwrap();
    let (asleep, tells) = pipe();
    let again = || Descriptor::from(tells.as_fd().try_clone_to_owned().unwrap());
    let putters = [2, 3].map(|number| start(method, put_or_die, (queue.clone(), number, again(), order.clone())));
    (0..2).for_each(|_| hear(&asleep));
    order.set(1);
    assert_eq!(number_of(&queue.get().unwrap()), 1);
    let taken = Instant::now();
    let had = number_of(&queue.get().unwrap());
    assert!(taken.elapsed() < SOON);
    let ended = putters.map(|putter| putter.join().is_ok());
    assert_eq!(ended, [had == 2, had == 3], "the one is killed, and the other has put its item");
    is_quiet(&queue, "just woken");
}

// Consumers.

fn take_and_die(queue: Queue<Item>, before: usize, place: String, go: Descriptor) {
    hear(&go);
    for _ in 0..before {
        number_of(&queue.get().unwrap());
    }
    die_at(place);
    drop(queue.get());
}

/// A consumer dies at the step of taking item 2, of which `is_taken` says whether it is gone. So many long items it has
/// taken before.
fn killed_in_get(method: StartMethod, kind: Kind, before: usize, place: &str, is_taken: bool) {
    let what = format!("{kind:?}, {place}");
    let queue = Queue::<Item>::unbounded().unwrap();
    for _ in 0..before {
        queue.put(Kind::Long.item(0, &[])).unwrap();
    }
    let (read, write) = pipe();
    let carried = if kind == Kind::Carrying { vec![&write] } else { vec![] };
    queue.put(kind.item(2, &carried)).unwrap();
    queue.put(Kind::Small.item(3, &[])).unwrap();
    drop(write);
    was_killed(start(method, take_and_die, (queue.clone(), before, place.to_owned(), given())), &what);
    let died = Instant::now();
    let all: Vec<Item> = std::iter::from_fn(|| queue.try_get().ok()).collect();
    assert!(died.elapsed() < SOON, "{what}");
    let expected: &[u64] = if is_taken { &[3] } else { &[2, 3] };
    assert_eq!(all.iter().map(number_of).collect::<Vec<_>>(), *expected, "{what}");
    let carried: usize = all.iter().map(|(_, _, carried)| carried.len()).sum();
    assert_eq!(carried, usize::from(!is_taken && kind == Kind::Carrying), "{what}");
    drop(all);
    assert!(is_at_end(&read), "{what}: a descriptor has leaked");
    is_quiet(&queue, &what);
}

const GETS: [(&str, bool); 4] =
    [("ring: to take", false), ("ring: read", false), ("ring: taken", true), ("ring: settled", true)];

fn a_consumer_killed_at_any_step_costs_its_own_item(method: StartMethod) {
    for (place, is_taken) in GETS {
        killed_in_get(method, Kind::Small, 0, place, is_taken);
    }
}

fn a_consumer_killed_at_a_segments_border_costs_its_own_item(method: StartMethod) {
    killed_in_get(method, Kind::Long, 4, "ring: read", false);
    for place in ["ring: taken", "store: segment to end", "ring: settled"] {
        killed_in_get(method, Kind::Long, 4, place, true);
    }
}

fn a_consumer_killed_half_through_a_large_item_costs_it(method: StartMethod) {
    killed_in_get(method, Kind::Large, 0, "ring: read", false);
    for place in ["ring: taken", "channel: block had", "queue: body to read", "channel: block to free"] {
        killed_in_get(method, Kind::Large, 0, place, true);
    }
}

fn a_consumer_killed_with_descriptors_under_way_leaks_none(method: StartMethod) {
    for place in ["channel: descriptors seen", "ring: read"] {
        killed_in_get(method, Kind::Carrying, 0, place, false);
    }
    for place in ["ring: taken", "channel: descriptors taken"] {
        killed_in_get(method, Kind::Carrying, 0, place, true);
    }
}

fn a_consumer_killed_before_it_tells_holds_nobody_up(method: StartMethod) {
    for place in ["ring: taken", "ring: not told"] {
        let queue = Queue::<Item>::bounded(1).unwrap();
        queue.put(Kind::Small.item(1, &[])).unwrap();
        let ((asleep, tells), (go, goes)) = (pipe(), pipe());
        let child = start(method, take_and_die, (queue.clone(), 0, place.to_owned(), go));
        thread::scope(|scope| {
            let putter = scope.spawn(|| {
                put_one(queue.clone(), 2, tells);
                Instant::now()
            });
            hear(&asleep);
            tell(&goes);
            was_killed(child, place);
            let died = Instant::now();
            assert!(putter.join().unwrap().saturating_duration_since(died) < SOON, "{place}");
        });
        assert_eq!(number_of(&queue.get().unwrap()), 2, "{place}");
        is_quiet(&queue, place);
    }
}

/// Takes one, and says when it is about to sleep.
fn take_one(queue: Queue<Item>, asleep: Descriptor) -> u64 {
    fail_points::arm("park: sleeps", 0, move || tell(&asleep));
    let number = number_of(&queue.get().unwrap());
    fail_points::disarm();
    number
}

fn a_consumer_killed_asleep_leaves_the_others_their_items(method: StartMethod) {
    let queue = Queue::<Item>::unbounded().unwrap();
    let (asleep, tells) = pipe();
    let again = || Descriptor::from(tells.as_fd().try_clone_to_owned().unwrap());
    let victim = start(method, take_one, (queue.clone(), again()));
    hear(&asleep);
    let other = start(method, take_one, (queue.clone(), again()));
    hear(&asleep);
    victim.kill().unwrap();
    was_killed(victim, "asleep");
    queue.put(Kind::Small.item(1, &[])).unwrap();
    let put = Instant::now();
    assert_eq!(other.join().unwrap(), 1);
    assert!(put.elapsed() < SOON);
    is_quiet(&queue, "asleep");
}

fn take_or_die(queue: Queue<Item>, asleep: Descriptor, order: RawValue<u32>) -> u64 {
    die_if_ordered(order);
    take_one(queue, asleep)
}

fn a_consumer_killed_just_woken_leaves_the_others_their_items(method: StartMethod) {
    let queue = Queue::<Item>::unbounded().unwrap();
    let order = RawValue::new(0).unwrap();
    let (asleep, tells) = pipe();
    let again = || Descriptor::from(tells.as_fd().try_clone_to_owned().unwrap());
    let takers = [(); 2].map(|()| start(method, take_or_die, (queue.clone(), again(), order.clone())));
    (0..2).for_each(|_| hear(&asleep));
    order.set(1);
    queue.put(Kind::Small.item(1, &[])).unwrap();
    let put = Instant::now();
    let had = takers.map(|taker| taker.join().ok());
    assert!(put.elapsed() < SOON);
    assert!(matches!(had, [Some(1), None] | [None, Some(1)]), "{had:?}: the one is killed, and the other has it");
    is_quiet(&queue, "just woken");
}

/// A producer and a consumer have died with a side's lock each, and a block each; nobody else comes to either lock.
fn what_two_dead_have_left_is_had_by_who_needs_it() {
    let method = StartMethod::Fork;
    let queue = Queue::<Item>::unbounded().unwrap();
    queue.put(Kind::Large.item(1, &[])).unwrap();
    was_killed(start(method, take_and_die, (queue.clone(), 0, "ring: taken".to_owned(), given())), "taken");
    let ((go, goes), (_, write)) = (pipe(), pipe());
    let arguments = (queue.clone(), "Large".to_owned(), "channel: block queued".to_owned(), go, write);
    let child = start(method, put_and_die, arguments);
    (0..2).for_each(|_| tell(&goes));
    was_killed(child, "queued");
    assert_eq!(queue.usage().queued, 2, "one that was taken, and one that was never put");
    assert_eq!(number_of(&queue.get().unwrap()), 1, "the small one");
    queue.put(Kind::Large.item(3, &[])).unwrap();
    assert_eq!(number_of(&queue.get().unwrap()), 3);
    is_quiet(&queue, "two dead");
}

fn be_stopped(place: String, queue: Queue<u64>) {
    let stop = || procession_sys::send_signal(procession_sys::pid(), STOP).unwrap();
    fail_points::arm(Box::leak(place.into_boxed_str()), 0, stop);
    if queue.is_empty() {
        queue.put(1).unwrap();
    } else {
        queue.get().unwrap();
    }
}

const STOP: i32 = 19;
const CONTINUE: i32 = 18;

/// What a call of 50 ms took, which may wait for the lock for 100 ms more: the fence is ten times that alone.
fn in_time<R>(call: impl FnOnce(Duration) -> R) -> R {
    let began = Instant::now();
    let result = call(Duration::from_millis(50));
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    result
}

fn who_is_stopped_in_the_middle_holds_nobody_up_for_longer_than_they_said(method: StartMethod) {
    for place in ["ring: written", "ring: read"] {
        let queue = Queue::unbounded().unwrap();
        if place == "ring: read" {
            queue.put(0).unwrap();
        }
        let child = start(method, be_stopped, (place.to_string(), queue.clone()));
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", child.pid())).unwrap();
        while !stat().contains(") T ") {
            thread::yield_now();
        }
        if place == "ring: written" {
            assert!(matches!(in_time(|_| queue.try_put(2)), Err(PutError::Busy(2))));
            assert!(matches!(in_time(|time| queue.put_timeout(2, time)), Err(PutError::Busy(2))));
        } else {
            assert!(matches!(in_time(|_| queue.try_get()), Err(GetError::Busy)));
            assert!(matches!(in_time(|time| queue.get_timeout(time)), Err(GetError::Busy)));
        }
        procession_sys::send_signal(child.pid(), CONTINUE).unwrap();
        child.join().unwrap();
        assert_eq!(queue.len(), usize::from(place == "ring: written"));
    }
}
