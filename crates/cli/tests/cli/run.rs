//! `run`.

use crate::command::{anemone, anemone_in, copy, corpus, corpus_json, corpus_list, list, names};
use anemone::picture::{Gray, Picture};
use anemone_formats::{npy, safetensors};
use anemone_tensor::{DType, Tensor};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A case by the name in its `meta.json`.
fn case(test: &str) -> (String, Value) {
    let found =
        corpus_list("cases").into_iter().map(|n| (n.clone(), corpus_json(&format!("cases/{n}/meta.json"))));
    let (name, meta) =
        found.into_iter().find(|(_, m)| m["test"] == test).unwrap_or_else(|| panic!("no {test}"));
    (corpus(&format!("cases/{name}")).to_str().unwrap().to_owned(), meta)
}

fn read(path: &Path) -> Vec<(String, Tensor)> {
    safetensors::SafeTensors::read(&fs::read(path).unwrap().into()).unwrap().tensors.into_iter().collect()
}

#[test]
fn outputs_are_written_under_the_names_of_the_interface() {
    let folder = tempfile::tempdir().unwrap();
    let (case, _) = case("made/image_in[1]");
    let model = format!("{case}/model.mlpackage");
    let inputs = format!("{case}/inputs.safetensors");
    let run = anemone_in(folder.path(), ["run", &model, "--inputs", &inputs, "-o", "out"]);
    assert!(run.err.contains("wrote out/outputs.safetensors"), "{run:?}");
    run.report();
    assert_eq!(list(&folder.path().join("out")), ["outputs.safetensors"]);
    let written = read(&folder.path().join("out/outputs.safetensors"));
    let expected = read(Path::new(&format!("{case}/expected.safetensors")));
    assert_eq!(written.len(), expected.len());
    for (name, wanted) in expected {
        let (_, found) = written.iter().find(|(n, _)| *n == name).unwrap();
        assert_eq!((found.shape(), found.dtype()), (wanted.shape(), wanted.dtype()), "{name}");
    }
}

#[test]
fn npy_files_are_named_after_their_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let (case, _) = case("made/conv_by_hand[3]");
    let model = format!("{case}/model.mlpackage");
    for (inputs, out) in [("inputs.safetensors", "a"), ("inputs.npz", "b")] {
        let inputs = format!("{case}/{inputs}");
        let json =
            anemone_in(folder.path(), ["run", &model, "--inputs", &inputs, "-o", out, "--npy", "--json"])
                .json("anemone.run/1");
        assert_eq!(json["files"], Value::from(vec![format!("{out}/conv_0.npy")]));
    }
    assert_eq!(list(folder.path()), ["a", "b"]);
    let [a, b] = ["a/conv_0.npy", "b/conv_0.npy"].map(|f| fs::read(folder.path().join(f)).unwrap());
    assert_eq!(a, b, "both kinds of input file hold the same numbers");
    let (_, expected) = read(Path::new(&format!("{case}/expected.safetensors"))).remove(0);
    let found = npy::read(&a.into()).unwrap();
    assert_eq!(found.shape(), expected.shape());
    assert!(found.to_f64s().iter().zip(expected.to_f64s()).all(|(a, b)| (a - b).abs() < 1e-3));
    let expected = format!("{case}/expected.npz");
    anemone(["verify", &model, "--inputs", &format!("{case}/inputs.npz"), "--expected", &expected]).report();
}

#[test]
fn random_inputs_depend_on_the_seed_alone() {
    let outputs = |package: &str, seed: &str| {
        let args = ["run", package, "--json", "--random", seed];
        anemone(args).json("anemone.run/1")["outputs"].to_string()
    };
    for name in corpus_list("packages").into_iter().filter(|n| n.ends_with(".mlpackage")) {
        let package = format!("packages/{name}");
        assert_eq!(outputs(&package, "1"), outputs(&package, "1"), "{package}");
        anemone(["run", &package, "--random", "1"]).report();
    }
    assert_ne!(outputs("packages/conv.mlpackage", "1"), outputs("packages/conv.mlpackage", "2"));
}

