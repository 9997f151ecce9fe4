//! `cargo xtask fuzz`: lets a fuzzer write the inputs of the fuzz targets, and shows that it would find a bug.
//!
//! Relies on cargo-fuzz and libFuzzer, which guides itself by the branches that an input takes. Both work with the stable
//! compiler as long as no sanitizer is wanted. So what is found is what ends a process, or keeps it from ending: panics,
//! overflows, faults, loops and too much memory. To show that something is found, a bug is planted in a copy of the
//! repository, and the target run there, from no inputs, must fail.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::planted::{Bug, in_copy};
use crate::run::{Kept, answers, cargo, check, watch_into};
use crate::scratch::Scratch;
use crate::{Result, metadata, tree};

/// How long a target runs, unless told otherwise.
const SECONDS: u64 = 60;

/// Within so long a planted bug must be found.
const PLANT_SECONDS: u64 = 60;

/// How long one input may take: the verbs wait for a tenth of a second at a time, and the machine may be busy.
const INPUT_SECONDS_MAX: u64 = 20;

/// The memory that a target may take: a message takes no more than a queue's largest block, of 64 MiB, and some to spare.
const MEMORY_MIB_MAX: u64 = 512;

/// How much longer than it was told to a target may take: to begin, and to end its last input.
const GRACE: Duration = Duration::from_secs(2 * INPUT_SECONDS_MAX);

/// Of what a target that has failed printed, so many lines are shown.
const LINES_SHOWN: usize = 40;

/// A bug, and the target that must find it.
struct Plant {
    name: &'static str,
    about: &'static str,
    bug: Bug,
    target: &'static str,
    /// What the fuzzer must say.
    says: &'static str,
}

const PLANTS: &[Plant] = &[
    Plant {
        name: "record-length",
        about: "a record may be longer than its segment",
        bug: Bug {
            file: "crates/procession-ipc/src/channel/receive.rs",
            from: "        if header.place == Place::Skip || header.bytes() > SEGMENT_BYTES - at % SEGMENT_BYTES {\n",
            to: "        if header.place == Place::Skip {\n",
        },
        target: "memory",
        says: "out-of-memory",
    },
    Plant {
        name: "block-number",
        about: "a block's number is believed",
        bug: Bug {
            file: "crates/procession-ipc/src/store.rs",
            from: "        (u64::from(number) < count).then_some(Block { class, number })\n",
            to: "        (u64::from(number) < count || true).then_some(Block { class, number })\n",
        },
        target: "memory",
        says: "the geometry is within the mapping",
    },
    Plant {
        name: "room",
        about: "room is made for as much as a header announces",
        bug: Bug {
            file: "crates/procession-ipc/src/stream/frames.rs",
            from: "            0 => had.max(ROOM_BYTES_MIN),\n",
            to: "            0 => rest,\n",
        },
        target: "frames",
        says: "deadly signal",
    },
    Plant {
        name: "frame-length",
        about: "a frame of the hand-shake may be a byte longer",
        bug: Bug {
            file: "crates/procession-ipc/src/handshake/frame.rs",
            from: "        Ok(length) if length <= HANDSHAKE_FRAME_MAX => Ok(length),\n",
            to: "        Ok(length) if length <= HANDSHAKE_FRAME_MAX + 1 => Ok(length),\n",
        },
        target: "handshake",
        says: "bytes are wanted",
    },
    Plant {
        name: "reflection",
        about: "our own challenges are answered in CPython's form",
        bug: Bug {
            file: "crates/procession-ipc/src/handshake/python.rs",
            from: "    if Challenge::read(challenge)?.is_some() {\n",
            to: "    if false {\n",
        },
        target: "handshake",
        says: "was talked into it",
    },
    Plant {
        name: "value-length",
        about: "a value's length is believed",
        bug: Bug {
            file: "crates/procession-manager/src/frame.rs",
            from: "        let (bytes, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;\n",
            to: "        let (bytes, rest) = self.rest.split_at(count);\n",
        },
        target: "requests",
        says: "mid > len",
    },
    Plant {
        name: "frame-rest",
        about: "what stands behind a request is left out",
        bug: Bug {
            file: "crates/procession-manager/src/frame.rs",
            from: "            _ => Err(Malformed(\"it is too long\")),\n",
            to: "            _ => Ok(()),\n",
        },
        target: "requests",
        says: "a frame says something else than it is",
    },
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Orders {
    seconds: u64,
    plant: Option<String>,
    targets: Vec<String>,
}

/// A fuzz target, in a directory of such that cargo-fuzz knows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    directory: String,
    name: String,
}

/// What a run was worth.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    executions: u64,
    per_second: u64,
    /// Branches that were taken, of all that the program has.
    edges: u64,
    edges_all: u64,
    /// The same, with how often and from where.
    features: u64,
}

