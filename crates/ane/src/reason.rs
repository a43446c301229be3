//! Why an op goes where it goes, in a sentence with numbers.

use crate::cost::{Backend, Estimate};
use crate::device::FixedCosts;
use crate::eligibility::{Answer, Verdict};
use crate::segment::{Path, TIE};
use std::ops::Range;

/// What the reasons of a plan are made from.
pub(crate) struct Reasons<'p> {
    /// Estimates per op; no ANE figure where the ANE does not take the op.
    pub estimates: &'p [Estimate],
    /// The chosen path.
    pub path: &'p Path,
    /// The device's fixed costs.
    fixed: &'p FixedCosts,
    /// Runs of ops that are on the ANE, by op.
    placed: Vec<Option<Run>>,
    /// Runs of ops that the ANE takes, by op.
    taken: Vec<Option<Run>>,
}

/// Consecutive ops, and what they would save on the ANE.
#[derive(Clone, Debug)]
struct Run {
    ops: Range<usize>,
    /// Before fixed costs, in ms.
    saving: f64,
    /// True when one of them is on the ANE.
    on_ane: bool,
}

/// The run around each op that is inside one.
fn runs(estimates: &[Estimate], path: &Path, inside: impl Fn(usize) -> bool) -> Vec<Option<Run>> {
    let gain = |e: &Estimate| e.ane.map_or(0.0, |ane| e.cpu() - ane);
    let mut found = vec![None; estimates.len()];
    let mut start = 0;
    while start < estimates.len() {
        let length = (start..estimates.len()).take_while(|&i| inside(i)).count();
        let ops = start..start + length;
        let saving = estimates[ops.clone()].iter().map(gain).sum();
        let run = Run { saving, on_ane: path.chosen[ops.clone()].contains(&Backend::Ane), ops };
        found[run.ops.clone()].fill(Some(run.clone()));
        start += length.max(1);
    }
    found
}

impl<'p> Reasons<'p> {
    /// Looks for the runs of a path.
    pub fn new(estimates: &'p [Estimate], path: &'p Path, fixed: &'p FixedCosts) -> Reasons<'p> {
        let placed = runs(estimates, path, |i| path.chosen[i] == Backend::Ane);
        let taken = runs(estimates, path, |i| estimates[i].ane.is_some());
        Reasons { estimates, path, fixed, placed, taken }
    }

    /// One sentence for op `index`, whose verdict for the ANE is `ane`.
    pub fn of(&self, index: usize, ane: &Verdict) -> String {
        match (self.path.chosen[index], ane.answer) {
            (Backend::Ane, _) => self.chosen(index),
            (_, Answer::No) => format!("refused by the ANE: {}", ane.why),
            (_, Answer::Unknown) => {
                format!("kept off the ANE, because it is not known whether it is taken: {}", ane.why)
            }
            (_, Answer::Yes) => self.passed_over(index),
        }
    }

    /// What a run must save to be worth its fixed costs, in ms.
    fn toll(&self, run: &Range<usize>) -> f64 {
        let enter = self.fixed.enter_ane + if run.start > 0 { self.fixed.change } else { 0.0 };
        enter + if run.end < self.estimates.len() { self.fixed.change } else { self.fixed.end_on_ane }
    }

    fn chosen(&self, index: usize) -> String {
        let Some(run) = &self.placed[index] else { return "eligible".to_owned() };
        let (saving, toll, what) = (ms(run.saving), ms(self.toll(&run.ops)), ops(&run.ops));
        let tie = if self.path.ane_penalty(index).abs() <= TIE { "; the CPU would cost as much" } else { "" };
        format!("eligible, and {what} on the ANE saves {saving} ms for {toll} ms of switching{tie}")
    }

    fn passed_over(&self, index: usize) -> String {
        let Some(run) = &self.taken[index] else { return "eligible".to_owned() };
        if run.on_ane {
            let penalty = self.path.ane_penalty(index);
            if penalty.abs() <= TIE {
                return "eligible; on the ANE the whole would cost as much".to_owned();
            }
            let more = ms(penalty);
            return format!("eligible, but on the ANE the whole would cost {more} ms more");
        }
        let (saving, toll) = (run.saving, ms(self.toll(&run.ops)));
        let what = ops(&run.ops);
        if saving < 0.0 {
            return format!(
                "eligible, but {what} is {} ms slower on the ANE and would pay {toll} ms of switching",
                ms(-saving)
            );
        }
        format!("eligible, but {what} saves {} ms and must save {toll} ms", ms(saving))
    }
}

fn ops(run: &Range<usize>) -> String {
    match run.len() {
        1 => "this op".to_owned(),
        n => format!("this run of {n} ops"),
    }
}

/// Milliseconds, to three digits that count.
pub(crate) fn ms(value: f64) -> String {
    let text = if value.abs() >= 0.01 { format!("{value:.3}") } else { format!("{value:.5}") };
    let cut = text.trim_end_matches('0').trim_end_matches('.');
    if cut.is_empty() || cut == "-0" { "0".to_owned() } else { cut.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::ms;

    #[test]
    fn milliseconds_lose_trailing_zeros_only() {
        assert_eq!(["0.375", "0.04", "0.00262", "120", "0"], [0.375, 0.04, 0.002_621, 120.0, 0.0].map(ms));
    }
}
