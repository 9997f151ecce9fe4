//! The packages of the workspace, as `cargo metadata` tells them.
//!
//! Relies on the fields of format version 1 and on nothing of the network.

use std::path::PathBuf;

use serde_json::Value;

use crate::{Result, run};

/// Where a crate stands in the order of the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// Helps tests; nothing that users get may depend on it.
    Dev,
    /// A library layer; it may depend on smaller numbers only.
    Number(u64),
}

/// A dependency on another package of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    pub(crate) to: String,
    /// False for dev-dependencies.
    pub(crate) shipped: bool,
}

/// One package of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The manifest's path from the root.
    pub(crate) manifest: String,
    /// As the manifest has it; `None` if it has none that we know.
    pub(crate) layer: Option<Layer>,
    pub(crate) publish: bool,
    pub(crate) edges: Vec<Edge>,
}

impl Package {
    /// True for what users depend on; false for xtask and the benches.
    pub(crate) fn is_crate(&self) -> bool {
        self.manifest.starts_with("crates/")
    }
}

/// Asks cargo for the workspace's packages, sorted by name.
///
/// # Errors
///
/// Cargo failed, or printed something that is not its metadata.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let metadata = metadata()?;
    let root = metadata["workspace_root"].as_str().ok_or("cargo names no workspace root")?;
    let all = metadata["packages"].as_array().ok_or("cargo names no packages")?;
    let names: Vec<&str> = all.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut packages = Vec::new();
    for package in all {
        packages.push(read(package, root, &names)?);
    }
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

/// Where cargo puts what it builds.
///
/// # Errors
///
/// Cargo failed, or printed something that is not its metadata.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = metadata()?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo names no target directory")?.into())
}

fn metadata() -> Result<Value> {
    let args = ["metadata", "--no-deps", "--format-version", "1"];
    Ok(serde_json::from_str(&run::output(run::cargo(&args))?)?)
}

fn read(package: &Value, root: &str, names: &[&str]) -> Result<Package> {
    let text = |key: &str| package[key].as_str().unwrap_or_default().to_string();
    let manifest = text("manifest_path");
    let manifest = manifest.strip_prefix(root).unwrap_or(&manifest).trim_start_matches('/');
    let dependencies = package["dependencies"].as_array().ok_or("a package has no dependencies")?;
    let edges = dependencies.iter().filter_map(|dependency| {
        let to = dependency["name"].as_str().filter(|name| names.contains(name))?;
        Some(Edge { to: to.to_string(), shipped: dependency["kind"].as_str() != Some("dev") })
    });
    Ok(Package {
        name: text("name"),
        description: text("description"),
        manifest: manifest.to_string(),
        layer: layer(&package["metadata"]["procession"]["layer"]),
        publish: package["publish"].as_array().is_none_or(|registries| !registries.is_empty()),
        edges: edges.collect(),
    })
}

fn layer(value: &Value) -> Option<Layer> {
    match value.as_str() {
        Some("dev") => Some(Layer::Dev),
        _ => value.as_u64().map(Layer::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_knows_this_package_and_its_place() -> Result {
        let packages = packages()?;
        let me = packages.iter().find(|package| package.name == "xtask").ok_or("no xtask")?;
        assert_eq!(me.manifest, "xtask/Cargo.toml");
        assert!(!me.publish && !me.is_crate() && me.layer.is_none());
        Ok(())
    }

    #[test]
    fn a_layer_is_a_number_or_dev() {
        assert_eq!(layer(&serde_json::json!(3)), Some(Layer::Number(3)));
        assert_eq!(layer(&serde_json::json!("dev")), Some(Layer::Dev));
        assert_eq!(layer(&serde_json::json!("top")), None);
        assert_eq!(layer(&Value::Null), None);
    }
}
