//! A manager and its workers on two hosts, which are network namespaces with a cable between them that is cut.
//!
//! Relies on the testkit, and on `unshare` and `ip`, with user namespaces or as root. Where these are not to be had, the
//! cases say so and end. The first host is this file's program in a namespace; it starts the second, lays the cable, and
//! has the manager.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::io::{self, BufRead, Lines, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use procession_ipc::TCP_SILENCE_MAX;
use procession_manager::{BaseManager, CallError, JoinableQueueProxy, LockProxy, QueueProxy, SyncManager};
use procession_testkit::program;

use common::warm_up;

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        workers_on_another_host_work_and_are_cut_off within 60,
        a_host_that_vanishes_gives_back_what_it_had within 150,
    ];
    programs: [
        first_host, first_host_for_long, second_host, second_host_for_long,
    ];
}

const KEY: &[u8] = b"what both hosts know";

/// The addresses of the first host and the second.
const FIRST: &str = "10.78.0.1";
const SECOND: &str = "10.78.0.2";

/// How long things may take that do not.
const SOON: Duration = Duration::from_secs(10);

/// How long a call of the second host may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

fn unshared(namespaces: &str, command: &Command) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.arg(namespaces).arg("--").arg(command.get_program()).args(command.get_args());
    unshare.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    unshare
}

fn ip(args: &str) -> Command {
    let mut ip = Command::new("ip");
    ip.args(args.split(' '));
    ip
}

