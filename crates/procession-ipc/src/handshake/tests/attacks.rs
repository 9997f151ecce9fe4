//! What peers without the key may try: reflect, downgrade, flood, and send anything.
//!
//! Relies on the same helpers as its parent.

use proptest::prelude::*;

use super::*;

const PROOF_BYTES: usize = 32;

/// Whatever 32 bytes in a row ours have said: proofs, random bytes and all between.
fn heard(messages: &[Vec<u8>]) -> Vec<&[u8]> {
    messages.iter().flat_map(|message| message.windows(PROOF_BYTES)).collect()
}

/// A new connection of the same client, which was sent this challenge; what it answered.
fn dialed(terms: &Terms, nonce: [u8; NONCE_BYTES], challenge: &[u8]) -> (Handshake, Vec<u8>) {
    let mut client = Handshake::dialing(terms, nonce);
    say(&mut client, &[CHALLENGE, challenge].concat()).unwrap();
    let answer = said(&mut client);
    (client, answer)
}

/// A rogue listener has a client connect as often as it likes, chooses what it challenges with, repeats what it hears.
#[test]
fn a_client_is_not_convinced_by_what_it_has_said_elsewhere() {
    for terms in [terms(), with_cpython(), with_legacy(), Terms { ring: true, ..with_cpython() }] {
        let first = Challenge::new(OURS);
        let (_, answer) = dialed(&terms, THEIRS, first.bytes());
        let windows: Vec<[u8; NONCE_BYTES]> =
            answer.windows(NONCE_BYTES).map(|some| some.try_into().unwrap()).collect();
        // The very challenge again, and all that the client has said as another.
        let others = windows.iter().map(|random| Challenge::new(*random)).chain([first]);
        let mut messages: Vec<_> = others.map(|other| dialed(&terms, [3; NONCE_BYTES], other.bytes()).1).collect();
        messages.push(answer);
        for (flags, proof) in
            [0, 1].into_iter().flat_map(|flags| heard(&messages).into_iter().map(move |it| (flags, it)))
        {
            let (mut client, _) = dialed(&terms, THEIRS, first.bytes());
            assert!(say(&mut client, &[WELCOME, &[flags], proof].concat()).is_err());
            assert_eq!(client.outcome(), None);
        }
    }
}

/// As above, by way of CPython's form, in which a client that allows it answers what has no mark.
#[test]
fn a_client_that_allows_cpython_does_not_answer_its_own_challenge() {
    let unmarked = [b"{sha256}", &[1; 40][..]].concat();
    let (mut client, _) = dialed(&with_legacy(), THEIRS, &unmarked);
    say(&mut client, WELCOME).unwrap();
    let its_own = said(&mut client).split_off(CHALLENGE.len());
    let (_, answer) = dialed(&with_legacy(), [3; NONCE_BYTES], &its_own);
    assert!(ours::is_answer(&answer), "the mark makes it answer in our form");
    let bare = answer.windows(PROOF_BYTES);
    let named = bare.flat_map(|proof| [[b"{sha256}".as_slice(), proof].concat(), proof[..16].to_vec()]);
    for reflected in named.chain([answer.clone()]) {
        let (mut client, _) = dialed(&with_legacy(), THEIRS, &unmarked);
        say(&mut client, WELCOME).unwrap();
        said(&mut client);
        assert!(say(&mut client, &reflected).is_err());
    }
}

/// A rogue client has a listener challenge it as often as it likes, and has nothing proved before it has proved itself.
#[test]
fn a_listener_is_not_convinced_by_what_listeners_say() {
    for terms in [terms(), with_cpython(), with_legacy()] {
        let listening = || {
            let mut listener = Handshake::listening(&terms, OURS);
            let challenge = said(&mut listener);
            (listener, challenge)
        };
        let (mut listener, challenge) = listening();
        // As if it were challenged itself: only who has proved its key is answered.
        assert!(say(&mut listener, &challenge).is_err());
        assert!(listener.to_send().is_empty());
        // What a listener proves to one client, of another connection or of this very one, is no client's proof.
        let transcript = Transcript::new(Challenge::new(OURS), 0, THEIRS);
        let messages = [challenge, transcript.welcome(KEY.as_bytes(), 0), transcript.welcome(KEY.as_bytes(), 1)];
        for proof in heard(&messages) {
            let (mut listener, _) = listening();
            assert!(say(&mut listener, &[b"#PROCESSION#\0", &THEIRS[..], proof].concat()).is_err());
            assert!(listener.to_send().is_empty() && listener.outcome().is_none());
        }
    }
}

/// The one thing that a proof in each role differs by, if everything else is alike.
#[test]
fn a_proof_is_of_one_role() {
    let transcript = Transcript::new(Challenge::new(OURS), 0, THEIRS);
    let (client, listener) = (transcript.proved(ours::CLIENT, &[]), transcript.proved(ours::LISTENER, &[]));
    assert_ne!(digest::SHA256.prove(KEY.as_bytes(), &client), digest::SHA256.prove(KEY.as_bytes(), &listener));
}

#[test]
fn a_challenge_of_ours_is_not_answered_in_cpythons_form() {
    let mut listener = Handshake::listening(&with_legacy(), OURS);
    let challenge = said(&mut listener).split_off(CHALLENGE.len());
    let answer = digest::SHA256.prove(KEY.as_bytes(), &challenge);
    say(&mut listener, &[b"{sha256}", &answer[..]].concat()).unwrap();
    assert_eq!(said(&mut listener), WELCOME);
    let marked = Challenge::new(THEIRS).message();
    assert!(matches!(say(&mut listener, &marked), Err(AuthFailure::Malformed(_))));
    assert!(listener.to_send().is_empty());
}

