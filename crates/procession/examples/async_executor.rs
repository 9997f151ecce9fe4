//! Results of worker processes, awaited: a program of many tasks on one thread, whose hard work others do.
//!
//! ```text
//! cargo run --release --example async_executor
//! ```
//!
//! The runtime is tokio's, on the thread of `main`; any other would do, as a future of an executor needs none. While the
//! workers compute, the same thread goes on with what it has to do, which the ticks show.

use std::time::Instant;

use futures_lite::future::zip;
use procession::prelude::*;

/// Two primes' product, for each request.
const PRODUCTS: [u64; 6] = [
    1_000_003 * 1_000_033,
    999_983 * 1_000_003,
    15_485_863 * 32_452_843,
    104_729 * 1_299_709,
    999_979 * 999_983,
    7_919 * 17_389,
];

/// How often the thread says that it is not held up.
const TICK: Duration = Duration::from_millis(50);

fn main() -> procession::Result<()> {
    let executor = ProcessPoolExecutor::new(cpu_count())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let began = Instant::now();
    runtime.block_on(async {
        let (served, ticks) = zip(serve(&executor), tick_until(began)).await;
        println!("{ticks} ticks of {TICK:?} meanwhile");
        served
    })?;
    runtime.block_on(errors(&executor))?;
    println!("all of it took {:.0?}", began.elapsed());
    Ok(())
}

/// The smallest divisor above one, found the slow way.
fn smallest_divisor(number: u64) -> u64 {
    (2..).take_while(|d| d * d <= number).find(|d| number.is_multiple_of(*d)).unwrap_or(number)
}

/// Submits all requests, then awaits each; they run side by side.
async fn serve(executor: &ProcessPoolExecutor) -> procession::Result<()> {
    let began = Instant::now();
    let futures = PRODUCTS.map(|number| executor.submit(smallest_divisor, (number,)));
    for (number, future) in PRODUCTS.into_iter().zip(futures) {
        let divisor = future?.await?;
        println!("{number} = {divisor} x {} after {:.0?}", number / divisor, began.elapsed());
    }
    Ok(())
}

/// Counts for as long as the requests take at least.
async fn tick_until(began: Instant) -> u32 {
    let mut ticks = 0;
    while began.elapsed() < 4 * TICK {
        tokio::time::sleep(TICK).await;
        ticks += 1;
    }
    ticks
}

/// What goes wrong is awaited as what goes well is; and who has awaited for long enough kills the task.
async fn errors(executor: &ProcessPoolExecutor) -> procession::Result<()> {
    let crashed = executor.submit(|| -> u64 { std::process::abort() }, ())?;
    match crashed.await {
        Err(error) => println!("one of them crashed: {error}"),
        Ok(other) => println!("not expected: {other}"),
    }
    let endless = executor.submit(smallest_divisor, (u64::MAX - 58,))?; // A prime; the loop takes minutes.
    match tokio::time::timeout(2 * TICK, endless.clone()).await {
        Err(_) if endless.kill() => println!("one took too long: {:?}", endless.await),
        other => println!("not expected: {other:?}"),
    }
    println!("and the next one: {}", executor.submit(smallest_divisor, (91,))?.await?);
    Ok(())
}
