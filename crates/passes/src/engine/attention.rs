//! Attention written out, as rewrites take it apart.
//!
//! Where the result is transposed right away, the last product is computed the other way round.

use super::filters::{part, weight};
use super::pieces::{Span, concat, cut, extents, matmul};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::{Tensor, ValueId, Weight};
use std::collections::HashMap;

/// `matmul(softmax(chain(matmul(q, k))), v)`, the softmax over the last dim.
pub(super) struct Attention<'a> {
    /// The product with the values.
    mix: OpRef<'a>,
    /// The softmax.
    softmax: OpRef<'a>,
    /// What happens to the scores before the softmax, one element at a time, with the parameter that they come in by.
    chain: Vec<(OpRef<'a>, &'static str)>,
    /// The product of queries and keys.
    scores: OpRef<'a>,
    /// Extents of the scores: batch dims, queries, keys.
    shape: Vec<usize>,
    /// What to replace: the result, or that of the only op that takes it, which swaps its last two dims.
    result: ValueId,
    /// True when the last two dims of `result` are swapped.
    turned: bool,
    /// True when `mix` computes them swapped by itself: `matmul(v, weights, transpose_y = true)`.
    swapped: bool,
}

/// Operands by which scores come in.
const PARAMS: [&str; 4] = ["x", "y", "a", "b"];
/// Most ops between the scores and the softmax.
const MAX_CHAIN: usize = 8;

impl<'a> Attention<'a> {
    /// The attention whose last product this `matmul` is.
    ///
    /// # Errors
    /// When it is none.
    pub(super) fn of(mix: OpRef<'a>) -> Result<Attention<'a>, Miss> {
        mix.expect(&["matmul"])?;
        let (softmax, swapped) = weights(mix)?;
        let x = softmax.operand("x")?;
        let shape = extents(softmax, x)?;
        if shape.len() < 3 || softmax.site()?.axis("axis", shape.len())? + 1 != shape.len() {
            return Err("the softmax is not over the last of three or more dims".into());
        }
        let (mut chain, scores) =
            chain(softmax, x, 0).ok_or("what the softmax takes is no product of two tensors")?;
        chain.reverse();
        let result = mix.result()?;
        let user = mix.index.only(result).map(|id| OpRef { id, ..mix });
        let turned = user.filter(|u| u.feeds_only_this(result).is_ok() && swaps(*u, shape.len()));
        let turned = turned.filter(|_| !swapped);
        let result = turned.map_or(Ok(result), |t| t.result())?;
        let turned = turned.is_some() || swapped;
        Ok(Attention { mix, softmax, chain, scores, shape, result, turned, swapped })
    }

    /// Number of queries, and of keys.
    pub(super) fn extent(&self) -> (usize, usize) {
        let n = self.shape.len();
        (self.shape[n - 2], self.shape[n - 1])
    }

    /// Number of heads: of all batch dims but the first, or of the only one.
    pub(super) fn heads(&self) -> usize {
        self.split_axes().fold(1, |n: usize, d| n.saturating_mul(self.shape[d]))
    }

    fn split_axes(&self) -> std::ops::Range<usize> {
        usize::from(self.shape.len() > 3)..self.shape.len() - 2
    }

    /// The same in pieces: one per head, where `by_head` says so, and per window of so many queries.
    ///
    /// # Errors
    /// When an operand has no known shape, or a constant no bytes.
    pub(super) fn split(&self, window: usize, by_head: bool) -> Result<Patch, Miss> {
        let axes = if by_head { self.split_axes() } else { 0..0 };
        let mut pieces = Pieces {
            attention: self,
            query: Operand::of(self.scores, "x", false)?,
            key: Operand::of(self.scores, "y", true)?,
            value: if self.swapped {
                let value = Operand::of(self.mix, "x", false)?;
                Operand { lies: !value.lies, ..value }
            } else {
                Operand::of(self.mix, "y", true)?
            },
            window,
            patch: Patch::default(),
            made: HashMap::new(),
            consts: HashMap::new(),
        };
        let whole: Vec<Span> = self.shape.iter().map(|&n| (0, n)).collect();
        let joined = pieces.heads(axes, whole)?;
        Ok(pieces.patch.replacing(self.result, joined))
    }
}

/// The softmax that makes the weights, and whether the product has them on the right, the other way round.
fn weights(mix: OpRef<'_>) -> Result<(OpRef<'_>, bool), Miss> {
    let site = mix.site()?;
    let on_the_right = site.bool("transpose_y")?;
    if let Some(found) = mix.sole(mix.operand("y")?, &["softmax"]).ok().filter(|_| on_the_right) {
        return Ok((found, true));
    }
    if site.bool("transpose_x")? {
        return Err("the left operand lies the other way round".into());
    }
    Ok((mix.sole(mix.operand("x")?, &["softmax"])?, false))
}

/// True for a `transpose` of the last two dims.
pub(super) fn swaps(op: OpRef<'_>, rank: usize) -> bool {
    let Some(perm) = op.is(&["transpose"]).then(|| op.site().ok()?.axes("perm", rank).ok()).flatten() else {
        return false;
    };
    let swapped = |d: usize| if d + 2 == rank { rank - 1 } else { rank - 2 };
    perm.into_iter().eq((0..rank).map(|d| if d + 2 >= rank { swapped(d) } else { d }))
}

/// From the softmax back to the product that makes the scores.
fn chain<'a>(
    user: OpRef<'a>,
    v: ValueId,
    depth: usize,
) -> Option<(Vec<(OpRef<'a>, &'static str)>, OpRef<'a>)> {
    let maker = user.maker(v).filter(|_| depth <= MAX_CHAIN)?;
    user.feeds_only_this(v).ok()?;
    if maker.is(&["matmul"]) {
        return Some((Vec::new(), maker));
    }
    let wanted = maker.tensor(v).ok().filter(|_| !maker.form().elementwise().is_empty())?;
    PARAMS.iter().find_map(|&param| {
        let operand = maker.op().value(param)?;
        if maker.tensor(operand).ok()?.dims != wanted.dims {
            return None;
        }
        let (mut found, scores) = chain(maker, operand, depth + 1)?;
        found.insert(0, (maker, param));
        Some((found, scores))
    })
}

