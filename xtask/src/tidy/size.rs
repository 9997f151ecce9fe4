//! Rules about length: a file and a function must fit the head of whoever reads them.
//!
//! Relies on [`lex`](crate::lex) for what counts: lines of code, without tests, comments and blanks.

use super::{Exception, excused, unused};
use crate::lex::{Source, item_end, words_at};
use crate::tree::Finding;

/// Lines of code in a file: about what one can read at one sitting.
const FILE_LINES_MAX: usize = 500;

/// Lines of code in a function: about what one can see at once.
const FUNCTION_LINES_MAX: usize = 70;

/// What the rules find in these files.
pub(super) fn check(sources: &[Source<'_>], long_files: &[Exception], long_functions: &[Exception]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used_files = Vec::new();
    let mut used_functions = Vec::new();
    for source in sources {
        let lines = file_lines(source);
        if lines > FILE_LINES_MAX && excused(long_files, source.path) {
            used_files.push(source.path.to_string());
        } else if lines > FILE_LINES_MAX {
            let message = format!("{lines} lines of code; at most {FILE_LINES_MAX}: split the file");
            findings.push(Finding::at(source.path, 0, message));
        }
        for (line_idx, name, lines) in long(source) {
            let full = format!("{}::{name}", source.path);
            if excused(long_functions, &full) {
                used_functions.push(full);
                continue;
            }
            let message = format!("`{name}` has {lines} lines of code; at most {FUNCTION_LINES_MAX}");
            findings.push(Finding::at(source.path, line_idx, message));
        }
    }
    findings.extend(unused("LONG_FILES", long_files, &used_files));
    findings.extend(unused("LONG_FUNCTIONS", long_functions, &used_functions));
    findings
}

/// The lines that count for the file's length; a file of tests has none.
fn file_lines(source: &Source<'_>) -> usize {
    if source.path.contains("/tests/") || source.path.ends_with("/tests.rs") {
        return 0;
    }
    (0..source.code.len()).filter(|&idx| !source.in_test[idx]).map(|idx| source.code_lines(idx, idx)).sum()
}

/// Where each function begins that is too long, with its name and length.
fn long(source: &Source<'_>) -> Vec<(usize, String, usize)> {
    let mut found = Vec::new();
    for (idx, line) in source.code.iter().enumerate() {
        for at in words_at(line, "fn") {
            let Some(name) = name_after(&line[at + "fn".len()..]) else { continue };
            let Some(last) = function_end(&source.code, idx, at) else { continue };
            let lines = source.code_lines(idx, last);
            if lines > FUNCTION_LINES_MAX {
                found.push((idx, name, lines));
            }
        }
    }
    found
}

/// The line on which the function ends whose `fn` stands at column `at` of line `idx`.
fn function_end(code: &[String], idx: usize, at: usize) -> Option<usize> {
    // What stands before `fn` may close brackets of something else, `#[inline]` among them.
    let mut from_fn = vec![code[idx][at..].to_string()];
    from_fn.extend_from_slice(&code[idx + 1..]);
    item_end(&from_fn, 0).map(|last| idx + last)
}

/// The function's name; `None` for the type `fn(…)`, which has none.
fn name_after(rest: &str) -> Option<String> {
    let rest = rest.strip_prefix(' ')?;
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    const NONE: [(usize, String); 0] = [];

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let files = [file(path, text)];
        let findings = check(&super::super::sources(&files), &[], &[]);
        findings.into_iter().map(|finding| (finding.line, finding.message)).collect()
    }

    fn function(lines: usize) -> String {
        format!("//! A.\n\npub fn a<T>(x: [u8; 3]) {{\n{}}}\nfn b();\n", "x();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function_is_found_and_one_at_the_limit_is_not() {
        assert_eq!(found("a.rs", &function(FUNCTION_LINES_MAX)), NONE);
        let over = found("a.rs", &function(FUNCTION_LINES_MAX + 1));
        assert_eq!(over, [(3, "`a` has 71 lines of code; at most 70".to_string())]);
    }

    #[test]
    fn comments_and_blank_lines_do_not_count() {
        let text = function(FUNCTION_LINES_MAX).replace("x();\n", "x();\n\n// Why.\n");
        assert_eq!(found("a.rs", &text), NONE);
    }

    #[test]
    fn a_long_file_is_found_but_its_tests_do_not_count() {
        let code = |lines: usize| format!("//! A.\n{}", "use a::b;\n".repeat(lines));
        assert_eq!(found("a.rs", &code(FILE_LINES_MAX)), NONE);
        assert_eq!(found("a.rs", &code(FILE_LINES_MAX + 1)).len(), 1);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", code(499), "use a::b;\n".repeat(9));
        assert_eq!(found("a.rs", &tested), NONE);
        assert_eq!(found("crates/a/tests/b.rs", &code(900)), NONE);
    }

    #[test]
    fn exceptions_excuse_and_unneeded_ones_are_found() {
        let files = [file("a.rs", &function(FUNCTION_LINES_MAX + 1))];
        let sources = super::super::sources(&files);
        assert_eq!(check(&sources, &[], &[("a.rs::a", "why")]).len(), 0);
        assert_eq!(check(&sources, &[("a.rs", "why")], &[("a.rs::a", "why")]).len(), 1);
    }
}
