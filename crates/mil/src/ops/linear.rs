//! Matrix products.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS15/linear.py` and `iOS17/linear.py`.

mod eval;

use super::common::{BOOL, STRING, T, T_FLOATS_INT32, U};
use super::{
    Default, Domain, Effect, Fault, Form, OpDef, Param, Site, Version, Work, constant, tensor, variadic,
};
use crate::{Dim, Opset, TensorType, Type, ValueId, broadcast};
use anemone_tensor::DType;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&LINEAR, &MATMUL, &EINSUM];

const U_FLOATS_INT32: Domain = Domain { name: "U", types: T_FLOATS_INT32.types };
const TRANSPOSE_X: Param = constant("transpose_x", BOOL).or(Default::Bool(false));
const TRANSPOSE_Y: Param = constant("transpose_y", BOOL).or(Default::Bool(false));

static LINEAR: OpDef = OpDef {
    name: "linear",
    doc: "x times the transposed weight, plus a bias, over the last dim.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), constant("weight", T), constant("bias", T).optional()],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), constant("weight", U), constant("bias", U).optional()],
            domains: &[T_FLOATS_INT32, U_FLOATS_INT32],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_linear,
    eval: Some(eval::linear),
    work: linear_work,
};

static MATMUL: OpDef = OpDef {
    name: "matmul",
    doc: "Matrix product of the last two dims, the others broadcast as batch dims.",
    versions: &[
        Version {
            since: Opset::Ios13,
            params: &[tensor("x", T), tensor("y", T), TRANSPOSE_X, TRANSPOSE_Y],
            domains: &[T_FLOATS_INT32],
        },
        Version {
            since: Opset::Ios17,
            params: &[tensor("x", T), tensor("y", U), TRANSPOSE_X, TRANSPOSE_Y],
            domains: &[T_FLOATS_INT32, U_FLOATS_INT32],
        },
    ],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_matmul,
    eval: Some(eval::matmul),
    work: matmul_work,
};

static EINSUM: OpDef = OpDef {
    name: "einsum",
    doc: "Product of two tensors by an equation: nchw,nwhu->nchu or chw,whr->chr, under any letters.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[variadic("values", super::Accept::Any), constant("equation", STRING)],
        domains: &[],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_einsum,
    eval: Some(eval::einsum),
    work: einsum_work,
};

/// A `matmul` with its attributes decoded and defaulted.
///
/// An operand of rank 1 is a row on the left and a column on the right, and its dim of 1 leaves the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatMul {
    /// Left operand.
    pub x: ValueId,
    /// Right operand.
    pub y: ValueId,
    /// The last two dims of the left operand are swapped first.
    pub transpose_x: bool,
    /// The last two dims of the right operand are swapped first; never of a vector.
    pub transpose_y: bool,
}

impl MatMul {
    /// Decodes the op.
    ///
    /// # Errors
    /// When an operand is a scalar, an attribute is not constant, or a vector on the left is to be transposed.
    pub fn of(site: &Site<'_>) -> Result<MatMul, Fault> {
        let (tx, ty) = (site.tensor("x")?, site.tensor("y")?);
        for (param, t) in [("x", tx), ("y", ty)] {
            if t.rank() == 0 {
                return Err(Fault::arg(param, "a scalar", "of rank 1 or more"));
            }
        }
        let (transpose_x, transpose_y) = (site.bool("transpose_x")?, site.bool("transpose_y")?);
        if transpose_x && tx.rank() == 1 {
            return Err(Fault::arg("transpose_x", true, "false where `x` has rank 1"));
        }
        let missing = || Fault::new("argument `x` or `y` is missing");
        let (x, y) = (site.op.value("x").ok_or_else(missing)?, site.op.value("y").ok_or_else(missing)?);
        Ok(MatMul { x, y, transpose_x, transpose_y: transpose_y && ty.rank() > 1 })
    }

