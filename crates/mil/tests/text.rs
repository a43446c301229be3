//! MIL text: what Apple wrote comes back byte for byte, and `parse(print(p)) == p`.

use anemone_mil::text::{ConstOrder, Dialect, PrintOptions, parse, print, print_with};
use anemone_mil::{
    BlobRef, Bytes, Const, DType, Def, Dim, Function, Literal, Op, OpKind, Opset, Program, Tensor,
    TensorType, Type, ValueId, Weight, WeightData, difference,
};
use std::collections::HashMap;

const SILERO: &str = include_str!("../../../corpus/mil/silero-vad.mil");
const SILERO_INT8: &str = include_str!("../../../corpus/mil/silero-vad-int8.mil");

fn read(text: &str) -> Program {
    parse(text, &|_, _, _| None).unwrap_or_else(|e| panic!("{e}"))
}

fn as_made() -> PrintOptions {
    PrintOptions { order: ConstOrder::AsMade, ..PrintOptions::default() }
}

/// The first line that differs.
fn assert_same_text(actual: &str, expected: &str) {
    for (i, (a, e)) in actual.lines().zip(expected.lines()).enumerate() {
        assert_eq!(a, e, "line {}", i + 1);
    }
    assert_eq!(actual, expected);
}

#[test]
fn compiled_models_print_back_byte_for_byte() {
    for text in [SILERO, SILERO_INT8] {
        assert_same_text(&print(&read(text), &as_made()), text);
    }
}

#[test]
fn the_default_order_moves_const_statements_and_changes_nothing_else() {
    for text in [SILERO, SILERO_INT8] {
        let printed = print(&read(text), &PrintOptions::default());
        assert_eq!(difference(&read(&printed), &read(text)), None);
        let sorted = |t: &str| {
            let mut lines: Vec<String> = t.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&printed), sorted(text));
        assert_eq!(print(&read(&printed), &PrintOptions::default()), printed);
    }
}

/// Prints in each dialect and order, parses, and compares; weights go through a table of their bytes.
fn assert_round_trip(program: &Program) {
    for dialect in [None, Some(Dialect::V1_0), Some(Dialect::V1_3)] {
        for order in [ConstOrder::FirstUse, ConstOrder::AsMade] {
            let options = PrintOptions { dialect, order, ..PrintOptions::default() };
            let mut blobs: HashMap<BlobRef, Bytes> = HashMap::new();
            let text = print_with(program, &options, &mut |weight| {
                let offset = 64 * (1 + blobs.len() as u64);
                let at = BlobRef { path: "@model_path/weights/weight.bin".into(), offset };
                blobs.insert(at.clone(), weight.tensor().expect("available").bytes().clone());
                at
            });
            let mut back =
                parse(&text, &|at, _, _| blobs.get(at).cloned()).unwrap_or_else(|e| panic!("{e}\n{text}"));
            back.interface = program.interface.clone();
            assert_eq!(difference(program, &back), None, "{text}");
        }
    }
}

fn foreign(kind: &str, name: &str) -> Op {
    Op::new(OpKind::named(kind), name)
}

fn f16(dims: &[usize]) -> Type {
    TensorType::new(DType::F16, dims.iter().copied()).into()
}

fn one(f: &mut Function, op: Op, name: &str, ty: Type) -> ValueId {
    let id = f.append(f.body(), op, vec![(name.into(), ty)]);
    f.op(id).outputs[0]
}

fn program(function: Function) -> Program {
    let interface = anemone_mil::text::plain_interface(std::slice::from_ref(&function));
    Program::new(function, interface)
}

/// Every literal as an inline operand and as a const of one op.
fn with_literals(literals: Vec<Literal>) -> Program {
    let mut f = Function::new("main", Opset::Ios18);
    let x = f.add_input("x", f16(&[2]));
    let mut op = foreign("zoo", "zoo");
    op.set_arg("x", vec![x]);
    for (i, literal) in literals.into_iter().enumerate() {
        let inline = f.add_const("", literal.clone());
        let named = f.add_const(format!("c{i}"), literal);
        op.set_arg(&format!("p{i}"), vec![inline, named]);
    }
    let y = one(&mut f, op, "y", f16(&[2]));
    f.block_mut(f.body()).outputs.push(y);
    program(f)
}

