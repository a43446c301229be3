//! Ops of our own, whose tensors have their channels last.

use super::elementwise::activation;
use super::window::{constants, conv_geometry, pooling};
use super::{Io, Kernel, Lowered, Lowering, plain};
use crate::channels_last::{CONV, POOL, UPSAMPLE};
use crate::kernels::Activation;
use crate::kernels::last::{Finish, Input, LastConv, LastDepthwise, LastPool, Residual};
use crate::kernels::layout::{Indices, RemapPlan};
use crate::kernels::resize::nearest;
use crate::pool::Pool;
use anemone_mil::ops::{self, Conv, Site};
use anemone_mil::{Function, Op, OpId};

/// Lowers an op of our own.
pub(super) fn lower(function: &Function, id: OpId, pool: &Pool) -> Option<Lowered> {
    let op = function.op(id);
    let original = function.op(function.producer(op.value("of")?)?);
    let site = Site::new(function, original).ok()?;
    let l = Lowering { site, activation: Activation::None, pool, memory_limit: 0 };
    match op.kind.name() {
        CONV => conv(&l, op),
        POOL => pool_last(&l, op),
        UPSAMPLE => upsample(&l, op),
        _ => None,
    }
}

impl Kernel for LastConv {
    fn scratch(&self, _: &Pool) -> usize {
        LastConv::scratch(self)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        LastConv::run(self, io.inputs[0], io.inputs.get(1).copied(), io.outputs[0], io.scratch, pool);
    }
}

impl Kernel for LastDepthwise {
    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        LastDepthwise::run(self, io.inputs[0], io.inputs.get(1).copied(), io.outputs[0], pool);
    }
}

fn conv(l: &Lowering<'_>, op: &Op) -> Option<Lowered> {
    let view = Conv::of(&l.site).ok()?;
    let (weight, bias) = constants(l, view.weight, view.bias)?;
    let geometry = conv_geometry(&l.site, &view)?;
    let function = l.site.function;
    let made_by = |v| activation(&Site::new(function, function.op(function.producer(v)?)).ok()?);
    let act = match (op.value("activation"), op.value("gate")) {
        (Some(v), _) => made_by(v)?,
        (None, Some(v)) => made_by(v)?.gate()?,
        (None, None) => Activation::None,
    };
    let (before, after) = (op.value("add_before"), op.value("add_after"));
    let residual = match (before, after) {
        (Some(_), _) => Residual::Before,
        (_, Some(_)) => Residual::After,
        _ => Residual::None,
    };
    let finish = Finish { activation: act, residual, half: l.half() };
    let input = op.value("x")?;
    let reads: Vec<_> = [Some(input), before, after].into_iter().flatten().collect();
    let g = &geometry;
    let kernel: Box<dyn Kernel> = if g.groups > 1 && g.channels_in == g.groups && g.channels_out == g.groups {
        Box::new(LastDepthwise::new(&geometry, &weight, bias.as_deref(), finish, l.pool.isa()).ok()?)
    } else {
        let order = if input == view.x { Input::ChannelsFirst } else { Input::ChannelsLast };
        Box::new(LastConv::new(geometry, &weight, bias.as_deref(), finish, order, l.pool).ok()?)
    };
    Some(Lowered::Kernel { kernel, reads })
}

impl Kernel for LastPool {
    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        LastPool::run(self, io.inputs[0], io.outputs[0], pool);
    }
}

fn pool_last(l: &Lowering<'_>, op: &Op) -> Option<Lowered> {
    let (kind, window, x) = pooling(&l.site, &ops::Pool::of(&l.site).ok()?)?;
    let kernel = Box::new(LastPool::new(kind, window, x[0], x[1]));
    Some(Lowered::Kernel { kernel, reads: vec![op.value("x")?] })
}

/// Repeats along every dim that grows, wherever it lies.
fn upsample(l: &Lowering<'_>, op: &Op) -> Option<Lowered> {
    let x = op.value("x")?;
    let made = l.site.function.value(*op.outputs.first()?).ty.tensor()?.known_shape()?;
    let shape = l.shape(x)?;
    let list = |(&from, &to): (&usize, &usize)| {
        if from == to { Indices::All } else { Indices::List(nearest(from, to)) }
    };
    let lists: Vec<Indices> = shape.iter().zip(&made).map(list).collect();
    let plan = RemapPlan::new(&shape, &lists).ok()?;
    Some(plain(vec![x], move |io, pool| plan.run(io.inputs[0], 0.0, io.outputs[0], pool)))
}
