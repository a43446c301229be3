//! `show`.

use crate::command::{anemone, anemone_in, corpus, corpus_list};
use std::fs;

fn packages() -> Vec<String> {
    let names = corpus_list("packages").into_iter().filter(|n| n.ends_with(".mlpackage"));
    let names: Vec<String> = names.map(|n| format!("packages/{n}")).collect();
    assert!(names.len() >= 15);
    names
}

#[test]
fn what_is_shown_of_a_package_reads_again_and_is_shown_alike() {
    let folder = tempfile::tempdir().unwrap();
    for package in packages() {
        let text = anemone(["show", &package]).clean();
        assert!(text.starts_with("program("), "{package}: {text}");
        fs::write(folder.path().join("a.mil"), &text).unwrap();
        let again = anemone_in(folder.path(), ["show", "a.mil"]).clean();
        assert_eq!(again, text, "{package}");
    }
}

#[test]
fn compiled_text_is_shown_as_the_compiler_wrote_it() {
    let written = fs::read_to_string(corpus("mlmodelc/silero-int8.mlmodelc/model.mil")).unwrap();
    let shown = anemone(["show", "mlmodelc/silero-int8.mlmodelc"]).clean();
    assert_eq!(shown.trim_end(), written.trim_end());
    let written = fs::read_to_string(corpus("mil/silero-vad.mil")).unwrap();
    assert_eq!(anemone(["show", "mil/silero-vad.mil"]).clean().trim_end(), written.trim_end());
}

#[test]
fn one_function_is_shown_on_request() {
    let all = anemone(["show", "packages/functions.mlpackage"]).clean();
    for name in ["plain", "alpha", "beta"] {
        assert!(all.contains(&format!("func {name}<")), "{all}");
        let one = anemone(["show", "packages/functions.mlpackage", "--function", name]).clean();
        assert_eq!(one.matches("func ").count(), 1, "{one}");
        assert!(one.contains(&format!("func {name}<")), "{one}");
    }
    anemone(["show", "packages/functions.mlpackage", "--function", "gamma"]).fails(&[
        "functions.mlpackage",
        "gamma",
        "plain",
        "alpha",
        "beta",
    ]);
}

#[test]
fn compact_text_is_shorter_and_names_the_same_ops() {
    let long = anemone(["show", "packages/conv.mlpackage"]).clean();
    let short = anemone(["show", "packages/conv.mlpackage", "--compact"]).clean();
    assert!(short.len() < long.len() / 2, "{short}");
    for package in packages() {
        let text = anemone(["show", &package, "--compact"]).clean();
        assert!(text.contains("func ") && !text.contains("const()"), "{package}: {text}");
    }
    assert!(short.contains("conv_0 = conv(") && long.contains("conv_0 = conv("), "{short}");
}

#[test]
fn json_holds_the_text() {
    let text = anemone(["show", "packages/state.mlpackage"]).clean();
    let json = anemone(["show", "packages/state.mlpackage", "--json"]).json("anemone.show/1");
    assert_eq!(json["text"], text);
}
