//! What becomes of names whose owner has ended, however it ended, and whatever else was killed.
//!
//! Relies on the test kit. Cases run at the same time and every process sweeps when it begins to use names: no case can
//! know who it is that removes a name whose tracker was killed, only that it is gone.
//!
//! # Safety
//! The program that forks has one thread.

#![expect(unsafe_code, reason = "forks a process that outlives the one it is a copy of")]

mod common;

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::owner::{
    Owner, TRACKER, eventually, exists, kill_tracker, name, owns, path, records_of, trackers, wait_gone, warm_up,
};
use common::{hear, methods, pipe, start, tell};
use procession_launch::StartMethod;
use procession_shm::{SharedMemory, ShmError, sweep};
use procession_sys::{Signal, borrow_rights_of, is_root, parent_pid, pid, send_signal};
use procession_testkit::{children_of, process, program};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        names_are_gone_when_their_owner_was_killed,
        names_are_gone_when_their_owner_has_ended,
        a_normal_end_removes_names_without_a_tracker,
        names_are_there_until_children_and_exit_hooks_are_done,
        the_end_of_a_copy_removes_no_names,
        names_are_gone_when_their_owner_was_stopped_and_killed,
        names_are_gone_when_their_owner_executes_another_program,
        an_owner_that_is_killed_at_any_moment_leaves_nothing within 60,
        what_is_unlinked_is_not_removed_again,
        a_tracker_is_nobodys_child_and_has_a_session_of_its_own,
        a_tracker_survives_what_a_terminal_sends,
        a_killed_tracker_is_replaced_and_nothing_is_forgotten,
        a_sweep_removes_what_owner_and_tracker_have_left,
        the_next_user_of_names_sweeps,
        many_sweep_at_the_same_time,
        a_copy_of_an_owner_keeps_no_names,
        a_copy_of_an_owner_keeps_no_names_from_a_sweep,
        a_name_that_another_owner_has_now_stays,
        what_a_stopped_tracker_missed_it_does_later,
        without_a_tracker_a_sweep_removes_names,
    ];
    cases for methods(), [
        children_use_their_parents_tracker,
        a_child_that_is_killed_leaves_no_name,
        a_child_that_ends_normally_removes_its_names_itself,
        a_child_whose_inherited_tracker_is_gone_starts_one,
    ];
    programs: [owns, owns_and_forks, owns_until_the_very_end, executes, borrows, borrows_and_sweeps];
}

fn names_are_gone_when_their_owner_was_killed() {
    let (one, other) = (name("one"), name("other"));
    let owner = Owner::of(&[&one, &other]);
    let pid = owner.pid();
    assert!(exists(&one) && exists(&other));
    assert_eq!(records_of(pid).len(), 1);
    owner.kill();
    wait_gone(&one);
    wait_gone(&other);
    eventually("the record is gone", || records_of(pid).is_empty());
}

fn names_are_gone_when_their_owner_has_ended() {
    let name = name("");
    Owner::of(&[&name]).end();
    wait_gone(&name);
}

/// As for the first process of a pid namespace, with which its tracker dies.
fn a_normal_end_removes_names_without_a_tracker() {
    let (one, other) = (name("one"), name("other"));
    let owner = Owner::of(&[&one, &other]);
    let pid = owner.pid();
    kill_tracker(owner.tracker);
    owner.end();
    assert!(!exists(&one) && !exists(&other), "they are gone when it is");
    assert_eq!(records_of(pid).len(), 0);
}

/// Creates a name after whatever libc is to call at the end is registered, and says at its end whether it is there.
fn owns_until_the_very_end() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let name = line.trim().to_owned();
    start(StartMethod::ForkServer, || (), ()).join().unwrap();
    let memory = SharedMemory::create_named(&name, 1).unwrap();
    println!("done");
    procession_launch::at_exit(move || assert!(SharedMemory::open(memory.name().unwrap()).is_ok()));
    procession_launch::at_exit(move || drop(fs::write(path(&format!("{name}-hook")), exists(&name).to_string())));
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn names_are_there_until_children_and_exit_hooks_are_done() {
    let name = name("");
    let owner = Owner::start(program("owns_until_the_very_end"), &[&name]);
    kill_tracker(owner.tracker);
    owner.end();
    let hook = path(&format!("{name}-hook"));
    assert_eq!(fs::read_to_string(&hook).unwrap(), "true");
    fs::remove_file(hook).unwrap();
    assert!(!exists(&name));
}

