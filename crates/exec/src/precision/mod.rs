//! Which numbers a function computes with: the types it declares, `fp32` throughout, or `fp16` after every step.
//!
//! A precision is a rewriting of the function before it is planned, so that kernels and the reference evaluation of
//! `anemone-mil` know nothing of it: both compute in `f32` or wider and round where a result is declared `fp16`.
//! The inputs, outputs and states of a function keep their declared types. `docs/precision.md` says what is rounded.

mod edit;
mod recurrent;
mod steps;
mod strict;
mod widen;

pub(crate) use steps::expand_some;

use anemone_mil::Function;

/// Which numbers a function computes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// As declared: results are rounded to `fp16` where the program's types say so.
    #[default]
    Declared,
    /// `fp32` throughout: the reference for comparisons.
    F32,
    /// Rounded to `fp16` after every op, also after ops that are declared `fp32`, and within ops that are made of simpler
    /// ones; only sums are kept in `f32` until they are complete.
    Fp16Strict,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Precision; 3] = [Precision::Declared, Precision::F32, Precision::Fp16Strict];

    /// The name that users say: `declared`, `f32` or `fp16-strict`.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Declared => "declared",
            Precision::F32 => "f32",
            Precision::Fp16Strict => "fp16-strict",
        }
    }

    /// The precision of that name.
    pub fn named(name: &str) -> Option<Precision> {
        Precision::ALL.into_iter().find(|p| p.name() == name)
    }

    /// Rewrites a function so that it computes with these numbers; values keep their names.
    pub fn apply(self, function: &mut Function) {
        match self {
            Precision::Declared => {}
            Precision::F32 => widen::widen(function),
            Precision::Fp16Strict => {
                strict::round_results(function);
                steps::expand(function);
            }
        }
    }

    /// Rewrites what [`Precision::apply`] could not before the shapes of a prediction were known; true when it did.
    pub(crate) fn apply_to_shapes(self, function: &mut Function) -> bool {
        self == Precision::Fp16Strict && steps::expand(function)
    }
}
