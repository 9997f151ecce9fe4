//! A process's normal end: it waits for its children, terminates its daemons, and says how it ended.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, ExitStatus};
use std::time::Instant;

use common::{SOON, assert_all_end, block, hear, hold, methods, pipe, rest, start, tell, wait_for};
use procession_launch::{Context, DAEMON_GRACE, Process, StartMethod, Stdio};
use procession_sys::{Signal, SignalMask, at_exit, pid};
use procession_testkit::{descendants_of, process, program};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_main_that_returns_waits_for_its_children,
        an_exit_waits_for_children_and_keeps_its_code,
        a_panicking_main_waits_for_children_and_keeps_its_code,
        a_main_waits_for_children_whose_handles_are_gone,
        a_main_that_returns_terminates_its_daemons_and_their_children,
        a_daemon_that_ignores_sigterm_ends_with_its_parent within 60,
        a_main_waits_for_its_children_although_it_has_daemons,
        a_child_that_returns_waits_for_its_children,
        a_child_that_exits_waits_for_its_children_and_keeps_its_code,
        a_child_that_returns_terminates_its_daemons,
        a_program_of_all_kinds_of_children_that_have_ended_ends_at_once,
        an_exit_handler_runs_in_the_process_that_registered_it_only,
    ];
    programs: [returns, exits, panics, drops, has_daemons, has_stubborn_daemon, has_both, has_joined_all, has_handler];
}

/// The environment variable that tells a program which start method to use.
const METHOD: &str = "START_METHOD";

/// A program's start method.
fn own_method() -> StartMethod {
    let name = std::env::var(METHOD).expect("a start method");
    StartMethod::ALL.into_iter().find(|method| method.name() == name).expect("a known start method")
}

/// Says that it runs, waits for a byte on standard input, and says that it is done.
fn run_until_input() {
    println!("runs");
    wait_for_input();
    println!("done");
}

/// Waits for the byte with which a case lets somebody go on.
fn wait_for_input() {
    let _ = std::io::stdin().read(&mut [0]);
}

/// Starts a child that has this program's input and goes on until something comes there.
fn start_until_input() -> Process<()> {
    Context::new(own_method()).builder(run_until_input, ()).stdin(Stdio::inherit()).start().unwrap()
}

/// The last word of a program's `main`: when it sleeps after this, it is the exit handler that waits for a child.
fn say_last() {
    println!("leaves");
}

fn returns() {
    let _child = start_until_input();
    say_last();
}

fn exits() {
    let _child = start_until_input();
    say_last();
    std::process::exit(3);
}

fn panics() {
    let _child = start_until_input();
    say_last();
    panic!("planted");
}

fn drops() {
    drop(start_until_input());
    drop(start(own_method(), || (), ()));
    say_last();
}

/// A program that a case has started.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(name: &str, method: StartMethod) -> Self {
        let mut command = program(name);
        command.env(METHOD, method.name()).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// The next line of its output.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Lets it go on.
    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b".").unwrap();
    }

    /// Its status and the rest of its output.
    fn end(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        self.output.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap(), said)
    }
}

/// Reads so many lines, in whatever order they come, and returns them sorted.
fn sorted_lines(running: &mut Running, count: usize) -> Vec<String> {
    let mut lines: Vec<String> = (0..count).map(|_| running.line()).collect();
    lines.sort();
    lines
}

fn assert_waits_and_ends_with(name: &str, method: StartMethod, code: i32) {
    let mut running = Running::start(name, method);
    assert_eq!(sorted_lines(&mut running, 2), ["leaves", "runs"]);
    common::wait_for_state(running.child.id(), 'S');
    running.go_on();
    let (status, said) = running.end();
    assert_eq!((status.code(), said.as_str()), (Some(code), "done\n"));
}

fn a_main_that_returns_waits_for_its_children(method: StartMethod) {
    assert_waits_and_ends_with("returns", method, 0);
}

fn an_exit_waits_for_children_and_keeps_its_code(method: StartMethod) {
    assert_waits_and_ends_with("exits", method, 3);
}

fn a_panicking_main_waits_for_children_and_keeps_its_code(method: StartMethod) {
    if cfg!(panic = "unwind") {
        assert_waits_and_ends_with("panics", method, 101);
    }
}

fn a_main_waits_for_children_whose_handles_are_gone(method: StartMethod) {
    assert_waits_and_ends_with("drops", method, 0);
}

/// Says its number and blocks.
fn announce_and_block() {
    println!("{}", pid());
    block();
}

/// The same, with a child that is a daemon as well, because its parent is one.
fn announce_twice_and_block(method: StartMethod) {
    let _child = start(method, announce_and_block, ());
    announce_and_block();
}

fn has_daemons() {
    let method = own_method();
    for _ in 0..2 {
        let builder = Context::new(method).builder(announce_twice_and_block, (method,));
        drop(builder.daemon(true).start().unwrap());
    }
    wait_for_input();
}

