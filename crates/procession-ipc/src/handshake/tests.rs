//! Both ends against each other, against recorded bytes and against rogues.
//!
//! Relies on nothing but the state machine: no byte of these goes through a socket.

mod attacks;
mod python;

use proptest::prelude::*;

use super::*;
use crate::handshake::python::CHALLENGE;

pub(super) const KEY: &str = "secret";
/// What ends made up; told apart by their first byte.
pub(super) const OURS: [u8; NONCE_BYTES] = [7; NONCE_BYTES];
pub(super) const THEIRS: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

/// Proofs by another implementation, Python's `hmac`, for the two above, with both flags set.
const CLIENT_PROOF: &str = "6e00a55b58cf445863c983d2097d6c7bf4d21156c869f0ea3a31bb8c328f5922";
const LISTENER_PROOF: &str = "03606b52bcca969f1df4f250fcd1e0e1437aabc9faece606745bd66017f98250";

pub(super) fn terms() -> Terms {
    Terms { key: Some(AuthKey::new(KEY).unwrap()), ..Terms::default() }
}

pub(super) fn with_key(key: &str) -> Terms {
    Terms { key: Some(AuthKey::new(key).unwrap()), ..Terms::default() }
}

pub(super) fn with_cpython() -> Terms {
    Terms { cpython: true, ..terms() }
}

pub(super) fn with_legacy() -> Terms {
    Terms { legacy_md5: true, ..with_cpython() }
}

pub(super) fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The message that an end wants to send, which is then sent.
pub(super) fn said(end: &mut Handshake) -> Vec<u8> {
    let frame = end.to_send().to_vec();
    end.sent(frame.len());
    assert_eq!(frame[..4], (frame.len() as u32 - 4).to_be_bytes());
    frame[4..].to_vec()
}

/// Says a message to an end, which takes as much of it at a time as it wants.
pub(super) fn say(end: &mut Handshake, message: &[u8]) -> Result<(), AuthFailure> {
    feed(end, &[&(message.len() as u32).to_be_bytes(), message].concat())
}

/// Gives an end all those bytes, or as many as it wants.
pub(super) fn feed(end: &mut Handshake, mut bytes: &[u8]) -> Result<(), AuthFailure> {
    while !bytes.is_empty() && end.to_receive() > 0 {
        let (some, rest) = bytes.split_at(end.to_receive().min(bytes.len()));
        end.received(some)?;
        bytes = rest;
    }
    Ok(())
}

/// Moves bytes from one end to the other, at most `step` of them; how many.
fn carry(from: &mut Handshake, to: &mut Handshake, step: usize) -> Result<usize, AuthFailure> {
    let count = from.to_send().len().min(to.to_receive()).min(step);
    if count != 0 {
        to.received(&from.to_send()[..count])?;
        from.sent(count);
    }
    Ok(count)
}

/// Lets two ends speak until both are done or one has failed, which the other sees as the end of its peer.
fn shake(listener: &mut Handshake, client: &mut Handshake, mut steps: impl Iterator<Item = usize>) -> [AgreedOrNot; 2] {
    loop {
        let step = steps.next().unwrap();
        let there = carry(listener, client, step).map_err(|failure| [listener.received(&[]).unwrap_err(), failure]);
        let back = there.and_then(|there| {
            let back = carry(client, listener, step).map_err(|failure| [failure, client.received(&[]).unwrap_err()]);
            back.map(|back| back + there)
        });
        match back {
            Err(failures) => return failures.map(Err),
            Ok(0) => return [listener, client].map(|end| Ok(end.outcome().expect("both go on or are done"))),
            Ok(_) => {}
        }
    }
}

type AgreedOrNot = Result<Agreed, AuthFailure>;

fn shake_whole(listening: &Terms, dialing: &Terms) -> [AgreedOrNot; 2] {
    let (mut listener, mut client) = (Handshake::listening(listening, OURS), Handshake::dialing(dialing, THEIRS));
    shake(&mut listener, &mut client, std::iter::repeat(usize::MAX))
}

