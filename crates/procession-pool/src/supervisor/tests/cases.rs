//! Single cases, each of them a sentence about what a user would notice.

use std::time::Duration;

use super::super::{
    Action, BACKOFF_MAX, Config, Event, MOVE_AFTER, NO_ROOM_RETRY, PoolCounts, Supervisor, TaskId, Terms, Verdict,
    WorkerId, pause_after,
};

const MS: Duration = Duration::from_millis(1);

/// A supervisor with a clock that stands still unless it is told.
struct Case {
    supervisor: Supervisor,
    now: Duration,
}

fn config(size: u32) -> Config {
    Config { size, eager: false, tasks_per_child: None, prefetch_max: 0, retire_grace: None, start_timeout: None }
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
    assert_eq!(case.tell(Event::Started { worker: 0 }), []);
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
    assert_eq!(
        case.tell(died),
        [resolved(0, Verdict::Died { attempts: 1, given_up: false }), Action::Start { worker: 1 }]
    );
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 1)]);
}

#[test]
fn what_a_dead_worker_had_not_begun_comes_first() {
    let mut case = Case::ready(config(1));
    case.submit(0);
    case.submit(1);
    assert_eq!(case.supervisor.counts(), PoolCounts { queued: 1, offered: 1, busy: 1, ..PoolCounts::default() });
    assert_eq!(case.tell(Event::Died { worker: 0, running: None }), [Action::Start { worker: 1 }]);
    assert_eq!(case.supervisor.counts(), PoolCounts { queued: 2, starting: 1, ..PoolCounts::default() });
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

impl Case {
    fn finish(&mut self, worker: WorkerId, task: TaskId) -> Vec<Action> {
        self.tell(Event::Finished { worker, task, failed: false })
    }

    fn fail(&mut self, worker: WorkerId, task: TaskId) -> Vec<Action> {
        self.tell(Event::Finished { worker, task, failed: true })
    }

    fn die(&mut self, worker: WorkerId, running: Option<TaskId>) -> Vec<Action> {
        self.tell(Event::Died { worker, running })
    }

    fn answer(&mut self, worker: WorkerId, task: TaskId, is_revoked: bool) -> Vec<Action> {
        self.tell(Event::Revoked { worker, task, is_revoked })
    }

    /// Waits for the one time that was asked for, which is so much later.
    fn wait(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.tell(Event::Tick)
    }

    /// One whose only worker has shown that it is fast, and runs task 100.
    fn fast(config: Config) -> Self {
        let mut case = Self::ready(config);
        case.submit(99);
        case.now += Duration::from_micros(10);
        case.finish(0, 99);
        assert_eq!(case.submit(100), [offer(0, 100)]);
        case
    }
}

const START: fn(WorkerId) -> Action = |worker| Action::Start { worker };

#[test]
fn starts_that_come_to_nothing_are_spaced_and_limited() {
    let mut case = Case::new(Config { eager: true, ..config(1) });
    assert_eq!(case.tell(Event::Tick), [START(0)]);
    case.submit(7);
    let mut backoff = 10 * MS;
    for worker in 0..7 {
        let at = case.now + backoff;
        assert_eq!(case.tell(Event::NotStarted { worker }), [Action::Wake { at }], "after worker {worker}");
        assert_eq!(case.wait(backoff), [START(worker + 1)], "{backoff:?} after worker {worker}");
        backoff *= 2;
    }
    let storm = [Action::Storm { deaths: 8 }, resolved(7, Verdict::NoWorkers { deaths: 8 })];
    assert_eq!(case.die(7, None), storm);
    // Nothing more happens until there is a task again, which has one try.
    assert_eq!(case.wait(60_000 * MS), []);
    assert_eq!(case.submit(8), [START(8)]);
    assert_eq!(case.submit(9), []);
    let none = Verdict::NoWorkers { deaths: 9 };
    assert_eq!(case.tell(Event::NotStarted { worker: 8 }), [resolved(8, none.clone()), resolved(9, none)]);
    // One that is ready ends the storm.
    assert_eq!(case.submit(10), [Action::Wake { at: case.now + 1000 * MS }]);
    assert_eq!(case.wait(1000 * MS), [START(9)]);
    assert_eq!(case.tell(Event::Ready { worker: 9 }), [offer(9, 10)]);
    assert_eq!(case.die(9, None), [START(10)]);
}

#[test]
fn when_no_worker_can_be_had_tasks_are_told_at_once() {
    let mut case = Case::new(Config { eager: true, ..config(3) });
    assert_eq!(case.tell(Event::Tick), [START(0), START(1), START(2)]);
    case.submit(7);
    // The others may have been started before.
    assert_eq!(case.tell(Event::NoSource { worker: 1 }), [Action::Storm { deaths: 1 }]);
    assert_eq!(case.tell(Event::NotStarted { worker: 0 }), []);
    assert_eq!(case.tell(Event::NoSource { worker: 2 }), [resolved(7, Verdict::NoWorkers { deaths: 3 })]);
    assert_eq!(case.wait(60_000 * MS), []);
    // Each task that comes later has a try.
    assert_eq!(case.submit(8), [START(3)]);
    assert_eq!(case.tell(Event::NoSource { worker: 3 }), [resolved(8, Verdict::NoWorkers { deaths: 4 })]);
    case.wait(1000 * MS);
    assert_eq!(case.submit(9), [START(4)]);
    assert_eq!(case.tell(Event::Ready { worker: 4 }), [offer(4, 9), START(5), START(6)]);
}

#[test]
fn tasks_have_the_workers_that_there_are_when_no_other_can_be_had() {
    let mut case = Case::ready(config(2));
    case.submit(0);
    case.submit(1);
    case.submit(2);
    assert_eq!(case.die(0, None), [START(2)]);
    let told = case.tell(Event::NoSource { worker: 2 });
    assert!(told.iter().all(|action| !matches!(action, Action::Resolve { .. })), "{told:?}");
    for task in [0, 1, 2] {
        assert!(case.finish(1, task).contains(&resolved(task, Verdict::Completed)), "{task}");
    }
    assert!(case.supervisor.is_idle());
}

#[test]
fn an_executor_with_room_for_many_tries_as_often_as_a_small_one() {
    let mut case = Case::new(config(100));
    assert_eq!(case.submit(7), [START(0)]);
    let mut backoff = 10 * MS;
    for worker in 0..7 {
        case.tell(Event::NotStarted { worker });
        assert_eq!(case.wait(backoff), [START(worker + 1)]);
        backoff *= 2;
    }
    let told = case.tell(Event::NotStarted { worker: 7 });
    assert!(told.ends_with(&[resolved(7, Verdict::NoWorkers { deaths: 8 })]), "{told:?}");
}

#[test]
fn a_storm_costs_nothing_while_other_workers_are_ready() {
    let mut case = Case::ready(config(2));
    case.submit(0);
    case.submit(1);
    case.submit(2);
    assert_eq!(case.die(0, Some(1)), [resolved(1, Verdict::Died { attempts: 1, given_up: false }), START(2)]);
    let mut deaths = 0;
    for worker in 2..10 {
        deaths += 1;
        let actions = case.tell(Event::NotStarted { worker });
        assert_eq!(actions.contains(&Action::Storm { deaths }), deaths == 8, "{actions:?}");
        assert_eq!(actions.iter().filter(|action| matches!(action, Action::Resolve { .. })).count(), 0);
        assert!(case.wait(1000 * MS).contains(&START(worker + 1)));
    }
    assert_eq!(case.finish(1, 0), [resolved(0, Verdict::Completed), offer(1, 2)]);
}

#[test]
fn idle_workers_that_are_killed_are_replaced_at_once_but_not_endlessly_fast() {
    let mut case = Case::ready(config(1));
    for worker in 0..16 {
        assert_eq!(case.die(worker, None), [START(worker + 1)], "after worker {worker}");
        case.tell(Event::Ready { worker: worker + 1 });
    }
    let spacing = Duration::from_micros(500);
    assert_eq!(case.die(16, None), [Action::Wake { at: case.now + spacing }]);
    assert_eq!(case.wait(spacing), [START(17)]);
    // A task that is finished ends it.
    case.tell(Event::Ready { worker: 17 });
    case.submit(0);
    case.finish(17, 0);
    assert_eq!(case.die(17, None), [START(18)]);
}

#[test]
fn a_task_that_kills_its_workers_is_given_up_whatever_retries_are_left() {
    let mut case = Case::ready(config(1));
    case.submit_on(0, Terms { retries: 10, ..Terms::default() });
    for worker in [0, 1] {
        assert_eq!(case.die(worker, Some(0)), [START(worker + 1)]);
        assert_eq!(case.tell(Event::Ready { worker: worker + 1 }), [offer(worker + 1, 0)]);
    }
    assert_eq!(case.die(2, Some(0)), [resolved(0, Verdict::Died { attempts: 3, given_up: true }), START(3)]);
}

#[test]
fn a_failed_task_is_tried_again_after_ever_longer_waits() {
    let mut case = Case::ready(config(1));
    case.submit_on(0, Terms { retries: 9, backoff: 1000 * MS, ..Terms::default() });
    for wait in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let wait = Duration::from_secs(wait);
        assert_eq!(case.fail(0, 0), [Action::Wake { at: case.now + wait }]);
        assert_eq!(case.supervisor.counts().delayed, 1);
        assert_eq!(case.wait(wait), [offer(0, 0)]);
    }
    assert_eq!(case.fail(0, 0), [resolved(0, Verdict::Failed { attempts: 10 })]);
}

