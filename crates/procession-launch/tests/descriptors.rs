//! Which descriptors a child has: its own, those in its arguments, and no other of its parent's.

mod common;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use common::{file, fresh_methods, hear, methods, pipe, rest, server_of, start, tell, tell_and_block, wait_for};
use procession_launch::{Process, StartMethod, Stdio};
use procession_sys::{dup, keep_on_exec, pid};
use procession_testkit::{children_of, open_descriptors, open_descriptors_of};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_thousand_starts_leave_no_zombie_and_no_descriptor within 120,
        a_thousand_children_at_once_are_reaped within 120,
        pipes_of_streams_close_with_the_handle,
    ];
    cases for fresh_methods(), [
        a_child_has_its_streams_and_its_own_two_descriptors,
        no_descriptor_of_the_parent_reaches_a_child,
        a_hundred_siblings_have_none_of_each_others_descriptors within 60,
        starts_of_many_threads_do_not_leak_into_each_others_children,
        a_grandchild_has_no_descriptor_of_its_grandparent,
        a_program_that_a_child_starts_has_its_streams_only,
        a_high_descriptor_of_the_parent_does_not_reach_a_child,
    ];
}

/// What this process has open: numbers and targets, without the directory that lists them.
fn list() -> Vec<(u32, String)> {
    open_descriptors().into_iter().map(|descriptor| (descriptor.number, descriptor.target)).collect()
}

/// Descriptors above the streams. The line to the parent is one; another is the lifeline. A server's child has no
/// more, a spawned one may keep the lifeline it was given beside the one it has armed.
const OWN_MAX: usize = 3;

fn a_child_has_its_streams_and_its_own_two_descriptors(method: StartMethod) {
    let open = start(method, list, ()).join().unwrap();
    let numbers: BTreeSet<u32> = open.iter().map(|(number, _)| *number).collect();
    assert!([0, 1, 2].iter().all(|number| numbers.contains(number)), "{open:?}");
    assert!(open.len() <= 3 + OWN_MAX, "{open:?}");
    let kinds = open.iter().filter(|(number, _)| *number > 2);
    assert!(kinds.clone().all(|(_, target)| target.starts_with("socket:") || target.starts_with("pipe:")), "{open:?}");
    // The same however much the parent has open.
    let _more: Vec<_> = (0..50).map(|_| pipe()).collect();
    assert_eq!(start(method, list, ()).join().unwrap().len(), open.len());
}

/// Opens files that every process under this one would get, were it not for us.
fn open_carelessly() -> Vec<File> {
    let files: Vec<_> = (0..50).map(|_| File::open("/proc/self/comm").unwrap()).collect();
    files.iter().for_each(|file| keep_on_exec(file).unwrap());
    files
}

/// True for what a careless parent has open.
fn is_careless(target: &str) -> bool {
    target.ends_with("/comm")
}

fn assert_none(open: &[(u32, String)]) {
    assert!(!open.iter().any(|(_, target)| is_careless(target)), "{open:?}");
}

fn no_descriptor_of_the_parent_reaches_a_child(method: StartMethod) {
    let careless = open_carelessly();
    assert!(open_descriptors().iter().filter(|descriptor| is_careless(&descriptor.target)).count() == 50);
    let (read, write) = pipe();
    let given = careless[0].as_fd().try_clone_to_owned().unwrap();
    let open = start(method, |_: Descriptor, _: Descriptor| list(), (given.into(), write)).join().unwrap();
    // The one that is an argument, and no other.
    assert_eq!(open.iter().filter(|(_, target)| is_careless(target)).count(), 1, "{open:?}");
    assert_eq!(rest(read), "");
    assert_none(&start(method, list, ()).join().unwrap());
    // Also when the server was launched after they were opened.
    if method == StartMethod::ForkServer {
        procession_sys::send_signal(server_of(pid()).unwrap().pid, 9).unwrap();
        assert_none(&start(method, list, ()).join().unwrap());
    }
}

