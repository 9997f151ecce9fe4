//! `cargo xtask conformance`: the book's page of promises, and that each of them has its test.
//!
//! Relies on the list `docs/conformance.txt`, whose head describes its form. Each step is a module: `entries` reads the
//! list, `listing` asks the test programs, `page` writes.

mod entries;
mod listing;
mod page;

use std::collections::BTreeSet;
use std::fs;

use entries::{Awaited, List};

use crate::metadata;
use crate::tree::{self, Finding, TextFile};
use crate::{Result, flags};

const LIST: &str = "docs/conformance.txt";
const PAGE: &str = "docs/src/reference/conformance.md";

/// Checks the list against the built tests; then writes the page, or with `--check` compares it with the list.
///
/// # Errors
///
/// The list is refused, or (with `--check`) the page is out of date.
pub(crate) fn run(args: &[String]) -> Result {
    let [check] = flags::only(args, ["--check"])?;
    let (list, mut findings) = read_list()?;
    findings.extend(absent_tests(&list)?);
    if !findings.is_empty() {
        return tree::report("conformance", findings);
    }
    if !check {
        fs::write(tree::root().join(PAGE), page::write(&list))?;
        println!("{PAGE}: written");
    }
    findings.extend(stale(&list));
    tree::report("conformance", findings)
}

/// What can be checked without a build: the list itself, and that the page is made of it.
///
/// # Errors
///
/// The list is refused, or the page is out of date.
pub(crate) fn check_page() -> Result {
    let (list, mut findings) = read_list()?;
    if findings.is_empty() {
        findings.extend(stale(&list));
    }
    tree::report("conformance", findings)
}

fn read_list() -> Result<(List, Vec<Finding>)> {
    let file = tree::read(LIST)?;
    let crates = metadata::packages()?.into_iter().filter(metadata::Package::is_crate);
    let mut existing: Vec<String> = crates.map(|package| package.name).collect();
    let (list, mut findings) = entries::read(&file);
    for Awaited { name, .. } in &list.awaited {
        if is_in_its_crate(name)? {
            existing.push(name.clone());
        }
    }
    findings.extend(list.objections(&file.path, &existing));
    Ok((list, findings))
}

/// True for a `CRATE::NAME` that the head of its crate has.
fn is_in_its_crate(awaited: &str) -> Result<bool> {
    let Some((package, name)) = awaited.split_once("::") else { return Ok(false) };
    Ok(tree::read(&format!("crates/{package}/src/lib.rs"))?.has_word(name))
}

/// Tests that the list names and no program has.
fn absent_tests(list: &List) -> Result<Vec<Finding>> {
    let wanted: BTreeSet<&str> = list.tests().map(|(_, test)| test.binary.as_str()).collect();
    let listing = listing::ask(&wanted)?;
    let absent = list.tests().filter_map(|(line_idx, test)| {
        let message = listing.objection(test)?;
        Some(Finding::at(LIST, line_idx, message))
    });
    Ok(absent.collect())
}

/// The page, if it is not what the list makes.
fn stale(list: &List) -> Option<Finding> {
    let found = tree::read(PAGE).unwrap_or_else(|_| TextFile { path: PAGE.to_string(), text: String::new() });
    differing(&found, &page::write(list))
}

fn differing(found: &TextFile, wanted: &str) -> Option<Finding> {
    if found.text == wanted {
        return None;
    }
    let same = found.text.lines().zip(wanted.lines()).take_while(|(found, wanted)| found == wanted).count();
    Some(Finding::at(&found.path, same, format!("differs from {LIST}: run `cargo xtask conformance`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_page_is_found_at_the_line_that_differs() {
        let found = |text: &str| TextFile { path: PAGE.to_string(), text: text.to_string() };
        assert_eq!(differing(&found("a\nb\n"), "a\nb\n"), None);
        assert_eq!(differing(&found("a\nb\n"), "a\nc\n").map(|finding| finding.line), Some(2));
        assert_eq!(differing(&found("a\nb\nc\n"), "a\nb\n").map(|finding| finding.line), Some(3));
    }
}