#[test]
fn json_says_type_shape_and_range_of_each_output() {
    let json = anemone(["run", "packages/conv.mlpackage", "--random", "3", "--json"]).json("anemone.run/1");
    assert_eq!(json["package"], "packages/conv.mlpackage");
    let tensor = &json["outputs"][0]["tensor"];
    assert_eq!((&tensor["dtype"], &tensor["shape"]), (&"fp32".into(), &vec![2, 4, 4, 8].into()));
    let [min, mean, max] = ["min", "mean", "max"].map(|k| tensor[k].as_f64().unwrap());
    assert!(min < mean && mean < max && tensor["not_finite"] == 0);
}

#[test]
fn a_classifier_gives_label_and_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let (case, meta) = case("made/classifier[0]");
    let model = format!("{case}/model.mlpackage");
    let inputs = format!("{case}/inputs.safetensors");
    let run = ["run", &model, "--inputs", &inputs, "--json", "-o", "out"];
    let json = anemone_in(folder.path(), run).json("anemone.run/1");
    assert_eq!(names(&json["outputs"], "name"), ["classLabel", "classLabel_probs"]);
    assert_eq!(json["outputs"][0]["text"], meta["labels"]["classLabel"]);
    let written: Value =
        serde_json::from_slice(&fs::read(folder.path().join("out/labels.json")).unwrap()).unwrap();
    assert_eq!(written["classLabel"], meta["labels"]["classLabel"]);
    let expected = meta["dicts"]["classLabel_probs"].as_array().unwrap();
    for (found, wanted) in json["outputs"][1]["probabilities"].as_array().unwrap().iter().zip(expected) {
        assert_eq!(found[0], wanted[0]);
        let p = wanted[1].as_f64().unwrap();
        assert!((found[1].as_f64().unwrap() - p).abs() < 1e-4);
        assert!(
            (written["classLabel_probs"][wanted[0].as_str().unwrap()].as_f64().unwrap() - p).abs() < 1e-4
        );
    }
    let text = anemone(["run", &model, "--inputs", &inputs]).report();
    assert!(text.contains("kind c"), "{text}");
}

/// The picture's numbers are those of the pixels: the model takes 0 to 255 and multiplies (see its `show`).
#[test]
fn a_picture_file_serves_as_an_image_input() {
    let folder = tempfile::tempdir().unwrap();
    let (case, _) = case("made/image_gray_in[0]");
    let (_, pixels) = read(Path::new(&format!("{case}/inputs.safetensors"))).remove(0);
    let picture = Picture::from_tensor(&pixels, false).unwrap();
    let file = folder.path().join("x.png");
    fs::write(&file, picture.encode(&file).unwrap()).unwrap();
    let model = format!("{case}/model.mlpackage");
    let expected = format!("{case}/expected.safetensors");
    let verify = |how: [&str; 2]| {
        anemone_in(folder.path(), ["verify", &model, "--expected", &expected].into_iter().chain(how)).report()
    };
    // Equal channels make a luminance of the same value, up to the rounding of its three weights.
    verify(["--input", "x=x.png"]);
    verify(["--image", "x=x.png"]);
    verify(["--image", "x=x.png,scale=1,bias=0,color=gray"]);
}

#[test]
fn a_colour_picture_goes_in_and_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let pixels: Vec<i64> = (0..3 * 5 * 3).map(|v| v * 5).collect();
    let pixels = Tensor::from_i64s(DType::U8, [3, 5, 3], &pixels).unwrap();
    let picture = Picture::from_tensor(&pixels, false).unwrap();
    let file = folder.path().join("in.png");
    fs::write(&file, picture.encode(&file).unwrap()).unwrap();
    let model = corpus("packages/image-output.mlpackage");
    let args = ["run", model.to_str().unwrap(), "--image", "x=in.png", "--save-image", "picture=out.png"];
    let run = anemone_in(folder.path(), args);
    assert!(run.err.contains("wrote out.png"), "{run:?}");
    run.report();
    // The program is 255 - x.
    let out = folder.path().join("out.png");
    let inverted = Picture::decode(&fs::read(&out).unwrap(), &out).unwrap();
    assert!(inverted.rgb.iter().zip(&picture.rgb).all(|(a, b)| u16::from(*a) + u16::from(*b) == 255));
    assert_eq!((inverted.width, inverted.height), (5, 3));
}

