//! `Einsum`, as transposes, reshapes and matrix products where MIL's own op does not know the equation.

use crate::onnx::node::{Done, Node, int32s, volume};
use anemone_mil::ops::Fault;
use anemone_mil::{Dim, ValueId};
use anemone_tensor::num::i64_of;

/// A value and what its dims are called.
struct Term {
    value: ValueId,
    dims: Vec<char>,
}

/// Any equation without a letter twice in one operand.
pub(crate) fn einsum(n: &mut Node<'_, '_>) -> Done {
    let (values, name) = (n.inputs()?, n.name());
    let equation = n.text("equation").ok_or_else(|| Fault::new("attribute `equation` is missing"))?;
    let equation: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    if native(&equation) && values.iter().all(|&v| n.is_float(v)) {
        let y = n.op("einsum").args("values", values).str("equation", &equation).one(&name)?;
        return n.done(y);
    }
    let (mut terms, wanted) = parse(n, &equation, &values)?;
    terms.reverse();
    let Some(mut so_far) = terms.pop() else { return Err(Fault::new("needs an operand")) };
    let mut step = 0;
    while let Some(next) = terms.pop() {
        let needed = |c: &char| wanted.contains(c) || terms.iter().any(|t| t.dims.contains(c));
        let out: Vec<char> = so_far
            .dims
            .iter()
            .chain(next.dims.iter().filter(|c| !so_far.dims.contains(c)))
            .copied()
            .filter(needed)
            .collect();
        so_far = product(n, so_far, next, &out, &format!("step_{step}"))?;
        step += 1;
    }
    let so_far = summed(n, so_far, &wanted, "sum")?;
    let perm = permutation(&so_far.dims, &wanted)?;
    let y = transposed(n, so_far.value, &perm, &name)?;
    n.done(y)
}

/// The two shapes of equation that MIL's `einsum` has.
fn native(equation: &str) -> bool {
    let letters: Vec<char> = equation.chars().collect();
    let pattern = |p: &str| {
        let p: Vec<char> = p.chars().collect();
        p.len() == letters.len()
            && (0..p.len()).all(|i| (0..p.len()).all(|j| (p[i] == p[j]) == (letters[i] == letters[j])))
            && p.iter().zip(&letters).all(|(a, b)| a.is_alphabetic() == b.is_alphabetic())
            && p.iter().zip(&letters).all(|(a, b)| a.is_alphabetic() || a == b)
    };
    pattern("nchw,nwhu->nchu") || pattern("chw,whr->chr")
}

/// The operands with names for their dims, and the names of the result's. Dims of `...` get capital Greek letters.
fn parse(n: &Node<'_, '_>, equation: &str, values: &[ValueId]) -> Result<(Vec<Term>, Vec<char>), Fault> {
    let wrong = |why: &str| Fault::new(format!("equation {equation} {why}"));
    let (left, right) = equation.split_once("->").map_or((equation, None), |(l, r)| (l, Some(r)));
    let parts: Vec<&str> = left.split(',').collect();
    if parts.len() != values.len() {
        return Err(wrong(&format!("is for {} operands, but {} are given", parts.len(), values.len())));
    }
    let mut terms = Vec::new();
    let mut widest = 0;
    let spread = |part: &str, extra: usize| -> Vec<char> {
        // The last dims of all ellipses are the same ones.
        let dots: String = ('Α'..='Ρ').take(16).skip(16 - extra.min(16)).collect();
        part.replace("...", &dots).chars().collect()
    };
    for (part, &value) in parts.iter().zip(values) {
        let rank = n.rank(value)?;
        let named = part.replace("...", "").chars().count();
        let extra = rank.checked_sub(named).filter(|&e| e == 0 || e <= 16 && part.contains("..."));
        let extra = extra.ok_or_else(|| wrong(&format!("does not fit an operand of {rank} dims")))?;
        widest = widest.max(extra);
        let dims = spread(part, extra);
        let mut sorted = dims.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|w| w[0] == w[1]) {
            return Err(wrong("has a letter twice in one operand, which is not supported"));
        }
        terms.push(Term { value, dims });
    }
    let wanted = match right {
        Some(right) => spread(right, widest),
        None => {
            let mut once: Vec<char> = terms.iter().flat_map(|t| t.dims.iter().copied()).collect();
            once.sort_unstable();
            let all = once.clone();
            once.retain(|c| all.iter().filter(|d| *d == c).count() == 1 || !c.is_ascii());
            once.dedup();
            once.sort_by_key(|c| (c.is_ascii(), *c));
            once
        }
    };
    Ok((terms, wanted))
}

/// Adds up the dims that are not wanted.
fn summed(n: &mut Node<'_, '_>, term: Term, wanted: &[char], what: &str) -> Result<Term, Fault> {
    let axes: Vec<i64> =
        (0..term.dims.len()).filter(|&i| !wanted.contains(&term.dims[i])).map(i64_of).collect();
    if axes.is_empty() {
        return Ok(term);
    }
    let inner = n.inner(what);
    let op = n.op("reduce_sum").arg("x", term.value).ints("axes", &int32s(&axes)?);
    let value = op.bool("keep_dims", false).one(&inner)?;
    Ok(Term { value, dims: term.dims.into_iter().filter(|c| wanted.contains(c)).collect() })
}

