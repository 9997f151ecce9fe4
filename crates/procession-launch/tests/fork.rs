//! The start method fork: copies of this process, what they share with it, and what stays its own.
//!
//! # Safety
//! One case forks beside a thread, which sleeps in a channel that the copy does not touch.

mod common;

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio as ProgramStdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use common::{again, block, hear, pipe, rest, tell, wait_for};
use procession_launch::{
    Child, Context, JoinError, StartError, StartMethod, Stdio, active_children, current_process, register_after_fork,
};
use procession_sys::{
    Deadline, Origin, Scarcity, Signal, at_exit, close_standard_stream, interrupt_waits, is_single_threaded, limit,
    pid, send_signal,
};
use procession_testkit::{children_of, open_descriptors, process, program};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        a_closure_may_capture_what_cannot_be_sent,
        a_closure_may_borrow,
        what_is_captured_is_dropped_on_both_sides,
        a_destructor_that_panics_loses_no_child,
        a_closure_that_captures_is_described_like_any_target,
        a_closure_that_captures_can_only_be_forked,
        a_panic_of_a_closure_is_reported_with_its_own_frames,
        a_result_that_cannot_be_encoded_is_an_error,
        a_process_with_threads_is_refused_and_nothing_is_started,
        a_thread_that_was_joined_is_none within 60,
        a_thread_that_ends_is_waited_for_when_the_time_is_up within 60,
        a_caller_may_vouch_for_its_threads,
        memory_is_copied,
        a_copy_is_not_where_its_parents_things_were_made,
        descriptors_are_inherited,
        handles_know_that_they_are_not_the_copys,
        a_copy_does_not_keep_its_siblings_streams_open,
        a_copy_that_ends_leaves_its_siblings_alone,
        a_copy_has_a_server_of_its_own,
        what_was_printed_before_a_fork_is_printed_once,
        exit_handlers_of_the_parent_are_not_run_by_a_copy,
        a_process_that_holds_its_standard_streams_can_be_forked,
        pipes_do_not_take_the_place_of_streams_that_are_closed,
        a_copy_has_a_tail_and_a_forwarded_log_whose_thread_forbids_forks_until_it_has_ended,
        a_copy_starts_at_its_parents_level,
        hooks_run_in_copies_in_their_order_and_once,
        a_hook_that_panics_keeps_no_other_from_running,
        a_copy_that_is_killed_before_it_begins_is_a_status,
        a_nursery_starts_children_from_a_process_with_threads,
        children_of_a_nursery_are_copies_of_what_the_process_was,
        children_of_a_nursery_have_the_surroundings_of_their_start,
        children_of_a_nursery_have_the_signal_handlers_of_the_process,
        children_of_a_nursery_have_nothing_of_its_and_their_siblings_sockets,
        children_of_a_nursery_end_as_copies_do,
        a_killed_nursery_is_an_error_and_its_children_go_on,
        a_nursery_without_descriptors_is_an_error_and_leaves_nothing within 60,
        a_nursery_takes_arguments_that_fit_its_owners_raised_limit,
        a_nursery_ends_after_its_context_and_its_children,
        a_nursery_ends_with_its_process,
        a_context_of_a_nursery_starts_by_no_other_method,
        a_nursery_is_not_its_copys,
        a_copy_that_somebody_else_forked_keeps_no_children_alive,
        a_thousand_forks_leave_no_zombie_and_no_descriptor within 120,
    ];
    programs: [prints, has_exit_handler, holds_its_streams, has_tail, has_nursery, forks_by_itself];
}

fn forking() -> Context {
    Context::new(StartMethod::Fork)
}

fn a_closure_may_capture_what_cannot_be_sent() {
    let list = Rc::new(vec![1, 2]);
    let function: fn(u8) -> u8 = |n| n + 1;
    let child = forking().fork(move || list.iter().map(|&n| function(n)).collect::<Vec<u8>>()).unwrap();
    assert_eq!((child.start_method(), child.join().unwrap()), (StartMethod::Fork, vec![2, 3]));
}