#[test]
fn the_best_labels_are_printed_with_probabilities() {
    let folder = tempfile::tempdir().unwrap();
    let digits = ["nought", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    fs::write(folder.path().join("labels.txt"), digits.join("\n")).unwrap();
    copy(&corpus("models/mnist.onnx"), &folder.path().join("mnist.onnx"));
    anemone_in(folder.path(), ["convert", "mnist.onnx", "--no-check"]).report();
    let inputs = corpus("models/mnist.inputs.safetensors");
    let args = ["run", "mnist.mlpackage", "--inputs", inputs.to_str().unwrap(), "--labels", "labels.txt"];
    let text = anemone_in(folder.path(), args).report();
    let json = anemone_in(folder.path(), args.into_iter().chain(["--json"])).json("anemone.run/1");
    // What ONNX Runtime computes, sorted.
    let (_, scores) = read(&corpus("models/mnist.expected.safetensors")).remove(0);
    let scores = scores.to_f64s();
    let mut order: Vec<usize> = (0..10).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    assert_eq!(json["best"].as_array().unwrap().len(), 5);
    assert_eq!(json["best"][0]["label"], digits[order[0]]);
    assert!(text.contains(digits[order[0]]), "{text}");
}

#[test]
fn a_state_starts_at_zero_and_an_optional_input_at_its_default() {
    for test in ["made/state_accumulate[0]", "made/optional_default[0]"] {
        let (case, meta) = case(test);
        let [model, inputs, expected] =
            ["model.mlpackage", "inputs.safetensors", "expected.safetensors"].map(|f| format!("{case}/{f}"));
        let atol = meta["strict"]["atol"].to_string();
        anemone(["verify", &model, "--inputs", &inputs, "--expected", &expected, "--atol", &atol]).report();
    }
}

/// NumPy: 300 * 300 * 1e-3 is 90 in float32, and 300 * 300 is infinite in float16.
#[test]
fn the_precision_decides_what_overflows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.npy");
    let x = anemone_tensor::Tensor::from_f32s([1, 3], &[300.0, 300.0, 300.0]).unwrap();
    anemone_formats::npy::write(&mut std::fs::File::create(&file).unwrap(), &x).unwrap();
    let input = format!("x={}", file.display());
    for (precision, not_finite) in [("declared", 3), ("f32", 0), ("fp16-strict", 3)] {
        let args =
            ["run", "precision/square.mlpackage", "--input", &input, "--precision", precision, "--json"];
        let found = anemone(args).json("anemone.run/1");
        let y = &found["outputs"][0]["tensor"];
        assert_eq!(y["not_finite"], not_finite, "{precision}: {found}");
    }
}

/// The corpus's cases of several steps and of labels, with folder and what `meta.json` says.
fn interface_case(name: &str) -> (String, Value) {
    (format!("interfaces/{name}"), corpus_json(&format!("interfaces/{name}/meta.json")))
}

