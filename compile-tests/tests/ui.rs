//! What must not compile does not, with the message that helps; beside it what must.
//!
//! Relies on trybuild. One file for each kind of mistake, in the folder of the crate that refuses it. The `pass` cases make
//! trybuild build instead of only check: what depends on a parameter is asserted while code is generated.

#[test]
fn what_is_refused_at_build_time_is_refused_with_the_message_that_helps() {
    let cases = trybuild::TestCases::new();
    // What may not run in a child, or go there.
    cases.pass("tests/launch/targets.rs");
    cases.compile_fail("tests/launch/refused_*.rs");
    // What may not live in shared memory.
    cases.pass("tests/shm/shareable.rs");
    cases.compile_fail("tests/shm/refused_*.rs");
    // What cannot be called from another process.
    cases.compile_fail("tests/manager/refused_*.rs");
}
