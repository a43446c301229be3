//! The making of plans.

use super::control::{Loop, Nested};
use super::dynamic::Dynamic;
use super::{Place, Plan, Step, Work, buffer, fault, in_arena, len_of};
use crate::arena::{Arena, Lifetime, place};
use crate::emulate::Ready;
use crate::lower::{self, Lowered, constant_tensor};
use crate::memory::Floats;
use crate::pool::Pool;
use crate::{Options, memory};
use anemone_mil::{BlockId, DType, Function, Literal, OpId, Type, Uses, ValueId};
use anemone_model::PredictError;
use std::collections::HashMap;
use std::sync::Arc;

impl Plan {
    /// Lowers a function; `fuse` lets an activation become part of the op before it.
    ///
    /// # Errors
    /// When a tensor, or all of them, would take more memory than allowed.
    pub(crate) fn new(
        function: Function,
        fuse: bool,
        pool: &Pool,
        options: &Options,
        emulated: Option<Arc<Ready>>,
    ) -> Result<Plan, PredictError> {
        Plan::planned(function, Way { fuse, alone: false, once: false }, pool, options, emulated)
    }

    /// A function of a single op; where the shapes of its results are unknown, the reference evaluation decides.
    pub(super) fn of_one(
        function: Function,
        once: bool,
        pool: &Pool,
        options: &Options,
        emulated: Option<Arc<Ready>>,
    ) -> Result<Plan, PredictError> {
        Plan::planned(function, Way { fuse: false, alone: true, once }, pool, options, emulated)
    }

    fn planned(
        function: Function,
        way: Way,
        pool: &Pool,
        options: &Options,
        emulated: Option<Arc<Ready>>,
    ) -> Result<Plan, PredictError> {
        let mut planner = Planner::new(&function, way, pool, options);
        planner.emulated = emulated.as_deref();
        planner.block(function.body())?;
        planner.keep(function.outputs());
        planner.free_held();
        let Planner { steps, places, lifetimes, own_memory, constants, held, .. } = planner;
        let (spans, total) = place(&lifetimes);
        let arena = Arena::new(total, own_memory, options.memory_limit)?;
        Ok(Plan { function, steps, places, spans, constants, held, arena, options: *options, emulated })
    }
}

/// How to plan.
#[derive(Clone, Copy)]
struct Way {
    /// An activation may become part of the op before it.
    fuse: bool,
    /// The function has a single op and was made to run it.
    alone: bool,
    /// The plan runs a single time.
    once: bool,
}

/// A `slice_update` of a state and the op that writes its result back.
struct InPlace {
    update: OpId,
    write: OpId,
}

/// Collects steps and lifetimes while it walks the ops.
struct Planner<'f> {
    function: &'f Function,
    pool: &'f Pool,
    options: &'f Options,
    uses: Uses,
    way: Way,
    emulated: Option<&'f Ready>,
    /// States that are changed where they are.
    planned_updates: Vec<InPlace>,
    /// Ops that became part of the op before them.
    absorbed: Vec<OpId>,
    steps: Vec<Step>,
    places: HashMap<ValueId, Place>,
    lifetimes: Vec<Lifetime>,
    /// Most bytes that a kernel allocates by itself.
    own_memory: usize,
    constants: Vec<Floats>,
    /// Values outside the arena; constants among them from the start.
    held: Vec<Option<Literal>>,
    /// The step that needs each value outside the arena last; none for constants.
    held_last: Vec<Option<usize>>,
    /// Constants outside the arena.
    packed: HashMap<ValueId, Place>,
}

impl<'f> Planner<'f> {
    fn new(function: &'f Function, way: Way, pool: &'f Pool, options: &'f Options) -> Planner<'f> {
        let mut planner = Planner {
            function,
            pool,
            options,
            uses: Uses::of(function),
            way,
            emulated: None,
            planned_updates: Vec::new(),
            absorbed: Vec::new(),
            steps: Vec::new(),
            places: HashMap::new(),
            lifetimes: Vec::new(),
            own_memory: 0,
            constants: Vec::new(),
            held: Vec::new(),
            held_last: Vec::new(),
            packed: HashMap::new(),
        };
        let is_state = |v: &&ValueId| matches!(function.value(**v).ty, Type::State(_));
        for &v in function.inputs.iter().filter(|v| !is_state(v)) {
            planner.define(v);
        }
        planner
    }

    fn ty(&self, v: ValueId) -> &'f Type {
        &self.function.value(v).ty
    }

    fn is_empty(&self, v: ValueId) -> bool {
        self.ty(v).tensor().and_then(|t| t.known_shape()).is_some_and(|s| s.contains(&0))
    }

