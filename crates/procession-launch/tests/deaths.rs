//! Whoever is killed takes its children along, however they are. `who_dies` has the other ways to end.
//!
//! The promise is one second after the owner's SIGKILL. The cases allow ten, `common::SOON`, because they run beside
//! each other on machines that have other work; without the lifeline the processes would be there for ever.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::Instant;

use common::{
    SIGCONT, SIGSTOP, assert_all_end, block, fresh_methods, hold, methods, pipe, start, tell_and_block, wait_for_state,
};
use procession_launch::{JoinError, StartMethod};
use procession_sys::{SignalMask, pid, send_signal};
use procession_testkit::{descendants_of, process, program};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        killing_the_parent_ends_children_grandchildren_and_servers,
        killing_the_parent_ends_stopped_children,
        killing_the_parent_ends_children_that_block_every_signal,
        killing_the_parent_ends_a_hundred_children within 60,
        killing_the_parent_while_it_starts_children_leaves_none within 60,
        killing_a_child_ends_its_children_and_nobody_elses,
        a_stopped_child_can_be_killed_and_joined,
        a_child_that_blocks_every_signal_can_be_killed_and_joined,
        a_child_killed_while_it_reports_is_signaled_or_done,
    ];
    cases for fresh_methods(), [
        killing_the_parent_ends_children_whose_starting_thread_has_ended,
    ];
    cases: [mixed_generations_end_with_the_first];
    programs: [family, brief_thread, stopped, deaf, hundred, restless, mixed];
}

/// The environment variable that tells a program which start method to use.
const METHOD: &str = "START_METHOD";

/// Each process of a program's family writes a line on its standard output when it runs.
fn announce() {
    println!("{}", pid());
}

/// A program's start method.
fn own_method() -> StartMethod {
    let name = std::env::var(METHOD).expect("a start method");
    StartMethod::ALL.into_iter().find(|method| method.name() == name).expect("a known start method")
}

/// Announces itself, and has a descendant in each of so many further generations.
fn generation(method: StartMethod, further: u32) {
    announce();
    let _child = (further > 0).then(|| start(method, generation, (method, further - 1)));
    block();
}

fn family() {
    generation(own_method(), 2);
}

fn brief_thread() {
    let method = own_method();
    thread::spawn(move || drop(start(method, generation, (method, 0)))).join().unwrap();
    announce();
    block();
}

fn stopped() {
    let _child = start(own_method(), stop, ());
    announce();
    block();
}

/// Announces itself and stops.
fn stop() {
    announce();
    send_signal(pid(), SIGSTOP).unwrap();
    block();
}

fn deaf() {
    let _child = start(own_method(), be_deaf, ());
    announce();
    block();
}

/// Blocks every signal that can be blocked.
fn be_deaf() {
    SignalMask::from_bits(u64::MAX).install();
    announce();
    block();
}

fn hundred() {
    let method = own_method();
    let _children: Vec<_> = (0..100).map(|_| start(method, generation, (method, 0))).collect();
    announce();
    block();
}

/// Starts children without end, and tells of each start.
fn restless() {
    let method = own_method();
    let mut children = Vec::new();
    loop {
        children.push(start(method, block, ()));
        announce();
    }
}

/// Each generation by the other method than the one before.
fn mixed() {
    generation_of_mixed(4);
}

fn generation_of_mixed(further: u32) {
    announce();
    let method = StartMethod::ALL[further as usize % 2];
    let _child = (further > 0).then(|| start(method, generation_of_mixed, (further - 1,)));
    block();
}

/// A running program.
struct Family {
    parent: Child,
    /// The numbers of those who have announced themselves, in that order.
    announced: Vec<u32>,
    /// Its standard output, which stays open as long as any of them lives.
    output: BufReader<ChildStdout>,
}

