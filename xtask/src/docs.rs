//! `cargo xtask docs`: the book has no lost page and no dead link, and the API docs no warning.
//!
//! Relies on `docs/src/SUMMARY.md`, and on the list in the facade crate through which each page's
//! examples are compiled. mdbook is not needed; where it is found, the book is built as well.

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use crate::metadata;
use crate::run::{ALL_FEATURES, answers, cargo, check};
use crate::tree::{self, Finding, TextFile};
use crate::{Result, flags};

const BOOK: &str = "docs/src/";
const SUMMARY: &str = "docs/src/SUMMARY.md";

/// Includes every page under `#[cfg(doctest)]`.
const COMPILED_IN: &str = "crates/procession/src/book.rs";

/// Checks the book and builds the API docs.
///
/// # Errors
///
/// A page or a link is wrong, or rustdoc warned.
pub(crate) fn run(args: &[String]) -> Result {
    flags::only(args, [])?;
    let names: Vec<String> = metadata::packages()?.into_iter().map(|package| package.name).collect();
    let book = tree::report("book", book(&tree::files()?, &names));
    let mut rustdoc = cargo(&["doc", "--workspace", ALL_FEATURES, "--no-deps"]);
    rustdoc.env("RUSTDOCFLAGS", "-D warnings");
    let api = check(rustdoc);
    book.and(api).and(mdbook())
}

fn mdbook() -> Result {
    let mdbook = |args: &[&str]| {
        let mut command = Command::new("mdbook");
        command.args(args).current_dir(tree::root());
        command
    };
    if !answers(mdbook(&["--version"])) {
        println!("mdbook: absent, so the book is checked and not built");
        return Ok(());
    }
    check(mdbook(&["build", "docs"]))
}

/// What is wrong with the book and with the links of the pages beside it.
fn book(files: &[TextFile], package_names: &[String]) -> Vec<Finding> {
    let mut findings = pages(files);
    for file in files.iter().filter(|file| file.is(&["md"])) {
        findings.extend(links(file, files));
        findings.extend(crates_named(file, package_names));
    }
    findings
}

/// Pages that the summary or the compiled list forgets.
fn pages(files: &[TextFile]) -> Vec<Finding> {
    let text = |path: &str| files.iter().find(|file| file.path == path).map(|file| file.text.as_str());
    let mut findings = Vec::new();
    for path in [SUMMARY, COMPILED_IN] {
        if text(path).is_none() {
            findings.push(Finding::at(path, 0, "the file is missing"));
        }
    }
    let pages = files.iter().filter(|file| file.path.starts_with(BOOK) && file.is(&["md"]));
    for page in pages.filter(|page| page.path != SUMMARY) {
        let name = page.path.trim_start_matches(BOOK);
        let listed = text(SUMMARY)
            .is_none_or(|summary| targets(summary).iter().any(|(_, target)| target.trim_start_matches("./") == name));
        if !listed {
            findings.push(Finding::at(&page.path, 0, format!("the page is not in {SUMMARY}")));
        }
        let include = format!("/{}\"", page.path);
        if !text(COMPILED_IN).is_none_or(|list| list.contains(&include)) {
            findings.push(Finding::at(&page.path, 0, format!("the page is not in {COMPILED_IN}")));
        }
    }
    findings
}

/// Links to files that are not there. A page of the book may not link out of the book.
fn links(file: &TextFile, files: &[TextFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line_idx, target) in targets(&file.text) {
        let path = target.split('#').next().unwrap_or_default();
        if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
            continue;
        }
        let resolved = resolve(&file.path, path);
        let exists =
            files.iter().any(|other| other.path == resolved || other.path.starts_with(&format!("{resolved}/")));
        if !exists {
            findings.push(Finding::at(&file.path, line_idx, format!("`{target}` leads nowhere")));
        } else if file.path.starts_with(BOOK) && !resolved.starts_with(BOOK) {
            let message = format!("`{target}` leads out of the book, which is built on its own");
            findings.push(Finding::at(&file.path, line_idx, message));
        }
    }
    findings
}

