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

/// One way to build: its name, its cargo profile, what rustc is told for every crate but build scripts and proc macros, and
/// what for the last one.
struct Way {
    name: &'static str,
    profile: &'static str,
    rustflags: &'static str,
    link: &'static [&'static str],
}

impl Way {
    const fn release(name: &'static str) -> Self {
        Way { name, profile: "release", rustflags: BITCODE, link: &[] }
    }

    const fn flags(name: &'static str, rustflags: &'static str) -> Self {
        Way { rustflags, ..Way::release(name) }
    }

    const fn link(name: &'static str, link: &'static [&'static str]) -> Self {
        Way { link, ..Way::release(name) }
    }
}

/// With this one build of the crates below serves those ways that optimize the whole program at its end, too.
const BITCODE: &str = "-C embed-bitcode=yes";

const WAYS: &[Way] = &[
    Way { profile: "dev", ..Way::flags("debug", "") },
    Way::release("release"),
    Way::link("GNU ld", &["-C", "link-arg=-fuse-ld=bfd"]),
    Way::link("no build id", &["-C", "link-arg=-Wl,--build-id=none"]),
    Way::link("stripped", &["-C", "strip=symbols"]),
    Way::link("fat LTO", &["-C", "lto=fat"]),
    Way::link("thin LTO", &["-C", "lto=thin"]),
    Way::flags("panic = abort", "-C panic=abort"),
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
    // Named even though it is this machine's: then the flags are not for proc macros and build scripts, which all ways share.
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut build = cargo(&["rustc", "--locked", "--package", package, "--profile", way.profile, "--target", &triple]);
    build.current_dir(tree::root().join("xtask/images"));
    build.env("CARGO_TARGET_DIR", scratch).env("RUSTFLAGS", way.rustflags);
    build.arg("--").args(way.link);
    check(build)?;
    Ok(scratch.join(triple).join(if way.profile == "dev" { "debug" } else { way.profile }))
}
