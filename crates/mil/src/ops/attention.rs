//! Scaled dot product attention.
//!
//! Formula: the MIL op reference of coremltools 9.0, `ops/defs/iOS18/transformers.py`.

use super::common::{T, T_FLOATS, broadcast_offsets};
use super::rearrange::made;
use super::window::volume;
use super::{Accept, Domain, Effect, Fault, Form, OpDef, Site, Version, Work, tensor};
use crate::eval::EvalSite;
use crate::{Dim, Literal, Opset, TensorType, Type, broadcast};
use anemone_tensor::{DType, num};

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&SCALED_DOT_PRODUCT_ATTENTION];

static SCALED_DOT_PRODUCT_ATTENTION: OpDef = OpDef {
    name: "scaled_dot_product_attention",
    doc: "softmax(query * transposed key / sqrt(embedding) + attn_mask) * value.",
    versions: &[Version {
        since: Opset::Ios18,
        params: &[
            tensor("query", T),
            tensor("key", T),
            tensor("value", T),
            tensor("attn_mask", Accept::Domain("M")).optional(),
        ],
        domains: &[T_FLOATS, Domain { name: "M", types: &[DType::Bool, DType::F16, DType::F32] }],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer,
    eval: Some(eval),
    work,
};

fn infer(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let (query, key, value) = (site.tensor("query")?, site.tensor("key")?, site.tensor("value")?);
    if query.rank() < 3 {
        return Err(Fault::arg("query", query, "of rank 3 or more: batch, sequence, embedding"));
    }
    for (param, t) in [("key", key), ("value", value)] {
        if t.rank() != query.rank() {
            return Err(Fault::arg(param, t, format!("of rank {}, like `query`", query.rank())));
        }
        let batch = query.rank() - 2;
        if !t.dims.iter().zip(&query.dims).take(batch).all(|(a, b)| a.compatible(b)) {
            return Err(Fault::arg(param, t, format!("of the batch dims of `query`, {query}")));
        }
    }
    let last = |t: &TensorType, n: usize| t.dims[t.rank() - n].clone();
    if !last(key, 1).compatible(&last(query, 1)) {
        return Err(Fault::arg("key", key, format!("{} long in the last dim, like `query`", last(query, 1))));
    }
    if !last(value, 2).compatible(&last(key, 2)) {
        return Err(Fault::arg("value", value, format!("{} long in sequence, like `key`", last(key, 2))));
    }
    if let Some(mask) = site.optional_tensor("attn_mask")? {
        check_mask(mask, query, &last(key, 2))?;
    }
    let mut dims = query.dims.clone();
    dims.truncate(query.rank() - 1);
    dims.push(last(value, 1));
    Ok(vec![TensorType { dtype: query.dtype, dims }.into()])
}

/// The mask broadcasts to the scores, `[*batch, length of query, length of key]`.
fn check_mask(mask: &TensorType, query: &TensorType, keys: &Dim) -> Result<(), Fault> {
    let scores = [&query.dims[..query.rank() - 1], std::slice::from_ref(keys)].concat();
    let rank = mask.rank() <= scores.len() && mask.dims.last().is_some_and(|d| d.compatible(keys));
    if rank && broadcast(&mask.dims, &scores).is_ok() {
        return Ok(());
    }
    let scores = TensorType { dtype: query.dtype, dims: scores };
    Err(Fault::arg("attn_mask", mask, format!("stretchable to the scores, {scores}")))
}

/// Two matrix products, and for every score a scale, a sum, a maximum, a quotient and an exponential.
fn work(site: &Site<'_>) -> Option<Work> {
    let (query, key) = (site.tensor("query").ok()?.known_shape()?, site.tensor("key").ok()?.known_shape()?);
    let (value, keys) = (*site.tensor("value").ok()?.known_shape()?.last()?, *key.iter().nth_back(1)?);
    let (embedding, rows) = query.split_last()?;
    let scores = num::element_count(rows)?.checked_mul(keys)?;
    let products = Work::products(scores, embedding.checked_add(value)?, false)?;
    let scores = u64::try_from(scores).ok()?;
    let masked = u64::from(site.has("attn_mask"));
    Some(Work { flops: products.flops.checked_add(scores.checked_mul(4 + masked)?)?, transcendental: scores })
}

fn eval(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let (query, key, value) = (site.tensor("query")?, site.tensor("key")?, site.tensor("value")?);
    let ([batch @ .., l, e], [kb @ .., s, ke], [vb @ .., vs, ev]) =
        (query.shape(), key.shape(), value.shape())
    else {
        return Err(Fault::new("query, key and value must have rank 3 or more"));
    };
    if kb != batch || vb != batch || ke != e || vs != s {
        let message = format!("{query:?}, {key:?} and {value:?} do not fit together");
        return Err(Fault::new(message));
    }
    let (l, e, s, ev) = (*l, *e, *s, *ev);
    let mask = mask(site, &[batch, &[l, s]].concat())?;
    let (q, k, v) = (query.to_f64s(), key.to_f64s(), value.to_f64s());
    let scale = num::f64_of_usize(e).sqrt();
    let shape = [batch, &[l, ev]].concat();
    let mut out = Vec::with_capacity(made(&shape, query.len())?);
    made(&[l, s], 0)?;
    let batches = if volume(&shape) == 0 { 0 } else { volume(batch) };
    for b in 0..batches {
        for i in 0..l {
            let row = &q[(b * l + i) * e..][..e];
            let score = |j: usize| {
                let dot: f64 = row.iter().zip(&k[(b * s + j) * e..]).map(|(x, y)| x * y).sum();
                dot / scale + mask.as_ref().map_or(0.0, |m| m[(b * l + i) * s + j])
            };
            let weights = softmax((0..s).map(score).collect());
            let mixed =
                |c: usize| weights.iter().enumerate().map(|(j, w)| w * v[(b * s + j) * ev + c]).sum::<f64>();
            out.extend((0..ev).map(mixed));
        }
    }
    EvalSite::floats(query.dtype(), &shape, &out)
}

/// What is added to the scores: floats as they are, and minus infinity where a boolean is false.
fn mask(site: &EvalSite<'_>, scores: &[usize]) -> Result<Option<Vec<f64>>, Fault> {
    let Some(mask) = site.optional("attn_mask") else { return Ok(None) };
    let added = |at: usize| match mask.dtype() {
        DType::Bool if mask.f64_at(at) == 0.0 => f64::NEG_INFINITY,
        DType::Bool => 0.0,
        _ => mask.f64_at(at),
    };
    Ok(Some(broadcast_offsets(mask.shape(), scores)?.into_iter().map(added).collect()))
}

fn softmax(mut row: Vec<f64>) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|v| *v = (*v - max).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::probe::{assert_close, f32s, iota, run};
    use crate::{Builder, Tensor};

    /// Expected: the formula of the op reference with NumPy on the same numbers.
    #[test]
    fn attention_matches_numpy() {
        let query = f32s(&[1, 2, 2], &[0.0, 0.1, 0.2, 0.3]);
        let value = iota(&[1, 3, 1]);
        let inputs = [("query", query), ("key", iota(&[1, 3, 2])), ("value", value)];
        let plain = run(Opset::Ios18, "scaled_dot_product_attention", &inputs, |b| b);
        assert_close(&plain[0], &[1.0939679915959337, 1.435946111255669]);
        let masked = run(Opset::Ios18, "scaled_dot_product_attention", &inputs, |b| {
            let mask = Tensor::vector_bool(&[true, false, true, false, true, true]);
            b.literal("attn_mask", mask.reshaped([2, 3]).expect("6 elements"))
        });
        assert_close(&masked[0], &[1.1404860311665732, 1.6697615539876982]);
        let added = run(Opset::Ios18, "scaled_dot_product_attention", &inputs, |b| {
            b.literal("attn_mask", f32s(&[1, 3], &[1.0, 0.0, -1.0]))
        });
        assert_close(&added[0], &[0.4883030709286075, 0.8074787670609738]);
    }

    #[test]
    fn operands_that_do_not_fit_are_faults() {
        let mut b = Builder::new("main", Opset::Ios18);
        let mut input =
            |name: &str, shape: &[usize]| b.input(name, TensorType::new(DType::F16, shape.iter().copied()));
        let (q, k, short) = (input("q", &[1, 4, 8]), input("k", &[1, 6, 8]), input("v", &[1, 5, 8]));
        let wide = input("m", &[4, 5]);
        let mut op = |value, mask| {
            let op = b.op("scaled_dot_product_attention").arg("query", q).arg("key", k).arg("value", value);
            op.maybe("attn_mask", mask).one("y")
        };
        assert!(op(k, None).is_ok());
        assert!(op(short, None).is_err());
        let fault = op(k, Some(wide)).expect_err("5 is not 6").to_string();
        assert!(fault.contains("stretchable to the scores, tensor<fp16, [1, 4, 6]>"), "{fault}");
    }
}