fn run(mut command: Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Why there cannot be two hosts here.
fn obstacle() -> Option<String> {
    match unshared("-Urn", &ip("link add here type veth peer name there")).output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn on_two_hosts(first: &str) {
    if let Some(obstacle) = obstacle() {
        eprintln!("there cannot be two hosts here: {obstacle}");
        return;
    }
    let status = unshared("-Urn", &program(first)).status().unwrap();
    assert!(status.success(), "{status}");
}

fn workers_on_another_host_work_and_are_cut_off() {
    on_two_hosts("first_host");
}

fn a_host_that_vanishes_gives_back_what_it_had() {
    on_two_hosts("first_host_for_long");
}

/// The second host, a way to tell it lines, and what it says.
struct Second {
    process: Child,
    told: ChildStdin,
    said: Lines<io::BufReader<std::process::ChildStdout>>,
}

impl Second {
    /// Starts it, and lays the cable.
    fn start(name: &str) -> Self {
        let mut process = unshared("-n", &program(name));
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = process.stdin.take().unwrap();
        let said = io::BufReader::new(process.stdout.take().unwrap()).lines();
        let mut second = Self { process, told, said };
        second.hear("ready");
        run(ip(&format!("link add here type veth peer name there netns {}", second.process.id())));
        run(ip(&format!("addr add {FIRST}/24 dev here")));
        run(ip("link set here up"));
        run(ip("link set lo up"));
        second
    }

    fn tell(&mut self, line: impl std::fmt::Display) {
        writeln!(self.told, "{line}").unwrap();
    }

    fn hear(&mut self, line: &str) {
        assert_eq!(self.said.next().unwrap().unwrap(), line);
    }
}

/// The second host's side of the cable, and the manager's address.
fn cable(lines: &mut impl Iterator<Item = String>) -> String {
    println!("ready");
    let address = lines.next().unwrap();
    run(ip(&format!("addr add {SECOND}/24 dev there")));
    run(ip("link set there up"));
    address
}

fn manager() -> SyncManager {
    BaseManager::builder().address(format!("{FIRST}:0")).authkey(KEY).start().unwrap().into()
}

fn first_host() {
    let mut second = Second::start("second_host");
    let manager = manager();
    let (jobs, results) = (manager.joinable_queue::<u64>().unwrap(), manager.queue::<u64>().unwrap());
    manager.publish("jobs", &jobs).unwrap();
    manager.publish("results", &results).unwrap();
    second.tell(manager.address());
    (1..=100).for_each(|job| jobs.put(&job).unwrap());
    let sum: u64 = (0..100).map(|_| results.get_timeout(SOON).unwrap()).sum();
    assert_eq!(sum, (1..=100).map(|job| job * job).sum());
    jobs.join_timeout(SOON).unwrap();

    // Without the cable a worker's calls end in their time, and nobody here waits for it.
    run(ip("link set here down"));
    second.tell("the cable is out");
    second.hear("timed out");
    jobs.put(&1000).unwrap();
    assert_eq!(jobs.len().unwrap(), 1);

    // With it, it goes on as if nothing had been.
    run(ip("link set here up"));
    second.tell("the cable is in");
    assert_eq!(results.get_timeout(SOON).unwrap(), 1_000_000);
    jobs.join_timeout(SOON).unwrap();
    second.hear("done");
    let begun = Instant::now();
    while manager.clients().unwrap().len() > 1 {
        assert!(begun.elapsed() < SOON);
    }
    manager.shutdown().unwrap();
    // The cable goes with the second host, and with the cable the address at which the manager was.
    second.tell("end");
    assert!(second.process.wait().unwrap().success());
}

fn second_host() {
    let mut lines = io::stdin().lines().map(Result::unwrap);
    let address = cable(&mut lines);
    let builder = BaseManager::builder().address(address).authkey(KEY).call_timeout(CALL_TIMEOUT);
    let manager: SyncManager = builder.connect().unwrap().into();
    let (jobs, results): (JoinableQueueProxy<u64>, QueueProxy<u64>) =
        (manager.get("jobs").unwrap(), manager.get("results").unwrap());
    let work = || -> Result<(), CallError> {
        let job = jobs.get()?;
        results.put(&(job * job))?;
        jobs.task_done()
    };
    (0..100).for_each(|_| work().unwrap());
    assert_eq!(lines.next().unwrap(), "the cable is out");
    let begun = Instant::now();
    assert!(matches!(jobs.len(), Err(CallError::TimedOut { .. })));
    assert!(begun.elapsed() < 10 * CALL_TIMEOUT);
    println!("timed out");
    assert_eq!(lines.next().unwrap(), "the cable is in");
    // The system sends again what was lost when its own time has come.
    let begun = Instant::now();
    while let Err(error) = work() {
        assert!(matches!(error, CallError::TimedOut { .. }) && begun.elapsed() < SOON, "{error}");
    }
    drop((jobs, results, manager));
    println!("done");
    assert_eq!(lines.next().unwrap(), "end");
}

fn first_host_for_long() {
    let mut second = Second::start("second_host_for_long");
    let manager = manager();
    let lock = manager.lock().unwrap();
    manager.publish("lock", &lock).unwrap();
    second.tell(manager.address());
    second.hear("locked");
    assert!(lock.try_lock().is_err());
    run(ip("link set here down"));
    let begun = Instant::now();
    // One that answers wait for is a harder case than one that is silent: the system goes on sending.
    let guard = lock.lock_timeout(2 * TCP_SILENCE_MAX).unwrap();
    let after = begun.elapsed();
    assert!(guard.owner_died() && after < TCP_SILENCE_MAX + SOON, "{after:?}");
    assert_eq!(manager.clients().unwrap().len(), 1);
    drop(guard);
    // The other side is told as well, though its call has no time limit.
    second.hear("disconnected");
    let after = begun.elapsed();
    assert!(after < TCP_SILENCE_MAX + SOON, "{after:?}");
    manager.shutdown().unwrap();
    second.process.kill().unwrap();
    second.process.wait().unwrap();
}

fn second_host_for_long() {
    let mut lines = io::stdin().lines().map(Result::unwrap);
    let manager = SyncManager::connect(cable(&mut lines), KEY).unwrap();
    let lock: LockProxy = manager.get("lock").unwrap();
    let _guard = lock.lock().unwrap();
    println!("locked");
    let error = loop {
        if let Err(error) = manager.number_of_objects() {
            break error;
        }
    };
    assert!(error.to_string().contains(FIRST), "{error}");
    println!("disconnected");
    lines.next();
}
