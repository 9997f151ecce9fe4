//! Lines of an object that does as it is told.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::task::Wake;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// An object with a bell that nothing silences.
#[derive(Debug)]
struct Fake {
    lines: Lines,
    bell: UnixStream,
    is_ready: AtomicBool,
    /// It becomes ready when it is told to ring, and does not ring.
    is_quick: bool,
}

impl Fake {
    fn new(is_quick: bool) -> (Arc<Self>, UnixStream) {
        let (bell, ringer) = UnixStream::pair().unwrap();
        (Arc::new(Self { lines: Lines::default(), bell, is_ready: AtomicBool::new(false), is_quick }), ringer)
    }
}

impl Awaited for Fake {
    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn bell(&self, _: Way) -> Bell<'_> {
        Bell { position: 0, fd: self.bell.as_fd(), interest: Interest::Read }
    }

    fn arm(&self, _: Way) -> bool {
        self.is_ready.fetch_or(self.is_quick, SeqCst) || self.is_quick
    }

    fn is_ready(&self, _: Way) -> bool {
        self.is_ready.load(SeqCst)
    }

    fn settle(&self, _: Way) {}
}

/// Counts how often a task is woken.
#[derive(Debug, Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn what_becomes_ready_before_it_knows_that_it_is_to_ring_is_seen() {
    let (fake, _ringer) = Fake::new(true);
    let wait = pin!(when(&fake, Way::In, || fake.is_ready.load(SeqCst).then_some(())));
    assert!(matches!(wait.poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Ok(()))));
}

#[test]
fn a_bell_that_rings_for_nothing_without_end_costs_little_and_keeps_nobody() {
    let (fake, mut ringer) = Fake::new(false);
    ringer.write_all(b".").unwrap();
    let mut wait = pin!(when(&fake, Way::In, || fake.is_ready.load(SeqCst).then_some(())));
    let count = Arc::new(Count::default());
    let waker = Arc::clone(&count).into();
    let mut context = Context::from_waker(&waker);
    let (began, mut polls) = (Instant::now(), 0);
    while began.elapsed() < Duration::from_millis(500) {
        assert!(wait.as_mut().poll(&mut context).is_pending());
        polls += 1;
        while count.0.swap(0, SeqCst) == 0 && began.elapsed() < Duration::from_millis(500) {
            thread::yield_now();
        }
    }
    assert!(polls < 40, "{polls}");
    fake.is_ready.store(true, SeqCst);
    while wait.as_mut().poll(&mut context).is_pending() {
        assert!(began.elapsed() < Duration::from_secs(10));
        thread::yield_now();
    }
}

#[test]
fn whoever_leaves_tells_the_next() {
    let (fake, _ringer) = Fake::new(false);
    let wait = || Box::pin(when(&fake, Way::In, || fake.is_ready.load(SeqCst).then_some(())));
    let counts: [Arc<Count>; 3] = Default::default();
    let wakers = counts.clone().map(Waker::from);
    let [mut first, mut second, mut third] = [wait(), wait(), wait()];
    for (wait, waker) in [&mut first, &mut second, &mut third].into_iter().zip(&wakers) {
        assert!(wait.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    let woken = || counts.each_ref().map(|count| count.0.load(SeqCst) > 0);
    // As the reactor does; unless it has looked meanwhile, which tells one more.
    fake.is_ready.store(true, SeqCst);
    fake.lines.rung(&*fake, 0);
    assert!(woken()[0]);
    drop(first);
    assert!(woken()[1], "who was told and has not tried hands over");
    assert!(second.as_mut().poll(&mut Context::from_waker(&wakers[1])).is_ready());
    assert!(woken()[2], "and so does who was served");
}

#[test]
fn who_was_told_just_before_a_look_has_the_time_until_the_next() {
    let mut line = Line::default();
    for number in 0..2 {
        line.waiting.insert(number, Waiter { waker: Waker::noop().clone(), is_told: false, is_late: false });
    }
    assert!(line.have_had_time(), "nobody was told");
    assert!(line.tell().is_some());
    assert_eq!([line.have_had_time(), line.have_had_time()], [false, true]);
    assert!(line.tell().is_some());
    assert!(!line.have_had_time(), "the first has had it, and the second has not");
}
