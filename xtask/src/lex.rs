//! Tells code from comments and literals in Rust source, line by line.
//!
//! Not a parser: it knows where comments, strings and characters begin and end, which is all that
//! rules about tokens need. Relies on the source being Rust that compiles, so brackets balance.

use crate::tree::TextFile;

/// A Rust file, seen three ways; the three vectors have one entry per line.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    pub(crate) path: &'a str,
    /// The lines as they stand.
    pub(crate) lines: Vec<&'a str>,
    /// The lines with every comment and the inside of every literal blanked.
    pub(crate) code: Vec<String>,
    /// True for lines of items under `#[cfg(test)]`.
    pub(crate) in_test: Vec<bool>,
}

impl<'a> Source<'a> {
    /// Reads the file's text.
    pub(crate) fn new(file: &'a TextFile) -> Self {
        let code: Vec<String> = mask(&file.text).lines().map(str::to_string).collect();
        let in_test = test_lines(&code);
        Source { path: &file.path, lines: file.text.lines().collect(), code, in_test }
    }

    /// The lines of code that are neither blank nor comment nor test, from `first` to `last`.
    pub(crate) fn code_lines(&self, first: usize, last: usize) -> usize {
        (first..=last).filter(|&idx| !self.code[idx].trim().is_empty()).count()
    }
}

/// True if `word` stands in `line` with no identifier character beside it.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    words_at(line, word).next().is_some()
}

/// Where `word` stands in `line` as a word of its own.
pub(crate) fn words_at<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_ident = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_ident) && !after.is_some_and(is_ident)
    })
}

/// True if `name` is called in `line`: the word and an opening parenthesis, not after `fn`.
pub(crate) fn calls(line: &str, name: &str) -> bool {
    words_at(line, name)
        .any(|at| line[at + name.len()..].trim_start().starts_with('(') && !line[..at].trim_end().ends_with("fn"))
}

/// The text with comments and the insides of literals turned into spaces; newlines stay.
fn mask(text: &str) -> String {
    let mut masker = Masker { rest: text, out: String::with_capacity(text.len()) };
    while !masker.rest.is_empty() {
        masker.step();
    }
    masker.out
}

struct Masker<'a> {
    rest: &'a str,
    out: String,
}

impl Masker<'_> {
    /// Consumes one comment, literal, word or other character.
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            return self.blank(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return self.blank(block_comment_len(rest));
        }
        if let Some(len) = literal_len(rest) {
            return self.blank(len);
        }
        // A word is taken whole, so that the `r` of `for"` or `br` in `abr` starts no literal.
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let len = if word > 0 { word } else { rest.chars().next().map_or(0, char::len_utf8) };
        self.out.push_str(&rest[..len]);
        self.rest = &rest[len..];
    }

    fn blank(&mut self, len: usize) {
        let blanks = self.rest[..len].chars().map(|c| if c == '\n' { '\n' } else { ' ' });
        self.out.extend(blanks);
        self.rest = &self.rest[len..];
    }
}

fn block_comment_len(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string or character literal that `text` starts with, if it does.
fn literal_len(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#', '\''])));
    let start = prefix.map_or(0, str::len);
    let raw = prefix.is_some_and(|prefix| prefix.ends_with('r'));
    let body = &text[start..];
    if raw {
        let hashes = body.len() - body.trim_start_matches('#').len();
        let inside = body[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let len = inside.find(&end).map_or(inside.len(), |at| at + end.len());
        return Some(start + hashes + 1 + len);
    }
    if let Some(inside) = body.strip_prefix('"') {
        return Some(start + 1 + closing(inside, '"'));
    }
    let inside = body.strip_prefix('\'')?;
    let mut chars = inside.chars();
    match (chars.next()?, chars.next()) {
        ('\\', _) => Some(start + 1 + closing(inside, '\'')),
        (_, Some('\'')) => Some(start + 1 + inside.find('\'')? + 1),
        _ => None, // A lifetime or a label.
    }
}

/// How far the closing `quote` reaches, stepping over backslash escapes.
fn closing(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + quote.len_utf8();
        }
    }
    inside.len()
}

/// Marks the lines of every item that has `#[cfg(test)]` above it.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut marks = vec![false; code.len()];
    for idx in 0..code.len() {
        if !marks[idx] && code[idx].trim_start().starts_with("#[cfg(test)]") {
            let last = item_end(code, idx).unwrap_or(idx);
            marks[idx..=last].fill(true);
        }
    }
    marks
}

/// The line on which the item ends that starts at `first`: its closing brace or its semicolon.
pub(crate) fn item_end(code: &[String], first: usize) -> Option<usize> {
    let mut brackets = 0_i32;
    let mut braces = 0_i32;
    for (idx, line) in code.iter().enumerate().skip(first) {
        for c in line.chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => braces += 1,
                '}' => braces -= 1,
                _ => {}
            }
            let outside = brackets == 0 && braces == 0;
            if outside && matches!(c, ';' | '}') {
                return Some(idx);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text = "a // unsafe\n/* un /* nested */ safe\n*/ b \"un\\\"safe\" 'x' '\\'' c";
        let masked = mask(text);
        assert_eq!(masked.lines().count(), 3);
        assert!(!masked.contains("safe") && !masked.contains('x') && !masked.contains("un"));
        assert!(masked.contains('a') && masked.contains('b') && masked.ends_with('c'));
    }

    #[test]
    fn raw_strings_and_lifetimes_are_told_apart() {
        let masked = mask("fn f<'a>(x: &'a str) { r#\"unsafe \" { \"#; br\"x{\"; c\"y{\"; }");
        assert!(masked.contains("<'a>") && masked.contains("&'a str"));
        assert!(!masked.contains("unsafe"));
        assert_eq!(masked.matches('{').count(), masked.matches('}').count());
    }

    #[test]
    fn raw_identifiers_are_code() {
        assert_eq!(mask("r#unsafe + b'{' + 1"), "r#unsafe +      + 1");
    }

    #[test]
    fn words_and_calls_are_whole() {
        assert!(has_word("unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe"));
        assert!(calls("sys::fork()", "fork") && !calls("fn fork(", "fork"));
        assert!(!calls("refork()", "fork") && !calls("fork_server()", "fork"));
    }

    #[test]
    fn items_under_cfg_test_are_marked_to_their_end() {
        let file = TextFile {
            path: "a.rs".to_string(),
            text: "fn a() {}\n#[cfg(test)]\nmod tests {\n  fn b() { \"}\"; }\n}\nfn c() {}\n".to_string(),
        };
        assert_eq!(Source::new(&file).in_test, [false, true, true, true, true, false]);
    }
}
