//! The start method `spawn`: this image executed anew.

use std::os::fd::AsFd;
use std::sync::Arc;

use procession_boot::{Boot, Entry, Launch};
use procession_sys::{PacketSocket, dev_null};
use procession_wire::Message;

use crate::body;
use crate::builder::Plan;
use crate::child::{Child, Pipes, Reaper};
use crate::error::StartError;
use crate::protocol::{CALL, Line, SETUP};
use crate::stdio::{ChildEnd, ChildEnds};

/// The role of a spawned child.
struct Spawned;

impl Entry for Spawned {
    type Input = Boot;
    type Output = i32;

    fn enter(boot: Boot) -> i32 {
        drop(boot.lifeline);
        body::run(&Arc::new(Line::new(boot.socket)), || {})
    }
}

/// Starts a child. It gets its arguments once it is held by a pidfd, while it is still being loaded: until then it runs
/// nothing, so a start that fails half-way has run nothing, and nobody else can have reaped it.
pub(crate) fn start(plan: &Plan, call: &Message, ends: ChildEnds, pipes: Pipes) -> Result<Child, StartError> {
    let image = |error| StartError::Image { name: plan.name.clone(), error };
    let setup = plan.setup_message(plan.open_directory()?, None)?;
    let null = dev_null().map_err(plan.failed("open /dev/null"))?;
    let mut launch = Launch::role::<Spawned>().map_err(image)?.executable(plan.executable.as_deref());
    launch = launch.env(plan.env.apply(std::env::vars_os().collect()));
    for (at, end) in ends.iter().enumerate() {
        launch = match end {
            ChildEnd::Inherited => launch,
            ChildEnd::Null => launch.stream(at, null.as_fd()),
            ChildEnd::Own(end) => launch.stream(at, end.as_fd()),
        };
    }
    let (ours, theirs) = PacketSocket::pair().map_err(plan.failed("make its socket"))?;
    let line = Line::new(ours);
    let pid = launch.start(&theirs).map_err(image)?;
    // What the child has now is closed here first, so that a descriptor for its pidfd is free.
    drop((theirs, ends, null));
    let pidfd = plan.hold(pid, "hold it by a pidfd")?;
    let child = Child::new(plan.about(pid), pidfd, line, Reaper::Own, pipes);
    let sent = child.line().send(CALL, call).and_then(|()| child.line().send(SETUP, &setup));
    plan.told(child, sent, "send its arguments")
}
