//! Ops that compute the same become one, and equal small constants one constant.
//!
//! ```text
//! a = relu(x); b = relu(x); y = add(a, b)      becomes      a = relu(x); y = add(a, a)
//! ```
//! The first one stays, when it is visible where the other one stands.

use crate::editor::Editor;
use anemone_mil::ops::Effect;
use anemone_mil::{Arg, BlockId, Const, Function, Literal, OpId, ValueId};
use std::collections::HashMap;

/// Name of the pass.
pub const NAME: &str = "merge_duplicates";

/// Constants with more elements are not compared: equal large weights are merged when they are written.
const SMALL: usize = 64;

/// Runs the pass; returns how many ops and constants went.
pub fn run(function: &mut Function) -> usize {
    let mut editor = Editor::new(function, NAME);
    let (same, merged) = merge_constants(&mut editor);
    let body = editor.function.body();
    let mut merge = Merge { editor, same, seen: HashMap::new(), merged };
    merge.block(body);
    merge.editor.finish();
    merge.merged
}

/// Kind and arguments of an op.
type Key = (String, Vec<(String, Vec<ValueId>)>);

struct Merge<'f> {
    editor: Editor<'f>,
    /// The first constant of the same content.
    same: HashMap<ValueId, ValueId>,
    /// What has been met in this block and those around it.
    seen: HashMap<Key, OpId>,
    merged: usize,
}

impl Merge<'_> {
    fn block(&mut self, block: BlockId) {
        let mut added = Vec::new();
        for id in self.editor.function.block(block).ops.clone() {
            for inner in self.editor.function.op(id).blocks.clone() {
                self.block(inner);
            }
            let Some(key) = self.key(id) else { continue };
            match self.seen.get(&key) {
                Some(&first) => self.merged += usize::from(self.merge(id, first)),
                None => {
                    self.seen.insert(key.clone(), id);
                    added.push(key);
                }
            }
        }
        for key in &added {
            self.seen.remove(key);
        }
    }

    /// Redirects all users of `id` to `first`; false when a result must stay.
    fn merge(&mut self, id: OpId, first: OpId) -> bool {
        let function = &*self.editor.function;
        let pairs: Vec<(ValueId, ValueId)> =
            function.op(id).outputs.iter().copied().zip(function.op(first).outputs.iter().copied()).collect();
        pairs.into_iter().fold(true, |all, (old, new)| self.editor.redirect(old, new).is_ok() && all)
    }

    /// `None` for an op that does more than compute.
    fn key(&self, id: OpId) -> Option<Key> {
        let op = self.editor.look(id)?.op();
        let pure = op.kind.def().is_some_and(|d| d.effect == Effect::Pure) && op.blocks.is_empty();
        if !pure || !op.attributes.is_empty() {
            return None;
        }
        let first = |v: &ValueId| self.same.get(v).copied().unwrap_or(*v);
        let arg = |a: &Arg| (a.param.to_string(), a.values.iter().map(first).collect());
        Some((op.kind.name().to_owned(), op.args.iter().map(arg).collect()))
    }
}

/// Makes equal named constants one; gives the first equal one of every constant, and how many went.
fn merge_constants(editor: &mut Editor<'_>) -> (HashMap<ValueId, ValueId>, usize) {
    let mut seen: HashMap<ConstKey, ValueId> = HashMap::new();
    let (mut same, mut pairs) = (HashMap::new(), Vec::new());
    for (id, value) in editor.function.values() {
        let Some(key) = value.as_const().and_then(key) else { continue };
        // One that is handed out keeps its name.
        if editor.index.is_dead(id) || editor.index.escapes(id) {
            continue;
        }
        let first = *seen.entry(key).or_insert(id);
        same.insert(id, first);
        // A nameless constant stands for itself where it is written.
        if first != id && !value.name.is_empty() && !editor.function.value(first).name.is_empty() {
            pairs.push((id, first));
        }
    }
    let merged = pairs.into_iter().filter(|&(old, new)| editor.redirect(old, new).is_ok()).count();
    (same, merged)
}

/// Type and content of a constant.
type ConstKey = (String, Vec<u8>, Vec<String>);

fn key(constant: &Const) -> Option<ConstKey> {
    if constant.element_count()? > SMALL {
        return None;
    }
    let ty = constant.ty().to_string();
    match constant.literal().ok()? {
        Literal::Tensor(t) => Some((ty, t.bytes().to_vec(), Vec::new())),
        Literal::Strings { values, .. } => {
            Some((ty, Vec::new(), values.iter().map(ToString::to_string).collect()))
        }
        _ => None,
    }
}