fn a_closure_may_borrow() {
    let text = String::from("a text");
    let child = forking().fork(|| text.len()).unwrap();
    assert_eq!(child.join().unwrap(), text.len());
}

/// Says which process dropped it.
struct Tells(Descriptor);

impl Drop for Tells {
    fn drop(&mut self) {
        writeln!(File::from(again(&self.0)), "{}", pid()).unwrap();
    }
}

fn what_is_captured_is_dropped_on_both_sides() {
    let (read, write) = pipe();
    let tells = Tells(write.clone());
    let child = forking()
        .fork(move || {
            let _captured = tells;
            pid()
        })
        .unwrap();
    drop(write);
    let mut dropped = [pid(), child.join().unwrap()].map(|number| number.to_string());
    let said = rest(read);
    let mut said: Vec<&str> = said.lines().collect();
    dropped.sort();
    said.sort_unstable();
    assert_eq!(said, dropped, "in either order");
}

/// Panics when it is dropped in this process.
struct PanicsIn(u32);

impl Drop for PanicsIn {
    fn drop(&mut self) {
        assert_ne!(pid(), self.0, "on purpose");
    }
}

fn a_destructor_that_panics_loses_no_child() {
    let captured = PanicsIn(pid());
    let (read, write) = pipe();
    let target = move || {
        hear(&read);
        drop(captured);
    };
    catch_unwind(AssertUnwindSafe(|| forking().fork(target).map(|_| ()))).unwrap_err();
    let [child] = <[Child; 1]>::try_from(active_children()).unwrap();
    tell(&write);
    assert_eq!(child.wait().unwrap().exitcode(), 0, "it has run, and is reaped");
}

fn a_closure_that_captures_is_described_like_any_target() {
    let own = 5;
    let told = move || {
        println!("said {own}");
        let me = current_process();
        (me.name().to_owned(), me.is_daemon(), std::env::var("GREETING").ok(), std::env::current_dir().unwrap())
    };
    let builder = forking().fork_builder(told).name("copy").daemon(true).env("GREETING", "hello").current_dir("/");
    let child = builder.stdout(Stdio::pipe()).start().unwrap();
    let mut said = String::new();
    child.take_stdout().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "said 5\n");
    assert_eq!(child.join().unwrap(), ("copy".into(), true, Some("hello".into()), "/".into()));
    assert!(std::env::var_os("GREETING").is_none());
}

fn a_closure_that_captures_can_only_be_forked() {
    let own = 5;
    let builder = Context::default().fork_builder(move || own).start_method(StartMethod::Spawn);
    let error = builder.start().unwrap_err();
    assert!(matches!(error, StartError::Method { method: StartMethod::Spawn, .. }), "{error}");
}

fn a_panic_of_a_closure_is_reported_with_its_own_frames() {
    let own = 5;
    let fails = move || assert_eq!(own, 6, "they differ");
    let child = forking().fork_builder(fails).stderr(Stdio::null()).start().unwrap();
    let Err(JoinError::Panicked { message, location, backtrace, .. }) = child.join() else { panic!("no panic") };
    assert!(message.contains("they differ"), "{message}");
    assert!(location.unwrap().contains("fork.rs"));
    let backtrace = backtrace.unwrap();
    assert!(backtrace.contains("a_panic_of_a_closure") && !backtrace.contains("procession_launch::"), "{backtrace}");
}

fn a_result_that_cannot_be_encoded_is_an_error() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Half {
        #[serde(skip_serializing_if = "Option::is_none")]
        left: Option<u8>,
    }
    let left = None;
    let child = forking().fork(move || Half { left }).unwrap();
    assert!(matches!(child.join(), Err(JoinError::Unencodable { .. })));
}

