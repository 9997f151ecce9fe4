//! The side of the process that wants children.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use procession_boot::{FunctionId, Launch};
use procession_sys::{Deadline, Inherited, PacketSocket, PidFd, current_dir, dev_null, discard_child, pid};
use procession_wire::{Descriptor, Encoder, Message};

use super::server::Serve;
use crate::builder::Plan;
use crate::child::{Child, Pipes, Reaper};
use crate::error::StartError;
use crate::protocol::{self, BORN, ENDED, FAILED, Frame, Handover, Line, START};
use crate::status::ExitStatus;
use crate::stdio::ChildEnds;

/// How many servers one start tries, when each is killed under it.
const SERVERS_MAX: usize = 3;

/// The running server of this process.
pub(crate) struct Server {
    /// Whose it is: a forked child has its parent's memory, not its server.
    owner: u32,
    /// Where requests go.
    control: PacketSocket,
    pidfd: PidFd,
    /// The environment that it and its children begin with.
    environment: Vec<(OsString, OsString)>,
}

static SERVER: Mutex<Option<Arc<Server>>> = Mutex::new(None);

impl Server {
    /// The server of this process, launched if there is none or the last one has ended.
    fn get(plan: &Plan) -> Result<Arc<Self>, StartError> {
        let mut server = SERVER.lock();
        if let Some(running) = server.as_ref().filter(|server| server.owner == pid() && !server.has_ended()) {
            return Ok(Arc::clone(running));
        }
        let new = Arc::new(Self::launch(plan)?);
        *server = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Executes a server.
    fn launch(plan: &Plan) -> Result<Self, StartError> {
        let image = |source| StartError::Image { name: plan.name.clone(), source };
        let null = dev_null().map_err(plan.failed("open /dev/null"))?;
        let environment: Vec<_> = std::env::vars_os().collect();
        let mut launch = Launch::role::<Serve>().map_err(image)?.env(environment.clone());
        for at in 0..3 {
            launch = launch.stream(at, null.as_fd());
        }
        let (control, theirs) = PacketSocket::pair().map_err(plan.failed("make the forkserver's socket"))?;
        let number = launch.start(&theirs).map_err(image)?;
        drop((theirs, null));
        let pidfd = PidFd::open(number).map_err(|source| {
            discard_child(number);
            plan.failed("hold the forkserver by a pidfd")(source)
        })?;
        Ok(Self { owner: pid(), control, pidfd, environment })
    }

    /// True once the server is gone; reaps it.
    pub(crate) fn has_ended(&self) -> bool {
        let ended = self.pidfd.wait_ended(Deadline::after(Duration::ZERO)).unwrap_or(true);
        if ended && self.owner == pid() {
            let _ = self.pidfd.try_reap();
        }
        ended
    }
}

/// Starts a child.
pub(crate) fn start(
    plan: &Plan,
    function: FunctionId,
    arguments: &dyn Fn(&mut Encoder) -> Result<(), procession_wire::EncodeError>,
    ends: ChildEnds,
    pipes: Pipes,
) -> Result<Child, StartError> {
    let directory = match plan.open_directory()? {
        Some(directory) => directory,
        None => current_dir(Path::new(".")).map_err(plan.failed("open the current directory"))?.into(),
    };
    let streams = ends.map(|end| end.map(Descriptor::from));
    for _ in 0..SERVERS_MAX {
        let server = Server::get(plan)?;
        let message = start_message(plan, &server, function, arguments, directory.clone(), streams.clone())?;
        if let Some((line, pidfd, number)) = request(plan, &server, &message)? {
            return Ok(Child::new(plan.about(number), pidfd, line, Reaper::Server(server), pipes));
        }
    }
    Err(plan.failed("have it forked")(io::Error::other("one forkserver after the other was killed")))
}

/// What a child is held by once it is born.
type Born = (Line, PidFd, u32);

/// Asks the server for one child. `None` when the server was killed before it forked.
///
/// The child says itself that it is born, before it does anything else. So when the server is killed in between, the
/// socket tells exactly: either the child's word comes, or the socket closes because there is no child.
fn request(plan: &Plan, server: &Server, message: &Message) -> Result<Option<Born>, StartError> {
    let (ours, theirs) = PacketSocket::pair().map_err(plan.failed("make its socket"))?;
    let line = Line::new(ours);
    line.send(START, message).map_err(plan.failed("send its arguments"))?;
    match server.control.send(&[b"fork"], &[theirs.as_fd()]) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(None),
        other => other.map_err(plan.failed("ask the forkserver for it"))?,
    }
    drop(theirs);
    wait_born(plan, line)
}

/// Everything that the child must know.
fn start_message(
    plan: &Plan,
    server: &Server,
    function: FunctionId,
    arguments: &dyn Fn(&mut Encoder) -> Result<(), procession_wire::EncodeError>,
    directory: Descriptor,
    streams: [Option<Descriptor>; 3],
) -> Result<Message, StartError> {
    let settings = Inherited::capture().map_err(plan.failed("read this process's own settings"))?.to_words();
    let environment = plan.env.apply(std::env::vars_os().collect());
    let environment = (environment != server.environment).then_some(environment);
    plan.message(function, arguments, Some(directory), Some(Handover { settings, environment, streams }))
}

/// Waits for the child's first word.
fn wait_born(plan: &Plan, line: Line) -> Result<Option<Born>, StartError> {
    let frame = match line.receive(Deadline::NEVER).map_err(plan.failed("hear from it"))? {
        Some(frame) => frame,
        None => return Ok(None),
    };
    let Frame { kind, mut decoder } = frame;
    let broken = || plan.failed("hear from it")(io::ErrorKind::InvalidData.into());
    match kind {
        BORN => {
            let (number, pidfd): (u32, Descriptor) = decoder.value().map_err(|_| broken())?;
            let pidfd = pidfd.into_owned().map_err(plan.failed("hold it by a pidfd"))?;
            Ok(Some((line, pidfd.into(), number)))
        }
        FAILED => {
            let errno: i32 = decoder.value().map_err(|_| broken())?;
            Err(plan.failed("fork it")(io::Error::from_raw_os_error(errno)))
        }
        ENDED => {
            let ended = protocol::decode_ended(decoder).ok_or_else(broken)?;
            Err(StartError::Died { name: plan.name.clone(), status: ExitStatus::new(ended) })
        }
        _ => Err(broken()),
    }
}