    /// Dims of the operands as matrices: vectors promoted, transposed ones as they are multiplied.
    pub fn matrices(&self, x: &[Dim], y: &[Dim]) -> (Vec<Dim>, Vec<Dim>) {
        let (mut x, mut y) = (x.to_vec(), y.to_vec());
        if x.len() == 1 {
            x.insert(0, Dim::Known(1));
        }
        if y.len() == 1 {
            y.push(Dim::Known(1));
        }
        for (dims, swap) in [(&mut x, self.transpose_x), (&mut y, self.transpose_y)] {
            if let (true, [.., a, b]) = (swap, dims.as_mut_slice()) {
                std::mem::swap(a, b);
            }
        }
        (x, y)
    }

    /// Dims of the result of operands of these dims.
    ///
    /// # Errors
    /// When inner or batch dims do not fit.
    pub fn output_dims(&self, x: &[Dim], y: &[Dim]) -> Result<Vec<Dim>, Fault> {
        let (left, right) = self.matrices(x, y);
        let ([bx @ .., m, k], [by @ .., k2, n]) = (left.as_slice(), right.as_slice()) else {
            return Err(Fault::new("both operands must have a dim"));
        };
        if !k.compatible(k2) {
            let actual = format!("{k2} rows high as a matrix");
            return Err(Fault::arg("y", actual, format!("{k}, the columns of `x`")));
        }
        let mut out = broadcast(bx, by).map_err(|e| {
            let (left, right, axis) = (e.left, e.right, e.axis_from_end);
            Fault::new(format!(
                "batch dims do not broadcast: {left} of `x` and {right} of `y` in batch dim {axis} from the right; \
                 they must be equal or one of them 1"
            ))
        })?;
        out.extend((x.len() > 1).then(|| m.clone()));
        out.extend((y.len() > 1).then(|| n.clone()));
        Ok(out)
    }
}

fn infer_linear(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, weight) = (site.tensor("x")?, site.tensor("weight")?);
    let [d_out, d_in] = weight.dims.as_slice() else {
        return Err(Fault::arg("weight", weight, "of rank 2"));
    };
    let Some((last, lead)) = x.dims.split_last() else {
        return Err(Fault::arg("x", "a scalar", "of rank 1 or more"));
    };
    if !last.compatible(d_in) {
        return Err(Fault::arg("weight", weight, format!("of shape [?, {last}], the last dim of `x`")));
    }
    if let Some(b) = site.optional_tensor("bias")?.filter(|b| b.rank() != 1 || !b.dims[0].compatible(d_out)) {
        return Err(Fault::arg("bias", b, format!("of shape [{d_out}], one element per row of `weight`")));
    }
    let dims = [lead, std::slice::from_ref(d_out)].concat();
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

fn infer_matmul(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let view = MatMul::of(site)?;
    let dims = view.output_dims(&site.tensor("x")?.dims, &site.tensor("y")?.dims)?;
    Ok(vec![TensorType { dtype: matmul_dtype(site)?, dims }.into()])
}

/// The element type of the operand that is computed, when the other is a constant of another type.
fn matmul_dtype(site: &Site<'_>) -> Result<DType, Fault> {
    let (x, y) = (site.tensor("x")?.dtype, site.tensor("y")?.dtype);
    match (is_constant(site, "x"), is_constant(site, "y")) {
        _ if x == y => Ok(x),
        (true, false) => Ok(y),
        (false, true) => Ok(x),
        _ => Err(Fault::arg("y", y, format!("{x}, like `x`, unless just one of the two is a constant"))),
    }
}

/// True for constants and compressed weights.
fn is_constant(site: &Site<'_>, param: &str) -> bool {
    let Some(value) = site.op.value(param) else { return false };
    let made_at_load = |op| {
        let def = site.function.op(op).kind.def();
        def.is_some_and(|d| d.effect == Effect::Constexpr)
    };
    site.function.constant(value).is_some() || site.function.producer(value).is_some_and(made_at_load)
}

