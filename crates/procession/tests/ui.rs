//! What must not compile as a target or an argument, with the message that helps.
//!
//! The `pass` case makes trybuild build instead of only check: the constant assertions speak while code is generated.

#[test]
fn what_cannot_run_in_a_child_is_refused_at_build_time() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/targets.rs");
    cases.compile_fail("tests/ui/refused_*.rs");
}
