//! The passes, in order, and what must come before what.

use crate::canonical::{
    fold_batch_norm, fold_conv_input, fold_conv_scale, fuse_attention, fuse_conv_bias, fuse_gelu,
    fuse_hard_sigmoid, fuse_layer_norm, fuse_leaky_relu, fuse_linear_bias, fuse_matmul_transpose,
    fuse_moment_norm, fuse_pad, fuse_reduce_mean, fuse_relu6, fuse_scale_shift, fuse_silu, fuse_softmax,
    merge_casts, merge_duplicates, merge_pads, merge_reshapes, merge_transposes, remove_broadcasts,
    remove_noops, remove_transposes, replace_division, split_gather,
};
use crate::engine::{ENGINE, Limited, Limits};
use crate::legal::lower_precision;
use crate::{Rewrite, drive};
use anemone_mil::{DType, FoldLimits, Function, fold_constants};

/// One step of a pipeline.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Name, `verb_object`.
    pub name: &'static str,
    /// What it does to a function.
    pub run: Run,
    /// How far results may move.
    pub exactness: Exactness,
    /// Passes that must have run before it.
    pub after: &'static [&'static str],
}

/// How a pass works.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A rewrite, driven until nothing moves.
    Rewrite(Rewrite),
    /// A step over the whole function; returns how many ops it changed.
    Whole(fn(&mut Function) -> usize),
    /// A rewrite that keeps the limits of a device, driven until nothing moves.
    Limited(Limited),
}

/// How far a pass may move results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exactness {
    /// Not at all.
    Identical,
    /// By rounding: the same arithmetic in another order, or in a smaller type.
    Rounding,
}

