//! The rooms of the workspace: the one place where floors and permitted dependencies are written down.

use std::fmt::Write;

/// Which rooms a room may depend on, besides `tensor`, whose types every room shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uses {
    /// These and no others.
    Only(&'static [&'static str]),
    /// Every room on a floor below.
    AllBelow,
    /// Any room: judges and tools, on which nothing is built.
    Any,
}

/// One room: a crate in `crates/<name>`.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Name of the folder; the package is named by [`package_name`].
    pub name: &'static str,
    /// Floor of the house; dependencies lead to floors below. `None`: beside the house, for tools and tests.
    pub floor: Option<u8>,
    /// What lives there, in a few words.
    pub contents: &'static str,
    /// Rooms that it may depend on.
    pub uses: Uses,
}

const fn on(floor: u8, name: &'static str, contents: &'static str, uses: &'static [&'static str]) -> Room {
    Room { name, floor: Some(floor), contents, uses: Uses::Only(uses) }
}

/// Every room there is.
pub static ROOMS: &[Room] = &[
    on(0, "tensor", "element types, shapes, owned and mapped bytes, element codecs", &[]),
    on(
        1,
        "formats",
        "bytes to plain structs and back, one module per file format; all untrusted input is here",
        &[],
    ),
    on(
        1,
        "mil",
        "the IR: types, op table, text, builder, edits, verifier, inference, reference evaluation",
        &[],
    ),
    on(1, "model", "what it means to predict: features, functions, shapes, and the trait of an engine", &[]),
    on(2, "package", "programs to the Core ML containers and back", &["formats", "mil"]),
    on(2, "import", "source models to programs", &["formats", "mil"]),
    on(2, "passes", "rewrites, passes and pipelines", &["mil"]),
    on(2, "ane", "devices, facts with evidence, eligibility, cost, the segmenter, the simulator", &["mil"]),
    on(
        2,
        "exec",
        "the CPU engine: buffers, kernels, threads; SIMD and `unsafe` live here alone",
        &["mil", "model"],
    ),
    on(
        3,
        "compress",
        "quantise, palettise and prune weights, as a configuration or a search says",
        &["mil", "passes", "model"],
    ),
    on(3, "lint", "rules, findings, fixes, gates", &["mil", "passes", "ane"]),
    Room {
        name: "anemone",
        floor: Some(4),
        contents: "the library: one function per verb; the only room that opens files and chooses an engine",
        uses: Uses::AllBelow,
    },
    on(5, "cli", "arguments, terminal output, JSON shapes", &["anemone"]),
    Room {
        name: "testkit",
        floor: None,
        contents: "the rules of this page as data, and what tests share",
        uses: Uses::Any,
    },
    Room {
        name: "xtask",
        floor: None,
        contents: "judges, recorders, fuzzing, benchmarks: `cargo xtask`",
        uses: Uses::Any,
    },
];

/// Crates from outside that only the named rooms may build on, so that their concerns stay where they belong.
///
/// Rooms beside the house may use any of them.
pub static OUTSIDE: &[(&str, &[&str])] = &[
    ("clap", &["cli"]),
    ("indicatif", &["cli"]),
    ("serde", &["formats", "ane", "cli"]),
    ("toml", &["ane", "anemone"]),
    ("serde_json", &["formats", "cli"]),
    ("zip", &["formats"]),
    ("yaml-rust2", &["formats"]),
    ("ctrlc", &["cli"]),
    ("memmap2", &["anemone"]),
    ("tempfile", &["anemone"]),
    ("png", &["anemone"]),
    ("zune-jpeg", &["anemone"]),
    ("jpeg-encoder", &["anemone"]),
    ("gemm", &["exec"]),
];

/// The room of this name.
pub fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|r| r.name == name)
}

/// Name of the package in the room `name`.
pub fn package_name(name: &str) -> String {
    match name {
        "anemone" | "xtask" => name.to_string(),
        _ => format!("anemone-{name}"),
    }
}

/// The rooms as the Markdown table that `docs/architecture.md` shows.
pub fn room_table() -> String {
    let mut table = String::from("| floor | room | what lives there | may use |\n|---|---|---|---|\n");
    for room in ROOMS {
        let floor = room.floor.map_or("-".to_string(), |f| f.to_string());
        let uses = match room.uses {
            Uses::Only([]) => "-".to_string(),
            Uses::Only(names) => names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
            Uses::AllBelow => "all below".to_string(),
            Uses::Any => "any".to_string(),
        };
        let _ = writeln!(table, "| {floor} | `{}` | {} | {uses} |", room.name, room.contents);
    }
    table
}
