//! The servers of this process: who they belong to, when they are launched, replaced and let go.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use procession_boot::Launch;
use procession_sys::{Deadline, Ended, PacketSocket, PidFd, ProcessRecord, Signal, credentials, dev_null, pid};

use super::client::{SERVER_END_MAX, settings};
use super::preload::{self, Preload, Preloads};
use super::server::{Serve, ServePreloaded};
use crate::builder::Plan;
use crate::error::StartError;
use crate::protocol::Line;
use crate::status::ExitStatus;

/// A running server of this process.
pub(crate) struct Server {
    /// Whose it is: a forked child has its parent's memory, not its server.
    pub(super) owner: u32,
    /// Its number, for people and for looks at it: what is done to it is done by its pidfd.
    pub(super) number: u32,
    /// Whose rights it and its children have.
    pub(super) credentials: Vec<u32>,
    /// Where requests go.
    pub(super) control: Line,
    pub(super) pidfd: PidFd,
    /// The environment that it and its children begin with.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Umask, limits and the like that it and its children begin with.
    pub(super) settings: Vec<u64>,
    /// How it ended, once it has been reaped.
    pub(super) ended: OnceLock<Ended>,
    /// It was seen to be stopped for longer than its word on a child was waited for.
    pub(super) is_given_up: AtomicBool,
    /// It did not answer, and is asked for nothing more.
    pub(super) is_replaced: AtomicBool,
}

/// Every server of this process that is not known to have ended, so that each is reaped.
static RUNNING: Mutex<Vec<Arc<Server>>> = Mutex::new(Vec::new());

/// Reaps the servers that have ended, and ends those that do not answer and that nothing is left to be told by.
pub(crate) fn reap() {
    RUNNING.lock().retain(|server| {
        if server.is_own() && server.is_useless() {
            let _ = server.pidfd.send(Signal::KILL); // It has ended, then.
        }
        server.is_own() && !server.has_ended()
    });
}

/// Where children come from: a server, launched when it is needed, or a nursery.
#[derive(Debug)]
pub(crate) struct Source {
    kind: Kind,
    current: Mutex<Option<Arc<Server>>>,
}

#[derive(Debug)]
enum Kind {
    /// Executed, and executed anew if it is killed; runs these functions first.
    Executed(Preloads),
    /// A copy of this process: there is no other.
    Nursery,
}

/// The source of all contexts that neither preload nor are nurseries.
pub(crate) fn shared() -> &'static Source {
    static SHARED: Source = Source { kind: Kind::Executed(Preloads::new(Vec::new())), current: Mutex::new(None) };
    &SHARED
}

impl Source {
    /// Of children that begin with what these functions have built.
    pub(crate) fn preloading(functions: Vec<Preload>) -> Self {
        Self { kind: Kind::Executed(Preloads::new(functions)), current: Mutex::new(None) }
    }

    /// Of children that are copies of this one.
    pub(super) fn nursery(server: Server) -> Self {
        let server = server.enter();
        Self { kind: Kind::Nursery, current: Mutex::new(Some(server)) }
    }

    /// The functions that its server runs first.
    pub(crate) fn preloaded(&self) -> Vec<Preload> {
        match &self.kind {
            Kind::Executed(preloads) => preloads.functions().to_vec(),
            Kind::Nursery => Vec::new(),
        }
    }

    /// True for copies of this process.
    pub(crate) fn is_nursery(&self) -> bool {
        matches!(self.kind, Kind::Nursery)
    }

    /// The server; launched if there is none, if the last one has ended, or if this process has become another user
    /// since. Other threads that want this server wait for the launch, and for its preloading.
    pub(super) fn server(&self, plan: &Plan) -> Result<Arc<Server>, StartError> {
        let credentials = Server::credentials(plan)?;
        let mut current = plan.patience.lock(&self.current).map_err(|error| self.not_had(plan, error))?;
        if current.take_if(|server| !server.is_own() || server.has_ended()).is_some() {
            reap();
        }
        // An older one serves on until its last child has ended.
        if let Some(stranger) = current.take_if(|server| server.credentials != credentials) {
            stranger.retire();
        }
        match (&*current, &self.kind) {
            (Some(running), _) => Ok(Arc::clone(running)),
            (None, Kind::Nursery) => Err(StartError::NurseryGone { name: plan.name.clone() }),
            (None, Kind::Executed(preloads)) => {
                let launched = Server::launch(plan, credentials, preloads)?;
                Ok(Arc::clone(current.insert(launched)))
            }
        }
    }

    /// The error of a start that waited for a server which another start has launched, and whose functions run.
    fn not_had(&self, plan: &Plan, error: io::Error) -> StartError {
        match &self.kind {
            Kind::Executed(preloads) if error.kind() == io::ErrorKind::TimedOut && preloads.are_any() => {
                preloads.late(plan)
            }
            _ => plan.failed("wait for its forkserver")(error),
        }
    }

