//! The interpreter on whole functions. Expected numbers are worked out by hand.

use anemone_mil::eval::{EvalError, Options, run};
use anemone_mil::text::parse;
use anemone_mil::{Function, Level, Literal, Name, Tensor, verify};
use std::collections::BTreeMap;

fn function(text: &str) -> Function {
    let mut program = parse(text, &|_, _, _| None).unwrap_or_else(|e| panic!("{e}"));
    verify(&program, Level::Imported).unwrap_or_else(|e| panic!("{e}"));
    program.functions.remove(0)
}

fn named(values: &[(&str, Tensor)]) -> BTreeMap<Name, Literal> {
    values.iter().map(|(n, t)| ((*n).into(), t.clone().into())).collect()
}

fn floats(values: &[f32]) -> Tensor {
    Tensor::from_f32s([values.len()], values).expect("fits")
}

fn run_plain(f: &Function, inputs: &[(&str, Tensor)]) -> Result<BTreeMap<Name, Literal>, EvalError> {
    run(f, &named(inputs), &mut BTreeMap::new(), &mut Options::default())
}

fn numbers(outputs: &BTreeMap<Name, Literal>, name: &str) -> Vec<f32> {
    outputs[name].as_tensor().expect("a tensor").to_f32s()
}

#[test]
fn ops_run_in_order_and_constants_are_found() {
    let f = function(
        "program(1.3) { func main<ios17>(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> c = const()[val = tensor<fp32, [2]>([10, 20])];
            tensor<fp32, [2]> r = relu(x = x);
            tensor<fp32, [2]> y = add(x = r, y = c);
        } -> (y, r); }",
    );
    let out = run_plain(&f, &[("x", floats(&[-1.0, 2.0]))]).expect("runs");
    assert_eq!((numbers(&out, "y"), numbers(&out, "r")), (vec![10.0, 22.0], vec![0.0, 2.0]));
}

#[test]
fn the_observer_sees_every_result_in_order() {
    let f = function(
        "program(1.3) { func main<ios17>(tensor<fp32, [1]> x) {
            tensor<fp32, [1]> a = add(x = x, y = x);
            tensor<fp32, [1]> b = add(x = a, y = x);
        } -> (b); }",
    );
    let mut seen = Vec::new();
    let mut watch = |id, value: &Literal| {
        seen.push((f.value(id).name.to_string(), value.as_tensor().map(Tensor::to_f32s)));
    };
    let mut options = Options { observer: Some(&mut watch), ..Options::default() };
    run(&f, &named(&[("x", floats(&[1.0]))]), &mut BTreeMap::new(), &mut options).expect("runs");
    assert_eq!(seen, [("a".to_owned(), Some(vec![2.0])), ("b".to_owned(), Some(vec![3.0]))]);
}

#[test]
fn dims_left_open_are_decided_by_the_operands() {
    let f = function(
        "program(1.3) { func main<ios17>(tensor<fp32, [?, 2]> x, tensor<fp32, [n]> v) {
            tensor<fp32, [?, 2]> y = relu(x = x);
            tensor<fp32, [n]> w = relu(x = v);
        } -> (y, w); }",
    );
    let x = Tensor::from_f32s([3, 2], &[1., -2., 3., -4., 5., -6.]).expect("fits");
    let out = run_plain(&f, &[("x", x), ("v", floats(&[-1.0]))]).expect("runs");
    assert_eq!(out["y"].as_tensor().map(|t| t.shape().to_vec()), Some(vec![3, 2]));
    assert_eq!((numbers(&out, "y"), numbers(&out, "w")), (vec![1., 0., 3., 0., 5., 0.], vec![0.0]));
}

#[test]
fn cond_runs_one_branch() {
    let f = function(
        "program(1.3) { func main<ios17>(tensor<fp32, [1]> x, bool p) {
            tensor<fp32, [1]> y = cond(pred = p)
                block() { tensor<fp32, [1]> a = add(x = x, y = x); } -> (a)
                block() { } -> (x);
        } -> (y); }",
    );
    for (p, expected) in [(true, 6.0), (false, 3.0)] {
        let out = run_plain(&f, &[("x", floats(&[3.0])), ("p", Tensor::scalar_bool(p))]).expect("runs");
        assert_eq!(numbers(&out, "y"), [expected]);
    }
}

const DOUBLING: &str = "program(1.3) { func main<ios17>(fp32 x, fp32 limit) {
    fp32 step = const()[val = fp32(1)];
    fp32 count, fp32 y = while_loop(loop_vars = (fp32(0), x))
        block(fp32 i0, fp32 a0) { bool go = less(x = a0, y = limit); } -> (go)
        block(fp32 i1, fp32 a1) { fp32 i2 = add(x = i1, y = step); fp32 a2 = add(x = a1, y = a1); } -> (i2, a2)
        [name = string(\"doubling\")];
} -> (count, y); }";

