//! A hundred children that share a table of 256 MiB, which is built once: `cargo run --release --example preload`.
//!
//! The context's server builds the table before it forks the first child. The children read all of it, and the kernel
//! copies a page only for a child that writes to it. Each child tells how much memory it has to itself.

use std::sync::OnceLock;
use std::time::Instant;

use procession::prelude::*;

/// How large the table is.
const TABLE_BYTES: usize = 256 << 20;

/// How many children share it.
const CHILDREN: u64 = 100;

/// The table; in the server and its children only.
static TABLE: OnceLock<Vec<u64>> = OnceLock::new();

fn build_table() {
    TABLE.get_or_init(|| (0..TABLE_BYTES as u64 / 8).collect());
}

/// What a child is asked: the sum of every hundredth number, beginning at its own; its private memory in KiB then.
fn look(own: u64) -> Result<(u64, u64), Fault> {
    let table = TABLE.get().ok_or_else(|| Fault::new("the table was not preloaded"))?;
    let sum = table.iter().skip(own as usize).step_by(CHILDREN as usize).sum();
    Ok((sum, private_memory()?))
}

/// The KiB that this process shares with no other.
fn private_memory() -> Result<u64, Fault> {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let private = rollup.lines().filter(|line| line.starts_with("Private_"));
    Ok(private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
}

fn main() -> procession::Result<()> {
    let context = Context::forkserver().preload(build_table);
    let began = Instant::now();
    context.start(|| (), ())?.join()?;
    println!("the server is there, with its table of {} MiB, after {:.2?}", TABLE_BYTES >> 20, began.elapsed());

    let began = Instant::now();
    let children = (0..CHILDREN).map(|own| context.start(look, (own,))).collect::<Result<Vec<_>, _>>()?;
    let mut total = 0;
    let mut largest = 0;
    for child in children {
        let (sum, private) = child.join()??;
        total += sum;
        largest = largest.max(private);
    }
    println!("{CHILDREN} children have read all of it after {:.2?}", began.elapsed());
    let count = TABLE_BYTES as u64 / 8;
    assert_eq!(total, count * (count - 1) / 2, "together they have seen every number once");
    println!(
        "the largest has {largest} KiB of its own; a table each would be {} GiB",
        (CHILDREN as usize * TABLE_BYTES) >> 30
    );
    assert!(TABLE.get().is_none(), "this process has none");
    Ok(())
}
