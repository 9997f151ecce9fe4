//! The server: one thread that forks, reaps, and tells how each child ended.
//!
//! # Safety
//! A fork copies one thread. The server has no other: it runs no code but its own, which starts none. In a child it
//! closes every descriptor but the child's own two, or, where other code than its own has opened some, those of its
//! own alone; the objects that held them stay where they are, in frames that the child never returns to.

#![expect(unsafe_code, reason = "forks, and closes in the child what belongs to the server")]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use procession_boot::{Boot, Entry, open_lifeline, tie_to_lifeline};
use procession_sys::{
    ChildSignals, Deadline, FormerAction, Interest, PacketSocket, PidFd, Signal, SignalMask, close_all_but,
    command_name, dev_null, discard_child, keep_pages_at_fork, make_null, place, poll, raise_file_limit, reap_any,
    set_command_name, set_file_limit,
};
use procession_wire::{Encoder, Message};

use super::preload;
use crate::current::become_server;
use crate::protocol::{ENDED, FAILED, Line, encode_ended, send_born};
use crate::spin::spin;
use crate::{body, fork};

/// The role of the server.
pub(crate) struct Serve;

impl Entry for Serve {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        serve(boot, Kind::Executed)
    }
}

/// The role of a server that runs functions before it serves.
pub(crate) struct ServePreloaded;

impl Entry for ServePreloaded {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        become_server();
        let line = Arc::new(Line::new(boot.socket));
        if let Err(code) = preload::obey(&line) {
            return code;
        }
        // The streams were for the functions; from here on they would keep files open that the owner may close.
        let (Ok(()), Some(line)) = (let_go_of_streams(), Arc::into_inner(line)) else { return FAILED_TO_SERVE };
        serve(Boot { socket: line.into_socket(), lifeline: boot.lifeline }, Kind::Preloaded)
    }
}

/// How a server came to be, where its children must know.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Executed, and nothing else.
    Executed,
    /// Executed, and has run functions of the program's.
    Preloaded,
    /// A copy of its owner.
    Nursery,
}

/// The exit code of a server that could not go on.
const FAILED_TO_SERVE: i32 = 1;

/// Serves until there is no more to serve, and returns the exit code.
pub(super) fn serve(boot: Boot, kind: Kind) -> i32 {
    match Service::new(boot, kind).and_then(Service::say_ready).and_then(Service::run) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("procession: the forkserver ends: {error}");
            FAILED_TO_SERVE
        }
    }
}

/// Makes the standard streams `/dev/null`.
pub(super) fn let_go_of_streams() -> io::Result<()> {
    fork::flush_streams();
    for at in 0..3 {
        // SAFETY: 0, 1 and 2 are the standard streams, which whoever uses them looks up by number.
        unsafe { place(dev_null()?, at) }?;
    }
    Ok(())
}

/// How long the server stays awake for another request after it has told of a child's end.
const NEXT_REQUEST_TIME: Duration = Duration::from_micros(100);

/// The longest request: a word and one descriptor.
pub(super) const REQUEST_MAX: usize = 16;

/// What a nursery says when it serves.
const READY: &[u8] = b"ready";

/// The server's whole state.
struct Service {
    kind: Kind,
    control: PacketSocket,
    lifeline: OwnedFd,
    /// The lifeline of the next child, opened while nobody waits for it.
    next_lifeline: Option<OwnedFd>,
    child_ended: ChildSignals,
    /// What the children get of what the server has changed for itself.
    given: Given,
    /// The child that was forked last, until the server is awake again.
    newborn: Option<(u32, Arc<Line>)>,
    /// The line of each running child, for its status.
    lines: HashMap<u32, Arc<Line>>,
}

/// How the server was started, where it differs from how it runs.
struct Given {
    mask: SignalMask,
    /// What a child's end does; ignored in the server, it would take the statuses away.
    child: FormerAction,
    /// What `ps` shows.
    command_name: Vec<u8>,
    /// How many files may be open; the server itself holds one for each running child.
    files: [u64; 2],
}

impl Given {
    /// Reads it, and puts the server's own in its place.
    ///
    /// Ctrl-C goes to every process of a terminal, and is not for the server. It is blocked, not ignored: so one
    /// that is sent to a child that has just been forked waits until the child has its own mask, and is not lost.
    fn replace(kind: Kind) -> io::Result<Self> {
        let given = Self {
            mask: SignalMask::current(),
            child: FormerAction::replace_by_default(Signal::CHLD)?,
            command_name: command_name()?,
            files: raise_file_limit()?,
        };
        given.mask.with(Signal::INT).with(Signal::CHLD).install();
        set_command_name(if kind == Kind::Nursery { b"nursery" } else { b"forkserver" })?;
        Ok(given)
    }

    /// Gives a child what the server was given.
    fn restore(&self) {
        self.child.restore();
        // What was read can be set.
        let _ = set_command_name(&self.command_name);
        self.mask.install();
    }

    /// The same for the limit of open files, when the child has received its own: a server may have been launched with
    /// a limit that its owner has raised since, and that the child's arguments would not fit in.
    fn restore_file_limit(&self) {
        let _ = set_file_limit(self.files);
    }
}

impl Service {
    fn new(boot: Boot, kind: Kind) -> io::Result<Self> {
        let given = Given::replace(kind)?;
        // The server keeps no directory busy; children are told theirs.
        std::env::set_current_dir("/")?;
        // What std keeps of a thread is made when first asked for: once here, so not in each child.
        let _ = std::thread::current();
        let _ = keep_pages_at_fork(); // Where it is forbidden, each child has its page faults.
        let (control, lifeline) = (boot.socket, boot.lifeline);
        let (child_ended, lines) = (ChildSignals::new()?, HashMap::new());
        Ok(Self { kind, control, lifeline, next_lifeline: None, child_ended, given, newborn: None, lines })
    }

