//! The life of a child as its parent sees it: what may run, what comes back, waiting, signals, names, settings.

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use common::{
    SIGUSR1, SOON, again, block, file, fresh_methods, hear, line, methods, pipe, rest, start, tell, tell_and_block,
    wait_for,
};
use procession_launch::{
    Child, Context, ExitStatus, JoinError, Process, StartMethod, Stdio, active_children, cpu_count, current_process,
    get_start_method, parent_process, set_start_method,
};
use procession_sys::{Deadline, Interest, interrupt_waits, pid, poll_one, processors, run_on, send_signal};
use procession_testkit::{children_of, open_descriptors, process, program};
use procession_wire::Descriptor;
use serde::{Deserialize, Serialize};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_child_returns_its_targets_value,
        none_to_eight_arguments_reach_the_target,
        functions_methods_generics_and_closures_run,
        a_childs_handle_tells_its_life,
        a_wait_returns_when_the_child_ends_and_not_before,
        a_wait_after_the_end_says_the_same_each_time,
        terminate_kill_and_interrupt_end_a_child,
        signals_to_a_child_that_has_ended_do_nothing,
        the_sentinel_is_readable_after_the_end_only,
        exit_codes_follow_the_convention,
        a_panic_comes_back_with_message_place_and_backtrace,
        a_panic_with_any_payload_is_a_panic,
        a_process_that_exits_has_no_result,
        current_process_describes_the_child,
        parent_process_describes_the_parent,
        a_grandchild_ends_when_its_parent_is_terminated,
        children_are_numbered_below_their_parent,
        nested_children_report_depth_first,
        daemon_is_inherited_unless_it_is_set,
        a_child_starts_its_children_as_its_parent_does,
        a_process_that_was_never_waited_for_is_reaped_by_the_next_start,
        active_children_lists_and_reaps,
        a_clone_is_the_same_child,
        two_threads_may_wait_for_one_child,
        a_child_that_is_waited_for_while_others_signal_it_has_one_status,
        signals_that_this_process_handles_are_invisible,
        environment_is_inherited_and_changed,
        the_directory_is_inherited_or_given,
        streams_can_be_pipes,
        a_join_closes_the_input_that_nobody_has_taken,
        a_dropped_handle_closes_its_pipes,
        streams_can_be_files_or_nothing,
        a_dropped_builder_starts_nothing,
        a_childs_argument_is_closed_here_once_it_has_started,
        a_child_ends_without_waiting_for_its_threads,
        the_main_thread_of_a_child_has_the_childs_number,
        a_status_that_somebody_else_took_is_unknown_and_the_result_is_not,
    ];
    cases for fresh_methods(), [
        many_threads_start_and_join_at_once,
    ];
    cases: [
        a_main_process_describes_itself,
        the_start_methods_have_pythons_names,
        the_default_start_method_can_be_changed_at_any_time,
        a_context_runs_another_copy_of_the_executable,
        numbers_are_taken_when_a_child_is_described,
        cpu_count_respects_the_affinity,
        cpu_count_respects_the_quota_of_the_cgroup,
    ];
    programs: [describe_main];
}

fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn a_child_returns_its_targets_value(method: StartMethod) {
    assert_eq!(start(method, add, (2, 3)).join().unwrap(), 5);
    start(method, || (), ()).join().unwrap();
}

