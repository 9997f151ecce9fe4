//! A process's connection to a server: one, which all its threads' calls share.
//!
//! Relies on `procession-ipc` for the connection. No thread runs for it: of the threads that wait for answers one receives,
//! and hands the others theirs; when it has its own, another one goes on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::Mutex;
use procession_ipc::{Connection, RecvError, SendError};
use procession_sys::{Deadline, Origin};

use crate::frame::{Frame, Request, Response};
use crate::identity::ObjectId;

/// How long the server may be slow to be told something.
const TELL_TIME: Duration = Duration::from_secs(10);

/// A connection to a server.
pub(crate) struct Link {
    /// What the server calls this client.
    pub(crate) client: u64,
    connection: Connection<Frame, Frame>,
    origin: Origin,
    calls: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, Waiting>,
    /// Whether a thread is receiving.
    is_received: bool,
    /// Why there will be no more answers.
    gone: Option<String>,
}

/// A thread that waits for an answer.
struct Waiting {
    thread: Thread,
    response: Option<Response>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Unanswered {
    /// The server is gone, or what it says makes no sense.
    Gone(String),
    /// Not in time.
    Late,
    /// The call could not be sent, and the connection is as before.
    Unsent(SendError),
}

impl Link {
    pub(crate) fn new(connection: Connection<Frame, Frame>, client: u64) -> Self {
        Self { client, connection, origin: Origin::here(), calls: AtomicU64::new(1), state: Mutex::default() }
    }

    /// False in a forked copy of the process that connected.
    pub(crate) fn is_own(&self) -> bool {
        self.origin.is_here()
    }

    /// Calls a method.
    pub(crate) fn call(
        &self,
        object: ObjectId,
        method: u64,
        arguments: Vec<crate::frame::Packed>,
        deadline: Deadline,
    ) -> Result<Response, Unanswered> {
        let call = self.next_number();
        let frame = Request::Call { call, object, method, arguments }.write();
        self.begin_waiting(call)?;
        if let Err(error) = self.send(&frame, deadline) {
            self.state.lock().waiting.remove(&call);
            return Err(error);
        }
        let answer = self.wait(call, deadline);
        // What the server hands out is not lost, whatever becomes of this call; if the server cannot be told it is gone.
        let told = match answer {
            Ok(Response::Return { is_claimed: true, .. }) => Some(Request::Acknowledge { call, object }),
            Err(Unanswered::Late) => Some(Request::Abandon { call, object }),
            _ => None,
        };
        let _ = told.is_none_or(|told| self.tell_surely(told));
        answer
    }

    /// Tells the server something that has no answer; false if that cannot go now.
    pub(crate) fn tell(&self, request: Request) -> bool {
        self.connection.try_send(&request.write()).is_ok()
    }

    /// The same, and waits for a moment if it must; false if the server is gone, or takes nothing.
    pub(crate) fn tell_surely(&self, request: Request) -> bool {
        self.connection.send_timeout(&request.write(), TELL_TIME).is_ok()
    }

    /// A number that this client has not used yet.
    pub(crate) fn next_number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    fn begin_waiting(&self, call: u64) -> Result<(), Unanswered> {
        let mut state = self.state.lock();
        if let Some(reason) = &state.gone {
            return Err(Unanswered::Gone(reason.clone()));
        }
        state.waiting.insert(call, Waiting { thread: thread::current(), response: None });
        Ok(())
    }

    fn send(&self, frame: &Frame, deadline: Deadline) -> Result<(), Unanswered> {
        let sent = match deadline.remaining() {
            None => self.connection.send(frame),
            Some(left) => self.connection.send_timeout(frame, left),
        };
        sent.map_err(|error| match error {
            SendError::Timeout => Unanswered::Late,
            SendError::Disconnected | SendError::Torn { .. } | SendError::Closed => self.lose(error.to_string()),
            other => Unanswered::Unsent(other),
        })
    }

    fn wait(&self, call: u64, deadline: Deadline) -> Result<Response, Unanswered> {
        let mut state = self.state.lock();
        loop {
            let waiting = state.waiting.get_mut(&call);
            if let Some(response) = waiting.and_then(|waiting| waiting.response.take()) {
                state.waiting.remove(&call);
                return Ok(response);
            }
            if let Some(reason) = state.gone.clone() {
                state.waiting.remove(&call);
                return Err(Unanswered::Gone(reason));
            }
            let left = deadline.remaining();
            if left == Some(Duration::ZERO) {
                state.waiting.remove(&call);
                return Err(Unanswered::Late);
            }
            if state.is_received {
                drop(state);
                left.map_or_else(thread::park, thread::park_timeout);
            } else {
                state.is_received = true;
                drop(state);
                let received = self.receive(left);
                state = self.state.lock();
                state.is_received = false;
                let is_mine = state.take_in(call, received);
                state.wake_next(call);
                if let Some(response) = is_mine {
                    state.waiting.remove(&call);
                    return Ok(response);
                }
                continue;
            }
            state = self.state.lock();
        }
    }

    fn receive(&self, left: Option<Duration>) -> Result<Frame, RecvError> {
        left.map_or_else(|| self.connection.recv(), |left| self.connection.recv_timeout(left))
    }

    /// Notes that the server is gone, and tells all that wait.
    fn lose(&self, reason: String) -> Unanswered {
        self.state.lock().lose(&reason);
        Unanswered::Gone(reason)
    }
}

impl State {
    /// Takes what was received to whoever waits for it; gives back what is for `call` itself.
    fn take_in(&mut self, call: u64, received: Result<Frame, RecvError>) -> Option<Response> {
        let frame = match received {
            Ok(frame) => frame,
            Err(RecvError::Timeout | RecvError::WouldBlock) => return None,
            Err(error) => {
                self.lose(&error.to_string());
                return None;
            }
        };
        let response = match Response::read(frame) {
            Ok(response) => response,
            Err(malformed) => {
                self.lose(&malformed.to_string());
                return None;
            }
        };
        let (Response::Return { call: to, .. } | Response::Refuse { call: to, .. }) = &response;
        if *to == call {
            return Some(response);
        }
        if let Some(waiting) = self.waiting.get_mut(to) {
            waiting.response = Some(response);
            waiting.thread.unpark();
        }
        None // What nobody waits for any more was abandoned, which the server knows or will.
    }

    /// Has another thread that still waits receive, if this one is done.
    fn wake_next(&self, call: u64) {
        let next = self.waiting.iter().find(|(other, waiting)| **other != call && waiting.response.is_none());
        if let Some((_, next)) = next {
            next.thread.unpark();
        }
    }

    fn lose(&mut self, reason: &str) {
        self.gone.get_or_insert_with(|| reason.to_owned());
        self.waiting.values().for_each(|waiting| waiting.thread.unpark());
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}
