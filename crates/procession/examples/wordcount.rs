//! Counts the words of every text file below a directory, by a pool with a worker for each processor.
//!
//! ```text
//! cargo run --release --example wordcount -- [DIR]
//! ```
//!
//! Map: a worker counts the words of some files. Group: it adds up equal words as it goes. Reduce: this process adds up what
//! the workers return, while they go on. A file that cannot be read is named, and so are files that take a worker down; the
//! rest goes on. Ctrl-C stops the work, and what was counted until then is told; the exit code is 130, as of a program that an
//! interrupt ends. Without a directory it reads this checkout, but for hidden folders and `target`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use procession::Imap;
use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// How many of the most frequent words are printed.
const TOP_WORDS: usize = 10;

/// How many of the files that could not be counted are named.
const NAMED_FILES: usize = 5;

/// How much text a worker is given at once: what it finds there is added up before it goes to this process.
const SHARE_BYTES: u64 = 4 << 20;

/// How often the progress bar and Ctrl-C are looked after.
const TICK: Duration = Duration::from_millis(100);

/// Below this much text the start of the workers weighs as much as their work.
const MEANINGFUL_BYTES: u64 = 32 << 20;

/// What shells expect of a program that Ctrl-C has stopped: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> procession::Result<ExitCode> {
    let given: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let root = match given.as_slice() {
        [] => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."),
        [root] => root.clone(),
        _ => return Err(std::io::Error::other("usage: wordcount [DIR]").into()),
    };
    let named = |error| std::io::Error::other(format!("cannot read {}: {error}", root.display()));
    fs::read_dir(&root).map_err(named)?;
    let mut failures = Vec::new();
    let mut files = Vec::new();
    walk(&root, &mut files, &mut failures);

    let stop = Arc::new(AtomicBool::new(false));
    let on_ctrl_c = Arc::clone(&stop);
    ctrlc::set_handler(move || on_ctrl_c.store(true, Ordering::Relaxed)).map_err(std::io::Error::other)?;

    let began = Instant::now();
    let mut counts = count(&files, cpu_count(), &stop)?;
    let parallel = began.elapsed();
    failures.append(&mut counts.failures);

    let began = Instant::now();
    if !stop.load(Ordering::Relaxed) {
        count(&files, 1, &stop)?; // To compare.
    }
    let single = began.elapsed();
    let (times, code) = match stop.load(Ordering::Relaxed) {
        true => ("stopped by Ctrl-C\n".to_owned(), ExitCode::from(INTERRUPTED)),
        false => (show_times(counts.bytes, parallel, single), ExitCode::SUCCESS),
    };
    let found = show_counts(&counts, &failures);
    let report = format!("{} files below {}\n{found}{times}", files.len(), root.display());
    let _ = std::io::stdout().write_all(report.as_bytes()); // Whoever reads it may have seen enough.
    Ok(code)
}

/// What one worker found in its share, or all of them.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    words: HashMap<String, u64>,
    files: u64,
    bytes: u64,
    /// Files that cannot be read or are not UTF-8, each with the reason.
    failures: Vec<Failure>,
}

/// A file or folder, and why it was not counted. As an `OsString`, because a path need not be UTF-8, and serde's form
/// of a `PathBuf` must.
type Failure = (OsString, String);

impl Counts {
    /// Adds the words of one file's text.
    fn add_text(&mut self, text: &str) {
        self.files += 1;
        self.bytes += text.len() as u64;
        for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            if word.chars().any(char::is_uppercase) {
                self.add_word(&word.to_lowercase(), 1);
            } else {
                self.add_word(word, 1);
            }
        }
    }

    /// Adds `count` times `word`.
    fn add_word(&mut self, word: &str, count: u64) {
        match self.words.get_mut(word) {
            Some(known) => *known += count,
            None => drop(self.words.insert(word.to_owned(), count)),
        }
    }

    /// Adds what a worker found.
    fn add(&mut self, other: Counts) {
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self.failures.extend(other.failures);
    }
}

/// The task: counts the words of some files.
fn count_words(share: Vec<OsString>) -> Counts {
    let mut counts = Counts::default();
    for path in share {
        match fs::read_to_string(&path) {
            Ok(text) => counts.add_text(&text),
            Err(error) => counts.failures.push((path, error.to_string())),
        }
    }
    counts
}

