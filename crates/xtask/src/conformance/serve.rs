//! The conformance cases through one `anemone serve --stdio`, as a program in another language would run them.

use super::replay::{arrays, outside};
use crate::Outcome;
use crate::place::{cargo, run, target};
use anemone_tensor::Tensor;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// Failures that are printed; all of them go into a file.
const SHOWN: usize = 40;

/// Replays every case below `folder` in one process and prints how many pass.
///
/// # Errors
/// When the command cannot be built or does not keep to the protocol.
pub fn replay(folder: &Path) -> Result<Outcome, String> {
    run(cargo().args(["build", "--quiet", "-p", "anemone-cli"]))?;
    let entries = fs::read_dir(folder).map_err(|e| format!("cannot list {}: {e}", folder.display()))?;
    let mut cases: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_dir()).collect();
    cases.sort();
    let mut client = Client::start(&target().join("debug/anemone"))?;
    let start = Instant::now();
    let (mut strict, mut tolerance, mut lines) = (0, 0, Vec::new());
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for case in &cases {
        let meta = fs::read(case.join("meta.json")).map_err(|e| format!("{}: {e}", case.display()))?;
        let meta: Value = serde_json::from_slice(&meta).map_err(|e| format!("{}: {e}", case.display()))?;
        match client.case(case, &meta)? {
            Verdict::Strict => strict += 1,
            Verdict::Tolerance => tolerance += 1,
            Verdict::Failed(kind, why) => {
                *kinds.entry(kind.clone()).or_default() += 1;
                lines.push(format!("{kind} {} {}: {why}", meta["case"], meta["test"]).replace('\n', "; "));
            }
        }
    }
    client.end()?;
    let seconds = start.elapsed().as_secs_f64();
    let share = |n: usize| 100.0 * n as f64 / cases.len().max(1) as f64;
    println!("\n{} cases through one `anemone serve --stdio` in {seconds:.1} s", cases.len());
    println!("within tolerance  {:>5}  {:.2} %", strict + tolerance, share(strict + tolerance));
    println!("within strict     {strict:>5}  {:.2} %", share(strict));
    kinds.iter().for_each(|(kind, count)| println!("{kind:<17} {count:>5}"));
    let file = folder.with_file_name("serve.txt");
    fs::write(&file, lines.join("\n")).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    lines.iter().take(SHOWN).for_each(|line| println!("{}", line.chars().take(240).collect::<String>()));
    if lines.len() > SHOWN {
        println!("and {} more, all in {}", lines.len() - SHOWN, file.display());
    }
    Ok(Outcome::of(lines.len()))
}

/// How a case ended.
enum Verdict {
    Strict,
    Tolerance,
    /// The kind of the failure, `wrong` where there was none, and why.
    Failed(String, String),
}

fn wrong<T>(why: String) -> Result<T, Verdict> {
    Err(Verdict::Failed("wrong".into(), why))
}

/// The other end of the pipes.
struct Client {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    folder: tempfile::TempDir,
    id: u64,
}