fn a_process_with_threads_is_refused_and_nothing_is_started() {
    let (go, wait) = mpsc::channel::<()>();
    let other = thread::spawn(move || wait.recv());
    let (closure, function) = (forking().fork(|| ()), forking().start(|| (), ()));
    for error in [closure.unwrap_err(), function.unwrap_err()] {
        assert!(matches!(error, StartError::Threads { .. }), "{error}");
        assert!(error.to_string().contains("forkserver"), "{error}");
    }
    assert!(active_children().is_empty());
    drop(go);
    let _ = other.join().unwrap();
    forking().fork(|| ()).unwrap().join().unwrap();
}

fn a_thread_that_was_joined_is_none() {
    for number in 0..500 {
        thread::spawn(|| ()).join().unwrap();
        assert_eq!(forking().fork(move || number).unwrap().join().unwrap(), number);
    }
}

/// What is over before the first look, and is not "now", which waits for nobody.
const MOMENT: Duration = Duration::from_nanos(1);

fn a_thread_that_ends_is_waited_for_when_the_time_is_up() {
    for _ in 0..500 {
        // Many at once are in each other's way at their end.
        let ending: Vec<_> = (0..16).map(|_| thread::spawn(|| ())).collect();
        ending.into_iter().for_each(|ending| ending.join().unwrap());
        assert!(is_single_threaded(Deadline::after(MOMENT)).unwrap());
    }
    let (go, wait) = mpsc::channel::<()>();
    let other = thread::spawn(move || wait.recv());
    assert!(!is_single_threaded(Deadline::after(MOMENT)).unwrap(), "one that runs is not waited for");
    assert!(!is_single_threaded(Deadline::NOW).unwrap());
    drop(go);
    let _ = other.join().unwrap();
}

