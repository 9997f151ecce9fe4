//! One hand-shake over a socket, a step at a time and without waiting.
//!
//! Relies on `handshake.rs` for what is said, and on `attempt/ring.rs` for what follows between two processes of one machine.
//! Whoever owns an attempt waits for its socket: a listener for all of its
//! attempts at once, a client for its own.

mod ring;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use procession_sys::{Deadline, Interest, StreamSocket, random_bytes};

use crate::attempt::ring::Negotiation;
use crate::conduit::{Conduit, Origin};
use crate::duplex::End;
use crate::handshake::{Agreed, AuthFailure, HANDSHAKE_FRAME_MAX, Handshake};
use crate::peer::Peer;
use crate::settings::Settings;

/// What a hand-shake takes of a peer that means well, ten times over.
const HONEST_TIME: Duration = Duration::from_secs(1);

/// Which end of the connection this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Listening,
    /// With values to exchange, or bytes.
    Dialing {
        values: bool,
    },
}

/// A connection that is not one yet.
pub(crate) struct Attempt {
    socket: StreamSocket,
    pub(crate) peer: Peer,
    pub(crate) deadline: Deadline,
    /// Until when it does not give way to others.
    pub(crate) safe_until: Deadline,
    role: Role,
    stage: Stage,
}

enum Stage {
    Shaking(Box<Handshake>),
    /// What was agreed is that both could use a ring.
    Upgrading(Agreed, Negotiation),
    /// With a ring, or without.
    Over(Agreed, Option<Box<End>>),
}

/// How far it is.
pub(crate) enum Progress {
    /// It goes on when the socket is ready for this.
    Needs(Interest),
    Over(Agreed),
}

impl Attempt {
    pub(crate) fn new(
        role: Role,
        socket: StreamSocket,
        peer: Peer,
        settings: &Settings,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let terms = settings.terms(&peer, role == Role::Dialing { values: true });
        let stage = match role {
            _ if settings.is_raw() => Stage::Over(Agreed::Cpython, None),
            Role::Listening => Stage::Shaking(Box::new(Handshake::listening(&terms, random_bytes()?))),
            Role::Dialing { .. } => Stage::Shaking(Box::new(Handshake::dialing(&terms, random_bytes()?))),
        };
        Ok(Self { socket, peer, deadline, safe_until: Deadline::after(HONEST_TIME), role, stage })
    }

    /// What is waited for.
    pub(crate) fn socket_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What carries messages, once it is over.
    pub(crate) fn into_conduit(self, settings: &Settings) -> Conduit {
        let origin = Origin { message_bytes_max: settings.message_bytes_max, peer: Some(self.peer) };
        match self.stage {
            Stage::Over(_, Some(ring)) => Conduit::over_pipe(*ring, origin),
            _ => Conduit::over_stream(self.socket, origin),
        }
    }

    /// Goes as far as it can.
    pub(crate) fn advance(&mut self) -> Result<Progress, AuthFailure> {
        match self.go_on() {
            Ok(agreed) => Ok(Progress::Over(agreed)),
            Err(Stop::Needs(interest)) => Ok(Progress::Needs(interest)),
            Err(Stop::Failed(failure)) => Err(failure),
        }
    }

    fn go_on(&mut self) -> Result<Agreed, Stop> {
        loop {
            self.stage = match &mut self.stage {
                Stage::Shaking(handshake) => match shake(handshake, &self.socket)? {
                    agreed @ Agreed::Ours { ring: true, .. } => Stage::Upgrading(agreed, self.role.negotiation()),
                    agreed => Stage::Over(agreed, None),
                },
                Stage::Upgrading(agreed, negotiation) => Stage::Over(*agreed, negotiation.settle(&self.socket)?),
                Stage::Over(agreed, _) => return Ok(*agreed),
            };
        }
    }
}

impl Role {
    fn negotiation(self) -> Negotiation {
        match self {
            Self::Listening => Negotiation::offering(),
            Self::Dialing { .. } => Negotiation::expecting(),
        }
    }
}

impl AsFd for Attempt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket_fd()
    }
}

/// Why a step was not made.
enum Stop {
    /// It can be when the socket is ready for this.
    Needs(Interest),
    Failed(AuthFailure),
}

impl From<AuthFailure> for Stop {
    fn from(failure: AuthFailure) -> Self {
        Self::Failed(failure)
    }
}

/// What was moved, or why nothing was.
fn moved<T>(moved: io::Result<T>, interest: Interest) -> Result<T, Stop> {
    moved.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => Stop::Needs(interest),
        _ => Stop::Failed(AuthFailure::Disconnected),
    })
}

/// Moves a hand-shake's bytes.
fn shake(handshake: &mut Handshake, socket: &StreamSocket) -> Result<Agreed, Stop> {
    let mut room = [0; HANDSHAKE_FRAME_MAX];
    loop {
        if !handshake.to_send().is_empty() {
            let sent = socket.try_send([handshake.to_send()]);
            handshake.sent(moved(sent, Interest::Write)?);
        } else if let Some(agreed) = handshake.outcome() {
            return Ok(agreed);
        } else {
            let wanted = handshake.to_receive().min(room.len());
            let received = socket.try_receive(&mut room[..wanted]);
            // None are the end, which it judges.
            handshake.received(&room[..moved(received, Interest::Read)?])?;
        }
    }
}
