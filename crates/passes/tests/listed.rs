//! The page of passes lists the pipelines as they are.

use anemone_passes::engine::ENGINE;
use anemone_passes::pipeline::{CANONICAL, Exactness, HALF, Pass};
use std::path::Path;

#[test]
fn the_page_lists_every_pass_in_order() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/passes.md");
    let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let row = |line: &str| -> Option<(String, String)> {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        Some((cells.first()?.strip_prefix('`')?.strip_suffix('`')?.to_owned(), (*cells.get(2)?).to_owned()))
    };
    let listed: Vec<(String, String)> = page.lines().filter_map(row).collect();
    let exactness = |p: &Pass| if p.exactness == Exactness::Identical { "exact" } else { "rounding" };
    let passes =
        CANONICAL.iter().chain(HALF).chain(ENGINE).map(|p| (p.name.to_owned(), exactness(p).to_owned()));
    assert_eq!(listed, passes.collect::<Vec<_>>());
}
