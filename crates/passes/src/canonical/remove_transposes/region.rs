//! Regions of ops that do their work in any order of dims.

use super::layout::{arguments, composed, dropping, inverse, is_identity, operands, permutation, tensors};
use crate::OpRef;
use crate::editor::Editor;
use anemone_mil::{Const, DType, Dim, Literal, Op, OpId, OpKind, Origin, Tensor, ValueId, Weight};
use std::collections::{HashMap, HashSet};

/// Neighbouring ops of one block and one rank.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// The ops, in program order.
    pub(super) ops: Vec<OpId>,
    /// The same ops.
    members: HashSet<OpId>,
    /// Values that the ops take and that none of them makes.
    sources: Vec<ValueId>,
    /// Values that the ops make.
    results: Vec<ValueId>,
}

/// What one transpose costs beside the elements that it moves, in elements.
const OVERHEAD: usize = 4096;
/// What a dim that is not known counts for.
const OPEN: usize = 64;
/// Permutations that are tried per region.
const TRIED: usize = 8;

/// All regions of a function.
pub(super) fn all(editor: &Editor<'_>) -> Vec<Region> {
    let walk = editor.function.walk();
    let mut groups = Groups { parent: (0..walk.len()).collect() };
    let mut by_value: HashMap<(anemone_mil::BlockId, ValueId), usize> = HashMap::new();
    let mut found = Vec::new();
    for (i, &(block, id)) in walk.iter().enumerate() {
        let Some(op) = editor.look(id) else { continue };
        let Some(values) = operands(op) else { continue };
        found.push((i, values.clone()));
        for v in values.into_iter().chain(op.op().outputs.iter().copied()) {
            let first = *by_value.entry((block, v)).or_insert(i);
            groups.join(first, i);
        }
    }
    let mut regions: Vec<Members> = Vec::new();
    let mut at: HashMap<usize, usize> = HashMap::new();
    for (i, values) in found {
        let slot = *at.entry(groups.root(i)).or_insert_with(|| {
            regions.push(Members::new());
            regions.len() - 1
        });
        regions[slot].push((walk[i].1, values));
    }
    regions.into_iter().map(|ops| Region::of(editor, ops)).collect()
}

/// Ops in program order, each with the operands that are in the layout of its results.
type Members = Vec<(OpId, Vec<ValueId>)>;

/// Disjoint sets.
struct Groups {
    parent: Vec<usize>,
}

