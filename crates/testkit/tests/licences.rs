//! Everything that Anemone is built from may be used under its own licence.

use anemone_testkit::house::repository;
use serde_json::Value;
use std::process::Command;

/// Licences that ask for no more than naming the author.
const PERMITTED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "IJG", // asks for the acknowledgement that LICENSE holds
    "Zlib",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
    "Unicode-3.0",
];

/// Whether an SPDX expression of `AND` and `OR`, `AND` binding tighter, can be met by permitted licences.
fn permitted(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], "");
    if expression.contains('(') && expression.contains(" AND ") {
        return plain.replace(" AND ", " OR ").split(" OR ").all(|l| PERMITTED.contains(&l.trim()));
    }
    plain.split(" OR ").any(|all| all.split(" AND ").all(|l| PERMITTED.contains(&l.trim())))
}

#[test]
fn every_dependency_has_a_permissive_licence() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--format-version", "1", "--filter-platform", &platform])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 20, "cargo metadata names only {} packages", packages.len());
    let refused: Vec<String> = packages
        .iter()
        .filter(|p| !p["license"].as_str().is_some_and(permitted))
        .map(|p| format!("{} {}: {}", p["name"], p["version"], p["license"]))
        .collect();
    assert!(refused.is_empty(), "licences that need a look:\n{}", refused.join("\n"));
}

#[test]
fn the_licence_texts_are_there() {
    for (name, says) in [
        ("LICENSE", "MIT OR Apache-2.0"),
        ("LICENSE", "the work of the Independent JPEG Group"),
        ("LICENSE-MIT", "Permission is hereby granted"),
        ("LICENSE-APACHE", "Apache License"),
    ] {
        let text = std::fs::read_to_string(repository().join(name)).unwrap();
        assert!(text.contains(says), "{name} should hold \"{says}\"");
    }
}