/// An operand of one of the products, with what can be looked through.
struct Operand {
    value: ValueId,
    shape: Vec<usize>,
    /// True when its last two dims lie the other way round than the product takes them.
    lies: bool,
    /// For every head the one of `value` that it takes.
    heads: Option<Vec<usize>>,
}

impl Operand {
    fn of(product: OpRef<'_>, param: &'static str, right: bool) -> Result<Operand, Miss> {
        let lies = product.site()?.bool(if right { "transpose_y" } else { "transpose_x" })?;
        let value = product.operand(param)?;
        let mut operand = Operand { value, shape: extents(product, value)?, lies, heads: None };
        operand.look_through_transpose(product);
        operand.look_through_copies(product);
        operand.look_through_transpose(product);
        Ok(operand)
    }

    /// A transpose of the last two dims is one that the product does by itself.
    fn look_through_transpose(&mut self, op: OpRef<'_>) {
        let rank = self.shape.len();
        let found = op.maker(self.value).filter(|t| swaps(*t, rank)).and_then(|t| t.op().value("x"));
        if let Some(x) = found {
            self.value = x;
            self.shape.swap(rank - 1, rank - 2);
            self.lies = !self.lies;
        }
    }

    /// Heads that several queries share are taken from where there is one of each.
    fn look_through_copies(&mut self, op: OpRef<'_>) {
        let found = op.maker(self.value).and_then(|maker| copies(maker, &self.shape));
        if let Some((value, heads)) = found.filter(|_| self.shape.len() == 4)
            && let Ok(shape) = op.shape(value)
            && shape.len() == 4
        {
            (self.value, self.shape, self.heads) = (value, shape, Some(heads));
        }
    }
}

