//! Progress on a terminal; silence in a pipe.

use anemone::Stage;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Shows the stage of a conversion.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A spinner on stderr, hidden when that is no terminal.
    pub(crate) fn new() -> Progress {
        let bar = ProgressBar::new(5);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {bar:20} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress { bar }
    }

    /// The next stage has begun.
    pub(crate) fn stage(&mut self, stage: Stage) {
        let (at, message) = match stage {
            Stage::Import => (0, "reading the model"),
            Stage::Rewrite => (1, "rewriting"),
            Stage::Write => (2, "writing the package"),
            Stage::Plan => (3, "planning"),
            Stage::Check => (4, "comparing package and source"),
        };
        self.bar.set_position(at);
        self.bar.set_message(message);
    }

    /// Everything is done: the line goes away.
    pub(crate) fn done(self) {
        self.bar.finish_and_clear();
    }
}

/// How much of a known amount is done, with an estimate of the time that is left.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    /// A bar on stderr, hidden when that is no terminal.
    pub(crate) fn new() -> Bar {
        let bar = ProgressBar::new(0);
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {bar:30} {percent:>3} % {eta:>4} left  {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Bar(bar)
    }

    /// `done` of `all` is behind us, `what` comes next.
    pub(crate) fn show(&mut self, done: usize, all: usize, what: &str) {
        let wide = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        self.0.set_length(wide(all));
        self.0.set_position(wide(done));
        self.0.set_message(what.to_owned());
    }

    /// Everything is done: the line goes away.
    pub(crate) fn done(self) {
        self.0.finish_and_clear();
    }
}