#[test]
fn every_element_type_comes_back() {
    let mut literals = Vec::new();
    for dtype in DType::ALL.into_iter().filter(|&d| d != DType::String) {
        let (low, high) = dtype.int_range().unwrap_or((0, 1));
        let values = [low, high, 1, 0, high, low];
        literals.push(Tensor::from_i64s(dtype, [2, 3], &values).expect("fits").into());
        literals.push(Tensor::scalar_f64(dtype, 1.0).into());
        literals.push(Tensor::zeros(dtype, [0]).expect("fits").into());
        literals.push(Tensor::zeros(dtype, [2, 0, 3]).expect("fits").into());
    }
    literals.push(Tensor::new(DType::U64, [1], u64::MAX.to_le_bytes().to_vec()).expect("fits").into());
    assert_round_trip(&with_literals(literals));
}

#[test]
fn every_float_comes_back() {
    let specials =
        [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 0.1, -1e-7, 65504.0, 5e-324, 1e300];
    let mut literals = Vec::new();
    for dtype in DType::ALL.into_iter().filter(|d| d.is_float()) {
        literals.push(Tensor::from_f64s(dtype, [10], &specials).expect("fits").into());
    }
    let all: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
    literals.push(Tensor::new(DType::F16, [65536], all.clone()).expect("fits").into());
    literals.push(Tensor::new(DType::Bf16, [65536], all).expect("fits").into());
    let bytes: Vec<u8> = (0..=u8::MAX).collect();
    literals.push(Tensor::new(DType::F8E4M3, [256], bytes.clone()).expect("fits").into());
    literals.push(Tensor::new(DType::F8E5M2, [16, 16], bytes).expect("fits").into());
    let tiny: Vec<u8> =
        [1u32, 0x007f_ffff, 0x7fc0_0001, 0xffc0_0000].iter().flat_map(|b| b.to_le_bytes()).collect();
    literals.push(Tensor::new(DType::F32, [4], tiny).expect("fits").into());
    assert_round_trip(&with_literals(literals));
}

#[test]
fn strings_lists_tuples_and_dicts_come_back() {
    let text = |s: &str| Literal::string(s);
    let int = |v| Literal::from(Tensor::scalar_i32(v));
    let vector = |v: &[i32]| Literal::from(Tensor::vector_i32(v));
    let open = Type::from(TensorType::new(DType::I32, [Dim::Unknown]));
    let string = Type::from(TensorType::scalar(DType::String));
    assert_round_trip(&with_literals(vec![
        text("plain"),
        text("quote \" backslash \\ newline \n tab \t return \r bell \x07 é 語 'single' // no comment"),
        Literal::Strings { shape: vec![2, 2], values: ["a", "", "c,", "d)"].map(Into::into).to_vec() },
        Literal::Strings { shape: vec![0], values: vec![] },
        Literal::List { elem: string.clone(), items: vec![text("cat"), text("dog")] },
        Literal::List { elem: string.clone(), items: vec![] },
        Literal::List { elem: open, items: vec![vector(&[1]), vector(&[1, 2])] },
        Literal::Tuple(vec![int(3), text("x"), Literal::Tuple(vec![vector(&[7])])]),
        Literal::Tuple(vec![]),
        Literal::Dict {
            key: string.clone(),
            value: int(0).ty(),
            entries: vec![(text("b"), int(2)), (text("a"), int(1))],
        },
        Literal::Dict { key: string, value: int(0).ty(), entries: vec![] },
    ]));
}

