//! Room `cli` of Anemone.
fn main() {}
