//! The end of what a child writes is kept, also of one that dies; all of it goes on to its parent's own stream.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::process::Output;
use std::time::Instant;

use common::{SIGSTOP, SOON, block, fresh_methods, hear, pipe, start, tell, wait_for};
use procession_launch::{
    Context, JoinError, Process, StartError, StartMethod, Stdio, TAIL_BYTES_MAX, TAIL_LINES_SHOWN_MAX,
};
use procession_sys::{pid, send_signal};
use procession_testkit::{open_descriptors, program};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: warm_up;
    cases for fresh_methods(), [
        the_error_of_an_aborting_child_has_what_it_said_last,
        the_error_of_a_child_with_a_segmentation_fault_has_what_it_said_last,
        the_error_of_a_killed_child_has_what_it_said_last,
        the_error_of_a_child_that_exits_has_what_it_said_last,
        the_error_of_a_panicking_child_has_the_panic_as_it_was_printed,
        a_child_without_a_tail_has_none,
        a_tail_of_ten_mebibytes_is_the_last_sixteen_kibibytes,
        both_outputs_have_tails_of_their_own,
        a_tail_can_be_asked_for_while_the_child_runs,
        what_was_written_is_there_after_the_wait_though_a_grandchild_holds_the_pipe,
        output_goes_on_to_the_parents_own_stream,
        all_of_it_goes_on_though_the_parents_stream_does_not_wait,
        a_parent_whose_stream_is_closed_keeps_the_tail,
        many_children_have_their_own_tails within 60,
        nothing_is_left_open_after_the_end,
        a_killed_parent_takes_the_child_along,
        a_stopped_child_keeps_nobody_waiting,
    ];
    cases: [
        an_input_cannot_be_a_tail,
        only_a_tail_starts_a_thread,
        the_pump_blocks_the_signals_that_are_for_the_program,
    ];
    programs: [speaks, speaks_much, speaks_to_nobody, has_tailed_child, has_no_tail];
}

/// As for all, and the pump runs.
fn warm_up() {
    common::warm_up();
    tailed(StartMethod::Spawn, || (), ()).join().unwrap();
}

/// Starts a child whose standard error has a tail.
fn tailed<F, A>(method: StartMethod, target: F, arguments: A) -> Process<F::Output>
where
    F: procession_launch::Target<A>,
    A: procession_launch::Arguments,
{
    Context::new(method).builder(target, arguments).stderr(Stdio::tail()).start().unwrap()
}

/// What `join` says of a child that dies.
fn error_of(child: Process<()>) -> JoinError {
    child.join().expect_err("a child that dies")
}

fn assert_signaled(error: &JoinError, expected: i32, said: &str) {
    let JoinError::Signaled { signal, stderr, .. } = error else { panic!("{error:?}") };
    assert_eq!((*signal, stderr.as_deref()), (expected, Some(said)));
}

fn abort_with_a_message() {
    eprintln!("first");
    eprintln!("the disk is full");
    std::process::abort();
}

fn the_error_of_an_aborting_child_has_what_it_said_last(method: StartMethod) {
    let error = error_of(tailed(method, abort_with_a_message, ()));
    assert_signaled(&error, 6, "first\nthe disk is full\n");
    let message = error.to_string();
    assert!(message.ends_with("; it said last:\n  first\n  the disk is full"), "{message}");
}

fn fault() {
    eprintln!("about to fault");
    // The runtime's own handler takes the first and waits for the faulty instruction to fault again.
    (0..2).for_each(|_| send_signal(pid(), 11).unwrap());
    block();
}

fn the_error_of_a_child_with_a_segmentation_fault_has_what_it_said_last(method: StartMethod) {
    assert_signaled(&error_of(tailed(method, fault, ())), 11, "about to fault\n");
}

fn speak_and_block(to: Descriptor) {
    for line in 0..2 * TAIL_LINES_SHOWN_MAX {
        eprintln!("line {line}");
    }
    eprint!("half a li");
    tell(&to);
    block();
}

