//! Processes, as the kernel has them: held, reaped, signaled, tied to a pipe, adopted, limited.

use std::ffi::CString;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::process::Stdio;
use std::time::Duration;

use procession_sys::{
    ChildSignals, Deadline, Disposition, Ended, Exec, Inherited, Interest, PidFd, ProcessIdentity, ProcessRecord,
    Scarcity, Signal, SignalMask, adopt_orphans, arm_kill_on_close, dev_null, discard_child, disposition,
    interrupt_waits, is_open, keep_on_exec, limit, parent_pid, pid, pipe, poll_one, processors, reap_any, reopen_read,
    run_on, send_signal, set_command_line, set_disposition, set_umask, set_variable, threads_of,
};
use procession_testkit::{children_of, open_descriptors, process, program, unique_name};

procession_testkit::main! {
    cases: [
        an_armed_process_is_killed_when_the_pipe_closes,
        arming_tells_that_the_pipe_has_closed_already,
        a_pidfd_tells_the_end_and_reaps_once,
        a_signal_to_a_process_that_has_ended_is_no_error,
        a_discarded_child_is_no_zombie,
        any_child_is_reaped_with_its_status,
        child_signals_are_readable_when_a_child_has_ended,
        an_orphan_is_adopted,
        an_identity_is_of_one_process,
        a_wait_that_is_interrupted_goes_on,
        an_ignored_signal_is_ignored_in_a_program_too,
        a_program_gets_the_mask_that_it_is_given,
        limits_umask_and_affinity_are_captured_and_applied,
        a_variable_is_set_in_a_process_with_one_thread_only,
        a_program_that_cannot_be_executed_leaves_nothing,
        the_command_line_changes_in_a_process_with_one_thread_only,
        a_process_with_many_threads_is_at_rest_when_all_of_them_are,
    ];
    programs: [armed, has_threads];
}

/// What must have happened by then, or never will.
const SOON: Duration = Duration::from_secs(10);

/// A shell that runs `script` with this process's streams.
fn shell(script: &str) -> Exec<'static> {
    let args = ["sh", "-c", script].map(|arg| CString::new(arg).unwrap()).to_vec();
    Exec::new(c"/bin/sh".to_owned(), args, vec![c"PATH=/usr/bin:/bin".to_owned()])
}

fn hold(pid: u32) -> PidFd {
    PidFd::open(pid).unwrap()
}

/// Arms itself to its standard input, blocks every signal and stops.
fn armed() {
    let own = reopen_read(std::io::stdin()).unwrap();
    assert!(!arm_kill_on_close(&own).unwrap());
    SignalMask::from_bits(u64::MAX).install();
    println!("armed");
    send_signal(pid(), 19).unwrap();
    loop {
        std::thread::park();
    }
}