#[expect(unsafe_code, reason = "the case is about the unsafe way")]
fn a_caller_may_vouch_for_its_threads() {
    let (go, wait) = mpsc::channel::<()>();
    let other = thread::spawn(move || wait.recv());
    // SAFETY: the other thread sleeps in `recv`, in no call of this crate, and the copy does not touch its channel.
    let child = unsafe { forking().fork_unchecked(|| process(pid()).map(|me| me.pid)) }.unwrap();
    assert_eq!(Some(child.pid()), child.join().unwrap());
    drop(go);
    let _ = other.join().unwrap();
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

fn a_copy_is_not_where_its_parents_things_were_made() {
    let origin = Origin::here();
    let copy = Context::new(StartMethod::Fork).fork(move || (origin.is_here(), Origin::here().is_here())).unwrap();
    assert_eq!(copy.join().unwrap(), (false, true));
    assert!(origin.is_here() && origin.pid() == pid());
}

fn memory_is_copied() {
    COUNTER.store(7, Ordering::Relaxed);
    let child = forking().start(|| COUNTER.fetch_add(1, Ordering::Relaxed), ()).unwrap();
    assert_eq!((child.join().unwrap(), COUNTER.load(Ordering::Relaxed)), (7, 7));
}

fn descriptors_are_inherited() {
    let (read, write) = pipe();
    forking().fork(|| tell(&write)).unwrap().join().unwrap();
    hear(&read);
}

fn handles_know_that_they_are_not_the_copys() {
    let (read, write) = pipe();
    let sibling = Context::spawn().start(wait_for, (read,)).unwrap();
    let ended = Context::spawn().start(|| (), ()).unwrap();
    ended.wait().unwrap();
    let copy = forking()
        .fork(|| {
            let (words, own) = (|error: procession_launch::ControlError| error.to_string(), Child::clone(&sibling));
            let refused = [
                own.terminate().map_err(words),
                own.kill().map_err(words),
                own.interrupt().map_err(words),
                own.wait().map(|_| ()).map_err(words),
                own.try_wait().map(|_| ()).map_err(words),
            ];
            let listed = active_children().len();
            (refused, own.is_alive(), own.exitcode(), listed, ended.exitcode())
        })
        .unwrap();
    let (refused, is_alive, exitcode, listed, known) = copy.join().unwrap();
    for outcome in refused {
        let said = outcome.unwrap_err();
        assert!(said.contains(&format!("a child of process {}", pid())), "{said}");
    }
    assert_eq!((is_alive, exitcode, listed, known), (true, None, 0, Some(0)));
    tell(&write);
    assert_eq!(sibling.wait().unwrap().exitcode(), 0, "nobody has signaled it");
    sibling.join().unwrap();
}

fn a_copy_does_not_keep_its_siblings_streams_open() {
    let read_all = || std::io::read_to_string(std::io::stdin()).unwrap();
    let reader = Context::spawn().builder(read_all, ()).stdin(Stdio::pipe()).start().unwrap();
    let (read, write) = pipe();
    let copy = forking().start(wait_for, (read,)).unwrap();
    write!(reader.take_stdin().unwrap(), "all").unwrap();
    assert_eq!(reader.join().unwrap(), "all", "its input has ended, though the copy runs");
    tell(&write);
    copy.join().unwrap();
}

fn a_copy_that_ends_leaves_its_siblings_alone() {
    let (read, write) = pipe();
    let daemon = Context::spawn().builder(wait_for, (read,)).daemon(true).start().unwrap();
    forking().fork(|| ()).unwrap().join().unwrap();
    assert_eq!(forking().fork(|| -> () { std::process::exit(3) }).unwrap().wait().unwrap().exitcode(), 3);
    assert!(daemon.is_alive(), "a daemon is its parent's to terminate");
    tell(&write);
    daemon.join().unwrap();
}

fn a_copy_has_a_server_of_its_own() {
    let parents = |_: ()| Context::forkserver().start(procession_sys::parent_pid, ()).unwrap().join().unwrap();
    let own = parents(());
    let copys = forking().fork(|| parents(())).unwrap().join().unwrap();
    assert_ne!(own, copys);
    assert_eq!(parents(()), own, "and has left this one's alone");
}

/// Prints without an end of line, so that it is held back, and forks.
fn prints() {
    print!("once ");
    forking().fork(|| print!("copy ")).unwrap().join().unwrap();
    forking().fork(|| -> () { std::process::exit(0) }).unwrap().wait().unwrap();
    println!("end");
}

fn what_was_printed_before_a_fork_is_printed_once() {
    let output = program("prints").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "once copy end\n");
}

extern "C" fn say_who_ends() {
    println!("handler of {}", current_process().name());
}

/// Registers an exit handler, then forks children that end in each orderly way.
fn has_exit_handler() {
    at_exit(say_who_ends).unwrap();
    forking().fork(|| ()).unwrap().join().unwrap();
    assert_eq!(forking().fork(|| -> () { std::process::exit(5) }).unwrap().wait().unwrap().exitcode(), 5);
    let own = forking().fork_builder(|| -> () {
        at_exit(say_who_ends).unwrap();
        std::process::exit(0)
    });
    own.name("own").start().unwrap().wait().unwrap();
    println!("end");
}

fn exit_handlers_of_the_parent_are_not_run_by_a_copy() {
    let output = program("has_exit_handler").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "handler of own\nend\nhandler of MainProcess\n");
}

/// Forks while it holds its standard streams, in the copies as well: their locks cannot be taken there.
fn holds_its_streams() {
    let (mut input, _error) = (std::io::stdin().lock(), std::io::stderr().lock());
    let mut first = String::new();
    input.read_line(&mut first).unwrap();
    let child = forking().fork(|| first.trim().len()).unwrap();
    println!("{}", child.join().unwrap());
}