/// The value whose heads (dim 1 of 4) an op repeats, and for every head of its result the one that it is.
fn copies(maker: OpRef<'_>, shape: &[usize]) -> Option<(ValueId, Vec<usize>)> {
    let heads = *shape.get(1)?;
    match maker.kind() {
        "gather" => {
            let site = maker.site().ok()?;
            let indices = site.known_ints("indices")?;
            let axis = site.axis("axis", shape.len()).ok()?;
            let map: Option<Vec<usize>> = indices.iter().map(|&i| usize::try_from(i).ok()).collect();
            let map = map.filter(|m| axis == 1 && m.len() == heads)?;
            Some((maker.op().value("x")?, map))
        }
        "tile" => {
            let reps = maker.site().ok()?.known_ints("reps")?;
            let times = usize::try_from(*reps.get(1)?).ok().filter(|&n| n > 0)?;
            let alone = reps.iter().enumerate().all(|(d, &r)| d == 1 || r == 1);
            let own = heads / times;
            alone.then(|| Some((maker.op().value("x")?, (0..heads).map(|h| h % own).collect())))?
        }
        "reshape" => {
            let tile = maker.made_by(maker.op().value("x")?, &["tile"]).ok()?;
            let reps = tile.site().ok()?.known_ints("reps")?;
            let wide = tile.op().value("x")?;
            let from = tile.shape(wide).ok()?;
            let split = matches!(*from.as_slice(), [b, own, 1, s, d]
                if b == shape[0] && s == shape[2] && d == shape[3] && heads % own == 0);
            let times = usize::try_from(*reps.get(2)?).ok()?;
            let alone = reps.iter().enumerate().all(|(d, &r)| d == 2 || r == 1);
            if !split || !alone || from[1] * times != heads {
                return None;
            }
            let narrow = tile.made_by(wide, &["expand_dims", "reshape"]).ok()?.op().value("x")?;
            let expected = [from[0], from[1], from[3], from[4]];
            let same = tile.shape(narrow).ok()? == expected;
            same.then(|| (narrow, (0..heads).map(|h| h / times).collect()))
        }
        _ => None,
    }
}

/// The pieces while they are made.
struct Pieces<'s, 'a> {
    attention: &'s Attention<'a>,
    query: Operand,
    key: Operand,
    value: Operand,
    window: usize,
    patch: Patch,
    made: HashMap<(ValueId, Vec<Span>), Ref>,
    consts: HashMap<ValueId, Tensor>,
}

impl Pieces<'_, '_> {
    /// All heads along the axes left, one behind the other; `spans` are those of the scores.
    fn heads(&mut self, axes: std::ops::Range<usize>, spans: Vec<Span>) -> Result<Ref, Miss> {
        let Some(axis) = axes.clone().next() else { return self.windows(spans) };
        let mut parts = Vec::new();
        for head in 0..self.attention.shape[axis] {
            let mut spans = spans.clone();
            spans[axis] = (head, head + 1);
            parts.push(self.heads(axis + 1..axes.end, spans)?);
        }
        concat(&mut self.patch, parts, axis)
    }

    /// All windows of queries, one behind the other.
    fn windows(&mut self, spans: Vec<Span>) -> Result<Ref, Miss> {
        let rows = spans.len() - 2;
        let mut parts = Vec::new();
        for from in (0..self.attention.extent().0).step_by(self.window.max(1)) {
            let mut spans = spans.clone();
            spans[rows] = (from, (from + self.window).min(self.attention.extent().0));
            parts.push(self.window(&spans)?);
        }
        concat(&mut self.patch, parts, rows + usize::from(self.attention.turned))
    }

