//! `show`: a program as MIL text.

use crate::open::open_to_look;
use crate::{Container, Error};
use anemone_mil::text::{self, ConstOrder, PrintOptions};
use std::path::Path;

/// The program as text: Apple's spelling, or a shorter one for people.
///
/// # Errors
/// When the model does not open or has no such function.
pub fn show(path: &Path, function: Option<&str>, compact: bool) -> Result<String, Error> {
    let mut opened = open_to_look(path)?;
    if function.is_some() {
        let name = opened.function(function).map_err(|e| e.at(path))?.name.clone();
        opened.program.functions.retain(|f| f.name == name);
    }
    // Compiled text keeps its order, so that it can be compared with what Apple's compiler wrote.
    let order =
        if opened.container == Container::Package { ConstOrder::FirstUse } else { ConstOrder::AsMade };
    let options = PrintOptions { compact, order, ..PrintOptions::default() };
    let mut text = text::print(&opened.program, &options);
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
