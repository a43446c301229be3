//! Damaged weight files, and links in packages.

use crate::command::{anemone_in, copy, corpus, list};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// A copy of the convolution's package; its one weight is the record at byte 64: sentinel, type, size, offset.
fn package() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    copy(&corpus("packages/conv.mlpackage"), &folder.path().join("a.mlpackage"));
    let data = folder.path().join("a.mlpackage/Data/com.apple.CoreML");
    (folder, data)
}

fn u64_at(bytes: &[u8], at: usize, value: u64) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn records_that_lie_are_refused_with_their_place() {
    let (folder, data) = package();
    let file = data.join("weights/weight.bin");
    let whole = fs::read(&file).unwrap();
    let (size, offset) = (72, 80);
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("wrong sentinel", u64_at(&whole, 64, 0x1_0000_0000), "0xdeadbeef"),
        ("unknown type", u64_at(&whole, 64, 99 << 32 | 0xdead_beef), "99"),
        ("size overflows", u64_at(&whole, size, u64::MAX), "18446744073709551615"),
        ("offset overflows", u64_at(&whole, offset, u64::MAX - 63), "18446744073709551552"),
        ("data beyond the file", u64_at(&whole, offset, 1 << 40), "1099511627776"),
        ("data on the header", u64_at(&whole, offset, 0), "at byte"),
        ("data on the record", u64_at(&whole, offset, 64), "at byte"),
        ("data between alignments", u64_at(&whole, offset, 130), "130"),
        ("cut off", whole[..150].to_vec(), "150 bytes"),
        ("cut off in the record", whole[..100].to_vec(), "100 bytes"),
        ("empty", Vec::new(), "weight.bin"),
        ("other version", u64_at(&whole, 0, 9 << 32 | 1), "9"),
    ];
    for (what, bytes, word) in cases {
        fs::write(&file, bytes).unwrap();
        for args in [&["run", "a.mlpackage", "--random", "1"][..], &["inspect", "a.mlpackage"]] {
            let error = anemone_in(folder.path(), args).fails(&["a.mlpackage", "weight.bin", word]);
            assert!(error.contains("at byte") || what == "empty", "{what}: {error}");
        }
    }
}

#[test]
fn a_package_without_its_weights_says_which_weight_and_file() {
    let (folder, data) = package();
    fs::remove_file(data.join("weights/weight.bin")).unwrap();
    for verb in ["run", "inspect", "show", "plan"] {
        anemone_in(folder.path(), [verb, "a.mlpackage"]).fails(&[
            "a.mlpackage",
            "const \"",
            "weight.bin is missing",
        ]);
    }
}

/// Programs without their weights can be read, not run.
#[test]
fn a_compiled_model_without_weights_says_so_when_it_shall_run() {
    let model = corpus("mlmodelc/silero-int8.mlmodelc");
    let folder = tempfile::tempdir().unwrap();
    anemone_in(folder.path(), ["run", model.to_str().unwrap(), "--random", "1", "-o", "out"]).fails(&[
        "silero-int8.mlmodelc",
        "weight",
        "missing",
    ]);
    assert!(list(folder.path()).is_empty());
}

#[test]
#[cfg(unix)]
fn links_that_lead_out_of_a_package_are_refused() {
    use std::os::unix::fs::symlink;
    for inner in ["weights/weight.bin", "weights", "model.mlmodel"] {
        let (folder, data) = package();
        fs::rename(data.join(inner), folder.path().join("elsewhere")).unwrap();
        symlink(folder.path().join("elsewhere"), data.join(inner)).unwrap();
        anemone_in(folder.path(), ["run", "a.mlpackage", "--random", "1"]).fails(&[
            "a.mlpackage",
            inner,
            "leads out of the package",
        ]);
        anemone_in(folder.path(), ["inspect", "a.mlpackage"]).fails(&["leads out of the package"]);
    }
    let (folder, _) = package();
    let manifest = folder.path().join("a.mlpackage/Manifest.json");
    fs::rename(&manifest, folder.path().join("elsewhere")).unwrap();
    symlink("../elsewhere", manifest).unwrap();
    anemone_in(folder.path(), ["show", "a.mlpackage"]).fails(&["Manifest.json", "leads out of the package"]);
}

#[test]
#[cfg(unix)]
fn links_in_a_circle_are_refused() {
    use std::os::unix::fs::symlink;
    let (folder, data) = package();
    let file = data.join("weights/weight.bin");
    fs::remove_file(&file).unwrap();
    symlink("weight.bin", &file).unwrap();
    anemone_in(folder.path(), ["inspect", "a.mlpackage"]).fails(&["a.mlpackage", "weight.bin"]);
    symlink("loop.mlpackage", folder.path().join("loop.mlpackage")).unwrap();
    anemone_in(folder.path(), ["inspect", "loop.mlpackage"]).fails(&["loop.mlpackage"]);
}

/// Opening a pipe would wait for ever.
#[test]
#[cfg(unix)]
fn pipes_in_the_place_of_files_are_refused() {
    let (folder, data) = package();
    let fifo = |path: PathBuf| {
        let _ = fs::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    };
    fifo(folder.path().join("p.onnx"));
    anemone_in(folder.path(), ["convert", "p.onnx"]).fails(&["p.onnx", "pipe"]);
    fifo(folder.path().join("x.npy"));
    anemone_in(folder.path(), ["run", "a.mlpackage", "--input", "x=x.npy"]).fails(&["x.npy", "pipe"]);
    fifo(data.join("weights/weight.bin"));
    anemone_in(folder.path(), ["inspect", "a.mlpackage"]).fails(&["a.mlpackage", "weight.bin"]);
}