    /// Gives a value its place, alive from the step that is being made.
    fn define(&mut self, v: ValueId) -> Place {
        let place = if in_arena(self.ty(v)) {
            Place::Buffer(self.buffer(len_of(self.function, v)))
        } else {
            self.new_held()
        };
        self.places.insert(v, place);
        place
    }

    fn new_held(&mut self) -> Place {
        self.held.push(None);
        self.held_last.push(Some(self.steps.len()));
        Place::Held(self.held.len() - 1)
    }

    fn buffer(&mut self, len: usize) -> usize {
        let now = self.steps.len();
        self.lifetimes.push(Lifetime { len, first: now, last: now });
        self.lifetimes.len() - 1
    }

    /// The place of an operand, which stays alive up to the step that is being made.
    fn read(&mut self, v: ValueId) -> Option<Place> {
        if let Some(&place) = self.places.get(&v) {
            match place {
                Place::Buffer(b) => self.lifetimes[b].last = self.steps.len(),
                Place::Held(h) => self.held_last[h] = Some(self.steps.len()),
                Place::Constant(_) => {}
            }
            return Some(place);
        }
        let tensor = constant_tensor(self.function, v)?;
        self.constants.push(Floats::of(tensor));
        let place = Place::Constant(self.constants.len() - 1);
        self.places.insert(v, place);
        Some(place)
    }

    /// The place of an operand in its own type: floats as by `read`, constants of other types outside the arena.
    fn read_any(&mut self, v: ValueId) -> Option<Place> {
        let float = matches!(self.ty(v).tensor()?.dtype, DType::F16 | DType::F32);
        if float || self.function.constant(v).is_none() {
            return self.read(v);
        }
        if let Some(&place) = self.packed.get(&v) {
            return Some(place);
        }
        self.held.push(Some(self.function.constant(v)?.literal().ok()?));
        self.held_last.push(None);
        let place = Place::Held(self.held.len() - 1);
        self.packed.insert(v, place);
        Some(place)
    }

    /// Keeps computed values alive up to the step that is being made.
    fn keep(&mut self, values: &[ValueId]) {
        for v in values {
            if self.places.contains_key(v) {
                self.read(*v);
            }
        }
    }

    fn block(&mut self, block: BlockId) -> Result<(), PredictError> {
        let ops = &self.function.block(block).ops;
        for &id in ops {
            if !self.absorbed.contains(&id) {
                self.check_size(id)?;
                self.add(id, ops)?;
            }
        }
        Ok(())
    }

    /// Refuses an op with a result that is larger than all memory allowed.
    fn check_size(&self, id: OpId) -> Result<(), PredictError> {
        let op = self.function.op(id);
        for &v in &op.outputs {
            let Some(t) = self.ty(v).tensor() else { continue };
            let Some(shape) = t.known_shape() else { continue };
            let width = t.dtype.bits().div_ceil(8).max(1);
            let place =
                || format!("result `{}` of {} \"{}\"", self.function.value(v).name, op.kind.name(), op.name);
            memory::allowed(&shape, width, self.options.memory_limit, place)?;
        }
        Ok(())
    }

    fn add(&mut self, id: OpId, around: &[OpId]) -> Result<(), PredictError> {
        let op = self.function.op(id);
        match op.kind.name() {
            "cond" => return self.cond(id),
            "while_loop" => return self.while_loop(id),
            "read_state" => {
                match self.in_place_update(id, around) {
                    Some(update) => self.planned_updates.push(update),
                    None => self.plain(id, Work::ReadState),
                }
                return Ok(());
            }
            "slice_update" if self.planned_updates.iter().any(|u| u.update == id) => {
                self.update_state(id);
                return Ok(());
            }
            "write_state" | "coreml_update_state" => {
                self.plain(id, Work::WriteState);
                return Ok(());
            }
            _ => {}
        }
        let open = |v: ValueId| self.ty(v).tensor().is_some_and(|t| t.known_shape().is_none());
        if !self.way.alone && (op.operands().any(open) || op.outputs.iter().copied().any(open)) {
            self.plain(id, Work::Dynamic(Dynamic::default()));
            return Ok(());
        }
        // No kernel is worth its while, and few can count to 0.
        if op.operands().chain(op.outputs.iter().copied()).any(|v| self.is_empty(v)) {
            self.plain(id, Work::Reference);
            return Ok(());
        }
        let arena_only = op.outputs.iter().all(|&v| in_arena(self.ty(v)));
        let lowered = if arena_only { self.lower(id, around) } else { None };
        // A plan that is used once is not worth a list of where every element goes.
        let list = if self.way.once { 0 } else { self.options.memory_limit };
        let (function, pool) = (self.function, self.pool);
        let mixed = || lower::lower_mixed(function, id, list, pool).map(|l| (l, id));
        match lowered.or_else(mixed) {
            Some((Lowered::Alias(x), _)) => self.alias(id, x),
            Some((Lowered::Kernel { kernel, reads }, last)) => {
                let (wanted, rounds) = (kernel.scratch(self.pool), kernel.rounds_after());
                self.own_memory = self.own_memory.max(kernel.own_memory(self.pool));
                self.kernel(id, last, Work::Kernel(kernel), &reads, (wanted, rounds));
            }
            Some((Lowered::Mixed { kernel, reads }, last)) => {
                let wanted = kernel.scratch(self.pool);
                self.own_memory = self.own_memory.max(kernel.own_memory(self.pool));
                self.kernel(id, last, Work::Mixed(kernel), &reads, (wanted, true));
            }
            None => self.plain(id, Work::Reference),
        }
        Ok(())
    }