#[test]
fn types_names_and_attributes_come_back() {
    let mut f = Function::new("main", Opset::Ios18);
    f.attributes.push(("CoreML_InputDefaultValues".into(), Literal::string("d")));
    let seq = Dim::Symbol("seq".into());
    let x = f.add_input("x", TensorType::new(DType::F16, [Dim::Known(1), Dim::Unknown, seq]));
    let k = f.add_input("k_cache", Type::State(TensorType::new(DType::F16, [1, 8])));
    let elem = Box::new(f16(&[3]));
    let list = f.add_input("list", Type::List { elem: elem.clone(), len: Dim::Unknown });
    let mut op = foreign("strange_new_op", "");
    op.set_arg("values", vec![x, k, list]);
    op.attributes.push(("class_name".into(), Literal::string("C")));
    let tuple = Type::Tuple(vec![f16(&[]), Type::List { elem: elem.clone(), len: Dim::Known(2) }]);
    let dict = Type::Dict(Box::new(TensorType::scalar(DType::I64).into()), elem);
    f.append(f.body(), op, vec![("t".into(), tuple), ("d@1".into(), dict)]);
    let mut write = foreign("write_state", "w");
    write.set_arg("input", vec![k]);
    write.set_arg("data", vec![x]);
    f.append(f.body(), write, vec![]);
    f.block_mut(f.body()).attributes.push(("note".into(), Tensor::scalar_bool(true).into()));
    f.block_mut(f.body()).outputs.extend([x, x]);
    let mut p = program(f);
    p.attributes.push(("buildInfo".into(), Literal::string("none")));
    let mut second = Function::new("other", Opset::Ios26);
    let c = second.add_const("c", Tensor::scalar_i32(1));
    let n = second.add_const("", Tensor::scalar_i32(2));
    second.block_mut(second.body()).outputs.extend([c, n]);
    p.functions.push(second);
    assert_round_trip(&p);
}

/// A constant used by both branches, one used by one branch only, block inputs, and blocks in blocks.
#[test]
fn nested_blocks_come_back() {
    let mut f = Function::new("main", Opset::Ios17);
    let x = f.add_input("x", f16(&[2]));
    let both = f.add_const("both", Tensor::scalar_i32(1));
    let inner = f.add_const("inner", Tensor::scalar_i32(2));
    let mut outer = foreign("while_loop", "loop");
    outer.set_arg("loop_vars", vec![x]);
    for i in 0..2 {
        let block = f.add_block();
        let a = f.add_block_input(block, format!("a{i}"), f16(&[2]));
        let mut cond = foreign("cond", &format!("cond{i}"));
        let branch = f.add_block();
        let mut op = foreign("shift", "");
        op.set_arg("x", vec![a]);
        op.set_arg("y", vec![if i == 0 { inner } else { both }]);
        let deep = f.append(branch, op, vec![(format!("deep{i}").into(), f16(&[2]))]);
        let out = f.op(deep).outputs[0];
        f.block_mut(branch).outputs.push(out);
        f.block_mut(branch).attributes.push(("k".into(), Literal::string("v")));
        cond.blocks.push(branch);
        cond.set_arg("pred", vec![both]);
        let id = f.append(block, cond, vec![(format!("r{i}").into(), f16(&[2]))]);
        let result = f.op(id).outputs[0];
        f.block_mut(block).outputs.push(result);
        outer.blocks.push(block);
    }
    let y = one(&mut f, outer, "y", f16(&[2]));
    f.block_mut(f.body()).outputs.push(y);
    let p = program(f);
    assert_round_trip(&p);
    let text = print(&p, &PrintOptions::default());
    let line = |s: &str| text.lines().find(|l| l.contains(s)).map(|l| l.len() - l.trim_start().len());
    assert_eq!((line("both = const"), line("inner = const")), (Some(12), Some(28)), "{text}");
}

#[test]
fn weights_come_back_with_their_bytes_or_their_place() {
    let t = Tensor::from_f32s([2, 3], &[1., 2., 3., 4., 5., 6.]).expect("fits");
    let mut f = Function::new("main", Opset::Ios17);
    let plain = f.add_const("plain", Weight::of(&t));
    let made = f.add_const("made", Weight::of(&t).transposed(&[1, 0]).cast(DType::F16));
    let place = BlobRef { path: "@model_path/weights/other.bin".into(), offset: 1 << 40 };
    let missing =
        Weight { dtype: DType::U3, shape: vec![5], data: WeightData::Missing, origin: Some(place.clone()) };
    let missing = f.add_const("missing", missing);
    f.block_mut(f.body()).outputs.extend([plain, made, missing]);
    let p = program(f);
    assert_round_trip(&p);
    let back = read(&print(&p, &PrintOptions::default()));
    let f = &back.functions[0];
    let weights: Vec<(u64, bool)> = f
        .outputs()
        .iter()
        .filter_map(|&v| match &f.value(v).def {
            Def::Const(Const::Weight(w)) => w.origin.as_ref().map(|o| (o.offset, w.is_available())),
            _ => None,
        })
        .collect();
    assert_eq!(weights, [((1 << 40) + 128, false), ((1 << 40) + 256, false), (1 << 40, false)]);
}

