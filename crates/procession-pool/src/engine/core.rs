//! All that a pool knows, behind one lock: the supervisor's state, the workers, the tasks.
//!
//! Relies on the [`Supervisor`] for every decision: what is here tells it what happens and does what it says. Nothing here
//! waits for a worker.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use procession_boot::FunctionId;
use procession_sys::{Epoll, Interest};

use super::entries::{Entries, Entry};
use super::member::{LastWords, Member, Offer};
use super::starting::Launched;
use crate::call::{Call, Failure, Fault, Reply};
use crate::cell::{Backend, Outcome, Promise};
use crate::desk::{Desk, Listener, NotDrained, NotOffered, ORDER_BYTES_MAX, Parcel, Readiness};
use crate::error::TaskError;
use crate::map::CHUNK_BYTES_MAX;
use crate::record::Log;
use crate::supervisor::{Action, Config, Event, Supervisor, TaskId, Terms, Verdict, WorkerId};
use crate::task::Task;
use crate::worker::{AS_NUMBERS, heading};

/// Arguments that are longer go as a parcel; a map's chunk does not, whose last item may be somewhat longer than the chunk.
const INLINE_MAX: usize = 48 << 10;

const _: () = assert!(INLINE_MAX > CHUNK_BYTES_MAX && INLINE_MAX + FunctionId::BYTES <= ORDER_BYTES_MAX);

/// The state.
pub(super) struct Core {
    pub(super) supervisor: Supervisor,
    begun: Instant,
    entries: Entries,
    pub(super) members: BTreeMap<WorkerId, Member>,
    /// Workers that are to be started.
    pub(super) starts: Vec<WorkerId>,
    /// Whether a thread is at it.
    pub(super) is_starting: bool,
    /// What has become of starts, for the background thread to take in.
    pub(super) launched: Vec<(WorkerId, Launched)>,
    /// Tasks whose ends are to be told as soon as the lock is not held.
    pub(super) settled: Vec<(Promise, Outcome)>,
    /// When the supervisor wants to be told the time.
    pub(super) wake: Option<Duration>,
    /// Whose bell workers are to ring; nobody's while somebody looks all the time.
    pub(super) listener: Option<Listener>,
    /// Threads that wait while another one drives.
    line: VecDeque<Thread>,
    /// How often a task was submitted, or a thread has stopped to drive.
    activity: u64,
    /// The same when the background thread went to rest.
    seen_activity: u64,
    is_dozing: bool,
    /// Since when the background thread has seen nothing to do.
    pub(super) idle_since: Option<Duration>,
    /// The workers that may spin, the one that had something to do last at the end.
    spinners: VecDeque<WorkerId>,
    spinners_max: usize,
    /// When the background thread wakes by itself.
    pub(super) background_wakes: Option<Duration>,
    /// True while a thread that waits for a result drives.
    pub(super) is_driven: bool,
    pub(super) has_ended: bool,
    /// What the last worker that could not work, or died, said.
    pub(super) last_words: Option<LastWords>,
    actions: Vec<Action>,
    /// Workers that were offered something, and are to be woken when all is done that is to be done at once: one that is fast
    /// would be through with each offer before the next, and sleep in between.
    offered: Vec<WorkerId>,
    /// Memory for the workers that have something to tell.
    news: Vec<WorkerId>,
    /// What the supervisor was told and has said, if that is wanted.
    pub(super) log: Option<Log>,
    /// What the verdict on a task of the worker that just died is told.
    death: Option<(TaskError, Option<Offer>)>,
    /// Replies of tasks that the supervisor is just told have finished.
    finished: Option<Offer>,
    /// The pool's descriptors that wake the background thread: workers' lives.
    pub(super) watched: Arc<Epoll>,
    /// How long a worker may take to be ready.
    start_timeout: Option<Duration>,
}

/// How the background thread rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// Another thread drives.
    Driven,
    /// It looks again soon, and nobody rings.
    Doze,
    /// Until a worker rings.
    Sleep,
}

