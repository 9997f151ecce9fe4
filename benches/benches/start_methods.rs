//! Group `start_methods`: each start method, its limits and its peers, at each size of the starting process.
//! `cargo xtask bench start_methods`.

use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode};
use procession_benches::Result;
use procession_benches::contest::Runners;
use procession_benches::start_methods::{SIZES_MIB, contestants};

fn main() -> Result {
    // The fewest resamples that criterion finds enough: with its 100,000 the arithmetic takes longer than the runs.
    let mut criterion = Criterion::default().nresamples(1001).configure_from_args();
    let mut group = criterion.benchmark_group("start_methods");
    // Contestants differ by a factor of 600: the slowest, at 0.1 s a run, decides.
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for mib in SIZES_MIB {
        let mut runners = Runners::start(Path::new(env!("CARGO_BIN_EXE_starter")), "start_methods.py", mib)?;
        for contestant in contestants() {
            group.bench_function(BenchmarkId::new(&contestant.name, mib), |bencher| {
                bencher.iter_custom(|times| {
                    let took = runners.run(&contestant, times);
                    took.unwrap_or_else(|error| panic!("{} at {mib} MiB: {error}", contestant.name))
                });
            });
        }
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}