fn the_error_of_a_killed_child_has_what_it_said_last(method: StartMethod) {
    let (ready, told) = pipe();
    let child = tailed(method, speak_and_block, (told,));
    hear(&ready);
    child.kill().unwrap();
    let error = error_of(child);
    let message = error.to_string();
    assert!(message.ends_with("\n  line 19\n  half a li") && !message.contains("line 10\n"), "{message}");
    let JoinError::Signaled { signal: 9, stderr: Some(said), .. } = error else { panic!("{error:?}") };
    assert!(said.starts_with("line 0\n") && said.ends_with("line 19\nhalf a li"), "{said}");
}

fn give_up() {
    eprintln!("giving up");
    std::process::exit(3);
}

fn the_error_of_a_child_that_exits_has_what_it_said_last(method: StartMethod) {
    let error = error_of(tailed(method, give_up, ()));
    assert!(error.to_string().ends_with("no result; it said last:\n  giving up"), "{error}");
    assert!(matches!(error, JoinError::Exited { code: 3, stderr: Some(said), .. } if said == "giving up\n"));
}

fn warn_and_panic() {
    eprintln!("a warning");
    panic!("planted");
}

fn the_error_of_a_panicking_child_has_the_panic_as_it_was_printed(method: StartMethod) {
    let error = error_of(tailed(method, warn_and_panic, ()));
    let JoinError::Panicked { message, stderr: Some(said), .. } = error else { panic!("{error:?}") };
    assert_eq!(message, "planted");
    assert!(said.starts_with("a warning\nprocess ") && said.contains("planted"), "{said}");
}

fn a_child_without_a_tail_has_none(method: StartMethod) {
    let child = start(method, abort_with_a_message, ());
    assert_eq!((child.stdout_tail(), child.stderr_tail()), (None, None));
    assert!(matches!(child.join(), Err(JoinError::Signaled { stderr: None, .. })));
}

/// Runs a program that starts its child by this method, and returns what it wrote.
fn run(name: &str, method: StartMethod) -> Output {
    program(name).env(METHOD, method.name()).output().unwrap()
}

/// The environment variable that tells a program which start method to use.
const METHOD: &str = "START_METHOD";

/// A program's start method.
fn own_method() -> StartMethod {
    let name = std::env::var(METHOD).expect("a start method");
    StartMethod::ALL.into_iter().find(|method| method.name() == name).expect("a known start method")
}

fn write_much() {
    let mut stderr = std::io::stderr().lock();
    let line = ["x".repeat(1023), "\n".to_owned()].concat();
    (0..10 * 1024).for_each(|_| stderr.write_all(line.as_bytes()).unwrap());
    stderr.write_all(b"the last line\n").unwrap();
}

fn speaks_much() {
    let child = tailed(own_method(), write_much, ());
    child.wait().unwrap();
    print!("{}", child.stderr_tail().unwrap());
}

fn a_tail_of_ten_mebibytes_is_the_last_sixteen_kibibytes(method: StartMethod) {
    let output = run("speaks_much", method);
    assert_eq!(output.stderr.len(), 10 * 1024 * 1024 + "the last line\n".len());
    let tail = String::from_utf8(output.stdout).unwrap();
    assert!((TAIL_BYTES_MAX - 1024..=TAIL_BYTES_MAX).contains(&tail.len()), "{}", tail.len());
    let mut lines: Vec<&str> = tail.lines().collect();
    assert_eq!(lines.pop(), Some("the last line"));
    assert!(lines.iter().all(|line| line.len() == 1023), "a line was cut");
}

fn all_of_it_goes_on_though_the_parents_stream_does_not_wait(method: StartMethod) {
    let (read, write) = pipe();
    procession_sys::set_nonblocking(&write).unwrap();
    let mut command = program("speaks_much");
    command.env(METHOD, method.name()).stderr(common::again(&write)).stdout(std::process::Stdio::null());
    let mut program = command.spawn().unwrap();
    drop((write, command));
    let mut said = Vec::new();
    common::file(read).read_to_end(&mut said).unwrap();
    assert_eq!(said.len(), 10 * 1024 * 1024 + "the last line\n".len());
    assert!(program.wait().unwrap().success());
}