fn none_to_eight_arguments_reach_the_target(method: StartMethod) {
    assert_eq!(start(method, || 0, ()).join().unwrap(), 0);
    assert_eq!(start(method, |a: u8| [a], (1,)).join().unwrap(), [1]);
    assert_eq!(start(method, |a: u8, b: i16| (a, b), (1, -2)).join().unwrap(), (1, -2));
    assert_eq!(
        start(method, |a: char, b: bool, c: String| format!("{a}{b}{c}"), ('a', true, "c".into())).join().unwrap(),
        "atruec"
    );
    assert_eq!(start(method, |a: u8, b: u8, c: u8, d: u8| [a, b, c, d], (1, 2, 3, 4)).join().unwrap(), [1, 2, 3, 4]);
    let five = |a: u8, b: u8, c: u8, d: u8, e: u8| [a, b, c, d, e];
    assert_eq!(start(method, five, (1, 2, 3, 4, 5)).join().unwrap(), [1, 2, 3, 4, 5]);
    let six = |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8| [a, b, c, d, e, f];
    assert_eq!(start(method, six, (1, 2, 3, 4, 5, 6)).join().unwrap(), [1, 2, 3, 4, 5, 6]);
    let seven = |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8| [a, b, c, d, e, f, g];
    assert_eq!(start(method, seven, (1, 2, 3, 4, 5, 6, 7)).join().unwrap(), [1, 2, 3, 4, 5, 6, 7]);
    let eight = |a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8| [a, b, c, d, e, f, g, h];
    assert_eq!(start(method, eight, (1, 2, 3, 4, 5, 6, 7, 8)).join().unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[derive(Serialize, Deserialize)]
struct Account {
    balance: i64,
}

impl Account {
    fn after(self, deposit: i64) -> i64 {
        self.balance + deposit
    }

    fn open(balance: i64) -> Self {
        Self { balance }
    }
}

fn largest<T: Ord>(items: Vec<T>) -> Option<T> {
    items.into_iter().max()
}

/// Two closures in one function are two functions, whatever their types are called.
fn functions_methods_generics_and_closures_run(method: StartMethod) {
    assert_eq!(start(method, Account::after, (Account { balance: 2 }, 3)).join().unwrap(), 5);
    assert_eq!(start(method, Account::open, (7,)).join().unwrap().balance, 7);
    assert_eq!(start(method, largest::<u8>, (vec![3, 9, 4],)).join().unwrap(), Some(9));
    assert_eq!(start(method, largest::<String>, (vec!["b".into(), "c".into()],)).join().unwrap(), Some("c".into()));
    assert_eq!(start(method, <[u8; 4]>::from, ((1, 2, 3, 4),)).join().unwrap(), [1, 2, 3, 4]);
    let (more, less) = (|n: u8| n + 1, |n: u8| n - 1);
    assert_eq!((start(method, more, (1,)).join().unwrap(), start(method, less, (1,)).join().unwrap()), (2, 0));
}

fn exit_with(code: i32) {
    std::process::exit(code);
}

fn abort() {
    std::process::abort();
}

fn panic_with(message: String) {
    panic!("{message}");
}

fn a_childs_handle_tells_its_life(method: StartMethod) {
    let (read, write) = pipe();
    let described = Context::new(method).builder(wait_for, (read,)).name("worker");
    assert!(!active_children().iter().any(|child| child.name() == "worker"), "listed before its start");
    let child = described.start().unwrap();
    assert!(child.is_alive());
    assert_eq!((child.exitcode(), child.name(), child.start_method()), (None, "worker", method));
    assert!(process(child.pid()).is_some() && child.pid() != pid());
    assert!(!child.is_daemon());
    tell(&write);
    assert_eq!(child.wait().unwrap().exitcode(), 0);
    assert!(!child.is_alive());
    assert_eq!(child.exitcode(), Some(0));
    assert!(process(child.pid()).is_none(), "reaped");
}

fn a_wait_returns_when_the_child_ends_and_not_before(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, wait_for, (read,));
    assert_eq!(child.try_wait().unwrap(), None);
    assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), None);
    let asked = Instant::now();
    assert_eq!(child.wait_timeout(Duration::from_millis(20)).unwrap(), None);
    assert!(asked.elapsed() >= Duration::from_millis(20));
    tell(&write);
    assert!(child.wait_timeout(SOON).unwrap().is_some_and(ExitStatus::success));
    child.join().unwrap();
}

