//! Runs the command and looks at what it prints.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a run gave.
pub struct Ran {
    /// Exit status.
    pub status: i32,
    /// Data.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

/// A file or folder of the corpus.
pub fn corpus(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus").join(path)
}

/// Longest that any run may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `anemone` in a folder, without a terminal.
pub fn anemone_in(folder: &Path, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anemone"));
    command.args(args).current_dir(folder);
    finish(command, &format!("{args:?}"))
}

/// Runs `anemone` in the corpus.
pub fn anemone(args: &[&str]) -> Ran {
    anemone_in(&corpus(""), args)
}

/// Waits for a command, but not for ever.
pub fn finish(mut command: Command, what: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let file = |path: &Path| std::fs::File::create(path).expect("a file");
    let command = command.stdin(Stdio::null()).stdout(file(&out)).stderr(file(&err));
    let mut child = command.spawn().expect("starts");
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("waits") {
            break status;
        }
        assert!(started.elapsed() < PATIENCE, "{what} hangs");
        std::thread::sleep(Duration::from_millis(3));
    };
    let text = |path: &Path| std::fs::read_to_string(path).expect("UTF-8");
    Ran { status: status.code().unwrap_or(-1), stdout: text(&out), stderr: text(&err) }
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

impl Ran {
    /// Asserts success and hands out stdout, which is data without colour in at most 100 columns.
    pub fn clean(self, what: &str) -> String {
        assert_eq!(self.status, 0, "{what}: {}", self.stderr);
        assert!(
            !self.stdout.contains('\u{1b}') && !self.stderr.contains('\u{1b}'),
            "{what}: colour in a pipe"
        );
        self.stdout
    }

    /// Asserts one clear error that holds every word, exit status 2 and no data.
    pub fn fails(self, what: &str, words: &[&str]) {
        assert_eq!(self.status, 2, "{what}: {} {}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("error: "), "{what}: {}", self.stderr);
        assert_eq!(self.stderr.matches("error: ").count(), 1, "{what}: {}", self.stderr);
        assert!(!self.stderr.contains("panicked"), "{what}: {}", self.stderr);
        assert_eq!(self.stdout, "", "{what}");
        for word in words {
            assert!(self.stderr.contains(word), "{what}: {word:?} is not in {}", self.stderr);
        }
    }
}
