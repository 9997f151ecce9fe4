//! One GiB of numbers, filled and added up by all processors, of which no process gets a copy.
//!
//! ```text
//! cargo run --release --example shared_array -- [MIB]
//! ```
//!
//! Each process maps the same pages. What travels to it is a handle of a few bytes, so the work takes as long as the
//! memory needs to deliver the numbers, and the first of them is added next to at once.

use std::time::Instant;

use procession::Target;
use procession::prelude::*;

/// How large the array is unless the command line says otherwise, in MiB.
const MIB: usize = 1024;

/// The numbers count up to this and begin anew: whole and small, so that their sum is exact in whatever order.
const PERIOD: usize = 1000;

fn main() -> procession::Result<()> {
    let usage = |error| Fault::new(format!("usage: shared_array [MIB]: {error}"));
    let mib = std::env::args().nth(1).map_or(Ok(MIB), |arg| arg.parse()).map_err(usage)?;
    let numbers = SharedArray::<f64>::zeroed((mib << 20) / size_of::<f64>())?;
    let all = cpu_count();
    println!("{} numbers of 8 bytes, {:.2} GiB, shared and not copied", numbers.len(), gib(mib));

    let (written, time) = in_processes(fill, &numbers, all)?;
    report("filled by", all, mib, time);
    let (by_one, alone) = in_processes(add_up, &numbers, 1)?;
    report("added up by", 1, mib, alone);
    let (by_all, together) = in_processes(add_up, &numbers, all)?;
    report("added up by", all, mib, together);

    assert_eq!((written, by_one, by_all), (sum_of(numbers.len()), written, written), "a number is lost");
    println!("the sum is {by_all}; {all} are {:.2} x as fast as one", alone.as_secs_f64() / together.as_secs_f64());
    Ok(())
}

/// Gives a part to each of so many processes, which work at the same time. The sum of what they return, and the time
/// from the first start to the last result.
fn in_processes<F>(work: F, numbers: &SharedArray<f64>, processes: usize) -> procession::Result<(f64, Duration)>
where
    F: Target<(SharedPart<f64>,), Output = Result<f64, Fault>>,
{
    let began = Instant::now();
    let mut children = Vec::with_capacity(processes);
    for part in numbers.split_into(processes)? {
        children.push(Process::start(work, (part,))?);
    }
    let mut sum = 0.0;
    for child in children {
        sum += child.join()??;
    }
    Ok((sum, began.elapsed()))
}

/// Writes the numbers of a part, which go on where those of the part before it end, and adds them up.
fn fill(mut part: SharedPart<f64>) -> Result<f64, Fault> {
    let (mut index, mut sum) = (part.range().start, 0.0);
    part.for_each_block(|numbers| {
        for number in numbers {
            *number = (index % PERIOD) as f64;
            sum += *number;
            index += 1;
        }
    })?;
    Ok(sum)
}

/// Adds up the numbers of a part, where they are.
fn add_up(part: SharedPart<f64>) -> Result<f64, Fault> {
    Ok(part.iter().sum())
}

/// What the sum has to be.
fn sum_of(len: usize) -> f64 {
    let up_to = |count: usize| count * count.saturating_sub(1) / 2;
    (len / PERIOD * up_to(PERIOD) + up_to(len % PERIOD)) as f64
}

fn report(done: &str, processes: usize, mib: usize, time: Duration) {
    let noun = if processes == 1 { "process:  " } else { "processes:" };
    println!(
        "{done:<11} {processes:>3} {noun} {:>7.1} ms, {:>5.2} GiB/s",
        time.as_secs_f64() * 1e3,
        gib(mib) / time.as_secs_f64()
    );
}

fn gib(mib: usize) -> f64 {
    mib as f64 / 1024.0
}