#[test]
fn no_wait_before_another_attempt_is_longer_than_the_longest() {
    assert_eq!([1, 2, 5].map(|attempts| pause_after(attempts, MS)), [MS, 2 * MS, 16 * MS]);
    for (attempts, backoff) in [(1, Duration::MAX), (2, BACKOFF_MAX), (u32::MAX, MS)] {
        assert_eq!(pause_after(attempts, backoff), BACKOFF_MAX);
    }
    assert_eq!(pause_after(u32::MAX, Duration::ZERO), Duration::ZERO);
}

#[test]
fn fast_workers_are_given_tasks_ahead_and_slow_ones_are_not() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    assert_eq!(case.submit(0), [offer(0, 0)]);
    assert_eq!(case.submit(1), [offer(0, 1)]);
    assert_eq!(case.submit(2), []);
    (3..20).for_each(|task| drop(case.submit(task)));
    // From then on each takes long.
    for task in [100].into_iter().chain(0..16) {
        case.now += 60 * MS;
        let actions = case.finish(0, task);
        assert!(actions.contains(&resolved(task, Verdict::Completed)), "{actions:?}");
    }
    // It runs the next one, and has none behind it.
    assert_eq!(case.supervisor.counts().queued, 3);
}

#[test]
fn a_task_that_is_timed_is_given_to_an_idle_worker_alone() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    let timed = Terms { timeout: Some(1000 * MS), ..Terms::default() };
    assert_eq!(case.submit_on(0, timed), []);
    assert_eq!(case.submit(1), []);
    let at = case.now + 1000 * MS;
    assert_eq!(case.finish(0, 100), [resolved(100, Verdict::Completed), offer(0, 0), Action::Wake { at }]);
    assert_eq!(case.finish(0, 0), [resolved(0, Verdict::Completed), offer(0, 1)]);
}

