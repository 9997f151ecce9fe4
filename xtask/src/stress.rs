//! `cargo xtask stress`: kills workers that share an object, thousands of times, and shows that the loop would notice.
//!
//! The loop is the test `stress` of procession-sync, of procession-ipc, of procession-pool and of procession-manager, which
//! prints its own figures.
//! To show that it can fail, a bug is planted in a copy of the repository, and the loop run there must fail.

use std::io;
use std::process::Command;
use std::time::Duration;

use crate::count::Tally;
use crate::planted::{Bug, in_copy};
use crate::run::{Kept, cargo, check, watch_into};
use crate::{Result, failures};

/// A primitive's kills, unless told otherwise.
const KILLS: u64 = 10_000;

/// The seed, unless told otherwise: figures of two runs can be compared.
const SEED: u64 = 1;

/// Kills that a planted bug must not survive: those of three full runs, as one may be lucky. Most are noticed within a tenth.
const PLANT_KILLS: u64 = 3 * KILLS;

/// How long a loop with a bug may take: one that hangs says so after ten seconds.
const PLANT_TIME_MAX: Duration = Duration::from_secs(300);

/// The crates that have a loop, each with its subjects.
const LOOPS: &[(&str, &[&str])] = &[
    (
        "procession-sync",
        &["lock", "rlock", "rwlock", "semaphore", "bounded-semaphore", "event", "condition", "barrier", "value"],
    ),
    ("procession-ipc", &["queue", "bounded-queue", "pipe"]),
    ("procession-pool", &["pool"]),
    ("procession-manager", &["manager"]),
];

/// A bug that a loop must notice.
struct Plant {
    name: &'static str,
    about: &'static str,
    bug: Bug,
    /// Which loop must fail,
    subject: &'static str,
    /// and what it must say.
    says: &'static str,
}

const PLANTS: &[Plant] = &[
    Plant {
        name: "owner-check",
        about: "whoever holds a lock is taken to be alive",
        bug: Bug {
            file: "crates/procession-sync/src/protocol/lock.rs",
            from: "    holder.owner().is_some_and(|owner| world.is_alive(owner))\n",
            to: "    holder.owner().is_some_and(|owner| world.is_alive(owner) || true)\n",
        },
        subject: "lock",
        says: "FAILED: ",
    },
    Plant {
        name: "waiters",
        about: "who frees a lock forgets that others sleep than the one that it wakes",
        bug: Bug {
            file: "crates/procession-sync/src/protocol/lock.rs",
            from: "    if word.exchange(own.0 | WAITERS, WAITERS, Release, Relaxed).is_err() {\n",
            to: "    if word.exchange(own.0 | WAITERS, 0, Release, Relaxed).is_err() {\n",
        },
        subject: "lock",
        says: "FAILED: lost wake-ups",
    },
    Plant {
        name: "wake-one",
        about: "who sets an event wakes one of those that sleep",
        bug: Bug {
            file: "crates/procession-sync/src/protocol/event.rs",
            from: "    world.wake(word, u32::MAX);\n",
            to: "    world.wake(word, 1);\n",
        },
        subject: "event",
        says: "FAILED: lost wake-ups",
    },
    Plant {
        name: "help",
        about: "what a dead process has not noted in its entry stays so",
        bug: Bug {
            file: "crates/procession-sync/src/protocol/ledger.rs",
            from: "                let _ = word.exchange(entry.0, next.0, AcqRel, Acquire);\n",
            to: "                let _ = (word, entry, next);\n",
        },
        subject: "bounded-semaphore",
        says: "FAILED: ",
    },
    Plant {
        name: "publish",
        about: "an item counts as put before its record is written",
        bug: Bug {
            file: "crates/procession-ipc/src/protocol/ring.rs",
            from: "    let end = write(from).map_err(Missed::Failed)?;\n",
            to: "    side.count.add(ONE, AcqRel);\n    let written = write(from).map_err(Missed::Failed);\n    \
                 side.count.add(0_u64.wrapping_sub(ONE), AcqRel);\n    let end = written?;\n",
        },
        subject: "queue",
        says: "FAILED: ",
    },
    Plant {
        name: "begun-late",
        about: "a worker says that it has begun a task when it has done it",
        bug: Bug {
            file: "crates/procession-pool/src/desk/seat.rs",
            from: "                    if self.words().begin(self.next) {\n",
            to: "                    if true {\n",
        },
        subject: "pool",
        says: "FAILED: ",
    },
    Plant {
        name: "farewell",
        about: "a client that is gone keeps its locks and what it has taken",
        bug: Bug {
            file: "crates/procession-manager/src/server.rs",
            from: "        objects.iter().filter_map(Weak::upgrade).for_each(|entry| entry.part(client));\n",
            to: "        drop(objects);\n",
        },
        subject: "manager",
        says: "FAILED: ",
    },
    Plant {
        name: "claim",
        about: "an item is its taker's before that has it",
        bug: Bug {
            file: "crates/procession-manager/src/stock/queue.rs",
            from: "        self.claimed.insert(caller.call(), item);\n",
            to: "        drop((&caller, item));\n",
        },
        subject: "manager",
        says: "FAILED: ",
    },
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Orders {
    kills: u64,
    seed: u64,
    plant: Option<String>,
    subjects: Vec<String>,
}

/// Runs the loop for some primitives or for all, or with a planted bug.
///
/// # Errors
///
/// The loop failed; with a bug, it did not.
pub(crate) fn run(args: &[String]) -> Result {
    let orders = read(args)?;
    let Some(name) = &orders.plant else {
        return split(&orders.subjects)?.into_iter().try_for_each(|(package, subjects)| {
            check(test(package, &subjects, "--release", orders.kills, orders.seed))
        });
    };
    let plant = PLANTS.iter().find(|plant| plant.name == name);
    try_plant(plant.ok_or_else(|| format!("no bug is called `{name}`; there are: {}", names()))?, orders.seed)
}

/// The crates whose loops are to be run, each for the subjects that were named, or for all.
fn split(named: &[String]) -> Result<Vec<(&'static str, Vec<String>)>> {
    if named.is_empty() {
        return Ok(LOOPS.iter().map(|(package, _)| (*package, Vec::new())).collect());
    }
    let mut split: Vec<(&str, Vec<String>)> = Vec::new();
    for subject in named {
        let package = package(subject)?;
        match split.iter_mut().find(|(known, _)| *known == package) {
            Some((_, subjects)) => subjects.push(subject.clone()),
            None => split.push((package, vec![subject.clone()])),
        }
    }
    Ok(split)
}

/// The crate that has a subject.
fn package(subject: &str) -> Result<&'static str> {
    let found = LOOPS.iter().find(|(_, subjects)| subjects.contains(&subject));
    let all = || LOOPS.iter().flat_map(|(_, subjects)| *subjects).copied().collect::<Vec<_>>().join(", ");
    Ok(found.ok_or_else(|| format!("there is no `{subject}` among {}", all()))?.0)
}

