//! Rules that a program for the Neural Engine should keep, and what breaks them.
//!
//! A [`Rule`] looks at one function with its plan and tells of every place that breaks it. Each has a page in
//! `docs/rules` with an example that breaks it and one that does not; those are its tests. A rule rests on facts
//! ([`anemone_ane::Fact`]); one without a measured or documented fact is at most a warning. [`mend`] applies the fixes
//! that rules have, and keeps those that help.
#![forbid(unsafe_code)]

mod finding;
pub mod fix;
mod gate;
mod lookups;
mod mend;
mod rule;
pub mod rules;
mod shapes;
mod subject;

pub use finding::{Finding, check, weight_bytes};
pub use fix::Fix;
pub use gate::{Gate, GateError, Judged, Measured};
pub use lookups::{LookUp, look_ups};
pub use mend::{MendOptions, Step, Totals, mend};
pub use rule::{Hit, Rule, Severity};
pub use subject::Subject;