#[test]
fn what_waits_behind_a_long_task_goes_to_whoever_is_idle() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    case.submit(0);
    case.submit(1);
    // A second worker, as a pool may have that was just replaced.
    case.supervisor.config.size = 2;
    assert_eq!(case.tell(Event::Tick), [START(1)]);
    let at = case.now + MOVE_AFTER;
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [Action::Wake { at }]);
    // The one that would begin next, so that tasks begin in their order.
    assert_eq!(case.wait(MOVE_AFTER), [Action::Revoke { worker: 0, task: 0 }]);
    assert_eq!(case.answer(0, 0, true), [offer(1, 0)]);
    case.now += 10 * MS;
    let finished = case.finish(1, 0);
    assert_eq!(finished, [resolved(0, Verdict::Completed), Action::Revoke { worker: 0, task: 1 }]);
    // Too late: it has just begun.
    assert_eq!(case.answer(0, 1, false), []);
    assert_eq!(case.finish(0, 100), [resolved(100, Verdict::Completed)]);
    assert_eq!(case.finish(0, 1), [resolved(1, Verdict::Completed)]);
}

#[test]
fn a_task_is_canceled_wherever_it_is_and_others_do_not_notice() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    for task in 0..4 {
        case.submit(task);
    }
    let cancelled = |task| resolved(task, Verdict::Cancelled);
    let cancel = |task, kill| Event::CancelAsked { task, kill };
    // Queued.
    assert_eq!(case.tell(cancel(2, false)), [cancelled(2)]);
    // Given ahead.
    assert_eq!(case.tell(cancel(1, false)), [Action::Revoke { worker: 0, task: 1 }]);
    assert_eq!(case.answer(0, 1, true), [cancelled(1)]);
    // Begun, and not to be killed.
    assert_eq!(case.tell(cancel(100, false)), [Action::Revoke { worker: 0, task: 100 }]);
    assert_eq!(case.answer(0, 100, false), []);
    assert_eq!(case.tell(cancel(100, false)), []);
    // Begun, and to be killed: what is behind it is taken back before.
    assert_eq!(case.tell(cancel(100, true)), [Action::Revoke { worker: 0, task: 0 }]);
    assert_eq!(case.answer(0, 0, true), [Action::Kill { worker: 0 }]);
    assert_eq!(case.die(0, Some(100)), [cancelled(100), START(1)]);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 0)]);
    // Nobody knows it any more.
    assert_eq!(case.tell(cancel(100, true)), []);
}

