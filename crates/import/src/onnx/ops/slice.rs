//! Cutting, splitting and padding.

use crate::onnx::node::{Done, Node, axis, int32, int32s};
use anemone_mil::ops::Fault;
use anemone_mil::{DType, Dim, Tensor, ValueId};
use anemone_tensor::num::i64_of;

/// `Slice`: attributes before opset 10, operands since.
pub(crate) fn slice(n: &mut Node<'_, '_>) -> Done {
    let x = n.input(0)?;
    let rank = n.rank(x)?;
    if n.opset() < 10 {
        let starts = n.ints("starts").ok_or_else(|| Fault::new("attribute `starts` is missing"))?;
        let ends = n.ints("ends").ok_or_else(|| Fault::new("attribute `ends` is missing"))?;
        let axes = n.ints("axes").unwrap_or_else(|| (0..starts.len()).map(i64_of).collect());
        let steps = vec![1; starts.len()];
        return constant_slice(n, x, rank, &starts, &ends, &axes, &steps);
    }
    let (starts, ends) = (n.constant(1)?, n.constant(2)?);
    let count = match n.ty_of_operand(1)? {
        Some(len) => len,
        None => return Err(Fault::new("the number of starts is unknown")),
    };
    let count = match count {
        count if count <= rank => count,
        count => return Err(Fault::new(format!("has {count} starts for {rank} dims"))),
    };
    let axes = n.constant_ints(3, "axes")?.unwrap_or_else(|| (0..count).map(i64_of).collect());
    let steps = n.constant_ints(4, "steps")?.unwrap_or_else(|| vec![1; count]);
    match (starts, ends) {
        (Some(s), Some(e)) => constant_slice(n, x, rank, &s.to_i64s(), &e.to_i64s(), &axes, &steps),
        _ => computed_slice(n, x, rank, &axes, &steps),
    }
}

fn constant_slice(
    n: &mut Node<'_, '_>,
    x: ValueId,
    rank: usize,
    starts: &[i64],
    ends: &[i64],
    axes: &[i64],
    steps: &[i64],
) -> Done {
    let name = n.name();
    let lengths = [starts.len(), ends.len(), axes.len(), steps.len()];
    if lengths.iter().any(|&l| l != starts.len()) {
        return Err(Fault::new(format!(
            "starts, ends, axes and steps have lengths {lengths:?}, but must be equally long"
        )));
    }
    let dims = n.ty(x)?.dims;
    let (mut begin, mut end, mut stride) = (vec![0i64; rank], vec![0i64; rank], vec![1i64; rank]);
    let (mut begin_mask, mut end_mask) = (vec![true; rank], vec![true; rank]);
    for (i, &a) in axes.iter().enumerate() {
        let d = axis(a, rank)?;
        if steps[i] == 0 {
            return Err(Fault::new("a step is 0"));
        }
        stride[d] = steps[i];
        let known = dims[d].known().map(i64_of);
        let range = resolve(starts[i], ends[i], steps[i], known);
        (begin[d], begin_mask[d]) = range.begin;
        (end[d], end_mask[d]) = range.end;
    }
    let y = n
        .op("slice_by_index")
        .arg("x", x)
        .ints("begin", &int32s(&begin)?)
        .ints("end", &int32s(&end)?)
        .ints("stride", &int32s(&stride)?)
        .bools("begin_mask", &begin_mask)
        .bools("end_mask", &end_mask)
        .one(&name)?;
    n.done(y)
}

/// Begin and end of one dim, each with whether it is the natural one of the direction.
struct Bounds {
    begin: (i64, bool),
    end: (i64, bool),
}

