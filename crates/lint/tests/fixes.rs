//! Every fix, on the bad example of its rule's page: it settles, what it leaves is legal, the finding is gone, and both
//! programs compute the same within what the fix promises.

mod common;

use anemone_ane::{Device, Units, plan};
use anemone_lint::fix::{Automatic, Choices, Exactness};
use anemone_lint::{MendOptions, Rule, Subject, mend, rules};
use anemone_mil::eval::{Options, run};
use anemone_mil::interface::{FeatureKind, Flexibility};
use anemone_mil::text::{PrintOptions, print};
use anemone_mil::{Bytes, DType, Function, Level, Literal, Program, Tensor, text, verify};
use anemone_testkit::filetest::{Ranges, compare, random_inputs};
use common::blocks;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The program of a block, with random weights of a typical size.
fn parsed(rule: &Rule, source: &str) -> Program {
    let seed = Cell::new(1_u64);
    let weights = |_: &_, dtype: DType, shape: &[usize]| -> Option<Bytes> {
        let next = || {
            seed.set(
                seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407),
            );
            (seed.get() >> 40) as f64 / f64::from(1 << 24) - 0.5
        };
        let (scale, shift) = match dtype {
            d if d.is_float() => (1.0, 0.0),
            d => (f64::from(1_u32 << d.bits().min(8)) - 1.0, if d.is_signed_int() { 0.0 } else { 0.5 }),
        };
        let count: usize = shape.iter().product();
        let values: Vec<f64> = (0..count).map(|_| (next() + shift) * scale).collect();
        let values: Vec<f64> = values.iter().map(|v| if dtype.is_float() { *v } else { v.trunc() }).collect();
        Some(Tensor::from_f64s(dtype, shape, &values).expect("fits").bytes().clone())
    };
    text::parse(source.trim(), &weights).unwrap_or_else(|e| panic!("{}: {e}", rule.name))
}

fn fires(rule: &Rule, program: &Program, device: &Arc<Device>) -> bool {
    let verified = verify(program, Level::Imported).unwrap_or_else(|e| panic!("{}: {e}", rule.name));
    program.functions.iter().any(|f| {
        let plan = plan(verified.function(Some(&f.name)).expect("the function"), device, Units::CpuAndNe);
        !(rule.find)(&Subject::new(program, f, &plan)).is_empty()
    })
}

fn options(rule: &Rule, device: &Arc<Device>) -> MendOptions {
    MendOptions {
        device: Arc::clone(device),
        units: Units::CpuAndNe,
        rounding: true,
        rules: vec![rule.name.to_owned()],
        off: Vec::new(),
        // Examples are small: what is worth the change in a model need not be in them.
        keep_worse: true,
        choices: Choices { shapes: Vec::new(), fixed: true, host: true },
    }
}

/// Mends the example, and asks for everything that a fix promises.
fn prove(rule: &Rule, fix: &Automatic, device: &Arc<Device>, source: &str) {
    let before = parsed(rule, source);
    assert!(fires(rule, &before, device), "{} does not fire", rule.name);
    let mut after = before.clone();
    let options = options(rule, device);
    let steps = mend(&mut after, &options);
    let shown = || format!("{}:\n{}", rule.name, print(&after, &PrintOptions::default()));
    assert!(!steps.is_empty() && steps.iter().all(|s| s.undone.is_none()), "{steps:?} {}", shown());
    verify(&after, Level::Imported).unwrap_or_else(|e| panic!("{e} {}", shown()));
    assert!(!fires(rule, &after, device), "still fires: {}", shown());
    assert!(mend(&mut after.clone(), &options).is_empty(), "does not settle: {}", shown());
    for (a, b) in before.functions.iter().zip(&after.functions) {
        if let Exactness::Within(_, most) = fix.exactness {
            let share = apart(a, b);
            assert!(share <= most, "{share} of the largest output: {}", shown());
            continue;
        }
        let exact = fix.exactness == Exactness::Identical;
        compare(a, b, exact, rule.name, Ranges::default()).unwrap_or_else(|e| panic!("{e} {}", shown()));
    }
}

/// Largest difference of the outputs of two functions, over the largest output of the first.
fn apart(a: &Function, b: &Function) -> f64 {
    let inputs = random_inputs(b, 1, Ranges::default());
    let outputs = |f: &Function| {
        run(f, &inputs, &mut BTreeMap::new(), &mut Options::default()).unwrap_or_else(|e| panic!("{e}"))
    };
    let (expected, found) = (outputs(a), outputs(b));
    let (mut gap, mut largest) = (0.0f64, 0.0f64);
    for (name, wanted) in &expected {
        let values = |l: &Literal| l.as_tensor().expect("a tensor").to_f64s();
        for (w, v) in values(wanted).iter().zip(values(&found[name])) {
            (gap, largest) = (gap.max((w - v).abs()), largest.max(w.abs()));
        }
    }
    gap / largest
}

