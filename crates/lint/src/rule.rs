//! What a rule is.

use crate::{Fix, Subject};
use anemone_mil::OpId;
use std::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Advice; does not count as a finding for the exit status.
    Note,
    /// The model runs, but slower or elsewhere than it could.
    Warning,
    /// The model does not load, or computes something else.
    Error,
}

impl Severity {
    /// The severity of that name: `note`, `warning` or `error`.
    pub fn named(name: &str) -> Option<Severity> {
        [Severity::Note, Severity::Warning, Severity::Error].into_iter().find(|s| s.to_string() == name)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The op; `None` when the function or the program as a whole is meant.
    pub op: Option<OpId>,
    /// What is wrong there, with the op's own values; one clause without a full stop.
    pub message: String,
}

impl Hit {
    /// A hit at an op.
    pub fn at(op: OpId, message: impl Into<String>) -> Hit {
        Hit { op: Some(op), message: message.into() }
    }

    /// A hit of the function as a whole.
    pub fn whole(message: impl Into<String>) -> Hit {
        Hit { op: None, message: message.into() }
    }
}

/// Something that programs should keep.
pub struct Rule {
    /// Name, such as `int32-island`; also that of its page.
    pub name: &'static str,
    /// How much breaking it matters, unless the settings say otherwise.
    pub severity: Severity,
    /// Keys of the facts that it rests on.
    pub facts: &'static [&'static str],
    /// What to do instead, in one sentence.
    pub help: &'static str,
    /// Its page, in Markdown.
    pub page: &'static str,
    /// What mends its findings.
    pub fix: Fix,
    /// Finds every place that breaks it.
    pub find: fn(&Subject<'_>) -> Vec<Hit>,
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rule({})", self.name)
    }
}