    fn window(&mut self, spans: &[Span]) -> Result<Ref, Miss> {
        let attention = self.attention;
        let (batch, rows) = (&spans[..spans.len() - 2], spans[spans.len() - 2]);
        let all = (0, usize::MAX);
        let query = self.operand(|p| &p.query, batch, [rows, all])?;
        let key = self.operand(|p| &p.key, batch, [all, all])?;
        let mut scores = matmul(&mut self.patch, query, key);
        for &(op, param) in &attention.chain {
            let mut changed = vec![(param, scores)];
            for side in ["x", "y", "a", "b", "cond"] {
                if let Some(v) = op.op().value(side).filter(|_| side != param) {
                    changed.push((side, self.side(v, spans)?));
                }
            }
            scores = self.patch.variant(op.op(), "score", changed);
        }
        let weights = self.patch.variant(attention.softmax.op(), "weights", vec![("x", scores)]);
        let value = self.operand(|p| &p.value, batch, [all, all])?;
        if attention.turned {
            let (value, lies) = value;
            return Ok(matmul(&mut self.patch, (value, !lies), (weights, true)));
        }
        Ok(matmul(&mut self.patch, (weights, false), value))
    }

    /// The part of an operand of a product, and whether it lies the other way round.
    fn operand(
        &mut self,
        which: fn(&Self) -> &Operand,
        batch: &[Span],
        last: [Span; 2],
    ) -> Result<(Ref, bool), Miss> {
        let Operand { value, ref shape, lies, ref heads } = *which(self);
        let last = if lies { [last[1], last[0]] } else { last };
        let mut spans = [batch, &last].concat();
        if let (Some(heads), (from, to)) = (heads, spans[1]) {
            // Several heads at once are not looked through.
            let first = heads.get(from).copied().filter(|_| to == from + 1);
            let first = first.ok_or("heads that are shared are not taken one by one")?;
            spans[1] = (first, first + 1);
        }
        let spans = fitted(&spans, shape);
        Ok((self.part(value, spans)?, lies))
    }

    /// The part of a value that is stretched to the scores.
    fn side(&mut self, v: ValueId, spans: &[Span]) -> Result<Ref, Miss> {
        let shape = self.attention.mix.shape(v)?;
        self.part(v, fitted(spans, &shape))
    }

    fn part(&mut self, v: ValueId, spans: Vec<Span>) -> Result<Ref, Miss> {
        let op = self.attention.mix;
        if op.shape(v)?.iter().map(|&n| (0, n)).eq(spans.iter().copied()) {
            return Ok(Ref::Value(v));
        }
        let key = (v, spans);
        if let Some(&made) = self.made.get(&key) {
            return Ok(made);
        }
        let made = match op.function.constant(v) {
            Some(_) => {
                let tensor = self.constant(v)?;
                let mut left = tensor;
                for (axis, &(from, to)) in key.1.iter().enumerate() {
                    left = part(&left, axis, from, to)?;
                }
                self.patch.constant("part", Weight::of(&left))
            }
            None => cut(&mut self.patch, Ref::Value(v), &key.1)?,
        };
        self.made.insert(key, made);
        Ok(made)
    }

    fn constant(&mut self, v: ValueId) -> Result<Tensor, Miss> {
        if let Some(known) = self.consts.get(&v) {
            return Ok(known.clone());
        }
        let tensor = weight(self.attention.mix, v)?.tensor()?;
        self.consts.insert(v, tensor.clone());
        Ok(tensor)
    }
}

/// Spans of the scores for a value that is stretched to them: dims are counted from the last, and an extent of 1 is
/// taken whole.
fn fitted(spans: &[Span], shape: &[usize]) -> Vec<Span> {
    let skipped = spans.len().saturating_sub(shape.len());
    let dims = shape.iter().zip(spans.iter().skip(skipped));
    dims.map(|(&n, &(from, to))| if n == 1 { (0, 1) } else { (from, to.min(n)) }).collect()
}
