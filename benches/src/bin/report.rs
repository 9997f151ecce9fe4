//! Measures all groups and writes the book's page on performance: `report DIR [--quick | --smoke]`, which
//! `cargo xtask bench-report` calls. Relies on the programs `starter`, `sharer`, `locker`, `messenger`, `stranger`,
//! `pooler` and `keeper` beside this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use procession_benches::Result;
use procession_benches::contest::{Results, Runners, Table, Unit, measure};
use procession_benches::machine::Machine;
use procession_benches::page::{LOCKS_PLOT, Origin, Report, START_METHODS_PLOT, page};
use procession_benches::rounds::Plan;
use procession_benches::start_methods::{self, FIGURES, HEAD, SIZES_MIB, contestants};
use procession_benches::{channels, locks, managers, pool, shared_memory, strangers};

/// How much is measured.
#[derive(Debug, Clone, Copy)]
struct Effort {
    plan: Plan,
    sizes: &'static [u64],
    /// What `cargo xtask bench-report` was told.
    argument: &'static str,
}

/// A quiet machine's worth.
const FULL: Effort =
    Effort { plan: Plan { rounds: 60, tries: 3, slot: Duration::from_millis(15) }, sizes: &SIZES_MIB, argument: "" };

/// Enough to see whether something has changed a lot.
const QUICK: Effort = Effort {
    plan: Plan { rounds: 10, tries: 3, slot: Duration::from_millis(10) },
    sizes: &SIZES_MIB,
    argument: " --quick",
};

/// Enough to see that every contestant works.
const SMOKE: Effort =
    Effort { plan: Plan { rounds: 1, tries: 1, slot: Duration::ZERO }, sizes: &[1, 64], argument: " --smoke" };

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [dir] => report(Path::new(dir), FULL),
        [dir, "--quick"] => report(Path::new(dir), QUICK),
        [dir, "--smoke"] => report(Path::new(dir), SMOKE),
        _ => Err("usage: report DIR [--quick | --smoke]".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("report: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, and only if everybody took part, writes.
fn report(dir: &Path, effort: Effort) -> Result {
    let (start_methods, python) = measure_start_methods(effort)?;
    let shared_memory = measure_tables("sharer", "shared_memory.py", shared_memory::tables(), effort)?;
    let locks = measure_tables("locker", "locks.py", locks::tables(), effort)?;
    let channels = measure_tables("messenger", "channels.py", channels::tables(), effort)?;
    let strangers = measure_tables("stranger", "strangers.py", strangers::tables(), effort)?;
    let pool = measure_tables("pooler", "pool.py", pool::tables(), effort)?;
    let managers = measure_tables("keeper", "managers.py", managers::tables(), effort)?;
    let origin = Origin {
        command: format!("cargo xtask bench-report{}", effort.argument),
        rounds: effort.plan.rounds,
        machine: Machine::this(&python)?,
    };
    write(&dir.join(START_METHODS_PLOT), &start_methods::plot(&start_methods, effort.sizes)?)?;
    write(&dir.join(LOCKS_PLOT), &locks::plot(&locks)?)?;
    write(
        &dir.join("performance.md"),
        &page(&origin, &Report { start_methods, shared_memory, locks, channels, strangers, pool, managers }),
    )
}

/// The group `start_methods`, and the Python that took part in it.
fn measure_start_methods(effort: Effort) -> Result<(Results, String)> {
    let contestants = contestants();
    let mut measured = Vec::new();
    let mut python = String::new();
    for &mib in effort.sizes {
        println!("start_methods: {} contestants at {mib} MiB", contestants.len());
        let mut runners = Runners::start(&beside("starter")?, "start_methods.py", mib)?;
        runners.python().clone_into(&mut python);
        measured.push(measure(&mut runners, &contestants, &start_methods::column(mib), effort.plan)?);
    }
    // A start method that is not there yet has no figure.
    let figures = FIGURES.into_iter().filter(|figure| contestants.iter().any(|one| one.name == figure.ours));
    let figures = figures.collect();
    Ok((Results { head: HEAD, contestants, figures, measured, unit: Unit::Time }, python))
}

/// A group of tables, whose runners are a program and a script.
fn measure_tables(program: &str, script: &str, tables: Vec<Table>, effort: Effort) -> Result<Vec<Results>> {
    let mut runners = Runners::start(&beside(program)?, script, 0)?;
    tables.into_iter().map(|table| table.measure(&mut runners, effort.plan)).collect()
}

/// A program that was built together with this one.
fn beside(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}

fn write(path: &Path, text: &str) -> Result {
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text));
    written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}
