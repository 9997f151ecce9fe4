//! What something costs in time, of the clock or of the processor, on a machine that does much else.

use std::fs;
use std::time::Duration;

/// How often a cost is measured before it counts as too high.
pub const MEASUREMENTS_MAX: usize = 5;

/// The kernel's unit of processor times in `/proc`: a hundredth of a second, on all machines. proc_pid_stat(5), `USER_HZ`.
const TICKS_PER_SECOND: u64 = 100;

/// Asserts that a cost is below `limit`, in at least one of [`MEASUREMENTS_MAX`] measurements.
///
/// What a host takes away from a virtual processor counts as the time of who runs there, tens of milliseconds at once. That
/// is in some measurements; what something costs itself is in all of them.
///
/// # Panics
/// When the cost is too high each time; all of the measurements are told.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let mut costs = [900, 7].map(Duration::from_millis).into_iter();
/// procession_testkit::assert_cost(Duration::from_millis(10), || costs.next().expect("the second is below"));
/// ```
#[track_caller]
pub fn assert_cost(limit: Duration, mut measure: impl FnMut() -> Duration) {
    let mut costs = Vec::new();
    while costs.len() < MEASUREMENTS_MAX {
        costs.push(measure());
        if costs.last() < Some(&limit) {
            return;
        }
    }
    panic!("it costs {costs:?}, each time {limit:?} or more");
}

/// The processor time that a process has used with all its threads, to 10 ms.
///
/// # Panics
/// When there is no such process.
///
/// # Examples
/// ```
/// let before = procession_testkit::processor_time_of(std::process::id());
/// assert!(procession_testkit::processor_time_of(std::process::id()) >= before);
/// ```
#[must_use]
#[track_caller]
pub fn processor_time_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    let ticks = stat.ok().and_then(|stat| parse_ticks(&stat)).unwrap_or_else(|| panic!("there is no process {pid}"));
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

/// The user's and the kernel's part, the 14th and 15th field of the line.
fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_too_much_each_time_is_found() {
        let mut measured = 0;
        let costs = || {
            measured += 1;
            Duration::from_millis(11)
        };
        let assertion = std::panic::AssertUnwindSafe(|| assert_cost(Duration::from_millis(10), costs));
        std::panic::catch_unwind(assertion).unwrap_err();
        assert_eq!(measured, MEASUREMENTS_MAX);
    }

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parse_ticks("7 (a) b 1 2) S 1 7 7 0 -1 0 0 0 0 0 30 12 0 0 20"), Some(42));
        assert_eq!(parse_ticks("7 (short) S 1"), None);
    }
}
