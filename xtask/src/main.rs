//! `cargo xtask`: the one door for the tests, lints, layers and docs of this workspace.
//!
//! This file only finds the command in the table of [`flags`] and runs it. It relies on cargo alone;
//! whatever else a command can use is named by that command when it is absent.

mod bench;
mod built;
mod ci;
mod confined;
mod conformance;
mod count;
mod docs;
mod examples;
mod failures;
mod flags;
mod fuzz;
mod images;
mod interrupt;
mod layers;
mod lex;
mod manifest;
mod metadata;
mod package;
mod planted;
mod run;
mod scratch;
mod steps;
mod stress;
mod test_all;
mod tidy;
mod tree;

use std::process::ExitCode;

/// What a command returns: `Ok` when it has nothing to object to.
type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// The error of a command that has printed all there is to say, and wants its last line last.
#[derive(Debug)]
struct Told;

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed as printed above")
    }
}

impl std::error::Error for Told {}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        print!("{}", flags::help());
        return ExitCode::SUCCESS;
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", flags::help());
        return ExitCode::SUCCESS;
    }
    let Some(command) = flags::COMMANDS.iter().find(|command| command.name == name) else {
        eprint!("there is no command `{name}`\n\n{}", flags::help());
        return ExitCode::FAILURE;
    };
    match (command.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<Told>() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