/// How the background thread is told that its own bell has rung; workers' numbers are less.
pub(super) const BELL: u64 = u64::MAX;

impl Core {
    pub(super) fn new(config: Config, watched: Arc<Epoll>, processors: usize) -> Self {
        let start_timeout = config.start_timeout;
        Self {
            start_timeout,
            supervisor: Supervisor::new(config),
            begun: Instant::now(),
            entries: Entries::default(),
            members: BTreeMap::new(),
            starts: Vec::new(),
            is_starting: false,
            launched: Vec::new(),
            settled: Vec::new(),
            wake: None,
            listener: Some(Listener::Background),
            line: VecDeque::new(),
            activity: 0,
            seen_activity: 0,
            is_dozing: false,
            idle_since: None,
            spinners: VecDeque::new(),
            spinners_max: processors.saturating_sub(1),
            background_wakes: None,
            is_driven: false,
            has_ended: false,
            last_words: None,
            actions: Vec::new(),
            offered: Vec::new(),
            news: Vec::new(),
            log: None,
            death: None,
            finished: None,
            watched,
        }
    }

    /// The time as the supervisor knows it.
    pub(super) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Tells the supervisor, and does what it says.
    pub(super) fn tell(&mut self, event: Event) {
        let now = self.now();
        let mut actions = mem::take(&mut self.actions);
        self.handle(now, event, &mut actions);
        let mut at = 0;
        while let Some(action) = actions.get(at).cloned() {
            at += 1;
            if let Some(answer) = self.act(action, now) {
                self.handle(now, answer, &mut actions);
            }
        }
        actions.clear();
        self.actions = actions;
    }

    #[inline]
    fn handle(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) {
        match &mut self.log {
            None => self.supervisor.handle(now, event, actions),
            Some(log) => {
                let (before, noted) = (actions.len(), event.clone());
                self.supervisor.handle(now, event, actions);
                log.note(now, &noted, &actions[before..]);
            }
        }
    }

    /// Does what the supervisor says, and gives the answer that it wants.
    fn act(&mut self, action: Action, now: Duration) -> Option<Event> {
        match action {
            Action::Start { worker } => self.starts.push(worker),
            Action::Offer { worker, task } => return self.offer(worker, task, now),
            Action::Revoke { worker, task } => return Some(self.revoke(worker, task)),
            Action::Kill { worker } => {
                if let Some(member) = self.members.get(&worker) {
                    let _ = member.process.kill(); // It has ended, then.
                }
            }
            Action::GiveUp { worker } => {
                if let Some(member) = self.members.get_mut(&worker) {
                    member.is_late = true;
                    let _ = member.process.kill(); // It has ended, then.
                }
            }
            Action::Retire { worker } => {
                if let Some(member) = self.members.get_mut(&worker) {
                    member.desk.retire();
                }
            }
            Action::Resolve { task, verdict } => self.resolve(task, verdict),
            Action::Wake { at } => self.wake = Some(at),
            Action::Storm { deaths } => {
                let last = self.last_words.as_ref().map(ToString::to_string).unwrap_or_default();
                tracing::error!(deaths, last, "workers cannot be started, or end before they can work");
            }
            Action::AllEnded => self.has_ended = true,
        }
        None
    }

    /// Takes a new task.
    pub(super) fn submit(&mut self, task: Task, backend: Arc<dyn Backend>) -> TaskId {
        let Task { call, options, promise, .. } = task;
        let (priority, items, timeout) = (options.priority, options.items, options.timeout());
        let terms = Terms { priority, items, timeout, retries: options.retries(), backoff: options.backoff() };
        let id = self.entries.insert(Entry::new(call, promise));
        if let Some(entry) = self.entries.get(id) {
            entry.promise.set_backend(backend, id);
        }
        self.activity += 1;
        self.tell(Event::Submitted { task: id, terms });
        id
    }

    /// Cancels a task; true if it is cancelled, or will be.
    pub(super) fn cancel(&mut self, task: TaskId, kill: bool) -> bool {
        if self.entries.get(task).is_none() {
            return false;
        }
        self.tell(Event::CancelAsked { task, kill });
        kill || self.entries.get(task).is_none()
    }