fn speak_on_both() {
    println!("on stdout");
    eprintln!("on stderr");
}

fn both_outputs_have_tails_of_their_own(method: StartMethod) {
    let builder = Context::new(method).builder(speak_on_both, ());
    let child = builder.stdout(Stdio::tail()).stderr(Stdio::tail()).start().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(child.stdout_tail().as_deref(), Some("on stdout\n"));
    assert_eq!(child.stderr_tail().as_deref(), Some("on stderr\n"));
}

fn speak_and_wait(to: Descriptor, from: Descriptor) {
    eprintln!("so far");
    tell(&to);
    wait_for(from);
    eprintln!("so good");
}

fn a_tail_can_be_asked_for_while_the_child_runs(method: StartMethod) {
    let ((ready, told), (from, to)) = (pipe(), pipe());
    let child = tailed(method, speak_and_wait, (told, from));
    hear(&ready);
    assert_eq!(child.stderr_tail().as_deref(), Some("so far\n"));
    tell(&to);
    child.wait().unwrap();
    assert_eq!(child.stderr_tail().as_deref(), Some("so far\nso good\n"));
}

/// Has a shell leave a process that holds the standard error open, and ends without waiting for it.
fn leave_a_writer(from: Descriptor) {
    let mut shell = std::process::Command::new("sh");
    let script = "exec 3<&0; (read line <&3; echo \"$line\" >&2) &";
    assert!(shell.args(["-c", script]).stdin(common::again(&from)).status().unwrap().success());
    eprint!("{}", "y".repeat(1000));
}

fn what_was_written_is_there_after_the_wait_though_a_grandchild_holds_the_pipe(method: StartMethod) {
    let (from, to) = pipe();
    let child = tailed(method, leave_a_writer, (from,));
    assert!(child.wait().unwrap().success());
    assert_eq!(child.stderr_tail().unwrap(), "y".repeat(1000));
    File::from(common::again(&to)).write_all(b"later\n").unwrap();
    wait_for_tail(&child, &format!("{}later\n", "y".repeat(1000)));
}

fn wait_for_tail(child: &Process<()>, expected: &str) {
    let started = Instant::now();
    while child.stderr_tail().unwrap() != expected {
        assert!(started.elapsed() < SOON, "{:?}", child.stderr_tail());
        std::thread::yield_now();
    }
}

fn speaks() {
    let child = Context::new(own_method()).builder(speak_on_both, ());
    child.stdout(Stdio::tail()).stderr(Stdio::tail()).start().unwrap();
    // Nobody joins it but the end of this process.
}

fn output_goes_on_to_the_parents_own_stream(method: StartMethod) {
    let output = run("speaks", method);
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"on stdout\n"[..], &b"on stderr\n"[..]));
}

fn speaks_to_nobody() {
    let child = tailed(own_method(), speak_on_both, ());
    child.wait().unwrap();
    print!("{}", child.stderr_tail().unwrap());
}

fn a_parent_whose_stream_is_closed_keeps_the_tail(method: StartMethod) {
    let (read, write) = pipe();
    let mut program = program("speaks_to_nobody");
    let program = program.env(METHOD, method.name()).stderr(common::again(&write)).stdout(std::process::Stdio::piped());
    let program = program.spawn().unwrap();
    drop((read, write)); // A pipe without a reader.
    let output = program.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "on stdout\non stderr\n");
}

fn say(number: u32) {
    for line in 0..100 {
        eprintln!("child {number} line {line}");
    }
}

fn many_children_have_their_own_tails(method: StartMethod) {
    let children: Vec<_> = (0..30).map(|number| tailed(method, say, (number,))).collect();
    for (number, child) in children.into_iter().enumerate() {
        child.wait().unwrap();
        let expected: String = (0..100).map(|line| format!("child {number} line {line}\n")).collect();
        assert_eq!(child.stderr_tail().unwrap(), expected);
    }
}

