//! The forkserver: one per process, survived by its children, and invisible in what a child inherits.
//!
//! This file is not called like the server, as a test is known to `ps`, and so to its own cases, by its file's name.

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{SOON, again, assert_all_end, hear, hold, pipe, rest, server_of, start, tell, wait_for};
use procession_launch::{Context, JoinError, Process, StartError, StartMethod, active_children};
use procession_sys::{
    Bell, Deadline, Interest, Scarcity, Signal, SignalMask, close_standard_stream, limit, pid, poll_one, processors,
    run_on, send_signal, set_umask, set_variable,
};
use procession_testkit::{ProcessInfo, children_of, open_descriptors_of};
use procession_wire::Descriptor;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        all_children_of_a_process_come_from_one_server,
        sigint_to_the_server_is_ignored,
        sigint_to_the_whole_group_ends_children_and_not_the_server,
        a_killed_server_is_replaced,
        a_killed_servers_running_children_complete_and_their_results_arrive,
        a_status_that_the_server_took_along_is_255,
        a_signal_that_ended_a_child_after_its_server_is_unknown,
        a_wait_that_began_before_the_server_was_killed_ends,
        nothing_runs_twice_while_servers_are_killed within 60,
        a_server_that_is_killed_again_and_again_is_an_error_or_a_child within 60,
        a_stopped_server_delays_a_start_and_loses_nothing,
        a_start_that_may_not_wait_for_a_stopped_server_is_an_error_and_the_next_has_another,
        a_start_with_more_time_is_made_by_another_server_than_one_that_is_stopped,
        a_stopped_server_that_was_replaced_ends_after_its_last_child,
        a_start_that_waits_for_a_server_or_its_preloading_can_be_called_off,
        a_nursery_that_does_not_answer_is_told_and_stays,
        a_stopped_server_costs_an_ended_child_its_exit_code_and_not_its_result,
        a_killed_server_is_reaped_by_the_next_start_of_any_kind,
        a_killed_server_is_reaped_by_active_children,
        a_server_holds_nothing_of_children_that_have_ended,
        a_server_keeps_no_directory_busy,
        a_child_has_a_server_of_its_own,
        the_current_directory_is_that_of_the_start,
        a_renamed_directory_is_still_the_current_one,
        the_environment_is_that_of_the_start,
        the_umask_is_that_of_the_start,
        the_signal_mask_is_that_of_the_starting_thread,
        the_limits_are_those_of_the_start,
        the_affinity_is_that_of_the_starting_thread,
        the_streams_are_those_of_the_start,
        streams_that_are_closed_at_the_start_are_nothing,
        many_threads_share_a_server_while_it_is_killed within 60,
    ];
}

/// Starts a child that must start.
fn served<F, A>(target: F, arguments: A) -> Process<F::Output>
where
    F: procession_launch::Target<A>,
    A: procession_launch::Arguments,
{
    start(StartMethod::ForkServer, target, arguments)
}

/// This process's server.
fn server() -> ProcessInfo {
    server_of(pid()).expect("the warm-up started it")
}

/// Kills this process's server and waits until it has ended.
fn kill_server() -> u32 {
    let server = server();
    let held = hold(std::slice::from_ref(&server));
    send_signal(server.pid, 9).unwrap();
    assert_all_end(&held);
    server.pid
}

fn all_children_of_a_process_come_from_one_server() {
    let parent = || procession_sys::parent_pid();
    let contexts = [Context::forkserver(), Context::forkserver(), Context::default()];
    for context in &contexts {
        assert_eq!(context.start(parent, ()).unwrap().join().unwrap(), server().pid);
    }
    assert_eq!(children_of(pid()).len(), 1);
}

fn sigint_to_the_server_is_ignored() {
    let (read, write) = pipe();
    let child = served(
        |from: Descriptor| {
            wait_for(from);
            5
        },
        (read,),
    );
    let before = server();
    send_signal(before.pid, 2).unwrap();
    tell(&write);
    assert_eq!(child.join().unwrap(), 5);
    assert_eq!(served(procession_sys::parent_pid, ()).join().unwrap(), before.pid);
}

