//! Packages that were read are written back as they were.

mod common;

use anemone_formats::coreml::{self, Model, ModelKind, mil};
use anemone_formats::wire::{Unknown, encode};
use anemone_mil::{Const, Level, WeightData, difference, verify};
use anemone_package::{Files, Kept, Package, read, write};
use bytes::Bytes;
use common::{corpus, load, packages};
use std::collections::BTreeMap;
use std::path::Path;

const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";

fn open(path: &Path) -> (Files, Package) {
    let files = load(path);
    let package = read(&files).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(package.notes, [""; 0]);
    (files, package)
}

fn rewritten(package: &Package) -> Files {
    let mut files = Files::new();
    let program = verify(&package.program, Level::Imported).expect("no fault");
    write(program, &package.kept, &mut files).expect("writable");
    files
}

fn model(files: &Files) -> Model {
    Model::read(&files[MODEL]).expect("a model")
}

#[test]
fn every_package_of_the_corpus_survives_reading_and_writing() {
    for path in packages("packages") {
        let (_, package) = open(&path);
        let files = rewritten(&package);
        let again = read(&files).expect("readable");
        assert_eq!(difference(&package.program, &again.program), None, "{}", path.display());
        assert_eq!(rewritten(&again), files, "{}: other bytes the second time", path.display());
    }
}

#[test]
fn the_interface_survives_without_the_description_that_was_read() {
    for path in packages("packages") {
        let (_, mut package) = open(&path);
        package.kept = Kept::default();
        let again = read(&rewritten(&package)).expect("readable");
        assert_eq!(difference(&package.program, &again.program), None, "{}", path.display());
    }
}

#[test]
fn a_rewritten_model_is_the_original_message_but_for_the_places_of_constants() {
    for path in packages("packages") {
        let (files, package) = open(&path);
        let written = rewritten(&package);
        let pair = [&files, &written].map(|f| unplaced(&mut model(f), f));
        assert_eq!(pair[0], pair[1], "{}", path.display());
    }
}

/// The model with its constants as a side table of bytes, and offsets replaced by the bytes that they name.
fn unplaced(model: &mut Model, files: &Files) -> (BTreeMap<String, mil::Value>, Model) {
    let weights = files.get("Data/com.apple.CoreML/weights/weight.bin").cloned().unwrap_or_default();
    let mut constants = BTreeMap::new();
    if let Some(ModelKind::MlProgram(program)) = &mut model.kind {
        for (name, f) in &mut program.functions {
            f.block_specializations.values_mut().for_each(|b| unplace(b, name, &weights, &mut constants));
        }
    }
    (constants, model.clone())
}

fn unplace(
    block: &mut mil::Block,
    function: &str,
    weights: &Bytes,
    constants: &mut BTreeMap<String, mil::Value>,
) {
    for op in &mut block.operations {
        let inline =
            op.inputs.values_mut().flat_map(|a| &mut a.arguments).filter_map(|b| match &mut b.binding {
                Some(mil::BindingKind::Value(v)) => Some(&mut **v),
                _ => None,
            });
        op.attributes.values_mut().chain(inline).for_each(|v| {
            if let Some(mil::ValueKind::BlobFile(blob)) = &mut v.value {
                let at = usize::try_from(blob.offset).expect("small");
                let len = u64::from_le_bytes(weights[at + 8..at + 16].try_into().expect("eight bytes"));
                let data = weights.slice(at + 64..at + 64 + usize::try_from(len).expect("small"));
                *v = mil::Value::tensor(*v.value_type.take().expect("typed"), data.into());
            }
        });
        op.blocks.iter_mut().for_each(|b| unplace(b, function, weights, constants));
        if let Some(value) = op.attributes.remove("val") {
            constants.insert(format!("{function}/{}", op.outputs[0].name), value);
        }
    }
    block.operations.retain(|op| op.op_type != "const");
}

#[test]
fn weights_are_not_copied() {
    let (files, package) = open(&corpus("packages/conv.mlpackage"));
    let file = &files["Data/com.apple.CoreML/weights/weight.bin"];
    let f = &package.program.functions[0];
    let mut seen = 0;
    for (_, op) in f.walk() {
        for v in f.op(op).operands() {
            if let Some(Const::Weight(w)) = f.constant(v) {
                let WeightData::Bytes(bytes) = &w.data else { panic!("not read") };
                assert!(file.as_ptr_range().contains(&bytes.as_ptr()));
                seen += 1;
            }
        }
    }
    assert!(seen > 0);
}

