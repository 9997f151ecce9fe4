//! The tracker: a process of its own that removes the names of each owner that has ended.
//!
//! It belongs to no session, to no terminal and to no parent, blocks every signal that can be blocked, and ends with its
//! last owner. An owner tells it once where its record is and sends a pidfd of itself; that, and the end of the
//! connection, tell the owner's end. Nothing else is ever said, so an owner pays for no name.
//!
//! # Safety
//! The role that forks is an executed process with one thread, which runs no code but this. In the copy, the descriptors
//! that are closed by number belong to the role's frames, which the copy never returns to.

#![expect(unsafe_code, reason = "forks a tracker that is nobody's child")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use procession_boot::{Boot, Entry};
use procession_sys::{
    Deadline, Packet, PacketListener, PacketSocket, PidFd, close_all_but, effective_user, enter_new_session,
    poll_readable, raise_file_limit, random_bytes, set_command_name,
};

use super::name::{DIRECTORY, SEGMENT_NAME_BYTES_MAX};
use super::record;
use super::sweep::{Proof, Swept, sweep_record};

/// How many owners one tracker serves, with two descriptors each: half of what a process may usually open. Whoever comes
/// then starts another tracker.
pub const TRACKED_OWNERS_MAX: usize = 250;

/// The bytes of an address: a prefix, and sixteen random bytes as text.
pub(super) const ADDRESS_BYTES: usize = ADDRESS_PREFIX.len() + 2 * size_of::<u128>();

const ADDRESS_PREFIX: &str = "procession-names-";

/// What an owner is answered.
pub(super) const KEPT: &[u8] = b"kept";

/// What `ps` shows.
const COMMAND_NAME: &[u8] = b"names-tracker";

/// How long a record is tried again whose owner has closed its connection and lives, as after an exec: its descriptors
/// close one after the other. Later its death alone counts.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long between two tries.
const RETRY: Duration = Duration::from_millis(10);

/// How long nobody is let in after a failure to: no descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The role that forks the tracker.
pub(super) struct Track;

impl Entry for Track {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        i32::from(begin(boot).is_err())
    }
}

fn begin(boot: Boot) -> io::Result<()> {
    let address = format!("{ADDRESS_PREFIX}{:032x}", u128::from_le_bytes(random_bytes()?));
    let listener = PacketListener::bind(address.as_bytes())?;
    let socket = boot.socket;
    let tracker = move || {
        // SAFETY: what is closed belongs to the role's frames (see the top of this file).
        unsafe { close_all_but(&[socket.as_fd().as_raw_fd(), listener.as_fd().as_raw_fd()]) };
        i32::from(track(socket, &listener, address.as_bytes()).is_err())
    };
    // SAFETY: this process has one thread.
    unsafe { procession_sys::fork(tracker) }?;
    Ok(())
}

/// The tracker, from its first instruction to its end.
fn track(first: PacketSocket, listener: &PacketListener, address: &[u8]) -> io::Result<()> {
    enter_new_session()?;
    std::env::set_current_dir("/")?;
    set_command_name(COMMAND_NAME)?;
    raise_file_limit()?;
    first.send([address], &[])?;
    let mut owners = vec![Owner::new(first)];
    let mut lets_in = true;
    while !owners.is_empty() {
        wait(lets_in.then(|| listener.as_fd()), &owners)?;
        lets_in = let_in(listener, &mut owners);
        owners.retain_mut(Owner::is_to_be_watched);
    }
    Ok(())
}

/// Waits until there may be something to do.
fn wait(listener: Option<BorrowedFd<'_>>, owners: &[Owner]) -> io::Result<()> {
    let mut deadline = if listener.is_some() { Deadline::NEVER } else { Deadline::after(ACCEPT_PAUSE) };
    if owners.iter().any(|owner| owner.retry.is_some()) {
        deadline = deadline.min(Deadline::after(RETRY));
    }
    let connections = owners.iter().filter_map(|owner| owner.connection.as_ref()).map(AsFd::as_fd);
    let lives = owners.iter().filter_map(|owner| owner.record.as_ref()).map(|(_, life)| life.as_fd());
    let watched: Vec<BorrowedFd<'_>> = listener.into_iter().chain(connections).chain(lives).collect();
    poll_readable(&watched, deadline)?;
    Ok(())
}

/// Lets in whoever has come; false when that was not possible.
fn let_in(listener: &PacketListener, owners: &mut Vec<Owner>) -> bool {
    loop {
        match listener.accept() {
            Ok(newcomer) if newcomer.peer_user().ok() != Some(effective_user()) => {}
            Ok(_) if owners.len() >= TRACKED_OWNERS_MAX => {}
            Ok(newcomer) => owners.push(Owner::new(newcomer)),
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// A process that owns names, or wants to.
struct Owner {
    /// Until it has ended.
    connection: Option<PacketSocket>,
    /// What the owner has said of itself: the name of its record, and who it is.
    record: Option<(String, PidFd)>,
    /// Until when its record is tried again.
    retry: Option<Deadline>,
}

impl Owner {
    fn new(connection: PacketSocket) -> Self {
        Self { connection: Some(connection), record: None, retry: None }
    }

    /// Does what there is to do; false when nothing more will come of this owner.
    fn is_to_be_watched(&mut self) -> bool {
        if !self.hear() {
            return false;
        }
        let Some((record, life)) = &self.record else { return self.connection.is_some() };
        let directory = Path::new(DIRECTORY);
        if life.wait_ended(Deadline::NOW).unwrap_or(false) {
            self.connection = None; // Its descriptor may be the one that is needed now.
            let _ = sweep_record(directory, record, Proof::Known);
            return false;
        }
        self.retry = self.retry.filter(|retry| !retry.has_passed());
        self.retry.is_none() || matches!(sweep_record(directory, record, Proof::Lock), Ok(Swept::Held))
    }

    /// Takes what the owner says of itself. False for one that says what no owner says.
    fn hear(&mut self) -> bool {
        let Some(connection) = &self.connection else { return true };
        match connection.try_receive(SEGMENT_NAME_BYTES_MAX) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Ok(Some(packet)) if self.record.is_none() => {
                self.record = introduced(packet);
                self.record.is_some() && connection.try_send([KEPT], &[]).is_ok()
            }
            Ok(Some(_)) => false,
            Ok(None) | Err(_) => {
                self.connection = None;
                self.retry = Some(Deadline::after(RETRY_MAX));
                true
            }
        }
    }
}

/// What an owner says of itself, if it is that.
fn introduced(packet: Packet) -> Option<(String, PidFd)> {
    let [life] = <[_; 1]>::try_from(packet.descriptors).ok()?;
    let name = String::from_utf8(packet.bytes).ok()?;
    let is_record = name.starts_with(&record::own_prefix()) && !name.contains(['/', '\0']);
    is_record.then(|| (name, life.into()))
}
