//! The op that makes a model a classifier.
//!
//! Semantics: the MIL op reference of coremltools, `ops/defs/iOS15/classify.py`.

use super::{Accept, Effect, Fault, Form, OpDef, Site, Version, Work, list, tensor};
use crate::eval::EvalSite;
use crate::{Dim, Literal, Opset, Tensor, TensorType, Type};
use anemone_tensor::DType;

/// The ops of this family.
pub static OPS: &[&OpDef] = &[&CLASSIFY];

static CLASSIFY: OpDef = OpDef {
    name: "classify",
    doc: "The class of the highest probability, and a dictionary from class to probability.",
    versions: &[Version {
        since: Opset::Ios13,
        params: &[tensor("probabilities", Accept::Types(&[DType::F32])), list("classes")],
        domains: &[],
    }],
    effect: Effect::Pure,
    form: Form::Other,
    infer: classify_type,
    eval: Some(classify),
    work: |site| {
        let count = site.tensor("probabilities").ok()?.element_count()?;
        Some(Work { flops: u64::try_from(count).ok()?, transcendental: 0 })
    },
};

/// Type of one class, and how many there are.
fn class_type<'a>(site: &Site<'a>) -> Result<(&'a Type, &'a Dim), Fault> {
    let given = site.ty("classes")?;
    let labels = [Type::from(TensorType::scalar(DType::String)), Type::from(TensorType::scalar(DType::I64))];
    match given {
        Type::List { elem, len } if labels.contains(elem) => Ok((&**elem, len)),
        _ => Err(Fault::arg("classes", given, "a list of string or int64")),
    }
}

fn probability_type() -> Type {
    TensorType::scalar(DType::F64).into()
}

fn classify_type(site: &Site<'_>) -> Result<Vec<Type>, Fault> {
    let probabilities = site.tensor("probabilities")?;
    let (class, len) = class_type(site)?;
    if probabilities.dtype != DType::F32 {
        return Err(Fault::arg("probabilities", probabilities.dtype, DType::F32));
    }
    if let (Some(count), Some(classes)) = (probabilities.element_count(), len.known())
        && count != classes
    {
        let allowed = format!("as many as there are elements in `probabilities`, {count}");
        return Err(Fault::arg("classes", format!("of length {classes}"), allowed));
    }
    Ok(vec![class.clone(), Type::Dict(Box::new(class.clone()), Box::new(probability_type()))])
}

fn classify(site: &EvalSite<'_>) -> Result<Vec<Literal>, Fault> {
    let probabilities = site.tensor("probabilities")?.to_f64s();
    let (class, _) = class_type(&site.site)?;
    let Some(Literal::List { items, .. }) = site.literal("classes") else {
        return Err(Fault::arg("classes", "absent or no list", "a list of string or int64"));
    };
    if items.len() != probabilities.len() {
        let allowed = format!("as many as there are probabilities, {}", probabilities.len());
        return Err(Fault::arg("classes", format!("of length {}", items.len()), allowed));
    }
    let mut best = 0;
    for (i, p) in probabilities.iter().enumerate() {
        if *p > probabilities[best] {
            best = i;
        }
    }
    let Some(label) = items.get(best).cloned() else {
        return Err(Fault::arg("probabilities", "empty", "at least one number"));
    };
    let as_f64 = |p: f64| Literal::from(Tensor::scalar_f64(DType::F64, p));
    let entries = items.into_iter().zip(probabilities.into_iter().map(as_f64)).collect();
    Ok(vec![label, Literal::Dict { key: class.clone(), value: probability_type(), entries }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;

    #[test]
    fn the_label_is_that_of_the_highest_probability() {
        let label = |n: f64| Literal::from(Tensor::scalar_f64(DType::I64, n));
        let items = vec![label(30.0), label(10.0), label(20.0)];
        let elem = TensorType::scalar(DType::I64).into();
        let probabilities = Tensor::from_f32s([1, 3], &[0.25, 0.5, 0.25]).expect("fits");
        let mut b = Builder::new("main", Opset::Ios15);
        let p = b.constant("p", probabilities.clone());
        let op = b.op("classify").arg("probabilities", p);
        op.literal("classes", Literal::List { elem, items }).all("c").expect("fits");
        let function = b.finish();
        let walk = function.walk();
        let site = Site::new(&function, function.op(walk[0].1)).expect("in the table");
        let value = |param: &str| site.literal(param).into_iter().collect();
        let values: Vec<Vec<Literal>> = site.op.args.iter().map(|a| value(&a.param)).collect();
        let results = site.def.evaluate(&EvalSite { site, values: &values }).expect("evaluates");
        assert_eq!(results[0], label(10.0));
        let Literal::Dict { entries, .. } = &results[1] else { panic!("no dictionary: {results:?}") };
        assert_eq!(entries[1], (label(10.0), Tensor::scalar_f64(DType::F64, 0.5).into()));
        assert_eq!(results.iter().map(Literal::ty).collect::<Vec<_>>(), site.infer().expect("fits"));
    }
}