fn names() -> String {
    PLANTS.iter().map(|plant| plant.name).collect::<Vec<_>>().join(", ")
}

/// Plants every bug; each counts as one.
///
/// # Errors
///
/// There is no place for a copy.
pub(crate) fn plants() -> Result<Tally> {
    let mut tally = Tally::default();
    for plant in PLANTS {
        let result = try_plant(plant, SEED);
        if let Err(error) = &result {
            failures::say(&format!("{}: {error}", plant.name));
        }
        tally += Tally::one(result.is_ok());
    }
    Ok(tally)
}

fn read(args: &[String]) -> Result<Orders> {
    let mut orders = Orders { kills: KILLS, seed: SEED, plant: None, subjects: Vec::new() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{arg}` needs a value"));
        match arg.as_str() {
            "--kills" => orders.kills = value()?.parse()?,
            "--seed" => orders.seed = value()?.parse()?,
            "--plant" => orders.plant = Some(value()?.clone()),
            option if option.starts_with('-') => return Err(format!("unknown argument `{option}`").into()),
            subject => orders.subjects.push(subject.to_string()),
        }
    }
    Ok(orders)
}

/// The loop, as cargo builds and runs it.
fn test(package: &str, subjects: &[String], profile: &str, kills: u64, seed: u64) -> Command {
    let (kills, seed) = (kills.to_string(), seed.to_string());
    let mut command = cargo(&["test", "--package", package, "--test", "stress", profile]);
    command.args(["--", "--stress", &kills, &seed]).args(subjects);
    command
}

/// Succeeds if the loop fails where the bug is.
fn try_plant(plant: &Plant, seed: u64) -> Result {
    println!("-- {}: {}", plant.name, plant.about);
    let copy = plant.bug.copy()?;
    let package = package(plant.subject)?;
    let mut build = cargo(&["test", "--package", package, "--test", "stress", "--no-run"]);
    in_copy(&mut build, &copy);
    check(build)?;
    let mut command = test(package, &[plant.subject.to_string()], "--profile=dev", PLANT_KILLS, seed);
    in_copy(&mut command, &copy);
    let text = Kept::default();
    let outcome = watch_into(&mut command, PLANT_TIME_MAX, text.clone(), io::stderr())?;
    let text = text.take();
    print!("{text}");
    match outcome.success || !text.contains(plant.says) {
        true => Err("the loop has not noticed it".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree;

    #[test]
    fn every_bug_has_its_line() -> Result {
        for plant in PLANTS {
            let text = tree::read(plant.bug.file)?.text;
            assert_ne!(plant.bug.in_text(&text)?, text);
        }
        Ok(())
    }

    #[test]
    fn subjects_go_to_the_crates_that_have_them() -> Result {
        let named = ["queue", "lock", "event"].map(str::to_string);
        let lock = vec!["lock".to_string(), "event".to_string()];
        assert_eq!(split(&named)?, [("procession-ipc", vec!["queue".to_string()]), ("procession-sync", lock)]);
        assert_eq!(split(&[])?.len(), LOOPS.len());
        assert!(split(&["lok".to_string()]).is_err());
        Ok(())
    }

    #[test]
    fn every_subject_is_one_of_its_loop() -> Result {
        for (package, subjects) in LOOPS {
            let folder = format!("crates/{package}/tests/stress/");
            let files = tree::files()?.into_iter().filter(|file| file.path.starts_with(&folder));
            let text: String = files.map(|file| file.text).collect();
            for subject in *subjects {
                assert!(text.contains(&format!("NAME: &'static str = \"{subject}\"")), "{subject}");
            }
        }
        Ok(())
    }

    #[test]
    fn orders_are_read() -> Result {
        let args = |text: &str| text.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        let orders = read(&args("lock --seed 3 event"))?;
        assert_eq!((orders.kills, orders.seed, orders.plant), (KILLS, 3, None));
        assert_eq!(orders.subjects, ["lock", "event"]);
        assert!(read(&args("--kills")).is_err());
        assert!(read(&args("--kils 3")).is_err());
        Ok(())
    }
}
