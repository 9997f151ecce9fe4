//! Four processes change the same accounts at the same time, and one of them is killed in the middle of it.
//!
//! ```text
//! cargo run --release --example shared_state -- [forkserver|spawn|fork]
//! ```
//!
//! Without an argument they are started in each of these ways.
//! Each moves money between accounts, under the lock of the array that has them, so their sum stays what it was. One
//! takes money from an account and is killed before it gives it to another. Whoever takes the lock next is told, finds
//! that money is missing, and puts it back; the others go on and never know. In the end no money is lost and no transfer.
//!
//! Then four processes count in a manager's dictionary, by functions that run in its server: no update is lost.

use std::time::Instant;

use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// Processes that change the accounts, one of which is killed.
const WORKERS: usize = 4;

/// Transfers of each of the others.
const TRANSFERS: usize = 10_000;

const ACCOUNTS: usize = 8;

/// How often each process counts in the managed dictionary.
const UPDATES: usize = 1000;

/// What is in an account at first.
const BALANCE: i64 = 1000;

/// How long anything may take that takes milliseconds unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the processes share. Passing it to a child passes the handles.
#[derive(Clone, Serialize, Deserialize)]
struct Bank {
    accounts: Array<i64>,
    /// How many transfers were made by all.
    transfers: Value<usize>,
    /// All begin together.
    start: Barrier,
    /// Set by the one who is to be killed, when it has the lock and half of its work is done.
    halfway: Event,
}

fn main() -> procession::Result<()> {
    let methods = match std::env::args().nth(1) {
        None => StartMethod::ALL.to_vec(),
        Some(name) => StartMethod::ALL.into_iter().filter(|method| method.to_string() == name).collect(),
    };
    if methods.is_empty() {
        return Err(Fault::new("usage: shared_state [forkserver|spawn|fork]").into());
    }
    for method in methods {
        run(method)?;
        count_in_a_dictionary(method)?;
    }
    Ok(())
}

/// Has the bank's workers started in one way, kills one, and looks whether everything is there in the end.
fn run(method: StartMethod) -> procession::Result<()> {
    println!("{method}: {WORKERS} processes, {ACCOUNTS} accounts of {BALANCE}");
    let began = Instant::now();
    let bank = Bank {
        accounts: Array::from_slice(&[BALANCE; ACCOUNTS])?,
        transfers: Value::new(0)?,
        start: Barrier::builder(WORKERS).timeout(PATIENCE).build()?,
        halfway: Event::new()?,
    };
    let context = Context::new(method);
    let unlucky = context.builder(be_killed, (bank.clone(),)).name("unlucky").start()?;
    let mut workers = Vec::new();
    for number in 1..WORKERS {
        workers.push(context.builder(transfer, (bank.clone(), number)).name(format!("worker {number}")).start()?);
    }

    if !bank.halfway.wait_timeout(PATIENCE)? {
        return Err(Fault::new("nobody got halfway").into());
    }
    if let Some(holder) = bank.accounts.holder() {
        println!("  process {} holds the lock; it is killed", holder.pid);
    }
    unlucky.kill()?;

    let mut told = 0;
    for worker in workers {
        told += worker.join()??;
    }
    let (sum, transfers) = (bank.accounts.to_vec()?.iter().sum::<i64>(), bank.transfers.get()?);
    println!("  {told} was told; {transfers} transfers; {sum} in all accounts; {:.0?}", began.elapsed());
    assert_eq!((told, transfers), (1, (WORKERS - 1) * TRANSFERS), "one repairs, and no transfer is lost");
    assert_eq!(sum, BALANCE * ACCOUNTS as i64, "no money is lost");
    Ok(())
}

/// Has processes count in one dictionary, and looks whether every count is there in the end.
fn count_in_a_dictionary(method: StartMethod) -> procession::Result<()> {
    let began = Instant::now();
    let context = Context::new(method);
    let manager: SyncManager = SyncManager::builder().context(context.clone()).start()?.into();
    let counts = manager.dict::<String, usize>()?;
    let mut workers = Vec::new();
    for number in 0..WORKERS {
        workers.push(context.builder(count, (counts.clone(), number)).name(format!("counter {number}")).start()?);
    }
    for worker in workers {
        worker.join()??;
    }
    let all = counts.get(&"all".to_string())?;
    println!("  {WORKERS} processes counted to {all:?} in a managed dictionary; {:.0?}", began.elapsed());
    assert_eq!(all, Some(WORKERS * UPDATES), "no update is lost");
    assert_eq!(counts.len()?, WORKERS + 1);
    Ok(())
}

/// Counts under the key of all, and under one of its own.
fn count(counts: DictProxy<String, usize>, number: usize) -> Result<(), Fault> {
    for _ in 0..UPDATES {
        counts.update("all".to_string(), |count| count.unwrap_or(0) + 1)?; // Runs in the server.
    }
    counts.insert(format!("counter {number}"), UPDATES)?;
    Ok(())
}

/// Takes money from the first account and never gives it to another.
fn be_killed(bank: Bank) -> Result<(), Fault> {
    bank.start.wait()?;
    let mut accounts = bank.accounts.lock()?;
    accounts[0] -= 100;
    bank.halfway.set();
    loop {
        std::thread::park();
    }
}

/// Moves money about; returns how often it was told that a holder of the lock had died.
fn transfer(bank: Bank, number: usize) -> Result<u32, Fault> {
    let mut told = 0;
    bank.start.wait()?;
    for step in 0..TRANSFERS {
        if step == TRANSFERS / 2 && !bank.halfway.wait_timeout(PATIENCE)? {
            return Err(Fault::new("nobody got halfway")); // However late it is, the others are still at work then.
        }
        let began = Instant::now();
        let mut accounts = match bank.accounts.lock() {
            Err(LockError::OwnerDied(mut accounts)) => {
                told += 1;
                let missing = repair(&mut accounts);
                let name = current_process().name().to_string();
                println!("  {name} is told after {:.0?} and puts {missing} back", began.elapsed());
                accounts
            }
            locked => locked?,
        };
        let (from, to) = ((number + step) % ACCOUNTS, (number * step) % ACCOUNTS);
        accounts[from] -= 1;
        accounts[to] += 1;
        drop(accounts);
        *bank.transfers.lock()? += 1;
    }
    Ok(told)
}

/// Puts back what a killed process took out of an account; returns how much that was.
fn repair(accounts: &mut [i64]) -> i64 {
    let missing = BALANCE * ACCOUNTS as i64 - accounts.iter().sum::<i64>();
    accounts[0] += missing;
    missing
}