#[test]
fn ends_with_one_key_agree_byte_by_byte() {
    for (one, other) in [(false, false), (true, false), (false, true), (true, true)] {
        let (listening, dialing) = (Terms { ring: one, ..terms() }, Terms { ring: other, ..terms() });
        let (mut listener, mut client) = (Handshake::listening(&listening, OURS), Handshake::dialing(&dialing, THEIRS));
        let agreed = Ok(Agreed::Ours { ring: one && other, values: false });
        assert_eq!(shake(&mut listener, &mut client, std::iter::repeat(1)), [agreed; 2]);
        assert_eq!((listener.to_receive(), client.to_receive()), (0, 0), "what follows is the connection's");
    }
}

#[test]
fn allowing_cpython_changes_nothing_between_ours() {
    for terms in [with_cpython(), with_legacy()] {
        assert_eq!(shake_whole(&terms, &terms), [Ok(Agreed::Ours { ring: false, values: false }); 2]);
    }
}

#[test]
fn without_a_key_ends_agree_with_whoever_has_none_too() {
    let open = Terms::default();
    assert_eq!(shake_whole(&open, &open), [Ok(Agreed::Ours { ring: false, values: false }); 2]);
    for (listening, dialing) in [(&open, &terms()), (&terms(), &open)] {
        assert_eq!(shake_whole(listening, dialing), [Err(AuthFailure::WrongKey), Err(AuthFailure::Refused)]);
    }
}

#[test]
fn another_key_is_told_to_the_listener_and_guessed_by_the_client() {
    for key in ["Secret", "secreT", "secre", "secrets", "x"] {
        let failures = [Err(AuthFailure::WrongKey), Err(AuthFailure::Refused)];
        assert_eq!(shake_whole(&terms(), &with_key(key)), failures, "{key}");
    }
}

#[test]
fn a_listener_with_another_key_is_told_to_the_client() {
    let mut client = Handshake::dialing(&terms(), THEIRS);
    let mut rogue = Handshake::listening(&with_key("another"), OURS);
    say(&mut client, &said(&mut rogue)).unwrap();
    let answer = said(&mut client);
    for flags in [0, 1] {
        let mut client = Handshake::dialing(&terms(), THEIRS);
        feed(&mut client, &framed(&Challenge::new(OURS).message())).unwrap();
        assert_eq!(said(&mut client), answer);
        let proved = Transcript::new(Challenge::new(OURS), 0, THEIRS).welcome(b"another", flags);
        assert_eq!(say(&mut client, &proved), Err(AuthFailure::WrongKey));
        assert_eq!(client.outcome(), None);
    }
}

#[test]
fn the_frames_are_as_they_are_written_down() {
    let terms = Terms { ring: true, ..terms() };
    let (mut listener, mut client) = (Handshake::listening(&terms, OURS), Handshake::dialing(&terms, THEIRS));
    let challenge = said(&mut listener);
    assert_eq!(challenge, [&b"#CHALLENGE#{sha256}PRCSN\0\0\x01"[..], &OURS].concat());
    say(&mut client, &challenge).unwrap();
    let answer = said(&mut client);
    assert_eq!(answer, [b"#PROCESSION#\x01", &THEIRS[..], &bytes(CLIENT_PROOF)].concat());
    say(&mut listener, &answer).unwrap();
    assert_eq!(listener.outcome(), None, "the welcome is not sent");
    let welcome = said(&mut listener);
    assert_eq!(welcome, [b"#WELCOME#\x01", &bytes(LISTENER_PROOF)[..]].concat());
    say(&mut client, &welcome).unwrap();
    assert_eq!([client.outcome(), listener.outcome()], [Some(Agreed::Ours { ring: true, values: false }); 2]);
}

#[test]
fn a_listener_that_gives_what_was_not_offered_is_refused() {
    let mut client = Handshake::dialing(&terms(), THEIRS);
    say(&mut client, &Challenge::new(OURS).message()).unwrap();
    said(&mut client);
    let proved = Transcript::new(Challenge::new(OURS), 0, THEIRS).welcome(KEY.as_bytes(), RING);
    assert!(matches!(say(&mut client, &proved), Err(AuthFailure::Malformed(_))));
}

