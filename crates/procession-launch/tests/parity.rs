//! A child begins as a program does: whatever `main` finds in a program that was started from a shell, a target finds
//! in a child. One case for each thing, for both start methods.
//!
//! Stands alone and is quick, as it is also built in other ways: optimized, as one unit, with `panic = "abort"`,
//! statically.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use procession_launch::{Context, JoinError, Passable, Process, StartMethod, Stdio, Target, current_process};
use procession_sys::{Disposition, Scarcity, Signal, close_standard_stream, limit, set_disposition};
use procession_testkit::program;

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        what_the_kernel_says_of_it_is_what_it_says_of_a_program,
        its_arguments_are_its_parents,
        its_executable_has_its_parents_path,
        its_command_name_is_that_of_a_normal_start,
        it_has_one_thread,
        its_environment_is_its_parents,
        the_mark_is_nowhere,
        its_standard_streams_are_open_although_its_parents_are_closed,
        its_standard_input_is_empty,
        a_stack_overflow_is_reported_and_aborts,
        half_of_the_stack_can_be_used,
        what_it_printed_is_flushed_when_its_target_returns,
        what_it_printed_is_flushed_when_it_exits,
        a_panic_is_reported_once_with_name_place_and_message,
        a_backtrace_is_shown_when_it_is_asked_for,
        a_panicking_thread_is_reported_and_can_be_joined,
        a_panic_hook_of_the_target_is_called,
        programs_can_be_started_and_waited_for,
        children_can_be_started_by_every_method,
        broken_streams_do_not_break_it,
        a_child_that_closed_its_streams_can_start_children,
    ];
    cases for fresh_methods(), [
        a_pipe_that_nobody_reads_is_an_error_and_no_death,
        destructors_of_thread_locals_run_as_in_a_program,
    ];
    programs: [print_portrait, use_thread_locals];
}

