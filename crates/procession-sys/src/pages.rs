//! Cheaper forks: children begin with the pages of the program's code mapped.
//!
//! A fork copies the page table of anonymous memory. That of mapped files it leaves to be filled by page faults, some
//! thirty for a child that does next to nothing, each as dear as ten system calls. The kernel makes no such difference
//! for a mapping in which one page was written to (`vma_needs_copy` in its memory.c), so a process that is going to fork
//! often writes one byte of each of its code mappings, with the value that it has. It does so through
//! `/proc/self/mem`, which copies the page as a debugger's breakpoint does; no mapping is ever writable.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

/// Mappings above this size are left alone: their page tables would cost each fork more than the faults do.
const MAPPING_BYTES_MAX: u64 = 4 << 20;

/// Has forks of this process copy its page table for its code, as far as it is filled by then.
///
/// # Errors
/// Where the kernel forbids writing to `/proc/self/mem`, or `/proc` is not mounted. Forks are slower then.
pub fn keep_pages_at_fork() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let memory = OpenOptions::new().read(true).write(true).open("/proc/self/mem")?;
    maps.lines().filter_map(code_mapping).try_for_each(|(start, _)| keep(&memory, start))
}

/// The bounds of a mapping of a file's code, in a line of `/proc/self/maps`.
fn code_mapping(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let of_code = fields.next()? == "r-xp";
    let of_file = fields.nth(3).is_some_and(|path| path.starts_with('/'));
    let bounds = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    (of_code && of_file && bounds.1.checked_sub(bounds.0)? <= MAPPING_BYTES_MAX).then_some(bounds)
}

/// Writes one byte of a mapping, with the value that it has.
fn keep(memory: &File, start: u64) -> io::Result<()> {
    let mut byte = [0];
    memory.read_exact_at(&mut byte, start)?;
    memory.write_all_at(&byte, start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_of_files_is_told_from_the_rest() {
        let code = "55d0c0a00000-55d0c0a80000 r-xp 00001000 fe:00 1234   /bin/a name with blanks";
        assert_eq!(code_mapping(code), Some((0x55d0_c0a0_0000, 0x55d0_c0a8_0000)));
        let others = [
            "55d0c0a00000-55d0c0a80000 rw-p 00001000 fe:00 1234   /bin/a",
            "55d0c0a00000-55d0c0a80000 r-xs 00001000 fe:00 1234   /bin/a",
            "55d0c0a00000-55d0c0a80000 r--p 00001000 fe:00 1234   /bin/a",
            "7fff00000000-7fff00001000 r-xp 00000000 00:00 0      [vdso]",
            "7f0000000000-7f0000800000 r-xp 00000000 fe:00 1234   /bin/large",
            "nonsense",
            "",
        ];
        for line in others {
            assert_eq!(code_mapping(line), None, "{line}");
        }
    }

    #[test]
    fn code_runs_on_as_before() {
        keep_pages_at_fork().unwrap();
        assert!(code_mapping("1000-2000 r-xp 00000000 fe:00 1 /bin/a").is_some());
    }
}
