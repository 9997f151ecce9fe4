//! The kit itself: each thing that a case must not leave or do is planted in a case, which must fail and say so.
//!
//! This program is its own subject: with `PROCESSION_PLANTED` set it has the planted cases, otherwise those that run
//! it so and read what it prints.

use std::fs::{self, File};
use std::io::Read;
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use procession_testkit::{Case, Suite, children_of, program, unique_name};

/// Chooses the planted cases.
const PLANTED: &str = "PROCESSION_PLANTED";

/// The deadline of the case that hangs: enough for its two processes to begin, on a machine with other things to do too.
const HANG: Duration = Duration::from_secs(3);

/// By when its end is seen.
const HANG_SEEN_MAX: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    if std::env::var_os(PLANTED).is_some() { planted().main() } else { checks() }
}

/// What the planted cases start to have a child: it outlives every deadline here.
fn sleeper() -> Command {
    let mut sleeper = Command::new("sleep");
    sleeper.arg("600");
    sleeper
}

/// Cases that fail, but for `good` and its like.
fn planted() -> Suite {
    Suite::new()
        .case(Case::new("good", || println!("fine")))
        .case(Case::new("leaves_a_child", || drop(sleeper().spawn().unwrap())))
        .case(Case::new("leaves_an_orphan", leave_an_orphan))
        .case(Case::new("leaves_a_zombie", leave_a_zombie))
        .case(Case::new("leaves_a_descriptor", || std::mem::forget(File::open("/dev/zero").unwrap())))
        .case(Case::new("leaves_a_named_segment", leave_a_named_segment))
        .case(Case::new("hangs", hang).within(HANG))
        .case(Case::new("hangs_for_long", hang).within(Duration::from_secs(600)))
        .case(Case::new("panics", || panic!("said by the panic")))
        .case(Case::new("aborts", || std::process::abort()))
        .case(Case::new("exits", || std::process::exit(7)))
        .case_for_each([("one", 1), ("two", 2)], "is_one", Duration::from_secs(5), |n| assert_eq!(n, 1))
}

fn leave_an_orphan() {
    let script = "sleep 600 & echo $!";
    let parent = Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap();
    assert!(parent.wait_with_output().unwrap().status.success());
}

#[expect(clippy::zombie_processes, reason = "it is planted")]
fn leave_a_zombie() {
    let _child = Command::new("true").spawn().unwrap();
}

fn leave_a_named_segment() {
    fs::write(format!("/dev/shm/{}-segment", unique_name()), "left").unwrap();
}

/// Waits for what never comes, in a tree of two.
fn hang() {
    eprintln!("about to hang");
    let _ = sleeper().status();
}

/// Runs the planted cases that `args` select.
fn run(args: &[&str]) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(args).env(PLANTED, "1").output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    (output, String::from_utf8(said).unwrap())
}

/// Runs one planted case, which must fail and say all of `words`, and must leave no process.
fn fails(case: &str, words: &[&str]) {
    let (output, said) = run(&["--exact", case]);
    assert_eq!(output.status.code(), Some(101), "{said}");
    assert!(said.contains("0 passed; 1 failed"), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in:\n{said}");
    }
}

fn a_case_that_leaves_nothing_passes_and_its_output_is_not_shown() {
    let (output, said) = run(&["--exact", "good"]);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed; 0 failed") && !said.contains("fine"), "{said}");
}

fn a_child_that_is_left_fails_the_case_and_is_killed() {
    fails("leaves_a_child", &["exit code 102", "a child that runs: pid ", "\"sleep\""]);
}

fn an_orphan_that_is_left_fails_the_case_and_is_killed() {
    fails("leaves_an_orphan", &["a process outlived the case: pid ", "\"sleep\""]);
}

fn a_zombie_that_is_left_fails_the_case() {
    fails("leaves_a_zombie", &["a zombie: pid ", "\"true\""]);
}

fn a_descriptor_that_is_left_fails_the_case() {
    fails("leaves_a_descriptor", &["open: descriptor ", "(/dev/zero)"]);
}

