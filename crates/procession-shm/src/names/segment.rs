//! Creating a segment by name, opening it, and removing the name.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use procession_sys::{
    Access, SharedMap, file_identity, file_size, give_name, is_regular, never_shrinks, open_regular, reserve_file,
    unnamed_file,
};
use procession_wire::Descriptor;

use super::name::{DIRECTORY, Name};
use super::owner;
use crate::{SharedMemory, ShmError};

impl SharedMemory {
    /// A new segment of `bytes` zeros that any process of this user, also one in Python or C, can open by its name.
    ///
    /// It is the file `/dev/shm/NAME`, of exactly this size, and readable and writable for its owner alone. The room for
    /// it is set aside now. It appears under its name whole: whoever finds it finds it ready.
    ///
    /// The name is this process's: it is removed by [`SharedMemory::unlink`], by this process itself at its normal end
    /// (`main` or a child's target returns, or `exit` is called; after exit hooks and children), or within a second when
    /// it has ended in any other way, by whatever signal, or has executed another program. A forked child's end is of the
    /// second kind. Whoever has the memory open keeps it. Children, forked ones too, own none of it.
    ///
    /// A small process of its own, the tracker, looks after the ends of the second kind: it is started with the first
    /// name in a tree of processes, is nobody's child, and ends with its last owner. It serves what descends from the
    /// process that has started it; siblings that each create a name start one each, unless an ancestor has created a
    /// name before. If it was killed as well, as by a container's end, the next process that uses names removes what was
    /// left ([`sweep`](crate::sweep)); and so it is where no tracker can be started: when this library is part of a
    /// shared object in another program, or the process has rights that its user has not.
    ///
    /// Such a file cannot be sealed: if a process of this user makes it shorter, whoever touches what is gone is killed
    /// (SIGBUS). Segments without a name have no such weakness.
    ///
    /// Python's `SharedMemory(name, create=True, size=bytes)`. Source: `shm_open(3)`.
    ///
    /// # Errors
    /// [`ShmError::Empty`] for 0 bytes, [`ShmError::Name`], [`ShmError::Exists`], [`ShmError::NoSpace`],
    /// [`ShmError::Named`] where `/dev/shm` cannot be written to, [`ShmError::TooManyNames`], [`ShmError::Untracked`],
    /// [`ShmError::Create`], [`ShmError::Map`]. Nothing is left behind.
    ///
    /// # Examples
    /// ```
    /// use procession_shm::SharedMemory;
    ///
    /// let name = format!("example-{}", std::process::id());
    /// let memory = SharedMemory::create_named(&name, 1 << 20)?;
    /// SharedMemory::open(&name)?.write(0, b"found")?;
    /// let mut bytes = [0; 5];
    /// memory.read(0, &mut bytes)?;
    /// assert_eq!(&bytes, b"found");
    /// memory.unlink()?;
    /// # Ok::<(), procession_shm::ShmError>(())
    /// ```
    pub fn create_named(name: &str, bytes: usize) -> Result<Self, ShmError> {
        Self::create_named_filled(name, bytes, |_| Ok(()))
    }

    /// The same with something in it before it gets its name.
    pub(crate) fn create_named_filled(
        name: &str,
        bytes: usize,
        fill: impl FnOnce(Arc<SharedMap>) -> Result<(), ShmError>,
    ) -> Result<Self, ShmError> {
        let name = Name::new(name)?;
        owner::sweep_once();
        Self::create_filled(name, bytes, fill)
    }

    /// The same under a name that nobody has yet: `psm_` and eight hexadecimal digits, as in Python. See
    /// [`SharedMemory::name`].
    ///
    /// # Errors
    /// As [`SharedMemory::create_named`].
    pub fn create_with_new_name(bytes: usize) -> Result<Self, ShmError> {
        Self::create_with_new_name_filled(bytes, |_| Ok(()))
    }

    /// The same with something in it before it gets its name.
    pub(crate) fn create_with_new_name_filled(
        bytes: usize,
        fill: impl Fn(Arc<SharedMap>) -> Result<(), ShmError>,
    ) -> Result<Self, ShmError> {
        owner::sweep_once();
        under_free_name(Name::generate, |name| Self::create_filled(name, bytes, &fill))
    }