#[test]
fn several_steps_run_in_a_row_and_are_verified_one_by_one() {
    let (case, _) = interface_case("range-open");
    let file = |what: &str, i: usize| {
        if i == 0 { format!("{case}/{what}.safetensors") } else { format!("{case}/{what}.{i}.safetensors") }
    };
    let model = format!("{case}/model.mlpackage");
    let mut args = vec!["verify".to_owned(), model.clone(), "--steps".into()];
    for i in 0..4 {
        args.extend(["--inputs".into(), file("inputs", i), "--expected".into(), file("expected", i)]);
    }
    let text = anemone(&args).report();
    assert!(text.contains("Step 3") && !text.contains("DIFFERS"), "{text}");
    let found = anemone(args.iter().map(String::as_str).chain(["--json"])).json("anemone.verify/1");
    assert_eq!((found["equal"].as_bool(), found["steps"].as_array().unwrap().len()), (Some(true), 4));
    // The outputs of the first are not those of the second.
    args[6] = file("expected", 1);
    anemone(&args).ended(1);
    args.truncate(7);
    args.extend(["--inputs".into(), file("inputs", 1)]);
    anemone(&args).fails(&["2 predictions", "1 are given"]);
}

#[test]
fn labels_and_probabilities_are_verified() {
    for name in ["pipeline-classifier", "pipeline-classifier-int"] {
        let (case, _) = interface_case(name);
        let [model, inputs, meta] =
            ["model.mlpackage", "inputs.safetensors", "meta.json"].map(|f| format!("{case}/{f}"));
        let args = ["verify", &model, "--inputs", &inputs, "--expected-labels", &meta, "--atol", "1e-5"];
        let text = anemone(args).report();
        assert!(text.contains("classLabel") && !text.contains("DIFFERS"), "{text}");
        // What run writes is what verify takes.
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        anemone(["run", &model, "--inputs", &inputs, "-o", out.to_str().unwrap()]).report();
        let labels = out.join("labels.json");
        let written = labels.to_str().unwrap();
        anemone(["verify", &model, "--inputs", &inputs, "--expected-labels", written]).report();
        let wrong = fs::read_to_string(&labels).unwrap().replacen("0.84", "0.54", 1);
        fs::write(&labels, wrong).unwrap();
        let text = anemone(["verify", &model, "--inputs", &inputs, "--expected-labels", written]).ended(1);
        assert!(text.contains("DIFFERS"), "{text}");
        fs::write(&labels, "[1]").unwrap();
        anemone(["verify", &model, "--inputs", &inputs, "--expected-labels", written])
            .fails(&["labels.json", "no label"]);
    }
}

#[test]
fn pictures_of_half_floats_go_from_black_at_0_to_white_at_1_both_ways() {
    let (case, _) = interface_case("picture-gray16");
    let model = format!("{case}/model.mlpackage");
    let gray = |path: &Path| Gray::decode(&fs::read(path).unwrap(), path).unwrap();
    for bits in [8, 16] {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (input, out) = (format!("photo={case}/in{bits}.png"), at("out"));
        let ranged = format!("out={},range=0:2", at("half.png"));
        let run = anemone(["run", &model, "--input", &input, "-o", &out, "--save-image", &ranged]);
        assert!(run.err.contains("0 as black and 1 as white") && run.err.contains("range=auto"), "{run:?}");
        for (made, wanted) in [("out/out.png", "out"), ("half.png", "half")] {
            let wanted = gray(&corpus(&format!("{case}/{wanted}{bits}.png")));
            assert_eq!(gray(&folder.path().join(made)), wanted, "{made} of {bits} bits");
        }
        let expected = format!("{case}/out{bits}.safetensors");
        let args =
            ["verify", &model, "--input", &input, "--expected", &expected, "--atol", "0", "--rtol", "0"];
        anemone(args).report();
    }
    let inputs = format!("{case}/inputs.safetensors");
    let save = |to: &str| ["run", &model, "--inputs", &inputs, "--save-image", to].map(str::to_owned);
    anemone(save("out=a.png,range=2:1")).fails(&["range must be auto or LOW:HIGH", "2:1"]);
}

