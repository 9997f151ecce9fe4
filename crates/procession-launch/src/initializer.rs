//! What a process that goes on runs before anything else: a function with arguments, on its way there.
//!
//! Relies on `target.rs` for the function's name, and on the process it comes to for what becomes of a failure.

use std::io;

use procession_boot::{BootError, FunctionId, resolve};
use procession_wire::{Decoder, Descriptor, EncodeError, Encoder};
use serde::{Deserialize, Serialize};

use crate::forkserver::PreloadResult;
use crate::panics::{CaughtPanic, catch_call};
use crate::passable::Arguments;
use crate::target::{Caller, Target, name_call, procession_calls_target};

/// A function and what it is called with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Initializer {
    function: FunctionId,
    arguments: Vec<u8>,
    descriptors: Vec<Descriptor>,
}

/// Why there is no such initializer.
#[derive(Debug)]
pub enum NoInitializer {
    /// The function has no name in this image.
    Image(BootError),
    /// The arguments cannot be sent.
    Arguments(EncodeError),
}

/// Why an initializer failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum InitializerFailure {
    /// It panicked.
    Panicked(CaughtPanic),
    /// It cannot be called there.
    Arguments(String),
    /// It returned an error.
    Refused(String),
}

impl Initializer {
    /// Calls this function with these arguments, when it runs.
    ///
    /// # Errors
    /// [`NoInitializer`].
    pub fn new<F, A>(function: F, arguments: &A) -> Result<Self, NoInitializer>
    where
        F: Target<A, Output: PreloadResult>,
        A: Arguments,
    {
        let function = name_call::<Prepare, F, A>(function).map_err(NoInitializer::Image)?;
        let mut encoder = Encoder::new();
        arguments.encode(&mut encoder).map_err(NoInitializer::Arguments)?;
        let (arguments, descriptors) = encoder.finish().into_parts();
        Ok(Self { function, arguments, descriptors })
    }

    /// Runs it, in the process that it has come to.
    ///
    /// # Errors
    /// [`InitializerFailure`].
    pub fn run(self) -> Result<(), InitializerFailure> {
        let Self { function, arguments, descriptors } = self;
        let descriptors = descriptors.into_iter().map(Descriptor::into_owned).collect::<io::Result<_>>();
        let descriptors = descriptors.map_err(|error| InitializerFailure::Arguments(error.to_string()))?;
        let run = resolve::<Decoder, Result<(), InitializerFailure>>(function);
        let run = run.map_err(|error| InitializerFailure::Arguments(error.to_string()))?;
        run(Decoder::new(arguments, descriptors))
    }
}

/// Calls an initializer.
struct Prepare;

impl<F, A> Caller<F, A> for Prepare
where
    F: Target<A, Output: PreloadResult>,
    A: Arguments,
{
    type Input = Decoder;
    type Output = Result<(), InitializerFailure>;

    fn call(function: F, mut arguments: Decoder) -> Self::Output {
        let called = catch_call(|| {
            let decoded =
                A::decode(&mut arguments).map_err(|error| InitializerFailure::Arguments(error.to_string()))?;
            procession_calls_target(function, decoded).outcome().map_err(InitializerFailure::Refused)
        });
        called.unwrap_or_else(|panic| Err(InitializerFailure::Panicked(panic)))
    }
}
