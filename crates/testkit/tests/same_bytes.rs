//! Same input, same options, same bytes.
//!
//! Every hash map of a run has keys of its own, so that an order that comes from one shows within one process.

use anemone_formats::onnx::ModelProto;
use anemone_formats::{Bytes, Error, ErrorKind};
use anemone_import::onnx::{Options, import};
use anemone_mil::verify::{Level, verify};
use anemone_mil::{DType, Opset, Program};
use anemone_package::{Files, Kept, read, write};
use anemone_passes::{canonicalize, legalize};
use anemone_testkit::{corpus, files};

/// Rewrites a program in both precisions' ways and writes it.
fn written(mut program: Program, kept: &Kept) -> Files {
    for function in &mut program.functions {
        canonicalize(function);
        legalize(function, DType::F16);
    }
    let verified = verify(&program, Level::Imported).unwrap();
    let mut out = Files::new();
    write(verified, kept, &mut out).unwrap();
    out
}

fn from_package(name: &str) -> Files {
    let source: Files = files::read_folder(&corpus::path(&format!("packages/{name}"))).unwrap();
    let package = read(&source).unwrap();
    written(package.program, &package.kept)
}

fn from_onnx(name: &str) -> Files {
    let model = ModelProto::read(&corpus::bytes(&format!("models/{name}"))).unwrap();
    let missing =
        |_: &str, _, _| -> Result<Bytes, Error> { Err(Error::new(ErrorKind::Missing, "no such file")) };
    let options = Options { opset: Opset::Ios17, shapes: Vec::new() };
    written(import(&model, &options, &missing).unwrap().program, &Kept::default())
}

fn twice(folder: &str, ending: &str, make: fn(&str) -> Files) {
    let names: Vec<String> = corpus::list(folder).into_iter().filter(|n| n.ends_with(ending)).collect();
    assert!(!names.is_empty(), "no {ending} in corpus/{folder}");
    for name in names {
        assert!(make(&name) == make(&name), "{name} comes out differently the second time");
    }
}

#[test]
fn reading_rewriting_and_writing_twice_gives_the_same_bytes() {
    twice("packages", ".mlpackage", from_package);
}

#[test]
fn importing_rewriting_and_writing_twice_gives_the_same_bytes() {
    twice("models", ".onnx", from_onnx);
}
