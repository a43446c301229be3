//! Compiled models open as programs.

mod common;

use anemone_mil::{Const, Def, WeightData};
use anemone_package::{ErrorKind, Files, read_compiled};
use common::{corpus, load};

const SILERO: &str = "mlmodelc/silero-int8.mlmodelc";

fn op_count(files: &Files) -> usize {
    read_compiled(files).expect("readable").program.functions[0].walk().len()
}

#[test]
fn the_interface_is_that_of_the_compiled_data() {
    let package = read_compiled(&load(&corpus(SILERO))).expect("readable");
    let interface = &package.program.interface;
    // From the model's own metadata.json.
    let inputs: Vec<&str> = interface.functions[0].inputs.iter().map(|f| &*f.name).collect();
    let outputs: Vec<&str> = interface.functions[0].outputs.iter().map(|f| &*f.name).collect();
    assert_eq!(inputs, ["audio_input", "hidden_state", "cell_state"]);
    assert_eq!(outputs, ["vad_output", "new_hidden_state", "new_cell_state"]);
    assert_eq!((interface.spec_version, &*interface.functions[0].name), (7, "main"));
}

#[test]
fn missing_weights_are_noted_and_the_program_still_opens() {
    let package = read_compiled(&load(&corpus(SILERO))).expect("readable");
    let note =
        "@model_path/weights/weight.bin is missing; the program can be shown, but neither run nor written";
    assert_eq!(package.notes, [note]);
    let f = &package.program.functions[0];
    let missing = f.walk().iter().flat_map(|(_, op)| f.op(*op).operands().collect::<Vec<_>>()).any(
        |v| matches!(&f.value(v).def, Def::Const(Const::Weight(w)) if matches!(w.data, WeightData::Missing)),
    );
    assert!(missing);
}

#[test]
fn without_compiled_data_the_text_and_the_metadata_speak() {
    let mut files = load(&corpus(SILERO));
    let whole = read_compiled(&files).expect("readable").program.interface;
    files.remove("coremldata.bin");
    let package = read_compiled(&files).expect("readable");
    assert!(package.notes.iter().any(|n| n.starts_with("coremldata.bin is missing")), "{:?}", package.notes);
    let plain = &package.program.interface;
    assert_eq!((plain.spec_version, &plain.metadata), (whole.spec_version, &whole.metadata));
    let names = |i: &anemone_mil::Interface| -> Vec<String> {
        let mut names: Vec<String> = i.functions[0].inputs.iter().map(|f| f.name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(plain), names(&whole));
}

#[test]
fn a_weight_file_that_does_not_belong_to_the_text_is_refused() {
    let mut files = load(&corpus(SILERO));
    let mut header = vec![0u8; 64];
    header[4] = 2;
    files.insert("weights/weight.bin".into(), header.into());
    let error = read_compiled(&files).expect_err("no record");
    assert_eq!(error.kind(), ErrorKind::Format);
    assert!(
        error.to_string().contains("weights/weight.bin: weight file: no metadata record fits at"),
        "{error}"
    );
}

#[test]
fn every_kind_of_compiled_model_without_text_is_named() {
    let message = |path: &str| {
        let files = Files::from([(path.to_owned(), bytes::Bytes::new())]);
        read_compiled(&files).expect_err("no text").to_string()
    };
    assert!(message("model.espresso.net").starts_with("the compiled model is a neural network"));
    assert!(message("model0/coremldata.bin").starts_with("the compiled model is a pipeline"));
    assert!(message("metadata.json").starts_with("model.mil is missing"));
}

#[test]
fn every_op_of_the_histogram_is_there() {
    let files = load(&corpus(SILERO));
    let metadata = anemone_formats::mlmodelc::Metadata::read(&files["metadata.json"]).expect("metadata");
    let counted: u64 = metadata[0].op_histogram.values().sum();
    assert_eq!(u64::try_from(op_count(&files)), Ok(counted));
}
