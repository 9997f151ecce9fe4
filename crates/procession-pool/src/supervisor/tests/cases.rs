//! Single cases, each of them a sentence about what a user would notice.

use std::time::Duration;

use super::super::{Action, Config, Counts, Event, Supervisor, TaskId, Terms, Verdict, WorkerId};

const MS: Duration = Duration::from_millis(1);

/// A supervisor with a clock that stands still unless it is told.
struct Case {
    supervisor: Supervisor,
    now: Duration,
}

fn config(size: u32) -> Config {
    Config { size, eager: false, tasks_per_child: None, prefetch_max: 0, retire_grace: None }
}

impl Case {
    fn new(config: Config) -> Self {
        Self { supervisor: Supervisor::new(config), now: Duration::ZERO }
    }

    fn tell(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.supervisor.handle(self.now, event, &mut actions);
        actions
    }

    fn submit(&mut self, task: TaskId) -> Vec<Action> {
        self.submit_on(task, Terms::default())
    }

    fn submit_on(&mut self, task: TaskId, terms: Terms) -> Vec<Action> {
        self.tell(Event::Submitted { task, terms })
    }

    /// One whose workers 0 up to `size` are ready and idle.
    fn ready(config: Config) -> Self {
        let size = config.size;
        let mut case = Self::new(Config { eager: true, ..config });
        assert_eq!(case.tell(Event::Tick), (0..size).map(|worker| Action::Start { worker }).collect::<Vec<_>>());
        for worker in 0..size {
            assert_eq!(case.tell(Event::Started { worker }), []);
            assert_eq!(case.tell(Event::Ready { worker }), []);
        }
        case
    }
}

fn resolved(task: TaskId, verdict: Verdict) -> Action {
    Action::Resolve { task, verdict }
}

fn offer(worker: WorkerId, task: TaskId) -> Action {
    Action::Offer { worker, task }
}

#[test]
fn a_task_goes_to_an_idle_worker_and_is_completed() {
    let mut case = Case::ready(config(1));
    assert_eq!(case.submit(7), [offer(0, 7)]);
    assert_eq!(case.supervisor.worker_of(7), Some(0));
    let finished = Event::Finished { worker: 0, task: 7, failed: false };
    assert_eq!(case.tell(finished), [resolved(7, Verdict::Completed)]);
    assert!(case.supervisor.is_idle());
}

#[test]
fn workers_are_started_as_they_are_needed() {
    let mut case = Case::new(config(2));
    assert_eq!(case.tell(Event::Tick), []);
    assert_eq!(case.submit(0), [Action::Start { worker: 0 }]);
    assert_eq!(case.submit(1), [Action::Start { worker: 1 }]);
    assert_eq!(case.submit(2), []);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 0)]);
    let finished = Event::Finished { worker: 1, task: 0, failed: false };
    assert_eq!(case.tell(finished), [resolved(0, Verdict::Completed), offer(1, 1)]);
}

#[test]
fn what_waits_behind_a_task_that_may_never_end_gets_a_worker() {
    let mut case = Case::new(Config { prefetch_max: 4, ..config(2) });
    assert_eq!(case.submit(0), [Action::Start { worker: 0 }]);
    assert_eq!(case.tell(Event::Ready { worker: 0 }), [offer(0, 0)]);
    case.tell(Event::Finished { worker: 0, task: 0, failed: false });
    assert_eq!(case.submit(1), [offer(0, 1)]);
    assert_eq!(case.submit(2), [offer(0, 2), Action::Start { worker: 1 }], "the last one was fast");
    assert_eq!(case.submit(3), [], "nobody is idle, and one is on its way");
}

#[test]
fn a_worker_that_dies_costs_the_task_that_it_was_running() {
    let mut case = Case::ready(config(1));
    case.submit(0);
    case.submit(1);
    let died = Event::Died { worker: 0, running: Some(0) };
    assert_eq!(case.tell(died), [resolved(0, Verdict::Died { attempts: 1 }), Action::Start { worker: 1 }]);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 1)]);
}