fn a_wait_after_the_end_says_the_same_each_time(method: StartMethod) {
    let child = start(method, exit_with, (9,));
    let status = child.wait().unwrap();
    assert_eq!(status.exitcode(), 9);
    assert_eq!(child.wait().unwrap(), status);
    assert_eq!(child.try_wait().unwrap(), Some(status));
    assert_eq!(child.wait_timeout(Duration::ZERO).unwrap(), Some(status));
    assert_eq!(child.exitcode(), Some(9));
}

fn terminate_kill_and_interrupt_end_a_child(method: StartMethod) {
    let ended_by = |end: fn(&Process<()>), number: i32| {
        let (read, write) = pipe();
        let child = start(method, tell_and_block, (write,));
        hear(&read);
        end(&child);
        let status = child.wait().unwrap();
        assert_eq!((status.exitcode(), status.signal(), status.code()), (-number, Some(number), None));
        match child.join() {
            Err(JoinError::Signaled { signal, .. }) => assert_eq!(signal, number),
            other => panic!("{other:?}"),
        }
    };
    ended_by(|child| child.terminate().unwrap(), 15);
    ended_by(|child| child.kill().unwrap(), 9);
    ended_by(|child| child.interrupt().unwrap(), 2);
}

fn signals_to_a_child_that_has_ended_do_nothing(method: StartMethod) {
    let child = start(method, || (), ());
    child.wait().unwrap();
    child.terminate().unwrap();
    child.kill().unwrap();
    child.interrupt().unwrap();
    assert_eq!(child.exitcode(), Some(0));
    child.join().unwrap();
}

fn the_sentinel_is_readable_after_the_end_only(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, wait_for, (read,));
    let ready = |wait| poll_one(child.sentinel(), Interest::Read, Deadline::after(wait)).unwrap();
    assert!(!ready(Duration::ZERO));
    tell(&write);
    assert!(ready(SOON));
    child.wait().unwrap();
    assert!(ready(Duration::ZERO), "also when the status has been taken");
    assert!(poll_one(&child, Interest::Read, Deadline::NOW).unwrap(), "the handle stands for it");
    assert!(poll_one(&*child, Interest::Read, Deadline::NOW).unwrap());
}

fn exit_codes_follow_the_convention(method: StartMethod) {
    for (given, code) in [(0, 0), (1, 1), (7, 7), (255, 255), (256, 0), (259, 3), (-1, 255)] {
        let child = start(method, exit_with, (given,));
        assert_eq!(child.wait().unwrap().exitcode(), code, "exit({given})");
    }
    let panicked = start(method, panic_with, ("planted".to_owned(),));
    assert_eq!(panicked.wait().unwrap().exitcode(), 1);
    let aborted = start(method, abort, ());
    assert_eq!(aborted.wait().unwrap().exitcode(), -6);
}

fn divide(a: u32, b: u32) -> u32 {
    a / b
}

fn a_panic_comes_back_with_message_place_and_backtrace(method: StartMethod) {
    let child = Context::new(method).builder(divide, (1, 0)).name("divider").stderr(Stdio::null()).start().unwrap();
    let number = child.pid();
    let error = child.join().unwrap_err();
    let said = error.to_string();
    let JoinError::Panicked { name, pid, message, location, backtrace, .. } = error else { panic!("{said}") };
    assert_eq!((name.as_str(), pid, message.as_str()), ("divider", number, "attempt to divide by zero"));
    let location = location.expect("a place");
    assert!(location.contains("process.rs:"), "{location}");
    assert_eq!(said, format!("process \"divider\" (pid {number}) panicked at {location}: {message}"));
    let backtrace = backtrace.expect("a backtrace");
    assert!(!backtrace.contains("catch_unwind"), "{backtrace}");
    // Without debug information a release build names no frames.
    if cfg!(debug_assertions) {
        assert!(backtrace.lines().next().is_some_and(|first| first.ends_with("divide")), "{backtrace}");
    }
}

fn panic_with_number() {
    std::panic::panic_any(7);
}

