//! Products and sums in any of their spellings.

use crate::{Miss, OpRef};
use anemone_mil::{DType, ValueId};

/// `factor` times all of `terms`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Product {
    pub(crate) factor: f64,
    pub(crate) terms: Vec<ValueId>,
}

impl Product {
    /// The product that an op computes: `mul`, `real_div` by a number, `square` and small powers, followed through
    /// operands that only this product takes.
    pub(crate) fn of(op: OpRef<'_>) -> Product {
        let mut product = Product { factor: 1.0, terms: Vec::new() };
        product.op(op, 1);
        product
    }

    /// As [`of`](Product::of), for operand `v` of `op`; a value that is no product is its only term.
    pub(crate) fn of_operand(op: OpRef<'_>, v: ValueId) -> Product {
        let mut product = Product { factor: 1.0, terms: Vec::new() };
        product.operand(op, v, 1);
        product
    }

    fn operand(&mut self, user: OpRef<'_>, v: ValueId, power: usize) {
        if let Ok(t) = user.constant(v)
            && t.len() == 1
        {
            self.factor *= (0..power).map(|_| t.f64_at(0)).product::<f64>();
        } else {
            match user.maker(v) {
                Some(maker) if user.feeds_only_this(v).is_ok() && is_product(maker) => self.op(maker, power),
                _ => self.terms.extend(vec![v; power]),
            }
        }
    }

    fn op(&mut self, op: OpRef<'_>, power: usize) {
        let (x, y) = (op.op().value("x"), op.op().value("y"));
        let both = (x, y);
        match (op.kind(), both) {
            ("mul", (Some(x), Some(y))) => {
                self.operand(op, x, power);
                self.operand(op, y, power);
            }
            ("real_div", (Some(x), Some(y))) => match number(op, y) {
                Some(d) => {
                    self.operand(op, x, power);
                    self.factor /= (0..power).map(|_| d).product::<f64>();
                }
                None => self.terms.extend(vec![op.op().outputs[0]; power]),
            },
            ("square", (Some(x), _)) => self.operand(op, x, 2 * power),
            ("pow", (Some(x), Some(y))) => match number(op, y).and_then(small_power) {
                Some(p) => self.operand(op, x, p * power),
                None => self.terms.extend(vec![op.op().outputs[0]; power]),
            },
            _ => self.terms.extend(op.op().outputs.first()),
        }
    }
}

fn is_product(op: OpRef<'_>) -> bool {
    let by_number = || op.op().value("y").and_then(|y| number(op, y));
    match op.kind() {
        "mul" | "square" => true,
        "real_div" => by_number().is_some(),
        "pow" => by_number().and_then(small_power).is_some(),
        _ => false,
    }
}

fn number(op: OpRef<'_>, v: ValueId) -> Option<f64> {
    op.constant(v).ok().filter(|t| t.len() == 1).map(|t| t.f64_at(0))
}

fn small_power(p: f64) -> Option<usize> {
    [2usize, 3].into_iter().find(|&n| anemone_tensor::num::f64_of_usize(n) == p)
}

/// `number + rest`, the op being an `add` or `sub` of a constant number.
///
/// # Errors
/// When it is none, or the constant stands before the minus.
pub(crate) fn number_and_rest(op: OpRef<'_>) -> Result<(f64, ValueId), Miss> {
    let (n, other) = op.number_side()?;
    match op.kind() {
        "add" => Ok((n, op.operand(other)?)),
        "sub" if other == "x" => Ok((-n, op.operand(other)?)),
        _ => Err("no sum with a number".into()),
    }
}

/// True when a constant that stands beside values of `dtype` is meant to be `wanted`.
///
/// Exporters write `sqrt(2)` and the like with as few as six digits, or rounded to the type.
pub(crate) fn is_about(dtype: DType, actual: f64, wanted: f64) -> bool {
    let tolerance = if dtype == DType::F16 { 1.0 / 1024.0 } else { 1.0 / 65536.0 };
    (actual - wanted).abs() <= tolerance * wanted.abs()
}
