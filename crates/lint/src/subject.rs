//! What rules look at: one function, its plan, and the program around it.

use anemone_ane::{Device, OpPlan, Plan};
use anemone_mil::ops::Site;
use anemone_mil::{Const, Function, Op, OpId, Program, TensorType, Uses, ValueId};

/// One function of a program, planned for a device.
pub struct Subject<'a> {
    /// The program.
    pub program: &'a Program,
    /// The function.
    pub function: &'a Function,
    /// Its plan.
    pub plan: &'a Plan,
    /// Who uses what.
    pub uses: Uses,
}

impl<'a> Subject<'a> {
    /// Joins a function with its plan.
    pub fn new(program: &'a Program, function: &'a Function, plan: &'a Plan) -> Subject<'a> {
        Subject { program, function, plan, uses: Uses::of(function) }
    }

    /// The device that was planned for.
    pub fn device(&self) -> &Device {
        &self.plan.device
    }

    /// Every op, nested ones included, in program order.
    pub fn ops(&self) -> impl Iterator<Item = (OpId, &'a Op)> {
        let function = self.function;
        function.walk().into_iter().map(move |(_, id)| (id, function.op(id)))
    }

    /// Every op of these kinds that the op table has.
    pub fn sites(&self, kinds: &'a [&'a str]) -> impl Iterator<Item = (OpId, Site<'a>)> {
        let function = self.function;
        let found = self.ops().filter(|(_, op)| kinds.contains(&op.kind.name()));
        found.filter_map(move |(id, op)| Some((id, Site::new(function, op).ok()?)))
    }

    /// Every planned op.
    pub fn planned(&self) -> impl Iterator<Item = &'a OpPlan> {
        self.plan.ops.iter()
    }

    /// The tensor type of a value.
    pub fn tensor(&self, value: ValueId) -> Option<&'a TensorType> {
        self.function.value(value).ty.tensor()
    }

    /// The constant that a value is.
    pub fn constant(&self, value: ValueId) -> Option<&'a Const> {
        self.function.constant(value)
    }

    /// True when the value is known before the model runs: a constant, or a weight that is unpacked then.
    pub fn is_weight(&self, value: ValueId) -> bool {
        let unpacked = |id| self.function.op(id).kind.name().starts_with("constexpr_");
        self.constant(value).is_some() || self.function.producer(value).is_some_and(unpacked)
    }
}
