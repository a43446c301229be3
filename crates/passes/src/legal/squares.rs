//! Squares that a small number keeps away from zero.
//!
//! ```text
//! y = log(add(reduce_sum(square(x)), 1e-10))
//! ```
//! The number says that sums as small as it matter. In `fp16` the square of anything below 2^-12 is zero, and with a
//! logarithm or a quotient behind it an error of nothing becomes one of many per cent.
//!
//! Before a logarithm, which counts small values as much as large ones, the linear ops that make what is squared belong
//! to it: the sums of a spectrum cancel, and what is left of a quiet band is smaller than the rounding of its terms.

use super::range::{Fit, fit, moves};
use anemone_mil::{Function, Op, OpId, Uses, ValueId};
use std::collections::{HashMap, HashSet};

/// Ops between the squares and the number.
const BETWEEN: [&str; 5] = ["add", "mul", "reduce_mean", "reduce_sum", "sqrt"];

/// Linear ops that make a spectrum, besides what moves its parts.
const LINEAR: [&str; 8] = ["add", "conv", "conv_transpose", "linear", "matmul", "mul", "pad", "sub"];

/// A chain longer than this is no longer one expression.
const MAX_CHAIN: usize = 32;

/// The squares, and the ops between them and the number.
pub(super) fn before_small_numbers(function: &Function) -> HashSet<OpId> {
    let mut search = Search { function, known: HashMap::new(), found: HashSet::new() };
    let uses = Uses::of(function);
    let mut spectra = Vec::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        if op.is("add") || op.is("maximum") {
            let (x, y) = (op.value("x"), op.value("y"));
            for (number, other) in [(x, y), (y, x)] {
                if let (Some(number), Some(other)) = (number, other)
                    && function.constant(number).is_some_and(|c| fit(op, "y", c) == Fit::Vanishes)
                {
                    let before = search.found.len();
                    let squares = search.made_of_squares(other, 0) && search.found.len() > before;
                    let logs = |&v: &ValueId| uses.ops(v).iter().any(|&user| function.op(user).is("log"));
                    if squares && op.outputs.iter().any(logs) {
                        spectra.push(other);
                    }
                }
            }
        }
    }
    search.linear(spectra);
    search.found
}

struct Search<'f> {
    function: &'f Function,
    known: HashMap<ValueId, bool>,
    found: HashSet<OpId>,
}

impl Search<'_> {
    /// True when a value is a square or made of squares; notes the ops on the way.
    fn made_of_squares(&mut self, v: ValueId, depth: usize) -> bool {
        if let Some(&known) = self.known.get(&v) {
            return known;
        }
        let Some(id) = self.function.producer(v).filter(|_| depth < MAX_CHAIN) else { return false };
        let op = self.function.op(id);
        let square = is_square(self.function, op);
        if !square && !BETWEEN.contains(&op.kind.name()) && !moves(op) {
            return false;
        }
        let mut made = square;
        for operand in op.operands() {
            made |= self.made_of_squares(operand, depth + 1);
        }
        self.known.insert(v, made);
        if made {
            self.found.insert(id);
        }
        made
    }

    /// Goes on from squares through the linear ops before them.
    fn linear(&mut self, spectra: Vec<ValueId>) {
        let (mut queue, mut seen) = (spectra, HashSet::new());
        while let Some(v) = queue.pop() {
            let Some(id) = self.function.producer(v).filter(|id| seen.insert(*id)) else { continue };
            let op = self.function.op(id);
            let kind = op.kind.name();
            if self.found.contains(&id) || LINEAR.contains(&kind) || moves(op) {
                self.found.insert(id);
                queue.extend(op.operands());
            }
        }
    }
}

fn is_square(function: &Function, op: &Op) -> bool {
    match op.kind.name() {
        "square" | "reduce_sum_square" | "reduce_l2_norm" => true,
        "mul" => op.value("x") == op.value("y"),
        "pow" => {
            let power = op.value("y").and_then(|v| function.constant(v)?.literal().ok());
            let power = power.as_ref().and_then(|l| l.as_tensor()).filter(|t| !t.is_empty());
            power.is_some_and(|t| t.f64_at(0) >= 2.0)
        }
        _ => false,
    }
}
