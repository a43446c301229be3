//! A client of `serve`: writes lines, reads answers.

use crate::command::corpus;
use anemone_formats::safetensors::{SafeTensors, to_bytes};
use anemone_tensor::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use tempfile::TempDir;

/// A running `serve --stdio`, and a folder for tensors.
pub struct Client {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    folder: TempDir,
    id: u64,
}

impl Client {
    pub fn start() -> Client {
        let mut command = Command::new(env!("CARGO_BIN_EXE_anemone"));
        command.args(["serve", "--stdio", "--threads", "1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (to, from) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Client { child, to, from, folder: tempfile::tempdir().unwrap(), id: 0 }
    }

    /// A path in the client's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a line as it is and reads one answer.
    pub fn line(&mut self, line: &[u8]) -> Value {
        let to = self.to.as_mut().unwrap();
        to.write_all(line).unwrap();
        to.write_all(b"\n").unwrap();
        to.flush().unwrap();
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e} in {answer:?}"))
    }

    /// Sends a request under the next id; the answer must repeat it.
    pub fn ask(&mut self, mut request: Value) -> Value {
        self.id += 1;
        request["id"] = self.id.into();
        let answer = self.line(request.to_string().as_bytes());
        assert_eq!(answer["id"], self.id, "{request} {answer}");
        answer
    }

    /// Sends a request that must work.
    #[track_caller]
    pub fn done(&mut self, request: Value) -> Value {
        let answer = self.ask(request.clone());
        assert!(answer["ok"] == true && answer.get("kind").is_none(), "{request} {answer}");
        answer
    }

    /// Sends a request that must fail with this kind and an error that has all words in it.
    #[track_caller]
    pub fn fails(&mut self, request: Value, kind: &str, words: &[&str]) {
        let answer = self.ask(request.clone());
        assert!(answer["ok"] == false && answer["kind"] == kind, "{request} {answer}");
        let error = answer["error"].as_str().unwrap();
        for word in words {
            assert!(error.contains(word), "no {word:?} in {request} {answer}");
        }
        assert!(!error.contains("os error"), "{answer}");
    }

    /// Loads a model; gives its number.
    #[track_caller]
    pub fn load(&mut self, path: &Path) -> u64 {
        self.done(json!({"op": "load", "path": path, "function": null}))["model"].as_u64().unwrap()
    }

    /// Loads a package of the corpus.
    #[track_caller]
    pub fn load_package(&mut self, name: &str) -> u64 {
        self.load(&corpus(&format!("packages/{name}.mlpackage")))
    }

    /// Writes tensors into a file of the client's folder.
    pub fn write(&self, name: &str, tensors: &[(&str, Tensor)]) -> PathBuf {
        let tensors: Vec<(String, Tensor)> =
            tensors.iter().map(|(n, t)| ((*n).to_owned(), t.clone())).collect();
        fs::write(self.path(name), to_bytes(&tensors, &BTreeMap::new()).unwrap()).unwrap();
        self.path(name)
    }

    /// Reads the tensors of a file in the client's folder.
    pub fn read(&self, name: &str) -> BTreeMap<String, Tensor> {
        SafeTensors::read(&fs::read(self.path(name)).unwrap().into()).unwrap().tensors
    }

    /// Closes stdin; the process must end with status 0, having said nothing more.
    pub fn end(mut self) -> String {
        drop(self.to.take());
        let (mut out, mut err) = (String::new(), String::new());
        self.from.read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{err}");
        assert_eq!(out, "");
        err
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
