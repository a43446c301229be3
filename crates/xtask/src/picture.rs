//! `cargo xtask picture`: the README's terminal picture, drawn from what the command really prints.

use crate::Outcome;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// Pixels per character and per line at a font size of 14.
const CELL: (f64, f64) = (8.43, 18.0);

/// Runs command 1 of the README on the example and draws its output as `docs/convert.svg`.
pub fn run_task(_: &[String]) -> Result<Outcome, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::temp_dir().join(format!("anemone-picture-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let text = converted(&root, &folder);
    std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let lines = "$ cargo run --release -- convert examples/efficientnet-lite0.onnx\n".to_owned() + &text?;
    let target = root.join("docs/convert.svg");
    std::fs::write(&target, svg(&lines)).map_err(|e| format!("{}: {e}", target.display()))?;
    println!("wrote docs/convert.svg, {} lines", lines.lines().count());
    Ok(Outcome::Clean)
}

fn converted(root: &Path, folder: &Path) -> Result<String, String> {
    let examples = folder.join("examples");
    std::fs::create_dir_all(&examples).map_err(|e| e.to_string())?;
    let model = "examples/efficientnet-lite0.onnx";
    std::fs::copy(root.join(model), folder.join(model)).map_err(|e| e.to_string())?;
    let manifest = root.join("Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--release", "--package", "anemone-cli", "--manifest-path"])
        .arg(manifest)
        .args(["--", "convert", model])
        .env("CLICOLOR_FORCE", "1")
        .current_dir(folder)
        .output()
        .map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Text with ANSI styles as a picture of a terminal.
fn svg(text: &str) -> String {
    let plain = |line: &str| spans(line).iter().map(|(_, t)| t.chars().count()).sum::<usize>();
    let columns = text.lines().map(plain).max().unwrap_or(0);
    let (width, height) = (columns as f64 * CELL.0 + 32.0, text.lines().count() as f64 * CELL.1 + 32.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#11161d\"/>\n"
    );
    for (i, line) in text.lines().enumerate() {
        let y = 30.0 + i as f64 * CELL.1;
        let mut column = 0;
        for (style, part) in spans(line) {
            let x = 16.0 + column as f64 * CELL.0;
            let length = part.chars().count();
            column += length;
            if part.trim().is_empty() {
                continue;
            }
            let wide = length as f64 * CELL.0;
            let part = part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{wide:.1}\" xml:space=\"preserve\" {style}>{part}</text>"
            );
        }
    }
    out + "</svg>\n"
}

/// A line in parts of one style.
fn spans(line: &str) -> Vec<(&'static str, String)> {
    let mut parts = line.split('\u{1b}');
    let mut out = vec![(style(""), parts.next().unwrap_or_default().to_owned())];
    for part in parts {
        let (code, text) = part.trim_start_matches('[').split_once('m').unwrap_or(("", part));
        out.push((style(code), text.to_owned()));
    }
    out
}

fn style(code: &str) -> &'static str {
    match code {
        "1" => "fill=\"#f0f6fc\" font-weight=\"bold\"",
        "2" => "fill=\"#7d8896\"",
        "32" => "fill=\"#56d364\"",
        "33" => "fill=\"#e3b341\"",
        _ => "fill=\"#c9d1d9\"",
    }
}
