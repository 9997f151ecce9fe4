//! What a measurement ran on, in the words that may stand in the book: no name of a host, no path.

use std::fs;
use std::process::Command;

use crate::Result;

/// The machine and the programs on it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The processor's model, as the kernel knows it.
    pub cpu: String,
    /// How many processors this process may use.
    pub processors: usize,
    /// The memory, in GiB.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Whether the kernel backs ordinary memory with huge pages, which make a fork cheaper.
    pub huge_pages: String,
    /// The compiler.
    pub rustc: String,
    /// The Python that takes part.
    pub python: String,
}

impl Machine {
    /// This machine.
    ///
    /// # Errors
    /// There is no `rustc`, or the kernel does not tell.
    pub fn this(python: &str) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let meminfo = fs::read_to_string("/proc/meminfo")?;
        // A kernel without this file has no such pages.
        let huge = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        let rustc = Command::new("rustc").arg("--version").output().map_err(|error| format!("no rustc: {error}"))?;
        Ok(Self {
            cpu: value(&cpuinfo, "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism()?.get(),
            memory_gib: gib(&meminfo).ok_or("the kernel does not tell how much memory there is")?,
            kernel: format!("Linux {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim()),
            huge_pages: chosen(&huge).unwrap_or("none").to_owned(),
            rustc: String::from_utf8(rustc.stdout)?.trim().to_owned(),
            python: python.to_owned(),
        })
    }
}

/// What a virtual machine's host takes away of the processors' time: it runs others on them meanwhile.
#[derive(Debug)]
pub struct Stolen {
    ticks: Option<(u64, u64)>,
}

impl Stolen {
    /// From now on.
    #[must_use]
    pub fn watch() -> Self {
        Self { ticks: ticks() }
    }

    /// What part of all time was taken since this was asked last; 0 where the kernel does not tell.
    pub fn share(&mut self) -> f64 {
        let (before, now) = (self.ticks, ticks());
        self.ticks = now;
        let Some(((before, of_all_before), (now, of_all))) = before.zip(now) else { return 0.0 };
        if of_all == of_all_before { 0.0 } else { (now - before) as f64 / (of_all - of_all_before) as f64 }
    }
}

/// The processors' time that was stolen, and all of it. Source: proc_stat(5).
fn ticks() -> Option<(u64, u64)> {
    stolen_of_all(&fs::read_to_string("/proc/stat").ok()?)
}

/// The last two of the ten numbers are in others already.
fn stolen_of_all(stat: &str) -> Option<(u64, u64)> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let numbers: Vec<u64> = numbers.map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
    Some((*numbers.get(7)?, numbers.iter().sum()))
}

/// What stands after `key` and a colon.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn gib(meminfo: &str) -> Option<u64> {
    let kib: f64 = value(meminfo, "MemTotal")?.strip_suffix(" kB")?.parse().ok()?;
    Some((kib / f64::from(1 << 20)).round() as u64)
}

/// The word in brackets.
fn chosen(choices: &str) -> Option<&str> {
    Some(choices.split_once('[')?.1.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read_as_it_writes_them() {
        assert_eq!(value("processor\t: 0\nmodel name\t: A CPU\n", "model name").as_deref(), Some("A CPU"));
        assert_eq!(value("processor\t: 0\n", "model name"), None);
        assert_eq!(gib("MemTotal:       24683744 kB\nMemFree: 1 kB\n"), Some(24));
        assert_eq!(chosen("always [madvise] never\n"), Some("madvise"));
        assert_eq!(chosen(""), None);
        assert_eq!(stolen_of_all("cpu  10 1 2 80 3 0 1 5 7 0\ncpu0 1\n"), Some((5, 102)));
        assert_eq!(stolen_of_all("cpu  10 1\n"), None);
    }
}
