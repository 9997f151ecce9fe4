//! Preloading: what a context's server builds once, its children share; what goes wrong there is the start's error.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio as ProgramStdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{pipe, tell, wait_for};
use procession_launch::{Context, Process, StartError, StartMethod, active_children, register_after_fork};
use procession_sys::{at_exit, parent_pid, pid, send_signal};
use procession_testkit::{children_of, open_descriptors, process, program, unique_name};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        children_share_what_was_built_once,
        memory_that_was_built_once_is_not_copied,
        functions_run_in_their_order,
        an_error_of_a_preloaded_function_is_the_starts,
        a_panic_of_a_preloaded_function_is_the_starts,
        a_preloaded_function_that_ends_the_server_is_an_error,
        a_preloaded_function_that_does_not_return_in_time_is_named within 60,
        a_preloaded_function_that_leaves_a_thread_is_refused,
        a_preloaded_function_may_join_its_threads,
        a_function_that_failed_is_run_again_by_the_next_start,
        every_context_has_a_server_of_its_own_and_its_clones_share_it,
        a_server_ends_after_its_context_and_its_children,
        a_killed_server_preloads_again,
        many_threads_wait_for_one_preloading,
        only_the_forkserver_preloads,
        a_function_that_needs_its_own_context_is_an_error,
        what_a_preloaded_function_prints_is_seen,
        a_server_keeps_no_stream_open,
        hooks_of_a_preloaded_function_run_in_each_child,
        exit_handlers_of_a_preloaded_function_are_not_the_childrens,
        children_that_a_preloaded_function_started_are_the_servers,
        a_failed_preloading_leaves_nothing_behind,
    ];
    programs: [prints_while_preloading, has_preloaded_exit_handler, holds_a_server];
}

static BUILT: OnceLock<u32> = OnceLock::new();

/// Remembers where it was built.
fn build() {
    BUILT.get_or_init(pid);
}

fn children_share_what_was_built_once() {
    let context = Context::forkserver().preload(build);
    let told = || (BUILT.get().copied(), parent_pid());
    for _ in 0..10 {
        let (built, server) = context.start(told, ()).unwrap().join().unwrap();
        assert_eq!(built, Some(server));
    }
    assert_eq!(BUILT.get(), None, "not here");
    assert_eq!(Context::forkserver().start(told, ()).unwrap().join().unwrap().0, None, "nor elsewhere");
}

/// How large the table of the next case is.
const TABLE_BYTES: usize = 64 << 20;

/// One byte in so many is read.
const PAGE_BYTES: usize = 4096;

static TABLE: OnceLock<Vec<u8>> = OnceLock::new();

fn build_table() {
    TABLE.get_or_init(|| vec![1; TABLE_BYTES]);
}

/// What a child may have to itself, in KiB.
const PRIVATE_KIB_MAX: u64 = 2048;

fn memory_that_was_built_once_is_not_copied() {
    let context = Context::forkserver().preload(build_table);
    let read_all = || {
        let sum: usize = TABLE.get().unwrap().iter().step_by(PAGE_BYTES).map(|&byte| usize::from(byte)).sum();
        let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
        let private = rollup.lines().filter(|line| line.starts_with("Private_"));
        (sum, private.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum())
    };
    let children: Vec<Process<(usize, u64)>> = (0..10).map(|_| context.start(read_all, ()).unwrap()).collect();
    for child in children {
        let (sum, private) = child.join().unwrap();
        assert_eq!(sum, TABLE_BYTES / PAGE_BYTES);
        assert!(private < PRIVATE_KIB_MAX, "{private} KiB");
    }
}

static STEPS: AtomicU32 = AtomicU32::new(0);

fn add_one() {
    STEPS.fetch_add(1, Ordering::Relaxed);
}

fn times_ten() -> Result<(), String> {
    STEPS.store(STEPS.load(Ordering::Relaxed) * 10, Ordering::Relaxed);
    Ok(())
}

fn functions_run_in_their_order() {
    let context = Context::forkserver().preload(add_one).preload(times_ten).preload(add_one);
    assert_eq!(context.start(|| STEPS.load(Ordering::Relaxed), ()).unwrap().join().unwrap(), 11);
}

/// The error of a start of `context`, which must be one of its preloading.
fn failure(context: &Context) -> (String, Option<String>, String) {
    match context.start(|| (), ()).map(Process::join) {
        Err(StartError::Preload { function, message, location, .. }) => (message, location, function),
        other => panic!("{other:?}"),
    }
}

