//! Promises that CPython's own tests make and that no other test file here proves alone: one case for each.
//!
//! Relies on pipes for every order of events. `docs/conformance.txt` says which promise is proved by which case.

mod common;

use std::io::Write;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use common::{SOON, file, hear, line, methods, pipe, rest, start, tell, tell_and_block, wait_for};
use procession_launch::{
    Child, Context, ExitStatus, Process, StartMethod, active_children, cpu_count, current_process, get_start_method,
};
use procession_sys::pid;
use procession_testkit::{open_descriptors, process, program};
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_is_listed_from_its_start_to_its_end,
        a_child_knows_what_it_was_given,
        a_wait_of_no_time_returns_at_once,
        terminate_ends_a_child,
        kill_ends_a_child,
        a_join_frees_the_descriptors_of_a_child,
        a_dropped_handle_leaves_its_child_running_and_nothing_behind,
        a_method_talks_to_the_parent_over_a_pipe_of_its_value,
        a_context_and_its_child_say_the_same_method,
        a_program_without_a_guard_runs_main_once_and_its_functions_in_children,
    ];
    cases: [
        cpu_count_is_at_least_one,
        the_list_of_methods_begins_with_the_default,
        a_lock_that_a_preloaded_function_made_is_the_childrens_own,
    ];
    programs: [unguarded];
}

/// The variable that says a program's start method.
const METHOD: &str = "CONTRACTS_METHOD";

fn is_listed(number: u32) -> bool {
    active_children().iter().map(Child::pid).any(|listed| listed == number)
}

fn a_child_is_listed_from_its_start_to_its_end(method: StartMethod) {
    let (read, write) = pipe();
    let described = Context::new(method).builder(wait_for, (read,)).name("listed");
    assert!(!active_children().iter().any(|child| child.name() == "listed"), "before its start");
    let child = described.start().unwrap();
    let listed = active_children().into_iter().find(|listed| listed.pid() == child.pid()).expect("while it runs");
    assert_eq!(listed.name(), "listed");
    tell(&write);
    child.wait().unwrap();
    assert!(!is_listed(child.pid()), "after its end");
}

fn a_child_knows_what_it_was_given(method: StartMethod) {
    let told = |number: i32, word: String, list: Vec<u8>| {
        let me = current_process();
        (me.name().to_owned(), me.pid(), pid(), number, word, list)
    };
    let child =
        Context::new(method).builder(told, (-7, "word".into(), vec![1, 2, 3])).name("informed").start().unwrap();
    let number = child.pid();
    assert_eq!(child.join().unwrap(), ("informed".into(), number, number, -7, "word".into(), vec![1, 2, 3]));
}

fn a_wait_of_no_time_returns_at_once(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, wait_for, (read,));
    let asked = Instant::now();
    assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), None);
    assert_eq!(child.try_wait().unwrap(), None);
    assert!(asked.elapsed() < SOON && child.is_alive());
    tell(&write);
    child.join().unwrap();
}

/// Starts a child that ends by a signal only, and sees `end` send that signal.
fn assert_ended_by(method: StartMethod, exitcode: i32, end: fn(&Process<()>)) {
    let (read, write) = pipe();
    let child = start(method, tell_and_block, (write,));
    hear(&read);
    assert!(child.is_alive() && is_listed(child.pid()));
    end(&child);
    assert_eq!(child.wait_timeout(SOON).unwrap().map(ExitStatus::exitcode), Some(exitcode));
    assert_eq!((child.is_alive(), child.exitcode()), (false, Some(exitcode)));
    assert!(!is_listed(child.pid()));
}

fn terminate_ends_a_child(method: StartMethod) {
    assert_ended_by(method, -15, |child| child.terminate().unwrap());
}

fn kill_ends_a_child(method: StartMethod) {
    assert_ended_by(method, -9, |child| child.kill().unwrap());
}

fn a_join_frees_the_descriptors_of_a_child(method: StartMethod) {
    let before = open_descriptors().len();
    let child = start(method, || 5, ());
    assert!(open_descriptors().len() > before, "a child that was started is held by a descriptor");
    assert_eq!(child.join().unwrap(), 5);
    assert_eq!(open_descriptors().len(), before);
}

/// What remains open is what reaps the child, and it is closed when that has happened.
fn a_dropped_handle_leaves_its_child_running_and_nothing_behind(method: StartMethod) {
    let before = open_descriptors().len();
    let (read, write) = pipe();
    let (child_read, child_write) = pipe();
    let answer = |from: Descriptor, to: Descriptor| {
        hear(&from);
        tell(&to);
    };
    let child = start(method, answer, (child_read, write));
    let number = child.pid();
    drop(child);
    assert!(is_listed(number), "its handle was dropped, and it has ended");
    tell(&child_write);
    hear(&read);
    drop((read, child_write));
    let asked = Instant::now();
    while is_listed(number) || process(number).is_some() {
        assert!(asked.elapsed() < SOON, "not reaped");
    }
    assert_eq!(open_descriptors().len(), before);
}

