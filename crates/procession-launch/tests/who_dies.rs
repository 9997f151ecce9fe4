//! Who dies when: whatever ends a process or does not, and what becomes of everybody under it, one case for each pair.
//!
//! `ROWS` and `COLUMNS` are the table of the book's page "Shutdown", which a case compares with them. The case of a cell
//! is called `method::row::column`. It starts a parent with one line of descendants, makes the parent do what the row
//! says, and watches the last of the line. Everybody is told what to do by a signal that he waits for, and says in a
//! line on the common standard output what has become of him.

mod common;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;

use common::{SIGUSR1, SOON, methods, server_of, wait_for_state};
use procession_launch::{Context, Process, StartMethod};
use procession_sys::{
    Deadline, PidFd, Signal, SignalMask, exit_now, pid, send_signal, send_signal_to_group, take_signal,
};
use procession_testkit::{Case, Suite, program};

/// What a parent does, or what is done to it.
struct Row {
    /// As the case's name has it.
    name: &'static str,
    /// As the book has it.
    label: &'static str,
    /// The exit code of a normal end.
    code: Option<i32>,
    fates: [Fate; COLUMNS.len()],
}

/// The descendant that is watched.
struct Column {
    name: &'static str,
    label: &'static str,
    /// The line down to him: a child, a daemon, a program that `Command` starts; or the server.
    line: &'static str,
}

/// What becomes of a descendant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The parent's end waits for his own.
    Waited,
    /// He is asked to end.
    Terminated,
    /// He gets what the terminal sends.
    Interrupted,
    /// He gets it, unless his own parent's end kills him first.
    InterruptedOrKilled,
    /// The kernel ends him.
    Killed,
    /// He ends, as he has nobody to serve.
    Ends,
    /// Nothing happens to him, nor to the parent.
    GoesOn,
    /// The parent ends and he does not.
    Survives,
}

use Fate::{Ends, GoesOn, Interrupted, InterruptedOrKilled, Killed, Survives, Terminated, Waited};

impl Fate {
    /// As the book has it.
    fn label(self) -> &'static str {
        match self {
            Waited => "waited for",
            Terminated => "SIGTERM",
            Interrupted => "SIGINT",
            InterruptedOrKilled => "SIGINT or killed",
            Killed => "killed",
            Ends => "ends",
            GoesOn => "goes on",
            Survives => "survives",
        }
    }
}

const COLUMNS: [Column; 8] = [
    Column { name: "child", label: "child", line: "c" },
    Column { name: "daemon", label: "daemon", line: "d" },
    Column { name: "child_of_child", label: "child's child", line: "cc" },
    Column { name: "daemon_of_child", label: "child's daemon", line: "cd" },
    Column { name: "child_of_daemon", label: "daemon's child", line: "dc" },
    Column { name: "daemon_of_daemon", label: "daemon's daemon", line: "dd" },
    Column { name: "forkserver", label: "forkserver", line: SERVED },
    Column { name: "program_of_child", label: "program of a child", line: "cp" },
];

/// The line whose end is not a child but the server of one.
const SERVED: &str = "cs";

/// At a normal end.
const IN_ORDER: [Fate; 8] = [Waited, Terminated, Waited, Terminated, Killed, Killed, Ends, Survives];

/// At any other end.
const AT_ONCE: [Fate; 8] = [Killed, Killed, Killed, Killed, Killed, Killed, Ends, Survives];

/// When the whole group is interrupted, and the parent dies of it.
const WITH_TERMINAL: [Fate; 8] = [
    InterruptedOrKilled,
    InterruptedOrKilled,
    InterruptedOrKilled,
    InterruptedOrKilled,
    InterruptedOrKilled,
    InterruptedOrKilled,
    Ends,
    Interrupted,
];

/// When the whole group is interrupted, and the parent has something better to do than to die.
const WITH_TERMINAL_BUT_PARENT: [Fate; 8] = [
    Interrupted,
    Interrupted,
    InterruptedOrKilled,
    InterruptedOrKilled,
    InterruptedOrKilled,
    InterruptedOrKilled,
    GoesOn,
    Interrupted,
];

