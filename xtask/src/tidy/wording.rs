//! Rules about what may not be written: unfinished code, tests that do not run, sleeping for order.
//!
//! Relies on [`lex`](crate::lex) to tell a word in code from the same word in a comment.

use super::{Exception, excused, unused};
use crate::lex::{Source, calls, has_word};
use crate::tree::{Finding, TextFile};

/// Marks of unfinished work, wherever they stand; spelled so that this file has none.
const UNFINISHED: &[&str] = &[concat!("TO", "DO"), concat!("XX", "X")];

/// What the compiler lets pass and we do not: code that is not there, and tests that do not run.
const NOT_CODE: &[&str] = &["todo!", "unimplemented!", "#[ignore"];

/// What the rules find in these files.
pub(super) fn check(files: &[TextFile], sources: &[Source<'_>], fork_under_libtest: &[Exception]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let kept = file.is(&["rs", "md", "toml", "yml", "yaml", "sh", "py"]) || file.path == ".ci/run";
        if kept {
            unfinished(file, &mut findings);
        }
        if file.is(&["rs", "md"]) {
            fences(file, &mut findings);
        }
    }
    let mut forking = Vec::new();
    for source in sources {
        header(source, &mut findings);
        code(source, &mut findings);
        let forks = forks_under_libtest(source);
        if !forks.is_empty() && excused(fork_under_libtest, source.path) {
            forking.push(source.path.to_string());
        } else {
            findings.extend(forks);
        }
    }
    findings.extend(unused("FORK_UNDER_LIBTEST", fork_under_libtest, &forking));
    findings
}

fn unfinished(file: &TextFile, findings: &mut Vec<Finding>) {
    for (idx, line) in file.text.lines().enumerate() {
        for word in UNFINISHED.iter().filter(|word| has_word(line, word)) {
            let message = format!("`{word}`: finish it, or open an issue and name it");
            findings.push(Finding::at(&file.path, idx, message));
        }
    }
}

/// Doc examples that do not run. `no_run` may stand where the line above says why.
fn fences(file: &TextFile, findings: &mut Vec<Finding>) {
    let lines: Vec<&str> = file.text.lines().collect();
    for (idx, line) in lines.iter().enumerate() {
        let bare = line.trim_start().trim_start_matches(['/', '!']).trim_start();
        let comment = file.is(&["md"]) || line.trim_start().starts_with("//");
        let Some(info) = bare.strip_prefix("```").filter(|_| comment) else { continue };
        if info.split(',').any(|word| word.trim() == "ignore") {
            let message = "an example that is not compiled: make it run, or `text`";
            findings.push(Finding::at(&file.path, idx, message));
        }
        let reason = idx > 0 && lines[idx - 1].contains("no_run: ");
        if has_word(info, "no_run") && !reason {
            let message = "an example that does not run needs `no_run: why` in a comment above it";
            findings.push(Finding::at(&file.path, idx, message));
        }
    }
}

/// Every Rust file says first what it is for. Fuzz targets must begin with `#![no_main]`.
fn header(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let first = source.lines.first().copied().unwrap_or_default();
    let fuzz = source.path.contains("/fuzz/") && first.starts_with("#!");
    if !first.starts_with("//!") && !fuzz {
        let message = "the file does not open with `//!` and what it is for";
        findings.push(Finding::at(source.path, 0, message));
    }
}

fn code(source: &Source<'_>, findings: &mut Vec<Finding>) {
    let in_crate_src = source.path.starts_with("crates/") && source.path.contains("/src/");
    let is_testkit = source.path.starts_with("crates/procession-testkit/");
    let sleeps_itself = source.path.starts_with("crates/procession-sys/") || is_testkit;
    let is_crate_test = source.path.starts_with("crates/") && source.path.contains("/tests/");
    for (idx, line) in source.code.iter().enumerate() {
        for word in NOT_CODE.iter().filter(|word| line.contains(**word)) {
            findings.push(Finding::at(source.path, idx, format!("`{word}`: finish it")));
        }
        let above = if idx > 0 { source.lines[idx - 1].trim_start() } else { "" };
        if is_crate_test && calls(line, "sleep") && !above.starts_with("//") {
            let message = "a test that sleeps needs a comment above with what it measures; \
                           for order use a pipe, a barrier or a pidfd";
            findings.push(Finding::at(source.path, idx, message));
        }
        if in_crate_src && !sleeps_itself && calls(line, "sleep") {
            let message = "a library that sleeps sees neither its word change nor its peer die: \
                           wait through procession-sys, with a deadline";
            findings.push(Finding::at(source.path, idx, message));
        }
        if in_crate_src && !is_testkit && source.lines[idx].contains("procession_testkit") {
            let message = "tests that use the testkit stand in `tests/`: here it would put this \
                           crate and its statics into one binary twice";
            findings.push(Finding::at(source.path, idx, message));
        }
    }
}

