//! JSON shapes of every verb: mirrors of what the library gives, each with the name and version of its schema.
//!
//! Fields are only ever added within a version.

mod advise;
mod bench;
mod check;
mod compress;
mod convert;
mod devices;
mod emulate;
mod facts;
mod fix;
mod inspect;
mod overflow;
mod placed;
mod plan;
mod report;
mod run;
mod serve;
mod simulate;
mod size;
mod trace;
mod traced;

pub(crate) use advise::Advise;
pub(crate) use bench::Bench;
pub(crate) use check::{Check, Sarif};
pub(crate) use compress::{Compress, Decompress};
pub(crate) use convert::Convert;
pub(crate) use devices::Devices;
pub(crate) use emulate::Emulate;
pub(crate) use facts::Facts;
pub(crate) use fix::Fix;
pub(crate) use inspect::Inspect;
pub(crate) use overflow::Overflow;
pub(crate) use plan::Plan;
pub(crate) use report::Report;
pub(crate) use run::{Run, Verify};
pub(crate) use serve::{ServeAnswer, ServeLine};
pub(crate) use simulate::{Simulate, Sweep};
pub(crate) use size::Size;
pub(crate) use trace::Trace;
pub(crate) use traced::Traced;

use serde::Serialize;

/// `anemone.show/1`.
#[derive(Debug, Serialize)]
pub(crate) struct Show<'a> {
    schema: &'static str,
    text: &'a str,
}

impl<'a> Show<'a> {
    pub(crate) fn of(text: &'a str) -> Show<'a> {
        Show { schema: "anemone.show/1", text }
    }
}

/// How often something occurs.
#[derive(Debug, Serialize)]
pub(crate) struct Count {
    name: String,
    count: usize,
}

impl Count {
    fn all(pairs: &[(String, usize)]) -> Vec<Count> {
        pairs.iter().map(|(name, count)| Count { name: name.clone(), count: *count }).collect()
    }
}

/// A finite number, or nothing: JSON has neither infinity nor NaN.
fn finite(v: f64) -> Option<f64> {
    v.is_finite().then_some(v)
}
