//! Runs the built command and judges what every run must keep.

use serde_json::Value;
use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// No run of these tests may take longer; a fraction of a second is usual.
const LIMIT: Duration = Duration::from_secs(60);

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub status: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The corpus, or something in it.
pub fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(name)
}

/// The JSON of a corpus file.
pub fn corpus_json(name: &str) -> Value {
    let path = corpus(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Names in a folder of the corpus, sorted.
pub fn corpus_list(name: &str) -> Vec<String> {
    list(&corpus(name))
}

/// Names in a folder, sorted; hidden ones too.
pub fn list(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs `anemone` in `folder`, its output going into pipes.
pub fn anemone_in<S: AsRef<OsStr>>(folder: &Path, args: impl IntoIterator<Item = S>) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anemone"));
    command.args(args).current_dir(folder);
    ran(command)
}

/// Runs `anemone` in the corpus, so that paths in its output are short.
pub fn anemone<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Ran {
    anemone_in(&corpus(""), args)
}

/// Runs a command to its end, within the limit.
pub fn ran(mut command: Command) -> Ran {
    command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let out = drain(child.stdout.take().unwrap());
    let err = drain(child.stderr.take().unwrap());
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} hangs");
        }
        thread::sleep(Duration::from_millis(2));
    };
    Ran { status: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn drain(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).expect("the output is UTF-8")
    })
}

impl Ran {
    /// Ended as it should, with nothing but notes on stderr and no colour; gives stdout.
    #[track_caller]
    pub fn ended(self, status: i32) -> String {
        assert_eq!(self.status, Some(status), "{self:#?}");
        assert!(self.err.lines().all(|l| l.starts_with("note: ")), "stderr has more than notes: {self:#?}");
        assert!(!self.out.contains('\u{1b}') && !self.err.contains('\u{1b}'), "colour in a pipe: {self:#?}");
        assert!(!self.out.contains('\r') && !self.err.contains('\r'), "progress in a pipe: {self:#?}");
        self.out
    }

    /// Ended with status 0; gives stdout.
    #[track_caller]
    pub fn clean(self) -> String {
        self.ended(0)
    }

    /// Ended with status 0 and lines of at most 100 columns; gives stdout.
    #[track_caller]
    pub fn report(self) -> String {
        let out = self.clean();
        fits(&out);
        out
    }

    /// Ended with status 0 and one JSON document of that schema, and nothing else, on stdout.
    #[track_caller]
    pub fn json(self, schema: &str) -> Value {
        document(&self.clean(), schema)
    }

    /// Ended with status 2, nothing on stdout, and one error that has all of `words` in it; gives the error.
    #[track_caller]
    pub fn fails(self, words: &[&str]) -> String {
        assert_eq!(self.status, Some(2), "{self:#?}");
        assert_eq!(self.out, "", "{self:#?}");
        assert!(self.err.starts_with("error: "), "{self:#?}");
        let errors = self.err.lines().filter(|l| l.starts_with("error:")).count();
        assert_eq!(errors, 1, "{self:#?}");
        assert!(!self.err.contains("panicked") && !self.err.contains("RUST_BACKTRACE"), "{self:#?}");
        assert!(!self.err.contains('\u{1b}') && !self.err.contains("os error"), "{self:#?}");
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in {self:#?}");
        }
        self.err
    }
}

/// One JSON document of that schema.
#[track_caller]
pub fn document(out: &str, schema: &str) -> Value {
    let value: Value = serde_json::from_str(out).unwrap_or_else(|e| panic!("{e} in {out}"));
    assert_eq!(value["schema"], schema);
    value
}

/// No line is longer than 100 columns, the path of the checkout aside, which may be of any length.
#[track_caller]
pub fn fits(text: &str) {
    let checkout = corpus("");
    for line in text.lines() {
        let line = line.replace(&*checkout.to_string_lossy(), "");
        assert!(line.chars().count() <= 100, "{} columns: {line}", line.chars().count());
    }
}

/// The names under `key` of each object in a list.
#[track_caller]
pub fn names(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|i| i[key].as_str().unwrap_or_else(|| panic!("no {key} in {i}")).to_owned()).collect()
}

/// Copies a file or folder of the corpus to `to`.
pub fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for name in list(from) {
        copy(&from.join(&name), &to.join(&name));
    }
}
