//! Copies of this process that were forked from it, and may refer to what it gives back before they have said so.
//!
//! Relies on a pipe that each copy inherits: it ends when the copy has told the server itself what it refers to, when it
//! executes another program, and when it is gone. What it may refer to is not given back before that. The connection itself a
//! copy has as well, so it does not end before that either, whatever the parent does.

use std::io::{PipeReader, PipeWriter, pipe};
use std::time::{Duration, Instant};

use procession_sys::{Deadline, Interest, Origin, forks_begun, poll_one};

use crate::identity::ObjectId;

/// How long nobody looks again whether copies need what is kept for them.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// This process's copies, as far as one server's objects are concerned.
#[derive(Debug)]
pub(crate) struct Kin {
    origin: Origin,
    /// How many forks had begun when this pipe was made; nothing is written into it. Its end is the copies' end.
    forks: Option<u64>,
    pipe: Option<(PipeReader, PipeWriter)>,
    /// How often there were forks between pipes.
    generation: u32,
    /// The pipes of copies, each with its generation.
    copies: Vec<(u32, PipeReader)>,
    kept: Vec<Kept>,
    looked: Instant,
}

/// What is given back when no copy needs it.
#[derive(Debug)]
struct Kept {
    object: ObjectId,
    given: u32,
    /// Copies of this generation and later ones may refer to it.
    since: u32,
}

impl Kin {
    pub(crate) fn new() -> Self {
        Self {
            origin: Origin::here(),
            forks: forks_begun(),
            pipe: pipe().ok(), // With no descriptor left copies are not waited for.
            generation: 0,
            copies: Vec::new(),
            kept: Vec::new(),
            looked: Instant::now(),
        }
    }

    /// What an object is of that is given now: only copies that are made later know it.
    pub(crate) fn generation(&mut self) -> u32 {
        self.part();
        self.generation
    }

    /// Keeps references of an object for those copies that may refer to it; false if there are none.
    pub(crate) fn keeps(&mut self, object: ObjectId, given: u32, since: u32) -> bool {
        self.part();
        self.look();
        let is_kept = self.copies.iter().any(|(generation, _)| *generation >= since);
        if is_kept {
            self.kept.push(Kept { object, given, since });
        }
        is_kept
    }

    /// What was kept, and is needed by no copy any more.
    pub(crate) fn take_back(&mut self) -> Vec<(ObjectId, u32)> {
        if self.kept.is_empty() || self.looked.elapsed() < LOOK_PAUSE {
            return Vec::new();
        }
        self.look();
        let newest = self.copies.last().map(|(generation, _)| *generation);
        let is_free = |kept: &mut Kept| newest.is_none_or(|newest| newest < kept.since);
        self.kept.extract_if(.., is_free).map(|kept| (kept.object, kept.given)).collect()
    }

    /// Leaves the pipe to the copies that were made since, and makes another one.
    fn part(&mut self) {
        let forks = forks_begun();
        if forks == self.forks || !self.origin.is_here() {
            return;
        }
        self.forks = forks;
        if let Some((end, _ours)) = std::mem::replace(&mut self.pipe, pipe().ok()) {
            self.forget_gone(); // Who forks again and again would have a descriptor for each copy.
            self.copies.push((self.generation, end));
            self.generation += 1;
        }
    }

    /// Forgets copies that need nothing any more, and notes when that was.
    fn look(&mut self) {
        self.looked = Instant::now();
        self.forget_gone();
    }

    fn forget_gone(&mut self) {
        self.copies.retain(|(_, end)| !poll_one(end, Interest::Read, Deadline::NOW).unwrap_or(true));
    }
}