fn resume_unwind() {
    std::panic::resume_unwind(Box::new("resumed"));
}

fn a_panic_with_any_payload_is_a_panic(method: StartMethod) {
    let message = |child: Process<()>| match child.join() {
        Err(JoinError::Panicked { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message(start(method, panic_with, ("two words".to_owned(),))), "two words");
    assert_eq!(message(start(method, panic_with_number, ())), "a payload that is no text");
    assert_eq!(message(start(method, resume_unwind, ())), "resumed");
}

fn a_process_that_exits_has_no_result(method: StartMethod) {
    let child = start(method, || -> u8 { std::process::exit(0) }, ());
    match child.join() {
        Err(JoinError::Exited { code: 0, status, .. }) => assert!(status.success()),
        other => panic!("{other:?}"),
    }
}

fn current_process_describes_the_child(method: StartMethod) {
    let describe = || {
        let me = current_process();
        assert!(me.is_alive() && me.exitcode().is_none());
        (me.name().to_owned(), me.pid(), me.is_daemon(), me.start_method(), pid())
    };
    let child = Context::new(method).builder(describe, ()).name("worker").daemon(true).start().unwrap();
    let number = child.pid();
    let told = child.join().unwrap();
    assert_eq!(told, ("worker".into(), number, true, Some(method), number));
}

fn parent_process_describes_the_parent(method: StartMethod) {
    let describe = || parent_process().map(|parent| (parent.pid(), parent.name().to_owned()));
    assert_eq!(start(method, describe, ()).join().unwrap(), Some((pid(), "MainProcess".into())));
    assert_eq!(parent_process(), None);
    let nested = Context::new(method).builder(
        |method: StartMethod| {
            let parent = || parent_process().map(|parent| (parent.pid(), parent.name().to_owned()));
            (pid(), start(method, parent, ()).join().unwrap())
        },
        (method,),
    );
    let (child, told) = nested.name("middle").start().unwrap().join().unwrap();
    assert_eq!(told, Some((child, "middle".into())));
}

/// Starts a child of its own, tells its number, and blocks.
fn start_one_and_block(method: StartMethod, to: Descriptor) {
    let child = start(method, block, ());
    writeln!(file(to), "{}", child.pid()).unwrap();
    block();
}

fn a_grandchild_ends_when_its_parent_is_terminated(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, start_one_and_block, (method, write));
    let told = line(read);
    let grandchild = process(told.trim().parse().unwrap()).expect("a grandchild that runs");
    let held = common::hold(&[grandchild]);
    child.terminate().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), -15);
    common::assert_all_end(&held);
}

fn children_are_numbered_below_their_parent(method: StartMethod) {
    let names = |method: StartMethod| {
        let own = current_process().name().to_owned();
        let name = || current_process().name().to_owned();
        let first = start(method, name, ()).join().unwrap();
        let unnamed = Context::new(method).builder(name, ()).name("").start().unwrap();
        (own, first, unnamed.join().unwrap())
    };
    let child = start(method, names, (method,));
    let own = child.name().to_owned();
    assert!(own.starts_with("Process-") && !own.contains(':'), "{own}");
    assert_eq!(child.join().unwrap(), (own.clone(), format!("{own}:1"), format!("{own}:2")));
}

/// Python's test: with a join after each start the messages arrive depth first.
fn recurse(method: StartMethod, path: Vec<u8>, to: Descriptor) {
    writeln!(File::from(again(&to)), "{path:?}").unwrap();
    if path.len() < 2 {
        for number in 0..2 {
            let deeper = [&path[..], &[number]].concat();
            start(method, recurse, (method, deeper, to.clone())).join().unwrap();
        }
    }
}

fn nested_children_report_depth_first(method: StartMethod) {
    let (read, write) = pipe();
    recurse(method, Vec::new(), write);
    assert_eq!(rest(read), "[]\n[0]\n[0, 0]\n[0, 1]\n[1]\n[1, 0]\n[1, 1]\n");
}

