//! The documentation says only true things: links resolve, named tests and paths exist, commands are those of the
//! program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn files(dir: &Path, extension: &str, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !matches!(name, "target" | ".git" | "out" | "artifacts") {
            files(&path, extension, out);
        } else if path.extension().is_some_and(|e| e == extension) {
            out.push(path);
        }
    }
}

fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    files(&root(), "md", &mut paths);
    paths.into_iter().map(|p| (p.clone(), std::fs::read_to_string(p).unwrap())).collect()
}

/// Targets of `](...)` links.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn links_resolve() {
    let mut checked = 0;
    for (page, text) in pages() {
        for link in links(&text).filter(|l| !l.contains("://") && !l.starts_with('#')) {
            let target = page.parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{}: link to {link} leads nowhere", page.display());
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} links found");
}

/// Every `fn name` of the workspace's Rust files.
fn functions() -> BTreeSet<String> {
    let mut paths = Vec::new();
    files(&root(), "rs", &mut paths);
    let texts: Vec<String> = paths.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect();
    let name = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    texts.iter().flat_map(|t| t.split("fn ").skip(1).map(name)).collect()
}

/// Rows of the testpoint table: testpoint, what it shows, `file::test` names.
fn testpoints() -> Vec<(String, Vec<String>)> {
    let text = std::fs::read_to_string(root().join("docs/verification.md")).unwrap();
    let rows = text.lines().filter(|l| l.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let names =
            cells[cells.len() - 1].split(',').map(|n| n.trim().trim_matches('`').to_owned()).collect();
        (cells[0].trim_matches('`').to_owned(), names)
    })
    .collect()
}

#[test]
fn testpoints_name_tests_that_exist() {
    let (functions, points) = (functions(), testpoints());
    assert!(points.len() >= 20, "only {} testpoints found", points.len());
    for (point, tests) in &points {
        for test in tests {
            let (file, name) =
                test.split_once("::").unwrap_or_else(|| panic!("{point}: '{test}' is not file::test"));
            assert!(root().join(file).exists(), "{point}: {file} does not exist");
            assert!(functions.contains(name), "{point}: no test is named {name}");
            let text = std::fs::read_to_string(root().join(file)).unwrap();
            assert!(text.contains(&format!("fn {name}")), "{point}: {name} is not in {file}");
        }
    }
    let unique: BTreeSet<&String> = points.iter().map(|p| &p.0).collect();
    assert_eq!(unique.len(), points.len(), "a testpoint stands twice");
}

#[test]
fn every_command_has_a_testpoint() {
    let points: BTreeSet<String> = testpoints().into_iter().map(|p| p.0).collect();
    for command in fastcar_arch::isa::Command::TABLE.iter().filter(|c| c.mnemonic != "end") {
        let wanted = format!("isa.{}", command.mnemonic);
        assert!(points.contains(&wanted), "docs/verification.md has no testpoint {wanted}");
    }
}

#[test]
fn decisions_are_numbered_and_listed() {
    let mut names: Vec<String> = std::fs::read_dir(root().join("docs/decisions"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n != "README.md")
        .collect();
    names.sort();
    let index = std::fs::read_to_string(root().join("docs/decisions/README.md")).unwrap();
    for (i, name) in names.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}-", i + 1)), "{name} breaks the numbering");
        assert!(index.contains(&format!("]({name})")), "{name} is not in the index");
    }
}

/// The guides show the examples as they are.
#[test]
fn the_guide_shows_the_examples() {
    for (page, language, file) in [
        ("docs/host-guide.md", "rust", "host/examples/decode.rs"),
        ("docs/host-guide.md", "c", "tests/clients/c/decode.c"),
        ("docs/host-guide.md", "python", "tests/clients/python/decode_step.py"),
        ("docs/sessions.md", "rust", "host/examples/serve.rs"),
    ] {
        let guide = std::fs::read_to_string(root().join(page)).unwrap();
        let example = std::fs::read_to_string(root().join(file)).unwrap();
        let block = guide.split(&format!("```{language}\n")).nth(1).unwrap();
        let code = block.split("```").next().unwrap();
        // A Rust program's head comment is for its reader only.
        assert!(code.lines().count() > 30 && example.ends_with(code), "{page} differs from {file}");
    }
}

/// What the troubleshooting table quotes is what the programs say.
#[test]
fn errors_in_the_troubleshooting_table_exist() {
    let page = std::fs::read_to_string(root().join("docs/simulator-to-card.md")).unwrap();
    let mut paths = Vec::new();
    files(&root().join("host"), "rs", &mut paths);
    // A message may be broken over lines.
    let text = |path: &PathBuf| std::fs::read_to_string(path).unwrap().replace("\\\n", "");
    let sources: String = paths.iter().map(text).collect();
    let sources = sources.split_whitespace().collect::<Vec<_>>().join(" ");
    let table = page.split("| the error says |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|l| l.starts_with("| `"));
    let quotes: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert!(quotes.len() >= 15, "only {} errors found", quotes.len());
    for quote in quotes {
        assert!(sources.contains(quote), "no program says '{quote}'");
    }
}
