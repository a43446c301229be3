//! Safetensors files.
#![no_main]

use anemone_formats::Bytes;
use anemone_formats::safetensors::SafeTensors;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let _ = SafeTensors::read(&Bytes::copy_from_slice(data));
}));
