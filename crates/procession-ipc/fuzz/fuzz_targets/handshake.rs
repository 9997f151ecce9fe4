//! Somebody without the key between ends that have one: whoever agrees has spoken with another end, and heard all it said.
//!
//! Two listeners and two clients have the same key. The fuzzer carries their bytes, changes, cuts, repeats and mixes them,
//! and adds its own. A CPython that has the key answers a challenge now and then, so that what follows is reached.
//! Relies on libFuzzer for coverage; `cargo xtask fuzz handshake` runs it.

#![no_main]

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use md5::Md5;
use procession_ipc::fuzzing::{Allowed, Outcome, Shaking};
use procession_ipc::{AuthFailure, HANDSHAKE_FRAME_MAX};
use procession_launch::AuthKey;
use sha2::Sha256;

const KEY: &[u8] = b"known to the ends";
const HEADER: usize = 4;
const CHALLENGE: &[u8] = b"#CHALLENGE#";
const CHALLENGE_FRAME_BYTES: usize = HEADER + CHALLENGE.len() + 48;

/// How many ends there are: as many that listen as that dial.
const ENDS: usize = 4;

/// What happens between the ends, which are named by their numbers.
#[derive(Arbitrary, Debug)]
enum Deed {
    /// The frame that one has said last goes to the other.
    Carry {
        from: u8,
        to: u8,
    },
    /// The same, with a bit changed.
    Change {
        from: u8,
        to: u8,
        at: u8,
        bit: u8,
    },
    /// Some of all that it ever said.
    Repeat {
        from: u8,
        to: u8,
        at: u8,
        count: u8,
    },
    /// The same, in a frame and behind some other bytes.
    Reframe {
        from: u8,
        to: u8,
        at: u8,
        count: u8,
        before: Vec<u8>,
    },
    Bytes {
        to: u8,
        bytes: Vec<u8>,
    },
    Frame {
        to: u8,
        message: Vec<u8>,
    },
    Word {
        to: u8,
        word: Word,
    },
    /// A CPython that has the key answers what this one has said last.
    Answer {
        to: u8,
        is_md5: bool,
        is_named: bool,
    },
    HangUp {
        to: u8,
    },
}

/// Frames that CPython sends.
#[derive(Arbitrary, Debug)]
enum Word {
    Welcome,
    Failure,
    Challenge { digest: Digest, rest: [u8; 40] },
    OldChallenge([u8; 20]),
}

#[derive(Arbitrary, Debug)]
enum Digest {
    Md5,
    Sha256,
    Sha384,
    Sha3,
    Unknown,
}

/// An end, and all that it said and heard.
struct End {
    allowed: Allowed,
    shaking: Shaking,
    said: Vec<u8>,
    /// The last frame of that.
    last: Vec<u8>,
    heard: Vec<u8>,
    failure: Option<AuthFailure>,
    /// Whether a CPython with the key has answered it, and how.
    answered_by_md5: bool,
    answered_by_sha256: bool,
}

impl End {
    fn new(number: usize, bits: u8) -> Self {
        let has = |bit: u8| bits & bit != 0;
        let allowed = Allowed { cpython: has(1), legacy_md5: has(2), ring: has(4), values: has(8) };
        let key = AuthKey::new(KEY).expect("a key");
        let random = [number as u8; 32];
        let shaking = match is_listening(number) {
            true => Shaking::listening(key, allowed, random),
            false => Shaking::dialing(key, allowed, random),
        };
        let mut end = Self {
            allowed,
            shaking,
            said: Vec::new(),
            last: Vec::new(),
            heard: Vec::new(),
            failure: None,
            answered_by_md5: false,
            answered_by_sha256: false,
        };
        end.check();
        if has(16) {
            end.speak_with_cpython(is_listening(number));
        }
        end
    }

    /// The first half of a hand-shake with a CPython that has the key: it is convinced, or has convinced.
    fn speak_with_cpython(&mut self, is_listening: bool) {
        if is_listening {
            return self.answer(false, true);
        }
        let challenge = Word::Challenge { digest: Digest::Sha256, rest: [b'*'; 40] };
        self.hear(&framed(&[&challenge.message()]));
        self.hear(&framed(&[&Word::Welcome.message()]));
    }

    /// Gives it bytes until it wants no more of them.
    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.shaking.to_receive() != 0 {
            let (some, rest) = bytes.split_at(self.shaking.to_receive().min(bytes.len()));
            self.heard.extend_from_slice(some);
            self.failure = self.shaking.received(some).err();
            self.check();
            bytes = rest;
        }
    }

    fn hang_up(&mut self) {
        if self.shaking.to_receive() != 0 {
            self.failure = self.shaking.received(&[]).err();
            assert!(self.failure.is_some(), "the end of the peer was not noticed");
            self.check();
        }
    }

    /// Takes what it says, and checks what is always so.
    fn check(&mut self) {
        assert!(self.shaking.to_receive() <= HANDSHAKE_FRAME_MAX, "{} bytes are wanted", self.shaking.to_receive());
        let say = self.shaking.to_send().to_vec();
        assert!(say.len() <= HEADER + HANDSHAKE_FRAME_MAX, "{} bytes are said", say.len());
        if !say.is_empty() {
            assert_eq!(self.shaking.to_receive(), 0, "it speaks and listens at once");
            assert_eq!(self.shaking.outcome(), None, "it is over before it was said");
            let (first, rest) = say.split_at(say.len() / 2);
            self.shaking.sent(first.len());
            assert_eq!(self.shaking.to_send(), rest);
            self.shaking.sent(rest.len());
        }
        if !say.is_empty() {
            self.said.extend_from_slice(&say);
            self.last.clone_from(&say);
        }
        match (self.failure, self.shaking.outcome()) {
            (Some(_), outcome) => {
                assert!(say.is_empty() && outcome.is_none() && self.shaking.to_receive() == 0, "it goes on");
                assert_eq!(self.shaking.received(&[]).err(), self.failure);
            }
            (None, Some(_)) => assert_eq!(self.shaking.to_receive(), 0, "it takes what is the connection's"),
            (None, None) => assert_ne!(self.shaking.to_receive(), 0, "it does not go on"),
        }
    }

    /// Has CPython answer what it said last.
    fn answer(&mut self, is_md5: bool, is_named: bool) {
        let message = self.last.get(HEADER..).unwrap_or_default();
        let Some(challenge) = message.strip_prefix(CHALLENGE) else { return };
        let (name, proof) = match is_md5 {
            true => ("{md5}", proof::<Hmac<Md5>>(challenge)),
            false => ("{sha256}", proof::<Hmac<Sha256>>(challenge)),
        };
        match is_md5 {
            true => self.answered_by_md5 = true,
            false => self.answered_by_sha256 = true,
        }
        let name = if is_named || !is_md5 { name } else { "" };
        self.hear(&framed(&[name.as_bytes(), &proof]));
    }
}

