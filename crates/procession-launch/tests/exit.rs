//! A process's normal end with children of unusual kinds. `who_dies` has the usual ones, `ends` what else happens then.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, ExitStatus};
use std::time::Instant;

use common::{SOON, assert_all_end, block, hear, hold, methods, pipe, start};
use procession_launch::{Context, DAEMON_GRACE, Process, StartMethod, Stdio};
use procession_sys::{Signal, SignalMask, at_exit, pid};
use procession_testkit::{descendants_of, program};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_main_waits_for_children_whose_handles_are_gone,
        a_daemon_that_ignores_sigterm_ends_with_its_parent within 60,
        a_main_waits_for_its_children_although_it_has_daemons,
        a_program_of_all_kinds_of_children_that_have_ended_ends_at_once,
        an_exit_handler_runs_in_the_process_that_registered_it_only,
    ];
    programs: [drops, has_stubborn_daemon, has_both, has_joined_all, has_handler];
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

fn a_main_waits_for_children_whose_handles_are_gone(method: StartMethod) {
    let mut running = Running::start("drops", method);
    assert_eq!(sorted_lines(&mut running, 2), ["leaves", "runs"]);
    common::wait_for_state(running.child.id(), 'S');
    running.go_on();
    let (status, said) = running.end();
    assert_eq!((status.code(), said.as_str()), (Some(0), "done\n"));
}

/// Says its number and blocks.
fn announce_and_block() {
    println!("{}", pid());
    block();
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
