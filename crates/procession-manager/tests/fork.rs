//! Proxies in forked copies of a process: a copy has what its parent had, whatever the parent does meanwhile.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::time::Duration;

use procession_ipc::{Connection, pipe};
use procession_launch::{Context, StartMethod};
use procession_manager::{QueueProxy, SyncManager};

use common::{await_objects, warm_up};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

fn forking() -> Context {
    Context::new(StartMethod::Fork)
}

fn a_copy_has_what_its_parent_drops_before_it_has_called() {
    let manager = SyncManager::start().unwrap();
    let queue = manager.queue::<u64>().unwrap();
    queue.put(&7).unwrap();
    let (go, wait) = pipe::<(), ()>().unwrap();
    // What the closure has is dropped here when the copy is there.
    let copy = forking().fork(move || {
        wait.recv().unwrap();
        queue.get().unwrap()
    });
    await_objects(&manager, 1);
    go.send(&()).unwrap();
    assert_eq!(copy.unwrap().join().unwrap(), 7);
    await_objects(&manager, 0);
}

fn a_copy_has_what_its_parent_drops_with_its_connection() {
    let manager = SyncManager::start().unwrap();
    let queue = manager.queue::<u64>().unwrap();
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    let forks = |queue: QueueProxy<u64>, ours: Connection<(), ()>| {
        queue.put(&7).unwrap();
        let (go, wait) = pipe::<(), ()>().unwrap();
        let copy = forking().fork(move || {
            wait.recv().unwrap();
            queue.get().unwrap()
        });
        // Nothing of the server is left here. Until whoever has started this process has dropped its own proxy.
        ours.recv().unwrap();
        go.send(&()).unwrap();
        copy.unwrap().join().unwrap()
    };
    let child = Context::new(StartMethod::Spawn).start(forks, (queue.clone(), theirs)).unwrap();
    assert_eq!(queue.get_timeout(SOON).unwrap(), 7);
    queue.put(&8).unwrap();
    drop(queue);
    await_objects(&manager, 1);
    ours.send(&()).unwrap();
    assert_eq!(child.join().unwrap(), 8);
    await_objects(&manager, 0);
}

fn a_copy_that_does_not_call_keeps_nothing_when_it_ends() {
    let manager = SyncManager::start().unwrap();
    let queue = manager.queue::<u64>().unwrap();
    let (go, wait) = pipe::<(), ()>().unwrap();
    let copy = forking().fork(move || {
        let _kept = queue;
        wait.recv().unwrap();
    });
    await_objects(&manager, 1);
    // What came after the copy is none of its business.
    drop(manager.list::<u8>().unwrap());
    await_objects(&manager, 1);
    go.send(&()).unwrap();
    copy.unwrap().join().unwrap();
    await_objects(&manager, 0);
}

fn a_copy_of_a_copy_has_it_as_well() {
    let manager = SyncManager::start().unwrap();
    let queue = manager.queue::<u64>().unwrap();
    queue.put(&7).unwrap();
    let (go, wait) = pipe::<(), ()>().unwrap();
    let copy = forking().fork(move || {
        forking()
            .fork(move || {
                wait.recv().unwrap();
                queue.get().unwrap()
            })
            .unwrap()
            .join()
            .unwrap()
    });
    await_objects(&manager, 1);
    go.send(&()).unwrap();
    assert_eq!(copy.unwrap().join().unwrap(), 7);
    await_objects(&manager, 0);
}

fn what_copies_had_costs_no_descriptors() {
    let manager = SyncManager::start().unwrap();
    let round = || {
        let queue = manager.queue::<u64>().unwrap();
        let copy = forking().fork(move || queue.put(&1).unwrap()).unwrap();
        copy.join().unwrap();
        await_objects(&manager, 0);
    };
    round();
    let open = procession_testkit::open_descriptors().len();
    (0..20).for_each(|_| round());
    assert_eq!(procession_testkit::open_descriptors().len(), open);
}

fn copies_that_are_gone_cost_no_descriptors() {
    let manager = SyncManager::start().unwrap();
    let queue = manager.queue::<u64>().unwrap();
    manager.publish("queue", &queue).unwrap();
    let round = || {
        forking().fork(|| ()).unwrap().join().unwrap();
        drop(manager.get::<QueueProxy<u64>>("queue").unwrap()); // And no last proxy of anything.
    };
    round();
    let open = procession_testkit::open_descriptors().len();
    (0..20).for_each(|_| round());
    assert_eq!(procession_testkit::open_descriptors().len(), open);
}

procession_testkit::main! {
    warm_up: warm_up;
    cases: [
        a_copy_has_what_its_parent_drops_before_it_has_called,
        a_copy_has_what_its_parent_drops_with_its_connection,
        a_copy_that_does_not_call_keeps_nothing_when_it_ends,
        a_copy_of_a_copy_has_it_as_well,
        what_copies_had_costs_no_descriptors,
        copies_that_are_gone_cost_no_descriptors,
    ];
}
