//! The races of a desk. Each model tries every order of the steps with at most as many preemptions as it names. What stands
//! in the streams is places that `loom` watches: it objects when somebody writes where another may be.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::AtomicU64;
use procession_sync::protocol::loom_world::{Fate, Kernel, Process, model};

use super::*;

/// Orders that may be outstanding.
const WINDOW: usize = 2;
const DESK: usize = Words::<'static, AtomicU64, 1>::count(WINDOW);
/// The words that stand for bells: the one of the background, and after it the driver's.
const BELLS: usize = DESK - 1; // Bells are numbered from one on.
const BACKGROUND: u64 = 1;
const DRIVER: u64 = 2;

/// The number of the process that works.
const WORKER: u32 = 2;

fn words(kernel: &Kernel) -> Words<'_, AtomicU64, 1> {
    Words::new(kernel.words(..DESK))
}

/// A place of a stream.
struct Place {
    watched: UnsafeCell<()>,
    item: AtomicU64,
}

/// A stream of items.
#[derive(Clone)]
struct Stream(Arc<Vec<Place>>);

impl Stream {
    fn of(places: usize) -> Self {
        let place = |_| Place { watched: UnsafeCell::new(()), item: AtomicU64::new(0) };
        Self(Arc::new((0..places).map(place).collect()))
    }

    fn places(&self) -> u64 {
        self.0.len() as u64
    }

    fn place(&self, position: u64) -> &Place {
        &self.0[(position % self.places()) as usize]
    }

    fn write(&self, position: u64, item: u64) {
        let place = self.place(position);
        place.watched.with_mut(|_| place.item.store(item, Relaxed));
    }

    fn read(&self, position: u64) -> u64 {
        let place = self.place(position);
        place.watched.with(|_| place.item.load(Relaxed))
    }
}

/// Both streams of a desk.
#[derive(Clone)]
struct Streams {
    orders: Stream,
    reports: Stream,
    /// Items of each report.
    items: u64,
}

impl Streams {
    /// With reports of so many items, of which so many have room.
    fn of(items: u64, room: usize) -> Self {
        Self { orders: Stream::of(WINDOW), reports: Stream::of(room), items }
    }

    /// Offers an order, which says its own number.
    fn offer(&self, kernel: &Kernel, seq: Seq) {
        self.orders.write(seq, seq);
        words(kernel).offer(kernel, seq, Size { bytes: seq, has_parcel: false });
        words(kernel).wake(kernel);
    }

    /// Starts who works: it does all orders, reports on each, and says which it has done.
    fn worker(&self, kernel: &Kernel) -> Process<Vec<Seq>> {
        let streams = self.clone();
        kernel.spawn(WORKER, Fate::Lives, move |kernel| {
            let mut done = Vec::new();
            let mut written = 0;
            let mut next = 1;
            while let Some(found) = words(kernel).await_next(kernel, next, false) {
                if found == Next::Offered && words(kernel).begin(next) {
                    assert_eq!(words(kernel).size(next).bytes, next);
                    assert_eq!(streams.orders.read(next), next, "the order's own bytes");
                    for _ in 0..streams.items {
                        streams.report(kernel, &mut written, next);
                    }
                    words(kernel).finish(next, written, 0);
                    call(kernel);
                    done.push(next);
                } else if words(kernel).next(next) == Next::Offered {
                    continue;
                }
                words(kernel).free_orders(next);
                next += 1;
            }
            done
        })
    }

    /// Reports an item, when there is room.
    fn report(&self, kernel: &Kernel, written: &mut u64, seq: Seq) {
        loop {
            let read = words(kernel).reports_read();
            if *written - read < self.reports.places() {
                break;
            }
            words(kernel).await_room(kernel, read);
        }
        self.reports.write(*written, seq);
        *written += 1;
        words(kernel).publish(*written);
        call(kernel);
    }

    /// Reads what has come of a report, each item of which says the order's number, and says whether it is complete.
    fn drain(&self, kernel: &Kernel, read: &mut u64, seq: Seq) -> bool {
        let progress = words(kernel).progress(seq);
        let from = *read;
        while *read < progress.end {
            assert_eq!(self.reports.read(*read), seq, "a report's own items");
            *read += 1;
        }
        words(kernel).free_reports(*read);
        if *read > from {
            words(kernel).wake(kernel);
        }
        progress.is_done
    }

    /// Reads a whole report, having listened to a bell whenever there was nothing.
    fn await_report(&self, kernel: &Kernel, read: &mut u64, seq: Seq, bell: u64) {
        while !self.drain(kernel, read, seq) {
            words(kernel).listen(bell);
            let has_news = words(kernel).progress(seq).end > *read || words(kernel).is_done(seq);
            if !has_news {
                kernel.park(self::bell(kernel, bell), 0);
            }
            self::bell(kernel, bell).store(0, Relaxed);
            words(kernel).listen(0);
        }
    }
}