#[test]
fn a_task_that_finishes_before_it_is_killed_is_completed() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    case.submit(0);
    case.tell(Event::CancelAsked { task: 100, kill: true });
    assert_eq!(case.answer(0, 100, false), [Action::Revoke { worker: 0, task: 0 }]);
    // The next one has begun, so nobody is killed.
    assert_eq!(case.answer(0, 0, false), []);
    assert_eq!(case.finish(0, 100), [resolved(100, Verdict::Completed)]);
    // The worker is as good as any other.
    assert_eq!(case.submit(1), [offer(0, 1)]);
    // And one that is killed too late.
    let killed = Event::CancelAsked { task: 0, kill: true };
    assert_eq!(case.tell(killed), [Action::Revoke { worker: 0, task: 1 }]);
    assert_eq!(case.answer(0, 1, true), [Action::Kill { worker: 0 }]);
    assert_eq!(case.finish(0, 0), [resolved(0, Verdict::Completed)]);
    assert_eq!(case.die(0, None), [START(1)]);
}

#[test]
fn everything_that_has_not_begun_is_canceled_at_once() {
    let mut case = Case::fast(Config { prefetch_max: 1, ..config(1) });
    for task in 0..3 {
        case.submit(task);
    }
    let mut actions = case.tell(Event::CancelAll);
    actions.extend(case.answer(0, 0, true));
    actions.extend(case.answer(0, 100, false));
    let revokes = [0, 100].map(|task| Action::Revoke { worker: 0, task });
    let ends = [0, 1, 2].map(|task| resolved(task, Verdict::Cancelled));
    for expected in revokes.iter().chain(&ends) {
        assert!(actions.contains(expected), "{expected:?} is not in {actions:?}");
    }
    assert_eq!(actions.len(), 5);
    assert_eq!(case.finish(0, 100), [resolved(100, Verdict::Completed)]);
}

