//! A copy of the repository with a bug in it, to show that a check would notice.
//!
//! Relies on [`tree`] for the files. The copy stays, with what is built of it, so that the next build is a short one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Result, metadata, tree};

/// A bug: in this file this text is replaced by that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bug {
    pub(crate) file: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

impl Bug {
    /// The file's text with the bug.
    ///
    /// # Errors
    ///
    /// The text to replace is not there once.
    pub(crate) fn in_text(&self, text: &str) -> Result<String> {
        match text.matches(self.from).count() {
            1 => Ok(text.replace(self.from, self.to)),
            count => Err(format!("the line to plant a bug in is {count} times in {}, not once", self.file).into()),
        }
    }

    /// A copy of the repository with the bug: where it is.
    ///
    /// # Errors
    ///
    /// As [`Bug::in_text`]; there is no place for the copy.
    pub(crate) fn copy(&self) -> Result<PathBuf> {
        let copy = metadata::target_directory()?.join("planted");
        for file in tree::files()? {
            let text = if file.path == self.file { self.in_text(&file.text)? } else { file.text };
            write(&copy.join(&file.path), &text)?;
        }
        Ok(copy)
    }
}

/// Has cargo build there.
pub(crate) fn in_copy(command: &mut Command, copy: &Path) {
    // With a target directory of its own: cargo takes two copies of a workspace for one and mixes what it has built.
    command.current_dir(copy).env("CARGO_TARGET_DIR", copy.join("target"));
    // Nobody looks at it in a debugger, and it builds in two thirds of the time.
    command.env("CARGO_PROFILE_DEV_DEBUG", "0");
    // One bug after the other is planted there, in the same few files.
    command.env("CARGO_INCREMENTAL", "1");
}

/// Writes a file unless it says that already: what has not changed is not built anew.
fn write(path: &Path, text: &str) -> Result {
    if fs::read(path).is_ok_and(|before| before == text.as_bytes()) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    Ok(fs::write(path, text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_not_there_once_is_an_error() -> Result {
        let bug = Bug { file: "a.rs", from: "line\n", to: "other\n" };
        assert!(bug.in_text("").is_err());
        assert!(bug.in_text("line\nline\n").is_err());
        assert_eq!(bug.in_text("a\nline\n")?, "a\nother\n");
        Ok(())
    }
}
