//! Ops whose shapes are known only when they run.
//!
//! Such an op stands alone in a function of its own, with operands of the shapes at hand, which is planned like any
//! other. The plans of the last few sets of shapes are kept.

use super::{Literal, Plan, PredictError, Run, Work, fault};
use crate::Options;
use crate::emulate::Ready;
use crate::pool::Pool;
use anemone_mil::ops::Site;
use anemone_mil::{DType, Function, OpId, Tensor, Type, ValueId, eval};
use std::sync::Arc;

/// Plans of one op that are kept.
const KEPT: usize = 8;
/// Longest integer operand that may say something about shapes.
const MAX_SHAPE: usize = 64;

/// The plans of one op for shapes seen so far, the last one at the end.
#[derive(Default)]
pub(super) struct Dynamic {
    plans: Vec<(Vec<Type>, Plan)>,
}

/// What is constant of an op that stands alone.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// The constants of the program.
    Constants,
    /// Those, and what integers are computed.
    Integers,
}

/// An op alone in a function: its plan, and which operands are inputs of it.
struct Alone {
    function: Function,
    inputs: Vec<Tensor>,
}

impl Plan {
    pub(super) fn dynamic(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let id = self.steps[i].op;
        let values = self.operands(id)?;
        let Work::Dynamic(kept) = &mut self.steps[i].work else { return Ok(()) };
        let mut kept = std::mem::take(kept);
        let results =
            kept.results(&self.function, id, &values, run.pool, (&self.options, self.emulated.as_ref()));
        self.steps[i].work = Work::Dynamic(kept);
        self.store_all(id, results?)
    }
}

impl Dynamic {
    fn results(
        &mut self,
        function: &Function,
        id: OpId,
        values: &[Vec<Literal>],
        pool: &Pool,
        (options, emulated): (&Options, Option<&Arc<Ready>>),
    ) -> Result<Vec<Literal>, PredictError> {
        let mut run = Run { pool, observer: None, profiler: None, state: None, iterations: 0 };
        let op = function.op(id);
        if let Some(Alone { function, inputs }) = alone(function, id, values, Known::Constants) {
            let types: Vec<Type> = inputs.iter().map(|t| Literal::Tensor(t.clone()).ty()).collect();
            let at = match self.plans.iter().position(|(t, _)| *t == types) {
                Some(at) => at,
                None => {
                    let plan = Plan::of_one(function, false, pool, options, emulated.cloned())?;
                    self.plans.truncate(KEPT - 1);
                    self.plans.insert(0, (types, plan));
                    0
                }
            };
            return self.plans[at].1.run(&inputs, &mut run);
        }
        if let Some(Alone { function, inputs }) = alone(function, id, values, Known::Integers) {
            return Plan::of_one(function, true, pool, options, emulated.cloned())?.run(&inputs, &mut run);
        }
        eval::evaluate(function, op, values).map_err(|e| fault(function, id, e))
    }
}

/// The op alone, its results inferred anew; `None` when their shapes are still unknown.
fn alone(function: &Function, id: OpId, values: &[Vec<Literal>], known: Known) -> Option<Alone> {
    let mut f = Function::new(function.name.clone(), function.opset);
    let mut op = function.op(id).clone();
    let mut inputs = Vec::new();
    for (arg, literals) in op.args.iter_mut().zip(values) {
        for (slot, literal) in arg.values.iter_mut().zip(literals) {
            let value = function.value(*slot);
            let name = value.name.clone();
            *slot = match (value.as_const(), literal) {
                (Some(c), _) => f.add_const(name, c.clone()),
                (None, Literal::Tensor(t)) if !(known == Known::Integers && says_shape(t)) => {
                    inputs.push(t.clone());
                    f.add_input(name, literal.ty())
                }
                // A plan that is kept must not hold a value of this run.
                _ if known == Known::Constants => return None,
                _ => f.add_const(name, literal.clone()),
            };
        }
    }
    let types = Site::new(&f, &op).ok()?.infer().ok()?;
    let fixed = |t: &Type| t.tensor().is_some_and(|t| t.known_shape().is_some());
    if types.len() != op.outputs.len() || !types.iter().all(fixed) {
        return None;
    }
    let names: Vec<_> = op.outputs.iter().map(|&v| function.value(v).name.clone()).collect();
    let id = f.append(f.body(), op, names.into_iter().zip(types).collect());
    let results: Vec<ValueId> = f.op(id).outputs.clone();
    let body = f.body();
    f.block_mut(body).outputs = results;
    Some(Alone { function: f, inputs })
}

fn says_shape(t: &Tensor) -> bool {
    !t.dtype().is_float() && t.dtype() != DType::String && t.rank() <= 1 && t.len() <= MAX_SHAPE
}
