//! The side of the process that wants children.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use procession_sys::{
    Deadline, Inherited, Interest, PacketSocket, PidFd, SPAWN_DESCRIPTOR_MIN, current_dir, dup, poll_one,
};
use procession_wire::frame::Frame;
use procession_wire::{Descriptor, Message};

use super::source::{Server, Source};
use super::waiting::Waiting;
use crate::builder::Plan;
use crate::child::{Child, Pipes, Reaper};
use crate::context::StartMethod;
use crate::error::StartError;
use crate::protocol::{self, BORN, CALL, FAILED, Handover, Line, SETUP, is_gone, read_born};
use crate::spin::{CHILD_TIME, spin};
use crate::stdio::{ChildEnd, ChildEnds};

/// How many servers one start tries, when each is killed or stopped under it.
const SERVERS_MAX: usize = 3;

/// How long after its socket a killed server's end is waited for.
pub(super) const SERVER_END_MAX: Duration = Duration::from_secs(1);

/// Starts a child.
pub(crate) fn start(
    plan: &Plan,
    source: &Source,
    call: &Message,
    ends: ChildEnds,
    pipes: Pipes,
) -> Result<Child, StartError> {
    refuse_other_methods(plan, source)?;
    let ends = ends.map(Stream::from);
    for _ in 0..SERVERS_MAX {
        let server = source.server(plan)?;
        let mut waiting = Waiting::new(plan, &server);
        let asked = request(&mut waiting, call, &ends);
        if let Err(error @ StartError::Unanswered { .. }) = asked {
            let has_time = waiting.has_time();
            source.replace(plan, server);
            if !source.is_nursery() && has_time {
                continue; // It is stopped, and another one is not.
            }
            return Err(error);
        }
        if let Some((line, pidfd, number)) = asked? {
            return Ok(Child::new(plan.about(number), pidfd, line, Reaper::Server(server), pipes));
        }
        // A process's sockets close a moment before its end is seen.
        let _ = server.pidfd.wait_ended(Deadline::after(SERVER_END_MAX));
        if !server.has_ended() {
            let refused = io::Error::other("the forkserver did not take the request; it may have too many files open");
            return Err(plan.failed("have it forked")(refused));
        }
    }
    Err(plan.failed("have it forked")(io::Error::other("one forkserver after the other was killed or stopped")))
}

/// Refuses a source that has nothing to do with the child's start method.
fn refuse_other_methods(plan: &Plan, source: &Source) -> Result<(), StartError> {
    let problem = match (source.is_nursery(), plan.method) {
        (false, StartMethod::ForkServer) | (true, StartMethod::Fork) => return Ok(()),
        (false, _) => "only a context that starts by forkserver can preload",
        (true, _) => "the children of a nursery are forked",
    };
    Err(StartError::Method { name: plan.name.clone(), method: plan.method, problem })
}

/// A child's stream as it can be sent, more than once if a server is killed.
enum Stream {
    Inherited,
    Null,
    Own(Descriptor),
}

impl From<ChildEnd> for Stream {
    fn from(end: ChildEnd) -> Self {
        match end {
            ChildEnd::Inherited => Self::Inherited,
            ChildEnd::Null => Self::Null,
            ChildEnd::Own(end) => Self::Own(end.into()),
        }
    }
}

impl Stream {
    /// What the child is sent. Nothing stands for `/dev/null`, which is what the server has, and what a stream becomes
    /// that is closed here.
    fn to_send(&self, own: impl AsFd) -> Option<Descriptor> {
        match self {
            Self::Null => None,
            Self::Inherited => dup(own, SPAWN_DESCRIPTOR_MIN).ok().map(Descriptor::from),
            Self::Own(end) => Some(end.clone()),
        }
    }
}

/// What a child is held by once it is born.
type Born = (Line, PidFd, u32);

