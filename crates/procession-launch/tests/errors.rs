//! What goes wrong is a typed error that names the process and the remedy, at once, and leaves nothing behind.
//!
//! That nothing is left, neither a child nor a descriptor, is what the audit of each case looks at as well.

mod common;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{fresh_methods, methods, pipe, rest, server_of, start, tell, wait_for};
use procession_boot::BootError;
use procession_launch::{Context, JoinError, StartError, StartMethod, Stdio};
use procession_sys::{Scarcity, become_user, borrow_rights_of, effective_user, is_root, limit, pid, send_signal};
use procession_testkit::{children_of, open_descriptors, unique_name};
use procession_wire::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

procession_testkit::main! {
    warm_up: common::warm_up;
    cases for methods(), [
        a_missing_directory_is_an_error,
        a_variable_that_cannot_be_set_is_an_error_before_anything_starts,
        a_process_that_became_another_user_has_children_of_that_user,
        an_argument_that_cannot_be_encoded_is_an_error_before_anything_starts,
        an_argument_that_cannot_be_decoded_is_an_error_of_the_join,
        a_result_that_cannot_be_encoded_is_an_error_of_the_join,
        a_result_that_cannot_be_decoded_is_an_error_of_the_join,
        a_child_killed_before_it_reads_its_arguments_is_an_error_of_the_join within 60,
        each_number_of_descriptors_ends_in_a_child_or_an_error within 60,
        each_number_of_descriptors_in_a_child_ends_in_a_grandchild_or_an_error within 60,
        too_little_memory_ends_in_a_child_or_an_error within 60,
        an_error_of_the_system_names_the_remedy,
    ];
    cases for fresh_methods(), [
        a_process_with_borrowed_rights_has_no_children,
    ];
    cases: [
        each_number_of_descriptors_ends_in_a_server_and_a_child_or_an_error within 60,
        a_missing_executable_is_an_error,
        another_program_as_the_executable_is_an_error_and_is_not_run,
        a_file_that_is_no_program_is_an_error,
        an_executable_that_may_not_be_executed_is_an_error,
        a_child_that_its_loader_refuses_is_an_error_of_the_join,
        a_server_that_was_launched_short_of_descriptors_serves_when_there_are_more,
        a_server_serves_more_children_than_the_limit_it_was_launched_with,
    ];
}

/// The error's words, which must begin as all errors of a start do.
fn words(error: &StartError) -> String {
    let text = error.to_string();
    assert!(text.starts_with("cannot ") && text.contains("process \"planned\"") && !text.ends_with('.'), "{text}");
    text
}

/// Starts a child called `planned`, which must fail.
fn fails(context: &Context) -> StartError {
    context.builder(|| (), ()).name("planned").start().expect_err("nothing can have started")
}

/// A path that no other case has.
fn temporary() -> PathBuf {
    std::env::temp_dir().join(unique_name())
}

fn a_missing_executable_is_an_error() {
    let error = fails(&Context::spawn().executable("/no/such/program"));
    let said = words(&error);
    let StartError::Image { error: BootError::Executable { path, error: source }, .. } = error else {
        panic!("{said}")
    };
    assert_eq!((path.as_path(), source.kind()), (Path::new("/no/such/program"), io::ErrorKind::NotFound));
}

fn another_program_as_the_executable_is_an_error_and_is_not_run() {
    let error = fails(&Context::spawn().executable("/bin/sh"));
    let said = words(&error);
    assert!(matches!(error, StartError::Image { error: BootError::OtherImage { .. }, .. }), "{said}");
    assert!(said.contains("use an executable of the same build"), "{said}");
}

fn a_file_that_is_no_program_is_an_error() {
    let error = fails(&Context::spawn().executable("/etc/passwd"));
    assert!(matches!(error, StartError::Image { error: BootError::OtherImage { .. }, .. }), "{error}");
    let error = fails(&Context::spawn().executable("/tmp"));
    assert!(matches!(error, StartError::Image { error: BootError::Executable { .. }, .. }), "{error}");
}

