//! What failed, told once more at the end of a long run: which tests, and what each of them said last.
//!
//! Relies on the lines that nextest and libtest print of a failed test. Whoever runs a step's programs has all that they
//! print heard here, in the thread that runs the step.

use std::cell::RefCell;
use std::collections::VecDeque;

/// How long the report of all failures may be: with the closing line it is among the last 60 of a log.
pub(crate) const REPORT_LINES_MAX: usize = 50;

/// How many of a failed test's last lines are kept, and of a step's in which no test failed.
const SAID_MAX: usize = 12;

/// How wide a line is shown.
const COLUMNS_MAX: usize = 160;

thread_local! {
    static HEARD: RefCell<Heard> = RefCell::default();
}

/// What the programs of one step have printed, as far as it is worth telling again.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The last lines of all.
    last: VecDeque<String>,
    tests: Vec<Failed>,
    /// Which of the tests is speaking.
    speaks: Option<usize>,
}

/// A failed test.
#[derive(Debug)]
struct Failed {
    name: String,
    said: VecDeque<String>,
}

/// Takes a line that a program of this step has printed.
pub(crate) fn hear(line: &str) {
    HEARD.with_borrow_mut(|heard| heard.hear(line));
}

/// Prints what a step has to say itself, and takes it as well.
pub(crate) fn say(text: &str) {
    println!("{text}");
    text.lines().for_each(hear);
}

/// What has been heard since it was last taken.
pub(crate) fn take() -> Heard {
    HEARD.take()
}

impl Heard {
    fn hear(&mut self, line: &str) {
        let line = plain(line);
        match spoken_of(&line) {
            Spoken::Of(name) => self.speaks = Some(self.index_of(name)),
            Spoken::Named(name) => _ = self.index_of(name),
            Spoken::OfNone => self.speaks = None,
            Spoken::Further => {}
        }
        if !is_worth_telling(&line) {
            return;
        }
        let said = match self.speaks {
            Some(index) => &mut self.tests[index].said,
            None => &mut self.last,
        };
        if said.len() == SAID_MAX {
            said.pop_front();
        }
        said.push_back(line.trim_end().chars().take(COLUMNS_MAX).collect());
    }

    /// The test of this name, which speaks anew: runners tell of a failure when it happens and at their end.
    fn index_of(&mut self, name: &str) -> usize {
        if let Some(index) = self.tests.iter().position(|test| test.name == name) {
            return index;
        }
        self.tests.push(Failed { name: name.to_owned(), said: VecDeque::new() });
        self.tests.len() - 1
    }

    /// It in so many lines at most.
    fn lines(&self, lines_max: usize) -> Vec<String> {
        let end = |said: &VecDeque<String>, count: usize| -> Vec<String> {
            said.iter()
                .skip(said.len().saturating_sub(count))
                .map(|line| format!("    {}", line.trim_start()))
                .collect()
        };
        if self.tests.is_empty() {
            return end(&self.last, lines_max);
        }
        let named = self.tests.len().min(lines_max);
        let share = lines_max / named - 1;
        let mut lines: Vec<String> = Vec::new();
        for test in &self.tests[..named] {
            lines.push(format!("  {}", test.name));
            lines.extend(end(&test.said, share));
        }
        let left_out = self.tests.len() - named;
        if left_out > 0 {
            lines.pop();
            lines.push(format!("  and {} more", left_out + 1));
        }
        lines
    }
}

/// What failed in each of these steps, in [`REPORT_LINES_MAX`] lines at most.
pub(crate) fn report(failed: &[(&str, Heard)]) -> Vec<String> {
    let share = REPORT_LINES_MAX / failed.len().max(1);
    let step = |(heading, heard): &(&str, Heard)| {
        let mut lines = vec![format!("failed: {heading}")];
        lines.extend(heard.lines(share.saturating_sub(1)));
        lines
    };
    failed.iter().flat_map(step).take(REPORT_LINES_MAX).collect()
}

/// Of which failed test a line speaks, and those after it.
#[derive(Debug, PartialEq, Eq)]
enum Spoken<'l> {
    Of(&'l str),
    /// It is named, and says nothing here.
    Named(&'l str),
    OfNone,
    /// As the line before.
    Further,
}

fn spoken_of(line: &str) -> Spoken<'_> {
    // What a test has printed stands further to the right under nextest.
    let is_indented = line.starts_with("    ");
    if let Some((status, name)) = nextest_status(line) {
        return if matches!(status, "PASS" | "SLOW" | "START") { Spoken::OfNone } else { Spoken::Of(name) };
    }
    if let Some(name) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----")) {
        return Spoken::Of(name.trim_end_matches(" stdout"));
    }
    if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
        return Spoken::Named(name.trim_end());
    }
    let ends = ["test result:", "failures:", "running ", "────"];
    let is_end = ends.iter().any(|end| line.starts_with(end)) || line.trim_start().starts_with("Summary [");
    if is_end && !is_indented || line.trim_start().starts_with("Summary [") { Spoken::OfNone } else { Spoken::Further }
}

