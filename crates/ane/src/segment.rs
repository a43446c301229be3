//! The segmenter: the cheapest path through the backends, op by op in program order.
//!
//! Entering an ANE segment, changing between any two backends, and ending the graph on the ANE cost a fixed time;
//! starting is free. Procedure and constants: 751K/Apple-Neural-Engine-Microarchitecture-Study-M6,
//! `notes/coreml_dispatch.md`, where it gives back 481 of 482 recorded plans or an equally cheap one.

use crate::cost::{Backend, Estimate};
use crate::device::FixedCosts;

/// Two totals that differ by less count as equal, in ms.
pub const TIE: f64 = 1e-9;

const COUNT: usize = Backend::ALL.len();

/// The cheapest way through a sequence of ops.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The chosen backend, per op.
    pub chosen: Vec<Backend>,
    /// Total of estimates and fixed costs, in ms.
    pub total: f64,
    /// Per op, the least total of any path that puts the op on each backend of [`Backend::ALL`]; infinite where the
    /// backend does not take the op.
    pub through: Vec<[f64; COUNT]>,
}

impl Path {
    /// How much dearer the best path becomes with op `index` on the ANE instead of on the CPU, in ms; infinite when
    /// the ANE does not take it, negative when the ANE is the better place.
    pub fn ane_penalty(&self, index: usize) -> f64 {
        let [ane, bnns, classic] = self.through[index];
        if ane.is_infinite() { f64::INFINITY } else { ane - bnns.min(classic) }
    }
}

/// Finds the cheapest path; of equally cheap ones, that which stays longest on the ANE.
///
/// `estimates` are per op, in program order; `allow_ane` is false when the ANE may not be used at all.
pub fn shortest(estimates: &[Estimate], fixed: &FixedCosts, allow_ane: bool) -> Path {
    let own = |e: &Estimate, b: Backend| match b {
        Backend::Ane if !allow_ane => f64::INFINITY,
        b => e.on(b).unwrap_or(f64::INFINITY),
    };
    let costs: Vec<[f64; COUNT]> = estimates.iter().map(|e| Backend::ALL.map(|b| own(e, b))).collect();
    let forward = forward(&costs, fixed);
    let backward = backward(&costs, fixed);
    let through: Vec<[f64; COUNT]> =
        forward.iter().zip(&backward).map(|(f, b)| [0, 1, 2].map(|i| f[i] + b[i])).collect();
    let total = through.first().map_or(0.0, |t| t.iter().copied().fold(f64::INFINITY, f64::min));
    Path { chosen: choose(&costs, &backward, fixed), total, through }
}

/// Fixed cost of going from one backend to the next.
fn step(from: Backend, to: Backend, fixed: &FixedCosts) -> f64 {
    match (from == to, to) {
        (true, _) => 0.0,
        (false, Backend::Ane) => fixed.change + fixed.enter_ane,
        (false, _) => fixed.change,
    }
}

fn start(to: Backend, fixed: &FixedCosts) -> f64 {
    if to == Backend::Ane { fixed.enter_ane } else { 0.0 }
}

fn end(from: Backend, fixed: &FixedCosts) -> f64 {
    if from == Backend::Ane { fixed.end_on_ane } else { 0.0 }
}

/// Least cost up to and including each op, by backend.
fn forward(costs: &[[f64; COUNT]], fixed: &FixedCosts) -> Vec<[f64; COUNT]> {
    let mut totals: Vec<[f64; COUNT]> = Vec::with_capacity(costs.len());
    for own in costs {
        let before = totals.last().copied();
        let reach = |to: Backend| match before {
            None => start(to, fixed),
            Some(t) => least(Backend::ALL.iter().zip(t).map(|(&from, t)| t + step(from, to, fixed))),
        };
        let reached = Backend::ALL.map(reach);
        totals.push([0, 1, 2].map(|i| reached[i] + own[i]));
    }
    totals
}

/// Least cost after each op, by the op's backend.
fn backward(costs: &[[f64; COUNT]], fixed: &FixedCosts) -> Vec<[f64; COUNT]> {
    let mut totals = vec![[0.0; COUNT]; costs.len()];
    let mut after: Option<[f64; COUNT]> = None;
    for (total, own) in totals.iter_mut().zip(costs).rev() {
        let leave = |from: Backend| match after {
            None => end(from, fixed),
            Some(t) => least(Backend::ALL.iter().zip(t).map(|(&to, t)| step(from, to, fixed) + t)),
        };
        *total = Backend::ALL.map(leave);
        after = Some([0, 1, 2].map(|i| own[i] + total[i]));
    }
    totals
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

/// Walks the cheapest path; among equals the ANE comes first, then the backend that is already running.
fn choose(costs: &[[f64; COUNT]], backward: &[[f64; COUNT]], fixed: &FixedCosts) -> Vec<Backend> {
    let mut chosen: Vec<Backend> = Vec::with_capacity(costs.len());
    for (own, rest) in costs.iter().zip(backward) {
        let enter = |to| chosen.last().map_or_else(|| start(to, fixed), |&from| step(from, to, fixed));
        let totals: Vec<f64> = (0..COUNT).map(|i| enter(Backend::ALL[i]) + own[i] + rest[i]).collect();
        let best = least(totals.iter().copied());
        let near = |i: &usize| totals[*i] <= best + TIE;
        let stay = chosen.last().and_then(|l| Backend::ALL.iter().position(|b| b == l));
        let order = [Some(0), stay, Some(1), Some(2)];
        let pick = order.into_iter().flatten().find(near).unwrap_or(1);
        chosen.push(Backend::ALL[pick]);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::{Basis, Reach};

    const FIXED: FixedCosts = FixedCosts { enter_ane: 0.125, change: 0.125, end_on_ane: 0.125 };

    fn op(ane: Option<f64>, cpu: f64) -> Estimate {
        let basis = Basis { family: "default", reach: Reach::Observed, guessed_extent: false };
        Estimate { ane, bnns: cpu, classic_cpu: cpu, basis }
    }

    fn ane(ops: &[Estimate]) -> Vec<bool> {
        shortest(ops, &FIXED, true).chosen.into_iter().map(|b| b == Backend::Ane).collect()
    }

    #[test]
    fn a_whole_graph_must_save_a_quarter_millisecond() {
        assert_eq!(ane(&[op(Some(0.0), 0.249)]), [false]);
        assert_eq!(ane(&[op(Some(0.0), 0.251)]), [true]);
    }

    #[test]
    fn a_run_in_the_middle_must_save_three_eighths() {
        let around = |cpu| ane(&[op(None, 0.1), op(Some(0.0), cpu), op(None, 0.1)]);
        assert_eq!(around(0.374), [false; 3]);
        assert_eq!(around(0.376), [false, true, false]);
    }

    #[test]
    fn equal_totals_stay_on_the_ane() {
        let ops = [op(Some(0.0), 1.0), op(Some(0.01), 0.01)];
        assert_eq!(ane(&ops), [true, true]);
        assert!(shortest(&ops, &FIXED, true).ane_penalty(1).abs() < TIE);
    }

    #[test]
    fn without_the_ane_everything_stays_on_one_cpu_backend() {
        let path = shortest(&[op(Some(0.0), 9.0), op(Some(0.0), 9.0)], &FIXED, false);
        assert_eq!((path.chosen, path.total), (vec![Backend::Bnns; 2], 18.0));
        assert!(path.through.iter().all(|t| t[0].is_infinite()));
    }

    #[test]
    fn no_ops_cost_nothing() {
        let path = shortest(&[], &FIXED, true);
        assert_eq!((path.chosen.len(), path.total), (0, 0.0));
    }
}