const ROWS: [Row; 14] = [
    Row { name: "main_returns", label: "its `main` returns", code: Some(0), fates: IN_ORDER },
    Row { name: "main_panics", label: "its `main` panics", code: Some(101), fates: IN_ORDER },
    Row { name: "std_exit", label: "calls `std::process::exit`", code: Some(3), fates: IN_ORDER },
    Row { name: "our_exit", label: "calls `procession::exit`", code: Some(3), fates: IN_ORDER },
    Row { name: "sigterm", label: "dies of SIGTERM", code: None, fates: AT_ONCE },
    Row { name: "sigint", label: "dies of SIGINT, sent to it alone", code: None, fates: AT_ONCE },
    Row { name: "ctrl_c", label: "dies of Ctrl-C (SIGINT to the whole group)", code: None, fates: WITH_TERMINAL },
    Row { name: "ctrl_c_handled", label: "handles Ctrl-C and goes on", code: None, fates: WITH_TERMINAL_BUT_PARENT },
    Row { name: "sigkill", label: "dies of SIGKILL", code: None, fates: AT_ONCE },
    Row { name: "abort", label: "aborts", code: None, fates: AT_ONCE },
    Row { name: "_exit", label: "calls `_exit`", code: None, fates: AT_ONCE },
    Row { name: "exec", label: "executes another program", code: None, fates: AT_ONCE },
    Row { name: "handle_dropped", label: "drops the handle", code: None, fates: [GoesOn; 8] },
    Row { name: "starting_thread_ends", label: "ends the thread that started it", code: None, fates: [GoesOn; 8] },
];

fn main() -> ExitCode {
    let mut suite = Suite::new().warm_up(common::warm_up).program("parent", parent).program("outsider", outsider);
    suite = suite.case(Case::new("the_book_has_the_same_table", the_book_has_the_same_table));
    let rows = ROWS.iter().filter(|row| row.name != "main_panics" || cfg!(panic = "unwind"));
    for (row, (column, fate)) in rows.flat_map(|row| COLUMNS.iter().zip(row.fates).map(move |cell| (row, cell))) {
        for (label, method) in methods() {
            let has_no_server = column.line == SERVED && method != StartMethod::ForkServer;
            // A process with two threads is not forked.
            let is_forked_by_thread = row.name == "starting_thread_ends" && method == StartMethod::Fork;
            if !has_no_server && !is_forked_by_thread {
                let name = format!("{label}::{}::{}", row.name, column.name);
                suite = suite.case(Case::new(name, move || check(method, row, column, fate)));
            }
        }
    }
    suite.main()
}

/// What the parent is told: the row, the line under it, and how its line is started.
const ROW: &str = "ROW";
const LINE: &str = "LINE";
const METHOD: &str = "START_METHOD";

/// SIGUSR1, with which a case lets somebody go on.
fn go_on_mask() -> SignalMask {
    SignalMask::from_bits(1 << (SIGUSR1 - 1))
}

/// Says what has become of somebody.
fn say(who: &str, what: &str) {
    println!("{who} {what}");
}

/// The parent, up to what the row makes it do. What kills it is not blocked.
fn parent() {
    let variable = |name| std::env::var(name).unwrap();
    let (row, line, method) = (variable(ROW), variable(LINE), variable(METHOD));
    let mask = if row == "ctrl_c_handled" { go_on_mask().with(Signal::INT) } else { go_on_mask() };
    mask.install();
    let start = move || {
        let next = start_next(&method, &line, 0);
        say("parent", &pid().to_string());
        next
    };
    // Elsewhere it is the main thread that starts, as in most programs.
    let next = if row == "starting_thread_ends" { start_from_thread(mask, start) } else { start() };
    if row != "starting_thread_ends" {
        take_signal(mask).unwrap();
    }
    match row.as_str() {
        "handle_dropped" => drop(next),
        "ctrl_c_handled" | "starting_thread_ends" => {}
        _ => return leave_by(&row),
    }
    say("parent", "acted");
    common::block();
}