/// Those whose children do not begin as a copy of this process.
fn fresh_methods() -> [(&'static str, StartMethod); 2] {
    [StartMethod::ForkServer, StartMethod::Spawn].map(|method| (method.name(), method))
}

/// Every start method with the label of its cases.
fn methods() -> [(&'static str, StartMethod); 3] {
    StartMethod::ALL.map(|method| (method.name(), method))
}

fn warm_up() {
    methods().into_iter().for_each(|(_, method)| ask(method, || ()));
}

/// Starts a child that must start.
fn start<F: Target<()>>(method: StartMethod, target: F) -> Process<F::Output> {
    Context::new(method).start(target, ()).unwrap()
}

/// What a target without arguments returns in a child.
fn ask<F: Target<(), Output: Passable>>(method: StartMethod, target: F) -> F::Output {
    start(method, target).join().unwrap()
}

/// A child's outcome and what it wrote to its standard output and error.
struct Ran {
    outcome: Result<(), JoinError>,
    exitcode: i32,
    stdout: String,
    stderr: String,
}

/// Runs a target to its end with both output streams in pipes.
fn run<F: Target<(), Output = ()>>(method: StartMethod, target: F, env: &[(&str, &str)]) -> Ran {
    let mut builder = Context::new(method).builder(target, ()).name("probe");
    for (name, value) in env {
        builder = builder.env(name, value);
    }
    let child = builder.stdout(Stdio::pipe()).stderr(Stdio::pipe()).start().unwrap();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.take_stdout().unwrap().read_to_string(&mut stdout).unwrap();
    child.take_stderr().unwrap().read_to_string(&mut stderr).unwrap();
    let exitcode = child.wait().unwrap().exitcode();
    Ran { outcome: child.join(), exitcode, stdout, stderr }
}

/// What the kernel says of this process that does not differ from one process to the next.
fn portrait() -> BTreeMap<String, String> {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let wanted = [
        "Umask",
        "State",
        "Uid",
        "Gid",
        "Groups",
        "Threads",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
    ];
    let fields = status.lines().filter_map(|line| line.split_once(':'));
    let fields = fields.filter(|(name, _)| wanted.contains(name));
    let mut portrait: BTreeMap<String, String> =
        fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
    // Of the fields after the name: process group, session, terminal, its group; priority, niceness; policy.
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let stat: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    for (name, at) in [("group", 2), ("session", 3), ("terminal", 4), ("priority", 15), ("nice", 16), ("policy", 38)] {
        portrait.insert(name.to_owned(), stat[at].to_owned());
    }
    for file in ["limits", "oom_score_adj", "personality", "timerslack_ns", "cgroup", "coredump_filter"] {
        portrait.insert(file.to_owned(), fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default());
    }
    portrait.insert("cwd".to_owned(), std::env::current_dir().unwrap().display().to_string());
    portrait
}

/// One line for each field.
fn lines() -> Vec<String> {
    portrait().into_iter().map(|(name, value)| format!("{name}: {value:?}")).collect()
}

/// A program of its own that shows its portrait.
fn print_portrait() {
    lines().iter().for_each(|line| println!("{line}"));
}

fn what_the_kernel_says_of_it_is_what_it_says_of_a_program(method: StartMethod) {
    let normal = program("print_portrait").output().unwrap();
    let normal = String::from_utf8(normal.stdout).unwrap();
    let normal: Vec<&str> = normal.lines().collect();
    let child = ask(method, lines);
    assert_eq!(child.len(), normal.len());
    assert!(child.len() > 20, "{child:?}");
    for (child, normal) in child.iter().zip(normal) {
        assert_eq!(child, normal);
    }
}

fn its_arguments_are_its_parents(method: StartMethod) {
    let own: Vec<OsString> = std::env::args_os().collect();
    assert!(own.len() > 1);
    assert_eq!(ask(method, || std::env::args_os().collect::<Vec<_>>()), own);
}

fn its_executable_has_its_parents_path(method: StartMethod) {
    assert_eq!(ask(method, || std::env::current_exe().unwrap()), std::env::current_exe().unwrap());
}

/// What `ps` shows.
fn command_name() -> String {
    fs::read_to_string("/proc/self/comm").unwrap()
}

fn its_command_name_is_that_of_a_normal_start(method: StartMethod) {
    assert_eq!(ask(method, command_name), command_name());
}

fn it_has_one_thread(method: StartMethod) {
    assert_eq!(ask(method, || fs::read_dir("/proc/self/task").unwrap().count()), 1);
}

fn environment() -> BTreeMap<OsString, OsString> {
    std::env::vars_os().collect()
}

/// The names of what `these` has and `those` has not, or with another value.
fn only_in(these: &BTreeMap<OsString, OsString>, those: &BTreeMap<OsString, OsString>) -> Vec<OsString> {
    these.iter().filter(|(name, value)| those.get(*name) != Some(*value)).map(|(name, _)| name.clone()).collect()
}

/// A failure shows names only: values may be secrets, and logs are read by many.
fn its_environment_is_its_parents(method: StartMethod) {
    let (own, child) = (environment(), ask(method, environment));
    assert_eq!((only_in(&own, &child), only_in(&child, &own)), (vec![], vec![]));
}

/// The names in the environment of a program that this process starts.
fn names_in_program() -> Vec<String> {
    let output = Command::new("env").output().unwrap().stdout;
    String::from_utf8(output).unwrap().lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect()
}

fn the_mark_is_nowhere(method: StartMethod) {
    let mark = "PROCESSION_CHILD";
    let names = ask(method, names_in_program);
    assert!(names.contains(&"PATH".into()) && !names.contains(&mark.into()), "{names:?}");
    assert!(!ask(method, environment).contains_key(OsStr::new(mark)));
    let of_program = || Command::new("cat").arg("/proc/self/environ").output().unwrap().stdout;
    assert!(!String::from_utf8_lossy(&ask(method, of_program)).contains(mark));
}

/// What descriptors 0, 1 and 2 are.
fn streams() -> Vec<PathBuf> {
    (0..3).filter_map(|at| fs::read_link(format!("/proc/self/fd/{at}")).ok()).collect()
}

/// Without them the first file that the child opens would be its standard output.
fn its_standard_streams_are_open_although_its_parents_are_closed(method: StartMethod) {
    let stderr = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
    (0..3).for_each(close_standard_stream);
    let outcome = Context::new(method).start(streams, ()).map(Process::join);
    // Where a failure can be seen.
    writeln!(fs::File::from(stderr), "{outcome:?}").unwrap();
    assert_eq!(outcome.unwrap().unwrap(), vec![PathBuf::from("/dev/null"); 3]);
}

fn its_standard_input_is_empty(method: StartMethod) {
    let read = || std::io::read_to_string(std::io::stdin()).unwrap();
    assert_eq!(ask(method, read), "");
    assert_eq!(ask(method, streams)[0], PathBuf::from("/dev/null"));
}

/// Also when the parent has taken the kernel's action back, as some programs do that end in a pipe.
fn a_pipe_that_nobody_reads_is_an_error_and_no_death(method: StartMethod) {
    set_disposition(Signal::PIPE, Disposition::Default);
    let write = || {
        let (read, mut write) = std::io::pipe().unwrap();
        drop(read);
        write.write_all(b"x").unwrap_err().kind() == std::io::ErrorKind::BrokenPipe
    };
    assert!(ask(method, write));
}

/// Calls itself until the stack is used up; what it adds up keeps the compiler from making a loop of it.
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 128]);
    if depth == 0 { 0 } else { frame[7] + descend(std::hint::black_box(depth - 1)) }
}

