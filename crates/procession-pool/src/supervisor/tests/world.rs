//! A model of the engine, of the processes and of the user, who do in any order whatever the real ones may.
//!
//! After each event the model compares what the supervisor says with what it may say: these are the promises of the pool,
//! spelled without a look into the supervisor, but for [`Supervisor::counts`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::super::{
    Action, Config, Event, NO_ROOM_RETRY, POISON_DEATHS_MAX, Supervisor, TaskId, Terms, Verdict, WorkerId,
};

/// A promise that was broken.
pub(super) type Broken = String;

/// How often in a run what is out of the ordinary may happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) deaths: u32,
    pub(super) failed_starts: u32,
    /// Starts that say that no other is possible either.
    pub(super) bars: u32,
    pub(super) failures: u32,
    pub(super) refusals: u32,
    pub(super) cancels: u32,
    pub(super) may_cancel_all: bool,
    pub(super) may_close: bool,
    pub(super) may_kill_all: bool,
}

/// One thing that happens: to the user, in a process, or at the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    Submit,
    Cancel {
        task: TaskId,
        kill: bool,
    },
    CancelAll,
    Close,
    KillAll,
    /// A process is made, or is not.
    Start {
        worker: WorkerId,
        is_made: bool,
    },
    /// None is made, as none can be.
    Bar {
        worker: WorkerId,
    },
    Ready {
        worker: WorkerId,
    },
    /// A process takes the task in front.
    Begin {
        worker: WorkerId,
    },
    /// It has written its report, which the engine has not seen.
    Complete {
        worker: WorkerId,
        failed: bool,
    },
    /// The engine sees it.
    Deliver {
        worker: WorkerId,
    },
    /// The engine takes back its last offer, for which there was no room.
    Refuse {
        worker: WorkerId,
    },
    /// The engine tells the answer to the first revocation.
    Answer,
    /// A process ends, which the engine has not seen.
    Die {
        worker: WorkerId,
    },
    /// The engine sees it.
    Bury {
        worker: WorkerId,
    },
    Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd)]
enum Stage {
    Wanted,
    Booting,
    Ready,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Process {
    stage: Stage,
    is_ready_told: bool,
    is_retired: bool,
    is_killed: bool,
    /// When the process was made, and whether it was given up since it was not ready in time.
    started_at: Duration,
    is_late: bool,
    /// What was offered and has no report, in front what was begun if anything was.
    desk: VecDeque<TaskId>,
    has_begun: bool,
    reports: VecDeque<(TaskId, bool)>,
    refused_until: Duration,
}

impl Process {
    fn has_orders(&self) -> bool {
        !self.desk.is_empty() || !self.reports.is_empty()
    }

    fn has(&self, task: TaskId) -> bool {
        self.desk.contains(&task) || self.reports.iter().any(|&(reported, _)| reported == task)
    }

    fn running(&self) -> Option<TaskId> {
        self.desk.front().copied().filter(|_| self.has_begun)
    }
}

/// What the user knows of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Known {
    verdict: Option<Verdict>,
    is_cancel_asked: bool,
    is_kill_asked: bool,
    /// It was canceled during its present attempt.
    is_cancel_due: bool,
    /// Attempts that came to an end.
    failures: u32,
    deaths: u32,
    timeouts: u32,
    /// When its present attempt was offered.
    offered_at: Duration,
    is_report_told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) supervisor: Supervisor,
    config: Config,
    plan: Vec<Terms>,
    budget: Budget,
    now: Duration,
    wake: Option<Duration>,
    processes: BTreeMap<WorkerId, Process>,
    tasks: Vec<Known>,
    answers: VecDeque<(WorkerId, TaskId, bool)>,
    is_closed: bool,
    is_killed: bool,
    is_ended: bool,
    /// Deaths in a row of workers that were not ready, as [`Action::Storm`] counts them.
    fruitless: u32,
    /// Since the last worker that was ready: whether a start has said that none can be made, and the storm was told.
    is_barred: bool,
    is_storm_told: bool,
}

/// Asserts a promise.
macro_rules! promise {
    ($condition:expr, $($text:tt)*) => {
        if !$condition {
            return Err(format!($($text)*));
        }
    };
}