fn an_error_of_a_preloaded_function_is_the_starts() {
    let fails = || -> Result<(), std::num::ParseIntError> { "twelve".parse::<u8>().map(|_| ()) };
    let (message, location, function) = failure(&Context::forkserver().preload(build).preload(fails));
    assert_eq!((message.as_str(), location), ("invalid digit found in string", None));
    assert!(function.contains("an_error_of_a_preloaded_function"), "the second of the two: {function}");
}

fn a_panic_of_a_preloaded_function_is_the_starts() {
    fn fails() {
        panic!("no model of {}", 7);
    }
    let context = Context::forkserver().preload(fails);
    let (message, location, function) = failure(&context);
    assert_eq!(message, "no model of 7");
    assert!(location.unwrap().contains("preload.rs") && function.ends_with("fails"), "{function}");
    let text = context.start(|| (), ()).unwrap_err().to_string();
    assert!(text.contains("Process-") && text.contains("fails") && text.contains("no model of 7"), "{text}");
}

fn a_preloaded_function_that_ends_the_server_is_an_error() {
    let (message, ..) = failure(&Context::forkserver().preload(|| -> () { std::process::exit(3) }));
    assert!(message.contains("exit code 3"), "{message}");
    let (message, _, function) =
        failure(&Context::forkserver().preload(build).preload(|| send_signal(pid(), 9).unwrap()));
    assert!(message.contains("signal 9"), "{message}");
    assert!(function.contains("that_ends_the_server"), "the second of the two: {function}");
}

/// Starts a child whose preloading hangs in its second function, and says whether that is the one which the error names: it
/// is another one while the server begins or the first function runs.
fn names_what_hangs(limit: Duration) -> bool {
    let context = Context::forkserver().preload(build).preload(common::block).preload(build);
    let before = (open_descriptors().len(), children_of(pid()).len());
    let begun = Instant::now();
    let error = context.builder(|| (), ()).name("hasty").patience(Some(limit), None).start().unwrap_err();
    assert!((limit..limit + common::SOON).contains(&begun.elapsed()));
    let text = error.to_string();
    let told = ["\"hasty\"", &format!("{limit:?}"), "`start_timeout`"];
    assert!(told.iter().all(|told| text.contains(told)), "{text}");
    assert!(matches!(error, StartError::PreloadTimeout { after, .. } if after == limit), "{error:?}");
    assert_eq!((open_descriptors().len(), children_of(pid()).len()), before);
    text.contains("common::block")
}

fn a_preloaded_function_that_does_not_return_in_time_is_named() {
    // A server may be without a processor for longer than the first of them.
    let mut limits = [200, 2_000, 8_000].map(Duration::from_millis).into_iter();
    assert!(limits.any(names_what_hangs));
}

fn a_preloaded_function_that_leaves_a_thread_is_refused() {
    let leaves = || {
        thread::spawn(common::block);
    };
    let (message, ..) = failure(&Context::forkserver().preload(leaves));
    assert!(message.contains("thread"), "{message}");
}

fn a_preloaded_function_may_join_its_threads() {
    let context = Context::forkserver().preload(|| thread::spawn(build).join().unwrap());
    assert!(context.start(|| BUILT.get().is_some(), ()).unwrap().join().unwrap());
}

/// A file that tells the runs of a preloaded function from each other; the same name in all processes of a case.
fn marker() -> std::path::PathBuf {
    std::env::temp_dir().join(unique_name())
}

fn a_function_that_failed_is_run_again_by_the_next_start() {
    let fails_once = || fs::remove_file(marker());
    let context = Context::forkserver().preload(fails_once);
    assert!(failure(&context).0.contains("No such file"));
    fs::write(marker(), "").unwrap();
    context.start(|| (), ()).unwrap().join().unwrap();
    context.start(|| (), ()).unwrap().join().unwrap();
    assert!(!marker().exists());
}

/// The server that a context's children come from.
fn server(context: &Context) -> u32 {
    context.start(parent_pid, ()).unwrap().join().unwrap()
}

fn every_context_has_a_server_of_its_own_and_its_clones_share_it() {
    let (one, other) = (Context::forkserver().preload(build), Context::forkserver().preload(build));
    let of_all = Context::forkserver();
    assert_eq!(server(&one), server(&one.clone()));
    assert_ne!(server(&one), server(&other));
    assert_ne!(server(&one), server(&of_all));
    assert_eq!(server(&of_all), server(&Context::forkserver()));
}

fn has_ended(number: u32) -> bool {
    process(number).is_none_or(|process| process.is_zombie())
}

