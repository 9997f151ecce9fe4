//! CPython's form, by tables that its own code and Python's `hmac` have filled in.
//!
//! Relies on the same helpers as its parent. What a real CPython says to ours is in `tests/python.rs` of the crate.

use super::*;

/// Proofs of the listener's challenge, by name.
const PROOFS: [(&str, &str); 7] = [
    ("md5", "a1adf72fd06cf0d40477f407a22dce35"),
    ("sha256", "2182b9dc6ba0048e3dd40cd90be5448f2b1ebf4edac9d3a98633ae0cbed04c87"),
    ("sha384", "47ab75e253984e0bb03055c945a22f87795bfce8b0c77dd7980cc43ff03cbda766ca757ef5ba1255647aea7208d24fcd"),
    ("sha3_256", "e8546abe69f90ca10ccff1e76974694e52e0a990d5ba584c192ba8f37ca0e62d"),
    ("sha3_384", "743dec51fbf9287a14b07a4087cbe78cd2d930267035c7a38b83a4ab2c3848eacafbf9ae1b7660f434eed383322a2242"),
    ("sha1", "cced8d89159fefc6917ac271548fe9da9550eb49"),
    (
        "sha512",
        "6badb37ab2c56d6c8129564dd40cec32faf0890974962eb9f080c58ad8d5048047a40b625a5bd72a74f612e04c322dde9f6ffdf91b3fe46\
         94d7d86fddf57bb0a",
    ),
];

/// The proof of the challenge without the name before it, which CPython proves too.
const PROOF_OF_PAYLOAD: &str = "1231be2ed9ee8b59323891e8bad573d84f73dd35a25dbb3f1a9f1be1375b9b1a";

/// What is proved of a challenge, and how the answer begins: of 40 stars behind a name.
const ANSWERS: [(&str, &str); 5] = [
    ("{md5}", "f2f990efd496264cd7f5f2f6d761281b"),
    ("{sha256}", "ec02d059dbf7d98c6aa476b394d68f6c961c7743fa22679a100cccf4ea321c0b"),
    ("{sha384}", "92b09323b1ae1c1f45c1185895092449165e7a72bf04539b755abfcc5d523d73e987255a154be9d3e8e19ee840b38299"),
    ("{sha3_256}", "95d90178a065ea5394a171dac51bf68da0e3e23d2db641344886b47837003332"),
    ("{sha3_384}", "5653b93f0be34f426012b98e1cd0fcfe3ce441eecfbc7fbb853422a81a94db29fcdc57071c0964b3496742ae32ab4e53"),
];

/// The same of challenges of 20 bytes, whose answers have no name.
const UNNAMED: [(&[u8; 20], &str); 3] = [
    (b"********************", "ec5797a6725328f1ea048cdb51225a00"),
    (b"{md5}***************", "acd415d6735fcfa7b3cc8e8a69dea6f9"),
    (b"{sha256}************", "b7b84f3117eea68c1417eb5622a90f43"),
];

fn stars(name: &str) -> Vec<u8> {
    [name.as_bytes(), &[b'*'; 40]].concat()
}

fn named(name: &str, proof: &str) -> Vec<u8> {
    [b"{", name.as_bytes(), b"}", &bytes(proof)].concat()
}

/// What a listener with those terms says to that answer.
fn accepted(terms: &Terms, answer: &[u8]) -> Result<Vec<u8>, AuthFailure> {
    let mut listener = Handshake::listening(terms, OURS);
    said(&mut listener);
    say(&mut listener, answer).map(|()| said(&mut listener))
}

/// What a client with those terms says to that challenge.
fn answered(terms: &Terms, challenge: &[u8]) -> Result<Vec<u8>, AuthFailure> {
    let mut client = Handshake::dialing(terms, THEIRS);
    say(&mut client, &[CHALLENGE, challenge].concat()).map(|()| said(&mut client))
}

#[test]
fn a_listener_takes_the_answers_that_cpython_takes() {
    for (name, proof) in &PROOFS[..5] {
        assert_eq!(accepted(&with_legacy(), &named(name, proof)).as_deref(), Ok(WELCOME), "{name}");
    }
    assert_eq!(accepted(&with_legacy(), &bytes(PROOFS[0].1)).as_deref(), Ok(WELCOME), "MD5 without its name");
    for (name, proof) in PROOFS[5..].iter().chain(&[("sha256", PROOF_OF_PAYLOAD), ("md5", PROOFS[1].1)]) {
        assert!(accepted(&with_legacy(), &named(name, proof)).is_err(), "{name}");
    }
    for unnamed in [PROOFS[1].1, PROOFS[5].1, ""] {
        assert!(accepted(&with_legacy(), &bytes(unnamed)).is_err(), "{unnamed}");
    }
    let mut another = named(PROOFS[1].0, PROOFS[1].1);
    *another.last_mut().unwrap() ^= 1;
    assert_eq!(accepted(&with_legacy(), &another), Err(AuthFailure::WrongKey));
}