/// The spelling of operands by op set: FORMATS of coremltools 9.0, `constexpr_*` ops before and since iOS 18.
#[test]
fn constexpr_operands_stand_where_their_op_set_wants_them() {
    let build = |opset: Opset, kind: &str| {
        let mut f = Function::new("main", opset);
        let mut op = foreign(kind, "w");
        let data = Tensor::zeros(DType::I8, [2]).expect("fits");
        let (data, axis) = (f.add_const("", Weight::of(&data)), f.add_const("", Tensor::scalar_i32(0)));
        op.set_arg("axis", vec![axis]);
        op.set_arg("quantized_data", vec![data]);
        let y = one(&mut f, op, "w", f16(&[2]));
        f.block_mut(f.body()).outputs.push(y);
        let p = program(f);
        assert_round_trip(&p);
        print(&p, &PrintOptions::default())
    };
    let old = build(Opset::Ios16, "constexpr_affine_dequantize");
    assert!(old.contains("w = constexpr_affine_dequantize()[axis = tensor<int32, []>(0), name = "), "{old}");
    let old_in_new = build(Opset::Ios18, "constexpr_affine_dequantize");
    assert!(old_in_new.contains("constexpr_affine_dequantize()[axis = int32(0), name = "), "{old_in_new}");
    let new = build(Opset::Ios18, "constexpr_blockwise_shift_scale");
    assert!(new.contains("(axis = int32(0), quantized_data = tensor<int8, [2]>(BLOBFILE("), "{new}");
    assert!(new.contains(", offset = uint64(64))))[name = string(\"w\")];"), "{new}");
}

#[test]
fn the_newer_dialect_reads_as_apple_spells_it() {
    let text = r#"program(1.3)
[buildInfo = dict<string, string>({{"coremlc-component-MIL", "3510.2.1"}, {"coremlc-version", "3505.4.1"}})]
{
    func main<ios18>(tensor<fp16, [1, 4]> x, state<tensor<fp16, [1, 4]>> k) {
            string dtype_0 = const()[name = string("dtype_0"), val = string("fp32")];
            tensor<fp16, [1, 4]> read = read_state(input = k)[name = string("read")];
            int32 axis_0 = const()[name = string("axis_0"), val = int32(-1)];
            fp16 half = const()[name = string("half"), val = fp16(0x1p-1)];
            bool no = const()[name = string("no"), val = bool(false)];
            tensor<fp16, [1, 8]> cat = concat(axis = axis_0, interleave = no, values = (x, read))[name = string("cat")];
            tensor<fp16, [1, 4]> a, tensor<fp16, [1, 4]> b = split(axis = axis_0, x = cat, y = half)[name = string("s")];
            write_state(data = a, input = k)[name = string("w")];
            tensor<fp32, [1, 4]> y = cast(dtype = dtype_0, x = b)[name = string("cast_0")];
        } -> (y);
}"#;
    assert_same_text(&print(&read(text), &as_made()), text);
}

#[test]
fn spellings_of_other_tools_are_read() {
    let text = "program(1.0) { // a comment
        func main<CoreML7>(tensor<fp16,[2]>x) {
            (tensor<fp16, [1]> p, tensor<fp16, [1]> q) = split(axis=tensor<int32, []>(0), x=x);
            tensor<fp16, [2, 2]> c = const()[val=tensor<fp16,[2,2]>([1.0, 2, 3e0, -4.5])];
        } -> (p, c); }";
    let p = read(text);
    let f = &p.functions[0];
    assert_eq!(f.opset, Opset::Ios17);
    let c = f.constant(f.outputs()[1]).and_then(|c| c.literal().ok());
    assert_eq!(c.and_then(|l| l.as_tensor().map(Tensor::to_f32s)), Some(vec![1.0, 2.0, 3.0, -4.5]));
}

#[test]
fn the_compact_form_is_short_and_names_every_result() {
    let text = print(&read(SILERO), &PrintOptions { compact: true, ..PrintOptions::default() });
    assert!(text.starts_with("func main<ios15>(fp32[1, 576] audio_input, "), "{text}");
    let pad = "    fp16[1, 640] x_1_cast_fp16 = pad(constant_val = 0.0, mode = \"reflect\", pad = [0, 0, 0, 64], x = audio_input_to_fp16)\n";
    assert!(text.contains(pad), "{text}");
    assert!(text.contains("weight = <fp16[258, 1, 256] @64>"), "{text}");
    assert!(!text.contains("const()"));
    assert!(text.len() * 3 < SILERO.len());
}

