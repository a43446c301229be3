//! Every verb on small packages: data, formats, exit status.

use crate::common::{anemone, anemone_in, arg, corpus};
use serde_json::Value;
use std::fs;

fn json(args: &[&str]) -> Value {
    let text = anemone(args).clean(&format!("{args:?}"));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

/// All packages of the corpus.
fn packages() -> Vec<String> {
    let entries = fs::read_dir(corpus("packages")).expect("a folder");
    let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|n| n.ends_with(".mlpackage")).collect();
    names.sort();
    assert!(names.len() > 10);
    names.into_iter().map(|n| format!("packages/{n}")).collect()
}

#[test]
fn inspect_and_plan_fit_100_columns_for_every_package() {
    for package in packages() {
        for verb in ["inspect", "plan"] {
            let text = anemone(&[verb, &package]).clean(&package);
            let longest = text.lines().map(|l| l.chars().count()).max();
            assert!(longest.is_some_and(|n| n > 0 && n <= 100), "{verb} {package}: {text}");
        }
    }
}

#[test]
fn inspect_names_what_is_special_about_a_package() {
    let cases = [
        ("packages/classifier.mlpackage", "classifier: label"),
        ("packages/image-input.mlpackage", "picture"),
        ("packages/state.mlpackage", "state fp16"),
        ("packages/shape-range.mlpackage", "within"),
        ("packages/shape-enumerated.mlpackage", "or one of"),
        ("packages/optional-default.mlpackage", "optional"),
        ("packages/constexpr18-lut-6bit.mlpackage", "(6 bits)"),
        ("mlmodelc/silero-int8.mlmodelc", "compiled model"),
        ("bad/packages/not-a-program.mlpackage", "not an ML program"),
    ];
    for (path, words) in cases {
        let ran = anemone(&["inspect", path]);
        assert_eq!(ran.status, 0, "{path}: {}", ran.stderr);
        assert!((ran.stdout.clone() + &ran.stderr).contains(words), "{path}: {} {}", ran.stdout, ran.stderr);
    }
    let functions = anemone(&["inspect", "packages/functions.mlpackage"]).clean("functions");
    assert!(functions.matches("Function ").count() > 1, "{functions}");
}

#[test]
fn every_verb_has_json_with_a_schema() {
    let model = "packages/conv.mlpackage";
    assert_eq!(json(&["inspect", model, "--json"])["schema"], "anemone.inspect/1");
    assert_eq!(json(&["show", model, "--json"])["schema"], "anemone.show/1");
    assert_eq!(json(&["run", model, "--random", "1", "--json"])["schema"], "anemone.run/1");
    let plan = json(&["plan", model, "--json", "--units", "cpu-and-ne"]);
    assert_eq!((plan["schema"].as_str(), plan["device"].as_str()), (Some("anemone.plan/1"), Some("m4")));
    for op in plan["ops"].as_array().expect("ops") {
        assert!(op["supported"].as_array().is_some_and(|s| s.contains(&op["preferred"])), "{op}");
        assert!(op["reason"].is_string() && op["name"].is_string() && op["type"].is_string(), "{op}");
    }
    assert!(plan["summary"]["ane_share_by_cost"].is_number());
}

#[test]
fn shown_text_is_a_program_that_can_be_shown_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for package in packages() {
        let text = anemone(&["show", &package]).clean(&package);
        let file = folder.path().join("a.mil");
        fs::write(&file, &text).expect("writes");
        assert_eq!(anemone(&["show", arg(&file)]).clean(&package), text, "{package}");
        assert!(!anemone(&["show", &package, "--compact"]).clean(&package).contains("const()"), "{package}");
    }
}

#[test]
fn apples_text_comes_back_as_it_was() {
    let path = "mlmodelc/silero-int8.mlmodelc";
    let apple = fs::read_to_string(corpus(path).join("model.mil")).expect("text");
    assert_eq!(anemone(&["show", path]).clean(path).trim_end(), apple.trim_end());
}

#[test]
fn random_runs_repeat_and_verify_against_themselves() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = arg(&corpus("packages/conv.mlpackage")).to_owned();
    let run = |out: &str, extra: &[&str]| {
        let args = [&["run", &model, "--random", "7", "-o", out], extra].concat();
        anemone_in(folder.path(), &args).clean("run")
    };
    assert_eq!(run("a", &[]), run("b", &["--npy"]));
    let bytes = fs::read(folder.path().join("a/outputs.safetensors")).expect("written");
    assert!(fs::read_dir(folder.path().join("b")).expect("a folder").count() > 0);
    run("c", &[]);
    assert_eq!(bytes, fs::read(folder.path().join("c/outputs.safetensors")).expect("written"));
    let same = ["verify", &model, "--random", "7", "--expected", "a/outputs.safetensors"];
    assert!(anemone_in(folder.path(), &same).clean("verify").contains("equal"));
    let other = ["verify", &model, "--random", "8", "--expected", "a/outputs.safetensors"];
    let differs = anemone_in(folder.path(), &other);
    assert_eq!(differs.status, 1, "{}", differs.stderr);
    assert!(
        differs.stdout.contains("DIFFERS") && differs.stdout.contains("Worst elements"),
        "{}",
        differs.stdout
    );
}

#[test]
fn models_compute_what_onnx_runtime_recorded() {
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("mnist.mlpackage");
    let convert = ["convert", "models/mnist.onnx", "-o", arg(&package), "--precision", "fp32"];
    let report = anemone(&convert).clean("convert");
    assert!(report.contains("Interface") && report.contains("Check") && report.contains("Next:"), "{report}");
    let verify = [
        "verify",
        arg(&package),
        "--inputs",
        "models/mnist.inputs.safetensors",
        "--expected",
        "models/mnist.expected.safetensors",
        "--atol",
        "1e-4",
        "--rtol",
        "1e-4",
    ];
    anemone(&verify).clean("verify");
}

#[test]
fn convert_reports_in_json_and_says_nothing_in_a_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let package = folder.path().join("mnist.mlpackage");
    let ran = anemone(&["convert", "models/mnist.onnx", "-o", arg(&package), "--json"]);
    assert_eq!(ran.stderr, "");
    let report: Value = serde_json::from_str(&ran.clean("convert")).expect("JSON");
    assert_eq!(report["schema"], "anemone.convert/1");
    assert_eq!(report["plan"]["schema"], "anemone.plan/1");
    assert!(report["check"]["outputs"][0]["cosine"].as_f64().is_some_and(|c| c > 0.999), "{report}");
}

#[test]
fn every_verb_explains_itself_with_an_example() {
    for verb in ["convert", "show", "inspect", "run", "verify", "plan"] {
        let help = anemone(&[verb, "--help"]).clean(verb);
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.lines().all(|l| l.chars().count() <= 100), "{help}");
    }
}
