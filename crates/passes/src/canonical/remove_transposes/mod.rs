//! Ops between transposes are computed in the order of dims that needs fewer of them.
//!
//! ```text
//! a = transpose(conv(x), [0, 2, 3, 1]); b = relu(add(a, c)); y = conv(transpose(b, [0, 3, 1, 2]))
//! becomes      y = conv(relu(add(conv(x), c transposed)))
//! ```
//! Ops that do their work in any order of dims form regions. For every region and every permutation at its border, the
//! transposes that there are now are weighed against those that would be left if the region were computed in the
//! permuted order: transposes at its border vanish or appear, constants are permuted once and for all. The region is
//! moved when that is less work. What models from frameworks with channels last look like after their import is the
//! case in point.

mod layout;
mod region;

use crate::editor::Editor;
use crate::{Miss, OpRef, Patch, drive};
use anemone_mil::{Function, OpId};
use region::Region;
use std::collections::HashSet;

use super::merge_transposes;

/// Name of the pass.
pub const NAME: &str = "remove_transposes";

/// Moving one region may pay for its neighbours; more rounds than this are not worth their time.
const ROUNDS: usize = 32;

/// Runs the pass; returns how many ops work in another order of dims now.
pub fn run(function: &mut Function) -> usize {
    let mut moved = 0;
    for _ in 0..ROUNDS {
        let before = function.clone();
        let round = round(function);
        if round == 0 {
            break;
        }
        drive(function, merge_transposes::rewrite, NAME);
        drive(function, absorb, NAME);
        function.remove_dead_ops();
        if cost(function) >= cost(&mut before.clone()) {
            *function = before;
            break;
        }
        moved += round;
    }
    moved
}

/// What all transposes of a function cost.
fn cost(function: &mut Function) -> i64 {
    region::total(&Editor::new(function, NAME))
}

/// Moves every region that pays, unless a transpose at its border belongs to one that was moved already.
fn round(function: &mut Function) -> usize {
    let mut editor = Editor::new(function, NAME);
    let mut spoken_for: HashSet<OpId> = HashSet::new();
    let mut moved = 0;
    for region in region::all(&editor) {
        let Some((perm, border)) = region.best(&editor) else { continue };
        if border.iter().any(|op| spoken_for.contains(op)) {
            continue;
        }
        if apply(&mut editor, &region, &perm) {
            spoken_for.extend(border);
            moved += region.ops.len();
        }
    }
    editor.finish();
    moved
}

fn apply(editor: &mut Editor<'_>, region: &Region, perm: &[usize]) -> bool {
    let Some(moved) = region.moved(editor, perm) else { return false };
    region.replace(editor, &moved, perm);
    true
}

/// A reduction that drops dims takes what was transposed before, when the dims that are left keep their order.
fn absorb(op: OpRef<'_>) -> Result<Patch, Miss> {
    let transposed = op.made_by(op.operand("x").map_err(|_| Miss::OtherKind)?, &["transpose"]);
    let transpose = transposed.map_err(|_| Miss::OtherKind)?;
    let perm = layout::permutation(transpose).ok_or("the permutation is damaged")?;
    let changed = layout::dropping(op, &perm)?;
    let mut patch = Patch::default();
    let mut args = vec![("x", crate::Ref::Value(transpose.operand("x")?))];
    for (param, literal) in changed {
        args.push((param, patch.literal(param, literal)));
    }
    let new = patch.variant(op.op(), "reduced", args);
    Ok(patch.replacing(op.result()?, new))
}
