//! The table of faults: every block has one, every kind occurs, the page is current.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_rtl::FaultKind;
use fastcar_tests::TestResult;
use fastcar_tests::mutants::{mutants, page};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The blocks, by their pages.
fn blocks(folder: &Path, prefix: &str, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_stem().unwrap().to_str().unwrap());
        if path.is_dir() {
            blocks(&path, &format!("{name}/"), out);
        } else if name != "README" {
            out.insert(name);
        }
    }
}

#[test]
fn every_block_has_a_mutant() -> TestResult {
    let mut pages = BTreeSet::new();
    blocks(&root().join("docs/blocks"), "", &mut pages);
    assert!(pages.len() > 50, "only {} blocks found", pages.len());
    let in_table: BTreeSet<String> = mutants()?.into_iter().map(|mutant| mutant.block).collect();
    let missing: Vec<_> = pages.difference(&in_table).collect();
    assert!(missing.is_empty(), "blocks without a mutant: {missing:?}");
    let strange: Vec<_> = in_table.difference(&pages).collect();
    assert!(strange.is_empty(), "no blocks: {strange:?}");
    Ok(())
}

#[test]
fn every_kind_occurs() -> TestResult {
    let mutants = mutants()?;
    for kind in FaultKind::ALL {
        let blocks = mutants.iter().filter(|mutant| mutant.fault.kind() == kind).count();
        assert!(blocks >= 5, "{kind} occurs in {blocks} blocks only");
    }
    Ok(())
}

#[test]
fn tests_exist() -> TestResult {
    let tests = root().join("tests/tests");
    for mutant in mutants()? {
        let (modules, function) = mutant.test.name.rsplit_once("::").unwrap_or(("", &mutant.test.name));
        let program = tests.join(&mutant.test.program);
        let below = program.join(modules.replace("::", "/"));
        let files = match modules {
            "" => vec![program.with_extension("rs"), program.join("main.rs")],
            _ => vec![below.with_extension("rs"), below.join("mod.rs")],
        };
        let text: String = files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect();
        assert!(text.contains(&format!("#[test]\nfn {function}()")), "{}: {}", mutant.block, mutant.test);
    }
    Ok(())
}

#[test]
fn the_page_is_current() -> TestResult {
    let path = root().join("docs/mutants.md");
    let text = page(&mutants()?);
    if std::env::var_os("FASTCAR_BLESS").is_some() {
        fs::write(&path, &text)?;
    }
    assert_eq!(fs::read_to_string(&path)?, text, "docs/mutants.md is out of date");
    Ok(())
}
