//! `model.mlmodel`: the protobuf of any Core ML model.
#![no_main]

use anemone_formats::coreml::Model;
use anemone_formats::{Bytes, ErrorKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    if let Ok(model) = Model::read(&Bytes::copy_from_slice(data)) {
        let written = Bytes::from(model.write());
        // An empty message that was left out is written out, one level deeper than anything was; and what may be read
        // depends on the size of the file, which shrinks where the same thing was said twice.
        let again = match Model::read(&written) {
            Err(e) if matches!(e.kind(), ErrorKind::TooDeep | ErrorKind::TooLarge) => return,
            again => again.expect("what was written can be read"),
        };
        // Bytes, because NaN differs from itself.
        assert_eq!(model.write(), again.write(), "comes back as another model");
    }
}));
