//! The threads of a server: one leads, which is to wait for requests, to read them and to carry them out; others stand by.
//!
//! Relies on epoll for what all connections have to say, and on the connections' memory for what they have said already. A
//! request is carried out by whoever leads, because handing it to another thread takes longer than most take. When one takes
//! longer than a [`TICK`], another thread leads from then on, and the first stands by when it is done.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use procession_ipc::wait::Source;
use procession_ipc::{AcceptError, Connection, Listener, RecvError, Waitable};
use procession_sys::{Deadline, Epoll, Interest};

use super::{Client, Server};
use crate::frame::{Frame, Request};
use crate::remote::{Hello, Welcome, greeting, read_greeting};

/// How long a request may take before another thread leads.
const TICK: Duration = Duration::from_millis(1);

/// How many ticks the thread that keeps the time looks on while nothing is carried out, before it rests.
const TICKS_AWAKE: u32 = 10;

/// How many threads a server has at most: so many calls may take long at once.
pub const THREADS_MAX: usize = 256;

/// How long a thread stands by without anything to do.
const STANDBY_TIME: Duration = Duration::from_secs(10);

/// How long who leads looks at connections before it sleeps: less than a sleep and a wake-up take.
const AWAKE_TIME: Duration = Duration::from_micros(50);

/// How many requests of one client are carried out before another client's turn.
const BURST: usize = 16;

/// What the listener is called among what is watched; clients' numbers are others.
const LISTENER: u64 = 0;

/// How long who connects may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);

/// How long who leads sleeps at most: whoever was killed when it was to ring is noticed then.
const RECHECK: Duration = Duration::from_millis(50);

/// The kernel is asked each so many looks at memory, which cost less.
const LOOKS_A_POLL: u32 = 32;

/// How many clients a server has at most.
pub const CLIENTS_MAX: usize = 4096;

/// Who leads, and who stands by.
pub(super) struct Seat {
    /// What only who leads may touch. It is let go of while a request is carried out.
    lead: Mutex<Lead>,
    /// Even while who leads reads, odd while it carries out a request; each request is two more.
    turn: AtomicU64,
    standby: Mutex<Standby>,
    called: Condvar,
    /// Told when the server ends.
    ended: Condvar,
    timekeeper: Mutex<Option<Thread>>,
    /// Whether the thread that keeps the time is to be woken.
    rests: AtomicBool,
    has_ended: AtomicBool,
}

/// Who is connected, and who of them has something to say.
struct Lead {
    watched: Epoll,
    clients: HashMap<u64, Arc<Client>>,
    /// Those that have connected and not greeted yet.
    strangers: HashMap<u64, Stranger>,
    /// Who is read from next, and how many requests in a row were.
    ready: VecDeque<(Arc<Client>, usize)>,
    /// When there was something last.
    busy: Instant,
    /// When the kernel was asked last, and what is due by time was done.
    polled: Instant,
    /// How often nobody had anything to say since.
    looks: u32,
    next_number: u64,
    /// How many requests have come.
    requests: u64,
}

/// A request that is to be carried out.
struct Next {
    client: Arc<Client>,
    frame: Frame,
    /// Its number.
    number: u64,
}

struct Stranger {
    connection: Connection<Frame, Frame>,
    since: Instant,
}

#[derive(Default)]
struct Standby {
    jobs: VecDeque<Job>,
    idle: usize,
    threads: usize,
}

enum Job {
    Lead,
    /// Answers wait for this client.
    Flush(Arc<Client>),
    /// This client is gone, and what it held may take long to drop.
    Part(Arc<Client>),
}

thread_local! {
    /// The server that this thread works for.
    static SERVER: RefCell<Option<Arc<Server>>> = const { RefCell::new(None) };
}

thread_local! {
    /// Whose request this thread carries out, and its number, until the request has its place in an object's line.
    static REQUEST: RefCell<Option<(Arc<Client>, u64)>> = const { RefCell::new(None) };
}

/// Says that the request which this thread carries out has its place: what its client asks next cannot overtake it any more.
pub(crate) fn is_in_place() {
    if let Some((client, request)) = REQUEST.take() {
        client.let_go_on(request);
    }
}