#[test]
fn loops_run_until_their_condition_is_false() {
    let f = function(DOUBLING);
    let scalar = |v| Tensor::scalar_f64(anemone_mil::DType::F32, v);
    let out = run_plain(&f, &[("x", scalar(3.0)), ("limit", scalar(20.0))]).expect("runs");
    assert_eq!((numbers(&out, "count"), numbers(&out, "y")), (vec![3.0], vec![24.0]));
    let none = run_plain(&f, &[("x", scalar(3.0)), ("limit", scalar(0.0))]).expect("runs");
    assert_eq!((numbers(&none, "count"), numbers(&none, "y")), (vec![0.0], vec![3.0]));
}

#[test]
fn a_loop_without_end_is_stopped_and_named() {
    let f = function(DOUBLING);
    let scalar = |v| Tensor::scalar_f64(anemone_mil::DType::F32, v);
    let inputs = named(&[("x", scalar(0.0)), ("limit", scalar(1.0))]);
    let mut options = Options { max_steps: 1000, ..Options::default() };
    let error = run(&f, &inputs, &mut BTreeMap::new(), &mut options).expect_err("endless");
    assert_eq!(error, EvalError::StepLimit { name: "doubling".into(), limit: 1000 });
    let expected = "while_loop \"doubling\": more than 1000 iterations; allow more, or look at its condition";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn states_start_as_zeros_and_keep_what_is_written() {
    let f = function(
        "program(1.3) { func main<ios18>(tensor<fp16, [2]> x, state<tensor<fp16, [2]>> acc) {
            tensor<fp16, [2]> old = read_state(input = acc);
            tensor<fp16, [2]> sum = add(x = old, y = x);
            write_state(data = sum, input = acc);
            tensor<fp16, [2]> now = read_state(input = acc);
        } -> (now, old); }",
    );
    let inputs = named(&[("x", floats(&[1.0, 2.0]).cast(anemone_mil::DType::F16))]);
    let mut states = BTreeMap::new();
    for round in 0..3u8 {
        let out = run(&f, &inputs, &mut states, &mut Options::default()).expect("runs");
        let factor = f32::from(round);
        assert_eq!(numbers(&out, "old"), [factor, 2.0 * factor]);
        assert_eq!(numbers(&out, "now"), [factor + 1.0, 2.0 * factor + 2.0]);
    }
}

#[test]
fn errors_name_what_is_at_fault() {
    let mut f = function(
        "program(1.3) { func main<ios17>(tensor<fp32, [2]> x) {
            tensor<fp32, [2]> w = const()[val = tensor<fp32, [2]>(BLOBFILE(path = string(\"w\"), offset = uint64(64)))];
            tensor<fp32, [2]> a = add(x = x, y = w)[name = string(\"a\")];
            tensor<fp32, [2]> s = strange(x = x)[name = string(\"s\")];
        } -> (a, s); }",
    );
    let first = f.walk()[0].1;
    f.op_mut(first).origin.source = Some("onnx:/fc/Add".into());
    let fails =
        |f: &Function, inputs: &[(&str, Tensor)]| run_plain(f, inputs).expect_err("fails").to_string();
    assert_eq!(fails(&f, &[]), "input `x` is not given; it is tensor<fp32, [2]>");
    let wrong = floats(&[1.0, 2.0, 3.0]);
    assert_eq!(fails(&f, &[("x", wrong)]), "input `x` is tensor<fp32, [3]>, but must be tensor<fp32, [2]>");
    let x = floats(&[1.0, 2.0]);
    let missing = "add \"a\" (from onnx:/fc/Add): the bytes of constant `w` are not at hand: fp32 [2] takes 8 bytes, but 0 are given";
    assert_eq!(fails(&f, &[("x", x.clone())]), missing);
    f.remove_ops(&[first].into());
    let s = f.outputs()[1];
    f.block_mut(f.body()).outputs = vec![s];
    assert_eq!(fails(&f, &[("x", x)]), "strange \"s\": op `strange` is not in the op table");
}

/// The declared length of a list that may grow is where it starts.
#[test]
fn a_list_may_grow_beyond_its_declared_length() {
    let f = function(
        "program(1.3) { func main<ios17>(tensor<fp32, [2]> x) {
            list<tensor<fp32, [2]>, 1> empty = make_list(dtype = string(\"fp32\"), dynamic_length = bool(true),
                elem_shape = (int32(2)), init_length = int32(1));
            list<tensor<fp32, [2]>, 1> full = list_write(index = int32(3), ls = empty, value = x);
            tensor<fp32, [2]> y = list_read(index = int32(3), ls = full);
            int32 n = list_length(ls = full);
        } -> (y, n); }",
    );
    let out = run_plain(&f, &[("x", floats(&[5.0, 6.0]))]).expect("runs");
    assert_eq!((numbers(&out, "y"), numbers(&out, "n")), (vec![5.0, 6.0], vec![4.0]));
}
