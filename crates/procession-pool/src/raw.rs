//! Calls and replies for whoever runs tasks elsewhere than this crate does: as bytes, for any line.
//!
//! Relies on [`call`](crate::call). Both ends of the line run the same image: a call names its function by its place in it.

use std::fmt;

use procession_boot::FunctionId;
use procession_launch::calls::see_panics;
use procession_wire::{DecodeError, Encoder, Message, decode_slice};

use crate::call::{Call, FAULT, Load, Parcel, Reply, run_here};
use crate::cell::{Outcome, Promise};
use crate::error::{InvalidState, SubmitError, TaskError};
use crate::task::Task;

/// A call that any process of this image can make: a function, and its arguments; or a chunk of a map, as one. A clone is for
/// making it once more.
///
/// # Examples
/// An executor that runs every task at once, where it is submitted:
/// ```
/// use procession_pool::{Executor, ExecutorExt, SubmitError, Task};
///
/// struct Here;
/// impl Executor for Here {
///     fn submit_raw(&self, task: Task) -> Result<(), SubmitError> {
///         let (call, promise) = task.into_parts();
///         if promise.begin() { _ = promise.set_reply(call.run()); }
///         Ok(())
///     }
///     fn parallelism(&self) -> usize { 1 }
///     fn close(&self) {}
/// }
/// assert_eq!(Here.submit(|a: u64, b: u64| a + b, (2, 3))?.result()?, 5);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct RawCall(Call);

impl RawCall {
    /// The call as bytes, for a process of the same image that [`from_bytes`](Self::from_bytes) reads them in.
    ///
    /// # Errors
    /// [`SubmitError::Descriptors`]: an argument is a handle, which bytes alone cannot carry.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SubmitError> {
        let Call { function, arguments } = &self.0;
        let count = arguments.descriptor_count();
        if count > 0 {
            return Err(SubmitError::Descriptors { count });
        }
        let mut encoder = Encoder::new();
        encoder.value(function).map_err(|error| SubmitError::Arguments { error })?;
        let mut bytes = encoder.finish().into_parts().0;
        arguments.append_to(&mut bytes);
        Ok(bytes)
    }

    /// The reverse of [`to_bytes`](Self::to_bytes). Who may send these bytes may have any function of this image called that is
    /// a target somewhere in it: take them only from whom you trust.
    ///
    /// # Errors
    /// The bytes do not begin as those of a call do. What follows is looked at when the call is made: arguments that make no
    /// sense, or a function that this image does not have, are part of the reply, as [`TaskError::Arguments`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = procession_wire::Decoder::new(bytes.to_vec(), Vec::new());
        let function: FunctionId = decoder.value().map_err(|error| error.about("RawCall"))?;
        let arguments = Message::from_parts(bytes[decoder.position()..].to_vec(), Vec::new());
        Ok(Self(Call { function, arguments: Load::Encoded(arguments) }))
    }

    /// Makes the call in this process. A panic is part of the reply.
    #[must_use]
    pub fn run(self) -> RawReply {
        see_panics();
        RawReply(run_here(self.0))
    }
}

impl fmt::Debug for RawCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawCall").field(&self.0.function).finish()
    }
}

/// What has come of a [`RawCall`]: its result, or why there is none; of a chunk, that of each item.
#[derive(Debug)]
pub struct RawReply(Reply);

impl RawReply {
    /// True if it is of a single call that failed, which whoever runs tasks may make once more if the task has
    /// [`retries`](Task::retries). The items of a chunk have each an end of its own, and are never tried again.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.0.items().tag() == Some(FAULT)
    }

    /// The reply as bytes. A result that is a handle stays behind, and whoever reads it finds it missing.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        let Reply { bytes, parcels } = self.0;
        let bodies: Vec<Vec<u8>> = parcels.iter().map(|parcel| (*parcel.body).as_ref().to_vec()).collect();
        let mut encoder = Encoder::new();
        // Bytes, which no rule of the encoder refuses.
        let encoded = encoder.value(&(bytes, bodies));
        debug_assert!(encoded.is_ok(), "they are bytes");
        encoder.finish().into_parts().0
    }

    /// The reverse of [`into_bytes`](Self::into_bytes).
    ///
    /// # Errors
    /// The bytes are no reply.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let decoded = decode_slice(bytes, Vec::new()).map_err(|error| error.about("RawReply"));
        let (bytes, bodies): (Vec<u8>, Vec<Vec<u8>>) = decoded?;
        let parcel = |body: Vec<u8>| Parcel { body: Box::new(body), descriptors: Vec::new() };
        Ok(Self(Reply { bytes, parcels: bodies.into_iter().map(parcel).collect() }))
    }
}

impl Task {
    /// What is to be run, and who is to be told.
    #[must_use]
    pub fn into_parts(self) -> (RawCall, Promise) {
        (RawCall(self.call), self.promise)
    }
}

impl Promise {
    /// Ends the task with a reply. As every end of a task it wakes who waits: hold no lock that they may want.
    ///
    /// # Errors
    /// [`InvalidState`]: it has ended already, for instance because it was cancelled. The first end is kept.
    ///
    /// # Python
    /// `Future.set_result()`.
    pub fn set_reply(&self, reply: RawReply) -> Result<(), InvalidState> {
        self.resolve(Outcome::Returned(reply.0))
    }

    /// Ends the task with an error.
    ///
    /// # Errors
    /// As [`set_reply`](Self::set_reply).
    ///
    /// # Python
    /// `Future.set_exception()`.
    pub fn set_error(&self, error: TaskError) -> Result<(), InvalidState> {
        self.resolve(Outcome::failed(error))
    }
}
