//! Drives a rewrite over a function until nothing moves.

use crate::editor::Editor;
use crate::{Index, Miss, OpRef, Patch};
use anemone_mil::{Function, Name, OpId};
use std::collections::VecDeque;

/// Patches allowed per op: a rewrite that needs more does not settle, and is cut off.
const PATCHES_PER_OP: usize = 8;

/// Tries a rewrite on every op, and again near every place where it applied, until it applies nowhere; returns how
/// often it did.
pub fn drive<R>(function: &mut Function, rewrite: R, pass: &'static str) -> usize
where
    R: for<'a> Fn(OpRef<'a>) -> Result<Patch, Miss>,
{
    let mut fuel = PATCHES_PER_OP.saturating_mul(function.op_count() + 1);
    let mut editor = Editor::new(function, pass);
    let mut applied = 0;
    loop {
        let round = sweep(&mut editor, &rewrite, &mut fuel);
        applied += round;
        if round == 0 || fuel == 0 {
            break;
        }
    }
    editor.finish();
    applied
}

/// Looks at every op once, and again at those near an edit.
fn sweep<R>(editor: &mut Editor<'_>, rewrite: &R, fuel: &mut usize) -> usize
where
    R: for<'a> Fn(OpRef<'a>) -> Result<Patch, Miss>,
{
    let mut queue: VecDeque<OpId> = editor.function.walk().into_iter().map(|(_, id)| id).collect();
    let mut queued = vec![true; editor.function.op_count()];
    let mut applied = 0;
    while let Some(id) = queue.pop_front() {
        queued[id.index()] = false;
        let Some(op) = editor.look(id) else { continue };
        let Ok(patch) = rewrite(op) else { continue };
        if *fuel == 0 {
            break;
        }
        *fuel -= 1;
        applied += usize::from(editor.apply(id, patch).is_ok());
        queued.resize(editor.function.op_count(), false);
        for near in editor.take_touched() {
            if !std::mem::replace(&mut queued[near.index()], true) {
                queue.push_back(near);
            }
        }
    }
    applied
}

/// Why a rewrite does not apply to the ops that it looks at: name of the op and reason, in program order.
pub fn misses<R>(function: &Function, rewrite: R) -> Vec<(Name, String)>
where
    R: for<'a> Fn(OpRef<'a>) -> Result<Patch, Miss>,
{
    let index = Index::of(function);
    let look = |(_, id)| {
        let op = OpRef { function, index: &index, id };
        let why = match rewrite(op) {
            Err(Miss::OtherKind) => return None,
            Err(Miss::Because(why)) => why,
            Ok(patch) => Editor::new(&mut function.clone(), "").apply(id, patch).err()?.to_string(),
        };
        Some((op.op().name.clone(), why))
    };
    function.walk().into_iter().filter_map(look).collect()
}
