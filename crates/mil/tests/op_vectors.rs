//! Inference and reference evaluation against what coremltools computes (`corpus/mil-op-vectors.json`).

use anemone_mil::eval::EvalSite;
use anemone_mil::ops::{Fault, Site};
use anemone_mil::{Builder, DType, Literal, Op, OpKind, Opset, Tensor, TensorType, Type};
use serde_json::Value;

/// A number, or the text `nan`, `inf`, `-inf`, which JSON cannot write.
fn number(v: &Value) -> f64 {
    match v {
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::String(s) => s.parse().expect("nan or inf"),
        v => v.as_f64().expect("a number"),
    }
}

fn tensor(v: &Value) -> Tensor {
    let dtype = DType::from_name(v["dtype"].as_str().unwrap_or_default()).expect("an element type");
    let list = |key: &str| v[key].as_array().cloned().unwrap_or_default();
    let shape: Vec<usize> = list("shape").iter().filter_map(|d| d.as_u64()?.try_into().ok()).collect();
    let values: Vec<f64> = list("values").iter().map(number).collect();
    Tensor::from_f64s(dtype, shape, &values).expect("recorded values fit their shape")
}

fn literal(v: &Value) -> Literal {
    v.as_str().map_or_else(|| tensor(v).into(), Literal::string)
}

/// Infers and evaluates one recorded op on constants.
fn run(row: &Value) -> Result<(Vec<Type>, Vec<Literal>), Fault> {
    let opset = Opset::from_name(row["opset"].as_str().unwrap_or_default()).expect("an op set");
    let mut builder = Builder::new("main", opset);
    let mut op = Op::new(OpKind::named(row["op"].as_str().unwrap_or_default()), "y");
    for (name, value) in row["arguments"].as_object().expect("arguments") {
        op.set_arg(name, vec![builder.constant(name, literal(value))]);
    }
    let values: Vec<Vec<Literal>> =
        op.args.iter().map(|a| vec![literal(&row["arguments"][&*a.param])]).collect();
    let function = builder.finish();
    let site = Site::new(&function, &op)?;
    Ok((site.infer()?, site.def.evaluate(&EvalSite { site, values: &values })?))
}

/// coremltools computes `fp16` ops in `fp16`, step by step; that costs a few units in the last place.
fn agrees(dtype: DType, actual: f64, expected: f64) -> bool {
    let (relative, absolute) = match dtype {
        DType::F16 => (4e-3, 2e-3),
        DType::F32 => (2e-6, 1e-6),
        _ => (0.0, 0.0),
    };
    actual == expected
        || actual.is_nan() && expected.is_nan()
        || (actual - expected).abs() <= absolute + relative * expected.abs()
}

fn compare(row: &Value) -> Result<(), String> {
    let (types, results) = run(row).map_err(|e| e.to_string())?;
    let expected = tensor(&row["expected"]);
    let wanted = Type::from(TensorType::new(expected.dtype(), expected.shape().iter().copied()));
    let [result] = results.as_slice() else { return Err(format!("{} results", results.len())) };
    if types != [wanted.clone()] || result.ty() != wanted {
        return Err(format!("infers {types:?} and makes {}, not {wanted}", result.ty()));
    }
    let actual = result.as_tensor().map(Tensor::to_f64s).unwrap_or_default();
    let same = actual.iter().zip(expected.to_f64s()).all(|(a, e)| agrees(expected.dtype(), *a, e));
    if same { Ok(()) } else { Err(format!("makes {actual:?}, not {:?}", expected.to_f64s())) }
}

#[test]
fn ops_compute_what_coremltools_computes() {
    let text = include_str!("../../../corpus/mil-op-vectors.json");
    let rows: Vec<Value> = serde_json::from_str(text).expect("the vectors are JSON");
    assert!(rows.len() > 200);
    let failed = |row: &Value| compare(row).err().map(|e| format!("{} {}: {e}", row["op"], row["arguments"]));
    let faults: Vec<String> = rows.iter().filter_map(failed).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
