//! One case in a process of its own, and the audit of what it left in that process.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use procession_sys::{Deadline, Disposition, Signal, SignalMask, exit_now, pid, set_disposition};

use crate::descriptors::{OpenDescriptor, added, open_descriptors};
use crate::suite::Case;
use crate::tree::{LOOK, ProcessInfo, children_of};

/// How long children and descriptors that are on their way out at the end of a case may take. Nothing that has been joined
/// or killed takes a second, but a virtual machine whose host is busy keeps it from its processor for two at times.
pub const AUDIT_GRACE: Duration = Duration::from_secs(5);

/// How much of what is left is named: enough to see what it is.
const LEFT_SHOWN_MAX: usize = 20;

/// The exit code of a case that panicked.
const PANICKED: i32 = 101;

/// The exit code of a case that left something behind.
const UNTIDY: u8 = 102;

/// What a process holds.
struct Holdings {
    descriptors: Vec<OpenDescriptor>,
    children: Vec<ProcessInfo>,
}

impl Holdings {
    fn take() -> Self {
        Self { descriptors: open_descriptors(), children: children_of(pid()) }
    }

    /// What `self` has and `baseline` had not. A child counts as the baseline's when one had its name, so that a
    /// service may have been replaced; a zombie never does.
    fn beyond(&self, baseline: &Self) -> Vec<String> {
        let known = |child: &ProcessInfo| baseline.children.iter().any(|before| before.name == child.name);
        let children = self.children.iter().filter(|child| child.is_zombie() || !known(child));
        let children = children.map(|child| match child.is_zombie() {
            true => format!("a zombie: {child}"),
            false => format!("a child that runs: {child}"),
        });
        let descriptors = added(&baseline.descriptors, &self.descriptors);
        children.chain(descriptors.iter().map(|descriptor| format!("open: {descriptor}"))).collect()
    }
}

/// Takes back what whoever ran the tests did to signals: a shell ignores SIGINT for what it runs in the background.
fn restore_signals() {
    for signal in [Signal::INT, Signal::TERM, Signal::CHLD] {
        set_disposition(signal, Disposition::Default);
    }
    SignalMask::EMPTY.install();
}

/// Runs the case and audits it.
pub(crate) fn run(warm_up: Option<fn()>, case: &Case) -> ExitCode {
    restore_signals();
    if let Some(warm_up) = warm_up {
        warm_up();
    }
    let baseline = Holdings::take();
    if panic::catch_unwind(AssertUnwindSafe(|| (case.run)())).is_err() {
        // At once: exit handlers would wait for children that the case meant to end.
        exit_now(PANICKED);
    }
    let left = audit(&baseline);
    if left.is_empty() {
        return ExitCode::SUCCESS;
    }
    let more = left.len().saturating_sub(LEFT_SHOWN_MAX);
    eprintln!("the case has left behind:\n  {}", left[..left.len() - more].join("\n  "));
    if more > 0 {
        eprintln!("  and {more} more");
    }
    ExitCode::from(UNTIDY)
}

/// What is left when the grace is over.
fn audit(baseline: &Holdings) -> Vec<String> {
    let deadline = Deadline::after(AUDIT_GRACE);
    loop {
        // Before the look: what was seen before this process lost its processor is not what is left.
        let is_last = deadline.has_passed();
        let left = Holdings::take().beyond(baseline);
        if left.is_empty() || is_last {
            return left;
        }
        // Nobody tells when a descriptor of another thread is closed.
        thread::sleep(LOOK);
    }
}
