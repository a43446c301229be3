//! `report`: the page holds everything it needs, and nothing of the model can act in it.

use crate::command::{anemone, anemone_in, corpus, list};
use serde_json::Value;
use std::path::Path;

fn page(model: &Path, args: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut all = vec!["report", model.to_str().unwrap(), "-o", "out.html"];
    all.extend(args);
    let ran = anemone_in(folder.path(), &all);
    assert_eq!(ran.status, Some(0), "{}", ran.err);
    assert_eq!(list(folder.path()), ["out.html"]);
    std::fs::read_to_string(folder.path().join("out.html")).unwrap()
}

/// The JSON that the page shows.
fn data(page: &str) -> Value {
    let (_, rest) =
        page.split_once("<script type=\"application/json\" id=\"data\">").expect("an element for the data");
    let (json, _) = rest.split_once("</script>").expect("its end");
    serde_json::from_str(json).expect("JSON")
}

#[test]
fn the_page_needs_no_other_file_and_no_network() {
    let page = page(&corpus("packages/conv.mlpackage"), &[]);
    let (frame, rest) = page.split_once("<script type=\"application/json\"").unwrap();
    let code = format!("{frame}{}", rest.split_once("</script>").unwrap().1);
    for way in [
        "src=",
        "@import",
        "url(http",
        "fetch(",
        "XMLHttpRequest",
        "WebSocket",
        "import(",
        "<link",
        "<img",
        "<iframe",
    ] {
        assert!(!code.contains(way), "{way}");
    }
    let addresses: Vec<&str> =
        code.match_indices("http").map(|(at, _)| &code[at..(at + 30).min(code.len())]).collect();
    // The name of the SVG vocabulary is no address that is fetched, and the policy forbids all fetching.
    assert!(
        addresses.iter().all(|a| a.starts_with("http://www.w3.org/2000/svg") || a.starts_with("http-equiv")),
        "{addresses:?}"
    );
    assert!(code.contains("default-src 'none'"));
    assert!(!page.contains("{{"), "a part is left out");
}

#[test]
fn every_op_value_and_segment_is_in_the_page() {
    let model = corpus("packages/state.mlpackage");
    let model = if model.exists() { model } else { corpus("packages/conv.mlpackage") };
    let shown = data(&page(&model, &["--device", "m1", "--units", "all"]));
    let plan = anemone(["plan", model.to_str().unwrap(), "--device", "m1", "--json"]).json("anemone.plan/1");
    let ops = plan["ops"].as_array().unwrap();
    assert_eq!(shown["schema"], "anemone.report/1");
    assert_eq!(shown["ops"].as_array().unwrap().len(), ops.len());
    for (seen, planned) in shown["ops"].as_array().unwrap().iter().zip(ops) {
        for (ours, theirs) in
            [("name", "name"), ("kind", "type"), ("unit", "preferred"), ("takes", "supported")]
        {
            assert_eq!(seen[ours], planned[theirs], "{ours}");
        }
        let reason = usize::try_from(seen["reason"].as_u64().unwrap()).unwrap();
        assert_eq!(shown["reasons"][reason], planned["reason"]);
        let results = seen["results"].as_array().unwrap();
        assert_eq!(results.is_empty(), seen["line"].as_str().unwrap().is_empty(), "{seen}");
    }
    let counted: u64 = shown["segments"].as_array().unwrap().iter().map(|s| s["ops"].as_u64().unwrap()).sum();
    assert_eq!(counted, ops.len() as u64);
    assert_eq!(shown["timeline"]["ops"].as_array().unwrap().len(), ops.len());
    assert!(shown["edges"].as_array().unwrap().iter().any(|e| e[0] == "i0"));
    assert!(shown["edges"].as_array().unwrap().iter().any(|e| e[1] == "o0"));
}

#[test]
fn edges_lead_from_the_op_that_makes_a_value_to_those_that_read_it() {
    let text = "program(1.3)\n{\n    func main<ios17>(tensor<fp16, [1, 8]> x) {\n\
                tensor<fp16, [1, 8]> a = relu(x = x)[name = string(\"a\")];\n\
                tensor<fp16, [1, 8]> b = exp(x = a)[name = string(\"b\")];\n\
                tensor<fp16, [1, 8]> c = add(x = a, y = b)[name = string(\"c\")];\n    } -> (c);\n}\n";
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.mil");
    std::fs::write(&model, text).unwrap();
    let json = anemone(["report", model.to_str().unwrap(), "--json"]).json("anemone.report/1");
    let edges = [
        ("i0".into(), 0.into()),
        (0.into(), 1.into()),
        (0.into(), 2.into()),
        (1.into(), 2.into()),
        (2.into(), Value::from("o0")),
    ];
    let seen: Vec<(Value, Value)> =
        json["edges"].as_array().unwrap().iter().map(|e| (e[0].clone(), e[1].clone())).collect();
    assert_eq!(seen, edges);
    assert_eq!(json["edges"][0][2], 16);
}

#[test]
fn names_of_a_model_cannot_act_in_the_page() {
    let evil = "</script><script>alert(1)</script><!--&";
    let text = format!(
        "program(1.3)\n{{\n    func main<ios17>(tensor<fp16, [1, 8]> x) {{\n\
         tensor<fp16, [1, 8]> a = made_up(x = x, text = string(\"{evil}\"))[name = string(\"{evil}\")];\n    }} -> (a);\n}}\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("a<b>&c.mil");
    std::fs::write(&model, text).unwrap();
    let page = page(&model, &[]);
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(!page.contains("alert(1)</script>") && !page.contains("a<b>"));
    let data = data(&page);
    assert_eq!(data["package"], "a<b>&c.mil");
    assert!(data["ops"][0]["line"].as_str().unwrap().contains("alert(1)"), "{}", data["ops"][0]["line"]);
}

#[test]
fn a_page_that_cannot_be_made_is_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let model = corpus("packages/conv.mlpackage");
    let model = model.to_str().unwrap();
    for (args, why) in [
        (["report", "no.mlpackage"].as_slice(), "does not exist"),
        (&["report", model, "-o", "report.pdf"], "must end in .html"),
        (&["report", model, "-o", "no/report.html"], "folder does not exist"),
        (&["report", model, "-o", "r.html", "--function", "other"], "no function \"other\""),
        (&["report", model, "-o", "r.html", "--device", "m99"], "m99"),
        (&["report", model, "-o", "r.html", "--json"], "cannot be used with"),
    ] {
        let ran = anemone_in(folder.path(), args);
        assert_eq!((ran.status, &*ran.out), (Some(2), ""), "{args:?}");
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
    }
    assert_eq!(list(folder.path()), Vec::<String>::new());
}

#[test]
fn the_same_model_gives_the_same_page() {
    let model = corpus("packages/functions.mlpackage");
    let first = page(&model, &["--function", "beta"]);
    assert_eq!(first, page(&model, &["--function", "beta"]));
    assert_eq!(data(&first)["function"], "beta");
}
