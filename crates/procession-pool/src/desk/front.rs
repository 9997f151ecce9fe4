//! The pool's side of a desk as tests have it: what has been reported, and what has been finished.
//!
//! Relies on nothing but the desk. The tests of desks between processes have this file, too.

use std::collections::BTreeMap;
use std::time::Duration;

use procession_sys::{Deadline, Interest, poll_one};

use crate::desk::{Bells, Desk, Drained, Listener, NotOffered, Parcel, Seq, WorkerKit};

/// The fence of every wait.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// What a pool knows of a desk.
pub(crate) struct Front {
    pub(crate) desk: Desk,
    pub(crate) bells: Bells,
    pub(crate) reports: BTreeMap<Seq, Vec<u8>>,
    pub(crate) finished: Vec<Seq>,
}

impl Front {
    pub(crate) fn new() -> (Self, WorkerKit) {
        let bells = Bells::new().unwrap();
        let (desk, kit) = Desk::new(&bells).unwrap();
        (Self { desk, bells, reports: BTreeMap::new(), finished: Vec::new() }, kit)
    }

    /// Looks once.
    pub(crate) fn look(&mut self) -> Drained {
        let reports = &mut self.reports;
        let drained = self.desk.drain(&mut |seq, bytes| reports.entry(seq).or_default().extend(bytes)).unwrap();
        self.finished.extend(std::iter::from_fn(|| self.desk.finished()));
        drained
    }

    /// Looks until so many orders have been finished, by the bell.
    pub(crate) fn await_finished(&mut self, count: usize) {
        self.await_until(&format!("{count} finished orders"), |front| front.finished.len() >= count);
    }

    pub(crate) fn await_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Deadline::after(SOON);
        loop {
            self.look();
            if is_so(self) {
                return;
            }
            self.desk.listen(Listener::Driver);
            if !self.desk.has_news() {
                let bell = self.bells.of(Listener::Driver);
                assert!(poll_one(bell, Interest::Read, end).unwrap(), "{what} by now; {:?}", self.finished);
                bell.reset();
            }
            self.desk.stop_listening();
        }
    }

    /// Offers an order, and wakes the worker.
    pub(crate) fn put(&mut self, parts: &[&[u8]], parcel: Option<Parcel<'_>>) -> Result<Seq, NotOffered> {
        let offered = self.desk.offer(parts, parcel);
        self.desk.wake();
        offered
    }

    pub(crate) fn offer(&mut self, order: &[u8]) -> Seq {
        self.put(&[order], None).unwrap()
    }

    /// What has been reported of an order.
    pub(crate) fn report(&self, seq: Seq) -> &[u8] {
        self.reports.get(&seq).map_or(&[], Vec::as_slice)
    }
}
