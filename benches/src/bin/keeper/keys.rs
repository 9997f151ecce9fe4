//! What all clients do: each sets keys of its own, one after the other and again, to one number after the other.

use std::time::{Duration, Instant};

use procession_benches::Result;
use procession_benches::gang::Others;

/// How many keys a client has.
pub(crate) const KEYS: u64 = 64;

/// A client's keys, and what they are set to.
pub(crate) struct Keys {
    names: Vec<String>,
    /// How many times a key was set.
    count: u64,
}

/// A key, the number that it is set to, and the one that it has.
pub(crate) struct Next<'a> {
    pub(crate) name: &'a str,
    pub(crate) number: i64,
    pub(crate) before: Option<i64>,
}

impl Keys {
    /// Those of the client with this number.
    pub(crate) fn of(client: usize) -> Self {
        Self { names: (0..KEYS).map(|key| format!("{client}:key:{key:02}")).collect(), count: 0 }
    }

    /// What is set next.
    pub(crate) fn next(&mut self) -> Next<'_> {
        let count = self.count;
        self.count += 1;
        let before = count.checked_sub(KEYS).map(|before| before as i64);
        Next { name: &self.names[(count % KEYS) as usize], number: count as i64, before }
    }

    /// The key that was set last, and what to.
    pub(crate) fn last(&self) -> Option<(&str, i64)> {
        let last = self.count.checked_sub(1)?;
        Some((&self.names[(last % KEYS) as usize], last as i64))
    }
}

/// That a key has had what it was set to.
pub(crate) fn check(found: Option<i64>, expected: Option<i64>) -> Result {
    if found == expected { Ok(()) } else { Err(format!("a key has had {found:?}, not {expected:?}").into()) }
}

/// Four others set so many keys together: how long that took.
pub(crate) fn by_four(others: &mut Others, times: u64) -> Result<Duration> {
    let each = times.div_ceil(4);
    others.ask(each)?;
    let began = Instant::now();
    let done: u64 = others.answers()?.into_iter().sum();
    // It counts as long as if it were as many as was asked.
    Ok(began.elapsed().mul_f64(times as f64 / done as f64))
}
