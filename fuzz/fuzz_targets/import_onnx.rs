//! ONNX graphs to programs.
#![no_main]

use anemone_formats::onnx::ModelProto;
use anemone_formats::{Bytes, Error, ErrorKind};
use anemone_import::onnx::{Options, import};
use anemone_mil::Opset;
use anemone_package::Kept;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let Ok(model) = ModelProto::read(&Bytes::copy_from_slice(data)) else { return };
    let missing =
        |_: &str, _, _| -> Result<Bytes, Error> { Err(Error::new(ErrorKind::Missing, "no such file")) };
    let options = Options { opset: Opset::Ios18, shapes: Vec::new() };
    if let Ok(imported) = import(&model, &options, &missing) {
        anemone_fuzz::judge(&imported.program, &Kept::default());
    }
}));
