//! Waits for sources whose bells do not ring, ring for nothing, or ring without end.
//!
//! Relies on a source of one process: its state is atomics, its bell a socket. What a wait does with it is counted.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::Instant;

use super::*;

/// What must have happened by then, or never will.
const SOON: Duration = Duration::from_secs(10);

/// A source, and what is to go wrong with it.
#[derive(Debug)]
struct Object {
    is_ready: AtomicBool,
    is_armed: AtomicBool,
    /// It becomes ready at the moment at which it is armed, by somebody who has not seen that.
    in_between: bool,
    /// Its bell cannot be silenced, or asking it fails.
    is_stuck: bool,
    fails: bool,
    arms: AtomicU32,
    settles: AtomicU32,
    bell: UnixStream,
    ringer: UnixStream,
}

impl Object {
    fn new() -> Self {
        let (bell, ringer) = UnixStream::pair().unwrap();
        bell.set_nonblocking(true).unwrap();
        Self {
            is_ready: false.into(),
            is_armed: false.into(),
            in_between: false,
            is_stuck: false,
            fails: false,
            arms: 0.into(),
            settles: 0.into(),
            bell,
            ringer,
        }
    }

    fn ring(&self) {
        (&self.ringer).write_all(b".").unwrap();
    }

    /// What a peer does that is not killed on the way.
    fn make_ready(&self) {
        self.is_ready.store(true, SeqCst);
        if self.is_armed.swap(false, SeqCst) {
            self.ring();
        }
    }

    fn wait_until_armed(&self) {
        let deadline = Deadline::after(SOON);
        while !self.is_armed.load(SeqCst) && !deadline.has_passed() {
            thread::yield_now();
        }
    }
}

impl Waitable for Object {
    fn watch(&self) -> Watch<'_> {
        Watch { fd: self.bell.as_fd(), source: Some(self) }
    }
}

impl Source for Object {
    fn is_ready(&self) -> bool {
        self.is_ready.load(SeqCst)
    }

    fn arm(&self) {
        self.arms.fetch_add(1, SeqCst);
        self.is_armed.store(true, SeqCst);
        self.is_ready.fetch_or(self.in_between, SeqCst);
    }

    fn settle(&self) -> io::Result<bool> {
        self.settles.fetch_add(1, SeqCst);
        if self.fails {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if !self.is_stuck {
            let _ = (&self.bell).read(&mut [0; 64]);
        }
        Ok(Source::is_ready(self))
    }
}

fn ready(things: &[&dyn Waitable]) -> Vec<usize> {
    wait_ready_timeout(things, SOON).unwrap()
}

/// The shortest of several times that it takes: on a busy machine one may take long.
fn shortest(act: impl Fn()) -> Duration {
    let took = || {
        let began = Instant::now();
        act();
        began.elapsed()
    };
    (0..8).map(|_| took()).min().unwrap()
}

#[test]
fn what_is_ready_is_told_without_asking_for_a_bell() {
    let object = Object::new();
    object.make_ready();
    assert_eq!(ready(&[&object]), [0]);
    assert_eq!(object.arms.load(SeqCst), 0);
}

#[test]
fn a_bell_ends_the_sleep() {
    let sleeps = || {
        let object = Object::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                object.wait_until_armed();
                object.make_ready();
            });
            assert_eq!(ready(&[&object]), [0]);
        });
        assert_eq!(object.settles.load(SeqCst), 1, "the bell is silenced");
    };
    assert!(shortest(sleeps) < RECHECK / 2);
}

#[test]
fn what_becomes_ready_before_it_knows_that_it_is_to_ring_is_seen() {
    assert!(shortest(|| assert_eq!(ready(&[&Object { in_between: true, ..Object::new() }]), [0])) < RECHECK / 2);
}

#[test]
fn a_ringer_that_is_killed_before_it_rings_is_not_waited_for() {
    let object = Object::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            object.wait_until_armed();
            object.is_ready.store(true, SeqCst);
        });
        let began = Instant::now();
        assert_eq!(ready(&[&object]), [0]);
        assert!(began.elapsed() < SOON / 2);
    });
}

