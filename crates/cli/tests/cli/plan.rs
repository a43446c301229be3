//! `plan`.

use crate::command::{anemone, list};

const UNITS: [&str; 4] = ["all", "cpu-and-ne", "cpu-and-gpu", "cpu-only"];

/// The shape that recorded plans of Core ML are compared with.
#[test]
fn json_has_the_shape_of_recorded_plans() {
    for package in ["packages/conv.mlpackage", "packages/nested-cond.mlpackage", "packages/state.mlpackage"] {
        let inspected = anemone(["inspect", package, "--json"]).json("anemone.inspect/1");
        let top: u64 =
            inspected["ops"].as_array().unwrap().iter().map(|o| o["count"].as_u64().unwrap()).sum();
        for units in UNITS {
            let plan = anemone(["plan", package, "--device", "m4", "--units", units, "--json"])
                .json("anemone.plan/1");
            assert_eq!((&plan["package"], &plan["device"]), (&package.into(), &"m4".into()));
            assert_eq!(plan["units"], units);
            let ops = plan["ops"].as_array().unwrap();
            assert!(!ops.is_empty() && ops.len() as u64 <= top);
            let mut shares = 0.0;
            for (i, op) in ops.iter().enumerate() {
                assert_eq!(op["index"], i);
                assert!(op["name"].is_string() && op["type"].is_string() && op["reason"].is_string());
                let supported: Vec<&str> =
                    op["supported"].as_array().unwrap().iter().map(|u| u.as_str().unwrap()).collect();
                assert!(supported.iter().all(|u| ["CPU", "GPU", "ANE"].contains(u)), "{op}");
                assert!(supported.contains(&op["preferred"].as_str().unwrap()), "{op}");
                assert!(units != "cpu-only" || supported == ["CPU"], "{op}");
                assert!(units != "cpu-and-ne" || !supported.contains(&"GPU"), "{op}");
                assert!(units != "cpu-and-gpu" || !supported.contains(&"ANE"), "{op}");
                shares += op["cost_share"].as_f64().unwrap_or(0.0);
                if let Some(ms) = op["estimated_ms"].as_object() {
                    assert!(
                        ms["bnns"].as_f64().unwrap() >= 0.0 && ms["classic_cpu"].as_f64().unwrap() >= 0.0
                    );
                }
            }
            assert!((shares - 1.0).abs() < 1e-6, "{package}: shares sum to {shares}");
            for key in ["ane_share_by_count", "ane_share_by_cost"] {
                let share = plan["summary"][key].as_f64().unwrap();
                assert!((0.0..=1.0).contains(&share) && share.is_sign_positive(), "{key} {share}");
            }
        }
    }
}

#[test]
fn the_table_has_a_row_for_each_op_and_fits_the_width() {
    let text = anemone(["plan", "packages/nested-cond.mlpackage"]).report();
    assert!(text.contains("cond_0"), "{text}");
    assert!(text.contains("of the estimated cost"), "{text}");
    for model in ["mil/silero-vad.mil", "mlmodelc/silero-int8.mlmodelc", "packages/list-in-while.mlpackage"] {
        anemone(["plan", model]).report();
    }
}

#[test]
fn a_function_is_planned_by_name() {
    let args = ["plan", "packages/functions.mlpackage", "--json", "--function"];
    let plan = |name| anemone(args.into_iter().chain([name])).json("anemone.plan/1");
    assert!(plan("beta")["ops"].as_array().unwrap().len() > plan("plain")["ops"].as_array().unwrap().len());
    anemone(args.into_iter().chain(["gamma"])).fails(&["functions.mlpackage", "gamma", "beta"]);
}

#[test]
fn a_detector_is_looked_into_by_its_one_program() {
    let model = "interfaces/detector/model.mlpackage";
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("page.html").to_str().unwrap().to_owned();
    let verbs: [&[&str]; 6] = [
        &["plan", model],
        &["show", model],
        &["simulate", model],
        &["size", model],
        &["advise", model],
        &["report", model, "-o", &page],
    ];
    for args in verbs {
        let run = anemone(args);
        let words = ["pipeline (mlProgram, nonMaximumSuppression)", "stage 0", "leaves the rest out"];
        assert!(words.iter().all(|w| run.err.contains(w)), "{args:?}: {run:?}");
        run.ended(0);
    }
    let run = anemone(["check", model]);
    assert!(run.err.contains("leaves the rest out"), "{run:?}");
    // What writes packages does not lose stages, and of several programs none is picked.
    let out = folder.path().join("o.mlpackage").to_str().unwrap().to_owned();
    anemone(["fix", model, "-o", &out]).fails(&["pipeline"]);
    anemone(["compress", model, "-o", &out, "--palettize", "4"]).fails(&["pipeline"]);
    anemone(["plan", "interfaces/nested-two/model.mlpackage"]).fails(&[
        "4 ML programs",
        "body/0",
        "run, bench",
    ]);
    assert_eq!(list(folder.path()), ["page.html"]);
}