/// Starts the line from a thread of its own, which ends when the signal comes.
fn start_from_thread<T: Send + 'static>(mask: SignalMask, start: impl FnOnce() -> T + Send + 'static) -> T {
    let (end, may_end) = mpsc::channel::<()>();
    let starter = thread::spawn(move || {
        let next = start();
        let _ = may_end.recv();
        next
    });
    take_signal(mask).unwrap();
    drop(end);
    starter.join().unwrap()
}

/// The parent's end.
fn leave_by(row: &str) {
    say("parent", "leaves");
    match row {
        "main_panics" => panic!("planted"),
        "std_exit" => std::process::exit(3),
        "our_exit" => procession_launch::exit(3),
        "abort" => std::process::abort(),
        "_exit" => exit_now(3),
        "exec" => panic!("{}", Command::new("sleep").arg("600").exec()),
        _ => {}
    }
}

/// Starts the next of the line, if there is one.
fn start_next(method: &str, line: &str, depth: usize) -> Option<Process<()>> {
    let kind = line[depth..].chars().next().filter(|&kind| kind != 's')?;
    if kind == 'p' {
        drop(program("outsider").spawn().unwrap());
        return None;
    }
    let known = StartMethod::ALL.into_iter().find(|known| known.name() == method).unwrap();
    let builder = Context::new(known).builder(live, (method.to_owned(), line.to_owned(), depth + 1));
    Some(builder.daemon(kind == 'd').start().unwrap())
}

/// A child, at some place in the line: lets it grow, and waits for what becomes of him.
fn live(method: String, line: String, depth: usize) {
    wait_for_fate(&line[..depth], || start_next(&method, &line, depth));
}

/// A program that knows nothing of those who started it.
fn outsider() {
    wait_for_fate("cp", || None);
}

/// Waits for the signal that tells what to do. Those that kill are said and then died of.
fn wait_for_fate(who: &str, start: impl FnOnce() -> Option<Process<()>>) {
    let mask = go_on_mask().with(Signal::INT).with(Signal::TERM);
    mask.install();
    let _next = start();
    say(who, &pid().to_string());
    let taken = take_signal(mask).unwrap();
    if taken == SIGUSR1 {
        return say(who, "done");
    }
    say(who, if taken == Signal::TERM.number() { "terminated" } else { "interrupted" });
    send_signal(pid(), taken).unwrap();
    SignalMask::EMPTY.install();
}

/// A parent and its line, as the case sees them.
struct Family {
    parent: Child,
    output: BufReader<ChildStdout>,
    said: Vec<String>,
    /// Those between the parent and the last, by their numbers.
    middle: Vec<(u32, PidFd)>,
    /// The last of the line.
    last: (u32, PidFd),
    line: &'static str,
}

impl Family {
    /// Starts it, and waits until everybody has announced himself. Signals that come earlier than somebody waits for
    /// them are blocked and kept.
    fn start(method: StartMethod, row: &Row, line: &'static str) -> Self {
        let mut command = program("parent");
        command.env(ROW, row.name).env(LINE, line).env(METHOD, method.name());
        let mut parent = command.process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let (mut output, mut said) = (BufReader::new(parent.stdout.take().unwrap()), Vec::new());
        number_of("parent", &mut output, &mut said);
        let announced = 1..=line.trim_end_matches('s').len();
        let mut numbers: Vec<u32> = announced.map(|depth| number_of(&line[..depth], &mut output, &mut said)).collect();
        if line == SERVED {
            numbers.push(server_of(parent.id()).expect("a server").pid);
        }
        let held = numbers.into_iter().map(|number| (number, PidFd::open(number).unwrap()));
        let mut middle: Vec<(u32, PidFd)> = held.collect();
        let last = middle.pop().unwrap();
        Self { parent, output, said, middle, last, line }
    }

    /// Makes the row happen. A normal end is let go on, as soon as the parent sleeps in it.
    fn act(&mut self, row: &Row) {
        let parent = self.parent.id();
        match row.name {
            "sigterm" => send_signal(parent, Signal::TERM.number()).unwrap(),
            "sigint" => send_signal(parent, Signal::INT.number()).unwrap(),
            "sigkill" => send_signal(parent, Signal::KILL.number()).unwrap(),
            "ctrl_c" | "ctrl_c_handled" => send_signal_to_group(parent, Signal::INT.number()).unwrap(),
            _ => send_signal(parent, SIGUSR1).unwrap(),
        }
        if row.code.is_some() && self.line.starts_with('c') {
            self.hear("parent leaves");
            wait_for_state(parent, 'S');
            self.middle.iter().for_each(|(number, _)| send_signal(*number, SIGUSR1).unwrap());
        }
    }