/// Ctrl-C: the children have the default action, which the server's must not have become.
fn sigint_to_the_whole_group_ends_children_and_not_the_server() {
    let (read, write) = pipe();
    let child = served(common::tell_and_block, (write,));
    hear(&read);
    let before = server();
    for number in [before.pid, child.pid()] {
        send_signal(number, 2).unwrap();
    }
    assert_eq!(child.wait().unwrap().exitcode(), -2);
    assert_eq!(server().pid, before.pid);
}

fn a_killed_server_is_replaced() {
    for _ in 0..3 {
        let before = kill_server();
        assert_eq!(served(|| 5, ()).join().unwrap(), 5);
        assert_ne!(server().pid, before);
    }
}

fn a_killed_servers_running_children_complete_and_their_results_arrive() {
    let (read, write) = pipe();
    let children: Vec<_> = (0..5)
        .map(|number: u32| {
            let wait_and_return = |from: Descriptor, number: u32| {
                wait_for(from);
                ("x".repeat(100_000), number)
            };
            served(wait_and_return, (read.clone(), number))
        })
        .collect();
    drop(read);
    kill_server();
    assert!(children.iter().all(|child| child.is_alive()));
    assert_eq!(served(|| 6, ()).join().unwrap(), 6, "and a new child starts meanwhile");
    drop(write);
    for (number, child) in (0..).zip(children) {
        assert_eq!(child.join().unwrap(), ("x".repeat(100_000), number));
    }
}

fn a_status_that_the_server_took_along_is_255() {
    let (read, write) = pipe();
    let child = served(
        |from: Descriptor| -> () {
            wait_for(from);
            std::process::exit(7)
        },
        (read,),
    );
    kill_server();
    assert!(child.is_alive());
    assert_eq!(child.exitcode(), None);
    drop(write);
    let status = child.wait().unwrap();
    assert_eq!((status.exitcode(), status.code(), status.is_known()), (255, Some(255), false));
    match child.join() {
        Err(JoinError::Exited { code: 255, .. }) => {}
        other => panic!("{other:?}"),
    }
}

fn a_signal_that_ended_a_child_after_its_server_is_unknown() {
    let child = served(common::block, ());
    kill_server();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().exitcode(), 255);
}

fn a_wait_that_began_before_the_server_was_killed_ends() {
    let (read, write) = pipe();
    let child = served(wait_for, (read,));
    let status = thread::scope(|scope| {
        let waiting = scope.spawn(|| child.wait().unwrap());
        let kill = scope.spawn(kill_server);
        kill.join().unwrap();
        drop(write);
        waiting.join().unwrap()
    });
    assert_eq!(status.exitcode(), 255);
    child.join().unwrap();
}

/// How many servers are killed at least.
const KILLS_MIN: u32 = 4;

/// Kills a process's servers, each as soon as it is seen, until told to end; tells of the first ones.
fn kill_servers_of(parent: u32, until: Descriptor, kills: Descriptor) {
    let (mut n_killed, mut last) = (0, 0);
    while !poll_one(&until, Interest::Read, Deadline::NOW).unwrap() {
        // One that was killed may be there for a while, and counts once.
        let Some(server) = server_of(parent).filter(|server| server.pid != last) else { continue };
        if send_signal(server.pid, 9).is_err() {
            continue;
        }
        (n_killed, last) = (n_killed + 1, server.pid);
        if n_killed <= KILLS_MIN {
            tell(&kills);
        }
    }
}

/// A process that kills this process's servers. It may be without a processor for longer than many starts take.
struct Killer {
    process: Process<()>,
    until: Descriptor,
    kills: Descriptor,
    n_heard: u32,
}

impl Killer {
    /// It has killed a server when this is back.
    fn start() -> Self {
        let ((read, until), (kills, told)) = (pipe(), pipe());
        let process = start(StartMethod::Spawn, kill_servers_of, (pid(), read, told));
        hear(&kills);
        Self { process, until, kills, n_heard: 1 }
    }

    /// True when it has killed as many as a case wants.
    fn has_killed_enough(&mut self) -> bool {
        while self.n_heard < KILLS_MIN && poll_one(&self.kills, Interest::Read, Deadline::NOW).unwrap() {
            hear(&self.kills);
            self.n_heard += 1;
        }
        self.n_heard >= KILLS_MIN
    }

    /// No server is killed after this.
    fn end(self) {
        tell(&self.until);
        self.process.join().unwrap();
    }
}