fn an_armed_process_is_killed_when_the_pipe_closes() {
    let mut child = program("armed").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let held = hold(child.id());
    assert!(!held.wait_ended(Deadline::NOW).unwrap());
    drop(child.stdin.take());
    assert!(held.wait_ended(Deadline::after(SOON)).unwrap());
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

/// In a process that would be killed otherwise, so the arming comes after the end.
fn arming_tells_that_the_pipe_has_closed_already() {
    let (read, write) = pipe().unwrap();
    let own = reopen_read(&read).unwrap();
    drop(write);
    assert!(arm_kill_on_close(&own).unwrap());
}

fn a_pidfd_tells_the_end_and_reaps_once() {
    let held = hold(shell("exit 7").spawn().unwrap());
    assert!(held.wait_ended(Deadline::NEVER).unwrap());
    assert_eq!(held.try_reap().unwrap(), Some(Ended::Exited(7)));
    assert!(held.try_reap().is_err());
    let held = hold(shell("kill -TERM $$").spawn().unwrap());
    assert_eq!(held.reap().unwrap(), Ended::Signaled { signal: 15, core_dumped: false });
}

fn a_signal_to_a_process_that_has_ended_is_no_error() {
    let held = hold(shell("exit 0").spawn().unwrap());
    assert!(held.wait_ended(Deadline::NEVER).unwrap());
    held.send(Signal::TERM).unwrap();
    held.reap().unwrap();
    held.send(Signal::TERM).unwrap();
}

fn a_discarded_child_is_no_zombie() {
    let child = shell("exec sleep 600").spawn().unwrap();
    discard_child(child);
    assert_eq!(process(child), None);
}

fn any_child_is_reaped_with_its_status() {
    assert_eq!(reap_any(), None);
    let child = shell("exit 3").spawn().unwrap();
    assert!(hold(child).wait_ended(Deadline::NEVER).unwrap());
    assert_eq!(reap_any(), Some((child, Ended::Exited(3))));
    assert_eq!(reap_any(), None);
}

fn child_signals_are_readable_when_a_child_has_ended() {
    SignalMask::current().with(Signal::CHLD).install();
    let signals = ChildSignals::new().unwrap();
    let ready = |wait| poll_one(&signals, Interest::Read, Deadline::after(wait)).unwrap();
    assert!(!ready(Duration::ZERO));
    let child = shell("exit 0").spawn().unwrap();
    assert!(ready(SOON));
    signals.clear();
    assert!(!ready(Duration::ZERO));
    assert_eq!(reap_any(), Some((child, Ended::Exited(0))));
}

fn an_orphan_is_adopted() {
    adopt_orphans().unwrap();
    let (mut read, write) = std::io::pipe().unwrap();
    let parent = shell("sleep 600 >/dev/null & echo $!").stream(1, write.as_fd()).spawn().unwrap();
    hold(parent).reap().unwrap();
    drop(write);
    let mut orphan = String::new();
    read.read_to_string(&mut orphan).unwrap();
    let orphan: u32 = orphan.trim().parse().unwrap();
    assert_eq!(process(orphan).unwrap().parent, pid());
    assert_eq!(children_of(pid()).len(), 1);
    discard_child(orphan);
}

fn an_identity_is_of_one_process() {
    let me = ProcessIdentity::of(pid()).unwrap();
    assert_eq!(me.pid, pid());
    assert_ne!(me, ProcessIdentity::of(parent_pid()).unwrap());
    let child = shell("exit 0").spawn().unwrap();
    let identity = ProcessIdentity::of(child).unwrap();
    assert!(hold(child).wait_ended(Deadline::NEVER).unwrap());
    assert!(identity.is_running(), "a zombie has its number still");
    hold(child).reap().unwrap();
    assert!(!identity.is_running());
}

fn a_wait_that_is_interrupted_goes_on() {
    interrupt_waits(10).unwrap();
    let (read, _write) = pipe().unwrap();
    let pest = shell("for n in 1 2 3 4 5 6 7 8 9; do kill -USR1 $PPID; done").spawn().unwrap();
    let held = hold(pest);
    let deadline = Deadline::after(Duration::from_millis(50));
    assert!(!poll_one(&read, Interest::Read, deadline).unwrap());
    assert!(deadline.has_passed(), "the wait ended early");
    assert_eq!(held.reap().unwrap(), Ended::Exited(0));
}

fn an_ignored_signal_is_ignored_in_a_program_too() {
    set_disposition(Signal::INT, Disposition::Ignore);
    assert_eq!(disposition(Signal::INT), Disposition::Ignore);
    assert_eq!(hold(shell("kill -INT $$; exit 5").spawn().unwrap()).reap().unwrap(), Ended::Exited(5));
    set_disposition(Signal::INT, Disposition::Default);
    let interrupted = Ended::Signaled { signal: 2, core_dumped: false };
    assert_eq!(hold(shell("kill -INT $$; exit 5").spawn().unwrap()).reap().unwrap(), interrupted);
}

fn a_program_gets_the_mask_that_it_is_given() {
    let blocked = shell("kill -INT $$; exit 5").signal_mask(SignalMask::EMPTY.with(Signal::INT));
    assert_eq!(hold(blocked.spawn().unwrap()).reap().unwrap(), Ended::Exited(5));
}

fn limits_umask_and_affinity_are_captured_and_applied() {
    let before = Inherited::capture().unwrap();
    let allowed = processors().unwrap();
    limit(Scarcity::OpenFiles, Some(77)).unwrap();
    set_umask(0o057);
    run_on(&allowed[..1]).unwrap();
    SignalMask::EMPTY.with(Signal::TERM).install();
    let changed = Inherited::capture().unwrap();
    assert_ne!(changed, before);
    before.apply().unwrap();
    assert_eq!(Inherited::capture().unwrap(), before);
    assert_eq!(processors().unwrap(), allowed);
    changed.apply().unwrap();
    assert_eq!(Inherited::capture().unwrap(), changed);
}

fn a_variable_is_set_in_a_process_with_one_thread_only() {
    set_variable("SET_BY_TEST", "yes").unwrap();
    assert_eq!(std::env::var("SET_BY_TEST").as_deref(), Ok("yes"));
    let thread = std::thread::spawn(|| set_variable("SET_BY_TEST", "no").unwrap_err().kind());
    assert_eq!(thread.join().unwrap(), std::io::ErrorKind::WouldBlock);
}

fn a_program_that_cannot_be_executed_leaves_nothing() {
    let before = open_descriptors();
    let path = std::env::temp_dir().join(unique_name());
    std::fs::write(&path, "no program").unwrap();
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let null = dev_null().unwrap();
    keep_on_exec(&null).unwrap();
    let refused =
        Exec::new(path.clone(), vec![path.clone()], vec![]).stream(1, null.as_fd()).keep(null.as_fd()).spawn();
    std::fs::remove_file(path.to_str().unwrap()).unwrap();
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::PermissionDenied);
    assert!(is_open(null.as_raw_fd()));
    drop(null);
    assert_eq!((open_descriptors(), children_of(pid())), (before, vec![]));
}