impl Client {
    fn start(command: &Path) -> Result<Client, String> {
        let fail = |e: std::io::Error| format!("{}: {e}", command.display());
        let mut serve = Command::new(command);
        serve.args(["serve", "--stdio"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = serve.spawn().map_err(fail)?;
        let (to, from) = (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
        Ok(Client {
            child,
            to,
            from: BufReader::new(from),
            folder: tempfile::tempdir().map_err(fail)?,
            id: 0,
        })
    }

    /// Sends a request; what the protocol does not allow as an answer ends the replay.
    fn ask(&mut self, mut request: Value) -> Result<Value, String> {
        self.id += 1;
        request["id"] = self.id.into();
        let mut line = String::new();
        let sent = writeln!(self.to, "{request}").and_then(|()| self.to.flush());
        sent.and_then(|()| self.from.read_line(&mut line)).map_err(|e| format!("{request}: {e}"))?;
        let answer: Value = serde_json::from_str(&line).map_err(|e| format!("{request}: {line:?}: {e}"))?;
        let known = ["unsupported", "invalid", "internal"];
        let said = |key: &str| answer[key].as_str().unwrap_or_default();
        let fine = answer["ok"] == true || known.contains(&said("kind")) && !said("error").is_empty();
        if answer["id"] == self.id && fine {
            Ok(answer)
        } else {
            Err(format!("{request} is answered {answer}"))
        }
    }

    /// A request whose failure is the verdict.
    fn done(&mut self, request: Value) -> Result<Result<Value, Verdict>, String> {
        let answer = self.ask(request)?;
        let said = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
        Ok(if answer["ok"] == true { Ok(answer) } else { Err(Verdict::Failed(said("kind"), said("error"))) })
    }

    fn case(&mut self, case: &Path, meta: &Value) -> Result<Verdict, String> {
        let load = json!({"op": "load", "path": case.join("model.mlpackage"), "function": meta["function"]});
        let model = match self.done(load)? {
            Ok(answer) => answer["model"].clone(),
            Err(verdict) => return Ok(verdict),
        };
        let verdict = self.steps(case, meta, &model)?.unwrap_or_else(|failed| failed);
        self.ask(json!({"op": "free", "model": model}))?;
        Ok(verdict)
    }

    fn steps(
        &mut self,
        case: &Path,
        meta: &Value,
        model: &Value,
    ) -> Result<Result<Verdict, Verdict>, String> {
        let mut state = Value::Null;
        if meta["stateful"] == true {
            match self.done(json!({"op": "new_state", "model": model}))? {
                Ok(answer) => state = answer["state"].clone(),
                Err(failed) => return Ok(Err(failed)),
            }
        }
        let mut worst = Verdict::Strict;
        for step in 0..meta["steps"].as_u64().unwrap_or(1) {
            let suffix = if step == 0 { String::new() } else { format!(".{step}") };
            let inputs = case.join(format!("inputs{suffix}.safetensors"));
            let inputs = if inputs.exists() { json!(inputs) } else { Value::Null };
            let outputs = self.folder.path().join("outputs");
            let request = json!({"op": "predict", "model": model, "inputs": inputs, "outputs": outputs, "state": state});
            let answer = match self.done(request)? {
                Ok(answer) => answer,
                Err(failed) => return Ok(Err(failed)),
            };
            let (found, expected) =
                (arrays(&outputs)?, arrays(&case.join(format!("expected{suffix}.safetensors")))?);
            match compare(&found, &expected, &answer, meta)? {
                Ok(Verdict::Tolerance) => worst = Verdict::Tolerance,
                Ok(_) => {}
                Err(failed) => return Ok(Err(failed)),
            }
        }
        Ok(Ok(worst))
    }

    /// Closes stdin; the process must end with status 0.
    fn end(self) -> Result<(), String> {
        let Client { mut child, to, .. } = self;
        drop(to);
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("serve ended with {status}")) }
    }
}

fn compare(
    found: &BTreeMap<String, Tensor>,
    expected: &BTreeMap<String, Tensor>,
    answer: &Value,
    meta: &Value,
) -> Result<Result<Verdict, Verdict>, String> {
    let mut verdict = Verdict::Strict;
    for (name, wanted) in expected {
        let Some(actual) = found.get(name) else { return Ok(wrong(format!("no output {name}"))) };
        if meta["compare_shapes"] == true && actual.shape() != wanted.shape() {
            let why = format!("{name} has shape {:?}, expected {:?}", actual.shape(), wanted.shape());
            return Ok(wrong(why));
        }
        let allowed = meta["mismatch_ratio"].as_f64().unwrap_or(0.0);
        let (share, worst) = outside(actual, wanted, &meta["tolerance"])?;
        if share > allowed {
            return Ok(wrong(format!("{name}: {worst}")));
        }
        if outside(actual, wanted, &meta["strict"])?.0 > allowed {
            verdict = Verdict::Tolerance;
        }
    }
    if meta["labels"].is_object() && answer["labels"] != meta["labels"] {
        return Ok(wrong(format!("labels are {}, expected {}", answer["labels"], meta["labels"])));
    }
    for (name, wanted) in meta["dicts"].as_object().into_iter().flatten() {
        if !probabilities_agree(&answer["dicts"][name], wanted, &meta["tolerance"]) {
            return Ok(wrong(format!("{name} is {}, expected {wanted}", answer["dicts"][name])));
        }
    }
    Ok(Ok(verdict))
}

/// True when both have the same keys, in whatever order, and each probability is within the tolerance.
fn probabilities_agree(found: &Value, wanted: &Value, tolerance: &Value) -> bool {
    let (Some(found), Some(wanted)) = (found.as_array(), wanted.as_array()) else { return false };
    let limit =
        |v: f64| tolerance["atol"].as_f64().unwrap_or(0.0) + tolerance["rtol"].as_f64().unwrap_or(0.0) * v;
    let close = |w: &Value| {
        let same = found.iter().find(|f| f[0] == w[0]).and_then(|f| f[1].as_f64());
        same.zip(w[1].as_f64()).is_some_and(|(f, w)| (f - w).abs() <= limit(w.abs()))
    };
    found.len() == wanted.len() && wanted.iter().all(close)
}
