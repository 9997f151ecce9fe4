//! Shared memory with names that a manager's server owns, and that end with it.
//!
//! Relies on the testkit: each case is a process tree of its own, with a deadline and an audit of what is left.

#[expect(dead_code, reason = "other tests need more of it")]
mod common;

use std::time::{Duration, Instant};

use procession_launch::{Context, StartMethod};
use procession_manager::{BaseManager, ManagerError, SharedMemoryManager};
use procession_shm::{ShareableList, SharedMemory, ShmError};

use common::{methods, rest, warm_up};

/// Ten times what a dead process may cost until others know.
const SOON: Duration = Duration::from_secs(10);

fn signal(name: &str, pid: u32) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

fn is_there(name: &str) -> bool {
    match SharedMemory::open(name) {
        Ok(_) => true,
        Err(ShmError::NotFound { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

fn start(method: StartMethod) -> SharedMemoryManager {
    SharedMemoryManager::start_as(BaseManager::builder().context(Context::new(method)).shutdown_timeout(SOON)).unwrap()
}

fn segments_end_with_their_manager(method: StartMethod) {
    let manager = start(method);
    let memory = manager.shared_memory(5000).unwrap();
    let list = manager.shareable_list(["Ada".into(), 36.into()]).unwrap();
    let names = [memory.name().unwrap().to_owned(), list.name().unwrap().to_owned()];
    memory.write(4990, b"the end").unwrap();
    let reads = |memory: String, list: String| {
        let mut bytes = [0; 7];
        SharedMemory::open(&memory).unwrap().read(4990, &mut bytes).unwrap();
        assert_eq!((&bytes, ShareableList::open(&list).unwrap().get(1).unwrap()), (b"the end", 36.into()));
    };
    Context::new(method).start(reads, names.clone().into()).unwrap().join().unwrap();
    let empty = manager.shared_memory(0);
    assert!(matches!(empty, Err(ManagerError::Segment { .. })), "{empty:?}");
    let early = manager.shared_memory(1).unwrap();
    early.unlink().unwrap(); // Nobody has to wait for the end.
    manager.shutdown().unwrap();
    match method {
        StartMethod::Fork => names.iter().for_each(|name| await_absence(name)),
        _ => assert!(names.iter().all(|name| !is_there(name)), "the names are gone when `shutdown` is back"),
    }
    let mut bytes = [0; 7];
    memory.read(4990, &mut bytes).unwrap();
    assert_eq!(&bytes, b"the end", "who has it open keeps it");
    let dropped = start(method);
    let name = dropped.shared_memory(1).unwrap().name().unwrap().to_owned();
    drop(dropped);
    await_absence(&name);
}

fn ctrl_c_leaves_the_server_alone(method: StartMethod) {
    let manager = start(method);
    let memory = manager.shared_memory(1).unwrap();
    signal("-INT", manager.pid().unwrap());
    manager.shared_memory(1).unwrap();
    assert!(is_there(memory.name().unwrap()));
}

fn await_absence(name: &str) {
    let begun = Instant::now();
    while is_there(name) {
        assert!(begun.elapsed() < SOON, "{name} is still there");
        std::thread::yield_now();
    }
}

fn a_killed_server_leaves_no_name(method: StartMethod) {
    let manager = start(method);
    let name = manager.shared_memory(1).unwrap().name().unwrap().to_owned();
    signal("-KILL", manager.pid().unwrap());
    await_absence(&name);
}

fn a_killed_starter_leaves_no_name(method: StartMethod) {
    let (receiver, sender) = procession_ipc::pipe_simplex::<String>().unwrap();
    let starts = |sender: procession_ipc::Sender<String>, method: String| -> () {
        let method = StartMethod::ALL.into_iter().find(|known| known.name() == method).unwrap();
        let manager = start(method);
        sender.send(&manager.shared_memory(1).unwrap().name().unwrap().to_owned()).unwrap();
        rest()
    };
    let child = Context::new(method).start(starts, (sender, method.name().to_owned())).unwrap();
    let name = receiver.recv().unwrap();
    assert!(is_there(&name));
    child.kill().unwrap();
    let _ = child.join();
    await_absence(&name);
}

fn another_kind_of_manager_has_none() {
    let manager = BaseManager::builder().authkey(b"a key").start().unwrap();
    let connected = SharedMemoryManager::connect(manager.address().clone(), b"a key");
    assert!(matches!(connected, Err(ManagerError::Call(_))), "{connected:?}");
}

procession_testkit::main! {
    warm_up: warm_up;
    cases for methods(), [
        segments_end_with_their_manager,
        ctrl_c_leaves_the_server_alone,
        a_killed_server_leaves_no_name,
        a_killed_starter_leaves_no_name,
    ];
    cases: [another_kind_of_manager_has_none];
}
