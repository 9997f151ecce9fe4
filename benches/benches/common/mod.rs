//! What the groups of tables have in common: criterion has every contestant run in every column.

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use procession_benches::Result;
use procession_benches::contest::{Runners, Table};

/// Runs a group, whose runners are a program and a script.
///
/// # Panics
/// A contestant is missing or failed.
pub(crate) fn run(group: &str, program: &str, script: &str, tables: Vec<Table>) -> Result {
    // The fewest resamples that criterion finds enough: with its 100,000 the arithmetic takes longer than the runs.
    let mut criterion = Criterion::default().nresamples(1001).configure_from_args();
    let mut group = criterion.benchmark_group(group);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let mut runners = Runners::start(Path::new(program), script, 0)?;
    for table in tables {
        for column in table.columns {
            for contestant in (table.contestants)(column) {
                let id = BenchmarkId::new(&contestant.name, format!("{}: {column}", table.head));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|times| {
                        let took = runners.run(&contestant, times);
                        took.unwrap_or_else(|error| panic!("{}, {column}: {error}", contestant.name))
                    });
                });
            }
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
