//! The loop: starts a server and clients, kills some of these, replaces them, and looks at what they leave; at a round's end
//! it kills the server.
//!
//! Relies on forked clients, which start in a millisecond and find the board where it was. The same seed kills the same
//! clients at the same times, as far as the system keeps time.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use procession_ipc::Address;
use procession_launch::{Context, Process};
use procession_manager::{BaseManager, DictProxy, JoinableQueueProxy, SyncManager, ValueProxy};
use procession_sys::{PidFd, Signal};
use procession_testkit::Random;

use crate::board::{Board, Common, ITEMS, Own};
use crate::client::{self, KEY, Kind, PLACES, PRODUCER, SECOND_LOCKER};
use crate::report::{Report, Verdict};
use crate::subject::Subject;

/// Clients at once.
const CLIENTS: usize = PLACES.len() + 1;

/// Clients that are killed in a round, and then the server.
const ROUND: u64 = 24;

/// The longest time between two kills.
const PAUSE_MAX: Duration = Duration::from_millis(8);

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

/// Objects of the server that are nobody's.
const COMMON_OBJECTS: u64 = 4;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orders {
    pub(crate) kills: u64,
    pub(crate) seed: u64,
}

/// A client's process, and what was wrong with it.
type Running = Process<Option<String>>;

/// One round.
struct Chase<'a> {
    context: &'a Context,
    board: Arc<Board>,
    random: Random,
    report: &'a mut Report,
    manager: SyncManager,
    clients: Vec<Running>,
    /// How often each client had done something, and when that was seen first.
    turns: [(u64, Instant); CLIENTS],
    takers_killed: u64,
}

/// Kills as many as ordered.
pub(crate) fn run<S: Subject>(orders: Orders) -> Verdict {
    Board::open();
    let mut report = Report::default();
    if let Err(error) = rounds(orders, &mut report) {
        report.failures.push(format!("round {}: {error}", report.rounds));
    }
    Board::close();
    report.finish(S::NAME, orders.seed)
}

fn rounds(orders: Orders, report: &mut Report) -> Result<(), String> {
    let context = Context::nursery().map_err(|error| error.to_string())?;
    // The same addresses again and again: one in memory that is shared, one by TCP.
    let mut addresses: [Address; 2] = ["@procession-stress-PID", "127.0.0.1:0"]
        .map(|address| address.replace("PID", &std::process::id().to_string()).parse().expect("an address"));
    while report.kills() < orders.kills {
        report.rounds += 1;
        let address = &mut addresses[(report.rounds % 2) as usize];
        let builder = BaseManager::builder().context(context.clone()).address(address.clone()).authkey(KEY);
        let manager: SyncManager = builder.start().map_err(|error| format!("no server: {error}"))?.into();
        *address = manager.address().clone();
        let (board, random) = (Board::get(), Random::new(orders.seed, report.rounds));
        board.clear();
        let turns = [(0, Instant::now()); CLIENTS];
        let clients = Vec::new();
        Chase { context: &context, board, random, report, manager, clients, turns, takers_killed: 0 }.round()?;
    }
    Ok(())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> Result<bool, String>) -> Result<Duration, String> {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > SOON {
            return Err(format!("a hang: {what} for {SOON:?}"));
        }
        thread::yield_now();
    }
    Ok(begun.elapsed())
}

