//! What is done with connections: messages go to and fro, or somebody connects, again and again.
//!
//! Relies on [`gang`](procession_benches::gang) for the process at the other end; the one that measures listens.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use procession_benches::Result;
use procession_benches::gang::{Member, Others};
use serde::{Deserialize, Serialize};

/// Does its work so many times, and says how long that took.
pub(crate) type Runs = Box<dyn FnMut(u64) -> Result<Duration>>;

/// A way to meet at an address.
pub(crate) trait Meeting: Sized + 'static {
    type End: End;

    /// Listens; `@name`, or `host:port` with the port 0.
    fn listen(address: &str) -> Result<Self>;
    /// Where.
    fn address(&self) -> Result<String>;
    fn accept(&self) -> Result<Self::End>;
    fn connect(address: &str) -> Result<Self::End>;
}

/// A connection.
pub(crate) trait End: 'static {
    fn send(&mut self, message: &[u8]) -> Result;
    /// A message that is as long as this.
    fn receive(&mut self, message: &mut [u8]) -> Result;
}

/// Connects, and sends back what comes.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Echo<M> {
    address: String,
    bytes: usize,
    meeting: PhantomData<M>,
}

impl<M: Meeting> Member for Echo<M> {
    fn join(self, _: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        let mut end = M::connect(&self.address)?;
        let mut message = vec![0; self.bytes];
        Ok(move |times| {
            for _ in 0..times {
                end.receive(&mut message)?;
                end.send(&message)?;
            }
            Ok(times)
        })
    }
}

/// A numbered message of so many bytes goes to another process and comes back.
pub(crate) fn back<M: Meeting>(address: &str, bytes: usize) -> Result<Runs> {
    let listener = M::listen(address)?;
    let mut others = Others::new();
    others.start(Echo::<M> { address: listener.address()?, bytes, meeting: PhantomData })?;
    let mut end = listener.accept()?;
    others.wait_until_ready()?;
    let mut message: Vec<u8> = (0..bytes).map(|at| (at ^ (at >> 8)) as u8 | 1).collect();
    let mut answer = vec![0; bytes];
    Ok(Box::new(move |times| {
        others.ask(times)?;
        let began = Instant::now();
        for number in 0..times {
            for place in [0, bytes / 2] {
                message[place..place + 8].copy_from_slice(&number.to_le_bytes());
            }
            end.send(&message)?;
            answer[..8].fill(0xff);
            end.receive(&mut answer)?;
            // The first ones, which do not count, are looked through.
            let is_whole = answer[..8] == message[..8] && (times > 2 || answer == message);
            if !is_whole {
                return Err(format!("message {number} has come back as another").into());
            }
        }
        others.answers()?;
        Ok(began.elapsed())
    }))
}

/// Connects, and closes the connection when it is one.
#[derive(Serialize, Deserialize)]
#[serde(bound = "")]
struct Caller<M> {
    address: String,
    meeting: PhantomData<M>,
}

impl<M: Meeting> Member for Caller<M> {
    fn join(self, _: usize) -> Result<impl FnMut(u64) -> Result<u64>> {
        Ok(move |times| {
            for _ in 0..times {
                drop(M::connect(&self.address)?);
            }
            Ok(times)
        })
    }
}

/// One connection after the other is made.
pub(crate) fn meet<M: Meeting>(address: &str) -> Result<Runs> {
    let listener = M::listen(address)?;
    let mut others = Others::new();
    others.start(Caller::<M> { address: listener.address()?, meeting: PhantomData })?;
    others.wait_until_ready()?;
    Ok(Box::new(move |times| {
        others.ask(times)?;
        let began = Instant::now();
        for _ in 0..times {
            drop(listener.accept()?);
        }
        others.answers()?;
        Ok(began.elapsed())
    }))
}
