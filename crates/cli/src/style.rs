//! Colour, on terminals only.

use std::io::IsTerminal;

/// True when stdout takes colour: a terminal, and `NO_COLOR` is not set.
pub(crate) fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

fn paint(text: &str, code: &str, on: bool) -> String {
    if on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// A heading.
pub(crate) fn heading(text: &str) -> String {
    paint(text, "1", colour())
}

/// Something good.
pub(crate) fn good(text: &str) -> String {
    paint(text, "32", colour())
}

/// Something to look at.
pub(crate) fn warn(text: &str) -> String {
    paint(text, "33", colour())
}

/// Less important text.
pub(crate) fn dim(text: &str) -> String {
    paint(text, "2", colour())
}

/// The word before an error, on stderr.
pub(crate) fn error(text: &str) -> String {
    let on = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    paint(text, "1;31", on)
}