#[test]
fn a_client_that_offers_what_nobody_knows_is_welcome() {
    let mut listener = Handshake::listening(&terms(), OURS);
    said(&mut listener);
    let answer = Transcript::new(Challenge::new(OURS), 0xfe, THEIRS).answer(KEY.as_bytes());
    say(&mut listener, &answer).unwrap();
    assert_eq!(said(&mut listener)[9], 0);
    assert_eq!(listener.outcome(), Some(Agreed::Ours { ring: false, values: true }));
}

#[test]
fn another_version_is_named() {
    let mut message = Challenge::new(OURS).message();
    message[CHALLENGE.len() + 15] = 2;
    for length in [message.len(), message.len() - 9] {
        let mut client = Handshake::dialing(&with_legacy(), THEIRS);
        let failure = say(&mut client, &message[..length]);
        assert_eq!(failure, Err(AuthFailure::Version { theirs: 2 }));
        assert!(failure.unwrap_err().to_string().contains("version 2"));
    }
}

#[test]
fn the_end_of_a_peer_is_a_failure_at_every_byte() {
    let frames = {
        let (mut listener, mut client) = (Handshake::listening(&terms(), OURS), Handshake::dialing(&terms(), THEIRS));
        let challenge = said(&mut listener);
        say(&mut client, &challenge).unwrap();
        [framed(&challenge), framed(&said(&mut client))]
    };
    for at in 0..frames[0].len() {
        let mut client = Handshake::dialing(&terms(), THEIRS);
        feed(&mut client, &frames[0][..at]).unwrap();
        assert_eq!(client.received(&[]), Err(AuthFailure::Disconnected));
    }
    for at in 0..frames[1].len() {
        let mut listener = Handshake::listening(&terms(), OURS);
        said(&mut listener);
        feed(&mut listener, &frames[1][..at]).unwrap();
        assert_eq!(listener.received(&[]), Err(AuthFailure::Disconnected));
        assert_eq!((listener.to_send(), listener.to_receive(), listener.outcome()), (&[][..], 0, None));
        assert_eq!(listener.received(&[]), Err(AuthFailure::Disconnected), "it stays so");
    }
}

#[test]
fn nothing_of_keys_and_proofs_is_shown() {
    let mut listener = Handshake::listening(&terms(), OURS);
    let mut client = Handshake::dialing(&terms(), THEIRS);
    say(&mut client, &said(&mut listener)).unwrap();
    let shown = format!("{client:?} {client:#?} {:?}", terms());
    assert!(shown.contains("AuthKey(..)") && shown.contains("to_send: 81"), "{shown}");
    for hidden in [KEY, "115, 101, 99", "110, 0, 165", "6e00a5", "PROCESSION"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
}

#[test]
fn failures_name_a_remedy() {
    let failures = [
        (AuthFailure::WrongKey, "authkey"),
        (AuthFailure::CpythonRefused, "allow_cpython"),
        (AuthFailure::LegacyRefused, "allow_legacy_md5"),
        (AuthFailure::CpythonUntyped, "accept_bytes"),
        (AuthFailure::OtherUser { uid: 7 }, "allow_other_users"),
    ];
    for (failure, remedy) in failures {
        assert!(failure.to_string().contains(remedy), "{failure}");
    }
}

proptest! {
    #[test]
    fn ends_agree_however_bytes_are_split(steps in proptest::collection::vec(1_usize..90, 1..40), ring: [bool; 2]) {
        let [listening, dialing] = ring.map(|ring| Terms { ring, ..terms() });
        let (mut listener, mut client) = (Handshake::listening(&listening, OURS), Handshake::dialing(&dialing, THEIRS));
        let agreed = Ok(Agreed::Ours { ring: ring[0] && ring[1], values: false });
        prop_assert_eq!(shake(&mut listener, &mut client, steps.into_iter().cycle()), [agreed; 2]);
    }
}

#[test]
fn a_client_says_whether_it_has_values() {
    let client = Terms { values: true, ring: true, ..terms() };
    assert_eq!(shake_whole(&terms(), &client), [Ok(Agreed::Ours { ring: false, values: true }); 2]);
}
