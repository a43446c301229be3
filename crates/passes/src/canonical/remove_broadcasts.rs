//! An operand that is stretched before an op that stretches its operands anyway is taken as it is.
//!
//! ```text
//! y = sub(x, mul(m, <ones of the shape of x>))      becomes      y = sub(x, m)
//! ```

use crate::{Miss, OpRef, Patch, Ref};
use anemone_mil::ops::Site;
use anemone_mil::{Dim, ValueId};

/// Ops that stretch their operands by NumPy's rule.
const KINDS: [&str; 19] = [
    "add",
    "sub",
    "mul",
    "real_div",
    "floor_div",
    "mod",
    "pow",
    "maximum",
    "minimum",
    "equal",
    "not_equal",
    "greater",
    "greater_equal",
    "less",
    "less_equal",
    "logical_and",
    "logical_or",
    "logical_xor",
    "select",
];

/// The rewrite; looks at elementwise ops.
///
/// # Errors
/// The reason why it does not apply.
pub fn rewrite(op: OpRef<'_>) -> Result<Patch, Miss> {
    op.expect(&KINDS)?;
    let params: &[&'static str] = if op.is(&["select"]) { &["a", "b", "cond"] } else { &["x", "y"] };
    let mut miss = Miss::from("no operand is stretched");
    for &param in params {
        let Some(plain) = op.op().value(param).and_then(|v| stretched(op, v)) else { continue };
        if keeps_type(op, param, plain) {
            let mut patch = Patch::default();
            let new = patch.variant(op.op(), "plain", vec![(param, Ref::Value(plain))]);
            return Ok(patch.replacing(op.result()?, new));
        }
        miss = "the result needs the stretched operand".into();
    }
    Err(miss)
}

/// What a value is the stretched version of.
pub(super) fn stretched(op: OpRef<'_>, v: ValueId) -> Option<ValueId> {
    let maker = op.maker(v)?;
    let x = maker.op().value("x")?;
    match maker.kind() {
        "mul" => {
            let y = maker.op().value("y")?;
            [(x, y), (y, x)].into_iter().find(|&(_, ones)| is_ones(op, ones)).map(|(plain, _)| plain)
        }
        "tile" => {
            let dims = &op.tensor(x).ok()?.dims;
            let reps = maker.site().ok()?.ints("reps").ok()?;
            let unit = dims.iter().zip(reps).all(|(d, r)| r == 1 || *d == Dim::Known(1));
            unit.then_some(x)
        }
        _ => None,
    }
}

/// True for a tensor of ones, constant or filled.
pub(super) fn is_ones(op: OpRef<'_>, v: ValueId) -> bool {
    if let Ok(t) = op.constant(v) {
        return t.to_f64s().iter().all(|&n| n == 1.0);
    }
    let fill = op.made_by(v, &["fill"]);
    fill.is_ok_and(|f| f.site().is_ok_and(|s| s.float("value").is_ok_and(|n| n == 1.0)))
}

/// True when the op has the same result, every dim of which is certain, with another operand.
fn keeps_type(op: OpRef<'_>, param: &str, plain: ValueId) -> bool {
    let mut copy = op.op().clone();
    copy.set_arg(param, vec![plain]);
    let types = Site::new(op.function, &copy).and_then(|s| s.infer());
    let result = copy.outputs.first().map(|&v| &op.function.value(v).ty);
    let certain = result.and_then(|t| t.tensor()).is_some_and(|t| !t.dims.contains(&Dim::Unknown));
    certain && types.is_ok_and(|t| t.first() == result)
}
