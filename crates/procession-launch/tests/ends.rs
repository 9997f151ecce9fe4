//! What runs at a process's normal end, in which order, and what code it ends with.
//!
//! A script registers things and returns. It is run in a main process and in a child of each start method, which then
//! end in each normal way: the words that it has written by then must be the same.

mod common;

use std::io::Read;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use common::{hear, methods, pipe, start, tell, wait_for_state};
use procession_launch::{
    Context, JoinError, Process, StartMethod, Stdio, at_exit, at_exit_with_priority, current_process, exit,
    join_at_exit,
};
use procession_sys::{close_standard_stream, exit_now, pid, send_signal};
use procession_testkit::program;
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        threads_hooks_children_and_late_hooks_end_in_this_order within 60,
        a_thread_that_nobody_waits_for_is_cut_off within 60,
        hooks_of_one_priority_run_newest_first_and_higher_ones_before within 60,
        a_hook_that_panics_is_reported_and_the_others_run within 60,
        a_hook_may_register_hooks_and_threads_and_start_children within 60,
        a_hook_that_is_cancelled_or_run_early_does_not_run_again within 60,
        hooks_are_added_and_removed_by_threads_while_hooks_run within 60,
        an_exit_in_a_hook_goes_on_with_the_end_and_its_code_counts within 60,
        a_joined_thread_that_exits_during_the_end_stops_there within 60,
        the_first_exit_counts within 60,
        of_many_exits_at_once_one_ends_the_process within 60,
        a_thread_that_exits_ends_the_process_in_order within 60,
        hooks_do_not_run_at_an_abrupt_end,
        hooks_run_in_the_process_that_registered_them_only,
        an_exit_code_is_cut_to_eight_bits,
        a_result_is_a_value_and_no_exit_code,
        streams_that_nobody_reads_change_no_end,
        streams_that_the_child_has_closed_change_no_end,
    ];
    cases: [nothing_is_taken_after_the_end];
    programs: [performs, registers_late];
}

/// What a program is to do: the script's name, the way to end, and the start method of its children.
const SCRIPT: &str = "SCRIPT";
const WAY: &str = "WAY";
const METHOD: &str = "START_METHOD";

/// The ways in which a process ends normally, each with its exit code in a child and in a main process.
const WAYS: [(&str, i32, i32); 4] = [("returns", 0, 0), ("panics", 1, 101), ("exits", 3, 3), ("exits with std", 4, 4)];

/// Ends this process, or returns for it to end.
fn end_by(way: &str) {
    match way {
        "panics" => panic!("planted"),
        "exits" => exit(3),
        "exits with std" => std::process::exit(4),
        "is killed" => send_signal(pid(), 9).unwrap(),
        "aborts" => std::process::abort(),
        "leaves" => exit_now(5),
        _ => {}
    }
}

/// The scripts by their names.
const SCRIPTS: [(&str, fn()); 13] = [
    ("order", order),
    ("priorities", priorities),
    ("panic", panicking_hook),
    ("nested", nested),
    ("cancel", cancel),
    ("race", race),
    ("exit in hook", exit_in_hook),
    ("exit of joined", exit_of_joined),
    ("first exit", first_exit),
    ("thread exits", thread_exits),
    ("family", family),
    ("exits at once", exits_at_once),
    ("other thread", other_thread),
];

/// Runs a script and ends.
fn perform(script: String, way: String) {
    let (_, run) = SCRIPTS.into_iter().find(|(name, _)| *name == script).expect("a known script");
    run();
    end_by(&way);
}

/// The same as a main process.
fn performs() {
    let variable = |name| std::env::var(name).unwrap();
    perform(variable(SCRIPT), variable(WAY));
}

/// The start method for the children of a script.
fn own_method() -> StartMethod {
    let name = std::env::var(METHOD).expect("a start method");
    StartMethod::ALL.into_iter().find(|method| method.name() == name).expect("a known start method")
}