fn daemon_is_inherited_unless_it_is_set(method: StartMethod) {
    assert!(!current_process().is_daemon());
    let told = |method: StartMethod| {
        let is_daemon = || current_process().is_daemon();
        let context = Context::new(method);
        let inherited = context.start(is_daemon, ()).unwrap().join().unwrap();
        let set = context.builder(is_daemon, ()).daemon(false).start().unwrap().join().unwrap();
        (inherited, set)
    };
    let context = Context::new(method);
    let daemon = context.builder(told, (method,)).daemon(true).start().unwrap();
    assert!(daemon.is_daemon());
    assert_eq!(daemon.join().unwrap(), (true, false));
    assert_eq!(context.start(told, (method,)).unwrap().join().unwrap(), (false, false));
}

fn a_child_starts_its_children_as_its_parent_does(method: StartMethod) {
    for default in StartMethod::ALL {
        set_start_method(default).unwrap();
        let told = || Process::start(|| current_process().start_method(), ()).unwrap().join().unwrap();
        assert_eq!(start(method, told, ()).join().unwrap(), Some(default));
    }
}

fn a_process_that_was_never_waited_for_is_reaped_by_the_next_start(method: StartMethod) {
    let before = open_descriptors().len();
    let (read, write) = pipe();
    let dropped = start(method, tell_and_block, (write,));
    hear(&read);
    let number = dropped.pid();
    drop(dropped);
    send_signal(number, 9).unwrap();
    // The pipe closes when the child is dead or about to be; a zombie it is for as long as nobody looks.
    rest(read);
    let started = Instant::now();
    while process(number).is_some() || open_descriptors().len() > before {
        assert!(started.elapsed() < SOON, "{number} was not reaped, or what it was held by is open");
        start(method, || (), ()).join().unwrap();
    }
}

fn active_children_lists_and_reaps(method: StartMethod) {
    let (read, write) = pipe();
    let children = [start(method, wait_for, (read.clone(),)), start(method, wait_for, (read,))];
    let listed = || {
        let mut listed: Vec<u32> = active_children().iter().map(Child::pid).collect();
        listed.sort_unstable();
        listed
    };
    let mut wanted = [children[0].pid(), children[1].pid()];
    wanted.sort_unstable();
    assert_eq!(listed(), wanted);
    children.iter().for_each(|_| tell(&write));
    let started = Instant::now();
    while !listed().is_empty() {
        assert!(started.elapsed() < SOON);
    }
    for number in wanted {
        assert_eq!(process(number), None, "it was listed as ended and is not reaped");
    }
}

fn a_clone_is_the_same_child(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, wait_for, (read,));
    let clone = Child::clone(&child);
    assert_eq!((clone.pid(), clone.name()), (child.pid(), child.name()));
    tell(&write);
    assert_eq!(clone.wait().unwrap(), child.wait().unwrap());
    child.join().unwrap();
    assert!(!clone.is_alive());
}

fn two_threads_may_wait_for_one_child(method: StartMethod) {
    for round in 0..20 {
        let (read, write) = pipe();
        let child = start(
            method,
            |from: Descriptor| {
                wait_for(from);
                42
            },
            (read,),
        );
        let statuses = thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| child.wait().unwrap())).collect();
            tell(&write);
            waiters.into_iter().map(|waiter| waiter.join().unwrap().exitcode()).collect::<Vec<_>>()
        });
        assert_eq!(statuses, [0; 4], "round {round}");
        assert_eq!(child.join().unwrap(), 42);
    }
}

fn many_threads_start_and_join_at_once(method: StartMethod) {
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            scope.spawn(move || {
                for number in 0..10 {
                    assert_eq!(start(method, add, (thread, number)).join().unwrap(), thread + number);
                }
            });
        }
    });
}