fn a_process_that_holds_its_standard_streams_can_be_forked() {
    let mut run = program("holds_its_streams");
    let mut run = run.stdin(ProgramStdio::piped()).stdout(ProgramStdio::piped()).spawn().unwrap();
    run.stdin.take().unwrap().write_all(b"three\n").unwrap();
    let output = run.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "5\n");
}

/// What it reads on standard input; says what it is on the others.
fn tell_streams() -> String {
    println!("output");
    eprintln!("error");
    std::io::read_to_string(std::io::stdin()).unwrap()
}

fn pipes_do_not_take_the_place_of_streams_that_are_closed() {
    let report = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    (0..3).for_each(close_standard_stream);
    let contexts = common::methods().into_iter().map(|(_, method)| Context::new(method));
    let outcomes = contexts.chain([Context::nursery().unwrap()]).map(|context| {
        let child = context.builder(tell_streams, ()).stdin(Stdio::pipe()).stderr(Stdio::pipe()).start().unwrap();
        child.take_stdin().unwrap().write_all(b"input").unwrap();
        let said = std::io::read_to_string(child.take_stderr().unwrap()).unwrap();
        (said, child.join().unwrap())
    });
    let outcomes: Vec<_> = outcomes.collect();
    writeln!(File::from(report), "{outcomes:?}").unwrap(); // Where a failure can be seen.
    assert!(outcomes.iter().all(|outcome| *outcome == ("error\n".to_owned(), "input".to_owned())));
}

/// Has a copy whose output and log come here, and tries to have another.
fn has_tail() {
    let aborts = || -> () {
        tracing::info!("logged");
        eprintln!("last words");
        std::process::abort();
    };
    let copy = |aborts| forking().fork_builder(aborts).stderr(Stdio::tail()).forward_logs().start().unwrap();
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stdout).with_ansi(false).without_time().finish();
    let _default = tracing::subscriber::set_default(subscriber);
    // One after the other, with a thread each.
    for _ in 0..3 {
        let error = copy(aborts).join().unwrap_err().to_string();
        println!("{}", error.ends_with("last words"));
    }
    let (held, door) = procession_sys::pipe().unwrap();
    let waits = move || _ = File::from(held).read(&mut [0]);
    let lives = forking().fork_builder(waits).stderr(Stdio::tail()).start().unwrap();
    println!("{}", forking().fork(|| ()).unwrap_err());
    File::from(door).write_all(b"g").unwrap();
    lives.join().unwrap();
}

fn a_copy_has_a_tail_and_a_forwarded_log_whose_thread_forbids_forks_until_it_has_ended() {
    let output = program("has_tail").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = said.lines().collect();
    for two in lines[..6].chunks(2) {
        assert!(two[0].contains("logged") && two[0].contains("process.pid"), "{said}");
        assert_eq!(two[1], "true", "{said}");
    }
    assert!(lines[6].contains("more than one thread"), "{said}");
}

fn a_copy_starts_at_its_parents_level() {
    let level = tracing::level_filters::LevelFilter::DEBUG;
    let subscriber = tracing_subscriber::fmt().with_max_level(level).finish();
    let _default = tracing::subscriber::set_default(subscriber);
    let told = || procession_launch::log_level().to_string();
    assert_eq!(forking().start(told, ()).unwrap().join().unwrap(), level.to_string());
}

static RAN: Mutex<Vec<&str>> = Mutex::new(Vec::new());

fn first_hook() {
    RAN.lock().unwrap().push("first");
}

fn second_hook() {
    RAN.lock().unwrap().push("second");
}

fn hooks_run_in_copies_in_their_order_and_once() {
    for hook in [first_hook, second_hook, first_hook] {
        register_after_fork(hook);
    }
    let ran = || RAN.lock().unwrap().join(" ");
    assert_eq!(forking().fork(ran).unwrap().join().unwrap(), "first second");
    let grandchild = || forking().fork(ran).unwrap().join().unwrap();
    assert_eq!(forking().fork(grandchild).unwrap().join().unwrap(), "first second first second", "once a generation");
    assert_eq!((ran().as_str(), Context::spawn().start(ran, ()).unwrap().join().unwrap().as_str()), ("", ""));
    let nursery = Context::nursery().unwrap();
    assert_eq!(nursery.start(ran, ()).unwrap().join().unwrap(), "first second");
}

