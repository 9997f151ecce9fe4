//! Reads how many tests passed and failed from what test runners print.
//!
//! Relies on two closing lines: `test result:` of libtest and libtest-mimic, `Summary` of nextest.

use std::ops::AddAssign;

/// Tests, or whole checks, that passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

impl Tally {
    /// One check that passed or failed.
    pub(crate) fn one(passed: bool) -> Self {
        Tally { passed: passed.into(), failed: (!passed).into() }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The tally in a closing line of a test runner; `None` for every other line.
pub(crate) fn closing_line(line: &str) -> Option<Tally> {
    // What stands further to the right is of a failed test, which nextest shows and counts itself.
    if let Some(rest) = line.strip_prefix("test result: ") {
        return Some(Tally { passed: before(rest, "passed")?, failed: before(rest, "failed")? });
    }
    let (_, rest) = line.trim().strip_prefix("Summary [")?.split_once(']')?;
    let (run, rest) = rest.split_once(':')?;
    // `5 tests run`, or `3/5 tests run` when it was stopped early: what did not run did not pass.
    let planned = run.split_whitespace().next()?.rsplit('/').next()?.parse::<usize>().ok()?;
    let passed = before(rest, "passed").unwrap_or(0);
    Some(Tally { passed, failed: planned.saturating_sub(passed) })
}

/// The number that stands before `word`.
fn before(text: &str, word: &str) -> Option<usize> {
    let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || ",;.()".contains(c)).collect();
    let at = words.iter().position(|candidate| *candidate == word)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, passed: usize, failed: usize) {
        assert_eq!(closing_line(line), Some(Tally { passed, failed }), "{line}");
    }

    #[test]
    fn libtest_lines_count() {
        check("test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out", 3, 0);
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.00s", 3, 2);
    }

    #[test]
    fn nextest_lines_count() {
        check("     Summary [   0.010s] 5 tests run: 5 passed, 0 skipped", 5, 0);
        check("Summary [ 1.2s] 9 tests run: 7 passed (1 slow), 1 failed, 1 timed out, 3 skipped", 7, 2);
        check("Summary [ 1.2s] 3/9 tests run: 2 passed, 1 failed, 0 skipped", 2, 7);
        check("Summary [ 1.2s] 1 test run: 0 passed, 1 exec failed, 0 skipped", 0, 1);
        check("Summary [ 0.0s] 0 tests run: 0 passed, 0 skipped", 0, 0);
    }

    #[test]
    fn other_lines_do_not_count() {
        assert_eq!(closing_line("test tests::it_works ... ok"), None);
        assert_eq!(closing_line("Summary of 3 passed"), None);
        assert_eq!(closing_line("    test result: FAILED. 0 passed; 1 failed; 0 ignored"), None);
    }
}
