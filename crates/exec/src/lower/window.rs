//! Convolutions and pools.

use super::{Io, Kernel, Lowered, Lowering, packed};
use crate::kernels::Window;
use crate::kernels::conv::{ConvGeometry, ConvPlan};
use crate::kernels::conv_transpose::ConvTransposePlan;
use crate::kernels::packed::MAX_ROWS;
use crate::kernels::pool2d::{Divisor, PoolKind, PoolPlan};
use crate::memory::Floats;
use crate::pool::Pool;
use anemone_mil::ValueId;
use anemone_mil::ops::{self, Conv, ConvTranspose, Site};

impl Kernel for ConvPlan {
    fn scratch(&self, pool: &Pool) -> usize {
        ConvPlan::scratch(self, pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        ConvPlan::run(self, io.inputs[0], io.outputs[0], io.scratch, pool);
    }
}

/// Weight and bias, which must be constant.
pub(super) fn constants(
    l: &Lowering<'_>,
    weight: ValueId,
    bias: Option<ValueId>,
) -> Option<(Floats, Option<Floats>)> {
    match bias {
        Some(b) => Some((l.weights(weight)?, Some(l.weights(b)?))),
        None => Some((l.weights(weight)?, None)),
    }
}

/// What a convolution looks like, where kernels can compute it.
pub(crate) fn conv_geometry(site: &Site<'_>, view: &Conv) -> Option<ConvGeometry> {
    let (x, out) = (shape_of(site, view.x)?, shape_of(site, *site.op.outputs.first()?)?);
    let w = &view.window;
    let before: Vec<usize> = view.pads.as_ref()?.iter().map(|p| p.0).collect();
    let window =
        Window::new(x.get(2..)?, &w.kernel, &w.strides, &w.dilations, &before, out.get(2..)?).ok()?;
    let geometry =
        ConvGeometry { batch: x[0], channels_in: x[1], channels_out: out[1], groups: view.groups, window };
    geometry.check().ok()?;
    Some(geometry)
}

fn shape_of(site: &Site<'_>, v: ValueId) -> Option<Vec<usize>> {
    site.function.value(v).ty.tensor()?.known_shape()
}

/// `conv` with constant weight and bias.
pub(super) fn conv(l: &Lowering<'_>) -> Option<Lowered> {
    let view = Conv::of(&l.site).ok()?;
    if let Some(product) = at_a_point(l, &view) {
        return Some(product);
    }
    let (weight, bias) = constants(l, view.weight, view.bias)?;
    let geometry = conv_geometry(&l.site, &view)?;
    let isa = l.pool.isa();
    let plan = ConvPlan::new(geometry, &weight, bias.as_deref(), l.activation, isa).ok()?;
    let kernel = Box::new(plan.rounded_to_half(l.half()));
    Some(Lowered::Kernel { kernel, reads: vec![view.x] })
}

/// A convolution of single points with a kernel of one tap: a product.
fn at_a_point(l: &Lowering<'_>, view: &Conv) -> Option<Lowered> {
    let (x, out) = (l.shape(view.x)?, l.result_shape()?);
    let point = |s: &[usize]| s[2..].iter().all(|&n| n == 1);
    let one_tap = view.window.kernel.iter().all(|&n| n == 1);
    if !(one_tap && view.groups == 1 && point(&x) && point(&out) && x[0] <= MAX_ROWS) {
        return None;
    }
    let bias = match view.bias {
        Some(b) => Some(l.constant(b)?.to_f32s()),
        None => None,
    };
    packed::product(l, view.x, view.weight, false, x[0], bias)
}

impl Kernel for ConvTransposePlan {
    fn scratch(&self, pool: &Pool) -> usize {
        ConvTransposePlan::scratch(self, pool)
    }

    fn rounds_after(&self) -> bool {
        false
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        ConvTransposePlan::run(self, io.inputs[0], io.outputs[0], io.scratch, pool);
    }
}

/// `conv_transpose` with constant weight and bias: the geometry is that of the convolution whose gradient it is.
pub(super) fn conv_transpose(l: &Lowering<'_>) -> Option<Lowered> {
    let view = ConvTranspose::of(&l.site).ok()?;
    let (weight, bias) = constants(l, view.weight, view.bias)?;
    let (x, out) = (l.shape(view.x)?, l.result_shape()?);
    let w = &view.window;
    // Only explicit padding says by itself how much is cut off in front.
    let ops::Padding::Fixed(pads) = &w.padding else { return None };
    let before: Vec<usize> = pads.iter().map(|p| p.0).collect();
    let window = Window::new(&out[2..], &w.kernel, &w.strides, &w.dilations, &before, &x[2..]).ok()?;
    let geometry =
        ConvGeometry { batch: x[0], channels_in: out[1], channels_out: x[1], groups: view.groups, window };
    let isa = l.pool.isa();
    let plan = ConvTransposePlan::new(geometry, &weight, bias.as_deref(), l.activation, isa).ok()?;
    let kernel = Box::new(plan.rounded_to_half(l.half()));
    Some(Lowered::Kernel { kernel, reads: vec![view.x] })
}

struct Pooling {
    plan: PoolPlan,
    channels: usize,
}

impl Kernel for Pooling {
    fn scratch(&self, pool: &Pool) -> usize {
        self.plan.scratch(pool)
    }

    fn run(&self, io: Io<'_, '_>, pool: &Pool) {
        self.plan.run(io.inputs[0], self.channels, io.outputs[0], io.scratch, pool);
    }
}

/// `avg_pool`, `max_pool` and `l2_pool`.
pub(super) fn pool(l: &Lowering<'_>) -> Option<Lowered> {
    let view = ops::Pool::of(&l.site).ok()?;
    let (kind, window, x) = pooling(&l.site, &view)?;
    let kernel = Box::new(Pooling { plan: PoolPlan::new(kind, window), channels: x[0] * x[1] });
    Some(Lowered::Kernel { kernel, reads: vec![view.x] })
}

/// Kind and windows of a pool, and the shape of its input.
pub(crate) fn pooling(site: &Site<'_>, view: &ops::Pool) -> Option<(PoolKind, Window, Vec<usize>)> {
    let (x, out) = (shape_of(site, view.x)?, shape_of(site, *site.op.outputs.first()?)?);
    let pads = view.pads.as_ref()?;
    let w = &view.window;
    let kind = match view.kind {
        ops::PoolKind::Max => PoolKind::Max,
        ops::PoolKind::L2 => PoolKind::L2,
        ops::PoolKind::Average { exclude_padding: true } => PoolKind::Average(Divisor::Inside),
        ops::PoolKind::Average { exclude_padding: false } => {
            let mut after = [0; 3];
            let skipped = 3 - pads.len();
            pads.iter().enumerate().for_each(|(i, p)| after[skipped + i] = p.1);
            PoolKind::Average(Divisor::Padded(after))
        }
    };
    let before: Vec<usize> = pads.iter().map(|p| p.0).collect();
    let window =
        Window::new(x.get(2..)?, &w.kernel, &w.strides, &w.dilations, &before, out.get(2..)?).ok()?;
    Some((kind, window, x))
}
