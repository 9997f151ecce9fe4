//! Which image this code is part of: where it lies, whether it is the main executable, and which build it is.
//!
//! # Safety
//! The image's first bytes, its ELF header and program headers, are mapped by whoever loaded it and never change;
//! they are read where the linker's own symbol says they are, within the bounds that they state themselves.

#![expect(unsafe_code, reason = "reads the image's own ELF header in memory")]

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use object::Endianness;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader};
use object::read::{ReadCache, ReadRef};
use sha2::{Digest, Sha256};

use crate::table::fnv1a;

/// The executable of this process, under whatever name, even after it was replaced or removed.
pub(crate) const OWN_EXECUTABLE: &str = "/proc/self/exe";

/// The identity of a build: the linker's build id, or the executable's hash where the linker wrote none.
///
/// ```
/// use procession_boot::ImageId;
///
/// let own = ImageId::own()?;
/// assert_eq!(*own, ImageId::of_file("/proc/self/exe".as_ref())?);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageId(Vec<u8>);

impl ImageId {
    /// This process's. Where it is a hash, it is computed when first asked for.
    ///
    /// # Errors
    /// When the executable cannot be read.
    pub fn own() -> io::Result<&'static Self> {
        static OWN: OnceLock<ImageId> = OnceLock::new();
        if let Some(id) = OWN.get() {
            return Ok(id);
        }
        let id = match &own().build_id {
            Some(id) => Self(id.clone()),
            None => Self::of_file(OWN_EXECUTABLE.as_ref())?,
        };
        Ok(OWN.get_or_init(|| id))
    }

    /// That of the executable at `path`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        let cache = ReadCache::new(BufReader::new(File::open(path)?));
        if let Some(id) = build_id(&cache) {
            return Ok(Self(id));
        }
        let mut hash = Sha256::new();
        let mut file = File::open(path)?;
        let mut chunk = vec![0; 1 << 16];
        loop {
            match io::Read::read(&mut file, &mut chunk)? {
                0 => return Ok(Self(hash.finalize().to_vec())),
                n => hash.update(&chunk[..n]),
            }
        }
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageId({self})")
    }
}

/// What a child compares at its start, which must be quick: its build id, or else its file's number, size and time.
pub(crate) fn stamp() -> io::Result<String> {
    if let Some(id) = &own().build_id {
        return Ok(format!("b{}", ImageId(id.clone())));
    }
    let file = fs::metadata(OWN_EXECUTABLE)?;
    Ok(format!("f{:x}.{:x}.{:x}.{:x}.{:x}", file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// What `stamp` will be in a child that runs the executable at `path`, which is known to be the same build.
pub(crate) fn stamp_of_copy(path: &Path) -> io::Result<String> {
    if own().build_id.is_some() {
        return stamp();
    }
    let file = fs::metadata(path)?;
    Ok(format!("f{:x}.{:x}.{:x}.{:x}.{:x}", file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()))
}

/// Where this code's image lies in memory.
pub(crate) struct Image {
    base: usize,
    end: usize,
    program_headers: usize,
    build_id: Option<Vec<u8>>,
    /// What tells this build's functions from those of others; 0 where the linker wrote no build id.
    pub(crate) mark: u64,
}

impl Image {
    /// Where in the image `address` lies, `None` outside it.
    pub(crate) fn offset_of(&self, address: usize) -> Option<u64> {
        (self.base..self.end).contains(&address).then(|| (address - self.base) as u64)
    }

    /// True when the kernel started this very image, rather than some other program that loaded it.
    pub(crate) fn is_main_executable(&self) -> bool {
        self.program_headers == procession_sys::program_headers()
    }
}

unsafe extern "C" {
    /// The linker's name for the image's first byte, its ELF header.
    #[link_name = "__ehdr_start"]
    static HEADER: [u8; 0];
}

/// This code's image.
pub(crate) fn own() -> &'static Image {
    static OWN: OnceLock<Image> = OnceLock::new();
    OWN.get_or_init(|| {
        let base = &raw const HEADER as usize;
        read_own(base).unwrap_or(Image { base, end: base, program_headers: 0, build_id: None, mark: 0 })
    })
}

/// Reads the image's header, then its program headers, then the first segment, which holds the notes.
fn read_own(base: usize) -> Option<Image> {
    let header_bytes = image_bytes(size_of::<FileHeader64<Endianness>>());
    let header = FileHeader64::<Endianness>::parse(header_bytes).ok()?;
    let endian = header.endian().ok()?;
    let table = usize::try_from(header.e_phoff(endian)).ok()?;
    let table_bytes = usize::from(header.e_phnum(endian)) * usize::from(header.e_phentsize(endian));
    let headers = header.program_headers(endian, image_bytes(table + table_bytes)).ok()?;
    let loads = || headers.iter().filter(|segment| segment.p_type(endian) == object::elf::PT_LOAD);
    let end = loads().map(|segment| segment.p_vaddr(endian) + segment.p_memsz(endian)).max()?;
    let first = loads().find(|segment| segment.p_offset(endian) == 0)?;
    // An image that is not position independent has its base as the first segment's address.
    let origin = first.p_vaddr(endian);
    let first_bytes = usize::try_from(first.p_filesz(endian)).ok()?;
    let build_id = build_id(image_bytes(first_bytes));
    Some(Image {
        base,
        end: base + usize::try_from(end.checked_sub(origin)?).ok()?,
        program_headers: base + table,
        mark: build_id.as_deref().map_or(0, |id| fnv1a(id.iter().copied())),
        build_id,
    })
}

/// The first `len` bytes of this image, where `len` is what its own headers say is mapped there.
fn image_bytes(len: usize) -> &'static [u8] {
    // SAFETY: the loader mapped the image's first segment, headers and notes included, for as long as this code can
    // run, readable, and nobody writes it. `len` lies within that segment: it is the header's size, the end of the
    // program headers (which every loader needs mapped), or the segment's own size.
    unsafe { std::slice::from_raw_parts((&raw const HEADER).cast(), len) }
}

/// The build id in an ELF file's or image's notes.
fn build_id<'data, R: ReadRef<'data>>(data: R) -> Option<Vec<u8>> {
    let header = FileHeader64::<Endianness>::parse(data).ok()?;
    let endian = header.endian().ok()?;
    for segment in header.program_headers(endian, data).ok()? {
        let Ok(Some(mut notes)) = segment.notes(endian, data) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == object::elf::ELF_NOTE_GNU && note.n_type(endian) == object::elf::NT_GNU_BUILD_ID {
                return Some(note.desc().to_vec());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_in_memory_is_the_file_that_was_started() {
        assert!(own().is_main_executable());
        let cache = ReadCache::new(BufReader::new(File::open(OWN_EXECUTABLE).unwrap()));
        assert_eq!(own().build_id, build_id(&cache));
    }

    #[test]
    fn another_program_is_another_image() {
        assert_ne!(*ImageId::own().unwrap(), ImageId::of_file("/bin/sh".as_ref()).unwrap());
    }
}
