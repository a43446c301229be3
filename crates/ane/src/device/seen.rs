//! Ops that were seen on a device: what took them, and what the planner there estimated.

use crate::source::Source;
use anemone_mil::ops::Site;
use anemone_mil::{Literal, Type, ValueId};
use serde::Deserialize;
use std::fmt::Write;

/// What a device said of one op, whose kind, types and attributes the signature tells.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// [`signature`] of the op.
    pub op: String,
    /// Whether the Neural Engine takes it; `None` when it was not asked.
    #[serde(default)]
    pub ane: Option<bool>,
    /// Whether the GPU takes it; `None` when it was not asked.
    #[serde(default)]
    pub gpu: Option<bool>,
    /// Why it is refused, in the device's words; empty when not told.
    #[serde(default)]
    pub why: String,
    /// The planner's estimates.
    #[serde(default)]
    pub ms: Option<SeenMs>,
    /// Who says so.
    pub source: Source,
}

/// Estimates of a planner, in ms.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct SeenMs {
    /// On the Neural Engine; `None` when it does not take the op.
    #[serde(default)]
    pub ane: Option<f64>,
    /// On the CPU through BNNS.
    pub bnns: f64,
    /// On the older CPU backend.
    pub classic_cpu: f64,
}

impl Seen {
    /// # Errors
    /// When an estimate is no finite number from 0 on.
    pub(super) fn check(&self) -> Result<(), String> {
        let Some(ms) = &self.ms else { return Ok(()) };
        let all = [ms.ane.unwrap_or(0.0), ms.bnns, ms.classic_cpu];
        match all.into_iter().find(|v| !(v.is_finite() && *v >= 0.0)) {
            Some(v) => {
                Err(format!("`{}` was seen with {v} ms, but must have a finite number from 0 on", self.op))
            }
            None => Ok(()),
        }
    }
}

/// Most elements of a constant that is part of a signature by value.
const MOST_ELEMENTS: usize = 16;

/// Longest text that is part of a signature, in bytes.
const MOST_TEXT: usize = 64;

/// Kind, operands and results of an op: types of what is computed at run time and of large constants, values of small
/// ones. Ops with the same signature are the same to a planner.
pub fn signature(site: &Site<'_>) -> String {
    let mut out = format!("{}(", site.def.name);
    for (i, arg) in site.op.args.iter().enumerate() {
        let _ = write!(out, "{}{}: ", if i > 0 { ", " } else { "" }, arg.param);
        for (j, &value) in arg.values.iter().enumerate() {
            let _ = write!(out, "{}{}", if j > 0 { " + " } else { "" }, operand(site, value));
        }
    }
    out += ") -> ";
    for (i, &value) in site.op.outputs.iter().enumerate() {
        let _ = write!(out, "{}{}", if i > 0 { ", " } else { "" }, short(&site.function.value(value).ty));
    }
    out
}

/// A type without the word `tensor`: `fp16[1, 64]`.
fn short(ty: &Type) -> String {
    let Type::Tensor(t) = ty else { return ty.to_string() };
    let dims: Vec<String> = t.dims.iter().map(ToString::to_string).collect();
    format!("{}[{}]", t.dtype, dims.join(", "))
}

fn operand(site: &Site<'_>, value: ValueId) -> String {
    let ty = &site.function.value(value).ty;
    let Some(constant) = site.function.constant(value) else { return short(ty) };
    let small = constant.element_count().is_some_and(|n| n <= MOST_ELEMENTS);
    match if small { constant.literal().ok() } else { None } {
        Some(Literal::Tensor(t)) => {
            let numbers: Vec<String> = t.to_f64s().iter().map(ToString::to_string).collect();
            if t.shape().is_empty() { numbers.join(" ") } else { format!("[{}]", numbers.join(" ")) }
        }
        Some(literal) if literal.as_str().is_some_and(|t| t.len() <= MOST_TEXT) => {
            format!("\"{}\"", literal.as_str().unwrap_or_default())
        }
        _ => format!("const {}", short(ty)),
    }
}
