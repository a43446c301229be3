//! Two functions on the same random inputs.

use anemone_mil::ValueId;
use anemone_mil::eval::{Options, run};
use anemone_mil::ops::Site;
use anemone_mil::{DType, Dim, Function, Literal, Name, Tensor, TensorType, Type};
use std::collections::BTreeMap;

/// Ranges of random inputs, both ends included.
#[derive(Clone, Copy, Debug)]
pub struct Ranges {
    /// Of floats.
    pub floats: (f64, f64),
    /// Of integers.
    pub ints: (i64, i64),
}

impl Default for Ranges {
    fn default() -> Ranges {
        Ranges { floats: (-2.0, 2.0), ints: (0, 1) }
    }
}

impl Ranges {
    /// Ranges written as `lo..hi`.
    ///
    /// # Errors
    /// When one is not written so.
    pub fn read(floats: Option<&str>, ints: Option<&str>) -> Result<Ranges, String> {
        let mut ranges = Ranges::default();
        if let Some(text) = floats {
            ranges.floats = pair(text)?;
        }
        if let Some(text) = ints {
            ranges.ints = pair(text)?;
        }
        Ok(ranges)
    }
}

fn pair<N: std::str::FromStr>(text: &str) -> Result<(N, N), String> {
    let ends =
        text.split_once("..").and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    ends.ok_or_else(|| format!("`{text}` is no range such as -1..1"))
}

/// Extent of the dims that a type leaves open.
const OPEN: usize = 3;

/// Random inputs of a function, the same for the same seed.
pub fn random_inputs(function: &Function, seed: u64, ranges: Ranges) -> BTreeMap<Name, Literal> {
    let mut random = Random(seed);
    let tensors = function.inputs.iter().filter_map(|&v| {
        let value = function.value(v);
        Some((value.name.clone(), value.ty.tensor()?))
    });
    tensors.map(|(name, ty)| (name, random.tensor(ty, ranges).into())).collect()
}

/// The linear congruential generator of Knuth's MMIX.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0 to 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / ((1u64 << 24) - 1) as f64
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n - 1)
    }

    fn tensor(&mut self, ty: &TensorType, ranges: Ranges) -> Tensor {
        let shape: Vec<usize> = ty.dims.iter().map(|d| Dim::known(d).unwrap_or(OPEN)).collect();
        let count = shape.iter().product();
        let (low, high) = match ty.dtype {
            DType::Bool => (0.0, 1.0),
            d if d.is_float() => ranges.floats,
            _ => (ranges.ints.0 as f64, ranges.ints.1 as f64),
        };
        let mut next = || {
            let v = low + self.unit() * (high - low);
            if ty.dtype.is_float() { v } else { v.round() }
        };
        let values: Vec<f64> = (0..count).map(|_| next()).collect();
        Tensor::from_f64s(ty.dtype, shape, &values).expect("the values fit the shape")
    }
}

/// Fails when two functions compute different outputs from the same random inputs.
///
/// The allowed distance is 0 for `exact`. Otherwise it is what rounding can make: every op of either function rounds
/// each of its results, and a sum of products each of its terms, by at most half a unit in the last place of the
/// narrowest type that is computed in, relative to the largest number around.
///
/// # Errors
/// When one of them cannot be run, or an output differs.
pub fn compare(a: &Function, b: &Function, exact: bool, seed: &str, ranges: Ranges) -> Result<(), String> {
    let seed = seed.bytes().fold(7, |hash: u64, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    // Where dims are open in one alone, it is the first; what the second takes and the first computes comes from there.
    let mut inputs = random_inputs(a, seed, ranges);
    inputs.extend(random_inputs(b, seed, ranges));
    let taken: Vec<Name> = b.inputs.iter().map(|&v| b.value(v).name.clone()).collect();
    let mut computed = BTreeMap::new();
    let (expected, x) = observed(a, &inputs, &mut |v, l| {
        let name = &a.value(v).name;
        if taken.contains(name) {
            computed.insert(name.clone(), l.clone());
        }
    })
    .map_err(|e| format!("the input program does not run: {e}"))?;
    inputs.extend(computed);
    let (found, y) =
        observed(b, &inputs, &mut |_, _| {}).map_err(|e| format!("the output program does not run: {e}"))?;
    let bound = if exact { 0.0 } else { half_unit(a, b) * (roundings(a) + roundings(b)) * x.max(y) };
    for (name, wanted) in &expected {
        let Some(actual) = found.get(name) else { return Err(format!("output `{name}` is gone")) };
        let (Some(w), Some(v)) = (wanted.as_tensor(), actual.as_tensor()) else {
            if wanted != actual {
                return Err(format!("output `{name}` is {actual:?}, but was {wanted:?}"));
            }
            continue;
        };
        if w.shape() != v.shape() || w.dtype() != v.dtype() {
            return Err(format!("output `{name}` has another type at run time"));
        }
        for (i, (w, v)) in w.to_f64s().into_iter().zip(v.to_f64s()).enumerate() {
            let same = w == v || w.is_nan() && v.is_nan() || (w - v).abs() <= bound;
            if !same {
                return Err(format!("output `{name}`[{i}] is {v}, but was {w}; allowed is {bound:e}"));
            }
        }
    }
    Ok(())
}

/// Outputs by name, and the largest magnitude of a product of a result and a constant.
type Observed = (BTreeMap<Name, Literal>, f64);

fn observed(
    f: &Function,
    inputs: &BTreeMap<Name, Literal>,
    also: &mut dyn FnMut(ValueId, &Literal),
) -> Result<Observed, anemone_mil::eval::EvalError> {
    let magnitude = |l: &Literal| {
        let t = l.as_tensor().filter(|t| t.dtype().is_float());
        let values = t.map_or(Vec::new(), Tensor::to_f64s);
        values.into_iter().filter(|v| v.is_finite()).fold(1.0, |m: f64, v| m.max(v.abs()))
    };
    let mut largest = inputs.values().map(&magnitude).fold(1.0, f64::max);
    let mut see = |v, l: &Literal| {
        largest = largest.max(magnitude(l));
        also(v, l);
    };
    let outputs = run(
        f,
        inputs,
        &mut BTreeMap::new(),
        &mut Options { observer: Some(&mut see), ..Options::default() },
    )?;
    let constants = f.values().filter_map(|(_, v)| v.as_const()?.literal().ok());
    Ok((outputs, largest * constants.map(|l| magnitude(&l)).fold(1.0, f64::max)))
}

/// Half a unit in the last place at 1 of the narrowest float type of any result.
fn half_unit(a: &Function, b: &Function) -> f64 {
    let is_half = |ty: &Type| ty.tensor().is_some_and(|t| t.dtype == DType::F16);
    let any = |f: &Function| f.values().any(|(_, v)| is_half(&v.ty));
    if any(a) || any(b) { f64::exp2(-11.0) } else { f64::exp2(-24.0) }
}

/// How often a number is rounded on its way through all ops: once per op, and once per term of sums.
fn roundings(f: &Function) -> f64 {
    let terms = |op| {
        let site = Site::new(f, f.op(op)).ok()?;
        let elements = site.op.outputs.iter().filter_map(|&v| f.value(v).ty.tensor()?.element_count());
        let elements = elements.max()?.max(1) as f64;
        let operands = site.op.operands().filter_map(|v| f.value(v).ty.tensor()?.element_count());
        let shrunk = operands.max().unwrap_or(1) as f64 / elements;
        Some(((site.def.work)(&site)?.flops as f64 / elements).max(shrunk))
    };
    f.walk().into_iter().map(|(_, op)| 1.0 + terms(op).unwrap_or(0.0)).sum()
}
