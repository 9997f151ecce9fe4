//! Two builds of one program at one manager: neither runs the other's functions.
//!
//! Relies on the testkit. The other build is a copy of this file's program with another build id, so that every function of
//! it lies where one of this build's does: what an edit makes that moves nothing.

#[expect(dead_code, reason = "other files use the rest of it")]
mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use procession_boot::ImageId;
use procession_manager::{BaseManager, CallError, DictProxy, Refusal, SyncManager};
use procession_testkit::{program, unique_name};

use common::warm_up;

procession_testkit::main! {
    warm_up: warm_up;
    cases: [functions_of_another_build_are_refused within 60];
    programs: [client];
}

const KEY: &[u8] = b"what both builds know";

/// Where a client finds the manager's address.
const ADDRESS: &str = "MANAGER_ADDRESS";

/// What a client says when its function was refused.
const REFUSED: &str = "refused, and all else works";

/// What one says whose function has run.
const RUN: &str = "the function has run";

/// A copy of this program that says it is another build.
fn another_build(path: &Path) {
    let own = ImageId::own().unwrap().to_string();
    let id: Vec<u8> = (0..own.len()).step_by(2).map(|at| u8::from_str_radix(&own[at..at + 2], 16).unwrap()).collect();
    let mut bytes = fs::read("/proc/self/exe").unwrap();
    let at = bytes.windows(id.len()).position(|window| window == id).expect("the linker writes build ids here");
    bytes[at..at + id.len()].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// What a client of this build says, or of another one.
fn said_by(mut client: Command, manager: &SyncManager) -> String {
    let output = client.env(ADDRESS, manager.address().to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn functions_of_another_build_are_refused() {
    let manager: SyncManager = BaseManager::builder().authkey(KEY).start().unwrap().into();
    let counts = manager.dict::<u8, u64>().unwrap();
    manager.publish("counts", &counts).unwrap();
    assert_eq!(said_by(program("client"), &manager), RUN);
    assert_eq!(counts.get(&1).unwrap(), Some(1));

    let copy = std::env::temp_dir().join(format!("another-build-{}", unique_name()));
    another_build(&copy);
    let own = program("client");
    let mut other = Command::new(&copy);
    other.args(own.get_args()).envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = said_by(other, &manager);
    fs::remove_file(copy).unwrap();
    assert_eq!(said, REFUSED);
    assert_eq!(counts.get(&1).unwrap(), Some(1), "nothing has run");
    assert_eq!(counts.get(&2).unwrap(), Some(7), "what needs no function works");
}

fn client() {
    let address = std::env::var(ADDRESS).unwrap();
    let manager = SyncManager::connect(address, KEY).unwrap();
    let counts: DictProxy<u8, u64> = manager.get("counts").unwrap();
    match counts.update(1, |count| count.unwrap_or(0) + 1) {
        Ok(_) => return println!("{RUN}"),
        Err(CallError::Refused { refusal: Refusal::NoFunction { .. }, .. }) => {}
        Err(other) => panic!("{other}"),
    }
    counts.insert(2, 7).unwrap();
    // One that it makes itself holds data, as the server has no functions for its keys.
    let own: DictProxy<u8, String> = manager.dict().unwrap();
    own.insert(1, "one".to_owned()).unwrap();
    assert_eq!(own.get(&1).unwrap().as_deref(), Some("one"));
    println!("{REFUSED}");
}
