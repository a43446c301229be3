//! Invariants of the house that the source text itself must keep.

use anemone_testkit::house::{ROOMS, SourceFile, repository, text_files, without_tests};
use std::fs;

/// A finding that is right as it is: file, what is found there, and why it may stay.
type Allowed = (&'static str, &'static str, &'static str);

/// Words by which code opens files, or reads the clock, the environment or the terminal.
const OUTER_WORLD: &[&str] = &[
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::time",
    "Instant::now",
    "SystemTime",
    "File::open",
    "available_parallelism",
    "stdin()",
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
];

/// Types that let a `static` change while the program runs.
const INTERIOR: &[&str] =
    &["Mutex", "RwLock", "OnceLock", "LazyLock", "OnceCell", "LazyCell", "RefCell", "Cell", "Atomic"];

const GLOBALS_ALLOWED: &[Allowed] = &[
    (
        "crates/ane/src/cost/rates.rs",
        "static FITTED: LazyLock<",
        "the fitted rates, read once and never changed",
    ),
    (
        "crates/mil/src/ops/mod.rs",
        "static BY_NAME: LazyLock<",
        "an index of the op table, built once and never changed",
    ),
    (
        "crates/ane/src/device/mod.rs",
        "static KNOWN: LazyLock<",
        "the device files, read once and never changed",
    ),
    (
        "crates/ane/src/simulate/coefficients.rs",
        "static KNOWN: LazyLock<",
        "the numbers of the simulator, read once and never changed",
    ),
    ("crates/ane/src/fact.rs", "static FACTS: LazyLock<", "the table of facts, read once and never changed"),
    ("crates/ane/src/fact.rs", "static BY_NAME: LazyLock<", "an index of that table"),
    (
        "crates/ane/src/source.rs",
        "static NAMES: LazyLock<",
        "the table of sources, read once and never changed",
    ),
];
const OUTER_WORLD_ALLOWED: &[Allowed] = &[];
const UNSAFE_ALLOWED: &[Allowed] = &[
    ("crates/anemone/src/files.rs", "unsafe", "mapping a file, once"),
    ("crates/anemone/src/compress/spill.rs", "unsafe", "mapping a file that nothing else has open"),
];

/// Sources of the rooms whose floor is below `floor`, with tests blanked.
fn below(floor: u8) -> Vec<SourceFile> {
    let rooms = ROOMS.iter().filter(|r| r.floor.is_some_and(|f| f < floor));
    let files = rooms.flat_map(|r| SourceFile::of_room(r.name));
    files.map(|f| SourceFile { code: without_tests(&f.code), ..f }).collect()
}

/// Fails with every finding that is not allowed, and with every permission that nothing needs any more.
fn judge(rule: &str, found: &[(String, usize, String)], allowed: &[Allowed]) {
    let known = |(path, _, what): &&(String, usize, String)| {
        !allowed.iter().any(|(file, word, _)| path == file && what.contains(word))
    };
    let new: Vec<String> = found.iter().filter(known).map(|(p, l, w)| format!("{p}:{l}: {w}")).collect();
    assert!(new.is_empty(), "{rule}:\n{}", new.join("\n"));
    for (file, word, _) in allowed {
        let used = found.iter().any(|(path, _, what)| path == file && what.contains(word));
        assert!(used, "{file} has no {word} any more: take it off the list of exceptions to \"{rule}\"");
    }
}

fn findings(files: &[SourceFile], words: &[&str]) -> Vec<(String, usize, String)> {
    let in_file = |f: &SourceFile| {
        let lines = words.iter().flat_map(|w| f.lines_with(w).into_iter().map(move |l| (l, w.to_string())));
        lines.map(|(line, word)| (f.path.clone(), line, word)).collect::<Vec<_>>()
    };
    files.iter().flat_map(in_file).collect()
}

/// `std::{a, b}` hides the words that the tests look for; this finds its forbidden members.
fn grouped_imports(files: &[SourceFile]) -> Vec<(String, usize, String)> {
    let mut found = Vec::new();
    for file in files {
        for (at, _) in file.code.match_indices("std::{") {
            let group = &file.code[at..file.code[at..].find(';').map_or(file.code.len(), |e| at + e)];
            let words = group.split(|c: char| !(c.is_alphanumeric() || c == '_'));
            for word in words.filter(|w| ["fs", "env", "net", "process", "time"].contains(w)) {
                let line = file.code[..at].matches('\n').count() + 1;
                found.push((file.path.clone(), line, format!("std::{word}")));
            }
        }
    }
    found
}

#[test]
fn below_the_library_nothing_touches_files_clock_environment_or_terminal() {
    let files = below(4);
    let mut found = findings(&files, OUTER_WORLD);
    found.extend(grouped_imports(&files));
    judge("rooms below `anemone` are handed bytes and options", &found, OUTER_WORLD_ALLOWED);
}

#[test]
fn below_the_library_there_are_no_globals_that_change() {
    let files = below(4);
    let mut found = findings(&files, &["static mut", "thread_local!"]);
    for file in &files {
        for line in file.lines_with("static") {
            let text = file.code.lines().nth(line - 1).unwrap_or_default();
            let declares = text.trim_start().trim_start_matches("pub ").starts_with("static ");
            if declares && INTERIOR.iter().any(|t| text.contains(t)) {
                found.push((file.path.clone(), line, text.trim().to_string()));
            }
        }
    }
    judge("no global state below `anemone`", &found, GLOBALS_ALLOWED);
}

#[test]
fn below_the_cli_nothing_derives_serialize() {
    let found = findings(&below(5), &["Serialize"]);
    judge("JSON shapes are mirrors in the outer rooms", &found, &[]);
}

#[test]
fn unsafe_stays_in_the_cpu_engine() {
    let rooms = ROOMS.iter().filter(|r| r.name != "exec");
    let files: Vec<SourceFile> = rooms.flat_map(|r| SourceFile::of_room(r.name)).collect();
    judge("`unsafe` belongs to exec", &findings(&files, &["unsafe"]), UNSAFE_ALLOWED);
}

/// Closures that `from_fn` and `map` of arrays call stay functions of their own without the instructions of the kernel
/// around them, and every method of a vector in them becomes a call.
#[test]
fn methods_of_vectors_stand_in_no_closure_that_makes_an_array() {
    let vectors = ["s.load", "s.splat", "s.add", "s.mul", "s.fma", "s.max", "s.min", "s.sum", "_mm"];
    let mut found = Vec::new();
    for file in SourceFile::of_room("exec").iter().filter(|f| f.path.contains("/kernels/")) {
        let code = without_tests(&file.code);
        for (at, line) in code.lines().enumerate() {
            let makes = line.split_once("from_fn(|").or_else(|| line.split_once(".map(|"));
            let Some((_, closure)) = makes else { continue };
            let body = closure.split_once('|').map_or("", |(_, body)| body);
            let is_vector = |(at, _): (usize, &str)| !body[..at].ends_with(|c: char| c.is_alphanumeric());
            if vectors.iter().any(|v| body.match_indices(v).any(is_vector)) {
                found.push((file.path.clone(), at + 1, line.trim().to_string()));
            }
        }
    }
    judge("vectors want loops", &found, &[]);
}

#[test]
fn rooms_of_untrusted_input_forbid_unsafe_and_lossy_casts() {
    for room in ["formats", "import", "mil"] {
        let lib = fs::read_to_string(repository().join(format!("crates/{room}/src/lib.rs"))).unwrap();
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{room} should forbid unsafe code");
        let denied = lib.split_once("#![deny(").and_then(|(_, rest)| rest.split_once(")]")).map(|(d, _)| d);
        for cast in ["possible_truncation", "sign_loss", "possible_wrap", "precision_loss"] {
            let lint = format!("clippy::cast_{cast}");
            assert!(denied.is_some_and(|d| d.contains(&lint)), "{room} should deny {lint}");
        }
        let mut files = SourceFile::of_room(room);
        files.retain(|f| !f.path.ends_with("/src/lib.rs"));
        judge("no exceptions from the denied casts", &findings(&files, &["clippy::cast_"]), &[]);
    }
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    let files: Vec<SourceFile> =
        SourceFile::under("crates").into_iter().chain(SourceFile::under("fuzz")).collect();
    let words = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut found = findings(&files, &words);
    // Each test file compiles its own copy of a module that several share, and uses its part of it.
    let sources: Vec<SourceFile> = files.into_iter().filter(|f| f.path.contains("/src/")).collect();
    found.extend(findings(&sources, &["allow(dead_code", "allow(unused"]));
    judge("no unfinished work, no ignored test, no silenced lint", &found, &[]);
}

#[test]
fn names_say_what_things_are() {
    let mut found = Vec::new();
    for file in SourceFile::under("crates") {
        for (index, line) in file.code.lines().enumerate() {
            let words: Vec<&str> = line.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
            for pair in words.windows(2) {
                let vague = ["Manager", "Helper", "Util"].iter().any(|v| pair[1].contains(v));
                let bad = pair[0] == "fn" && pair[1].starts_with("get_")
                    || ["struct", "enum", "trait", "mod"].contains(&pair[0]) && vague;
                if bad {
                    found.push((file.path.clone(), index + 1, pair.join(" ")));
                }
            }
        }
    }
    judge("no `get_`, Manager, Helper, Util", &found, &[]);
}

#[test]
fn long_files_and_functions_say_why() {
    let mut found = Vec::new();
    for file in SourceFile::under("crates") {
        let lines = file.text.lines().count();
        let excused = file.text.lines().take(40).any(|l| l.contains("// Reason:"));
        if lines > 800 && !excused {
            found.push((file.path.clone(), 1, format!("{lines} lines without a `// Reason:` near the top")));
        }
        for (line, length) in functions(&without_tests(&file.code)) {
            let near = file.text.lines().skip(line.saturating_sub(6)).take(8);
            if length > 80 && !near.into_iter().any(|l| l.contains("Reason:")) {
                found.push((file.path.clone(), line, format!("{length} lines without a `// Reason:` above")));
            }
        }
    }
    judge("files up to 800 lines, functions up to 80", &found, &[]);
}

/// First line and length in lines of every function with a body.
fn functions(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts = code[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        let Some(open) = code[at..].find(['{', ';']).map(|i| at + i) else { continue };
        if !starts || code.as_bytes()[open] == b';' {
            continue;
        }
        let mut depth = 0usize;
        let close = code[open..].char_indices().find(|(_, c)| {
            depth = depth + usize::from(*c == '{') - usize::from(*c == '}');
            depth == 0
        });
        let body = &code[at..close.map_or(code.len(), |(i, _)| open + i)];
        found.push((code[..at].matches('\n').count() + 1, body.matches('\n').count() + 1));
    }
    found
}

#[test]
fn pages_and_sources_name_no_place_of_one_machine() {
    let kinds = ["md", "rs", "py", "toml", "sh", "json", "jsonl"];
    let folders = ["crates", "docs", "fuzz", "examples", ".ci", "corpus"];
    let mut files: Vec<(String, String)> = folders.iter().flat_map(|f| text_files(f, &kinds)).collect();
    for name in ["README.md", "Cargo.toml", ".ci/run"] {
        files.extend(fs::read_to_string(repository().join(name)).ok().map(|text| (name.to_string(), text)));
    }
    assert!(files.len() > 50, "found only {} files to look at", files.len());
    let places = ["work", "root", "home", "tmp", "Users"].map(|p| format!("/{p}/"));
    let mut found = Vec::new();
    for (path, text) in &files {
        for (index, line) in text.lines().enumerate() {
            let named = places.iter().find(|p| absolute(line, p));
            found.extend(named.map(|p| (path.clone(), index + 1, p.clone())));
        }
    }
    judge("no paths of one machine", &found, &[]);
}

/// Whether `line` holds `place` as the start of a path, not inside one.
fn absolute(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        line[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "._-}$/*)".contains(c)))
    })
}
