//! Constructors of the image run before a child's target as they run before `main`: all of them, each once.
//!
//! # Safety
//! The one constructor here counts in an atomic, so it needs nothing that is not there before `main`.

#![expect(unsafe_code, reason = "a constructor is a function pointer in a link section")]

use std::sync::atomic::{AtomicU32, Ordering};

use procession_launch::{Context, StartMethod};

static RUNS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count() {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static COUNT: extern "C" fn() = count;

/// In the part of the array that linkers sort to its front.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static COUNT_EARLY: extern "C" fn() = count;

/// Above the highest priority that has a meaning, which LLD sorts to the array's end: behind the constructor that
/// turns a process into a child. Other linkers put it anywhere, and then it must not run twice.
#[used]
#[unsafe(link_section = ".init_array.70000")]
static COUNT_LATE: extern "C" fn() = count;

fn runs() -> u32 {
    RUNS.load(Ordering::Relaxed)
}

fn methods() -> [(&'static str, StartMethod); 3] {
    StartMethod::ALL.map(|method| (method.name(), method))
}

fn warm_up() {
    methods().into_iter().for_each(|(_, method)| Context::new(method).start(|| (), ()).unwrap().join().unwrap());
}

fn each_constructor_has_run_once_before_a_childs_target(method: StartMethod) {
    assert_eq!(runs(), 3, "in a program");
    assert_eq!(Context::new(method).start(runs, ()).unwrap().join().unwrap(), 3);
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [each_constructor_has_run_once_before_a_childs_target];
}
