//! A function made ready to run for one set of shapes: steps, packed weights, arena.
//!
//! Steps of nested blocks stand in the same list, after the step of the op that holds them, and work on the same
//! arena: a loop reads what is around it where it lies. Values whose shape is known only at run time are held outside
//! the arena, and the ops that take or make them are lowered when their operands are there ([`dynamic`]).

mod build;
mod control;
mod dynamic;
mod states;

use crate::arena::{Arena, Span};
use crate::emulate::Ready;
use crate::kernels::elementwise::round_to_half;
use crate::lower::{Io, Kernel, Mixed, Operand, Target};
use crate::memory::Floats;
use crate::pool::Pool;
use crate::profile::{Profiler, REFERENCE, StepInfo, describe};
use crate::{Options, State};
use anemone_mil::eval::{self, EvalSite};
use anemone_mil::ops::Site;
use anemone_mil::{DType, Function, Literal, OpId, Tensor, TensorType, Type, ValueId};
use anemone_model::{Observer, PredictError};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Where a value is while the plan runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Arena buffer `n`, as `f32`.
    Buffer(usize),
    /// Literal `n`: integers, booleans, text, lists, and tensors of unknown shape.
    Held(usize),
    /// Constant `n`, as `f32`.
    Constant(usize),
}

enum Work {
    Kernel(Box<dyn Kernel>),
    Mixed(Box<dyn Mixed>),
    Reference,
    Dynamic(dynamic::Dynamic),
    Cond([control::Nested; 2]),
    While(control::Loop),
    ReadState,
    WriteState,
    UpdateState,
}

impl Work {
    /// The way in which an op is computed.
    fn name(&self) -> &'static str {
        match self {
            Work::Kernel(_) | Work::Mixed(_) => "kernel",
            Work::Reference => REFERENCE,
            Work::Dynamic(_) => "at run time",
            Work::Cond(_) | Work::While(_) => "blocks",
            Work::ReadState | Work::WriteState | Work::UpdateState => "state",
        }
    }
}

struct Step {
    op: OpId,
    work: Work,
    reads: Vec<Place>,
    writes: Vec<usize>,
    /// Buffer of the kernel's scratch memory, when it wants some.
    scratch: Option<usize>,
    /// Results shown to an observer: value and place.
    results: Vec<(ValueId, Place)>,
    /// Buffers among `writes` whose declared type is `fp16`.
    rounded: Vec<usize>,
    /// Values outside the arena that nothing needs after it.
    dead: Vec<usize>,
    /// The step after it and its nested steps.
    next: usize,
}

/// A function ready to run.
pub(crate) struct Plan {
    function: Function,
    steps: Vec<Step>,
    places: HashMap<ValueId, Place>,
    spans: Vec<Span>,
    constants: Vec<Floats>,
    held: Vec<Option<Literal>>,
    arena: Arena,
    options: Options,
    /// Ops that are computed as the Neural Engine does.
    emulated: Option<Arc<Ready>>,
}

/// What one prediction carries through the steps.
pub(crate) struct Run<'a, 'o> {
    /// Threads.
    pub pool: &'a Pool,
    /// Sees results.
    pub observer: Option<Observer<'o>>,
    /// Measures the steps.
    pub profiler: Option<&'a mut dyn Profiler>,
    /// The states, where the function has some.
    pub state: Option<&'a mut State>,
    /// Iterations made so far over all loops.
    pub iterations: u64,
}

/// True for the values that live in the arena: float tensors of at most single precision and known shape.
fn in_arena(ty: &Type) -> bool {
    ty.tensor().is_some_and(|t| matches!(t.dtype, DType::F16 | DType::F32) && t.element_count().is_some())
}

fn len_of(function: &Function, v: ValueId) -> usize {
    function.value(v).ty.tensor().and_then(TensorType::element_count).unwrap_or(0)
}

