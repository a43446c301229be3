//! Matrix products.

use crate::onnx::node::{Done, Node};
use anemone_mil::ops::Fault;
use anemone_mil::{Const, Tensor, ValueId, Weight};

/// `MatMul`.
pub(crate) fn matmul(n: &mut Node<'_, '_>) -> Done {
    let (x, y, name) = (n.input(0)?, n.input(1)?, n.name());
    let z = product(n, x, y, &name)?;
    n.done(z)
}

/// A matrix product; a vector is a row on the left and a column on the right, and the result loses that dim.
pub(super) fn product(n: &mut Node<'_, '_>, x: ValueId, y: ValueId, name: &str) -> Result<ValueId, Fault> {
    let (row, column) = (n.rank(x)? == 1, n.rank(y)? == 1);
    if !row && !column {
        return n.binary("matmul", x, y, name);
    }
    let names = ["row", "column", "product"].map(|s| format!("{name}_{s}"));
    let x = if row { n.op("expand_dims").arg("x", x).ints("axes", &[0]).one(&names[0])? } else { x };
    let y = if column { n.op("expand_dims").arg("x", y).ints("axes", &[1]).one(&names[1])? } else { y };
    let z = n.binary("matmul", x, y, &names[2])?;
    let axes: &[i32] = match (row, column) {
        (true, true) => &[-2, -1],
        (true, false) => &[-2],
        _ => &[-1],
    };
    n.op("squeeze").arg("x", z).ints("axes", axes).one(name)
}

/// `Gemm`: `alpha * A' B' + beta * C`; a `linear` where `B` is constant.
pub(crate) fn gemm(n: &mut Node<'_, '_>) -> Done {
    let (a, b, c, name) = (n.input(0)?, n.input(1)?, n.maybe(2)?, n.name());
    let (alpha, beta) = (n.float("alpha").unwrap_or(1.0), n.float("beta").unwrap_or(1.0));
    let (trans_a, trans_b) = (n.int("transA").unwrap_or(0) != 0, n.int("transB").unwrap_or(0) != 0);
    let names = [n.inner("a"), n.inner("product"), n.inner("scaled"), n.inner("bias")];
    let a = if trans_a { n.op("transpose").arg("x", a).ints("perm", &[1, 0]).one(&names[0])? } else { a };
    let plain = neutral(alpha) && neutral(beta);
    if let Some(weight) = matrix(n, b, trans_b)
        && plain
    {
        let bias = match c {
            Some(c) => row(n, c, weight.shape[0])?,
            None => None,
        };
        if c.is_none() || bias.is_some() {
            let weight = n.importer.builder.constant(&format!("{name}_weight"), weight);
            let y = n.op("linear").arg("x", a).arg("weight", weight).maybe("bias", bias).one(&name)?;
            return n.done(y);
        }
    }
    let last = if c.is_none() && neutral(alpha) { &name } else { &names[1] };
    let mut y = n.op("matmul").arg("x", a).arg("y", b).bool("transpose_y", trans_b).one(last)?;
    if !neutral(alpha) {
        let factor = n.scalar_like("alpha", y, alpha)?;
        y = n.binary("mul", y, factor, if c.is_none() { &name } else { &names[2] })?;
    }
    if let Some(mut c) = c {
        if !neutral(beta) {
            let factor = n.scalar_like("beta", c, beta)?;
            c = n.binary("mul", c, factor, &names[3])?;
        }
        y = n.binary("add", y, c, &name)?;
    }
    n.done(y)
}

#[expect(clippy::float_cmp, reason = "exactly 1 or it scales")]
fn neutral(factor: f64) -> bool {
    factor == 1.0
}

/// A constant matrix as `[out, in]`, transposed when it is written, never now.
fn matrix(n: &Node<'_, '_>, b: ValueId, transposed: bool) -> Option<Weight> {
    let weight = match n.importer.builder.function().constant(b)? {
        Const::Weight(w) => w.clone(),
        Const::Literal(l) => Weight::of(l.as_tensor()?),
    };
    let usable = weight.shape.len() == 2 && weight.dtype.is_float();
    usable.then(|| if transposed { weight } else { weight.transposed(&[1, 0]) })
}

/// A constant that is one number per output, or one for all, as `[out]`.
fn row(n: &mut Node<'_, '_>, c: ValueId, out: usize) -> Result<Option<ValueId>, Fault> {
    let Some(t) = n.numbers(c) else { return Ok(None) };
    let flat = if t.len() == 1 {
        n.room(&[out])?;
        Tensor::from_f64s(t.dtype(), [out], &vec![t.f64_at(0); out])
    } else if t.len() == out && t.shape().last() == Some(&out) {
        t.reshaped([out])
    } else {
        return Ok(None);
    };
    let flat = flat.map_err(|e| Fault::new(e.to_string()))?;
    Ok(Some(n.constant_value("bias", &flat)))
}

/// `FusedMatMul` of ONNX Runtime: `alpha * A' B'`.
pub(crate) fn fused(n: &mut Node<'_, '_>) -> Done {
    let (x, y, name, inner) = (n.input(0)?, n.input(1)?, n.name(), n.inner("product"));
    if n.int("transBatchA").unwrap_or(0) != 0 || n.int("transBatchB").unwrap_or(0) != 0 {
        return Err(Fault::new("transposes batches, which is not supported"));
    }
    let (alpha, trans_x) = (n.float("alpha").unwrap_or(1.0), n.int("transA").unwrap_or(0) != 0);
    let trans_y = n.int("transB").unwrap_or(0) != 0;
    let last = if neutral(alpha) { &name } else { &inner };
    let op = n.op("matmul").arg("x", x).arg("y", y);
    let mut z = op.bool("transpose_x", trans_x).bool("transpose_y", trans_y).one(last)?;
    if !neutral(alpha) {
        let factor = n.scalar_like("alpha", z, alpha)?;
        z = n.binary("mul", z, factor, &name)?;
    }
    n.done(z)
}
