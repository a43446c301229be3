//! The verifier: sound programs pass, and every fault of an unsound one is listed at once.

use anemone_mil::interface::FeatureKind;
use anemone_mil::text::parse;
use anemone_mil::{
    Builder, Bytes, Const, DType, Dim, Function, Level, Literal, Op, OpKind, Opset, Program, Tensor,
    TensorType, Type, Weight, WeightData, verify,
};

fn read(text: &str) -> Program {
    parse(text, &|_, _, _| None).unwrap_or_else(|e| panic!("{e}"))
}

/// A program of one function `main` over `tensor<fp16, [2]> x`.
fn main_of(opset: &str, body: &str, outputs: &str) -> Program {
    read(&format!("program(1.3) {{ func main<{opset}>(tensor<fp16, [2]> x) {{ {body} }} -> ({outputs}); }}"))
}

fn faults(program: &Program, level: Level) -> Vec<String> {
    match verify(program, level) {
        Ok(_) => Vec::new(),
        Err(found) => {
            let lines: Vec<String> = found.to_string().lines().map(str::to_owned).collect();
            assert_eq!(lines.len(), found.count());
            lines
        }
    }
}

#[test]
fn a_sound_program_passes_at_every_level() {
    let p = main_of("ios17", "tensor<fp16, [2]> y = relu(x = x)[name = string(\"y\")];", "y");
    for level in [Level::Imported, Level::Canonical, Level::Legal(Opset::Ios17)] {
        let verified = verify(&p, level).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((verified.level(), verified.functions.len()), (level, 1));
    }
}

#[test]
fn what_coremltools_wrote_and_apple_compiled_passes() {
    for text in [
        include_str!("../../../corpus/mil/silero-vad.mil"),
        include_str!("../../../corpus/mil/silero-vad-int8.mil"),
    ] {
        let p = read(text);
        assert_eq!(faults(&p, Level::Imported), Vec::<String>::new());
        let known = p.functions[0].walk().iter().all(|&(_, op)| p.functions[0].op(op).kind.def().is_some());
        assert_eq!(verify(&p, Level::Legal(Opset::Ios16)).is_ok(), known);
    }
}