fn overflow() {
    descend(u64::MAX);
}

fn a_stack_overflow_is_reported_and_aborts(method: StartMethod) {
    limit(Scarcity::CoreFile, Some(0)).unwrap();
    let ran = run(method, overflow, &[]);
    assert!(ran.stderr.contains("thread 'main'") && ran.stderr.contains("has overflowed its stack"), "{}", ran.stderr);
    assert_eq!(ran.exitcode, -6);
    assert!(matches!(ran.outcome, Err(JoinError::Signaled { signal: 6, .. })));
}

/// Four of the usual eight megabytes, in one frame.
fn half_of_the_stack_can_be_used(method: StartMethod) {
    let deep = || {
        let large = [1_u8; 4 << 20];
        std::hint::black_box(&large).iter().filter(|&&byte| byte == 1).count()
    };
    assert_eq!(ask(method, deep), 4 << 20);
}

fn what_it_printed_is_flushed_when_its_target_returns(method: StartMethod) {
    let ran = run(method, || print!("without a line's end"), &[]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str(), ran.exitcode), ("without a line's end", "", 0));
}

fn what_it_printed_is_flushed_when_it_exits(method: StartMethod) {
    let print_and_exit = || -> () {
        print!("without a line's end");
        std::process::exit(3)
    };
    let ran = run(method, print_and_exit, &[]);
    assert_eq!((ran.stdout.as_str(), ran.exitcode), ("without a line's end", 3));
}

