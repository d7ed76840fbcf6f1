//! Published measurements, and the page that compares them with ours.

use crate::measure::{comparisons, table};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/memory-model.md");
const BEGIN: &str = "<!-- comparison: generated -->\n";
const END: &str = "<!-- end of comparison -->\n";

#[test]
fn measurements_agree_with_published_ones() {
    let rows = comparisons().expect("measurements");
    for row in &rows {
        assert!(
            row.agrees.contains(&row.ours),
            "{}: {} {}, not in {:?}",
            row.what,
            row.ours,
            row.unit,
            row.agrees
        );
    }
    check_page(&table(&rows));
}

/// The page holds the table as it is now; with `FASTCAR_BLESS` set, it is written.
fn check_page(table: &str) {
    let page = std::fs::read_to_string(PAGE).expect("docs/memory-model.md");
    let (before, rest) = page.split_once(BEGIN).expect("where the table begins");
    let (found, after) = rest.split_once(END).expect("where the table ends");
    if std::env::var_os("FASTCAR_BLESS").is_some() {
        std::fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}"))
            .expect("docs/memory-model.md written");
    } else {
        assert_eq!(found, table, "docs/memory-model.md is out of date: run this test with FASTCAR_BLESS=1");
    }
}
