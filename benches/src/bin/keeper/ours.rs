//! What this project makes.

use std::time::{Duration, Instant};

use procession::{BaseManager, DictProxy, Pending, SyncManager, shared};
use procession_benches::Result;
use procession_benches::gang::{Member, Others};
use procession_benches::managers::AT_ONCE;
use procession_benches::runner::timed;
use serde::{Deserialize, Serialize};

use crate::Runs;
use crate::keys::{Keys, check};

type Dict = DictProxy<String, i64>;

/// A manager, by a Unix socket or by TCP.
fn manager(place: &str) -> Result<SyncManager> {
    let builder = BaseManager::builder();
    let builder = if place == "tcp" { builder.address("127.0.0.1:0") } else { builder };
    Ok(builder.start()?.into())
}

fn set_one(dict: &Dict, keys: &mut Keys) -> Result {
    let next = keys.next();
    check(dict.insert(next.name.to_owned(), next.number)?, next.before)
}

/// One key after the other.
pub(crate) fn set(place: &str) -> Result<Runs> {
    let manager = manager(place)?;
    let (dict, mut keys) = (manager.dict()?, Keys::of(0));
    Ok(Box::new(move |times| {
        let _ = &manager; // It has the server.
        timed(times, || set_one(&dict, &mut keys))
    }))
}

/// So many at once, again and again; the last time the rest.
fn in_groups(times: u64, mut group: impl FnMut(u64) -> Result) -> Result<Duration> {
    let began = Instant::now();
    for done in (0..times).step_by(AT_ONCE as usize) {
        group(AT_ONCE.min(times - done))?;
    }
    Ok(began.elapsed())
}

/// Several keys, each a call.
pub(crate) fn later(place: &str) -> Result<Runs> {
    let manager = manager(place)?;
    let (dict, mut keys): (Dict, _) = (manager.dict()?, Keys::of(0));
    let mut pending: Vec<(Pending<Option<i64>>, Option<i64>)> = Vec::new();
    Ok(Box::new(move |times| {
        let _ = &manager;
        in_groups(times, |count| {
            for _ in 0..count {
                let next = keys.next();
                pending.push((dict.insert_later(next.name.to_owned(), next.number)?, next.before));
            }
            pending.drain(..).try_for_each(|(pending, before)| check(pending.get()?, before))
        })
    }))
}

/// Several keys in one call.
pub(crate) fn extend(place: &str) -> Result<Runs> {
    let manager = manager(place)?;
    let (dict, mut keys): (Dict, _) = (manager.dict()?, Keys::of(0));
    Ok(Box::new(move |times| {
        let _ = &manager;
        let took = in_groups(times, |count| {
            let items = (0..count).map(|_| {
                let next = keys.next();
                (next.name.to_owned(), next.number)
            });
            Ok(dict.extend(items)?)
        })?;
        let (name, number) = keys.last().ok_or("nothing was set")?;
        check(dict.get(&name.to_owned())?, Some(number))?;
        Ok(took)
    }))
}

/// A client that sets keys of its own.
#[derive(Serialize, Deserialize)]
struct Setter(Dict);

impl Member for Setter {
    fn join(self, who: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let (Self(dict), mut keys) = (self, Keys::of(who));
        Ok(move |times| {
            (0..times).try_for_each(|_| set_one(&dict, &mut keys))?;
            Ok(times)
        })
    }
}

/// Four processes at once.
pub(crate) fn four(place: &str) -> Result<Runs> {
    let manager = manager(place)?;
    let dict: Dict = manager.dict()?;
    let mut others = Others::new();
    for _ in 0..4 {
        others.start(Setter(dict.clone()))?;
    }
    others.wait_until_ready()?;
    Ok(Box::new(move |times| {
        let _ = &manager;
        crate::keys::by_four(&mut others, times)
    }))
}

/// An item goes in, and comes out.
pub(crate) fn queue() -> Result<Runs> {
    let manager = SyncManager::start()?;
    let (queue, mut number) = (manager.queue::<i64>()?, 0);
    Ok(Box::new(move |times| {
        let _ = &manager;
        timed(times, || {
            number += 1;
            queue.put(&number)?;
            check(Some(queue.get()?), Some(number))
        })
    }))
}

pub(crate) struct Counter(i64);

#[shared]
impl Counter {
    pub(crate) fn new() -> Self {
        Self(0)
    }

    pub(crate) fn add(&mut self, by: i64) -> i64 {
        self.0 += by;
        self.0
    }
}

/// A method of a type that the server was given.
pub(crate) fn method() -> Result<Runs> {
    let manager = BaseManager::builder().register::<Counter>("Counter").start()?;
    let (counter, mut number) = (manager.create::<Counter>(())?, 0);
    Ok(Box::new(move |times| {
        let _ = &manager;
        timed(times, || {
            number += 7;
            check(Some(counter.add(7)?), Some(number))
        })
    }))
}

/// A lock that nobody else wants.
pub(crate) fn lock() -> Result<Runs> {
    let manager = SyncManager::start()?;
    let lock = manager.lock()?;
    Ok(Box::new(move |times| {
        let _ = &manager;
        timed(times, || lock.lock().map(drop).map_err(Into::into))
    }))
}