/// A fault of one op, with the node of the source model that it comes from.
pub(crate) fn fault(function: &Function, id: OpId, message: impl std::fmt::Display) -> PredictError {
    let op = function.op(id);
    let source = op.origin.source.as_ref().map_or_else(String::new, |s| format!(" (from {s})"));
    let (kind, name) = (op.kind.name().to_owned(), op.name.to_string());
    PredictError::Op { kind, name, message: format!("{message}{source}") }
}

impl Plan {
    /// Bytes of the arena.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.spans.iter().map(|s| s.offset + s.len).max().unwrap_or(0) * size_of::<f32>()
    }

    /// Runs the steps on the given inputs (in input order, states left out) and returns the outputs in output order.
    pub(crate) fn run(
        &mut self,
        inputs: &[Tensor],
        run: &mut Run<'_, '_>,
    ) -> Result<Vec<Literal>, PredictError> {
        let is_state = |v: &ValueId| matches!(self.function.value(*v).ty, Type::State(_));
        let ids: Vec<ValueId> = self.function.inputs.iter().copied().filter(|v| !is_state(v)).collect();
        for (v, tensor) in ids.into_iter().zip(inputs) {
            self.store(v, tensor.clone().into()).map_err(PredictError::Load)?;
        }
        if let Some(profiler) = run.profiler.as_mut() {
            profiler.start();
        }
        self.range(0..self.steps.len(), run)?;
        let outputs: Vec<ValueId> = self.function.outputs().to_vec();
        outputs.into_iter().map(|v| self.load(v).ok_or_else(|| lost(&self.function, v))).collect()
    }

    fn info(&self, i: usize) -> StepInfo {
        let step = &self.steps[i];
        let kernel = match &step.work {
            Work::Kernel(kernel) => kernel.name(),
            Work::Mixed(kernel) => kernel.name(),
            other => other.name(),
        };
        let made = step.results.first().and_then(|(v, _)| self.function.producer(*v));
        describe(&self.function, step.op, made.unwrap_or(step.op), kernel)
    }

    fn range(&mut self, range: Range<usize>, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        let mut i = range.start;
        while i < range.end {
            self.step(i, run)?;
            if let Some(profiler) = run.profiler.as_mut() {
                profiler.step(i, &|| self.info(i));
            }
            if let Some(observe) = run.observer.as_mut() {
                self.show(i, observe);
            }
            for &h in &self.steps[i].dead {
                self.held[h] = None;
            }
            i = self.steps[i].next;
        }
        Ok(())
    }

    fn show(&self, i: usize, observe: &mut dyn FnMut(&str, &Tensor)) {
        for (v, _) in &self.steps[i].results {
            if let Some(Literal::Tensor(t)) = self.load(*v) {
                observe(&self.function.value(*v).name, &t);
            }
        }
    }

    fn step(&mut self, i: usize, run: &mut Run<'_, '_>) -> Result<(), PredictError> {
        match &self.steps[i].work {
            Work::Kernel(_) => {
                self.kernel(i, run.pool);
                Ok(())
            }
            Work::Mixed(_) => self.mixed(i, run.pool),
            Work::Reference => self.reference(self.steps[i].op),
            Work::Dynamic(_) => self.dynamic(i, run),
            Work::Cond(_) => self.cond(i, run),
            Work::While(_) => self.while_loop(i, run),
            Work::ReadState => self.read_state(i, run),
            Work::WriteState => self.write_state(i, run),
            Work::UpdateState => self.update_state(i, run),
        }
    }

    fn kernel(&mut self, i: usize, pool: &Pool) {
        let Plan { steps, spans, arena, constants, held, .. } = self;
        let step = &steps[i];
        let Work::Kernel(kernel) = &step.work else { return };
        let read_spans: Vec<Span> = step.reads.iter().filter_map(|p| buffer(*p).map(|b| spans[b])).collect();
        let write_spans: Vec<Span> = step.writes.iter().chain(&step.scratch).map(|&b| spans[b]).collect();
        let floats = |h: usize| held[h].as_ref().and_then(Literal::as_tensor).map(Tensor::to_f32s);
        let widened: Vec<Vec<f32>> = step
            .reads
            .iter()
            .filter_map(|p| if let Place::Held(h) = p { Some(floats(*h).unwrap_or_default()) } else { None })
            .collect();
        let (shared, mut exclusive) = arena.split(&read_spans, &write_spans);
        let (mut shared, mut widened) = (shared.into_iter(), widened.iter());
        let inputs: Vec<&[f32]> = step
            .reads
            .iter()
            .filter_map(|p| match p {
                Place::Constant(c) => Some(&*constants[*c]),
                Place::Buffer(_) => shared.next(),
                Place::Held(_) => widened.next().map(Vec::as_slice),
            })
            .collect();
        let (outputs, scratch) = exclusive.split_at_mut(step.writes.len());
        let scratch = scratch.first_mut().map_or(&mut [][..], |s| &mut **s);
        kernel.run(Io { inputs: &inputs, outputs, scratch }, pool);
        for &b in &step.rounded {
            round_to_half(arena.write(spans[b]), pool);
        }
    }

    /// Runs a kernel over more than floats; results outside the arena are made anew.
    fn mixed(&mut self, i: usize, pool: &Pool) -> Result<(), PredictError> {
        let Plan { function, steps, spans, arena, constants, held, .. } = self;
        let step = &steps[i];
        let Work::Mixed(kernel) = &step.work else { return Ok(()) };
        let read_spans: Vec<Span> = step.reads.iter().filter_map(|p| buffer(*p).map(|b| spans[b])).collect();
        let write_spans: Vec<Span> = step.writes.iter().chain(&step.scratch).map(|&b| spans[b]).collect();
        let (shared, mut exclusive) = arena.split(&read_spans, &write_spans);
        let scratch = exclusive.split_off(step.writes.len()).pop().unwrap_or_default();
        let (mut shared, mut exclusive) = (shared.into_iter(), exclusive.into_iter());
        let inputs: Option<Vec<Operand<'_>>> = step
            .reads
            .iter()
            .map(|p| match p {
                Place::Constant(c) => Some(Operand::Floats(&constants[*c])),
                Place::Buffer(_) => shared.next().map(Operand::Floats),
                Place::Held(h) => held[*h].as_ref().and_then(Literal::as_tensor).map(Operand::Tensor),
            })
            .collect();
        let inputs = inputs.ok_or_else(|| fault(function, step.op, "an operand has no value"))?;
        let bytes = |v: &ValueId| function.value(*v).ty.tensor().and_then(TensorType::byte_len).unwrap_or(0);
        let sizes = step.results.iter().filter(|(_, p)| matches!(p, Place::Held(_)));
        let mut made: Vec<Vec<u8>> = sizes.map(|(v, _)| vec![0; bytes(v)]).collect();
        let mut packed = made.iter_mut();
        let targets = step.results.iter().map(|(_, p)| match p {
            Place::Held(_) => packed.next().map(|b| Target::Bytes(b)),
            _ => exclusive.next().map(Target::Floats),
        });
        let mut outputs: Vec<Target<'_>> = targets.flatten().collect();
        kernel.run(&inputs, &mut outputs, scratch, pool).map_err(|e| fault(function, step.op, e))?;
        drop(inputs);
        for &b in &step.rounded {
            round_to_half(arena.write(spans[b]), pool);
        }
        let mut made = made.into_iter();
        for (v, place) in &step.results {
            let (Place::Held(h), Some(ty)) = (place, function.value(*v).ty.tensor()) else { continue };
            let shape = ty.known_shape().unwrap_or_default();
            let tensor = Tensor::new(ty.dtype, shape, made.next().unwrap_or_default());
            held[*h] = Some(tensor.map_err(|e| fault(function, step.op, e))?.into());
        }
        Ok(())
    }

    /// The operands of an op, in the order of its arguments.
    fn operands(&self, id: OpId) -> Result<Vec<Vec<Literal>>, PredictError> {
        let op = self.function.op(id);
        let missing = |param: &str| fault(&self.function, id, format!("argument `{param}` has no value"));
        let load = |arg: &anemone_mil::Arg| {
            let loaded: Option<Vec<Literal>> = arg.values.iter().map(|&v| self.load(v)).collect();
            loaded.ok_or_else(|| missing(&arg.param))
        };
        op.args.iter().map(load).collect()
    }

    /// Runs one op through the reference evaluation.
    fn reference(&mut self, id: OpId) -> Result<(), PredictError> {
        let values = self.operands(id)?;
        let (function, op) = (&self.function, self.function.op(id));
        let plain = op
            .outputs
            .iter()
            .all(|&v| function.value(v).ty.tensor().is_none_or(|t| t.known_shape().is_some()))
            && op.outputs.iter().all(|&v| !matches!(function.value(v).ty, Type::List { .. }));
        let results = if plain {
            Site::new(function, op).and_then(|site| site.def.evaluate(&EvalSite { site, values: &values }))
        } else {
            eval::evaluate(function, op, &values)
        };
        let results = results.map_err(|e| fault(function, id, e))?;
        self.store_all(id, results)
    }

    fn store_all(&mut self, id: OpId, results: Vec<Literal>) -> Result<(), PredictError> {
        let outputs = self.function.op(id).outputs.clone();
        if results.len() != outputs.len() {
            let message = format!("made {} results, but {} are declared", results.len(), outputs.len());
            return Err(fault(&self.function, id, message));
        }
        for (v, literal) in outputs.into_iter().zip(results) {
            self.store(v, literal).map_err(|e| fault(&self.function, id, e))?;
        }
        Ok(())
    }

    /// Puts a value into its place; one of another type than declared is refused.
    fn store(&mut self, v: ValueId, literal: Literal) -> Result<(), String> {
        let value = self.function.value(v);
        let actual = literal.ty();
        if !fits(&value.ty, &actual) {
            return Err(format!("made {actual}, but its result `{}` is declared {}", value.name, value.ty));
        }
        match (self.places.get(&v), literal) {
            (Some(Place::Buffer(b)), Literal::Tensor(t)) => {
                self.arena.write(self.spans[*b]).copy_from_slice(&t.to_f32s());
            }
            (Some(Place::Held(h)), literal) => self.held[*h] = Some(literal),
            _ => {}
        }
        Ok(())
    }

    fn load(&self, v: ValueId) -> Option<Literal> {
        let ty = || self.function.value(v).ty.tensor();
        match self.places.get(&v) {
            Some(Place::Held(h)) => self.held[*h].clone(),
            Some(Place::Buffer(b)) => {
                let (ty, values) = (ty()?, self.arena.read(self.spans[*b]));
                let t = Tensor::from_f32s(ty.known_shape()?, values).ok()?;
                Some(t.cast(ty.dtype).into())
            }
            Some(Place::Constant(_)) | None => self.function.constant(v)?.literal().ok(),
        }
    }
}

/// True when a result may have its declared type: a list grows, its declared length is that at first.
fn fits(declared: &Type, actual: &Type) -> bool {
    match (declared, actual) {
        (Type::List { elem: a, .. }, Type::List { elem: b, .. }) => fits(a, b),
        _ => declared.compatible(actual),
    }
}

fn buffer(place: Place) -> Option<usize> {
    match place {
        Place::Buffer(b) => Some(b),
        _ => None,
    }
}

fn lost(function: &Function, v: ValueId) -> PredictError {
    PredictError::Load(format!("output `{}` was never computed", function.value(v).name))
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds =
            self.steps.iter().map(|s| format!("{} {}", self.function.op(s.op).kind.name(), s.work.name()));
        f.debug_list().entries(kinds).finish()
    }
}