fn a_child_that_is_waited_for_while_others_signal_it_has_one_status(method: StartMethod) {
    for _ in 0..10 {
        let child = start(method, block, ());
        thread::scope(|scope| {
            scope.spawn(|| child.terminate().unwrap());
            scope.spawn(|| child.kill().unwrap());
            let status = child.wait().unwrap();
            assert!([-15, -9].contains(&status.exitcode()), "{status}");
            assert_eq!(child.wait().unwrap(), status);
        });
    }
}

/// Sends signals to the parent, most of them while it sleeps, until told to end.
fn pester(parent: u32, until: Descriptor) {
    let ended = || poll_one(&until, Interest::Read, Deadline::NOW).unwrap();
    while !ended() {
        if process(parent).is_none_or(|parent| parent.state == 'S') {
            send_signal(parent, SIGUSR1).unwrap();
        }
    }
}

fn signals_that_this_process_handles_are_invisible(method: StartMethod) {
    interrupt_waits(SIGUSR1).unwrap();
    let (read, write) = pipe();
    let pest = start(StartMethod::Spawn, pester, (pid(), read));
    for number in 0..20 {
        let child = start(method, add, (number, 1));
        assert!(child.wait_timeout(SOON).unwrap().is_some());
        assert_eq!(child.join().unwrap(), number + 1);
        let large = start(method, |text: String| text, ("x".repeat(100_000),));
        assert_eq!(large.join().unwrap().len(), 100_000);
    }
    let (go_read, go_write) = pipe();
    let child = start(method, wait_for, (go_read,));
    tell(&go_write);
    child.wait().unwrap();
    tell(&write);
    pest.join().unwrap();
}

fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

fn environment_is_inherited_and_changed(method: StartMethod) {
    let context = Context::new(method);
    let own = std::env::var("PATH").unwrap();
    let of = |name: &str| context.builder(variable, (name.to_owned(),));
    assert_eq!(of("PATH").start().unwrap().join().unwrap(), Some(own));
    assert_eq!(of("PATH").env_remove("PATH").start().unwrap().join().unwrap(), None);
    assert_eq!(of("PATH").env("PATH", "/here").start().unwrap().join().unwrap(), Some("/here".into()));
    assert_eq!(of("GREETING").env("GREETING", "hello").start().unwrap().join().unwrap(), Some("hello".into()));
    let count = || std::env::vars_os().count();
    let cleared = context.builder(count, ()).env("A", "1").env_clear().env("B", "2").env("C", "3");
    assert_eq!(cleared.start().unwrap().join().unwrap(), 2);
}

fn directory() -> PathBuf {
    std::env::current_dir().unwrap()
}

fn the_directory_is_inherited_or_given(method: StartMethod) {
    let context = Context::new(method);
    let given = context.builder(directory, ()).current_dir("/proc").start().unwrap();
    assert_eq!(given.join().unwrap(), PathBuf::from("/proc"));
    std::env::set_current_dir("/sys").unwrap();
    assert_eq!(context.start(directory, ()).unwrap().join().unwrap(), PathBuf::from("/sys"));
}

/// Writes its input in capitals to its output, and the length to its errors.
fn shout() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("{}", text.to_uppercase());
    eprint!("{}", text.len());
}

fn read_all() -> usize {
    std::io::read_to_string(std::io::stdin()).unwrap().len()
}

fn a_join_closes_the_input_that_nobody_has_taken(method: StartMethod) {
    let child = Context::new(method).builder(read_all, ()).stdin(Stdio::pipe()).start().unwrap();
    assert_eq!(child.join().unwrap(), 0);
}

fn a_dropped_handle_closes_its_pipes(method: StartMethod) {
    let (read, write) = pipe();
    let read_and_tell = |to: Descriptor| {
        read_all();
        tell(&to);
    };
    let child = Context::new(method).builder(read_and_tell, (write,)).stdin(Stdio::pipe()).start().unwrap();
    let clone = Child::clone(&child);
    drop(child);
    assert!(clone.is_alive(), "another handle keeps them");
    drop(clone);
    hear(&read);
    while !active_children().is_empty() {
        thread::yield_now();
    }
}

