//! Prints the ratios of the groups, contestants in alternation: `cargo run --release -p procession-benches --bin ratios`.

use procession_benches::rounds::{Contestant, alternate};
use procession_benches::start_methods;

fn main() {
    if start_methods::is_bare_child() {
        return;
    }
    report("spawn: start + join", &start_methods::SPAWN, 40, 20);
    report("forkserver: start + join, small parent", &start_methods::FORKSERVER, 40, 100);
    let resident = vec![1_u8; 1 << 30];
    report("forkserver: start + join, 1 GiB resident in the parent", &start_methods::FORKSERVER, 5, 20);
    drop(std::hint::black_box(resident));
}

fn report(title: &str, contestants: &[Contestant], rounds: usize, runs: u32) {
    println!("{title}");
    for line in alternate(contestants, rounds, runs) {
        println!("  {:<20} {:>10.1} us   {:>7.4}", line.name, line.time.as_secs_f64() * 1e6, line.ratio);
    }
}
