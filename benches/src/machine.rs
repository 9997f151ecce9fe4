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
    }
}
