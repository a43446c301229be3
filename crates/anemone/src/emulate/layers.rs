//! How near the sums of each layer come to the limit, and where emulation loses against `fp32`.

use super::Emulate;
use crate::data::Inputs;
use crate::overflow::{Overflow, search, subjects};
use crate::{Error, open};
use anemone_exec::{EmulatedOp, How, Precision, SumRange};
use anemone_mil::Function;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// A layer of sums on the Neural Engine.
#[derive(Clone, Debug)]
pub struct SumLayer {
    /// Name of its result; of the steps of an op, that of the step. In a pipeline the stage stands before it, or the number
    /// of that.
    pub name: String,
    /// Kind of the op.
    pub kind: String,
    /// Node of the source model, where the package records it.
    pub source: Option<String>,
    /// How near its sums came to the limit.
    pub sums: SumRange,
    /// The least `k` for which dividing its input, or its weights and bias, by `2^k` keeps every sum in range in any
    /// order; the result is multiplied by `2^k` afterwards. `None` when all of them are.
    pub scale: Option<u32>,
}

impl SumLayer {
    /// Largest running sum over the limit.
    pub fn share(&self) -> f64 {
        self.sums.largest / self.sums.limit
    }

    /// The limit over the largest running sum; infinite where there was none.
    pub fn headroom(&self) -> f64 {
        self.sums.limit / self.sums.largest
    }
}

/// What a model does in the arithmetic of a Neural Engine.
#[derive(Clone, Debug)]
pub struct Emulated {
    /// Ops at fault against `fp32`, the first one first.
    pub overflow: Overflow,
    /// Layers of sums in program order.
    pub layers: Vec<SumLayer>,
    /// How many ops are computed how.
    pub how: BTreeMap<How, usize>,
    /// Kinds of ops on the Neural Engine that are computed as on the CPU, because their arithmetic is not known.
    pub unknown: Vec<String>,
}

/// Runs a program in the arithmetic of a Neural Engine beside `fp32`, on inputs from files or a seed; states begin as
/// zeros. Ops are at fault as in [`find_overflow`](crate::find_overflow).
///
/// # Errors
/// As [`find_overflow`](crate::find_overflow).
pub fn verify_emulated(
    path: &Path,
    function: Option<&str>,
    emulate: &Emulate,
    inputs: &Inputs,
    loss: f64,
) -> Result<Emulated, Error> {
    let overflow = Overflow { findings: Vec::new(), ops: 0, loss };
    let mut all = Emulated { overflow, layers: Vec::new(), how: BTreeMap::new(), unknown: Vec::new() };
    for subject in subjects(path, function, inputs).map_err(|e| e.at(path))? {
        let found = search(&subject, Precision::Declared, loss, Some(emulate));
        let (overflow, ops) = found.map_err(|e| e.at(path))?;
        let function = open::function(&subject.program, subject.function.as_deref())?;
        all.add(&subject.prefix, report(function, overflow, &ops));
    }
    Ok(all)
}

impl Emulated {
    /// Adds what was found in a program of a pipeline.
    fn add(&mut self, prefix: &str, more: Emulated) {
        self.overflow.add(prefix, more.overflow);
        let named = |l: SumLayer| SumLayer { name: format!("{prefix}{}", l.name), ..l };
        self.layers.extend(more.layers.into_iter().map(named));
        more.how.into_iter().for_each(|(how, n)| *self.how.entry(how).or_insert(0) += n);
        for kind in more.unknown {
            if !self.unknown.contains(&kind) {
                self.unknown.push(kind);
            }
        }
    }
}

fn report(function: &Function, overflow: Overflow, ops: &[EmulatedOp]) -> Emulated {
    let mut how = BTreeMap::new();
    let mut unknown: Vec<String> = Vec::new();
    for op in ops {
        *how.entry(op.how).or_insert(0) += 1;
        if op.how == How::Unknown && !unknown.contains(&op.kind) {
            unknown.push(op.kind.clone());
        }
    }
    let mut sources: HashMap<&str, String> = HashMap::new();
    for (_, id) in function.walk() {
        let op = function.op(id);
        if let (Some(&v), Some(source)) = (op.outputs.first(), &op.origin.source) {
            sources.insert(&function.value(v).name, source.to_string());
        }
    }
    let layer = |op: &EmulatedOp| {
        let whole = op.name.split_once("__step").map_or(op.name.as_str(), |(whole, _)| whole);
        let sums = op.sums?;
        Some(SumLayer {
            name: op.name.clone(),
            kind: op.kind.clone(),
            source: sources.get(whole).cloned(),
            sums,
            scale: scale(&sums),
        })
    };
    Emulated { overflow, layers: ops.iter().filter_map(layer).collect(), how, unknown }
}

/// The least power of two that brings the worst order of addition below the limit.
fn scale(sums: &SumRange) -> Option<u32> {
    let most = sums.largest.max(sums.any_order);
    (0..64).find(|&k| most / 2f64.powi(k) < sums.limit).filter(|&k| k > 0).and_then(|k| u32::try_from(k).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_the_least_that_stays_below_the_limit() {
        let of = |largest: f64, any_order: f64| {
            scale(&SumRange { largest, any_order, limit: 32768.0, infinite: 0, results: 1 })
        };
        assert_eq!([of(100.0, 32767.0), of(100.0, 32768.0), of(65535.0, 65535.0)], [None, Some(1), Some(1)]);
        assert_eq!([of(65536.0, 65536.0), of(1e6, 0.0)], [Some(2), Some(5)]);
    }
}