fn streams_can_be_pipes(method: StartMethod) {
    let shouting = Context::new(method).builder(shout, ());
    let child = shouting.stdin(Stdio::pipe()).stdout(Stdio::pipe()).stderr(Stdio::pipe()).start().unwrap();
    child.take_stdin().unwrap().write_all(b"hello").unwrap();
    let (mut said, mut counted) = (String::new(), String::new());
    child.take_stdout().unwrap().read_to_string(&mut said).unwrap();
    child.take_stderr().unwrap().read_to_string(&mut counted).unwrap();
    assert_eq!((said.as_str(), counted.as_str()), ("HELLO", "5"));
    assert!(child.take_stdin().is_none() && child.take_stdout().is_none() && child.take_stderr().is_none());
    child.join().unwrap();
}

fn streams_can_be_files_or_nothing(method: StartMethod) {
    let (read, write) = pipe();
    let shouting = Context::new(method).builder(shout, ());
    let file = File::open("/proc/self/comm").unwrap();
    let child = shouting.stdin(Stdio::file(file)).stdout(Stdio::file(common::file(write))).stderr(Stdio::null());
    child.start().unwrap().join().unwrap();
    // The file shows the name of whoever opened it, which is this process.
    let own = fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(rest(read), own.to_uppercase());
}

fn a_dropped_builder_starts_nothing(method: StartMethod) {
    let before = children_of(pid()).len();
    drop(Context::new(method).builder(block, ()).name("never"));
    assert_eq!(children_of(pid()).len(), before);
}

fn a_childs_argument_is_closed_here_once_it_has_started(method: StartMethod) {
    let (read, write) = pipe();
    let (child_read, child_write) = pipe();
    let child = start(
        method,
        |to: Descriptor, from: Descriptor| {
            drop(to);
            wait_for(from);
        },
        (write, child_read),
    );
    // The end comes although the child runs: the write end was its argument, and it has dropped it.
    assert_eq!(rest(read), "");
    assert!(child.is_alive());
    tell(&child_write);
    child.join().unwrap();
}

fn a_child_ends_without_waiting_for_its_threads(method: StartMethod) {
    let child = start(
        method,
        || {
            thread::spawn(block);
            5
        },
        (),
    );
    assert_eq!(child.join().unwrap(), 5);
}

fn the_main_thread_of_a_child_has_the_childs_number(method: StartMethod) {
    let told = || (pid(), fs::read_link("/proc/thread-self").unwrap());
    let (number, link) = start(method, told, ()).join().unwrap();
    assert_eq!(link, PathBuf::from(format!("{number}/task/{number}")));
}

fn a_status_that_somebody_else_took_is_unknown_and_the_result_is_not(method: StartMethod) {
    // With SIGCHLD ignored the kernel reaps this process's children and throws their statuses away.
    procession_sys::set_disposition(procession_sys::Signal::CHLD, procession_sys::Disposition::Ignore);
    let child = start(method, add, (2, 3));
    let status = child.wait().unwrap();
    // A forkserver's children are not this process's, so nothing is lost.
    let known = method == StartMethod::ForkServer;
    assert_eq!((status.is_known(), status.exitcode()), (known, if known { 0 } else { 255 }));
    assert_eq!(child.join().unwrap(), 5);
}

fn describe_main() {
    let me = current_process();
    assert!(me.is_alive() && me.exitcode().is_none() && me.start_method().is_none() && parent_process().is_none());
    let described = Process::builder(|| (), ());
    let child = Process::start(|| current_process().name().to_owned(), ()).unwrap();
    drop(described);
    println!("{} {} {} {}", me.name(), me.pid(), me.is_daemon(), child.join().unwrap());
}