fn a_server_ends_after_its_context_and_its_children() {
    let context = Context::forkserver().preload(build);
    let number = server(&context);
    let (read, write) = pipe();
    let child = context.start(wait_for, (read,)).unwrap();
    drop(context);
    assert!(!has_ended(number), "its child runs");
    tell(&write);
    child.join().unwrap();
    while !has_ended(number) {
        thread::yield_now();
    }
    assert!(active_children().is_empty());
    assert_eq!(process(number), None, "it is reaped by whatever reaps children");
}

fn a_killed_server_preloads_again() {
    let context = Context::forkserver().preload(build);
    let first = server(&context);
    send_signal(first, 9).unwrap();
    let told = || (BUILT.get().copied(), parent_pid());
    let (built, second) = context.start(told, ()).unwrap().join().unwrap();
    assert_ne!(first, second);
    assert_eq!(built, Some(second));
}

fn many_threads_wait_for_one_preloading() {
    let context = Context::forkserver().preload(build_table);
    let servers: Vec<u32> = thread::scope(|scope| {
        let starts: Vec<_> = (0..4).map(|_| scope.spawn(|| server(&context))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert!(servers.iter().all(|server| *server == servers[0]), "{servers:?}");
}

static OWN_CONTEXT: OnceLock<Context> = OnceLock::new();

/// The context that preloads the function that asks for it.
fn own_context() -> &'static Context {
    OWN_CONTEXT.get_or_init(|| Context::forkserver().preload(start_by_own_context))
}

fn start_by_own_context() -> Result<(), StartError> {
    own_context().start(|| (), ()).map(|_| ())
}

fn a_function_that_needs_its_own_context_is_an_error() {
    let (message, ..) = failure(own_context());
    assert!(message.contains("another context"), "{message}");
}

fn only_the_forkserver_preloads() {
    for method in [StartMethod::Spawn, StartMethod::Fork] {
        let error = Context::new(method).preload(build).start(|| (), ()).unwrap_err();
        assert!(matches!(error, StartError::Method { method: named, .. } if named == method), "{error}");
    }
}

fn prints_while_preloading() {
    let context = Context::forkserver().preload(|| println!("loading"));
    context.start(|| println!("child"), ()).unwrap().join().unwrap();
}

fn what_a_preloaded_function_prints_is_seen() {
    let output = program("prints_while_preloading").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "loading\nchild\n");
}

/// Closes its standard output while its server runs, and says on standard error when it has.
fn holds_a_server() {
    let context = Context::forkserver().preload(build);
    server(&context);
    procession_sys::close_standard_stream(1);
    common::block();
}

fn a_server_keeps_no_stream_open() {
    let mut run = program("holds_a_server").stdout(ProgramStdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(run.stdout.take().unwrap()).read_to_string(&mut said).unwrap();
    assert_eq!(said, "", "its output has ended although it runs");
    run.kill().unwrap();
    run.wait().unwrap();
}

fn hooks_of_a_preloaded_function_run_in_each_child() {
    let context = Context::forkserver().preload(|| register_after_fork(add_one));
    for _ in 0..3 {
        assert_eq!(context.start(|| STEPS.load(Ordering::Relaxed), ()).unwrap().join().unwrap(), 1);
    }
}

extern "C" fn say_that_it_ran() {
    println!("handler");
}

fn has_preloaded_exit_handler() {
    let context = Context::forkserver().preload(|| at_exit(say_that_it_ran).unwrap());
    context.start(|| (), ()).unwrap().join().unwrap();
    context.start(|| -> () { std::process::exit(0) }, ()).unwrap().wait().unwrap();
    let own = || at_exit(say_that_it_ran).unwrap();
    context.start(own, ()).unwrap().join().unwrap();
    println!("end");
}

fn exit_handlers_of_a_preloaded_function_are_not_the_childrens() {
    let output = program("has_preloaded_exit_handler").stdout(ProgramStdio::piped()).output().unwrap();
    let lines: Vec<String> = output.stdout.lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["handler", "end"], "the one of the third child, which is its own");
}

fn children_that_a_preloaded_function_started_are_the_servers() {
    let start_one = || {
        Context::spawn().start(build, ()).unwrap().join().unwrap();
    };
    let context = Context::forkserver().preload(start_one);
    let told = || active_children().len();
    assert_eq!(context.start(told, ()).unwrap().join().unwrap(), 0);
}

fn a_failed_preloading_leaves_nothing_behind() {
    let before = (open_descriptors().len(), children_of(pid()).len());
    for _ in 0..20 {
        failure(&Context::forkserver().preload(|| Err::<(), _>("on purpose")));
    }
    assert_eq!((open_descriptors().len(), children_of(pid()).len()), before);
}
