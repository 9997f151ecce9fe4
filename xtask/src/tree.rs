//! The files of the repository, read without git, so that a tarball can be checked as well.
//!
//! Relies on the place of this crate's manifest: the root is one directory above it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// Directories that hold what a build or a tool made; they are in `.gitignore` too.
const SKIPPED: &[&str] = &[".git", "target", "docs/book", "corpus", "artifacts", "__pycache__"];

/// A text file: its path from the root with `/`, and all its text.
#[derive(Debug, Clone)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl TextFile {
    /// True if the file name ends in `.` and one of `extensions`.
    pub(crate) fn is(&self, extensions: &[&str]) -> bool {
        self.path.rsplit_once('.').is_some_and(|(_, extension)| extensions.contains(&extension))
    }

    /// True if this word stands in the text, not as a part of a longer one.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        self.text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|found| found == word)
    }
}

/// A rule that a place in the repository breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    pub(crate) line: usize,
    pub(crate) message: String,
}

impl Finding {
    /// A finding at the line with this index, counted from nought as slices are.
    pub(crate) fn at(path: &str, line_idx: usize, message: impl Into<String>) -> Self {
        Finding { path: path.to_string(), line: line_idx + 1, message: message.into() }
    }
}

/// Prints the findings as `path:line: message`, and makes an error of them if there are any.
///
/// # Errors
///
/// Says how many findings there were.
pub(crate) fn report(what: &str, mut findings: Vec<Finding>) -> Result {
    findings.sort();
    for Finding { path, line, message } in &findings {
        println!("{path}:{line}: {message}");
    }
    match findings.len() {
        0 => {
            println!("{what}: nothing to object to");
            Ok(())
        }
        count => Err(format!("{what}: {count} to mend").into()),
    }
}

/// The directory of the workspace's manifest.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Reads a file by its path from the root.
///
/// # Errors
///
/// Names the file that cannot be read.
pub(crate) fn read(path: &str) -> Result<TextFile> {
    let text = fs::read_to_string(root().join(path)).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(TextFile { path: path.to_string(), text })
}

/// Every text file of the repository, sorted by path. Files that are not UTF-8 are left out.
///
/// # Errors
///
/// Names the directory that cannot be listed.
pub(crate) fn files() -> Result<Vec<TextFile>> {
    let mut found = Vec::new();
    walk(&root(), "", &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn walk(root: &Path, under: &str, found: &mut Vec<TextFile>) -> Result {
    let dir = root.join(under);
    let entries = fs::read_dir(&dir).map_err(|error| format!("cannot list {}: {error}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        if SKIPPED.contains(&name.as_str()) || SKIPPED.contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            walk(root, &path, found)?;
        } else if kind.is_file()
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(TextFile { path, text });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_finds_this_file_and_no_build_output() -> Result {
        let files = files()?;
        assert!(files.iter().any(|file| file.path == "xtask/src/tree.rs"));
        assert!(!files.iter().any(|file| file.path.starts_with("target/")));
        Ok(())
    }

    #[test]
    fn findings_make_an_error() {
        assert!(report("test", Vec::new()).is_ok());
        assert!(report("test", vec![Finding::at("a.rs", 0, "planted")]).is_err());
    }
}
