//! `serve --stdio`: the protocol as a client meets it.

use crate::client::Client;
use crate::command::{anemone, copy, corpus, corpus_json, corpus_list, list};
use anemone_formats::safetensors::SafeTensors;
use anemone_tensor::{DType, Tensor};
use serde_json::{Value, json};
use std::fs;

fn zeros(dtype: DType, shape: &[usize]) -> Tensor {
    Tensor::zeros(dtype, shape).unwrap()
}

/// A recorded case by the name in its `meta.json`.
fn case(test: &str) -> (std::path::PathBuf, Value) {
    let all = corpus_list("cases").into_iter();
    let mut all = all.map(|n| (corpus(&format!("cases/{n}")), corpus_json(&format!("cases/{n}/meta.json"))));
    all.find(|(_, m)| m["test"] == test).unwrap_or_else(|| panic!("no {test}"))
}

#[test]
fn hello_says_who_answers_and_the_end_of_stdin_ends_it() {
    let mut client = Client::start();
    let hello = client.done(json!({"op": "hello"}));
    assert_eq!((&hello["name"], &hello["protocol"]), (&"anemone".into(), &1.into()));
    assert_eq!(hello["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(client.end(), "", "nothing was asked to be logged");
}

#[test]
fn a_prediction_needs_the_package_only_until_it_is_loaded() {
    let mut client = Client::start();
    let (case, meta) = case("made/conv_by_hand[3]");
    let package = client.path("gone.mlpackage");
    copy(&case.join("model.mlpackage"), &package);
    let model = client.load(&package);
    fs::remove_dir_all(&package).unwrap();
    let outputs = client.path("out.bin");
    let inputs = case.join("inputs.safetensors");
    let request =
        json!({"op": "predict", "model": model, "inputs": inputs, "outputs": outputs, "state": null});
    let answer = client.done(request);
    assert_eq!(answer.as_object().unwrap().len(), 2, "id and ok alone: {answer}");
    let found = client.read("out.bin");
    let expected = fs::read(case.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::read(&expected.into()).unwrap().tensors;
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let atol = meta["tolerance"]["atol"].as_f64().unwrap();
    let rtol = meta["tolerance"]["rtol"].as_f64().unwrap();
    for (name, wanted) in &expected {
        assert_eq!(found[name].shape(), wanted.shape());
        for (a, b) in found[name].to_f64s().iter().zip(wanted.to_f64s()) {
            assert!((a - b).abs() <= atol + rtol * b.abs(), "{name}: {a} {b}");
        }
    }
    assert_eq!(list(&client.path("")), ["out.bin"], "nothing else is left behind");
    client.end();
}

#[test]
fn pictures_are_pixels_on_both_sides() {
    let mut client = Client::start();
    let model = client.load_package("image-input");
    let picture = client.write("in", &[("x", zeros(DType::U8, &[3, 5, 3]))]);
    let request =
        |path: &str, inputs| json!({"op": "predict", "model": model, "inputs": inputs, "outputs": path});
    let out = client.path("out");
    client.done(request(out.to_str().unwrap(), picture));
    let wrong = client.write("wrong", &[("x", zeros(DType::U8, &[5, 3, 3]))]);
    client.fails(request(out.to_str().unwrap(), wrong), "invalid", &["`x`"]);
    client.end();
}

#[test]
fn a_classifier_answers_with_label_and_probabilities() {
    let mut client = Client::start();
    let (case, meta) = case("made/classifier[0]");
    let model = client.load(&case.join("model.mlpackage"));
    let outputs = client.path("out");
    let inputs = case.join("inputs.safetensors");
    let answer = client.done(json!({"op": "predict", "model": model, "inputs": inputs, "outputs": outputs}));
    assert_eq!(answer["labels"], meta["labels"]);
    for (name, wanted) in meta["dicts"].as_object().unwrap() {
        let (found, wanted) = (answer["dicts"][name].as_array().unwrap(), wanted.as_array().unwrap());
        assert_eq!(found.len(), wanted.len());
        for (f, w) in found.iter().zip(wanted) {
            assert_eq!(f[0], w[0]);
            assert!((f[1].as_f64().unwrap() - w[1].as_f64().unwrap()).abs() < 1e-4, "{f} {w}");
        }
    }
    assert!(client.read("out").is_empty(), "neither label nor probabilities are tensors");
    client.end();
}

/// `state.mlpackage` adds `x` to its state `s` and gives twice the sum.
#[test]
fn states_begin_with_zeros_remember_and_are_read_and_written() {
    let mut client = Client::start();
    let model = client.load_package("state");
    let floats = |values: &[f64]| Tensor::from_f64s(DType::F32, [1, 3], values).unwrap();
    let x = client.write("x", &[("x", floats(&[1.0, 2.0, 3.0]))]);
    let out = client.path("out");
    let [a, b] = [0, 1].map(|_| client.done(json!({"op": "new_state", "model": model}))["state"].clone());
    assert_ne!(a, b);
    let sum = |client: &mut Client, state: &Value| {
        let request = json!({"op": "predict", "model": model, "inputs": x, "outputs": out, "state": state});
        client.done(request);
        client.read("out")["cast_1"].to_f64s()
    };
    assert_eq!(sum(&mut client, &a), [2.0, 4.0, 6.0]);
    assert_eq!(sum(&mut client, &a), [4.0, 8.0, 12.0]);
    assert_eq!(sum(&mut client, &b), [2.0, 4.0, 6.0], "states know nothing of each other");
    client.done(json!({"op": "read_state", "state": a, "name": "s", "outputs": out}));
    let held = client.read("out");
    assert_eq!(held.keys().collect::<Vec<_>>(), ["s"]);
    assert_eq!((held["s"].dtype(), held["s"].to_f64s()), (DType::F16, vec![2.0, 4.0, 6.0]));
    let s = client.write("s", &[("s", floats(&[10.0, 20.0, 30.0]).cast(DType::F16))]);
    client.done(json!({"op": "write_state", "state": a, "name": "s", "inputs": s}));
    fs::write(&s, vec![0xff; 1000]).unwrap();
    assert_eq!(sum(&mut client, &a), [22.0, 44.0, 66.0], "the file may change after it was read");
    client.done(json!({"op": "free", "state": b}));
    client.done(json!({"op": "read_state", "state": a, "name": "s", "outputs": out}));
    client.end();
}

#[test]
fn states_that_do_not_fit_are_refused_and_stay_as_they_are() {
    let mut client = Client::start();
    let [model, other] = [0, 1].map(|_| client.load_package("state"));
    let floats = |shape: &[usize], v: f64| Tensor::from_f64s(DType::F32, shape, &[v; 3]).unwrap();
    let x = client.write("x", &[("x", floats(&[1, 3], 1.0))]);
    let out = client.path("out");
    let state = client.done(json!({"op": "new_state", "model": model}))["state"].clone();
    let predict = |model: u64, state: &Value, out: &std::path::Path| json!({"op": "predict", "model": model, "inputs": x, "outputs": out, "state": state});
    client.fails(predict(model, &Value::Null, &out), "invalid", &["\"s\"", "state"]);
    client.fails(predict(other, &state, &out), "invalid", &["is of model 1"]);
    client.fails(predict(model, &99.into(), &out), "invalid", &["state 99"]);
    client.fails(predict(model, &"1".into(), &out), "invalid", &["`state`"]);
    client.fails(predict(model, &state, &client.path("absent/out")), "invalid", &["absent"]);
    let write = |name: &str, file| json!({"op": "write_state", "state": state, "name": name, "inputs": file});
    let file = client.write("s", &[("s", floats(&[3], 1.0)), ("t", floats(&[1, 3], 1.0))]);
    client.fails(write("s", &file), "invalid", &["`s`", "[1, 3]", "[3]"]);
    client.fails(write("q", &file), "invalid", &["`q`", "\"s\""]);
    client.fails(write("t", &file), "invalid", &["`t`", "\"s\""]);
    let read = |name: &str| json!({"op": "read_state", "state": state, "name": name, "outputs": out});
    client.fails(read("t"), "invalid", &["`t`", "\"s\""]);
    client.done(read("s"));
    assert_eq!(client.read("out")["s"].to_f64s(), [0.0; 3], "no request that failed changed it");
    client.done(json!({"op": "free", "model": model}));
    client.fails(read("s"), "invalid", &["freed"]);
    client.end();
}

#[test]
fn requests_that_cannot_be_met_are_refused_and_the_process_goes_on() {
    let mut client = Client::start();
    for (line, word) in [
        (&b"{\"id\":1"[..], "JSON"),
        (b"\xff\xff", "JSON"),
        (b"null", "object"),
        (b"{\"op\":\"hello\"}", "`id`"),
        (b"{\"id\":[1],\"op\":\"hello\"}", "`id`"),
    ] {
        let answer = client.line(line);
        assert!(answer["id"].is_null() && answer["ok"] == false && answer["kind"] == "invalid", "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(word), "{answer}");
    }
    let long = format!("{{\"id\":1,\"op\":\"{}\"}}", "x".repeat(2 << 20));
    assert_eq!(client.line(long.as_bytes())["kind"], "invalid");
    let deep = format!("{{\"id\":1,\"op\":{}}}", "[".repeat(100_000));
    assert_eq!(client.line(deep.as_bytes())["kind"], "invalid");
    client.fails(json!({"op": "sing"}), "invalid", &["sing", "predict"]);
    client.fails(json!({"op": "load"}), "invalid", &["`path`"]);
    client.fails(json!({"op": "load", "path": client.path("no.mlpackage")}), "invalid", &["does not exist"]);
    client.fails(json!({"op": "load", "path": 1}), "invalid", &["`path`", "a number"]);
    client.fails(json!({"op": "new_state", "model": 1}), "invalid", &["model 1"]);
    client.fails(json!({"op": "free", "model": 1}), "invalid", &["model 1"]);
    client.fails(
        json!({"op": "read_state", "state": 9, "name": "x", "outputs": "o"}),
        "invalid",
        &["state 9"],
    );
    client.done(json!({"op": "hello"}));
    client.end();
}

#[test]
fn predictions_that_fail_leave_no_file_and_the_model_at_work() {
    let mut client = Client::start();
    let model = client.load_package("optional-default");
    let out = client.path("out");
    let x = zeros(DType::F32, &[2, 3]);
    let fails = |client: &mut Client, tensors: &[(&str, Tensor)], words: &[&str]| {
        let inputs = client.write("in", tensors);
        let request = json!({"op": "predict", "model": model, "inputs": inputs, "outputs": out});
        client.fails(request, "invalid", words);
        assert_eq!(list(&client.path("")), ["in"]);
    };
    fails(&mut client, &[], &["`x`", "missing"]);
    fails(&mut client, &[("x", x.clone()), ("q", x.clone())], &["`q`"]);
    fails(&mut client, &[("x", zeros(DType::F32, &[3, 2]))], &["`x`", "[3, 2]"]);
    fails(&mut client, &[("x", zeros(DType::I32, &[2, 3]))], &["`x`", "int32"]);
    let inputs = client.write("in", &[("x", x)]);
    let request = |inputs: &Value, outputs: &Value| json!({"op": "predict", "model": model, "inputs": inputs, "outputs": outputs});
    let nowhere = client.path("absent/out");
    client.fails(request(&json!(inputs), &json!(nowhere)), "invalid", &["absent"]);
    client.fails(request(&json!(client.path("absent")), &json!(out)), "invalid", &["does not exist"]);
    client.fails(request(&json!(client.path("")), &json!(out)), "invalid", &["folder"]);
    fs::write(client.path("in"), b"not tensors").unwrap();
    client.fails(request(&json!(inputs), &json!(out)), "invalid", &["safetensors"]);
    let inputs = client.write("in", &[("x", zeros(DType::F32, &[2, 3]))]);
    client.done(request(&json!(inputs), &json!(out)));
    client.done(json!({"op": "free", "model": model}));
    client.fails(request(&json!(inputs), &json!(out)), "invalid", &["freed"]);
    client.end();
}

#[test]
fn functions_are_loaded_by_name() {
    let mut client = Client::start();
    let path = corpus("packages/functions.mlpackage");
    let names = anemone(["inspect", "packages/functions.mlpackage", "--json"]).json("anemone.inspect/1");
    let names: Vec<String> = names["model"]["functions"]
        .as_array()
        .map_or_else(Vec::new, |f| f.iter().filter_map(|f| f["name"].as_str()).map(str::to_owned).collect());
    assert!(names.len() > 1, "{names:?}");
    for name in &names {
        client.done(json!({"op": "load", "path": path, "function": name}));
    }
    client.fails(json!({"op": "load", "path": path, "function": "f"}), "invalid", &["\"f\"", &names[0]]);
    client.end();
}

#[test]
fn an_op_that_is_not_known_is_unsupported_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = anemone(["show", "packages/conv.mlpackage"]).clean();
    let path = folder.path().join("m.mil");
    fs::write(&path, text.replace(" conv(", " conv_of_tomorrow(")).unwrap();
    let mut client = Client::start();
    client.fails(json!({"op": "load", "path": path}), "unsupported", &["conv_of_tomorrow"]);
    client.end();
}

#[test]
fn serving_needs_stdio_and_a_sensible_number_of_threads() {
    anemone(["serve"]).fails(&["--stdio"]);
    anemone(["serve", "--stdio", "--threads", "0"]).fails(&["0", "1024"]);
    assert_eq!(anemone(["serve", "--stdio"]).clean(), "", "an empty stdin is an end");
}
