//! `cargo xtask images`: children work whatever way the program was built and linked.
//!
//! Builds `xtask/images/program` once for each way and runs it; then lets a foreign host load `xtask/images/plugin`.
//! A build and link that this machine's linker cannot do is a failure, not a gap.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::count::Tally;
use crate::run::{cargo, check};
use crate::scratch::Scratch;
use crate::{Result, failures, flags, tree};

/// One way to build: its name, its cargo profile, what rustc is told for every crate, and what for the last one.
struct Way {
    name: &'static str,
    profile: &'static str,
    rustflags: &'static str,
    link: &'static [&'static str],
}

impl Way {
    const fn profile(name: &'static str, profile: &'static str) -> Self {
        Way { name, profile, rustflags: "", link: &[] }
    }

    const fn flags(name: &'static str, rustflags: &'static str) -> Self {
        Way { rustflags, ..Way::profile(name, "release") }
    }

    const fn link(name: &'static str, link: &'static [&'static str]) -> Self {
        Way { link, ..Way::profile(name, "release") }
    }
}

const WAYS: &[Way] = &[
    Way::profile("debug", "dev"),
    Way::profile("release", "release"),
    Way::link("GNU ld", &["-C", "link-arg=-fuse-ld=bfd"]),
    Way::link("no build id", &["-C", "link-arg=-Wl,--build-id=none"]),
    Way::link("stripped", &["-C", "strip=symbols"]),
    Way::profile("fat LTO", "fat"),
    Way::profile("thin LTO", "thin"),
    Way::profile("panic = abort", "abort"),
    Way::flags("static", "-C target-feature=+crt-static"),
    Way::flags("not position independent", "-C relocation-model=static"),
];

/// Builds and runs all.
///
/// # Errors
///
/// Says how many ways failed.
pub(crate) fn run(args: &[String]) -> Result {
    flags::only(args, [])?;
    let tally = all()?;
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { Ok(()) } else { Err(format!("{} ways to build failed", tally.failed).into()) }
}

/// Builds and runs all; each way counts as one.
///
/// # Errors
///
/// Says that there is no place to build in.
pub(crate) fn all() -> Result<Tally> {
    let scratch = Scratch::new(&tree::root().join("target"), "images")?;
    let mut tally = Tally::default();
    let mut count = |name: &str, result: Result| {
        if let Err(error) = &result {
            failures::say(&format!("{name}: {error}"));
        }
        tally += Tally::one(result.is_ok());
    };
    for way in WAYS {
        println!("-- {}", way.name);
        count(way.name, try_way(way, scratch.path()));
    }
    count("foreign host", foreign_host(scratch.path()));
    Ok(tally)
}

/// Builds the program one way and runs it.
fn try_way(way: &Way, scratch: &Path) -> Result {
    let folder = build("program", way, scratch)?;
    let mut program = Command::new(folder.join("program"));
    program.arg(folder.join("copy"));
    check(program)
}

/// Loads the plugin into a C program, and into a Rust program that has a copy of procession as well.
fn foreign_host(scratch: &Path) -> Result {
    println!("-- foreign host");
    let way = &WAYS[0];
    let plugin = build("plugin", way, scratch)?.join("libplugin.so");
    let host = scratch.join("host");
    let mut compile = Command::new("cc");
    compile.arg("-o").arg(&host).arg(tree::root().join("xtask/images/host.c")).arg("-ldl");
    check(compile)?;
    let mut run = Command::new(&host);
    run.arg(&plugin);
    check(run)?;
    let folder = build("program", way, scratch)?;
    let mut program = Command::new(folder.join("program"));
    program.arg(folder.join("copy")).arg(&plugin);
    check(program)
}

/// Builds a package one way; the folder that holds what came out.
fn build(package: &str, way: &Way, scratch: &Path) -> Result<PathBuf> {
    // What is the same for several ways is built once.
    let target = scratch.join(if way.rustflags.is_empty() { "plain" } else { way.name });
    let mut build = cargo(&["rustc", "--package", package, "--profile", way.profile]);
    build.current_dir(tree::root().join("xtask/images"));
    build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", way.rustflags);
    let mut folder = target;
    if !way.rustflags.is_empty() {
        // Named even though it is this machine's: then the flags are not for proc macros and build scripts.
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        build.args(["--target", &triple]);
        folder.push(triple);
    }
    build.arg("--").args(way.link);
    check(build)?;
    folder.push(if way.profile == "dev" { "debug" } else { way.profile });
    Ok(folder)
}
