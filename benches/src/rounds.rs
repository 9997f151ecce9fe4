//! Ratios that hold on a noisy machine: contestants in alternation, medians of the rounds' ratios.

use std::time::Duration;

use crate::Result;

/// How often a contestant runs in one round at most, however fast it is.
const RUNS_MAX: u64 = 10_000_000;

/// How many times as many runs as were timed last are timed next, at most, until they fill a slot: one alone says little. The
/// clock takes part in what it seems to take, and so does the waking of those who run it together.
const TIMES_MAX: u64 = 64;

/// What part of the processors' time a round may lack: a virtual machine's host gives it to others meanwhile, and who waits
/// for a process that is not run measures that.
pub const STOLEN_MAX: f64 = 0.02;

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounds {
    /// For each contestant, a run's seconds in each round that counts.
    pub times: Vec<Vec<f64>>,
    /// What part of the processors' time these rounds lacked.
    pub stolen: f64,
}

/// How long a measurement takes.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The rounds that are counted.
    pub rounds: usize,
    /// How many times as many are run at most, while too few are good enough to count.
    pub tries: usize,
    /// How long one contestant runs in one round, if one run is not longer.
    pub slot: Duration,
}

/// Runs every contestant in turn, round after round.
///
/// `stolen` says what part of the processors' time was taken away since it was asked last. A round that lacks more than
/// [`STOLEN_MAX`] is run anew, as often as the plan allows; then those count that lack least.
///
/// `run` gets a contestant's index and how often it is to run, and says how long that took. Some runs go first and are not
/// counted: one wakes up what is slow once only, the others say how many fit a round. Each turn begins
/// with twice as many runs that are not counted: for some milliseconds after another contestant the kernel wakes and
/// places processes differently, in favor of some and to the cost of others, until it has settled.
///
/// # Errors
/// What `run` says.
pub fn alternate(
    contestants: usize,
    plan: Plan,
    mut stolen: impl FnMut() -> f64,
    mut run: impl FnMut(usize, u64) -> Result<Duration>,
) -> Result<Rounds> {
    let mut runs = Vec::with_capacity(contestants);
    for idx in 0..contestants {
        runs.push(fitting(plan.slot, |runs| run(idx, runs))?);
    }
    let mut rounds = Vec::with_capacity(plan.rounds);
    let mut n_good = 0;
    stolen();
    while n_good < plan.rounds && rounds.len() < plan.tries * plan.rounds {
        let mut times = Vec::with_capacity(contestants);
        for (idx, &runs) in runs.iter().enumerate() {
            if runs > 1 {
                run(idx, 2 * runs)?;
            }
            times.push(run(idx, runs)?.as_secs_f64() / runs as f64);
        }
        let lacked = stolen();
        n_good += usize::from(lacked <= STOLEN_MAX);
        rounds.push((lacked, times));
    }
    Ok(counted(rounds, plan.rounds, contestants))
}

/// How many runs fill a slot.
fn fitting(slot: Duration, mut run: impl FnMut(u64) -> Result<Duration>) -> Result<u64> {
    run(1)?;
    let mut runs = 1;
    loop {
        let took = run(runs)?;
        let fit = ((slot.as_secs_f64() * runs as f64 / took.as_secs_f64()) as u64).clamp(1, RUNS_MAX);
        if fit < 2 * runs {
            return Ok(fit);
        }
        runs = fit.min(TIMES_MAX * runs);
    }
}

/// Those rounds that count.
fn counted(mut rounds: Vec<(f64, Vec<f64>)>, count: usize, contestants: usize) -> Rounds {
    rounds.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    rounds.truncate(count);
    let stolen = rounds.iter().map(|(lacked, _)| lacked).sum::<f64>() / rounds.len() as f64;
    let times = (0..contestants).map(|idx| rounds.iter().map(|(_, times)| times[idx]).collect()).collect();
    Rounds { times, stolen }
}

