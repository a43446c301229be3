//! Integer vectors as far as they are known before run time.
//!
//! Shapes are computed within programs: `reshape(x, shape = concat(gather(shape(y), 0), -1))`. Following such a
//! vector back through the ops that make it gives the dims of the result, in place of unknown ones.

use super::SliceByIndex;
use super::site::Site;
use crate::{Dim, Function, Op, ValueId};
use anemone_tensor::num;

/// One integer of a vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A number.
    Int(i64),
    /// An extent that is a symbol, or any number known only when the model runs.
    Open(Dim),
}

impl Entry {
    /// The number, when known.
    pub fn int(&self) -> Option<i64> {
        match self {
            Entry::Int(v) => Some(*v),
            Entry::Open(_) => None,
        }
    }

    /// The extent that it stands for; a negative number stands for none.
    pub fn dim(&self) -> Option<Dim> {
        match self {
            Entry::Int(v) => num::usize_of(*v).map(Dim::Known),
            Entry::Open(d) => Some(d.clone()),
        }
    }

    fn of(dim: &Dim) -> Entry {
        dim.known().map_or_else(|| Entry::Open(dim.clone()), |n| Entry::Int(num::i64_of(n)))
    }
}

/// Longest vector that is followed.
const MAX_LEN: usize = 64;
/// Most ops that are looked at for one vector.
const FUEL: usize = 64;

/// The entries of an integer scalar or vector; `None` when not even their number is known.
pub fn entries(function: &Function, value: ValueId) -> Option<Vec<Entry>> {
    follow(function, value, &mut { FUEL })
}

fn follow(function: &Function, value: ValueId, fuel: &mut usize) -> Option<Vec<Entry>> {
    let ty = function.value(value).ty.tensor().filter(|t| t.rank() <= 1)?;
    let len = ty.element_count();
    if len.is_some_and(|n| n > MAX_LEN) || *fuel == 0 {
        return len.filter(|&n| n <= MAX_LEN).map(|n| vec![Entry::Open(Dim::Unknown); n]);
    }
    *fuel -= 1;
    let found = match function.constant(value) {
        Some(c) => c.literal().ok().and_then(|l| {
            let t = l.as_tensor().filter(|t| !t.dtype().is_float())?;
            Some(t.to_i64s().into_iter().map(Entry::Int).collect())
        }),
        None => function.producer(value).and_then(|op| made_by(function, function.op(op), fuel)),
    };
    let fits = found.filter(|f: &Vec<Entry>| len.is_none_or(|n| n == f.len()));
    fits.or_else(|| len.map(|n| vec![Entry::Open(Dim::Unknown); n]))
}

fn made_by(function: &Function, op: &Op, fuel: &mut usize) -> Option<Vec<Entry>> {
    let mut of = |param: &str| follow(function, op.value(param)?, fuel);
    match op.kind.name() {
        "shape" => {
            let x = function.value(op.value("x")?).ty.tensor()?;
            Some(x.dims.iter().map(Entry::of).collect())
        }
        "identity" | "cast" | "expand_dims" | "squeeze" | "reshape" => of("x"),
        "gather" => {
            let (x, indices) = (of("x")?, of("indices")?);
            indices.iter().map(|i| pick(&x, i.int()?)).collect()
        }
        "slice_by_index" => {
            let x = of("x")?;
            let slice = SliceByIndex::of(&Site::new(function, op).ok()?).ok()?;
            let dim = slice.resolve(&[x.len()]).ok()?.into_iter().next()?;
            dim.positions().map(|at| x.get(at).cloned()).collect()
        }
        "slice_by_size" => {
            let (x, begin, size) = (of("x")?, of("begin")?, of("size")?);
            let (begin, size) = (begin.first()?.int()?, size.first()?.int()?);
            let from = num::usize_of(if begin < 0 { begin + num::i64_of(x.len()) } else { begin })?;
            let len = if size < 0 { x.len().checked_sub(from)? } else { num::usize_of(size)? };
            x.get(from..from.checked_add(len)?).map(<[Entry]>::to_vec)
        }
        "concat" | "stack" => {
            let parts = op.values("values").iter().map(|&v| follow(function, v, fuel));
            parts.collect::<Option<Vec<_>>>().map(|p| p.concat())
        }
        "add" => pairwise(of("x")?, of("y")?, i64::checked_add, 0),
        "sub" => pairwise(of("x")?, of("y")?, i64::checked_sub, 0),
        "mul" => pairwise(of("x")?, of("y")?, i64::checked_mul, 1),
        "floor_div" => pairwise(of("x")?, of("y")?, floor_div, 1),
        _ => None,
    }
}

fn pick(x: &[Entry], index: i64) -> Option<Entry> {
    let front = if index < 0 { index.checked_add(num::i64_of(x.len()))? } else { index };
    x.get(num::usize_of(front)?).cloned()
}

fn floor_div(a: i64, b: i64) -> Option<i64> {
    let whole = a.checked_div(b)?;
    Some(if a % b != 0 && (a < 0) != (b < 0) { whole - 1 } else { whole })
}

/// Combines two vectors, one of which may be a single number; a `neutral` right side changes nothing.
fn pairwise(
    x: Vec<Entry>,
    y: Vec<Entry>,
    f: fn(i64, i64) -> Option<i64>,
    neutral: i64,
) -> Option<Vec<Entry>> {
    let len = x.len().max(y.len());
    let at = |v: &[Entry], i: usize| if v.len() == 1 { v.first().cloned() } else { v.get(i).cloned() };
    let merge = |i: usize| match (at(&x, i)?, at(&y, i)?) {
        (Entry::Int(a), Entry::Int(b)) => f(a, b).map(Entry::Int),
        (open, Entry::Int(b)) if b == neutral => Some(open),
        _ => Some(Entry::Open(Dim::Unknown)),
    };
    (0..len).map(merge).collect()
}

impl Site<'_> {
    /// The entries of an integer argument; `None` when left out or of unknown number.
    pub fn entries(&self, param: &str) -> Option<Vec<Entry>> {
        entries(self.function, self.op.value(param)?)
    }

    /// The entries of an integer argument, all known.
    pub fn known_entries(&self, param: &str) -> Option<Vec<i64>> {
        self.entries(param)?.iter().map(Entry::int).collect()
    }
}
