//! Rules for `Cargo.toml`: versions stand in the root alone, and lints are everybody's.
//!
//! Relies on [`manifest`] to read them. Fuzz targets and the programs of
//! `cargo xtask images` are workspaces of their own, so they cannot inherit and are left out.

use super::safety::SYSTEM_CRATES;
use crate::manifest::{self, Entry};
use crate::tree::{Finding, TextFile};

/// What the rules find in these files.
pub(super) fn check(files: &[TextFile]) -> Vec<Finding> {
    let own_workspace = ["/fuzz/", "/images/"];
    let member = |file: &&TextFile| {
        file.path.ends_with("/Cargo.toml") && !own_workspace.iter().any(|folder| file.path.contains(folder))
    };
    files.iter().filter(member).flat_map(member_findings).collect()
}

fn member_findings(file: &TextFile) -> Vec<Finding> {
    let entries = manifest::entries(&file.text);
    let mut findings: Vec<Finding> = Vec::new();
    for entry in &entries {
        let objection = objection(&file.path, entry);
        findings.extend(objection.map(|text| Finding::at(&file.path, entry.line_idx, text)));
    }
    let inherits = |entry: &Entry| entry.table == "lints" && entry.key == "workspace" && entry.value == "true";
    if !entries.iter().any(inherits) {
        let message = "needs `[lints]` with `workspace = true`";
        findings.push(Finding::at(&file.path, 0, message));
    }
    findings.extend(directory(file, &entries));
    findings
}

/// A crate's directory is its package's name, so that either finds the other.
fn directory(file: &TextFile, entries: &[Entry]) -> Option<Finding> {
    let directory = file.path.strip_prefix("crates/")?.split('/').next()?;
    let name = entries.iter().find(|entry| entry.table == "package" && entry.key == "name")?;
    let differs = name.value.trim_matches('"') != directory;
    let message = "the package's name is not its directory's";
    differs.then(|| Finding::at(&file.path, name.line_idx, message))
}

/// Why this dependency may not be written so, if it may not.
fn objection(path: &str, entry: &Entry) -> Option<String> {
    let table = entry.table.rsplit('.').next().unwrap_or_default();
    if !table.ends_with("dependencies") {
        let whole_table = entry.table.split('.').any(|part| part.ends_with("dependencies"));
        return whole_table.then(|| "write each dependency on one line".to_string());
    }
    let (name, attribute) = entry.key.split_once('.').unwrap_or((&entry.key, ""));
    let system = SYSTEM_CRATES.contains(&name) && !path.starts_with("crates/procession-sys/");
    if system {
        return Some(format!("depends on `{name}`, which only procession-sys may"));
    }
    let value: String = entry.value.split_whitespace().collect();
    let inherited = (attribute == "workspace" && value == "true")
        || value.contains("{workspace=true")
        || value.contains(",workspace=true");
    let internal = name == "procession" || name.starts_with("procession-");
    if internal && table == "dev-dependencies" {
        let by_path = value.contains("path=") && !value.contains("version=");
        return (!by_path)
            .then(|| format!("a dev-dependency on `{name}` is a path without a version, or it cannot be published"));
    }
    (!inherited).then(|| format!("`{name}` needs `workspace = true`: versions stand in the root alone"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::file;

    const NONE: [usize; 0] = [];

    fn lines(text: &str) -> Vec<usize> {
        let text = format!("{text}[lints]\nworkspace = true\n");
        let findings = check(&[file("crates/a/Cargo.toml", &text)]);
        findings.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_version_outside_of_the_root_is_found() {
        assert_eq!(lines("[dependencies]\nserde = \"1\"\n"), [2]);
        assert_eq!(lines("[target.'cfg(unix)'.dependencies]\nserde = { version = \"1\" }\n"), [2]);
        assert_eq!(lines("[dependencies.serde]\nversion = \"1\"\n"), [2]);
        assert_eq!(lines("[dependencies]\nserde.workspace = true\n"), NONE);
        assert_eq!(lines("[dependencies]\nserde = { workspace = true, features = [\n\"rc\"] }\n"), NONE);
        assert_eq!(check(&[file("Cargo.toml", "[dependencies]\nserde = \"1\"\n")]), []);
    }

    #[test]
    fn internal_dev_dependencies_have_a_path_and_no_version() {
        let table = "[dev-dependencies]\n";
        assert_eq!(lines(&format!("{table}procession-wire.workspace = true\n")), [2]);
        assert_eq!(lines(&format!("{table}procession-wire = {{ path = \"../w\" }}\n")), NONE);
        assert_eq!(lines(&format!("{table}procession-wire = {{ path = \"../w\", version = \"0.1\" }}\n")), [2]);
        assert_eq!(lines("[dependencies]\nprocession-wire = { path = \"../w\" }\n"), [2]);
    }

    #[test]
    fn system_crates_missing_lints_and_foreign_names_are_found() {
        assert_eq!(lines("[dependencies]\nlibc.workspace = true\n"), [2]);
        assert_eq!(check(&[file("crates/a/Cargo.toml", "[package]\nname = \"a\"\n")]).len(), 1);
        assert_eq!(lines("[package]\nname = \"b\"\n"), [2]);
        assert_eq!(lines("[package]\nname = \"a\"\n"), NONE);
    }
}
