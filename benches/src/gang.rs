//! Processes that do their part at the same time when they are told to, as often as they are told.
//!
//! Relies on pipes to tell them: what is measured is not used to measure.

use std::fs::File;
use std::hint::spin_loop;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use procession::{Context, Descriptor, Passable, Process};

use crate::Result;

/// What a process of a gang is given, and does with it.
pub trait Member: Passable {
    /// In the process that does it: what it does so many times; it answers a number.
    ///
    /// # Errors
    /// What it was given is of no use.
    fn join(self, who: usize) -> Result<impl FnMut(u64) -> Result<u64>>;
}

/// The processes of a gang beside the one that measures, which is number 0.
#[derive(Debug)]
pub struct Others(Vec<Other>);

#[derive(Debug)]
struct Other {
    process: Process<()>,
    asks: Option<File>,
    answers: BufReader<File>,
}

impl Others {
    /// Nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Starts one more.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start<M: Member>(&mut self, given: M) -> Result {
        let ((asked, asks), (answers, answered)) = (procession_sys::pipe()?, procession_sys::pipe()?);
        let arguments = (given, self.0.len() + 1, Descriptor::from(asked), Descriptor::from(answered));
        let process = Context::default().start(member::<M>, arguments)?;
        self.0.push(Other { process, asks: Some(File::from(asks)), answers: BufReader::new(File::from(answers)) });
        Ok(())
    }

    /// Waits until all have what they need.
    ///
    /// # Errors
    /// One of them has not, and says why.
    pub fn wait_until_ready(&mut self) -> Result {
        self.answers().map(drop)
    }

    /// Each begins its part, so many times, when all of them and this process have been busy at once for [`SETTLES`].
    ///
    /// # Errors
    /// One of them has ended.
    pub fn ask(&mut self, each: u64) -> Result {
        self.tell(&format!("{each}"))?;
        settle();
        Ok(())
    }

    /// The same at once, for who is to sleep.
    ///
    /// # Errors
    /// One of them has ended.
    pub fn ask_at_once(&mut self, each: u64) -> Result {
        self.tell(&format!("{AT_ONCE}{each}"))
    }

    fn tell(&mut self, line: &str) -> Result {
        for other in &mut self.0 {
            writeln!(other.asks.as_mut().ok_or("it has ended")?, "{line}")?;
        }
        Ok(())
    }

    /// What each has answered, when the last is through.
    ///
    /// # Errors
    /// One of them failed, and says why.
    pub fn answers(&mut self) -> Result<Vec<u64>> {
        let answers = self.0.iter_mut().map(|other| {
            let mut answer = String::new();
            other.answers.read_line(&mut answer)?;
            let number = answer.strip_prefix(DONE).and_then(|number| number.trim_end().parse().ok());
            number.ok_or_else(|| format!("process {} of the gang says: {answer}", other.process.pid()).into())
        });
        answers.collect()
    }
}

impl Default for Others {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for mut other in self.0.drain(..) {
            drop(other.asks.take()); // So that it ends.
            if let Err(error) = other.process.join() {
                eprintln!("a process of a gang: {error}");
            }
        }
    }
}

/// How long all are busy before a part begins. The kernel puts who is woken beside who has woken it, and looks only after
/// some milliseconds whether both want a processor. Two that would wait awake for each other sleep instead until then, and
/// then they stay where they are.
pub const SETTLES: Duration = Duration::from_millis(10);

fn settle() {
    let began = Instant::now();
    while began.elapsed() < SETTLES {
        spin_loop();
    }
}

/// What begins a line to a member that is not to be busy first.
const AT_ONCE: &str = "at once ";

/// What begins the answer of a member that is through.
const DONE: &str = "done ";

/// A child: does its part whenever it is told to.
fn member<M: Member>(given: M, who: usize, asked: Descriptor, answers: Descriptor) {
    let file = |end: Descriptor| File::from(end.as_fd().try_clone_to_owned().expect("a duplicate"));
    let (asked, mut answers) = (BufReader::new(file(asked)), file(answers));
    let mut answer = move |result: Result<u64>| {
        let answer = result.map_or_else(|error| format!("{error}\n"), |number| format!("{DONE}{number}\n"));
        answers.write_all(answer.as_bytes()).expect("somebody waits for the answer");
    };
    let mut part = match given.join(who) {
        Ok(part) => part,
        Err(error) => return answer(Err(error)),
    };
    answer(Ok(0));
    for line in asked.lines() {
        answer(line.map_err(Into::into).and_then(|line| match line.strip_prefix(AT_ONCE) {
            Some(times) => part(times.parse()?),
            None => {
                settle();
                part(line.parse()?)
            }
        }));
    }
}