fn a_hundred_siblings_have_none_of_each_others_descriptors(method: StartMethod) {
    let _careless = open_carelessly();
    let (read, write) = pipe();
    let report_and_wait = |to: Descriptor, from: Descriptor| {
        let open = list();
        tell(&to);
        wait_for(from);
        open
    };
    let mut children = Vec::new();
    for _ in 0..100 {
        let (end_read, end_write) = pipe();
        children.push((start(method, report_and_wait, (write.clone(), end_read)), end_write));
        hear(&read);
    }
    let mut lens = BTreeSet::new();
    // Each ends when its own pipe closes, whatever its siblings have.
    for (child, end) in children.into_iter().rev() {
        drop(end);
        let open = child.join().unwrap();
        assert_none(&open);
        lens.insert(open.len());
    }
    assert_eq!(lens.len(), 1, "the first has as many as the last: {lens:?}");
}

/// If a start of one thread left a pipe's end in another's child, its reader would wait for ever.
fn starts_of_many_threads_do_not_leak_into_each_others_children(method: StartMethod) {
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(move || {
                let (hold_read, hold_write) = pipe();
                for _ in 0..10 {
                    let child = start(method, wait_for, (hold_read.clone(),));
                    let (read, write) = pipe();
                    start(method, |to: Descriptor| tell(&to), (write,)).join().unwrap();
                    assert_eq!(rest(read), ".");
                    tell(&hold_write);
                    child.join().unwrap();
                }
            });
        }
    });
}

fn a_grandchild_has_no_descriptor_of_its_grandparent(method: StartMethod) {
    let _careless = open_carelessly();
    let nested = |method: StartMethod| start(method, list, ()).join().unwrap();
    assert_none(&start(method, nested, (method,)).join().unwrap());
}

fn a_program_that_a_child_starts_has_its_streams_only(method: StartMethod) {
    let _careless = open_carelessly();
    let list_of_program = || {
        let output = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = start(method, list_of_program, ()).join().unwrap();
    // The fourth is the directory that it lists.
    let numbers: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().rev().nth(2)).collect();
    assert_eq!(numbers, ["0", "1", "2", "3"], "{listed}");
}

fn a_thousand_starts_leave_no_zombie_and_no_descriptor(method: StartMethod) {
    let count = || {
        let server = server_of(pid()).expect("the warm-up started it");
        let served = children_of(server.pid).len();
        (open_descriptors().len(), children_of(pid()).len(), open_descriptors_of(server.pid).unwrap().len(), served)
    };
    let before = count();
    for number in 0..1000_u32 {
        let child = start(method, |number: u32| number, (number,));
        // Each tenth is dropped and left to the starts after it.
        if number % 10 != 0 {
            assert_eq!(child.join().unwrap(), number);
        }
    }
    let (read, write) = pipe();
    drop(write);
    start(method, wait_for, (read,)).join().unwrap();
    let started = std::time::Instant::now();
    while !procession_launch::active_children().is_empty() || count() != before {
        assert!(started.elapsed() < common::SOON, "{before:?} before, {:?} after", count());
    }
}

fn a_thousand_children_at_once_are_reaped(method: StartMethod) {
    let (read, write) = pipe();
    let children: Vec<Process<()>> = (0..1000).map(|_| start(method, wait_for, (read.clone(),))).collect();
    children.iter().for_each(|_| tell(&write));
    for child in children {
        child.join().unwrap();
    }
}

fn pipes_of_streams_close_with_the_handle(method: StartMethod) {
    let context = procession_launch::Context::new(method);
    let echo = || {
        let mut line = String::new();
        while std::io::stdin().read_line(&mut line).unwrap() > 0 {}
        line.len()
    };
    let child = context.builder(echo, ()).stdin(Stdio::pipe()).stdout(Stdio::pipe()).stderr(Stdio::pipe()).start();
    let child = child.unwrap();
    write!(child.take_stdin().unwrap(), "hello").unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

fn a_high_descriptor_of_the_parent_does_not_reach_a_child(method: StartMethod) {
    let (read, write) = pipe();
    let high = dup(file(write), 900).unwrap();
    keep_on_exec(&high).unwrap();
    assert!(high.as_raw_fd() >= 900);
    let (ready, told) = pipe();
    let child = start(method, tell_and_block, (told,));
    hear(&ready);
    drop(high);
    // The end comes although the child runs.
    assert_eq!(rest(read), "");
    child.kill().unwrap();
    child.wait().unwrap();
}
