//! The page: one file of HTML with its style, its script and its data.

use crate::json;
use anemone::Error;

const FRAME: &str = include_str!("../../../assets/report/page.html");
const STYLE: &str = include_str!("../../../assets/report/style.css");
const SCRIPTS: [&str; 4] = [
    include_str!("../../../assets/report/base.js"),
    include_str!("../../../assets/report/graph.js"),
    include_str!("../../../assets/report/timeline.js"),
    include_str!("../../../assets/report/page.js"),
];

/// The page that shows a report.
///
/// # Errors
/// When the data is no JSON, which it always is.
pub(super) fn page(data: &json::Report) -> Result<String, Error> {
    let data = serde_json::to_string(data).map_err(Error::from_cause)?;
    let script = format!("\"use strict\";\n(() => {{\n{}}})();\n", SCRIPTS.concat());
    let mut page = String::with_capacity(FRAME.len() + STYLE.len() + script.len() + data.len() + 4096);
    let mut rest = FRAME;
    for (mark, part) in [("{{style}}", STYLE), ("{{data}}", &*inert(&data)), ("{{script}}", &*script)] {
        let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
        page.push_str(before);
        page.push_str(part);
        rest = after;
    }
    page.push_str(rest);
    Ok(page)
}

/// JSON that means the same and cannot end its element: `<`, `>` and `&` occur in its strings alone.
fn inert(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    for c in json.chars() {
        match c {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_a_model_ends_the_element_that_holds_it() {
        let text = "</script><script>alert(1)</script><!-- & \u{2028}";
        let json = serde_json::to_string(&[text]).expect("JSON");
        let inert = inert(&json);
        assert!(!inert.contains(['<', '>', '&', '\u{2028}']), "{inert}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&inert).expect("JSON still"), [text]);
    }
}