fn nothing_is_left_open_after_the_end(method: StartMethod) {
    let before = open_descriptors().len();
    let child = tailed(method, speak_on_both, ());
    child.wait().unwrap();
    let started = Instant::now();
    // The handle keeps its line and its pidfd; the pipe and the copy of our own stream go with the child.
    while open_descriptors().len() > before + 2 {
        assert!(started.elapsed() < SOON, "{:?}", open_descriptors());
        std::thread::yield_now();
    }
    assert_eq!(child.stderr_tail().as_deref(), Some("on stderr\n"));
}

fn announce_and_block() {
    println!("{}", pid());
    eprintln!("on stderr");
    block();
}

fn has_tailed_child() {
    let _child = tailed(own_method(), announce_and_block, ());
    block();
}

fn a_killed_parent_takes_the_child_along(method: StartMethod) {
    let mut program = program("has_tailed_child");
    let program = program.env(METHOD, method.name()).stdout(std::process::Stdio::piped());
    let mut program = program.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Passed on, so the pump runs and the child is in its target.
    program.stderr.as_mut().unwrap().read_exact(&mut [0; 10]).unwrap();
    let held = common::hold(&procession_testkit::descendants_of(program.id()));
    assert!(!held.is_empty());
    program.kill().unwrap();
    common::assert_all_end(&held);
    program.wait().unwrap();
}

fn a_stopped_child_keeps_nobody_waiting(method: StartMethod) {
    let (ready, told) = pipe();
    let child = tailed(method, speak_and_block, (told,));
    hear(&ready);
    send_signal(child.pid(), SIGSTOP).unwrap();
    assert!(child.stderr_tail().unwrap().ends_with("half a li"));
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn the_pump_blocks_the_signals_that_are_for_the_program() {
    let started = Instant::now();
    let faults = [4, 5, 6, 7, 8, 11].iter().fold(0, |bits, signal| bits | 1_u64 << (signal - 1));
    let blocked = loop {
        // A thread gives itself its name, a moment after its start, and begins with all signals blocked.
        let pump = threads().into_iter().find(|(name, _)| name == "procession-pump");
        if let Some((_, blocked)) = pump.filter(|(_, blocked)| blocked & faults == 0) {
            break blocked;
        }
        assert!(started.elapsed() < SOON, "no pump that lets faults through");
    };
    // SIGKILL and SIGSTOP cannot be blocked, and libc keeps two for itself.
    for signal in (1..=64).filter(|signal| ![9, 19, 32, 33].contains(signal)) {
        let bit = 1 << (signal - 1);
        assert_eq!(blocked & bit != 0, faults & bit == 0, "signal {signal}");
    }
    assert_eq!(threads()[0].1 & !faults & 0xFF, 0, "the starting thread keeps its own mask");
}

/// The name and the blocked signals of each thread of this process.
fn threads() -> Vec<(String, u64)> {
    let mut tasks: Vec<_> = std::fs::read_dir("/proc/self/task").unwrap().map(|entry| entry.unwrap().path()).collect();
    tasks.sort();
    let thread = |task: &std::path::PathBuf| {
        let status = std::fs::read_to_string(task.join("status")).unwrap();
        let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
        let name = std::fs::read_to_string(task.join("comm")).unwrap().trim().to_owned();
        (name, u64::from_str_radix(blocked, 16).unwrap())
    };
    tasks.iter().map(thread).collect()
}

fn an_input_cannot_be_a_tail() {
    let error = Process::builder(|| (), ()).name("deaf").stdin(Stdio::tail()).start().unwrap_err();
    assert!(matches!(&error, StartError::TailOfInput { name } if name == "deaf"));
    assert!(error.to_string().contains("use `Stdio::pipe()`"), "{error}");
}

fn has_no_tail() {
    start(StartMethod::Spawn, speak_on_both, ()).join().unwrap();
    start(StartMethod::ForkServer, speak_on_both, ()).join().unwrap();
    assert_eq!(threads().len(), 1);
    tailed(StartMethod::Spawn, speak_on_both, ()).join().unwrap();
    assert_eq!(threads().len(), 2);
}

fn only_a_tail_starts_a_thread() {
    let output = program("has_no_tail").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
