//! Two transposes with a change of shape between them become one, or none.
//!
//! ```text
//! y = transpose(reshape(transpose(x: [1, C, 1, S], [0, 2, 3, 1]), [1, S, H, D]), [0, 2, 1, 3])
//! becomes      y = transpose(reshape(x, [1, H, D, S]), [0, 1, 3, 2])
//! ```
//! Every dim is taken apart into the pieces that either shape has. What the three ops do together is then one order of
//! the pieces: a `reshape` into them, a `transpose`, and a `reshape` of them, as far as each does anything. Heads of
//! attention between two convolutions are the case in point.

use super::Limits;
use super::pieces::{extents, reshape, transpose};
use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Form;

/// The rewrite; looks at the second `transpose`.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>, limits: &Limits) -> Result<Patch, Miss> {
    op.expect(&["transpose"])?;
    let between = op.sole(op.operand("x")?, &Form::Reshape)?;
    let first = between.sole(between.operand("x")?, &["transpose"])?;
    let x = first.operand("x")?;
    let (from, to) = (extents(op, x)?, extents(op, op.result()?)?);
    let (middle, after) = (extents(op, first.result()?)?, extents(op, between.result()?)?);
    let pieces = common(&middle, &after).ok_or("the change of shape mixes dims")?;
    let (p, q) = (first.site()?.axes("perm", from.len())?, op.site()?.axes("perm", to.len())?);
    let place = |list: &[usize], d: usize| list.iter().position(|&o| o == d).unwrap_or(0);
    // Dim of `x` and of the result that a piece is of.
    let pieces: Vec<Piece> = pieces
        .into_iter()
        .map(|(m, a, extent)| Piece { source: p[m], result: place(&q, a), extent })
        .collect();
    let mut early: Vec<usize> = (0..pieces.len()).collect();
    early.sort_by_key(|&i| (pieces[i].source, i));
    let mut late: Vec<usize> = (0..pieces.len()).collect();
    late.sort_by_key(|&i| (pieces[i].result, i));
    let mut patch = Patch::default();
    let moved = if early == late {
        reshape(&mut patch, Ref::Value(x), &to)?
    } else if let Some((shape, perm)) = whole(&to, &pieces, &early, |p| p.result) {
        let parted = shaped(&mut patch, Ref::Value(x), &from, &shape)?;
        transpose(&mut patch, parted, &perm)?
    } else if let Some((shape, perm)) = whole(&from, &pieces, &late, |p| p.source) {
        let back = inverse(&perm);
        let moved = transpose(&mut patch, Ref::Value(x), &back)?;
        shaped(&mut patch, moved, &shape, &to)?
    } else {
        if pieces.len() > limits.rank {
            return Err(Miss::because(format!("{} pieces of dims move", pieces.len())));
        }
        let shape: Vec<usize> = early.iter().map(|&i| pieces[i].extent).collect();
        let perm: Vec<usize> = late.iter().map(|&i| place(&early, i)).collect();
        let parted = reshape(&mut patch, Ref::Value(x), &shape)?;
        let moved = transpose(&mut patch, parted, &perm)?;
        reshape(&mut patch, moved, &to)?
    };
    Ok(patch.replacing(op.result()?, moved))
}

struct Piece {
    source: usize,
    result: usize,
    extent: usize,
}

/// The pieces that both shapes are made of: dim of the one, dim of the other, extent; those of extent 1 are left out.
fn common(a: &[usize], b: &[usize]) -> Option<Vec<(usize, usize, usize)>> {
    let (mut i, mut j) = (0, 0);
    let (mut left, mut right) = (1, 1);
    let mut pieces = Vec::new();
    loop {
        while left == 1 && i < a.len() {
            left = a[i];
            i += 1;
        }
        while right == 1 && j < b.len() {
            right = b[j];
            j += 1;
        }
        if left == 1 || right == 1 {
            return (left == right).then_some(pieces);
        }
        let piece = left.min(right);
        if left % piece != 0 || right % piece != 0 {
            return None;
        }
        pieces.push((i - 1, j - 1, piece));
        (left, right) = (left / piece, right / piece);
    }
}

/// The dims of `shape` in the order in which their pieces come in `order`, and the permutation that brings them back;
/// dims of extent 1 stay where they are. `None` when the pieces of a dim do not come in a row.
fn whole(
    shape: &[usize],
    pieces: &[Piece],
    order: &[usize],
    dim: fn(&Piece) -> usize,
) -> Option<(Vec<usize>, Vec<usize>)> {
    let mut dims: Vec<usize> = Vec::new();
    let mut last = None;
    for &i in order {
        let d = dim(&pieces[i]);
        if dims.last() == Some(&d) {
            // Pieces of one dim in another order are no dim.
            if last.is_some_and(|l| l > i) {
                return None;
            }
        } else if dims.contains(&d) {
            return None;
        } else {
            dims.push(d);
        }
        last = Some(i);
    }
    let mut next = dims.iter();
    let placed: Vec<usize> = (0..shape.len())
        .map(|d| if shape[d] == 1 { Some(d) } else { next.next().copied() })
        .collect::<Option<_>>()?;
    let perm = inverse(&placed);
    Some((placed.iter().map(|&d| shape[d]).collect(), perm))
}

/// Where every dim comes from, told by where every dim goes.
fn inverse(perm: &[usize]) -> Vec<usize> {
    (0..perm.len()).map(|d| perm.iter().position(|&p| p == d).unwrap_or(d)).collect()
}

/// The value in another shape, itself when it has that shape.
fn shaped(patch: &mut Patch, x: Ref, from: &[usize], to: &[usize]) -> Result<Ref, Miss> {
    if from == to { Ok(x) } else { reshape(patch, x, to) }
}
