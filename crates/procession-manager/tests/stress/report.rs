//! What came of a run: who was killed how often, what was done, and whether all held.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::client::Kind;

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Clients that were killed, by what they did.
    pub(crate) clients: BTreeMap<Kind, u64>,
    pub(crate) servers: u64,
    pub(crate) rounds: u64,
    /// What was acknowledged, by what it was.
    pub(crate) done: BTreeMap<Kind, u64>,
    /// Items that were done twice, as who had taken them was killed.
    pub(crate) twice: u64,
    /// The longest time until a dead client was gone for its server,
    pub(crate) gone_after: Duration,
    /// and until all clients of a dead server were told.
    pub(crate) told_after: Duration,
    pub(crate) failures: Vec<String>,
}

/// The end of a run.
pub(crate) struct Verdict {
    text: String,
    failures: Vec<String>,
}

impl Report {
    pub(crate) fn kills(&self) -> u64 {
        self.clients.values().sum::<u64>() + self.servers
    }

    pub(crate) fn finish(self, name: &str, seed: u64) -> Verdict {
        let mut text = format!("{name}: {} kills in {} rounds, seed {seed}\n", self.kills(), self.rounds);
        for (kind, count) in &self.clients {
            line(&mut text, &format!("clients killed while {}", kind.name()), count);
        }
        line(&mut text, "servers killed", &self.servers);
        for (kind, count) in &self.done {
            line(&mut text, &format!("acknowledged when {}", kind.name()), count);
        }
        line(&mut text, "items done twice, as their taker died", &self.twice);
        line(&mut text, "longest until a dead client was gone", &format!("{:?}", self.gone_after));
        line(&mut text, "longest until a server's death was told", &format!("{:?}", self.told_after));
        Verdict { text, failures: self.failures }
    }
}

fn line(text: &mut String, what: &str, value: &dyn std::fmt::Display) {
    let _ = writeln!(text, "  {what:<60}{value:>14}");
}

impl Verdict {
    /// Shows it; false for a run that has failed.
    pub(crate) fn show(&self) -> bool {
        print!("{}", self.text);
        for failure in &self.failures {
            println!("  FAILED: {failure}");
        }
        self.failures.is_empty()
    }
}