    /// One that is mapped and filled, and then gets its name.
    fn create_filled(
        name: Name,
        bytes: usize,
        fill: impl FnOnce(Arc<SharedMap>) -> Result<(), ShmError>,
    ) -> Result<Self, ShmError> {
        let file = whole_file(&name, bytes)?;
        let (_, number) = file_identity(&file).map_err(ShmError::system("look at"))?;
        let memory = Self::over(file.into(), Some(name.clone()))?;
        fill(memory.mapping())?;
        let bytes = bytes as u64;
        owner::enter(&name, number, bytes)?; // First: whatever happens from here on, the name stands in the record.
        if let Err(error) = give_name(memory.named_file().0, &name.path()) {
            owner::strike_out(number);
            return Err(refused(&name, bytes, error));
        }
        Ok(memory)
    }

    /// The segment of this name, whoever created it, as large as it is.
    ///
    /// Nothing is registered: neither the end of this process nor that of its handles removes what it has not created.
    ///
    /// Python's `SharedMemory(name)`, with `track=False`.
    ///
    /// # Errors
    /// [`ShmError::Name`], [`ShmError::NotFound`], [`ShmError::Foreign`] for what is no file or has no bytes (C
    /// programs and Python give it its size only after its name: try again), [`ShmError::Named`] when it is
    /// another user's, [`ShmError::Map`].
    pub fn open(name: &str) -> Result<Self, ShmError> {
        Self::attach(name, Access::ReadWrite)
    }

    /// The same, for reading alone.
    ///
    /// # Errors
    /// As [`SharedMemory::open`].
    pub fn open_read_only(name: &str) -> Result<Self, ShmError> {
        Self::attach(name, Access::ReadOnly)
    }

    fn attach(name: &str, access: Access) -> Result<Self, ShmError> {
        let name = Name::new(name)?;
        owner::sweep_once();
        let file = open_regular(&name.path(), access).map_err(|error| not_opened(&name, error))?;
        if file_size(&file).map_err(ShmError::system("look at"))? == 0 {
            return Err(ShmError::foreign(format!("{:?} has no bytes yet: try again", name.as_str())));
        }
        Self::over(file.into(), Some(name))
    }

    /// The name that others can open it by, if it was created or opened by one. It may have been removed since.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.named_file().1.map(Name::as_str)
    }

    /// Removes the segment's name, also through a handle that is read-only. Those who have it open keep it; the memory is gone with the last of them.
    ///
    /// A segment that was created under the same name since is another one, and stays.
    ///
    /// Python's `SharedMemory.unlink`. Source: `shm_unlink(3)`.
    ///
    /// # Errors
    /// [`ShmError::NotFound`] when the name is gone already, [`ShmError::Name`] for a segment that has none,
    /// [`ShmError::Named`] when it is another user's.
    pub fn unlink(&self) -> Result<(), ShmError> {
        let (file, name) = self.named_file();
        let Some(name) = name else {
            let reason = "this segment has none, and needs none: it is gone with its last handle".to_owned();
            return Err(ShmError::Name { name: String::new(), reason });
        };
        let (device, number) = file_identity(file).map_err(ShmError::system("look at"))?;
        let found = fs::symlink_metadata(name.path()).map_err(|error| not_removed(name, number, error))?;
        if (found.dev(), found.ino()) != (device, number) {
            owner::strike_out(number);
            return Err(not_found(name));
        }
        remove(name, number)
    }

    /// Removes the name of a segment that this process need not have open.
    ///
    /// Source: `shm_unlink(3)`.
    ///
    /// # Errors
    /// [`ShmError::Name`], [`ShmError::NotFound`], [`ShmError::Named`] when it is another user's.
    pub fn unlink_named(name: &str) -> Result<(), ShmError> {
        let name = Name::new(name)?;
        let found = fs::symlink_metadata(name.path()).map_err(|error| not_removed(&name, NO_NUMBER, error))?;
        remove(&name, found.ino())
    }
}

/// What is created under the first of the names that nobody has.
fn under_free_name<T>(
    mut generate: impl FnMut() -> io::Result<Name>,
    mut create: impl FnMut(Name) -> Result<T, ShmError>,
) -> Result<T, ShmError> {
    loop {
        let name = generate().map_err(ShmError::system("name"))?;
        match create(name) {
            Err(ShmError::Exists { .. }) => {}
            other => return other,
        }
    }
}

