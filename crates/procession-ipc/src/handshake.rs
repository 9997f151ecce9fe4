//! The hand-shake: two ends of a connection prove to each other that they know the same key. Pure: whoever owns the socket
//! moves the bytes.
//!
//! Relies on `handshake/ours.rs` for the form that our peers speak among themselves, on `handshake/python.rs` for CPython's,
//! on `handshake/frame.rs` for frames and on `handshake/digest.rs` for proofs.
//!
//! The listening end speaks first, in CPython's own frame; the mark in its challenge tells our peers that it is one of
//! them. What follows is a strict alternation, so neither end ever has more than one frame to send, and nothing is read
//! beyond the hand-shake: what follows belongs to the connection.
//!
//! **Invariant:** what we prove in one role proves nothing in the other, on whichever connection it is repeated.
//! **Invariant:** nobody of ours answers a marked challenge in CPython's form, so allowing CPython opens no way around the
//! above between our own peers.
//! **Invariant:** a peer is kept at most [`HANDSHAKE_FRAME_MAX`] bytes, and is told nothing when it fails.

mod digest;
mod failure;
mod frame;
mod ours;
mod python;

#[cfg(test)]
mod tests;

use std::fmt;

use procession_launch::AuthKey;

pub use crate::handshake::failure::AuthFailure;
pub use crate::handshake::frame::HANDSHAKE_FRAME_MAX;
pub(crate) use crate::handshake::frame::{Incoming, framed};
use crate::handshake::ours::{Challenge, NONCE_BYTES, RING, Transcript, VALUES};
use crate::handshake::python::WELCOME;

/// What one end asks of the other, and offers it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Terms {
    /// What both must know; without one, the empty key, which proves nothing.
    pub(crate) key: Option<AuthKey>,
    /// Whether the peer may be CPython, whose form of the hand-shake can be reflected by who has no key.
    pub(crate) cpython: bool,
    /// Whether CPython may prove its key with MD5, and have ours proved so, as up to 3.11 it always does.
    pub(crate) legacy_md5: bool,
    /// Whether this end can take, or give, a ring of shared memory in place of the stream.
    pub(crate) ring: bool,
    /// Whether a client has values of Rust's types to exchange, and not bytes.
    pub(crate) values: bool,
}

impl Terms {
    fn key(&self) -> &[u8] {
        self.key.as_ref().map_or(&[], AuthKey::as_bytes)
    }
}

/// What both ends know once it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreed {
    /// The peer is one of ours.
    Ours {
        /// Whether both can use a ring. The listening end's next bytes then say which.
        ring: bool,
        /// Whether the client exchanges values, and not bytes.
        values: bool,
    },
    /// The peer is CPython: it has bytes for us, and no types.
    Cpython,
}

/// One end of a hand-shake that is under way.
///
/// Send what [`to_send`](Self::to_send) has and receive as much as [`to_receive`](Self::to_receive) says until there is an
/// [`outcome`](Self::outcome) or a failure; one of the three is always there.
pub(crate) struct Handshake {
    terms: Terms,
    step: Step,
    sending: Vec<u8>,
    incoming: Incoming,
}

/// What is to come next.
#[derive(Clone)]
enum Step {
    /// We listen: the answer to this challenge, in either form.
    Challenged(Challenge),
    /// We listen: CPython has proved its key and will challenge us.
    PythonChallenges,
    /// We listen: CPython has our answer.
    PythonJudges,
    /// We dial: the listener's challenge.
    Dialed([u8; NONCE_BYTES]),
    /// We dial: the listener's proof.
    Answered(Transcript),
    /// We dial: CPython has our answer, and is challenged next.
    PythonJudgesFirst(Challenge),
    /// We dial: CPython's answer to this challenge.
    PythonChallenged(Challenge),
    /// Nothing.
    Over(Result<Agreed, AuthFailure>),
}

/// What a frame of the peer's leads to: a frame of ours, unless that is empty, and a step.
type Reply = Result<(Vec<u8>, Step), AuthFailure>;

impl Handshake {
    /// The end that was connected to. `random` must be used for nothing else, ever.
    pub(crate) fn listening(terms: &Terms, random: [u8; NONCE_BYTES]) -> Self {
        let challenge = Challenge::new(random);
        Self::start(terms, framed(&challenge.message()), Step::Challenged(challenge))
    }

    /// The end that has connected. `random` must be used for nothing else, ever.
    pub(crate) fn dialing(terms: &Terms, random: [u8; NONCE_BYTES]) -> Self {
        Self::start(terms, Vec::new(), Step::Dialed(random))
    }

    fn start(terms: &Terms, sending: Vec<u8>, step: Step) -> Self {
        Self { terms: terms.clone(), step, sending, incoming: Incoming::default() }
    }

    /// What is to be sent now, if anything.
    pub(crate) fn to_send(&self) -> &[u8] {
        &self.sending
    }

