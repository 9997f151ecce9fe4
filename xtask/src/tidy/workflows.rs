//! Rules for `.github/workflows`: they call `cargo xtask` and nothing else, and a last job
//! `conclusion` waits for all the others, so that one required check stands for all.
//!
//! Relies on two-space indentation and on one-line `run:`, `uses:` and `needs: [a, b]`.

use crate::tree::{Finding, TextFile};

/// The job that a merge requires.
const LAST: &str = "conclusion";

/// What the rules find in these files.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let workflow = |file: &&TextFile| file.path.starts_with(".github/workflows/");
    files.iter().filter(workflow).flat_map(|file| [steps(file), needs(file)].concat()).collect()
}

/// Steps that do something of their own, or follow a tag that somebody can move.
fn steps(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (idx, line) in file.text.lines().enumerate() {
        let line = line.trim_start().trim_start_matches("- ");
        if let Some(command) = line.strip_prefix("run:")
            && !command.trim().starts_with("cargo xtask ")
        {
            let message = "a workflow calls `cargo xtask` and nothing else, on one line";
            findings.push(Finding::at(&file.path, idx, message));
        }
        if let Some(action) = line.strip_prefix("uses:")
            && !is_pinned(action)
        {
            let message = "an action is named by the hash of a commit: a tag can move";
            findings.push(Finding::at(&file.path, idx, message));
        }
    }
    findings
}

fn is_pinned(action: &str) -> bool {
    let name = action.split_whitespace().next().unwrap_or_default();
    let hash = name.split_once('@').map_or("", |(_, hash)| hash);
    hash.len() == 40 && hash.chars().all(|c| c.is_ascii_hexdigit())
}

/// Proves that the last job needs every other.
fn needs(file: &TextFile) -> Vec<Finding> {
    let jobs = jobs(&file.text);
    let Some((at, _, needed)) = jobs.iter().find(|(_, name, _)| name == LAST) else {
        let message = format!("has no job `{LAST}` that needs all others");
        return vec![Finding::at(&file.path, 0, message)];
    };
    let forgotten = jobs.iter().filter(|(_, name, _)| name != LAST && !needed.contains(name));
    let finding = |(_, name, _): &(usize, String, Vec<String>)| {
        Finding::at(&file.path, *at, format!("`{LAST}` does not need the job `{name}`"))
    };
    forgotten.map(finding).collect()
}

/// Each job with its line, its name and what it needs.
fn jobs(text: &str) -> Vec<(usize, String, Vec<String>)> {
    let mut jobs: Vec<(usize, String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for (idx, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if indent == 0 {
            inside = line == "jobs:";
        } else if inside && indent == 2 {
            jobs.push((idx, line.trim_end_matches(':').to_string(), Vec::new()));
        } else if let (true, 4, Some(list), Some((_, _, needed))) =
            (inside, indent, line.strip_prefix("needs:"), jobs.last_mut())
        {
            let names = list.split([',', '[', ']', ' ']).filter(|name| !name.is_empty());
            needed.extend(names.map(str::to_string));
        }
    }
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    const NONE: [usize; 0] = [];

    const HASH: &str = "11bd71901bbe5b1630ceea73d27597364c9af683";

    fn found(text: &str) -> Vec<usize> {
        let findings = check(&[file(".github/workflows/a.yml", text)]);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    fn workflow(run: &str, uses: &str, needs: &str) -> String {
        format!(
            "on: push\njobs:\n  a:\n    steps:\n      - uses: {uses} # v4\n      - run: {run}\n  \
             b:\n    needs: [a]\n  conclusion:\n    needs: {needs}\n"
        )
    }

    #[test]
    fn a_workflow_that_keeps_the_rules_passes() {
        let pinned = format!("actions/checkout@{HASH}");
        assert_eq!(found(&workflow("cargo xtask ci quick", &pinned, "[a, b]")), NONE);
    }

    #[test]
    fn own_commands_and_moving_tags_are_found() {
        let pinned = format!("actions/checkout@{HASH}");
        assert_eq!(found(&workflow("make", &pinned, "[a, b]")), [6]);
        assert_eq!(found(&workflow("|", &pinned, "[a, b]")), [6]);
        assert_eq!(found(&workflow("cargo xtask ci quick", "actions/checkout@v4", "[a, b]")), [5]);
    }

    #[test]
    fn a_job_that_the_conclusion_does_not_need_is_found() {
        let pinned = format!("actions/checkout@{HASH}");
        assert_eq!(found(&workflow("cargo xtask ci quick", &pinned, "[b]")), [9]);
        assert_eq!(found("jobs:\n  a:\n    needs: []\n"), [1]);
    }
}
