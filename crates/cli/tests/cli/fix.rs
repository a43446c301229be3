//! `fix`, and `check --fix`.

use crate::command::{anemone_in, corpus};
use std::fs;
use std::path::Path;

/// A wide pool, and an op that no fix helps.
const MODEL: &str = "program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 2, 8, 64]> x) {
            tensor<int32, [2]> k = const()[name = string(\"k\"), val = tensor<int32, [2]>([3, 11])];
            tensor<int32, [4]> p = const()[name = string(\"p\"), val = tensor<int32, [4]>([1, 1, 5, 5])];
            tensor<int32, [2]> s = const()[name = string(\"s\"), val = tensor<int32, [2]>([1, 1])];
            tensor<fp16, [1, 2, 8, 64]> y = max_pool(ceil_mode = bool(false), kernel_sizes = k, pad = p, pad_type = string(\"custom\"), strides = s, x = x)[name = string(\"y\")];
            tensor<fp16, [1, 2, 8, 64]> z = tan(x = y)[name = string(\"z\")];
        } -> (z);
}
";

fn model(folder: &Path) {
    fs::write(folder.join("m.mil"), MODEL).unwrap();
}

#[test]
fn a_dry_run_tells_what_it_would_change_and_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let ran = anemone_in(folder.path(), ["fix", "m.mil", "--dry-run", "--keep-worse"]);
    assert_eq!(ran.status, Some(0), "{ran:?}");
    for word in ["fixed max-pool-width (identical)", "main before", "main after", "unsupported-op", "by hand"]
    {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    assert!(ran.out.lines().all(|l| l.chars().count() <= 100), "{}", ran.out);
    let ran = anemone_in(folder.path(), ["fix", "m.mil", "--dry-run", "--keep-worse", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["schema"], &json["applied"]), (&"anemone.fix/1".into(), &1.into()), "{json}");
    assert_eq!(
        (&json["steps"][0]["rule"], &json["steps"][0]["places"][0]),
        (&"max-pool-width".into(), &"y".into())
    );
    let skipped = anemone_in(folder.path(), ["fix", "m.mil", "--dry-run", "--skip", "max-pool-width"]);
    assert!(skipped.out.contains("no fix applies"), "{skipped:?}");
}

#[test]
fn a_fix_that_makes_the_plan_worse_is_undone() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let ran = anemone_in(folder.path(), ["fix", "m.mil", "--dry-run"]);
    assert!(ran.out.contains("undone max-pool-width"), "{ran:?}");
    assert!(ran.out.contains("rises from"), "{ran:?}");
}

#[test]
fn what_cannot_be_done_is_an_error_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let fix = |args: &[&str]| anemone_in(folder.path(), ["fix", "m.mil"].iter().chain(args));
    fix(&["-o", "out.mlpackage"]).fails(&["MIL text", "--dry-run"]);
    fix(&["-o", "out.bin"]).fails(&[".mlpackage"]);
    fix(&["--dry-run", "--rule", "nonsense"]).fails(&["nonsense", "--list"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_package_is_fixed_compared_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = corpus("models/magika.onnx");
    let convert =
        anemone_in(folder.path(), ["convert", onnx.to_str().unwrap(), "-o", "m.mlpackage", "--no-check"]);
    assert_eq!(convert.status, Some(0), "{convert:?}");
    let ran = anemone_in(folder.path(), ["fix", "m.mlpackage", "-o", "f.mlpackage", "--keep-worse"]);
    assert!(ran.out.contains("linear-not-conv") && ran.out.contains("wrote f.mlpackage"), "{ran:?}");
    assert!(ran.out.contains("output "), "{ran:?}");
    let shown = anemone_in(folder.path(), ["show", "f.mlpackage", "--compact"]);
    assert!(!shown.out.contains("linear(") && shown.out.contains("conv("), "{shown:?}");
    let again = anemone_in(folder.path(), ["check", "f.mlpackage", "--fix", "-o", "g.mlpackage"]);
    assert!(again.out.contains("no fix applies") && again.out.contains("f.mlpackage: 0 errors"), "{again:?}");
}

#[test]
fn a_look_up_is_told_of_and_needs_to_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let text = MODEL
        .replace("tensor<fp16, [1, 2, 8, 64]> x)", "tensor<int32, [4]> i)")
        .lines()
        .filter(|l| !l.contains("max_pool") && !l.contains("tan(") && !l.contains("const()"))
        .map(|l| match l.trim() {
            "} -> (z);" => "            tensor<fp16, [64, 8]> t = const()[name = string(\"t\"), val = tensor<fp16, [64, 8]>(BLOBFILE(path = \
                 string(\"@model_path/weights/weight.bin\"), offset = uint64(64)))];\n            tensor<fp16, [4, 8]> e = \
                 gather(axis = int32(0), batch_dims = int32(0), indices = i, validate_indices = bool(false), x = \
                 t)[name = string(\"e\")];\n            tensor<fp16, [4, 8]> z = relu(x = e)[name = \
                 string(\"z\")];\n        } -> (z);"
                .to_owned(),
            _ => l.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(folder.path().join("m.mil"), text).unwrap();
    let plain = anemone_in(folder.path(), ["fix", "m.mil", "--dry-run"]);
    assert!(plain.out.contains("left warning[gather-runtime]"), "{plain:?}");
    let asked = anemone_in(folder.path(), ["fix", "m.mil", "--dry-run", "--host-lookups"]);
    assert!(asked.out.contains("fixed gather-runtime (identical)"), "{asked:?}");
    assert!(asked.out.contains("hand in as `e` the rows"), "{asked:?}");
}
