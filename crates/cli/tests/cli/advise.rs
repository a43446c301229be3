//! `advise`, on networks whose place is known: plain convolutions belong on the Neural Engine.

use crate::command::{anemone, fits};

#[test]
fn a_convolutional_network_belongs_on_the_neural_engine() {
    let model = "models/ultraface-slim-320.onnx";
    let text = anemone(["advise", model, "--device", "m4"]).report();
    fits(&text);
    assert!(text.contains("path: Core ML on the Neural Engine") && text.contains("Because"), "{text}");
    let found = anemone(["advise", model, "--json"]).json("anemone.advise/1");
    let advice = found["advice"].as_array().unwrap();
    assert!((4..=10).contains(&advice.len()), "{found}");
    let about: Vec<&str> = advice.iter().map(|a| a["about"].as_str().unwrap()).collect();
    assert_eq!((about[0], about[1], about.last()), ("path", "units", Some(&"trust")));
    assert!(
        advice
            .iter()
            .all(|a| !a["say"].as_str().unwrap().is_empty() && !a["why"].as_str().unwrap().is_empty())
    );
    assert!(about.contains(&"compression") && about.contains(&"numbers"), "{about:?}");
}

#[test]
fn advice_is_about_the_device_and_the_function_that_were_named() {
    let found = anemone(["advise", "packages/functions.mlpackage", "--device", "m1", "--json"])
        .json("anemone.advise/1");
    assert_eq!(found["device"], "M1");
    assert_eq!(anemone(["advise", "packages/functions.mlpackage", "--function", "nowhere"]).status, Some(2));
    assert_eq!(anemone(["advise", "packages/nowhere.mlpackage"]).status, Some(2));
}