#[test]
fn all_faults_are_listed_at_once() {
    let mut p = main_of(
        "ios15",
        "tensor<fp16, [2]> a = relu()[name = string(\"a\")];
         tensor<fp16, [2]> b = relu(x = x, y = x)[name = string(\"b\")];
         tensor<fp16, [2]> c = relu(x = (x, x))[name = string(\"c\")];
         tensor<int32, [2]> d = relu(x = tensor<int32, [2]>([1, 2]))[name = string(\"d\")];
         tensor<fp16, [3]> e = relu(x = x)[name = string(\"e\")];
         tensor<fp16, [2]> f = add(x = x, y = fp32(1))[name = string(\"f\")];
         tensor<fp16, [2]> g = strange(x = x)[name = string(\"g\")];
         tensor<fp16, [2]> h = relu(x = x) block() { } -> () [name = string(\"h\")];",
        "a, b",
    );
    let op = p.functions[0].walk()[4].1;
    p.functions[0].op_mut(op).origin.source = Some("onnx:/e".into());
    assert_eq!(
        faults(&p, Level::Canonical),
        [
            "function main, relu \"a\": argument `x` is missing; give it a value",
            "function main, relu \"b\": argument `y` is not known in ios13; the op takes x",
            "function main, relu \"c\": argument `x` is 2 values, but must be one value",
            "function main, relu \"d\": argument `x` is int32, but must be fp16 or fp32",
            "function main, relu \"e\" (from onnx:/e): result 0 `e` is declared tensor<fp16, [3]>, but the op makes tensor<fp16, [2]>",
            "function main, add \"f\": argument `y` is fp32, but must be fp16, as argument `x`",
            "function main, strange \"g\": op `strange` is not in the op table; rewrite or remove it",
            "function main, relu \"h\": has 1 nested blocks, but must have 0",
        ]
    );
    let imported = faults(&p, Level::Imported);
    assert!(!imported.iter().any(|line| line.contains("strange")), "{imported:?}");
}

#[test]
fn constants_stay_constants() {
    let body = "tensor<fp16, [2]> y = softmax(axis = i, x = x)[name = string(\"y\")];";
    let text =
        format!("program(1.3) {{ func main<ios17>(tensor<fp16, [2]> x, int32 i) {{ {body} }} -> (y); }}");
    let found = faults(&read(&text), Level::Imported);
    assert_eq!(
        found,
        ["function main, softmax \"y\": argument `axis` is computed at run time, but must be a constant"]
    );
}

#[test]
fn names_are_legal_and_unique_where_visible() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F16, [2]));
    let y = b.op("relu").arg("x", x).one("y").expect("float");
    let z = b.op("relu").arg("x", y).one("z").expect("float");
    b.output(z);
    let mut f = b.finish();
    f.value_mut(y).name = "x".into();
    f.value_mut(z).name = "1/z".into();
    let p = with_interface(f);
    assert_eq!(
        faults(&p, Level::Imported),
        [
            "function main: two values are named `x`; rename one",
            "function main: value `1/z` has a name that is no MIL identifier ([A-Za-z_][A-Za-z0-9_@]*)",
        ]
    );
}

fn with_interface(f: Function) -> Program {
    let interface = anemone_mil::text::plain_interface(std::slice::from_ref(&f));
    Program::new(f, interface)
}

#[test]
fn sibling_blocks_may_repeat_names_but_not_those_around_them() {
    let cond = |inner: &str| {
        let block = format!("block() {{ tensor<fp16, [2]> {inner} = relu(x = x); }} -> ({inner})");
        format!("bool p = const()[val = bool(true)]; tensor<fp16, [2]> y = cond(pred = p) {block} {block};")
    };
    let p = main_of("ios17", &cond("a"), "y");
    assert_eq!(faults(&p, Level::Imported), Vec::<String>::new());
}

#[test]
fn values_are_defined_before_they_are_used_and_visible() {
    let mut f = Function::new("main", Opset::Ios17);
    let ty = Type::from(TensorType::new(DType::F16, [2]));
    let x = f.add_input("x", ty.clone());
    let block = f.add_block();
    let relu = |name: &str, x| {
        let mut op = Op::new(OpKind::named("relu"), name);
        op.set_arg("x", vec![x]);
        op
    };
    let inner = f.append(block, relu("inner", x), vec![("inner".into(), ty.clone())]);
    let inner = f.op(inner).outputs[0];
    let mut holder = Op::new(OpKind::named("holder"), "holder");
    holder.blocks.push(block);
    f.append(f.body(), holder, vec![]);
    let late = f.append(f.body(), relu("late", inner), vec![("late".into(), ty.clone())]);
    let late = f.op(late).outputs[0];
    f.insert(f.body(), 0, relu("early", late), vec![("early".into(), ty)]);
    f.block_mut(f.body()).outputs.push(late);
    let p = with_interface(f);
    assert_eq!(
        faults(&p, Level::Imported),
        [
            "function main, relu \"early\": argument `x` is `late`, which is not defined before; define it first",
            "function main, relu \"late\": argument `x` is `inner`, which is defined in a block that does not enclose this one",
        ]
    );
}

#[test]
fn arenas_that_contradict_themselves_are_reported_not_walked() {
    let build = |wrong: &dyn Fn(&mut Function)| {
        let mut f = Function::new("main", Opset::Ios17);
        let ty = Type::from(TensorType::new(DType::F16, [2]));
        let x = f.add_input("x", ty.clone());
        let mut op = Op::new(OpKind::named("relu"), "r");
        op.set_arg("x", vec![x]);
        f.append(f.body(), op, vec![("r".into(), ty)]);
        f.block_mut(f.body()).outputs.push(x);
        wrong(&mut f);
        let mut p = Program::new(f, Default::default());
        p.interface.functions.push(Default::default());
        let found = faults(&p, Level::Imported);
        found.into_iter().find(|line| line.starts_with("function main")).unwrap_or_default()
    };
    let mut other = Function::new("other", Opset::Ios17);
    let foreign: Vec<_> = (0..9).map(|i| other.add_const(format!("c{i}"), Tensor::scalar_i32(i))).collect();
    let far = foreign[8];
    assert_eq!(
        build(&|f| f.block_mut(f.body()).outputs.push(far)),
        "function main: a block hands out value %8, which does not exist"
    );
    assert_eq!(
        build(&|f| {
            let (body, op) = (f.body(), f.walk()[0].1);
            f.block_mut(body).ops.push(op);
        }),
        "function main: op0 stands in two places"
    );
    assert_eq!(
        build(&|f| {
            let (body, op) = (f.body(), f.walk()[0].1);
            f.op_mut(op).blocks.push(body);
        }),
        "function main: block ^0 stands in two places, or in itself"
    );
    assert_eq!(
        build(&|f| {
            let op = f.walk()[0].1;
            let x = f.inputs[0];
            f.op_mut(op).outputs.push(x);
        }),
        "function main: result 1 of relu \"r\": value `x` is defined elsewhere"
    );
    let deep = |f: &mut Function| {
        for _ in 0..70 {
            let block = f.add_block();
            let mut op = Op::new(OpKind::named("holder"), "h");
            op.blocks.extend(f.block(f.body()).ops.last().map(|_| block));
            let inner = std::mem::take(&mut f.block_mut(f.body()).ops);
            f.block_mut(block).ops = inner;
            f.append(f.body(), op, vec![]);
        }
    };
    assert_eq!(build(&deep), "function main: blocks are nested deeper than 64");
}

#[test]
fn constants_whose_parts_disagree_are_reported() {
    let weight = |shape: &[usize], bytes: usize| Weight {
        dtype: DType::F16,
        shape: shape.to_vec(),
        data: WeightData::Bytes(Bytes::from(vec![0; bytes])),
        origin: None,
    };
    let mut crooked = weight(&[2, 3], 12).transposed(&[0, 0]);
    crooked.shape = vec![2, 2];
    let string = Type::from(TensorType::scalar(DType::String));
    let cases: Vec<(Const, &str)> = vec![
        (weight(&[2], 3).into(), "constant `c` takes 4 bytes as fp16 [2], but has 3"),
        (
            weight(&[2, 3], 12).scaled(0, [1.0; 3]).into(),
            "constant `c` is [2, 3], but scales [2, 3] by 3 factors",
        ),
        (crooked.into(), "constant `c` is [2, 2], but permutes [2, 3] by [0, 0]"),
        (
            Literal::Strings { shape: vec![3], values: vec!["a".into()] }.into(),
            "constant `c` has 1 strings, but its shape is [3]",
        ),
        (
            Literal::List { elem: string, items: vec![Tensor::scalar_i32(1).into()] }.into(),
            "constant `c` has an element tensor<int32, []> in a list of tensor<string, []>",
        ),
    ];
    for (constant, expected) in cases {
        let mut f = Function::new("main", Opset::Ios17);
        let c = f.add_const("c", constant);
        f.block_mut(f.body()).outputs.push(c);
        let p = with_interface(f);
        assert_eq!(faults(&p, Level::Imported), [format!("function main: {expected}")]);
    }
}

#[test]
fn the_interface_must_fit_the_functions() {
    let mut p = main_of("ios17", "tensor<fp16, [2]> y = relu(x = x)[name = string(\"y\")];", "y");
    let port = &mut p.interface.functions[0];
    if let FeatureKind::MultiArray(array) = &mut port.inputs[0].kind {
        array.dtype = Some(DType::F32);
    }
    if let FeatureKind::MultiArray(array) = &mut port.outputs[0].kind {
        array.shape = vec![3];
    }
    let mut second = port.outputs[0].clone();
    second.name = "z".into();
    port.outputs.push(second);
    port.predicted_feature = "label".into();
    p.interface.default_function = "other".into();
    assert_eq!(
        faults(&p, Level::Imported),
        [
            "program: the default function `other` does not exist",
            "function main: input `x` is tensor<fp16, [2]>, but the interface describes fp32",
            "function main: output `y` is tensor<fp16, [2]>, but the interface describes shape [3]",
            "function main: the interface describes output `z`, which the function does not have",
            "function main: the classifier's `label` is no output",
        ]
    );
    p.interface.functions.clear();
    p.interface.default_function.clear();
    assert_eq!(faults(&p, Level::Imported), ["function main: the interface does not describe it"]);
}

#[test]
fn an_op_set_limits_inputs_states_and_dims() {
    let mut f = Function::new("main", Opset::Ios18);
    let x = f.add_input("x", TensorType::new(DType::F16, [Dim::Symbol("seq".into())]));
    f.add_input("k", Type::State(TensorType::new(DType::F32, [2])));
    let b = f.add_input("flag", TensorType::scalar(DType::Bool));
    f.block_mut(f.body()).outputs.extend([x, b]);
    let p = with_interface(f);
    assert_eq!(faults(&p, Level::Canonical), Vec::<String>::new());
    assert_eq!(
        faults(&p, Level::Legal(Opset::Ios15)),
        [
            "function main: the function is written in ios18, but the target is ios15",
            "function main: input `x` has the symbolic dim `seq`; fix it or make it unknown",
            "function main: input `x` is fp16, but must be one of fp32, int32 in ios15",
            "function main: state `k` needs op set ios18, but the target is ios15",
            "function main: state `k` is tensor<fp32, [2]>, but must be fp16 of fixed size",
            "function main: input `flag` is bool, but must be one of fp32, int32 in ios15",
            "function main: output `x` has the symbolic dim `seq`; fix it or make it unknown",
            "function main: output `x` is fp16, but must be one of fp32, int32, int64, string in ios15",
            "function main: output `flag` is bool, but must be one of fp32, int32, int64, string in ios15",
        ]
    );
}

/// coremltools 9.0 writes `epsilon = fp32(1e-5)` beside an `fp16` mean when the parameter was left out.
#[test]
fn a_default_that_coremltools_wrote_may_be_fp32() {
    let body = |epsilon: &str| {
        format!(
            "tensor<fp16, [1, 2, 1]> e = expand_dims(axes = tensor<int32, [2]>([0, 2]), x = x);
             tensor<fp16, [1, 2, 1]> y = batch_norm(epsilon = {epsilon}, mean = tensor<fp16, [2]>([0, 0]),
                variance = tensor<fp16, [2]>([1, 1]), x = e)[name = string(\"y\")];"
        )
    };
    assert_eq!(faults(&main_of("ios17", &body("fp32(1e-5)"), "y"), Level::Imported), Vec::<String>::new());
    assert_eq!(
        faults(&main_of("ios17", &body("int32(1)"), "y"), Level::Imported),
        ["function main, batch_norm \"y\": argument `epsilon` is int32, but must be fp16 or fp32"]
    );
}

#[test]
fn loops_need_blocks_that_fit_their_variables() {
    let looped = |cond: &str, body: &str| {
        let text = format!(
            "tensor<fp16, [2]> y = while_loop(loop_vars = (x)) {cond} {body} [name = string(\"y\")];"
        );
        faults(&main_of("ios17", &text, "y"), Level::Imported)
    };
    let cond = |ty: &str, out: &str| {
        format!("block(tensor<fp16, [2]> a) {{ {ty} go = const()[val = {out}]; }} -> (go)")
    };
    let body = "block(tensor<fp16, [2]> b) { tensor<fp16, [2]> c = relu(x = b); } -> (c)";
    let one = cond("tensor<bool, [1]>", "tensor<bool, [1]>([false])");
    assert_eq!(looped(&cond("bool", "bool(false)"), body), Vec::<String>::new());
    assert_eq!(looped(&one, body), Vec::<String>::new());
    let place = "function main, while_loop \"y\":";
    assert_eq!(
        looped(&cond("int32", "int32(0)"), body),
        [format!(
            "{place} the condition block hands out (tensor<int32, []>), but must match (tensor<bool, []>)"
        )]
    );
    assert_eq!(
        looped(&one, "block() { } -> (x, x)"),
        [
            format!("{place} the body block takes (), but must match (tensor<fp16, [2]>)"),
            format!(
                "{place} the body block hands out (tensor<fp16, [2]>, tensor<fp16, [2]>), but must match (tensor<fp16, [2]>)"
            ),
        ]
    );
    assert_eq!(looped(&one, ""), [format!("{place} has 1 nested blocks, but must have 2")]);
}

/// Comparing every name with every other would take minutes.
#[test]
fn tens_of_thousands_of_outputs_are_found_by_name() {
    let mut b = Builder::new("main", Opset::Ios17);
    let x = b.input("x", TensorType::new(DType::F32, [1]));
    for i in 0..50_000 {
        let y = b.op("relu").arg("x", x).one(&format!("output_with_a_long_common_name_{i}")).expect("legal");
        b.output(y);
    }
    assert_eq!(faults(&with_interface(b.finish()), Level::Canonical), Vec::<String>::new());
}
