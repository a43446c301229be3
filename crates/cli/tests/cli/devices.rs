//! `devices`.

use crate::command::{anemone, anemone_in};
use std::fs;

#[test]
fn every_chip_is_listed_with_what_is_known_of_it() {
    let text = anemone(["devices"]).report();
    for chip in ["A11", "A17 Pro", "A19 Pro", "M1 Ultra", "M3 Max", "M4", "M5 Pro", "M6"] {
        assert!(text.lines().any(|l| l.trim_start().starts_with(chip)), "{chip}: {text}");
    }
    let json = anemone(["devices", "--json"]).json("anemone.devices/1");
    for device in json["devices"].as_array().unwrap() {
        for figure in device["figures"].as_array().unwrap() {
            assert!(!figure["source"].as_str().unwrap().is_empty(), "{figure}");
            let strengths = ["measured", "published", "derived", "claimed"];
            assert!(strengths.contains(&figure["strength"].as_str().unwrap()), "{figure}");
        }
    }
}

#[test]
fn one_device_is_shown_by_chip_or_product_with_both_sides_of_a_conflict() {
    let text = anemone(["devices", "M4"]).report();
    assert!(text.contains("h16g") && text.contains("64.18 GB/s") && text.contains("measured"), "{text}");
    let json = anemone(["devices", "iphone 15 pro", "--json"]).json("anemone.devices/1");
    assert_eq!(json["devices"][0]["chip"], "A17 Pro");
    assert!(json["devices"][0]["unknown"].as_array().unwrap().contains(&"dispatch_us".into()));
    let m5 = anemone(["devices", "M5"]).report();
    assert!(m5.contains("70.21 GB/s") && m5.contains("145 GB/s"), "{m5}");
    anemone(["devices", "iphone 15 por"]).fails(&["iphone 15 por", "iPhone 15 Pro"]);
}

#[test]
fn a_device_file_of_ones_own_is_planned_for() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), "chip = \"Mine\"\nbased_on = \"M4\"\n").unwrap();
    fs::write(folder.path().join("bad.toml"), "chip = \"Mine\"\nbased_on = \"M4\"\ncolour = 1\n").unwrap();
    fs::write(folder.path().join("m.mil"), MODEL).unwrap();
    let plan = anemone_in(folder.path(), ["plan", "m.mil", "--device", "mine.toml", "--json"]);
    assert_eq!(plan.json("anemone.plan/1")["device"], "mine");
    anemone_in(folder.path(), ["plan", "m.mil", "--device", "bad.toml"]).fails(&["bad.toml", "colour"]);
    anemone_in(folder.path(), ["plan", "m.mil", "--device", "absent.toml"]).fails(&["absent.toml"]);
}

const MODEL: &str = "program(1.3)
{
    func main<ios18>(tensor<fp16, [1, 8]> x) {
            tensor<fp16, [1, 8]> y = relu(x = x)[name = string(\"y\")];
        } -> (y);
}
";