/// Applies ONNX's clamping: to `[0, n]` forward, to `[-1, n - 1]` backward, where `n` is known.
fn resolve(start: i64, end: i64, step: i64, extent: Option<i64>) -> Bounds {
    let Some(n) = extent else {
        let far = i64::from(i32::MAX);
        let begin = if step > 0 { (start, start == 0) } else { (start, start >= far || start == -1) };
        let end = if step > 0 { (end, end >= far) } else { (end, end <= -far) };
        return Bounds { begin, end };
    };
    let front = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
    if step > 0 {
        let (b, e) = (front(start).clamp(0, n), front(end).clamp(0, n));
        Bounds { begin: (b, b == 0), end: (e.max(b), e == n && e > b) }
    } else {
        let (b, e) = (front(start).clamp(-1, n - 1), front(end).clamp(-1, n - 1));
        Bounds { begin: (b, b == n - 1), end: (e.max(0), e < 0) }
    }
}

/// Starts or ends are computed: full vectors of them are put together from the parts.
fn computed_slice(n: &mut Node<'_, '_>, x: ValueId, rank: usize, axes: &[i64], steps: &[i64]) -> Done {
    let name = n.name();
    let (starts, ends) = (n.input(1)?, n.input(2)?);
    let axes = axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    if steps.iter().any(|&s| s < 1) {
        return Err(Fault::new("goes backward with starts or ends that are computed at run time"));
    }
    let begin = spread(n, starts, &axes, rank, "begin")?;
    let end = spread(n, ends, &axes, rank, "end")?;
    let mut stride = vec![1i64; rank];
    axes.iter().zip(steps).for_each(|(&d, &s)| stride[d] = s);
    let whole: Vec<bool> = (0..rank).map(|d| !axes.contains(&d)).collect();
    let far = n.constant(2)?.map(|t| t.to_i64s());
    let to_end: Vec<bool> = (0..rank)
        .map(|d| match axes.iter().position(|&a| a == d) {
            Some(i) => far.as_ref().is_some_and(|e| e.get(i).is_some_and(|&v| v >= i64::from(i32::MAX))),
            None => true,
        })
        .collect();
    let y = n
        .op("slice_by_index")
        .arg("x", x)
        .arg("begin", begin)
        .arg("end", end)
        .ints("stride", &int32s(&stride)?)
        .bools("begin_mask", &whole)
        .bools("end_mask", &to_end)
        .one(&name)?;
    n.done(y)
}

/// A vector of `rank` entries: those of `values` at `axes`, 0 elsewhere.
fn spread(
    n: &mut Node<'_, '_>,
    values: ValueId,
    axes: &[usize],
    rank: usize,
    what: &str,
) -> Result<ValueId, Fault> {
    let mut parts = Vec::with_capacity(rank);
    for d in 0..rank {
        let part = match axes.iter().position(|&a| a == d) {
            None => n.constant_value(&format!("{what}_{d}"), &Tensor::vector_i32(&[0])),
            Some(i) => {
                let (from, inner) = (int32(i64_of(i))?, n.inner(&format!("{what}_{d}")));
                n.op("slice_by_index")
                    .arg("x", values)
                    .ints("begin", &[from])
                    .ints("end", &[from + 1])
                    .one(&inner)?
            }
        };
        parts.push(part);
    }
    let inner = n.inner(what);
    n.op("concat").args("values", parts).int("axis", 0).bool("interleave", false).one(&inner)
}

/// `Split`: sizes as attribute, since opset 13 as operand, or equal parts.
pub(crate) fn split(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let at = axis(n.int("axis").unwrap_or(0), n.rank(x)?)?;
    let sizes = match n.ints("split") {
        Some(s) => Some(s),
        None => n.constant_ints(1, "split")?,
    };
    let count = n.proto.output.len();
    let sizes = match sizes.filter(|s| !s.is_empty()) {
        Some(s) => s,
        None => equal_parts(n.ty(x)?.dims[at].known(), count)?,
    };
    let op = n.op("split").arg("x", x).ints("split_sizes", &int32s(&sizes)?).int("axis", int32(i64_of(at))?);
    let results = op.all(&name)?;
    for (i, v) in results.into_iter().enumerate() {
        n.bind(i, v)?;
    }
    Ok(())
}

