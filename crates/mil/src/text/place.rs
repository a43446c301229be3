//! Where `const` statements stand.

use super::ConstOrder;
use crate::{Arg, BlockId, Def, Function, Op, Opset, ValueId};
use std::collections::HashMap;

/// The `const` statements of a function: for each block, position among its ops and value, in order.
pub(crate) struct Placement {
    blocks: HashMap<BlockId, Vec<(usize, ValueId)>>,
}

impl Placement {
    /// Places every named constant in the innermost block that encloses its uses, before the first of them.
    pub(crate) fn of(function: &Function, order: ConstOrder) -> Placement {
        let mut scan = Scan { function, path: Vec::new(), found: Vec::new(), index: HashMap::new() };
        scan.block(function.body());
        let mut blocks: HashMap<BlockId, Vec<(usize, ValueId)>> = HashMap::new();
        let mut newest = HashMap::new();
        for (value, path) in scan.found {
            let Some(&(block, used)) = path.last() else { continue };
            let at = match order {
                ConstOrder::FirstUse => used,
                ConstOrder::AsMade => {
                    let newest = newest.entry(block).or_insert_with(|| newest_results(function, block));
                    used.min(newest.partition_point(|&v| v < Some(value)))
                }
            };
            blocks.entry(block).or_default().push((at, value));
        }
        for list in blocks.values_mut() {
            match order {
                ConstOrder::FirstUse => list.sort_by_key(|&(at, _)| at),
                ConstOrder::AsMade => list.sort(),
            }
        }
        Placement { blocks }
    }

    /// Constants that stand in `block`.
    pub(crate) fn of_block(&self, block: BlockId) -> impl Iterator<Item = ValueId> + '_ {
        self.blocks.get(&block).into_iter().flatten().map(|&(_, v)| v)
    }

    /// Constants that stand before op `at` of `block`; `at` may be one past the last op.
    pub(super) fn before(&self, block: BlockId, at: usize) -> impl Iterator<Item = ValueId> + '_ {
        let list = self.blocks.get(&block).map_or(&[][..], Vec::as_slice);
        let start = list.partition_point(|&(p, _)| p < at);
        list[start..].iter().take_while(move |&&(p, _)| p == at).map(|&(_, v)| v)
    }
}

/// For each op of the block, the newest first result up to there.
fn newest_results(function: &Function, block: BlockId) -> Vec<Option<ValueId>> {
    let mut newest = None;
    let ops = function.block(block).ops.iter();
    ops.map(|&op| {
        newest = newest.max(function.op(op).outputs.first().copied());
        newest
    })
    .collect()
}

type Path = Vec<(BlockId, usize)>;

struct Scan<'a> {
    function: &'a Function,
    path: Path,
    found: Vec<(ValueId, Path)>,
    index: HashMap<ValueId, usize>,
}

impl Scan<'_> {
    fn block(&mut self, block: BlockId) {
        let function = self.function;
        self.path.push((block, 0));
        for (i, &id) in function.block(block).ops.iter().enumerate() {
            if let Some(last) = self.path.last_mut() {
                last.1 = i;
            }
            let op = function.op(id);
            if !in_bracket(function, op) {
                op.operands().for_each(|v| self.touch(v));
            }
            op.blocks.iter().for_each(|&b| self.block(b));
        }
        if let Some(last) = self.path.last_mut() {
            last.1 = function.block(block).ops.len();
        }
        function.block(block).outputs.iter().for_each(|&v| self.touch(v));
        self.path.pop();
    }

    fn touch(&mut self, value: ValueId) {
        let v = self.function.value(value);
        if !matches!(v.def, Def::Const(_)) || v.name.is_empty() {
            return;
        }
        match self.index.get(&value) {
            None => {
                self.index.insert(value, self.found.len());
                self.found.push((value, self.path.clone()));
            }
            Some(&i) => {
                let known = &mut self.found[i].1;
                let shared = known.iter().zip(&self.path).take_while(|(a, b)| a.0 == b.0).count();
                known.truncate(shared);
            }
        }
    }
}

/// True for ops whose operands stand in the attribute bracket: `constexpr_*` ops as defined up to `ios17`.
///
/// Source: coremltools 9.0 writes the operands of a `constexpr_*` op into `Operation.attributes` when the op's
/// definition is older than `ios18`, into `Operation.inputs` otherwise. An operand that has a name, or is not constant,
/// as only an op that the table lacks can have it, cannot stand in the bracket.
pub(super) fn in_bracket(function: &Function, op: &Op) -> bool {
    let opset = function.opset;
    let nameless = |v: &ValueId| function.constant(*v).is_some() && function.value(*v).name.is_empty();
    let inside = |a: &Arg| op.kind.unpacks_weight(&a.param, opset) && a.values.iter().all(nameless);
    if !op.kind.name().starts_with("constexpr_") || !op.args.iter().all(inside) {
        return false;
    }
    match op.kind.def().and_then(|def| def.version(opset)) {
        Some(version) => version.since < Opset::Ios18,
        None => opset < Opset::Ios18 || op.is("constexpr_affine_dequantize"),
    }
}
