//! `size`.

use crate::command::{anemone, anemone_in};

const CONFIG: &str = "size/configs/llama-3.2-3b.json";

#[test]
fn bytes_caches_and_devices_are_told_in_json() {
    let size = anemone(["size", CONFIG, "--context", "4096,32768", "--device", "all", "--json"]);
    let size = size.json("anemone.size/1");
    assert_eq!((size["parameters"].as_u64(), size["origin"].as_str()), (Some(3_212_749_824), Some("config")));
    // 2 x 8 heads x 128 channels x 2 B x 28 layers = 112 KiB a position.
    assert_eq!(size["caches"][1]["bytes"], 32768_u64 * 112 * 1024);
    let devices = size["devices"].as_array().unwrap();
    assert!(devices.len() >= 30);
    let schemes = size["schemes"].as_array().unwrap().len();
    assert!(devices.iter().all(|d| d["fits"].as_array().unwrap().len() == 2 * schemes));
}

#[test]
fn tables_are_shown_for_one_device_and_for_several() {
    let one = anemone(["size", CONFIG, "--device", "m4"]).report();
    for word in ["3.21 billion", "palette 4-bit", "470 MB", "On M4 with 4096 positions", "tokens/s", "F088"] {
        assert!(one.contains(word), "{word}: {one}");
    }
    let several = anemone(["size", "3B", "--shard", "250MB"]);
    assert!(several.err.contains("assumed"), "{}", several.err);
    assert!(several.out.contains("A19 Pro") && several.out.contains("250 MB"), "{}", several.out);
    let package = anemone(["size", "packages/conv.mlpackage"]).report();
    assert!(package.contains("package") && !package.contains("positions"), "{package}");
}

#[test]
fn what_cannot_be_sized_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), "{\"hidden_size\": -3}").unwrap();
    std::fs::write(folder.path().join("cut.json"), "{\"hidden_size\":").unwrap();
    for (args, why) in [
        (["size", "."].as_slice(), "hidden_size is -3"),
        (&["size", "cut.json"], "JSON"),
        (&["size", "nothing.mlpackage"], "does not exist"),
        (&["size", "3B", "--device", "m44"], "m44"),
        (&["size", "3B", "--context", "0"], "from 1"),
        (&["size", "3B", "--context", "4096,many"], "from 1"),
        (&["size", "3B", "--shard", "big"], "512MB"),
    ] {
        let ran = anemone_in(folder.path(), args);
        assert_eq!((ran.status, &*ran.out), (Some(2), ""), "{args:?}");
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
    }
}
