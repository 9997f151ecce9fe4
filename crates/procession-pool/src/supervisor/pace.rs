//! How fast a worker gets through its tasks, and so how many it is given beyond the one that it runs.
//!
//! A worker whose tasks take less time than it takes to hear of the end of one and to bring the next would be idle most of
//! the time. It is given more at once, as many as keep it busy for about a millisecond. Where that is less than one task, it
//! is given one as long as a way to and fro is not nothing beside it: who brings the next needs a processor for that, and
//! where all of them work it comes as late as a time slice. Others would only wait longer.

use std::time::Duration;

/// For how long a worker should have tasks while nobody brings more, if each takes less than that.
const PREFETCH_TIME: Duration = Duration::from_millis(1);

/// From a mean of so much on, a worker has nothing but the task that it runs: bringing the next takes a hundredth of it,
/// also when whoever brings it has to wait for a processor.
const PREFETCH_BELOW: Duration = Duration::from_millis(6);

/// Below a mean of so much a worker is given all that it may have: the ways to and fro take longer than the tasks.
const PREFETCH_ALL_BELOW: Duration = Duration::from_micros(50);

/// What a single task counts at most, so that one which took long does not hide for ever that the others do not.
const SAMPLE_MAX: Duration = Duration::from_millis(8);

/// The mean moves by a part of this for each task.
const WEIGHT: u32 = 8;

/// The mean time of a worker's last tasks.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(test, derive(PartialEq, Eq, Hash))]
pub(super) struct Pace {
    mean_nanos: Option<u32>,
}

impl Pace {
    /// Learns how long a task took.
    pub(super) fn learn(&mut self, took: Duration) {
        let nanos = nanos_of(took.min(SAMPLE_MAX));
        self.mean_nanos = Some(self.mean_nanos.map_or(nanos, |mean| mean - mean / WEIGHT + nanos / WEIGHT));
    }

    /// How many tasks the worker is given beyond the one that it runs.
    pub(super) fn ahead(self, most: u32) -> u32 {
        match self.mean_nanos {
            Some(mean) if mean < nanos_of(PREFETCH_ALL_BELOW) => most,
            Some(mean) if mean < nanos_of(PREFETCH_BELOW) => most.min((nanos_of(PREFETCH_TIME) / mean).max(1)),
            _ => 0,
        }
    }

    /// How long so many tasks will take.
    pub(super) fn time_of(self, tasks: usize) -> Duration {
        Duration::from_nanos(u64::from(self.mean_nanos.unwrap_or(0)) * tasks as u64)
    }
}

/// All times here are below four seconds.
const fn nanos_of(time: Duration) -> u32 {
    time.subsec_nanos()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many are given ahead to a worker whose tasks all took so long.
    fn ahead(micros: u64) -> u32 {
        let mut pace = Pace::default();
        for _ in 0..100 {
            pace.learn(Duration::from_micros(micros));
        }
        pace.ahead(64)
    }

    #[test]
    fn the_shorter_the_tasks_the_more_are_given_ahead() {
        assert_eq!([0, 10, 49].map(ahead), [64, 64, 64]);
        assert_eq!([100, 300, 600, 900].map(ahead), [10, 3, 1, 1]);
        assert_eq!([1_000, 5_900].map(ahead), [1, 1]);
        assert_eq!([6_000, 60_000_000].map(ahead), [0, 0]);
    }

    #[test]
    fn nothing_is_given_ahead_to_a_worker_that_nobody_knows() {
        assert_eq!(Pace::default().ahead(64), 0);
    }

    #[test]
    fn one_long_task_among_short_ones_is_soon_forgotten() {
        let mut pace = Pace::default();
        pace.learn(Duration::from_secs(3600));
        assert_eq!(pace.ahead(64), 0);
        for _ in 0..40 {
            pace.learn(Duration::from_micros(10));
        }
        assert_eq!(pace.ahead(64), 64);
    }
}