    pub(super) fn is_running(&self, task: TaskId) -> bool {
        let offer = |member: &Member| member.offers.iter().find(|offer| offer.task == task).map(|offer| offer.seq);
        self.members.values().any(|member| offer(member).is_some_and(|seq| member.desk.has_begun(seq)))
    }

    fn offer(&mut self, worker: WorkerId, task: TaskId, now: Duration) -> Option<Event> {
        let (Some(member), Some(entry)) = (self.members.get_mut(&worker), self.entries.get(task)) else {
            return Some(Event::NoRoom { worker, task });
        };
        let heading = heading(entry.function());
        let (arguments, descriptors) = entry.arguments();
        let said_before = member.said(now);
        listen(&member.desk, self.listener); // Before it has anything to tell: it may be done at once.
        let offered = if entry.has_numbers() {
            member.desk.offer(&[&heading, AS_NUMBERS], Some(Parcel { body: arguments, descriptors: &[] }))
        } else if descriptors.is_empty() && arguments.len() <= INLINE_MAX {
            member.desk.offer(&[&heading, arguments], None)
        } else {
            member.desk.offer(&[&heading], Some(Parcel { body: arguments, descriptors: &descriptors }))
        };
        match offered {
            Ok(seq) => {
                member.offers.push_back(Offer { seq, task, said_before, reply: Reply::default() });
                if !self.offered.contains(&worker) {
                    self.offered.push(worker);
                }
                self.let_spin(worker);
                None
            }
            Err(NotOffered::NoRoom) => Some(Event::NoRoom { worker, task }),
            Err(NotOffered::Gone) => {
                member.desk.retire(); // If it has not died, it has closed its link, and is to end.
                Some(Event::NoRoom { worker, task })
            }
            Err(NotOffered::Corrupt(_)) => {
                let _ = member.process.kill();
                Some(Event::NoRoom { worker, task })
            }
            Err(NotOffered::System(error)) => {
                let fault = Fault::here(Failure::Arguments(format!("they cannot be sent: {error}")));
                self.finished = Some(Offer::refused(task, &fault));
                Some(Event::Finished { worker, task, failed: true })
            }
        }
    }

    /// Wakes the workers that were offered something since the last time.
    pub(super) fn wake_offered(&mut self) {
        for worker in self.offered.drain(..) {
            if let Some(member) = self.members.get(&worker) {
                member.desk.wake();
            }
        }
    }

    /// Lets a worker that has something to do spin for a while when it has nothing any more, instead of the one that had
    /// something to do the longest time ago: one processor is left to others.
    fn let_spin(&mut self, worker: WorkerId) {
        if self.spinners.back() == Some(&worker) {
            return;
        }
        self.spinners.retain(|&other| other != worker);
        self.spinners.push_back(worker);
        if self.spinners.len() > self.spinners_max
            && let Some(other) = self.spinners.pop_front()
        {
            self.set_spinning(other, false);
        }
        let may_spin = self.spinners.back() == Some(&worker);
        self.set_spinning(worker, may_spin);
    }

    fn set_spinning(&mut self, worker: WorkerId, may_spin: bool) {
        if let Some(member) = self.members.get_mut(&worker) {
            member.desk.let_spin(may_spin);
        }
    }

    fn revoke(&mut self, worker: WorkerId, task: TaskId) -> Event {
        let is_revoked = self.members.get_mut(&worker).is_some_and(|member| {
            let Some(at) = member.offers.iter().position(|offer| offer.task == task) else { return false };
            let is_revoked = member.desk.revoke(member.offers[at].seq);
            if is_revoked {
                member.offers.remove(at);
            }
            is_revoked
        });
        Event::Revoked { worker, task, is_revoked }
    }