impl World {
    pub(super) fn new(config: Config, plan: Vec<Terms>, budget: Budget) -> Self {
        let mut world = Self {
            supervisor: Supervisor::new(config.clone()),
            config,
            plan,
            budget,
            now: Duration::ZERO,
            wake: None,
            processes: BTreeMap::new(),
            tasks: Vec::new(),
            answers: VecDeque::new(),
            is_closed: false,
            is_killed: false,
            is_ended: false,
            fruitless: 0,
            is_barred: false,
            is_storm_told: false,
        };
        world.tell(Event::Tick).expect("nothing has happened yet");
        world
    }

    /// All that can happen next.
    pub(super) fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.tasks.len() < self.plan.len() && !self.is_closed {
            moves.push(Move::Submit);
        }
        if !self.is_closed && self.budget.may_close {
            moves.push(Move::Close);
        }
        if self.budget.may_cancel_all {
            moves.push(Move::CancelAll);
        }
        if self.budget.may_kill_all {
            moves.push(Move::KillAll);
        }
        if self.budget.cancels > 0 {
            let open = (0u64..).zip(&self.tasks).filter(|(_, known)| known.verdict.is_none());
            moves.extend(open.flat_map(|(task, _)| [false, true].map(|kill| Move::Cancel { task, kill })));
        }
        for (&worker, process) in &self.processes {
            self.moves_of(worker, process, &mut moves);
        }
        if !self.answers.is_empty() {
            moves.push(Move::Answer);
        }
        if self.wake.is_some() {
            moves.push(Move::Tick);
        }
        moves
    }

    fn moves_of(&self, worker: WorkerId, process: &Process, moves: &mut Vec<Move>) {
        if !process.reports.is_empty() {
            moves.push(Move::Deliver { worker });
        }
        match process.stage {
            Stage::Wanted => {
                moves.push(Move::Start { worker, is_made: true });
                if self.budget.failed_starts > 0 {
                    moves.push(Move::Start { worker, is_made: false });
                }
                if self.budget.bars > 0 {
                    moves.push(Move::Bar { worker });
                }
                return;
            }
            Stage::Booting => moves.push(Move::Ready { worker }),
            Stage::Ready => {}
            Stage::Dead => {
                if process.reports.is_empty() {
                    moves.push(Move::Bury { worker });
                }
                return;
            }
        }
        if self.budget.deaths > 0 || process.is_killed || (process.is_retired && process.desk.is_empty()) {
            moves.push(Move::Die { worker });
        }
        if process.desk.is_empty() {
            return;
        }
        if !process.has_begun {
            moves.push(Move::Begin { worker });
        } else {
            moves.push(Move::Complete { worker, failed: false });
            if self.budget.failures > 0 {
                moves.push(Move::Complete { worker, failed: true });
            }
        }
        if self.budget.refusals > 0 && process.desk.len() > usize::from(process.has_begun) {
            moves.push(Move::Refuse { worker });
        }
    }

    fn process(&mut self, worker: WorkerId) -> &mut Process {
        self.processes.get_mut(&worker).expect("moves are of processes that there are")
    }

    /// Lets it happen.
    pub(super) fn apply(&mut self, a_move: Move) -> Result<(), Broken> {
        match a_move {
            Move::Submit => {
                let task = self.tasks.len() as TaskId;
                let terms = self.plan[self.tasks.len()];
                self.tasks.push(Known::default());
                self.tell(Event::Submitted { task, terms })
            }
            Move::Cancel { task, kill } => {
                self.budget.cancels -= 1;
                let known = &mut self.tasks[task as usize];
                (known.is_cancel_asked, known.is_cancel_due) = (true, true);
                known.is_kill_asked |= kill;
                self.tell(Event::CancelAsked { task, kill })
            }
            Move::CancelAll => {
                self.budget.may_cancel_all = false;
                for known in &mut self.tasks {
                    (known.is_cancel_asked, known.is_cancel_due) = (true, true);
                }
                self.tell(Event::CancelAll)
            }
            Move::Close => {
                self.is_closed = true;
                self.tell(Event::Closed)
            }
            Move::KillAll => {
                self.budget.may_kill_all = false;
                self.is_closed = true;
                self.is_killed = true;
                self.tell(Event::KillAll)
            }
            Move::Answer => self.answer(),
            Move::Tick => {
                let wake = self.wake.take().expect("it was asked for");
                self.now = self.now.max(wake);
                self.tell(Event::Tick)
            }
            Move::Start { .. }
            | Move::Bar { .. }
            | Move::Ready { .. }
            | Move::Deliver { .. }
            | Move::Refuse { .. }
            | Move::Bury { .. } => self.apply_seen(a_move),
            Move::Begin { worker } => {
                self.process(worker).has_begun = true;
                Ok(())
            }
            Move::Complete { worker, failed } => {
                self.budget.failures -= u32::from(failed);
                let process = self.process(worker);
                process.has_begun = false;
                let task = process.desk.pop_front().expect("it was begun");
                process.reports.push_back((task, failed));
                Ok(())
            }
            Move::Die { worker } => {
                let process = self.process(worker);
                let is_expected = process.is_killed || process.is_retired;
                process.stage = Stage::Dead;
                self.budget.deaths -= u32::from(!is_expected);
                Ok(())
            }
        }
    }

    fn answer(&mut self) -> Result<(), Broken> {
        let (worker, task, is_revoked) = self.answers.pop_front().expect("there is one");
        if let Some(process) = self.processes.get_mut(&worker).filter(|_| is_revoked) {
            process.refused_until = Duration::ZERO;
        }
        self.tell(Event::Revoked { worker, task, is_revoked })?;
        let known = &self.tasks[task as usize];
        promise!(!(is_revoked && known.is_cancel_due && known.verdict.is_none()), "{task} is still to be run");
        Ok(())
    }

    /// What the engine sees of a process.
    fn apply_seen(&mut self, a_move: Move) -> Result<(), Broken> {
        match a_move {
            Move::Start { worker, is_made: true } => {
                let now = self.now;
                let process = self.process(worker);
                (process.stage, process.started_at) = (Stage::Booting, now);
                self.tell(Event::Started { worker })
            }
            Move::Start { worker, .. } => {
                self.budget.failed_starts -= 1;
                self.fruitless += 1;
                self.processes.remove(&worker);
                self.tell(Event::NotStarted { worker })
            }
            Move::Bar { worker } => {
                self.budget.bars -= 1;
                self.fruitless += 1;
                self.is_barred = true;
                self.processes.remove(&worker);
                self.tell(Event::NoSource { worker })
            }
            Move::Ready { worker } => {
                let process = self.process(worker);
                process.stage = Stage::Ready;
                process.is_ready_told = true;
                // Who was given up just before is not heard any more.
                if !process.is_late {
                    (self.fruitless, self.is_barred, self.is_storm_told) = (0, false, false);
                }
                self.tell(Event::Ready { worker })
            }
            Move::Deliver { worker } => {
                let process = self.process(worker);
                let (task, failed) = process.reports.pop_front().expect("there is one");
                // What it has reported on has made room.
                process.refused_until = Duration::ZERO;
                self.tasks[task as usize].is_report_told = true;
                self.tasks[task as usize].failures += u32::from(failed);
                self.tell(Event::Finished { worker, task, failed })
            }
            Move::Refuse { worker } => {
                self.budget.refusals -= 1;
                let until = self.now + NO_ROOM_RETRY;
                let process = self.process(worker);
                process.refused_until = until;
                let task = process.desk.pop_back().expect("it was offered");
                self.tell(Event::NoRoom { worker, task })
            }
            Move::Bury { worker } => self.bury(worker),
            _ => Ok(()),
        }
    }

    fn bury(&mut self, worker: WorkerId) -> Result<(), Broken> {
        let dead = self.processes.remove(&worker).expect("it has died");
        let running = dead.running();
        let is_innocent = |task: TaskId| {
            let known = &self.tasks[task as usize];
            let is_timed_out =
                self.plan[task as usize].timeout.is_some_and(|after| self.now >= known.offered_at + after);
            known.verdict.is_none() && !known.is_kill_asked && !is_timed_out
        };
        let innocent = running.filter(|&task| dead.is_killed && is_innocent(task));
        promise!(
            innocent.is_none(),
            "worker {worker} was killed while it ran {innocent:?}, for which there was no cause"
        );
        // Whoever was killed for it did not die of it.
        if let Some(task) = running.filter(|_| !dead.is_killed) {
            self.tasks[task as usize].deaths += 1;
        }
        self.fruitless += u32::from(dead.is_late || (!dead.is_ready_told && !dead.is_killed));
        let is_ready = |process: &Process| process.is_ready_told && !process.is_retired && !process.is_killed;
        self.is_barred |= dead.is_late && !self.processes.values().any(is_ready);
        self.tell(Event::Died { worker, running })
    }

    fn tell(&mut self, event: Event) -> Result<(), Broken> {
        let mut actions = Vec::new();
        self.supervisor.handle(self.now, event, &mut actions);
        for action in actions {
            promise!(!self.is_ended, "{action:?} after the end");
            self.obey(&action).map_err(|broken| format!("{action:?}: {broken}"))?;
        }
        self.check_state()
    }

    /// Does what the supervisor says, if it may say it.
    fn obey(&mut self, action: &Action) -> Result<(), Broken> {
        match *action {
            Action::Start { worker } => self.start(worker),
            Action::Offer { worker, task } => self.offer(worker, task),
            Action::Revoke { worker, task } => self.revoke(worker, task),
            Action::Kill { worker } => self.kill(worker),
            Action::GiveUp { worker } => self.give_up(worker),
            Action::Retire { worker } => {
                let process = self.processes.get_mut(&worker).ok_or("there is no such worker")?;
                promise!(process.is_ready_told && !process.is_retired && !process.is_killed, "it is not ready");
                promise!(!process.has_orders(), "it has something to do");
                process.is_retired = true;
                Ok(())
            }
            Action::Resolve { task, ref verdict } => self.resolve(task, verdict),
            Action::Wake { at } => {
                promise!(at >= self.now, "the time is over");
                self.wake = Some(at);
                Ok(())
            }
            Action::Storm { deaths } => {
                promise!(deaths == self.fruitless, "there were {}", self.fruitless);
                promise!(!std::mem::replace(&mut self.is_storm_told, true), "it was told before");
                let are_enough = (8..=(2 * self.config.size).max(8)).contains(&deaths);
                promise!(are_enough || self.is_barred, "this is not the limit");
                Ok(())
            }
            Action::AllEnded => {
                promise!(self.is_closed && self.processes.is_empty(), "workers are left");
                promise!(self.tasks.iter().all(|known| known.verdict.is_some()), "tasks are left");
                self.is_ended = true;
                Ok(())
            }
        }
    }

    fn start(&mut self, worker: WorkerId) -> Result<(), Broken> {
        promise!(!self.is_killed, "everything ends");
        promise!(!self.processes.contains_key(&worker), "its number was used before");
        let process = Process {
            stage: Stage::Wanted,
            is_ready_told: false,
            is_retired: false,
            is_killed: false,
            started_at: Duration::ZERO,
            is_late: false,
            desk: VecDeque::new(),
            has_begun: false,
            reports: VecDeque::new(),
            refused_until: Duration::ZERO,
        };
        self.processes.insert(worker, process);
        Ok(())
    }

    fn offer(&mut self, worker: WorkerId, task: TaskId) -> Result<(), Broken> {
        let is_elsewhere = self.processes.values().any(|process| process.has(task));
        promise!(!is_elsewhere, "another worker has it");
        let known = self.tasks.get_mut(task as usize).ok_or("there is no such task")?;
        promise!(known.verdict.is_none(), "it is resolved");
        let process = self.processes.get_mut(&worker).ok_or("there is no such worker")?;
        promise!(process.is_ready_told && !process.is_retired && !process.is_killed, "the worker takes nothing");
        promise!(self.now >= process.refused_until || process.has_orders(), "its desk is full");
        let is_timed = |task: TaskId| self.plan[task as usize].timeout.is_some();
        let mut others = process.desk.iter().chain(process.reports.iter().map(|(task, _)| task));
        let is_alone = others.next().is_none();
        promise!(is_alone || !(is_timed(task) || others.any(|&task| is_timed(task))), "one of them is timed");
        process.desk.push_back(task);
        let offered = process.desk.len() + process.reports.len();
        promise!(offered <= 1 + self.config.prefetch_max as usize, "it has {offered}");
        // Answers about a former offer are told before.
        self.answers.retain(|&(_, asked, _)| asked != task);
        known.offered_at = self.now;
        known.is_report_told = false;
        known.is_cancel_due = false;
        Ok(())
    }

    fn revoke(&mut self, worker: WorkerId, task: TaskId) -> Result<(), Broken> {
        let is_anybody_idle = self.processes.values().any(|it| it.is_ready_told && !it.is_retired && !it.has_orders());
        let is_pressed = self.tasks.iter().any(|known| known.is_kill_asked && known.verdict.is_none());
        let is_canceled = self.tasks[task as usize].is_cancel_asked;
        let own = self.plan[task as usize].priority;
        let mut open = self.tasks.iter().zip(&self.plan).filter(|(known, _)| known.verdict.is_none());
        let is_overtaken = open.any(|(_, terms)| terms.priority > own);
        promise!(is_canceled || is_pressed || is_anybody_idle || is_overtaken, "nobody wants it back");
        let process = self.processes.get_mut(&worker).ok_or("there is no such worker")?;
        promise!(process.has(task), "the worker does not have it");
        let asked_twice = self.answers.iter().any(|&(other, asked, _)| (other, asked) == (worker, task));
        promise!(!asked_twice, "it was asked for already");
        let first_unbegun = usize::from(process.has_begun);
        let position = process.desk.iter().position(|&other| other == task).filter(|&at| at >= first_unbegun);
        position.map(|at| process.desk.remove(at));
        // Taken back, it is nobody's until the answer is told; the supervisor must not offer it before.
        self.answers.push_back((worker, task, position.is_some()));
        Ok(())
    }

    fn kill(&mut self, worker: WorkerId) -> Result<(), Broken> {
        let process = self.processes.get_mut(&worker).ok_or("there is no such worker")?;
        promise!(!process.is_killed, "it was killed before");
        promise!(process.stage != Stage::Wanted, "there is no process yet");
        process.is_killed = true;
        let is_cause = |&task: &TaskId| {
            let known = &self.tasks[task as usize];
            known.is_kill_asked || self.plan[task as usize].timeout.is_some_and(|it| self.now >= known.offered_at + it)
        };
        let has_cause = process.desk.iter().any(is_cause) || process.reports.iter().any(|(task, _)| is_cause(task));
        let is_overdue = process.is_retired && self.config.retire_grace.is_some();
        let is_done = self.is_closed && self.tasks.iter().all(|known| known.verdict.is_some());
        let is_useless = is_done && !process.is_ready_told;
        promise!(self.is_killed || is_overdue || is_useless || has_cause, "there is no cause");
        Ok(())
    }

    fn give_up(&mut self, worker: WorkerId) -> Result<(), Broken> {
        let process = self.processes.get_mut(&worker).ok_or("there is no such worker")?;
        promise!(!process.is_killed && !process.is_ready_told, "it was killed or ready before");
        promise!(process.stage != Stage::Wanted, "there is no process yet");
        let timeout = self.config.start_timeout.ok_or("it has all the time that it needs")?;
        promise!(self.now >= process.started_at + timeout, "its time is not over");
        (process.is_killed, process.is_late) = (true, true);
        Ok(())
    }

    fn resolve(&mut self, task: TaskId, verdict: &Verdict) -> Result<(), Broken> {
        let terms = &self.plan[task as usize];
        let known = &mut self.tasks[task as usize];
        promise!(known.verdict.is_none(), "it was resolved before");
        let attempts_now = match *verdict {
            Verdict::Completed => {
                promise!(known.is_report_told, "there is no report");
                0
            }
            Verdict::Failed { attempts } => {
                promise!(known.is_report_told && known.failures > 0, "it has not failed");
                let is_unwanted = known.is_kill_asked || terms.timeout.is_some();
                promise!(is_unwanted || attempts == terms.retries + 1, "attempts are left after {attempts}");
                promise!(attempts > 0, "it was begun");
                attempts
            }
            Verdict::Died { attempts, given_up } => {
                promise!(known.deaths > 0, "nobody died of it");
                promise!(given_up == (attempts < terms.retries + 1), "attempts are left after {attempts}: {given_up}");
                promise!(!given_up || known.deaths == POISON_DEATHS_MAX, "it has killed {} only", known.deaths);
                attempts
            }
            Verdict::TimedOut { after, attempts } => {
                promise!(Some(after) == terms.timeout && self.now >= known.offered_at + after, "its time is not over");
                promise!(attempts == terms.retries + 1, "attempts are left after {attempts}");
                attempts
            }
            Verdict::Cancelled => {
                promise!(known.is_cancel_asked, "nobody canceled it");
                0
            }
            Verdict::Terminated => {
                promise!(self.is_killed, "nobody terminated it");
                0
            }
            Verdict::NoWorkers { deaths } => {
                promise!(deaths == self.fruitless && (deaths >= 8 || self.is_barred), "{} died", self.fruitless);
                promise!(self.processes.values().all(|it| it.is_retired), "there are workers");
                0
            }
        };
        promise!(attempts_now <= terms.retries + 1, "{attempts_now} attempts of {}", terms.retries + 1);
        promise!(known.deaths <= POISON_DEATHS_MAX.min(terms.retries + 1), "it killed {} workers", known.deaths);
        known.verdict = Some(verdict.clone());
        Ok(())
    }

    /// What is so whenever an event has been handled.
    fn check_state(&self) -> Result<(), Broken> {
        let counts = self.supervisor.counts();
        let live = self.processes.values().filter(|process| !process.is_retired).count();
        promise!(live <= self.config.size as usize, "{live} workers live");
        let is_idle = |process: &Process| {
            let is_free = process.is_ready_told && !process.is_retired && !process.is_killed;
            is_free && !process.has_orders() && self.now >= process.refused_until
        };
        let awaits_answer = |worker: WorkerId| self.answers.iter().any(|&(other, ..)| other == worker);
        let idle = self.processes.iter().find(|&(&worker, process)| is_idle(process) && !awaits_answer(worker));
        promise!(counts.queued == 0 || idle.is_none(), "{idle:?} is idle, and {} tasks wait", counts.queued);
        let open = self.tasks.iter().filter(|known| known.verdict.is_none()).count();
        let counted = counts.queued + counts.delayed + counts.offered;
        promise!(counted == open, "{open} tasks are open, {counted} are known");
        promise!(self.supervisor.is_idle() == (open == 0), "whether it is idle");
        let is_spared = |process: &Process| process.stage != Stage::Wanted && !process.is_killed;
        promise!(!self.is_killed || !self.processes.values().any(is_spared), "everything was to be killed");
        let is_over = self.is_closed && open == 0 && self.processes.is_empty();
        promise!(self.is_ended == is_over, "it has ended: {}", self.is_ended);
        Ok(())
    }

    /// From now on everything goes well, but for tasks and starts that hang which somebody is to kill; whatever is left must
    /// come to its end.
    pub(super) fn settle(&self, do_hang: bool) -> Result<(), Broken> {
        self.clone().come_to_an_end(do_hang)
    }

    /// Whether somebody is to kill a task if it does not end.
    fn is_to_be_killed(&self, worker: WorkerId) -> bool {
        let task = self.processes[&worker].desk.front().map_or(0, |&task| task as usize);
        self.plan[task].timeout.is_some() || self.tasks[task].is_kill_asked
    }

    fn come_to_an_end(mut self, do_hang: bool) -> Result<(), Broken> {
        self.budget = Budget {
            deaths: 0,
            failed_starts: 0,
            bars: 0,
            failures: 0,
            refusals: 0,
            cancels: 0,
            may_cancel_all: false,
            may_close: true,
            may_kill_all: false,
        };
        let plan = self.tasks.len();
        for _ in 0..STEPS_MAX {
            // What waits for a time comes last: nothing else may depend on it.
            let moves = self.moves();
            let is_wanted = |a_move: &&Move| match a_move {
                Move::Submit | Move::Close => false,
                Move::Complete { worker, .. } if do_hang => !self.is_to_be_killed(*worker),
                Move::Ready { .. } if do_hang => self.config.start_timeout.is_none(),
                Move::Die { worker } => self.processes[worker].is_killed || self.processes[worker].is_retired,
                _ => true,
            };
            let Some(&next) = moves.iter().find(is_wanted) else { break };
            self.apply(next)?;
        }
        let open = self.tasks[..plan].iter().position(|known| known.verdict.is_none());
        promise!(open.is_none(), "task {open:?} is never resolved");
        if !self.is_closed {
            self.apply(Move::Close)?;
            return self.come_to_an_end(do_hang);
        }
        promise!(self.is_ended, "it never ends");
        Ok(())
    }
}

/// More steps than any of the small worlds takes to its end.
const STEPS_MAX: usize = 2_000;
