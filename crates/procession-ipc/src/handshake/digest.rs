//! Proofs of a key: HMAC with one of the five digests that CPython knows by name.
//!
//! Relies on the `hmac` crate for the construction, and for comparing in constant time.

use hmac::digest::Digest as Function;
use hmac::digest::common::BlockSizeUser;
use hmac::{KeyInit, Mac, SimpleHmac};
use md5::Md5;
use sha2::{Sha256, Sha384};
use sha3::{Sha3_256, Sha3_384};

/// What the proofs of a key are made with.
pub(super) struct Digest {
    /// What CPython calls it.
    pub(super) name: &'static str,
    prove: fn(&[u8], &[u8]) -> Vec<u8>,
    is_proof: fn(&[u8], &[u8], &[u8]) -> bool,
}

/// That of our own form, and of every challenge of ours.
pub(super) static SHA256: Digest = Digest::of::<Sha256>("sha256");

/// The one that proves the least.
pub(super) static MD5: Digest = Digest::of::<Md5>("md5");

static OTHERS: [Digest; 3] =
    [Digest::of::<Sha384>("sha384"), Digest::of::<Sha3_256>("sha3_256"), Digest::of::<Sha3_384>("sha3_384")];

impl Digest {
    const fn of<D: Function + BlockSizeUser>(name: &'static str) -> Self {
        Self { name, prove: prove::<D>, is_proof: is_proof::<D> }
    }

    /// The one with this name, of those that CPython allows.
    pub(super) fn named(name: &[u8]) -> Option<&'static Self> {
        [&SHA256, &MD5].into_iter().chain(&OTHERS).find(|digest| digest.name.as_bytes() == name)
    }

    /// Proves that this end knows the key, with a message that is said once.
    pub(super) fn prove(&self, key: &[u8], message: &[u8]) -> Vec<u8> {
        (self.prove)(key, message)
    }

    /// Whether that is what whoever knows the key proves with the message. Takes the same time wherever it differs.
    pub(super) fn is_proof(&self, key: &[u8], message: &[u8], proof: &[u8]) -> bool {
        (self.is_proof)(key, message, proof)
    }

    pub(super) fn is_md5(&self) -> bool {
        self.name == MD5.name
    }
}

/// The hash of both. `SimpleHmac`, as `Hmac` itself knows no digest of the SHA-3 family.
fn mac<D: Function + BlockSizeUser>(key: &[u8], message: &[u8]) -> SimpleHmac<D> {
    SimpleHmac::new_from_slice(key).expect("a key has any length").chain_update(message)
}

fn prove<D: Function + BlockSizeUser>(key: &[u8], message: &[u8]) -> Vec<u8> {
    mac::<D>(key, message).finalize().into_bytes().to_vec()
}

fn is_proof<D: Function + BlockSizeUser>(key: &[u8], message: &[u8], proof: &[u8]) -> bool {
    mac::<D>(key, message).verify_slice(proof).is_ok()
}