fn the_end_of_a_copy_removes_no_names() {
    let name = name("");
    let mut owner = Owner::start(program("owns_and_forks"), &[&name]);
    let copy = children_of(owner.pid())[0].pid;
    drop(owner.give_input());
    eventually("the copy has ended", || process(copy).is_none_or(|copy| copy.is_zombie()));
    assert!(exists(&name), "its owner lives");
    owner.kill();
    wait_gone(&name);
}

fn names_are_gone_when_their_owner_was_stopped_and_killed() {
    let name = name("");
    let owner = Owner::of(&[&name]);
    send_signal(owner.pid(), Signal::STOP.number()).unwrap();
    eventually("the owner is stopped", || process(owner.pid()).unwrap().state == 'T');
    owner.kill();
    wait_gone(&name);
}

/// Creates a name and becomes another program.
fn executes() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let _memory = SharedMemory::create_named(line.trim(), 1).unwrap();
    println!("done");
    let error = std::os::unix::process::CommandExt::exec(Command::new("cat").stdout(Stdio::null()));
    panic!("{error}");
}

fn names_are_gone_when_their_owner_executes_another_program() {
    let name = name("");
    let owner = Owner::start(program("executes"), &[&name]);
    wait_gone(&name);
    // It has nothing to wait for any more, though the process lives.
    eventually("the tracker has ended", || !trackers().iter().any(|tracker| tracker.pid == owner.tracker));
    owner.end();
}

/// In a child: creates and removes names until it is killed.
fn create_without_end() {
    for number in 0.. {
        let memory = SharedMemory::create_named(&format!("{}-{number}", name(&pid().to_string())), 1).unwrap();
        memory.unlink().unwrap();
    }
}

fn an_owner_that_is_killed_at_any_moment_leaves_nothing() {
    for number in 0..150 {
        let child = start(StartMethod::ForkServer, create_without_end, ());
        let pid = child.pid();
        eventually("it has begun", || !records_of(pid).is_empty());
        // So that each is in the middle of something else.
        thread::sleep(Duration::from_micros(37 * number));
        child.kill().unwrap();
        assert!(child.join().is_err());
        let middle = format!("-{pid}-");
        let left = || {
            fs::read_dir("/dev/shm").unwrap().flatten().any(|file| file.file_name().to_string_lossy().contains(&middle))
        };
        eventually("nothing is left", || !left());
    }
}

fn what_is_unlinked_is_not_removed_again() {
    let name = name("");
    let owner = Owner::of(&[&name]);
    SharedMemory::unlink_named(&name).unwrap();
    fs::write(path(&name), "somebody else's").unwrap();
    let pid = owner.pid();
    owner.kill();
    eventually("the record is gone", || records_of(pid).is_empty());
    assert_eq!(fs::read_to_string(path(&name)).unwrap(), "somebody else's");
    fs::remove_file(path(&name)).unwrap();
}

fn a_tracker_is_nobodys_child_and_has_a_session_of_its_own() {
    let owner = Owner::of(&[&name("")]);
    assert!(owner.tracker != 0, "it was started");
    assert_eq!(children_of(owner.pid()), [], "neither the tracker nor what started it");
    assert!(children_of(pid()).iter().all(|child| child.name != TRACKER));
    let stat = fs::read_to_string(format!("/proc/{}/stat", owner.tracker)).unwrap();
    let session = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(3).unwrap();
    assert_eq!(session, owner.tracker.to_string());
    let stream = |at| fs::read_link(format!("/proc/{}/fd/{at}", owner.tracker)).unwrap();
    assert!((0..3).all(|at| stream(at) == std::path::Path::new("/dev/null")));
    let tracker = owner.tracker;
    owner.kill();
    eventually("it ends with its last owner", || !trackers().iter().any(|running| running.pid == tracker));
}

fn a_tracker_survives_what_a_terminal_sends() {
    let tracker = trackers()[0].pid;
    for signal in [Signal::INT.number(), Signal::TERM.number(), HANGUP] {
        send_signal(tracker, signal).unwrap();
    }
    // It still lets somebody in: a child that it did not answer would start another one.
    assert_eq!(trackers_while_a_child_owns(StartMethod::Spawn, &name("")), [tracker]);
}

fn a_killed_tracker_is_replaced_and_nothing_is_forgotten() {
    let (before, after) = (name("before"), name("after"));
    let mut owner = Owner::of(&[&before]);
    kill_tracker(owner.tracker);
    let count = trackers().len();
    owner.create(&after);
    assert_eq!(trackers().len(), count + 1);
    owner.kill();
    wait_gone(&before);
    wait_gone(&after);
}