/// Where the kernel has the call at all.
fn the_command_line_changes_in_a_process_with_one_thread_only() {
    let line = || std::fs::read("/proc/self/cmdline").unwrap();
    let (before, arguments) = (line(), std::env::args().collect::<Vec<_>>());
    let thread = std::thread::spawn(std::thread::park);
    assert_eq!(set_command_line(b"a b").unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    thread.thread().unpark();
    thread.join().unwrap();
    assert_eq!(set_command_line(b"a\0b").unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    assert_eq!(line(), before);
    // The thread that was joined may be in the list for a moment more.
    let deadline = Deadline::after(SOON);
    while std::fs::read_dir("/proc/self/task").unwrap().count() != 1 {
        assert!(!deadline.has_passed());
        std::thread::yield_now();
    }
    let changed = set_command_line(b"a b").is_ok();
    assert_eq!(line() == b"a b\0", changed);
    assert!(std::env::args().eq(arguments));
}

/// A process whose second thread does not rest before all of it does.
fn has_threads() {
    std::thread::spawn(|| {
        println!("runs");
        loop {
            std::hint::spin_loop();
        }
    });
    loop {
        std::thread::park();
    }
}

fn a_process_with_many_threads_is_at_rest_when_all_of_them_are() {
    let mut child = program("has_threads").stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let record = || ProcessRecord::of(child.id()).unwrap();
    assert!(!record().is_at_rest().unwrap());
    assert!(threads_of(child.id()).unwrap().len() == 2);
    hold(child.id()).send(Signal::STOP).unwrap();
    let deadline = Deadline::after(SOON);
    while !record().is_at_rest().unwrap() {
        assert!(!deadline.has_passed());
        std::thread::yield_now();
    }
    hold(child.id()).send(Signal::KILL).unwrap();
    child.wait().unwrap();
}
