//! Objects in a server, and who calls them.

use procession::prelude::*;

use crate::unexpected;

/// A type whose values live in a server.
pub(crate) struct Counter(i64);

#[shared]
impl Counter {
    pub(crate) fn new(n: i64) -> Self {
        Self(n)
    }

    pub(crate) fn incr(&mut self, by: i64) -> i64 {
        self.0 += by;
        self.0
    }
}

pub(crate) fn containers() -> procession::Result<()> {
    let manager = SyncManager::start()?;
    let counts = manager.dict::<String, i64>()?;
    let counting = |counts: DictProxy<String, i64>| -> Result<(), Fault> {
        counts.update("count".to_string(), |n| n.unwrap_or(0) + 1)?; // Runs in the server: no update is lost.
        Ok(())
    };
    let children: Result<Vec<_>, _> = (0..3).map(|_| Process::start(counting, (counts.clone(),))).collect();
    for child in children? {
        child.join()??;
    }
    println!("  three children have counted to {:?}", counts.get(&"count".to_string())?);
    let (list, array) = (manager.list::<i64>()?, manager.array([0.5_f64; 4])?);
    list.extend([3, 1, 2])?;
    list.sort()?;
    array.set(0, 1.5)?;
    println!("  a list: {:?}, an array: {:?}", list.to_vec()?, array.slice(..2)?);
    Ok(())
}

pub(crate) fn own_types() -> procession::Result<()> {
    let builder = BaseManager::builder().register::<Counter>("Counter").authkey(b"secret").address("127.0.0.1:0");
    let manager = builder.register_object("get_tasks", managed::queue::<String>()).start()?;
    let counter: CounterProxy = manager.create::<Counter>((0,))?;
    counter.incr(5)?;
    let elsewhere = BaseManager::connect(manager.address().clone(), b"secret")?; // Any program, on any machine.
    let tasks: QueueProxy<String> = elsewhere.get("get_tasks")?;
    tasks.put(&"sweep".to_string())?;
    let same: QueueProxy<String> = manager.get("get_tasks")?;
    println!("  the counter is at {}, and the task is to {}", counter.incr(1)?, same.get()?);
    match elsewhere.get::<CounterProxy>("nothing") {
        Err(CallError::Refused { refusal, .. }) => println!("  {refusal}"),
        other => return Err(unexpected(other)),
    }
    Ok(())
}