/// The server that this thread works for.
pub(crate) fn own_server() -> Option<Arc<Server>> {
    SERVER.with_borrow(Clone::clone)
}

/// Has a thread aside send what a client is to be told.
pub(super) fn aside(client: &Arc<Client>) {
    match own_server() {
        Some(server) => server.seat.give(&server, Job::Flush(Arc::clone(client))),
        None => client.flush(),
    }
}

impl Seat {
    pub(super) fn new(listener: &Listener) -> io::Result<Self> {
        let lead = Lead::new()?;
        lead.watched.add(listener.watch().fd, LISTENER, Interest::Read)?;
        Ok(Self {
            lead: Mutex::new(lead),
            turn: AtomicU64::new(0),
            standby: Mutex::default(),
            called: Condvar::new(),
            ended: Condvar::new(),
            timekeeper: Mutex::default(),
            rests: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
        })
    }

    /// Leads, and has others lead, until the server ends.
    pub(super) fn run(&self, server: &Arc<Server>) -> io::Result<()> {
        let timed = Arc::clone(server);
        let timekeeper =
            thread::Builder::new().name("manager-time".into()).spawn(move || timed.seat.keep_time(&timed))?;
        *self.timekeeper.lock() = Some(timekeeper.thread().clone());
        SERVER.set(Some(Arc::clone(server)));
        self.lead(server);
        // Another thread may lead by now.
        let mut standby = self.standby.lock();
        while !self.has_ended() {
            self.ended.wait(&mut standby);
        }
        drop(standby);
        SERVER.set(None);
        timekeeper.thread().unpark();
        let _ = timekeeper.join();
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    fn end(&self) {
        self.has_ended.store(true, Ordering::Release);
        drop(self.standby.lock()); // Whoever looked before this was set waits by now.
        self.called.notify_all();
        self.ended.notify_all();
    }

    /// Reads requests and carries them out, until another thread leads or the server ends.
    fn lead(&self, server: &Arc<Server>) {
        while !server.is_ending() {
            let next = self.lead.lock().next(server);
            if let Some(next) = next
                && !self.carry_out(server, next)
            {
                return;
            }
        }
        self.end();
    }

    /// Carries out a request; false if another thread leads when it is done.
    fn carry_out(&self, server: &Arc<Server>, Next { client, frame, number }: Next) -> bool {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) + 1;
        if self.rests.load(Ordering::SeqCst)
            && let Some(timekeeper) = &*self.timekeeper.lock()
        {
            timekeeper.unpark();
        }
        REQUEST.set(Some((Arc::clone(&client), number)));
        client.wait_for_reading();
        match Request::read(frame) {
            Ok(request) => server.handle(&client, request),
            Err(malformed) => client.expel(&malformed),
        }
        is_in_place();
        self.turn.compare_exchange(turn, turn + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Looks whether a request takes long, and has another thread lead then.
    fn keep_time(&self, server: &Arc<Server>) {
        let (mut seen, mut quiet) = (0, 0);
        while !self.has_ended() {
            let turn = self.turn.load(Ordering::SeqCst);
            let is_carried_out = turn % 2 == 1;
            if is_carried_out && turn == seen {
                let is_taken = self.turn.compare_exchange(turn, turn + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok();
                if is_taken {
                    self.give(server, Job::Lead);
                }
            }
            quiet = if is_carried_out || turn != seen { 0 } else { quiet + 1 };
            seen = turn;
            if quiet < TICKS_AWAKE {
                thread::park_timeout(TICK);
            } else {
                self.rest(turn);
            }
        }
    }

    /// Sleeps until a request is carried out.
    fn rest(&self, turn: u64) {
        self.rests.store(true, Ordering::SeqCst);
        while self.turn.load(Ordering::SeqCst) == turn && !self.has_ended() {
            thread::park();
        }
        self.rests.store(false, Ordering::SeqCst);
    }

    /// Gives a thread that stands by something to do.
    fn give(&self, server: &Arc<Server>, job: Job) {
        let mut standby = self.standby.lock();
        standby.jobs.push_back(job);
        if standby.idle >= standby.jobs.len() || standby.threads >= THREADS_MAX {
            drop(standby);
            self.called.notify_one();
            return;
        }
        standby.threads += 1;
        drop(standby);
        let worker = Arc::clone(server);
        let spawned = thread::Builder::new().name("manager".into()).spawn(move || {
            SERVER.set(Some(Arc::clone(&worker)));
            worker.seat.stand_by(&worker);
            SERVER.set(None);
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "a server cannot start another thread");
            self.standby.lock().threads -= 1;
        }
    }

    fn stand_by(&self, server: &Arc<Server>) {
        while let Some(job) = self.next_job() {
            match job {
                Job::Lead => self.lead(server),
                Job::Flush(client) => client.flush(),
                Job::Part(client) => server.farewell(&client),
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut standby = self.standby.lock();
        loop {
            if let Some(job) = standby.jobs.pop_front() {
                return Some(job);
            }
            standby.idle += 1;
            let is_late = self.has_ended() || self.called.wait_for(&mut standby, STANDBY_TIME).timed_out();
            standby.idle -= 1;
            if (is_late && standby.jobs.is_empty()) || self.has_ended() {
                standby.threads -= 1;
                return None;
            }
        }
    }
}

impl Lead {
    fn new() -> io::Result<Self> {
        Ok(Self {
            watched: Epoll::new()?,
            clients: HashMap::new(),
            strangers: HashMap::new(),
            ready: VecDeque::new(),
            busy: Instant::now(),
            polled: Instant::now(),
            looks: 0,
            next_number: LISTENER + 1,
            requests: 0,
        })
    }

    /// The next request; none if there is none for a moment.
    fn next(&mut self, server: &Arc<Server>) -> Option<Next> {
        if self.ready.is_empty() {
            self.gather(server);
        }
        // While some always have something to say, others connect, and times come, all the same.
        if self.busy.saturating_duration_since(self.polled) > TICK {
            self.poll(server, false);
        }
        while let Some((client, burst)) = self.ready.pop_front() {
            if client.is_held_up() {
                continue; // Whoever led before is not through with its last request.
            }
            match client.connection.try_recv() {
                Ok(frame) => {
                    let next = (Arc::clone(&client), burst + 1);
                    if burst < BURST {
                        self.ready.push_front(next);
                    } else {
                        self.ready.push_back((next.0, 0));
                    }
                    self.busy = Instant::now();
                    self.looks = 0;
                    self.requests += 1;
                    // Before this thread lets go of the lead, from when on another one may have it.
                    client.hold_up(self.requests);
                    return Some(Next { client, frame, number: self.requests });
                }
                Err(RecvError::WouldBlock | RecvError::Busy) => {}
                Err(error) => self.part(server, &client, &error),
            }
        }
        None
    }

    /// Finds out who has something to say; sleeps if nobody had for a while.
    fn gather(&mut self, server: &Arc<Server>) {
        self.looks += 1;
        self.take_those_in_memory();
        if !self.ready.is_empty() {
            return;
        }
        let is_long = self.looks > 1 && self.busy.elapsed() > AWAKE_TIME;
        if is_long || self.looks.is_multiple_of(LOOKS_A_POLL) {
            self.poll(server, is_long);
        } else {
            std::hint::spin_loop();
        }
    }

    /// Those whose memory says that they have written, and whose last request is through.
    fn take_those_in_memory(&mut self) {
        for client in self.clients.values().filter(|client| !client.is_held_up()) {
            if client.connection.watch().source.is_some_and(Source::is_ready) {
                self.ready.push_back((Arc::clone(client), 0));
            }
        }
    }

    /// Asks the kernel, and waits for it if `sleeps`; does what is due by time, at most once a [`TICK`] otherwise.
    fn poll(&mut self, server: &Arc<Server>, sleeps: bool) {
        let mut deadline = Deadline::NOW;
        let is_due = sleeps || self.polled.elapsed() > TICK;
        let due = if is_due { server.tick() } else { None };
        if sleeps {
            let sources = self.clients.values().filter_map(|client| client.connection.watch().source);
            sources.for_each(Source::arm);
            self.take_those_in_memory();
            if self.ready.is_empty() {
                let due = due.map(|wake| wake.saturating_duration_since(Instant::now()));
                // Nothing tells when who was held up may go on.
                let is_held_up = self.clients.values().any(|client| client.is_held_up());
                let longest = if is_held_up { TICK } else { RECHECK };
                deadline = Deadline::after(due.unwrap_or(longest).min(longest));
            }
        }
        for number in self.watched.wait(deadline).unwrap_or_default() {
            if let Some(client) = self.clients.get(&number) {
                let is_ready = client.connection.watch().source.is_none_or(|source| source.settle().unwrap_or(true));
                if is_ready && !self.ready.iter().any(|(other, _)| other.number() == number) {
                    self.ready.push_back((Arc::clone(client), 0));
                }
            } else if self.strangers.contains_key(&number) {
                self.greet(server, number);
            }
        }
        if is_due {
            self.accept(server);
            self.put_out(server);
            self.polled = Instant::now();
        }
    }

    /// Takes those who have connected.
    fn accept(&mut self, server: &Arc<Server>) {
        loop {
            match server.listener.try_accept::<Frame, Frame>() {
                Ok(connection) => self.admit(server, connection),
                Err(AcceptError::AuthFailed { peer, reason }) => tracing::warn!(%peer, %reason, "a client is refused"),
                Err(AcceptError::WouldBlock) => return,
                Err(error) => return tracing::warn!(%error, "no client can be accepted"),
            }
        }
    }

    fn admit(&mut self, server: &Arc<Server>, connection: Connection<Frame, Frame>) {
        if self.clients.len() + self.strangers.len() >= CLIENTS_MAX {
            return tracing::warn!(limit = CLIENTS_MAX, "a client is refused, as there are so many");
        }
        let number = self.next_number;
        self.next_number += 1;
        if let Some(source) = connection.watch().source {
            source.arm();
        }
        if let Err(error) = self.watched.add(connection.watch().fd, number, Interest::Read) {
            return tracing::warn!(%error, "a client cannot be watched");
        }
        self.strangers.insert(number, Stranger { connection, since: Instant::now() });
        self.greet(server, number); // It may have spoken before it was watched.
    }

    /// Listens to the first words of who has connected.
    fn greet(&mut self, server: &Arc<Server>, number: u64) {
        let Some(Stranger { connection, since }) = self.strangers.remove(&number) else { return };
        let hello = match connection.try_recv() {
            Ok(frame) => read_greeting::<Hello>(&frame),
            Err(RecvError::WouldBlock | RecvError::Busy) if since.elapsed() < GREETING_TIME => {
                self.strangers.insert(number, Stranger { connection, since });
                return;
            }
            Err(_) => None,
        };
        let Some(hello) = hello else {
            let _ = self.watched.remove(connection.watch().fd);
            return tracing::warn!("somebody connected who is no client of this version");
        };
        let welcome = greeting(&Welcome { server: server.id, client: number });
        // There is room in a new connection.
        let is_welcome = welcome.is_ok_and(|frame| connection.send_timeout(&frame, TICK).is_ok());
        let client = Arc::new(Client::new(number, hello, connection, server.id));
        if is_welcome {
            self.clients.insert(number, Arc::clone(&client));
            server.welcome(client);
        } else {
            let _ = self.watched.remove(client.connection.watch().fd);
        }
    }

    /// Those that are to be put out, and those that connected and say nothing.
    fn put_out(&mut self, server: &Arc<Server>) {
        let out: Vec<Arc<Client>> = self.clients.values().filter(|client| client.is_out()).cloned().collect();
        for client in out {
            self.forget(server, &client);
        }
        let waiting: Vec<u64> = self.strangers.keys().copied().collect();
        for number in waiting {
            self.greet(server, number);
        }
    }

    fn part(&mut self, server: &Arc<Server>, client: &Arc<Client>, error: &RecvError) {
        tracing::debug!(client = client.hello.pid, %error, "a client is gone");
        self.forget(server, client);
    }

    fn forget(&mut self, server: &Arc<Server>, client: &Arc<Client>) {
        if self.clients.remove(&client.number()).is_some() {
            let _ = self.watched.remove(client.connection.watch().fd);
            client.connection.close();
            server.seat.give(server, Job::Part(Arc::clone(client)));
        }
    }
}
