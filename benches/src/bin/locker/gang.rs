//! Processes that take and free, count, or go to and fro at the same time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use procession::Passable;
use procession_benches::Result;
use procession_benches::gang::{Member, Others};
use serde::{Deserialize, Serialize};

/// What the processes of a gang share, and do with it.
pub(crate) trait Work: Passable + Clone {
    /// One process's part, so many times; the process that measures is number 0.
    fn part(&self, who: usize, times: u64) -> Result;

    /// How many times all of them have done it since the beginning, as what they share says.
    fn done(&self) -> Result<u64>;
}

/// Gangs that have been started, by what they do.
pub(crate) type Gangs = HashMap<String, Box<dyn FnMut(u64) -> Result<Duration>>>;

/// Has the gang of a name do its work so many times in all, and says how long that took.
pub(crate) fn run<W: Work>(
    gangs: &mut Gangs,
    name: &str,
    processes: usize,
    times: u64,
    work: impl FnOnce() -> Result<W>,
) -> Result<Duration> {
    if !gangs.contains_key(name) {
        let mut gang = Gang::start(work()?, processes)?;
        gangs.insert(name.to_owned(), Box::new(move |times| gang.share(times)));
    }
    let gang = gangs.get_mut(name).ok_or("it has just been started")?;
    gang(times)
}

/// One process's part as a member of a gang.
#[derive(Serialize, Deserialize)]
#[serde(bound = "W: Work")]
struct Worker<W>(W);

impl<W: Work> Member for Worker<W> {
    fn join(self, who: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        Ok(move |times| self.0.part(who, times).map(|()| times))
    }
}

struct Gang<W> {
    work: W,
    others: Others,
    processes: u64,
}

impl<W: Work> Gang<W> {
    fn start(work: W, processes: usize) -> Result<Self> {
        let mut others = Others::new();
        for _ in 1..processes {
            others.start(Worker(work.clone()))?;
        }
        others.wait_until_ready()?;
        Ok(Self { others, work, processes: processes as u64 })
    }

    /// So many times in all, as evenly as it goes: how long that would take if it went exactly.
    fn share(&mut self, times: u64) -> Result<Duration> {
        let processes = self.processes;
        let each = times.div_ceil(processes);
        let before = self.work.done()?;
        let took = self.together(each)?;
        let done = self.work.done()? - before;
        if done != processes * each {
            return Err(format!("{done} times were counted, not {processes} times {each}").into());
        }
        Ok(took.mul_f64(times as f64 / done as f64))
    }

    /// Each process so many times, until the last is through.
    fn together(&mut self, each: u64) -> Result<Duration> {
        self.others.ask(each)?;
        let began = Instant::now();
        self.work.part(0, each)?;
        self.others.answers()?;
        Ok(began.elapsed())
    }
}
