//! Children start from `#[test]` as from anywhere else, although the test runs in a thread beside others.

use procession_launch::{Context, JoinError, Process, StartError, StartMethod, current_process};

/// The start methods that a process with threads has.
const METHODS: [StartMethod; 2] = [StartMethod::ForkServer, StartMethod::Spawn];

fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[test]
fn spawn_starts_from_a_test() {
    let child = Context::spawn().start(add, (2, 3)).unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

#[test]
fn forkserver_starts_from_a_test() {
    let child = Context::forkserver().start(add, (2, 3)).unwrap();
    assert_eq!(child.join().unwrap(), 5);
}

#[test]
fn a_closure_of_a_test_runs_in_a_child_and_not_the_test() {
    for method in METHODS {
        let told = || (std::process::id(), current_process().name().to_owned());
        let child = Context::new(method).start(told, ()).unwrap();
        let (pid, name) = (child.pid(), child.name().to_owned());
        assert_ne!(pid, std::process::id());
        assert_eq!(child.join().unwrap(), (pid, name));
    }
}

#[test]
fn a_panic_in_a_child_is_its_own() {
    for method in METHODS {
        let child = Context::new(method).builder(|| assert_eq!(1, 2), ()).stderr(procession_launch::Stdio::null());
        assert!(matches!(child.start().unwrap().join(), Err(JoinError::Panicked { .. })));
    }
}

#[test]
fn tests_that_run_at_once_start_children_at_once() {
    let children: Vec<Process<u64>> = (0..10).map(|n| Process::start(add, (n, n)).unwrap()).collect();
    for (n, child) in (0..).zip(children) {
        assert_eq!(child.join().unwrap(), 2 * n);
    }
}

#[test]
fn a_fork_is_refused_and_the_error_names_another_method() {
    let error = Context::new(StartMethod::Fork).start(add, (2, 3)).unwrap_err();
    assert!(matches!(&error, StartError::Threads { .. }), "{error}");
    assert!(error.to_string().contains("forkserver") && error.to_string().contains("#[test]"), "{error}");
    assert!(matches!(Context::nursery(), Err(StartError::Threads { .. })));
}
