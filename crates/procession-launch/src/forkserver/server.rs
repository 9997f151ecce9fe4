//! The server: one thread that forks, reaps, and tells how each child ended.
//!
//! # Safety
//! A fork copies one thread. The server has no other: it runs no code but its own, which starts none. In a child it
//! closes every descriptor but the child's own two; the objects that held the others stay where they are, in frames
//! that the child never returns to.

#![expect(unsafe_code, reason = "forks, and closes in the child what belongs to the server")]

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use procession_boot::{Boot, Entry, tie_to_lifeline};
use procession_sys::{
    ChildSignals, Deadline, Disposition, Interest, PacketSocket, PidFd, Signal, close_all_but, disposition, fork, pid,
    poll, reap_any, set_command_name, set_disposition,
};
use procession_wire::{Descriptor, Encoder};

use crate::body;
use crate::protocol::{BORN, ENDED, FAILED, Line, encode_ended};

/// The role of the server.
pub(crate) struct Serve;

impl Entry for Serve {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        match Service::new(boot).and_then(Service::run) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("procession: the forkserver ends: {error}");
                1
            }
        }
    }
}

/// The longest request: a word and one descriptor.
const REQUEST_MAX: usize = 16;

/// The server's whole state.
struct Service {
    control: PacketSocket,
    lifeline: OwnedFd,
    child_ended: ChildSignals,
    /// What Ctrl-C does to the children, which the server itself ignores.
    interrupt: Disposition,
    /// The line of each running child, for its status.
    lines: HashMap<u32, Arc<Line>>,
}

impl Service {
    fn new(boot: Boot) -> io::Result<Self> {
        let interrupt = disposition(Signal::INT);
        set_disposition(Signal::INT, Disposition::Ignore);
        set_disposition(Signal::CHLD, Disposition::Default); // Ignored, it would take the statuses away.
        // The server keeps no directory busy; children are told theirs.
        std::env::set_current_dir("/")?;
        set_command_name(b"forkserver")?;
        let (control, lifeline) = (boot.socket, boot.lifeline);
        Ok(Self { control, lifeline, child_ended: ChildSignals::new()?, interrupt, lines: HashMap::new() })
    }

    /// Serves until the owner is gone.
    fn run(mut self) -> io::Result<()> {
        loop {
            let watched = [(self.control.as_fd(), Interest::Read), (self.child_ended.as_fd(), Interest::Read)];
            let [request, ended] = poll(watched, Deadline::NEVER)?;
            if ended {
                self.reap();
            }
            if request && !self.serve()? {
                return Ok(());
            }
        }
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
    }

    /// Takes one request; false when there will be no more.
    fn serve(&mut self) -> io::Result<bool> {
        let packet = match self.control.try_receive(REQUEST_MAX) {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(false),
            // No descriptors left, for one: the socket that came is lost, and its owner sees it close.
            Err(_) => return Ok(true),
        };
        for socket in packet.descriptors {
            self.fork_one(Arc::new(Line::new(socket.into())));
        }
        Ok(true)
    }

    /// Forks the child that will talk over `line`.
    fn fork_one(&mut self, line: Arc<Line>) {
        // SAFETY: the server has one thread (see the top of this file).
        match unsafe { fork(|| self.child(&line)) } {
            Ok(child) => {
                self.lines.insert(child, line);
            }
            Err(error) => {
                let mut encoder = Encoder::new();
                let _ = encoder.value(&error.raw_os_error().unwrap_or_default());
                let _ = line.send(FAILED, &encoder.finish());
            }
        }
    }

    /// The child, from its first instruction to its exit code.
    fn child(&self, line: &Arc<Line>) -> i32 {
        let keep = [line.as_fd().as_raw_fd(), self.lifeline.as_raw_fd()];
        // SAFETY: what is closed belongs to the server's objects, which no code of the child uses or drops: the
        // child leaves by `exit` and never returns to the server's frames.
        unsafe { close_all_but(&keep) };
        set_disposition(Signal::INT, self.interrupt);
        if tie_to_lifeline(&self.lifeline).and_then(|()| born(line)).is_err() {
            return 1;
        }
        body::run(line)
    }
}

/// The child's first word.
fn born(line: &Line) -> io::Result<()> {
    let pidfd: OwnedFd = PidFd::open(pid())?.into();
    let mut encoder = Encoder::new();
    encoder.value(&(pid(), Descriptor::from(pidfd))).map_err(io::Error::other)?;
    line.send(BORN, &encoder.finish())
}
