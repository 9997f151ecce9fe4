//! Messages over a stream socket: frames in and out, by one thread a side at a time.
//!
//! Relies on `stream/frames.rs` for what a frame is, on `stream/side.rs` for what a process knows of a side, and on
//! `procession-sync` for how long a wait stays awake. Whoever waits looks every [`RECHECK`] whether the connection was closed meanwhile. Nothing is read beyond the frame that is
//! received: between two of them the socket may go to another process, which goes on with it.

mod frames;
mod side;

mod begun; // Messages that are sent without a wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use procession_sync::RECHECK;
use procession_sync::protocol::Spin;
use procession_sys::{Deadline, Interest, StreamSocket, poll_one};

#[cfg(feature = "async")]
use crate::asynchronous::Lines;
pub(crate) use crate::stream::begun::Gone;
pub(crate) use crate::stream::frames::Header;
use crate::stream::frames::{Incoming, Need};
use crate::stream::side::{Side, Turn};
use crate::{RecvError, SendError};

/// What a call that receives takes after its deadline: as much as can have come until then, and no more, for a peer that
/// sends without end would keep it for ever.
const LATE_BYTES_MAX: usize = 4 << 20;

/// Said in a forked process.
const FORKED: &str = "this process was forked while its parent was in the middle of a message, which the parent has";

/// A connected stream socket that carries messages.
#[derive(Debug)]
pub(crate) struct Stream {
    #[cfg(feature = "async")]
    pub(crate) lines: Lines,
    socket: StreamSocket,
    is_closed: AtomicBool,
    /// How many bytes the system has taken to send.
    sent_bytes: AtomicU64,
    sending: Side<Outgoing>,
    receiving: Side<Receiving>,
}

/// What is sent.
#[derive(Debug, Default)]
struct Outgoing {
    torn: Option<Torn>,
    rest: begun::Rest,
}

/// A message of which a part was sent, and will ever be.
#[derive(Clone, Copy, Debug)]
struct Torn {
    sent: u64,
    bytes: u64,
}

/// What is received.
#[derive(Debug, Default)]
struct Receiving {
    frame: Incoming,
    refused: Option<Refused>,
}

/// Why no more is received.
#[derive(Clone, Copy, Debug)]
enum Refused {
    TooLarge { bytes: u64, bytes_max: u64 },
    Corrupt(&'static str),
}

/// How much was received after the deadline.
#[derive(Debug)]
struct Late {
    deadline: Deadline,
    bytes: usize,
}

impl Late {
    fn new(deadline: Deadline) -> Self {
        Self { deadline, bytes: 0 }
    }
}

/// Why a step was not made.
#[derive(Debug)]
enum Stop {
    Timeout,
    Closed,
    System(io::Error),
}

impl Stream {
    /// What becomes readable.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket for another process.
    ///
    /// # Errors
    /// It is closed, a message is half-way, or one has ended so.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        if self.is_closed() {
            return Err(io::Error::other("the connection was closed in this process: send it on before `close`"));
        }
        if !self.sending.is_between_messages() || !self.receiving.is_between_messages() {
            return Err(io::Error::other(
                "the connection is in the middle of a message: send it on when that is sent or received whole",
            ));
        }
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Sends a message, which is `parts` one after the other.
    pub(crate) fn send(&self, parts: [&[u8]; 2], deadline: Deadline) -> Result<(), SendError> {
        let mut turn = self.turn(&self.sending, deadline)?;
        if let Some(torn) = turn.torn {
            return Err(torn.into());
        }
        self.send_rest(&mut turn, deadline)?;
        let [first, second] = parts;
        let header = Header::of((first.len() + second.len()) as u64);
        let bytes = header.len() + first.len() + second.len();
        let mut sent = 0;
        while sent < bytes {
            let rest = behind([&header, first, second], sent);
            match self.send_some(rest, deadline) {
                Ok(count) => sent += count,
                Err(stop) if is_end(&stop) => return Err(SendError::Disconnected),
                Err(stop) if sent == 0 || matches!(stop, Stop::Closed) => return Err(stop.into()),
                Err(_) => {
                    let torn = Torn { sent: sent as u64, bytes: bytes as u64 };
                    turn.torn = Some(torn);
                    // Fails only if the peer is gone or the socket closed, and then the stream has ended there anyway.
                    let _ = self.socket.finish_sending();
                    return Err(torn.into());
                }
            }
            turn.begin();
        }
        turn.end();
        Ok(())
    }