/// How a performance went.
#[derive(Debug)]
struct Outcome {
    code: Option<i32>,
    words: String,
    errors: String,
}

/// A script in a main process.
fn in_main(method: StartMethod, script: &str, way: &str) -> Outcome {
    let mut command = program("performs");
    command.env(METHOD, method.name()).env(SCRIPT, script).env(WAY, way);
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: status.code(), words: text(stdout), errors: text(stderr) }
}

/// A script in a child, which may have children as well.
fn in_child(method: StartMethod, script: &str, way: &str) -> Outcome {
    let builder = Context::new(method).builder(perform, (script.to_owned(), way.to_owned()));
    let builder = builder.env(METHOD, method.name()).stdout(Stdio::pipe()).stderr(Stdio::pipe());
    let child = builder.start().unwrap();
    let (mut words, mut errors) = (String::new(), String::new());
    child.take_stdout().unwrap().read_to_string(&mut words).unwrap();
    child.take_stderr().unwrap().read_to_string(&mut errors).unwrap();
    Outcome { code: child.wait().unwrap().code(), words, errors }
}

/// Runs the script in a main process and in a child, ends each in every normal way, and compares the words. A panic
/// that cannot be caught is no normal end of a main process.
fn assert_says(method: StartMethod, script: &str, words: &[&str]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for (way, child_code, main_code) in WAYS {
        outcomes.push((way, child_code, in_child(method, script, way)));
        if way != "panics" || cfg!(panic = "unwind") {
            outcomes.push((way, main_code, in_main(method, script, way)));
        }
    }
    for (way, code, outcome) in &outcomes {
        let said: Vec<&str> = outcome.words.lines().collect();
        assert_eq!(said, words, "{way}: {outcome:?}");
        assert_eq!(outcome.code, Some(*code), "{way}: {outcome:?}");
    }
    outcomes.into_iter().map(|(_, _, outcome)| outcome).collect()
}

/// The same for a script that ends the process itself, whichever way the process would have ended.
fn assert_ends(method: StartMethod, script: &str, code: i32, words: &[&str]) {
    for (way, ..) in WAYS.into_iter().filter(|(way, ..)| *way != "panics" || cfg!(panic = "unwind")) {
        for outcome in [in_child(method, script, way), in_main(method, script, way)] {
            let said: Vec<&str> = outcome.words.lines().collect();
            assert_eq!((said.as_slice(), outcome.code), (words, Some(code)), "{way}: {outcome:?}");
        }
    }
}

/// Registers a hook that says a word.
fn say_at(priority: i32, word: &'static str) {
    at_exit_with_priority(priority, move || println!("{word}"));
}

/// Starts a child that says a word once it is told, and returns what tells it.
fn start_speaker(word: &'static str) -> impl FnOnce() + Send {
    let (read, write) = pipe();
    let speak = |from, word: String| {
        hear(&from);
        println!("{word}");
    };
    drop(start(own_method(), speak, (read, word.to_owned())));
    move || tell(&write)
}

/// Starts a daemon that blocks.
fn start_daemon() -> Process<()> {
    let (read, write) = pipe();
    let daemon = Context::new(own_method()).builder(common::tell_and_block, (write,)).daemon(true).start().unwrap();
    hear(&read);
    daemon
}

/// Waits until the thread that ends this process, its first, sleeps.
fn wait_for_finisher() {
    wait_for_state(pid(), 'S');
}

fn order() {
    let (daemon, go_on) = (Arc::new(start_daemon()), start_speaker("child"));
    let again = Arc::clone(&daemon);
    at_exit_with_priority(-1, move || println!("late, daemon runs: {}", daemon.is_alive()));
    at_exit_with_priority(0, move || {
        println!("early, daemon runs: {}", again.is_alive());
        go_on();
    });
    join_at_exit(thread::spawn(|| {
        wait_for_finisher();
        println!("thread");
    }));
}