/// What a pipeline did: how many ops each pass changed, in order; passes that changed none are left out.
pub type Report = Vec<(&'static str, usize)>;

/// Results larger than this many elements stay computed: folding them would only make the package larger.
const FOLD_LIMIT: usize = 1 << 16;

/// One pass may make work for an earlier one; more rounds than this are not worth their time.
const ROUNDS: usize = 4;

const fn exact(name: &'static str, run: Run, after: &'static [&'static str]) -> Pass {
    Pass { name, run, exactness: Exactness::Identical, after }
}

const fn rounding(name: &'static str, rewrite: Rewrite, after: &'static [&'static str]) -> Pass {
    Pass { name, run: Run::Rewrite(rewrite), exactness: Exactness::Rounding, after }
}

/// Brings a function to its canonical form; run again until nothing changes.
pub static CANONICAL: &[Pass] = &[
    exact("fold_constants", Run::Whole(fold), &[]),
    exact("remove_noops", Run::Rewrite(remove_noops::rewrite), &["fold_constants"]),
    exact("remove_broadcasts", Run::Rewrite(remove_broadcasts::rewrite), &["remove_noops"]),
    exact("merge_casts", Run::Rewrite(merge_casts::rewrite), &["remove_noops"]),
    exact(merge_duplicates::NAME, Run::Whole(merge_duplicates::run), &["remove_noops", "remove_broadcasts"]),
    exact("split_gather", Run::Rewrite(split_gather::rewrite), &["fold_constants"]),
    exact("merge_transposes", Run::Rewrite(merge_transposes::rewrite), &["fold_constants"]),
    exact(remove_transposes::NAME, Run::Whole(remove_transposes::run), &["merge_transposes"]),
    exact("merge_reshapes", Run::Rewrite(merge_reshapes::rewrite), &["remove_transposes"]),
    exact("merge_pads", Run::Rewrite(merge_pads::rewrite), &["remove_noops", "remove_transposes"]),
    rounding("fuse_reduce_mean", fuse_reduce_mean::rewrite, &["remove_noops"]),
    rounding("fuse_moment_norm", fuse_moment_norm::rewrite, &["remove_broadcasts", "fuse_reduce_mean"]),
    rounding("fuse_layer_norm", fuse_layer_norm::rewrite, &["merge_duplicates", "fuse_moment_norm"]),
    rounding("fuse_softmax", fuse_softmax::rewrite, &["remove_broadcasts"]),
    exact("fuse_relu6", Run::Rewrite(fuse_relu6::rewrite), &["fold_constants"]),
    rounding("fuse_hard_sigmoid", fuse_hard_sigmoid::rewrite, &["fuse_relu6"]),
    rounding("fuse_gelu", fuse_gelu::rewrite, &["fold_constants"]),
    rounding("fuse_silu", fuse_silu::rewrite, &["fuse_gelu"]),
    rounding("fuse_leaky_relu", fuse_leaky_relu::rewrite, &["fold_constants"]),
    exact(
        "fuse_matmul_transpose",
        Run::Rewrite(fuse_matmul_transpose::rewrite),
        &["merge_transposes", "remove_transposes"],
    ),
    rounding("fuse_attention", fuse_attention::rewrite, &["fuse_matmul_transpose", "fuse_softmax"]),
    // What divides is looked for by those before it.
    rounding(
        "replace_division",
        replace_division::rewrite,
        &["fuse_hard_sigmoid", "fuse_gelu", "fuse_attention"],
    ),
    rounding("fuse_pad", fuse_pad::rewrite, &["merge_pads"]),
    rounding("fold_batch_norm", fold_batch_norm::rewrite, &["fuse_pad"]),
    // A bias that belongs to a hard sigmoid would be gone before that is looked for.
    rounding("fuse_conv_bias", fuse_conv_bias::rewrite, &["fold_batch_norm", "fuse_hard_sigmoid"]),
    rounding("fold_conv_scale", fold_conv_scale::rewrite, &["fold_batch_norm", "replace_division"]),
    rounding("fold_conv_input", fold_conv_input::rewrite, &["fuse_conv_bias", "fold_conv_scale", "fuse_pad"]),
    rounding("fuse_linear_bias", fuse_linear_bias::rewrite, &["fuse_layer_norm"]),
    // What a convolution can take in is cheaper there.
    rounding("fuse_scale_shift", fuse_scale_shift::rewrite, &["fold_conv_scale", "fold_conv_input"]),
    exact("remove_dead", Run::Whole(Function::remove_dead_ops), &[]),
];

/// Computes in `fp16` what can be; run again until nothing changes.
pub static HALF: &[Pass] = &[
    Pass {
        name: lower_precision::NAME,
        run: Run::Whole(lower_precision::run),
        exactness: Exactness::Rounding,
        after: &["fold_constants"],
    },
    exact("remove_noops", Run::Rewrite(remove_noops::rewrite), &[lower_precision::NAME]),
    exact("merge_casts", Run::Rewrite(merge_casts::rewrite), &[lower_precision::NAME]),
];

/// What is left to do after a rewrite of [`ENGINE`], none of which moves a result; run again until nothing changes.
pub static CLEAN: &[&str] = &[
    "fold_constants",
    "remove_noops",
    "merge_duplicates",
    "merge_transposes",
    "remove_transposes",
    "merge_reshapes",
    "merge_layouts",
    "fuse_matmul_transpose",
    "turn_products",
    "merge_pads",
    "remove_dead",
];

/// Cleans up after a rewrite of [`ENGINE`]: only with passes that move no result.
pub fn clean(function: &mut Function) -> Report {
    let passes: Vec<Pass> = CLEAN.iter().filter_map(|name| pass(name).copied()).collect();
    settle(function, &passes)
}

fn fold(function: &mut Function) -> usize {
    fold_constants(function, FoldLimits { constexpr: false, max_elements: FOLD_LIMIT })
}

/// Runs the canonical passes until nothing changes.
pub fn canonicalize(function: &mut Function) -> Report {
    settle(function, CANONICAL)
}

/// Runs passes in order, again and again until nothing changes.
fn settle(function: &mut Function, passes: &[Pass]) -> Report {
    let mut report = Report::new();
    for _ in 0..ROUNDS {
        let round = run(function, passes);
        if round.is_empty() {
            break;
        }
        add(&mut report, round);
    }
    report
}

/// Adds the counts of a later run to those of the same passes.
fn add(report: &mut Report, later: Report) {
    for (name, changed) in later {
        match report.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += changed,
            None => report.push((name, changed)),
        }
    }
}

/// Fits a canonical function to the precision that it shall compute in: `fp16`, or anything else for as it is.
pub fn legalize(function: &mut Function, precision: DType) -> Report {
    if precision == DType::F16 { settle(function, HALF) } else { Report::new() }
}

/// Runs passes in order, each once.
pub fn run(function: &mut Function, passes: &[Pass]) -> Report {
    let mut report = Report::new();
    for pass in passes {
        let changed = match pass.run {
            Run::Rewrite(rewrite) => drive(function, rewrite, pass.name),
            Run::Whole(step) => step(function),
            Run::Limited(rewrite) => drive(function, |op| rewrite(op, &Limits::default()), pass.name),
        };
        if changed > 0 {
            add(&mut report, vec![(pass.name, changed)]);
        }
    }
    report
}

/// The pass of that name.
pub fn pass(name: &str) -> Option<&'static Pass> {
    CANONICAL.iter().chain(HALF).chain(ENGINE).find(|p| p.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_up_moves_no_result() {
        for name in CLEAN {
            assert_eq!(pass(name).map(|p| p.exactness), Some(Exactness::Identical), "{name}");
        }
    }

    #[test]
    fn every_pass_comes_after_those_it_needs() {
        let all: Vec<&Pass> = CANONICAL.iter().chain(HALF).collect();
        for (i, pass) in all.iter().enumerate() {
            for needed in pass.after {
                let found = all[..i].iter().any(|p| p.name == *needed);
                assert!(found, "{} must come after {needed}", pass.name);
            }
        }
    }
}
