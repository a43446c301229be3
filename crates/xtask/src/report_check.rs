//! Works pages of `anemone report` in headless Chromium.
//!
//! A script (`crates/xtask/browser/report.js`) is put behind each page; it presses keys, filters, folds and zooms, and
//! writes what it saw into the page, which Chromium prints when it is done.

use crate::Outcome;
use crate::place::{cargo, repository, run, target};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Collects what the page reports before anything else runs.
const WATCH: &str = "<script>window.reportErrors = [];\
    addEventListener(\"error\", e => reportErrors.push(e.message));\
    addEventListener(\"securitypolicyviolation\", e => reportErrors.push(`${e.violatedDirective}: ${e.blockedURI}`));\
    console.error = console.warn = (...all) => reportErrors.push(all.join(\" \"));</script>";

/// Windows that pages are opened in.
const WINDOWS: [&str; 2] = ["1440,900", "500,900"];

/// The task.
///
/// # Errors
/// When there is no Chromium, or a page cannot be made or opened.
pub fn run_task(_: &[String]) -> Result<Outcome, String> {
    let browser = browser()?;
    let folder = target().join("report-check");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let script = repository().join("crates/xtask/browser/report.js");
    let script = std::fs::read_to_string(&script).map_err(|e| format!("{}: {e}", script.display()))?;
    let mut faults = 0;
    for model in models(&folder)? {
        let page = page(&folder, &model, &script)?;
        for window in WINDOWS {
            faults += check(browser, &page, window)?;
        }
    }
    Ok(Outcome::of(faults))
}

fn browser() -> Result<&'static str, String> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names
        .into_iter()
        .find(|n| Command::new(n).arg("--version").output().is_ok_and(|o| o.status.success()));
    found.ok_or_else(|| "there is no Chromium; on Debian, install the package chromium".to_owned())
}

/// A network of images, one of attention that is large and crosses units, and one op with hostile names.
fn models(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let package = folder.join("efficientnet-lite0.mlpackage");
    run(anemone()
        .args(["convert", "examples/efficientnet-lite0.onnx", "--no-check", "-o"])
        .arg(&package)
        .stdout(std::process::Stdio::null()))?;
    let written = [("large.mil", large(230)), ("hostile.mil", hostile())];
    let mut models = vec![package];
    for (name, text) in written {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        models.push(path);
    }
    Ok(models)
}

fn anemone() -> Command {
    let mut command = cargo();
    command.args(["run", "--quiet", "-p", "anemone-cli", "--"]);
    command
}

/// Layers of ten ops, every fiftieth of them with an op that no ANE takes.
fn large(layers: usize) -> String {
    let mut text = String::from("program(1.3)\n{\n    func main<ios17>(tensor<fp16, [1, 64, 64]> x0) {\n");
    let mut op = |name: String, call: String| {
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "        tensor<fp16, [1, 64, 64]> {name} = {call}[name = string(\"{name}\")];");
    };
    for i in 0..layers {
        for branch in ["q", "k", "v"] {
            op(format!("{branch}{i}"), format!("relu(x = x{i})"));
            op(format!("{branch}t{i}"), format!("tanh(x = {branch}{i})"));
        }
        op(format!("s{i}"), format!("mul(x = qt{i}, y = kt{i})"));
        op(format!("m{i}"), format!("mul(x = s{i}, y = vt{i})"));
        op(format!("u{i}"), format!("{}(x = m{i})", if i % 50 == 49 { "sinh" } else { "exp" }));
        op(format!("x{}", i + 1), format!("add(x = x{i}, y = u{i})"));
    }
    let _ = write!(text, "    }} -> (x{layers});\n}}\n");
    text
}

fn hostile() -> String {
    let name = "</script><script>console.error(1)</script><!--<img src=x onerror=console.error(2)>&quot;";
    format!(
        "program(1.3)\n{{\n    func main<ios17>(tensor<fp16, [1, 8]> x) {{\n        tensor<fp16, [1, 8]> a = \
         made_up(x = x, text = string(\"{name}\"))[name = string(\"{name}\")];\n    }} -> (a);\n}}\n"
    )
}

/// The page of a model, with the watch before it and the script behind it; the policy stays as it is.
fn page(folder: &Path, model: &Path, script: &str) -> Result<PathBuf, String> {
    let path = folder.join(model.file_stem().unwrap_or_default()).with_extension("html");
    run(anemone().arg("report").arg(model).arg("-o").arg(&path).stdout(std::process::Stdio::null()))?;
    let page = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let page = page.replacen("<title>", &format!("{WATCH}<title>"), 1);
    let page = page.replacen("</body>", &format!("<script>{script}</script></body>"), 1);
    std::fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// Opens a page and counts what does not hold.
fn check(browser: &str, page: &Path, window: &str) -> Result<usize, String> {
    let profile = target().join("report-check/profile");
    let _ = std::fs::remove_dir_all(&profile);
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--window-size={window}"))
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .map_err(|e| format!("cannot run {browser}: {e}"))?;
    let dom = String::from_utf8_lossy(&output.stdout);
    let name = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some((_, rest)) = dom.split_once("<pre id=\"report-check\">") else {
        return Err(format!(
            "{name}: the script did not end; Chromium says:\n{}",
            String::from_utf8_lossy(&output.stderr)
        ));
    };
    let json = rest.split("</pre>").next().unwrap_or_default();
    let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&");
    let seen: Vec<(String, bool, String)> =
        serde_json::from_str(&json).map_err(|e| format!("{name}: {e}: {json}"))?;
    let faults: Vec<_> = seen.iter().filter(|s| !s.1).collect();
    println!("{name} in {window}: {} of {} hold", seen.len() - faults.len(), seen.len());
    for (what, _, found) in &faults {
        println!("  does not hold: {what}: {found}");
    }
    Ok(faults.len())
}