#[test]
fn a_worker_that_was_given_its_number_of_items_is_replaced_at_once() {
    let mut case = Case::ready(Config { tasks_per_child: Some(5), retire_grace: Some(9 * MS), ..config(1) });
    case.submit_on(0, Terms { items: 4, ..Terms::default() });
    assert_eq!(case.submit(1), []);
    assert_eq!(case.finish(0, 0), [resolved(0, Verdict::Completed), offer(0, 1)]);
    let at = case.now + 9 * MS;
    let expected = [resolved(1, Verdict::Completed), Action::Retire { worker: 0 }, START(1), Action::Wake { at }];
    assert_eq!(case.finish(0, 1), expected);
    case.tell(Event::Ready { worker: 1 });
    // It does not end, and is made to; nobody takes its place, as somebody has it.
    assert_eq!(case.wait(9 * MS), [Action::Kill { worker: 0 }]);
    assert_eq!(case.die(1, None), [START(2)]);
    assert_eq!(case.die(0, None), []);
}

#[test]
fn a_task_for_which_there_is_no_room_goes_elsewhere_or_waits() {
    let mut case = Case::ready(config(2));
    assert_eq!(case.submit(0), [offer(1, 0)]);
    let at = case.now + NO_ROOM_RETRY;
    let no_room = |worker| Event::NoRoom { worker, task: 0 };
    assert_eq!(case.tell(no_room(1)), [offer(0, 0), Action::Wake { at }]);
    assert_eq!(case.tell(no_room(0)), []);
    assert_eq!(case.supervisor.counts().queued, 1);
    let [Action::Offer { worker, task: 0 }] = case.wait(NO_ROOM_RETRY)[..] else { panic!("it is not offered again") };
    assert_eq!(case.finish(worker, 0), [resolved(0, Verdict::Completed)]);
}

#[test]
fn a_closed_pool_moves_what_waits_before_idle_workers_end() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    case.submit(0);
    case.supervisor.config.size = 2;
    case.tell(Event::Tick);
    case.tell(Event::Ready { worker: 1 });
    assert_eq!(case.tell(Event::Closed), []);
    assert_eq!(case.wait(MOVE_AFTER), [Action::Revoke { worker: 0, task: 0 }]);
    assert_eq!(case.answer(0, 0, true), [offer(1, 0)]);
    assert_eq!(case.finish(1, 0), [resolved(0, Verdict::Completed), Action::Retire { worker: 1 }]);
}

#[test]
fn a_closed_pool_starts_workers_only_for_tasks_that_are_left() {
    let mut case = Case::ready(config(2));
    case.submit(0);
    case.submit(1);
    case.submit(2);
    assert_eq!(case.tell(Event::Closed), []);
    assert_eq!(case.die(1, Some(0)), [resolved(0, Verdict::Died { attempts: 1, given_up: false }), START(2)]);
    assert_eq!(case.finish(0, 1), [resolved(1, Verdict::Completed), offer(0, 2)]);
    assert_eq!(case.die(2, None), []);
    assert_eq!(case.finish(0, 2), [resolved(2, Verdict::Completed), Action::Retire { worker: 0 }]);
    assert_eq!(case.die(0, None), [Action::AllEnded]);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let mut case = Case::ready(config(2));
    case.submit(0);
    let before = case.supervisor.clone();
    let nonsense = [
        Event::Submitted { task: 0, terms: Terms { priority: 3, ..Terms::default() } },
        Event::Submitted { task: u64::from(u32::MAX), terms: Terms::default() },
        Event::CancelAsked { task: 1 << 32, kill: true },
        Event::CancelAsked { task: 77, kill: true },
        Event::Started { worker: 0 },
        Event::NotStarted { worker: 1 },
        Event::Ready { worker: 0 },
        Event::Ready { worker: 9 },
        Event::Finished { worker: 0, task: 0, failed: false },
        Event::Finished { worker: 1, task: 1 << 32, failed: false },
        Event::Finished { worker: 9, task: 0, failed: true },
        Event::Died { worker: 9, running: Some(0) },
        Event::Revoked { worker: 1, task: 0, is_revoked: true },
        Event::Revoked { worker: 1, task: 5, is_revoked: true },
        Event::NoRoom { worker: 0, task: 0 },
        Event::NoRoom { worker: 1, task: 1 },
        Event::Tick,
    ];
    for event in nonsense {
        assert_eq!(case.tell(event.clone()), [], "{event:?}");
        assert!(case.supervisor == before, "{event:?} changes something");
    }
}

