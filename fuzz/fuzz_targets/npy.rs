//! NumPy arrays and archives of them.
#![no_main]

use anemone_formats::{Bytes, npy};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let bytes = Bytes::copy_from_slice(data);
    if data.starts_with(b"PK") {
        let _ = npy::read_npz(&bytes);
    } else if let Ok(tensor) = npy::read(&bytes) {
        let mut written = Vec::new();
        if npy::write(&mut written, &tensor).is_ok() {
            let again = npy::read(&written.into()).expect("what was written can be read");
            assert!(
                tensor == again || tensor.to_f64s().iter().any(|v| v.is_nan()),
                "comes back as another array"
            );
        }
    }
}));
