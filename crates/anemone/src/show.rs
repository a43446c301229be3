//! `show`: a program as MIL text.

use crate::{Error, open};
use anemone_mil::text::{self, PrintOptions};
use std::path::Path;

/// The program as text: Apple's spelling, or a shorter one for people.
///
/// # Errors
/// When the model does not open or has no such function.
pub fn show(path: &Path, function: Option<&str>, compact: bool) -> Result<String, Error> {
    let mut opened = open(path)?;
    if function.is_some() {
        let name = opened.function(function).map_err(|e| e.at(path))?.name.clone();
        opened.program.functions.retain(|f| f.name == name);
    }
    let options = PrintOptions { compact, ..PrintOptions::default() };
    Ok(text::print(&opened.program, &options))
}
