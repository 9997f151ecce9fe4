//! The key that a family of processes shares.

mod common;

use common::{hear, methods, pipe, start, tell};
use procession_launch::{AUTH_KEY_BYTES, AuthKey, StartMethod, current_process, set_authkey};
use procession_testkit::program;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_and_its_child_have_the_key,
        a_key_that_was_set_is_inherited_by_later_children_only,
        a_key_that_a_child_sets_stays_its_own,
        the_longest_key_is_inherited,
    ];
    cases: [every_main_process_has_a_key_of_its_own];
    programs: [shows];
}

/// This process's key as bytes, which is what a child may return.
fn own() -> Vec<u8> {
    current_process().authkey().as_bytes().to_vec()
}

fn key(text: &str) -> AuthKey {
    AuthKey::new(text).unwrap()
}

fn a_child_and_its_child_have_the_key(method: StartMethod) {
    let both = |method| (own(), start(method, own, ()).join().unwrap());
    assert_eq!(start(method, both, (method,)).join().unwrap(), (own(), own()));
    assert_eq!(own().len(), AUTH_KEY_BYTES);
}

fn a_key_that_was_set_is_inherited_by_later_children_only(method: StartMethod) {
    let made = own();
    let (read, write) = pipe();
    let earlier = |from| {
        hear(&from);
        own()
    };
    let earlier = start(method, earlier, (read,));
    set_authkey(key("set"));
    tell(&write);
    assert_eq!(start(method, own, ()).join().unwrap(), b"set");
    assert_eq!(earlier.join().unwrap(), made);
}

fn a_key_that_a_child_sets_stays_its_own(method: StartMethod) {
    let made = own();
    let child = |method| {
        set_authkey(key("the child's"));
        start(method, own, ()).join().unwrap()
    };
    assert_eq!(start(method, child, (method,)).join().unwrap(), b"the child's");
    assert_eq!(own(), made);
    assert_eq!(start(method, own, ()).join().unwrap(), made);
}

fn the_longest_key_is_inherited(method: StartMethod) {
    let longest = vec![7; procession_launch::AUTH_KEY_BYTES_MAX];
    set_authkey(AuthKey::new(&longest).unwrap());
    assert_eq!(start(method, own, ()).join().unwrap(), longest);
}

fn shows() {
    println!("{:?}", own());
}

fn every_main_process_has_a_key_of_its_own() {
    let shown = || program("shows").output().unwrap().stdout;
    let (one, other) = (shown(), shown());
    assert!(one.len() > AUTH_KEY_BYTES);
    assert_ne!(one, other);
}
