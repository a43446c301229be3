//! Where the elements of results come from, as the op table says, against recorded results and against what ops make of
//! tensors of different numbers.

use anemone_mil::eval::EvalSite;
use anemone_mil::ops::{self, Form, Site};
use anemone_mil::{Builder, DType, Literal, Op, OpKind, Opset, Tensor};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn number(v: &Value) -> f64 {
    match v {
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::String(s) => s.parse().expect("nan or inf"),
        v => v.as_f64().expect("a number"),
    }
}

fn numbers(tensor: &Value) -> Vec<f64> {
    tensor["values"].as_array().into_iter().flatten().map(number).collect()
}

/// Names of the ops of the table whose form passes.
fn named(wanted: fn(Form) -> bool) -> BTreeSet<&'static str> {
    ops::table().filter(|def| wanted(def.form)).map(|def| def.name).collect()
}

/// Expected values: what coremltools computed (`corpus/mil-op-vectors.json`).
#[test]
fn equal_elements_give_equal_results_in_ops_of_one_tensor() {
    let text = include_str!("../../../corpus/mil-op-vectors.json");
    let rows: Vec<Value> = serde_json::from_str(text).expect("the vectors are JSON");
    let mut seen = BTreeSet::new();
    for row in &rows {
        let def = ops::find(row["op"].as_str().unwrap_or_default()).expect("an op of the table");
        let (x, y) = (&row["arguments"]["x"], &row["expected"]);
        match def.form {
            Form::Unary => assert_eq!(x["shape"], y["shape"], "{}", def.name),
            Form::Binary => {
                let lengths = [x, &row["arguments"]["y"]].map(|t| numbers(t).len());
                assert!(lengths.iter().all(|&n| n <= numbers(y).len()), "{}", def.name);
            }
            _ => continue,
        }
        seen.insert(def.name);
        if def.form == Form::Unary {
            let mut known: BTreeMap<u64, u64> = BTreeMap::new();
            for (from, to) in numbers(x).into_iter().zip(numbers(y)) {
                let before = known.insert(from.to_bits(), to.to_bits());
                assert!(before.is_none_or(|b| b == to.to_bits()), "{} of {from}", def.name);
            }
        }
    }
    assert_eq!(seen, named(|form| matches!(form, Form::Unary | Form::Binary)));
}

fn count(dtype: DType, shape: &[usize]) -> Literal {
    let values: Vec<f64> = (1u32..).take(shape.iter().product()).map(f64::from).collect();
    Tensor::from_f64s(dtype, shape, &values).expect("fits").into()
}

fn ints(values: &[i32]) -> Literal {
    Tensor::vector_i32(values).into()
}

fn int(value: i32) -> Literal {
    Tensor::scalar_i32(value).into()
}

fn matrix(shape: [usize; 2], values: &[i64]) -> Literal {
    Tensor::from_i64s(DType::I32, shape, values).expect("fits").into()
}

fn floats(shape: &[usize]) -> Literal {
    count(DType::F32, shape)
}

fn scale(value: f32) -> Literal {
    Tensor::from_f32s([], &[value]).expect("fits").into()
}

type Row = (&'static str, Vec<(&'static str, Vec<Literal>)>);