/// The status that nextest gives a test in this line, and the test's name: `FAIL [ 0.1s] (1/3) crate::file name`.
fn nextest_status(line: &str) -> Option<(&str, &str)> {
    let (status, rest) = line.trim_start().split_once(" [")?;
    let is_status = |word: &str| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !line.starts_with("    ") || !is_status(status.rsplit(' ').next()?) || status.len() > 20 {
        return None;
    }
    let (_, rest) = rest.split_once("s] ")?;
    let name = rest.split_once(") ").map_or(rest, |(_, name)| name).trim();
    (status != "Summary").then_some((status, name))
}

/// False for what fills a log and says nothing: frames, and what runners print around what a test has printed.
fn is_worth_telling(line: &str) -> bool {
    let line = line.trim();
    let is_frame = line.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let noise =
        ["at ", "note: ", "stack backtrace:", "running ", "test result:", "failures:", "stdout ─", "stderr ─", "────"];
    !line.is_empty() && !is_frame && !noise.iter().any(|noise| line.starts_with(noise))
}

/// The line without colors.
fn plain(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, text)| text));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXTEST: &str = "\
        PASS [   0.004s] (1/3) nx good
     SIGABRT [   0.040s] (2/3) nx aborts
  stdout ───

    running 1 test

    (test aborted with signal 6: SIGABRT)

        FAIL [   0.492s] (3/3) nx::file bad
  stderr ───
    thread 'bad' (19915) panicked at src/lib.rs:4:56:
    assertion `left == right` failed: numbers
      left: 1
     right: 2
    stack backtrace:
       0: __rustc::rust_begin_unwind
                 at /rustc/library/std/src/panicking.rs:689:5
    note: Some details are omitted
────────────
     Summary [   0.492s] 3 tests run: 1 passed, 2 failed, 0 skipped
error: test run failed";

    const LIBTEST: &str = "\
running 2 tests
test bad ... FAILED
test good ... ok

failures:

---- bad stdout ----
thread 'bad' (19980) panicked at src/lib.rs:4:56:
\u{1b}[31mno\u{1b}[0m


failures:
    bad

test result: FAILED. 1 passed; 1 failed; 0 ignored";

    fn heard(text: &str) -> Heard {
        let mut heard = Heard::default();
        text.lines().for_each(|line| heard.hear(line));
        heard
    }

    #[test]
    fn failed_tests_are_named_with_what_they_said_and_without_frames() {
        let lines = heard(NEXTEST).lines(20);
        let expected = [
            "  nx aborts",
            "    SIGABRT [   0.040s] (2/3) nx aborts",
            "    (test aborted with signal 6: SIGABRT)",
            "  nx::file bad",
            "    FAIL [   0.492s] (3/3) nx::file bad",
            "    thread 'bad' (19915) panicked at src/lib.rs:4:56:",
            "    assertion `left == right` failed: numbers",
            "    left: 1",
            "    right: 2",
        ];
        assert_eq!(lines, expected);
        let lines = heard(LIBTEST).lines(20);
        assert_eq!(
            lines,
            ["  bad", "    ---- bad stdout ----", "    thread 'bad' (19980) panicked at src/lib.rs:4:56:", "    no"]
        );
    }

    #[test]
    fn a_step_without_failed_tests_shows_its_last_lines() {
        let text: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(report(&[("build", heard(&text))]).last().map(String::as_str), Some("    line 99"));
        assert_eq!(heard(&text).lines(3), ["    line 97", "    line 98", "    line 99"]);
    }

    #[test]
    fn whatever_fails_the_report_is_short_and_names_every_step() {
        let many: String =
            (0..300).map(|n| format!("        FAIL [   0.1s] ({n}/300) crate::file test_{n}\n    said\n")).collect();
        let failed: Vec<_> = ["one", "two", "three"].map(|step| (step, heard(&many))).into();
        let lines = report(&failed);
        assert!(lines.len() <= REPORT_LINES_MAX, "{lines:#?}");
        for step in ["failed: one", "failed: two", "failed: three"] {
            assert!(lines.iter().any(|line| line == step), "{lines:#?}");
        }
        assert!(lines.iter().any(|line| line == "  and 286 more"), "{lines:#?}");
    }
}
