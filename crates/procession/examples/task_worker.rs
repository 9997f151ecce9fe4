//! Does the tasks of `task_master`, from another terminal or another machine, until the master is done.
//!
//! ```text
//! cargo run --release --example task_worker -- [--address 127.0.0.1:50000] [--key SECRET]
//! ```

#[path = "tasks/common.rs"]
mod common;

fn main() -> procession::Result<()> {
    let done = common::work(&common::address(), &common::key())?;
    println!("the master is done; {done} tasks were done here");
    Ok(())
}
