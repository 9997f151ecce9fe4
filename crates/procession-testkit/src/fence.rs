//! The process around one case: its deadline, its orphans, its output, and the audit of what outlives its body.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use procession_sys::{Deadline, Interest, PidFd, adopt_orphans, pid, poll, reap_any};

use crate::roles;
use crate::suite::Case;
use crate::tree::{LOOK, descendants_of, kill_tree};

/// How long a case may take unless it says otherwise. Most take milliseconds; twenty seconds are a hang, also on a
/// machine that builds something else meanwhile.
pub const CASE_DEADLINE: Duration = Duration::from_secs(20);

/// How long after its body's end a case's other processes may take to end. A second is promised, of a machine that lets
/// them run: one whose host is busy does not for seconds at times.
pub const END_GRACE: Duration = Duration::from_secs(10);

/// The most of a case's output that is shown, from its end.
const OUTPUT_SHOWN_MAX: u64 = 64 << 10;

/// Where named segments of shared memory stand.
const NAMED_SEGMENTS: &str = "/dev/shm";

/// How a body's life ended.
enum Outcome {
    Ended(ExitStatus),
    /// The deadline passed; what the tree looked like then.
    Hung(Vec<String>),
    /// The harness was killed.
    Abandoned,
}

/// Runs one case and says on standard output what is wrong with it.
pub(crate) fn run(case: &Case, shown: bool) -> ExitCode {
    let findings = match fenced(case, shown) {
        Ok(findings) => findings,
        Err(error) => vec![format!("the fence itself failed: {error}")],
    };
    findings.iter().for_each(|finding| println!("{finding}"));
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is wrong with the case, nothing if it passed.
fn fenced(case: &Case, shown: bool) -> io::Result<Vec<String>> {
    adopt_orphans()?;
    let mut output = if shown { None } else { Some(capture()?) };
    let mut body = start_body(case, output.as_ref())?;
    let mut findings = match watch(&mut body, Deadline::after(case.deadline))? {
        Outcome::Abandoned => vec!["its harness was killed".to_owned()],
        Outcome::Ended(status) => objection(status).map_or_else(survivors, |objection| vec![objection]),
        Outcome::Hung(tree) => {
            vec![format!("it hung for {:?}; its processes were\n  {}", case.deadline, tree.join("\n  "))]
        }
    };
    if kill_tree().is_err() {
        findings.push("some processes of the case cannot be killed".to_owned());
    }
    findings.extend(remove_named_segments(Path::new(NAMED_SEGMENTS), &roles::unique_name()));
    if let (Some(output), false) = (&mut output, findings.is_empty()) {
        findings.push(format!("its output was\n{}", tail(output)?));
    }
    Ok(findings)
}

/// Starts the body; it writes to `output`, or to where this process's errors go.
fn start_body(case: &Case, output: Option<&File>) -> io::Result<Child> {
    let stream = || match output {
        Some(file) => file.try_clone().map(Stdio::from),
        None => io::stderr().as_fd().try_clone_to_owned().map(Stdio::from),
    };
    roles::body(&case.name).stdin(Stdio::null()).stdout(stream()?).stderr(stream()?).spawn()
}

/// A file without a name. A pipe would need a reader, and a process that is left behind would keep it open.
fn capture() -> io::Result<File> {
    let path = env::temp_dir().join(roles::unique_name());
    let file = OpenOptions::new().create_new(true).read(true).append(true).mode(0o600).open(&path)?;
    fs::remove_file(path)?;
    Ok(file)
}

/// The end of the output, or all of it.
fn tail(output: &mut File) -> io::Result<String> {
    let len = output.metadata()?.len();
    output.seek(io::SeekFrom::Start(len.saturating_sub(OUTPUT_SHOWN_MAX)))?;
    let mut bytes = Vec::new();
    output.take(OUTPUT_SHOWN_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits for the body, the deadline, or the harness's end.
fn watch(body: &mut Child, deadline: Deadline) -> io::Result<Outcome> {
    let held = PidFd::open(body.id())?;
    let input = io::stdin();
    let [ended, abandoned] = poll([(held.as_fd(), Interest::Read), (input.as_fd(), Interest::Read)], deadline)?;
    if ended {
        return Ok(Outcome::Ended(body.wait()?));
    }
    if abandoned {
        return Ok(Outcome::Abandoned);
    }
    Ok(Outcome::Hung(descendants_of(pid()).iter().map(ToString::to_string).collect()))
}

/// What is wrong with how the body ended.
fn objection(status: ExitStatus) -> Option<String> {
    if let Some(signal) = status.signal() {
        return Some(format!("its body was killed by signal {signal}"));
    }
    (!status.success()).then(|| format!("its body ended with exit code {}", status.code().unwrap_or_default()))
}

/// Who is still there when the grace is over. Orphans that ended meanwhile are reaped, this process being their parent.
fn survivors() -> Vec<String> {
    let deadline = Deadline::after(END_GRACE);
    loop {
        // Before the look: what was seen before this process lost its processor is not what is left.
        let is_last = deadline.has_passed();
        while reap_any().is_some() {}
        let left = descendants_of(pid());
        if left.is_empty() || is_last {
            return left.iter().map(|process| format!("a process outlived the case: {process}")).collect();
        }
        // Whoever is nobody's child yet cannot be waited for.
        thread::sleep(LOOK);
    }
}

/// Removes and names what is left in `directory` with the case's name in its own.
fn remove_named_segments(directory: &Path, unique: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mine = entries.filter(|entry| is_named_after(&entry.file_name().to_string_lossy(), unique));
    mine.map(|entry| {
        let _ = fs::remove_file(entry.path());
        format!("a named segment outlived the case: {}", entry.path().display())
    })
    .collect()
}

/// True for a name with `unique` in it that does not go on with another digit, which would be another case's.
fn is_named_after(name: &str, unique: &str) -> bool {
    name.split_once(unique).is_some_and(|(_, after)| !after.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_one_case() {
        assert!(is_named_after("procession-test-7-1", "procession-test-7-1"));
        assert!(is_named_after("sem.procession-test-7-1-lock", "procession-test-7-1"));
        assert!(!is_named_after("procession-test-7-12", "procession-test-7-1"));
        assert!(!is_named_after("other", "procession-test-7-1"));
    }
}
