//! Programs that own named segments, and who looks after their names.
//!
//! Relies on the fence of a case being the parent of whoever has lost his own: a case's trackers are its children.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use procession_shm::SharedMemory;
use procession_sys::{Deadline, Signal, parent_pid, send_signal};
use procession_testkit::{ProcessInfo, children_of, program, unique_name};

/// How long anything may take that is promised within a second: ten times that, on a busy machine.
const SOON: Duration = Duration::from_secs(10);

/// What `ps` calls a tracker.
pub(crate) const TRACKER: &str = "names-tracker";

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Deadline::after(SOON);
    while !is_so() {
        assert!(!deadline.has_passed(), "not within {SOON:?}: {what}");
        // Nobody tells of the end of a name or of somebody else's process; nothing is ordered by this, only waited for.
        thread::sleep(Duration::from_millis(2));
    }
}

/// Where a named segment is.
pub(crate) fn path(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

/// True while somebody can open it.
pub(crate) fn exists(name: &str) -> bool {
    path(name).exists()
}

/// Waits until the name is gone.
pub(crate) fn wait_gone(name: &str) {
    eventually("the name is gone", || !exists(name));
}

/// The records of a process's names.
pub(crate) fn records_of(pid: u32) -> Vec<PathBuf> {
    let middle = format!("-{pid}-");
    let entries = fs::read_dir("/dev/shm").unwrap().flatten().map(|entry| entry.path());
    let is_record = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("procession-names-") && name.contains(&middle)
    };
    entries.filter(is_record).collect()
}

/// The trackers that this case has started, this process's own from before the case among them.
pub(crate) fn trackers() -> Vec<ProcessInfo> {
    let mut trackers = children_of(parent_pid());
    trackers.retain(|process| process.name == TRACKER && !process.is_zombie());
    trackers
}

/// A program that does what it is told, line by line.
pub(crate) struct Owner {
    pub(crate) process: Child,
    /// Its own tracker.
    pub(crate) tracker: u32,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// Its side: creates each name that it reads, and says so.
pub(crate) fn owns() {
    obey(&mut Vec::new());
}

/// Obeys until there are no more lines.
fn obey(memories: &mut Vec<SharedMemory>) {
    for name in std::io::stdin().lines() {
        match SharedMemory::create_named(&name.unwrap(), 100) {
            Ok(memory) => {
                memories.push(memory);
                println!("done");
            }
            Err(error) => println!("{error}"),
        }
    }
}

impl Owner {
    /// Starts one that owns these names.
    pub(crate) fn of(names: &[&str]) -> Self {
        Self::start(program("owns"), names)
    }

    /// Starts a program that obeys.
    pub(crate) fn start(mut program: Command, names: &[&str]) -> Self {
        let before = trackers();
        let mut process = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut owner = Self { process, tracker: 0, input, output };
        names.iter().for_each(|name| owner.create(name));
        let is_new = |tracker: &ProcessInfo| !before.iter().any(|known| known.pid == tracker.pid);
        owner.tracker = trackers().into_iter().find(is_new).map_or(0, |tracker| tracker.pid);
        owner
    }

    /// Has it create a name.
    pub(crate) fn create(&mut self, name: &str) {
        assert_eq!(self.ask(name), "done");
    }

    /// Tells it a line; its answer.
    pub(crate) fn ask(&mut self, line: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it reads its lines from, which is then open for as long as the caller wants.
    pub(crate) fn give_input(&mut self) -> ChildStdin {
        self.input.take().unwrap()
    }

    /// Kills it, as nothing can be done about.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Lets it end as a program does whose `main` returns.
    pub(crate) fn end(self) {
        let Self { mut process, input, .. } = self;
        drop(input);
        assert!(process.wait().unwrap().success());
    }

    /// Kills its tracker, then it.
    pub(crate) fn kill_with_tracker(self) {
        kill_tracker(self.tracker);
        self.kill();
    }
}

/// Kills a tracker and waits until it is gone.
pub(crate) fn kill_tracker(tracker: u32) {
    send_signal(tracker, Signal::KILL.number()).unwrap();
    eventually("the tracker is gone", || !trackers().iter().any(|running| running.pid == tracker));
}

/// A name of this case.
pub(crate) fn name(of: &str) -> String {
    format!("{}-{of}", unique_name())
}

/// Has this process a record and a tracker, which stay as long as it does.
pub(crate) fn warm_up() {
    super::warm_up();
    SharedMemory::create_with_new_name(1).unwrap().unlink().unwrap();
}
