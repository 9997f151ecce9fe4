//! Rules for every text file: whitespace, line ends, paths of one machine.
//!
//! Relies on nothing but the characters of each line.

use crate::tree::{Finding, TextFile};

/// Directories that exist on somebody's machine only, spelled so that this file does not name them.
const MACHINE_DIRS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// What the rules find in this file.
pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        let last = file.text.lines().count().saturating_sub(1);
        findings.push(Finding::at(&file.path, last, "the last line has no line end"));
    }
    for (line_idx, line) in file.text.split('\n').enumerate() {
        findings.extend(objections(line).map(|text| Finding::at(&file.path, line_idx, text)));
    }
    findings
}

fn objections(line: &str) -> impl Iterator<Item = String> {
    let bare = line.trim_end_matches('\r');
    let carriage_return = line.ends_with('\r').then(|| "a carriage return".to_string());
    let tab = line.contains('\t').then(|| "a tab: indent with spaces".to_string());
    let trailing = (bare.trim_end() != bare).then(|| "whitespace at the end".to_string());
    let dirs = MACHINE_DIRS.iter().filter(|dir| names_dir(line, dir));
    let machine = dirs.map(|dir| format!("`{dir}` is a path of one machine")).collect::<Vec<_>>();
    [carriage_return, tab, trailing].into_iter().flatten().chain(machine)
}

/// True if `dir` stands in the line as the start of a path, which it is not in `/proc/1/root/`.
fn names_dir(line: &str, dir: &str) -> bool {
    line.match_indices(dir).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_.-}*".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    const NONE: [(usize, String); 0] = [];

    fn messages(text: &str) -> Vec<(usize, String)> {
        check(&file("a.md", text)).into_iter().map(|found| (found.line, found.message)).collect()
    }

    #[test]
    fn whitespace_is_found_where_it_stands() {
        assert_eq!(messages("good\n\nstill good\n"), NONE);
        assert_eq!(messages("a\nb \n"), [(2, "whitespace at the end".to_string())]);
        assert_eq!(messages("a\tb\n"), [(1, "a tab: indent with spaces".to_string())]);
        assert_eq!(messages("a\r\n"), [(1, "a carriage return".to_string())]);
        assert_eq!(messages("a\nb"), [(2, "the last line has no line end".to_string())]);
    }

    #[test]
    fn machine_paths_are_found_and_links_of_proc_are_not() {
        for dir in MACHINE_DIRS {
            assert_eq!(messages(&format!("see {dir}x\n")).len(), 1, "{dir}");
            assert_eq!(messages(&format!("see /proc/self{dir}x\n")).len(), 0, "{dir}");
        }
    }
}
