//! MIL text.
#![no_main]

use anemone_package::Kept;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(program) = anemone_mil::text::parse(text, &|_, _, _| None) {
        anemone_fuzz::judge(&program, &Kept::default());
    }
}));
