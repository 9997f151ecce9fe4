//! The crash matrix: a worker is ruined in each way, at each stage of its life, with each start method, below a pool and
//! below an executor, and each cell of that table sees exactly what a user would notice.
//!
//! | file | what is there |
//! |---|---|
//! | `ends.rs` | the ways, and what the task at which it happens is told |
//! | `stages.rs` | the stages, and what is to come of it at each |
//! | `workers.rs` | the pool or the executor, and the tasks that must not notice |
//! | `fuse.rs` | what makes an end come once |
//!
//! All 8 × 7 × 3 × 2 = 336 cells are there. Half of a cell is not: a thread that panics ends no idle worker, so what is seen
//! there is that nothing happens.
//!
//! The testkit runs each cell in a process tree of its own, and sees that nothing is left of it.

mod ends;
mod fuse;
mod stages;
mod workers;

use std::env;
use std::process::ExitCode;

use procession_launch::{Context, StartMethod, Stdio};
use procession_testkit::{Case, Suite};

use crate::ends::End;
use crate::workers::{Cell, Front};

/// Whether a case keeps what its workers say last. What does that has a thread, which a process must not have that forks, or
/// that changes its environment.
fn keeps_tails(case: &str) -> bool {
    !case.starts_with("fork::") && !case.contains("::starting::")
}

/// Has everything there that a process has once.
fn warm_up() {
    let case = env::args().find(|argument| argument.contains("::")).unwrap_or_default();
    for method in StartMethod::ALL {
        let child = Context::new(method).builder(|| (), ());
        let child = if keeps_tails(&case) { child.stderr(Stdio::tail()) } else { child };
        if method != StartMethod::Fork || case.starts_with("fork::") {
            child.start().unwrap().join().unwrap();
        }
    }
}

fn main() -> ExitCode {
    let mut suite = Suite::new().warm_up(warm_up);
    for method in StartMethod::ALL {
        for front in Front::ALL {
            for (stage, run) in stages::ALL {
                for end in End::ALL {
                    let name = format!("{}::{}::{stage}::{}", method.name(), front.name(), end.name());
                    let cell = Cell { method, front, end, keeps_tails: keeps_tails(&name) };
                    suite = suite.case(Case::new(name, move || run(cell)));
                }
            }
        }
    }
    suite.main()
}
