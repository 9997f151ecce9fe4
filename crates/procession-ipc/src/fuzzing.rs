//! Ends of hand-shakes without sockets, for the fuzz target that stands between them.
//!
//! Relies on `handshake.rs`, whose words this has. Only with the feature `fuzzing`, which nothing that is shipped turns on.

use procession_launch::AuthKey;

use crate::AuthFailure;
use crate::handshake::{Agreed, Handshake, Terms};

/// What an end allows and offers, beside its key.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    /// CPython's form.
    pub cpython: bool,
    /// MD5 in it.
    pub legacy_md5: bool,
    /// A ring.
    pub ring: bool,
    /// Values, and not bytes.
    pub values: bool,
}

/// What two ends have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are ours.
    Ours {
        /// And can use a ring.
        ring: bool,
        /// And the client exchanges values.
        values: bool,
    },
    /// The other one is CPython.
    Cpython,
}

/// One end.
#[derive(Debug)]
pub struct Shaking(Handshake);

impl Shaking {
    /// The end that was connected to.
    #[must_use]
    pub fn listening(key: AuthKey, allowed: Allowed, random: [u8; 32]) -> Self {
        Self(Handshake::listening(&allowed.terms(key), random))
    }

    /// The end that has connected.
    #[must_use]
    pub fn dialing(key: AuthKey, allowed: Allowed, random: [u8; 32]) -> Self {
        Self(Handshake::dialing(&allowed.terms(key), random))
    }

    /// What is to be sent now.
    #[must_use]
    pub fn to_send(&self) -> &[u8] {
        self.0.to_send()
    }

    /// So many bytes of it were.
    pub fn sent(&mut self, bytes: usize) {
        self.0.sent(bytes);
    }

    /// How many bytes may be received.
    #[must_use]
    pub fn to_receive(&self) -> usize {
        self.0.to_receive()
    }

    /// These were.
    ///
    /// # Errors
    /// As the hand-shake says.
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), AuthFailure> {
        self.0.received(bytes)
    }

    /// What came of it.
    #[must_use]
    pub fn outcome(&self) -> Option<Outcome> {
        self.0.outcome().map(|agreed| match agreed {
            Agreed::Ours { ring, values } => Outcome::Ours { ring, values },
            Agreed::Cpython => Outcome::Cpython,
        })
    }
}

impl Allowed {
    fn terms(self, key: AuthKey) -> Terms {
        let Self { cpython, legacy_md5, ring, values } = self;
        Terms { key: Some(key), cpython, legacy_md5, ring, values }
    }
}
