//! Derived code compiles in a package whichever of our crates it depends on, and under whichever name.
//!
//! Relies on cargo, as manifests are what the macros read: each case is a package of a workspace that is written for
//! this test, with the versions of our own lock file, so that nothing is downloaded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};

/// A package: its name, its dependencies, and under which path it finds what it uses.
struct Package {
    name: &'static str,
    edition: &'static str,
    dependencies: &'static [&'static str],
    path: &'static str,
    attribute: &'static str,
    source: &'static str,
}

/// A package that derives `Shareable` and needs no attribute.
const fn package(name: &'static str, dependencies: &'static [&'static str], path: &'static str) -> Package {
    Package { name, edition: "2024", dependencies, path, attribute: "", source: SOURCE }
}

/// A package of an older edition that has a shared type.
const fn sharing(name: &'static str, dependencies: &'static [&'static str], path: &'static str) -> Package {
    Package { edition: "2021", source: SHARING, ..package(name, dependencies, path) }
}

const SHM: &str = "procession-shm = { path = \"CRATES/procession-shm\" }";
const SHM_AS_MEMORY: &str = "memory = { package = \"procession-shm\", path = \"CRATES/procession-shm\" }";
const SHM_INHERITED: &str = "procession-shm.workspace = true";
const MANAGER: &str = "procession-manager = { path = \"CRATES/procession-manager\" }";
const MANAGER_AS_OBJECTS: &str = "objects = { package = \"procession-manager\", path = \"CRATES/procession-manager\" }";
const FACADE: &str = "procession = { path = \"CRATES/procession\" }";
const FACADE_AS_MP: &str = "mp = { package = \"procession\", path = \"CRATES/procession\" }";
const MIDDLE: &str = "middle = { path = \"../middle\" }";

const COMPILE: &[Package] = &[
    package("narrow", &[SHM], "procession_shm"),
    package("narrow-renamed", &[SHM_AS_MEMORY], "memory"),
    package("narrow-inherited", &[SHM_INHERITED], "procession_shm"),
    package("facade", &[FACADE], "procession::prelude"),
    package("facade-renamed", &[FACADE_AS_MP], "mp::shm"),
    package("both", &[SHM_AS_MEMORY, FACADE_AS_MP], "mp::prelude"),
    package("middle", &[FACADE], "procession::shm"),
    Package {
        attribute: "#[shareable(crate = middle::again)]",
        ..package("named-by-attribute", &[MIDDLE], "middle::again")
    },
    sharing("sharing", &[MANAGER], "procession_manager"),
    sharing("sharing-renamed", &[MANAGER_AS_OBJECTS], "objects"),
    sharing("sharing-by-the-facade", &[FACADE], "procession::prelude"),
    sharing("sharing-by-the-facade-renamed", &[FACADE_AS_MP], "mp"),
];

/// Has the derive, and no crate of ours under a name of its own.
const NEITHER: Package = package("neither", &[MIDDLE], "middle::again");

/// What each package has: it forbids what generated code could only do in our name.
const SOURCE: &str = r#"//! A fixture.
#![forbid(unsafe_code)]
#![deny(warnings)]

use PATH::{Shareable, SharedArray};

/// A struct.
#[derive(Clone, Copy, Shareable)]
ATTRIBUTE
#[repr(C)]
pub struct Pair<T> {
    /// A field.
    pub of: [T; 2],
}

/// An enum.
#[derive(Clone, Copy, Shareable)]
ATTRIBUTE
#[repr(u8)]
pub enum State {
    /// A variant.
    Only,
}

/// Some of them.
pub fn pairs() -> Option<SharedArray<Pair<State>>> {
    SharedArray::zeroed(3).ok()
}

pub use PATH as again;
"#;

/// What packages with a shared type have: neither serde nor anything else of ours.
const SHARING: &str = r#"//! A fixture.
#![forbid(unsafe_code)]
#![deny(warnings, missing_docs, missing_debug_implementations)]

use PATH::{shared, BaseManager, CallError};

/// Items of one type.
#[derive(Debug, Default)]
pub struct Stack<T>(Vec<T>);

#[shared]
impl<T> Stack<T> {
    /// An empty one.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds an item.
    pub fn push(&mut self, item: T) {
        self.0.push(item);
    }

    /// The last item.
    pub fn last(&self) -> Option<&T> {
        self.0.last()
    }
}

/// The last item.
pub fn last(manager: &BaseManager) -> Result<Option<String>, CallError> {
    let stack: StackProxy<String> = manager.create::<Stack<String>>(())?;
    stack.push("item".to_owned())?;
    stack.last()
}
"#;

#[test]
fn derived_code_follows_the_dependencies_of_the_package_that_it_is_in() {
    let workspace = Workspace::write();
    let output = workspace.check(&["--workspace", "--exclude", NEITHER.name]);
    assert!(output.status.success(), "{}", text(&output));
    let refused = workspace.check(&["--package", NEITHER.name]);
    let said = text(&refused);
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("`procession-shm` is not among the dependencies of this package"), "{said}");
    assert!(said.contains("#[shareable(crate = path)]"), "{said}");
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The packages on disk.
struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn write() -> Self {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let crates = repository.join("crates");
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("homes");
        let write = |path: String, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.replace("CRATES", crates.to_str().unwrap())).unwrap();
        };
        let packages = || COMPILE.iter().chain([&NEITHER]);
        let members: Vec<_> = packages().map(|package| package.name).collect();
        let members = format!("[workspace]\nresolver = \"3\"\nmembers = {members:?}\n");
        write("Cargo.toml".into(), &format!("{members}[workspace.dependencies]\n{SHM}\n"));
        for Package { name, edition, dependencies, path, attribute, source } in packages() {
            let head = format!("[package]\nname = \"{name}\"\nedition = \"{edition}\"\n[dependencies]\n");
            write(format!("{name}/Cargo.toml"), &(head + &dependencies.join("\n") + "\n"));
            write(format!("{name}/src/lib.rs"), &source.replace("PATH", path).replace("ATTRIBUTE", attribute));
        }
        fs::copy(repository.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        Self { root }
    }

    fn check(&self, arguments: &[&str]) -> Output {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["check", "--offline", "--color=never"]).args(arguments);
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join("target"));
        // What cargo told this test of its own package is not for others.
        for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_")) {
            cargo.env_remove(name);
        }
        cargo.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_TARGET_TMPDIR").env_remove("RUSTFLAGS");
        cargo.output().unwrap()
    }
}