impl Chase<'_> {
    fn round(mut self) -> Result<(), String> {
        let (counts, jobs) = (self.manager.dict::<u64, u64>(), self.manager.joinable_queue::<u64>());
        let (lock, number) = (self.manager.lock(), self.manager.value(0_u64));
        let (counts, jobs, number) = (counts.map_err(text)?, jobs.map_err(text)?, number.map_err(text)?);
        self.manager.publish("counts", &counts).map_err(text)?;
        self.manager.publish("jobs", &jobs).map_err(text)?;
        self.manager.publish("lock", &lock.map_err(text)?).map_err(text)?;
        self.manager.publish("number", &number).map_err(text)?;
        for place in 0..CLIENTS {
            self.start(place)?;
        }
        for _ in 0..ROUND {
            let pause = self.random.time(PAUSE_MAX);
            thread::park_timeout(pause); // It is to happen at any time.
            self.kill_one()?;
            self.watch()?;
        }
        self.finish(&jobs)?;
        self.judge(&counts, &jobs, &number)?;
        self.kill_server()
    }

    fn start(&mut self, place: usize) -> Result<(), String> {
        let client = self.context.start(client::run, (place as u64, self.manager.address().clone())).map_err(text)?;
        self.turns[place].1 = Instant::now();
        self.clients.insert(place, client);
        Ok(())
    }

    /// Kills a client, sees that it is gone for the server, and replaces it.
    fn kill_one(&mut self) -> Result<(), String> {
        let place = self.random.below(CLIENTS as u64) as usize;
        let client = self.clients.remove(place);
        let (pid, kind) = (client.pid(), Kind::at(place));
        client.kill().map_err(text)?;
        if let Ok(Some(wrong)) = client.join() {
            return Err(format!("a client {}: {wrong}", kind.name()));
        }
        let manager = &self.manager;
        let is_gone = || Ok(manager.clients().map_err(text)?.iter().all(|client| client.pid != pid));
        let after = until("a dead client is a client", is_gone)?;
        self.report.gone_after = self.report.gone_after.max(after);
        *self.report.clients.entry(kind).or_default() += 1;
        self.takers_killed += u64::from(kind == Kind::Takes);
        self.start(place)
    }

    /// Sees that everybody goes on.
    fn watch(&mut self) -> Result<(), String> {
        for (place, (turns, seen)) in self.turns.iter_mut().enumerate() {
            let now = self.board.count(place, Own::Turns);
            if now != *turns {
                (*turns, *seen) = (now, Instant::now());
            } else if seen.elapsed() > SOON {
                return Err(format!("a hang: a client has done nothing for {SOON:?} {}", Kind::at(place).name()));
            }
        }
        Ok(())
    }

    /// Has all clients end, those that take when there is nothing left to take.
    fn finish(&mut self, jobs: &JoinableQueueProxy<u64>) -> Result<(), String> {
        self.board.common(Common::Stop).store(1, SeqCst);
        let (takers, others): (Vec<_>, Vec<_>) =
            self.clients.drain(..).enumerate().partition(|(place, _)| Kind::at(*place) == Kind::Takes);
        others.into_iter().try_for_each(|(place, client)| end(place, client))?;
        jobs.join_timeout(SOON).map_err(|error| format!("a hang: items are left: {error}"))?;
        self.board.common(Common::Drained).store(1, SeqCst);
        takers.into_iter().try_for_each(|(place, client)| end(place, client))?;
        let manager = &self.manager;
        let is_quiet = || {
            let left = manager.number_of_objects().map_err(text)?;
            Ok(left == COMMON_OBJECTS && manager.clients().map_err(text)?.len() == 1)
        };
        until("what clients had is left", is_quiet).map(drop)
    }

    /// Sees that what was acknowledged has happened, and what was not tried has not.
    fn judge(
        &mut self,
        counts: &DictProxy<u64, u64>,
        jobs: &JoinableQueueProxy<u64>,
        number: &ValueProxy<u64>,
    ) -> Result<(), String> {
        for place in (0..CLIENTS).filter(|place| Kind::at(*place) == Kind::Counts) {
            let count = counts.get(&(place as u64)).map_err(text)?.unwrap_or(0);
            self.weigh("updates", &[place], count)?;
        }
        self.weigh("changes under a lock", &[SECOND_LOCKER - 1, SECOND_LOCKER], number.get().map_err(text)?)?;
        let intruders = self.board.common(Common::Intruders).load(SeqCst);
        if intruders > 0 {
            return Err(format!("{intruders} times two were within one lock"));
        }
        let done: Vec<u64> = (0..ITEMS).map(|item| self.board.item(item).load(SeqCst)).collect();
        let distinct = done.iter().filter(|count| **count > 0).count() as u64;
        self.weigh("items", &[PRODUCER], distinct)?;
        let twice = done.iter().sum::<u64>() - distinct;
        if twice > self.takers_killed {
            return Err(format!("{twice} items were done twice, and {} who take have died", self.takers_killed));
        }
        self.report.twice += twice;
        if !jobs.is_empty().map_err(text)? {
            return Err("items are left".to_owned());
        }
        Ok(())
    }

    /// What there is must be at least what was acknowledged, and no more than what was tried.
    fn weigh(&mut self, what: &str, places: &[usize], there: u64) -> Result<(), String> {
        let sum = |own| places.iter().map(|place| self.board.count(*place, own)).sum::<u64>();
        let (tried, acknowledged) = (sum(Own::Tried), sum(Own::Acknowledged));
        *self.report.done.entry(Kind::at(places[0])).or_default() += acknowledged;
        if (acknowledged..=tried).contains(&there) {
            return Ok(());
        }
        Err(format!("there are {there} {what}; {tried} were tried, and {acknowledged} acknowledged"))
    }

    /// Kills the server, which all its clients are told at once.
    fn kill_server(mut self) -> Result<(), String> {
        let board = Arc::clone(&self.board);
        board.clear();
        for place in 0..CLIENTS {
            self.start(place)?;
        }
        let pause = self.random.time(PAUSE_MAX);
        thread::park_timeout(pause); // It is to happen at any time.
        board.common(Common::Killed).store(1, SeqCst);
        let pid = self.manager.pid().ok_or("the server is another's")?;
        PidFd::open(pid).and_then(|server| server.send(Signal::KILL)).map_err(text)?;
        let begun = Instant::now();
        self.clients.drain(..).enumerate().try_for_each(|(place, client)| end(place, client))?;
        self.report.told_after = self.report.told_after.max(begun.elapsed());
        self.report.servers += 1;
        match self.manager.number_of_objects() {
            Ok(_) => Err("a dead server answers".to_owned()),
            Err(_) => Ok(()),
        }
    }
}

/// Waits for a client's end.
fn end(place: usize, client: Running) -> Result<(), String> {
    let name = Kind::at(place).name();
    if client.wait_timeout(SOON).map_err(text)?.is_none() {
        let _ = client.kill();
        return Err(format!("a hang: a client {name} does not end"));
    }
    match client.join().map_err(text)? {
        Some(wrong) => Err(format!("a client {name}: {wrong}")),
        None => Ok(()),
    }
}
