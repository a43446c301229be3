//! Joint forms: the recorded pairs of schemes end in the same ops and the same numbers as in coremltools 9.0.

use anemone_compress::config::{Granularity, Linear, Palette};
use anemone_compress::{Config, LinearMode, PaletteMode, Pruning, Rule, Scheme, Work, compress, decompress};
use anemone_formats::safetensors::SafeTensors;
use anemone_mil::interface::Interface;
use anemone_mil::text::plain_interface;
use anemone_mil::{Builder, Level, Opset, Program, TensorType, Weight, verify};
use anemone_tensor::{DType, Tensor};
use serde_json::Value;
use std::ops::ControlFlow;
use std::path::Path;

/// `y = linear(x, weight)`.
fn program(weight: &Tensor) -> Program {
    let mut b = Builder::new("main", Opset::Ios18);
    let x = b.input("x", TensorType::new(DType::F16, [1, weight.shape()[1]]));
    let w = b.constant("w", Weight::of(weight));
    let y = b.op("linear").arg("x", x).arg("weight", w).one("y").expect("fits");
    b.output(y);
    let mut program = Program::new(b.finish(), Interface::default());
    program.interface = plain_interface(&program.functions);
    program
}

fn scheme(step: &Value) -> Scheme {
    let (kind, set) = (step[0].as_str().expect("a kind"), &step[1]);
    let word = |key: &str| set[key].as_str().unwrap_or("");
    match kind {
        "prune" => {
            Scheme::Prune(Pruning::Magnitude { sparsity: set["target_sparsity"].as_f64().expect("given") })
        }
        "palette" => Scheme::Palette(Palette {
            mode: PaletteMode::Uniform,
            bits: set["nbits"].as_u64().and_then(|b| usize::try_from(b).ok()),
            ..Palette::default()
        }),
        _ => Scheme::Linear(Linear {
            mode: if word("mode") == "linear" { LinearMode::Affine } else { LinearMode::Symmetric },
            dtype: DType::from_name(word("dtype")).unwrap_or(DType::I8),
            granularity: match word("granularity") {
                "per_block" => Granularity::PerBlock(8),
                "per_tensor" => Granularity::PerTensor,
                _ => Granularity::PerChannel,
            },
        }),
    }
}

fn constexprs(program: &Program) -> Vec<String> {
    let f = &program.functions[0];
    let kinds = f.walk().into_iter().map(|(_, id)| f.op(id).kind.name().to_string());
    kinds.filter(|k| k.starts_with("constexpr_")).collect()
}

#[test]
fn two_schemes_on_top_of_each_other_come_out_as_coremltools_has_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/compress/cases.safetensors");
    let file = SafeTensors::read(&std::fs::read(path).expect("the corpus").into()).expect("readable");
    let cases: Vec<Value> = serde_json::from_str(&file.metadata["cases"]).expect("a list of cases");
    let joint = cases.iter().enumerate().filter(|(_, c)| c["kind"] == "joint");
    let mut seen = 0;
    for (i, case) in joint {
        seen += 1;
        let mut program = program(&file.tensors[&format!("{i:03}.weight")]);
        for (n, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            let rule = Rule { scheme: scheme(step), weight_threshold: 10 };
            let config = Config { global: Some(rule), ..Config::default() };
            let (mut store, mut progress) =
                (Ok, |_: anemone_compress::Progress<'_>| ControlFlow::Continue(()));
            let mut work = Work { workers: 1, store: &mut store, progress: &mut progress };
            let report = compress(&mut program, &config, n > 0, &mut work).expect("compresses");
            assert_eq!(report.weights.len(), 1, "{}", case["name"]);
            assert!(report.weights[0].result.is_ok(), "{}: {:?}", case["name"], report.weights[0]);
        }
        verify(&program, Level::Imported).unwrap_or_else(|f| panic!("{}: {f}", case["name"]));
        let mut ops: Vec<&str> =
            case["ops"].as_array().expect("ops").iter().filter_map(Value::as_str).collect();
        let mut ours = constexprs(&program);
        // A later pass of coremltools lets the scales of a palette of integers make the table instead.
        ops.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, ops, "{}", case["name"]);
        decompress(&mut program, &mut Ok).expect("unpacks");
        let linear = program.functions[0].walk()[0].1;
        let weight = program.functions[0].op(linear).value("weight").expect("given");
        let made = program.functions[0].constant(weight).and_then(|c| c.literal().ok()).expect("plain");
        let (made, dense) =
            (made.as_tensor().expect("a tensor").clone(), &file.tensors[&format!("{i:03}.dense")]);
        assert_eq!(made.to_f64s(), dense.to_f64s(), "{}", case["name"]);
    }
    assert_eq!(seen, 9);
}

/// coremltools 9.0 cannot do this (its mask does not fit indices of vectors); the program must be sound and near.
#[test]
fn vectors_of_a_pruned_weight_are_kept_where_one_element_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/compress/cases.safetensors");
    let file = SafeTensors::read(&std::fs::read(path).expect("the corpus").into()).expect("readable");
    let weight = file.tensors["000.weight"].cast(DType::F16);
    let mut program = program(&weight);
    let pruning = Scheme::Prune(Pruning::NOfM { n: 2, m: 4, dim: 1 });
    let palette = Scheme::Palette(Palette { bits: Some(8), cluster_dim: 2, ..Palette::default() });
    for (n, scheme) in [pruning, palette].into_iter().enumerate() {
        let config = Config { global: Some(Rule { scheme, weight_threshold: 10 }), ..Config::default() };
        let (mut store, mut progress) = (Ok, |_: anemone_compress::Progress<'_>| ControlFlow::Continue(()));
        let mut work = Work { workers: 1, store: &mut store, progress: &mut progress };
        let report = compress(&mut program, &config, n > 0, &mut work).expect("compresses");
        let fit = report.weights[0].result.clone().expect("done");
        assert!(n == 0 || fit.cosine() > 0.9999, "{fit:?}");
    }
    verify(&program, Level::Imported).unwrap_or_else(|f| panic!("{f}"));
    assert_eq!(constexprs(&program), ["constexpr_lut_to_sparse", "constexpr_sparse_to_dense"]);
}