    /// Reads on until this has been said.
    fn hear(&mut self, wanted: &str) {
        read_until(|line| line == wanted, &mut self.output, &mut self.said);
    }

    /// Lets the last of the line do what he is there for, which shows that nothing has happened to him.
    fn let_last_work(&mut self) {
        send_signal(self.last.0, SIGUSR1).unwrap();
        self.hear(&format!("{} done", self.line));
    }

    /// Ends whoever is left, and returns what the last of the line has said, but for his number.
    fn end(mut self) -> Vec<String> {
        let _ = self.parent.kill();
        self.parent.wait().unwrap();
        self.said.extend(self.output.lines().map(Result::unwrap));
        let words = self.said.iter().filter_map(|said| said.strip_prefix(self.line)?.strip_prefix(' '));
        words.filter(|word| word.parse::<u32>().is_err()).map(str::to_owned).collect()
    }
}

/// Reads on until a line has come that is wanted, or finds it among those that came earlier.
fn read_until(wanted: impl Fn(&str) -> bool, output: &mut impl BufRead, said: &mut Vec<String>) -> String {
    loop {
        if let Some(line) = said.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "everybody has ended and said only {said:?}");
        said.push(line.trim_end().to_owned());
    }
}

/// The number with which somebody announces himself.
fn number_of(who: &str, output: &mut impl BufRead, said: &mut Vec<String>) -> u32 {
    let number = |line: &str| line.strip_prefix(who)?.strip_prefix(' ')?.parse::<u32>().ok();
    let line = read_until(|line| number(line).is_some(), output, said);
    number(&line).unwrap()
}

fn ends((_, held): &(u32, PidFd)) -> bool {
    held.wait_ended(Deadline::after(SOON)).unwrap()
}

fn has_ended((_, held): &(u32, PidFd)) -> bool {
    held.wait_ended(Deadline::NOW).unwrap()
}

fn check(method: StartMethod, row: &Row, column: &Column, fate: Fate) {
    let mut family = Family::start(method, row, column.line);
    family.act(row);
    match fate {
        Terminated | Interrupted | InterruptedOrKilled | Killed | Ends => assert!(ends(&family.last), "still there"),
        Waited => {
            assert!(family.parent.try_wait().unwrap().is_none(), "not waited for");
            family.let_last_work();
        }
        GoesOn => {
            family.hear("parent acted");
            assert!(!has_ended(&family.last));
            if column.line != SERVED {
                family.let_last_work();
            }
        }
        Survives => {
            assert!(family.middle.iter().all(ends), "his own parent is still there");
            family.let_last_work();
        }
    }
    if row.code.is_some() {
        assert_eq!(family.parent.wait().unwrap().code(), row.code);
    }
    let words = family.end();
    let expected: &[&[&str]] = match fate {
        Waited | Survives => &[&["done"]],
        GoesOn if column.line != SERVED => &[&["done"]],
        Terminated => &[&["terminated"]],
        Interrupted => &[&["interrupted"]],
        InterruptedOrKilled => &[&["interrupted"], &[]],
        Killed | Ends | GoesOn => &[&[]],
    };
    assert!(expected.iter().any(|expected| words == *expected), "{fate:?}, but he says {words:?}");
}

/// The table of the book, as this file has it.
fn table() -> String {
    let cells = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let header = [vec!["the parent"], COLUMNS.iter().map(|column| column.label).collect()].concat();
    let rule = format!("|{}\n", "---|".repeat(header.len()));
    let row = |row: &Row| cells([vec![row.label], row.fates.iter().map(|fate| fate.label()).collect()].concat());
    [cells(header), rule].into_iter().chain(ROWS.iter().map(row)).collect()
}

fn the_book_has_the_same_table() {
    let page = include_str!("../../../docs/src/guide/shutdown.md");
    assert!(page.contains(&table()), "the page lacks this table:\n{}", table());
}