    fn resolve(&mut self, task: TaskId, verdict: Verdict) {
        let Some(entry) = self.entries.remove(task) else { return };
        let (call, promise) = entry.into_parts();
        let finished = self.finished.take_if(|offer| offer.task == task);
        let outcome = match (verdict, finished) {
            (Verdict::Completed, Some(offer)) => Outcome::Returned(offer.reply),
            (Verdict::Failed { attempts }, Some(offer)) => Outcome::Returned(offer.reply.after(attempts)),
            (verdict, _) => self.failure(task, verdict, call),
        };
        self.settled.push((promise, outcome));
    }

    fn failure(&mut self, task: TaskId, verdict: Verdict, call: Call) -> Outcome {
        let cause = self.death.as_ref().map(|(cause, _)| cause.clone());
        let interrupted = self.death.as_mut().and_then(|(_, offer)| offer.take_if(|offer| offer.task == task));
        let partial = interrupted.map(|offer| offer.reply);
        let pid = cause.as_ref().and_then(TaskError::pid).unwrap_or_default();
        let error = match verdict {
            Verdict::Completed | Verdict::Failed { .. } | Verdict::Terminated => TaskError::Terminated,
            Verdict::Cancelled => TaskError::Cancelled,
            Verdict::Died { attempts, given_up } => {
                cause.map_or(TaskError::Terminated, |cause| cause.after(attempts).given_up(given_up))
            }
            Verdict::TimedOut { after, attempts } => TaskError::TimedOut { after, pid, attempts },
            Verdict::NoWorkers { deaths } => {
                let last = self.last_words.as_ref().map(ToString::to_string).unwrap_or_default();
                TaskError::NoWorkers { deaths, last }
            }
        };
        Outcome::Failed { error, partial, call: Some(call) }
    }

    /// Takes what the workers have reported; true if there was anything.
    pub(super) fn look(&mut self) -> bool {
        self.look_where(Member::has_news)
    }

    /// The same where a task has ended, for who looks all the time: to look for less would slow workers down.
    pub(super) fn look_for_ends(&mut self) -> bool {
        self.look_where(Member::has_finished)
    }

    fn look_where(&mut self, has_news: impl Fn(&mut Member) -> bool) -> bool {
        let mut news = mem::take(&mut self.news);
        let with_news = |(&worker, member): (&WorkerId, &mut Member)| has_news(member).then_some(worker);
        news.extend(self.members.iter_mut().filter_map(with_news));
        let mut any = false;
        for worker in news.drain(..) {
            any |= self.look_at(worker);
        }
        self.news = news;
        any
    }

    fn look_at(&mut self, worker: WorkerId) -> bool {
        let Some(member) = self.members.get_mut(&worker) else { return false };
        if let Err(NotDrained::Corrupt(corrupt)) = member.drain() {
            // What its memory says makes no sense, so nothing that it does would.
            tracing::error!(worker = member.process.name(), %corrupt, "a worker is ended");
            let _ = member.process.kill();
            return false;
        }
        let mut any = false;
        if !member.is_ready && member.desk.readiness() == Readiness::Ready {
            (member.is_ready, any) = (true, true);
            self.tell(Event::Ready { worker });
        }
        while let Some(offer) = self.members.get_mut(&worker).and_then(Member::finished) {
            any = true;
            let (task, failed) = (offer.task, offer.has_failed());
            self.finished = Some(offer);
            self.tell(Event::Finished { worker, task, failed });
            self.finished = None;
        }
        any
    }

    /// Has workers give back what they keep for large arguments, once none have come for a while; true if that is to be tried
    /// later.
    pub(super) fn give_memory_back(&mut self) -> bool {
        self.members.values_mut().fold(false, |later, member| later | !member.desk.give_memory_back())
    }

    /// True if a worker keeps memory for large arguments.
    pub(super) fn keeps_memory(&self) -> bool {
        self.members.values().any(|member| member.desk.keeps_memory())
    }

    /// True if a worker is to tell something.
    pub(super) fn is_expecting(&self) -> bool {
        self.members.values().any(Member::is_expected)
    }

