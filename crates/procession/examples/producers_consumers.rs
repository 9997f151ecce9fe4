//! Hashes all files below a directory, and tells which have the same content: some processes find files, others hash them.
//!
//! ```text
//! cargo run --release --example producers_consumers -- [DIR] [--producers N] [--consumers N] [--capacity N]
//! ```
//!
//! Producers put paths into a queue that holds few, so that they are never far ahead. Consumers take a path each, and read
//! and hash the file. Both report through a second queue to this process.
//!
//! Nobody has to be told that there is no more. Each process has handles of the one side that it uses: when the last producer
//! has ended, consumers take what is left and get `Disconnected`; when the last consumer has ended, so does this process.
//! Python's programs put a sentinel, such as `None`, for each consumer instead. That works here as well, with a queue of
//! `Option<OsString>`; but somebody has to know when all producers are done, and how many consumers are left to be told.
//!
//! A file that cannot be read is reported, and the others go on. Ctrl-C stops the work, and what was found until then is
//! told. Try to kill a consumer: it costs the file that it was at, if any. Without a directory some hundred files are made
//! in a temporary one.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use procession::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const USAGE: &str = "usage: producers_consumers [DIR] [--producers N] [--consumers N] [--capacity N]";

/// How many paths wait for a consumer at most, unless the command line says otherwise.
const CAPACITY: usize = 32;

/// How many of the files that failed, and of the contents that several files have, are named.
const NAMED: usize = 5;

/// How much of a file is read at once; between two reads Ctrl-C is looked for.
const BLOCK_BYTES: usize = 256 << 10;

/// How many files are made where no directory is given, and in how many folders.
const MADE_FILES: usize = 400;
const MADE_FOLDERS: usize = 8;

/// What this process is told of a file, in this order.
#[derive(Serialize, Deserialize)]
enum Report {
    /// A producer is about to put it.
    Found(OsString),
    /// A consumer has hashed it.
    Hashed { path: OsString, bytes: u64, digest: [u8; 32] },
    /// It could not be read, or a folder could not be listed.
    Failed { path: OsString, reason: String },
}

fn main() -> procession::Result<()> {
    let options = Options::parse(std::env::args_os().skip(1))?;
    let made = if options.root.is_none() { Some(Made::new()?) } else { None };
    let root = options.root.as_deref().or(made.as_ref().map(|made| made.0.as_path())).unwrap_or(Path::new("."));

    let stop = Event::new()?;
    let on_ctrl_c = stop.clone();
    ctrlc::set_handler(move || on_ctrl_c.set()).map_err(io::Error::other)?;
    let began = Instant::now();
    let work = start(root, &options, &stop)?;
    let tally = listen(&work.reports)?;
    for child in work.producers.into_iter().chain(work.consumers) {
        let name = child.name().to_owned();
        match child.join() {
            Ok(result) => result?,
            Err(error) => println!("{name}: {error}"),
        }
    }
    let text = tally.show(root, began.elapsed(), stop.is_set());
    let _ = io::stdout().write_all(text.as_bytes()); // Whoever reads it may have seen enough.
    Ok(())
}

/// What the command line asks for.
struct Options {
    root: Option<PathBuf>,
    producers: usize,
    consumers: usize,
    capacity: usize,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Fault> {
        let mut options = Self { root: None, producers: 2, consumers: cpu_count(), capacity: CAPACITY };
        while let Some(argument) = arguments.next() {
            let number = match argument.to_str() {
                Some("--producers") => &mut options.producers,
                Some("--consumers") => &mut options.consumers,
                Some("--capacity") => &mut options.capacity,
                Some(option) if option.starts_with('-') => return Err(Fault::new(USAGE)),
                _ if options.root.is_some() => return Err(Fault::new(USAGE)),
                _ => {
                    options.root = Some(argument.into());
                    continue;
                }
            };
            let given = arguments.next().and_then(|text| text.to_str()?.parse().ok());
            *number = given.filter(|number| *number > 0).ok_or_else(|| Fault::new(USAGE))?;
        }
        Ok(options)
    }
}