#[test]
fn what_was_given_ahead_keeps_its_order_when_a_worker_dies() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    for task in 0..3 {
        case.submit(task);
    }
    assert_eq!(case.die(0, Some(100)), [resolved(100, Verdict::Died { attempts: 1, given_up: false }), START(1)]);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 0)]);
    case.now += 10 * MS;
    assert_eq!(case.finish(1, 0), [resolved(0, Verdict::Completed), offer(1, 1)]);
    assert_eq!(case.finish(1, 1)[..2], [resolved(1, Verdict::Completed), offer(1, 2)]);
}

#[test]
fn each_of_several_tasks_is_killed_at_its_own_time() {
    let mut case = Case::ready(config(2));
    let within = |ms| Terms { timeout: Some(ms * MS), ..Terms::default() };
    assert_eq!(case.submit_on(0, within(9)), [offer(1, 0), Action::Wake { at: 9 * MS }]);
    assert_eq!(case.submit_on(1, within(5)), [offer(0, 1), Action::Wake { at: 5 * MS }]);
    assert_eq!(case.wait(5 * MS), [Action::Kill { worker: 0 }, Action::Wake { at: 9 * MS }]);
    assert_eq!(case.wait(4 * MS), [Action::Kill { worker: 1 }]);
}

#[test]
fn a_task_whose_time_is_over_while_it_is_asked_back_is_killed() {
    let mut case = Case::ready(config(1));
    case.submit_on(0, Terms { timeout: Some(5 * MS), ..Terms::default() });
    let cancel = Event::CancelAsked { task: 0, kill: false };
    assert_eq!(case.tell(cancel), [Action::Revoke { worker: 0, task: 0 }]);
    assert_eq!(case.wait(5 * MS), []);
    assert_eq!(case.answer(0, 0, false), [Action::Kill { worker: 0 }]);
}

#[test]
fn a_task_that_is_on_its_way_back_is_canceled_when_it_comes() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    case.submit(0);
    case.submit(1);
    let cancel = |task, kill| Event::CancelAsked { task, kill };
    // It was asked back to be moved.
    case.supervisor.config.size = 2;
    case.tell(Event::Tick);
    case.tell(Event::Ready { worker: 1 });
    assert_eq!(case.wait(MOVE_AFTER), [Action::Revoke { worker: 0, task: 0 }]);
    assert_eq!(case.tell(cancel(0, false)), []);
    let canceled = case.answer(0, 0, true);
    assert_eq!(canceled, [resolved(0, Verdict::Cancelled), Action::Revoke { worker: 0, task: 1 }]);
    // There was no room for it anyway.
    case.tell(cancel(1, false));
    let no_room = case.tell(Event::NoRoom { worker: 0, task: 1 });
    assert_eq!(no_room[0], resolved(1, Verdict::Cancelled));
    // Whoever asked second wants it killed.
    case.tell(cancel(100, false));
    assert_eq!(case.tell(cancel(100, true)), []);
    assert_eq!(case.answer(0, 100, false), [Action::Kill { worker: 0 }]);
}

#[test]
fn what_a_worker_gives_back_does_not_count_as_its_own() {
    let mut case = Case::fast(Config { prefetch_max: 2, tasks_per_child: Some(4), ..config(1) });
    case.submit(0);
    case.submit(1);
    assert_eq!(case.submit(2), []);
    for task in [0, 1] {
        case.tell(Event::CancelAsked { task, kill: false });
        case.answer(0, task, true);
    }
    // Tasks 99 and 100 were its own: there are two more.
    assert_eq!(case.finish(0, 100), [resolved(100, Verdict::Completed), offer(0, 2)]);
    assert_eq!(case.finish(0, 2), [resolved(2, Verdict::Completed)]);
    assert_eq!(case.submit(3), [offer(0, 3)]);
    let last = [resolved(3, Verdict::Completed), Action::Retire { worker: 0 }, START(1)];
    assert_eq!(case.finish(0, 3), last);
}

