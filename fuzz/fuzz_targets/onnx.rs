//! ONNX files: the protobuf and its tensors.
#![no_main]

use anemone_formats::onnx::ModelProto;
use anemone_formats::{Bytes, Error, ErrorKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let Ok(model) = ModelProto::read(&Bytes::copy_from_slice(data)) else { return };
    let again = ModelProto::read(&model.write().into()).expect("what was written can be read");
    // Bytes, because NaN differs from itself.
    assert_eq!(model.write(), again.write(), "comes back as another model");
    let missing =
        |_: &str, _, _| -> Result<Bytes, Error> { Err(Error::new(ErrorKind::Missing, "no such file")) };
    for tensor in model.graph.iter().flat_map(|graph| &graph.initializer) {
        let _ = tensor.to_tensor(&missing);
    }
}));
