//! How much arithmetic an op does.

use super::Site;
use anemone_tensor::num::element_count;

/// Arithmetic of one execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Additions, multiplications, divisions and comparisons; a multiply-add counts as two.
    pub flops: u64,
    /// Transcendental functions (exp, log, sqrt, sin and the like), counted once each.
    pub transcendental: u64,
}

impl Work {
    /// No arithmetic: the op only moves bytes.
    pub fn none(_: &Site<'_>) -> Option<Work> {
        Some(Work::default())
    }

    /// One operation per element of all results.
    pub fn per_output(site: &Site<'_>) -> Option<Work> {
        Work::scaled(site, 1, 0)
    }

    /// One transcendental function per element of all results.
    pub fn transcendental(site: &Site<'_>) -> Option<Work> {
        Work::scaled(site, 0, 1)
    }

    /// One operation per element of operand `x`.
    pub fn per_input(site: &Site<'_>) -> Option<Work> {
        let shape = site.tensor("x").ok()?.known_shape()?;
        Some(Work { flops: u64::try_from(element_count(&shape)?).ok()?, transcendental: 0 })
    }

    /// `flops` and `transcendental` operations per element of all results.
    pub fn scaled(site: &Site<'_>, flops: u64, transcendental: u64) -> Option<Work> {
        let mut count = 0u64;
        for ty in site.infer().ok()? {
            count = count.checked_add(u64::try_from(ty.tensor()?.element_count()?).ok()?)?;
        }
        Some(Work { flops: count.checked_mul(flops)?, transcendental: count.checked_mul(transcendental)? })
    }

    /// Sums of products: `results` sums of `terms` products each, and one addition per result for a bias.
    pub fn products(results: usize, terms: usize, bias: bool) -> Option<Work> {
        let per_result = u64::try_from(terms).ok()?.checked_mul(2)?.checked_add(u64::from(bias))?;
        Some(Work { flops: u64::try_from(results).ok()?.checked_mul(per_result)?, transcendental: 0 })
    }
}
