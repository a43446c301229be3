//! What a run does, step by step, told to whoever measures it.
//!
//! Nothing here reads a clock: a [`Profiler`] is called between the steps and brings its own. Without one a run pays a
//! comparison per step.

use crate::channels_last::stands_for;
use anemone_mil::ops::{Site, Work};
use anemone_mil::{DType, Def, Function, OpId, TensorType, ValueId};

/// One step of a run: an op, with the ops that became part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepInfo {
    /// Kind of the op, such as `conv`.
    pub kind: String,
    /// Name of the op in the program.
    pub name: String,
    /// Node of the source model that it comes from.
    pub source: Option<String>,
    /// Kinds of the ops that are computed along with it, in order.
    pub fused: Vec<String>,
    /// What computes it: the kernel, `alias` where there is nothing to do, or `reference`.
    pub kernel: String,
    /// Declared types and shapes of what it makes; free extents count as 0.
    pub results: Vec<(DType, Vec<usize>)>,
    /// Arithmetic of the op and of those fused into it; `None` where it depends on data.
    pub work: Option<Work>,
    /// Bytes that it reads and writes at least: each operand and result once, constants in their declared type and
    /// floats in between as the engine holds them.
    pub bytes: u64,
}

/// Is told when a run begins and after each of its steps.
pub trait Profiler {
    /// The inputs are in place, the first step comes next.
    fn start(&mut self);

    /// A step is done. `step` tells the steps of one function and set of shapes apart; steps in loops come again.
    fn step(&mut self, step: usize, describe: &dyn Fn() -> StepInfo);
}

/// Kernel of a step that only gives its operand another name or shape.
pub(crate) const ALIAS: &str = "alias";
/// Kernel of a step that goes through the reference evaluation.
pub(crate) const REFERENCE: &str = "reference";

/// Describes the step that computes `first`, and with it every op up to `last`.
pub(crate) fn describe(function: &Function, first: OpId, last: OpId, kernel: &str) -> StepInfo {
    let (first, last) = stands_for(function, first).unwrap_or((first, last));
    let ops = chain(function, first, last);
    let (op, made) = (function.op(first), function.op(last));
    let results = made.outputs.iter().filter_map(|&v| function.value(v).ty.tensor());
    StepInfo {
        kind: op.kind.name().to_owned(),
        name: op.name.to_string(),
        source: op.origin.source.as_ref().map(ToString::to_string),
        fused: ops.iter().skip(1).map(|&o| function.op(o).kind.name().to_owned()).collect(),
        kernel: kernel.to_owned(),
        results: results.map(|t| (t.dtype, extents(t))).collect(),
        work: if kernel == ALIAS { Some(Work::default()) } else { work(function, &ops) },
        bytes: if kernel == ALIAS { 0 } else { bytes(function, &ops) },
    }
}

/// Ops that one step computes at most.
const LONGEST: usize = 8;

/// The ops from `first` to `last`, each using a result of the one before.
fn chain(function: &Function, first: OpId, last: OpId) -> Vec<OpId> {
    chain_within(function, first, last, LONGEST).unwrap_or_else(|| vec![first])
}

fn chain_within(function: &Function, first: OpId, last: OpId, longest: usize) -> Option<Vec<OpId>> {
    if first == last {
        return Some(vec![first]);
    }
    let left = longest.checked_sub(1)?;
    let before = function.op(last).operands().filter_map(|v| function.producer(v));
    let mut ops = before.into_iter().find_map(|p| chain_within(function, first, p, left))?;
    ops.push(last);
    Some(ops)
}

fn extents(ty: &TensorType) -> Vec<usize> {
    ty.dims.iter().map(|d| d.known().unwrap_or(0)).collect()
}

fn work(function: &Function, ops: &[OpId]) -> Option<Work> {
    let mut sum = Work::default();
    for &id in ops {
        let site = Site::new(function, function.op(id)).ok()?;
        let one = (site.def.work)(&site)?;
        sum.flops = sum.flops.saturating_add(one.flops);
        sum.transcendental = sum.transcendental.saturating_add(one.transcendental);
    }
    Some(sum)
}

/// Operands from outside of the chain and results of its last op; an op that takes out a part reads no more than it
/// writes.
fn bytes(function: &Function, ops: &[OpId]) -> u64 {
    let made: u64 =
        ops.last().map_or(0, |&o| function.op(o).outputs.iter().map(|&v| size(function, v)).sum());
    let inside = |v: ValueId| function.producer(v).is_some_and(|p| ops.contains(&p));
    let mut moved = made;
    for &id in ops {
        let op = function.op(id);
        let part = op.kind.name().starts_with("gather") || op.kind.name().starts_with("slice_");
        for v in op.operands().filter(|&v| !inside(v)) {
            let operand = size(function, v);
            moved = moved.saturating_add(if part { operand.min(made) } else { operand });
        }
    }
    moved
}

/// Bytes of a value where it is held: half precision between the ops is widened to single.
fn size(function: &Function, v: ValueId) -> u64 {
    let value = function.value(v);
    let Some(ty) = value.ty.tensor() else { return 0 };
    let bits = match (ty.dtype, &value.def) {
        (DType::F16, Def::Const(_)) => 16,
        (DType::F16, _) => 32,
        (other, _) => other.bits(),
    };
    let count = ty.element_count().unwrap_or(0);
    u64::try_from(count.saturating_mul(bits).div_ceil(8)).unwrap_or(u64::MAX)
}

/// A kernel's name from the name of its Rust type: `window::Pooling`, `layout::transpose`.
pub(crate) fn kernel_name(rust_type: &'static str) -> &'static str {
    // A closure in a wrapper: what is wrapped says more.
    let inner = rust_type.split_once("Plain<").map_or(rust_type, |(_, inner)| inner);
    let inner = inner.split('<').next().unwrap_or(inner);
    let path = inner.split_once("::{{closure}}").map_or(inner, |(path, _)| path);
    let cut = path.rmatch_indices("::").nth(1).map_or(0, |(at, _)| at + 2);
    &path[cut..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_named_by_module_and_type() {
        for (rust, name) in [
            ("anemone_exec::kernels::conv::ConvPlan", "conv::ConvPlan"),
            (
                "anemone_exec::lower::Plain<anemone_exec::lower::layout::transpose::{{closure}}>",
                "layout::transpose",
            ),
            ("anemone_exec::lower::Plain<anemone_exec::lower::a::b<f32>::{{closure}}>", "a::b"),
            ("Nothing", "Nothing"),
        ] {
            assert_eq!(kernel_name(rust), name);
        }
    }
}