/// Leaves a mark that tells the starts from each other.
fn mark(to: Descriptor, number: u32) -> u32 {
    writeln!(File::from(again(&to)), "{number}").unwrap();
    number
}

fn nothing_runs_twice_while_servers_are_killed() {
    let (marks, write) = pipe();
    let mut killer = Killer::start();
    let mut begun = Vec::new();
    let asked = Instant::now();
    for number in 0.. {
        let are_enough = number >= 200 || asked.elapsed() > Duration::from_secs(2);
        if are_enough && killer.has_killed_enough() {
            break;
        }
        // One server after the other may be killed before it can serve: an error, and then nothing has run.
        let Ok(child) = Context::forkserver().start(mark, (write.clone(), number)) else { continue };
        // A child that was killed with its server in its first moment has not begun, and its status is unknown.
        match child.join() {
            Ok(value) => assert_eq!(value, number),
            Err(JoinError::Exited { code: 255, .. }) => continue,
            Err(other) => panic!("{other}"),
        }
        begun.push(number.to_string());
    }
    killer.end();
    drop(write);
    let marks = rest(marks);
    let mut seen: Vec<String> = marks.lines().map(str::to_owned).collect();
    let n_seen = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), n_seen, "something ran twice: {marks}");
    assert!(begun.iter().all(|number| seen.contains(number)), "something was said to have run and has not");
    assert_eq!(served(|| 5, ()).join().unwrap(), 5);
}

fn a_server_that_is_killed_again_and_again_is_an_error_or_a_child() {
    let mut killer = Killer::start();
    for number in 0_u32.. {
        if number >= 30 && killer.has_killed_enough() {
            break;
        }
        match Context::forkserver().start(|number: u32| number, (number,)) {
            Ok(child) => drop(child.wait().unwrap()),
            Err(error) => assert!(error.to_string().contains("forkserver"), "{error}"),
        }
    }
    killer.end();
    assert_eq!(served(|| 5, ()).join().unwrap(), 5);
}

fn a_stopped_server_delays_a_start_and_loses_nothing() {
    let stopped = server();
    send_signal(stopped.pid, common::SIGSTOP).unwrap();
    common::wait_for_state(stopped.pid, 'T');
    let (read, write) = pipe();
    let value = thread::scope(|scope| {
        let start = scope.spawn(|| served(mark, (write, 5)).join().unwrap());
        assert!(!start.is_finished());
        send_signal(stopped.pid, common::SIGCONT).unwrap();
        start.join().unwrap()
    });
    assert_eq!((value, rest(read).as_str()), (5, "5\n"));
    assert_eq!(server().pid, stopped.pid);
}

/// How long a start waits that is not to wait for long: enough for some looks at a server that is stopped, also when this
/// process has no processor meanwhile, and less than the second of looks that ends a wait by itself.
const LIMIT: Duration = Duration::from_millis(900);

fn stop(server: u32) {
    send_signal(server, common::SIGSTOP).unwrap();
    common::wait_for_state(server, 'T');
}

fn a_start_that_may_not_wait_for_a_stopped_server_is_an_error_and_the_next_has_another() {
    let (go, until) = pipe();
    let child = served(|until: Descriptor| -> () { wait_and_exit(&until) }, (go,));
    let (read, write) = pipe();
    let stopped = server();
    let held = hold(std::slice::from_ref(&stopped));
    stop(stopped.pid);
    let begun = Instant::now();
    let builder = Context::forkserver().builder(mark, (write.clone(), 5)).name("hasty");
    let error = builder.patience(Some(LIMIT), None).start().unwrap_err();
    assert!((LIMIT..SOON).contains(&begun.elapsed()));
    let text = error.to_string();
    let told = ["\"hasty\"", &format!("forkserver (pid {})", stopped.pid), &format!("{LIMIT:?}"), "kill -CONT"];
    assert!(told.iter().all(|told| text.contains(told)), "{text}");
    assert!(
        matches!(error, StartError::Unanswered { after: LIMIT, is_nursery: false, is_stopped: true, .. }),
        "{error:?}"
    );
    assert_eq!(served(mark, (write, 6)).join().unwrap(), 6);
    assert_eq!(active_children().len(), 1);
    send_signal(stopped.pid, common::SIGCONT).unwrap();
    tell(&until);
    assert_eq!(child.wait().unwrap().exitcode(), 7, "the old server still tells of its children");
    assert_all_end(&held);
    assert!(active_children().is_empty()); // Reaps it as well.
    assert_eq!(rest(read), "6\n", "what was given up never runs");
}