    /// Lowers an op together with the activation after it, where that is possible; also says whose results it makes.
    fn lower(&mut self, id: OpId, around: &[OpId]) -> Option<(Lowered, OpId)> {
        if let Some(ready) = self.emulated
            && let Some(lowered) = lower::lower_emulated(ready, self.function, id, self.pool)
        {
            return Some((lowered, id));
        }
        if self.way.fuse
            && self.emulated.is_none()
            && let Some(next) = lower::fusable(self.function, &self.uses, id)
            && around.contains(&next)
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
                let work = Work::Kernel(Box::new(lower::Nothing));
                let results = vec![(result, place)];
                self.push(Step { results, ..Step::new(id, work) });
            }
            _ => self.plain(id, Work::Reference),
        }
    }

    fn push(&mut self, step: Step) {
        self.steps.push(Step { next: self.steps.len() + 1, ..step });
    }

    /// A step that reads and writes places; `wanted` elements of scratch, and whether results are still to be rounded.
    fn kernel(
        &mut self,
        id: OpId,
        last: OpId,
        work: Work,
        reads: &[ValueId],
        (wanted, rounds): (usize, bool),
    ) {
        let mixed = matches!(work, Work::Mixed(_));
        let place = |v: &ValueId| if mixed { self.read_any(*v) } else { self.read(*v) };
        let places: Option<Vec<Place>> = reads.iter().map(place).collect();
        let Some(reads) = places else {
            self.absorbed.retain(|&op| op != last);
            return self.plain(id, Work::Reference);
        };
        let outputs = self.function.op(last).outputs.clone();
        let results: Vec<(ValueId, Place)> = outputs.iter().map(|&v| (v, self.define(v))).collect();
        let writes: Vec<usize> = results.iter().filter_map(|(_, p)| buffer(*p)).collect();
        let is_f16 = |v: ValueId| self.ty(v).tensor().is_some_and(|t| t.dtype == DType::F16);
        let rounded =
            results.iter().filter(|(v, _)| rounds && is_f16(*v)).filter_map(|(_, p)| buffer(*p)).collect();
        let scratch = (wanted > 0).then(|| self.buffer(wanted));
        self.push(Step { reads, writes, scratch, results, rounded, ..Step::new(id, work) });
    }

    /// Lets go of values outside the arena after the step that needs them last.
    fn free_held(&mut self) {
        for (h, last) in self.held_last.iter().enumerate() {
            if let Some(step) = last.and_then(|at| self.steps.get_mut(at)) {
                step.dead.push(h);
            }
        }
    }

    /// A step that finds its operands and the places of its results by their values.
    fn plain(&mut self, id: OpId, work: Work) {
        let op = self.function.op(id);
        let operands: Vec<ValueId> = op.operands().collect();
        self.keep(&operands);
        let results = op.outputs.iter().map(|&v| (v, self.define(v))).collect();
        self.push(Step { results, ..Step::new(id, work) });
    }

    /// A state that is read, changed by a `slice_update` and written, and seen by nothing else in between.
    fn in_place_update(&self, read: OpId, around: &[OpId]) -> Option<InPlace> {
        let f = self.function;
        let (&old, state) = (f.op(read).outputs.first()?, f.op(read).value("input")?);
        let update = self.uses.only(old).filter(|_| self.way.fuse)?;
        let op = f.op(update);
        let &new = op.outputs.first().filter(|_| op.is("slice_update") && op.value("x") == Some(old))?;
        let write = self.uses.only(new)?;
        let fits = f.op(write).is("write_state") && f.op(write).value("input") == Some(state);
        let at = |id: OpId| around.iter().position(|&o| o == id);
        let between = around.get(at(read)? + 1..at(write)?)?;
        let touches = |id: &OpId| f.op(*id).operands().any(|v| v == state) || !f.op(*id).blocks.is_empty();
        let known = [old, new].iter().chain(&op.value("update")).all(|&v| {
            let ty = self.ty(v).tensor();
            ty.is_some_and(|t| t.known_shape().is_some_and(|s| !s.contains(&0)))
        });
        let alone = fits && known && f.op(write).value("data") == Some(new) && !between.iter().any(touches);
        alone.then_some(InPlace { update, write })
    }

    fn update_state(&mut self, id: OpId) {
        let writes = self.planned_updates.iter().filter(|u| u.update == id).map(|u| u.write);
        self.absorbed.extend(writes.collect::<Vec<_>>());
        let operands = ["update", "begin", "end"].map(|p| self.function.op(id).value(p));
        self.keep(&operands.into_iter().flatten().collect::<Vec<_>>());
        self.push(Step::new(id, Work::UpdateState));
    }

    /// The nested blocks of an op, which must be two, with `inputs` as places of what they take.
    fn two_blocks(&self, id: OpId) -> Result<[BlockId; 2], PredictError> {
        let blocks = &self.function.op(id).blocks;
        let count = blocks.len();
        let wrong = || fault(self.function, id, format!("has {count} nested blocks, but must have 2"));
        blocks.as_slice().try_into().map_err(|_| wrong())
    }

    fn nested(&mut self, block: BlockId) -> Result<Nested, PredictError> {
        let start = self.steps.len();
        self.block(block)?;
        let outputs = self.function.block(block).outputs.clone();
        self.keep(&outputs);
        Ok(Nested { steps: start..self.steps.len(), outputs })
    }

    fn cond(&mut self, id: OpId) -> Result<(), PredictError> {
        let [yes, no] = self.two_blocks(id)?;
        let at = self.steps.len();
        self.plain(id, Work::Reference);
        let branches = [self.nested(yes)?, self.nested(no)?];
        self.steps[at].work = Work::Cond(branches);
        self.close(at);
        Ok(())
    }

    fn while_loop(&mut self, id: OpId) -> Result<(), PredictError> {
        let [condition, body] = self.two_blocks(id)?;
        let (at, around, held) = (self.steps.len(), self.lifetimes.len(), self.held.len());
        let start = self.function.op(id).values("loop_vars").to_vec();
        self.plain(id, Work::Reference);
        self.variables(id, condition, body);
        let (condition, body) = (self.nested(condition)?, self.nested(body)?);
        self.steps[at].work = Work::While(Loop { condition, body, start });
        // What the blocks read from outside must last until the last round.
        let end = self.steps.len();
        let inside = |l: &&mut Lifetime| l.last >= at;
        self.lifetimes[..around].iter_mut().filter(inside).for_each(|l| l.last = end);
        let inside = |l: &&mut usize| **l >= at;
        self.held_last[..held].iter_mut().flatten().filter(inside).for_each(|l| *l = end);
        self.close(at);
        Ok(())
    }

    /// Puts the loop variables, under their names in both blocks, into the places of the loop's results.
    fn variables(&mut self, id: OpId, condition: BlockId, body: BlockId) {
        let results = self.function.op(id).outputs.clone();
        let inputs = |block| self.function.block(block).inputs.clone();
        for (i, &result) in results.iter().enumerate() {
            let names: Vec<ValueId> =
                [condition, body].into_iter().filter_map(|b| inputs(b).get(i).copied()).collect();
            let same = names.iter().all(|&v| self.ty(v) == self.ty(result));
            if !same {
                let place = self.new_held();
                self.places.insert(result, place);
            }
            let Some(&place) = self.places.get(&result) else { continue };
            for v in names {
                self.places.insert(v, place);
            }
        }
    }

    /// Ends a step with nested blocks: its results outlive them.
    fn close(&mut self, at: usize) {
        self.steps[at].next = self.steps.len();
        let results = self.steps[at].results.clone();
        let outputs: Vec<ValueId> = results.iter().map(|(v, _)| *v).collect();
        self.keep(&outputs);
    }
}

impl Step {
    /// A step that reads and writes nothing yet.
    fn new(op: OpId, work: Work) -> Step {
        Step {
            op,
            work,
            reads: Vec::new(),
            writes: Vec::new(),
            scratch: None,
            results: Vec::new(),
            rounded: Vec::new(),
            dead: Vec::new(),
            next: 0,
        }
    }
}
