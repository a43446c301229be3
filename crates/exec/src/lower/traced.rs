//! Ops that only move elements, whatever their type.
//!
//! What goes where does not depend on the elements: the reference evaluation of the op on their numbers says for each
//! element of a result which one it is. The kernel then copies by that list, in stretches as long as they get.

use super::mixed::{Operand, Target, by_width, unforeseen};
use super::typed::whole_bytes;
use super::{Lowered, Lowering, Mixed};
use crate::kernels::elementwise::GRAIN;
use crate::kernels::layout::{FILL, Run, copy_runs, push_run};
use crate::pool::Pool;
use anemone_mil::eval::EvalSite;
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Literal, Tensor, ValueId};

/// Elements of operands and results for which a list is made.
const MAX_ELEMENTS: usize = 1 << 24;

/// Copies by lists.
struct Moves {
    /// For each result its runs, in order.
    results: Vec<Vec<Run>>,
    /// What stands where no element does: as a float, and packed.
    fill: (f32, Vec<u8>),
    width: usize,
}

/// An op that only moves elements; operands that are not moved must be constant.
pub(super) fn moves(l: &Lowering<'_>) -> Option<Lowered> {
    let (op, function) = (l.site.op, l.site.function);
    let params = l.site.def.form.moved_or_filled();
    if params.is_empty() {
        return None;
    }
    let width = whole_bytes(l.result()?)?;
    let sizes = op
        .operands()
        .chain(op.outputs.iter().copied())
        .map(|v| l.shape(v).map(|s| s.iter().product::<usize>()));
    let total = sizes.sum::<Option<usize>>().filter(|&n| n <= MAX_ELEMENTS);
    let list = u64::try_from(total? * (size_of::<Run>() + size_of::<i64>())).ok()?;
    if list > l.memory_limit {
        return None;
    }
    let (mut values, mut reads, mut starts, mut next) = (Vec::new(), Vec::<ValueId>::new(), Vec::new(), 1i64);
    for arg in &op.args {
        let mut literals = Vec::new();
        for &v in &arg.values {
            literals.push(if params.contains(&&*arg.param) {
                let shape = l.shape(v)?;
                let len = shape.iter().product::<usize>() as i64;
                reads.push(v);
                starts.push(next);
                let numbers: Vec<i64> = (next..next + len).collect();
                next += len;
                Literal::Tensor(Tensor::from_i64s(DType::I32, shape, &numbers).ok()?)
            } else if &*arg.param == "constant_val" {
                Tensor::scalar_i32(0).into()
            } else {
                function.constant(v)?.literal().ok()?
            });
        }
        values.push(literals);
    }
    let made = l.site.def.evaluate(&EvalSite { site: l.site, values: &values }).ok()?;
    let mut results = Vec::with_capacity(made.len());
    for (literal, &v) in made.iter().zip(&op.outputs) {
        let t = literal.as_tensor().filter(|t| t.dtype() == DType::I32)?;
        if t.shape() != l.shape(v)? {
            return None;
        }
        results.push(runs(&t.to_i64s(), &starts)?);
    }
    let fill = match l.site.numbers("constant_val").filter(|_| l.site.def.name == "pad") {
        Some(t) if !t.is_empty() => t,
        _ => Tensor::scalar_i32(0),
    };
    let (float, packed) =
        (*fill.to_f32s().first()?, fill.cast(l.result()?.dtype).bytes().get(..width)?.to_vec());
    let kernel = Box::new(Moves { results, fill: (float, packed), width });
    Some(Lowered::Mixed { kernel, reads })
}

/// Joins element numbers, counted from 1 over all operands (0 is fill), to runs.
fn runs(numbers: &[i64], starts: &[i64]) -> Option<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for &n in numbers {
        let (operand, from) = match starts.partition_point(|&s| s <= n).checked_sub(1) {
            Some(k) => (u32::try_from(k).ok()?, usize::try_from(n - starts[k]).ok()?),
            None => (0, FILL),
        };
        push_run(&mut runs, operand, from, 1);
    }
    Some(runs)
}

impl Mixed for Moves {
    fn run(
        &self,
        inputs: &[Operand<'_>],
        outputs: &mut [Target<'_>],
        _: &mut [f32],
        pool: &Pool,
    ) -> Result<(), Fault> {
        for (runs, out) in self.results.iter().zip(outputs) {
            match out {
                Target::Floats(out) => {
                    let sources: Vec<_> = inputs.iter().map(Operand::floats).collect();
                    let sources: Vec<&[f32]> = sources.iter().map(|s| &**s).collect();
                    copy(runs, &sources, self.fill.0, out, pool);
                }
                Target::Bytes(out) => {
                    by_width!(self.width, N => self.packed::<N>(runs, inputs, out, pool)?);
                }
            }
        }
        Ok(())
    }
}

impl Moves {
    fn packed<const N: usize>(
        &self,
        runs: &[Run],
        inputs: &[Operand<'_>],
        out: &mut [u8],
        pool: &Pool,
    ) -> Result<(), Fault> {
        let mut sources: Vec<&[[u8; N]]> = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Operand::Tensor(t) = input else { return Err(unforeseen()) };
            sources.push(t.bytes().as_chunks::<N>().0);
        }
        let mut fill = [0; N];
        fill.iter_mut().zip(&self.fill.1).for_each(|(f, b)| *f = *b);
        copy(runs, &sources, fill, out.as_chunks_mut::<N>().0, pool);
        Ok(())
    }
}

fn copy<T: Copy + Send + Sync>(runs: &[Run], sources: &[&[T]], fill: T, out: &mut [T], pool: &Pool) {
    pool.rows_mut(out, 1, GRAIN, |first, out| copy_runs(runs, first, sources, fill, out));
}
