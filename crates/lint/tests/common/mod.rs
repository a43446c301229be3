//! The MIL blocks of rule pages.

use anemone_ane::Device;
use std::sync::Arc;

/// The MIL blocks of a page: first word of their info string, device, program.
pub fn blocks(page: &str) -> Vec<(String, Arc<Device>, String)> {
    let mut found = Vec::new();
    for part in page.split("```mil ").skip(1) {
        let (info, rest) = part.split_once('\n').expect("an info string");
        let (text, _) = rest.split_once("```").expect("the end of the block");
        let option = |name: &str| info.split(' ').find_map(|w| w.strip_prefix(name));
        let mut device = Device::named(option("device=").unwrap_or("m4")).expect("a known device");
        if let Some(os) = option("os=") {
            device = Arc::new(device.on(os.parse().expect("a system")));
        }
        found.push((info.split(' ').next().unwrap_or_default().to_owned(), device, text.to_owned()));
    }
    found
}
