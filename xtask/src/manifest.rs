//! Reads the little of `Cargo.toml` that the rules ask about: tables, keys and values as text.
//!
//! Not a TOML parser. It relies on one key per line, which is how the manifests here are written;
//! arrays and inline tables may go over several lines.

/// One `key = value` of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The index of the line it starts on.
    pub(crate) line_idx: usize,
    /// The table it stands in, such as `dependencies` or `[test]` for an array of tables.
    pub(crate) table: String,
    /// How many tables came before that one; tells two `[[test]]` apart.
    pub(crate) table_idx: usize,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// All entries of a manifest, in order.
pub(crate) fn entries(text: &str) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut table = String::new();
    let mut table_idx = 0;
    let mut open = 0;
    for (line_idx, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if open > 0 {
            open += depth(line);
            if let Some(last) = entries.last_mut() {
                last.value.push_str(line.trim());
            }
        } else if let Some(inside) = line.trim().strip_prefix('[') {
            table = inside.strip_suffix(']').unwrap_or(inside).trim().to_string();
            table_idx += 1;
        } else if let Some((key, value)) = line.split_once('=') {
            open = depth(value);
            let (key, value) = (key.trim().to_string(), value.trim().to_string());
            entries.push(Entry { line_idx, table: table.clone(), table_idx, key, value });
        }
    }
    entries
}

/// The `[[test]]` targets that bring their own `main`: the tests that start processes.
pub(crate) fn process_tests(text: &str) -> Vec<String> {
    let entries = entries(text);
    let own_main =
        entries.iter().filter(|entry| entry.table == "[test]" && entry.key == "harness" && entry.value == "false");
    let named = own_main.filter_map(|harness| {
        let same = entries.iter().filter(|entry| entry.table_idx == harness.table_idx);
        same.into_iter().find(|entry| entry.key == "name")
    });
    named.map(|entry| entry.value.trim_matches('"').to_string()).collect()
}

/// The line up to a `#` that stands outside of quotes.
fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => return &line[..at],
            _ => {}
        }
    }
    line
}

/// How many brackets and braces the line leaves open.
fn depth(line: &str) -> i32 {
    let mut quoted = false;
    let mut depth = 0;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' | '{' if !quoted => depth += 1,
            ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_go_over_lines_and_comments_are_not_values() {
        let text = "[dependencies] # why\na = { x = [\n  \"1\", # one\n  \"#\",\n] }\nb.workspace = true\n";
        let entries = entries(text);
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].value, "{ x = [\"1\",\"#\",] }");
        assert_eq!((entries[1].line_idx, entries[1].key.as_str()), (5, "b.workspace"));
        assert_eq!(entries[1].table, "dependencies");
    }

    #[test]
    fn process_tests_are_those_without_a_harness() {
        let text = "[[test]]\nname = \"a\"\n[[test]]\nharness = false\nname = \"b\"\n\
                    [[bench]]\nname = \"c\"\nharness = false\n";
        assert_eq!(process_tests(text), ["b"]);
    }
}
