//! What clients cannot call does not compile as a shared method, with the message that helps.
//!
//! Relies on trybuild. One file for each kind of mistake, as each costs a run of the compiler.

#[test]
fn what_cannot_be_called_from_another_process_is_refused_at_build_time() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/refused_*.rs");
}