/// A file of this many bytes, all of them set aside, that has no name yet.
fn whole_file(name: &Name, bytes: usize) -> Result<OwnedFd, ShmError> {
    if bytes == 0 {
        return Err(ShmError::Empty);
    }
    let bytes = bytes as u64;
    let file = unnamed_file(Path::new(DIRECTORY)).map_err(|error| refused(name, bytes, error))?;
    reserve_file(&file, bytes).map_err(|error| refused(name, bytes, error))?;
    Ok(file)
}

/// Why a segment could not be created.
pub(crate) fn refused(name: &Name, bytes: u64, error: io::Error) -> ShmError {
    let name = name.as_str().to_owned();
    match error.kind() {
        io::ErrorKind::AlreadyExists => ShmError::Exists { name },
        io::ErrorKind::StorageFull => ShmError::NoSpace { name, bytes },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
            ShmError::Named { name, action: "create", error }
        }
        _ => ShmError::Create { bytes, error },
    }
}

/// Why a segment could not be opened.
fn not_opened(name: &Name, error: io::Error) -> ShmError {
    match error.kind() {
        io::ErrorKind::NotFound => not_found(name),
        io::ErrorKind::InvalidData => ShmError::foreign(format!("{:?} is no regular file", name.as_str())),
        _ => ShmError::Named { name: name.as_str().to_owned(), action: "open", error },
    }
}

fn not_found(name: &Name) -> ShmError {
    ShmError::NotFound { name: name.as_str().to_owned() }
}

/// No file has this number.
const NO_NUMBER: u64 = 0;

/// Why the name of file `number` could not be removed.
fn not_removed(name: &Name, number: u64, error: io::Error) -> ShmError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            owner::strike_out(number); // Somebody else has removed it.
            not_found(name)
        }
        _ => ShmError::Named { name: name.as_str().to_owned(), action: "remove the name of", error },
    }
}

/// Removes a name, which is that of file `number`.
fn remove(name: &Name, number: u64) -> Result<(), ShmError> {
    fs::remove_file(name.path()).map_err(|error| not_removed(name, number, error))?;
    owner::strike_out(number);
    Ok(())
}

/// Checks what came from another process: a memory file that cannot become shorter, or, with a name, a file of the file
/// system where named ones are.
pub(crate) fn check_arrived(file: &Descriptor, name: Option<String>) -> Result<Option<Name>, ShmError> {
    let Some(name) = name else {
        return match never_shrinks(file.as_fd()) {
            true => Ok(None),
            false => Err(ShmError::foreign("the descriptor is not of a memory file that is sealed against shrinking")),
        };
    };
    let name = Name::new(&name)?;
    let (device, _) = file_identity(file).map_err(ShmError::system("look at"))?;
    let directory = fs::metadata(DIRECTORY).map_err(ShmError::system("find the directory of named"))?;
    if device != directory.dev() || !is_regular(file).map_err(ShmError::system("look at"))? {
        return Err(ShmError::foreign(format!(
            "the descriptor named {:?} is of no file in {DIRECTORY}",
            name.as_str()
        )));
    }
    Ok(Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forbidden_is_told_with_name_and_path() {
        let name = Name::new("wanted").unwrap();
        for code in [13, 30] {
            let error = || io::Error::from_raw_os_error(code);
            for told in [not_opened(&name, error()), refused(&name, 1, error()), not_removed(&name, NO_NUMBER, error())]
            {
                assert!(matches!(told, ShmError::Named { .. }), "{told}");
                let told = told.to_string();
                assert!(told.contains("\"wanted\"") && told.contains("/dev/shm/wanted"), "{told}");
            }
        }
    }

    #[test]
    fn a_generated_name_that_is_taken_is_followed_by_another() {
        let taken = ["psm_1", "psm_2"];
        let mut names = ["psm_1", "psm_2", "psm_1", "psm_3", "psm_4"].into_iter();
        let mut create = |name: Name| match taken.contains(&name.as_str()) {
            true => Err(ShmError::Exists { name: name.as_str().to_owned() }),
            false => Ok(name),
        };
        let mut next = || names.next().map(|name| Name::new(name).unwrap()).ok_or_else(|| io::Error::other("no more"));
        assert_eq!(under_free_name(&mut next, &mut create).unwrap().as_str(), "psm_3");
        assert!(matches!(under_free_name(&mut next, |_| Err::<(), _>(ShmError::Empty)), Err(ShmError::Empty)));
        assert!(matches!(under_free_name(next, create), Err(ShmError::System { .. })), "no more names");
    }
}
