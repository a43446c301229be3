//! What one op costs on one unit, in ms.

use super::coefficients::Coefficients;
use super::demand::{Class, Demand, Scheme, WeightUse};
use super::machine::Machine;
use crate::units::Unit;

const MS: f64 = 1e3;
/// Clock that the elementwise rate is given at, in Hz.
const ELEMENTWISE_CLOCK: f64 = 2.58e9;

/// Parts of an op's time, in ms. Arithmetic, weights and activations overlap; the others come before and after.
///
/// That they overlap is what fits the published latencies best: with activations added instead, the median error is a
/// quarter larger.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Parts {
    /// Arithmetic.
    pub compute: f64,
    /// Streaming weights.
    pub weights: f64,
    /// Moving activations.
    pub activations: f64,
    /// Starting the op, or the run of ops that it begins.
    pub dispatch: f64,
    /// Handing tensors from one unit, or from the caller, to another.
    pub handoff: f64,
}

impl Parts {
    /// The op's time, in ms.
    pub fn total(&self) -> f64 {
        self.compute.max(self.weights).max(self.activations) + self.dispatch + self.handoff
    }

    /// The largest part.
    pub fn bound(&self) -> Bound {
        let all = [
            (Bound::Compute, self.compute),
            (Bound::Weights, self.weights),
            (Bound::Activations, self.activations),
            (Bound::Dispatch, self.dispatch),
            (Bound::Handoff, self.handoff),
        ];
        let larger = |best: (Bound, f64), next: (Bound, f64)| if next.1 > best.1 { next } else { best };
        all.into_iter().fold((Bound::Nothing, 0.0), larger).0
    }
}

/// What an op waits for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Bound {
    /// Arithmetic.
    Compute,
    /// Weights on their way from memory.
    Weights,
    /// Activations on their way to and from memory.
    Activations,
    /// Being started.
    Dispatch,
    /// Tensors on their way between units.
    Handoff,
    /// It costs nothing.
    Nothing,
}

impl Bound {
    /// Name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Bound::Compute => "compute",
            Bound::Weights => "weights",
            Bound::Activations => "activations",
            Bound::Dispatch => "dispatch",
            Bound::Handoff => "handoff",
            Bound::Nothing => "nothing",
        }
    }
}

/// What an op costs by itself: without starting it and without handing tensors over; `fused` when its producer does its
/// work.
pub(super) fn price(d: &Demand, unit: Unit, fused: bool, m: &Machine, c: &Coefficients) -> Parts {
    if fused || d.class == Class::View {
        return Parts::default();
    }
    match unit {
        Unit::Ane => on_ane(d, m, c),
        Unit::Cpu => on_cpu(d, c),
        Unit::Gpu => on_gpu(d, m, c),
    }
}

/// Pieces that an op is cut into because an operand is larger than the engine takes.
pub(super) fn tiles(d: &Demand, m: &Machine) -> f64 {
    if !d.class.is_product() {
        return 1.0;
    }
    let largest = d.reads.iter().copied().fold(0.0, f64::max);
    (largest / m.operand_cap).ceil().max(1.0)
}

/// Bytes of activations that do not fit on the engine.
pub(super) fn spilled(d: &Demand, m: &Machine) -> f64 {
    d.reads.iter().chain(&d.writes).filter(|b| **b > m.on_chip).sum()
}

fn on_ane(d: &Demand, m: &Machine, c: &Coefficients) -> Parts {
    let tiles = tiles(d, m);
    let streamed: f64 = d.weights.iter().map(|w| streamed(w, m, c)).sum();
    // Weights that do not stay on the engine come once for each piece.
    let again = if d.stored_weights() > m.on_chip { tiles } else { 1.0 };
    Parts {
        compute: compute(d, m, c) * MS,
        weights: streamed * again / m.weights * MS,
        activations: activations(d, tiles, m, c) * MS,
        ..Parts::default()
    }
}

/// Bytes of time on the way of weights: plain ones as they are, compressed ones with what unpacking costs.
fn streamed(w: &WeightUse, m: &Machine, c: &Coefficients) -> f64 {
    match w.scheme {
        scheme if !m.streams(scheme) => w.unpacked,
        Scheme::Linear(_) => w.stored.min(w.unpacked),
        _ => (w.stored * c.unpacking).min(w.unpacked),
    }
}

fn compute(d: &Demand, m: &Machine, c: &Coefficients) -> f64 {
    let product = |share: f64| {
        let gain = if d.eight_bits && m.doubles_eight_bits() { c.eight_bit_gain } else { 1.0 };
        (d.flops + c.half_rate_flop) / (m.peak * share * gain)
    };
    let elementwise =
        d.elements / (c.elementwise_per_s * m.speed * super::machine::CLOCK / ELEMENTWISE_CLOCK);
    match d.class {
        Class::Conv => product(c.conv_share),
        Class::Depthwise => product(c.depthwise_share),
        Class::Linear | Class::Matmul | Class::Recurrent => product(c.product_share),
        Class::Reduction => d.elements / (c.reduction_per_s * m.speed),
        Class::Elementwise | Class::Pool => elementwise,
        Class::Sort if d.elements > c.sort_free_elements => c.sort_ms / MS,
        Class::Sort | Class::Transpose | Class::Movement | Class::State | Class::View => 0.0,
    }
}

fn activations(d: &Demand, tiles: f64, m: &Machine, c: &Coefficients) -> f64 {
    let (on_chip, spill) = (c.on_chip_gb_s * 1e9 * m.speed, (c.spill_gb_s * 1e9).min(m.memory));
    let time = |bytes: f64| bytes / if bytes > m.on_chip { spill } else { on_chip };
    // Neighbouring pieces share the rows that the kernel reaches over.
    let halo = 1.0 + (d.kernel_rows - 1.0) * (tiles - 1.0) / d.input_rows;
    let read: f64 = d.reads.iter().map(|b| time(*b)).sum();
    let written: f64 = d.writes.iter().map(|b| time(*b)).sum();
    let moved: f64 = d.reads.iter().chain(&d.writes).sum();
    match d.class {
        Class::Transpose => moved / (c.transpose_gb_s * 1e9),
        Class::State => moved / 2.0 / m.weights,
        _ => read * halo.max(1.0) + written,
    }
}

fn all_bytes(d: &Demand) -> f64 {
    d.stored_weights() + d.reads.iter().chain(&d.writes).sum::<f64>()
}

fn on_cpu(d: &Demand, c: &Coefficients) -> Parts {
    let rate = if d.class == Class::Recurrent { c.cpu_recurrent_tflops } else { c.cpu_tflops };
    let moved = |bytes: f64| bytes / (c.cpu_gb_s * 1e9) * MS;
    Parts {
        compute: d.flops / (rate * 1e12) * MS,
        weights: moved(d.stored_weights()),
        activations: moved(all_bytes(d) - d.stored_weights()),
        dispatch: c.cpu_op_us / MS,
        ..Parts::default()
    }
}

fn on_gpu(d: &Demand, m: &Machine, c: &Coefficients) -> Parts {
    let rate = m.gpu.unwrap_or(c.gpu_core_tflops * 8e12) * c.gpu_share;
    let moved = |bytes: f64| bytes / (m.memory * c.gpu_memory_share) * MS;
    Parts {
        compute: d.flops / rate * MS,
        weights: moved(d.stored_weights()),
        activations: moved(all_bytes(d) - d.stored_weights()),
        dispatch: c.gpu_op_us / MS,
        ..Parts::default()
    }
}
