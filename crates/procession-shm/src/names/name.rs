//! What may be the name of a segment, and where its file lies.

use std::io;
use std::path::{Path, PathBuf};

use procession_sys::random_bytes;

use super::record;
use crate::ShmError;

/// Where segments with a name are: the place that shm_open(3) and Python use.
pub(super) const DIRECTORY: &str = "/dev/shm";

/// The longest name of a segment, in bytes: that of a file (`NAME_MAX`).
pub const SEGMENT_NAME_BYTES_MAX: usize = 255;

/// How many characters of a wrong name an error shows.
const NAME_CHARS_SHOWN: usize = 32;

/// How generated names begin, as Python's do.
const GENERATED: &str = "psm_";

/// A name that a segment can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    /// Checks it.
    pub(super) fn new(name: &str) -> Result<Self, ShmError> {
        match fault_of(name) {
            None => Ok(Self(name.to_owned())),
            Some(reason) => {
                let shown: String = name.chars().take(NAME_CHARS_SHOWN).collect();
                let dots = if shown.len() < name.len() { "..." } else { "" };
                Err(ShmError::Name { name: shown + dots, reason })
            }
        }
    }

    /// One that most likely nobody has.
    pub(super) fn generate() -> io::Result<Self> {
        Ok(Self(format!("{GENERATED}{:08x}", u32::from_le_bytes(random_bytes()?))))
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Where its file is.
    pub(super) fn path(&self) -> PathBuf {
        Path::new(DIRECTORY).join(&self.0)
    }
}

/// What is wrong with a name, and what to do.
fn fault_of(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty: name at least one character, or use `create_with_new_name`".to_owned());
    }
    if name == "." || name == ".." {
        return Some("it names a directory: add a character".to_owned());
    }
    if let Some(wrong) = name.chars().find(|&character| character == '/' || character == '\0') {
        let python = if wrong == '/' { " (Python's names have no slash either)" } else { "" };
        return Some(format!("it contains {wrong:?}: leave it out{python}"));
    }
    if name.len() > SEGMENT_NAME_BYTES_MAX {
        return Some(format!("it has {} bytes: use at most {SEGMENT_NAME_BYTES_MAX}", name.len()));
    }
    if name.starts_with(record::PREFIX) {
        return Some(format!("names that begin with {:?} are kept for this library's records", record::PREFIX));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_names() {
        for name in ["a", "psm_00000000", "with blanks", "ünï", "...", &"x".repeat(SEGMENT_NAME_BYTES_MAX)] {
            assert_eq!(Name::new(name).unwrap().path(), Path::new("/dev/shm").join(name));
        }
    }

    #[test]
    fn what_is_no_name_is_told_with_the_remedy() {
        let long = "ü".repeat(SEGMENT_NAME_BYTES_MAX / 2 + 1);
        for (name, remedy) in [
            ("", "create_with_new_name"),
            (".", "add a character"),
            ("..", "add a character"),
            ("a/b", "leave it out"),
            ("/a", "leave it out"),
            ("a\0b", "leave it out"),
            (&long, "at most 255"),
            ("procession-names-1", "kept for"),
        ] {
            let error = Name::new(name).unwrap_err();
            assert!(matches!(error, ShmError::Name { .. }), "{error}");
            assert!(error.to_string().contains(remedy) && error.to_string().len() < 200, "{error}");
            assert_eq!(error.to_string().contains("slash"), name.contains('/'), "{error}");
        }
    }

    #[test]
    fn a_generated_name_is_as_pythons() {
        let name = Name::generate().unwrap();
        let digits = name.as_str().strip_prefix("psm_").unwrap();
        assert!(digits.len() == 8 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{name:?}");
        assert_ne!(name, Name::generate().unwrap());
    }
}
