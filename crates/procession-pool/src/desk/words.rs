//! The words that a pool and one worker share: which orders there are, what became of them, and who sleeps.
//!
//! Relies on nothing but [`Word`] and [`World`], so that the models beside it try every order of the steps.
//!
//! Each word has its place: first those of the whole desk, each in a line of the cache of its own, then two lines for each
//! of the orders that may be outstanding, so that neither side writes where the other looks all the time.
//!
//! The pool offers an order in the first one: how many bytes it has, and a state, which is the order's number and one of
//!
//! | state | set by | when |
//! |---|---|---|
//! | offered | the pool | its bytes are there |
//! | begun | the worker | in the place of *offered*, and nothing else |
//! | revoked | the pool | in the place of *offered*, and nothing else |
//!
//! The second is the worker's alone, who writes it when the order's report is complete: where that ends, how many frames were
//! sent by then, and one more than the order's number. Before that it shows the same of the order that it is reporting on
//! in two words of the desk, which nobody looks at all the time. Places and frames are counted since ever.
//!
//! What is left of both lines holds a short order, and a short report again when it is complete: then nobody waits for yet
//! another line to come from the other processor.
//!
//! Who goes to sleep marks a word, looks once more, and sleeps. Who has something to tell has it done first, and then looks
//! for the mark. Marks are changed by exchanges alone, which come one after the other: so either the sleeper's mark is
//! seen, or it sees what was done.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use procession_sync::protocol::{Word, World};

use super::Seq;

/// How far the worker has taken bytes of orders. The worker's.
const ORDERS_TAKEN: usize = 0;
/// How far the pool has read reports. The pool's.
const REPORTS_READ: usize = 1;
/// One while the worker sleeps or is about to.
const SLEEPER: usize = 2;
/// Which bell the pool listens to.
const LISTENER: usize = 3;
/// What the pool wishes of the worker. The pool's.
const WISHES: usize = 4;
/// Whether the worker takes orders. The worker's.
const READINESS: usize = 5;
/// As far as the worker has written its reports, and how many frames it has sent. The worker's.
const WRITTEN: usize = 6;
const SENT: usize = 7;
/// Words of the desk.
const HEADER: usize = 8;

/// Words of an order, from where its first line begins.
const STATE: usize = 0;
const SIZE: usize = 1;
const ORDER: usize = 2;
/// And from where its second line begins.
const REPORT_END: usize = 0;
const FRAMES: usize = 1;
const DONE: usize = 2;
const REPORT: usize = 3;

/// Words of a line of 64 bytes, where lines are not just words.
const LINE_WORDS: usize = 8;

/// The words that a short order, or a short report, has in its line.
pub(super) type Short = [u64; LINE_WORDS];

const OFFERED: u64 = 0;
const BEGUN: u64 = 1;
const REVOKED: u64 = 2;
const STATE_BITS: u32 = 2;

/// In an order's size: a frame on the link belongs to it.
const HAS_PARCEL: u64 = 1 << 63;

/// The worker may spin before it sleeps.
pub(super) const MAY_SPIN: u64 = 1;
/// The worker is to end when it has nothing left.
pub(super) const RETIRE: u64 = 2;
/// The worker is to give its memory for large bodies back.
pub(super) const LET_GO: u64 = 4;

/// How often a mark is tried again that the other side has changed. More than that is a worker's mischief, and whoever
/// waits for it looks again by itself.
const MARKS_MAX: u32 = 100;

/// What an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes in the stream of orders.
    pub(super) bytes: u64,
    /// Whether a frame comes with it.
    pub(super) has_parcel: bool,
}

/// What the worker finds where its next order is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    Offered,
    Revoked,
}

/// How far an order's report has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether that was all.
    pub(super) is_done: bool,
    /// Where it ends in the stream of reports so far.
    pub(super) end: u64,
    /// Frames on the link by then.
    pub(super) frames: u64,
}

/// The words, which stand so many of them apart that they share no line.
#[derive(Debug)]
pub(super) struct Words<'w, W, const LINE: usize>(&'w [W]);

impl<W, const LINE: usize> Clone for Words<'_, W, LINE> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<W, const LINE: usize> Copy for Words<'_, W, LINE> {}

impl<'w, W: Word, const LINE: usize> Words<'w, W, LINE> {
    /// Where an order's second line begins, from its first, and the next order's.
    const SECOND: usize = if LINE > ORDER { LINE } else { ORDER };
    const STRIDE: usize = Self::SECOND + if LINE > REPORT { LINE } else { REPORT };

    /// So many bytes a short order has at most, and a short report.
    pub(super) const SHORT_ORDER: usize = if LINE < LINE_WORDS { 0 } else { (LINE_WORDS - ORDER) * size_of::<u64>() };
    pub(super) const SHORT_REPORT: usize = if LINE < LINE_WORDS { 0 } else { (LINE_WORDS - REPORT) * size_of::<u64>() };

    /// So many there are for so many orders.
    pub(super) const fn count(window: usize) -> usize {
        HEADER * LINE + window * Self::STRIDE
    }

