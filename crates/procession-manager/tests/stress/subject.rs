//! What is put to the test.

/// Something that the loop can be run for.
pub(crate) trait Subject {
    /// Its name on the command line.
    const NAME: &'static str;
}

/// A manager's server, and its clients.
#[derive(Debug)]
pub(crate) struct Managers;

impl Subject for Managers {
    const NAME: &'static str = "manager";
}
