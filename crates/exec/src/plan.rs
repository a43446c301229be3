//! A function made ready to run for one set of shapes: steps, packed weights, arena.

use crate::arena::{Arena, Lifetime, Span, place};
use crate::kernels::elementwise::round_to_half;
use crate::lower::{self, Io, Kernel, Lowered, constant_tensor};
use crate::pool::Pool;
use crate::profile::{Profiler, REFERENCE, StepInfo, describe};
use anemone_mil::eval::EvalSite;
use anemone_mil::ops::Site;
use anemone_mil::{DType, Function, Literal, OpId, Tensor, TensorType, Type, Uses, ValueId};
use anemone_model::{Observer, PredictError};
use std::collections::HashMap;

/// Where a value is while the plan runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Arena buffer `n`, as `f32`.
    Buffer(usize),
    /// Literal `n`: integers, booleans, text.
    Held(usize),
    /// Constant `n`, as `f32`.
    Constant(usize),
}

enum Work {
    Kernel(Box<dyn Kernel>),
    Reference(OpId),
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
}

/// A function ready to run.
pub(crate) struct Plan {
    function: Function,
    steps: Vec<Step>,
    places: HashMap<ValueId, Place>,
    spans: Vec<Span>,
    constants: Vec<Vec<f32>>,
    held: Vec<Option<Literal>>,
    arena: Arena,
}

/// True for the values that live in the arena: float tensors of at most single precision.
fn in_arena(ty: &Type) -> bool {
    ty.tensor().is_some_and(|t| matches!(t.dtype, DType::F16 | DType::F32))
}

fn len_of(function: &Function, v: ValueId) -> usize {
    function.value(v).ty.tensor().and_then(TensorType::element_count).unwrap_or(0)
}

impl Plan {
    /// Lowers a static function; `fuse` lets an activation become part of the op before it.
    pub(crate) fn new(function: Function, fuse: bool, pool: &Pool) -> Plan {
        let mut planner = Planner::new(&function, fuse, pool);
        for op in function.block(function.body()).ops.clone() {
            planner.add(op);
        }
        planner.keep_outputs();
        let Planner { steps, places, lifetimes, constants, held, .. } = planner;
        let (spans, total) = place(&lifetimes);
        let held = vec![None; held];
        Plan { function, steps, places, spans, constants, held, arena: Arena::new(total) }
    }