fn a_sweep_removes_what_owner_and_tracker_have_left() {
    let name = name("");
    let owner = Owner::of(&[&name]);
    let pid = owner.pid();
    assert!(sweep().is_ok_and(|removed| !removed.contains(&name)) && exists(&name), "its owner lives");
    owner.kill_with_tracker();
    sweep().unwrap();
    // Another case's process may have been first, and be at it.
    eventually("the record is gone", || records_of(pid).is_empty());
    assert!(!exists(&name));
}

fn the_next_user_of_names_sweeps() {
    let (old, new) = (name("old"), name("new"));
    Owner::of(&[&old]).kill_with_tracker();
    let owner = Owner::of(&[&new]);
    wait_gone(&old);
    assert!(exists(&new));
    owner.end();
}

fn many_sweep_at_the_same_time() {
    let names: Vec<String> = (0..50).map(|number| name(&number.to_string())).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let owner = Owner::of(&names);
    let pid = owner.pid();
    owner.kill_with_tracker();
    let sweepers: Vec<_> = (0..8).map(|_| thread::spawn(sweep)).collect();
    let mut removed: Vec<String> = sweepers.into_iter().flat_map(|sweeper| sweeper.join().unwrap().unwrap()).collect();
    eventually("the record is gone", || records_of(pid).is_empty());
    assert!(names.iter().all(|name| !exists(name)));
    removed.retain(|name| names.contains(&name.as_str()));
    let count = removed.len();
    removed.sort();
    removed.dedup();
    assert_eq!(removed.len(), count, "each name is removed once");
}

/// Creates a name and forks; the copy lives until its input ends, and says its number.
fn owns_and_forks() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let _memory = SharedMemory::create_named(line.trim(), 1).unwrap();
    let waits = || {
        let _ = std::io::stdin().read_line(&mut String::new());
        0
    };
    // SAFETY: this program has one thread.
    unsafe { procession_sys::fork(waits) }.unwrap();
    println!("done");
    loop {
        thread::park();
    }
}

/// Kills an owner of whom a copy lives on; the copy ends when what is returned is dropped.
fn leave_a_copy(name: &str, also_tracker: bool) -> std::process::ChildStdin {
    let mut owner = Owner::start(program("owns_and_forks"), &[name]);
    let copy = children_of(owner.pid())[0].pid;
    let input = owner.give_input();
    if also_tracker {
        owner.kill_with_tracker();
    } else {
        owner.kill();
    }
    assert!(!process(copy).unwrap().is_zombie(), "the copy lives");
    input
}

fn a_copy_of_an_owner_keeps_no_names() {
    let name = name("");
    let copy = leave_a_copy(&name, false);
    wait_gone(&name);
    drop(copy);
}

fn a_copy_of_an_owner_keeps_no_names_from_a_sweep() {
    let name = name("");
    let copy = leave_a_copy(&name, true);
    sweep().unwrap();
    wait_gone(&name);
    drop(copy);
}

fn a_name_that_another_owner_has_now_stays() {
    let name = name("");
    let first = Owner::of(&[&name]);
    let (pid, tracker) = (first.pid(), first.tracker);
    send_signal(tracker, Signal::STOP.number()).unwrap();
    // The name is another's before the first owner's end is noticed.
    SharedMemory::unlink_named(&name).unwrap();
    let second = Owner::of(&[&name]);
    first.kill();
    send_signal(tracker, CONTINUE).unwrap();
    eventually("the first one's record is gone", || records_of(pid).is_empty());
    assert!(exists(&name));
    second.end();
    wait_gone(&name);
}

/// SIGHUP.
const HANGUP: i32 = 1;

/// SIGCONT.
const CONTINUE: i32 = 18;

fn what_a_stopped_tracker_missed_it_does_later() {
    let (first, second) = (name("first"), name("second"));
    let mut owner = Owner::of(&[&first]);
    send_signal(owner.tracker, Signal::STOP.number()).unwrap();
    let tracker = owner.tracker;
    eventually("the tracker is stopped", || process(tracker).unwrap().state == 'T');
    owner.create(&second); // It is not asked.
    owner.kill();
    assert_eq!(process(tracker).unwrap().state, 'T', "it has not died with whoever started it");
    send_signal(tracker, CONTINUE).unwrap();
    wait_gone(&first);
    wait_gone(&second);
}