fn a_named_segment_that_is_left_fails_the_case_and_is_removed() {
    fails("leaves_a_named_segment", &["a named segment outlived the case: /dev/shm/procession-test-"]);
    let mut left = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.any(|name| name.to_string_lossy().ends_with("-segment")));
}

fn a_hang_fails_the_case_and_shows_the_tree_and_the_output() {
    let started = Instant::now();
    fails("hangs", &[&format!("it hung for {HANG:?}"), "state S, \"planted", "state S, \"sleep\"", "about to hang"]);
    assert!(started.elapsed() < HANG_SEEN_MAX);
}

fn a_panic_fails_the_case_and_its_message_is_shown() {
    fails("panics", &["exit code 101", "said by the panic", "planted.rs"]);
}

fn an_abort_fails_the_case_alone() {
    fails("aborts", &["killed by signal 6"]);
}

fn an_exit_fails_the_case_unless_its_code_is_zero() {
    fails("exits", &["exit code 7"]);
}

fn a_case_for_each_value_fails_where_it_fails() {
    let (_, said) = run(&["is_one"]);
    assert!(said.contains("1 passed; 1 failed"), "{said}");
    fails("two::is_one", &["left: 2"]);
}

fn every_planted_case_is_listed_as_libtest_lists_it() {
    let (output, said) = run(&["--list", "--format", "terse"]);
    assert!(output.status.success());
    for case in ["good: test\n", "one::is_one: test\n", "hangs: test\n"] {
        assert!(said.contains(case), "{said}");
    }
}

fn output_is_shown_at_once_when_it_is_asked_for() {
    let (_, said) = run(&["--exact", "good", "--nocapture"]);
    assert!(said.contains("fine\n"), "{said}");
}

/// As a person does with Ctrl-C and a runner at its own deadline.
fn a_killed_harness_takes_its_case_along() {
    let mut harness = Command::new(std::env::current_exe().unwrap());
    let harness = harness.args(["--exact", "hangs_for_long", "--nocapture"]).env(PLANTED, "1");
    let mut harness = harness.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // What the case says first: by now there is a harness, a fence and a body.
    let mut said = [0; 8];
    harness.stderr.take().unwrap().read_exact(&mut said).unwrap();
    harness.kill().unwrap();
    harness.wait().unwrap();
    // That nothing outlives this case is what its own fence looks at.
}

fn a_program_has_the_unique_name_of_its_case() {
    let mut command = program("report");
    let output = command.output().unwrap();
    assert!(output.status.success());
    let name = unique_name();
    assert!(name.starts_with("procession-test-"));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{name}\n"));
}

fn report() {
    println!("{}", unique_name());
}

fn a_case_has_one_thread_and_no_child() {
    assert_eq!(fs::read_dir("/proc/self/task").unwrap().count(), 1);
    assert_eq!(children_of(std::process::id()), []);
}

/// Like the `main` that the macro writes.
fn checks() -> ExitCode {
    procession_testkit::main! {
        cases: [
            a_case_that_leaves_nothing_passes_and_its_output_is_not_shown,
            a_child_that_is_left_fails_the_case_and_is_killed,
            an_orphan_that_is_left_fails_the_case_and_is_killed within 60,
            a_zombie_that_is_left_fails_the_case,
            a_descriptor_that_is_left_fails_the_case,
            a_named_segment_that_is_left_fails_the_case_and_is_removed,
            a_hang_fails_the_case_and_shows_the_tree_and_the_output,
            a_panic_fails_the_case_and_its_message_is_shown,
            an_abort_fails_the_case_alone,
            an_exit_fails_the_case_unless_its_code_is_zero,
            a_case_for_each_value_fails_where_it_fails,
            every_planted_case_is_listed_as_libtest_lists_it,
            output_is_shown_at_once_when_it_is_asked_for,
            a_killed_harness_takes_its_case_along,
            a_program_has_the_unique_name_of_its_case,
            a_case_has_one_thread_and_no_child,
        ];
        programs: [report];
    }
    main()
}
