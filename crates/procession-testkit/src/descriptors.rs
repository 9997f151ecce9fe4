//! Open descriptors as `/proc` shows them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;

/// One open descriptor of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDescriptor {
    /// Its number.
    pub number: u32,
    /// What it refers to: a path, or `socket:[1234]` and the like.
    pub target: String,
}

impl OpenDescriptor {
    /// What it refers to, without what differs from one socket or pipe to the next.
    fn kind(&self) -> &str {
        self.target.split_once(":[").map_or(&self.target, |(kind, _)| kind)
    }
}

impl fmt::Display for OpenDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptor {} ({})", self.number, self.target)
    }
}

/// This process's open descriptors, but for the one that lists them.
///
/// # Panics
/// When `/proc` is not mounted, or no descriptor is left for the listing.
#[must_use]
pub fn open_descriptors() -> Vec<OpenDescriptor> {
    open_descriptors_of(std::process::id()).expect("a process can list its own descriptors")
}

/// The open descriptors of the process with this number, but for one that lists them itself.
///
/// # Errors
/// `ENOENT` when there is no such process, `EACCES` when it is somebody else's.
pub fn open_descriptors_of(pid: u32) -> io::Result<Vec<OpenDescriptor>> {
    let directory = format!("/proc/{pid}/fd");
    let mut open = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has been closed since is none.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if target != directory {
            open.push(OpenDescriptor { number, target });
        }
    }
    open.sort_by_key(|descriptor| descriptor.number);
    Ok(open)
}

/// Those of `now` that `before` had not: compared by kind and count, as a socket may have taken another's place.
pub(crate) fn added(before: &[OpenDescriptor], now: &[OpenDescriptor]) -> Vec<OpenDescriptor> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for descriptor in before {
        *counts.entry(descriptor.kind()).or_default() += 1;
    }
    let known = |descriptor: &&OpenDescriptor| before.contains(descriptor);
    let mut added = Vec::new();
    // Those that are just as they were first, so that what is named is what is new.
    for descriptor in now.iter().filter(known).chain(now.iter().filter(|descriptor| !known(descriptor))) {
        match counts.get_mut(descriptor.kind()) {
            Some(count) if *count > 0 => *count -= 1,
            _ => added.push(descriptor.clone()),
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(number: u32, target: &str) -> OpenDescriptor {
        OpenDescriptor { number, target: target.into() }
    }

    #[test]
    fn another_socket_in_ones_place_is_not_added_and_one_more_is() {
        let before = [open(0, "/dev/null"), open(3, "socket:[1]")];
        assert_eq!(added(&before, &[open(0, "/dev/null"), open(4, "socket:[2]")]), []);
        let now = [open(3, "socket:[1]"), open(4, "socket:[2]"), open(5, "/dev/null")];
        assert_eq!(added(&before, &now), [open(4, "socket:[2]")]);
        assert_eq!(added(&[], &before), before);
    }

    #[test]
    fn an_opened_file_is_listed_and_the_listing_is_not() {
        let file = fs::File::open("/dev/null").unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file).unsigned_abs();
        let open = open_descriptors();
        assert!(open.contains(&OpenDescriptor { number, target: "/dev/null".into() }));
        assert!(!open.iter().any(|descriptor| descriptor.target.ends_with("/fd")));
    }
}
