//! Ops computed as the Neural Engine does: fixed-point sums that end at 32768, rounding away from zero, functions read
//! from tables. `docs/emulate.md` says what is known, of which chips, and what is a choice of ours.
//!
//! The caller says which ops and which parts of that arithmetic; everything else is computed as without it.

mod conv;
mod number;
mod prepare;
mod product;
mod sums;
mod tables;

pub(crate) use conv::Conv;
pub(crate) use number::{decode, round_all_away};
pub(crate) use prepare::Ready;
pub(crate) use product::{Finish, Product, ProductKernel, Side};
pub(crate) use sums::Gauge;
pub(crate) use tables::Function as TableFunction;

use anemone_mil::ops::{Form, Site};
use std::collections::HashSet;

/// The parts of the engine's arithmetic; a part that is not known of a chip is computed as without emulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arithmetic {
    /// `conv`, `linear`, `matmul`, `einsum`: sums in fixed point with 16 fraction bits, infinite from 32768 on.
    pub sums: bool,
    /// Products of 8-bit weights and 8-bit activations: sums in 32-bit integers, scaled afterwards.
    pub whole_sums: bool,
    /// Functions of single elements without a table: rounded half away from zero.
    pub elementwise: bool,
    /// Functions with a table of 33 samples.
    pub tables: bool,
}

impl Arithmetic {
    /// All of it.
    pub const ALL: Arithmetic = Arithmetic { sums: true, whole_sums: true, elementwise: true, tables: true };
}

/// Which ops are computed as the engine does, and how much of its arithmetic is known.
#[derive(Clone, Debug, Default)]
pub struct Emulation {
    /// Names of the first results of these ops.
    pub ops: HashSet<String>,
    /// What is emulated.
    pub arithmetic: Arithmetic,
    /// Also find out how near sums come to the limit, which takes a little longer.
    pub measure: bool,
}

/// How an op is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// Sums in fixed point.
    Sums,
    /// Sums of 8-bit products in 32-bit integers.
    WholeSums,
    /// Element by element, rounded half away from zero.
    Elementwise,
    /// A table of exact samples.
    Table,
    /// A table of fitted samples, an approximation of the engine's own.
    Fitted,
    /// Nothing is computed: elements are moved or chosen.
    Moves,
    /// As without emulation: how the engine computes it is not known.
    Unknown,
}

/// How near the sums of an op came to the limit, over all predictions so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SumRange {
    /// Largest magnitude of a running sum, as it would be without the limit.
    pub largest: f64,
    /// Largest magnitude that a running sum would have in the worst order of addition; the engine's order is not known.
    pub any_order: f64,
    /// From which magnitude on a sum is infinite: 32768, or 2^31 for whole sums.
    pub limit: f64,
    /// Results that became infinite by a sum.
    pub infinite: u64,
    /// All results.
    pub results: u64,
}

/// An op that was to be emulated.
#[derive(Clone, Debug, PartialEq)]
pub struct EmulatedOp {
    /// Name of its first result; of the steps of a norm or softmax, that of the step.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How it is computed.
    pub how: How,
    /// How near its sums came to the limit, where that was asked for and sums were made.
    pub sums: Option<SumRange>,
}

/// Kinds computed element by element without a table.
const ELEMENTWISE: [&str; 21] = [
    "abs",
    "add",
    "ceil",
    "clamped_relu",
    "clip",
    "floor",
    "leaky_relu",
    "linear_activation",
    "maximum",
    "minimum",
    "mul",
    "real_div",
    "relu",
    "relu6",
    "round",
    "sigmoid_hard",
    "sign",
    "square",
    "sub",
    "threshold",
    "thresholded_relu",
];

/// Kinds that choose among elements, besides those that only move them.
const CHOOSES: [&str; 3] = ["max_pool", "reduce_max", "reduce_min"];

fn moves(form: Form) -> bool {
    form == Form::Select || !form.moved_or_filled().is_empty()
}

impl Arithmetic {
    /// How an op is computed, one with 8-bit operands when `whole`.
    pub(crate) fn how(self, site: &Site<'_>, whole: bool) -> How {
        let known = |yes: bool, how| if yes { how } else { How::Unknown };
        match site.def.name {
            "conv" | "linear" if whole => known(self.whole_sums, How::WholeSums),
            "conv" | "linear" | "matmul" | "einsum" => known(self.sums, How::Sums),
            "gelu" if site.str("mode").is_ok_and(|m| m == "SIGMOID_APPROXIMATION") => How::Unknown,
            "gelu" | "silu" => known(self.tables, How::Fitted),
            "sigmoid" | "tanh" | "erf" | "sin" | "exp" | "exp2" | "log" | "sqrt" | "rsqrt" | "inverse" => {
                known(self.tables, How::Table)
            }
            kind if ELEMENTWISE.contains(&kind) => known(self.elementwise, How::Elementwise),
            kind if CHOOSES.contains(&kind) || moves(site.def.form) => How::Moves,
            _ => How::Unknown,
        }
    }
}