    /// Bytes of the arena.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.spans.iter().map(|s| s.offset + s.len).max().unwrap_or(0) * size_of::<f32>()
    }

    /// Runs the steps on the given inputs (in input order) and returns the outputs in output order.
    pub(crate) fn run(
        &mut self,
        inputs: &[Tensor],
        pool: &Pool,
        mut observer: Option<Observer<'_>>,
        mut profiler: Option<&mut dyn Profiler>,
    ) -> Result<Vec<Literal>, PredictError> {
        for (i, tensor) in inputs.iter().enumerate() {
            self.store(self.function.inputs[i], tensor.clone().into());
        }
        if let Some(profiler) = profiler.as_mut() {
            profiler.start();
        }
        for i in 0..self.steps.len() {
            self.step(i, pool)?;
            if let Some(profiler) = profiler.as_mut() {
                profiler.step(i, &|| self.info(i));
            }
            if let Some(observe) = observer.as_mut() {
                self.show(i, observe);
            }
        }
        let outputs: Vec<ValueId> = self.function.outputs().to_vec();
        outputs.into_iter().map(|v| self.load(v).ok_or_else(|| lost(&self.function, v))).collect()
    }

    fn info(&self, i: usize) -> StepInfo {
        let step = &self.steps[i];
        let kernel = match &step.work {
            Work::Kernel(kernel) => kernel.name(),
            Work::Reference(_) => REFERENCE,
        };
        let made = step.results.first().and_then(|(v, _)| self.function.producer(*v));
        describe(&self.function, step.op, made.unwrap_or(step.op), kernel)
    }

    fn show(&self, i: usize, observe: &mut dyn FnMut(&str, &Tensor)) {
        for (v, _) in &self.steps[i].results {
            if let Some(Literal::Tensor(t)) = self.load(*v) {
                observe(&self.function.value(*v).name, &t);
            }
        }
    }

    fn step(&mut self, i: usize, pool: &Pool) -> Result<(), PredictError> {
        if let Work::Reference(op) = self.steps[i].work {
            return self.reference(op);
        }
        let Plan { steps, spans, arena, constants, .. } = self;
        let step = &steps[i];
        let Work::Kernel(kernel) = &step.work else { return Ok(()) };
        let read_spans: Vec<Span> = step.reads.iter().filter_map(|p| buffer(*p).map(|b| spans[b])).collect();
        let write_spans: Vec<Span> = step.writes.iter().chain(&step.scratch).map(|&b| spans[b]).collect();
        let (shared, mut exclusive) = arena.split(&read_spans, &write_spans);
        let mut shared = shared.into_iter();
        let inputs: Vec<&[f32]> = step
            .reads
            .iter()
            .filter_map(|p| match p {
                Place::Constant(c) => Some(constants[*c].as_slice()),
                Place::Buffer(_) => shared.next(),
                Place::Held(_) => None,
            })
            .collect();
        let (outputs, scratch) = exclusive.split_at_mut(step.writes.len());
        let scratch = scratch.first_mut().map_or(&mut [][..], |s| &mut **s);
        kernel.run(Io { inputs: &inputs, outputs, scratch }, pool);
        for &b in &step.rounded {
            round_to_half(arena.write(spans[b]), pool);
        }
        Ok(())
    }

    /// Runs one op through the reference evaluation.
    fn reference(&mut self, id: OpId) -> Result<(), PredictError> {
        let op = self.function.op(id);
        let fail = |message: String| PredictError::Op {
            kind: op.kind.name().to_owned(),
            name: op.name.to_string(),
            message,
        };
        let mut values = Vec::with_capacity(op.args.len());
        for arg in &op.args {
            let loaded: Option<Vec<Literal>> = arg.values.iter().map(|&v| self.load(v)).collect();
            values.push(loaded.ok_or_else(|| fail(format!("argument `{}` has no value", arg.param)))?);
        }
        let site = Site::new(&self.function, op).map_err(|f| fail(f.to_string()))?;
        let results =
            site.def.evaluate(&EvalSite { site, values: &values }).map_err(|f| fail(f.to_string()))?;
        for (v, literal) in op.outputs.clone().into_iter().zip(results) {
            self.store(v, literal);
        }
        Ok(())
    }

    fn store(&mut self, v: ValueId, literal: Literal) {
        match (self.places.get(&v), literal) {
            (Some(Place::Buffer(b)), Literal::Tensor(t)) => {
                let values = t.to_f32s();
                let target = self.arena.write(self.spans[*b]);
                if values.len() == target.len() {
                    target.copy_from_slice(&values);
                }
            }
            (Some(Place::Held(h)), literal) => self.held[*h] = Some(literal),
            _ => {}
        }
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

fn buffer(place: Place) -> Option<usize> {
    match place {
        Place::Buffer(b) => Some(b),
        _ => None,
    }
}

fn lost(function: &Function, v: ValueId) -> PredictError {
    PredictError::Load(format!("output `{}` was never computed", function.value(v).name))
}

/// Collects steps and lifetimes while it walks the ops.
struct Planner<'f> {
    function: &'f Function,
    pool: &'f Pool,
    uses: Uses,
    fuse: bool,
    /// Ops that became part of the op before them.
    absorbed: Vec<OpId>,
    steps: Vec<Step>,
    places: HashMap<ValueId, Place>,
    lifetimes: Vec<Lifetime>,
    constants: Vec<Vec<f32>>,
    held: usize,
}