/// The two operands of an `einsum` and its equation.
fn einsum_parts<'a>(site: &Site<'a>) -> Result<(&'a TensorType, &'a TensorType, String), Fault> {
    let types = site.tensors("values")?;
    match types.as_slice() {
        [x, y] => Ok((x, y, site.str("equation")?)),
        _ => Err(Fault::arg("values", format!("{} tensors", types.len()), "2 tensors")),
    }
}

/// Ranks that the equation asks of operands and result, when it is one of the two that the op supports.
///
/// Both sum over the last dim of the first operand, which is the third last of the second.
pub(crate) fn einsum_rank(equation: &str) -> Option<usize> {
    let mut letters: Vec<char> = Vec::new();
    let mut number = |c: char| {
        let known = letters.iter().position(|&l| l == c);
        known.unwrap_or_else(|| {
            letters.push(c);
            letters.len() - 1
        })
    };
    let (operands, result) = equation.split_once("->")?;
    let (x, y) = operands.split_once(',')?;
    let [x, y, z] = [x, y, result].map(|part| part.trim().chars().map(&mut number).collect::<Vec<_>>());
    match (x.as_slice(), y.as_slice(), z.as_slice()) {
        ([0, 1, 2, 3], [0, 3, 2, 4], [0, 1, 2, 4]) => Some(4),
        ([0, 1, 2], [2, 1, 3], [0, 1, 3]) => Some(3),
        _ => None,
    }
}

fn infer_einsum(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (x, y, equation) = einsum_parts(site)?;
    let allowed =
        "nchw,nwhu->nchu or chw,whr->chr, under any letters; write others with matmul and transpose";
    let rank = einsum_rank(&equation).ok_or_else(|| Fault::arg("equation", &equation, allowed))?;
    if x.dtype != y.dtype || x.rank() != rank || y.rank() != rank {
        return Err(Fault::arg("values", format!("{x} and {y}"), format!("of one type and rank {rank}")));
    }
    let at = |t: &TensorType, from_end: usize| t.dims[rank - from_end].clone();
    if !at(x, 1).compatible(&at(y, 3)) {
        let allowed = "such that the last dim of the first is the third last of the second";
        return Err(Fault::arg("values", format!("{x} and {y}"), allowed));
    }
    let shared = |from_end: usize| {
        let both = broadcast(&[at(x, from_end)], &[at(y, from_end)]).map(|d| d[0].clone());
        let allowed = "equal or 1 in the batch dims";
        both.map_err(|_| Fault::arg("values", format!("{x} and {y}"), allowed))
    };
    let mut dims = if rank == 4 { vec![shared(4)?] } else { Vec::new() };
    dims.extend([at(x, 3), shared(2)?, at(y, 1)]);
    Ok(vec![TensorType { dtype: x.dtype, dims }.into()])
}

fn linear_work(site: &Site<'_>) -> Option<Work> {
    let terms = site.tensor("weight").ok()?.dims.get(1)?.known()?;
    let out = site.infer().ok()?.first()?.tensor()?.element_count()?;
    Work::products(out, terms, site.has("bias"))
}

fn matmul_work(site: &Site<'_>) -> Option<Work> {
    let view = MatMul::of(site).ok()?;
    let (x, _) = view.matrices(&site.tensor("x").ok()?.dims, &site.tensor("y").ok()?.dims);
    let out = site.infer().ok()?.first()?.tensor()?.element_count()?;
    Work::products(out, x.last()?.known()?, false)
}

