//! Who leads: of a server's threads one waits for requests, reads them and carries them out; others stand by.
//!
//! Relies on `lead.rs` for what is read, and on `standby.rs` for the other threads. A request is carried out by whoever
//! leads, because handing it to another thread takes longer than most take. When one takes longer than a [`TICK`], another
//! thread leads from then on, and the first stands by when it is done.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use parking_lot::Mutex;
use procession_ipc::Listener;

use super::graves::Graves;
use super::lead::{Lead, Next, TICK};
use super::standby::Job;
use super::{Client, END_TIME, Server, graves};
use crate::frame::Request;
use crate::limits::Limits;

/// How many ticks the thread that keeps the time looks on while nothing is carried out, before it rests.
const TICKS_AWAKE: u32 = 10;

/// Who leads.
pub(super) struct Seat {
    /// What only who leads may touch. It is let go of while a request is carried out.
    lead: Mutex<Lead>,
    /// Even while who leads reads, odd while it carries out a request; each request is two more.
    turn: AtomicU64,
    timekeeper: Mutex<Option<Thread>>,
    /// Whether the thread that keeps the time is to be woken.
    rests: AtomicBool,
}

thread_local! {
    /// The server that this thread works for.
    static SERVER: RefCell<Option<Arc<Server>>> = const { RefCell::new(None) };
}

thread_local! {
    /// Whose request this thread carries out, and its number, until the request has its place in an object's line.
    static REQUEST: RefCell<Option<(Arc<Client>, u64)>> = const { RefCell::new(None) };
}

/// Says that the request which this thread carries out has its place: what its client asks next cannot overtake it any more.
pub(crate) fn is_in_place() {
    if let Some((client, request)) = REQUEST.take() {
        client.let_go_on(request);
    }
}

/// Does something as one of the server's threads.
pub(super) fn work_for<T>(server: &Arc<Server>, work: impl FnOnce() -> T) -> T {
    let before = SERVER.replace(Some(Arc::clone(server)));
    let done = work();
    SERVER.set(before);
    done
}

/// The server that this thread works for.
pub(crate) fn own_server() -> Option<Arc<Server>> {
    SERVER.with_borrow(Clone::clone)
}

/// Has a thread aside end objects.
pub(super) fn bury_aside(graves: Graves) {
    match own_server() {
        Some(server) => server.standby.give(&server, Job::Bury(graves)),
        None => graves::bury_all(graves),
    }
}

impl Seat {
    pub(super) fn new(listener: &Listener, limits: &Limits) -> io::Result<Self> {
        Ok(Self {
            lead: Mutex::new(Lead::new(listener, limits.clients, limits.rate)?),
            turn: AtomicU64::new(0),
            timekeeper: Mutex::default(),
            rests: AtomicBool::new(false),
        })
    }
}

impl Server {
    /// Leads, and has others lead, until the server ends.
    pub(super) fn serve(self: &Arc<Self>) -> io::Result<()> {
        let timed = Arc::clone(self);
        let timekeeper = thread::Builder::new().name("manager-time".into()).spawn(move || timed.keep_time())?;
        *self.seat.timekeeper.lock() = Some(timekeeper.thread().clone());
        SERVER.set(Some(Arc::clone(self)));
        self.standby.join();
        self.lead();
        // Another thread may lead by now.
        self.work(true);
        SERVER.set(None);
        let _ = timekeeper.join();
        Ok(())
    }

    /// What a thread does that was started for a job.
    pub(super) fn stand_by(self: &Arc<Self>) {
        SERVER.set(Some(Arc::clone(self)));
        self.work(false);
        SERVER.set(None);
    }

    fn work(self: &Arc<Self>, stays: bool) {
        while let Some(job) = self.standby.next_job(stays) {
            match job {
                Job::Lead => self.lead(),
                Job::Flush => self.slow.serve(),
                Job::Part(client) => self.farewell(&client),
                Job::Bury(graves) => graves::bury_all(graves),
            }
        }
    }

    /// Reads requests and carries them out, until another thread leads or the server ends.
    fn lead(self: &Arc<Self>) {
        while !self.is_ending() {
            // What ends with what is due may take long: another thread sees to that.
            let (next, graves) = graves::put_off(|| self.seat.lead.lock().next(self));
            if !graves.is_empty() {
                self.standby.give(self, Job::Bury(graves));
            }
            if let Some(next) = next
                && !self.carry_out(next)
            {
                return;
            }
        }
        self.standby.end();
        self.wake_timekeeper();
    }

    /// Has a client sent what waits for it, as it reads.
    pub(super) fn send_slowly(self: &Arc<Self>, client: &Arc<Client>) {
        if self.slow.add(Arc::clone(client)) {
            self.standby.give(self, Job::Flush);
        }
    }

    fn wake_timekeeper(&self) {
        if let Some(timekeeper) = &*self.seat.timekeeper.lock() {
            timekeeper.unpark();
        }
    }

    /// Carries out a request; false if another thread leads when it is done.
    fn carry_out(self: &Arc<Self>, Next { client, frame, number }: Next) -> bool {
        let seat = &self.seat;
        let turn = seat.turn.fetch_add(1, Ordering::SeqCst) + 1;
        if seat.rests.load(Ordering::SeqCst) {
            self.wake_timekeeper();
        }
        REQUEST.set(Some((Arc::clone(&client), number)));
        match Request::read(frame) {
            Ok(request) => self.handle(&client, request),
            Err(malformed) => client.expel(&malformed),
        }
        is_in_place();
        seat.turn.compare_exchange(turn, turn + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Looks whether a request takes long, and has another thread lead then. At the end it closes the connections, as other
    /// threads may be in the middle of something that takes long.
    fn keep_time(self: &Arc<Self>) {
        let turn_of = &self.seat.turn;
        let (mut seen, mut quiet) = (0, 0);
        while !self.standby.has_ended() {
            let turn = turn_of.load(Ordering::SeqCst);
            let is_carried_out = turn % 2 == 1;
            // With no thread left nothing is carried out that may take long: it soon reads on.
            if is_carried_out && turn == seen && self.standby.could_lead() {
                let is_taken = turn_of.compare_exchange(turn, turn + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
                if is_taken {
                    self.standby.give(self, Job::Lead);
                }
            }
            quiet = if is_carried_out || turn != seen { 0 } else { quiet + 1 };
            seen = turn;
            if quiet < TICKS_AWAKE {
                thread::park_timeout(TICK);
            } else {
                self.rest(turn);
            }
        }
        self.hang_up();
    }

    /// Closes all connections; first those who read get what they were answered last.
    fn hang_up(&self) {
        self.slow.wait_until(Instant::now() + END_TIME);
        self.listener.close();
        let clients = self.seat.lead.lock().hang_up();
        self.slow.ring(); // Nobody of them is waited for any more.
        drop(clients); // What they hold may end with them.
    }

    /// Sleeps until a request is carried out.
    fn rest(&self, turn: u64) {
        let Seat { turn: turn_of, rests, .. } = &self.seat;
        rests.store(true, Ordering::SeqCst);
        while turn_of.load(Ordering::SeqCst) == turn && !self.standby.has_ended() {
            thread::park();
        }
        rests.store(false, Ordering::SeqCst);
    }
}
