//! Ctrl-C in the middle of an example: it says so, has the exit code of it, and leaves nothing behind.
//!
//! Relies on `kill` to interrupt a process group as a terminal does, and on `/proc` to see who is in it. An example is
//! interrupted when its workers are there, which is in the middle of work that takes minutes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// What shells expect of a program that Ctrl-C has stopped.
const INTERRUPTED: i32 = 130;

/// What an example says that was stopped so.
const SAID: &str = "stopped by Ctrl-C";

/// The example itself and two workers at least.
const BUSY_PROCESSES: usize = 3;

/// Until when the workers must be there, and until when all must be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often is looked.
const POLL: Duration = Duration::from_millis(20);

/// Text for minutes that takes no room on a disk: files without a block, which are read as zeros.
const TEXTS: u64 = 400;
const TEXT_BYTES: u64 = 16 << 20;

/// Makes a directory of such files.
///
/// # Errors
///
/// Says what could not be written.
pub(crate) fn texts(dir: &Path) -> Result {
    for number in 0..TEXTS {
        File::create(dir.join(format!("{number:03}.txt")))?.set_len(TEXT_BYTES)?;
    }
    Ok(())
}

/// Starts the program as the foreground of a terminal, interrupts all of it when it is busy, and looks at how it ends.
///
/// # Errors
///
/// Says what it did instead of ending well, or what it left behind.
pub(crate) fn interrupt(mut command: Command) -> Result {
    let mut child = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let group = child.id();
    let mut stdout = child.stdout.take().ok_or("it has no output")?;
    let said = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let ended = interrupt_when_busy(&mut child, group);
    let left = wait_until(|| Ok(members(group)?.is_empty())).err();
    if ended.is_err() || left.is_some() {
        signal(group, "KILL")?; // Also what holds its output open.
    }
    let status = ended?;
    let said = said.join().map_err(|_| "its output cannot be read")??;
    if let Some(left) = left {
        return Err(format!("it left processes of its group behind: {left}").into());
    }
    if status.code() != Some(INTERRUPTED) {
        return Err(format!("interrupted, it ended with {status} instead of exit code {INTERRUPTED}:\n{said}").into());
    }
    if !said.contains(SAID) {
        return Err(format!("interrupted, it did not say `{SAID}`:\n{said}").into());
    }
    let own = format!("-{group}-");
    let names = fs::read_dir("/dev/shm")?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    match names.into_iter().find(|name| name.contains(&own)) {
        Some(name) => Err(format!("it left /dev/shm/{name} behind").into()),
        None => Ok(()),
    }
}

/// Interrupts the group when it has its workers, and waits for the program's end.
fn interrupt_when_busy(child: &mut Child, group: u32) -> Result<ExitStatus> {
    let mut ended = None;
    wait_until(|| {
        ended = child.try_wait()?;
        Ok(ended.is_some() || members(group)?.len() >= BUSY_PROCESSES)
    })?;
    if let Some(status) = ended {
        return Err(format!("it ended before it could be interrupted, with {status}").into());
    }
    signal(group, "INT")?;
    wait_until(|| {
        ended = child.try_wait()?;
        Ok(ended.is_some())
    })?;
    ended.ok_or_else(|| "it has no status".into())
}

/// Signals a process group, as far as there is one.
fn signal(group: u32, name: &str) -> io::Result<ExitStatus> {
    Command::new("kill").args(["-s", name, "--", &format!("-{group}")]).stderr(Stdio::null()).status()
}

/// The processes of a group, but for those that have ended and are only waited for.
fn members(group: u32) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may end meanwhile.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let mut fields = fields.split(' ');
        let (state, its_group) = (fields.next(), fields.nth(1));
        if state != Some("Z") && its_group.and_then(|text| text.parse().ok()) == Some(group) {
            found.push(pid);
        }
    }
    Ok(found)
}

/// Looks again and again.
fn wait_until(mut is_so: impl FnMut() -> Result<bool>) -> Result {
    let begun = Instant::now();
    while !is_so()? {
        if begun.elapsed() > PATIENCE {
            return Err(format!("nothing has changed for {PATIENCE:?}").into());
        }
        thread::park_timeout(POLL);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Result {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        interrupt(command)
    }

    fn says(script: &str, expected: &str) {
        let said = shell(script).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}");
    }

    /// A program with two workers, which does this when it is interrupted.
    fn program(when_interrupted: &str) -> String {
        // A shell runs its trap when what it waits for has ended, as it does by the same interrupt. The trap comes first, as
        // the interrupt does when the second worker is there.
        format!("trap 'kill $a $!; {when_interrupted}' INT; sleep 50 & a=$!; sleep 50 & sleep 50")
    }

    #[test]
    fn a_program_that_ends_well_passes() -> Result {
        shell(&program("echo stopped by Ctrl-C; exit 130"))
    }

    #[test]
    fn a_program_that_ends_otherwise_is_told() {
        says(&program("echo stopped by Ctrl-C; exit 0"), "instead of exit code 130");
        says(&program("exit 130"), "did not say");
        says("exit 7", "before it could be interrupted");
    }

    #[test]
    fn zeros_are_text_for_the_example() -> Result {
        let scratch = crate::scratch::Scratch::new(&std::env::temp_dir(), "interrupt-test")?;
        texts(scratch.path())?;
        let read = fs::read_to_string(scratch.path().join("000.txt"))?;
        assert_eq!(read.len() as u64, TEXT_BYTES);
        Ok(())
    }
}