#[test]
fn pictures_of_one_channel_are_gray_files_and_may_be_stretched() {
    let (case, _) = interface_case("picture-gray16");
    let model = format!("{case}/model.mlpackage");
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let ranged = format!("out={},range=auto", at("a.png"));
    let image = format!("photo={case}/in16.png,scale=255,bias=-1,fit=exact");
    let run = anemone(["run", &model, "--image", &image, "--save-image", &ranged, "--json"]);
    assert!(!run.err.contains("black"), "{run:?}");
    let tensor = &run.json("anemone.run/1")["outputs"][0]["tensor"];
    let (low, high) = (tensor["min"].as_f64().unwrap(), tensor["max"].as_f64().unwrap());
    assert!(low < 100.0 && high > 400.0, "samples from 0 to 1, times 255, less 1, doubled: {tensor}");
    let file = fs::read(folder.path().join("a.png")).unwrap();
    assert_eq!(
        (file[24], file[25]),
        (16, 0),
        "bits and colour type in the header of the PNG: gray of 16 bits"
    );
    let shown = Gray::decode(&file, Path::new("a.png")).unwrap().values;
    assert!(shown.contains(&0.0) && shown.contains(&1.0), "{shown:?}");
    let larger = format!("photo={case}/in16.png,crop=0.7");
    anemone(["run", &model, "--image", &larger]).report();
}

#[test]
fn a_classifier_tells_its_best_labels_unasked() {
    let (case, meta) = interface_case("nested-classifier");
    let [model, inputs] = ["model.mlpackage", "inputs.safetensors"].map(|f| format!("{case}/{f}"));
    let args = ["run", &model, "--inputs", &inputs];
    let json = anemone(args.into_iter().chain(["--json"])).json("anemone.run/1");
    let label = meta["labels"].as_object().unwrap().values().next().unwrap();
    assert_eq!(&json["best"][0]["label"], label);
    assert!(anemone(args).report().contains("probability"));
}

#[test]
fn what_is_missing_comes_with_a_way_to_give_it() {
    let model = "interfaces/optional-int/model.mlpackage";
    anemone(["run", model]).fails(&["input `x` (fp32 [2, 3]) is missing", "--random 1", "anemone inspect"]);
    anemone(["run", model, "--random", "1", "--save-image", "z=z.png"]).fails(&["`z`", "[\"y\"]"]);
    anemone(["verify", model, "--random", "1"]).fails(&[
        "--expected",
        "--expected-labels",
        "--find-overflow",
    ]);
}

#[test]
fn a_detector_names_what_it_found_and_takes_thresholds_as_numbers() {
    let (case, _) = interface_case("detector");
    let file = |name: &str| format!("{case}/{name}");
    let [model, inputs] = ["model.mlpackage", "inputs.safetensors"].map(file);
    // Step 1 of the case has these thresholds.
    let thresholds = ["--value", "iouThreshold=0.8", "--value", "confidenceThreshold=0.6"];
    let (expected, first) = (file("expected.1.safetensors"), ["verify", &model, "--inputs", &inputs]);
    let args = first.into_iter().chain(thresholds).chain(["--expected", &expected]);
    assert!(anemone(args.clone()).report().contains("equal"));
    let json = anemone(args.chain(["--json"])).json("anemone.verify/1");
    assert_eq!(json["equal"], true);
    let wanted = read(&corpus(&expected));
    let boxes = wanted.iter().find(|(n, _)| n == "coordinates").unwrap().1.clone();
    let args = ["run", &model, "--inputs", &inputs].into_iter().chain(thresholds);
    let json = anemone(args.clone().chain(["--json"])).json("anemone.run/1");
    let found = json["detections"].as_array().unwrap();
    assert_eq!(found.len(), boxes.shape()[0]);
    for (object, place) in found.iter().zip(boxes.to_f64s().chunks(4)) {
        assert!(["ant", "bee", "cat"].contains(&object["label"].as_str().unwrap()));
        let sides = ["x", "y", "width", "height"].map(|k| object[k].as_f64().unwrap());
        // The JSON reader may miss the nearest double by one.
        assert!(sides.iter().zip(place).all(|(a, b)| (a - b).abs() < 1e-12), "{sides:?} {place:?}");
    }
    let text = anemone(args).report();
    assert!(text.contains("confidence") && text.contains("middle x"), "{text}");
    let none = ["run", &model, "--inputs", &inputs, "--value", "confidenceThreshold=2"];
    let text = anemone(none).report();
    assert!(text.contains("0 x 3") && text.contains("empty") && !text.contains("inf"), "{text}");
    let refuse = |value: &str, words: &[&str]| anemone(["run", &model, "--value", value]).fails(words);
    refuse("raw=1", &["input `raw`", "not a number"]);
    refuse("iouTreshold=1", &["no input `iouTreshold`", "did you mean `iouThreshold`"]);
    anemone(["run", &model, "--inputs", &inputs, "--value", "iouThreshold=2"]).fails(&["from 0 to 1"]);
    // Random inputs leave the thresholds alone, and the suppression is part of what is measured.
    let args = ["bench", &model, "--iterations", "10", "--json"];
    let kinds = &anemone(args).json("anemone.bench/1")["models"][0]["profile"]["kinds"];
    assert!(kinds.as_array().unwrap().iter().any(|k| k["kind"] == "nonMaximumSuppression"), "{kinds}");
}

