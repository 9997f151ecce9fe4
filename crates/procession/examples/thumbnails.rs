//! Makes thumbnails of all pictures in a directory, by an executor with a process for each processor.
//!
//! ```text
//! cargo run --release --example thumbnails -- [DIR] [--into DIR] [--generate N] [--size WIDTHxHEIGHT]
//! ```
//!
//! Each picture is a task of its own. A picture that is broken, or that takes its decoder down, costs itself: it is named,
//! and the rest goes on. Ctrl-C cancels what has not begun and tells what is done; the exit code is 130 then, as of a program that
//! an interrupt ends. Then the same is done by one process, to compare.
//!
//! Without a directory some pictures are made in a temporary one, and one of them is broken; `--generate 200` makes as many,
//! of 12 megapixels unless `--size` says otherwise. Thumbnails go to a temporary directory as well, unless `--into` names one.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use std::{env, fs, io};

use image::{ImageReader, RgbImage};
use indicatif::{ProgressBar, ProgressStyle};
use procession::prelude::*;

const USAGE: &str = "usage: thumbnails [DIR] [--into DIR] [--generate N] [--size WIDTHxHEIGHT]";

/// A thumbnail is no wider and no higher.
const EDGE_MAX: u32 = 256;

/// What is made where nothing is said.
const PICTURES: usize = 24;
const SMALL: [u32; 2] = [800, 600];

/// 12 megapixels, for `--generate`.
const LARGE: [u32; 2] = [4000, 3000];

/// How long one picture may take. Who sends a picture that keeps a decoder busy for ever is not to stop the others.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many of those that failed are named.
const NAMED: usize = 5;

/// What shells expect of a program that Ctrl-C has stopped: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> procession::Result<ExitCode> {
    let options = Options::parse(env::args_os().skip(1))?;
    let scratch = Scratch::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let on_ctrl_c = Arc::clone(&stop);
    ctrlc::set_handler(move || on_ctrl_c.store(true, Ordering::Relaxed)).map_err(io::Error::other)?;

    let from = match &options.from {
        Some(from) => from.clone(),
        None => generate(&scratch.0, options.count, options.size, &stop)?,
    };
    let into = options.into.clone().unwrap_or_else(|| scratch.0.join("thumbnails"));
    fs::create_dir_all(&into)?;
    let pictures = pictures(&from)?;
    println!("{} pictures in {}", pictures.len(), from.display());

    let all = make(&pictures, &into, cpu_count(), &stop)?;
    all.show(&format!("{} processes", cpu_count()));
    if !stop.load(Ordering::Relaxed) {
        let alone = make(&pictures, &into, 1, &stop)?;
        alone.show("1 process");
        if !stop.load(Ordering::Relaxed) {
            println!("speed-up {:.2}", alone.took.as_secs_f64() / all.took.as_secs_f64());
        }
    }
    if stop.load(Ordering::Relaxed) {
        println!("stopped by Ctrl-C");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(ExitCode::SUCCESS)
}

/// What the command line asks for.
struct Options {
    from: Option<PathBuf>,
    into: Option<PathBuf>,
    count: usize,
    size: [u32; 2],
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Fault> {
        let mut options = Self { from: None, into: None, count: PICTURES, size: SMALL };
        let usage = || Fault::new(USAGE);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--into") => options.into = Some(arguments.next().ok_or_else(usage)?.into()),
                Some("--generate") => {
                    let count = arguments.next().and_then(|text| text.to_str()?.parse().ok());
                    (options.count, options.size) = (count.ok_or_else(usage)?, LARGE);
                }
                Some("--size") => options.size = arguments.next().and_then(size).ok_or_else(usage)?,
                Some(option) if option.starts_with('-') => return Err(usage()),
                _ if options.from.is_some() => return Err(usage()),
                _ => options.from = Some(argument.into()),
            }
        }
        Ok(options)
    }
}

fn size(text: OsString) -> Option<[u32; 2]> {
    let (width, height) = text.to_str()?.split_once('x')?;
    Some([width.parse().ok()?, height.parse().ok()?])
}

/// A directory that goes when the program ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = env::temp_dir().join(format!("procession-thumbnails-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0); // It is a temporary one.
    }
}