/// Every link's target and line, code left out.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (idx, line) in prose(text) {
        for (at, _) in line.match_indices("](") {
            let inside = &line[at + 2..];
            let end = inside.find([')', ' ']).unwrap_or(inside.len());
            found.push((idx, inside[..end].to_string()));
        }
        let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
        found.extend(definition.map(|(_, target)| (idx, target.trim().to_string())));
    }
    found
}

/// The lines outside of code blocks, without the code within them.
fn prose(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(idx, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        let outside = !in_code && !fence;
        outside.then(|| (idx, line.split('`').step_by(2).collect::<Vec<_>>().join("code")))
    })
}

/// The path from the root that `target` means when it stands in the file `from`.
fn resolve(from: &str, target: &str) -> String {
    let joined = Path::new(from).parent().unwrap_or(Path::new("")).join(target);
    let mut resolved = PathBuf::new();
    for component in joined.components() {
        match component {
            Component::ParentDir => drop(resolved.pop()),
            Component::Normal(part) => resolved.push(part),
            _ => {}
        }
    }
    resolved.to_string_lossy().into_owned()
}

/// Crates of ours that a page names as code and that do not exist.
fn crates_named(file: &TextFile, package_names: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (idx, line) in file.text.lines().enumerate() {
        for name in line.split('`').skip(1).step_by(2) {
            let rest = name.strip_prefix("procession-").unwrap_or_default();
            let is_name = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_lowercase());
            if is_name && !package_names.iter().any(|known| known == name) {
                let message = format!("there is no crate `{name}`");
                findings.push(Finding::at(&file.path, idx, message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> TextFile {
        TextFile { path: path.to_string(), text: text.to_string() }
    }

    fn found(extra: &[(&str, &str)]) -> Vec<String> {
        let mut files = vec![
            file(SUMMARY, "# Summary\n- [A](a.md)\n- [B](guide/b.md)\n"),
            file(COMPILED_IN, "include_str!(\"x/docs/src/a.md\")\ninclude_str!(\"x/docs/src/guide/b.md\")"),
            file("docs/src/a.md", "[b](guide/b.md#top) [up](#up) [out](https://example.org)\n"),
            file("docs/src/guide/b.md", "[a](../a.md)\n```rust\nlet a = b[0](c);\n```\n`x[0](d)`\n"),
            file("CHANGELOG.md", "[a]: docs/src/a.md\n`procession-wire` and [guide](docs/src/guide)\n"),
        ];
        for (path, text) in extra {
            files.retain(|file| file.path != *path);
            files.push(file(path, text));
        }
        let findings = book(&files, &["procession-wire".to_string()]);
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_whole_book_passes() {
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn a_page_that_is_not_listed_is_found_twice() {
        let messages = found(&[("docs/src/c.md", "Lost.\n")]);
        assert_eq!(messages.len(), 2);
        assert!(messages[0].contains(SUMMARY) && messages[1].contains(COMPILED_IN));
    }

    #[test]
    fn a_listed_page_that_does_not_exist_and_a_missing_list_are_found() {
        let summary = "- [A](a.md)\n- [B](guide/b.md)\n- [C](c.md)\n";
        assert_eq!(found(&[(SUMMARY, summary)]), ["`c.md` leads nowhere"]);
        let files = [file("docs/src/a.md", "Alone.\n")];
        assert_eq!(book(&files, &[]).len(), 2);
    }

    #[test]
    fn dead_links_and_links_out_of_the_book_are_found() {
        assert_eq!(found(&[("a.md", "[x](b.md)\n")]), ["`b.md` leads nowhere"]);
        assert_eq!(found(&[("docs/src/a.md", "[x](../../CHANGELOG.md)\n")]).len(), 1);
    }

    #[test]
    fn crates_that_do_not_exist_are_found() {
        assert_eq!(found(&[("a.md", "`procession-wier`\n")]), ["there is no crate `procession-wier`"]);
        assert_eq!(found(&[("a.md", "`procession-1234` and `procession-wire`\n")]), [""; 0]);
    }
}
