//! What a process sends to a server, and in which order.
//!
//! Relies on a connection that begins a frame or does not, and goes on with one that has begun. What the server is to be told
//! whatever happens is kept until it takes that, and goes before anything else.

use std::sync::Arc;
use std::time::Duration;

use procession_ipc::SendError;
use procession_sys::Deadline;

use super::{Link, Question, Unanswered};
use crate::frame::{Frame, Request};
use crate::patience::Patience;

/// How long who cannot send waits before it looks for answers again.
const SEND_TIME: Duration = Duration::from_millis(10);

/// How long somebody waits for a server to take what he gives back, if no other thread is to see to that. It is given back
/// all the same, before anything else is sent.
const GIVE_BACK_TIME: Duration = Duration::from_secs(1);

/// How long a server may take nothing that is to be told a thing before somebody else is.
const TELL_TIME: Duration = Duration::from_secs(10);

impl Link {
    /// Sends a call that has no answer.
    pub(crate) fn command(&self, question: Question, deadline: Deadline) -> Result<(), Unanswered> {
        self.is_there()?;
        self.send(&question.about(self.next_number(), false).write(), deadline)
    }

    /// The same whether or not it can go now: then it goes before anything else does.
    pub(crate) fn command_in_order(&self, question: Question) -> Result<(), Unanswered> {
        self.is_there()?;
        self.tell_in_order(question.about(self.next_number(), false).write());
        Ok(())
    }

    fn is_there(&self) -> Result<(), Unanswered> {
        match &self.state.lock().gone {
            Some(reason) => Err(Unanswered::Gone(reason.clone())),
            None => Ok(()),
        }
    }

    /// Tells the server something that has no answer; false if that cannot go now.
    pub(crate) fn tell(&self, request: Request) -> bool {
        self.begin(&request.write(), Duration::ZERO).is_ok()
    }

    /// The same, and waits for a moment if it must; false if the server is gone, or takes nothing.
    pub(crate) fn tell_surely(&self, request: Request) -> bool {
        self.send(&request.write(), Deadline::after(TELL_TIME)).is_ok()
    }

    /// Tells the server something before anything that this process sends next, whenever that can go.
    pub(super) fn tell_in_order(&self, frame: Frame) {
        let is_alone = {
            let mut state = self.state.lock();
            if state.gone.is_some() {
                return;
            }
            state.untold.push_back(Arc::new(frame));
            state.senders == 0
        };
        let until = if is_alone { Deadline::after(GIVE_BACK_TIME) } else { Deadline::NOW };
        let mut told = self.tell_first(Duration::ZERO);
        while matches!(told, Ok(false)) && !until.has_passed() {
            self.take_in_all();
            told = self.tell_first(SEND_TIME);
        }
        if let Err(error) = told {
            let _ = self.unsent(error);
        }
    }

    /// Tells the server what it is to be told first; false if that cannot go within this time.
    pub(super) fn tell_first(&self, time: Duration) -> Result<bool, SendError> {
        let until = Deadline::after(time);
        let left = || until.remaining().unwrap_or(time);
        let next = || self.state.lock().untold.front().cloned();
        if next().is_none() {
            return Ok(true);
        }
        let Some(_turn) = self.first.try_lock_for(left()) else { return Ok(false) };
        while let Some(frame) = next() {
            match self.connection.begin(&frame, left()) {
                // If it is not whole its rest goes before anything else does, too.
                Ok(_) => drop(self.state.lock().untold.pop_front()),
                Err(SendError::Timeout | SendError::Busy) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Begins a frame, after what the server is to be told first; whether it is whole.
    fn begin(&self, frame: &Frame, time: Duration) -> Result<bool, SendError> {
        if !self.tell_first(time)? {
            return Err(SendError::Timeout);
        }
        self.connection.begin(frame, time)
    }

    /// Sends a frame. While the server takes nothing, its answers are taken in: perhaps it waits for that.
    ///
    /// What has begun in time is sent whole, or the connection has ended.
    pub(super) fn send(&self, frame: &Frame, deadline: Deadline) -> Result<(), Unanswered> {
        let begun = self.begin(frame, Duration::ZERO);
        if matches!(begun, Ok(true)) {
            return Ok(());
        }
        self.state.lock().senders += 1;
        let sent = self.go_on(frame, begun, deadline);
        self.leave_senders();
        sent
    }

    /// Sends a frame that could not go at once, or not all of it.
    fn go_on(&self, frame: &Frame, begun: Result<bool, SendError>, deadline: Deadline) -> Result<(), Unanswered> {
        let (mut sent, mut rest) = (begun, None);
        loop {
            match sent {
                Ok(true) => return Ok(()),
                Ok(false) if rest.is_none() => {
                    rest = Some(Patience::new(self.silence_max, self.connection.sent_bytes()));
                }
                Ok(false) | Err(SendError::Timeout | SendError::Busy) => {}
                Err(error) => return Err(self.unsent(error)),
            }
            let patience = rest.as_mut().map(|rest| rest.until(self.connection.sent_bytes()));
            match patience.map_or(deadline, |patience| patience.max(deadline)).remaining() {
                Some(Duration::ZERO) if rest.is_some() => return Err(self.lost("it reads no more")),
                Some(Duration::ZERO) => return Err(Unanswered::Late),
                left => {
                    self.take_in_all();
                    let time = left.map_or(SEND_TIME, |left| left.min(SEND_TIME));
                    sent = if rest.is_some() { self.finish(time) } else { self.begin(frame, time) };
                }
            }
        }
    }

    /// Goes on with a frame that has begun; whether it is whole.
    fn finish(&self, time: Duration) -> Result<bool, SendError> {
        match self.connection.finish(time) {
            Ok(()) => Ok(true),
            Err(SendError::Timeout) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells the server what others have left to those who send, before there is one less of them.
    fn leave_senders(&self) {
        loop {
            let is_told = matches!(self.tell_first(Duration::ZERO), Ok(true));
            let mut state = self.state.lock();
            // Somebody may have left more meanwhile.
            if state.untold.is_empty() || !is_told {
                state.senders -= 1;
                return;
            }
        }
    }

    fn unsent(&self, error: SendError) -> Unanswered {
        match error {
            SendError::Disconnected | SendError::Torn { .. } | SendError::Closed => self.lost(&error.to_string()),
            other => Unanswered::Unsent(other),
        }
    }
}
