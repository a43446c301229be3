//! A look-up in a table is left to the host: the function takes the rows instead of their numbers.
//!
//! ```text
//! func main(ids) { e = gather(x = table, indices = ids); y = relu(e) }
//! becomes      func main(e) { y = relu(e) }
//! ```
//! Of what makes the numbers out of the input, only what works number by number is thought of, such as the casts and
//! selects with which negative numbers are counted from the end. The new input has the name of the look-up's result.

use anemone_mil::ops::{Fault, Gather, Site};
use anemone_mil::{Def, Function, OpId, Type, ValueId};
use std::collections::HashSet;

/// Name of the pass.
pub const NAME: &str = "hand_in_rows";

/// Ops that may stand between the input and the look-up.
const BETWEEN: [&str; 6] = ["add", "cast", "greater_equal", "identity", "less", "select"];

/// What a function takes since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The input that holds the numbers of rows; it may be gone from the function.
    pub numbers: ValueId,
    /// The table, a constant.
    pub table: ValueId,
    /// The input that holds the rows.
    pub rows: ValueId,
}

/// The input and the table of a look-up that can be left to the host.
///
/// # Errors
/// When the op is no look-up of whole rows in a constant table, its numbers come from elsewhere than one input, or its
/// result is handed out.
pub fn found(function: &Function, id: OpId) -> Result<(ValueId, ValueId), Fault> {
    let site = Site::new(function, function.op(id))?;
    if site.def.name != "gather" {
        return Err(Fault::new("it is no gather"));
    }
    let gather = Gather::of(&site)?;
    let [result] = *function.op(id).outputs.as_slice() else { return Err(Fault::new("several results")) };
    if gather.axis != 0 || gather.batch_dims != 0 || function.constant(gather.x).is_none() {
        return Err(Fault::new("it looks up no whole rows of a constant"));
    }
    let handed_out = function.block_ids().any(|b| function.block(b).outputs.contains(&result));
    if handed_out || function.value(result).ty.tensor().is_none_or(|t| t.known_shape().is_none()) {
        return Err(Fault::new("its result is handed out, or of a shape that is not known"));
    }
    let numbers = source(function, gather.indices)?;
    let dims = |v: ValueId| function.value(v).ty.tensor().map(|t| t.dims.clone());
    if dims(numbers) != dims(gather.indices) {
        return Err(Fault::new("the numbers change their shape on the way"));
    }
    Ok((numbers, gather.x))
}

/// The one input that numbers are made of, element by element.
fn source(function: &Function, indices: ValueId) -> Result<ValueId, Fault> {
    let (mut queue, mut seen, mut inputs) = (vec![indices], HashSet::new(), Vec::new());
    while let Some(v) = queue.pop() {
        if !seen.insert(v) || function.constant(v).is_some() {
            continue;
        }
        match function.value(v).def {
            Def::Input(_) => inputs.push(v),
            Def::Result(op, _) if BETWEEN.contains(&function.op(op).kind.name()) => {
                queue.extend(function.op(op).operands());
            }
            _ => return Err(Fault::new("the numbers of rows are computed")),
        }
    }
    match *inputs.as_slice() {
        [input] => Ok(input),
        _ => Err(Fault::new("the numbers of rows are made of several inputs")),
    }
}

/// Makes the function take the rows of a look-up.
///
/// # Errors
/// As [`found`].
pub fn run(function: &mut Function, id: OpId) -> Result<Handed, Fault> {
    let (numbers, table) = found(function, id)?;
    let result = function.op(id).outputs[0];
    let name = std::mem::take(&mut function.value_mut(result).name);
    let ty: Type = function.value(result).ty.clone();
    let rows = function.add_input(name, ty);
    function.replace_uses(result, rows);
    function.remove_ops(&HashSet::from([id]));
    function.remove_dead_ops();
    let used = function.walk().iter().any(|&(_, op)| function.op(op).operands().any(|v| v == numbers));
    if !used && !function.outputs().contains(&numbers) {
        function.inputs.retain(|&v| v != numbers);
        for (at, v) in function.inputs.clone().into_iter().enumerate() {
            function.value_mut(v).def = Def::Input(at);
        }
    }
    Ok(Handed { numbers, table, rows })
}