    /// Tells whoever forked a nursery that it serves. An executed server that cannot is replaced; a nursery is not.
    fn say_ready(self) -> io::Result<Self> {
        if self.kind == Kind::Nursery {
            self.control.send([READY], &[])?;
        }
        Ok(self)
    }

    /// Serves until the owner is gone, or has sent its last request and all children have ended.
    fn run(mut self) -> io::Result<()> {
        let mut more_requests = true;
        let mut ended = false;
        while more_requests || !self.lines.is_empty() {
            let ends = (self.child_ended.as_fd(), Interest::Read);
            let watched = if more_requests { [(self.control.as_fd(), Interest::Read), ends] } else { [ends, ends] };
            if ended {
                // Whoever was told of an end often asks for the next child at once.
                spin(NEXT_REQUEST_TIME, || poll(watched, Deadline::NOW).is_ok_and(|[next, _]| next));
            }
            let request;
            [request, ended] = poll(watched, Deadline::NEVER)?;
            self.lines.extend(self.newborn.take());
            if ended {
                self.reap();
            }
            if request && more_requests {
                more_requests = self.serve()?;
            }
        }
        Ok(())
    }

    /// Tells the end of each child that has ended.
    fn reap(&mut self) {
        self.child_ended.clear();
        while let Some((child, ended)) = reap_any() {
            if let Some(line) = self.lines.remove(&child) {
                // Whoever asked for the child may be done with it.
                let _ = line.send(ENDED, &encode_ended(ended));
            }
        }
        if self.next_lifeline.is_none() {
            self.next_lifeline = open_lifeline(&self.lifeline).ok();
        }
    }

    /// Takes one request; false when there will be no more.
    fn serve(&mut self) -> io::Result<bool> {
        let packet = match self.control.try_receive(REQUEST_MAX) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(false),
            // No descriptors left, for one: the socket that came is lost, and its owner sees it close.
            Err(_) => return Ok(true),
        };
        if let Ok([socket]) = <[OwnedFd; 1]>::try_from(packet.descriptors) {
            drop(packet.bytes);
            self.fork_one(Arc::new(Line::new(socket.into())));
        }
        Ok(true)
    }

    /// Forks the child that will talk over `line`, and tells whoever asked how to hold it, or why there is none.
    ///
    /// After the fork the server shares its pages with the child, and each one that either writes to is copied. So
    /// until the child runs, which is when the server sleeps, nothing here touches the heap.
    fn fork_one(&mut self, line: Arc<Line>) {
        let forked = self.try_fork(&line);
        // Whoever asked may be gone, which is no concern of the server's.
        let _ = match &forked {
            Ok((child, pidfd)) => send_born(&line, *child, pidfd.as_fd()),
            Err(error) => line.send(FAILED, &failed(error)),
        };
        self.newborn = forked.ok().map(|(child, _)| (child, line));
    }

    /// Forks it.
    ///
    /// The child waits for its settings, which whoever asked sends only after the server's word. So if the server is
    /// killed in between, the child never begins.
    fn try_fork(&mut self, line: &Arc<Line>) -> io::Result<(u32, PidFd)> {
        let mut lifeline = match self.next_lifeline.take() {
            None => Some(open_lifeline(&self.lifeline)?),
            opened => opened,
        };
        // SAFETY: the server has one thread (see the top of this file).
        let child = unsafe { procession_sys::fork(|| self.child(line, lifeline.take())) }?;
        let pidfd = PidFd::open(child).inspect_err(|_| discard_child(child))?;
        Ok((child, pidfd))
    }

    /// The child, from its first instruction to its exit code.
    fn child(&self, line: &Arc<Line>, lifeline: Option<OwnedFd>) -> i32 {
        let Some(lifeline) = lifeline else { return 1 };
        self.let_go(line, &lifeline);
        self.given.restore();
        if tie_to_lifeline(lifeline).is_err() {
            return 1;
        }
        match self.kind {
            Kind::Preloaded if fork::let_go_of_parents().is_err() => FAILED_TO_SERVE,
            Kind::Executed | Kind::Preloaded | Kind::Nursery => body::run(line, || self.given.restore_file_limit()),
        }
    }

    /// Leaves to the server what is the server's.
    fn let_go(&self, line: &Line, lifeline: &OwnedFd) {
        if self.kind == Kind::Executed {
            // SAFETY: what is closed belongs to the server's objects, which no code of the child uses or drops: the
            // child leaves by `exit` and never returns to the server's frames.
            return unsafe { close_all_but(&[line.as_fd().as_raw_fd(), lifeline.as_raw_fd()]) };
        }
        // A copy of the owner keeps the owner's descriptors, and a preloaded child what the functions have opened: its
        // code has the objects that own them.
        let lines = self.lines.values().map(|line| line.as_fd());
        let own = [self.control.as_fd(), self.lifeline.as_fd(), self.child_ended.as_fd()];
        for fd in own.into_iter().chain(lines) {
            // SAFETY: as above.
            unsafe { make_null(fd.as_raw_fd()) };
        }
    }
}

/// What whoever asked is told of a fork that failed.
fn failed(error: &io::Error) -> Message {
    let mut encoder = Encoder::new();
    let _ = encoder.value(&error.raw_os_error().unwrap_or_default());
    encoder.finish()
}