fn einsum_work(site: &Site<'_>) -> Option<Work> {
    let (x, ..) = einsum_parts(site).ok()?;
    let out = site.infer().ok()?.first()?.tensor()?.element_count()?;
    Work::products(out, x.dims.last()?.known()?, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::probe::{assert_close, f32s, iota, run};
    use crate::{Builder, Literal, Tensor};

    /// Expected: `numpy.matmul` on the same numbers.
    #[test]
    fn matmul_matches_numpy() {
        let case = |x: &[usize], y: &[usize], tx: bool, ty: bool| {
            let inputs = [("x", iota(x)), ("y", iota(y))];
            let out =
                run(Opset::Ios15, "matmul", &inputs, |b| b.bool("transpose_x", tx).bool("transpose_y", ty));
            (out[0].shape().to_vec(), out[0].to_f64s())
        };
        assert_eq!(case(&[2, 3], &[3, 2], false, false), (vec![2, 2], vec![10., 13., 28., 40.]));
        assert_eq!(case(&[3, 2], &[2, 3], true, true), (vec![2, 2], vec![10., 28., 13., 40.]));
        let batched = case(&[2, 1, 1, 2], &[2, 2, 1], false, false);
        assert_eq!(batched, (vec![2, 2, 1, 1], vec![1., 3., 3., 13.]));
        assert_eq!(case(&[2], &[2, 2, 1], false, false), (vec![2, 1], vec![1., 3.]));
        assert_eq!(case(&[2, 2, 3], &[3], false, true), (vec![2, 2], vec![5., 14., 23., 32.]));
        assert_eq!(case(&[3], &[3], false, false), (vec![], vec![5.]));
        assert_eq!(case(&[2, 0], &[0, 1], false, false), (vec![2, 1], vec![0., 0.]));
    }

    #[test]
    fn integer_products_wrap_as_in_numpy() {
        let x = Tensor::from_i64s(DType::I32, [1, 1], &[65536]).expect("fits");
        let out = run(Opset::Ios15, "matmul", &[("x", x.clone()), ("y", x)], |b| b);
        assert_eq!(out[0].to_i64s(), [0]);
    }

    #[test]
    fn linear_multiplies_by_the_transposed_weight() {
        let out = run(Opset::Ios17, "linear", &[("x", iota(&[2, 3]))], |b| {
            b.literal("weight", iota(&[2, 3])).literal("bias", f32s(&[2], &[0.5, -0.5]))
        });
        assert_close(&out[0], &[5.5, 13.5, 14.5, 49.5]);
    }

    /// Expected: `numpy.einsum("nchw,nwhu->nchu", ...)` with the height of the second operand broadcast.
    #[test]
    fn einsum_contracts_the_last_dim_with_the_third_last() {
        let mut b = Builder::new("main", Opset::Ios15);
        let x = b.input("x", TensorType::new(DType::F32, [1, 2, 2, 2]));
        let y = b.input("y", TensorType::new(DType::F32, [1, 2, 1, 1]));
        b.op("einsum").args("values", vec![x, y]).str("equation", "abcd,adce->abce").one("z").expect("fits");
        let f = b.finish();
        let op = f.op(f.walk()[0].1);
        let site = Site::new(&f, op).expect("known");
        let args = |a: &crate::Arg| match &*a.param {
            "values" => vec![Literal::from(iota(&[1, 2, 2, 2])), iota(&[1, 2, 1, 1]).into()],
            _ => vec![Literal::string("abcd,adce->abce")],
        };
        let values: Vec<Vec<Literal>> = op.args.iter().map(args).collect();
        let out = site.def.evaluate(&crate::eval::EvalSite { site, values: &values }).expect("evaluates");
        let out = out[0].as_tensor().expect("a tensor");
        assert_eq!((out.shape(), out.to_f64s()), (&[1, 2, 2, 1][..], vec![1., 3., 5., 7.]));
        assert_eq!(einsum_rank("ij,jk->ik"), None);
    }

    #[test]
    fn mixed_types_need_a_constant() {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::F16, [2, 3]));
        let y = b.input("y", TensorType::new(DType::F32, [3, 2]));
        assert!(b.op("matmul").arg("x", x).arg("y", y).one("z").is_err());
        let z = b.op("matmul").arg("x", x).literal("y", iota(&[3, 2])).one("z").expect("constant");
        assert_eq!(b.ty(z).tensor().map(|t| t.dtype), Some(DType::F16));
        let fault = b.op("matmul").arg("x", x).literal("y", iota(&[4, 2])).one("z").expect_err("3 is not 4");
        assert_eq!(
            fault.to_string(),
            "argument `y` is 4 rows high as a matrix, but must be 3, the columns of `x`"
        );
    }
}
