//! Ending a child with all that is below it: what hides from its parent, what grows meanwhile, and nobody else.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{SIGSTOP, SOON, assert_all_end, block, file, hear, hold, methods, pipe, start, tell, wait_for};
use procession_launch::{Context, Process, StartMethod};
use procession_sys::{
    Deadline, PidFd, Scarcity, Signal, enter_new_session, group_and_session, limit, parent_pid, pid, send_signal,
};
use procession_testkit::{ProcessInfo, descendants_of, process, program};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_grandchild_with_a_session_of_its_own_is_reached,
        an_orphaned_grandchild_is_reached_in_a_tree_of_its_own,
        an_orphaned_grandchild_is_not_reached_otherwise,
        a_deep_chain_is_reached,
        children_of_children_by_this_library_are_reached,
        a_stopped_grandchild_is_reached,
        a_tree_that_grows_meanwhile_is_reached within 60,
        a_program_that_goes_on_starting_others_is_reached within 60,
        a_child_with_threads_that_start_programs_is_reached within 60,
        a_tree_that_cannot_be_listed_is_an_error_and_its_root_is_killed,
        a_killed_child_with_a_tree_of_its_own_has_lost_it,
        a_child_that_has_ended_has_no_tree,
        a_child_without_time_to_stop_is_reached within 60,
        other_trees_are_left_alone,
        a_tree_of_its_own_ends_with_the_target,
        a_tree_of_its_own_ends_with_a_panic,
        a_tree_of_its_own_ends_with_an_exit,
        a_tree_of_its_own_has_ended_before_the_child_has,
        a_tree_of_its_own_ends_after_the_librarys_own_children,
        a_grandchild_leaves_the_tree_that_it_was_copied_from_alone,
    ];
    programs: [leads_a_session, is_large];
}

/// A daemon, as far as its parent can tell.
fn leads_a_session() {
    enter_new_session().unwrap();
    let (_, session) = group_and_session().unwrap();
    println!("{session}");
    block();
}

