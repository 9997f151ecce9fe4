//! What is put to the test.

/// Something that the loop can be run for.
pub(crate) trait Subject {
    /// Its name on the command line.
    const NAME: &'static str;
}

/// A pool and an executor.
#[derive(Debug)]
pub(crate) struct Pools;

impl Subject for Pools {
    const NAME: &'static str = "pool";
}
