//! Tables of Instruments as `xctrace export` writes them.
#![no_main]

use anemone_formats::instruments::{self, Activity};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    if let Ok(read) = instruments::read(data) {
        assert!(read.intervals.is_sorted_by_key(|i| i.start), "intervals out of order");
        let _ = read.busy(Activity::Prediction);
    }
}));
