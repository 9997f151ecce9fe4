//! Our own form of the hand-shake: three frames.
//!
//! | from | frame |
//! |---|---|
//! | listener | `#CHALLENGE#`, challenge: `{sha256}`, `PRCSN` 0 0, version, 32 random bytes |
//! | client | `#PROCESSION#`, its flags, 32 random bytes, proof of `procession-1 client`, challenge, flags, random bytes |
//! | listener | `#WELCOME#`, its flags, proof of `procession-1 listener`, challenge, the client's flags and random bytes, its flags |
//!
//! Each proof is bound to its role and to what both ends have made up for this connection alone, so it is worth nothing in
//! the other role and on any other connection. Nothing that CPython proves begins as what is proved here does.
//!
//! Relies on `handshake/digest.rs` for proofs.

use crate::handshake::AuthFailure;
use crate::handshake::digest::SHA256;
use crate::handshake::python::{CHALLENGE, WELCOME};

/// The version of this form.
pub(super) const VERSION: u8 = 1;

/// A bit of the flags: whoever sends it can take a ring, or gives one.
pub(super) const RING: u8 = 1;

/// A bit of the client's flags: it exchanges values of Rust's types, and not bytes.
pub(super) const VALUES: u8 = 2;

/// How many random bytes either end adds.
pub(super) const NONCE_BYTES: usize = 32;

const PROOF_BYTES: usize = 32;
const ANSWER: &[u8] = b"#PROCESSION#";
pub(super) const CLIENT: &[u8] = b"procession-1 client";
pub(super) const LISTENER: &[u8] = b"procession-1 listener";

/// How a challenge begins that one of ours has made: CPython reads it as the name of a digest and random bytes, of which
/// the first are these by chance once in 2^56 challenges of its own.
const MARK: &[u8] = b"{sha256}PRCSN\0\0";
const CHALLENGE_BYTES: usize = MARK.len() + 1 + NONCE_BYTES;

/// A challenge that one of ours has made.
#[derive(Clone, Copy)]
pub(super) struct Challenge([u8; CHALLENGE_BYTES]);

impl Challenge {
    pub(super) fn new(random: [u8; NONCE_BYTES]) -> Self {
        let mut bytes = [VERSION; CHALLENGE_BYTES];
        bytes[..MARK.len()].copy_from_slice(MARK);
        bytes[MARK.len() + 1..].copy_from_slice(&random);
        Self(bytes)
    }

    /// The challenge in those bytes, if it has our mark.
    ///
    /// # Errors
    /// It has, and another version or length.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, AuthFailure> {
        let Some(rest) = bytes.strip_prefix(MARK) else { return Ok(None) };
        match (rest.first(), bytes.try_into()) {
            (Some(&VERSION), Ok(bytes)) => Ok(Some(Self(bytes))),
            (Some(&theirs), _) if theirs != VERSION => Err(AuthFailure::Version { theirs }),
            _ => Err(AuthFailure::Malformed("a marked challenge of another length")),
        }
    }

    /// What is proved in CPython's form.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn message(&self) -> Vec<u8> {
        [CHALLENGE, &self.0].concat()
    }
}

/// Whether the answer to a challenge is one of ours.
pub(super) fn is_answer(message: &[u8]) -> bool {
    message.starts_with(ANSWER)
}

/// What both ends have made up for one connection.
#[derive(Clone)]
pub(super) struct Transcript {
    challenge: Challenge,
    client_flags: u8,
    nonce: [u8; NONCE_BYTES],
}

impl Transcript {
    pub(super) fn new(challenge: Challenge, client_flags: u8, nonce: [u8; NONCE_BYTES]) -> Self {
        Self { challenge, client_flags, nonce }
    }

    /// Whether the client has set this bit.
    pub(super) fn offers(&self, bit: u8) -> bool {
        self.client_flags & bit != 0
    }

    /// The client's answer.
    pub(super) fn answer(&self, key: &[u8]) -> Vec<u8> {
        let proof = SHA256.prove(key, &self.proved(CLIENT, &[]));
        [ANSWER, &[self.client_flags], &self.nonce, &proof].concat()
    }

    /// Reads a client's answer to our challenge.
    ///
    /// # Errors
    /// It is none, or proves nothing.
    pub(super) fn check_answer(key: &[u8], challenge: &Challenge, message: &[u8]) -> Result<Self, AuthFailure> {
        let (flags, nonce, proof) = message
            .strip_prefix(ANSWER)
            .and_then(|rest| rest.split_first())
            .and_then(|(flags, rest)| Some((*flags, rest.split_first_chunk::<NONCE_BYTES>()?)))
            .and_then(|(flags, (nonce, proof))| Some((flags, *nonce, <&[u8; PROOF_BYTES]>::try_from(proof).ok()?)))
            .ok_or(AuthFailure::Malformed("an answer of another length"))?;
        let transcript = Self::new(*challenge, flags, nonce);
        transcript.check(key, CLIENT, &[], proof)?;
        Ok(transcript)
    }

    /// The listener's reply to that.
    pub(super) fn welcome(&self, key: &[u8], flags: u8) -> Vec<u8> {
        let proof = SHA256.prove(key, &self.proved(LISTENER, &[flags]));
        [WELCOME, &[flags], &proof].concat()
    }

    /// Reads a listener's reply to our answer; its flags.
    ///
    /// # Errors
    /// It is none, proves nothing, or promises what we have not offered and would not know how to take.
    pub(super) fn check_welcome(&self, key: &[u8], message: &[u8]) -> Result<u8, AuthFailure> {
        let (flags, proof) = message
            .strip_prefix(WELCOME)
            .and_then(|rest| rest.split_first())
            .and_then(|(flags, proof)| Some((*flags, <&[u8; PROOF_BYTES]>::try_from(proof).ok()?)))
            .ok_or(AuthFailure::Malformed("no welcome where one is due"))?;
        self.check(key, LISTENER, &[flags], proof)?;
        if flags & !self.client_flags != 0 {
            return Err(AuthFailure::Malformed("a welcome with more than was offered"));
        }
        Ok(flags)
    }

    pub(super) fn proved(&self, role: &[u8], more: &[u8]) -> Vec<u8> {
        [role, &self.challenge.0, &[self.client_flags], &self.nonce, more].concat()
    }

    fn check(&self, key: &[u8], role: &[u8], more: &[u8], proof: &[u8; PROOF_BYTES]) -> Result<(), AuthFailure> {
        match SHA256.is_proof(key, &self.proved(role, more), proof) {
            true => Ok(()),
            false => Err(AuthFailure::WrongKey),
        }
    }
}