fn a_main_process_describes_itself() {
    let main = program("describe_main").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let number = main.id();
    let output = main.wait_with_output().unwrap();
    assert!(output.status.success());
    // The second child's number, although the first was never started: as in Python it is taken when described.
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("MainProcess {number} false Process-2\n"));
}

fn numbers_are_taken_when_a_child_is_described() {
    let number = |name: &str| name.strip_prefix("Process-").unwrap().parse::<u32>().unwrap();
    let first = Process::builder(|| current_process().name().to_owned(), ());
    let second = Process::start(|| current_process().name().to_owned(), ()).unwrap().join().unwrap();
    let first = first.start().unwrap().join().unwrap();
    assert_eq!(number(&first) + 1, number(&second));
}

fn the_start_methods_have_pythons_names() {
    assert_eq!(StartMethod::ALL.map(StartMethod::name), ["forkserver", "spawn", "fork"]);
    assert_eq!(StartMethod::ALL.map(|method| method.to_string()), ["forkserver", "spawn", "fork"]);
    assert_eq!(Context::spawn().start_method(), StartMethod::Spawn);
    assert_eq!(Context::forkserver().start_method(), StartMethod::ForkServer);
}

fn the_default_start_method_can_be_changed_at_any_time() {
    assert_eq!(get_start_method(), StartMethod::ForkServer);
    for method in [StartMethod::Spawn, StartMethod::ForkServer, StartMethod::Spawn] {
        set_start_method(method).unwrap();
        assert_eq!((get_start_method(), Context::default().start_method()), (method, method));
        let child = Process::start(|| current_process().start_method(), ()).unwrap();
        assert_eq!((child.start_method(), child.join().unwrap()), (method, Some(method)));
    }
}

fn a_context_runs_another_copy_of_the_executable() {
    let copy = std::env::temp_dir().join(procession_testkit::unique_name());
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let own = || std::env::current_exe().unwrap();
    // Taken as any kind of path.
    let by_path = Context::spawn().executable(&copy).start(own, ());
    let by_text = Context::spawn().executable(copy.to_str().unwrap()).start(own, ());
    let ran = [by_path.unwrap().join().unwrap(), by_text.unwrap().join().unwrap()];
    fs::remove_file(&copy).unwrap();
    assert_eq!(ran, [copy.clone(), copy]);
}

fn cpu_count_respects_the_affinity() {
    let allowed = processors().unwrap();
    let count = cpu_count();
    assert!((1..=allowed.len()).contains(&count), "{count} of {}", allowed.len());
    run_on(&allowed[..1]).unwrap();
    assert_eq!(cpu_count(), 1);
    assert_eq!(Process::start(cpu_count, ()).unwrap().join().unwrap(), 1);
    assert_eq!(start(StartMethod::Spawn, cpu_count, ()).join().unwrap(), 1);
}

/// A cgroup of one processor's time for this process, where it may make one: in either version's place.
fn enter_small_cgroup() -> Option<PathBuf> {
    let places = [("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", "100000"), ("/sys/fs/cgroup", "cpu.max", "100000 100000")];
    places.into_iter().find_map(|(place, file, quota)| {
        let group = PathBuf::from(place).join(procession_testkit::unique_name());
        fs::create_dir(&group).ok()?;
        let entered = fs::write(group.join(file), quota).and_then(|()| fs::write(group.join("cgroup.procs"), "0"));
        if entered.is_err() {
            let _ = fs::remove_dir(&group);
        }
        entered.ok().map(|()| group)
    })
}

/// Only where this process is root's and the machine has cgroups that it may change; elsewhere there is no quota.
fn cpu_count_respects_the_quota_of_the_cgroup() {
    let Some(group) = enter_small_cgroup() else { return };
    let counts = [cpu_count(), start(StartMethod::Spawn, cpu_count, ()).join().unwrap()];
    fs::write(group.parent().unwrap().join("cgroup.procs"), "0").unwrap();
    fs::remove_dir(&group).unwrap();
    assert_eq!(counts, [1, 1]);
}
