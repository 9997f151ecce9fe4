//! A worker: a process that makes the calls which are put on its desk, one after the other, until it is told to end.
//!
//! Relies on `desk.rs` for how calls come and replies go. It ends by its parent's word, or with its parent: an interrupt from
//! the terminal, which all processes of its group get, is the parent's to deal with. A copy of it that a task has forked ends
//! when it comes back from the task.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use procession_boot::FunctionId;
use procession_launch::calls::{Initializer, InitializerFailure};
use procession_sys::{Disposition, Origin, Signal, exit_now, fail_point, set_disposition};
use procession_wire::{Decoder, Message};

use crate::call::{self, Failure, Fault, Given, NumberItem, PARCEL, Report};
use crate::copy::end_a_copy;
use crate::desk::{INITIALIZER, Order, Parcel, Seat, Seq, WorkerKit};

/// An item of a reply that is longer goes as a parcel, so that a few of them do not fill the desk.
const INLINE_ITEM_MAX: usize = 16 << 10;

/// All that a worker does.
pub(crate) fn work(kit: WorkerKit, initializer: Option<Initializer>) {
    fail_point!("worker: starts");
    set_disposition(Signal::INT, Disposition::Ignore);
    let Ok(seat) = Seat::open(kit) else { return };
    let place = Rc::new(Place { origin: Origin::here(), seat: RefCell::new(seat), seq: Cell::new(INITIALIZER) });
    let initialized = initializer.map_or(Ok(()), Initializer::run).map_err(|failure| Fault::here(failure.into()));
    match initialized.and_then(|()| place.check()) {
        Ok(()) => {
            place.seat.borrow_mut().ready(true);
            place.work();
        }
        Err(fault) => {
            let fault = Fault { attempts: 0, ..fault };
            call::tell_fault(&mut AtSeat(Rc::clone(&place)), &fault, Vec::new());
            place.seat.borrow_mut().ready(false);
        }
    }
    if place.check().is_err() {
        // Nobody is left here who owns a descriptor, and none can be told anything.
        exit_now(0);
    }
}

impl From<InitializerFailure> for Failure {
    fn from(failure: InitializerFailure) -> Self {
        match failure {
            InitializerFailure::Panicked(panic) => Self::Panicked(panic),
            InitializerFailure::Arguments(reason) => Self::Arguments(reason),
            InitializerFailure::Refused(reason) => Self::Refused(reason),
        }
    }
}

/// Where a worker works.
struct Place {
    origin: Origin,
    seat: RefCell<Seat>,
    /// What it works on.
    seq: Cell<Seq>,
}

impl Place {
    /// Whether the worker has what it was started with.
    fn check(&self) -> Result<(), Fault> {
        let closed = "it has closed descriptors that it did not open, among them those of its worker";
        if self.seat.borrow().has_link() { Ok(()) } else { Err(Fault::here(Failure::Refused(closed.to_owned()))) }
    }

    /// Runs what is ordered, until it is to end.
    fn work(self: &Rc<Self>) {
        let mut report: Box<dyn Report> = Box::new(AtSeat(Rc::clone(self)));
        // What cannot be received now, for want of descriptors, could not be later: the task's worker is at its end.
        while let Ok(Some(order)) = self.next_order() {
            let seq = order.seq;
            self.seq.set(seq);
            if let Some((function, arguments)) = read(order) {
                report = call::run(function, arguments, report);
            }
            self.seat.borrow_mut().finish(seq);
        }
    }

    fn next_order(&self) -> io::Result<Option<Order>> {
        self.seat.borrow_mut().next_order()
    }
}

/// A worker's reports go to its seat.
struct AtSeat(Rc<Place>);

impl Report for AtSeat {
    #[inline]
    fn item(&mut self, item: Message) -> io::Result<Vec<u8>> {
        end_a_copy(self.0.origin);
        let Place { seat, seq, .. } = &*self.0;
        let mut seat = seat.borrow_mut();
        // Without a link, what is large takes the longer way.
        let goes_as_parcel = item.bytes().len() > INLINE_ITEM_MAX && seat.has_link();
        if goes_as_parcel || item.descriptor_count() > 0 {
            let descriptors: Vec<_> = item.descriptors().collect();
            seat.send_parcel(seq.get(), Parcel { body: item.bytes(), descriptors: &descriptors })?;
            seat.append(&[PARCEL])?;
        } else {
            seat.append(item.bytes())?;
        }
        Ok(item.into_parts().0)
    }

    #[inline]
    fn number(&mut self, item: NumberItem) -> io::Result<()> {
        end_a_copy(self.0.origin);
        let (bytes, len) = item.bytes();
        self.0.seat.borrow_mut().append_short(&bytes, len)
    }
}

/// What follows an order's heading when its parcel is numbers as they are.
pub(crate) const AS_NUMBERS: &[u8] = &[1];

/// How an order begins; its arguments follow, or are in its parcel.
pub(crate) fn heading(function: FunctionId) -> [u8; FunctionId::BYTES] {
    function.to_bytes()
}

/// What an order asks for; `None` for what no parent of this image writes.
fn read(order: Order) -> Option<(FunctionId, Given)> {
    let function = FunctionId::from_bytes(*order.bytes.first_chunk()?);
    let arguments = match order.parcel {
        None => Given::Encoded(Decoder::new(BehindHeading(order.bytes), Vec::new())),
        Some(parcel) if order.bytes[FunctionId::BYTES..] == *AS_NUMBERS => Given::Numbers(parcel),
        Some(parcel) => Given::Encoded(parcel.into_decoder()),
    };
    Some((function, arguments))
}

/// The arguments in an order's bytes.
struct BehindHeading(Vec<u8>);

impl AsRef<[u8]> for BehindHeading {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &self.0[FunctionId::BYTES..]
    }
}