    /// Receives a message of at most so many bytes.
    pub(crate) fn receive(&self, bytes_max: u64, deadline: Deadline) -> Result<Vec<u8>, RecvError> {
        let mut turn = self.receive_header(bytes_max, deadline)?;
        self.receive_rest(&mut turn.frame, deadline)?;
        turn.end();
        Ok(turn.frame.take())
    }

    /// Receives a message of at most so many bytes into `room`, or out of it.
    pub(crate) fn receive_into(&self, room: &mut [u8], bytes_max: u64, deadline: Deadline) -> Result<usize, RecvError> {
        let mut turn = self.receive_header(bytes_max, deadline)?;
        let length = usize::try_from(turn.frame.length()).ok();
        let Some(room) = length.and_then(|length| room.get_mut(..length)) else {
            self.receive_rest(&mut turn.frame, deadline)?;
            turn.end();
            return Err(RecvError::BufferTooShort { message: turn.frame.take() });
        };
        let before = turn.frame.had();
        room[..before].copy_from_slice(turn.frame.message());
        let (mut had, mut late) = (before, Late::new(deadline));
        while had < room.len() {
            match self.receive_some(&mut late, || self.socket.try_receive(&mut room[had..])) {
                Ok(count @ 1..) => had += count,
                other => {
                    // What came goes on with the next call, which may bring another buffer.
                    turn.frame.message().extend_from_slice(&room[before..had]);
                    return Err(other.map_or_else(Into::into, |_| turn.frame.cut_off()));
                }
            }
        }
        turn.end();
        turn.frame.take();
        Ok(had)
    }

    /// Whether bytes have come, or the end.
    pub(crate) fn poll(&self, deadline: Deadline) -> Result<bool, RecvError> {
        match self.wait(Interest::Read, deadline) {
            Ok(()) => Ok(true),
            Err(Stop::Timeout) => Ok(false),
            Err(stop) => Err(stop.into()),
        }
    }

    /// Closes it in this process.
    pub(crate) fn close(&self) {
        #[cfg(feature = "async")]
        self.lines.forget([self.fd()]);
        if !self.is_closed.swap(true, Relaxed) {
            // Without a descriptor to put in its place it is closed with its last handle, which is as good as can be.
            let _ = self.socket.close();
        }
        #[cfg(feature = "async")]
        self.lines.tell_all();
    }