fn a_hook_that_panics_keeps_no_other_from_running() {
    register_after_fork(|| panic!("on purpose"));
    register_after_fork(second_hook);
    let ran = || RAN.lock().unwrap().join(" ");
    assert_eq!(forking().fork_builder(ran).stderr(Stdio::null()).start().unwrap().join().unwrap(), "second");
}

fn a_copy_that_is_killed_before_it_begins_is_a_status() {
    for _ in 0..50 {
        let child = forking().fork(block).unwrap();
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().exitcode(), -9);
    }
}

static STATE: OnceLock<&str> = OnceLock::new();

fn a_nursery_starts_children_from_a_process_with_threads() {
    let nursery = Context::nursery().unwrap();
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let nursery = &nursery;
            scope.spawn(move || {
                let child = nursery.start(|n: u64| n * 2, (number,)).unwrap();
                assert_eq!((child.start_method(), child.join().unwrap()), (StartMethod::Fork, number * 2));
            });
        }
    });
}

fn children_of_a_nursery_are_copies_of_what_the_process_was() {
    STATE.set("then").unwrap();
    COUNTER.store(1, Ordering::Relaxed);
    let (read, write) = pipe();
    let number = std::os::fd::AsRawFd::as_raw_fd(&AsFd::as_fd(&write)).unsigned_abs();
    let nursery = Context::nursery().unwrap();
    COUNTER.store(2, Ordering::Relaxed);
    let told = |number: u32| {
        let has = open_descriptors().iter().any(|descriptor| descriptor.number == number);
        (STATE.get().copied().map(str::to_owned), COUNTER.load(Ordering::Relaxed), has)
    };
    assert_eq!(nursery.start(told, (number,)).unwrap().join().unwrap(), (Some("then".into()), 1, true));
    drop((read, write));
}

fn children_of_a_nursery_have_the_surroundings_of_their_start() {
    let nursery = Context::nursery().unwrap();
    procession_sys::set_variable("LATER", "set").unwrap();
    std::env::set_current_dir("/").unwrap();
    let told = || {
        println!("said");
        (std::env::var("LATER").ok(), std::env::current_dir().unwrap(), current_process().name().to_owned())
    };
    let child = nursery.builder(told, ()).name("worker").stdout(Stdio::pipe()).start().unwrap();
    let mut said = String::new();
    child.take_stdout().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "said\n");
    assert_eq!(child.join().unwrap(), (Some("set".into()), "/".into(), "worker".into()));
}

/// The signals that this process handles, as the kernel spells them.
fn handled() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find(|line| line.starts_with("SigCgt:")).unwrap().to_owned()
}

fn children_of_a_nursery_have_the_signal_handlers_of_the_process() {
    for signal in [common::SIGUSR1, Signal::CHLD.number()] {
        interrupt_waits(signal).unwrap();
    }
    assert_eq!(forking().fork(handled).unwrap().join().unwrap(), handled());
    assert_eq!(Context::nursery().unwrap().start(handled, ()).unwrap().join().unwrap(), handled());
}

/// How many sockets this process has.
fn sockets() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| entry.path().read_link().ok());
    links.filter(|link| link.to_string_lossy().starts_with("socket:")).count()
}

fn children_of_a_nursery_have_nothing_of_its_and_their_siblings_sockets() {
    let own = sockets();
    let nursery = Context::nursery().unwrap();
    let (read, write) = pipe();
    let siblings: Vec<_> = (0..3).map(|_| nursery.start(wait_for, (read.clone(),)).unwrap()).collect();
    assert_eq!(nursery.start(sockets, ()).unwrap().join().unwrap(), own + 1, "its own line, and what was there");
    siblings.iter().for_each(|_| tell(&write));
    siblings.into_iter().for_each(|sibling| sibling.join().unwrap());
}

