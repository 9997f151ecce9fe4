//! One hand-shake over a socket, a step at a time and without waiting.
//!
//! Relies on `handshake.rs` for what is said. Whoever owns an attempt waits for its socket: a listener for all of its
//! attempts at once, a client for its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use procession_sys::{Deadline, Interest, StreamSocket, random_bytes};

use crate::conduit::{Conduit, Origin};
use crate::handshake::{Agreed, AuthFailure, HANDSHAKE_FRAME_MAX, Handshake};
use crate::peer::Peer;
use crate::settings::Settings;

/// Which end of the connection this process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Listening,
    Dialing,
}

/// A connection that is not one yet.
pub(crate) struct Attempt {
    socket: StreamSocket,
    pub(crate) peer: Peer,
    pub(crate) deadline: Deadline,
    stage: Stage,
}

enum Stage {
    Shaking(Box<Handshake>),
    Over(Agreed),
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
        let terms = settings.terms(&peer);
        let stage = match role {
            _ if settings.is_raw() => Stage::Over(Agreed::Cpython),
            Role::Listening => Stage::Shaking(Box::new(Handshake::listening(&terms, random_bytes()?))),
            Role::Dialing => Stage::Shaking(Box::new(Handshake::dialing(&terms, random_bytes()?))),
        };
        Ok(Self { socket, peer, deadline, stage })
    }

    /// What is waited for.
    pub(crate) fn socket_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// What carries messages, once it is over.
    pub(crate) fn into_conduit(self, settings: &Settings) -> Conduit {
        let origin = Origin { message_bytes_max: settings.message_bytes_max, peer: Some(self.peer) };
        Conduit::over_stream(self.socket, origin)
    }

    /// Goes as far as it can.
    pub(crate) fn advance(&mut self) -> Result<Progress, AuthFailure> {
        let handshake = match &mut self.stage {
            Stage::Shaking(handshake) => handshake,
            Stage::Over(agreed) => return Ok(Progress::Over(*agreed)),
        };
        match shake(handshake, &self.socket)? {
            Progress::Over(agreed) => {
                self.stage = Stage::Over(agreed);
                self.advance()
            }
            needs @ Progress::Needs(_) => Ok(needs),
        }
    }
}

/// Moves a hand-shake's bytes.
fn shake(handshake: &mut Handshake, socket: &StreamSocket) -> Result<Progress, AuthFailure> {
    let mut room = [0; HANDSHAKE_FRAME_MAX];
    loop {
        let needs = if !handshake.to_send().is_empty() {
            socket
                .try_send([handshake.to_send(), &[]])
                .map(|count| handshake.sent(count))
                .map_err(|error| (error, Interest::Write))
        } else if let Some(agreed) = handshake.outcome() {
            return Ok(Progress::Over(agreed));
        } else {
            let wanted = handshake.to_receive().min(room.len());
            match socket.try_receive(&mut room[..wanted]) {
                // None are the end, which it judges.
                Ok(count) => {
                    handshake.received(&room[..count])?;
                    Ok(())
                }
                Err(error) => Err((error, Interest::Read)),
            }
        };
        match needs {
            Ok(()) => {}
            Err((error, interest)) if error.kind() == io::ErrorKind::WouldBlock => {
                return Ok(Progress::Needs(interest));
            }
            Err(_) => return Err(AuthFailure::Disconnected),
        }
    }
}
