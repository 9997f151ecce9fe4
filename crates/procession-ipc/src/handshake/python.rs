//! CPython's form of the hand-shake: each end challenges the other once, the listening one first.
//!
//! `#CHALLENGE#` and some bytes; an answer, which is a proof of those very bytes; `#WELCOME#` or `#FAILURE#`. From 3.12 on
//! the bytes begin with the name of a digest in braces, and the answer with that of its own; before, the bytes are 20, the
//! digest is MD5 and nothing is named. Source: `multiprocessing/connection.py` of CPython 3.8 to 3.13.
//!
//! Nothing in a proof tells who it is for, so a peer without the key can have a CPython process answer its own challenge.
//! Ours it cannot: what they challenge with is marked, and they answer no mark in this form.
//!
//! Relies on `handshake/digest.rs` for proofs and on `handshake/ours.rs` for the mark.

use crate::handshake::digest::{Digest, MD5};
use crate::handshake::ours::Challenge;
use crate::handshake::{AuthFailure, Terms};

pub(super) const CHALLENGE: &[u8] = b"#CHALLENGE#";
pub(super) const WELCOME: &[u8] = b"#WELCOME#";
const FAILURE: &[u8] = b"#FAILURE#";

/// How long a challenge is that names no digest; a shorter one is answered by nobody.
const UNNAMED_CHALLENGE_BYTES: usize = 20;

/// How long an answer is that names no digest: MD5's.
const UNNAMED_ANSWER_BYTES: usize = 16;

/// The challenge in a message.
///
/// # Errors
/// The message is something else.
pub(super) fn challenge(message: &[u8]) -> Result<&[u8], AuthFailure> {
    message.strip_prefix(CHALLENGE).ok_or(AuthFailure::Malformed("no challenge where one is due"))
}

/// Our answer to a challenge of CPython's.
///
/// # Errors
/// It must not or cannot be answered.
pub(super) fn answer(terms: &Terms, challenge: &[u8]) -> Result<Vec<u8>, AuthFailure> {
    if Challenge::read(challenge)?.is_some() {
        return Err(AuthFailure::Malformed("a challenge of ours in CPython's hand-shake"));
    }
    let form = Form::of(challenge).filter(|_| challenge.len() >= UNNAMED_CHALLENGE_BYTES);
    let form = form.ok_or(AuthFailure::Malformed("a challenge that names no digest"))?;
    form.check(terms)?;
    let proof = form.digest.prove(terms.key(), challenge);
    match form.proof {
        None => Ok(proof),
        Some(_) => Ok([b"{", form.digest.name.as_bytes(), b"}", &proof].concat()),
    }
}

/// Checks CPython's answer to a challenge of ours.
///
/// # Errors
/// It is none, is not allowed, or proves nothing.
pub(super) fn check(terms: &Terms, challenge: &[u8], answer: &[u8]) -> Result<(), AuthFailure> {
    let form = Form::of(answer).ok_or(AuthFailure::Malformed("no answer to a challenge"))?;
    form.check(terms)?;
    match form.digest.is_proof(terms.key(), challenge, form.proof.unwrap_or(answer)) {
        true => Ok(()),
        false => Err(AuthFailure::WrongKey),
    }
}

/// Checks what CPython says to an answer of ours.
///
/// # Errors
/// It is not pleased.
pub(super) fn check_welcome(message: &[u8]) -> Result<(), AuthFailure> {
    match message {
        WELCOME => Ok(()),
        FAILURE => Err(AuthFailure::WrongKey),
        _ => Err(AuthFailure::Malformed("neither welcome nor failure")),
    }
}

/// How a challenge or an answer of CPython's is written.
struct Form<'a> {
    digest: &'static Digest,
    /// What stands behind the digest's name; none if it has none.
    proof: Option<&'a [u8]>,
}

impl<'a> Form<'a> {
    /// That of those bytes, if they have one. As CPython does, a length goes before a name.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        if matches!(bytes.len(), UNNAMED_ANSWER_BYTES | UNNAMED_CHALLENGE_BYTES) {
            return Some(Self { digest: &MD5, proof: None });
        }
        let rest = bytes.strip_prefix(b"{")?;
        let end = rest.iter().position(|&byte| byte == b'}')?;
        Some(Self { digest: Digest::named(&rest[..end])?, proof: Some(&rest[end + 1..]) })
    }

    /// Whether CPython may be spoken with so.
    fn check(&self, terms: &Terms) -> Result<(), AuthFailure> {
        match terms {
            Terms { cpython: false, .. } => Err(AuthFailure::CpythonRefused),
            Terms { legacy_md5: false, .. } if self.digest.is_md5() => Err(AuthFailure::LegacyRefused),
            _ => Ok(()),
        }
    }
}
