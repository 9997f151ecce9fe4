//! Rules for the page that answers every Python name: no cell of its tables is empty, and nothing that is said to be
//! missing is there.
//!
//! Relies on tables whose lines begin with `|`, and on the words `with CRATE (not yet)` for what a later crate brings, or
//! `with CRATE::NAME (not yet)` for what is to come in one that exists.

use crate::tree::{Finding, TextFile};

const PAGE: &str = "docs/src/reference/python.md";

/// What stands behind the name of a crate that does not exist yet.
const NOT_YET: &str = " (not yet)";

/// What the rules find in these files.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let exists = |awaited: &str| match awaited.split_once("::") {
        None => files.iter().any(|file| file.path == format!("crates/{awaited}/Cargo.toml")),
        Some((package, name)) => {
            files.iter().any(|file| file.path == format!("crates/{package}/src/lib.rs") && file.has_word(name))
        }
    };
    let mut findings = Vec::new();
    for page in files.iter().filter(|file| file.path == PAGE) {
        findings.extend(cells(page));
        for (idx, line) in page.text.lines().enumerate() {
            for name in awaited(line).filter(|name| exists(name)) {
                let message = format!("`{name}` is there: say what it has");
                findings.push(Finding::at(PAGE, idx, message));
            }
        }
    }
    findings
}

/// Lines of tables with an empty cell, or with another number of cells than the line above.
fn cells(page: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut columns = None;
    for (idx, line) in page.text.lines().enumerate() {
        let Some(inside) = line.strip_prefix('|').map(|rest| rest.strip_suffix('|').unwrap_or(rest)) else {
            columns = None;
            continue;
        };
        let cells: Vec<&str> = inside.split('|').map(str::trim).collect();
        if cells.contains(&"") {
            findings.push(Finding::at(&page.path, idx, "an empty cell: name ours, or `not provided, because …`"));
        }
        if *columns.get_or_insert(cells.len()) != cells.len() {
            findings.push(Finding::at(&page.path, idx, "has another number of cells than the table's head"));
        }
    }
    findings
}

/// The crates that a line says are missing.
fn awaited(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices(NOT_YET).filter_map(|(at, _)| line[..at].rsplit(' ').next())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    fn found(page: &str) -> Vec<(usize, String)> {
        let files = [file(PAGE, page), file("crates/procession-ipc/Cargo.toml", ""), file("docs/src/a.md", "| |\n")];
        check(&files).into_iter().map(|found| (found.line, found.message)).collect()
    }

    #[test]
    fn empty_and_missing_cells_are_found() {
        assert_eq!(found("| a | b |\n|---|---|\n| c | d |\n\n| e |\n"), []);
        assert!(matches!(&found("| a | b |\n| c | |\n")[..], [(2, message)] if message.contains("empty cell")));
        assert!(matches!(&found("| a | b |\n| c |\n")[..], [(2, message)] if message.contains("number of cells")));
    }

    #[test]
    fn what_is_to_come_in_a_crate_is_missing_until_its_head_names_it() {
        let page = "| a | with procession-ipc::Listener (not yet): b |\n";
        assert_eq!(found(page), []);
        let files =
            [file(PAGE, page), file("crates/procession-ipc/src/lib.rs", "pub use crate::a::{Client, Listener};\n")];
        assert_eq!(check(&files).len(), 1);
    }

    #[test]
    fn what_is_there_may_not_be_called_missing() {
        assert_eq!(found("| a | with procession-shm (not yet): b |\n"), []);
        let findings = found("| a | with procession-ipc (not yet): b |\n");
        assert_eq!(findings, [(1, "`procession-ipc` is there: say what it has".to_string())]);
    }
}