/// Parts of equal size, the last one smaller where the extent does not divide.
fn equal_parts(extent: Option<usize>, count: usize) -> Result<Vec<i64>, Fault> {
    let extent = extent
        .ok_or_else(|| Fault::new("splits a free dim into equal parts; fix the input shapes with --input"))?;
    let part = extent.div_ceil(count.max(1));
    Ok((0..count).map(|i| i64_of(extent.saturating_sub(i * part).min(part))).collect())
}

/// `Pad`: amounts as attribute before opset 11, as operand since, all begins then all ends.
pub(crate) fn pad(n: &mut Node<'_, '_>) -> Done {
    let (x, name) = (n.input(0)?, n.name());
    let rank = n.rank(x)?;
    let (amounts, value) = if n.opset() < 11 {
        (n.ints("pads").or_else(|| n.ints("paddings")), n.float("value"))
    } else {
        (n.constant_ints(1, "pads")?, n.constant(2)?.filter(|t| !t.is_empty()).map(|t| t.f64_at(0)))
    };
    let amounts = amounts.ok_or_else(|| Fault::new("pads are missing"))?;
    let axes = match n.constant_ints(3, "axes")? {
        Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if amounts.len() != 2 * axes.len() {
        return Err(Fault::new(format!(
            "pads has {} numbers, but must have {}",
            amounts.len(),
            2 * axes.len()
        )));
    }
    let mut pairs = vec![[0i64; 2]; rank];
    for (i, &d) in axes.iter().enumerate() {
        pairs[d] = [amounts[i], amounts[i + axes.len()]];
    }
    let float = n.is_float(x);
    let names = [n.inner("cut"), n.inner("fp32"), n.inner("padded")];
    let mut y = cut(n, x, &pairs, &names[0])?;
    pairs.iter_mut().for_each(|p| *p = p.map(|v| v.max(0)));
    let mode = match n.text("mode").as_deref() {
        None | Some("" | "constant") => "constant",
        Some("reflect") => "reflect",
        Some("edge") => "replicate",
        Some("wrap") => {
            let y = wrapped(n, y, &pairs)?;
            return n.done(y);
        }
        Some(other) => {
            return Err(Fault::new(format!("mode is {other}, but must be constant, reflect, edge or wrap")));
        }
    };
    let dtype = n.dtype(y)?;
    if !float {
        y = n.cast(y, DType::F32, &names[1])?;
    }
    let last = if float { &name } else { &names[2] };
    let y = match mode {
        "constant" => fill_around(n, y, &pairs, value.unwrap_or(0.0), last)?,
        _ => mirror_around(n, y, &pairs, mode, last)?,
    };
    let y = n.cast(y, dtype, &name)?;
    n.done(y)
}

/// Takes away what negative pads say.
fn cut(n: &mut Node<'_, '_>, x: ValueId, pairs: &[[i64; 2]], name: &str) -> Result<ValueId, Fault> {
    if pairs.iter().flatten().all(|&p| p >= 0) {
        return Ok(x);
    }
    let begin: Vec<i64> = pairs.iter().map(|p| p[0].saturating_neg().max(0)).collect();
    let end: Vec<i64> = pairs.iter().map(|p| p[1].min(0)).collect();
    let natural: Vec<bool> = end.iter().map(|&e| e == 0).collect();
    let op = n.op("slice_by_index").arg("x", x).ints("begin", &int32s(&begin)?).ints("end", &int32s(&end)?);
    op.bools("end_mask", &natural).one(name)
}

fn fill_around(
    n: &mut Node<'_, '_>,
    x: ValueId,
    pairs: &[[i64; 2]],
    value: f64,
    name: &str,
) -> Result<ValueId, Fault> {
    // Dims in front that are not padded are left out: MIL pads the last ones.
    let leading = pairs.iter().take_while(|p| **p == [0, 0]).count().min(pairs.len().saturating_sub(1));
    let kept = int32s(&pairs[leading..].concat())?;
    n.op("pad")
        .arg("x", x)
        .ints("pad", &kept)
        .str("mode", "constant")
        .float("constant_val", "x", value)
        .one(name)
}

/// Pads by mirrored or repeated elements, two dims at a time: MIL does so in the last two dims alone.
fn mirror_around(
    n: &mut Node<'_, '_>,
    x: ValueId,
    pairs: &[[i64; 2]],
    mode: &str,
    name: &str,
) -> Result<ValueId, Fault> {
    let rank = pairs.len();
    let padded: Vec<usize> = (0..rank).filter(|&d| pairs[d] != [0, 0]).collect();
    let mut y = x;
    let rounds: Vec<&[usize]> = padded.rchunks(2).collect();
    for (round, dims) in rounds.iter().enumerate() {
        let last = round + 1 == rounds.len();
        let label = if last { name.to_owned() } else { format!("{name}_{round}") };
        let inside = dims.iter().all(|d| d + 2 >= rank);
        // The dims of this round go to the end and come back.
        let mut perm: Vec<usize> = (0..rank).filter(|d| !dims.contains(d)).collect();
        perm.extend(*dims);
        if inside {
            perm = (0..rank).collect();
        }
        let moved = moved(n, y, &perm, &format!("{label}_order"))?;
        let tail = rank.saturating_sub(2);
        let amounts: Vec<i64> =
            perm[tail..].iter().flat_map(|d| if dims.contains(d) { pairs[*d] } else { [0, 0] }).collect();
        let inner = format!("{label}_padded");
        let op = n.op("pad").arg("x", moved).ints("pad", &int32s(&amounts)?).str("mode", mode);
        y = op.float("constant_val", "x", 0.0).one(if inside { &label } else { &inner })?;
        let mut back = vec![0; rank];
        perm.iter().enumerate().for_each(|(i, &d)| back[d] = i);
        y = self::moved(n, y, &back, &label)?;
    }
    Ok(y)
}

/// Dims in another order, where it is another one.
fn moved(n: &mut Node<'_, '_>, x: ValueId, perm: &[usize], name: &str) -> Result<ValueId, Fault> {
    if perm.is_sorted() {
        return Ok(x);
    }
    let perm: Vec<i64> = perm.iter().map(|&d| i64_of(d)).collect();
    n.op("transpose").arg("x", x).ints("perm", &int32s(&perm)?).one(name)
}

/// Pads by what is at the other end of each dim.
fn wrapped(n: &mut Node<'_, '_>, x: ValueId, pairs: &[[i64; 2]]) -> Result<ValueId, Fault> {
    let (shape, name) = (n.shape(x)?, n.name());
    let mut y = x;
    for (d, &[before, after]) in pairs.iter().enumerate().filter(|(_, p)| **p != [0, 0]) {
        let extent = i64_of(shape[d]);
        if before > extent || after > extent {
            return Err(Fault::new(format!("wraps {before} and {after} elements around a dim of {extent}")));
        }
        let part = |n: &mut Node<'_, '_>, from: i64, to: i64, what: &str| {
            let (mut begin, mut end, mut all) =
                (vec![0; pairs.len()], vec![0; pairs.len()], vec![true; pairs.len()]);
            (begin[d], end[d], all[d]) = (int32(from)?, int32(to)?, false);
            let inner = n.inner(&format!("{what}_{d}"));
            let op = n.op("slice_by_index").arg("x", y).ints("begin", &begin).ints("end", &end);
            op.bools("begin_mask", &all).bools("end_mask", &all).one(&inner)
        };
        let mut parts = Vec::new();
        if before > 0 {
            parts.push(part(n, extent - before, extent, "before")?);
        }
        parts.push(y);
        if after > 0 {
            parts.push(part(n, 0, after, "after")?);
        }
        let at = int32(i64_of(d))?;
        y = n.op("concat").args("values", parts).int("axis", at).bool("interleave", false).one(&name)?;
    }
    Ok(y)
}

impl Node<'_, '_> {
    /// Number of elements of a vector operand, when it is known.
    fn ty_of_operand(&mut self, i: usize) -> Result<Option<usize>, Fault> {
        let v = self.input(i)?;
        Ok(self.ty(v)?.dims.first().and_then(Dim::known))
    }
}
