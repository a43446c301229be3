//! Affine quantization of activations.
//!
//! Formulas: the MIL op reference of coremltools 9.0, `ops/defs/iOS17/quantization_ops.py`.

use super::common::{INT32, STRING};
use super::window::volume;
use super::{Accept, Domain, Effect, Fault, Form, OpDef, Site, Version, Work, constant, tensor};
use crate::eval::EvalSite;
use crate::{Dim, Literal, Opset, Tensor, TensorType, Type};
use anemone_tensor::DType;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&DEQUANTIZE, &QUANTIZE];

const SRC: Accept = Accept::Domain("SrcT");
const DST: Accept = Accept::Domain("DstT");
const FLOATS: &[DType] = &[DType::F16, DType::F32];
const BYTES: &[DType] = &[DType::U8, DType::I8];

static DEQUANTIZE: OpDef = OpDef {
    name: "dequantize",
    doc: "scale * (input - zero_point), one scale for all or one per index of an axis.",
    versions: &[Version {
        since: Opset::Ios17,
        params: &[
            tensor("input", SRC),
            constant("zero_point", SRC).optional(),
            constant("scale", DST),
            constant("axis", INT32).optional(),
        ],
        domains: &[Domain { name: "SrcT", types: BYTES }, Domain { name: "DstT", types: FLOATS }],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_dequantize,
    eval: Some(dequantize),
    work: |site| Work::scaled(site, 2, 0),
};

static QUANTIZE: OpDef = OpDef {
    name: "quantize",
    doc: "clip(round(input / scale) + zero_point), halves rounded to even, clipped to the 8-bit range.",
    versions: &[Version {
        since: Opset::Ios17,
        params: &[
            tensor("input", SRC),
            constant("zero_point", DST).optional(),
            constant("scale", SRC),
            constant("axis", INT32).optional(),
            constant("output_dtype", STRING),
        ],
        domains: &[Domain { name: "SrcT", types: FLOATS }, Domain { name: "DstT", types: BYTES }],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: infer_quantize,
    eval: Some(quantize),
    work: |site| Work::scaled(site, 3, 0),
};

/// Checks that `scale` and `zero_point` are both scalars without an axis, or both as long as the dim at `axis`.
fn check_scale(site: &Site<'_>) -> Result<(), Fault> {
    let (input, scale) = (site.tensor("input")?, site.tensor("scale")?);
    let zero = site.optional_tensor("zero_point")?;
    if scale.rank() == 0 {
        if site.has("axis") {
            return Err(Fault::arg("axis", "given", "left out where `scale` is a scalar"));
        }
        return match zero.filter(|z| z.rank() != 0) {
            Some(z) => Err(Fault::arg("zero_point", z, "a scalar, like `scale`")),
            None => Ok(()),
        };
    }
    let along = &input.dims[site.axis("axis", input.rank())?];
    check_vector("scale", scale, along)?;
    zero.map_or(Ok(()), |z| check_vector("zero_point", z, along))
}

fn check_vector(param: &str, t: &TensorType, along: &Dim) -> Result<(), Fault> {
    if t.rank() == 1 && t.dims[0].compatible(along) {
        return Ok(());
    }
    Err(Fault::arg(param, t, format!("of shape [{along}], the dim that `axis` names, or scalars both")))
}

fn infer_dequantize(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    check_scale(site)?;
    let input = site.tensor("input")?;
    Ok(vec![input.with_dtype(site.tensor("scale")?.dtype).into()])
}

fn infer_quantize(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    check_scale(site)?;
    let name = site.str("output_dtype")?;
    let dtype = DType::from_name(&name).filter(|d| BYTES.contains(d));
    let dtype = dtype.ok_or_else(|| Fault::arg("output_dtype", name, "uint8 or int8"))?;
    if let Some(z) = site.optional_tensor("zero_point")?.filter(|z| z.dtype != dtype) {
        return Err(Fault::arg("zero_point", z.dtype, format!("{dtype}, like `output_dtype`")));
    }
    if site.numbers("scale").is_some_and(|s| !s.is_empty() && s.to_f64s().iter().all(|&v| v == 0.0)) {
        return Err(Fault::arg("scale", 0, "other than zero"));
    }
    Ok(vec![site.tensor("input")?.with_dtype(dtype).into()])
}

/// Applies `f(value, scale, zero point)` to every element of `input`.
fn map(site: &EvalSite<'_>, f: impl Fn(f64, f64, f64) -> f64) -> Result<Vec<f64>, Fault> {
    let (input, scale) = (site.tensor("input")?, site.tensor("scale")?);
    let zero = site.optional("zero_point").map_or_else(|| vec![0.0; scale.len()], |z| z.to_f64s());
    let scales = scale.to_f64s();
    let (along, below) = match scale.rank() {
        0 => (1, 1),
        _ => {
            let axis = site.site.axis("axis", input.rank())?;
            (input.shape()[axis], volume(&input.shape()[axis + 1..]).max(1))
        }
    };
    let one = |i: usize| {
        let at = i / below % along;
        Some(f(input.f64_at(i), *scales.get(at)?, *zero.get(at)?))
    };
    let values: Option<Vec<f64>> = (0..input.len()).map(one).collect();
    values.ok_or_else(|| Fault::arg("scale", format!("of {} elements", scale.len()), format!("of {along}")))
}

fn dequantize(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let values = map(site, |v, scale, zero| scale * (v - zero))?;
    EvalSite::floats(site.tensor("scale")?.dtype(), site.tensor("input")?.shape(), &values)
}

/// The quotient is rounded to the type of `input` first, as the division in that type does.
fn quantize(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let input = site.tensor("input")?;
    let rounded = |v: f64| Tensor::scalar_f64(input.dtype(), v).f64_at(0).round_ties_even();
    let values = map(site, |v, scale, zero| rounded(v / scale) + zero)?;
    EvalSite::floats(site.result_dtype(0)?, input.shape(), &values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;
    use crate::ops::probe::{assert_close, f32s, iota, run};

    /// Expected: by hand; halves go to the even neighbour as in `numpy.around`.
    #[test]
    fn quantize_rounds_half_to_even_and_clips() {
        let x = f32s(&[6], &[0.25, 0.75, 1.25, -0.75, 1000.0, -1000.0]);
        let out = run(Opset::Ios17, "quantize", &[("input", x.clone())], |b| {
            b.literal("scale", f32s(&[], &[0.5])).str("output_dtype", "int8")
        });
        assert_eq!(out[0].to_i64s(), [0, 2, 2, -2, 127, -128]);
        let out = run(Opset::Ios17, "quantize", &[("input", x)], |b| {
            let zero = Tensor::scalar_f64(DType::U8, 128.0);
            b.literal("scale", f32s(&[], &[0.5])).literal("zero_point", zero).str("output_dtype", "uint8")
        });
        assert_eq!(out[0].to_i64s(), [128, 130, 130, 126, 255, 0]);
    }

    #[test]
    fn scales_apply_along_their_axis() {
        let x = Tensor::from_i64s(DType::I8, [2, 3], &[1, 2, 3, 4, 5, 6]).expect("fits");
        let out = run(Opset::Ios17, "dequantize", &[("input", x.clone())], |b| {
            let zero = Tensor::from_i64s(DType::I8, [3], &[0, 1, 2]).expect("fits");
            b.literal("scale", f32s(&[3], &[1.0, 10.0, 100.0])).literal("zero_point", zero).int("axis", -1)
        });
        assert_close(&out[0], &[1.0, 10.0, 100.0, 4.0, 40.0, 400.0]);
        let out = run(Opset::Ios17, "dequantize", &[("input", x)], |b| {
            b.literal("scale", f32s(&[2], &[1.0, 10.0])).int("axis", 0)
        });
        assert_close(&out[0], &[1.0, 2.0, 3.0, 40.0, 50.0, 60.0]);
    }

    #[test]
    fn an_axis_belongs_to_vectors_only() {
        let mut b = Builder::new("main", Opset::Ios17);
        let x = b.input("x", TensorType::new(DType::F16, [2, 3]));
        let scale = |n: &[usize]| iota(n).cast(DType::F16);
        let op = |b: &mut Builder, n: &[usize]| {
            b.op("quantize").arg("input", x).literal("scale", scale(n)).str("output_dtype", "int8").one("y")
        };
        assert!(op(&mut b, &[]).is_err(), "zero scale");
        assert!(op(&mut b, &[3]).is_err(), "no axis");
        let one = Tensor::scalar_f64(DType::F16, 1.0);
        let with_axis = b.op("quantize").arg("input", x).literal("scale", one).int("axis", 0);
        let fault = with_axis.str("output_dtype", "int8").one("y").expect_err("axis beside a scalar");
        assert_eq!(
            fault.to_string(),
            "argument `axis` is given, but must be left out where `scale` is a scalar"
        );
    }
}
