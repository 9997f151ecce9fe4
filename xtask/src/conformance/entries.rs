//! The list of promises: one line for each, and what is refused in it without knowing any test.
//!
//! Relies on the form that the head of `docs/conformance.txt` describes. Whatever is not of that form is a finding,
//! never skipped.

use crate::tree::{Finding, TextFile};

/// What stands between two cells of a line.
const BETWEEN: &str = " | ";

/// What stands between two tests of one row.
const AND: &str = " + ";

/// The rows that one test may prove. A test of more promises than this proves none of them alone.
pub(super) const ROWS_PER_TEST_MAX: usize = 5;

/// A test as the list names it: the binary as nextest calls it, and the case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Test {
    /// `package::binary`, or the package alone for its unit tests.
    pub(super) binary: String,
    /// Without a start method's label if the case exists for each of them.
    pub(super) case: String,
}

/// Why a row may be believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// These tests fail when the promise is broken.
    Tests(Vec<Test>),
    /// A crate that does not exist yet, or a name of one that does.
    Waits(String),
}

/// One promise of CPython's tests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Counted from nought.
    pub(super) line_idx: usize,
    pub(super) group: String,
    /// CPython's class and method.
    pub(super) name: String,
    /// What is different here; `None` if the promise holds as it is.
    pub(super) adapted: Option<String>,
    pub(super) proof: Proof,
    pub(super) promise: String,
}

/// A crate, or a name of one, that rows wait for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Awaited {
    pub(super) line_idx: usize,
    pub(super) name: String,
    /// What it will bring.
    pub(super) brings: String,
}

/// All that the list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) entries: Vec<Entry>,
    pub(super) awaited: Vec<Awaited>,
}

/// Reads the list. A line that cannot be read is a finding, and the others are read all the same.
pub(super) fn read(file: &TextFile) -> (List, Vec<Finding>) {
    let mut list = List::default();
    let mut findings = Vec::new();
    let mut group = None;
    for (line_idx, line) in file.text.lines().enumerate() {
        let read = match line.split_once(' ') {
            None if line.is_empty() => Ok(()),
            None if line == "#" => Ok(()),
            Some(("#", _)) => Ok(()),
            Some(("==", heading)) => {
                group = Some(heading.to_string());
                Ok(())
            }
            Some(("awaited", rest)) => awaited(line_idx, rest).map(|crate_| list.awaited.push(crate_)),
            _ => entry(line_idx, group.as_deref(), line).map(|entry| list.entries.push(entry)),
        };
        findings.extend(read.err().map(|message| Finding::at(&file.path, line_idx, message)));
    }
    (list, findings)
}

fn awaited(line_idx: usize, rest: &str) -> Result<Awaited, String> {
    let (name, brings) = rest.split_once(": ").ok_or("an awaited crate is `awaited NAME: what it brings`")?;
    Ok(Awaited { line_idx, name: name.to_string(), brings: brings.to_string() })
}

fn entry(line_idx: usize, group: Option<&str>, line: &str) -> Result<Entry, String> {
    let cells: Vec<&str> = line.split(BETWEEN).collect();
    let [name, verdict, proof, promise] = cells[..] else {
        return Err(format!("has {} cells and not `name | verdict | proof | promise`", cells.len()));
    };
    let group = group.ok_or("stands before the first heading, `== GROUP`")?;
    if cells.iter().any(|cell| cell.trim() != *cell || cell.is_empty()) {
        return Err("has an empty cell, or one with blanks around it".to_string());
    }
    Ok(Entry {
        line_idx,
        group: group.to_string(),
        name: name.to_string(),
        adapted: adapted(verdict)?,
        proof: read_proof(proof)?,
        promise: promise.to_string(),
    })
}

/// What a verdict says is different.
fn adapted(verdict: &str) -> Result<Option<String>, String> {
    match verdict.split_once(": ") {
        None if verdict == "yes" => Ok(None),
        Some(("adapted", how)) if !how.trim().is_empty() => Ok(Some(how.to_string())),
        _ => Err(format!("the verdict `{verdict}` is neither `yes` nor `adapted: how`")),
    }
}

fn read_proof(proof: &str) -> Result<Proof, String> {
    if let Some(awaited) = proof.strip_prefix("waits: ") {
        return Ok(Proof::Waits(awaited.to_string()));
    }
    let tests = proof.split(AND).map(|test| {
        let (binary, case) = test.split_once(' ')?;
        let plain = !case.contains(' ') && !binary.ends_with(':');
        plain.then(|| Test { binary: binary.to_string(), case: case.to_string() })
    });
    let tests: Option<Vec<Test>> = tests.collect();
    tests.map(Proof::Tests).ok_or_else(|| {
        format!("`{proof}` is neither a test, `package::binary case`, nor a crate, `waits: procession-…`")
    })
}