fn children_of_a_nursery_end_as_copies_do() {
    let nursery = Context::nursery().unwrap();
    let fails = || -> () { panic!("on purpose") };
    let failed = nursery.builder(fails, ()).stderr(Stdio::null()).start().unwrap();
    assert!(matches!(failed.join(), Err(JoinError::Panicked { .. })));
    assert_eq!(nursery.start(|| -> () { std::process::exit(7) }, ()).unwrap().wait().unwrap().exitcode(), 7);
    let killed = nursery.start(block, ()).unwrap();
    killed.kill().unwrap();
    assert_eq!(killed.wait().unwrap().exitcode(), -9);
}

/// The nursery of this process.
fn nursery_of(pid: u32) -> Option<u32> {
    children_of(pid).into_iter().find(|child| child.name == "nursery" && !child.is_zombie()).map(|child| child.pid)
}

fn a_killed_nursery_is_an_error_and_its_children_go_on() {
    let nursery = Context::nursery().unwrap();
    let (read, write) = pipe();
    let child = nursery
        .start(
            |from: Descriptor| {
                wait_for(from);
                5
            },
            (read,),
        )
        .unwrap();
    send_signal(nursery_of(pid()).unwrap(), 9).unwrap();
    while nursery_of(pid()).is_some() {
        thread::yield_now();
    }
    let error = nursery.start(|| (), ()).unwrap_err();
    assert!(matches!(error, StartError::NurseryGone { .. }), "{error:?}");
    assert!(error.to_string().contains("nursery"), "{error}");
    tell(&write);
    assert_eq!(child.join().unwrap(), 5);
}

/// Each number of descriptors that is too small is an error of `nursery`; with one that is large enough it serves.
const EMFILE: i32 = 24;
const ETOOMANYREFS: i32 = 109;

fn a_nursery_without_descriptors_is_an_error_and_leaves_nothing() {
    let before = children_of(pid()).len();
    let open = open_descriptors().len() as u64;
    let mut served = 0;
    for spare in 0..24 {
        let limit_before = limit(Scarcity::OpenFiles, Some(open + spare)).unwrap();
        let nursery = Context::nursery();
        let outcome = nursery.map(|nursery| nursery.start(|| 5, ()).map(|child| child.join().unwrap_or(0)));
        limit(Scarcity::OpenFiles, limit_before).unwrap();
        match outcome {
            Err(StartError::System { .. } | StartError::Image { .. }) => {}
            // None left, or too many on their way: of those the kernel counts other processes' of this user as well.
            Ok(Err(StartError::System { error, .. })) => {
                assert!(matches!(error.raw_os_error(), Some(EMFILE | ETOOMANYREFS)), "{spare}: {error}");
            }
            Ok(Ok(value)) => served += u32::from(value == 5),
            other => panic!("{spare}: {other:?}"),
        }
        assert!(active_children().is_empty());
        assert_eq!(children_of(pid()).len(), before, "with {spare} to spare");
    }
    assert!(served > 0);
}

fn a_nursery_takes_arguments_that_fit_its_owners_raised_limit() {
    let open = open_descriptors().len() as u64;
    let limit_before = limit(Scarcity::OpenFiles, Some(open + 30)).unwrap();
    let nursery = Context::nursery().unwrap();
    limit(Scarcity::OpenFiles, limit_before).unwrap();
    let (read, _write) = pipe();
    let many = vec![read; 100];
    let child = nursery.start(|many: Vec<Descriptor>| many.len(), (many,)).unwrap();
    assert_eq!(child.join().unwrap(), 100);
}

