//! What may not live in shared memory does not compile, with the message that helps.
//!
//! Relies on trybuild. The `pass` case makes it build instead of only check: what depends on a parameter is asserted
//! while code is generated.

#[test]
fn what_cannot_be_shared_is_refused_at_build_time() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/shareable.rs");
    cases.compile_fail("tests/ui/refused_*.rs");
}
