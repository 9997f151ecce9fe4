//! Many processes log to one file or to the standard error: one record is one line, whoever writes beside it.

mod common;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::Output;
use std::sync::OnceLock;

use common::{methods, start};
use procession_launch::{
    CUT_MARK, Context, LogError, RECORD_BYTES_MAX, StartMethod, log_level, log_to_file, log_to_stderr,
};
use procession_sys::pid;
use procession_testkit::{program, unique_name};
use tracing::level_filters::LevelFilter;
use tracing::{debug, error, info, info_span, trace, warn};

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        children_inherit_the_file_and_the_level,
        ten_thousand_records_of_eight_children_are_whole_lines within 60,
        children_inherit_the_standard_error,
        a_forwarded_record_has_the_childs_name,
        a_child_that_forwards_hands_the_destination_down,
    ];
    cases: [
        a_record_is_one_line_whatever_is_in_it,
        a_file_that_was_not_opened_for_appending_is_refused,
        a_second_subscriber_is_refused,
        a_child_that_inherited_its_log_cannot_have_another,
    ];
    programs: [to_stderr, forwarding, forwarding_family];
}

/// What the processes of a case have written. The file has no name, so it goes with the case's process.
static WRITTEN: OnceLock<File> = OnceLock::new();

/// As for all; then the log is set up, which stays open until the process ends.
fn warm_up() {
    common::warm_up();
    let path = std::env::temp_dir().join(unique_name());
    log_to_file(LevelFilter::INFO, File::options().append(true).create(true).open(&path).unwrap()).unwrap();
    WRITTEN.set(File::open(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
}

/// The lines in the file, each without its time.
fn written() -> Vec<String> {
    let mut text = String::new();
    let mut file = WRITTEN.get().unwrap();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    lines(&text)
}

/// The lines of a text, each without its time, which must look like one.
fn lines(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'));
    let without_time = |line: &str| {
        let (time, line) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?}"));
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{line:?}");
        line.to_owned()
    };
    text.lines().map(without_time).collect()
}

fn log_each_level() -> u32 {
    error!("e");
    warn!("w");
    let _span = info_span!("not shown").entered();
    info!(answer = 42, text = "x y", debug = ?Some(1), "i");
    debug!("d");
    trace!("t");
    pid()
}

fn have_child(method: StartMethod) -> u32 {
    info!("begins");
    Context::new(method).builder(log_each_level, ()).name("grandchild").start().unwrap().join().unwrap()
}

fn children_inherit_the_file_and_the_level(method: StartMethod) {
    assert_eq!(start(method, || log_level().to_string(), ()).join().unwrap(), "info");
    info!("begins");
    let child = Context::new(method).builder(have_child, (method,)).name("child").start().unwrap();
    let number = child.pid();
    let grandchild = child.join().unwrap();
    let expected = [
        format!("[INFO/MainProcess {}] lines: begins", pid()),
        format!("[INFO/child {number}] lines: begins"),
        format!("[ERROR/grandchild {grandchild}] lines: e"),
        format!("[WARN/grandchild {grandchild}] lines: w"),
        format!("[INFO/grandchild {grandchild}] lines: i answer=42 text=\"x y\" debug=Some(1)"),
    ];
    assert_eq!(written(), expected);
}

const CHILDREN: usize = 8;
const RECORDS: usize = 1250;

/// Records of many lengths, beyond what a pipe would keep together.
fn log_many(child: usize) {
    for number in 0..RECORDS {
        info!(child, number, "{}", "x".repeat(number * 7 % 9000));
    }
}

fn ten_thousand_records_of_eight_children_are_whole_lines(method: StartMethod) {
    let children: Vec<_> = (0..CHILDREN).map(|child| start(method, log_many, (child,))).collect();
    let numbers: Vec<u32> = children.iter().map(|child| child.pid()).collect();
    children.into_iter().for_each(|child| child.join().unwrap());
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    for line in written() {
        let (head, rest) = line.split_once("] lines: ").unwrap_or_else(|| panic!("torn: {line:?}"));
        let own: u32 = head.rsplit(' ').next().unwrap().parse().unwrap();
        let number = seen.entry(own).or_default();
        let child = numbers.iter().position(|&number| number == own).unwrap();
        let expected = format!("{} child={child} number={number}", "x".repeat(*number * 7 % 9000));
        assert!(rest == expected, "torn or out of order: {line:?}");
        *number += 1;
    }
    assert_eq!(seen.values().copied().collect::<Vec<_>>(), [RECORDS; CHILDREN]);
}

/// The environment variable that tells a program which start method to use.
const METHOD: &str = "START_METHOD";

/// A program's start method.
fn own_method() -> StartMethod {
    let name = std::env::var(METHOD).expect("a start method");
    StartMethod::ALL.into_iter().find(|method| method.name() == name).expect("a known start method")
}

fn run(name: &str, method: StartMethod) -> Output {
    let output = program(name).env(METHOD, method.name()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn to_stderr() {
    log_to_stderr(LevelFilter::WARN).unwrap();
    warn!("begins");
    print!("{}", Context::new(own_method()).builder(log_each_level, ()).name("child").start().unwrap().join().unwrap());
}

fn children_inherit_the_standard_error(method: StartMethod) {
    let output = run("to_stderr", method);
    let child = String::from_utf8(output.stdout).unwrap();
    let said = lines(&String::from_utf8(output.stderr).unwrap());
    assert!(said[0].starts_with("[WARN/MainProcess ") && said[0].ends_with("] lines: begins"), "{said:?}");
    assert_eq!(said[1..], [format!("[ERROR/child {child}] lines: e"), format!("[WARN/child {child}] lines: w")]);
}

fn forwarding() {
    log_to_stderr(LevelFilter::WARN).unwrap();
    let child = Context::new(own_method()).builder(log_each_level, ()).name("child").forward_logs();
    print!("{}", child.start().unwrap().join().unwrap());
}

fn a_forwarded_record_has_the_childs_name(method: StartMethod) {
    let output = run("forwarding", method);
    let child = String::from_utf8(output.stdout).unwrap();
    let said = lines(&String::from_utf8(output.stderr).unwrap());
    assert_eq!(said, [format!("[ERROR/child {child}] lines: e"), format!("[WARN/child {child}] lines: w")]);
}

fn forwarding_family() {
    log_to_stderr(LevelFilter::INFO).unwrap();
    let method = own_method();
    let child = Context::new(method).builder(have_child, (method,)).name("child").forward_logs();
    print!("{}", child.start().unwrap().join().unwrap());
}

fn a_child_that_forwards_hands_the_destination_down(method: StartMethod) {
    let output = run("forwarding_family", method);
    let grandchild = String::from_utf8(output.stdout).unwrap();
    let mut said = lines(&String::from_utf8(output.stderr).unwrap());
    // The child's record comes by way of its parent, so at any time.
    said.sort();
    let own = |line: &String| line.contains(&format!("/grandchild {grandchild}]"));
    assert_eq!(said.iter().filter(|line| own(line)).count(), 3, "{said:?}");
    assert!(said.len() == 4 && said.iter().any(|line| line.starts_with("[INFO/child ")), "{said:?}");
}

fn a_record_is_one_line_whatever_is_in_it() {
    info!(target: "a\ntarget", text = "two\nlines", shown = %"three\r\nlines\u{1b}[1m", "begin\nend");
    info!("{}", "ö".repeat(1 << 20));
    info!("short");
    let head = format!("[INFO/MainProcess {}] ", pid());
    let lines = written();
    let expected = "a\\ntarget: begin\\nend text=\"two\\nlines\" shown=three\\r\\nlines\\u{1b}[1m";
    assert_eq!(lines[0], format!("{head}{expected}"));
    assert!(lines[1].starts_with(&format!("{head}lines: öö")) && lines[1].ends_with(&format!("ö{CUT_MARK}")));
    assert!(lines[1].len() < RECORD_BYTES_MAX + 2 * CUT_MARK.len());
    assert_eq!(lines[2], format!("{head}lines: short"));
    assert_eq!(lines.len(), 3);
}

fn a_file_that_was_not_opened_for_appending_is_refused() {
    let error = log_to_file(LevelFilter::INFO, File::create("/dev/null").unwrap()).unwrap_err();
    assert!(matches!(error, LogError::NotForAppending));
    assert!(error.to_string().contains("`File::options().append(true)"), "{error}");
}

fn a_second_subscriber_is_refused() {
    let error = log_to_stderr(LevelFilter::INFO).unwrap_err();
    assert!(matches!(&error, LogError::Installed { name, .. } if name == "MainProcess"), "{error}");
    info!("goes on");
    assert_eq!(written().len(), 1);
}

fn try_another() -> String {
    log_to_stderr(LevelFilter::INFO).unwrap_err().to_string()
}

fn a_child_that_inherited_its_log_cannot_have_another() {
    for (_, method) in methods() {
        let error = start(method, try_another, ()).join().unwrap();
        assert!(error.contains("not in a child, which logs as its parent does"), "{error}");
    }
}