#[test]
fn nobody_is_talked_down_to_cpythons_form() {
    for challenge in [[b"{sha256}", &[1; 40][..]].concat(), vec![1; 20], [b"{sha3_384}", &[1; 40][..]].concat()] {
        let mut client = Handshake::dialing(&terms(), THEIRS);
        let failure = say(&mut client, &[CHALLENGE, &challenge].concat());
        assert_eq!(failure, Err(AuthFailure::CpythonRefused));
        assert!(client.to_send().is_empty(), "nothing is proved");
    }
}

/// Ends at each step of each form that wants to receive something.
fn waiting() -> Vec<Handshake> {
    let listening = || {
        let mut listener = Handshake::listening(&with_legacy(), OURS);
        said(&mut listener);
        listener
    };
    let (ours, _) = dialed(&terms(), THEIRS, Challenge::new(OURS).bytes());
    let (python, _) = dialed(&with_legacy(), THEIRS, &[1; 20]);
    let (mut challenging, _) = dialed(&with_legacy(), THEIRS, &[1; 20]);
    say(&mut challenging, WELCOME).unwrap();
    said(&mut challenging);
    let mut challenged = listening();
    let proof = digest::MD5.prove(KEY.as_bytes(), Challenge::new(OURS).bytes());
    say(&mut challenged, &proof).unwrap();
    said(&mut challenged);
    let mut judged = listening();
    say(&mut judged, &proof).unwrap();
    said(&mut judged);
    say(&mut judged, &[CHALLENGE, &[1; 20]].concat()).unwrap();
    said(&mut judged);
    vec![listening(), Handshake::dialing(&terms(), THEIRS), ours, python, challenging, challenged, judged]
}

#[test]
fn long_frames_are_refused_by_their_headers() {
    for length in [257, 258, 1 << 20, i32::MAX, -1, -2, i32::MIN] {
        for mut end in waiting() {
            assert_eq!(end.to_receive(), 4, "nothing behind a header is taken with it");
            assert!(matches!(end.received(&length.to_be_bytes()), Err(AuthFailure::Malformed(_))), "{length}");
            assert_eq!((end.to_receive(), end.outcome()), (0, None));
        }
    }
}

#[test]
fn the_longest_frame_is_taken_whole_and_then_looked_at() {
    for length in [0, 1, 16, 20, 77, 255, HANDSHAKE_FRAME_MAX] {
        for mut end in waiting() {
            end.received(&(length as u32).to_be_bytes()).unwrap_or_else(|failure| assert_eq!(length, 0, "{failure}"));
            assert!(length == 0 || end.to_receive() == length);
            assert!(feed(&mut end, &vec![b'#'; length]).is_err() || length == 0);
            assert!(end.to_send().is_empty() && end.outcome().is_none());
        }
    }
}

/// Both ends, between which somebody changes one bit; whether they agree.
fn agree_with_a_bit_changed(terms: &Terms, frame: usize, bit: usize) -> [Option<Agreed>; 2] {
    let (mut listener, mut client) = (Handshake::listening(terms, OURS), Handshake::dialing(terms, THEIRS));
    for turn in 0..3 {
        let (from, to) = if turn % 2 == 0 { (&mut listener, &mut client) } else { (&mut client, &mut listener) };
        let mut bytes = from.to_send().to_vec();
        from.sent(bytes.len());
        if turn == frame && bit / 8 < bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        if feed(to, &bytes).is_err() {
            break;
        }
    }
    [listener.outcome(), client.outcome()]
}

#[test]
fn every_bit_on_the_way_counts() {
    let terms = Terms { ring: true, ..with_cpython() };
    let whole = Some(Agreed::Ours { ring: true, values: false });
    assert_eq!(agree_with_a_bit_changed(&terms, 3, 0), [whole; 2]);
    for (frame, len) in [(0, 63), (1, 81), (2, 46)] {
        for bit in 0..len * 8 {
            let [_, client] = agree_with_a_bit_changed(&terms, frame, bit);
            assert_eq!(client, None, "bit {bit} of frame {frame}");
        }
    }
}

fn words() -> impl Strategy<Value = Vec<u8>> {
    let known = [&b"#CHALLENGE#"[..], b"#PROCESSION#", b"#WELCOME#", b"#FAILURE#", b"{sha256}", b"{md5}", b"{", b"}"];
    let known = proptest::sample::select(known.to_vec()).prop_map(<[u8]>::to_vec);
    let mark = Just(Challenge::new(OURS).bytes().to_vec());
    let word = prop_oneof![known, mark, proptest::collection::vec(any::<u8>(), 0..60)];
    proptest::collection::vec(word, 0..6).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn no_message_convinces_without_the_key(
        messages in proptest::collection::vec(words(), 1..5), at in 0_usize..7, framed in any::<bool>(),
    ) {
        let mut end = waiting().swap_remove(at);
        for message in messages {
            let header = if framed { (message.len() as u32).to_be_bytes().to_vec() } else { Vec::new() };
            let went = feed(&mut end, &[header, message].concat());
            prop_assert!(end.to_receive() <= HANDSHAKE_FRAME_MAX && end.to_send().len() <= HANDSHAKE_FRAME_MAX + 4);
            prop_assert!(went.is_ok() || (end.to_send().is_empty() && end.to_receive() == 0));
            let sent = end.to_send().len();
            end.sent(sent);
        }
        // The last step of CPython's form has nothing left to prove.
        prop_assert!(at == 6 || end.outcome().is_none());
    }
}
