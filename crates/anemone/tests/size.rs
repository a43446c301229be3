//! Sizes against what coremltools stores, what checkpoints hold and what model cards publish.

use anemone::ane::Device;
use anemone::size::{Cache, Origin, Room, Scheme, Subject, fit, size};
use anemone_testkit::corpus;
use std::path::Path;

fn config(name: &str) -> Subject {
    size(&corpus::path(&format!("size/configs/{name}.json"))).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn every_scheme_takes_the_bytes_that_coremltools_stores() {
    let recorded = corpus::json("size/expected.json");
    let (rows, columns) = (recorded["rows"].as_u64().unwrap(), recorded["columns"].as_u64().unwrap());
    for scheme in Scheme::ALL {
        let expected = recorded["bytes"][scheme.to_string()].as_u64();
        assert_eq!(Some(scheme.bytes(rows, columns).total()), expected, "{scheme}");
    }
    assert_eq!(recorded["bytes"].as_object().unwrap().len(), Scheme::ALL.len());
}

#[test]
fn configurations_have_as_many_parameters_as_their_checkpoints() {
    let expected = corpus::json("size/parameters.json");
    for (name, parameters) in expected["small"].as_object().unwrap() {
        assert_eq!(Some(config(name).parameters()), parameters.as_u64(), "{name}");
    }
}

/// Some cards round the last digit and some cut the rest off, so ours may differ by less than one of it.
#[test]
fn configurations_have_as_many_parameters_as_model_cards_say() {
    let expected = corpus::json("size/parameters.json");
    for (name, said) in expected["published"].as_object().unwrap() {
        let subject = config(name);
        if let Some(exact) = said["exact"].as_u64() {
            assert_eq!(subject.parameters(), exact, "{name}");
        }
        let embeddings: u64 = subject
            .pieces
            .iter()
            .filter(|p| p.part == anemone::size::Part::Embedding)
            .map(anemone::size::Piece::parameters)
            .sum();
        for (key, ours) in [
            ("billions", subject.parameters()),
            ("active", subject.active() + if said["active"].is_null() { 0 } else { embeddings }),
            ("without_embeddings", subject.parameters() - embeddings),
        ] {
            let Some(billions) = said[key].as_f64() else { continue };
            let digits = said[key].to_string().split('.').nth(1).map_or(0, str::len).max(1);
            let digit = 10f64.powi(-i32::try_from(digits).unwrap());
            let ours = ours as f64 / 1e9;
            assert!((ours - billions).abs() < digit, "{name} {key}: {ours} against {billions}");
        }
    }
}

/// 2 x 8 heads x 64 channels x 2 B x 16 layers = 32 KiB a position.
#[test]
fn keys_and_values_grow_with_the_context_and_stop_at_windows() {
    assert_eq!(config("llama-3.2-1b").cache.bytes(4096), 4096 * 32 * 1024);
    let gemma = config("gemma-3-1b");
    let Cache::Layers { elements, windows } = &gemma.cache else { panic!("a decoder") };
    assert_eq!((*elements, windows.iter().flatten().count()), (512, 22));
    assert_eq!(gemma.cache.bytes(32768), (22 * 512 + 4 * 32768) * 512 * 2);
}

#[test]
fn a_number_of_parameters_is_sized_with_its_assumption_said() {
    for (text, parameters) in
        [("3B", 3_000_000_000), ("350m", 350_000_000), ("1.5B", 1_500_000_000), ("70B", 70_000_000_000)]
    {
        let subject = size(Path::new(text)).expect("sized");
        assert_eq!((subject.origin, subject.parameters()), (Origin::Count, parameters));
        let bytes = subject.bytes(Scheme::Float16).total();
        assert!(bytes.abs_diff(2 * parameters) < 1000, "{text}: {bytes}");
        assert!(subject.notes[0].contains("assumed"), "{:?}", subject.notes);
    }
    // The 4-bit palettes of the seed document's example: a 3 B model in about 1.5 GB.
    let three = size(Path::new("3B")).expect("sized").bytes(Scheme::Palette { bits: 4, group: None }).total();
    assert!((1_500_000_000..1_510_000_000).contains(&three), "{three}");
}

#[test]
fn what_is_no_model_is_refused_with_what_would_do() {
    for (name, why) in
        [("no-such-thing", "config.json"), ("3Q", "350M"), ("0B", "from 1M"), ("99999T", "10T"), ("", "3B")]
    {
        let error = size(Path::new(name)).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    assert!(size(Path::new(".B")).is_err() && size(Path::new("1.2.3B")).is_err());
}

#[test]
fn programs_are_cut_at_the_limit_of_the_device() {
    let device = |name| Device::named(name).expect("known");
    let llama = config("llama-3.2-3b");
    let phone = fit(&llama, Scheme::Float16, 4096, &device("A18 Pro"), None);
    // Layers of 201 MB, four of which fit into 1 GB; the head of 788 MB.
    assert_eq!((phone.program_bytes, phone.programs, phone.limit_known), (1_000_000_000, 8, true));
    assert_eq!(phone.room, Room::No);
    let palettes = Scheme::Palette { bits: 4, group: None };
    assert_eq!(fit(&llama, palettes, 4096, &device("A18 Pro"), None).room, Room::Yes);
    assert_eq!(fit(&llama, palettes, 4096, &device("M4 Max"), None).programs, 1);
    assert!(!fit(&llama, palettes, 4096, &device("M3"), None).limit_known);
    let cut = fit(&llama, palettes, 4096, &device("M4 Max"), Some(250_000_000));
    // Layers of 50 MB, four a program; the head of 197 MB.
    assert_eq!((cut.program_bytes, cut.programs), (250_000_000, 8));
    assert!(fit(&llama, Scheme::Float16, 4096, &device("M1"), None).beyond_address_space);
}

#[test]
fn packages_and_onnx_files_are_sized_by_their_weights() {
    let package = size(&corpus::path("packages/constexpr16-lut.mlpackage")).expect("sized");
    assert_eq!(package.origin, Origin::Model);
    assert!(package.stored.is_some_and(|b| b < package.bytes(Scheme::Float16).total()));
    let onnx = size(&corpus::path("models/mnist.onnx")).expect("sized");
    assert!(onnx.parameters() > 1000);
    let error = size(&corpus::path("size/expected.json")).expect_err("no configuration").to_string();
    assert!(error.contains("hidden_size"), "{error}");
}
