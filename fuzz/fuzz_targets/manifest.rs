//! The manifest of a package.
#![no_main]

use anemone_formats::manifest::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| anemone_fuzz::within_limit(data, |data| {
    if let Ok(mut manifest) = Manifest::read(data) {
        // Written sorted, whatever the order was.
        manifest.items.sort_by(|a, b| a.id.cmp(&b.id));
        let again = Manifest::read(&manifest.write()).expect("what was written can be read");
        assert_eq!(manifest, again, "comes back as another manifest");
    }
}));
