//! Colour, on terminals only.

use std::io::IsTerminal;

/// True when a stream takes colour: a terminal (or `CLICOLOR_FORCE` says so), and `NO_COLOR` is not set.
fn takes_colour(terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
    (terminal || set("CLICOLOR_FORCE")) && !set("NO_COLOR")
}

/// True when stdout takes colour.
pub(crate) fn colour() -> bool {
    takes_colour(std::io::stdout().is_terminal())
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
    paint(text, "1;31", takes_colour(std::io::stderr().is_terminal()))
}
