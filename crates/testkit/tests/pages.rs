//! What the pages say of the code is there.

use anemone_testkit::house::{repository, text_files};
use std::fs;

/// Words in backticks on the pages of `docs`, with the page they stand on.
fn quoted() -> Vec<(String, String)> {
    let pages = text_files("docs", &["md"]);
    assert!(pages.len() >= 5, "found only {} pages", pages.len());
    let words = |(page, text): (String, String)| {
        let parts: Vec<String> = text.split('`').skip(1).step_by(2).map(str::to_string).collect();
        parts.into_iter().map(move |word| (page.clone(), word))
    };
    pages.into_iter().flat_map(words).collect()
}

#[test]
fn tests_that_pages_name_exist() {
    let named: Vec<_> = quoted().into_iter().filter(|(_, word)| word.contains(".rs::")).collect();
    assert!(named.len() > 8, "the pages name only {} tests", named.len());
    for (page, word) in named {
        let (file, test) = word.split_once("::").unwrap();
        let text = fs::read_to_string(repository().join(file)).unwrap_or_default();
        assert!(text.contains(&format!("#[test]\nfn {test}()")), "{page} names {word}, which is not there");
    }
}

#[test]
fn files_that_pages_name_exist() {
    let roots = ["crates/", "docs/", "corpus/", "fuzz/", "examples/"];
    for (page, word) in quoted() {
        let file = word.split("::").next().unwrap_or_default();
        let plain = !file.contains(['<', ' ', '*', '{']);
        if plain && roots.iter().any(|r| file.starts_with(r)) {
            assert!(repository().join(file).exists(), "{page} names {file}, which is not there");
        }
    }
}
