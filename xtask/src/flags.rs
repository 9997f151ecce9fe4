//! Every command, declared once: this table is the dispatch and the help.
//!
//! A command that is not in this table does not exist, and one that is in it is in the help.

use crate::{Result, bench, ci, conformance, docs, fuzz, images, layers, stress, test_all, tidy};

/// One command of `cargo xtask`.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) args: &'static str,
    pub(crate) about: &'static str,
    pub(crate) run: fn(&[String]) -> Result,
}

/// The commands in the order in which a newcomer needs them.
pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "test-all",
        args: "",
        about: "everything that must hold before a change lands; ends with `N passed, N failed`",
        run: test_all::run,
    },
    Command {
        name: "ci",
        args: "quick|test|setup|conclusion",
        about: "one job of the workflow; `quick` is the gate to run before each commit",
        run: ci::run,
    },
    Command {
        name: "layers",
        args: "[--check]",
        about: "refuse dependencies that do not go down, and draw the layers into README and book",
        run: layers::run,
    },
    Command {
        name: "tidy",
        args: "[--unsafe]",
        about: "the rules that no compiler checks; `--unsafe` lists where unsafe code stands",
        run: tidy::run,
    },
    Command {
        name: "images",
        args: "",
        about: "build one program in every way that a linker may treat differently, and let its children run",
        run: images::run,
    },
    Command {
        name: "conformance",
        args: "[--check]",
        about: "refuse promises of CPython's tests that no test of ours proves, and write the book's page of them",
        run: conformance::run,
    },
    Command {
        name: "docs",
        args: "",
        about: "check the book's pages and links, and build the API docs without a warning",
        run: docs::run,
    },
    Command {
        name: "stress",
        args: "[PRIMITIVE...] [--kills N] [--seed N] [--plant BUG]",
        about: "kill those that share an object, again and again; with a planted bug, this must be noticed",
        run: stress::run,
    },
    Command {
        name: "fuzz",
        args: "[TARGET...] [--seconds N] [--plant BUG]",
        about: "let a fuzzer write the targets' inputs; with a planted bug, this must be found within a minute",
        run: fuzz::run,
    },
    Command {
        name: "bench",
        args: "[GROUP] [--quick]",
        about: "criterion on one group of benches or on all, with the limits and the peers beside ours",
        run: bench::run,
    },
    Command {
        name: "bench-report",
        args: "[--quick|--smoke]",
        about: "measure ratios in alternating rounds and write the book's page on performance; `--smoke` writes nothing",
        run: bench::report,
    },
];

/// The text of `cargo xtask help`.
pub(crate) fn help() -> String {
    let mut text = String::from("usage: cargo xtask COMMAND\n\n");
    for Command { name, args, about, .. } in COMMANDS {
        text.push_str(format!("  {name} {args}").trim_end());
        text.push_str(&format!("\n      {about}\n"));
    }
    text
}

/// Refuses arguments that the command does not know, and says which of `known` were given.
///
/// # Errors
///
/// Names the first argument that is not in `known`.
pub(crate) fn only<const N: usize>(args: &[String], known: [&str; N]) -> Result<[bool; N]> {
    if let Some(stranger) = args.iter().find(|arg| !known.contains(&arg.as_str())) {
        return Err(format!("unknown argument `{stranger}`; see `cargo xtask help`").into());
    }
    Ok(known.map(|flag| args.iter().any(|arg| arg == flag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_command() {
        let help = help();
        for command in COMMANDS {
            assert!(help.contains(&format!("  {} ", command.name).trim_end().to_string()));
        }
    }

    #[test]
    fn an_unknown_argument_is_an_error() {
        let args = ["--chekc".to_string()];
        assert!(only(&args, ["--check"]).is_err());
        assert!(only(&["--check".to_string()], ["--check"]).is_ok_and(|[check]| check));
    }
}
