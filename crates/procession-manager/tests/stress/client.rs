//! What each client does until it is told to end, or is killed.
//!
//! Relies on the board: what is begun is noted before it is sent, and what was acknowledged when the answer is there.

use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use procession_ipc::Address;
use procession_manager::{
    CallError, DictProxy, JoinableQueueProxy, LockProxy, ManagerError, Proxy, Refusal, SyncManager, ValueProxy,
};

use crate::board::{Board, Common, ITEMS, Own};

pub(crate) const KEY: &[u8] = b"what all clients know";

/// Clients at once, each with its place.
pub(crate) const PLACES: [Kind; 6] = [Kind::Counts, Kind::Counts, Kind::Puts, Kind::Takes, Kind::Takes, Kind::Locks];

/// Who locks has one more place: two are needed to see one come in while another one is there.
pub(crate) const SECOND_LOCKER: usize = PLACES.len();

/// Who puts.
pub(crate) const PRODUCER: usize = 2;

/// How long one that takes waits for an item before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Updates a number in a dictionary.
    Counts,
    /// Puts items.
    Puts,
    /// Takes them, and says that they are done.
    Takes,
    /// Changes a number under a lock, by reading and writing it.
    Locks,
}

impl Kind {
    /// Of the client at a place.
    pub(crate) fn at(place: usize) -> Self {
        PLACES.get(place).copied().unwrap_or(Self::Locks)
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counts => "updating a dictionary",
            Self::Puts => "putting items",
            Self::Takes => "taking items",
            Self::Locks => "changing a number under a lock",
        }
    }
}

/// Where a client is: at the server at an address.
struct Client {
    place: usize,
    board: std::sync::Arc<Board>,
    manager: SyncManager,
}

/// What a client's process runs; what was wrong.
pub(crate) fn run(place: u64, address: Address) -> Option<String> {
    let board = Board::get();
    let place = place as usize;
    let outcome = SyncManager::connect(address, KEY).map_err(Wrong::from).and_then(|manager| {
        let client = Client { place, board: std::sync::Arc::clone(&board), manager };
        // Something that is to go with it.
        let _own = client.manager.list::<u8>()?;
        match Kind::at(place) {
            Kind::Counts => client.count(),
            Kind::Puts => client.put(),
            Kind::Takes => client.take(),
            Kind::Locks => client.lock(),
        }
    });
    match outcome {
        Ok(()) => None,
        Err(Wrong { is_disconnected: true, .. }) if board.is_set(Common::Killed) => None,
        Err(Wrong { text, .. }) => Some(text),
    }
}

/// What went wrong.
struct Wrong {
    /// That the server is gone.
    is_disconnected: bool,
    text: String,
}

impl From<CallError> for Wrong {
    fn from(error: CallError) -> Self {
        Self { is_disconnected: matches!(error, CallError::Disconnected { .. }), text: error.to_string() }
    }
}

impl From<ManagerError> for Wrong {
    fn from(error: ManagerError) -> Self {
        let is_disconnected = matches!(error, ManagerError::Connect { .. } | ManagerError::NoManager { .. });
        Self { is_disconnected, text: error.to_string() }
    }
}

impl Client {
    fn get<P: Proxy>(&self, name: &str) -> Result<P, CallError> {
        self.manager.get(name)
    }

    fn goes_on(&self, until: Common) -> bool {
        self.board.own(self.place, Own::Turns).fetch_add(1, SeqCst);
        !self.board.is_set(until)
    }

    fn begins(&self) -> u64 {
        self.board.own(self.place, Own::Tried).fetch_add(1, SeqCst)
    }

    fn has_done(&self) {
        self.board.own(self.place, Own::Acknowledged).fetch_add(1, SeqCst);
    }

    fn count(self) -> Result<(), Wrong> {
        let counts: DictProxy<u64, u64> = self.get("counts")?;
        while self.goes_on(Common::Stop) {
            self.begins();
            counts.update(self.place as u64, |count| count.unwrap_or(0) + 1)?;
            self.has_done();
        }
        Ok(())
    }

    fn put(self) -> Result<(), Wrong> {
        let jobs: JoinableQueueProxy<u64> = self.get("jobs")?;
        while self.goes_on(Common::Stop) {
            if self.board.count(self.place, Own::Tried) >= ITEMS {
                thread::park_timeout(LOOK); // There are enough items.
                continue;
            }
            jobs.put(&self.begins())?;
            self.has_done();
        }
        Ok(())
    }

    fn take(self) -> Result<(), Wrong> {
        let jobs: JoinableQueueProxy<u64> = self.get("jobs")?;
        while self.goes_on(Common::Drained) {
            let item = match jobs.get_timeout(LOOK) {
                Err(CallError::Refused { refusal: Refusal::TimedOut, .. }) => continue,
                item => item?,
            };
            self.board.item(item).fetch_add(1, SeqCst);
            jobs.task_done()?;
        }
        Ok(())
    }

    fn lock(self) -> Result<(), Wrong> {
        let (lock, number): (LockProxy, ValueProxy<u64>) = (self.get("lock")?, self.get("number")?);
        while self.goes_on(Common::Stop) {
            let guard = lock.lock()?;
            let inside = self.board.common(Common::Inside).swap(std::process::id().into(), SeqCst);
            if inside != 0 && !guard.owner_died() {
                self.board.common(Common::Intruders).fetch_add(1, SeqCst);
            }
            self.begins();
            number.set(number.get()? + 1)?;
            self.has_done();
            self.board.common(Common::Inside).store(0, SeqCst);
        }
        Ok(())
    }
}
