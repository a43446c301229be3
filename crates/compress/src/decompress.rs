//! Unpacks compressed weights.

use crate::Error;
use crate::apply::Store;
use anemone_mil::ops::Effect;
use anemone_mil::{Const, FoldLimits, Function, Literal, OpId, Program, ValueId, Weight, constant_value};
use std::collections::{HashMap, HashSet};

/// Replaces every `constexpr_*` op by the weight that it stands for; returns how many weights there were.
///
/// # Errors
/// When a weight's bytes are missing or make no sense, or the store fails. The program is then half done and to be dropped.
pub fn decompress(program: &mut Program, store: &mut Store<'_>) -> Result<usize, Error> {
    let mut count = 0;
    for function in &mut program.functions {
        count += unpack(function, store)?;
    }
    Ok(count)
}

fn unpack(function: &mut Function, store: &mut Store<'_>) -> Result<usize, Error> {
    let is_constexpr =
        |f: &Function, id: OpId| f.op(id).kind.def().is_some_and(|d| d.effect == Effect::Constexpr);
    let gone: HashSet<OpId> =
        function.walk().into_iter().map(|(_, id)| id).filter(|&id| is_constexpr(function, id)).collect();
    // Only what other ops take is unpacked: the steps of a joint form are not.
    let mut wanted: Vec<ValueId> = Vec::new();
    for (_, id) in function.walk() {
        if !gone.contains(&id) {
            let made = |v: &ValueId| function.producer(*v).is_some_and(|op| gone.contains(&op));
            wanted.extend(function.op(id).operands().filter(made));
        }
    }
    wanted.sort();
    wanted.dedup();
    let limits = FoldLimits { constexpr: true, max_elements: usize::MAX };
    let mut unpacked = HashMap::new();
    for value in wanted {
        let name = function.value(value).name.clone();
        let literal = constant_value(function, value, limits).ok_or_else(|| Error::missing(&name))?;
        let Literal::Tensor(tensor) = literal else { return Err(Error::missing(&name)) };
        let kept = store(tensor).map_err(Error::store)?;
        unpacked.insert(value, function.add_const(name, Const::Weight(Weight::of(&kept))));
    }
    for (_, id) in function.walk() {
        if gone.contains(&id) {
            continue;
        }
        for arg in &mut function.op_mut(id).args {
            arg.values.iter_mut().for_each(|v| *v = unpacked.get(v).copied().unwrap_or(*v));
        }
    }
    function.remove_ops(&gone);
    Ok(unpacked.len())
}