/// What Python makes a subclass of `Process`: a value with a pipe of its own, and `run`.
#[derive(Serialize, Deserialize)]
struct Upper {
    from: Descriptor,
    to: Descriptor,
}

impl Upper {
    fn run(self) {
        write!(file(self.to), "{}", line(self.from).to_uppercase()).unwrap();
    }
}

fn a_method_talks_to_the_parent_over_a_pipe_of_its_value(method: StartMethod) {
    let (child_read, write) = pipe();
    let (read, child_write) = pipe();
    let child = start(method, Upper::run, (Upper { from: child_read, to: child_write },));
    writeln!(file(write), "hello there").unwrap();
    assert_eq!(line(read), "HELLO THERE\n");
    child.join().unwrap();
}

fn a_context_and_its_child_say_the_same_method(method: StartMethod) {
    let context = Context::new(method);
    let copy = context.clone();
    assert_eq!((context.start_method(), copy.start_method()), (method, method));
    let child = context.start(|| current_process().start_method(), ()).unwrap();
    assert_eq!(child.start_method(), method);
    assert_eq!(child.join().unwrap(), Some(method));
    assert_eq!(current_process().start_method(), None);
    // A builder of the context may take another method, and the context keeps its own.
    for other in StartMethod::ALL {
        let child = context.builder(|| current_process().start_method(), ()).start_method(other).start().unwrap();
        assert_eq!((child.join().unwrap(), context.start_method()), (Some(other), method));
    }
}

fn doubled(n: u32) -> u32 {
    2 * n
}

/// A plain program: it starts children wherever it likes, and nothing guards its `main`.
fn unguarded() {
    println!("main runs");
    let name = std::env::var(METHOD).unwrap();
    let method = StartMethod::ALL.into_iter().find(|method| method.name() == name).unwrap();
    let tripled = |n: u32| 3 * n;
    println!("{}", start(method, doubled, (4,)).join().unwrap());
    println!("{}", start(method, tripled, (5,)).join().unwrap());
}

fn a_program_without_a_guard_runs_main_once_and_its_functions_in_children(method: StartMethod) {
    let mut command = program("unguarded");
    let output = command.env(METHOD, method.name()).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "main runs\n8\n15\n");
}

fn cpu_count_is_at_least_one() {
    assert!(cpu_count() >= 1);
    assert!(Process::start(cpu_count, ()).unwrap().join().unwrap() >= 1);
}

fn the_list_of_methods_begins_with_the_default() {
    assert_eq!(StartMethod::ALL.first(), Some(&get_start_method()));
    let mut names = StartMethod::ALL.map(StartMethod::name).to_vec();
    let known = ["fork", "forkserver", "spawn"];
    assert!(names.iter().all(|name| known.contains(name)), "{names:?}");
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), StartMethod::ALL.len(), "each once");
}

/// A lock between processes: who has taken the byte out of the pipe has it.
static LOCK: OnceLock<(Descriptor, Descriptor)> = OnceLock::new();

fn make_lock() {
    let (read, write) = pipe();
    tell(&write);
    let _ = LOCK.set((read, write));
}

/// Takes the lock, says so twice with a moment for others between, and gives it back.
fn speak_twice(to: Descriptor) {
    let (read, write) = LOCK.get().expect("a lock that was preloaded");
    let mut to = file(to);
    hear(read);
    writeln!(to, "{} begins", pid()).unwrap();
    std::thread::yield_now();
    writeln!(to, "{} ends", pid()).unwrap();
    tell(write);
}

fn a_lock_that_a_preloaded_function_made_is_the_childrens_own() {
    let context = Context::forkserver().preload(make_lock);
    let (read, write) = pipe();
    let speakers: Vec<Process<()>> = (0..8).map(|_| context.start(speak_twice, (write.clone(),)).unwrap()).collect();
    speakers.into_iter().for_each(|speaker| speaker.join().unwrap());
    drop(write);
    let said = rest(read);
    let words: Vec<&str> = said.split_whitespace().collect();
    assert_eq!(words.len(), 8 * 4, "{said}");
    assert!(words.chunks(4).all(|turn| turn[0] == turn[2] && (turn[1], turn[3]) == ("begins", "ends")), "{said}");
    assert!(LOCK.get().is_none(), "nothing was made here");
    assert!(Context::forkserver().start(|| LOCK.get().is_none(), ()).unwrap().join().unwrap(), "nor elsewhere");
}
