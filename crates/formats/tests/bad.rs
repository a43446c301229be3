//! Malformed files: each reader gives the error that the file is named after, and no byte makes one panic.

use anemone_formats::blob::Storage;
use anemone_formats::coreml::Model;
use anemone_formats::manifest::Manifest;
use anemone_formats::mlmodelc::{CoreMlData, Metadata};
use anemone_formats::onnx::ModelProto;
use anemone_formats::safetensors::SafeTensors;
use anemone_formats::{Bytes, Error, analytics_mil, compute_plan, instruments, npy};
use anemone_testkit::corpus;

fn read(reader: &str, bytes: &Bytes) -> Result<(), Error> {
    match reader {
        "blob" => Storage::open(bytes.clone())?.blobs().try_for_each(|blob| blob.map(drop)),
        "manifest" => Manifest::read(bytes).map(drop),
        "model" => Model::read(bytes).map(drop),
        "onnx" => ModelProto::read(bytes).map(drop),
        "safetensors" => SafeTensors::read(bytes).map(drop),
        "npy" => npy::read(bytes).map(drop),
        "npz" => npy::read_npz(bytes).map(drop),
        "metadata" => Metadata::read(bytes).map(drop),
        "coremldata" => CoreMlData::read(bytes).map(drop),
        "compute_plan" => compute_plan::read(bytes).map(drop),
        "analytics_mil" => analytics_mil::read(bytes).map(drop),
        "instruments" => instruments::read(bytes).map(drop),
        other => panic!("no reader for corpus/bad/{other}"),
    }
}

#[test]
fn every_malformed_file_gives_the_error_that_it_is_named_after() {
    let mut wrong = Vec::new();
    let readers = corpus::list("bad").into_iter().filter(|name| !name.ends_with(".py") && name != "packages");
    for reader in readers {
        for file in corpus::list(&format!("bad/{reader}")) {
            let expected = file.split(['-', '.']).next().unwrap_or_default();
            let found = read(&reader, &corpus::bytes(&format!("bad/{reader}/{file}")));
            let kind = found.as_ref().map_err(|e| format!("{:?}", e.kind()));
            if kind != Err(expected.to_owned()) {
                wrong.push(format!("{reader}/{file}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A short export of Instruments.
const RECORDING: &[u8] = b"<trace-query-result><node><schema name=\"ane-hw-intervals\"><col><mnemonic>start</mnemonic>\
    </col></schema><row><start-time id=\"1\" fmt=\"a&amp;b\">5</start-time><duration id=\"2\">7</duration></row>\
    <row><start-time ref=\"1\"/><duration ref=\"2\"/></row></node></trace-query-result>";

/// A good file for each reader.
fn good() -> [(&'static str, Bytes); 14] {
    let package = |name: &str| corpus::bytes(&format!("packages/constexpr18-sparse-lut.mlpackage/{name}"));
    let compiled = |name: &str| corpus::bytes(&format!("mlmodelc/silero-int8.mlmodelc/{name}"));
    let tensors = b"\x40\0\0\0\0\0\0\0{\"a\": {\"dtype\": \"F16\", \"shape\": [2], \"data_offsets\": [0, 4]}}   \0\0\0\0";
    [
        ("blob", package("Data/com.apple.CoreML/weights/weight.bin")),
        ("manifest", package("Manifest.json")),
        ("model", package("Data/com.apple.CoreML/model.mlmodel")),
        ("onnx", corpus::bytes("onnx/small.onnx")),
        ("safetensors", Bytes::from_static(tensors)),
        ("npy", corpus::bytes("arrays/fortran-big-uint16.npy")),
        ("npz", corpus::bytes("arrays/deflated.npz")),
        ("metadata", compiled("metadata.json")),
        ("coremldata", compiled("coremldata.bin")),
        ("compute_plan", corpus::bytes("traces/plan-snake.json")),
        ("compute_plan", corpus::bytes("traces/plan.tsv")),
        ("compute_plan", corpus::bytes("traces/estimates.csv")),
        ("analytics_mil", corpus::bytes("traces/analytics/linear.mil")),
        ("instruments", Bytes::from_static(RECORDING)),
    ]
}

#[test]
fn good_files_read() {
    for (reader, bytes) in good() {
        assert_eq!(read(reader, &bytes), Ok(()), "{reader}");
    }
}

#[test]
fn no_flipped_bit_makes_a_reader_panic() {
    for (reader, bytes) in good() {
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.to_vec();
                flipped[at] ^= 1 << bit;
                let _ = read(reader, &flipped.into());
            }
        }
    }
}

#[test]
fn no_cut_makes_a_reader_panic() {
    for (reader, bytes) in good() {
        for at in 0..bytes.len() {
            let _ = read(reader, &bytes.slice(..at));
        }
    }
}

#[test]
fn errors_name_format_place_and_cause() {
    let error = |name: &str| {
        let (reader, _) = name.split_once('/').unwrap_or_default();
        read(reader, &corpus::bytes(&format!("bad/{name}"))).map_err(|e| e.to_string()).unwrap_err()
    };
    assert_eq!(
        error("blob/OutOfBounds-data.bin"),
        "weight file: 6 bytes at 128 end beyond the file of 132 bytes; is it cut off? (at byte 72)"
    );
    assert_eq!(
        error("manifest/Path-absolute.json"),
        "package manifest: path \"/etc/passwd\" is absolute; only relative paths inside the package are allowed \
         (in itemInfoEntries[\"6f3cdd6c-1bbc-4a0f-8c6f-0a4d3b2f8e11\"])"
    );
    assert_eq!(
        error("model/NotUtf8-name.mlmodel"),
        "Core ML model: a string is not UTF-8 (at byte 6, in description.input[0].name)"
    );
    assert_eq!(
        error("compute_plan/Malformed-unit.json"),
        "compute plan: is \"TPU\", but must be the name of a unit: CPU, GPU or ANE (in operations[0].preferred)"
    );
    assert_eq!(
        error("instruments/OutOfBounds-reference.xml"),
        "xctrace export: <duration> refers to \"9\", which stands nowhere before it (at byte 321, in row 2 of \
         ane-hw-intervals)"
    );
    assert_eq!(
        error("analytics_mil/Malformed-no-equals.mil"),
        "analytics.mil: expected `=`, found \"relu\" (at byte 172, in line 4)"
    );
}
