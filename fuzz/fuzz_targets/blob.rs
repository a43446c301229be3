//! Weight files.
#![no_main]

use anemone_formats::Bytes;
use anemone_formats::blob::Storage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    if let Ok(storage) = Storage::open(Bytes::copy_from_slice(data)) {
        for blob in storage.blobs() {
            let _ = blob;
        }
    }
}));
