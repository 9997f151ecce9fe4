//! The nursery: a server that is a copy of this process.
//!
//! # Safety
//! It is forked after the proof that this process has one thread, and serves without returning to the frames that it
//! has copied.

#![expect(unsafe_code, reason = "forks a process that was proven to have one thread")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;

use procession_boot::Boot;
use procession_sys::{Deadline, Interest, PacketSocket, Signal, exit_now, fork, pid, poll};

use super::server::{self, Kind, REQUEST_MAX};
use super::source::{Server, Source};
use crate::builder::Plan;
use crate::context::StartMethod;
use crate::error::StartError;
use crate::protocol::Line;
use crate::{fork as copy, registry};

/// The exit code of a nursery that could not begin.
const REFUSED: i32 = 255;

/// Forks a nursery. It has what this process has at this moment.
pub(crate) fn nursery() -> Result<Source, StartError> {
    let plan = Plan::named("nursery".to_owned(), StartMethod::Fork);
    registry::prepare().map_err(plan.failed("register an exit handler"))?;
    copy::prove_one_thread(&plan.name)?;
    let (credentials, settings) = (Server::credentials(&plan)?, super::client::settings(&plan)?);
    let environment = std::env::vars_os().collect();
    let mut lifelines = Some((copy::open_own_lifeline(&plan)?, copy::open_own_lifeline(&plan)?));
    let (ours, theirs) = PacketSocket::pair().map_err(plan.failed("make the nursery's socket"))?;
    copy::flush_streams();
    let mut both = Some((ours, theirs));
    let serve = || {
        let (Some((_, socket)), Some((own, lifeline))) = (both.take(), lifelines.take()) else { return REFUSED };
        exit_now(begin(own).map_or(REFUSED, |()| server::serve(Boot { socket, lifeline }, Kind::Nursery)))
    };
    // SAFETY: proven above.
    let number = unsafe { fork(serve) }.map_err(plan.failed("fork the nursery"))?;
    let Some((control, theirs)) = both else { unreachable!("only the copy takes the sockets") };
    drop((theirs, lifelines));
    let pidfd = plan.hold(number, "hold the nursery by a pidfd")?;
    let (owner, control, ended) = (pid(), Line::new(control), OnceLock::new());
    let (is_given_up, is_replaced) = (AtomicBool::new(false), AtomicBool::new(false));
    let server =
        Server { owner, number, credentials, control, pidfd, environment, settings, ended, is_given_up, is_replaced };
    wait_ready(&server).map_err(plan.failed("have the nursery begin"))?;
    Ok(Source::nursery(server))
}

/// Waits until the nursery serves, or has failed to.
fn wait_ready(server: &Server) -> io::Result<()> {
    let watched = [(server.control.as_fd(), Interest::Read), (server.pidfd.as_fd(), Interest::Read)];
    poll(watched, Deadline::NEVER)?;
    match server.control.socket().try_receive(REQUEST_MAX) {
        Ok(Some(_)) => Ok(()),
        _ => {
            let _ = server.pidfd.send(Signal::KILL).and_then(|()| server.pidfd.reap());
            Err(io::Error::other("it ended at once: are there descriptors and memory left?"))
        }
    }
}

/// Makes the copy a server.
fn begin(lifeline: OwnedFd) -> io::Result<()> {
    copy::become_copy(Some(lifeline))?;
    server::let_go_of_streams()
}
