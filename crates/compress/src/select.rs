//! Which weights of a function are compressed, and by which rule.

use crate::config::Scheme;
use crate::{Config, Error, Rule};
use anemone_mil::{Const, Function, Op, ValueId};
use anemone_passes::Index;
use anemone_tensor::DType;

/// Smallest number of elements that coremltools keeps in a weight file at all.
const LEAST: usize = 10;

/// A weight that a rule is for.
pub(crate) struct Chosen {
    pub(crate) value: ValueId,
    pub(crate) rule: Rule,
}

/// The weights that rules ask for, in the order in which the function has them.
///
/// # Errors
/// When the users of one weight ask for different things.
pub(crate) fn select(function: &Function, index: &Index, config: &Config) -> Result<Vec<Chosen>, Error> {
    let mut chosen = Vec::new();
    for (value, v) in function.values() {
        let Some(constant) = v.as_const() else { continue };
        let Some(size) = float_weight(constant).filter(|&n| n >= LEAST) else { continue };
        let users: Vec<&Op> = index.users(value).iter().map(|&op| function.op(op)).collect();
        let feeds_constexpr = users.iter().any(|op| op.kind.name().starts_with("constexpr_"));
        if users.is_empty() || feeds_constexpr || index.escapes(value) {
            continue;
        }
        if let Some(rule) = rule_of(&v.name, &users, config)?
            && size > rule.weight_threshold
            && !matches!(rule.scheme, Scheme::Activation(_))
        {
            chosen.push(Chosen { value, rule: rule.clone() });
        }
    }
    Ok(chosen)
}

/// Number of elements of a float constant of rank 2 or more.
fn float_weight(constant: &Const) -> Option<usize> {
    let ty = constant.ty();
    let tensor = ty.tensor()?;
    let float = matches!(tensor.dtype, DType::F16 | DType::F32);
    let shape = tensor.known_shape()?;
    (float && shape.len() > 1).then(|| shape.iter().product())
}

/// The rule for a weight, by its own name or by what its users' rules agree on.
pub(crate) fn rule_of<'c>(name: &str, users: &[&Op], config: &'c Config) -> Result<Option<&'c Rule>, Error> {
    if let Some(rule) = config.op_names.get(name) {
        return Ok(rule.as_ref());
    }
    let of_op = |op: &Op| -> Option<&'c Rule> {
        let named = config.op_names.get(&*op.name).or_else(|| config.op_types.get(op.kind.name()));
        named.map_or(config.global.as_ref(), Option::as_ref)
    };
    let (first, rest) = users.split_first().map_or((None, &[][..]), |(f, r)| (of_op(f), r));
    match rest.iter().find(|op| of_op(op) != first) {
        Some(other) => Err(Error::conflict(name, &users[0].name, &other.name)),
        None => Ok(first),
    }
}

/// Axes of input and output channels of a weight, where all its users agree.
pub(crate) fn channel_axes(
    function: &Function,
    index: &Index,
    value: ValueId,
    rank: usize,
) -> Option<(usize, usize)> {
    let mut axes = None;
    for &user in index.users(value) {
        let found = axes_in(function, function.op(user), value, rank);
        match axes {
            None => axes = Some(found),
            Some(known) if known == found => {}
            Some(_) => return None,
        }
    }
    axes
}

/// `(input, output)` channel axes that an op has in one of its operands.
fn axes_in(function: &Function, op: &Op, value: ValueId, rank: usize) -> (usize, usize) {
    let (last, before) = (rank.saturating_sub(1), rank.saturating_sub(2));
    let flag = |param: &str| {
        let constant = op.value(param).and_then(|v| function.constant(v));
        let literal = constant.and_then(|c| c.literal().ok());
        literal.as_ref().and_then(|l| l.as_tensor()).is_some_and(|t| !t.is_empty() && t.i64_at(0) != 0)
    };
    match op.kind.name() {
        "conv_transpose" => (0, 1),
        "matmul" if op.value("y") == Some(value) => {
            if flag("transpose_y") {
                (last, before)
            } else {
                (before, last)
            }
        }
        "matmul" => {
            if flag("transpose_x") {
                (before, last)
            } else {
                (last, before)
            }
        }
        _ => (1, 0),
    }
}
