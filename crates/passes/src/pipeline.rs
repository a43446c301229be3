//! The passes, in order, and what must come before what.

use crate::canonical::{
    fold_batch_norm, fold_conv_scale, fuse_conv_bias, fuse_linear_bias, fuse_moment_norm, fuse_pad,
    fuse_relu6, fuse_silu, merge_duplicates, merge_reshapes, merge_transposes, remove_noops,
};
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
    /// Passes that must have run before it, when they are in the pipeline at all.
    pub after: &'static [&'static str],
}

/// How a pass works.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A rewrite, driven until nothing moves.
    Rewrite(Rewrite),
    /// A step over the whole function; returns how many ops it changed.
    Whole(fn(&mut Function) -> usize),
}

/// What a pipeline did: how many ops each pass changed, in order; passes that changed none are left out.
pub type Report = Vec<(&'static str, usize)>;

/// Results larger than this many elements stay computed: folding them would only make the package larger.
const FOLD_LIMIT: usize = 1 << 16;

/// Brings a function to its canonical form.
pub static CANONICAL: &[Pass] = &[
    Pass { name: "fold_constants", run: Run::Whole(fold), after: &[] },
    Pass { name: "remove_noops", run: Run::Rewrite(remove_noops::rewrite), after: &["fold_constants"] },
    Pass {
        name: "merge_transposes",
        run: Run::Rewrite(merge_transposes::rewrite),
        after: &["fold_constants"],
    },
    Pass { name: "merge_reshapes", run: Run::Rewrite(merge_reshapes::rewrite), after: &["fold_constants"] },
    Pass { name: "fuse_pad", run: Run::Rewrite(fuse_pad::rewrite), after: &["remove_noops"] },
    Pass { name: "fold_batch_norm", run: Run::Rewrite(fold_batch_norm::rewrite), after: &["remove_noops"] },
    Pass {
        name: "fold_conv_scale",
        run: Run::Rewrite(fold_conv_scale::rewrite),
        after: &["fold_batch_norm"],
    },
    Pass { name: "fuse_conv_bias", run: Run::Rewrite(fuse_conv_bias::rewrite), after: &["fold_conv_scale"] },
    Pass {
        name: "fuse_linear_bias",
        run: Run::Rewrite(fuse_linear_bias::rewrite),
        after: &["fold_constants"],
    },
    Pass {
        name: "fuse_moment_norm",
        run: Run::Rewrite(fuse_moment_norm::rewrite),
        after: &["fold_constants", "remove_noops"],
    },
    Pass { name: "fuse_relu6", run: Run::Rewrite(fuse_relu6::rewrite), after: &[] },
    Pass { name: "fuse_silu", run: Run::Rewrite(fuse_silu::rewrite), after: &[] },
    Pass { name: "remove_noops", run: Run::Rewrite(remove_noops::rewrite), after: &["merge_transposes"] },
    Pass { name: "merge_duplicates", run: Run::Whole(merge_duplicates::run), after: &["fold_constants"] },
    Pass { name: "remove_dead", run: Run::Whole(Function::remove_dead_ops), after: &[] },
];

/// Computes in `fp16` what can be.
pub static HALF: &[Pass] = &[Pass {
    name: lower_precision::NAME,
    run: Run::Whole(lower_precision::run),
    after: &["fold_constants"],
}];

fn fold(function: &mut Function) -> usize {
    fold_constants(function, FoldLimits { constexpr: false, max_elements: FOLD_LIMIT })
}

/// Runs the canonical passes.
pub fn canonicalize(function: &mut Function) -> Report {
    run(function, CANONICAL)
}

/// Fits a canonical function to the precision that it shall compute in: `fp16`, or anything else for as it is.
pub fn legalize(function: &mut Function, precision: DType) -> Report {
    if precision == DType::F16 { run(function, HALF) } else { Report::new() }
}

/// Runs passes in order.
pub fn run(function: &mut Function, passes: &[Pass]) -> Report {
    let mut report = Report::new();
    for pass in passes {
        let changed = match pass.run {
            Run::Rewrite(rewrite) => drive(function, rewrite, pass.name),
            Run::Whole(step) => step(function),
        };
        if changed > 0 {
            report.push((pass.name, changed));
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

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
