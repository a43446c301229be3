//! The files of the corpus.

use anemone_formats::Bytes;
use std::path::{Path, PathBuf};

/// A file or folder of the corpus.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(name)
}

/// The bytes of a file of the corpus.
pub fn bytes(name: &str) -> Bytes {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into()
}

/// A JSON file of the corpus.
#[allow(dead_code, reason = "not every test that shares this module has expectations")]
pub fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&bytes(name)).expect("expectations are JSON")
}

/// Names of the entries of a folder, sorted.
#[allow(dead_code, reason = "not every test that shares this module lists a folder")]
pub fn list(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(name)).expect("a folder of the corpus");
    let mut names: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