/// More time than it takes to see that a server is stopped, and more than that may take.
const MORE: Duration = Duration::from_secs(60);

fn a_start_with_more_time_is_made_by_another_server_than_one_that_is_stopped() {
    let (read, write) = pipe();
    let stopped = server();
    let held = hold(std::slice::from_ref(&stopped));
    stop(stopped.pid);
    let begun = Instant::now();
    let started = Context::forkserver().builder(mark, (write, 5)).patience(Some(MORE), None).start();
    assert!(begun.elapsed() < SOON);
    assert_eq!(started.unwrap().join().unwrap(), 5);
    assert_all_end(&held); // It has no children, so that nobody misses it.
    assert!(active_children().is_empty()); // Reaps it as well.
    assert_eq!(rest(read), "5\n", "it has run once");
}

fn a_stopped_server_that_was_replaced_ends_after_its_last_child() {
    let (go, until) = pipe();
    let child = served(|until: Descriptor| -> () { wait_and_exit(&until) }, (go,));
    let stopped = server();
    let held = hold(std::slice::from_ref(&stopped));
    stop(stopped.pid);
    let started = Context::forkserver().builder(|| (), ()).patience(Some(LIMIT), None).start();
    assert!(matches!(started, Err(StartError::Unanswered { .. })), "{started:?}");
    assert_eq!(active_children().len(), 1);
    common::wait_for_state(stopped.pid, 'T');
    tell(&until);
    assert_eq!(child.wait().unwrap().exitcode(), 255, "it goes on, and nobody tells how it ended");
    drop(child);
    assert!(active_children().is_empty());
    assert_all_end(&held);
    assert!(active_children().is_empty()); // Reaps it.
}

fn wait_and_exit(until: &Descriptor) {
    wait_for(until.clone());
    std::process::exit(7)
}

/// The server's functions: the first never ends.
fn preload_for_ever() {
    loop {
        thread::park();
    }
}

fn a_start_that_waits_for_a_server_or_its_preloading_can_be_called_off() {
    let stopped = server();
    stop(stopped.pid);
    let hanging = Context::forkserver().preload(preload_for_ever);
    let n_servers = children_of(pid()).len();
    for context in [Context::forkserver(), hanging.clone()] {
        let bell = Arc::new(Bell::new().unwrap());
        thread::scope(|scope| {
            let start = || context.builder(|| (), ()).patience(None, Some(Arc::clone(&bell))).start();
            let starts = [scope.spawn(start), scope.spawn(start)];
            assert!(starts.iter().all(|start| !start.is_finished()));
            bell.ring();
            for start in starts {
                let error = start.join().unwrap().unwrap_err();
                assert!(error.to_string().contains("called off"), "{error}");
            }
        });
    }
    assert_eq!(children_of(pid()).len(), n_servers, "a server that preloads for nobody is gone");
    assert_eq!(server().pid, stopped.pid, "and one that nobody waits for stays");
    send_signal(stopped.pid, common::SIGCONT).unwrap();
    served(|| (), ()).join().unwrap();
}

fn a_nursery_that_does_not_answer_is_told_and_stays() {
    let child = start(StartMethod::Spawn, has_a_stopped_nursery, ());
    assert!(matches!(child.join(), Ok(true)));
}

