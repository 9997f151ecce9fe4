//! What makes an end come once, in whichever process first comes to the place: a file that whoever removes it has.
//!
//! # Safety
//! The one constructor here asks for a variable of the environment, and keeps something for its thread, both of which need
//! nothing that is not there before `main`.

#![expect(unsafe_code, reason = "a constructor is a function pointer in a link section")]

use std::env;
use std::fs;
use std::path::PathBuf;

use procession_sys::{fail_points, set_variable};
use procession_testkit::unique_name;
use serde::{Deserialize, Serialize};

use crate::ends::End;

/// The variable that says which end is to come when a worker starts.
const VARIABLE: &str = "PROCESSION_MATRIX_END";

/// The place at which a worker is a process and has done nothing yet.
const STARTS: &str = "worker: starts";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fuse {
    file: PathBuf,
    end: End,
}

impl Fuse {
    /// One that is not lit.
    pub(crate) fn new(end: End) -> Self {
        Self { file: env::temp_dir().join(format!("{}-fuse", unique_name())), end }
    }

    pub(crate) fn light(&self) {
        fs::write(&self.file, "").unwrap();
    }

    /// True until the end has come.
    pub(crate) fn is_lit(&self) -> bool {
        self.file.exists()
    }

    /// Has the end come if it has not yet.
    pub(crate) fn burn(&self) {
        if fs::remove_file(&self.file).is_ok() {
            self.end.come();
        }
    }

    /// Has it burn where workers start, of processes that are started from now on by whatever method.
    pub(crate) fn lay_where_workers_start(&self) {
        set_variable(VARIABLE, self.end.name()).unwrap(); // For those that begin with `main`,
        arm(self.end); // and for copies of this thread.
    }
}

fn arm(end: End) {
    let fuse = Fuse::new(end);
    fail_points::arm(STARTS, 0, move || fuse.burn());
}

extern "C" fn arm_if_asked() {
    let asked = env::var(VARIABLE).unwrap_or_default();
    if let Some(end) = End::ALL.into_iter().find(|end| end.name() == asked) {
        arm(end);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static ARM_IF_ASKED: extern "C" fn() = arm_if_asked;