#[test]
fn every_fix_mends_the_example_of_its_page() {
    for rule in rules::ALL {
        let Some(fix) = rule.fix.automatic() else { continue };
        let bad: Vec<_> = blocks(rule.page).into_iter().filter(|b| b.0 == "bad").collect();
        // What MIL text does not say has a test of its own.
        assert!(!bad.is_empty() || rule.name == "enumerated-shapes", "{} has no example", rule.name);
        bad.iter().for_each(|(_, device, source)| prove(rule, fix, device, source));
    }
}

#[test]
fn pages_say_what_their_fix_does() {
    for rule in rules::ALL {
        let (_, section) = rule.page.split_once("## Fix\n").expect("a section");
        let first = section.trim_start().split('\n').next().unwrap_or_default();
        let by_hand = first.starts_with("By hand");
        assert_eq!(by_hand, rule.fix.automatic().is_none(), "{}: {first}", rule.name);
        let rounds = rule.fix.automatic().is_some_and(|f| f.exactness != Exactness::Identical);
        assert_eq!(first.contains("--rounding"), rounds, "{}: {first}", rule.name);
    }
}

/// A program whose interface says more than its text.
fn program(text: &str) -> Program {
    text::parse(text, &|_, _, _| None).expect("a program")
}

fn mended(program: &mut Program, rule: &str, choices: Choices) -> usize {
    let m4 = Device::named("m4").expect("known");
    let rule = rules::named(rule).expect("a rule");
    mend(program, &MendOptions { choices, ..options(rule, &m4) }).len()
}

#[test]
fn inputs_get_the_shape_that_was_chosen_or_their_default_one_or_none() {
    let text = "program(1.3)\n{\n    func main<ios18>(tensor<fp16, [1, ?]> x) {\n            tensor<fp16, [1, ?]> y = \
                relu(x = x)[name = string(\"y\")];\n        } -> (y);\n}";
    let open = |choices: Choices| {
        let mut p = program(text);
        let FeatureKind::MultiArray(array) = &mut p.interface.functions[0].inputs[0].kind else { panic!() };
        array.shape = vec![1, 64];
        array.flexibility = Flexibility::Enumerated(vec![vec![1, 64], vec![1, 128]]);
        let steps = mended(&mut p, "enumerated-shapes", choices);
        verify(&p, Level::Imported).expect("legal");
        let y = p.functions[0].outputs()[0];
        let FeatureKind::MultiArray(array) = &p.interface.functions[0].inputs[0].kind else { panic!() };
        (steps, p.functions[0].value(y).ty.to_string(), array.flexibility == Flexibility::Fixed)
    };
    let chosen = Choices { shapes: vec![("x".into(), vec![1, 128])], fixed: false, ..Choices::default() };
    assert_eq!(open(chosen), (1, "tensor<fp16, [1, 128]>".into(), true));
    let usual = Choices { shapes: Vec::new(), fixed: true, ..Choices::default() };
    assert_eq!(open(usual), (1, "tensor<fp16, [1, 64]>".into(), true));
    assert_eq!(open(Choices::default()), (0, "tensor<fp16, [1, ?]>".into(), false));
    let wrong = Choices { shapes: vec![("x".into(), vec![2, 64])], fixed: false, ..Choices::default() };
    assert_eq!(open(wrong), (0, "tensor<fp16, [1, ?]>".into(), false));
}

#[test]
fn what_is_written_into_a_wider_state_is_read_again() {
    let text = "program(1.3)\n{\n    func main<ios18>(state<tensor<fp16, [2, 5]>> s, tensor<fp16, [2, 5]> x) {\n\
                tensor<fp16, [2, 5]> r = read_state(input = s)[name = string(\"r\")];\n\
                tensor<fp16, [2, 5]> a = add(x = r, y = x)[name = string(\"a\")];\n\
                write_state(data = a, input = s)[name = string(\"w\")];\n\
                tensor<fp16, [2, 5]> u = read_state(input = s)[name = string(\"u\")];\n        } -> (u);\n}";
    let before = program(text);
    let mut after = before.clone();
    assert_eq!(mended(&mut after, "state-width", Choices::default()), 1);
    verify(&after, Level::Imported).expect("legal");
    let FeatureKind::State(array) = &after.interface.functions[0].states[0].kind else { panic!() };
    assert_eq!(array.shape, [2, 32]);
    let x = random_inputs(&before.functions[0], 3, Ranges::default());
    let twice = |p: &Program| {
        let mut states = BTreeMap::new();
        let mut once = || run(&p.functions[0], &x, &mut states, &mut Options::default()).expect("runs");
        (once(), once())
    };
    assert_eq!(twice(&before), twice(&after));
}

/// A weight of random numbers, as a `const` statement.
fn weight(name: &str, shape: &str) -> String {
    format!(
        "tensor<fp16, {shape}> {name} = const()[name = string(\"{name}\"), val = tensor<fp16, {shape}>(BLOBFILE(path \
         = string(\"@model_path/weights/weight.bin\"), offset = uint64(64)))];\n"
    )
}

