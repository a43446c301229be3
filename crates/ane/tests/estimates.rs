//! Every published estimate, recomputed from the operands that were published with it.

use anemone_ane::{Device, Estimate, cost};
use anemone_mil::ops::Site;
use anemone_mil::{
    Const, DType, Function, Literal, Name, Op, OpKind, Opset, Tensor, TensorType, Type, Uses, ValueId,
    Weight, WeightData,
};
use serde_json::Value;

/// Largest relative difference that counts as reproduced; `gru` and `rnn` share one rate that fits both to 3e-5.
const TOLERANCE: f64 = 1e-4;

const COSTS: &str = include_str!("../../../corpus/placement/costs.jsonl");

fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

fn tensor_type(value: &Value) -> TensorType {
    let dtype = DType::from_name(text(&value["dtype"])).expect("a type");
    let dims = value["shape"].as_array().expect("a shape").iter();
    TensorType::new(dtype, dims.map(|d| usize::try_from(d.as_u64().expect("an extent")).expect("fits")))
}

fn literal(ty: &TensorType, value: &Value) -> Literal {
    if ty.dtype == DType::String {
        return Literal::string(text(value));
    }
    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let number = |v: &Value| v.as_f64().or_else(|| v.as_bool().map(f64::from)).expect("a number");
    let numbers: Vec<f64> = items.iter().map(number).collect();
    let shape = ty.known_shape().expect("fixed");
    Tensor::from_f64s(ty.dtype, shape, &numbers).expect("fits").into()
}

fn operand(function: &mut Function, name: &str, value: &Value) -> ValueId {
    let ty = tensor_type(value);
    if value["const"] != true {
        return function.add_input(name, ty);
    }
    let constant: Const = match value.get("value") {
        Some(v) => literal(&ty, v).into(),
        None => {
            let shape = ty.known_shape().expect("fixed");
            Weight { dtype: ty.dtype, shape, data: WeightData::Missing, origin: None }.into()
        }
    };
    function.add_const(name, constant)
}

/// A function of the one op of a record.
fn function(record: &Value) -> (Function, anemone_mil::OpId) {
    let mut f = Function::new("main", Opset::Ios18);
    let mut op = Op::new(OpKind::named(text(&record["op"])), text(&record["output"]));
    for (param, values) in record["inputs"].as_object().expect("inputs") {
        let values = values.as_array().expect("a list").iter().enumerate();
        let ids = values.map(|(i, v)| operand(&mut f, &format!("{param}_{i}"), v)).collect();
        op.set_arg(param, ids);
    }
    let outputs = record["outputs"].as_array().expect("outputs");
    let results: Vec<(Name, Type)> =
        outputs.iter().enumerate().map(|(i, o)| (format!("out_{i}").into(), tensor_type(o).into())).collect();
    let body = f.body();
    let id = f.append(body, op, results);
    let used: Vec<ValueId> =
        f.op(id).outputs.iter().zip(outputs).filter(|(_, o)| o["used"] == true).map(|(&v, _)| v).collect();
    f.block_mut(body).outputs = used;
    (f, id)
}

fn worst_error(estimate: &Estimate, expected: &Value) -> f64 {
    let error = |(backend, ms): (&String, &Value)| {
        let ms = ms.as_f64().expect("a number");
        let ours = match backend.as_str() {
            "ane" => estimate.ane.unwrap_or(f64::INFINITY),
            "bnns" => estimate.bnns,
            _ => estimate.classic_cpu,
        };
        (ours / ms - 1.0).abs()
    };
    expected.as_object().expect("estimates").iter().map(error).fold(0.0, f64::max)
}

#[test]
fn published_estimates_are_reproduced() {
    let m4 = Device::named("m4").expect("known");
    let rates = &m4.estimates.as_ref().expect("measured").rates;
    let mut off = Vec::new();
    for line in COSTS.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let (f, id) = function(&record);
        let site = Site::new(&f, f.op(id)).unwrap_or_else(|e| panic!("{}: {e}", record["id"]));
        let estimate = cost::estimate(&site, &Uses::of(&f), rates);
        let error = worst_error(&estimate, &record["estimated_ms"]);
        if error > TOLERANCE {
            off.push(format!("{}: {error:.3} {estimate:?} against {}", record["id"], record["estimated_ms"]));
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
}