#[test]
fn errors_name_place_expected_and_found() {
    let main = |body: &str| {
        format!("program(1.0)\n{{\n    func main<ios17>(tensor<fp16, [2]> x) {{\n{body}\n}} -> (x);\n}}")
    };
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "1:1: expected `program`, found the end of the text"),
        ("program(one)".into(), "1:9: expected a version such as 1.3, found `one`"),
        (
            "program(1.0)\n{\n  func f<ios99>".into(),
            "3:10: expected an op set (ios13, ios14, ios15, ios16, ios17, ios18, ios26), found `ios99`",
        ),
        (main("tensor<fp17, [1]> y = relu(x = x);"), "4:8: expected an element type, found `fp17`"),
        (main("tensor<fp16, [2]> y = relu(x = z);"), "4:32: value `z` is not defined here"),
        (main("tensor<fp16, [2]> y = relu(x = y);"), "4:32: value `y` is not defined here"),
        (main("tensor<fp16, [2]> x = relu(x = x);"), "4:19: value `x` is defined twice"),
        (main("tensor<fp16, [2]> y = relu(x = x, x = x);"), "4:35: argument `x` is given twice"),
        (main("tensor<fp16, [2]> y = relu(x = x)"), "5:1: expected `;`, found `}`"),
        (
            main("int32 y = const()[val = int32(3000000000)];"),
            "4:31: expected an integer from -2147483648 to 2147483647, found `3000000000`",
        ),
        (
            main("int32 y = const()[name = int32(3), val = int32(3)];"),
            "4:19: attribute `name` is tensor<int32, []>, but must be a string",
        ),
        (main("int32 y = const()[];"), "4:11: this const has no attribute `val`"),
        (
            main("fp16 y = const()[val = int32(3)];"),
            "4:6: const `y` is declared tensor<fp16, []>, but its value is tensor<int32, []>",
        ),
        (main("relu(x = tensor<int32, [3]>([1, 2]));"), "4:29: 2 elements, but the type asks for 3"),
        (
            main("relu(x = tensor<int32, [2, 2]>([[1, 2], [3, 4, 5]]));"),
            "4:48: more than the 2 elements that the type asks for",
        ),
        (
            main("relu(x = tensor<fp16, [?]>([1]));"),
            "4:28: a literal needs fixed extents that fit memory, not tensor<fp16, [?]>",
        ),
        (
            main("relu(x = string(\"a\\qb\"));"),
            "4:19: unknown escape `\\q`; known are \\\" \\\\ \\n \\r \\t \\xNN",
        ),
        (main("relu(x = string(\"abc));"), "4:17: this string has no closing quote"),
        (main("relu(x = é);"), "4:10: the character 'é' begins nothing in MIL text"),
        (
            main("relu(x = x)[k = fp16(BLOBFILE(path = string(\"p\"), offset = uint64(64)))];"),
            "4:13: attribute `k` is in a weight file; it must be written out",
        ),
        (
            main("relu(x = fp16(BLOBFILE(path = string(\"p\"), offset = int32(64))));"),
            "4:53: a blob's offset is int32, but must be uint64",
        ),
        (
            main("relu(x = tensor<string, [2]>(BLOBFILE(path = string(\"p\"), offset = uint64(64))));"),
            "4:30: a weight cannot be tensor<string, [2]>; it must be a tensor of numbers of fixed size",
        ),
        (format!("{} trailing", main("")), "6:3: expected the end of the text, found `trailing`"),
    ];
    for (text, expected) in cases {
        let error = parse(&text, &|_, _, _| None).expect_err(&text);
        assert_eq!(error.to_string(), expected, "{text}");
    }
}

#[test]
fn a_weight_file_that_gives_another_size_is_refused() {
    let error = parse(SILERO, &|_, _, _| Some(Bytes::from_static(b"abc"))).expect_err("three bytes");
    assert_eq!((error.line, error.column), (18, 169));
    assert!(
        error
            .message
            .ends_with("tensor<fp16, [258, 1, 256]> takes 132096 bytes, but the weight file gives 3")
    );
}

