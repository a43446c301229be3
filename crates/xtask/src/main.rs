//! Room `xtask` of Anemone.
fn main() {}
