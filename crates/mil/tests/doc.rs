//! Every example of `docs/mil.md` is MIL text.

use anemone_mil::text::{ConstOrder, PrintOptions, parse, print};
use anemone_mil::{Level, Program, difference, verify};

const PAGE: &str = include_str!("../../../docs/mil.md");

/// The fenced blocks of that language, each with its line number in the page.
fn blocks(language: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = None;
    for (i, line) in PAGE.lines().enumerate() {
        match (line.strip_prefix("```"), &inside) {
            (Some(name), None) => {
                inside = Some(name.to_owned());
                if name == language {
                    found.push((i + 1, String::new()));
                }
            }
            (Some(_), Some(_)) => inside = None,
            (None, Some(name)) if name == language => {
                if let Some((_, text)) = found.last_mut() {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            _ => {}
        }
    }
    found
}

fn read(line: usize, text: &str) -> Program {
    parse(text, &|_, _, _| None).unwrap_or_else(|e| panic!("docs/mil.md:{line}: {e}"))
}

#[test]
fn whole_programs_print_back_as_they_stand() {
    let programs = blocks("mil");
    assert!(programs.len() >= 5);
    for (line, text) in programs {
        let program = read(line, &text);
        assert_eq!(print(&program, &PrintOptions::default()), text.trim_end(), "docs/mil.md:{line}");
        verify(&program, Level::Imported).unwrap_or_else(|e| panic!("docs/mil.md:{line}: {e}"));
    }
}

#[test]
fn statements_parse_verify_and_come_back() {
    let bodies = blocks("mil-body");
    assert!(bodies.len() >= 5);
    for (line, text) in bodies {
        let whole = format!("program(1.3){{func main<ios18>(tensor<fp16, [1, 4]> x) {{{text}}} -> (x);}}");
        let program = read(line, &whole);
        verify(&program, Level::Imported).unwrap_or_else(|e| panic!("docs/mil.md:{line}: {e}"));
        let options = PrintOptions { order: ConstOrder::AsMade, ..PrintOptions::default() };
        assert_eq!(difference(&program, &read(line, &print(&program, &options))), None, "docs/mil.md:{line}");
    }
}
