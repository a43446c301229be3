//! Arrays in NumPy's and safetensors' files.

use anemone_formats::safetensors::{self, Entry, SafeTensors};
use anemone_formats::{Bytes, ErrorKind, npy};
use anemone_tensor::{DType, Tensor};
use anemone_testkit::corpus;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn facts(tensor: &Tensor) -> Value {
    json!([tensor.shape(), tensor.to_f64s()])
}

#[test]
fn arrays_of_every_layout_read_as_numpy_says() {
    let expected = corpus::json("arrays/expected.json");
    for (name, expected) in expected.as_object().expect("one entry per file") {
        let found = npy::read(&corpus::bytes(&format!("arrays/{name}.npy")));
        let found = found.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(&facts(&found), expected, "{name}");
    }
}

#[test]
fn little_endian_arrays_are_written_as_numpy_writes_them() {
    for name in [
        "c-float16",
        "c-float32",
        "c-float64",
        "c-int8",
        "c-int64",
        "c-uint16",
        "bool",
        "scalar",
        "vector",
        "empty",
    ] {
        let bytes = corpus::bytes(&format!("arrays/{name}.npy"));
        let mut written = Vec::new();
        npy::write(&mut written, &npy::read(&bytes).expect("an array")).expect("memory takes all bytes");
        assert_eq!(Bytes::from(written), bytes, "{name}");
    }
}

#[test]
fn little_endian_arrays_share_the_file() {
    let bytes = corpus::bytes("arrays/c-float32.npy");
    let tensor = npy::read(&bytes).expect("an array");
    assert_eq!(tensor.bytes().as_ptr(), bytes[128..].as_ptr());
}

#[test]
fn archives_are_read_stored_and_deflated() {
    let expected = corpus::json("arrays/expected.json");
    for name in ["stored", "deflated"] {
        let arrays = npy::read_npz(&corpus::bytes(&format!("arrays/{name}.npz"))).expect("an archive");
        let found: Vec<_> = arrays.iter().map(|(name, tensor)| (name.as_str(), facts(tensor))).collect();
        assert_eq!(found, [("a", expected["c-float32"].clone()), ("b", json!([[], [2.5]]))], "{name}");
    }
}

#[test]
fn types_that_numpy_lacks_are_not_written() {
    let tensor = Tensor::from_f64s(DType::Bf16, [1], &[1.0]).expect("one element");
    let error = npy::write(&mut Vec::new(), &tensor).expect_err("no such type");
    assert!(error.to_string().contains("bf16"), "{error}");
}

#[test]
fn a_safetensors_file_by_the_letter_of_its_specification_reads() {
    let header = r#"{"__metadata__": {"k": "v"}, "b": {"dtype": "F16", "shape": [1, 2], "data_offsets": [4, 8]}, "a": {"dtype": "I32", "shape": [], "data_offsets": [0, 4]}}"#;
    let mut raw = u64::try_from(header.len()).expect("small").to_le_bytes().to_vec();
    raw.extend(header.as_bytes());
    raw.extend([0xfe, 0xff, 0xff, 0xff, 0x00, 0x3c, 0x00, 0xc0]);
    let file = SafeTensors::read(&raw.into()).expect("a valid file");
    assert_eq!(file.metadata, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
    assert_eq!(facts(&file.tensors["a"]), json!([[], [-2.0]]));
    assert_eq!(facts(&file.tensors["b"]), json!([[1, 2], [1.0, -2.0]]));
}

#[test]
fn safetensors_of_every_type_survive_writing() {
    let types = DType::ALL.into_iter().filter(|d| d.bits() >= 8);
    let tensors: Vec<(String, Tensor)> = types
        .map(|d| (d.to_string(), Tensor::from_f64s(d, [3], &[0.0, 1.0, 1.0]).expect("three elements")))
        .collect();
    let metadata = BTreeMap::from([("made by".to_owned(), "anemone".to_owned())]);
    let bytes = Bytes::from(safetensors::to_bytes(&tensors, &metadata).expect("a file"));
    let header_len = bytes.first_chunk::<8>().map(|raw| u64::from_le_bytes(*raw));
    assert_eq!(header_len.map(|len| len % 8), Some(0), "the data start aligned");
    let back = SafeTensors::read(&bytes).expect("what is written reads");
    assert_eq!(back, SafeTensors { metadata, tensors: tensors.into_iter().collect() });
}

#[test]
fn safetensors_that_cannot_be_written_are_named() {
    let entry = |name: &str, dtype| Entry { name: name.into(), dtype, shape: vec![1] };
    let kind = |entries: &[Entry]| {
        let error = safetensors::write(&mut Vec::new(), entries, &BTreeMap::new(), |_, _| Ok(()))
            .expect_err("invalid");
        error.downcast::<anemone_formats::Error>().map(|e| e.kind()).ok()
    };
    assert_eq!(kind(&[entry("a", DType::I4)]), Some(ErrorKind::Unsupported));
    assert_eq!(kind(&[entry("a", DType::I8), entry("a", DType::I8)]), Some(ErrorKind::Duplicate));
    assert_eq!(kind(&[entry("__metadata__", DType::I8)]), Some(ErrorKind::Duplicate));
    assert_eq!(kind(&[entry("a", DType::I8)]), None, "nothing was filled in: an IO error");
}