/// Where each wanted dim is.
fn permutation(have: &[char], wanted: &[char]) -> Result<Vec<i64>, Fault> {
    let at = |c: &char| have.iter().position(|d| d == c).map(i64_of);
    let perm: Option<Vec<i64>> = wanted.iter().map(at).collect();
    perm.filter(|p| p.len() == have.len())
        .ok_or_else(|| Fault::new(format!("the result has dims {wanted:?}, but the operands have {have:?}")))
}

fn transposed(n: &mut Node<'_, '_>, x: ValueId, perm: &[i64], name: &str) -> Result<ValueId, Fault> {
    if perm.is_sorted() {
        return n.unary("identity", x, name);
    }
    n.op("transpose").arg("x", x).ints("perm", &int32s(perm)?).one(name)
}

/// The product of two terms, dims as in `out`: one batched matrix product.
fn product(n: &mut Node<'_, '_>, a: Term, b: Term, out: &[char], step: &str) -> Result<Term, Fault> {
    let kept = |of: &Term, other: &Term| -> Vec<char> {
        of.dims.iter().copied().filter(|c| out.contains(c) || other.dims.contains(c)).collect()
    };
    let (a_kept, b_kept) = (kept(&a, &b), kept(&b, &a));
    let a = summed(n, a, &a_kept, &format!("{step}_sum_a"))?;
    let b = summed(n, b, &b_kept, &format!("{step}_sum_b"))?;
    let both = |c: &&char| b.dims.contains(c);
    let batch: Vec<char> = a.dims.iter().filter(both).filter(|c| out.contains(c)).copied().collect();
    let inner: Vec<char> = a.dims.iter().filter(both).filter(|c| !out.contains(c)).copied().collect();
    let rows: Vec<char> = a.dims.iter().filter(|c| !b.dims.contains(c)).copied().collect();
    let columns: Vec<char> = b.dims.iter().filter(|c| !a.dims.contains(c)).copied().collect();
    let extents = |dims: &[char]| {
        let of = |c: &char| -> Result<Dim, Fault> {
            let find = |t: &Term| {
                Ok(t.dims.iter().position(|d| d == c).map(|i| n.dims(t.value).map(|d| d[i].clone())))
            };
            let found: [Result<Option<Result<Dim, Fault>>, Fault>; 2] = [find(&a), find(&b)];
            let mut best = Dim::Unknown;
            for dim in found {
                if let Some(dim) = dim? {
                    let dim = dim?;
                    // An extent of 1 is repeated.
                    if !matches!(best, Dim::Known(k) if k != 1) {
                        best = dim;
                    }
                }
            }
            Ok(best)
        };
        dims.iter().map(of).collect::<Result<Vec<Dim>, Fault>>()
    };
    let (batch_dims, row_dims, column_dims) = (extents(&batch)?, extents(&rows)?, extents(&columns)?);
    let inner_dims = extents(&inner)?;
    let order = |groups: [&[char]; 3]| -> Vec<char> { groups.concat() };
    let left = shaped(
        n,
        &a,
        &order([&batch, &rows, &inner]),
        [&batch_dims, &row_dims, &inner_dims],
        &format!("{step}_a"),
    )?;
    let right = shaped(
        n,
        &b,
        &order([&batch, &inner, &columns]),
        [&batch_dims, &inner_dims, &column_dims],
        &format!("{step}_b"),
    )?;
    let label = n.inner(&format!("{step}_product"));
    let y = n.binary("matmul", left, right, &label)?;
    let label = n.inner(&format!("{step}_dims"));
    let value = n.reshape(y, &[batch_dims, row_dims, column_dims].concat(), &label)?;
    Ok(Term { value, dims: order([&batch, &rows, &columns]) })
}

/// A term as `[batch, rows, columns]`, each group of dims made one.
fn shaped(
    n: &mut Node<'_, '_>,
    term: &Term,
    order: &[char],
    groups: [&Vec<Dim>; 3],
    what: &str,
) -> Result<ValueId, Fault> {
    let perm = permutation(&term.dims, order)?;
    let names = [n.inner(&format!("{what}_order")), n.inner(what)];
    let moved = if perm.is_sorted() { term.value } else { transposed(n, term.value, &perm, &names[0])? };
    let own = n.dims(moved)?;
    let mut at = 0;
    let mut dims = Vec::with_capacity(3);
    for group in groups {
        let known: Option<Vec<usize>> = own[at..at + group.len()].iter().map(Dim::known).collect();
        at += group.len();
        dims.push(match known {
            Some(known) => Dim::Known(volume(&known)?),
            None => Dim::Unknown,
        });
    }
    n.reshape(moved, &dims, &names[1])
}
