//! What this process owns: the record of its names, and the connection that tells a tracker that it is alive.
//!
//! All of it is this very process's: a forked child has neither the record's lock nor the connection, and begins anew.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use procession_boot::{BootError, Launch, at_very_end, bequeath, bequest};
use procession_sys::{
    Deadline, Interest, PacketSocket, PidFd, Signal, SignalMask, Unshared, dev_null, discard_child, effective_user,
    pid, poll_one,
};

use super::name::{DIRECTORY, Name};
use super::record::{self, NAMED_SEGMENTS_MAX, Record, Slot};
use super::sweep::{Proof, names_its_file, sweep, sweep_record};
use super::tracker::{ADDRESS_BYTES, KEPT, Track};
use crate::ShmError;

/// Under which key the tracker's address is handed down.
const TRACKER: &str = "procession-shm/tracker";

/// How long a new tracker may take to begin: it is an executed process, on a machine that may be busy.
const TRACKER_START_MAX: Duration = Duration::from_secs(10);

/// How long a running tracker may take to answer before another one is started.
const TRACKER_ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long a normal end waits for another thread that is creating or removing a name. After that the tracker does it.
const END_MAX: Duration = Duration::from_secs(1);

/// The state of one process.
struct Own {
    owner: u32,
    is_swept: bool,
    /// What the record is called, or will be; a tracker is told before there is one.
    record_name: Option<String>,
    record: Option<Record>,
    /// The connection to the tracker.
    tracker: Option<Unshared>,
}

impl Own {
    const fn of(owner: u32) -> Self {
        Self { owner, is_swept: false, record_name: None, record: None, tracker: None }
    }
}

static OWN: Mutex<Own> = Mutex::new(Own::of(0));

/// The process that has a record: what is locked in a forked child may be so for ever.
static RECORDED: AtomicU32 = AtomicU32::new(0);

/// That of this very process.
fn own() -> MutexGuard<'static, Own> {
    let mut own = OWN.lock();
    if own.owner != pid() {
        *own = Own::of(pid());
    }
    own
}

/// Removes what dead processes have left, when this process first uses a name.
pub(super) fn sweep_once() {
    if !std::mem::replace(&mut own().is_swept, true) {
        let _ = sweep(); // Who has no access to the directory hears of it from what comes next.
    }
}

/// Enters a name, which does not exist yet, as this process's own.
pub(super) fn enter(name: &Name, number: u64, bytes: u64) -> Result<(), ShmError> {
    let failed = |action| {
        let name = name.as_str().to_owned();
        move |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull => ShmError::NoSpace { name, bytes },
            _ => ShmError::Untracked { name, action, error },
        }
    };
    let directory = Path::new(DIRECTORY);
    let mut own = own();
    let own = &mut *own;
    let record_name = match &mut own.record_name {
        Some(name) => name,
        none => none.insert(record::new_name().map_err(failed("written down"))?),
    };
    if !own.tracker.as_ref().is_some_and(is_connected) {
        own.tracker = None;
        own.tracker = connect(record_name).map_err(failed("made known to the tracker of names"))?;
    }
    let record = match &mut own.record {
        Some(record) => record,
        none => {
            let _ = at_very_end(end); // Otherwise there is the tracker.
            RECORDED.store(pid(), Ordering::Relaxed);
            none.insert(Record::create(&directory.join(record_name)).map_err(failed("written down"))?)
        }
    };
    let is_alive =
        |slot: &Slot| fs::metadata(directory).is_ok_and(|place| names_its_file(directory, slot, place.dev()));
    let slot = Slot { number, name: name.clone() };
    let entered = record.enter(slot, is_alive).map_err(failed("written down"))?;
    let too_many = || ShmError::TooManyNames { name: name.as_str().to_owned(), max: NAMED_SEGMENTS_MAX };
    entered.ok_or_else(too_many)
}

/// Strikes out the name of a file that has it no more. If this cannot be written, the record tells of a name that is not
/// there, which harms nobody.
pub(super) fn strike_out(number: u64) {
    if let Some(record) = &mut own().record {
        let _ = record.strike_out(number);
    }
}

/// A normal end: removes the names at once. Where the owner is the first process of a pid namespace, its tracker does not
/// live to do it.
fn end() {
    if RECORDED.load(Ordering::Relaxed) != pid() {
        return;
    }
    let Some(mut own) = OWN.try_lock_for(END_MAX) else { return };
    // A thread that creates another name meanwhile makes a new record of the same name, which the tracker knows.
    if let (Some(name), Some(_held)) = (own.record_name.clone(), own.record.take()) {
        let _ = sweep_record(Path::new(DIRECTORY), &name, Proof::Known);
    }
}

/// True while the tracker is alive: it sends nothing, so what can be read is the end.
fn is_connected(connection: &Unshared) -> bool {
    connection.get().is_some_and(|connection| !poll_one(connection, Interest::Read, Deadline::NOW).unwrap_or(false))
}

/// A connection to the tracker that was handed down, or to a new one; `None` where there can be none.
fn connect(record: &str) -> io::Result<Option<Unshared>> {
    let inherited = bequest(TRACKER).map(|address| PacketSocket::connect(&address));
    let inherited = inherited.and_then(Result::ok).and_then(|socket| introduce(socket, record).ok());
    let connection = match inherited {
        Some(connection) => connection,
        None => match start()? {
            Some(socket) => introduce(socket, record)?,
            None => return Ok(None),
        },
    };
    Unshared::new(connection.into()).map(Some)
}

/// Tells a tracker whose names it is to remove when.
fn introduce(tracker: PacketSocket, record: &str) -> io::Result<PacketSocket> {
    if tracker.peer_user()? != effective_user() {
        return Err(io::Error::other("it is another user's"));
    }
    let life = PidFd::open(pid())?;
    tracker.send([record.as_bytes()], &[life.as_fd()])?;
    let answer = tracker.receive(KEPT.len(), Deadline::after(TRACKER_ANSWER_MAX))?;
    match answer.is_some_and(|answer| answer.bytes == KEPT) {
        true => Ok(tracker),
        false => Err(io::Error::other("it has ended")),
    }
}

/// Starts a tracker, for this process and its children; `None` where no process can be started in a role.
///
/// What is executed here only forks the tracker and ends, so that the tracker is nobody's child.
fn start() -> io::Result<Option<PacketSocket>> {
    let Ok(mut launch) = Launch::role::<Track>() else { return Ok(None) };
    let null: OwnedFd = dev_null()?;
    for at in 0..3 {
        launch = launch.stream(at, null.as_fd());
    }
    let (socket, theirs) = PacketSocket::pair()?;
    let every_signal = SignalMask::from_bits(u64::MAX);
    let number = launch.signal_mask(every_signal).start(&theirs).map_err(|error| match error {
        BootError::Executable { error, .. } | BootError::Lifeline(error) => error,
        other => io::Error::other(other),
    })?;
    drop(theirs);
    let starter = PidFd::open(number).inspect_err(|_| discard_child(number))?;
    let address = receive_address(&socket);
    if address.is_err() {
        let _ = starter.send(Signal::KILL);
    }
    let _ = starter.reap(); // Whoever reaps all children may have been faster.
    let _ = bequeath(TRACKER, &address?); // Without room for it, each child starts its own.
    Ok(Some(socket))
}

/// What a tracker says when it is ready.
fn receive_address(socket: &PacketSocket) -> io::Result<Vec<u8>> {
    let packet = socket.receive(ADDRESS_BYTES, Deadline::after(TRACKER_START_MAX))?;
    Ok(packet.ok_or_else(|| io::Error::other("it has ended at once"))?.bytes)
}