/// Asks the server for one child. `None` when the server was killed before it could tell of one.
///
/// A child runs nothing before it has its settings, and it gets them only after the server's word has come here. So
/// when the server is killed in between, a child that nobody knows of sees this end of its socket close, and ends.
fn request(waiting: &mut Waiting<'_>, call: &Message, streams: &[Stream; 3]) -> Result<Option<Born>, StartError> {
    let Waiting { plan, server, .. } = *waiting;
    let (ours, theirs) = PacketSocket::pair().map_err(plan.failed("make its socket"))?;
    let line = Line::new(ours);
    line.send(CALL, call).map_err(plan.failed("send its arguments"))?;
    match ask(waiting, &theirs) {
        Err(error) if is_gone(&error) => return Ok(None),
        other => other.map_err(|error| waiting.failed("ask the forkserver for it", error))?,
    }
    drop(theirs);
    let setup = setup(plan, server, streams)?; // Put together while the server forks.
    let Some((pidfd, number)) = wait_born(waiting, &line)? else { return Ok(None) };
    match line.send(SETUP, &setup) {
        Err(error) if is_gone(&error) => {} // It was killed: its status will tell.
        other => other.map_err(plan.failed("send its settings"))?,
    }
    Ok(Some((line, pidfd, number)))
}

/// Sends the request. A stopped server takes none, so that one more may find no room.
fn ask(waiting: &mut Waiting<'_>, theirs: &PacketSocket) -> io::Result<()> {
    let server = waiting.server;
    loop {
        match server.control.socket().try_send([b"fork"], &[theirs.as_fd()]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
        let room = (server.control.as_fd(), Interest::Write);
        waiting.wait([room, (server.pidfd.as_fd(), Interest::Read)])?;
    }
}

/// Everything that the child must know about itself.
fn setup(plan: &Plan, server: &Server, [stdin, stdout, stderr]: &[Stream; 3]) -> Result<Message, StartError> {
    let directory = match plan.open_directory()? {
        Some(directory) => directory,
        None => current_dir(Path::new(".")).map_err(plan.failed("open the current directory"))?.into(),
    };
    let streams = [stdin.to_send(io::stdin()), stdout.to_send(io::stdout()), stderr.to_send(io::stderr())];
    let settings = settings(plan)?;
    let settings = (settings != server.settings).then_some(settings);
    let environment = plan.env.apply(std::env::vars_os().collect());
    let environment = (environment != server.environment).then_some(environment);
    plan.setup_message(Some(directory), Some(Handover { settings, environment, streams }))
}

/// What exec would hand down.
pub(super) fn settings(plan: &Plan) -> Result<Vec<u64>, StartError> {
    Inherited::capture().map(|settings| settings.to_words()).map_err(plan.failed("read this process's own settings"))
}

/// Waits for the server's word about the child.
fn wait_born(waiting: &mut Waiting<'_>, line: &Line) -> Result<Option<(PidFd, u32)>, StartError> {
    let Waiting { plan, server, .. } = *waiting;
    let frame = receive_or_end(server, line, |watched| waiting.wait(watched))
        .map_err(|error| waiting.failed("hear from the forkserver", error))?;
    let Some(frame) = frame else { return Ok(None) };
    let broken = || plan.failed("understand the forkserver")(io::ErrorKind::InvalidData.into());
    match frame.kind {
        BORN => {
            let (number, pidfd) = read_born(frame).ok_or_else(broken)?;
            Ok(Some((pidfd.into(), number)))
        }
        FAILED => {
            let errno = protocol::decoder(frame).ok().and_then(|mut decoder| decoder.value::<i32>().ok());
            Err(plan.failed("fork it")(io::Error::from_raw_os_error(errno.ok_or_else(broken)?)))
        }
        _ => Err(broken()),
    }
}

/// The next frame, or `None` when there is none and the server is gone. `wait` waits until one of two is ready; its errors are
/// this one's.
pub(super) fn receive_or_end(
    server: &Server,
    line: &Line,
    mut wait: impl FnMut([(BorrowedFd<'_>, Interest); 2]) -> io::Result<()>,
) -> io::Result<Option<Frame>> {
    let has_come = || poll_one(line, Interest::Read, Deadline::NOW).unwrap_or(true);
    spin(CHILD_TIME, has_come);
    loop {
        let server_ended = server.has_ended();
        match line.try_receive() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !server_ended => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => return other,
        }
        wait([(line.as_fd(), Interest::Read), (server.pidfd.as_fd(), Interest::Read)])?;
    }
}