#[test]
fn a_pool_tries_again_to_start_its_workers_though_nothing_is_to_be_done() {
    let mut case = Case::new(Config { eager: true, ..config(2) });
    assert_eq!(case.tell(Event::Tick), [START(0), START(1)]);
    assert_eq!(case.tell(Event::NotStarted { worker: 0 }), [Action::Wake { at: 10 * MS }]);
    assert_eq!(case.wait(10 * MS), [START(2)]);
}

#[test]
fn killing_everything_spares_nobody() {
    let mut case = Case::ready(Config { retire_grace: Some(MS), ..config(3) });
    case.submit(0);
    assert_eq!(case.die(1, None), [START(3)]);
    assert_eq!(case.tell(Event::Started { worker: 3 }), []);
    let kills = [0, 2, 3].map(|worker| Action::Kill { worker });
    assert_eq!(case.tell(Event::KillAll), [&[resolved(0, Verdict::Terminated)], &kills[..]].concat());
}

#[test]
fn of_two_tasks_that_are_to_be_killed_the_one_that_runs_is() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    case.submit(0);
    let cancel = |task| Event::CancelAsked { task, kill: true };
    // The first has finished, which nobody has heard of yet.
    case.tell(cancel(0));
    assert_eq!(case.answer(0, 0, false), []);
    case.tell(cancel(100));
    assert_eq!(case.answer(0, 100, false), []);
    assert_eq!(case.finish(0, 100), [resolved(100, Verdict::Completed), Action::Kill { worker: 0 }]);
    assert_eq!(case.die(0, Some(0)), [resolved(0, Verdict::Cancelled), START(1)]);
}

#[test]
fn what_is_more_urgent_overtakes_what_was_given_ahead() {
    let mut case = Case::fast(Config { prefetch_max: 2, ..config(1) });
    case.submit(0);
    case.submit(1);
    let urgent = Terms { priority: 1, ..Terms::default() };
    // What would begin last is asked for first, so that they come back in their order.
    let asked = case.submit_on(2, urgent);
    assert_eq!(asked, [1, 0].map(|task| Action::Revoke { worker: 0, task }));
    assert_eq!(case.answer(0, 1, true), []);
    assert_eq!(case.answer(0, 0, true), []);
    let finished = case.finish(0, 100);
    assert_eq!(finished[..2], [resolved(100, Verdict::Completed), offer(0, 2)]);
}

#[test]
fn a_worker_is_not_given_more_than_its_number_of_items() {
    let mut case = Case::ready(Config { tasks_per_child: Some(5), ..config(1) });
    let pair = Terms { items: 2, ..Terms::default() };
    assert_eq!(case.submit_on(0, pair), [offer(0, 0)]);
    case.finish(0, 0);
    case.submit_on(1, pair);
    case.finish(0, 1);
    assert_eq!(case.submit_on(2, pair)[..2], [Action::Retire { worker: 0 }, START(1)]);
    case.tell(Event::Started { worker: 1 });
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 2)]);
}

#[test]
fn a_worker_that_is_not_ready_does_not_keep_a_closed_pool() {
    let mut case = Case::new(Config { eager: true, ..config(1) });
    case.tell(Event::Tick);
    case.tell(Event::Started { worker: 0 });
    assert_eq!(case.tell(Event::Closed), [Action::Kill { worker: 0 }]);
    assert_eq!(case.tell(Event::Died { worker: 0, running: None }), [Action::AllEnded]);
}

