//! How a task tells the process that measures that it has begun, and in which process: by a datagram, whatever the task came by.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, process};

use procession_benches::Result;
use procession_sys::{PidFd, Signal};

use crate::work::sleep;

/// How long a task may take to begin.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hears of tasks that have begun.
pub(crate) struct Ear {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Ear {
    pub(crate) fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("procession-bench-pool-{}", process::id()));
        let socket = UnixDatagram::bind(&path)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, path })
    }

    /// Where a task has to tell it.
    pub(crate) fn path(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    /// Waits until a task has begun, and kills its process.
    pub(crate) fn kill(&self) -> Result<u32> {
        let mut pid = [0; 4];
        self.socket.recv(&mut pid)?;
        let pid = u32::from_ne_bytes(pid);
        PidFd::open(pid)?.send(Signal::KILL)?;
        Ok(pid)
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // It is in the folder for what is left behind.
    }
}

/// A task that says that it has begun, and is killed then.
pub(crate) fn begin(path: String) {
    let said = UnixDatagram::unbound().and_then(|socket| socket.send_to(&process::id().to_ne_bytes(), path));
    said.expect("somebody hears it");
    sleep();
}
