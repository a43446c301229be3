//! Facts: what is known, of what, from where.

use std::fmt;

/// How a fact is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// Somebody observed it on a device and published the observation.
    Measured,
    /// The vendor says so, in documents or in the messages of its own tools.
    Documented,
    /// Somebody says so, without data.
    Claimed,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Measured => "measured",
            Evidence::Documented => "documented",
            Evidence::Claimed => "claimed",
        })
    }
}

/// One thing that is known about placement.
#[derive(Debug, PartialEq, Eq)]
pub struct Fact {
    /// Name, unique among all facts: `<unit>-<subject>`.
    pub id: &'static str,
    /// The claim, in one sentence.
    pub claim: &'static str,
    /// Chips, systems and path that it was seen on.
    pub scope: &'static str,
    /// How it is known.
    pub evidence: Evidence,
    /// Who says so.
    pub source: &'static str,
}
