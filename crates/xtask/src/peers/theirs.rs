//! ONNX Runtime's side: a process of Python that answers requests.

use super::models::{Model, SCRIPT};
use crate::python;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// The process.
pub struct Peer {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts it.
    ///
    /// # Errors
    /// When there is no Python with ONNX Runtime.
    pub fn start() -> Result<Peer, String> {
        let mut command = python::script(SCRIPT)?;
        command.arg("serve").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot run {command:?}: {e}"))?;
        let (requests, replies) = (child.stdin.take(), child.stdout.take());
        let (requests, replies) = requests.zip(replies).ok_or("no pipes to the script")?;
        Ok(Peer { child, requests, replies: BufReader::new(replies) })
    }

    fn ask(&mut self, request: &Value) -> Result<Value, String> {
        let lost = |e: std::io::Error| format!("the script is gone: {e}");
        writeln!(self.requests, "{request}").map_err(lost)?;
        let mut line = String::new();
        self.replies.read_line(&mut line).map_err(lost)?;
        let reply: Value =
            serde_json::from_str(&line).map_err(|e| format!("the script said `{line}`: {e}"))?;
        match reply["error"].as_str() {
            Some(why) => Err(format!("ONNX Runtime: {why}")),
            None => Ok(reply),
        }
    }

    /// Makes a session for each `(threads, spinning)`, and writes inputs and outputs into `folder`.
    ///
    /// # Errors
    /// When the model does not load there.
    pub fn open(&mut self, model: &Model, folder: &Path, configs: &[(usize, bool)]) -> Result<(), String> {
        let inputs = model.inputs_json();
        self.ask(&json!({"open": model.file()?, "inputs": inputs, "folder": folder, "configs": configs}))?;
        Ok(())
    }

    /// Milliseconds of `count` runs.
    ///
    /// # Errors
    /// When a run fails.
    pub fn times(&mut self, config: usize, count: usize) -> Result<Vec<f64>, String> {
        let reply = self.ask(&json!({"run": config, "count": count}))?;
        Ok(reply["ms"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It is only ours, and ends with its input anyway.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
