//! A directory of our own that is empty at first and gone at the end.
//!
//! Relies on the process id in its name to be the only one that uses it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;

/// The directory; dropping it removes it with all that is in it.
pub(crate) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// Makes the directory in `parent`, named after `purpose`.
    ///
    /// # Errors
    ///
    /// Says which directory could not be made.
    pub(crate) fn new(parent: &Path, purpose: &str) -> Result<Self> {
        let dir = parent.join(format!("xtask-{purpose}-{}", std::process::id()));
        fs::create_dir_all(parent)
            .and_then(|()| fs::create_dir(&dir))
            .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        Ok(Scratch { dir })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            eprintln!("cannot remove {}: {error}", self.dir.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_with_its_contents() -> Result {
        let scratch = Scratch::new(&std::env::temp_dir(), "scratch-test")?;
        let dir = scratch.path().to_path_buf();
        fs::write(dir.join("file"), "x")?;
        assert!(Scratch::new(&std::env::temp_dir(), "scratch-test").is_err());
        drop(scratch);
        assert!(!dir.exists());
        Ok(())
    }
}