fn an_executable_that_may_not_be_executed_is_an_error() {
    let copy = temporary();
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o644)).unwrap();
    let error = fails(&Context::spawn().executable(&copy));
    fs::remove_file(copy).unwrap();
    let said = words(&error);
    let StartError::Image { error: BootError::Executable { error: source, .. }, .. } = error else { panic!("{said}") };
    assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
}

fn a_variable_that_cannot_be_set_is_an_error_before_anything_starts(method: StartMethod) {
    for (name, value) in [("", "x"), ("A=B", "x"), ("A", "x\0y")] {
        let error = Context::new(method).builder(|| (), ()).name("planned").env(name, value).start().unwrap_err();
        assert!(words(&error).contains(&format!("environment variable {name:?}")), "{error}");
    }
}

/// A user that no process here belongs to.
const NOBODY: u32 = 65534;

/// Takes the rights of another user without becoming it, where that is possible, and starts a child.
fn start_with_borrowed_rights(method: StartMethod) -> String {
    if !is_root() {
        return "has rights that its user has not".to_owned(); // Nobody else can borrow any.
    }
    borrow_rights_of(NOBODY).unwrap();
    match Context::new(method).start(|| (), ()) {
        Err(error) => error.to_string(),
        Ok(_) => "it started".to_owned(),
    }
}

fn a_process_with_borrowed_rights_has_no_children(method: StartMethod) {
    let said = start(StartMethod::Spawn, start_with_borrowed_rights, (method,)).join().unwrap();
    assert!(said.contains("has rights that its user has not"), "{said}");
}

/// Starts a child, becomes another user where that is possible, and starts another: the users of both, and its own.
fn start_before_and_after(method: StartMethod) -> [u32; 3] {
    let user = || start(method, effective_user, ()).join().unwrap();
    let before = user();
    if is_root() {
        become_user(NOBODY, NOBODY).unwrap();
    }
    [before, user(), effective_user()]
}

fn a_process_that_became_another_user_has_children_of_that_user(method: StartMethod) {
    let [before, after, own] = start(StartMethod::Spawn, start_before_and_after, (method,)).join().unwrap();
    assert_eq!((before, after), (effective_user(), own));
}

fn a_missing_directory_is_an_error(method: StartMethod) {
    let builder = Context::new(method).builder(|| (), ()).name("planned").current_dir("/no/such/directory");
    let error = builder.start().unwrap_err();
    assert!(words(&error).contains("current_dir"), "{error}");
    assert!(matches!(error, StartError::System { error: source, .. } if source.kind() == io::ErrorKind::NotFound));
}

/// Refuses to be written where it stands in its process's way, and to be read in a child.
#[derive(Clone, Copy)]
struct Stubborn {
    writes: bool,
    reads: bool,
}

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.writes {
            return Err(serde::ser::Error::custom("it will not be written"));
        }
        (self.writes, self.reads).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (writes, reads) = <(bool, bool)>::deserialize(deserializer)?;
        if !reads {
            return Err(serde::de::Error::custom("it will not be read"));
        }
        Ok(Self { writes, reads })
    }
}

fn an_argument_that_cannot_be_encoded_is_an_error_before_anything_starts(method: StartMethod) {
    let (read, write) = pipe();
    let refused = Stubborn { writes: false, reads: true };
    let builder = Context::new(method).builder(|_: Descriptor, _: Stubborn| (), (write, refused)).name("planned");
    let error = builder.start().unwrap_err();
    assert!(words(&error).contains("it will not be written"), "{error}");
    assert!(matches!(error, StartError::Arguments { .. }));
    // The descriptor that was encoded before it is closed.
    assert_eq!(rest(read), "");
}

fn an_argument_that_cannot_be_decoded_is_an_error_of_the_join(method: StartMethod) {
    let refused = Stubborn { writes: true, reads: false };
    let child = start(method, |_: Stubborn| (), (refused,));
    assert_eq!(child.wait().unwrap().exitcode(), 1);
    match child.join() {
        Err(JoinError::Refused { message, .. }) => assert!(message.contains("it will not be read"), "{message}"),
        other => panic!("{other:?}"),
    }
}