/// The processes at work, and where they report.
struct Work {
    producers: Vec<Process<Result<(), Fault>>>,
    consumers: Vec<Process<Result<(), Fault>>>,
    reports: Consumer<Report>,
}

/// Starts all processes. This one keeps the end of the reports alone.
fn start(root: &Path, options: &Options, stop: &Event) -> procession::Result<Work> {
    let (files, to_hash) = Queue::<OsString>::bounded(options.capacity)?.split()?;
    let (to_report, reports) = Queue::<Report>::unbounded()?.split()?;
    let mut work = Work { producers: Vec::new(), consumers: Vec::new(), reports };
    // Ctrl-C goes to a whole process group, and what it is to do with the children is decided here.
    for number in 1..=options.consumers {
        let arguments = (to_hash.clone(), to_report.clone(), stop.clone());
        let child = Process::builder(consume, arguments).name(format!("consumer-{number}")).process_group(0).start()?;
        work.consumers.push(child);
    }
    for (number, share) in (1..).zip(shares(root, options.producers)?) {
        let arguments = (share, files.clone(), to_report.clone(), stop.clone());
        let child = Process::builder(produce, arguments).name(format!("producer-{number}")).process_group(0).start()?;
        work.producers.push(child);
    }
    let pids: Vec<u32> = work.consumers.iter().map(|child| child.pid()).collect();
    println!("{} producers, {} consumers, which are processes {pids:?}", options.producers, options.consumers);
    Ok(work)
}

/// Deals what is in the directory to the producers.
fn shares(root: &Path, producers: usize) -> io::Result<Vec<Vec<OsString>>> {
    let named = |error| io::Error::other(format!("cannot read {}: {error}", root.display()));
    let mut shares = vec![Vec::new(); producers];
    for (at, entry) in fs::read_dir(root).map_err(named)?.enumerate() {
        shares[at % producers].push(entry?.path().into());
    }
    Ok(shares)
}

/// The target of a producer: puts every file of its share, and below.
fn produce(
    share: Vec<OsString>,
    files: Producer<OsString>,
    reports: Producer<Report>,
    stop: Event,
) -> Result<(), Fault> {
    let mut left = share;
    while let Some(path) = left.pop() {
        if stop.is_set() {
            break;
        }
        // A link is followed to a file, but not to a folder, where it may lead round in a circle.
        let is_folder = fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir());
        if is_folder {
            match fs::read_dir(&path) {
                Ok(entries) => left.extend(entries.flatten().map(|entry| OsString::from(entry.path()))),
                Err(error) => reports.put(Report::Failed { path, reason: error.to_string() })?,
            }
        } else if fs::metadata(&path).map_or(true, |found| found.is_file()) {
            reports.put(Report::Found(path.clone()))?;
            match files.put(path) {
                Err(PutError::Disconnected(_)) => break, // All consumers were killed.
                put => put?,
            }
        }
    }
    Ok(())
}

/// The target of a consumer: hashes files until there are no more, nor anybody who could put one.
fn consume(files: Consumer<OsString>, reports: Producer<Report>, stop: Event) -> Result<(), Fault> {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let path = match files.get() {
            Err(GetError::Disconnected) => return Ok(()),
            path => path?,
        };
        let report = match hash(&path, &mut block, &stop) {
            Ok((bytes, digest)) => Report::Hashed { path, bytes, digest },
            Err(error) => Report::Failed { path, reason: error.to_string() },
        };
        reports.put(report)?;
    }
}

fn hash(path: &OsString, block: &mut [u8], stop: &Event) -> io::Result<(u64, [u8; 32])> {
    let mut file = File::open(path)?;
    let (mut hasher, mut bytes) = (Sha256::new(), 0);
    while !stop.is_set() {
        let read = file.read(block)?;
        if read == 0 {
            return Ok((bytes, hasher.finalize().into()));
        }
        hasher.update(&block[..read]);
        bytes += read as u64;
    }
    Err(io::Error::other("stopped by Ctrl-C"))
}