fn a_nursery_ends_after_its_context_and_its_children() {
    let nursery = Context::nursery().unwrap();
    let (read, write) = pipe();
    let child = nursery.start(wait_for, (read,)).unwrap();
    drop(nursery);
    assert!(nursery_of(pid()).is_some(), "its child runs");
    tell(&write);
    child.join().unwrap();
    while nursery_of(pid()).is_some() {
        thread::yield_now();
    }
    assert!(active_children().is_empty(), "which reaps it, too");
}

/// Takes a nursery, starts a child with it, and waits to be killed.
fn has_nursery() {
    let nursery = Context::nursery().unwrap();
    let child = nursery.start(block, ()).unwrap();
    println!("{} {}", child.pid(), nursery_of(pid()).unwrap());
    block();
}

fn a_nursery_ends_with_its_process() {
    let mut run: Command = program("has_nursery");
    let mut run = run.stdout(ProgramStdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufReader::new(run.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let found = said.split_whitespace().map(|number| process(number.parse().unwrap()).expect("it runs"));
    let held = common::hold(&found.collect::<Vec<_>>());
    assert_eq!(held.len(), 2);
    run.kill().unwrap();
    run.wait().unwrap();
    common::assert_all_end(&held);
}

fn a_context_of_a_nursery_starts_by_no_other_method() {
    let nursery = Context::nursery().unwrap();
    let error = nursery.builder(|| (), ()).start_method(StartMethod::Spawn).start().unwrap_err();
    assert!(matches!(error, StartError::Method { method: StartMethod::Spawn, .. }), "{error}");
}

fn a_nursery_is_not_its_copys() {
    let nursery = Context::nursery().unwrap();
    let said = forking().fork(|| nursery.start(|| (), ()).unwrap_err().to_string()).unwrap().join().unwrap();
    assert!(said.contains("forked from"), "{said}");
    nursery.start(|| (), ()).unwrap().join().unwrap();
}

/// Has a child of each kind, forks a process of which the library knows nothing, and waits to be killed. The copy says
/// its number, and ends when its input does.
#[expect(unsafe_code, reason = "the case is about a fork that is not the library's")]
fn forks_by_itself() {
    let children = common::methods().into_iter().map(|(_, method)| common::start(method, block, ()));
    let numbers: Vec<u32> = children.map(|child| child.pid()).collect();
    // SAFETY: this process has one thread.
    let copy = unsafe { procession_sys::fork(|| std::io::stdin().read(&mut [0]).map_or(1, |_| 0)) }.unwrap();
    println!("{copy} {} {} {}", numbers[0], numbers[1], numbers[2]);
    block();
}

fn a_copy_that_somebody_else_forked_keeps_no_children_alive() {
    let mut run: Command = program("forks_by_itself");
    let mut run = run.stdin(ProgramStdio::piped()).stdout(ProgramStdio::piped()).spawn().unwrap();
    let mut said = String::new();
    std::io::BufReader::new(run.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let found: Vec<_> =
        said.split_whitespace().map(|number| process(number.parse().unwrap()).expect("it runs")).collect();
    let (copy, children) = (common::hold(&found[..1]), common::hold(&found[1..]));
    run.kill().unwrap();
    common::assert_all_end(&children);
    assert!(!copy[0].1.wait_ended(Deadline::NOW).unwrap());
    drop(run.stdin.take());
    run.wait().unwrap();
    common::assert_all_end(&copy);
}

fn a_thousand_forks_leave_no_zombie_and_no_descriptor() {
    let before = (open_descriptors().len(), children_of(pid()).len());
    for number in 0..1000_u32 {
        let child = forking().fork(move || number).unwrap();
        if number % 10 != 0 {
            assert_eq!(child.join().unwrap(), number);
        }
    }
    let started = std::time::Instant::now();
    while !active_children().is_empty() || (open_descriptors().len(), children_of(pid()).len()) != before {
        assert!(started.elapsed() < common::SOON);
    }
}