    /// Asks a server for nothing more that does not answer: the next start has another one. It is not killed while it owes its
    /// children's exit codes, or other starts wait for it: when it goes on it serves those, and ends after its last child. A
    /// nursery stays.
    pub(super) fn replace(&self, plan: &Plan, silent: Arc<Server>) {
        if self.is_nursery() {
            return;
        }
        // Called off, or another start is at it: whoever is next finds out for itself.
        let Ok(mut current) = plan.patience.lock(&self.current) else { return };
        if let Some(silent) = current.take_if(|server| Arc::ptr_eq(server, &silent)) {
            silent.retire();
            silent.is_replaced.store(true, Ordering::Relaxed);
        }
        drop((current, silent));
        reap();
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        let Some(server) = self.current.get_mut().take().filter(|server| server.is_own()) else { return };
        server.retire();
        // Without children it ends at once; with some, whatever reaps children later reaps it.
        if Arc::strong_count(&server) == HOLDERS_WITHOUT_CHILDREN {
            let _ = server.pidfd.wait_ended(Deadline::after(SERVER_END_MAX));
            reap();
        }
    }
}

/// Who holds a server that has no children: the list of running ones, and whoever lets go of it.
const HOLDERS_WITHOUT_CHILDREN: usize = 2;

/// Who holds one that was replaced, has no children, and is waited for by no start: that list. Nobody else comes to hold it again.
const HOLDERS_WITHOUT_USE: usize = 1;

impl Server {
    /// Whose rights this process has now.
    pub(super) fn credentials(plan: &Plan) -> Result<Vec<u32>, StartError> {
        credentials().map_err(plan.failed("read this process's own rights"))
    }

    /// Executes a server, which runs these functions first.
    fn launch(plan: &Plan, credentials: Vec<u32>, preloads: &Preloads) -> Result<Arc<Self>, StartError> {
        let image = |error| StartError::Image { name: plan.name.clone(), error };
        let null = dev_null().map_err(plan.failed("open /dev/null"))?;
        let environment: Vec<_> = std::env::vars_os().collect();
        let settings = settings(plan)?;
        let has_preloads = preloads.are_any();
        let launch = if has_preloads { Launch::role::<ServePreloaded>() } else { Launch::role::<Serve>() };
        let mut launch = launch.map_err(image)?.env(environment.clone());
        for at in if has_preloads { 0..1 } else { 0..3 } {
            launch = launch.stream(at, null.as_fd());
        }
        let (control, theirs) = PacketSocket::pair().map_err(plan.failed("make the forkserver's socket"))?;
        let number = launch.start(&theirs).map_err(image)?;
        drop((theirs, null));
        let pidfd = plan.hold(number, "hold the forkserver by a pidfd")?;
        let server = Self {
            owner: pid(),
            number,
            credentials,
            control: Line::new(control),
            pidfd,
            environment,
            settings,
            ended: OnceLock::new(),
            is_given_up: AtomicBool::new(false),
            is_replaced: AtomicBool::new(false),
        };
        if !has_preloads {
            return Ok(server.enter());
        }
        match preload::request(plan, &server, preloads) {
            Ok(()) => Ok(server.enter()),
            Err(error) => {
                // Held by its pidfd, for it may have been reaped, and its number be another's.
                let _ = server.pidfd.send(Signal::KILL).and_then(|()| server.pidfd.reap());
                Err(error)
            }
        }
    }

    /// Enters it into the books.
    fn enter(self) -> Arc<Self> {
        let server = Arc::new(self);
        RUNNING.lock().push(Arc::clone(&server));
        server
    }

    /// Whether it does not answer, and has nothing to tell any more when it goes on. To be asked of the list alone.
    fn is_useless(self: &Arc<Self>) -> bool {
        self.is_replaced.load(Ordering::Relaxed) && Arc::strong_count(self) == HOLDERS_WITHOUT_USE
    }

    /// True in the process that launched it.
    fn is_own(&self) -> bool {
        self.owner == pid()
    }

    /// Tells it that there will be no more requests: it ends after its last child.
    fn retire(&self) {
        let _ = self.control.socket().finish(); // It may have been killed this moment.
    }

    /// True once the server is gone; reaps it.
    pub(crate) fn has_ended(&self) -> bool {
        // What cannot be told is not an end: with RLIMIT_NOFILE below one, poll refuses even a single descriptor.
        let ended = self.pidfd.wait_ended(Deadline::NOW).unwrap_or(false);
        if ended
            && self.is_own()
            && let Ok(Some(ended)) = self.pidfd.try_reap()
        {
            let _ = self.ended.set(ended);
        }
        ended
    }

    /// True while it is stopped.
    pub(crate) fn is_stopped(&self) -> bool {
        ProcessRecord::of(self.number).is_ok_and(|record| record.is_stopped())
    }

    /// Whether it has been waited for in vain.
    pub(crate) fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }

    /// It has.
    pub(crate) fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// How it ended that answers no more, for people.
    pub(super) fn how_it_ended(&self) -> String {
        let _ = self.pidfd.wait_ended(Deadline::after(SERVER_END_MAX));
        match (self.has_ended(), self.ended.get()) {
            (true, Some(&ended)) => format!("the forkserver ended with {} while it ran it", ExitStatus::new(ended)),
            (true, None) => "the forkserver ended while it ran it".to_owned(),
            (false, _) => "the forkserver answers what nobody understands".to_owned(),
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("owner", &self.owner).finish_non_exhaustive()
    }
}