/// A statement whose result has the shape of `like`.
fn statement(name: &str, shape: &str, call: &str) -> String {
    format!("tensor<fp16, {shape}> {name} = {call}[name = string(\"{name}\")];\n")
}

fn function(inputs: &str, body: &str, output: &str) -> String {
    format!("program(1.3)\n{{\n    func main<ios18>({inputs}) {{\n{body}        }} -> ({output});\n}}")
}

/// The program after all projections became convolutions, and how often each kind of op occurs.
fn projected(source: &str) -> (Program, BTreeMap<String, usize>) {
    let rule = rules::named("linear-not-conv").expect("a rule");
    let before = parsed(rule, source);
    let mut after = before.clone();
    assert!(mended(&mut after, rule.name, Choices::default()) > 0);
    let mut counts = BTreeMap::new();
    let f = &after.functions[0];
    f.walk().iter().for_each(|(_, id)| *counts.entry(f.op(*id).kind.name().to_owned()).or_default() += 1);
    compare(&before.functions[0], &after.functions[0], false, "projected", Ranges::default())
        .unwrap_or_else(|e| panic!("{e} {}", print(&after, &PrintOptions::default())));
    (after, counts)
}

#[test]
fn a_chain_of_projections_has_one_transpose_before_it_and_one_behind() {
    for (shape, hidden, axis) in
        [("[2, 5, 4]", "[2, 5, 8]", 2), ("[5, 4]", "[5, 8]", 1), ("[1, 4]", "[1, 8]", 1)]
    {
        let mut body =
            weight("w", "[8, 4]") + &weight("b", "[8]") + &weight("v", "[4, 8]") + &weight("g", "[4]");
        body += &statement("l", hidden, "linear(bias = b, weight = w, x = x)");
        body += &statement("a", hidden, "gelu(mode = string(\"EXACT\"), x = l)");
        body += &statement("m", shape, "linear(weight = v, x = a)");
        body += &statement("r", shape, "add(x = x, y = m)");
        let norm = format!(
            "layer_norm(axes = tensor<int32, [1]>([{axis}]), epsilon = fp16(0x1p-10), gamma = g, x = r)"
        );
        body += &statement("n", shape, &norm);
        body += &statement("o", hidden, "linear(weight = w, x = n)");
        let source = function(&format!("tensor<fp16, {shape}> x"), &body, "o");
        let (after, counts) = projected(&source);
        let of = |kind: &str| counts.get(kind).copied().unwrap_or(0);
        let shown = print(&after, &PrintOptions::default());
        assert_eq!((of("linear"), of("conv"), of("layer_norm")), (0, 3, 1), "{shown}");
        assert!(of("transpose") <= 2, "{shown}");
        assert!(of("transpose") + of("reshape") + of("expand_dims") + of("squeeze") <= 4, "{shown}");
    }
}

#[test]
fn attention_has_one_transpose_before_it_and_one_behind() {
    let mut body = String::new();
    for name in ["wq", "wk", "wv", "wo"] {
        body += &weight(name, "[8, 8]");
    }
    let heads = "[1, 6, 2, 4]";
    let turned = "[1, 2, 6, 4]";
    for n in ["q", "k", "v"] {
        body += &statement(n, "[1, 6, 8]", &format!("linear(weight = w{n}, x = x)"));
        body += &statement(
            &format!("{n}h"),
            heads,
            &format!("reshape(shape = tensor<int32, [4]>({heads}), x = {n})"),
        );
        body += &statement(
            &format!("{n}t"),
            turned,
            &format!("transpose(perm = tensor<int32, [4]>([0, 2, 1, 3]), x = {n}h)"),
        );
    }
    body += &statement(
        "s",
        "[1, 2, 6, 6]",
        "matmul(transpose_x = bool(false), transpose_y = bool(true), x = qt, y = kt)",
    );
    body += &statement("p", "[1, 2, 6, 6]", "softmax(axis = int32(-1), x = s)");
    body += &statement(
        "c",
        turned,
        "matmul(transpose_x = bool(false), transpose_y = bool(false), x = p, y = vt)",
    );
    body += &statement("ct", heads, "transpose(perm = tensor<int32, [4]>([0, 2, 1, 3]), x = c)");
    body += &statement("cm", "[1, 6, 8]", "reshape(shape = tensor<int32, [3]>([1, 6, 8]), x = ct)");
    body += &statement("o", "[1, 6, 8]", "linear(weight = wo, x = cm)");
    let source = function("tensor<fp16, [1, 6, 8]> x", &body, "o");
    let (after, counts) = projected(&source);
    let shown = print(&after, &PrintOptions::default());
    assert_eq!((counts.get("conv"), counts.get("transpose")), (Some(&4), Some(&2)), "{shown}");
}
