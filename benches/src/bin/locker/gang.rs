//! Processes that do the same thing at the same time when they are told to, as often as they are told.
//!
//! Relies on pipes to tell them: what is measured is not used to measure.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use procession::{Context, Descriptor, Passable, Process};
use procession_benches::Result;

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

/// A child of the gang.
struct Other {
    process: Process<()>,
    asks: Option<File>,
    answers: BufReader<File>,
}

struct Gang<W> {
    work: W,
    others: Vec<Other>,
}

impl<W: Work> Gang<W> {
    fn start(work: W, processes: usize) -> Result<Self> {
        let others = (1..processes).map(|who| {
            let ((asked, asks), (answers, answered)) = (procession_sys::pipe()?, procession_sys::pipe()?);
            let arguments = (work.clone(), who, Descriptor::from(asked), Descriptor::from(answered));
            let process = Context::default().start(member::<W>, arguments)?;
            Ok(Other { process, asks: Some(File::from(asks)), answers: BufReader::new(File::from(answers)) })
        });
        Ok(Self { others: others.collect::<Result<_>>()?, work })
    }

    /// So many times in all, as evenly as it goes: how long that would take if it went exactly.
    fn share(&mut self, times: u64) -> Result<Duration> {
        let processes = self.others.len() as u64 + 1;
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
        let began = Instant::now();
        for other in &mut self.others {
            writeln!(other.asks.as_mut().ok_or("it has ended")?, "{each}")?;
        }
        self.work.part(0, each)?;
        for other in &mut self.others {
            let mut answer = String::new();
            other.answers.read_line(&mut answer)?;
            if answer != DONE {
                return Err(format!("process {} of the gang says: {answer}", other.process.pid()).into());
            }
        }
        Ok(began.elapsed())
    }
}

impl<W> Drop for Gang<W> {
    fn drop(&mut self) {
        for mut other in self.others.drain(..) {
            drop(other.asks.take()); // So that it ends.
            if let Err(error) = other.process.join() {
                eprintln!("a process of a gang: {error}");
            }
        }
    }
}

/// What a member answers when it is through.
const DONE: &str = "done\n";

/// A child: does its part whenever it is told to.
fn member<W: Work>(work: W, who: usize, asked: Descriptor, answers: Descriptor) {
    let file = |end: Descriptor| File::from(end.as_fd().try_clone_to_owned().expect("a duplicate"));
    let (asked, mut answers) = (BufReader::new(file(asked)), file(answers));
    for line in asked.lines() {
        let part = || work.part(who, line?.parse()?);
        let answer = part().map_or_else(|error| format!("{error}\n"), |()| DONE.to_owned());
        answers.write_all(answer.as_bytes()).expect("somebody waits for the answer");
    }
}
