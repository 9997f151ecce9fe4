//! Group `start_methods`: each start method and its limit. `cargo bench -p procession-benches --bench start_methods`.

use criterion::Criterion;
use procession_benches::start_methods::{FORKSERVER, SPAWN, is_bare_child};

fn main() {
    if is_bare_child() {
        return;
    }
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("start_methods");
    for contestant in SPAWN.iter().chain(&FORKSERVER) {
        group.bench_function(contestant.name, |bencher| bencher.iter(contestant.run));
    }
    group.finish();
    criterion.final_summary();
}