impl Groups {
    fn root(&mut self, mut i: usize) -> usize {
        while self.parent[i] != i {
            self.parent[i] = self.parent[self.parent[i]];
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

/// What a region looks like in another order of dims.
pub(super) struct Moved {
    values: HashMap<ValueId, ValueId>,
}

impl Region {
    fn of(editor: &Editor<'_>, ops: Members) -> Region {
        let members: HashSet<OpId> = ops.iter().map(|(id, _)| *id).collect();
        let results: Vec<ValueId> =
            ops.iter().flat_map(|(id, _)| editor.function.op(*id).outputs.iter().copied()).collect();
        let inside: HashSet<ValueId> = results.iter().copied().collect();
        let mut seen = HashSet::new();
        let taken = ops.iter().flat_map(|(_, values)| values.iter().copied());
        let sources = taken.filter(|&v| !inside.contains(&v) && seen.insert(v)).collect();
        Region { ops: ops.into_iter().map(|(id, _)| id).collect(), members, sources, results }
    }

    /// The permutation that saves most, and the transposes at the border that it is about; `None` when none saves.
    ///
    /// A value `v` of the region becomes `w` with `v = transpose(w, perm)`.
    pub(super) fn best(&self, editor: &Editor<'_>) -> Option<(Vec<usize>, Vec<OpId>)> {
        let mut tried: Vec<Vec<usize>> = Vec::new();
        let mut border = Vec::new();
        for &v in &self.sources {
            if let Some((op, perm)) = editor.function.producer(v).and_then(|id| transpose(editor, id)) {
                border.push(op);
                tried.push(perm);
            }
        }
        for &v in &self.results {
            for (op, perm) in self.transposes_of(editor, v) {
                border.push(op);
                tried.push(inverse(&perm));
            }
        }
        let mut distinct: Vec<(Vec<usize>, usize)> = Vec::new();
        for perm in tried.into_iter().filter(|p| !is_identity(p)) {
            match distinct.iter_mut().find(|(known, _)| *known == perm) {
                Some((_, count)) => *count += 1,
                None => distinct.push((perm, 1)),
            }
        }
        distinct.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let gains = distinct.into_iter().take(TRIED).map(|(perm, _)| (self.gain(editor, &perm), perm));
        let (gain, perm) = gains.max_by_key(|(gain, _)| *gain)?;
        (gain > 0).then_some((perm, border))
    }

    /// Work of transposes that moving the region saves; negative when it makes more.
    fn gain(&self, editor: &Editor<'_>, perm: &[usize]) -> i64 {
        let mut gain = 0i64;
        for &v in &self.sources {
            let work = work(editor, v);
            match editor.function.producer(v).and_then(|id| transpose(editor, id)) {
                Some((_, found)) => {
                    let outside = editor.index.escapes(v)
                        || editor.index.users(v).iter().any(|u| !self.inside(editor, *u));
                    gain += if outside { 0 } else { work };
                    gain -= if found == perm { 0 } else { work };
                }
                None => gain -= work,
            }
        }
        for &v in &self.results {
            let work = work(editor, v);
            let undone =
                self.transposes_of(editor, v).into_iter().filter(|(_, p)| is_identity(&composed(perm, p)));
            let (outputs, others): (Vec<OpId>, Vec<OpId>) = undone
                .map(|(op, _)| op)
                .partition(|&op| editor.function.op(op).outputs.iter().any(|&v| editor.index.escapes(v)));
            // Of several outputs that are one value, only one can be that value itself.
            let gone = others.len() + outputs.len().min(1);
            gain += work.saturating_mul(i64::try_from(gone).unwrap_or(i64::MAX));
            gain -= if self.needed(editor, v, perm) { work } else { 0 };
        }
        gain
    }

    /// True for members, and for transposes of what members take, which another pass joins with the one before.
    fn inside(&self, editor: &Editor<'_>, user: OpId) -> bool {
        self.members.contains(&user) || transpose(editor, user).is_some()
    }

    /// The transposes outside of the region that take a value.
    fn transposes_of(&self, editor: &Editor<'_>, v: ValueId) -> Vec<(OpId, Vec<usize>)> {
        editor.index.users(v).iter().filter_map(|&user| transpose(editor, user)).collect()
    }

    /// True when something outside of the region needs the value in its old order of dims.
    fn needed(&self, editor: &Editor<'_>, v: ValueId, perm: &[usize]) -> bool {
        let minds = |&user: &OpId| {
            let Some(op) = editor.look(user) else { return false };
            !self.members.contains(&user) && !op.is(&["transpose"]) && dropping(op, perm).is_err()
        };
        editor.index.escapes(v) || editor.index.users(v).iter().any(minds)
    }

    /// Adds the ops of the region in the other order of dims, beside those that there are; `None`, with nothing added,
    /// when one is not legal.
    pub(super) fn moved(&self, editor: &mut Editor<'_>, perm: &[usize]) -> Option<Moved> {
        let mut moved = Moved { values: HashMap::new() };
        let mut made = Vec::new();
        let done = self.ops.iter().all(|&id| self.move_op(editor, id, perm, &mut moved, &mut made).is_some());
        if done {
            return Some(moved);
        }
        made.into_iter().rev().for_each(|id| editor.sweep(id));
        None
    }

    fn move_op(
        &self,
        editor: &mut Editor<'_>,
        id: OpId,
        perm: &[usize],
        moved: &mut Moved,
        made: &mut Vec<OpId>,
    ) -> Option<()> {
        let (params, changed) = {
            let op = editor.look(id)?;
            (tensors(op)?, arguments(op, perm).ok()?)
        };
        let block = editor.index.home(id)?;
        let old = editor.function.op(id).clone();
        let base = editor.function.value(*old.outputs.first()?).name.clone();
        let mut op = Op::new(old.kind.clone(), editor.spare_name(&format!("{base}_moved")));
        op.attributes.clone_from(&old.attributes);
        op.origin = Origin { source: old.origin.source.clone(), pass: Some(super::NAME) };
        for arg in &old.args {
            let mut values = arg.values.clone();
            if params.contains(&&*arg.param) {
                for v in &mut values {
                    *v = self.move_value(editor, *v, id, perm, moved, made)?;
                }
            }
            op.set_arg(&arg.param, values);
        }
        for (param, literal) in changed {
            let constant = editor.add_const(&format!("{base}_{param}"), Const::Literal(literal));
            op.set_arg(param, vec![constant]);
        }
        let position = editor.function.position(block, id)?;
        let new = editor.insert(block, position, op).ok()?;
        made.push(new);
        let results = editor.function.op(new).outputs.clone();
        moved.values.extend(old.outputs.iter().copied().zip(results));
        Some(())
    }

    /// The value in the other order of dims, for op `user` to take.
    fn move_value(
        &self,
        editor: &mut Editor<'_>,
        v: ValueId,
        user: OpId,
        perm: &[usize],
        moved: &mut Moved,
        made: &mut Vec<OpId>,
    ) -> Option<ValueId> {
        if let Some(&known) = moved.values.get(&v) {
            return Some(known);
        }
        let ty = editor.function.value(v).ty.tensor()?.clone();
        let back = inverse(perm);
        let new = if let Some(constant) = editor.function.constant(v) {
            if ty.element_count() == Some(1) {
                v
            } else {
                let permuted = permuted(constant, &back)?;
                let name = editor.function.value(v).name.clone();
                let wanted = if name.is_empty() { "permuted".to_owned() } else { format!("{name}_moved") };
                editor.add_const(&wanted, permuted)
            }
        } else if ty.rank() == perm.len() {
            let block = editor.index.home(user)?;
            let position = editor.function.position(block, user)?;
            let id = insert_transpose(editor, v, &back, block, position)?;
            made.push(id);
            *editor.function.op(id).outputs.first()?
        } else {
            v
        };
        moved.values.insert(v, new);
        Some(new)
    }

    /// Puts what was moved in the place of the region: a transpose gives the old order of dims to those outside.
    pub(super) fn replace(&self, editor: &mut Editor<'_>, moved: &Moved, perm: &[usize]) {
        for &id in self.ops.iter().rev() {
            for v in editor.function.op(id).outputs.clone() {
                let outside = editor.index.users(v).iter().any(|u| !self.members.contains(u));
                let (true, Some(&new)) = (outside || editor.index.escapes(v), moved.values.get(&v)) else {
                    continue;
                };
                let Some(block) = editor.index.home(id) else { continue };
                let position = editor.function.position(block, id).unwrap_or(usize::MAX);
                if let Some(transpose) = insert_transpose(editor, new, perm, block, position) {
                    let result = editor.function.op(transpose).outputs[0];
                    editor.take_over(v, result);
                }
            }
            editor.sweep(id);
        }
    }
}

fn insert_transpose(
    editor: &mut Editor<'_>,
    v: ValueId,
    perm: &[usize],
    block: anemone_mil::BlockId,
    position: usize,
) -> Option<OpId> {
    let name = editor.spare_name(&format!("{}_transposed", editor.function.value(v).name));
    let list: Vec<i32> = perm.iter().map(|&d| i32::try_from(d)).collect::<Result<_, _>>().ok()?;
    let dims = editor.add_const(&format!("{name}_perm"), Const::Literal(Tensor::vector_i32(&list).into()));
    let mut op = Op::new(OpKind::named("transpose"), name);
    op.set_arg("x", vec![v]);
    op.set_arg("perm", vec![dims]);
    let source = editor.function.producer(v).and_then(|p| editor.function.op(p).origin.source.clone());
    op.origin = Origin { source, pass: Some(super::NAME) };
    editor.insert(block, position, op).ok()
}

/// A constant with its dims permuted; dims that it lacks in front count as 1.
fn permuted(constant: &Const, perm: &[usize]) -> Option<Const> {
    if let Const::Weight(w) = constant
        && w.shape.len() == perm.len()
        && w.is_available()
        && w.shape.iter().filter(|&&n| n > 1).count() > 1
    {
        return Some(w.clone().transposed(perm).into());
    }
    let Literal::Tensor(t) = constant.literal().ok()? else { return None };
    let missing = perm.len().checked_sub(t.rank())?;
    let shape: Vec<usize> = std::iter::repeat_n(1, missing).chain(t.shape().iter().copied()).collect();
    let full = t.reshaped(shape).ok()?;
    let moved = Weight::of(&full).transposed(perm).tensor().ok()?;
    // Numbers of rank 0 stand where they are used, larger ones in the weight file.
    Some(if moved.dtype() == DType::Bool { moved.into() } else { Weight::of(&moved).into() })
}

fn transpose(editor: &Editor<'_>, id: OpId) -> Option<(OpId, Vec<usize>)> {
    let op: OpRef<'_> = editor.look(id)?;
    Some((id, permutation(op)?))
}

/// What all transposes of a function cost.
pub(super) fn total(editor: &Editor<'_>) -> i64 {
    let ops = editor.function.walk().into_iter().filter_map(|(_, id)| transpose(editor, id));
    ops.flat_map(|(id, _)| editor.function.op(id).outputs.iter().map(|&v| work(editor, v)))
        .fold(0, i64::saturating_add)
}

/// What permuting a value costs.
fn work(editor: &Editor<'_>, v: ValueId) -> i64 {
    let dims = editor.function.value(v).ty.tensor().map_or(&[][..], |t| &t.dims);
    let long = dims.iter().filter(|d| **d != Dim::Known(1)).count();
    // Permuting a vector moves nothing.
    let elements = if long < 2 {
        0
    } else {
        dims.iter().map(|d| d.known().unwrap_or(OPEN)).fold(1, usize::saturating_mul)
    };
    i64::try_from(elements.saturating_add(OVERHEAD)).unwrap_or(i64::MAX / 4).min(1 << 40)
}
