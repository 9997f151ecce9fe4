//! Counts the words of every text file below a directory, one process per core.
//!
//! ```text
//! cargo run --release --example wordcount -- [DIR]
//! ```
//!
//! Map: each process counts the words of its share of the files. Group: a process adds up equal words as it goes.
//! Reduce: this process adds up what the others return. Without a directory it reads this checkout, but for hidden
//! folders and `target`.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use procession::prelude::*;
use serde::{Deserialize, Serialize};

/// How many of the most frequent words are printed.
const TOP_WORDS: usize = 10;

/// How many of the files that could not be counted are named.
const NAMED_FILES: usize = 5;

/// Below this much text the start of the processes weighs as much as their work.
const MEANINGFUL_BYTES: u64 = 32 << 20;

fn main() -> procession::Result<()> {
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

    let began = Instant::now();
    let mut counts = count_in_processes(&files, cpu_count())?;
    let parallel = began.elapsed();
    failures.append(&mut counts.failures);

    let began = Instant::now();
    count_in_processes(&files, 1)?;
    let single = began.elapsed();
    let report = format!(
        "{} files below {}\n{}{}",
        files.len(),
        root.display(),
        show_counts(&counts, &failures),
        show_times(counts.bytes, parallel, single)
    );
    let _ = std::io::stdout().write_all(report.as_bytes()); // Whoever reads it may have seen enough.
    Ok(())
}

/// What one process found, or all of them.
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

    /// Adds what another process found.
    fn add(&mut self, other: Counts) {
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
        self.files += other.files;
        self.bytes += other.bytes;
        self.failures.extend(other.failures);
    }
}

/// The target of each process: counts its share, and prints the size of each file it is done with.
fn count_words(share: Vec<OsString>) -> Counts {
    let mut counts = Counts::default();
    for path in share {
        match fs::read_to_string(&path) {
            Ok(text) => counts.add_text(&text),
            Err(error) => counts.failures.push((path.clone(), error.to_string())),
        }
        println!("{}", fs::metadata(&path).map_or(0, |file| file.len()));
    }
    counts
}

/// Counts all files with this many processes.
fn count_in_processes(files: &[(PathBuf, u64)], processes: usize) -> procession::Result<Counts> {
    let total = files.iter().map(|(_, size)| size).sum();
    let bar = ProgressBar::new(total).with_style(bar_style()).with_message(format!("{processes} process(es)"));
    let mut children = Vec::new();
    for share in shares(files, processes) {
        children.push(Process::builder(count_words, (share,)).stdout(Stdio::pipe()).start()?);
    }
    let mut all = Counts::default();
    thread::scope(|scope| {
        for child in &children {
            let (bar, stdout) = (&bar, child.take_stdout());
            scope.spawn(move || {
                for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok) {
                    bar.inc(line.parse().unwrap_or(0));
                }
            });
        }
    });
    for child in children {
        all.add(child.join()?);
    }
    bar.finish_and_clear();
    Ok(all)
}

/// Shares of about the same size: the largest file first, each to the share that has least.
fn shares(files: &[(PathBuf, u64)], count: usize) -> Vec<Vec<OsString>> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut shares = vec![(0, Vec::new()); count];
    for (path, size) in files {
        if let Some((share_size, share)) = shares.iter_mut().min_by_key(|(share_size, _)| *share_size) {
            *share_size += size;
            share.push(path.clone().into());
        }
    }
    shares.into_iter().map(|(_, share)| share).collect()
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
        true => " (means little: below 32 MiB the start of the processes weighs too much)",
        false => "",
    };
    format!(
        "{} processes: {parallel:.2?}, {:.1} MiB/s\n1 process: {single:.2?}, {:.1} MiB/s\nspeed-up {speed_up:.2}{caution}\n",
        cpu_count(),
        rate(parallel),
        rate(single)
    )
}