/// Makes so many pictures, unless it is to stop, and one file that is none.
fn generate(scratch: &Path, count: usize, size: [u32; 2], stop: &AtomicBool) -> procession::Result<PathBuf> {
    let folder = scratch.join("pictures");
    fs::create_dir_all(&folder)?;
    let began = Instant::now();
    let paint = |(path, seed, [width, height]): (String, u32, [u32; 2])| -> Result<(), Fault> {
        let wave = |at: u32| ((f64::from(at + seed) / 40.0).sin() * 120.0 + 128.0) as u8;
        let waves: Vec<u8> = (0..width + height).map(wave).collect();
        let color = |x: u32, y: u32| image::Rgb([x, y, x + y].map(|at| waves[at as usize]));
        Ok(RgbImage::from_fn(width, height, color).save(path)?)
    };
    let pool = Pool::new(cpu_count())?;
    let item = |at: usize| (text_of(&folder.join(format!("{at:04}.jpg"))), 37 * at as u32, size);
    let mut made = 0;
    for painted in pool.chunked(1).imap_unordered(paint, (0..count).map(item)) {
        painted??;
        made += 1;
        if stop.load(Ordering::Relaxed) {
            break; // The rest is cancelled.
        }
    }
    fs::write(folder.join("broken.jpg"), b"\xff\xd8 this begins as a JPEG does")?;
    println!("made {made} pictures of {} x {} in {:.1?}", size[0], size[1], began.elapsed());
    Ok(folder)
}

/// A path as a worker is given it. Those that are no UTF-8 have `?` in it, and will not be found.
fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The pictures in a directory, by their names.
fn pictures(folder: &Path) -> procession::Result<Vec<PathBuf>> {
    let named = |error| io::Error::other(format!("cannot read {}: {error}", folder.display()));
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_lowercase);
        matches!(extension.as_deref(), Some("jpg" | "jpeg" | "png"))
    };
    let mut found: Vec<_> =
        fs::read_dir(folder).map_err(named)?.flatten().map(|entry| entry.path()).filter(is_picture).collect();
    found.sort();
    Ok(found)
}

/// The task: reads a picture, and writes its thumbnail.
fn thumbnail(from: String, into: String) -> Result<u64, Fault> {
    let picture = ImageReader::open(&from)?.with_guessed_format()?.decode()?;
    let pixels = u64::from(picture.width()) * u64::from(picture.height());
    picture.thumbnail(EDGE_MAX, EDGE_MAX).into_rgb8().save(into)?;
    Ok(pixels)
}

/// What came of all pictures.
struct Done {
    made: usize,
    pixels: u64,
    failed: Vec<(PathBuf, String)>,
    cancelled: usize,
    took: Duration,
}

/// Makes the thumbnails of these pictures with so many processes.
#[expect(clippy::mutable_key_type, reason = "a future is the same one whatever becomes of its task")]
fn make(pictures: &[PathBuf], into: &Path, workers: usize, stop: &AtomicBool) -> procession::Result<Done> {
    let began = Instant::now();
    let executor = ProcessPoolExecutor::new(workers)?;
    let mut tasks = HashMap::new();
    for path in pictures {
        let name = path.with_extension("jpg");
        let target = into.join(name.file_name().unwrap_or_default());
        let task = executor.task(thumbnail, (text_of(path), text_of(&target))).timeout(PATIENCE).submit()?;
        tasks.insert(task, path);
    }
    let bar = ProgressBar::new(tasks.len() as u64).with_style(bar_style());
    let mut done = Done { made: 0, pixels: 0, failed: Vec::new(), cancelled: 0, took: Duration::ZERO };
    for task in as_completed(tasks.keys().cloned().collect::<Vec<_>>()) {
        let path = tasks[&task];
        match task.result() {
            Ok(Ok(pixels)) => {
                done.made += 1;
                done.pixels += pixels;
            }
            Err(TaskError::Cancelled) => done.cancelled += 1,
            Ok(Err(fault)) => done.failed.push((path.clone(), fault.to_string())),
            Err(error) => done.failed.push((path.clone(), error.to_string())),
        }
        bar.inc(1);
        if stop.load(Ordering::Relaxed) {
            tasks.keys().for_each(|task| _ = task.cancel()); // What has begun is finished.
        }
    }
    bar.finish_and_clear();
    done.took = began.elapsed();
    Ok(done)
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("[{bar:40}] {pos}/{len} {per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Done {
    fn show(&self, who: &str) {
        let Self { made, pixels, failed, cancelled, took } = self;
        let rate = *pixels as f64 / 1e6 / took.as_secs_f64();
        println!(
            "{who}: {made} thumbnails in {took:.2?}, {rate:.0} megapixels/s, {} failed, {cancelled} cancelled",
            failed.len()
        );
        for (path, reason) in failed.iter().take(NAMED) {
            println!("  {}: {}", path.display(), reason.trim_end());
        }
    }
}
