//! Which part of a test a process is: told in its arguments, as nothing that a case starts then inherits it.
//!
//! A process that a case starts by executing the same program anew has these arguments too if its starter hands its
//! own on, so [`unique_name`] is the same in all processes of a case.

use std::env;
use std::ffi::OsString;
use std::process::Command;

/// The first argument of every process but the harness.
const MARK: &str = "--procession-testkit";

/// What a process was started as.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// By cargo, nextest or a person: runs the cases.
    Harness,
    /// By the harness: watches one case. Shows the case's output at once if `shown`.
    Fence { case: String, shown: bool },
    /// By the fence: is one case.
    Body { case: String },
    /// By a case.
    Program { name: String },
}

const FENCE: &str = "fence";
const FENCE_SHOWN: &str = "fence-shown";
const BODY: &str = "body";
const PROGRAM: &str = "program";

/// What this process was started as, and the unique name of its case.
fn read(args: impl Iterator<Item = OsString>) -> (Role, String) {
    let mut args = args.skip(1).map(|arg| arg.to_string_lossy().into_owned());
    if args.next().as_deref() != Some(MARK) {
        return (Role::Harness, String::new());
    }
    let mut next = || args.next().unwrap_or_default();
    let (role, name, unique) = (next(), next(), next());
    let role = match role.as_str() {
        FENCE => Role::Fence { case: name, shown: false },
        FENCE_SHOWN => Role::Fence { case: name, shown: true },
        BODY => Role::Body { case: name },
        PROGRAM => Role::Program { name },
        _ => Role::Harness,
    };
    (role, unique)
}

/// What this process was started as.
pub(crate) fn own() -> Role {
    read(env::args_os()).0
}

/// A name that no other case and no other run of this case has, for what has to have one: in the file system, in
/// `/dev/shm`, as an abstract socket. What is left in `/dev/shm` with this name in its own fails the case.
///
/// It is the same in the case's body, in the programs that it starts, and in processes that execute this program anew
/// with the arguments that this process has. Elsewhere it is empty.
#[must_use]
pub fn unique_name() -> String {
    read(env::args_os()).1
}

/// The program `name` of this test file, ready to be started: a process that runs the function and ends as a `main`
/// does that returns.
///
/// # Panics
/// When this process's executable has no path any more.
#[must_use]
pub fn program(name: &str) -> Command {
    command(PROGRAM, name, &unique_name())
}

/// A fence for `case`.
pub(crate) fn fence(case: &str, shown: bool, unique: &str) -> Command {
    command(if shown { FENCE_SHOWN } else { FENCE }, case, unique)
}

/// The body of `case`.
pub(crate) fn body(case: &str) -> Command {
    command(BODY, case, &unique_name())
}

/// This program anew.
fn command(role: &str, name: &str, unique: &str) -> Command {
    let executable = env::current_exe().expect("a test's own executable has a path");
    let mut command = Command::new(executable);
    command.args([MARK, role, name, unique]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(args: &[&str]) -> (Role, String) {
        read(args.iter().map(OsString::from))
    }

    #[test]
    fn a_role_is_read_from_the_arguments_that_it_is_written_to() {
        let body = Role::Body { case: "a::b".into() };
        assert_eq!(role(&["test", MARK, "body", "a::b", "name"]), (body, "name".into()));
        assert_eq!(role(&["test", MARK, "fence-shown", "a", "b"]).0, Role::Fence { case: "a".into(), shown: true });
    }

    #[test]
    fn everything_else_is_the_harness() {
        for args in [&["test"][..], &["test", "--list"], &["test", "body", "a"], &["test", MARK], &[]] {
            assert_eq!(role(args), (Role::Harness, String::new()), "{args:?}");
        }
    }
}
