//! The published estimates of `corpus/placement/costs.jsonl` as functions of one op each.

use anemone_mil::{
    Const, DType, Function, Literal, Name, Op, OpId, OpKind, Opset, Tensor, TensorType, Type, ValueId,
    Weight, WeightData,
};
use serde_json::Value;

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

/// A function of the one op of a record, with the op.
///
/// # Panics
/// When the record is not one of `costs.jsonl`.
pub fn function(record: &Value) -> (Function, OpId) {
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
