//! Workers: how many there are, what they do first, and when they are replaced.

use std::collections::HashSet;
use std::sync::OnceLock;

use procession_launch::StartMethod;
use procession_pool::{Pool, PoolError, ProcessPoolExecutor, TaskError, ThreadPool, ThreadPoolExecutor};

use crate::{Door, executor, executors, pool, pools, square, wait_at};

pub(crate) fn a_pool_has_as_many_workers_as_it_is_told(method: StartMethod) {
    let pool = pool(3, method);
    let pids: HashSet<u32> = pool.worker_pids().into_iter().collect();
    assert_eq!((pids.len(), pool.processes()), (3, 3));
    assert!(pids.contains(&pool.apply(std::process::id, ()).unwrap()));
}

pub(crate) fn settings_that_make_no_sense_are_refused(method: StartMethod) {
    let says = |error: PoolError, setting: &str| {
        assert!(matches!(&error, PoolError::Setting { setting: named, .. } if *named == setting), "{error}");
    };
    says(Pool::new(0).unwrap_err(), "processes");
    says(ProcessPoolExecutor::new(0).unwrap_err(), "max_workers");
    says(ProcessPoolExecutor::new(usize::MAX).unwrap_err(), "max_workers");
    says(pools(1, method).max_tasks_per_child(0).build().unwrap_err(), "max_tasks_per_child");
    says(executors(1, method).max_tasks_per_child(0).build().unwrap_err(), "max_tasks_per_child");
    assert!(ThreadPool::new(0).is_err() && ThreadPoolExecutor::new(0).is_err());
}

pub(crate) fn workers_are_replaced_after_their_number_of_tasks(method: StartMethod) {
    let executor = executors(1, method).max_tasks_per_child(3).build().unwrap();
    let pids: Vec<u32> = (0..9).map(|_| executor.submit(std::process::id, ()).unwrap().result().unwrap()).collect();
    let different: HashSet<_> = pids.iter().collect();
    assert!(different.len() == 3 && pids.chunks(3).all(|same| same[0] == same[1] && same[1] == same[2]), "{pids:?}");
    executor.shutdown();
    let pool = pools(1, method).max_tasks_per_child(2);
    if method == StartMethod::Fork {
        return; // The executor's thread was there when this pool would have to fork.
    }
    let pool = pool.build().unwrap();
    let pids = pool.chunked(1).map(|_: u64| std::process::id(), 0..6).unwrap();
    assert!(pids.iter().collect::<HashSet<_>>().len() >= 3, "{pids:?}");
}

pub(crate) fn workers_of_one_task_finish_what_is_left(method: StartMethod) {
    let executor = executors(2, method).max_tasks_per_child(1).build().unwrap();
    let futures: Vec<_> = (0..10_u64).map(|n| executor.submit(square, (n,)).unwrap()).collect();
    executor.shutdown();
    assert!((0..).zip(futures).all(|(n, future)| future.try_result() == Ok(n * n)));
}

static PREPARED: OnceLock<(u64, u32)> = OnceLock::new();

fn prepare(with: u64) {
    PREPARED.set((with, std::process::id())).expect("once in each process");
}

fn prepared() -> Option<(u64, u32)> {
    PREPARED.get().copied()
}

pub(crate) fn every_worker_is_prepared_first(method: StartMethod) {
    let pool = pools(2, method).initializer(prepare, (7,)).max_tasks_per_child(2).build().unwrap();
    let each = pool.chunked(1).map(|_: u64| (prepared(), std::process::id()), 0..12).unwrap();
    for (prepared, pid) in &each {
        assert_eq!(*prepared, Some((7, *pid)));
    }
    assert!(each.iter().map(|(_, pid)| pid).collect::<HashSet<_>>().len() > 2, "also those that come later");
}

pub(crate) fn a_failing_initializer_is_an_error_from_construction(method: StartMethod) {
    let panics = pools(2, method).initializer(|| -> () { panic!("no map of the city") }, ()).build().unwrap_err();
    let text = panics.to_string();
    let PoolError::Initializer { error: TaskError::Panicked { message, .. }, .. } = panics else { panic!("{text}") };
    assert!(
        message == "no map of the city" && text.contains("its initializer failed: the initializer panicked"),
        "{text}"
    );
    if method == StartMethod::Fork {
        return; // Threads of the one that failed have ended; whether the kernel has seen it, nobody tells.
    }
    let refuses = || Err::<(), String>("no room".into());
    let refused = executors(1, method).initializer(refuses, ()).build().unwrap_err();
    assert!(refused.to_string().contains("no room"), "{refused}");
}

pub(crate) fn workers_are_started_up_to_their_number(method: StartMethod) {
    let executor = executor(2, method);
    let mut door = Door::new();
    let futures: Vec<_> = (0..30).map(|_| executor.submit(wait_at, door.place()).unwrap()).collect();
    door.wait_for(2);
    assert_eq!(executor.worker_pids().len(), 2);
    assert!(!door.somebody_comes());
    door.let_go(30);
    let pids: HashSet<u32> = futures.into_iter().map(|future| future.result().unwrap()).collect();
    assert_eq!((pids.len(), executor.worker_pids().len()), (2, 2));
}

pub(crate) fn an_idle_worker_is_used_again(method: StartMethod) {
    let executor = executor(4, method);
    assert!(executor.worker_pids().is_empty(), "nobody is started without work");
    let pid = executor.submit(std::process::id, ()).unwrap().result().unwrap();
    for _ in 0..20 {
        assert_eq!(executor.submit(std::process::id, ()).unwrap().result(), Ok(pid));
    }
    assert_eq!(executor.worker_pids(), [pid]);
    let mut door = Door::new();
    for _ in 0..3 {
        let futures: Vec<_> = (0..3).map(|_| executor.submit(wait_at, door.place()).unwrap()).collect();
        door.wait_for(3);
        door.let_go(3);
        assert!(futures.iter().all(|future| future.result().is_ok()));
    }
    assert_eq!(executor.worker_pids().len(), 3, "three at once need three");
}