/// Every op that moves elements, on tensors that count from 1.
fn rows() -> Vec<Row> {
    let one = |kind, shape: &[usize], more: Vec<(&'static str, Literal)>| -> Row {
        let x = [("x", vec![floats(shape)])];
        (kind, x.into_iter().chain(more.into_iter().map(|(name, v)| (name, vec![v]))).collect())
    };
    let picture = [1, 4, 2, 6];
    vec![
        one("identity", &[2, 3], vec![]),
        one("reshape", &[2, 3], vec![("shape", ints(&[3, 2]))]),
        (
            "reshape_like",
            vec![
                ("x", vec![floats(&[2, 3])]),
                ("ref_tensors", vec![floats(&[6])]),
                ("begins", vec![ints(&[0])]),
                ("ends", vec![ints(&[1])]),
                ("end_masks", vec![Tensor::vector_bool(&[false]).into()]),
            ],
        ),
        one("expand_dims", &[2, 3], vec![("axes", ints(&[1]))]),
        one("squeeze", &[2, 1, 3], vec![]),
        one("flatten2d", &[2, 3, 2], vec![("axis", int(1))]),
        one("transpose", &[2, 3], vec![("perm", ints(&[1, 0]))]),
        one("split", &[4, 3], vec![("num_splits", int(2)), ("axis", int(0))]),
        one("slice_by_index", &[4, 3], vec![("begin", ints(&[1, 0])), ("end", ints(&[3, 2]))]),
        one("slice_by_size", &[4, 3], vec![("begin", ints(&[1, 0])), ("size", ints(&[2, 2]))]),
        one(
            "slice_update",
            &[2, 3],
            vec![("update", floats(&[1, 2])), ("begin", ints(&[1, 0])), ("end", ints(&[2, 2]))],
        ),
        ("concat", vec![("values", vec![floats(&[2, 3]), floats(&[1, 3])]), ("axis", vec![int(0)])]),
        ("stack", vec![("values", vec![floats(&[2]), floats(&[2])]), ("axis", vec![int(1)])]),
        one("tile", &[2, 1], vec![("reps", ints(&[2, 3]))]),
        one("reverse", &[2, 3], vec![("axes", ints(&[1]))]),
        one("reverse_sequence", &[2, 3], vec![("lengths", ints(&[2, 3])), ("seq_axis", int(1))]),
        one("sliding_windows", &[5], vec![("axis", int(0)), ("size", int(3))]),
        one("depth_to_space", &picture, vec![("block_size", int(2))]),
        one("space_to_depth", &picture, vec![("block_size", int(2))]),
        one("pixel_shuffle", &picture, vec![("upscale_factor", int(2))]),
        one(
            "pixel_unshuffle",
            &picture,
            vec![("downscale_factor", Tensor::from_i64s(DType::U32, [], &[2]).expect("fits").into())],
        ),
        one(
            "batch_to_space",
            &[4, 1, 2, 2],
            vec![("block_shape", ints(&[2, 2])), ("crops", matrix([2, 2], &[0, 1, 0, 0]))],
        ),
        one(
            "space_to_batch",
            &[1, 1, 3, 2],
            vec![("block_shape", ints(&[2, 2])), ("paddings", matrix([2, 2], &[0, 1, 0, 0]))],
        ),
        one("crop", &picture, vec![("crop_height", ints(&[0, 1])), ("crop_width", ints(&[1, 1]))]),
        one("pad", &[2, 2], vec![("pad", ints(&[1, 0, 0, 2]))]),
        one("band_part", &[3, 3], vec![("lower", int(0)), ("upper", int(1))]),
        one("gather", &[4, 3], vec![("indices", ints(&[2, 0])), ("axis", int(0))]),
        one("gather_along_axis", &[2, 2], vec![("indices", matrix([1, 2], &[1, 0])), ("axis", int(0))]),
        one("gather_nd", &[2, 2], vec![("indices", matrix([1, 2], &[1, 0]))]),
        one(
            "resize_nearest_neighbor",
            &[1, 1, 2, 2],
            vec![("target_size_height", int(3)), ("target_size_width", int(5))],
        ),
        one(
            "upsample_nearest_neighbor",
            &[1, 1, 2, 2],
            vec![("scale_factor_height", scale(2.0)), ("scale_factor_width", scale(3.0))],
        ),
    ]
}

/// The numbers of every result.
fn made(kind: &str, args: &[(&'static str, Vec<Literal>)]) -> Vec<Vec<f64>> {
    let mut builder = Builder::new("main", Opset::Ios18);
    let mut op = Op::new(OpKind::named(kind), "y");
    for (param, literals) in args {
        let values = literals.iter().map(|l| builder.constant(param, l.clone())).collect();
        op.set_arg(param, values);
    }
    let given = |param: &str| args.iter().find(|(p, _)| *p == param).map(|(_, l)| l.clone());
    let values: Vec<Vec<Literal>> = op.args.iter().map(|a| given(&a.param).unwrap_or_default()).collect();
    let function = builder.finish();
    let site = Site::new(&function, &op).unwrap_or_else(|e| panic!("{kind}: {e}"));
    let results =
        site.def.evaluate(&EvalSite { site, values: &values }).unwrap_or_else(|e| panic!("{kind}: {e}"));
    results.iter().filter_map(|r| r.as_tensor().map(Tensor::to_f64s)).collect()
}

#[test]
fn results_of_moves_hold_elements_of_the_operands_that_the_table_names() {
    let mut seen = BTreeSet::new();
    for (kind, args) in rows() {
        let form = ops::find(kind).expect("an op of the table").form;
        let moved = |param: &str| form.moved_or_filled().contains(&param);
        let operands = args.iter().filter(|(param, _)| moved(param)).flat_map(|(_, literals)| literals);
        let taken: Vec<f64> = operands.flat_map(|l| l.as_tensor().expect("a tensor").to_f64s()).collect();
        let results = made(kind, &args);
        let filled = results.iter().flatten().any(|v| *v == 0.0);
        assert_eq!(filled, matches!(form, Form::Fill(_)), "{kind}");
        assert!(results.iter().flatten().all(|v| *v == 0.0 || taken.contains(v)), "{kind}: {results:?}");
        if matches!(form, Form::Reshape | Form::Identity) {
            assert_eq!(results, [taken], "{kind}");
        }
        seen.insert(kind);
    }
    assert_eq!(seen, named(|form| !form.moved_or_filled().is_empty()));
}
