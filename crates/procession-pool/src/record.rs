//! A record of what a supervisor was told and what it answered, and the proof that it would answer the same again.
//!
//! Relies on the supervisor being a pure state machine: what is written here is all that it ever knew.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::supervisor::{Action, Config, Event, Supervisor};

/// How many events a log keeps: the first ones, as a replay begins where the supervisor began. They take some ten
/// megabytes, and are a tenth of a second of a pool that does nothing but hand out empty tasks.
pub(crate) const RECORD_EVENTS_MAX: usize = 100_000;

/// A run of a supervisor, from its beginning on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) config: Config,
    pub(crate) entries: Vec<Entry>,
    /// How many events came after [`RECORD_EVENTS_MAX`], and are not here.
    pub(crate) left_out: u64,
}

/// One event, and what followed from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) at: Duration,
    pub(crate) event: Event,
    pub(crate) actions: Vec<Action>,
}

/// A supervisor that answered otherwise than the one whose run was recorded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("event {index} of the log, {event:?}, was answered with {recorded:?}, and is now with {replayed:?}")]
pub(crate) struct Difference {
    pub(crate) index: usize,
    pub(crate) event: Event,
    pub(crate) recorded: Vec<Action>,
    pub(crate) replayed: Vec<Action>,
}

impl Log {
    /// A log of a supervisor with this configuration that was told nothing yet.
    pub(crate) fn new(config: Config) -> Self {
        Self { config, entries: Vec::new(), left_out: 0 }
    }

    /// Notes an event, and the actions that followed from it alone.
    pub(crate) fn note(&mut self, at: Duration, event: &Event, actions: &[Action]) {
        if self.entries.len() < RECORD_EVENTS_MAX {
            self.entries.push(Entry { at, event: event.clone(), actions: actions.to_vec() });
        } else {
            self.left_out += 1;
        }
    }
}

/// Tells a new supervisor the same.
///
/// # Errors
///
/// The first event that it answers otherwise.
pub(crate) fn replay(log: &Log) -> Result<(), Difference> {
    let mut supervisor = Supervisor::new(log.config.clone());
    let mut actions = Vec::new();
    for (index, entry) in log.entries.iter().enumerate() {
        actions.clear();
        supervisor.handle(entry.at, entry.event.clone(), &mut actions);
        if actions != entry.actions {
            let (event, recorded) = (entry.event.clone(), entry.actions.clone());
            return Err(Difference { index, event, recorded, replayed: actions });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Terms;

    /// A supervisor and its log.
    struct Recorded {
        supervisor: Supervisor,
        log: Log,
    }

    impl Recorded {
        fn new() -> Self {
            let config = Config {
                size: 2,
                eager: true,
                tasks_per_child: Some(3),
                prefetch_max: 1,
                retire_grace: None,
                start_timeout: None,
            };
            Self { supervisor: Supervisor::new(config.clone()), log: Log::new(config) }
        }

        fn tell(&mut self, at: Duration, event: Event) {
            let mut actions = Vec::new();
            self.supervisor.handle(at, event.clone(), &mut actions);
            self.log.note(at, &event, &actions);
        }
    }

    /// A run with a death, a timeout and an end.
    fn a_run() -> Log {
        let ms = Duration::from_millis;
        let mut run = Recorded::new();
        run.tell(ms(0), Event::Tick);
        for worker in [0, 1] {
            run.tell(ms(1), Event::Started { worker });
            run.tell(ms(2), Event::Ready { worker });
        }
        let timed = Terms { timeout: Some(ms(4)), retries: 1, backoff: ms(1), ..Terms::default() };
        for (task, terms) in [(0, Terms::default()), (1, timed), (2, Terms::default())] {
            run.tell(ms(3), Event::Submitted { task, terms });
        }
        run.tell(ms(5), Event::Died { worker: 1, running: Some(0) });
        run.tell(ms(7), Event::Tick);
        run.tell(ms(8), Event::Died { worker: 0, running: Some(1) });
        run.tell(ms(9), Event::Closed);
        run.tell(ms(10), Event::KillAll);
        run.log
    }

    #[test]
    fn a_recorded_run_is_answered_the_same_again() {
        let log = a_run();
        assert!(log.entries.iter().filter(|entry| !entry.actions.is_empty()).count() > 6, "{log:#?}");
        assert_eq!(replay(&log), Ok(()));
    }

    #[test]
    fn a_log_survives_being_written() {
        let log = a_run();
        let mut encoder = procession_wire::Encoder::new();
        encoder.value(&log).expect("all of it can be written");
        let bytes = encoder.finish().bytes().to_vec();
        let read: Log = procession_wire::Decoder::new(bytes, Vec::new()).value().expect("nobody has changed it");
        assert_eq!(read, log);
        assert_eq!(replay(&read), Ok(()));
    }

    #[test]
    fn another_answer_is_told_with_its_event() {
        let mut log = a_run();
        let index = log.entries.iter().position(|entry| matches!(entry.event, Event::Died { .. })).expect("one died");
        let forgotten = log.entries[index].actions.pop().expect("a death has consequences");
        let difference = replay(&log).expect_err("an action is missing");
        assert_eq!(difference.index, index);
        assert_eq!(difference.replayed.last(), Some(&forgotten));
        assert!(difference.to_string().contains("Died { worker: 1, running: Some(0) }"), "{difference}");
    }

    #[test]
    fn a_log_does_not_grow_for_ever() {
        let mut run = Recorded::new();
        for at in 0..RECORD_EVENTS_MAX as u64 + 5 {
            run.tell(Duration::from_nanos(at), Event::Tick);
        }
        assert_eq!(run.log.entries.len(), RECORD_EVENTS_MAX);
        assert_eq!(run.log.left_out, 5);
        assert_eq!(replay(&run.log), Ok(()));
    }
}