/// A user whom nobody is, not even the same case of another run: the number is made of its body's.
fn nobody() -> u32 {
    10_000 + parent_pid() % 50_000
}

/// An owner with rights that its user has not, for whom no role is started.
fn borrows() {
    borrow_rights_of(nobody()).unwrap();
    owns();
}

/// Removes what such an owner has left.
fn borrows_and_sweeps() {
    borrow_rights_of(nobody()).unwrap();
    sweep().unwrap();
}

fn without_a_tracker_a_sweep_removes_names() {
    if !is_root() {
        return; // Only root can have less rights than its user.
    }
    let (old, new) = (name("old"), name("new"));
    let owner = Owner::start(program("borrows"), &[&old]);
    assert_eq!(owner.tracker, 0);
    let pid = owner.pid();
    owner.kill();
    sweep().unwrap();
    assert_eq!(records_of(pid).len(), 1, "another user's record is left alone");
    let owner = Owner::start(program("borrows"), &[&new]);
    assert!(!exists(&old) && exists(&new), "the first use of a name sweeps");
    owner.kill();
    assert!(exists(&new));
    Owner::start(program("borrows_and_sweeps"), &[]).end();
    assert!(!exists(&new));
}

/// In a child: creates a name, says so, and removes it when it is told to.
fn own_until_told(name: String, created: Descriptor, enough: Descriptor) {
    let memory = SharedMemory::create_named(&name, 1).unwrap();
    tell(&created);
    hear(&enough);
    memory.unlink().unwrap();
}

/// Which trackers there are while a child owns a name.
fn trackers_while_a_child_owns(method: StartMethod, name: &str) -> Vec<u32> {
    let ((created, tell_created), (hear_enough, enough)) = (pipe(), pipe());
    let child = start(method, own_until_told, (name.to_owned(), tell_created, hear_enough));
    hear(&created);
    let trackers = trackers().iter().map(|tracker| tracker.pid).collect();
    tell(&enough);
    child.join().unwrap();
    trackers
}

/// In a child: creates a name, says so, and ends when it is told to.
fn own_and_end(name: String, created: Descriptor, enough: Descriptor) {
    let _memory = SharedMemory::create_named(&name, 1).unwrap();
    tell(&created);
    hear(&enough);
}

fn a_child_that_ends_normally_removes_its_names_itself(method: StartMethod) {
    let ((created, tell_created), (hear_enough, enough)) = (pipe(), pipe());
    let name = name("");
    let child = start(method, own_and_end, (name.clone(), tell_created, hear_enough));
    hear(&created);
    let tracker = trackers()[0].pid;
    send_signal(tracker, Signal::STOP.number()).unwrap();
    eventually("the tracker is stopped", || process(tracker).unwrap().state == 'T');
    tell(&enough);
    child.join().unwrap();
    // A forked child leaves at once, without what libc calls at a normal end: the tracker removes its names, or the sweep of
    // any process that begins meanwhile.
    assert!(method == StartMethod::Fork || !exists(&name), "it is gone when its owner is");
    send_signal(tracker, CONTINUE).unwrap();
    wait_gone(&name);
}

fn children_use_their_parents_tracker(method: StartMethod) {
    let tracker = trackers()[0].pid;
    for number in 0..3 {
        assert_eq!(trackers_while_a_child_owns(method, &name(&number.to_string())), [tracker]);
    }
}

/// In a child: creates a name and waits to be killed.
fn create_and_wait(name: String) {
    let _memory = SharedMemory::create_named(&name, 1).unwrap();
    loop {
        thread::park();
    }
}

fn a_child_that_is_killed_leaves_no_name(method: StartMethod) {
    let name = name("");
    let child = start(method, create_and_wait, (name.clone(),));
    eventually("the name is there", || exists(&name));
    child.kill().unwrap();
    assert!(child.join().is_err());
    wait_gone(&name);
}

fn a_child_whose_inherited_tracker_is_gone_starts_one(method: StartMethod) {
    kill_tracker(trackers()[0].pid);
    let name = name("");
    let child = start(method, create_and_wait, (name.clone(),));
    eventually("the name is there", || exists(&name));
    assert_eq!(trackers().len(), 1, "its own");
    assert!(matches!(SharedMemory::create_named(&name, 1), Err(ShmError::Exists { .. })));
    child.kill().unwrap();
    assert!(child.join().is_err());
    wait_gone(&name);
}