    /// The turn at a frame whose header has come and allows it to be received.
    fn receive_header(&self, bytes_max: u64, deadline: Deadline) -> Result<Turn<'_, Receiving>, RecvError> {
        let mut turn = self.turn(&self.receiving, deadline)?;
        if let Some(refused) = turn.refused {
            return Err(refused.into());
        }
        while let Need::Header(room) = turn.frame.need() {
            match self.step(Interest::Read, deadline, || self.socket.try_receive(room))? {
                0 if turn.frame.has_begun() => return Err(turn.frame.cut_off()),
                0 => return Err(RecvError::Disconnected),
                count => {
                    turn.begin();
                    if let Err(reason) = turn.frame.push_header(count) {
                        return Err(self.refuse(&mut turn, Refused::Corrupt(reason)));
                    }
                }
            }
        }
        let bytes = turn.frame.length();
        if bytes > bytes_max {
            return Err(self.refuse(&mut turn, Refused::TooLarge { bytes, bytes_max }));
        }
        Ok(turn)
    }

    /// Receives what a message lacks. What came before an error is kept.
    fn receive_rest(&self, frame: &mut Incoming, deadline: Deadline) -> Result<(), RecvError> {
        let mut late = Late::new(deadline);
        while let Need::Message { message, room } = frame.need() {
            if self.receive_some(&mut late, || self.socket.try_receive_onto(message, room))? == 0 {
                return Err(frame.cut_off());
            }
        }
        Ok(())
    }

    /// Makes a step that receives, unless too many were made after the deadline.
    fn receive_some(&self, late: &mut Late, attempt: impl FnMut() -> io::Result<usize>) -> Result<usize, Stop> {
        if late.bytes > LATE_BYTES_MAX {
            return Err(Stop::Timeout);
        }
        let count = self.step(Interest::Read, late.deadline, attempt)?;
        if late.deadline.has_passed() {
            late.bytes += count;
        }
        Ok(count)
    }

    /// Receives no more: nobody could tell where the next message begins. The peer is told where the kernel can tell it.
    fn refuse(&self, turn: &mut Turn<'_, Receiving>, refused: Refused) -> RecvError {
        turn.refused = Some(refused);
        turn.frame.take();
        // Fails only if the peer is gone or the socket closed.
        let _ = self.socket.finish_receiving();
        refused.into()
    }

    /// The turn at a side, for which other threads are waited for.
    fn turn<'a, T: Default>(&self, side: &'a Side<T>, deadline: Deadline) -> Result<Turn<'a, T>, Stop> {
        loop {
            if self.is_closed() {
                return Err(Stop::Closed);
            }
            let soon = deadline.min(Deadline::after(RECHECK));
            match side.turn(soon) {
                Some(turn) if turn.is_spoilt() => return Err(Stop::System(io::Error::other(FORKED))),
                Some(turn) => return Ok(turn),
                None if deadline.has_passed() => return Err(Stop::Timeout),
                None => {}
            }
        }
    }

    /// Sends what there is room for, once there is any.
    fn send_some<const N: usize>(&self, parts: [&[u8]; N], deadline: Deadline) -> Result<usize, Stop> {
        let count = self.step(Interest::Write, deadline, || self.socket.try_send(parts))?;
        self.sent_bytes.fetch_add(count as u64, Relaxed);
        Ok(count)
    }

    /// Makes a step that moves bytes, once that can be done. Who waits for bytes tries again for a moment before it sleeps, as
    /// long as that is worth it: falling asleep and being woken takes longer than most peers that are at work.
    fn step(
        &self,
        interest: Interest,
        deadline: Deadline,
        mut attempt: impl FnMut() -> io::Result<usize>,
    ) -> Result<usize, Stop> {
        let spin = Spin::new(ptr::from_ref(self).addr());
        loop {
            match attempt() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if deadline == Deadline::NOW {
                        return Err(if self.is_closed() { Stop::Closed } else { Stop::Timeout });
                    }
                    if interest == Interest::Write || !spin.turn(deadline) {
                        self.wait(interest, deadline)?;
                    }
                }
                Err(_) if self.is_closed() => return Err(Stop::Closed),
                other => return other.map_err(Stop::System),
            }
        }
    }

    fn wait(&self, interest: Interest, deadline: Deadline) -> Result<(), Stop> {
        loop {
            if self.is_closed() {
                return Err(Stop::Closed);
            }
            let soon = deadline.min(Deadline::after(RECHECK));
            let is_ready = poll_one(self.socket.as_fd(), interest, soon).map_err(Stop::System)?;
            if is_ready && !self.is_closed() {
                return Ok(());
            }
            if deadline.has_passed() {
                return Err(Stop::Timeout);
            }
        }
    }

    /// How many bytes this process has sent, those of messages that are not whole among them: who sees this grow has a peer
    /// that reads.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Relaxed: the flag alone matters, and whoever comes too early is told by the descriptor.
        self.is_closed.load(Relaxed)
    }
}

impl From<StreamSocket> for Stream {
    fn from(socket: StreamSocket) -> Self {
        Self {
            #[cfg(feature = "async")]
            lines: Lines::default(),
            socket,
            is_closed: AtomicBool::new(false),
            sent_bytes: AtomicU64::new(0),
            sending: Side::default(),
            receiving: Side::default(),
        }
    }
}

/// What is left of some parts behind so many bytes.
fn behind<const N: usize>(parts: [&[u8]; N], mut bytes: usize) -> [&[u8]; N] {
    parts.map(|part| {
        let (had, rest) = part.split_at(bytes.min(part.len()));
        bytes -= had.len();
        rest
    })
}

/// Whether the system says that nobody receives any more.
fn is_end(stop: &Stop) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut};
    matches!(stop, Stop::System(error) if matches!(error.kind(), BrokenPipe | ConnectionReset | TimedOut))
}

impl Incoming {
    /// That the stream ends here.
    fn cut_off(&self) -> RecvError {
        RecvError::Truncated { had: self.had() as u64, bytes: self.length() }
    }
}

impl From<Torn> for SendError {
    fn from(Torn { sent, bytes }: Torn) -> Self {
        Self::Torn { sent, bytes }
    }
}

impl From<Refused> for RecvError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::TooLarge { bytes, bytes_max } => Self::TooLarge { bytes, bytes_max },
            Refused::Corrupt(reason) => Self::Corrupt { reason },
        }
    }
}

impl From<Stop> for SendError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Timeout => Self::Timeout,
            Stop::Closed => Self::Closed,
            Stop::System(error) => Self::System { doing: "send", error },
        }
    }
}

impl From<Stop> for RecvError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Timeout => Self::Timeout,
            Stop::Closed => Self::Closed,
            Stop::System(error) => Self::System { doing: "receive", error },
        }
    }
}