fn a_main_that_returns_terminates_its_daemons_and_their_children(method: StartMethod) {
    let mut running = Running::start("has_daemons", method);
    (0..4).for_each(|_| drop(running.line()));
    let members = hold(&descendants_of(running.child.id()));
    let asked = Instant::now();
    running.go_on();
    let (status, said) = running.end();
    assert!(asked.elapsed() < DAEMON_GRACE, "they did not end by SIGTERM");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
    assert_all_end(&members);
}

/// Blocks SIGTERM, says so, and goes on.
fn ignore_sigterm() {
    SignalMask::EMPTY.with(Signal::TERM).install();
    announce_and_block();
}

fn has_stubborn_daemon() {
    let builder = Context::new(own_method()).builder(ignore_sigterm, ());
    drop(builder.daemon(true).start().unwrap());
    wait_for_input();
}

/// Takes the whole grace, which is what is measured.
fn a_daemon_that_ignores_sigterm_ends_with_its_parent(method: StartMethod) {
    let mut running = Running::start("has_stubborn_daemon", method);
    running.line();
    let members = hold(&descendants_of(running.child.id()));
    let asked = Instant::now();
    running.go_on();
    let (status, _) = running.end();
    assert_eq!(status.code(), Some(0));
    assert!((DAEMON_GRACE..DAEMON_GRACE + SOON).contains(&asked.elapsed()), "{:?}", asked.elapsed());
    assert_all_end(&members);
}

fn has_both() {
    let (ready, told) = pipe();
    let builder = Context::new(own_method()).builder(common::tell_and_block, (told,));
    let _daemon = builder.daemon(true).start().unwrap();
    hear(&ready);
    let _child = start_until_input();
    say_last();
}

fn a_main_waits_for_its_children_although_it_has_daemons(method: StartMethod) {
    let mut running = Running::start("has_both", method);
    assert_eq!(sorted_lines(&mut running, 2), ["leaves", "runs"]);
    common::wait_for_state(running.child.id(), 'S');
    running.go_on();
    let (status, said) = running.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), "done\n"));
}

/// Starts a child, says so, and returns at once.
fn start_one(method: StartMethod, from: Descriptor, to: Descriptor) -> u32 {
    let grandchild = start(method, wait_for, (from,)).pid();
    tell(&to);
    grandchild
}

fn a_child_that_returns_waits_for_its_children(method: StartMethod) {
    let ((read, write), (ready, told)) = (pipe(), pipe());
    let child = start(method, start_one, (method, read, told));
    hear(&ready);
    common::wait_for_state(child.pid(), 'S');
    assert!(child.is_alive());
    tell(&write);
    let grandchild = child.join().unwrap();
    assert_eq!(process(grandchild), None);
}

/// Starts a child, says so, and exits at once.
fn start_one_and_exit(method: StartMethod, from: Descriptor, to: Descriptor) {
    start_one(method, from, to);
    std::process::exit(7);
}

fn a_child_that_exits_waits_for_its_children_and_keeps_its_code(method: StartMethod) {
    let ((read, write), (ready, told)) = (pipe(), pipe());
    let child = start(method, start_one_and_exit, (method, read, told));
    hear(&ready);
    common::wait_for_state(child.pid(), 'S');
    assert!(child.is_alive());
    tell(&write);
    assert_eq!(child.wait().unwrap().exitcode(), 7);
}

fn a_child_that_returns_terminates_its_daemons(method: StartMethod) {
    let (read, write) = pipe();
    let start_daemon = |method: StartMethod, to: Descriptor| {
        let (ready, told) = pipe();
        let daemon = Context::new(method).builder(common::tell_and_block, (told,)).daemon(true).start().unwrap();
        hear(&ready);
        drop(to);
        daemon.pid()
    };
    let daemon = start(method, start_daemon, (method, write)).join().unwrap();
    assert_eq!(rest(read), "");
    assert!(process(daemon).is_none(), "reaped before its parent's end");
}

fn has_joined_all() {
    let method = own_method();
    start(method, || (), ()).join().unwrap();
    start(method, || (), ()).wait().unwrap();
    drop(Context::new(method).builder(|| (), ()).daemon(true).start().unwrap());
    start(method, block, ()).kill().unwrap();
    println!("runs");
}

fn a_program_of_all_kinds_of_children_that_have_ended_ends_at_once(method: StartMethod) {
    let (status, said) = Running::start("has_joined_all", method).end();
    assert_eq!((status.code(), said.as_str()), (Some(0), "runs\n"));
}

extern "C" fn say_so() {
    println!("handled in {}", pid());
}

fn has_handler() {
    at_exit(say_so).unwrap();
    start(own_method(), || (), ()).join().unwrap();
    println!("{}", pid());
}

fn an_exit_handler_runs_in_the_process_that_registered_it_only(method: StartMethod) {
    let mut running = Running::start("has_handler", method);
    let number = running.line();
    let (_, said) = running.end();
    assert_eq!(said, format!("handled in {number}\n"));
}