/// The middle one; of an even number the mean of the two in the middle.
///
/// # Panics
/// Without values.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) { f64::midpoint(sorted[middle - 1], sorted[middle]) } else { sorted[middle] }
}

/// The median over the rounds of `times` divided by what `limit` took in the same round.
///
/// # Panics
/// Without rounds.
#[must_use]
pub fn ratio(times: &[f64], limit: &[f64]) -> f64 {
    let ratios: Vec<f64> = times.iter().zip(limit).map(|(time, limit)| time / limit).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_heed_what_is_far_off() {
        assert_eq!(median(&[3.0, 900.0, 1.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 900.0, 2.0]), 3.0);
        assert_eq!(median(&[7.0]), 7.0);
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was ten times slower in the second round, for both; the medians' ratio would be 0.2.
        assert_eq!(ratio(&[2.0, 20.0, 2.0], &[1.0, 10.0, 10.0]), 2.0);
    }

    #[test]
    fn contestants_take_turns_and_the_first_runs_do_not_count() -> Result {
        let mut asked = Vec::new();
        let plan = Plan { rounds: 2, tries: 3, slot: Duration::from_millis(40) };
        let rounds = alternate(
            2,
            plan,
            || 0.0,
            |idx, runs| {
                asked.push((idx, runs));
                let once = if asked.len() == 1 { 500 } else { [10, 80][idx] };
                Ok(Duration::from_millis(once * runs))
            },
        )?;
        let first = [(0, 1), (0, 1), (0, 4), (1, 1), (1, 1)];
        assert_eq!(asked, [&first[..], &[(0, 8), (0, 4), (1, 1), (0, 8), (0, 4), (1, 1)]].concat());
        assert_eq!(rounds.times, [[0.01, 0.01], [0.08, 0.08]]);
        Ok(())
    }

    #[test]
    fn rounds_that_lack_processors_are_run_anew_and_do_not_count() -> Result {
        let run = |lacks: &'static [f64]| {
            let (mut lacks, mut n_runs) = ([0.9].iter().chain(lacks), 0);
            let plan = Plan { rounds: 2, tries: 3, slot: Duration::ZERO };
            alternate(
                1,
                plan,
                move || *lacks.next().unwrap(),
                move |_, _| {
                    n_runs += 1;
                    Ok(Duration::from_secs(n_runs))
                },
            )
        };
        // The first two runs are before all rounds.
        let Rounds { times, stolen } = run(&[0.5, 0.01, 0.03, 0.02])?;
        assert_eq!((times, (stolen * 1000.0).round()), (vec![vec![4.0, 6.0]], 15.0));
        let Rounds { times, stolen } = run(&[0.5, 0.4, 0.03, 0.3, 0.9, 0.1])?;
        assert_eq!((times, (stolen * 1000.0).round()), (vec![vec![5.0, 8.0]], 65.0), "the best of six");
        Ok(())
    }

    #[test]
    fn what_is_fast_is_timed_until_it_fills_a_slot() -> Result {
        let mut asked = Vec::new();
        let plan = Plan { rounds: 1, tries: 3, slot: Duration::from_millis(10) };
        // Each request takes a microsecond besides, so that one run seems to take ten times as long as it does.
        let rounds = alternate(
            1,
            plan,
            || 0.0,
            |_, runs| {
                asked.push(runs);
                Ok(Duration::from_nanos(1000 + 111 * runs))
            },
        )?;
        assert_eq!(asked, [1, 1, 64, 4096, 89_892, 2 * 90_081, 90_081]);
        assert!((rounds.times[0][0] - 111e-9).abs() < 1e-9);
        Ok(())
    }

    #[test]
    fn one_failure_fails_all() {
        let plan = Plan { rounds: 2, tries: 3, slot: Duration::ZERO };
        let result = alternate(
            2,
            plan,
            || 0.0,
            |idx, _| if idx == 1 { Err("planted".into()) } else { Ok(Duration::from_secs(1)) },
        );
        assert!(result.is_err());
    }
}
