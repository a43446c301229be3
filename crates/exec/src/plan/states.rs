//! Steps that read and write states.

use super::{Place, Plan, Run, fault};
use crate::lower::overwrite;
use crate::state::Data;
use anemone_mil::ops::{Fault, Site, SliceByIndex, SliceDim};
use anemone_mil::{Literal, OpId, Tensor, ValueId};
use anemone_model::PredictError;

impl Plan {
    /// `read_state`: the result is a copy of what the state holds.
    pub(super) fn read_state(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let id = self.steps[i].op;
        let Some(&result) = self.function.op(id).outputs.first() else { return Ok(()) };
        let data = content(self, id, "input", run)?;
        match (self.places.get(&result), data) {
            (Some(Place::Buffer(b)), Data::Floats(v)) => {
                let target = self.arena.write(self.spans[*b]);
                if target.len() == v.len() {
                    target.copy_from_slice(v);
                }
                Ok(())
            }
            (_, Data::Tensor(t)) => {
                let literal = t.clone().into();
                self.store(result, literal).map_err(|e| fault(&self.function, id, e))
            }
            _ => Err(fault(&self.function, id, "reads a state into a result of another type")),
        }
    }

    /// `write_state` and `coreml_update_state`, which also hands the value on.
    pub(super) fn write_state(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let id = self.steps[i].op;
        let update = self.function.op(id).is("coreml_update_state");
        let (state, value) = if update { ("state", "value") } else { ("input", "data") };
        let source = self.function.op(id).value(value);
        let source =
            source.ok_or_else(|| fault(&self.function, id, format!("argument `{value}` is missing")))?;
        self.keep(id, state, source, run)?;
        let Some(&result) = self.function.op(id).outputs.first() else { return Ok(()) };
        let pairs = [(source, result)];
        self.assign(id, &pairs)
    }

    /// `slice_update` of what a state holds, written back at once: only the part is moved.
    pub(super) fn update_state(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let id = self.steps[i].op;
        let op = self.function.op(id);
        let fail = |e: Fault| fault(&self.function, id, e);
        let x = op.value("x").and_then(|x| self.function.producer(x));
        let read = x.ok_or_else(|| fault(&self.function, id, "argument `x` is no state that is read"))?;
        let (shape, dims) = self.places_of_update(id).map_err(fail)?;
        let update = op.value("update").and_then(|v| self.load(v));
        let Some(Literal::Tensor(update)) = update else {
            return Err(fault(&self.function, id, "argument `update` has no value"));
        };
        let pool = run.pool;
        match content(self, read, "input", run)? {
            Data::Floats(v) => overwrite(&shape, &dims, &update.to_f32s(), 1, v, pool),
            Data::Tensor(t) => {
                let mut bytes = t.bytes().to_vec();
                let width = t.dtype().bits() / 8;
                overwrite(&shape, &dims, update.bytes(), width, &mut bytes, pool);
                *t = Tensor::new(t.dtype(), shape, bytes).map_err(|e| fault(&self.function, id, e))?;
            }
        }
        Ok(())
    }

    /// Shape of the state and the places in it that a `slice_update` writes to.
    fn places_of_update(&self, id: OpId) -> Result<(Vec<usize>, Vec<SliceDim>), Fault> {
        let op = self.function.op(id);
        let site = Site::new(&self.function, op)?;
        let ints = |param: &str| {
            let tensor = op.value(param).and_then(|v| self.load(v));
            let ints = tensor.as_ref().and_then(Literal::as_tensor).map(Tensor::to_i64s);
            ints.ok_or_else(|| Fault::arg(param, "missing", "integers"))
        };
        let shape = site.tensor("x")?.known_shape().unwrap_or_default();
        let view = SliceByIndex::of(&site)?.with_bounds(&ints("begin")?, &ints("end")?)?;
        let dims = view.resolve(&shape)?;
        let kept: Vec<usize> = dims.iter().filter(|d| !d.squeeze).map(|d| d.extent).collect();
        let given = site.tensor("update")?.known_shape().unwrap_or_default();
        if kept != given {
            return Err(Fault::arg("update", format!("of shape {given:?}"), format!("of shape {kept:?}")));
        }
        Ok((shape, dims))
    }

    fn keep(
        &mut self,
        id: OpId,
        state: &str,
        source: ValueId,
        run: &mut Run<'_, '_>,
    ) -> Result<(), PredictError> {
        let data = content(self, id, state, run)?;
        match (self.places.get(&source), data) {
            (Some(Place::Buffer(b)), Data::Floats(v)) => {
                let values = self.arena.read(self.spans[*b]);
                if v.len() != values.len() {
                    return Err(fault(
                        &self.function,
                        id,
                        "writes a tensor of another size than the state's",
                    ));
                }
                v.copy_from_slice(values);
            }
            (_, data) => match self.load(source) {
                Some(Literal::Tensor(t)) => data
                    .replace(t)
                    .map_err(|e| fault(&self.function, id, format!("writes a tensor of {e}")))?,
                _ => return Err(fault(&self.function, id, "writes something that is no tensor")),
            },
        }
        Ok(())
    }
}

/// What the state holds that argument `param` of an op names.
fn content<'r>(
    plan: &Plan,
    id: OpId,
    param: &str,
    run: &'r mut Run<'_, '_>,
) -> Result<&'r mut Data, PredictError> {
    let fail = |message: &str| fault(&plan.function, id, format!("argument `{param}` {message}"));
    let value = plan.function.op(id).value(param).ok_or_else(|| fail("is missing; give it a state"))?;
    let name = &plan.function.value(value).name;
    let state = run.state.as_mut().ok_or_else(|| PredictError::State {
        name: name.to_string(),
        message: "is missing; give the prediction a state of this model".into(),
    })?;
    state.data(name).ok_or_else(|| fail("names no state of the function"))
}
