//! What CPython's proxies have, against what the book says of it.
//!
//! Relies on `python3` for the lists: those of the version that is there.

use std::process::Command;

const LISTS: &str = "
import multiprocessing.managers as managers
for name, proxy in vars(managers).items():
    if isinstance(proxy, type) and not name.startswith('Base'):
        for method in getattr(proxy, '_exposed_', None) or ():
            print(name + '.' + method)
";

#[test]
fn the_book_has_a_row_for_each_method_of_pythons_proxies() {
    let page = include_str!("../../../docs/src/reference/python.md");
    let python = Command::new("python3").args(["-c", LISTS]).output().expect("python3");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let lists = String::from_utf8(python.stdout).unwrap();
    let told = |method: &str| page.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{method}`")));
    let missing: Vec<&str> = lists.lines().filter(|method| !told(method)).collect();
    assert!(lists.lines().count() > 40 && missing.is_empty(), "not in docs/src/reference/python.md: {missing:?}");
}
