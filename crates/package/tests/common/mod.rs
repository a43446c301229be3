//! Packages of the corpus as sources.
#![allow(dead_code, reason = "each test file uses its part")]

use anemone_package::{Files, Source};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A folder of the corpus.
pub fn corpus(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(folder)
}

/// All packages of a folder of the corpus, sorted by name.
pub fn packages(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(corpus(folder)).expect("the corpus is there");
    let mut found: Vec<PathBuf> = entries.map(|e| e.expect("readable").path()).collect();
    found.retain(|p| p.extension().is_some_and(|e| e == "mlpackage"));
    found.sort();
    assert!(!found.is_empty(), "no packages in {folder}");
    found
}

/// The files of a package of the corpus.
pub fn load(path: &Path) -> Files {
    let mut files = Files::new();
    add(path, "", &mut files);
    files
}

fn add(root: &Path, at: &str, files: &mut Files) {
    for entry in fs::read_dir(root.join(at)).expect("readable") {
        let entry = entry.expect("readable");
        let name = entry.file_name().into_string().expect("UTF-8");
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        if entry.path().is_dir() {
            add(root, &path, files);
        } else {
            files.insert(path, fs::read(entry.path()).expect("readable").into());
        }
    }
}

/// A source that fails.
pub struct Broken;

impl Source for Broken {
    fn read(&self, _: &str) -> io::Result<Option<Bytes>> {
        Err(io::Error::other("the disk is gone"))
    }

    fn files(&self, _: &str) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}
