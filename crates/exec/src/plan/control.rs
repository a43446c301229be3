//! Steps with nested blocks: branches and loops.

use super::{Literal, Place, Plan, PredictError, Run, Work, buffer, fault};
use anemone_mil::{OpId, ValueId};
use std::ops::Range;

/// The steps of a nested block and the values that it hands out.
pub(super) struct Nested {
    /// Steps of the block.
    pub steps: Range<usize>,
    /// Values that the block hands out.
    pub outputs: Vec<ValueId>,
}

/// A loop: its variables live in the places of its results.
pub(super) struct Loop {
    /// Says whether to go on.
    pub condition: Nested,
    /// Makes the next values of the variables.
    pub body: Nested,
    /// First values of the variables.
    pub start: Vec<ValueId>,
}

/// A value on its way to another place.
enum Moved {
    Floats(Vec<f32>),
    Literal(Literal),
}

impl Plan {
    pub(super) fn cond(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let id = self.steps[i].op;
        let pred = self.function.op(id).value("pred");
        let pred =
            pred.ok_or_else(|| fault(&self.function, id, "argument `pred` is missing; give it a bool"))?;
        let taken = usize::from(!self.truth(id, pred)?);
        let Work::Cond(branches) = &self.steps[i].work else { return Ok(()) };
        let (steps, outputs) = (branches[taken].steps.clone(), branches[taken].outputs.clone());
        self.range(steps, run)?;
        self.hand_out(id, &outputs)
    }

    pub(super) fn while_loop(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let id = self.steps[i].op;
        let Work::While(l) = &self.steps[i].work else { return Ok(()) };
        let (start, next) = (l.start.clone(), l.body.outputs.clone());
        let (condition, body) = (l.condition.steps.clone(), l.body.steps.clone());
        let decides = l.condition.outputs.first().copied();
        let decides =
            decides.ok_or_else(|| fault(&self.function, id, "the condition block hands out nothing"))?;
        self.hand_out(id, &start)?;
        loop {
            self.range(condition.clone(), run)?;
            if !self.truth(id, decides)? {
                return Ok(());
            }
            run.iterations += 1;
            if run.iterations > self.options.max_steps {
                let name = self.function.op(id).name.to_string();
                return Err(PredictError::StepLimit { name, limit: self.options.max_steps });
            }
            self.range(body.clone(), run)?;
            self.hand_out(id, &next)?;
        }
    }

    /// Moves values into the places of an op's results.
    fn hand_out(&mut self, id: OpId, values: &[ValueId]) -> Result<(), PredictError> {
        let results = &self.function.op(id).outputs;
        if results.len() != values.len() {
            let message = format!("hands out {} values, but has {} results", values.len(), results.len());
            return Err(fault(&self.function, id, message));
        }
        let pairs: Vec<(ValueId, ValueId)> = values.iter().copied().zip(results.iter().copied()).collect();
        self.assign(id, &pairs)
    }

    /// Moves each value into the place of another, as if all at once.
    pub(super) fn assign(&mut self, id: OpId, pairs: &[(ValueId, ValueId)]) -> Result<(), PredictError> {
        let place = |v: &ValueId| self.places.get(v).copied();
        let moving: Vec<(ValueId, ValueId)> = pairs
            .iter()
            .copied()
            .filter(|(from, to)| place(from).is_none() || place(from) != place(to))
            .collect();
        let targets: Vec<Option<Place>> = moving.iter().map(|(_, to)| place(to)).collect();
        if !moving.iter().any(|(from, _)| place(from).is_some_and(|p| targets.contains(&Some(p)))) {
            return moving.into_iter().try_for_each(|(from, to)| self.transfer(id, from, to));
        }
        let taken: Option<Vec<Moved>> = moving.iter().map(|(from, _)| self.take(*from)).collect();
        let taken =
            taken.ok_or_else(|| fault(&self.function, id, "a value of its blocks was never computed"))?;
        moving.into_iter().zip(taken).try_for_each(|((_, to), moved)| self.put(id, to, moved))
    }

    fn transfer(&mut self, id: OpId, from: ValueId, to: ValueId) -> Result<(), PredictError> {
        let span = |v: ValueId| self.places.get(&v).copied().and_then(buffer).map(|b| self.spans[b]);
        if let (Some(from), Some(to)) = (span(from), span(to))
            && from.len == to.len
        {
            self.arena.copy(from, to);
            return Ok(());
        }
        let moved = self.load(from).map(Moved::Literal);
        let moved =
            moved.ok_or_else(|| fault(&self.function, id, "a value of its blocks was never computed"))?;
        self.put(id, to, moved)
    }

    fn take(&self, v: ValueId) -> Option<Moved> {
        match self.places.get(&v) {
            Some(Place::Buffer(b)) => Some(Moved::Floats(self.arena.read(self.spans[*b]).to_vec())),
            _ => self.load(v).map(Moved::Literal),
        }
    }

    fn put(&mut self, id: OpId, to: ValueId, moved: Moved) -> Result<(), PredictError> {
        let literal = match (moved, self.places.get(&to)) {
            (Moved::Floats(v), Some(Place::Buffer(b))) if self.spans[*b].len == v.len() => {
                self.arena.write(self.spans[*b]).copy_from_slice(&v);
                return Ok(());
            }
            (Moved::Floats(_), _) => {
                return Err(fault(&self.function, id, "its blocks change a fixed shape"));
            }
            (Moved::Literal(l), _) => l,
        };
        self.store(to, literal).map_err(|e| fault(&self.function, id, e))
    }

    fn truth(&self, id: OpId, v: ValueId) -> Result<bool, PredictError> {
        let value = self.load(v);
        let scalar = value.as_ref().and_then(Literal::as_tensor).filter(|t| t.len() == 1);
        let ty = &self.function.value(v).ty;
        let not_one = || fault(&self.function, id, format!("the condition is {ty}, but must be one bool"));
        scalar.map(|t| t.i64_at(0) != 0).ok_or_else(not_one)
    }
}