impl<'f> Planner<'f> {
    fn new(function: &'f Function, fuse: bool, pool: &'f Pool) -> Planner<'f> {
        let mut planner = Planner {
            function,
            pool,
            uses: Uses::of(function),
            fuse,
            absorbed: Vec::new(),
            steps: Vec::new(),
            places: HashMap::new(),
            lifetimes: Vec::new(),
            constants: Vec::new(),
            held: 0,
        };
        for &v in &function.inputs {
            planner.define(v);
        }
        planner
    }

    /// Gives a value its place, alive from the step that is being made.
    fn define(&mut self, v: ValueId) -> Place {
        let place = if in_arena(&self.function.value(v).ty) {
            Place::Buffer(self.buffer(len_of(self.function, v)))
        } else {
            self.held += 1;
            Place::Held(self.held - 1)
        };
        self.places.insert(v, place);
        place
    }

    fn buffer(&mut self, len: usize) -> usize {
        let now = self.steps.len();
        self.lifetimes.push(Lifetime { len, first: now, last: now });
        self.lifetimes.len() - 1
    }

    /// The place of an operand, which stays alive up to the step that is being made.
    fn read(&mut self, v: ValueId) -> Option<Place> {
        if let Some(&place) = self.places.get(&v) {
            if let Place::Buffer(b) = place {
                self.lifetimes[b].last = self.steps.len();
            }
            return Some(place);
        }
        let tensor = constant_tensor(self.function, v)?;
        self.constants.push(tensor.to_f32s());
        let place = Place::Constant(self.constants.len() - 1);
        self.places.insert(v, place);
        Some(place)
    }

    fn add(&mut self, id: OpId) {
        if self.absorbed.contains(&id) {
            return;
        }
        let op = self.function.op(id);
        let arena_only = op.outputs.iter().all(|&v| in_arena(&self.function.value(v).ty));
        let lowered = if arena_only { self.lower(id) } else { None };
        match lowered {
            Some((Lowered::Alias(x), _)) => self.alias(id, x),
            Some((Lowered::Kernel { kernel, reads }, last)) => self.kernel(id, last, kernel, &reads),
            None => self.reference(id),
        }
    }

    /// Lowers an op together with the activation after it, where that is possible; also says whose results it makes.
    fn lower(&mut self, id: OpId) -> Option<(Lowered, OpId)> {
        if self.fuse
            && let Some(next) = lower::fusable(self.function, &self.uses, id)
            && let Some(lowered) = lower::lower(self.function, id, Some(next), self.pool)
        {
            self.absorbed.push(next);
            return Some((lowered, next));
        }
        lower::lower(self.function, id, None, self.pool).map(|l| (l, id))
    }

    /// The result is the operand under another shape.
    fn alias(&mut self, id: OpId, x: ValueId) {
        let Some(&result) = self.function.op(id).outputs.first() else { return };
        match self.read(x) {
            Some(place @ Place::Buffer(_)) => {
                self.places.insert(result, place);
                self.steps.push(Step {
                    op: id,
                    work: Work::Kernel(Box::new(lower::Nothing)),
                    reads: Vec::new(),
                    writes: Vec::new(),
                    scratch: None,
                    results: vec![(result, place)],
                    rounded: Vec::new(),
                });
            }
            _ => self.reference(id),
        }
    }

    fn kernel(&mut self, id: OpId, last: OpId, kernel: Box<dyn Kernel>, reads: &[ValueId]) {
        let places: Option<Vec<Place>> = reads.iter().map(|&v| self.read(v)).collect();
        let held = |p: &Place| matches!(p, Place::Held(_));
        let Some(places) = places.filter(|p| !p.iter().any(held)) else {
            self.absorbed.retain(|&op| op != last);
            return self.reference(id);
        };
        let outputs = self.function.op(last).outputs.clone();
        let results: Vec<(ValueId, Place)> = outputs.iter().map(|&v| (v, self.define(v))).collect();
        let writes: Vec<usize> = results.iter().filter_map(|(_, p)| buffer(*p)).collect();
        let is_f16 = |v: ValueId| self.function.value(v).ty.tensor().is_some_and(|t| t.dtype == DType::F16);
        let rounds = kernel.rounds_after();
        let rounded =
            results.iter().filter(|(v, _)| rounds && is_f16(*v)).filter_map(|(_, p)| buffer(*p)).collect();
        let wanted = kernel.scratch(self.pool);
        let scratch = (wanted > 0).then(|| self.buffer(wanted));
        self.steps.push(Step {
            op: id,
            work: Work::Kernel(kernel),
            reads: places,
            writes,
            scratch,
            results,
            rounded,
        });
    }

    fn reference(&mut self, id: OpId) {
        let op = self.function.op(id);
        for v in op.operands().collect::<Vec<_>>() {
            if self.places.contains_key(&v) {
                self.read(v);
            }
        }
        let results = op.outputs.clone().into_iter().map(|v| (v, self.define(v))).collect();
        self.steps.push(Step {
            op: id,
            work: Work::Reference(id),
            reads: Vec::new(),
            writes: Vec::new(),
            scratch: None,
            results,
            rounded: Vec::new(),
        });
    }

    fn keep_outputs(&mut self) {
        for &v in self.function.outputs() {
            self.read(v);
        }
    }
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = self.steps.iter().map(|s| {
            let kernel = if matches!(s.work, Work::Kernel(_)) { "kernel" } else { "reference" };
            format!("{} {kernel}", self.function.op(s.op).kind.name())
        });
        f.debug_list().entries(kinds).finish()
    }
}