    /// Tells that so many bytes of that were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.sending.drain(..bytes);
    }

    /// How many bytes may be received now at most; none while there is something to send, and none once it is over.
    pub(crate) fn to_receive(&self) -> usize {
        match self.step {
            Step::Over(_) => 0,
            _ if !self.sending.is_empty() => 0,
            _ => self.incoming.missing(),
        }
    }

    /// Takes what was received; no bytes mean that the peer has closed its end, as for read(2).
    ///
    /// # Errors
    /// Why the peer is not to be spoken with. There is nothing left to send then, and the same is said from then on.
    ///
    /// # Panics
    /// For more bytes than [`to_receive`](Self::to_receive) allows: some of them would be the connection's.
    pub(crate) fn received(&mut self, bytes: &[u8]) -> Result<(), AuthFailure> {
        let allowed = self.to_receive();
        assert!(bytes.len() <= allowed, "{} bytes were received where {allowed} were allowed", bytes.len());
        self.take(bytes).inspect_err(|&failure| {
            self.step = Step::Over(Err(failure));
            self.sending = Vec::new();
            self.incoming = Incoming::default();
        })
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), AuthFailure> {
        if bytes.is_empty() {
            return Err(self.step.end_of_peer());
        }
        let Some(message) = self.incoming.push(bytes)? else { return Ok(()) };
        let (reply, step) = self.step.next(&self.terms, &message)?;
        if !reply.is_empty() {
            self.sending = framed(&reply);
        }
        self.step = step;
        Ok(())
    }

    /// What was agreed, once nothing is left to send or receive.
    pub(crate) fn outcome(&self) -> Option<Agreed> {
        match self.step {
            Step::Over(Ok(agreed)) if self.sending.is_empty() => Some(agreed),
            _ => None,
        }
    }
}

impl Step {
    fn over(agreed: Agreed) -> Self {
        Self::Over(Ok(agreed))
    }

    fn next(&self, terms: &Terms, message: &[u8]) -> Reply {
        match self {
            Self::Challenged(challenge) if ours::is_answer(message) => welcome(terms, challenge, message),
            Self::Challenged(challenge) => {
                python::check(terms, challenge.bytes(), message)?;
                Ok((WELCOME.to_vec(), Self::PythonChallenges))
            }
            Self::PythonChallenges => {
                let challenge = python::challenge(message)?;
                Ok((python::answer(terms, challenge)?, Self::PythonJudges))
            }
            Self::PythonJudges => {
                python::check_welcome(message)?;
                Ok((Vec::new(), Self::over(Agreed::Cpython)))
            }
            Self::Dialed(nonce) => answer(terms, *nonce, message),
            Self::Answered(transcript) => {
                let flags = transcript.check_welcome(terms.key(), message)?;
                Ok((Vec::new(), Self::over(Agreed::Ours { ring: flags & RING != 0, values: terms.values })))
            }
            Self::PythonJudgesFirst(challenge) => {
                python::check_welcome(message)?;
                Ok((challenge.message(), Self::PythonChallenged(*challenge)))
            }
            Self::PythonChallenged(challenge) => {
                python::check(terms, challenge.bytes(), message)?;
                Ok((WELCOME.to_vec(), Self::over(Agreed::Cpython)))
            }
            Self::Over(Ok(_)) => Err(AuthFailure::Malformed("bytes after the hand-shake")),
            Self::Over(Err(failure)) => Err(*failure),
        }
    }

    /// What it means that the peer has closed its end. Ours close it where a proof does not convince them.
    fn end_of_peer(&self) -> AuthFailure {
        match self {
            Self::PythonJudges | Self::Answered(_) | Self::PythonJudgesFirst(_) => AuthFailure::Refused,
            Self::Over(Err(failure)) => *failure,
            _ => AuthFailure::Disconnected,
        }
    }
}

/// We listen and one of ours has answered: our proof, if its is right.
fn welcome(terms: &Terms, challenge: &Challenge, message: &[u8]) -> Reply {
    let transcript = Transcript::check_answer(terms.key(), challenge, message)?;
    let ring = terms.ring && transcript.offers(RING);
    let flags = if ring { RING } else { 0 };
    Ok((transcript.welcome(terms.key(), flags), Step::over(Agreed::Ours { ring, values: transcript.offers(VALUES) })))
}

/// We dial and are challenged: our proof, in the form of who challenges.
fn answer(terms: &Terms, nonce: [u8; NONCE_BYTES], message: &[u8]) -> Reply {
    let bytes = python::challenge(message)?;
    if let Some(challenge) = Challenge::read(bytes)? {
        let transcript = Transcript::new(challenge, flags_of(terms), nonce);
        return Ok((transcript.answer(terms.key()), Step::Answered(transcript)));
    }
    let answer = python::answer(terms, bytes)?;
    Ok((answer, Step::PythonJudgesFirst(Challenge::new(nonce))))
}

/// What a client says of itself.
fn flags_of(terms: &Terms) -> u8 {
    let ring = if terms.ring { RING } else { 0 };
    let values = if terms.values { VALUES } else { 0 };
    ring | values
}

impl fmt::Debug for Handshake {
    /// Nothing of what is proved, and nothing that proves it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("terms", &self.terms)
            .field("outcome", &self.outcome())
            .field("to_send", &self.sending.len())
            .field("to_receive", &self.to_receive())
            .finish_non_exhaustive()
    }
}