impl List {
    /// What is wrong with the list, whatever tests there are. `existing` are the crates that exist, and what is awaited of
    /// one and is there.
    pub(super) fn objections(&self, path: &str, existing: &[String]) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            let mut object = |message: String| findings.push(Finding::at(path, entry.line_idx, message));
            if self.entries[..at].iter().any(|earlier| earlier.name == entry.name) {
                object(format!("`{}` stands in the list already", entry.name));
            }
            if let Proof::Waits(awaited) = &entry.proof {
                self.objection_to_waiting(awaited, existing).into_iter().for_each(&mut object);
            }
            for test in self.overused(at) {
                let Test { binary, case } = test;
                object(format!("`{binary} {case}` proves more than {ROWS_PER_TEST_MAX} rows: split it"));
            }
        }
        let idle = self.awaited.iter().filter(|crate_| self.waiting_for(&crate_.name) == 0);
        findings.extend(idle.map(|crate_| {
            Finding::at(path, crate_.line_idx, format!("no row waits for `{}`: remove the line", crate_.name))
        }));
        findings
    }

    /// The rows that wait for this crate.
    pub(super) fn waiting_for(&self, name: &str) -> usize {
        let waits = |entry: &&Entry| matches!(&entry.proof, Proof::Waits(awaited) if awaited == name);
        self.entries.iter().filter(waits).count()
    }

    /// Every test with the line of the row that names it.
    pub(super) fn tests(&self) -> impl Iterator<Item = (usize, &Test)> {
        self.entries.iter().flat_map(|entry| {
            let tests = match &entry.proof {
                Proof::Tests(tests) => tests.as_slice(),
                Proof::Waits(_) => &[],
            };
            tests.iter().map(|test| (entry.line_idx, test))
        })
    }

    fn objection_to_waiting(&self, awaited: &str, existing: &[String]) -> Option<String> {
        if existing.iter().any(|name| name == awaited) {
            return Some(format!("waits for `{awaited}`, which exists: name the test that proves the row"));
        }
        let known = self.awaited.iter().any(|crate_| crate_.name == awaited);
        (!known).then(|| format!("waits for `{awaited}`, which no line `awaited {awaited}: …` announces"))
    }

    /// The tests of the entry at this index that prove one row too many with it.
    fn overused(&self, at: usize) -> Vec<&Test> {
        let Some(Entry { proof: Proof::Tests(tests), .. }) = self.entries.get(at) else { return Vec::new() };
        let rows = |test: &Test| {
            let names = |entry: &&Entry| matches!(&entry.proof, Proof::Tests(named) if named.contains(test));
            self.entries[..=at].iter().filter(names).count()
        };
        tests.iter().filter(|test| rows(test) > ROWS_PER_TEST_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "awaited procession-ipc: queues\n== Process\n";
    const WAITS: &str = "A.waits | yes | waits: procession-ipc | It comes.\n";

    fn file(rows: &str) -> TextFile {
        TextFile { path: "list".to_string(), text: format!("{HEAD}{WAITS}{rows}") }
    }

    /// The messages about `rows`, where `procession-launch` exists.
    fn messages(rows: &str) -> Vec<String> {
        let file = file(rows);
        let (list, mut findings) = read(&file);
        findings.extend(list.objections(&file.path, &["procession-launch".to_string()]));
        findings.into_iter().map(|found| format!("{}: {}", found.line, found.message)).collect()
    }

    fn refused(rows: &str, why: &str) {
        let messages = messages(rows);
        assert!(matches!(&messages[..], [message] if message.contains(why)), "{messages:?}");
    }

    #[test]
    fn a_good_list_is_read_whole() {
        let rows = "# a remark\n\n#\nA.one | adapted: by type | p::b x + p y::z | It | holds.\n";
        let rows = rows.replace("It | holds", "It holds");
        assert_eq!(messages(&rows), [""; 0]);
        let (list, _) = read(&file(&rows));
        let entry = &list.entries[1];
        assert_eq!((entry.group.as_str(), entry.adapted.as_deref()), ("Process", Some("by type")));
        let tests: Vec<String> = list.tests().map(|(_, test)| format!("{} {}", test.binary, test.case)).collect();
        assert_eq!(tests, ["p::b x", "p y::z"]);
        assert_eq!((list.waiting_for("procession-ipc"), list.entries[0].adapted.as_deref()), (1, None));
    }

    #[test]
    fn an_unknown_verdict_is_refused() {
        refused("A.one | no | p::b x | It holds.\n", "4: the verdict `no`");
        refused("A.one | adapted | p::b x | It holds.\n", "the verdict `adapted`");
        refused("A.one | adapted: | p::b x | It holds.\n", "the verdict `adapted:`");
    }

    #[test]
    fn a_row_without_proof_is_refused() {
        refused("A.one | yes | It holds.\n", "has 3 cells");
        refused("A.one | yes |  | It holds.\n", "empty cell");
        refused("A.one | yes | none | It holds.\n", "`none` is neither a test");
        refused("A.one | yes | p::b x +  | It holds.\n", "blanks around");
        refused("A.one | yes | p::b x, p::b y | It holds.\n", "is neither a test");
    }

    #[test]
    fn a_row_outside_of_a_group_is_refused() {
        let file = TextFile { path: "list".to_string(), text: WAITS.to_string() };
        let (list, findings) = read(&file);
        assert_eq!(list, List::default());
        assert!(findings[0].message.contains("before the first heading"));
    }

    #[test]
    fn a_row_twice_is_refused() {
        refused(WAITS, "4: `A.waits` stands in the list already");
    }

    #[test]
    fn waiting_for_what_exists_or_is_not_announced_is_refused() {
        refused("A.one | yes | waits: procession-launch | It holds.\n", "which exists");
        refused("A.one | yes | waits: procession-icp | It holds.\n", "no line `awaited procession-icp: …`");
        refused("awaited procession-shm: memory\n", "4: no row waits for `procession-shm`");
        refused("awaited procession-shm\n", "an awaited crate is");
    }

    #[test]
    fn a_test_of_more_than_five_rows_is_refused() {
        let row = |number: usize| format!("A.row{number} | yes | p::b x | It holds.\n");
        let rows = |count: usize| (0..count).map(row).collect::<String>();
        assert_eq!(messages(&rows(5)), [""; 0]);
        refused(&rows(6), "9: `p::b x` proves more than 5 rows");
    }
}
