//! Builds every crate from exactly the files that would be published.
//!
//! Cargo lets the crates that are not published yet find each other in a registry of its own making.
//! It unpacks them from there once into its home and then never again, so a second run would build
//! against yesterday's sources; for that reason each run has a home and a target directory of its own.
//! What the home holds of the real registry was fetched by the steps before.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::metadata::{self, Package};
use crate::run::{cargo, check};
use crate::scratch::Scratch;
use crate::steps::in_ci;

/// What a home must have of the real one: settings, the index, and the packages as downloaded.
const SHARED: &[&str] = &["config.toml", "registry/index", "registry/cache"];

/// Packages and builds all crates that may be published.
///
/// # Errors
///
/// A crate cannot be packaged, or does not build from its package.
pub(crate) fn all() -> Result {
    let packages = metadata::packages()?;
    let scratch = Scratch::new(&metadata::target_directory()?, "package")?;
    let home = scratch.path().join("home");
    share(&real_home()?, &home)?;
    let mut command = cargo(&args(&packages, in_ci()));
    command.env("CARGO_HOME", home).env("CARGO_TARGET_DIR", scratch.path().join("target"));
    command.env("CARGO_PROFILE_DEV_DEBUG", "0"); // Nobody runs it.
    check(command)
}

fn args(packages: &[Package], clean: bool) -> Vec<&str> {
    let mut args = vec!["package", "--workspace", "--offline"];
    for package in packages.iter().filter(|package| !package.publish) {
        args.extend(["--exclude", &package.name]);
    }
    // Someone at work has changes that are not committed; a fresh clone has none, and a build
    // that writes into the source tree is found there.
    if !clean {
        args.push("--allow-dirty");
    }
    args
}

/// Cargo's home, as cargo itself finds it.
fn real_home() -> Result<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    home.ok_or_else(|| "neither CARGO_HOME nor HOME is set".into())
}

/// Makes `home` with links to those parts of the `real` one that are there.
fn share(real: &Path, home: &Path) -> Result {
    fs::create_dir_all(home.join("registry"))?;
    for part in SHARED {
        if real.join(part).exists() {
            symlink(real.join(part), home.join(part))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_not_published_are_left_out() -> Result {
        let packages = metadata::packages()?;
        let clean = args(&packages, true).join(" ");
        assert!(clean.contains("--exclude xtask"), "{clean}");
        assert!(!clean.contains("--exclude procession-wire"), "{clean}");
        assert!(!clean.contains("dirty"), "{clean}");
        assert!(args(&packages, false).contains(&"--allow-dirty"));
        Ok(())
    }

    #[test]
    fn a_home_shares_what_was_downloaded_and_not_what_was_unpacked() -> Result {
        let scratch = Scratch::new(&std::env::temp_dir(), "package-test")?;
        let (real, home) = (scratch.path().join("real"), scratch.path().join("home"));
        fs::create_dir_all(real.join("registry/cache"))?;
        fs::create_dir_all(real.join("registry/src"))?;
        share(&real, &home)?;
        assert!(home.join("registry/cache").exists());
        assert!(!home.join("registry/src").exists() && !home.join("registry/index").exists());
        Ok(())
    }
}
