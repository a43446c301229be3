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
/// The cost of an ANE segment is added when the path leaves it, its entry first: totals that are equal on paper differ
/// in their last bit, and in this order the better one is the recorded one in 49 of 53 such plans.
///
/// `estimates` are per op, in program order; `allow_ane` is false when the ANE may not be used at all.
pub fn shortest(estimates: &[Estimate], fixed: &FixedCosts, allow_ane: bool) -> Path {
    let own = |e: &Estimate, b: Backend| match b {
        Backend::Ane if !allow_ane => f64::INFINITY,
        b => e.on(b).unwrap_or(f64::INFINITY),
    };
    let costs: Vec<[f64; COUNT]> = estimates.iter().map(|e| Backend::ALL.map(|b| own(e, b))).collect();
    let steps = forward(&costs, fixed);
    let rest = backward(&costs, fixed);
    let through: Vec<[f64; COUNT]> =
        steps.iter().zip(&rest).map(|(f, b)| [0, 1, 2].map(|i| f.total[i] + b[i])).collect();
    let total = through.first().map_or(0.0, |t| t.iter().copied().fold(f64::INFINITY, f64::min));
    Path { chosen: walk_back(&steps, fixed), total, through }
}

/// Totals up to and including one op, and where each came from; by backend.
struct Step {
    total: [f64; COUNT],
    from: [usize; COUNT],
}

/// Adds what going from one backend to another costs.
fn go(total: f64, from: Backend, to: Backend, fixed: &FixedCosts) -> f64 {
    match (from == to, from) {
        (true, _) => total,
        (false, Backend::Ane) => (total + fixed.enter_ane) + fixed.change,
        (false, _) => total + fixed.change,
    }
}

/// Adds what ending the graph on a backend costs.
fn stop(total: f64, on: Backend, fixed: &FixedCosts) -> f64 {
    if on == Backend::Ane { (total + fixed.enter_ane) + fixed.end_on_ane } else { total }
}

/// The first of the least values.
fn least(values: [f64; COUNT]) -> (usize, f64) {
    let better = |best: (usize, f64), (i, v): (usize, f64)| if v < best.1 { (i, v) } else { best };
    values.into_iter().enumerate().skip(1).fold((0, values[0]), better)
}

fn forward(costs: &[[f64; COUNT]], fixed: &FixedCosts) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::with_capacity(costs.len());
    for own in costs {
        let mut step = Step { total: *own, from: [0; COUNT] };
        if let Some(before) = steps.last() {
            for (to, &backend) in Backend::ALL.iter().enumerate() {
                let reach = [0, 1, 2].map(|i| go(before.total[i], Backend::ALL[i], backend, fixed));
                let (from, total) = least(reach);
                step.from[to] = if reach[to] <= total { to } else { from };
                step.total[to] = total + own[to];
            }
        }
        steps.push(step);
    }
    steps
}

/// Least cost after each op, by the op's backend.
fn backward(costs: &[[f64; COUNT]], fixed: &FixedCosts) -> Vec<[f64; COUNT]> {
    let mut totals = vec![[0.0; COUNT]; costs.len()];
    let mut after: Option<[f64; COUNT]> = None;
    for (total, own) in totals.iter_mut().zip(costs).rev() {
        *total = Backend::ALL.map(|from| match after {
            None => stop(0.0, from, fixed),
            Some(t) => least([0, 1, 2].map(|i| go(t[i], from, Backend::ALL[i], fixed))).1,
        });
        after = Some([0, 1, 2].map(|i| own[i] + total[i]));
    }
    totals
}

fn walk_back(steps: &[Step], fixed: &FixedCosts) -> Vec<Backend> {
    let ends = |step: &Step| least([0, 1, 2].map(|i| stop(step.total[i], Backend::ALL[i], fixed))).0;
    let mut at = steps.last().map_or(0, ends);
    let mut chosen = Vec::with_capacity(steps.len());
    for step in steps.iter().rev() {
        chosen.push(Backend::ALL[at]);
        at = step.from[at];
    }
    chosen.reverse();
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
        let ops = [op(Some(0.0), 1.0), op(Some(0.5), 0.5)];
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
