//! The references of the one value that this thread is writing or reading.
//!
//! Relies on a thread-local cell, as `procession-wire` does for descriptors: serde hands a proxy nothing but the serializer. A
//! value that is written for a server, or read from one, names that server's objects; who it is written for, and who has
//! them, stands here for the length of one value.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use procession_wire::{DecodeError, EncodeError, Encoder, Message};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::frame::REFERENCES_MAX;
use crate::identity::ObjectId;
use crate::proxy::RawProxy;

enum Scope {
    /// No value of a call.
    Outside,
    /// One for this server.
    Writing { server: ObjectId, references: Vec<RawProxy> },
    /// One that came with these references.
    Reading { references: Vec<RawProxy> },
    /// One that becomes a value without a type, or was one, and what it refers to meanwhile.
    Converting { references: Vec<RawProxy> },
}

thread_local! {
    /// Outside of values, so that there is nothing to drop when the thread ends; and without a destructor it can be used until
    /// then, also by what runs at the end of the process.
    static CURRENT: RefCell<ManuallyDrop<Scope>> = const { RefCell::new(ManuallyDrop::new(Scope::Outside)) };
}

/// Has another scope in the place of the current one, which it gives back.
fn exchange(scope: Scope) -> Scope {
    ManuallyDrop::into_inner(CURRENT.replace(ManuallyDrop::new(scope)))
}

/// Puts back what was there before, also when a value panics.
struct Restore(Option<Scope>);

impl Restore {
    fn enter(scope: Scope) -> Self {
        Self(Some(exchange(scope)))
    }

    fn leave(mut self) -> Scope {
        exchange(self.0.take().unwrap_or(Scope::Outside))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            drop(exchange(before));
        }
    }
}

/// Writes a value that goes to this server, or comes from it, and tells what it refers to there.
pub(crate) fn pack<T: Serialize + 'static>(
    server: ObjectId,
    value: &T,
) -> Result<(Message, Vec<RawProxy>), EncodeError> {
    pack_with(server, |encoder| encoder.value(value))
}

/// The same for a value that borrows, and is no vector of numbers.
pub(crate) fn pack_lent<T: Serialize + ?Sized>(
    server: ObjectId,
    value: &T,
) -> Result<(Message, Vec<RawProxy>), EncodeError> {
    pack_with(server, |encoder| encoder.lent(value))
}

/// Room for most values, so that it need not grow while they are written.
const VALUE_BYTES: usize = 32;

fn pack_with(
    server: ObjectId,
    write: impl FnOnce(&mut Encoder) -> Result<(), EncodeError>,
) -> Result<(Message, Vec<RawProxy>), EncodeError> {
    let scope = Restore::enter(Scope::Writing { server, references: Vec::new() });
    let mut encoder = Encoder::with_buffer(Vec::with_capacity(VALUE_BYTES));
    write(&mut encoder)?;
    match scope.leave() {
        Scope::Writing { references, .. } => Ok((encoder.finish(), references)),
        _ => Ok((encoder.finish(), Vec::new())),
    }
}

/// Reads a value that came with these references. Those that it does not take are let go of.
pub(crate) fn unpack<T: DeserializeOwned + 'static>(
    message: Message,
    references: Vec<RawProxy>,
) -> Result<T, DecodeError> {
    let scope = Restore::enter(Scope::Reading { references });
    let value = procession_wire::decode(message);
    drop(scope.leave()); // And then what is left of the references, which may call their server.
    value
}

/// Makes a value of a type of one without, or the other way round.
pub(crate) fn convert<T>(conversion: impl FnOnce() -> T) -> T {
    let scope = Restore::enter(Scope::Converting { references: Vec::new() });
    let converted = conversion();
    drop(scope.leave());
    converted
}

pub(crate) fn is_converting() -> bool {
    CURRENT.with_borrow(|scope| matches!(**scope, Scope::Converting { .. }))
}

/// Has a reference claimed by the value that is read next.
pub(crate) fn offer(proxy: RawProxy) {
    CURRENT.with_borrow_mut(|scope| {
        if let Scope::Converting { references } = &mut **scope {
            references.push(proxy);
        }
    });
}

/// Notes that the value which is being written refers to this object. False if it does not go to the object's server.
pub(crate) fn refer(proxy: &RawProxy) -> Result<bool, TooMany> {
    CURRENT.with_borrow_mut(|scope| match &mut **scope {
        Scope::Writing { server, references } if *server == proxy.server() => {
            if references.len() >= REFERENCES_MAX {
                return Err(TooMany);
            }
            references.push(proxy.clone());
            Ok(true)
        }
        Scope::Converting { references } if references.len() >= REFERENCES_MAX => Err(TooMany),
        Scope::Converting { references } => {
            references.push(proxy.clone());
            Ok(true)
        }
        _ => Ok(false),
    })
}

/// Takes the reference to this object that has come with the value which is being read.
pub(crate) fn claim(object: ObjectId) -> Option<RawProxy> {
    CURRENT.with_borrow_mut(|scope| match &mut **scope {
        Scope::Reading { references } | Scope::Converting { references } => {
            let at = references.iter().position(|proxy| proxy.object() == object)?;
            Some(references.swap_remove(at))
        }
        _ => None,
    })
}

/// A value refers to more than [`REFERENCES_MAX`] objects.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a value may refer to {REFERENCES_MAX} objects of a manager: send it in parts")]
pub(crate) struct TooMany;