#[test]
fn when_a_worker_is_not_ready_in_time_and_there_is_no_other_tasks_are_told_at_once() {
    let mut case = Case::new(Config { eager: true, start_timeout: Some(50 * MS), ..config(1) });
    assert_eq!(case.tell(Event::Tick), [START(0)]);
    case.submit(7);
    case.submit(8);
    for (worker, tasks) in [(0, [7, 8].as_slice()), (1, &[9])] {
        // Its time begins with its process.
        case.now += 100 * MS;
        assert_eq!(case.tell(Event::Tick), []);
        let until = case.now + 50 * MS;
        assert_eq!(case.tell(Event::Started { worker }), [Action::Wake { at: until }]);
        assert_eq!(case.wait(49 * MS), []);
        assert_eq!(case.wait(MS), [Action::GiveUp { worker }]);
        // What it says now comes too late.
        assert_eq!(case.tell(Event::Ready { worker }), []);
        let deaths = worker + 1;
        let storm = (worker == 0).then_some(Action::Storm { deaths });
        let told = tasks.iter().map(|&task| resolved(task, Verdict::NoWorkers { deaths }));
        assert_eq!(case.die(worker, None), storm.into_iter().chain(told).collect::<Vec<_>>());
        // Nothing more happens until there is a task again, which has one try.
        assert_eq!(case.wait(60_000 * MS), []);
        assert_eq!(case.submit(9 + TaskId::from(worker)), [START(worker + 1)]);
    }
    assert_eq!(case.tell(Event::Ready { worker: 2 }), [offer(2, 10)]);
}

#[test]
fn one_that_is_not_ready_in_time_is_replaced_only_when_it_has_ended() {
    let mut case = Case::new(Config { start_timeout: Some(50 * MS), ..config(2) });
    assert_eq!(case.submit(7), [START(0)]);
    case.tell(Event::Started { worker: 0 });
    assert_eq!(case.wait(50 * MS), [Action::GiveUp { worker: 0 }]);
    let told = [Action::Storm { deaths: 1 }, resolved(7, Verdict::NoWorkers { deaths: 1 })];
    assert_eq!(case.die(0, None), told, "no other is being started, that is waited for");
}

#[test]
fn after_one_that_is_not_ready_in_time_those_that_are_being_started_are_waited_for() {
    let mut case = Case::new(Config { eager: true, start_timeout: Some(50 * MS), ..config(2) });
    assert_eq!(case.tell(Event::Tick), [START(0), START(1)]);
    case.submit(7);
    case.tell(Event::Started { worker: 0 });
    assert_eq!(case.wait(50 * MS), [Action::GiveUp { worker: 0 }]);
    assert_eq!(case.die(0, None), [Action::Storm { deaths: 1 }]);
    assert_eq!(case.wait(60_000 * MS), []);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), [offer(1, 7), START(2)]);
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_replaced_where_another_one_was() {
    let mut case = Case::new(Config { eager: true, start_timeout: Some(50 * MS), ..config(2) });
    assert_eq!(case.tell(Event::Tick), [START(0), START(1)]);
    assert_eq!(case.tell(Event::Ready { worker: 1 }), []);
    case.tell(Event::Started { worker: 0 });
    assert_eq!(case.wait(50 * MS), [Action::GiveUp { worker: 0 }]);
    assert_eq!(case.die(0, None), [Action::Wake { at: case.now + 10 * MS }]);
    assert_eq!(case.wait(10 * MS), [START(2)]);
}

#[test]
fn a_worker_that_is_ready_in_time_has_all_the_time_that_it_wants() {
    let mut case = Case::new(Config { eager: true, start_timeout: Some(50 * MS), ..config(1) });
    case.tell(Event::Tick);
    case.tell(Event::Started { worker: 0 });
    case.now = 49 * MS;
    assert_eq!(case.tell(Event::Ready { worker: 0 }), []);
    assert_eq!(case.wait(60_000 * MS), []);
    assert_eq!(case.submit(0), [offer(0, 0)]);
    assert_eq!(case.wait(60_000 * MS), []);
}
