//! A package: the model file and the weight file, under a manifest that is right.
#![no_main]

use anemone_formats::Bytes;
use anemone_package::Files;
use libfuzzer_sys::fuzz_target;

const MANIFEST: &[u8] = include_bytes!("../../corpus/packages/conv.mlpackage/Manifest.json");
const DATA: &str = "Data/com.apple.CoreML";

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let mut files = Files::new();
    files.insert("Manifest.json".into(), Bytes::from_static(MANIFEST));
    let names = ["model.mlmodel", "weights/weight.bin"];
    for (name, bytes) in names.into_iter().zip(anemone_fuzz::sections(data)) {
        files.insert(format!("{DATA}/{name}"), bytes);
    }
    let _ = anemone_package::overview(&files);
    let _ = anemone_package::read_runnable(&files);
    if let Ok(package) = anemone_package::read(&files) {
        anemone_fuzz::judge(&package.program, &package.kept);
    }
}));