/// Runs some targets or all, or one with a planted bug.
///
/// # Errors
///
/// A target failed, or found no planted bug; cargo-fuzz is absent.
pub(crate) fn run(args: &[String]) -> Result {
    let orders = read(args)?;
    let all = targets()?;
    let chosen = choose(&all, &orders)?;
    if !answers(cargo(&["fuzz", "--version"])) {
        return Err(
            "cargo-fuzz is absent: `cargo install cargo-fuzz --locked` installs it; it needs a C++ compiler".into()
        );
    }
    if let Some(name) = &orders.plant {
        let plant = PLANTS.iter().find(|plant| plant.name == name);
        return try_plant(plant.ok_or_else(|| format!("no bug is called `{name}`; there are: {}", names()))?, &all);
    }
    let builds = metadata::target_directory()?.join("fuzz");
    let mut failed = Vec::new();
    for target in &chosen {
        println!("-- {}, {} s", target.name, orders.seconds);
        check(target.build(&builds))?;
        let (success, text) = fuzz(target.run(&builds, orders.seconds), orders.seconds)?;
        if success {
            println!("{}", figures(&text).show());
        } else {
            println!("{}\n{}", finding(&text), where_it_stands(&text));
            failed.push(target.name.as_str());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("bugs found by: {}", failed.join(", ")).into()) }
}

fn names() -> String {
    PLANTS.iter().map(|plant| plant.name).collect::<Vec<_>>().join(", ")
}

fn read(args: &[String]) -> Result<Orders> {
    let mut orders = Orders { seconds: SECONDS, plant: None, targets: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--seconds" => orders.seconds = value()?.parse()?,
            "--plant" => orders.plant = Some(value()?.clone()),
            option if option.starts_with('-') => return Err(format!("unknown argument `{option}`").into()),
            target => orders.targets.push(target.to_string()),
        }
    }
    Ok(orders)
}

/// Every target of every crate, by its file.
fn targets() -> Result<Vec<Target>> {
    let target = |path: &str| {
        let (directory, file) = path.split_once("/fuzz_targets/")?;
        let name = file.strip_suffix(".rs").filter(|name| !name.contains('/'))?;
        let is_ours = directory.starts_with("crates/") && directory.ends_with("/fuzz");
        is_ours.then(|| Target { directory: directory.to_string(), name: name.to_string() })
    };
    Ok(tree::files()?.iter().filter_map(|file| target(&file.path)).collect())
}

/// Those that were named, or all.
fn choose(all: &[Target], orders: &Orders) -> Result<Vec<Target>> {
    let named = orders.targets.iter().map(|name| find(all, name));
    if orders.targets.is_empty() { Ok(all.to_vec()) } else { named.collect() }
}

fn find(all: &[Target], name: &str) -> Result<Target> {
    let names = || all.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = all.iter().find(|target| target.name == name);
    Ok(found.ok_or_else(|| format!("there is no target `{name}` among {}", names()))?.clone())
}

impl Target {
    fn cargo_fuzz(&self, verb: &str, builds: &Path) -> Command {
        let mut command = cargo(&["fuzz", verb, "--sanitizer", "none", "--fuzz-dir", &self.directory]);
        command.arg("--target-dir").arg(builds).arg(&self.name);
        command
    }

    fn build(&self, builds: &Path) -> Command {
        self.cargo_fuzz("build", builds)
    }

    /// With the inputs that earlier runs found worth keeping.
    fn run(&self, builds: &Path, seconds: u64) -> Command {
        let mut command = self.cargo_fuzz("run", builds);
        fuzzer_options(&mut command, seconds);
        command
    }

    /// With these inputs alone, and what is found goes there as well.
    fn run_in(&self, builds: &Path, inputs: &Path, seconds: u64) -> Command {
        let mut command = self.cargo_fuzz("run", builds);
        command.arg(inputs);
        fuzzer_options(&mut command, seconds);
        command.arg(format!("-artifact_prefix={}/", inputs.display()));
        command
    }
}

fn fuzzer_options(command: &mut Command, seconds: u64) {
    command.args(["--", "-print_final_stats=1"]).arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-timeout={INPUT_SECONDS_MAX}")).arg(format!("-rss_limit_mb={MEMORY_MIB_MAX}"));
}

/// Whether a run found nothing, and what it printed.
fn fuzz(mut command: Command, seconds: u64) -> Result<(bool, String)> {
    let kept = Kept::default();
    let time_max = Duration::from_secs(seconds) + GRACE;
    let outcome = watch_into(&mut command, time_max, kept.clone(), kept.clone())?;
    Ok((outcome.success, kept.take()))
}

