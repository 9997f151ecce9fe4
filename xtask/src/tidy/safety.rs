//! Rules that keep `unsafe` and system calls in few, named places.
//!
//! Relies on the list in [`tidy`](super); the lint `unsafe_code` is denied for the whole workspace.

use super::{Exception, excused, unused};
use crate::lex::{Source, has_word, words_at};
use crate::tree::Finding;

/// The one directory whose code may name these crates.
const SYSTEM_CALLS_IN: &str = "crates/procession-sys/";
pub(super) const SYSTEM_CRATES: &[&str] = &["libc", "rustix"];

/// Code here writes `unsafe` into other crates and has none itself, so there is no lint to expect.
const MACROS_IN: &str = "crates/procession-macros/";

/// What the rules find in these files.
pub(super) fn check(sources: &[Source<'_>], allowed: &[Exception]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = Vec::new();
    for source in sources {
        system_calls(source, &mut findings);
        let Some(line_idx) = source.code.iter().position(|line| has_word(line, "unsafe")) else {
            continue;
        };
        used.push(source.path.to_string());
        for objection in objections(source, allowed) {
            findings.push(Finding::at(source.path, line_idx, objection));
        }
    }
    findings.extend(unused("UNSAFE_FILES", allowed, &used));
    findings
}

/// What is missing in a file that has unsafe code.
fn objections(source: &Source<'_>, allowed: &[Exception]) -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !excused(allowed, source.path) {
        missing.push("unsafe code in a file that is not in UNSAFE_FILES of xtask/src/tidy.rs");
    }
    let mut header = source.lines.iter().take_while(|line| line.starts_with("//!"));
    if !header.any(|line| line.trim_start_matches("//!").trim() == "# Safety") {
        missing.push("unsafe code, and no `# Safety` in the file's `//!` with its argument");
    }
    let code: String = source.code.concat().split_whitespace().collect();
    if !source.path.starts_with(MACROS_IN) && !code.contains("expect(unsafe_code,reason=") {
        missing.push("unsafe code without `expect(unsafe_code, reason = …)`");
    }
    missing
}

/// System calls go through one crate, so that another platform is one directory.
fn system_calls(source: &Source<'_>, findings: &mut Vec<Finding>) {
    if source.path.starts_with(SYSTEM_CALLS_IN) {
        return;
    }
    for (idx, line) in source.code.iter().enumerate() {
        for name in SYSTEM_CRATES.iter().filter(|name| names_crate(line, name)) {
            let message = format!("names `{name}`, which only procession-sys may");
            findings.push(Finding::at(source.path, idx, message));
        }
    }
}

fn names_crate(line: &str, name: &str) -> bool {
    words_at(line, name).any(|at| {
        let before = line[..at].trim_end();
        let path = line[at + name.len()..].trim_start().starts_with("::");
        path || before.ends_with("use") || before.ends_with("crate")
    })
}

/// For each file with unsafe code how many blocks, functions, impls and attributes it has.
pub(super) fn table(sources: &[Source<'_>]) -> String {
    let mut text = format!("{:>6} {:>6} {:>6} {:>6}  file\n", "blocks", "fns", "impls", "other");
    let mut total = [0; 4];
    let mut n_files = 0;
    for source in sources {
        let counts = count(source);
        if counts == [0; 4] {
            continue;
        }
        n_files += 1;
        text.push_str(&row(counts, source.path));
        (0..4).for_each(|idx| total[idx] += counts[idx]);
    }
    text + &row(total, &format!("in {n_files} files"))
}

fn row([blocks, fns, impls, other]: [usize; 4], name: &str) -> String {
    format!("{blocks:>6} {fns:>6} {impls:>6} {other:>6}  {name}\n")
}

fn count(source: &Source<'_>) -> [usize; 4] {
    let code = source.code.join("\n");
    let mut counts = [0; 4];
    for at in words_at(&code, "unsafe") {
        let after = code[at + "unsafe".len()..].trim_start();
        let kind = match after {
            _ if after.starts_with('{') => 0,
            _ if after.starts_with("fn") => 1,
            _ if after.starts_with("impl") => 2,
            _ => 3,
        };
        counts[kind] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    const GOOD: &str = "//! A.\n//!\n//! # Safety\n//! Why.\n#![expect(\n    unsafe_code,\n    \
                        reason = \"why\"\n)]\nfn a() { unsafe { b() } }\n";

    fn found(text: &str, allowed: &[Exception]) -> usize {
        let files = [file("a.rs", text)];
        check(&super::super::sources(&files), allowed).len()
    }

    #[test]
    fn unsafe_needs_an_entry_a_header_and_an_attribute() {
        let allowed: &[Exception] = &[("a.rs", "why")];
        assert_eq!(found(GOOD, allowed), 0);
        assert_eq!(found(GOOD, &[]), 1);
        assert_eq!(found(&GOOD.replace("# Safety", "Safety"), allowed), 1);
        assert_eq!(found(&GOOD.replace("unsafe_code", "dead_code"), allowed), 1);
    }

    #[test]
    fn a_macro_that_writes_unsafe_code_needs_an_entry_and_a_header() {
        const PATH: &str = "crates/procession-macros/src/a.rs";
        let found = |text: &str, allowed: &[Exception]| {
            let files = [file(PATH, text)];
            check(&super::super::sources(&files), allowed).len()
        };
        let good = "//! A.\n//!\n//! # Safety\n//! Why.\nfn a() { quote!(unsafe impl A for B {}) }\n";
        assert_eq!(found(good, &[(PATH, "why")]), 0);
        assert_eq!(found(good, &[]), 1);
        assert_eq!(found(&good.replace("# Safety", "Safety"), &[(PATH, "why")]), 1);
    }

    #[test]
    fn an_entry_without_unsafe_code_is_found() {
        assert_eq!(found("//! Nothing unsafe { here.\n", &[("a.rs", "why")]), 1);
        assert_eq!(found("//! A.\nfn a() { \"unsafe\"; }\n", &[]), 0);
    }

    #[test]
    fn system_crates_are_named_in_one_directory() {
        assert_eq!(found("//! A.\nuse libc::c_int;\n", &[]), 1);
        assert_eq!(found("//! A.\nuse rustix as r;\n", &[]), 1);
        assert_eq!(found("//! About libc::fork.\nlet libc = 1;\n", &[]), 0);
        let files = [file("crates/procession-sys/src/a.rs", "//! A.\nuse libc::c_int;\n")];
        assert_eq!(check(&super::super::sources(&files), &[]).len(), 0);
    }

    #[test]
    fn the_table_counts_kinds() {
        let files = [file("a.rs", "//! A.\nunsafe impl A for B {}\nunsafe fn a() { unsafe { b() } }\n")];
        let table = table(&super::super::sources(&files));
        assert!(table.contains("     1      1      1      0  a.rs"), "{table}");
    }
}
