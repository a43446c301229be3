//! `check`.

use crate::command::{anemone, anemone_in};
use std::fs;
use std::path::Path;

/// A program with a 32-bit integer island and a `tan`, at the lines that the tests expect.
const MODEL: &str = "program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 8]> x, tensor<int32, [1, 8]> i) {
            tensor<int32, [1, 8]> j = add(x = i, y = i)[name = string(\"j\")];
            tensor<fp16, [1, 8]> y = tan(x = x)[name = string(\"y\")];
        } -> (y, j);
}
";

fn model(folder: &Path) {
    fs::write(folder.join("m.mil"), MODEL).unwrap();
}

#[test]
fn findings_show_the_op_in_its_line_and_end_with_status_1() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let ran = anemone_in(folder.path(), ["check", "m.mil"]);
    assert_eq!(ran.status, Some(1), "{ran:?}");
    for word in
        ["warning[int32-island]", "warning[unsupported-op]", "--> m.mil:5", "tan(x = x)", "^^^", "= help:"]
    {
        assert!(ran.out.contains(word), "{word}: {}", ran.out);
    }
    assert!(ran.out.lines().all(|l| l.chars().count() <= 100), "{}", ran.out);
    let package = anemone(["check", "packages/state.mlpackage"]);
    assert!(package.out.contains("state-width") && package.status == Some(1), "{package:?}");
}

#[test]
fn findings_come_as_json_sarif_and_annotations() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let run = |format: &str| {
        let ran = anemone_in(folder.path(), ["check", "m.mil", "--format", format]);
        assert_eq!(ran.status, Some(1), "{ran:?}");
        ran.out
    };
    let json: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    assert_eq!(json["schema"], "anemone.check/1");
    let findings = json["models"][0]["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["rule"] == "unsupported-op" && f["line"] == 5), "{json}");
    let sarif: serde_json::Value = serde_json::from_str(&run("sarif")).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!((&sarif["version"], &result["level"]), (&"2.1.0".into(), &"warning".into()));
    assert!(result["locations"][0]["physicalLocation"]["region"]["startLine"].is_u64(), "{result}");
    assert!(
        run("github").lines().any(|l| l.starts_with("::warning file=m.mil,line=5,title=unsupported-op::"))
    );
}

#[test]
fn gates_that_are_not_met_end_with_status_1() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.mil"), MODEL.replace("tan(", "tanh(")).unwrap();
    let check = |args: &[&str]| {
        let all = ["check", "m.mil", "--rule", "int32-island=off"];
        anemone_in(folder.path(), all.iter().chain(args)).status
    };
    assert_eq!(check(&[]), Some(0));
    assert_eq!(
        check(&["--gate", "shard<=250MB", "--gate", "all-convs-on-ane", "--gate", "latency<8ms"]),
        Some(0)
    );
    assert_eq!(check(&["--gate", "ane>=95%"]), Some(1));
    assert_eq!(check(&["--gate", "ane>=95"]), Some(2));
    assert_eq!(check(&["--gate", "speed>1"]), Some(2));
    assert_eq!(check(&["--rule", "int33=off"]), Some(2));
}

#[test]
fn settings_are_those_of_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    model(folder.path());
    let settings = |text: &str| {
        fs::write(folder.path().join("anemone.toml"), text).unwrap();
        anemone_in(folder.path(), ["check", "m.mil"])
    };
    let quiet = settings("[rules]\nint32-island = \"off\"\nunsupported-op = \"note\"\n");
    assert_eq!(quiet.status, Some(0), "{quiet:?}");
    assert_eq!(settings("[check]\nos = \"ios16\"\n").status, Some(1));
    assert!(settings("[check]\nos = \"ios16\"\n").out.contains("needs-newer-system"));
    settings("[rules]\nnonsense = \"off\"\n").fails(&["anemone.toml", "nonsense"]);
}

#[test]
fn rules_are_listed_and_explained() {
    let list = anemone(["check", "--list"]).report();
    assert!(list.contains("int32-island") && list.lines().count() > 25, "{list}");
    let page = anemone(["explain", "int32-island"]);
    assert!(page.out.contains("## What it finds") && page.status == Some(0), "{page:?}");
}