/// Runs a shell script that says a line of numbers on its output, and returns them.
fn numbers_of(mut command: Command) -> Vec<u32> {
    let mut started = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = BufReader::new(started.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    // It goes on by itself, as it is meant to, and may say more.
    std::mem::forget((started, output));
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// A shell that runs a script.
fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Runs the script, tells the numbers that it says, and blocks.
fn run_and_block(script: String, to: Descriptor) {
    say(numbers_of(shell(&script)), to);
    block();
}

/// Writes numbers as a line.
fn say(numbers: Vec<u32>, to: Descriptor) {
    let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
    writeln!(file(to), "{}", words.join(" ")).unwrap();
}

/// Reads them.
fn heard(from: Descriptor) -> Vec<u32> {
    let mut line = String::new();
    BufReader::new(file(from)).read_line(&mut line).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Holds a process that runs.
fn held(number: u32) -> (ProcessInfo, PidFd) {
    let found = process(number).unwrap_or_else(|| panic!("no process {number}"));
    hold(&[found]).remove(0)
}

/// A child that has run a script, and the numbers that the script said.
fn announced(method: StartMethod, own_tree: bool, script: &str) -> (Process<()>, Vec<u32>) {
    let (from, to) = pipe();
    let builder = Context::new(method).builder(run_and_block, (script.to_owned(), to));
    let child = if own_tree { builder.own_tree() } else { builder }.start().unwrap();
    let numbers = heard(from);
    (child, numbers)
}

/// The same with all that is below the child, of which nothing moves any more.
fn running(method: StartMethod, script: &str) -> (Process<()>, Vec<u32>, Vec<(ProcessInfo, PidFd)>) {
    let (child, numbers) = announced(method, false, script);
    let below = hold(&descendants_of(child.pid()));
    (child, numbers, below)
}

/// Kills the child's tree, which has so many processes, and sees all of them end.
fn assert_kills(child: &Process<()>, below: &[(ProcessInfo, PidFd)]) {
    assert_eq!(child.kill_tree().unwrap(), below.len() + 1, "{below:?}");
    assert_all_end(below);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn start_a_session_and_block(to: Descriptor) {
    say(numbers_of(program("leads_a_session")), to);
    block();
}

fn a_grandchild_with_a_session_of_its_own_is_reached(method: StartMethod) {
    let (from, to) = pipe();
    let child = start(method, start_a_session_and_block, (to,));
    let leader = heard(from)[0];
    let below = hold(&descendants_of(child.pid()));
    assert!(below.iter().any(|(process, _)| process.pid == leader));
    assert_kills(&child, &below);
}

/// A shell that starts a program in the background, says its number and ends.
const ORPHAN: &str = "sleep 1000 >/dev/null 2>&1 & echo $!";

fn an_orphaned_grandchild_is_reached_in_a_tree_of_its_own(method: StartMethod) {
    let (child, numbers) = announced(method, true, ORPHAN);
    let orphan = held(numbers[0]);
    let deadline = Instant::now() + SOON;
    while process(orphan.0.pid).unwrap().parent != child.pid() {
        assert!(Instant::now() < deadline, "not adopted: {}", orphan.0);
        std::thread::yield_now();
    }
    assert_eq!(child.kill_tree().unwrap(), 2);
    assert_all_end(&[orphan]);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn an_orphaned_grandchild_is_not_reached_otherwise(method: StartMethod) {
    let (child, numbers) = announced(method, false, ORPHAN);
    let orphan = held(numbers[0]);
    let deadline = Instant::now() + SOON;
    while descendants_of(child.pid()).iter().any(|process| process.pid == orphan.0.pid) {
        assert!(Instant::now() < deadline, "not orphaned: {}", orphan.0);
        std::thread::yield_now();
    }
    assert_eq!(child.kill_tree().unwrap(), 1);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(!orphan.1.wait_ended(Deadline::NOW).unwrap());
    orphan.1.send(Signal::KILL).unwrap();
    assert_all_end(&[orphan]);
}

fn a_deep_chain_is_reached(method: StartMethod) {
    let chain =
        "f() { if [ $1 -gt 0 ]; then ( f $(($1 - 1)) ); :; else echo 0; exec sleep 1000 >/dev/null; fi; }; f 40";
    let (child, _, below) = running(method, chain);
    assert!(below.len() >= 41, "{below:?}");
    assert_kills(&child, &below);
}

/// Has a child of its own, which has one of its own, and so on.
fn have_descendants(method: StartMethod, generations: u32, to: Descriptor) {
    if generations == 0 {
        tell(&to);
        return block();
    }
    let _ = start(method, have_descendants, (method, generations - 1, to)).join();
}

fn children_of_children_by_this_library_are_reached(method: StartMethod) {
    let (ready, told) = pipe();
    let child = start(method, have_descendants, (method, 3, told));
    hear(&ready);
    let below = hold(&descendants_of(child.pid()));
    assert!(below.len() >= 3, "{below:?}");
    let killed = child.kill_tree().unwrap();
    assert_eq!(killed, below.len() + 1);
    assert_all_end(&below);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn a_stopped_grandchild_is_reached(method: StartMethod) {
    let (child, numbers, below) = running(method, "sleep 1000 >/dev/null & echo $!; wait");
    send_signal(numbers[0], SIGSTOP).unwrap();
    assert_kills(&child, &below);
}

/// Five hundred processes, if they are let: each starts two more, eight times over. It says so when it has begun to grow,
/// so that the end comes while it does, and no two runs are alike.
const BOMB: &str = "b() { [ $1 = 5 ] && echo $$; [ $1 -gt 0 ] && { b $(($1 - 1)) & b $(($1 - 1)) & }; \
                    exec sleep 1000; }; b 8";

fn a_tree_that_grows_meanwhile_is_reached(method: StartMethod) {
    for _ in 0..2 {
        let (child, _) = announced(method, true, BOMB);
        assert!(child.kill_tree().unwrap() >= 2);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_no_program_runs();
    }
}

/// The fence has every orphan for its child, so nobody who escaped can hide from it.
fn assert_no_program_runs() {
    let deadline = Instant::now() + SOON;
    let runs = |process: &ProcessInfo| !process.is_zombie() && matches!(process.name.as_str(), "sleep" | "sh");
    while let Some(left) = descendants_of(parent_pid()).into_iter().find(runs) {
        assert!(Instant::now() < deadline, "there still runs {left}");
        std::thread::yield_now();
    }
}

/// Starts a program in the background again and again; each ends soon.
const CHURN: &str = "echo $$; exec >/dev/null; while :; do sleep 0.01 & done";

fn a_program_that_goes_on_starting_others_is_reached(method: StartMethod) {
    let (child, _) = announced(method, true, CHURN);
    assert!(child.kill_tree().unwrap() >= 2);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_no_program_runs();
}

/// Starts programs from four threads without end.
fn start_programs_in_threads(to: Descriptor) {
    let starts = || while Command::new("sleep").arg("1000").spawn().is_ok() {};
    (0..4).for_each(|_| drop(std::thread::spawn(starts)));
    tell(&to);
    block();
}

fn a_child_with_threads_that_start_programs_is_reached(method: StartMethod) {
    for _ in 0..2 {
        let (ready, told) = pipe();
        let child = start(method, start_programs_in_threads, (told,));
        hear(&ready);
        assert!(child.kill_tree().unwrap() >= 1);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert_no_program_runs();
    }
}

fn a_tree_that_cannot_be_listed_is_an_error_and_its_root_is_killed(method: StartMethod) {
    let child = start(method, block, ());
    let before = limit(Scarcity::OpenFiles, Some(3)).unwrap();
    let error = child.kill_tree().map_err(|error| error.to_string());
    limit(Scarcity::OpenFiles, before).unwrap();
    let error = error.unwrap_err();
    let whose = format!("cannot kill the tree of process {:?} (pid {})", child.name(), child.pid());
    assert!(error.starts_with(&whose) && error.contains("Too many open files"), "{error}");
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

fn a_killed_child_with_a_tree_of_its_own_has_lost_it(method: StartMethod) {
    let child = Context::new(method).builder(block, ()).own_tree().start().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let error = child.kill_tree().unwrap_err().to_string();
    assert!(error.contains("while it runs"), "{error}");
    let other = Context::new(method).builder(block, ()).own_tree().start().unwrap();
    assert_eq!(other.kill_tree().unwrap(), 1);
    other.wait().unwrap();
    assert_eq!(other.kill_tree().unwrap(), 0, "its tree was ended");
}

fn a_child_that_has_ended_has_no_tree(method: StartMethod) {
    let child = start(method, || 5, ());
    child.wait().unwrap();
    assert_eq!(child.kill_tree().unwrap(), 0);
    let killed = start(method, block, ());
    assert_eq!(killed.kill_tree().unwrap(), 1);
    assert_eq!(killed.wait().unwrap().signal(), Some(9));
    assert_eq!(killed.kill_tree().unwrap(), 0);
    assert_eq!(child.join().unwrap(), 5);
}

/// Wants a processor all the time.
fn spin(ready: Descriptor) {
    tell(&ready);
    loop {
        std::hint::spin_loop();
    }
}

/// A child that spins on the first of this process's processors.
fn spins(method: StartMethod, niceness: i32) -> Process<()> {
    let first = start(method, block, ());
    let processor = first.cpu_affinity().unwrap()[0];
    first.kill().unwrap();
    first.wait().unwrap();
    let (ready, told) = pipe();
    let child =
        Context::new(method).builder(spin, (told,)).niceness(niceness).cpu_affinity([processor]).start().unwrap();
    hear(&ready);
    child
}

fn a_child_without_time_to_stop_is_reached(method: StartMethod) {
    let child = spins(method, 19);
    let busy: Vec<_> = (0..8).map(|_| spins(method, 0)).collect();
    assert_eq!(child.kill_tree().unwrap(), 1);
    busy.iter().for_each(|busy| busy.kill().unwrap());
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    busy.iter().for_each(|busy| assert_eq!(busy.wait().unwrap().signal(), Some(9)));
}

fn other_trees_are_left_alone(method: StartMethod) {
    let script = "sleep 1000 >/dev/null & echo $!; wait";
    let (first, _, below_first) = running(method, script);
    let (second, _, below_second) = running(method, script);
    assert_kills(&first, &below_first);
    for number in below_second.iter().map(|(below, _)| below.pid).chain([second.pid()]) {
        common::wait_for_state(number, 'S');
    }
    assert!(start(method, || true, ()).join().unwrap(), "the forkserver goes on");
    assert_kills(&second, &below_second);
}

/// What is to run after the target, and how it ends.
fn leave_an_orphan(end: u8, to: Descriptor) {
    say(numbers_of(shell("(exec setsid sleep 1000) >/dev/null 2>&1 & echo $!")), to);
    match end {
        0 => {}
        1 => panic!("planted"),
        _ => std::process::exit(3),
    }
}

/// How many times it is tried that a child waits for those whom it has killed: it does so for a second, and on a machine
/// with other things to do they are without a processor for longer at times.
const TRIES: u32 = 3;

/// Starts a child that leaves somebody behind, and sees that nobody is.
fn assert_leaves_nobody(method: StartMethod, end: u8, code: i32) {
    assert!((0..TRIES).any(|_| leaves_nobody(method, end, code)), "before the child's end");
}

/// True when whoever a child has left behind is gone when the child is.
fn leaves_nobody(method: StartMethod, end: u8, code: i32) -> bool {
    let (from, to) = pipe();
    let builder = Context::new(method).builder(leave_an_orphan, (end, to)).stderr(procession_launch::Stdio::null());
    let child = builder.own_tree().start().unwrap();
    let orphan = heard(from)[0];
    assert_eq!(child.wait().unwrap().exitcode(), code);
    process(orphan).is_none_or(|orphan| orphan.is_zombie())
}

fn a_tree_of_its_own_ends_with_the_target(method: StartMethod) {
    assert_leaves_nobody(method, 0, 0);
}

fn a_tree_of_its_own_ends_with_a_panic(method: StartMethod) {
    assert_leaves_nobody(method, 1, 1);
}

fn a_tree_of_its_own_ends_with_an_exit(method: StartMethod) {
    assert_leaves_nobody(method, 2, 3);
}

/// Takes the kernel a while to end: it has memory to give back.
fn is_large() {
    let memory = std::hint::black_box(vec![1_u8; 64 << 20]);
    println!("{}", pid());
    block();
    drop(memory);
}

fn leave_a_large_program(to: Descriptor) {
    say(numbers_of(program("is_large")), to);
}

/// True when a large program that a child has left behind has ended before the child has.
fn outlives_a_large_program(method: StartMethod) -> bool {
    let (from, to) = pipe();
    let child = Context::new(method).builder(leave_a_large_program, (to,)).own_tree().start().unwrap();
    let large = held(heard(from)[0]);
    child.wait().unwrap();
    let has_ended = large.1.wait_ended(Deadline::NOW).unwrap();
    child.join().unwrap();
    has_ended
}

fn a_tree_of_its_own_has_ended_before_the_child_has(method: StartMethod) {
    assert!((0..TRIES).any(|_| outlives_a_large_program(method)), "it ends later");
}

/// Waits for the end of the pipe, and says then that it was let.
fn finish_later(from: Descriptor, to: Descriptor) {
    wait_for(from);
    tell(&to);
}

fn start_and_return(method: StartMethod, from: Descriptor, to: Descriptor) {
    drop(start(method, finish_later, (from, to)));
}

fn a_tree_of_its_own_ends_after_the_librarys_own_children(method: StartMethod) {
    let ((from, end), (done, told)) = (pipe(), pipe());
    let child = Context::new(method).builder(start_and_return, (method, from, told)).own_tree().start().unwrap();
    assert_eq!(child.wait_timeout(Duration::from_millis(50)).unwrap(), None, "it waits for its child");
    tell(&end);
    hear(&done);
    assert_eq!(child.wait().unwrap().exitcode(), 0);
}

/// Has a child that ends, and somebody who must survive that.
fn outlive_a_child(method: StartMethod) -> bool {
    let mut other = Command::new("sleep").arg("1000").spawn().unwrap();
    start(method, || (), ()).join().unwrap();
    let lives = other.try_wait().unwrap().is_none() && process(other.id()).unwrap().state != 'T';
    other.kill().unwrap();
    other.wait().unwrap();
    lives
}

fn a_grandchild_leaves_the_tree_that_it_was_copied_from_alone(method: StartMethod) {
    let child = Context::new(method).builder(outlive_a_child, (method,)).own_tree().start().unwrap();
    assert!(child.join().unwrap());
}