#[test]
fn bells_that_ring_for_nothing_do_not_end_a_wait_nor_keep_it_busy() {
    let object = Object::new();
    object.ring();
    assert!(wait_ready_timeout([&object as &dyn Waitable], Duration::from_millis(20)).unwrap().is_empty());
    assert_eq!(object.settles.load(SeqCst), 1);
    object.ring();
    object.make_ready();
    assert_eq!(ready(&[&object]), [0]);
}

#[test]
fn a_bell_that_cannot_be_silenced_costs_little_and_keeps_nobody_else() {
    let stuck = Object { is_stuck: true, ..Object::new() };
    stuck.ring();
    let (quiet, other) = (Object::new(), UnixStream::pair().unwrap());
    let things: [&dyn Waitable; 3] = [&stuck, &quiet, &other.0];
    assert!(wait_ready_timeout(things, Duration::from_millis(400)).unwrap().is_empty());
    let settles = stuck.settles.load(SeqCst);
    assert!((3..40).contains(&settles), "{settles}");
    // Those of others are heard at once meanwhile.
    let hears = || {
        quiet.is_ready.store(false, SeqCst);
        let settled_before = stuck.settles.load(SeqCst);
        let rings = || {
            let deadline = Deadline::after(SOON);
            // Until the stuck one is left out for long.
            while stuck.settles.load(SeqCst) < settled_before + 9 && !deadline.has_passed() {
                thread::yield_now();
            }
            quiet.make_ready();
            Instant::now()
        };
        thread::scope(|scope| {
            let rang = scope.spawn(rings);
            assert_eq!(ready(&things), [1]);
            rang.join().unwrap().elapsed()
        })
    };
    // Whoever cannot hear the bell beside a stuck one is always late.
    assert!((0..20).any(|_| hears() < RECHECK / 3));
    quiet.is_ready.store(true, SeqCst);
    stuck.is_ready.store(true, SeqCst);
    assert_eq!(ready(&things), [0, 1]);
}

#[test]
fn all_that_are_ready_are_told_in_order_each_as_often_as_it_is_listed() {
    let (object, late) = (Object::new(), Object::new());
    let (reader, mut writer) = UnixStream::pair().unwrap();
    let (other, _end) = UnixStream::pair().unwrap();
    object.make_ready();
    writer.write_all(b".").unwrap();
    let things: [&dyn Waitable; 6] = [&reader, &late, &object, &other, &reader, &object];
    assert_eq!(wait_ready(things).unwrap(), [0, 2, 4, 5]);
    late.is_armed.store(true, SeqCst);
    late.make_ready();
    assert_eq!(try_wait_ready(things).unwrap(), [0, 1, 2, 4, 5]);
    drop(writer);
    assert_eq!(wait_ready_timeout(vec![&reader as &dyn Waitable; 2], Duration::MAX).unwrap(), [0, 1]);
}

#[test]
fn no_time_at_all_is_a_look_that_asks_for_no_bell() {
    let object = Object::new();
    let things: [&dyn Waitable; 1] = [&object];
    assert!(try_wait_ready(things).unwrap().is_empty());
    assert!(wait_ready_timeout(things, Duration::ZERO).unwrap().is_empty());
    assert_eq!(object.arms.load(SeqCst), 0);
}

#[test]
fn an_empty_list_is_an_error_only_where_it_would_be_for_ever() {
    assert!(matches!(wait_ready([]), Err(WaitError::Nothing)));
    assert!(matches!(wait_ready_timeout([], Duration::MAX), Err(WaitError::Nothing)));
    assert!(try_wait_ready([]).unwrap().is_empty());
    let began = Instant::now();
    assert!(wait_ready_timeout([], Duration::from_millis(5)).unwrap().is_empty());
    assert!(began.elapsed() >= Duration::from_millis(5));
}

#[test]
fn a_thing_that_cannot_be_asked_is_named() {
    let (quiet, fails) = (Object::new(), Object { fails: true, ..Object::new() });
    fails.ring();
    let error = wait_ready([&quiet as &dyn Waitable, &fails]).unwrap_err();
    assert!(matches!(error, WaitError::Thing { position: 1, .. }), "{error}");
    assert!(error.to_string().contains("thing 1"), "{error}");
}