/// In a process of one thread.
fn has_a_stopped_nursery() -> bool {
    let context = Context::nursery().unwrap();
    let nursery = children_of(pid()).remove(0).pid;
    stop(nursery);
    for limit in [LIMIT, LIMIT, MORE] {
        let begun = Instant::now();
        match context.builder(|| (), ()).patience(Some(limit), None).start() {
            Err(StartError::Unanswered { server, is_nursery: true, is_stopped: true, after, .. }) => {
                assert_eq!(server, nursery);
                assert!((after..SOON).contains(&begun.elapsed()) && after <= limit, "{after:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    send_signal(nursery, common::SIGCONT).unwrap();
    context.start(procession_sys::parent_pid, ()).unwrap().join().unwrap() == nursery
}

fn a_stopped_server_costs_an_ended_child_its_exit_code_and_not_its_result() {
    const STOP: i32 = 19;
    const CONTINUE: i32 = 18;
    let (read, write) = pipe();
    let others: Vec<_> = (0..20).map(|_| served(wait_for, (read.clone(),))).collect();
    let child = served(wait_for, (read,));
    send_signal(server().pid, STOP).unwrap();
    drop(write);
    assert!(poll_one(child.sentinel(), Interest::Read, Deadline::after(SOON)).unwrap(), "it ends by itself");
    assert!(!child.is_alive());
    let status = child.wait().unwrap();
    assert_eq!((status.exitcode(), status.is_known()), (255, false));
    child.join().unwrap();
    let begun = Instant::now();
    for child in others {
        assert_eq!(child.wait().unwrap().exitcode(), 255);
    }
    // Each alone would cost two seconds, all of them forty.
    assert!(begun.elapsed() < SOON, "once is enough: {:?}", begun.elapsed());
    send_signal(server().pid, CONTINUE).unwrap();
    served(|| (), ()).join().unwrap();
}

fn a_killed_server_is_reaped_by_the_next_start_of_any_kind() {
    let before = kill_server();
    start(StartMethod::Spawn, || (), ()).join().unwrap();
    assert_eq!(procession_testkit::process(before), None);
}

fn a_killed_server_is_reaped_by_active_children() {
    let before = kill_server();
    assert!(active_children().is_empty());
    assert_eq!(procession_testkit::process(before), None);
}

fn a_server_holds_nothing_of_children_that_have_ended() {
    let count = || open_descriptors_of(server().pid).unwrap().len();
    let before = count();
    let (read, write) = pipe();
    let children: Vec<_> = (0..20).map(|_| served(wait_for, (read.clone(),))).collect();
    // One descriptor that was open before is the next child's lifeline, which the first of these took.
    assert!(count() >= before - 1 + 20, "a line for each");
    drop(write);
    for child in children {
        child.join().unwrap();
    }
    let started = Instant::now();
    while count() > before || !children_of(server().pid).is_empty() {
        assert!(started.elapsed() < SOON, "{:?}", open_descriptors_of(server().pid));
    }
}

fn a_server_keeps_no_directory_busy() {
    let cwd = fs::read_link(format!("/proc/{}/cwd", server().pid)).unwrap();
    assert_eq!(cwd, PathBuf::from("/"));
}

fn a_child_has_a_server_of_its_own() {
    let told = || {
        served(|| (), ()).join().unwrap();
        (pid(), server_of(pid()).expect("a server").parent)
    };
    let (child, parent_of_server) = served(told, ()).join().unwrap();
    assert_eq!(child, parent_of_server);
    assert_ne!(child, pid());
}

fn directory() -> PathBuf {
    std::env::current_dir().unwrap()
}

fn the_current_directory_is_that_of_the_start() {
    for wanted in ["/", "/proc", "/sys"] {
        std::env::set_current_dir(wanted).unwrap();
        assert_eq!(served(directory, ()).join().unwrap(), PathBuf::from(wanted));
    }
}

fn a_renamed_directory_is_still_the_current_one() {
    let old = std::env::temp_dir().join(procession_testkit::unique_name());
    let new = old.with_extension("new");
    fs::create_dir(&old).unwrap();
    std::env::set_current_dir(&old).unwrap();
    fs::rename(&old, &new).unwrap();
    let told = served(directory, ()).join();
    fs::remove_dir(&new).unwrap();
    assert_eq!(told.unwrap(), new);
    // Removed it has no name, and is the current directory all the same.
    let told = served(|| fs::read_link("/proc/self/cwd").unwrap(), ()).join().unwrap();
    assert_eq!(told, PathBuf::from(format!("{} (deleted)", new.display())));
}

fn the_environment_is_that_of_the_start() {
    let variable = || std::env::var("CHANGED").ok();
    assert_eq!(served(variable, ()).join().unwrap(), None);
    set_variable("CHANGED", "after the server began").unwrap();
    assert_eq!(served(variable, ()).join().unwrap().as_deref(), Some("after the server began"));
    set_variable("CHANGED", "again").unwrap();
    assert_eq!(served(variable, ()).join().unwrap().as_deref(), Some("again"));
    let in_libc = || std::process::Command::new("sh").args(["-c", "echo $CHANGED"]).output().unwrap().stdout;
    assert_eq!(served(in_libc, ()).join().unwrap(), b"again\n");
}

fn umask() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap().trim().to_owned()
}

fn the_umask_is_that_of_the_start() {
    for (mask, shown) in [(0o027, "0027"), (0o000, "0000"), (0o777, "0777")] {
        set_umask(mask);
        assert_eq!(served(umask, ()).join().unwrap(), shown);
    }
}

fn the_signal_mask_is_that_of_the_starting_thread() {
    let bits = || SignalMask::current().bits();
    assert_eq!(served(bits, ()).join().unwrap(), SignalMask::current().bits());
    let mask = SignalMask::EMPTY.with(Signal::TERM).with(Signal::CHLD);
    let told = thread::spawn(move || {
        mask.install();
        served(bits, ()).join().unwrap()
    });
    assert_eq!(told.join().unwrap(), mask.bits());
    assert_eq!(served(bits, ()).join().unwrap(), SignalMask::current().bits(), "not the other thread's");
}

fn the_limits_are_those_of_the_start() {
    let limits = || fs::read_to_string("/proc/self/limits").unwrap();
    assert_eq!(served(limits, ()).join().unwrap(), limits());
    for files in [100, 333] {
        limit(Scarcity::OpenFiles, Some(files)).unwrap();
        limit(Scarcity::CoreFile, Some(0)).unwrap();
        assert_eq!(served(limits, ()).join().unwrap(), limits());
    }
    let all = limits();
    // A soft limit may go up again, also in children of the server that had the lower one.
    limit(Scarcity::OpenFiles, Some(334)).unwrap();
    let told = served(limits, ()).join().unwrap();
    assert_eq!(told, limits());
    assert_ne!(told, all);
}

fn the_affinity_is_that_of_the_starting_thread() {
    let allowed = processors().unwrap();
    assert_eq!(served(|| processors().unwrap(), ()).join().unwrap(), allowed);
    for processor in allowed {
        run_on(&[processor]).unwrap();
        assert_eq!(served(|| processors().unwrap(), ()).join().unwrap(), [processor]);
    }
}

/// What a process's first three descriptors are.
fn streams() -> Vec<PathBuf> {
    (0..3).map(|at| fs::read_link(format!("/proc/self/fd/{at}")).unwrap()).collect()
}

fn the_streams_are_those_of_the_start() {
    let own = streams();
    assert_eq!(served(streams, ()).join().unwrap(), [PathBuf::from("/dev/null"), own[1].clone(), own[2].clone()]);
    // Another file in the place of this process's standard output, for as long as the file is open.
    close_standard_stream(1);
    let zero = File::open("/dev/zero").unwrap();
    assert_eq!(zero.as_raw_fd(), 1, "the lowest free number");
    let told = served(streams, ()).join().unwrap();
    assert_eq!(told, [PathBuf::from("/dev/null"), PathBuf::from("/dev/zero"), own[2].clone()]);
}

fn streams_that_are_closed_at_the_start_are_nothing() {
    (0..3).for_each(close_standard_stream);
    let told = served(streams, ()).join();
    assert_eq!(told.unwrap(), vec![PathBuf::from("/dev/null"); 3]);
}

fn many_threads_share_a_server_while_it_is_killed() {
    let (read, until) = pipe();
    let once = |parent: u32, until: Descriptor| {
        while !poll_one(&until, Interest::Read, Deadline::after(Duration::from_millis(20))).unwrap() {
            if let Some(server) = server_of(parent) {
                let _ = send_signal(server.pid, 9);
            }
        }
    };
    let killer = start(StartMethod::Spawn, once, (pid(), read));
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for number in 0..20_u32 {
                    let Ok(child) = Context::forkserver().start(|number: u32| number, (number,)) else { continue };
                    match child.join() {
                        Ok(value) => assert_eq!(value, number),
                        Err(JoinError::Exited { code: 255, .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    tell(&until);
    killer.join().unwrap();
    assert_eq!(served(|| 5, ()).join().unwrap(), 5);
}
