//! A compiled model: its program as text, what it says of itself, and its weights.
#![no_main]

use anemone_formats::mlmodelc::{CoreMlData, Metadata};
use anemone_package::Files;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let names = ["coremldata.bin", "metadata.json", "model.mil", "weights/weight.bin"];
    let parts = anemone_fuzz::sections(data);
    let files: Files = names.into_iter().map(String::from).zip(parts.iter().cloned()).collect();
    if let [coremldata, metadata, ..] = parts.as_slice() {
        let _ = CoreMlData::read(coremldata);
        let _ = Metadata::read(metadata);
    }
    if let Ok(package) = anemone_package::read_compiled(&files) {
        anemone_fuzz::judge(&package.program, &package.kept);
    }
}));
