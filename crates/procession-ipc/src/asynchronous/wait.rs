//! Waiting on many things in a task.
//!
//! Relies on `wait.rs` of the crate for what is ready, and on a set of descriptors of its own for each wait (epoll(7)),
//! whose descriptor the reactor watches. A set leaves the reactor with its wait.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use procession_sys::{Epoll, Interest};

use super::line::{Awaited, Bell, Lines, Way, when};
use crate::WaitError;
use crate::wait::{Source, Waitable, Watch, try_wait_ready};

/// As [`wait_ready`](crate::wait_ready) in a task: waits until at least one of the things is ready, and says which all are,
/// by their positions in the list, in order.
///
/// It has a descriptor of its own while it waits. With queues or connections in the list it looks every 50 ms, as its twin
/// does; a [`get_async`](crate::Queue::get_async) for each costs less.
///
/// # Errors
/// As [`wait_ready`](crate::wait_ready).
///
/// # Examples
/// ```
/// use procession_ipc::{Queue, Waitable, wait_ready_async};
/// use std::io::{Write, pipe};
///
/// let (reader, mut writer) = pipe()?;
/// let queue = Queue::<u8>::bounded(1)?;
/// futures_lite::future::block_on(async {
///     writer.write_all(b"hello")?;
///     let things: [&(dyn Waitable + Sync); 2] = [&queue, &reader];
///     assert_eq!(wait_ready_async(things).await?, [1]);
///     queue.put_async(7).await?;
///     assert_eq!(wait_ready_async(things).await?, [0, 1]);
///     # Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn wait_ready_async<'a>(things: impl AsRef<[&'a (dyn Waitable + Sync)]>) -> Result<Vec<usize>, WaitError> {
    let things = things.as_ref();
    if things.is_empty() {
        return Err(WaitError::Nothing);
    }
    let look = || match look(things) {
        Ok(ready) if ready.is_empty() => None,
        looked => Some(looked),
    };
    if let Some(ready) = look() {
        return ready;
    }
    let refused = |error| WaitError::System { things: things.len(), error };
    let fds = things.iter().map(|thing| (thing.watch().fd, Interest::Read));
    let has_sources = things.iter().any(|thing| thing.watch().source.is_some());
    let gathering = Gathering::of(fds, has_sources).map_err(refused)?;
    when(&gathering, Way::In, || {
        sources(things).for_each(Source::arm);
        // Who has made one ready before it knew that it is to ring is seen by this.
        look()
    })
    .await
    .unwrap_or_else(|error| Err(refused(error)))
}

fn look(things: &[&(dyn Waitable + Sync)]) -> Result<Vec<usize>, WaitError> {
    let things: Vec<&dyn Waitable> = things.iter().map(|thing| *thing as &dyn Waitable).collect();
    try_wait_ready(things)
}

fn sources<'a>(things: &[&'a (dyn Waitable + Sync)]) -> impl Iterator<Item = &'a dyn Source> {
    things.iter().filter_map(|thing| {
        let Watch { source, .. } = thing.watch();
        source
    })
}

/// What one wait waits for.
#[derive(Debug)]
struct Gathering {
    set: Epoll,
    lines: Lines,
    /// Whether it is to be looked at though nothing has rung.
    is_looked_at: bool,
}

/// Tries something with a descriptor until it is done, whenever that is ready for what the try needed; and every 50 ms, for
/// a deadline may have passed.
pub(super) async fn when_ready<F: AsFd, R>(
    thing: &mut F,
    mut attempt: impl FnMut(&mut F) -> Result<R, Interest>,
) -> io::Result<R> {
    let gathering = match attempt(thing) {
        Ok(done) => return Ok(done),
        Err(interest) => Gathering::of([(thing.as_fd(), interest)], true)?,
    };
    when(&gathering, Way::In, || match attempt(thing) {
        Ok(done) => Some(Ok(done)),
        Err(interest) => gathering.set.change(thing.as_fd(), 0, interest).err().map(Err),
    })
    .await?
}

impl Gathering {
    /// Of these descriptors, each of which may come several times.
    fn of<'a>(fds: impl IntoIterator<Item = (BorrowedFd<'a>, Interest)>, is_looked_at: bool) -> io::Result<Arc<Self>> {
        let set = Epoll::new()?;
        for (fd, interest) in fds {
            match set.add(fd, 0, interest) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                added => added?,
            }
        }
        Ok(Arc::new(Self { set, lines: Lines::default(), is_looked_at }))
    }
}

impl Awaited for Gathering {
    fn lines(&self) -> &Lines {
        &self.lines
    }

    fn bell(&self, _: Way) -> Bell<'_> {
        Bell { position: 0, fd: self.set.as_fd(), interest: Interest::Read }
    }

    fn arm(&self, _: Way) -> bool {
        false
    }

    fn is_ready(&self, _: Way) -> bool {
        self.is_looked_at
    }

    fn settle(&self, _: Way) {}
}
