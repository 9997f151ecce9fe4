//! Group `shared_memory`: segments and arrays beside the system calls, vectors and CPython.
//! `cargo xtask bench shared_memory`.

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use procession_benches::Result;
use procession_benches::contest::Runners;
use procession_benches::shared_memory::tables;

fn main() -> Result {
    // The fewest resamples that criterion finds enough: with its 100,000 the arithmetic takes longer than the runs.
    let mut criterion = Criterion::default().nresamples(1001).configure_from_args();
    let mut group = criterion.benchmark_group("shared_memory");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    let mut runners = Runners::start(Path::new(env!("CARGO_BIN_EXE_sharer")), "shared_memory.py", 0)?;
    for table in tables() {
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
