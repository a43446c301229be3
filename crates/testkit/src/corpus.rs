//! The files of `corpus/` that tests read.

use crate::house::repository;
use serde_json::Value;
use std::path::PathBuf;

/// A file or folder of the corpus.
pub fn path(name: &str) -> PathBuf {
    repository().join("corpus").join(name)
}

/// The bytes of a file of the corpus.
///
/// # Panics
/// When the file is not there.
pub fn bytes(name: &str) -> bytes::Bytes {
    let path = path(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).into()
}

/// A JSON file of the corpus.
///
/// # Panics
/// When it is not there or not JSON.
pub fn json(name: &str) -> Value {
    serde_json::from_slice(&bytes(name)).unwrap_or_else(|e| panic!("corpus/{name}: {e}"))
}

/// Names of the entries of a folder, sorted.
///
/// # Panics
/// When it is not a folder of the corpus.
pub fn list(name: &str) -> Vec<String> {
    let entries = std::fs::read_dir(path(name)).unwrap_or_else(|e| panic!("corpus/{name}: {e}"));
    let mut names: Vec<String> =
        entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
    names.sort();
    names
}