fn threads_hooks_children_and_late_hooks_end_in_this_order(method: StartMethod) {
    let words = ["thread", "early, daemon runs: true", "child", "late, daemon runs: false"];
    assert_says(method, "order", &words);
}

fn other_thread() {
    thread::spawn(common::block);
    say_at(0, "hook");
}

fn a_thread_that_nobody_waits_for_is_cut_off(method: StartMethod) {
    assert_says(method, "other thread", &["hook"]);
}

fn priorities() {
    say_at(0, "0, first");
    say_at(-7, "-7");
    say_at(i32::MIN, "lowest");
    say_at(10, "10, first");
    say_at(i32::MAX, "highest");
    say_at(-1, "-1");
    say_at(10, "10, second");
    at_exit(|| println!("0, second"));
    say_at(9, "9");
}

fn hooks_of_one_priority_run_newest_first_and_higher_ones_before(method: StartMethod) {
    let words = ["highest", "10, second", "10, first", "9", "0, second", "0, first", "-1", "-7", "lowest"];
    assert_says(method, "priorities", &words);
}

fn panicking_hook() {
    say_at(-1, "late");
    say_at(1, "before");
    at_exit(|| panic!("spilled"));
    at_exit_with_priority(-1, || panic!("knocked over"));
    join_at_exit(thread::spawn(|| panic!("a thread's own")));
}

/// In a child this holds with `panic = "abort"` as well, but for its exit code.
fn a_hook_that_panics_is_reported_and_the_others_run(method: StartMethod) {
    if cfg!(panic = "abort") {
        return;
    }
    for outcome in assert_says(method, "panic", &["before", "late"]) {
        for part in ["spilled", "knocked over", "a thread's own", "an exit hook panicked; its end goes on"] {
            assert!(outcome.errors.contains(part), "{part} is missing in {}", outcome.errors);
        }
    }
}

fn nested() {
    say_at(-2, "last");
    at_exit_with_priority(-1, || {
        say_at(-1, "late of late");
        say_at(5, "early of late");
        at_exit(start_speaker("child of late"));
    });
    at_exit_with_priority(0, || {
        start(own_method(), || println!("joined child of early"), ()).join().unwrap();
        at_exit(start_speaker("forgotten child of early"));
        say_at(0, "early of early");
        say_at(1, "earlier of early");
        join_at_exit(thread::spawn(|| {
            wait_for_finisher();
            println!("thread of early");
        }));
    });
}

fn a_hook_may_register_hooks_and_threads_and_start_children(method: StartMethod) {
    let early = ["joined child of early", "thread of early", "earlier of early", "early of early"];
    let late = ["forgotten child of early", "early of late", "child of late", "late of late", "last"];
    assert_says(method, "nested", &[&early[..], &late[..]].concat());
}

fn cancel() {
    let cancelled = at_exit(|| println!("cancelled"));
    let kept = at_exit(|| println!("kept"));
    let early = at_exit(|| println!("run early"));
    at_exit(|| println!("dropped"));
    println!("{} {}", cancelled.is_active(), cancelled.cancel());
    println!("{} {}", cancelled.is_active(), cancelled.cancel());
    println!("{} {} {}", early.run_now(), early.run_now(), early.is_active());
    println!("{}", kept.is_active());
    at_exit_with_priority(-1, move || println!("{} {} {}", kept.is_active(), kept.cancel(), kept.run_now()));
}

fn a_hook_that_is_cancelled_or_run_early_does_not_run_again(method: StartMethod) {
    let before = ["true true", "false false", "run early", "true false false", "true"];
    let after = ["dropped", "kept", "false false false"];
    assert_says(method, "cancel", &[&before[..], &after[..]].concat());
}

/// How many threads change the hooks, and how many hooks each adds. It cancels every other one.
const RACERS: u32 = 4;
const RACER_HOOKS: u32 = 400;

/// How many hooks of the race have run, and how many were cancelled.
static RAN: AtomicU32 = AtomicU32::new(0);
static CANCELLED: AtomicU32 = AtomicU32::new(0);

