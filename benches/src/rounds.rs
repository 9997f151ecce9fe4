//! Ratios that hold on a noisy machine: contestants in alternation, medians of the rounds' ratios.

use std::time::{Duration, Instant};

/// Something to be timed: its name, and one run of it.
#[derive(Debug)]
pub struct Contestant {
    /// What the table calls it.
    pub name: &'static str,
    /// One run.
    pub run: fn(),
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Line {
    /// The contestant.
    pub name: &'static str,
    /// The median over the rounds of a run's time.
    pub time: Duration,
    /// The median over the rounds of its time divided by the first contestant's in the same round.
    pub ratio: f64,
}

/// Runs every contestant `runs` times a round, in turn, for so many rounds. The first is what the others are
/// measured against. A round that is not counted goes first.
///
/// # Panics
/// Without contestants.
#[must_use]
pub fn alternate(contestants: &[Contestant], rounds: usize, runs: u32) -> Vec<Line> {
    let mut times = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter().zip(&mut times) {
            let began = Instant::now();
            (0..runs).for_each(|_| (contestant.run)());
            if round > 0 {
                times.push(began.elapsed().as_secs_f64() / f64::from(runs));
            }
        }
    }
    let first = times[0].clone();
    let line = |(contestant, times): (&Contestant, &Vec<f64>)| Line {
        name: contestant.name,
        time: Duration::from_secs_f64(median(times.clone())),
        ratio: median(times.iter().zip(&first).map(|(time, first)| time / first).collect()),
    };
    contestants.iter().zip(&times).map(line).collect()
}

/// The middle one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