fn a_panic_is_reported_once_with_name_place_and_message(method: StartMethod) {
    let print_and_panic = || {
        print!("printed before");
        assert_eq!(1, 2, "planted");
    };
    let ran = run(method, print_and_panic, &[("RUST_BACKTRACE", "0")]);
    assert_eq!((ran.stdout.as_str(), ran.exitcode), ("printed before", 1));
    for word in ["process \"probe\"", "parity.rs:", "planted", "left: 1"] {
        assert!(ran.stderr.contains(word), "{word:?} is not in {:?}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("planted").count(), 1, "{}", ran.stderr);
    let Err(JoinError::Panicked { message, .. }) = ran.outcome else { panic!("{:?}", ran.outcome) };
    assert!(message.contains("planted"), "{message}");
}

fn panic_plainly() {
    panic!("planted");
}

fn a_backtrace_is_shown_when_it_is_asked_for(method: StartMethod) {
    let quiet = run(method, panic_plainly, &[("RUST_BACKTRACE", "0")]);
    assert!(!quiet.stderr.contains("stack backtrace"), "{}", quiet.stderr);
    let shown = run(method, panic_plainly, &[("RUST_BACKTRACE", "1")]);
    assert!(shown.stderr.contains("stack backtrace"), "{}", shown.stderr);
}

/// A thread's panic is its own, as in a program; where panics abort it ends the child, as in a program.
fn a_panicking_thread_is_reported_and_can_be_joined(method: StartMethod) {
    let panic_in_thread = || {
        let thread = thread::Builder::new().name("worker".into()).spawn(panic_plainly).unwrap();
        assert!(thread.join().is_err());
        println!("goes on");
    };
    let ran = run(method, panic_in_thread, &[("RUST_BACKTRACE", "1")]);
    assert!(ran.stderr.contains("planted") && ran.stderr.contains("stack backtrace"), "{}", ran.stderr);
    if cfg!(panic = "abort") {
        assert_eq!((ran.exitcode, ran.outcome.is_err()), (1, true));
    } else {
        assert!(ran.stderr.contains("thread 'worker'"), "{}", ran.stderr);
        assert_eq!((ran.stdout.as_str(), ran.exitcode), ("goes on\n", 0));
    }
}

fn a_panic_hook_of_the_target_is_called(method: StartMethod) {
    let hook_and_panic = || {
        std::panic::set_hook(Box::new(|_| eprintln!("hooked")));
        panic_plainly();
    };
    if cfg!(panic = "abort") {
        return; // The hook that would have reported is gone, so the child aborts as a program does.
    }
    let ran = run(method, hook_and_panic, &[]);
    assert_eq!((ran.stderr.as_str(), ran.exitcode), ("hooked\n", 1));
    assert!(matches!(ran.outcome, Err(JoinError::Panicked { message, .. }) if message == "planted"));
}

/// Says so when it goes.
struct Goodbye(&'static str);

impl Drop for Goodbye {
    fn drop(&mut self) {
        // Not `println!`: standard output may be gone by then.
        let _ = writeln!(std::io::stderr(), "goodbye of {}", self.0);
    }
}

thread_local! {
    static GOODBYE: RefCell<Option<Goodbye>> = const { RefCell::new(None) };
}

fn use_thread_locals() {
    GOODBYE.set(Some(Goodbye("main")));
    thread::spawn(|| GOODBYE.set(Some(Goodbye("thread")))).join().unwrap();
}

fn destructors_of_thread_locals_run_as_in_a_program(method: StartMethod) {
    let normal = program("use_thread_locals").output().unwrap();
    let normal = String::from_utf8(normal.stderr).unwrap();
    assert!(normal.contains("goodbye of thread"), "{normal}");
    let ran = run(method, use_thread_locals, &[]);
    assert_eq!((ran.stderr.as_str(), ran.exitcode), (normal.as_str(), 0));
}

fn programs_can_be_started_and_waited_for(method: StartMethod) {
    let start_one = || {
        let output = Command::new("sh").args(["-c", "echo said; exit 7"]).output().unwrap();
        (output.status.code(), output.stdout)
    };
    assert_eq!(ask(method, start_one), (Some(7), b"said\n".to_vec()));
}

fn children_can_be_started_by_every_method(method: StartMethod) {
    let start_each = || methods().map(|(_, method)| ask(method, || current_process().start_method()));
    assert_eq!(ask(method, start_each), StartMethod::ALL.map(Some));
}

/// Python's `test_error_on_stdio_flush`: neither a stream that is closed nor one that nobody reads is an error.
fn broken_streams_do_not_break_it(method: StartMethod) {
    let break_streams = || {
        print!("never read");
        (0..3).for_each(close_standard_stream);
        5
    };
    assert_eq!(ask(method, break_streams), 5);
    let builder = Context::new(method).builder(|| print!("never read"), ()).stdout(Stdio::pipe());
    let child = builder.start().unwrap();
    drop(child.take_stdout());
    assert_eq!(child.wait().unwrap().exitcode(), 0);
    child.join().unwrap();
}

/// Whatever is opened first takes the numbers of the streams then, those of a start among it.
fn a_child_that_closed_its_streams_can_start_children(method: StartMethod) {
    let close_and_start = || {
        (0..3).for_each(close_standard_stream);
        methods().map(|(_, method)| {
            Context::new(method).start(streams, ()).unwrap().join().map_err(|error| error.to_string())
        })
    };
    let nothing = Ok(vec![PathBuf::from("/dev/null"); 3]);
    assert_eq!(ask(method, close_and_start), [nothing.clone(), nothing.clone(), nothing]);
}