/// Succeeds if the bug's target fails where the bug is.
fn try_plant(plant: &Plant, all: &[Target]) -> Result {
    println!("-- {}: {}", plant.name, plant.about);
    let target = find(all, plant.target)?;
    let copy = plant.bug.copy()?;
    let builds = copy.join("target").join("fuzz");
    let mut build = target.build(&builds);
    in_copy(&mut build, &copy);
    check(build)?;
    let inputs = Scratch::new(&std::env::temp_dir(), "fuzz")?;
    let mut command = target.run_in(&builds, inputs.path(), PLANT_SECONDS);
    in_copy(&mut command, &copy);
    let (success, text) = fuzz(command, PLANT_SECONDS)?;
    println!("{}\n{}", finding(&text), figures(&text).show());
    match success || !text.contains(plant.says) {
        true => Err("the fuzzer has not noticed it".into()),
        false => Ok(()),
    }
}

/// What a target that has failed said of it: from the panic on, or from libFuzzer's own words; or the last that it said.
fn finding(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let says_it = |line: &&str| line.contains(" panicked at ") || line.contains("ERROR: libFuzzer");
    let first = lines.iter().position(says_it).unwrap_or(lines.len().saturating_sub(LINES_SHOWN));
    lines[first..].iter().take(LINES_SHOWN).copied().collect::<Vec<_>>().join("\n")
}

/// Where the input that it failed with can be had.
fn where_it_stands(text: &str) -> &str {
    let written = text.lines().find_map(|line| line.split_once("Test unit written to "));
    written.map_or("no input was written", |(_, path)| path)
}

/// What libFuzzer says of a run; nothing of what it does not say.
fn figures(text: &str) -> Figures {
    let after = |line: &str, key: &str| {
        let rest = line.split_once(key)?.1.trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let last = |key: &str| text.lines().rev().find_map(|line| after(line, key)).unwrap_or_default();
    Figures {
        executions: last("stat::number_of_executed_units:"),
        per_second: last("stat::average_exec_per_sec:"),
        edges: last(" cov: "),
        edges_all: last("INFO: Loaded 1 modules   ("),
        features: last(" ft: "),
    }
}

impl Figures {
    fn show(&self) -> String {
        let Self { executions, per_second, edges, edges_all, features } = self;
        format!("{executions} executions, {per_second}/s; {edges} of {edges_all} edges, {features} features")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_has_its_line_and_its_target() -> Result {
        let all = targets()?;
        for plant in PLANTS {
            let text = tree::read(plant.bug.file)?.text;
            assert_ne!(plant.bug.in_text(&text)?, text);
            assert_eq!(find(&all, plant.target)?.name, plant.target);
        }
        Ok(())
    }

    #[test]
    fn every_target_has_a_name_of_its_own() -> Result {
        let mut names: Vec<String> = targets()?.into_iter().map(|target| target.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert!(count >= 3 && names.len() == count, "{names:?}");
        Ok(())
    }

    #[test]
    fn figures_are_those_of_the_last_line() {
        let text = "INFO: Loaded 1 modules   (5000 inline 8-bit counters): 5000 [0x1, 0x2), \n\
                    #2\tINITED cov: 9 ft: 10 corp: 1/1b exec/s: 0 rss: 41Mb\n\
                    #10732\tDONE   cov: 697 ft: 1482 corp: 59/886b lim: 38 exec/s: 511 rss: 41Mb\n\
                    stat::number_of_executed_units: 10732\nstat::average_exec_per_sec:     511\n";
        let (executions, per_second) = (10_732, 511);
        assert_eq!(figures(text), Figures { executions, per_second, edges: 697, edges_all: 5000, features: 1482 });
        assert_eq!(figures("killed"), Figures::default());
    }

    #[test]
    fn a_finding_begins_with_the_panic() {
        let text = "#1\tNEW\nthread '<unnamed>' panicked at src/a.rs:1:2:\nnone\n==7== ERROR: libFuzzer: deadly signal\n\
                    artifact_prefix='x/'; Test unit written to x/crash-1\n";
        assert!(finding(text).starts_with("thread '<unnamed>' panicked"));
        assert_eq!(where_it_stands(text), "x/crash-1");
        assert_eq!(finding("killed\n"), "killed");
    }

    #[test]
    fn orders_are_read() -> Result {
        let args = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let orders = read(&args("memory --seconds 5"))?;
        assert_eq!(orders, Orders { seconds: 5, plant: None, targets: vec!["memory".to_string()] });
        assert!(read(&args("--seconds")).is_err());
        assert!(read(&args("--second 5")).is_err());
        assert!(choose(&targets()?, &read(&args("memry"))?).is_err());
        Ok(())
    }
}
