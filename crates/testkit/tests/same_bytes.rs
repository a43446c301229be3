//! Same input, same options, same bytes.

use anemone_mil::DType;
use anemone_mil::verify::{Level, verify};
use anemone_package::{Files, read, write};
use anemone_passes::{canonicalize, legalize};
use anemone_testkit::{corpus, files};

/// Reads, rewrites and writes a package of the corpus.
///
/// Every hash map of the run has keys of its own, so that an order that comes from one shows.
fn rewritten(name: &str) -> Files {
    let source: Files = files::read_folder(&corpus::path(&format!("packages/{name}"))).unwrap();
    let mut package = read(&source).unwrap();
    for function in &mut package.program.functions {
        canonicalize(function);
        legalize(function, DType::F16);
    }
    let mut out = Files::new();
    let verified = verify(&package.program, Level::Imported).unwrap();
    write(verified, &package.kept, &mut out).unwrap();
    out
}

#[test]
fn reading_rewriting_and_writing_twice_gives_the_same_bytes() {
    let names = corpus::list("packages").into_iter().filter(|n| n.ends_with(".mlpackage"));
    for name in names {
        assert!(rewritten(&name) == rewritten(&name), "{name} comes out differently the second time");
    }
}
