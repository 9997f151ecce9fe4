//! `cargo xtask layers`: dependencies go down, and the drawing of the layers is made from the manifests.
//!
//! Relies on `[package.metadata.procession] layer = N` in every manifest under `crates/`, and on the
//! two markers in each file that shows the drawing.

use std::fs;

use crate::metadata::{self, Layer, Package};
use crate::tree::{self, Finding, TextFile};
use crate::{Result, flags};

/// The files that show the drawing.
const DRAWN_IN: &[&str] = &["README.md", "docs/src/design/architecture.md"];

const BEGIN: &str = "<!-- layers:begin -->";
const END: &str = "<!-- layers:end -->";

/// Checks the edges; then draws, or with `--check` compares the drawings with the manifests.
///
/// # Errors
///
/// An edge does not go down, or a drawing is missing or (with `--check`) out of date.
pub(crate) fn run(args: &[String]) -> Result {
    let [check] = flags::only(args, ["--check"])?;
    let packages = metadata::packages()?;
    let mut findings = edges(&packages);
    let drawing = draw(&packages);
    for path in DRAWN_IN {
        let file = tree::read(path)?;
        let Some(wanted) = with_drawing(&file.text, &drawing) else {
            findings.push(Finding::at(path, 0, format!("has no lines `{BEGIN}` and `{END}`")));
            continue;
        };
        if wanted == file.text {
            continue;
        }
        if check {
            findings.push(out_of_date(&file));
        } else {
            fs::write(tree::root().join(path), wanted)?;
            println!("{path}: drawn anew");
        }
    }
    tree::report("layers", findings)
}

fn out_of_date(file: &TextFile) -> Finding {
    let line_idx = file.text.lines().position(|line| line.trim() == BEGIN).unwrap_or(0);
    let message = "the layers differ from the manifests: run `cargo xtask layers`";
    Finding::at(&file.path, line_idx, message)
}

/// Every crate without a layer, and every dependency that does not go strictly down.
fn edges(packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages {
        if package.is_crate() && package.layer.is_none() {
            let message = "needs `[package.metadata.procession]` with `layer = N` or `layer = \"dev\"`";
            findings.push(Finding::at(&package.manifest, 0, message));
        }
        for edge in package.edges.iter().filter(|edge| edge.shipped) {
            let target = packages.iter().find(|candidate| candidate.name == edge.to);
            let objection = target.and_then(|target| objection(package, target));
            findings.extend(objection.map(|text| Finding::at(&package.manifest, 0, text)));
        }
    }
    findings
}

/// Why `from` may not depend on `to`, if it may not.
fn objection(from: &Package, to: &Package) -> Option<String> {
    if !to.is_crate() {
        return Some(format!("depends on `{}`, which is a tool and no layer", to.name));
    }
    match (from.layer?, to.layer?) {
        (Layer::Dev, _) => None,
        (Layer::Number(_), Layer::Dev) => {
            Some(format!("depends on `{}`, which is for tests only: make it a dev-dependency", to.name))
        }
        (Layer::Number(upper), Layer::Number(lower)) if lower < upper => None,
        (Layer::Number(upper), Layer::Number(lower)) => {
            Some(format!("layer {upper} depends on `{}` of layer {lower}: dependencies go strictly down", to.name))
        }
    }
}

/// The layers from the top down, one line per crate.
fn draw(packages: &[Package]) -> String {
    let mut crates: Vec<(Layer, &Package)> =
        packages.iter().filter_map(|package| Some((package.layer?, package))).collect();
    crates.sort_by(|(a, left), (b, right)| b.cmp(a).then(left.name.cmp(&right.name)));
    let width = crates.iter().map(|(_, package)| package.name.len()).max().unwrap_or(0);
    let mut text = String::from("```text\n");
    let mut above = None;
    for (layer, package) in crates {
        let label = match layer {
            _ if above == Some(layer) => String::new(),
            Layer::Number(number) => format!("layer {number}"),
            Layer::Dev => "dev".to_string(),
        };
        above = Some(layer);
        let line = format!("{label:<8} {:<width$}  {}", package.name, package.description);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text + "```\n"
}

/// `text` with `drawing` between the markers; `None` if it does not have both, in order.
fn with_drawing(text: &str, drawing: &str) -> Option<String> {
    let (head, rest) = text.split_once(BEGIN)?;
    let (_, tail) = rest.split_once(END)?;
    Some(format!("{head}{BEGIN}\n{drawing}{END}{tail}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::Edge;

    fn package(name: &str, layer: Option<Layer>, to: &[(&str, bool)]) -> Package {
        let edges = to.iter().map(|&(to, shipped)| Edge { to: to.to_string(), shipped });
        Package {
            name: name.to_string(),
            description: format!("About {name}"),
            manifest: format!("crates/{name}/Cargo.toml"),
            layer,
            publish: true,
            edges: edges.collect(),
        }
    }

    fn objections(to: &[(&str, bool)]) -> usize {
        edges(&[
            package("low", Some(Layer::Number(1)), &[]),
            package("mid", Some(Layer::Number(2)), to),
            package("side", Some(Layer::Number(2)), &[]),
            package("top", Some(Layer::Number(3)), &[]),
            package("kit", Some(Layer::Dev), &[("top", true)]),
        ])
        .len()
    }

    #[test]
    fn only_edges_that_go_down_pass() {
        assert_eq!(objections(&[("low", true)]), 0);
        assert_eq!(objections(&[("side", true)]), 1);
        assert_eq!(objections(&[("top", true)]), 1);
        assert_eq!(objections(&[("kit", true)]), 1);
        assert_eq!(objections(&[("kit", false), ("top", false)]), 0);
    }

    #[test]
    fn a_crate_without_a_layer_and_an_edge_to_a_tool_are_found() {
        let mut tool = package("tool", None, &[]);
        tool.manifest = "tool/Cargo.toml".to_string();
        let low = package("low", Some(Layer::Number(1)), &[("tool", true)]);
        assert_eq!(edges(&[tool, low]).len(), 1);
        assert_eq!(edges(&[package("low", None, &[])]).len(), 1);
    }

    #[test]
    fn the_drawing_names_a_layer_once_and_goes_from_the_top_down() {
        let packages = [
            package("a", Some(Layer::Number(1)), &[]),
            package("bb", Some(Layer::Number(1)), &[]),
            package("top", Some(Layer::Number(2)), &[]),
            package("kit", Some(Layer::Dev), &[]),
        ];
        let wanted = "```text\n\
                      layer 2  top  About top\n\
                      layer 1  a    About a\n         \
                      bb   About bb\n\
                      dev      kit  About kit\n\
                      ```\n";
        assert_eq!(draw(&packages), wanted);
    }

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let text = format!("head\n{BEGIN}\nold\n{END}\ntail\n");
        let drawn = with_drawing(&text, "new\n");
        assert_eq!(drawn, Some(format!("head\n{BEGIN}\nnew\n{END}\ntail\n")));
        assert_eq!(with_drawing(&format!("{END} {BEGIN}"), "new\n"), None);
    }
}
