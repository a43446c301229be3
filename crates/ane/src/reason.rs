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
    pub fixed: &'p FixedCosts,
}

impl Reasons<'_> {
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

    /// How many ops around `index` satisfy `inside`, as a range.
    fn around(&self, index: usize, inside: impl Fn(usize) -> bool) -> Range<usize> {
        let first = (0..index).rev().take_while(|&i| inside(i)).last().unwrap_or(index);
        let last = (index + 1..self.estimates.len()).take_while(|&i| inside(i)).last().unwrap_or(index);
        first..last + 1
    }

    /// What a run saves on the ANE before fixed costs, in ms.
    fn saving(&self, run: &Range<usize>) -> f64 {
        let gain = |e: &Estimate| e.ane.map_or(0.0, |ane| e.cpu() - ane);
        self.estimates[run.clone()].iter().map(gain).sum()
    }

    /// What a run must save to be worth its fixed costs, in ms.
    fn toll(&self, run: &Range<usize>) -> f64 {
        let enter = self.fixed.enter_ane + if run.start > 0 { self.fixed.change } else { 0.0 };
        enter + if run.end < self.estimates.len() { self.fixed.change } else { self.fixed.end_on_ane }
    }

    fn chosen(&self, index: usize) -> String {
        let run = self.around(index, |i| self.path.chosen[i] == Backend::Ane);
        let (saving, toll, what) = (ms(self.saving(&run)), ms(self.toll(&run)), ops(&run));
        let tie = if self.path.ane_penalty(index).abs() <= TIE { "; the CPU would cost as much" } else { "" };
        format!("eligible, and {what} on the ANE saves {saving} ms for {toll} ms of switching{tie}")
    }

    fn passed_over(&self, index: usize) -> String {
        let run = self.around(index, |i| self.estimates[i].ane.is_some());
        let on_ane = self.path.chosen[run.clone()].contains(&Backend::Ane);
        if on_ane {
            let penalty = self.path.ane_penalty(index);
            if penalty.abs() <= TIE {
                return "eligible; on the ANE the whole would cost as much".to_owned();
            }
            let more = ms(penalty);
            return format!("eligible, but on the ANE the whole would cost {more} ms more");
        }
        let (saving, toll) = (self.saving(&run), ms(self.toll(&run)));
        let what = ops(&run);
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