fn a_result_that_cannot_be_encoded_is_an_error_of_the_join(method: StartMethod) {
    let child = start(method, || Stubborn { writes: false, reads: true }, ());
    assert_eq!(child.wait().unwrap().exitcode(), 1);
    match child.join() {
        Err(JoinError::Unencodable { message, .. }) => assert!(message.contains("it will not be written"), "{message}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it came back"),
    }
}

fn a_result_that_cannot_be_decoded_is_an_error_of_the_join(method: StartMethod) {
    let child = start(method, || Stubborn { writes: true, reads: false }, ());
    match child.join() {
        Err(JoinError::Undecodable { error: source, .. }) => {
            assert!(source.to_string().contains("it will not be read"));
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it came back"),
    }
}

/// At every moment between its birth and its reading, as the machine has it; a large argument makes the latter long.
fn a_child_killed_before_it_reads_its_arguments_is_an_error_of_the_join(method: StartMethod) {
    for round in 0..30 {
        let child = start(method, |text: String| text.len(), ("x".repeat(round << 17),));
        child.kill().unwrap();
        match child.join() {
            Err(JoinError::Signaled { signal: 9, .. }) => {}
            Ok(len) => assert_eq!(len, round << 17),
            other => panic!("{other:?}"),
        }
    }
}

/// The loader finds a library that is none, and ends the process before a single instruction of ours.
fn a_child_that_its_loader_refuses_is_an_error_of_the_join() {
    let libraries = temporary();
    fs::create_dir(&libraries).unwrap();
    for name in ["libc.so.6", "libgcc_s.so.1"] {
        fs::write(libraries.join(name), "no library").unwrap();
    }
    let builder = Context::spawn().builder(|text: String| text, ("x".repeat(1 << 20),)).stderr(Stdio::null());
    let outcome = builder.env("LD_LIBRARY_PATH", &libraries).start().unwrap().join();
    fs::remove_dir_all(libraries).unwrap();
    // A static executable has no loader, so nothing is wrong with its child.
    let is_static = !fs::read_to_string("/proc/self/maps").unwrap().contains("libc.so");
    match outcome {
        Ok(text) => assert!(is_static && text.len() == 1 << 20),
        Err(JoinError::Exited { code: 127, .. }) => assert!(!is_static),
        Err(other) => panic!("{other}"),
    }
}

/// As many descriptors as no start needs: each smaller number makes another step of it fail.
const PLENTY: u64 = 40;

/// Starts a child with `files` descriptors allowed. What comes is its value or a typed error.
fn with_descriptors(method: StartMethod, files: u64) -> Result<u8, String> {
    let before = limit(Scarcity::OpenFiles, Some(files)).unwrap();
    let started = Context::new(method).start(|| 7_u8, ());
    let outcome = match started {
        Ok(child) => child.join().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    limit(Scarcity::OpenFiles, before).unwrap();
    outcome
}

/// Tries each number. Nothing may be left after any of them, and the last must do.
fn try_each_number(method: StartMethod, before_each: fn()) {
    let count = || (open_descriptors().len(), children_of(pid()).len());
    let first = count().0 as u64;
    let mut n_failed = 0;
    for files in 0..PLENTY {
        before_each();
        let baseline = count();
        let outcome = with_descriptors(method, files);
        match &outcome {
            Ok(value) => assert_eq!(*value, 7),
            Err(said) => n_failed += u32::from(!said.is_empty()),
        }
        let left = count();
        assert!(
            left.0 <= baseline.0 + SERVICE && left.1 <= baseline.1 + 1,
            "{files}: {outcome:?}, {:?}",
            open_descriptors()
        );
        assert!(files < first || outcome.is_ok() || files < PLENTY - 1, "{outcome:?}");
    }
    assert!(n_failed > 3, "the limits were no limits");
    before_each();
    assert_eq!(start(method, || 8, ()).join().unwrap(), 8, "and then with all of them");
}

/// The descriptors of a forkserver that was launched meanwhile: its socket and its pidfd.
const SERVICE: usize = 2;

fn each_number_of_descriptors_ends_in_a_child_or_an_error(method: StartMethod) {
    try_each_number(method, || ());
}

fn each_number_of_descriptors_ends_in_a_server_and_a_child_or_an_error() {
    try_each_number(StartMethod::ForkServer, kill_server);
}

/// In a child nothing has been started yet: no lifeline, no exit handler, no server.
fn each_number_of_descriptors_in_a_child_ends_in_a_grandchild_or_an_error(method: StartMethod) {
    let mut n_failed = 0;
    for files in 0..PLENTY {
        match start(method, with_descriptors, (method, files)).join() {
            Ok(Ok(value)) => assert_eq!(value, 7),
            Ok(Err(said)) => n_failed += u32::from(!said.is_empty()),
            Err(error) => panic!("{files}: {error}"),
        }
    }
    assert!(n_failed > 3, "the limits were no limits");
}

/// Kills this process's forkserver, if it has one, and waits until it has ended.
fn kill_server() {
    let Some(server) = server_of(pid()) else { return };
    let held = common::hold(std::slice::from_ref(&server));
    send_signal(server.pid, 9).unwrap();
    common::assert_all_end(&held);
}

fn a_server_that_was_launched_short_of_descriptors_serves_when_there_are_more() {
    for files in 0..PLENTY {
        kill_server();
        let _ = with_descriptors(StartMethod::ForkServer, files);
        let value = Context::forkserver().start(|| 8, ()).map(procession_launch::Process::join);
        assert!(matches!(value, Ok(Ok(8))), "after {files}: {value:?}");
    }
}

/// As when a program raises its limit after its first child.
fn a_server_serves_more_children_than_the_limit_it_was_launched_with() {
    kill_server();
    assert_eq!(with_descriptors(StartMethod::ForkServer, 30), Ok(7));
    let (read, write) = pipe();
    let children: Vec<_> = (0..60).map(|_| start(StartMethod::ForkServer, wait_for, (read.clone(),))).collect();
    drop((read, write));
    children.into_iter().for_each(|child| child.join().unwrap());
}

/// How much memory this process has addresses for.
fn address_space() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096
}

/// Starts a child with so many bytes more than there are.
fn with_memory(method: StartMethod, bytes: u64) -> Result<usize, String> {
    let before = limit(Scarcity::AddressSpace, Some(address_space() + bytes)).unwrap();
    let started = Context::new(method).start(|text: String| text.len(), ("x".repeat(1 << 20),));
    let outcome = match started {
        Ok(child) => child.join().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    limit(Scarcity::AddressSpace, before).unwrap();
    outcome
}

/// Rust ends a process that cannot have a small allocation with SIGABRT; that end too is told, and nobody hangs.
fn too_little_memory_ends_in_a_child_or_an_error(method: StartMethod) {
    limit(Scarcity::CoreFile, Some(0)).unwrap();
    let mut n_failed = 0;
    for kib in [0, 64, 256, 1024, 1100, 1500, 2048, 2200, 3000, 4096, 8192, 16_384, 65_536, 1 << 20, 4 << 20] {
        let limited = Context::new(method).builder(with_memory, (method, kib << 10)).stderr(Stdio::null());
        match limited.start().unwrap().join() {
            Ok(Ok(len)) => assert_eq!(len, 1 << 20),
            Ok(Err(said)) => n_failed += u32::from(!said.is_empty()),
            Err(JoinError::Signaled { signal: 6, .. }) => n_failed += 1,
            Err(error) => panic!("{kib} KiB: {error}"),
        }
    }
    assert!(n_failed > 3, "the limits were no limits");
}

fn an_error_of_the_system_names_the_remedy(method: StartMethod) {
    let (read, write) = pipe();
    let child = start(method, wait_for, (read,));
    let before = limit(Scarcity::OpenFiles, Some(open_descriptors().len() as u64)).unwrap();
    let _none_left: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    let outcome = Context::new(method).builder(|| (), ()).name("planned").start();
    limit(Scarcity::OpenFiles, before).unwrap();
    let said = words(&outcome.unwrap_err());
    assert!(said.contains("RLIMIT_NOFILE"), "{said}");
    tell(&write);
    child.join().unwrap();
}
