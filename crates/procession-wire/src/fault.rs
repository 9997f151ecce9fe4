//! Any error as a value that can be sent.
//!
//! Relies on serde alone.

use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    fmt::{Debug, Display, Formatter},
};

/// How many causes of an error are kept.
///
/// Real chains have a handful; an error whose `source` leads back to itself must not loop.
pub const FAULT_CHAIN_MAX: usize = 64;

/// An error of any type, reduced to what can be sent: its message and the messages of its causes.
///
/// A function whose result goes to another process returns `Result<T, Fault>`; the `?` operator then
/// converts every `std::error::Error`, `anyhow::Error`, `Box<dyn Error>` and text. Only
/// `Box<dyn Error + Send + Sync>` is not converted by `?`, because the standard library does not turn it into
/// `Box<dyn Error>`; write `.map_err(Fault::from_boxed)?`.
///
/// `Fault` is no `std::error::Error` itself, as otherwise `?` could not convert every error into it.
///
/// # Python
///
/// `multiprocessing.pool.RemoteTraceback`, without the need for picklable exceptions.
///
/// # Examples
///
/// ```
/// use procession_wire::Fault;
///
/// fn read(path: &str) -> Result<String, Fault> {
///     Ok(std::fs::read_to_string(path)?)
/// }
///
/// let fault = read("/nowhere").unwrap_err();
/// assert_eq!(fault.to_string(), "No such file or directory (os error 2)");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fault {
    message: String,
    chain: Vec<String>,
}

impl Fault {
    /// A fault with this message and no cause.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(procession_wire::Fault::new("no disk").message(), "no disk");
    /// ```
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), chain: Vec::new() }
    }

    /// The fault that describes this error and its causes, of which the first [`FAULT_CHAIN_MAX`] are kept.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Fault;
    ///
    /// let error = "x".parse::<u8>().unwrap_err();
    /// assert_eq!(Fault::from_error(&error).message(), "invalid digit found in string");
    /// ```
    #[must_use]
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let chain = causes.take(FAULT_CHAIN_MAX).map(ToString::to_string).collect();
        Fault { message: error.to_string(), chain }
    }

    /// The fault that describes a boxed error which `?` does not convert.
    ///
    /// # Examples
    ///
    /// ```
    /// use procession_wire::Fault;
    /// use std::error::Error;
    ///
    /// fn job() -> Result<(), Box<dyn Error + Send + Sync>> {
    ///     Err("no disk".into())
    /// }
    ///
    /// fn target() -> Result<(), Fault> {
    ///     Ok(job().map_err(Fault::from_boxed)?)
    /// }
    /// # assert_eq!(target().unwrap_err().message(), "no disk");
    /// ```
    #[must_use]
    pub fn from_boxed(error: Box<dyn Error + Send + Sync>) -> Self {
        Fault::from_error(&*error)
    }

    /// The error's own message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The messages of its causes, from the nearest to the root.
    #[must_use]
    pub fn chain(&self) -> &[String] {
        &self.chain
    }
}

impl<E: Into<Box<dyn Error>>> From<E> for Fault {
    fn from(error: E) -> Self {
        Fault::from_error(&*error.into())
    }
}

impl Display for Fault {
    /// Writes the message; with `{:#}` the causes, too, each after a colon.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            self.chain.iter().try_for_each(|cause| write!(f, ": {cause}"))?;
        }
        Ok(())
    }
}

impl Debug for Fault {
    /// Writes the message and the causes as `main` and `unwrap` show them: one to a line.
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)?;
        self.chain.iter().try_for_each(|cause| write!(f, "\n  caused by: {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("level {0}")]
    struct Level(u32, #[source] Option<Box<Level>>);

    #[test]
    fn the_causes_follow_in_the_alternate_form() {
        let fault = Fault::from(Level(0, Some(Box::new(Level(1, Some(Box::new(Level(2, None))))))));
        assert_eq!(fault.to_string(), "level 0");
        assert_eq!(format!("{fault:#}"), "level 0: level 1: level 2");
        assert_eq!(format!("{fault:?}"), "level 0\n  caused by: level 1\n  caused by: level 2");
    }

    #[test]
    fn a_chain_is_cut_at_the_limit() {
        let last = Level(0, None);
        let long = (1..200).fold(last, |inner, level| Level(level, Some(Box::new(inner))));
        assert_eq!(Fault::from(long).chain().len(), FAULT_CHAIN_MAX);
    }

    #[test]
    fn every_usual_error_converts() {
        fn boxed() -> Result<(), Box<dyn Error>> {
            Err("boxed".into())
        }
        fn all(which: u8) -> Result<(), Fault> {
            match which {
                0 => boxed()?,
                1 => "x".parse::<u8>().map(|_| ())?,
                2 => Err("text")?,
                3 => Err("owned".to_string())?,
                _ => all(0)?,
            }
            Ok(())
        }
        let messages: Vec<_> = (0..5).map(|which| all(which).unwrap_err().to_string()).collect();
        assert_eq!(messages, ["boxed", "invalid digit found in string", "text", "owned", "boxed"]);
    }
}
