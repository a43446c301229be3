//! Compute plans in every layout.
#![no_main]

use anemone_formats::compute_plan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    if let Ok(read) = compute_plan::read(data) {
        assert!(read.plans.iter().all(|p| !p.ops.is_empty()), "a plan without ops");
        let shares = read.plans.iter().flat_map(|p| &p.ops).filter_map(|op| op.share);
        assert!(shares.into_iter().all(|s| (0.0..=1.0 + 1e-6).contains(&s)), "a share beyond the whole");
    }
}));
