//! The crate crossbeam-channel, whose channels join threads of one process: for the scale, nothing more.

use std::thread;
use std::time::{Duration, Instant};

use procession_benches::Result;

/// So many numbers go from threads that put to as many that take.
pub(crate) fn stream(pairs: u64, times: u64) -> Result<Duration> {
    let each = times.div_ceil(pairs);
    let (sender, receiver) = crossbeam_channel::unbounded();
    let began = Instant::now();
    let taken = thread::scope(|scope| {
        for _ in 0..pairs {
            let sender = sender.clone();
            scope.spawn(move || (0..each).try_for_each(|number| sender.send(number)));
        }
        drop(sender); // So that there is an end.
        let takers: Vec<_> = (0..pairs).map(|_| scope.spawn(|| receiver.iter().sum::<u64>())).collect();
        takers.into_iter().map(|taker| taker.join().map_err(|_| "a thread has panicked")).sum::<Result<u64, _>>()
    })?;
    let took = began.elapsed();
    if taken != pairs * (0..each).sum::<u64>() {
        return Err("what was taken is not what was put".into());
    }
    Ok(took.mul_f64(times as f64 / (each * pairs) as f64))
}