fn race() {
    let begin = Arc::new(Barrier::new(RACERS as usize + 1));
    let racer = |begin: Arc<Barrier>| {
        begin.wait();
        for n in 0..RACER_HOOKS {
            let hook = at_exit_with_priority(n as i32 % 7 - 3, || {
                RAN.fetch_add(1, Ordering::Relaxed);
            });
            if n % 2 == 0 && hook.cancel() {
                CANCELLED.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let racers: Vec<JoinHandle<()>> =
        (0..RACERS).map(|_| Arc::clone(&begin)).map(|begin| thread::spawn(move || racer(begin))).collect();
    at_exit_with_priority(i32::MAX, move || {
        begin.wait();
    });
    at_exit_with_priority(-100, || racers.into_iter().for_each(|racer| racer.join().unwrap()));
    at_exit_with_priority(i32::MIN, || {
        let sum = RAN.load(Ordering::Relaxed) + CANCELLED.load(Ordering::Relaxed);
        println!("{sum} of {}", RACERS * RACER_HOOKS);
    });
}

fn hooks_are_added_and_removed_by_threads_while_hooks_run(method: StartMethod) {
    assert_says(method, "race", &["1600 of 1600"]);
}

fn exit_in_hook() {
    at_exit(start_speaker("child"));
    say_at(-1, "late");
    say_at(0, "early");
    at_exit_with_priority(1, || {
        println!("exits");
        exit(9);
    });
}

fn an_exit_in_a_hook_goes_on_with_the_end_and_its_code_counts(method: StartMethod) {
    assert_ends(method, "exit in hook", 9, &["exits", "early", "child", "late"]);
}

fn exit_of_joined() {
    say_at(0, "early");
    join_at_exit(thread::spawn(|| {
        wait_for_finisher();
        println!("exits");
        exit(9);
    }));
}

fn a_joined_thread_that_exits_during_the_end_stops_there(method: StartMethod) {
    assert_says(method, "exit of joined", &["exits", "early"]);
}

/// The second exit, or the return, comes while the first one's hook runs.
fn first_exit() {
    let first = Arc::new(Barrier::new(2));
    let reached = Arc::clone(&first);
    at_exit(move || {
        reached.wait();
        wait_for_state(pid(), 'S');
        println!("early");
    });
    thread::spawn(|| exit(8));
    first.wait();
}

fn the_first_exit_counts(method: StartMethod) {
    assert_ends(method, "first exit", 8, &["early"]);
}

/// Three threads and whoever runs this race for the end.
fn exits_at_once() {
    say_at(0, "hook");
    let begin = Arc::new(Barrier::new(4));
    for code in 10..13 {
        let begin = Arc::clone(&begin);
        thread::spawn(move || {
            begin.wait();
            exit(code);
        });
    }
    begin.wait();
}

fn of_many_exits_at_once_one_ends_the_process(method: StartMethod) {
    let ways = WAYS.into_iter().filter(|(way, ..)| *way != "panics" || cfg!(panic = "unwind"));
    for (way, child_code, main_code) in ways.cycle().take(WAYS.len() * 4) {
        let outcomes =
            [(child_code, in_child(method, "exits at once", way)), (main_code, in_main(method, "exits at once", way))];
        for (code, outcome) in outcomes {
            assert_eq!(outcome.words, "hook\n", "{way}: {outcome:?}");
            assert!(outcome.code.is_some_and(|ended| [10, 11, 12, code].contains(&ended)), "{way}: {outcome:?}");
        }
    }
}

fn thread_exits() {
    at_exit(start_speaker("child"));
    say_at(-1, "late");
    thread::spawn(|| exit(6));
    common::block();
}

fn a_thread_that_exits_ends_the_process_in_order(method: StartMethod) {
    assert_ends(method, "thread exits", 6, &["child", "late"]);
}

fn hooks_do_not_run_at_an_abrupt_end(method: StartMethod) {
    for way in ["is killed", "aborts", "leaves"] {
        for outcome in [in_child(method, "priorities", way), in_main(method, "priorities", way)] {
            assert_eq!(outcome.words, "", "{way}");
            assert_eq!(outcome.code, (way == "leaves").then_some(5), "{way}");
        }
    }
}

fn family() {
    at_exit(|| println!("{}", current_process().name()));
    let builder = Context::new(own_method()).builder(|| say_at(0, "child's own"), ());
    builder.start().unwrap().join().unwrap();
    start(own_method(), || (), ()).join().unwrap();
}

fn hooks_run_in_the_process_that_registered_them_only(method: StartMethod) {
    assert_eq!(in_main(method, "family", "returns").words, "child's own\nMainProcess\n");
    assert_eq!(in_child(method, "family", "returns").words.lines().count(), 2);
}

fn an_exit_code_is_cut_to_eight_bits(method: StartMethod) {
    for (asked, code) in [(0, 0), (1, 1), (7, 7), (255, 255), (256, 0), (-1, 255)] {
        let child = start(method, |code: i32| -> () { exit(code) }, (asked,));
        assert_eq!(child.wait().unwrap().exitcode(), code, "{asked}");
        match child.join() {
            Err(JoinError::Exited { code: told, .. }) => assert_eq!(told, code),
            other => panic!("{other:?}"),
        }
    }
}

fn a_result_is_a_value_and_no_exit_code(method: StartMethod) {
    let child = start(method, || Err::<(), String>("no".to_owned()), ());
    assert_eq!(child.wait().unwrap().exitcode(), 0);
    assert_eq!(child.join().unwrap(), Err("no".to_owned()));
}

/// Waits until nobody reads its output any more, registers what notices that, and ends.
fn end_unread(from: Descriptor, way: String) {
    hear(&from);
    at_exit_with_priority(-1, || exit(6));
    at_exit(|| println!("a panic, whose message nobody reads either"));
    end_by(&way);
}

/// The second hook ends the process with a code of its own, which shows that the first has harmed nobody.
fn streams_that_nobody_reads_change_no_end(method: StartMethod) {
    for (way, ..) in WAYS.into_iter().filter(|_| cfg!(panic = "unwind")) {
        let (read, write) = pipe();
        let builder = Context::new(method).builder(end_unread, (read, way.to_owned()));
        let child = builder.stdout(Stdio::pipe()).stderr(Stdio::pipe()).start().unwrap();
        drop((child.take_stdout(), child.take_stderr()));
        tell(&write);
        assert_eq!(child.wait().unwrap().exitcode(), 6, "{way}");
        match child.join() {
            Ok(()) => assert_eq!(way, "returns"),
            Err(JoinError::Panicked { message, .. }) => assert_eq!((way, message.as_str()), ("panics", "planted")),
            Err(JoinError::Exited { code: 6, .. }) => assert!(way.starts_with("exits")),
            Err(other) => panic!("{way}: {other}"),
        }
    }
}

fn end_closed(way: String) {
    print!("kept in the buffer");
    (0..3).for_each(close_standard_stream);
    at_exit(|| println!("into nothing"));
    end_by(&way);
}

fn streams_that_the_child_has_closed_change_no_end(method: StartMethod) {
    for (way, code, _) in WAYS {
        let builder = Context::new(method).builder(end_closed, (way.to_owned(),)).stdout(Stdio::null());
        assert_eq!(builder.start().unwrap().wait().unwrap().exitcode(), code, "{way}");
    }
}

extern "C" fn register_late() {
    let hook = at_exit(|| println!("late"));
    println!("{} {} {}", hook.is_active(), hook.cancel(), hook.run_now());
}

/// What libc has been told before us it calls after us.
fn registers_late() {
    procession_sys::at_exit(register_late).unwrap();
    at_exit(|| println!("hook"));
}

fn nothing_is_taken_after_the_end() {
    let output = program("registers_late").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "hook\nfalse false false\n");
}