    /// How the background thread is to rest.
    pub(super) fn rest(&mut self) -> Rest {
        self.is_dozing = !self.is_driven && self.activity != self.seen_activity;
        if self.activity != self.seen_activity {
            (self.seen_activity, self.idle_since) = (self.activity, None);
        }
        match (self.is_driven, self.is_dozing) {
            (true, _) => Rest::Driven,
            (_, true) => {
                self.listen(None);
                Rest::Doze
            }
            _ => Rest::Sleep,
        }
    }

    /// No thread drives any more. True if the background thread is to look at once.
    pub(super) fn stop_driving(&mut self) -> bool {
        self.is_driven = false;
        self.activity += 1;
        if let Some(next) = self.line.pop_front() {
            next.unpark();
        }
        if self.is_dozing {
            self.listen(None);
            return false;
        }
        self.listen(Some(Listener::Background));
        self.has_news()
    }

    /// This thread drives next, or the one after that.
    pub(super) fn stand_in_line(&mut self) {
        let me = thread::current();
        if self.line.iter().all(|other| other.id() != me.id()) {
            self.line.push_back(me);
        }
    }

    /// This thread does not wait any more.
    pub(super) fn leave_line(&mut self) {
        if !self.line.is_empty() {
            let me = thread::current().id();
            self.line.retain(|other| other.id() != me);
        }
    }

    /// Somebody is to be told of ends who does not drive: not even the background thread may doze over them. True if it is to
    /// look at once.
    pub(super) fn attend(&mut self) -> bool {
        if self.is_driven {
            return false;
        }
        self.listen(Some(Listener::Background));
        self.has_news()
    }

    /// Asks the workers that something is expected from to ring for whoever is to listen.
    pub(super) fn listen(&mut self, listener: Option<Listener>) {
        self.listener = listener;
        for member in self.members.values().filter(|member| member.is_expected()) {
            listen(&member.desk, listener);
        }
    }

    /// Takes in a worker that was started.
    pub(super) fn started(&mut self, worker: WorkerId, member: Member) {
        if self.watched.add(&member, u64::from(worker), Interest::Read).is_err() {
            let _ = member.process.kill(); // A worker whose death nobody would hear of is no worker.
            self.tell(Event::NotStarted { worker });
            return;
        }
        listen(&member.desk, self.listener);
        self.members.insert(worker, member);
        self.tell(Event::Started { worker });
        self.look_at(worker); // It may have been ready before it was to ring.
    }

    /// A worker has ended.
    pub(super) fn died(&mut self, worker: WorkerId) {
        self.look_at(worker);
        let Some(mut member) = self.members.remove(&worker) else { return };
        self.spinners.retain(|&other| other != worker);
        let _ = self.watched.remove(member.as_fd());
        let interrupted = member.interrupted();
        let running = interrupted.as_ref().map(|offer| offer.task);
        let (refusal, pid) = (member.refusal(), member.process.pid());
        let (is_ready, is_late) = (member.is_ready, member.is_late);
        let cause = member.cause_of_death(interrupted.as_ref().map_or(0, |offer| offer.said_before));
        let cause = refusal.unwrap_or_else(|| if is_ready { cause } else { cause.after(0) });
        self.last_words = Some(match (is_late, self.start_timeout) {
            (true, Some(after)) => LastWords::Late { pid, after, stderr: cause.stderr().cloned() },
            _ => LastWords::Died(cause.clone()),
        });
        self.death = Some((cause, interrupted));
        self.tell(Event::Died { worker, running });
        self.death = None;
    }

    /// True if a worker has reported something that was not taken in.
    fn has_news(&mut self) -> bool {
        self.members.values_mut().any(Member::has_news)
    }

    /// True if the supervisor wants to be told the time earlier than the background thread wakes.
    pub(super) fn has_sooner_wake(&self) -> bool {
        self.wake.is_some_and(|wake| self.background_wakes.is_none_or(|background| wake < background))
    }
}

/// Has a worker ring that bell.
fn listen(desk: &Desk, listener: Option<Listener>) {
    match listener {
        Some(listener) => desk.listen(listener),
        None => desk.stop_listening(),
    }
}
