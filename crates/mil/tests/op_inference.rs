//! Inference where dims are not fixed, and what faults say. Expected types: the op reference of coremltools 9.0.

use anemone_mil::ops::Fault;
use anemone_mil::{Builder, DType, Dim, Literal, OpBuilder, Opset, Tensor, TensorType, ValueId};

const F32: DType = DType::F32;

fn dims(spec: &str) -> Vec<Dim> {
    let dim = |word: &str| match (word, word.parse()) {
        ("?", _) => Dim::Unknown,
        (_, Ok(n)) => Dim::Known(n),
        _ => Dim::Symbol(word.into()),
    };
    spec.split_whitespace().map(dim).collect()
}

/// Infers one op on inputs `x` (and `y`) of the given dims; the result as MIL text.
fn infer(
    kind: &str,
    inputs: &[(DType, &str)],
    more: impl FnOnce(OpBuilder<'_>) -> OpBuilder<'_>,
) -> Result<String, Fault> {
    let mut b = Builder::new("main", Opset::Ios17);
    let given: Vec<(&str, ValueId)> = ["x", "y"]
        .into_iter()
        .zip(inputs)
        .map(|(name, (dtype, spec))| (name, b.input(name, TensorType::new(*dtype, dims(spec)))))
        .collect();
    let op = given.into_iter().fold(b.op(kind), |op, (name, value)| op.arg(name, value));
    let result = more(op).one("result")?;
    Ok(b.ty(result).to_string())
}

fn fault(result: Result<String, Fault>) -> String {
    result.expect_err("an op that must not pass").to_string()
}

#[test]
fn dims_that_are_not_fixed_pass_through() {
    let two = |a, b| infer("add", &[(F32, a), (F32, b)], |op| op).expect("broadcasts");
    assert_eq!(two("batch 1 4", "3 1"), "tensor<fp32, [batch, 3, 4]>");
    assert_eq!(two("?", "5"), "tensor<fp32, [5]>");
    assert_eq!(two("n", "m"), "tensor<fp32, [?]>");
    let one = |kind, more: fn(OpBuilder<'_>) -> OpBuilder<'_>| infer(kind, &[(F32, "n 3 ?")], more);
    assert_eq!(one("softmax", |op| op), Ok("tensor<fp32, [n, 3, ?]>".into()));
    assert_eq!(one("reduce_sum", |op| op.ints("axes", &[-1])), Ok("tensor<fp32, [n, 3]>".into()));
    assert_eq!(one("reduce_max", |op| op.bool("keep_dims", true)), Ok("tensor<fp32, [1, 1, 1]>".into()));
    assert_eq!(one("reduce_argmax", |op| op.int("axis", 1)), Ok("tensor<int32, [n, ?]>".into()));
    assert_eq!(one("greater", |op| op.float("y", "x", 0.0)), Ok("tensor<bool, [n, 3, ?]>".into()));
    assert_eq!(one("cast", |op| op.str("dtype", "uint16")), Ok("tensor<uint16, [n, 3, ?]>".into()));
    assert_eq!(one("random_categorical", |op| op.int("size", 5)), Ok("tensor<fp32, [n, 3, 5]>".into()));
}

#[test]
fn a_random_shape_may_be_constant_or_computed() {
    let constant = infer("random_uniform", &[], |op| op.ints("shape", &[2, 3]));
    assert_eq!(constant, Ok("tensor<fp32, [2, 3]>".into()));
    let mut b = Builder::new("main", Opset::Ios15);
    let shape = b.input("shape", TensorType::new(DType::I32, [4]));
    let mean = b.constant("mean", Tensor::scalar_f64(DType::F16, 1.0));
    let drawn = b.op("random_normal").arg("shape", shape).arg("mean", mean).one("r").expect("rank is known");
    assert_eq!(b.ty(drawn).to_string(), "tensor<fp16, [?, ?, ?, ?]>");
}

#[test]
fn faults_name_argument_actual_and_allowed() {
    let x = &[(F32, "2 3 4")];
    let cases = [
        (
            infer("add", &[(F32, "2 3"), (F32, "4 3")], |op| op),
            "argument `y` is tensor<fp32, [4, 3]> against x tensor<fp32, [2, 3]>: 4 where x is 2 (dim -2), \
             but must be equal or 1 there to broadcast",
        ),
        (
            infer("mul", &[(F32, "2"), (DType::F16, "2")], |op| op),
            "argument `y` is fp16, but must be fp32 as x is; cast one of them",
        ),
        (
            infer("cast", x, |op| op.str("dtype", "fp64")),
            "argument `dtype` is \"fp64\", but must be one of fp16, fp32, int8, uint8, int16, uint16, int32, bool",
        ),
        (
            infer("gelu", x, |op| op.str("mode", "TANH")),
            "argument `mode` is \"TANH\", but must be EXACT, TANH_APPROXIMATION or SIGMOID_APPROXIMATION",
        ),
        (infer("softmax", x, |op| op.int("axis", 3)), "argument `axis` is 3, but must be between -3 and 2"),
        (
            infer("reduce_sum", x, |op| op.ints("axes", &[1, -2])),
            "argument `axes` is 1 twice, but must be every axis once",
        ),
        (
            infer("clip", x, |op| op.float("alpha", "x", 6.0).float("beta", "x", 0.0)),
            "argument `alpha` is 6, but must be below beta, which is 0",
        ),
        (
            infer("prelu", x, |op| op.literal("alpha", Tensor::vector_i32(&[1, 2]).cast(F32))),
            "argument `alpha` is tensor<fp32, [2]>, but must be of rank 1 with one number per channel, \
             the 3 channels (dim 1) of x",
        ),
        (
            infer("prelu", x, |op| op.literal("alpha", Tensor::vector_i32(&[1, 2, 1]).cast(F32))),
            "argument `alpha` is 1 and 2 in different channels, but must be the same in all channels \
             when x is of rank 3, or x of rank 4",
        ),
        (
            infer("reduce_argmin", x, |op| op.str("output_dtype", "int8")),
            "argument `output_dtype` is \"int8\", but must be int32 or uint16",
        ),
        (
            infer("random_uniform", &[], |op| op.ints("shape", &[2, -1])),
            "argument `shape` is [2, -1], but must be not negative",
        ),
        (infer("relu", &[], |op| op), "argument `x` is missing; give it a value"),
    ];
    for (result, message) in cases {
        assert_eq!(fault(result), message);
    }
}

#[test]
fn a_classifier_gives_a_label_and_a_dictionary() {
    let mut b = Builder::new("main", Opset::Ios15);
    let p = b.input("p", TensorType::new(F32, [1, 2]));
    let elem = TensorType::scalar(DType::String).into();
    let items = vec![Literal::string("cat"), Literal::string("dog")];
    let results =
        b.op("classify").arg("probabilities", p).literal("classes", Literal::List { elem, items }).all("c");
    let types: Vec<String> = results.expect("fits").into_iter().map(|v| b.ty(v).to_string()).collect();
    assert_eq!(types, ["tensor<string, []>", "dict<tensor<string, []>, tensor<fp64, []>>"]);
    let elem = TensorType::scalar(DType::I64).into();
    let one = Literal::List { elem, items: vec![Tensor::scalar_f64(DType::I64, 7.0).into()] };
    let wrong = b.op("classify").arg("probabilities", p).literal("classes", one).all("d");
    assert_eq!(
        wrong.map_err(|e| e.to_string()),
        Err("argument `classes` is of length 1, but must be as many as there are elements in `probabilities`, 2"
            .into())
    );
}