    /// These; at least as many as one order needs.
    #[inline]
    pub(super) fn new(words: &'w [W]) -> Self {
        Self(words)
    }

    #[inline]
    fn desk(self, which: usize) -> &'w W {
        &self.0[which * LINE]
    }

    #[inline]
    fn order(self, seq: Seq, which: usize) -> &'w W {
        let window = (self.0.len() - HEADER * LINE) / Self::STRIDE;
        let at = (seq % window as u64) as usize; // Less than there are.
        &self.0[HEADER * LINE + at * Self::STRIDE + which]
    }

    #[inline]
    fn report(self, seq: Seq, which: usize) -> &'w W {
        self.order(seq, Self::SECOND + which)
    }

    // The pool's side.

    /// Writes a short order into its line, before it is offered.
    #[inline]
    pub(super) fn write_order(self, seq: Seq, short: &Short, bytes: usize) {
        for (at, word) in short[..bytes.div_ceil(size_of::<u64>())].iter().enumerate() {
            self.order(seq, ORDER + at).store(*word, Relaxed);
        }
    }

    /// Offers an order whose bytes, and whose frame, are there. The worker is to be woken after that.
    #[inline]
    pub(super) fn offer(self, world: &impl World<Word = W>, seq: Seq, size: Size) {
        let parcel = if size.has_parcel { HAS_PARCEL } else { 0 };
        self.order(seq, SIZE).store(size.bytes | parcel, Relaxed);
        self.order(seq, STATE).store(seq << STATE_BITS | OFFERED, Release);
        world.at("desk: offered");
    }

    /// Takes an order back, unless it has begun.
    pub(super) fn revoke(self, seq: Seq) -> bool {
        let (from, to) = (seq << STATE_BITS | OFFERED, seq << STATE_BITS | REVOKED);
        self.order(seq, STATE).exchange(from, to, AcqRel, Relaxed).is_ok()
    }

    /// Whether the worker has begun an order.
    pub(super) fn has_begun(self, seq: Seq) -> bool {
        self.order(seq, STATE).load(Acquire) == seq << STATE_BITS | BEGUN
    }

    /// Whether an order's report is complete.
    #[inline]
    pub(super) fn is_done(self, seq: Seq) -> bool {
        self.report(seq, DONE).load(Acquire) == seq + 1
    }

    /// How far the report has come on the first order of which it was not complete before.
    #[inline]
    pub(super) fn progress(self, seq: Seq) -> Progress {
        if !self.is_done(seq) {
            let (end, frames) = (self.desk(WRITTEN).load(Acquire), self.desk(SENT).load(Acquire));
            // What was written by now is that report's, unless it is complete by now.
            if !self.is_done(seq) {
                return Progress { is_done: false, end, frames };
            }
        }
        let (end, frames) = (self.report(seq, REPORT_END).load(Relaxed), self.report(seq, FRAMES).load(Relaxed));
        Progress { is_done: true, end, frames }
    }

    /// Reads a short report, which is complete.
    #[inline]
    pub(super) fn read_report(self, seq: Seq, bytes: usize) -> Short {
        let mut short = Short::default();
        for (at, word) in short[..bytes.div_ceil(size_of::<u64>())].iter_mut().enumerate() {
            *word = self.report(seq, REPORT + at).load(Relaxed);
        }
        short
    }

    /// Wakes the worker if it sleeps.
    #[inline]
    pub(super) fn wake(self, world: &impl World<Word = W>) {
        if self.desk(SLEEPER).touch(AcqRel) != 0 {
            self.wake_marked(world);
        }
    }

    #[cold]
    fn wake_marked(self, world: &impl World<Word = W>) {
        let _ = self.desk(SLEEPER).exchange(1, 0, AcqRel, Relaxed);
        world.at("desk: not woken");
        world.wake(self.desk(SLEEPER), 1);
    }

    /// How far the worker has taken bytes of orders, by its own word.
    pub(super) fn orders_taken(self) -> u64 {
        self.desk(ORDERS_TAKEN).load(Acquire)
    }

    /// Gives the worker room for reports.
    #[inline]
    pub(super) fn free_reports(self, end: u64) {
        self.desk(REPORTS_READ).store(end, Release);
    }

    /// Listens to a bell from now on, or to none. Whoever does looks once more after this, before it sleeps.
    pub(super) fn listen(self, bell: u64) {
        let word = self.desk(LISTENER);
        let mut seen = word.load(Relaxed);
        if seen == 0 && bell == 0 {
            return; // Nobody else begins to listen, and who does not has nothing to see after this.
        }
        for _ in 0..MARKS_MAX {
            match word.exchange(seen, bell, AcqRel, Relaxed) {
                Ok(_) => return,
                Err(now) => seen = now,
            }
        }
    }

    /// Says what the worker is to do, which it sees when it looks next.
    pub(super) fn wish(self, wishes: u64) {
        self.desk(WISHES).store(wishes, Release);
    }

    /// What the worker has said of itself.
    pub(super) fn readiness(self) -> u64 {
        self.desk(READINESS).load(Acquire)
    }

    // The worker's side.

    /// What is where the next order is to be.
    #[inline]
    pub(super) fn next(self, seq: Seq) -> Next {
        let state = self.order(seq, STATE).load(Acquire);
        if state == seq << STATE_BITS | OFFERED {
            Next::Offered
        } else if state == seq << STATE_BITS | REVOKED {
            Next::Revoked
        } else {
            Next::Nothing
        }
    }

    /// Begins an order, unless it was revoked.
    #[inline]
    pub(super) fn begin(self, seq: Seq) -> bool {
        let (from, to) = (seq << STATE_BITS | OFFERED, seq << STATE_BITS | BEGUN);
        self.order(seq, STATE).exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// What an order is that was offered.
    #[inline]
    pub(super) fn size(self, seq: Seq) -> Size {
        let word = self.order(seq, SIZE).load(Relaxed);
        Size { bytes: word & !HAS_PARCEL, has_parcel: word & HAS_PARCEL != 0 }
    }

    /// Reads a short order, which has begun.
    #[inline]
    pub(super) fn read_order(self, seq: Seq, bytes: usize) -> Short {
        let mut short = Short::default();
        for (at, word) in short[..bytes.div_ceil(size_of::<u64>())].iter_mut().enumerate() {
            *word = self.order(seq, ORDER + at).load(Relaxed);
        }
        short
    }

    /// Gives the pool room for orders.
    #[inline]
    pub(super) fn free_orders(self, end: u64) {
        self.desk(ORDERS_TAKEN).store(end, Release);
    }

    /// Shows so much of reports.
    #[inline]
    pub(super) fn publish(self, end: u64) {
        self.desk(WRITTEN).store(end, Release);
    }

    /// Shows so many frames.
    pub(super) fn publish_frames(self, frames: u64) {
        self.desk(SENT).store(frames, Release);
    }

    /// Writes a short report into its line, before it is complete.
    #[inline]
    pub(super) fn write_report(self, seq: Seq, short: &Short, bytes: usize) {
        for (at, word) in short[..bytes.div_ceil(size_of::<u64>())].iter().enumerate() {
            self.report(seq, REPORT + at).store(*word, Relaxed);
        }
    }

    /// Says that an order's report is complete, which ends there.
    #[inline]
    pub(super) fn finish(self, seq: Seq, end: u64, frames: u64) {
        self.report(seq, REPORT_END).store(end, Relaxed);
        self.report(seq, FRAMES).store(frames, Relaxed);
        // One more, so that a new desk has no report that is complete.
        self.report(seq, DONE).store(seq + 1, Release);
    }

    /// How far the pool has read reports.
    pub(super) fn reports_read(self) -> u64 {
        self.desk(REPORTS_READ).load(Acquire)
    }

    /// Which bell is to be rung for what was shown before this, if the pool listens to one. It listens no more then.
    #[inline]
    pub(super) fn bell(self) -> Option<u64> {
        let seen = self.desk(LISTENER).touch(AcqRel);
        // Who listens to another bell meanwhile looks for itself.
        (seen != 0 && self.desk(LISTENER).exchange(seen, 0, AcqRel, Relaxed).is_ok()).then_some(seen)
    }

    /// What the pool wishes.
    #[inline]
    pub(super) fn wishes(self) -> u64 {
        self.desk(WISHES).load(Acquire)
    }

    /// Says whether the worker takes orders.
    pub(super) fn be_ready(self, readiness: u64) {
        self.desk(READINESS).store(readiness, Release);
    }

    /// Waits for what comes next; `None` when nothing does, and the pool wants the worker to end, or when the worker cannot go
    /// on. For who `keeps` memory for large bodies, that is nothing when it is to be given back.
    #[inline]
    pub(super) fn await_next(self, world: &impl World<Word = W>, seq: Seq, keeps: bool) -> Option<Next> {
        loop {
            let next = self.next(seq);
            if next != Next::Nothing {
                return Some(next);
            }
            let wishes = self.wishes();
            if wishes & RETIRE != 0 {
                // What was offered before that is to be seen now.
                let last = self.next(seq);
                return (last != Next::Nothing).then_some(last);
            }
            if wishes & LET_GO != 0 && keeps {
                return Some(Next::Nothing);
            }
            if wishes & MAY_SPIN == 0 || !world.spin() {
                self.park(world, || self.next(seq) != Next::Nothing || self.wishes() != wishes);
                if world.is_over() {
                    return None;
                }
            }
        }
    }

    /// Lets some time pass while the pool has read reports no further than this.
    pub(super) fn await_room(self, world: &impl World<Word = W>, read: u64) {
        if self.wishes() & MAY_SPIN == 0 || !world.spin() {
            self.park(world, || self.reports_read() != read);
        }
    }

    /// Sleeps until the pool has done something, unless it has done what is waited for.
    #[cold]
    fn park(self, world: &impl World<Word = W>, mut is_due: impl FnMut() -> bool) {
        let word = self.desk(SLEEPER);
        let _ = word.exchange(0, 1, AcqRel, Acquire);
        world.at("desk: marked");
        if !is_due() {
            world.park(word, 1);
        }
        let _ = word.exchange(1, 0, AcqRel, Relaxed);
    }
}

#[cfg(test)]
mod races;