/// Starts the program and waits until so many of its processes have announced themselves.
fn start_program(name: &str, method: StartMethod, announced: usize) -> Family {
    let mut command = program(name);
    let mut parent = command.env(METHOD, method.name()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(parent.stdout.take().unwrap());
    let lines = output.by_ref().lines().take(announced).map(Result::unwrap);
    let announced_now: Vec<u32> = lines.map(|line| line.parse().unwrap()).collect();
    assert_eq!(announced_now.len(), announced, "{name} has ended");
    Family { parent, announced: announced_now, output }
}

impl Family {
    /// Ends the program, if it has not ended, and waits until nobody is left to write.
    fn end(mut self) {
        self.parent.kill().unwrap();
        self.parent.wait().unwrap();
        self.output.read_to_end(&mut Vec::new()).unwrap();
    }
}

/// Kills the program and waits until everybody under it has ended.
fn kill_and_watch(family: Family, members_min: usize) {
    let members = descendants_of(family.parent.id());
    assert!(members.len() >= members_min, "{members:?}");
    let held = hold(&members);
    let killed = Instant::now();
    send_signal(family.parent.id(), 9).unwrap();
    assert_all_end(&held);
    eprintln!("{} processes ended within {:?}", members.len(), killed.elapsed());
    family.end();
}

/// How many servers stand between so many generations.
fn servers(method: StartMethod, generations: usize) -> usize {
    if method == StartMethod::ForkServer { generations } else { 0 }
}

fn killing_the_parent_ends_children_grandchildren_and_servers(method: StartMethod) {
    kill_and_watch(start_program("family", method, 3), 2 + servers(method, 2));
}

fn killing_the_parent_ends_children_whose_starting_thread_has_ended(method: StartMethod) {
    kill_and_watch(start_program("brief_thread", method, 2), 1 + servers(method, 1));
}

fn killing_the_parent_ends_stopped_children(method: StartMethod) {
    let family = start_program("stopped", method, 2);
    let child = family.announced.iter().find(|&&number| number != family.parent.id()).unwrap();
    wait_for_state(*child, 'T');
    kill_and_watch(family, 1 + servers(method, 1));
}

fn killing_the_parent_ends_children_that_block_every_signal(method: StartMethod) {
    kill_and_watch(start_program("deaf", method, 2), 1 + servers(method, 1));
}

fn killing_the_parent_ends_a_hundred_children(method: StartMethod) {
    kill_and_watch(start_program("hundred", method, 101), 100 + servers(method, 1));
}

/// At another moment in each round. Who is born at that very moment is found by the output, which stays open as long
/// as anybody of the family lives, and by the fence's audit.
fn killing_the_parent_while_it_starts_children_leaves_none(method: StartMethod) {
    for announced in 0..20 {
        start_program("restless", method, announced).end();
    }
}

fn killing_a_child_ends_its_children_and_nobody_elses(method: StartMethod) {
    let family = start_program("family", method, 3);
    let (parent, child) = (family.parent.id(), family.announced[1]);
    let below = hold(&descendants_of(child));
    assert_eq!(below.len(), 1 + servers(method, 1));
    send_signal(child, 9).unwrap();
    assert_all_end(&below);
    assert!(process(parent).is_some_and(|parent| !parent.is_zombie()));
    if method == StartMethod::ForkServer {
        assert!(common::server_of(parent).is_some(), "the program's own server goes on");
    }
    family.end();
}

fn mixed_generations_end_with_the_first() {
    kill_and_watch(start_program("mixed", StartMethod::Spawn, 5), 4 + 2);
}

fn a_stopped_child_can_be_killed_and_joined(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, tell_and_block, (write,));
    common::hear(&read);
    send_signal(child.pid(), SIGSTOP).unwrap();
    wait_for_state(child.pid(), 'T');
    assert!(child.is_alive(), "a stopped child has not ended");
    assert_eq!(child.try_wait().unwrap(), None);
    send_signal(child.pid(), SIGCONT).unwrap();
    assert!(child.is_alive(), "nor has one that goes on");
    send_signal(child.pid(), SIGSTOP).unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), -9);
}

fn a_child_that_blocks_every_signal_can_be_killed_and_joined(method: StartMethod) {
    let (read, write) = pipe();
    let deaf = |to: Descriptor| {
        SignalMask::from_bits(u64::MAX).install();
        tell_and_block(to);
    };
    let child = start(method, deaf, (write,));
    common::hear(&read);
    child.terminate().unwrap();
    child.interrupt().unwrap();
    assert!(child.is_alive());
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), -9);
}

/// A frame that stops half-way is no result and no hang.
fn a_child_killed_while_it_reports_is_signaled_or_done(method: StartMethod) {
    for _ in 0..10 {
        let (read, write) = pipe();
        let report = |to: Descriptor| {
            common::tell(&to);
            (0..400).map(|_| pipe().0).collect::<Vec<Descriptor>>()
        };
        let child = start(method, report, (write,));
        common::hear(&read);
        child.kill().unwrap();
        match child.join() {
            Ok(descriptors) => assert_eq!(descriptors.len(), 400),
            Err(JoinError::Signaled { signal: 9, .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
