//! Listeners and clients on two hosts, which are network namespaces with a cable between them.
//!
//! Relies on the test kit, and on `unshare` and `ip`, with user namespaces or as root. Where these are not to be had, the
//! case says so and ends. The first host is this file's program in a namespace; it starts the second, lays the cable and
//! listens.

#[path = "../../procession-shm/tests/common/mod.rs"]
mod common;

use std::io::{self, BufRead, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use procession_ipc::{AcceptError, AuthFailure, BytesConnection, Client, ConnectError, Listener, RecvError};
use procession_testkit::program;

procession_testkit::main! {
    warm_up: common::warm_up;
    cases: [
        two_hosts_talk_as_one_does within 60,
    ];
    programs: [
        first_host, second_host,
    ];
}

const KEY: &[u8] = b"what both hosts know";

/// The addresses of the first host, the second, and nobody.
const FIRST: &str = "10.77.0.1";
const SECOND: &str = "10.77.0.2";
const NOBODY: &str = "10.77.0.3";

/// How long things may take that do not.
const SOON: Duration = Duration::from_secs(10);

/// `command` with new namespaces of its own.
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

fn two_hosts_talk_as_one_does() {
    if let Some(obstacle) = obstacle() {
        eprintln!("there cannot be two hosts here: {obstacle}");
        return;
    }
    let status = unshared("-Urn", &program("first_host")).status().unwrap();
    assert!(status.success(), "{status}");
}

/// The second host, and a way to tell it lines.
struct Second {
    process: Child,
    told: ChildStdin,
}

impl Second {
    fn start() -> Self {
        let mut process = unshared("-n", &program("second_host"));
        let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let told = process.stdin.take().unwrap();
        let mut ready = String::new();
        io::BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Self { process, told }
    }

    fn tell(&mut self, line: impl std::fmt::Display) {
        writeln!(self.told, "{line}").unwrap();
    }
}

fn first_host() {
    let mut second = Second::start();
    run(ip(&format!("link add here type veth peer name there netns {}", second.process.id())));
    run(ip(&format!("addr add {FIRST}/24 dev here")));
    run(ip("link set here up"));
    second.tell("the cable is there");
    let listener = Listener::bind(format!("{FIRST}:0")).unwrap().authkey(KEY);
    let hidden = Listener::bind("@procession-two-hosts").unwrap();
    second.tell(listener.address());

    let connection = listener.accept_bytes_timeout(SOON).unwrap();
    let peer = connection.peer().unwrap();
    assert!(peer.to_string().starts_with(SECOND) && peer.pid().is_none(), "{peer}");
    echo_largest(&connection);

    let Err(AcceptError::AuthFailed { peer, reason }) = listener.accept_bytes_timeout(SOON) else {
        panic!("a guess was accepted")
    };
    assert!(peer.to_string().starts_with(SECOND) && reason == AuthFailure::WrongKey, "{peer}: {reason}");

    // A cable that is pulled out and put in again costs time and nothing else.
    run(ip("link set here down"));
    connection.send(b"sent without a cable").unwrap();
    second.tell("the cable is out");
    assert!(matches!(connection.recv_timeout(Duration::from_millis(300)), Err(RecvError::Timeout)));
    run(ip("link set here up"));
    assert_eq!(connection.recv_timeout(SOON).unwrap(), b"received with one");

    let file = Listener::temporary().unwrap(); // Files are the same on both hosts, unlike names.
    second.tell(file.address());
    let connection = file.accept_bytes_timeout(SOON).unwrap();
    assert_eq!(connection.peer().unwrap().pid(), Some(second.process.id()));
    drop((connection, hidden));
    assert!(second.process.wait().unwrap().success());
}

fn echo_largest(connection: &BytesConnection) {
    for bytes in [0, 1, 1500, 1 << 20] {
        let message = connection.recv_timeout(SOON).unwrap();
        assert_eq!(message.len(), bytes);
        connection.send(&message).unwrap();
    }
}

fn second_host() {
    let mut lines = io::stdin().lines().map(Result::unwrap);
    println!("ready");
    assert_eq!(lines.next().unwrap(), "the cable is there");
    run(ip(&format!("addr add {SECOND}/24 dev there")));
    run(ip("link set there up"));

    let address = lines.next().unwrap();
    let connection = Client::builder(&address).unwrap().authkey(KEY).timeout(SOON).connect_bytes().unwrap();
    for bytes in [0, 1, 1500, 1 << 20] {
        let message = vec![7; bytes];
        thread::scope(|scope| {
            scope.spawn(|| connection.send(&message).unwrap());
            assert!(connection.recv_timeout(SOON).unwrap() == message);
        });
    }
    assert!(matches!(Client::connect_bytes(&address, b"a guess"), Err(ConnectError::AuthFailed { .. })));

    let begun = Instant::now();
    let nobody = Client::builder(format!("{NOBODY}:5")).unwrap().authkey(KEY).timeout(Duration::from_millis(300));
    assert!(matches!(nobody.connect_bytes(), Err(ConnectError::Timeout { .. })));
    assert!(begun.elapsed() < Duration::from_secs(3), "ten times what was allowed");
    let Err(ConnectError::System { error, .. }) = Client::connect_bytes("@procession-two-hosts", b"") else {
        panic!("a name of the other host is not this one's")
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    assert_eq!(lines.next().unwrap(), "the cable is out");
    assert_eq!(connection.recv_timeout(SOON).unwrap(), b"sent without a cable");
    connection.send(b"received with one").unwrap();

    let file = Client::connect_bytes(lines.next().unwrap(), b"").unwrap();
    assert!(matches!(file.recv(), Err(RecvError::Disconnected)));
}
