//! The program `confined`: what it takes away is gone, and what it leaves works.

use std::process::{Command, Output};

use procession_sys::is_root;

/// Set where these cases themselves run under `confined`, which they may then be unable to reach, or to run as root.
const MARK: &str = "PROCESSION_CONFINED";

fn is_confined() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Runs a program under `confined`.
fn confined(args: &[&str]) -> Output {
    let mut command = Command::new(if is_confined() { args[0] } else { env!("CARGO_BIN_EXE_confined") });
    command.args(&args[usize::from(is_confined())..]).output().unwrap()
}

/// A field of `/proc/self/status` of a confined process.
fn status(field: &str) -> String {
    let output = confined(&["cat", "/proc/self/status"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn a_confined_process_is_nobodys_or_its_starters() {
    // Whoever is not root cannot become somebody else, and need not.
    if is_root() {
        for (field, wanted) in [("Uid", "65534 65534 65534 65534"), ("Gid", "65534 65534 65534 65534"), ("Groups", "")]
        {
            assert_eq!(status(field), wanted);
        }
    }
    assert!(!status("Uid").split(' ').any(|id| id == "0"));
}

fn a_confined_process_has_the_filters_and_gets_no_new_rights() {
    assert_eq!(status("Seccomp"), "2");
    assert_eq!(status("NoNewPrivs"), "1");
}

fn a_refused_call_says_that_it_is_not_permitted() {
    let output = confined(&["unshare", "--user", "true"]);
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Operation not permitted"), "{said}");
}

fn processes_and_threads_start_all_the_same() {
    let output = confined(&["sh", "-c", "echo one | cat; exit 3"]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"one\n"[..]));
}

fn a_missing_program_is_said_to_be_missing() {
    if is_confined() {
        return;
    }
    let output = confined(&["/no/such/program"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot run /no/such/program"));
}

procession_testkit::main! {
    cases: [
        a_confined_process_is_nobodys_or_its_starters,
        a_confined_process_has_the_filters_and_gets_no_new_rights,
        a_refused_call_says_that_it_is_not_permitted,
        processes_and_threads_start_all_the_same,
        a_missing_program_is_said_to_be_missing,
    ];
}
