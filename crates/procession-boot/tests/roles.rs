//! How a marked process becomes its role, and how everything that is not quite right is refused before `main`.
//!
//! Relies on the mark's variable by its name, as whoever wants to deceive the constructor would.

use std::process::Output;

use procession_boot::{Boot, BootError, Entry, FunctionId, ImageId, Launch, function_id, own_lifeline, resolve};
use procession_sys::{Deadline, Ended, PacketSocket, PidFd, Signal, dev_null};
use procession_testkit::{open_descriptors, program};

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        a_launched_process_plays_its_role_and_exits_with_its_code,
        a_lifeline_is_made_once,
        a_role_gets_a_socket_a_lifeline_and_nothing_else,
        a_role_dies_with_whoever_launched_it,
        an_unmarked_program_reaches_its_main,
        a_damaged_mark_is_refused_before_main,
        a_mark_for_another_constructor_passes_by,
        a_mark_with_descriptors_that_are_not_there_is_refused,
        a_program_that_a_role_starts_has_no_mark,
        another_program_is_refused_before_it_runs,
        a_missing_executable_is_an_error,
        a_function_is_named_alike_in_every_process_of_the_image,
        an_image_is_identified_by_its_build,
    ];
    programs: [plain, launches_and_waits];
}

/// The constructor's variable.
const MARK: &str = "PROCESSION_CHILD";

/// A role that answers the packet it gets with what it finds, and exits with code 7.
struct Answer;

impl Entry for Answer {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        let question = boot.socket.receive(64, Deadline::NEVER).unwrap().unwrap();
        let answer = match question.bytes.as_slice() {
            b"open" => open_descriptors().len().to_string(),
            b"mark" => {
                let output = std::process::Command::new("env").output().unwrap();
                String::from_utf8(output.stdout).unwrap().contains(MARK).to_string()
            }
            b"name" => function_id::<Double>().unwrap().to_string(),
            _ => "?".to_owned(),
        };
        boot.socket.send([answer.as_bytes()], &[]).unwrap();
        7
    }
}

/// A role that waits until its socket closes, which it does not.
struct Wait;

impl Entry for Wait {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        boot.socket.send([b"runs"], &[]).unwrap();
        loop {
            std::thread::park();
        }
    }
}

/// A function that is named.
struct Double;

impl Entry for Double {
    type Input = u64;
    type Output = u64;

    fn enter(input: u64) -> u64 {
        2 * input
    }
}

/// Launches the role that answers and asks it something.
fn ask(question: &str) -> (String, Ended) {
    let (ours, theirs) = PacketSocket::pair().unwrap();
    let pid = Launch::role::<Answer>().unwrap().start(&theirs).unwrap();
    drop(theirs);
    let held = PidFd::open(pid).unwrap();
    ours.send([question.as_bytes()], &[]).unwrap();
    let answer = ours.receive(64, Deadline::NEVER).unwrap().expect("an answer");
    (String::from_utf8(answer.bytes).unwrap(), held.reap().unwrap())
}

fn a_launched_process_plays_its_role_and_exits_with_its_code() {
    assert_eq!(ask("?"), ("?".into(), Ended::Exited(7)));
}

/// The lifeline stays open for as long as the process, so it belongs to no case.
fn warm_up() {
    own_lifeline().unwrap();
}

fn a_lifeline_is_made_once() {
    let before = open_descriptors().len();
    own_lifeline().unwrap();
    assert_eq!(open_descriptors().len(), before);
}

fn a_role_gets_a_socket_a_lifeline_and_nothing_else() {
    let null = dev_null().unwrap();
    procession_sys::keep_on_exec(&null).unwrap();
    // Streams, socket, the lifeline it was given and the one that it has armed.
    assert_eq!(ask("open").0, "6");
}

/// Launches a role, says its number, and waits for ever.
fn launches_and_waits() {
    let (ours, theirs) = PacketSocket::pair().unwrap();
    let pid = Launch::role::<Wait>().unwrap().start(&theirs).unwrap();
    ours.receive(64, Deadline::NEVER).unwrap().unwrap();
    println!("{pid}");
    loop {
        std::thread::park();
    }
}