/// Counts all files with so many workers.
fn count(files: &[(PathBuf, u64)], workers: usize, stop: &AtomicBool) -> procession::Result<Counts> {
    let bar = ProgressBar::new(files.iter().map(|(_, size)| size).sum());
    let bar = bar.with_style(bar_style()).with_message(format!("{workers} worker(s)"));
    let pool = Pool::new(workers)?;
    let shares = shares(files);
    let mut results = pool.chunked(1).imap(count_words, shares.iter().map(|(share, _)| share.clone()));
    let mut all = Counts::default();
    for (share, bytes) in &shares {
        let Some(result) = wait(&mut results, stop) else { break };
        match result {
            Ok(counts) => all.add(counts),
            // The worker has died, or panicked: nobody knows at which of them.
            Err(error) => all.failures.extend(share.iter().map(|path| (path.clone(), error.to_string()))),
        }
        bar.inc(*bytes);
    }
    bar.finish_and_clear();
    Ok(all) // The pool ends here, with what has not been done.
}

/// The next result, unless it is to stop.
fn wait(results: &mut Imap<'_, Counts>, stop: &AtomicBool) -> Option<Result<Counts, TaskError>> {
    loop {
        match results.next_timeout(TICK) {
            Some(Err(TaskError::Timeout)) if !stop.load(Ordering::Relaxed) => {}
            Some(Err(TaskError::Timeout)) => return None,
            result => return result.filter(|_| !stop.load(Ordering::Relaxed)),
        }
    }
}

/// Files that are counted at once, and how many bytes they are: the largest first, so that workers end together.
fn shares(files: &[(PathBuf, u64)]) -> Vec<(Vec<OsString>, u64)> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut shares: Vec<(Vec<OsString>, u64)> = Vec::new();
    for (path, size) in files {
        match shares.last_mut() {
            Some((share, bytes)) if *bytes + size <= SHARE_BYTES => {
                share.push(path.clone().into());
                *bytes += size;
            }
            _ => shares.push((vec![path.clone().into()], *size)),
        }
    }
    shares
}

/// Collects the regular files below `folder`, but not those in hidden folders and in `target`.
fn walk(folder: &Path, files: &mut Vec<(PathBuf, u64)>, failures: &mut Vec<Failure>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return failures.push((folder.into(), error.to_string())),
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let passed_over = name.as_encoded_bytes().starts_with(b".") || name == "target";
        match entry.metadata() {
            Ok(file) if file.is_dir() && !passed_over => walk(&path, files, failures),
            Ok(file) if file.is_file() => files.push((path, file.len())),
            Ok(_) => {}
            Err(error) => failures.push((path.into(), error.to_string())),
        }
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn show_counts(counts: &Counts, failures: &[Failure]) -> String {
    let mut words: Vec<_> = counts.words.iter().collect();
    words.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let top: String = words.iter().take(TOP_WORDS).map(|(word, count)| format!("{count:>10}  {word}\n")).collect();
    let total: u64 = counts.words.values().sum();
    let named = failures.iter().take(NAMED_FILES);
    let named: String =
        named.map(|(path, reason)| format!("  not counted: {}: {reason}\n", Path::new(path).display())).collect();
    format!(
        "{top}{total} words of {} kinds\n{} files, {} bytes, {} not counted\n{named}",
        counts.words.len(),
        counts.files,
        counts.bytes,
        failures.len()
    )
}

fn show_times(bytes: u64, parallel: Duration, single: Duration) -> String {
    let rate = |time: Duration| bytes as f64 / (1 << 20) as f64 / time.as_secs_f64();
    let speed_up = single.as_secs_f64() / parallel.as_secs_f64();
    let caution = match bytes < MEANINGFUL_BYTES {
        true => " (means little: below 32 MiB the start of the workers weighs too much)",
        false => "",
    };
    format!(
        "{} workers: {parallel:.2?}, {:.1} MiB/s\n1 worker: {single:.2?}, {:.1} MiB/s\nspeed-up {speed_up:.2}{caution}\n",
        cpu_count(),
        rate(parallel),
        rate(single)
    )
}