#[test]
fn what_a_dead_worker_had_not_begun_comes_first() {
    let mut case = Case::ready(config(1));
    case.submit(0);
    case.submit(1);
    assert_eq!(case.supervisor.counts(), Counts { queued: 1, offered: 1, busy: 1, ..Counts::default() });
    assert_eq!(case.tell(Event::Died { worker: 0, running: None }), [Action::Start { worker: 1 }]);
    assert_eq!(case.supervisor.counts(), Counts { queued: 2, starting: 1, ..Counts::default() });
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 0)]);
}

#[test]
fn the_worker_that_was_busy_last_is_taken_first() {
    let mut case = Case::ready(config(3));
    assert_eq!(case.submit(0), [offer(2, 0)]);
    assert_eq!(case.submit(1), [offer(1, 1)]);
    case.tell(Event::Finished { worker: 2, task: 0, failed: false });
    assert_eq!(case.submit(2), [offer(2, 2)]);
}

#[test]
fn a_closed_pool_finishes_what_there_is_and_ends() {
    let mut case = Case::ready(config(2));
    case.submit(0);
    assert_eq!(case.tell(Event::Closed), [Action::Retire { worker: 0 }]);
    assert!(case.supervisor.is_closed());
    assert_eq!(case.submit(1), [resolved(1, Verdict::Terminated)]);
    assert_eq!(case.tell(Event::Died { worker: 0, running: None }), []);
    let finished = Event::Finished { worker: 1, task: 0, failed: false };
    assert_eq!(case.tell(finished), [resolved(0, Verdict::Completed), Action::Retire { worker: 1 }]);
    assert_eq!(case.tell(Event::Died { worker: 1, running: None }), [Action::AllEnded]);
}

#[test]
fn killing_everything_ends_tasks_at_once_and_workers_that_do_not_exist_yet() {
    let mut case = Case::new(config(2));
    case.submit(0);
    case.submit(1);
    case.tell(Event::Ready { worker: 0 });
    let terminated = [0, 1].map(|task| resolved(task, Verdict::Terminated));
    assert_eq!(case.tell(Event::KillAll), [&terminated[..], &[Action::Kill { worker: 0 }]].concat());
    assert_eq!(case.tell(Event::Started { worker: 1 }), [Action::Kill { worker: 1 }]);
    assert_eq!(case.tell(Event::Died { worker: 1, running: None }), []);
    assert_eq!(case.tell(Event::Died { worker: 0, running: Some(0) }), [Action::AllEnded]);
    assert_eq!(case.tell(Event::Tick), []);
}

#[test]
fn higher_priorities_come_first_and_equal_ones_in_order() {
    let mut case = Case::ready(config(1));
    case.submit(9);
    for (task, priority) in [(0, 0), (1, -1), (2, 5), (3, 0), (4, 5)] {
        case.submit_on(task, Terms { priority, ..Terms::default() });
    }
    let mut order = Vec::new();
    let mut running = 9;
    while let [_, Action::Offer { task, .. }] =
        case.tell(Event::Finished { worker: 0, task: running, failed: false })[..]
    {
        order.push(task);
        running = task;
    }
    assert_eq!(order, [2, 4, 0, 3, 1]);
}

#[test]
fn a_task_that_takes_too_long_is_killed_and_tried_again() {
    let mut case = Case::ready(config(1));
    let terms = Terms { timeout: Some(5 * MS), retries: 1, backoff: 2 * MS, ..Terms::default() };
    assert_eq!(case.submit_on(0, terms), [offer(0, 0), Action::Wake { at: 5 * MS }]);
    case.now = 5 * MS;
    assert_eq!(case.tell(Event::Tick), [Action::Kill { worker: 0 }]);
    case.now = 6 * MS;
    let died = case.tell(Event::Died { worker: 0, running: Some(0) });
    assert_eq!(died, [Action::Start { worker: 1 }, Action::Wake { at: 8 * MS }]);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), []);
    case.now = 8 * MS;
    assert_eq!(case.tell(Event::Tick), [offer(1, 0), Action::Wake { at: 13 * MS }]);
    case.now = 13 * MS;
    assert_eq!(case.tell(Event::Tick), [Action::Kill { worker: 1 }]);
    let timed_out = Verdict::TimedOut { after: 5 * MS, attempts: 2 };
    let died = case.tell(Event::Died { worker: 1, running: Some(0) });
    assert_eq!(died, [resolved(0, timed_out), Action::Start { worker: 2 }]);
}