#[test]
fn deep_nesting_is_refused() {
    let deep = |head: &str, level: &str| {
        let text = format!("program(1.0){{func f<ios17>({head}{}", level.repeat(100_000));
        parse(&text, &|_, _, _| None).expect_err("too deep").message
    };
    assert_eq!(deep("", "list<"), "types are nested deeper than 64");
    assert_eq!(deep("){", "cond() b(){"), "blocks are nested deeper than 64");
    assert_eq!(deep("tensor<int32, [", "1, "), "a tensor has more than 32 dims");
}

#[test]
fn endless_arguments_and_attributes_are_refused() {
    let many: String = (0..5000).map(|i| format!("a{i} = int32(1), ")).collect();
    let refused = |text: String| parse(&text, &|_, _, _| None).expect_err("too many").message;
    let arguments = format!("program(1.3){{func f<ios17>(){{ g({many}");
    assert_eq!(refused(arguments), "an op has more than 4096 arguments");
    assert_eq!(refused(format!("program(1.3)[{many}")), "more than 4096 attributes");
}

/// Truncated and damaged text gives a program or an error, never a panic; what still parses prints and parses again.
#[test]
fn damaged_text_never_panics() {
    let text = &SILERO_INT8[..6000];
    for end in 0..1500 {
        parse(&text[..end], &|_, _, _| None).expect_err("cut off");
    }
    let small = print(&read("program(1.3)[b = dict<string, int32>({{\"k\", 1}})]{func m<ios18>(state<fp16> s, tensor<fp16, [?, 2]> x){
        bool p = const()[val = bool(true)];
        fp32 r = cond(pred = p) block(int32 i) { fp32 a = f(x = x); } -> (a) block() { } -> (x);
        int64 a, list<int8, 3> c = g(v = (p, x), w = tensor<uint4, [2, 2]>([[1, 2], [3, 15]]));
    } -> (r, c);}"), &PrintOptions::default());
    let mut survivors = 0;
    for at in 0..small.len() {
        for bit in 0..7 {
            let mut bytes = small.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let Ok(damaged) = String::from_utf8(bytes) else { continue };
            let Ok(program) = parse(&damaged, &|_, _, _| None) else { continue };
            survivors += 1;
            let again = read(&print(&program, &PrintOptions::default()));
            assert_eq!(difference(&program, &again), None, "{damaged}");
        }
    }
    assert!(survivors > 100, "{survivors}");
}

/// A program of one statement.
fn of_statement(version: &str, opset: &str, statement: &str) -> String {
    format!(
        "program({version}) {{ func main<{opset}>(tensor<fp32, [2]> x) {{ {statement} tensor<fp32, [2]> y = relu(x = x); }} -> (y); }}"
    )
}

#[test]
fn a_program_of_an_unknown_version_is_refused() {
    for version in ["0.0", "2.0", "-1.0"] {
        let error = parse(&of_statement(version, "ios16", ""), &|_, _, _| None).expect_err(version);
        assert!(error.to_string().contains("a version such as 1.3"), "{error}");
    }
}

#[test]
fn an_op_without_a_name_is_equal_to_one_named_after_its_result() {
    let named = |name: &str| {
        let statement = format!("tensor<fp32, [2]> z = relu(x = x)[name = string(\"{name}\")];");
        read(&of_statement("1.0", "ios16", &statement))
    };
    assert_eq!(difference(&named(""), &named("z")), None);
    assert!(difference(&named(""), &named("other")).is_some());
}

#[test]
fn attributes_of_a_constexpr_op_that_are_no_operands_stay_attributes() {
    let statement = "tensor<fp32, [2]> w = constexpr_affine_dequantize()[axis = int32(0), quantized_data = \
                     tensor<int8, [2]>([1, 2]), scale = fp32(0x1p-4), vale = int32(7), zero_point = int8(0)];";
    let program = read(&of_statement("1.0", "ios16", statement));
    let main = program.default_function().expect("main");
    let op =
        main.walk().into_iter().map(|(_, op)| main.op(op)).find(|op| op.is("constexpr_affine_dequantize"));
    let op = op.expect("the op");
    assert_eq!(op.attributes.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), ["vale"]);
    assert_eq!(op.args.len(), 4);
    assert_round_trip(&program);
}