#[test]
fn md5_needs_both_switches_and_the_others_one() {
    for (at, (name, proof)) in PROOFS[..5].iter().enumerate() {
        let allowed = if at == 0 { Err(AuthFailure::LegacyRefused) } else { Ok(WELCOME.to_vec()) };
        assert_eq!(accepted(&with_cpython(), &named(name, proof)), allowed, "{name}");
        let neither = [terms(), Terms { legacy_md5: true, ..terms() }];
        for terms in neither {
            assert_eq!(accepted(&terms, &named(name, proof)), Err(AuthFailure::CpythonRefused), "{name}");
        }
    }
    assert_eq!(accepted(&with_cpython(), &bytes(PROOFS[0].1)), Err(AuthFailure::LegacyRefused));
    for challenge in [&stars("{md5}")[..], UNNAMED[0].0] {
        assert_eq!(answered(&with_cpython(), challenge), Err(AuthFailure::LegacyRefused));
        assert_eq!(answered(&terms(), challenge), Err(AuthFailure::CpythonRefused));
    }
}

#[test]
fn a_client_answers_as_cpython_does() {
    for (name, proof) in ANSWERS {
        let answer = [name.as_bytes(), &bytes(proof)].concat();
        assert_eq!(answered(&with_legacy(), &stars(name)), Ok(answer), "{name}");
    }
    for (challenge, proof) in UNNAMED {
        assert_eq!(answered(&with_legacy(), challenge), Ok(bytes(proof)));
    }
    let odd =
        [stars(""), stars("{sha512}"), stars("{sha1}"), stars("{"), stars("{}"), stars("{SHA256}"), vec![b'*'; 240]];
    let short = [&b""[..], b"*", &[b'*'; 16], b"{sha256}***********"].map(<[u8]>::to_vec);
    for challenge in odd.iter().chain(&short) {
        assert!(matches!(answered(&with_legacy(), challenge), Err(AuthFailure::Malformed(_))), "{challenge:?}");
    }
}

#[test]
fn a_client_judges_cpythons_proof_too() {
    let (_, challenge) = UNNAMED[0];
    for (proof, takes) in [(PROOF_OF_DIALERS, Ok(())), (PROOF_OF_PAYLOAD, Err(AuthFailure::WrongKey))] {
        let mut client = Handshake::dialing(&with_cpython(), THEIRS);
        say(&mut client, &[CHALLENGE, &stars("{sha256}")].concat()).unwrap();
        said(&mut client);
        say(&mut client, WELCOME).unwrap();
        assert_eq!(said(&mut client), [&b"#CHALLENGE#{sha256}PRCSN\0\0\x01"[..], &THEIRS].concat(), "{challenge}");
        assert_eq!(say(&mut client, &named("sha256", proof)), takes);
        let sent = client.to_send().len();
        assert_eq!(
            (client.to_send(), client.outcome()),
            (if takes.is_ok() { &b"\0\0\0\x09#WELCOME#"[..] } else { b"" }, None)
        );
        client.sent(sent);
        assert_eq!(client.outcome(), takes.ok().map(|()| Agreed::Cpython));
    }
}

/// The proof of the client's own challenge.
const PROOF_OF_DIALERS: &str = "16a06f99cf6e48412c62a5e2f21e19bf39c151860af7700087186099a05a12ed";

#[test]
fn a_listener_proves_itself_to_cpython() {
    let mut listener = Handshake::listening(&with_cpython(), OURS);
    said(&mut listener);
    say(&mut listener, &named(PROOFS[1].0, PROOFS[1].1)).unwrap();
    assert_eq!(said(&mut listener), WELCOME);
    say(&mut listener, &[CHALLENGE, &stars("{sha256}")].concat()).unwrap();
    assert_eq!(said(&mut listener), [b"{sha256}", &bytes(ANSWERS[1].1)[..]].concat());
    assert_eq!(listener.outcome(), None, "it has not said that it is convinced");
    say(&mut listener, WELCOME).unwrap();
    assert_eq!((listener.outcome(), listener.to_receive()), (Some(Agreed::Cpython), 0));
}

#[test]
fn what_cpython_says_of_our_proof_is_told() {
    for (word, failure) in [
        (&b"#FAILURE#"[..], AuthFailure::WrongKey),
        (b"", AuthFailure::Malformed("neither welcome nor failure")),
        (b"#WELCOME", AuthFailure::Malformed("neither welcome nor failure")),
        (b"#WELCOME##", AuthFailure::Malformed("neither welcome nor failure")),
    ] {
        let mut client = Handshake::dialing(&with_cpython(), THEIRS);
        say(&mut client, &[CHALLENGE, &stars("{sha256}")].concat()).unwrap();
        said(&mut client);
        assert_eq!(say(&mut client, word), Err(failure));
    }
    let mut client = Handshake::dialing(&with_cpython(), THEIRS);
    say(&mut client, &[CHALLENGE, &stars("{sha256}")].concat()).unwrap();
    said(&mut client);
    assert_eq!(client.received(&[]), Err(AuthFailure::Refused));
}
