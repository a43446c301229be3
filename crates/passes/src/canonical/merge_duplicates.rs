//! Two ops of one kind with the same arguments become one, and equal small constants one constant.

use anemone_mil::ops::Effect;
use anemone_mil::{Const, Function, Literal, OpId, Uses, ValueId};
use std::collections::{HashMap, HashSet};

/// Constants with more elements are not compared: equal large weights are merged when they are written.
const SMALL: usize = 64;

/// Runs the pass on the body; returns how many ops went.
pub fn run(function: &mut Function) -> usize {
    merge_constants(function);
    let uses = Uses::of(function);
    let mut seen: HashMap<String, OpId> = HashMap::new();
    let mut doomed = HashSet::new();
    let mut map: HashMap<ValueId, ValueId> = HashMap::new();
    for id in function.block(function.body()).ops.clone() {
        let args = function.op_mut(id).args.iter_mut().flat_map(|a| a.values.iter_mut());
        args.for_each(|v| *v = map.get(v).copied().unwrap_or(*v));
        let op = function.op(id);
        let pure = op.kind.def().is_some_and(|d| d.effect == Effect::Pure) && op.blocks.is_empty();
        if !pure || !op.attributes.is_empty() || op.outputs.iter().any(|&v| uses.escapes(v)) {
            continue;
        }
        let key = format!("{} {:?}", op.kind.name(), op.args);
        match seen.get(&key) {
            Some(&first) => {
                let kept = function.op(first).outputs.clone();
                map.extend(function.op(id).outputs.iter().copied().zip(kept));
                doomed.insert(id);
            }
            None => drop(seen.insert(key, id)),
        }
    }
    function.remove_ops(&doomed);
    redirect_nested(function, &map);
    doomed.len()
}

fn redirect_nested(function: &mut Function, map: &HashMap<ValueId, ValueId>) {
    for (_, id) in function.walk() {
        let args = function.op_mut(id).args.iter_mut().flat_map(|a| a.values.iter_mut());
        args.for_each(|v| *v = map.get(v).copied().unwrap_or(*v));
        for block in function.op(id).blocks.clone() {
            let outputs = &mut function.block_mut(block).outputs;
            outputs.iter_mut().for_each(|v| *v = map.get(v).copied().unwrap_or(*v));
        }
    }
}

fn merge_constants(function: &mut Function) {
    let mut seen: HashMap<String, ValueId> = HashMap::new();
    let mut map = HashMap::new();
    for (id, value) in function.values() {
        let Some(key) = value.as_const().and_then(key) else { continue };
        // A nameless constant stands for itself where it is written.
        if value.name.is_empty() {
            continue;
        }
        match seen.get(&key) {
            Some(&first) => drop(map.insert(id, first)),
            None => drop(seen.insert(key, id)),
        }
    }
    redirect_nested(function, &map);
}

fn key(constant: &Const) -> Option<String> {
    if constant.element_count()? > SMALL {
        return None;
    }
    match constant.literal().ok()? {
        Literal::Tensor(t) => Some(format!("{} {:?} {:?}", t.dtype(), t.shape(), t.bytes())),
        Literal::Strings { shape, values } => Some(format!("{shape:?} {values:?}")),
        _ => None,
    }
}
