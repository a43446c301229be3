//! Source files as the house tests look at them: comments and literals blanked, lines kept.

use std::fs;
use std::path::{Path, PathBuf};

/// Root of the repository.
pub fn repository() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap_or(root)
}

/// One source file.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path below the root of the repository, with `/`.
    pub path: String,
    /// The file as it is.
    pub text: String,
    /// The file with comments and literals blanked, line by line the same.
    pub code: String,
}

impl SourceFile {
    /// The sources of a room, tests and benchmarks left out, in order of their paths.
    pub fn of_room(name: &str) -> Vec<SourceFile> {
        SourceFile::under(&format!("crates/{name}/src"))
    }

    /// Every Rust file under a folder of the repository, in order of their paths.
    pub fn under(folder: &str) -> Vec<SourceFile> {
        let files = text_files(folder, &["rs"]).into_iter();
        files.map(|(path, text)| SourceFile { code: blank(&text), path, text }).collect()
    }

    /// Lines, counted from 1, whose code contains `what` as a whole word or path.
    pub fn lines_with(&self, what: &str) -> Vec<usize> {
        lines_with(&self.code, what)
    }
}

/// Files of a folder of the repository with one of these extensions: path below the root, and text.
///
/// Build output and hidden folders other than `.ci` are left out.
pub fn text_files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    let root = repository();
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(|e| Some(e.ok()?.path())) {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let hidden = name.starts_with('.') && name != ".ci";
            if path.is_dir() && !hidden && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
                let below = path.strip_prefix(&root).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                found.extend(fs::read_to_string(&path).ok().map(|text| (below, text)));
            }
        }
    }
    found.sort();
    found
}

/// `code` with the bodies of `#[cfg(test)]` items blanked; `code` is blanked of comments and literals already.
pub fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|i| i + from) {
        let end = item_end(code, at);
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the item that starts at `at` ends: at its `;`, or at the brace that closes its first one.
fn item_end(code: &str, at: usize) -> usize {
    let mut depth = 0usize;
    for (i, c) in code[at..].char_indices() {
        match c {
            ';' if depth == 0 => return at + i + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + i + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn lines_with(code: &str, what: &str) -> Vec<usize> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (head, tail) = (what.starts_with(word), what.ends_with(word));
    let mut lines = Vec::new();
    for (at, _) in code.match_indices(what) {
        let before = code[..at].chars().next_back().is_some_and(word);
        let after = code[at + what.len()..].chars().next().is_some_and(word);
        if !(head && before || tail && after) {
            lines.push(code[..at].matches('\n').count() + 1);
        }
    }
    lines.dedup();
    lines
}

/// Replaces comments and the insides of literals by spaces; newlines stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + skipped(&bytes[at..], at.checked_sub(1).map(|i| bytes[i]));
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Length of the comment or literal at the start of `rest`; 0 if there is none.
fn skipped(rest: &[u8], before: Option<u8>) -> usize {
    let in_word = before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => quoted(rest, 0),
        [b'b' | b'c', b'"', ..] if !in_word => quoted(rest, 1),
        [b'r', b'"' | b'#', ..] if !in_word => raw(rest, 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !in_word => raw(rest, 2),
        [b'\'', ..] => character(rest),
        _ => 0,
    }
}

fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    rest.len()
}

fn quoted(rest: &[u8], prefix: usize) -> usize {
    let mut at = prefix + 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

fn raw(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&b| b == b'#').count();
    if rest.get(prefix + hashes) != Some(&b'"') {
        return 0;
    }
    let closing = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let start = prefix + hashes + 1;
    let inside = rest[start..].windows(closing.len()).position(|w| w == closing);
    inside.map_or(rest.len(), |i| start + i + closing.len())
}

/// A character literal, told apart from a lifetime by its closing quote.
fn character(rest: &[u8]) -> usize {
    if rest.get(1) == Some(&b'\\') {
        return rest[3..].iter().position(|&b| b == b'\'').map_or(0, |i| i + 4);
    }
    let width = rest.get(1).map_or(1, |b| match b {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    });
    if rest.get(1 + width) == Some(&b'\'') { width + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_lines_stay() {
        let text =
            "let a = \"std::fs\"; // std::fs\n/* a /* b */ c */ let c = 'x'; fn f<'a>() {} r#\"q\"q\"#;\n";
        let code = blank(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert!(!code.contains("fs") && !code.contains('x') && !code.contains('q'), "{code}");
        assert!(code.contains("let c =") && code.contains("fn f<'a>()"), "{code}");
    }

    #[test]
    fn test_modules_are_left_out() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { {} }\n}\nfn c() {}\n";
        let kept = without_tests(code);
        assert!(kept.contains("fn a") && kept.contains("fn c") && !kept.contains("fn b"), "{kept}");
    }

    #[test]
    fn words_are_found_whole() {
        assert_eq!(lines_with("a Serialize b\nSerialized\nserde::Serialize;", "Serialize"), [1, 3]);
    }
}