fn proof<M: Mac + KeyInit>(message: &[u8]) -> Vec<u8> {
    <M as KeyInit>::new_from_slice(KEY).expect("any key").chain_update(message).finalize().into_bytes().to_vec()
}

fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let message = parts.concat();
    [&(message.len() as u32).to_be_bytes()[..], &message].concat()
}

impl Word {
    fn message(&self) -> Vec<u8> {
        match self {
            Self::Welcome => b"#WELCOME#".to_vec(),
            Self::Failure => b"#FAILURE#".to_vec(),
            Self::Challenge { digest, rest } => [CHALLENGE, digest.name(), rest].concat(),
            Self::OldChallenge(bytes) => [CHALLENGE, bytes].concat(),
        }
    }
}

impl Digest {
    fn name(&self) -> &'static [u8] {
        match self {
            Self::Md5 => b"{md5}",
            Self::Sha256 => b"{sha256}",
            Self::Sha384 => b"{sha384}",
            Self::Sha3 => b"{sha3_256}",
            Self::Unknown => b"{sha512}",
        }
    }
}

fn is_listening(number: usize) -> bool {
    number < ENDS / 2
}

fn number(byte: u8) -> usize {
    usize::from(byte) % ENDS
}

/// Some of all that an end ever said.
fn part(end: &End, at: u8, count: u8) -> Vec<u8> {
    end.said.iter().skip(at.into()).take(count.into()).copied().collect()
}

fn play(ends: &mut [End], deed: Deed) {
    match deed {
        Deed::Carry { from, to } => {
            let bytes = ends[number(from)].last.clone();
            ends[number(to)].hear(&bytes);
        }
        Deed::Change { from, to, at, bit } => {
            let mut bytes = ends[number(from)].last.clone();
            bytes.iter_mut().skip(at.into()).take(1).for_each(|byte| *byte ^= 1 << (bit % 8));
            ends[number(to)].hear(&bytes);
        }
        Deed::Repeat { from, to, at, count } => {
            let bytes = part(&ends[number(from)], at, count);
            ends[number(to)].hear(&bytes);
        }
        Deed::Reframe { from, to, at, count, before } => {
            let bytes = part(&ends[number(from)], at, count);
            ends[number(to)].hear(&framed(&[&before, &bytes]));
        }
        Deed::Bytes { to, bytes } => ends[number(to)].hear(&bytes),
        Deed::Frame { to, message } => ends[number(to)].hear(&framed(&[&message])),
        Deed::Word { to, word } => ends[number(to)].hear(&framed(&[&word.message()])),
        Deed::Answer { to, is_md5, is_named } => ends[number(to)].answer(is_md5, is_named),
        Deed::HangUp { to } => ends[number(to)].hang_up(),
    }
}

/// Whether a client has answered just what this listener has challenged it with, and the listener has heard just that.
fn has_answered(client: &End, listener: &End) -> bool {
    let challenge = listener.said.get(..CHALLENGE_FRAME_BYTES);
    client.said == listener.heard && challenge.is_some_and(|challenge| client.heard.starts_with(challenge))
}

/// Checks that who agreed has reason to.
fn judge(ends: &[End], at: usize) {
    let end = &ends[at];
    let (listening, dialing) = ends.split_at(ENDS / 2);
    match end.shaking.outcome() {
        None => {}
        Some(Outcome::Cpython) => {
            let by_md5 = end.answered_by_md5 && end.allowed.legacy_md5;
            assert!(end.allowed.cpython && (by_md5 || end.answered_by_sha256), "end {at} was talked into it");
        }
        Some(Outcome::Ours { ring, values }) if is_listening(at) => {
            let other = dialing.iter().find(|client| has_answered(client, end));
            let other = other.unwrap_or_else(|| panic!("listener {at} was talked into it"));
            assert_eq!((ring, values), (end.allowed.ring && other.allowed.ring, other.allowed.values));
        }
        Some(outcome) => {
            let other = listening.iter().find(|listener| has_answered(end, listener) && listener.said == end.heard);
            let other = other.unwrap_or_else(|| panic!("client {at} was talked into it"));
            assert_eq!(other.shaking.outcome(), Some(outcome), "one of two takes the ring");
        }
    }
}

fuzz_target!(|plan: ([u8; ENDS], Vec<Deed>)| {
    let (bits, deeds) = plan;
    let mut ends: Vec<End> = (0..ENDS).map(|number| End::new(number, bits[number])).collect();
    for deed in deeds {
        play(&mut ends, deed);
    }
    for at in 0..ENDS {
        judge(&ends, at);
    }
});