/// What became of the files.
#[derive(Default)]
struct Tally {
    /// Found, and nothing more was heard of them.
    open: HashSet<OsString>,
    by_digest: BTreeMap<[u8; 32], Vec<OsString>>,
    files: u64,
    bytes: u64,
    failed: Vec<(OsString, String)>,
}

/// Hears all reports, to the last of the last process, and shows how far the work is.
fn listen(reports: &Consumer<Report>) -> procession::Result<Tally> {
    let style = ProgressStyle::with_template("[{bar:40}] {pos}/{len} files {per_sec} {msg}");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let mut tally = Tally::default();
    loop {
        match reports.get() {
            Ok(Report::Found(path)) => {
                bar.inc_length(1);
                tally.open.insert(path);
                continue;
            }
            Ok(Report::Hashed { path, bytes, digest }) => {
                tally.open.remove(&path);
                tally.by_digest.entry(digest).or_default().push(path);
                tally.files += 1;
                tally.bytes += bytes;
            }
            Ok(Report::Failed { path, reason }) => {
                tally.open.remove(&path);
                tally.failed.push((path, reason));
            }
            Err(GetError::Disconnected) => break,
            Err(error) => return Err(error.into()),
        }
        bar.inc(1);
        bar.set_message(HumanBytes(tally.bytes).to_string());
    }
    bar.finish_and_clear();
    let lost = tally.open.drain().map(|path| (path, "a process ended before it was hashed".to_owned()));
    tally.failed.extend(lost);
    Ok(tally)
}

impl Tally {
    fn show(&self, root: &Path, time: Duration, is_stopped: bool) -> String {
        let named = self.failed.iter().take(NAMED);
        let mut text: String =
            named.map(|(path, reason)| format!("not hashed: {}: {reason}\n", Path::new(path).display())).collect();
        let several: Vec<_> = self.by_digest.iter().filter(|(_, paths)| paths.len() > 1).collect();
        for (digest, paths) in several.iter().take(NAMED) {
            let names: Vec<_> = paths.iter().map(|path| Path::new(path).display().to_string()).collect();
            let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            text += &format!("the same ({digest}…): {}\n", names.join(", "));
        }
        let same: usize = several.iter().map(|(_, paths)| paths.len() - 1).sum();
        let rate = self.bytes as f64 / f64::from(1 << 20) / time.as_secs_f64();
        let stopped = if is_stopped { "stopped by Ctrl-C: " } else { "" };
        text += &format!(
            "{stopped}{} files below {}, {} failed, {same} have the content of another\n{} in {time:.2?}, {rate:.1} MiB/s\n",
            self.files,
            root.display(),
            self.failed.len(),
            HumanBytes(self.bytes)
        );
        text
    }
}

/// A temporary directory with files, which goes with this value.
struct Made(PathBuf);

impl Made {
    fn new() -> io::Result<Self> {
        let made = Self(std::env::temp_dir().join(format!("procession-example-{}", std::process::id())));
        let folders: Vec<PathBuf> = (0..MADE_FOLDERS).map(|folder| made.0.join(format!("folder-{folder}"))).collect();
        for folder in &folders {
            fs::create_dir_all(folder)?;
        }
        for number in 0..MADE_FILES {
            // Of each content there are two, some in different folders.
            let content: Vec<u8> = format!("content {}\n", number / 2).into_bytes().repeat(1 + number / 2 * 64);
            fs::write(folders[number % folders.len()].join(format!("file-{number}")), content)?;
        }
        std::os::unix::fs::symlink("nowhere", made.0.join("a-link-to-nowhere"))?;
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // What cannot be removed is in the temporary directory.
    }
}