/// Has the worker end.
fn retire(kernel: &Kernel) {
    words(kernel).wish(RETIRE);
    words(kernel).wake(kernel);
}

fn bell(kernel: &Kernel, which: u64) -> &AtomicU64 {
    kernel.word(BELLS + which as usize)
}

/// Rings the bell that the pool listens to.
fn call(kernel: &Kernel) {
    if let Some(which) = words(kernel).bell() {
        bell(kernel, which).add(1, AcqRel);
        kernel.wake(bell(kernel, which), 1);
    }
}

#[test]
fn an_order_wakes_who_goes_to_sleep_and_its_end_is_heard() {
    model(3, |kernel| {
        let streams = Streams::of(0, 1);
        let worker = streams.worker(&kernel);
        streams.offer(&kernel, 1);
        streams.await_report(&kernel, &mut 0, 1, BACKGROUND);
        retire(&kernel);
        assert_eq!(worker.join().unwrap(), [1]);
    });
}

#[test]
fn who_is_to_retire_does_what_was_offered_before_and_wakes_for_it() {
    model(3, |kernel| {
        let streams = Streams::of(0, 1);
        let worker = streams.worker(&kernel);
        streams.offer(&kernel, 1);
        retire(&kernel);
        assert_eq!(worker.join().unwrap(), [1]);
        assert!(words(&kernel).is_done(1));
    });
}

#[test]
fn an_order_is_revoked_or_done() {
    model(3, |kernel| {
        let streams = Streams::of(0, 1);
        let worker = streams.worker(&kernel);
        streams.offer(&kernel, 1);
        let is_revoked = words(&kernel).revoke(1);
        assert!(is_revoked || words(&kernel).has_begun(1));
        retire(&kernel);
        assert_eq!(worker.join().unwrap().is_empty(), is_revoked);
        assert_ne!(words(&kernel).is_done(1), is_revoked);
    });
}

#[test]
fn what_comes_after_a_revoked_order_is_done_in_its_place() {
    model(2, |kernel| {
        let streams = Streams::of(0, 1);
        let worker = streams.worker(&kernel);
        streams.offer(&kernel, 1);
        let is_revoked = words(&kernel).revoke(1);
        streams.offer(&kernel, 2);
        let mut read = 0;
        if !is_revoked {
            streams.await_report(&kernel, &mut read, 1, BACKGROUND);
        }
        streams.await_report(&kernel, &mut read, 2, BACKGROUND);
        // Whatever became of the first, the worker has passed it, and the third may stand in its place.
        streams.offer(&kernel, 3);
        streams.await_report(&kernel, &mut read, 3, BACKGROUND);
        retire(&kernel);
        let expected: &[Seq] = if is_revoked { &[2, 3] } else { &[1, 2, 3] };
        assert_eq!(worker.join().unwrap(), expected);
    });
}

#[test]
fn no_item_is_taken_for_another_reports() {
    model(2, |kernel| {
        let streams = Streams::of(1, 2);
        let worker = streams.worker(&kernel);
        streams.offer(&kernel, 1);
        streams.offer(&kernel, 2);
        let mut read = 0;
        let is_done = streams.drain(&kernel, &mut read, 1);
        if is_done {
            streams.drain(&kernel, &mut read, 2);
        }
        retire(&kernel);
        assert_eq!(worker.join().unwrap(), [1, 2]);
        assert!(is_done || streams.drain(&kernel, &mut read, 1));
        assert!(streams.drain(&kernel, &mut read, 2));
        assert_eq!(read, 2);
    });
}

#[test]
fn a_report_that_has_no_room_goes_on_when_it_is_read() {
    model(2, |kernel| {
        let streams = Streams::of(2, 1);
        let worker = streams.worker(&kernel);
        streams.offer(&kernel, 1);
        let mut read = 0;
        streams.await_report(&kernel, &mut read, 1, BACKGROUND);
        assert_eq!(read, 2);
        retire(&kernel);
        assert_eq!(worker.join().unwrap(), [1]);
    });
}

#[test]
fn who_listens_to_another_bell_hears_that_one_or_finds_what_it_rings_for() {
    model(3, |kernel| {
        let streams = Streams::of(0, 1);
        let worker = streams.worker(&kernel);
        words(&kernel).listen(BACKGROUND);
        streams.offer(&kernel, 1);
        streams.await_report(&kernel, &mut 0, 1, DRIVER);
        retire(&kernel);
        worker.join().unwrap();
    });
}