#[test]
fn unknown_fields_of_every_message_survive() {
    // Field 9999 as a varint of 1 to 6.
    let mark = |n: u8| Unknown::from(Bytes::from(vec![0xf8, 0xf0, 0x04, n]));
    let (mut files, _) = open(&corpus("packages/conv.mlpackage"));
    let mut marked = model(&files);
    marked.unknown = mark(1);
    let description = marked.description.as_mut().expect("described");
    description.unknown = mark(2);
    description.input[0].unknown = mark(3);
    description.metadata.get_or_insert_default().unknown = mark(4);
    let Some(ModelKind::MlProgram(program)) = &mut marked.kind else { panic!("a program") };
    program.unknown = mark(5);
    let function = program.functions.get_mut("main").expect("main");
    function.unknown = mark(6);
    let block = function.block_specializations.values_mut().next().expect("a body");
    block.unknown = mark(7);
    let op = block.operations.iter_mut().find(|op| op.op_type == "conv").expect("a conv");
    op.unknown = mark(8);
    files.insert(MODEL.into(), encode(&marked).into());
    let mut package = read(&files).expect("readable");
    let mut back = model(&rewritten(&package));
    assert_eq!(unplaced(&mut back, &rewritten(&package)), unplaced(&mut marked, &files));

    package.program.interface.metadata.author = "someone else".into();
    package.program.interface.functions[0].inputs[0].description = "another text".into();
    let description = model(&rewritten(&package)).description.expect("described");
    assert_eq!((&description.unknown, &description.input[0].unknown), (&mark(2), &mark(3)));
    assert_eq!(description.metadata.expect("edited").unknown, mark(4));
}

#[test]
fn other_authors_folders_and_items_survive() {
    let (files, original) = open(&corpus("packages/conv.mlpackage"));
    let moved = |path: &str| path.replace("com.apple.CoreML", "org.example.Test");
    let mut files: Files = files.into_iter().map(|(path, bytes)| (moved(&path), bytes)).collect();
    let manifest = moved(std::str::from_utf8(&files["Manifest.json"]).expect("UTF-8"));
    let item =
        r#""itemInfoEntries": { "notes": {"author": "me", "description": "d", "name": "n", "path": "me/n"},"#;
    let manifest = manifest.replacen("\"itemInfoEntries\": {", item, 1);
    files.insert("Manifest.json".into(), manifest.into());
    files.insert("Data/me/n/a.txt".into(), "a".into());
    let package = read(&files).expect("readable");
    assert_eq!(difference(&package.program, &original.program), None);
    let written = rewritten(&package);
    assert_eq!(written.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>());
    assert_eq!(written["Data/me/n/a.txt"], "a");
    let read_manifest = |f: &Files| {
        let mut m = anemone_formats::manifest::Manifest::read(&f["Manifest.json"]).expect("a manifest");
        m.items.sort_by(|a, b| a.id.cmp(&b.id));
        m
    };
    assert_eq!(read_manifest(&written), read_manifest(&files));
}

#[test]
fn a_listed_weights_folder_may_be_absent_when_nothing_needs_it() {
    let (mut files, package) = open(&corpus("packages/nested-cond.mlpackage"));
    files.retain(|path, _| !path.contains("weights"));
    let again = read(&files).expect("readable");
    assert_eq!(difference(&package.program, &again.program), None);
}

#[test]
fn a_description_that_says_more_than_we_know_is_kept() {
    let (mut files, _) = open(&corpus("packages/conv.mlpackage"));
    let mut odd = model(&files);
    let feature = &mut odd.description.as_mut().expect("described").output[0];
    let Some(coreml::FeatureType { kind: Some(coreml::FeatureKind::MultiArray(array)), .. }) =
        &mut feature.feature_type
    else {
        panic!("an array")
    };
    array.data_type = 0x7_0077;
    files.insert(MODEL.into(), encode(&odd).into());
    let back = model(&rewritten(&read(&files).expect("readable")));
    assert_eq!(back.description, odd.description);
}

#[test]
fn what_the_ir_has_no_place_for_is_noted() {
    let (mut files, _) = open(&corpus("packages/conv.mlpackage"));
    let mut odd = model(&files);
    let Some(ModelKind::MlProgram(program)) = &mut odd.kind else { panic!("a program") };
    let function = program.functions.get_mut("main").expect("main");
    function.inputs[0].unknown = Unknown::from(Bytes::from_static(&[0xf8, 0xf0, 0x04, 1]));
    files.insert(MODEL.into(), encode(&odd).into());
    let note = "function main: 1 unknown fields, attributes or texts of types and values are not read and will not be \
                written";
    assert_eq!(read(&files).expect("readable").notes, [note]);
}
