//! Has cargo build, and finds what came of it.
//!
//! Relies on the messages that cargo prints for programs. What people are to read, a broken build's errors, goes where ours
//! goes.

use std::path::PathBuf;

use serde_json::Value;

use crate::Result;
use crate::run::{cargo, output};

/// An executable and the name of its target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    pub(crate) target: String,
    pub(crate) path: PathBuf,
}

/// What cargo has built, in its own messages.
#[derive(Debug)]
pub(crate) struct Built(pub(crate) String);

/// Has cargo do this.
///
/// # Errors
///
/// The build is broken.
pub(crate) fn build(args: &[&str]) -> Result<Built> {
    output(cargo(&[args, &["--message-format=json-render-diagnostics"]].concat())).map(Built)
}

/// Has cargo do this; where the program of this name is.
///
/// # Errors
///
/// The build is broken, or the program is not part of it.
pub(crate) fn build_program(args: &[&str], name: &str) -> Result<PathBuf> {
    let found = build(args)?.executables("bin").into_iter().find(|(built, _)| built.target == name);
    found.map(|(built, _)| built.path).ok_or_else(|| format!("cargo built no program `{name}`").into())
}

impl Built {
    /// The executables of this kind, each with its package's manifest.
    pub(crate) fn executables(&self, kind: &str) -> Vec<(Executable, PathBuf)> {
        let messages = self.0.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let executable = |message: Value| {
            let kinds = message["target"]["kind"].as_array()?;
            let target = message["target"]["name"].as_str()?.to_string();
            let path = PathBuf::from(message["executable"].as_str()?);
            let manifest = PathBuf::from(message["manifest_path"].as_str()?);
            kinds.iter().any(|it| it == kind).then_some((Executable { target, path }, manifest))
        };
        messages.filter_map(executable).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_executables_of_the_kind_are_taken() {
        let message = |kind: &str, executable: &str| {
            format!(
                "{{\"target\": {{\"kind\": [\"{kind}\"], \"name\": \"a\"}}, \
                 \"executable\": {executable}, \"manifest_path\": \"/m\"}}\n"
            )
        };
        let messages = [
            message("test", "\"/t\""),
            message("lib", "\"/l\""),
            message("test", "null"),
            "{\"reason\": \"build-finished\"}\nnot json\n".to_string(),
        ];
        let found = Built(messages.concat()).executables("test");
        let wanted = Executable { target: "a".to_string(), path: PathBuf::from("/t") };
        assert_eq!(found, [(wanted, PathBuf::from("/m"))]);
    }
}
