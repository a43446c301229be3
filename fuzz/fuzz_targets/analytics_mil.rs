//! The segmenter's `analytics.mil`, and the program that is left without its attributes.
#![no_main]

use anemone_formats::analytics_mil;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    if let Ok(read) = analytics_mil::read(data) {
        let _ = anemone_mil::text::parse(&read.program, &|_, _, _| None);
    }
}));
