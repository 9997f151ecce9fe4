//! How much memory there is to be had.
//!
//! Relies on `/proc` and on the control groups being mounted where systems mount them.

use std::{fs, io};

/// A version of control groups: where it is mounted, how `/proc/self/cgroup` begins its line, and how it names things.
struct Version {
    mount: &'static str,
    line: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// What counts as used but is given up for anybody who needs memory: files that can be read again.
    cache: [&'static str; 2],
}

const VERSIONS: [Version; 2] = [
    Version {
        mount: "/sys/fs/cgroup",
        line: "0::",
        limit: "memory.max",
        usage: "memory.current",
        cache: ["inactive_file ", "active_file "],
    },
    Version {
        mount: "/sys/fs/cgroup/memory",
        line: ":memory:",
        limit: "memory.limit_in_bytes",
        usage: "memory.usage_in_bytes",
        cache: ["total_inactive_file ", "total_active_file "],
    },
];

/// Bytes that processes can still be given before the system has to end one: what it calls available, free swap, and
/// not more than the control groups of this process allow.
///
/// # Errors
/// When `/proc` is not mounted.
pub fn available_memory() -> io::Result<u64> {
    let info = fs::read_to_string("/proc/meminfo")?;
    let bytes = |name| kilobytes(&info, name).map(|kilobytes| kilobytes << 10);
    let system = bytes("MemAvailable:").ok_or(io::ErrorKind::InvalidData)? + bytes("SwapFree:").unwrap_or(0);
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let allowed =
        VERSIONS.iter().flat_map(|version| version.groups(&own).into_iter().filter_map(|path| version.allowed(&path)));
    Ok(allowed.fold(system, u64::min))
}

/// A value of `/proc/meminfo`.
fn kilobytes(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

impl Version {
    /// The directories of this process's control group and of those around it.
    fn groups(&self, own: &str) -> Vec<String> {
        let Some((_, path)) = own.lines().find_map(|line| line.split_once(self.line)) else { return Vec::new() };
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.map(|end| format!("{}{}", self.mount, &path[..end])).collect()
    }

    /// What a control group still allows, if it limits memory.
    fn allowed(&self, group: &str) -> Option<u64> {
        let read = |name| fs::read_to_string(format!("{group}/{name}")).ok();
        let number = |name| read(name)?.trim().parse::<u64>().ok();
        let statistics = read("memory.stat").unwrap_or_default();
        let cache = |name| statistics.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok());
        let used = number(self.usage)?.saturating_sub(self.cache.iter().filter_map(cache).sum());
        Some(number(self.limit)?.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_and_those_around_it_are_looked_at() {
        let own = "4:memory:/x/y\n1:cpu:/x\n0::/a\n";
        assert_eq!(VERSIONS[0].groups(own), ["/sys/fs/cgroup", "/sys/fs/cgroup/a"]);
        let first = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/x", "/sys/fs/cgroup/memory/x/y"];
        assert_eq!(VERSIONS[1].groups(own), first);
        assert!(VERSIONS[1].groups("1:cpu:/x\n").is_empty());
    }

    #[test]
    fn there_is_some_memory_and_not_more_than_the_system_has() {
        let info = fs::read_to_string("/proc/meminfo").unwrap();
        let all = kilobytes(&info, "MemTotal:").unwrap() + kilobytes(&info, "SwapTotal:").unwrap_or(0);
        let available = available_memory().unwrap();
        assert!(available > 0 && available <= all << 10, "{available}");
    }
}