#[test]
fn a_state_is_saved_and_goes_on_where_it_was() {
    let (case, _) = case("made/state_accumulate[0]");
    let [model, inputs] = ["model.mlpackage", "inputs.safetensors"].map(|f| format!("{case}/{f}"));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (twice, once, again) = (at("twice"), at("once"), at("again.safetensors"));
    let both = ["run", &model, "--steps", "--inputs", &inputs, "--inputs", &inputs, "--state", "new"];
    let found = anemone(both.into_iter().chain(["-o", &twice, "--json"])).json("anemone.run/1");
    assert_eq!(found["steps"].as_array().unwrap().len(), 2);
    assert!(!found["states"].as_array().unwrap().is_empty());
    anemone(["run", &model, "--inputs", &inputs, "--save-state", &again]).report();
    anemone(["run", &model, "--inputs", &inputs, "--state", &again, "-o", &once]).report();
    let outputs = |f: String| read(Path::new(&f));
    assert_eq!(
        outputs(format!("{twice}/outputs.1.safetensors")),
        outputs(format!("{once}/outputs.safetensors"))
    );
    let other = corpus("interfaces/loop/inputs.safetensors");
    anemone(["run", &model, "--inputs", &inputs, "--state", other.to_str().unwrap()])
        .fails(&["no state `n`"]);
}

#[test]
fn random_inputs_take_the_shape_that_is_asked_for() {
    let model = "interfaces/picture-range/model.mlpackage";
    let args = ["run", model, "--random", "1", "--json", "--shape"];
    let shape = |s: &str| {
        let found = anemone(args.into_iter().chain([s])).json("anemone.run/1");
        found["outputs"][0]["tensor"]["shape"].clone()
    };
    assert_eq!(shape("photo:1x3x5x7"), serde_json::json!([1, 3, 5, 7]));
    assert_eq!(shape("photo:16x12x3"), serde_json::json!([1, 3, 16, 12]));
    anemone(args.into_iter().chain(["photo:1x3x17x7"])).fails(&["photo", "3..12 x 2..16"]);
    anemone(args.into_iter().chain(["foto:1x3x5x7"])).fails(&["no input `foto`", "did you mean `photo`"]);
}

#[test]
fn loops_and_memory_have_limits_that_can_be_raised() {
    let model = "interfaces/loop/model.mlpackage";
    let inputs = "interfaces/loop/inputs.safetensors";
    anemone(["run", model, "--inputs", inputs, "--max-steps", "3"]).fails(&["while_loop", "more than 3"]);
    anemone(["run", model, "--inputs", inputs, "--max-steps", "5"]).report();
    let model = "interfaces/range-open/model.mlpackage";
    let large = ["run", model, "--random", "1", "--shape", "a:4096x4", "--shape", "b:4096x4"];
    anemone(large.into_iter().chain(["--max-memory", "10KB"])).fails(&["10000"]);
    anemone(large.into_iter().chain(["--max-memory", "10MB"])).report();
}