/// Calls of `fork` in a libtest binary, which has two threads: all of a test file's, and those
/// among a library file's unit tests.
fn forks_under_libtest(source: &Source<'_>) -> Vec<Finding> {
    if !source.code.iter().any(|line| line.contains("#[test]")) {
        return Vec::new();
    }
    let library = source.path.contains("/src/");
    let calling =
        (0..source.code.len()).filter(|&idx| (!library || source.in_test[idx]) && calls(&source.code[idx], "fork"));
    let message = "`fork` under libtest forks a process with two threads: \
                   give the file `harness = false` and its own `main`";
    calling.map(|idx| Finding::at(source.path, idx, message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    const NONE: [usize; 0] = [];

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let files = [file(path, text)];
        let sources = super::super::sources(&files);
        check(&files, &sources, &[]).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unfinished_work_is_found() {
        for word in UNFINISHED {
            assert_eq!(lines("a.md", &format!("one\n{word}: two\n")), [2]);
        }
        assert_eq!(lines("a.rs", "//! A.\nfn a() { todo!() }\n#[ignore = \"slow\"]\n"), [2, 3]);
        assert_eq!(lines("a.rs", "//! A.\n// A word such as todo! in a comment.\n"), NONE);
    }

    #[test]
    fn examples_that_do_not_run_are_found() {
        assert_eq!(lines("a.rs", "//! A.\n/// ```rust,ignore\n"), [2]);
        assert_eq!(lines("a.md", "```ignore\n```\n"), [1]);
        assert_eq!(lines("a.md", "```no_run\n```\n"), [1]);
        assert_eq!(lines("a.md", "<!-- no_run: needs two machines -->\n```no_run\n```\n"), NONE);
        assert_eq!(lines("a.rs", "//! A.\n// no_run: it never ends.\n/// ```no_run\n"), NONE);
    }

    #[test]
    fn a_file_that_does_not_say_what_it_is_for_is_found() {
        assert_eq!(lines("a.rs", "use a::b;\n"), [1]);
        assert_eq!(lines("a.rs", ""), [1]);
        assert_eq!(lines("crates/a/fuzz/b.rs", "#![no_main]\n"), NONE);
    }

    #[test]
    fn sleeping_is_found_in_libraries_and_in_tests_that_do_not_say_why() {
        let path = "crates/a/tests/b.rs";
        assert_eq!(lines(path, "//! A.\nfn a() {\nthread::sleep(T);\n}\n"), [3]);
        assert_eq!(lines(path, "//! A.\nfn a() {\n// Measures idling.\nthread::sleep(T);\n}\n"), NONE);
        assert_eq!(lines("crates/a/src/b.rs", "//! A.\nfn a() { sleep(T) }\n"), [2]);
        assert_eq!(lines("crates/procession-sys/src/b.rs", "//! A.\nfn a() { sleep(T) }\n"), NONE);
    }

    #[test]
    fn the_testkit_in_a_library_is_found() {
        let text = "//! A.\nuse procession_testkit::fence;\n";
        assert_eq!(lines("crates/a/src/b.rs", text), [2]);
        assert_eq!(lines("crates/a/tests/b.rs", text), NONE);
    }

    #[test]
    fn fork_under_libtest_is_found_in_tests_and_not_in_the_code_under_test() {
        let text = "//! A.\nfn a() { fork() }\n#[cfg(test)]\nmod tests {\n#[test]\nfn b() { fork() }\n}\n";
        assert_eq!(lines("crates/a/src/b.rs", text), [6]);
        assert_eq!(lines("crates/a/tests/b.rs", text), [2, 6]);
        assert_eq!(lines("crates/a/tests/b.rs", "//! A.\nfn main() { fork() }\n"), NONE);
    }
}