fn a_role_dies_with_whoever_launched_it() {
    let mut parent = program("launches_and_waits").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(parent.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    let held = PidFd::open(line.trim().parse().unwrap()).unwrap();
    assert!(!held.wait_ended(Deadline::NOW).unwrap());
    parent.kill().unwrap();
    parent.wait().unwrap();
    // Ten times the second that is promised; the case's own deadline is the fence.
    assert!(held.wait_ended(Deadline::after(std::time::Duration::from_secs(10))).unwrap());
}

fn plain() {
    println!("main was reached");
}

/// Runs a program with a mark.
fn with_mark(mark: &str) -> Output {
    program("plain").env(MARK, mark).output().unwrap()
}

fn an_unmarked_program_reaches_its_main() {
    let output = program("plain").output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"main was reached\n"[..]));
}

/// Refused by its constructor, with words, a code and no `main`.
fn assert_refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("procession: this process was started as a child, but") && said.contains(words), "{said}");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(255), 0));
}

fn a_damaged_mark_is_refused_before_main() {
    for mark in ["", "nonsense", "1:2:3:4", "1:2:3:4:5:b:more", ":::::", "1:2:3:0:1:b"] {
        assert_refused(&with_mark(mark), "its mark is damaged");
    }
}

fn a_mark_for_another_constructor_passes_by() {
    let output = with_mark("1:2:3:4:5:b00");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"main was reached\n"[..]));
}

/// A mark of this very constructor needs its place in the image, which a role's own environment shows.
fn a_mark_with_descriptors_that_are_not_there_is_refused() {
    let (ours, theirs) = PacketSocket::pair().unwrap();
    let pid = Launch::role::<Wait>().unwrap().start(&theirs).unwrap();
    ours.receive(64, Deadline::NEVER).unwrap().unwrap();
    // The kernel shows the environment that a process began with, as long as the process is there.
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let held = PidFd::open(pid).unwrap();
    held.send(Signal::KILL).unwrap();
    held.reap().unwrap();
    let mark = environment.split('\0').find_map(|line| line.strip_prefix(MARK)?.strip_prefix('=')).unwrap();
    assert_refused(&with_mark(mark), "the descriptors that its parent gave it are missing");
    let mut parts: Vec<&str> = mark.split(':').collect();
    (parts[3], parts[4]) = ("900", "901");
    assert_refused(&with_mark(&parts.join(":")), "the descriptors that its parent gave it are missing");
}

fn a_program_that_a_role_starts_has_no_mark() {
    assert_eq!(ask("mark").0, "false");
}

fn another_program_is_refused_before_it_runs() {
    let (_ours, theirs) = PacketSocket::pair().unwrap();
    let error = Launch::role::<Answer>().unwrap().executable(Some("/bin/sh".as_ref())).start(&theirs).unwrap_err();
    assert!(matches!(error, BootError::OtherImage { .. }), "{error}");
}

fn a_missing_executable_is_an_error() {
    let (_ours, theirs) = PacketSocket::pair().unwrap();
    let error = Launch::role::<Answer>().unwrap().executable(Some("/no/such".as_ref())).start(&theirs).unwrap_err();
    assert!(matches!(error, BootError::Executable { .. }), "{error}");
}

fn a_function_is_named_alike_in_every_process_of_the_image() {
    let id: FunctionId = function_id::<Double>().unwrap();
    assert_eq!(ask("name").0, id.to_string());
    assert_eq!(resolve::<u64, u64>(id).unwrap()(21), 42);
}

fn an_image_is_identified_by_its_build() {
    let own = ImageId::own().unwrap();
    assert_eq!(*own, ImageId::of_file(&std::env::current_exe().unwrap()).unwrap());
    assert_ne!(*own, ImageId::of_file("/bin/sh".as_ref()).unwrap());
    assert!(ImageId::of_file("/no/such".as_ref()).is_err());
}
