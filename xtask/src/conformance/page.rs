//! The page of the book that is made of the list of promises.
//!
//! Relies on the list alone and not on the tests, so that a stale page is found without a build.

use super::entries::{Entry, List, Proof, Test};

const INTRODUCTION: &str = "\
# Conformance

<!-- Made by `cargo xtask conformance` from docs/conformance.txt: change that. -->

CPython's own tests say what `multiprocessing` and `concurrent.futures` promise.
This page lists those promises that hold here, each in a sentence of ours, with the tests that fail when it is broken.
Nothing without a test stands on this page: `cargo xtask conformance --check` asks the test programs whether each test
exists, and refuses one that is named for more than five promises.

*Adapted* says what has another shape in Rust. A test that is one of each start method's stands here once: it runs with
forkserver and spawn, and with fork where a copy of the process can keep the promise.
Promises about Python alone are left out: its imports, its garbage collector, how its main module is found.
";

/// The text of the page.
pub(super) fn write(list: &List) -> String {
    let mut page = String::from(INTRODUCTION);
    let proved = |entry: &&Entry| matches!(entry.proof, Proof::Tests(_));
    let mut group = None;
    for entry in list.entries.iter().filter(proved) {
        if group != Some(&entry.group) {
            page += &format!("\n## {}\n\n", entry.group);
            page += "| CPython's test | promise | adapted | our test |\n|---|---|---|---|\n";
            group = Some(&entry.group);
        }
        page += &row(entry);
    }
    page += &waiting(list);
    page
}

fn row(entry: &Entry) -> String {
    let tests = match &entry.proof {
        Proof::Tests(tests) => tests.iter().map(shown).collect::<Vec<_>>().join("<br>"),
        Proof::Waits(_) => String::new(),
    };
    let how = entry.adapted.as_deref().unwrap_or("no");
    format!("| `{}` | {} | {how} | {tests} |\n", entry.name, entry.promise)
}

fn shown(test: &Test) -> String {
    format!("`{} {}`", test.binary, test.case)
}

/// How many promises wait, and for what.
fn waiting(list: &List) -> String {
    let mut text = String::from("\n## Not here yet\n\n");
    let waiting: usize = list.awaited.iter().map(|crate_| list.waiting_for(&crate_.name)).sum();
    let all = list.entries.len();
    text += &format!("Of {all} promises {} are proved above. The others wait for what is to come:\n\n", all - waiting);
    text += "| crate | brings | promises |\n|---|---|---|\n";
    for crate_ in &list.awaited {
        text += &format!("| {} | {} | {} |\n", crate_.name, crate_.brings, list.waiting_for(&crate_.name));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::entries::read;
    use super::*;
    use crate::tree::TextFile;

    #[test]
    fn proved_rows_stand_in_their_group_and_others_are_counted() {
        let text = "awaited procession-ipc: queues\n\
                    == Queues\nA.a | yes | waits: procession-ipc | Comes.\n\
                    == Process\nB.b | adapted: by type | p::t x + p::t y | Holds.\nC.c | yes | p::t z | Holds too.\n";
        let (list, findings) = read(&TextFile { path: "list".to_string(), text: text.to_string() });
        assert_eq!(findings, []);
        let page = write(&list);
        assert!(
            page.contains("| `B.b` | Holds. | by type | `p::t x`<br>`p::t y` |\n| `C.c` | Holds too. | no |"),
            "{page}"
        );
        assert!(page.contains("## Process") && !page.contains("## Queues") && !page.contains("A.a"), "{page}");
        assert!(page.contains("Of 3 promises 2 are proved above"), "{page}");
        assert!(page.contains("| procession-ipc | queues | 1 |"), "{page}");
    }
}
