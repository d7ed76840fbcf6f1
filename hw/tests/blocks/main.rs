//! `docs/blocks`: a page for each block, from the sections in its source and from simulations of it. `FASTCAR_BLESS=1` writes them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod page;
mod scenes;
mod source;
mod wave;

use page::{index, page};
use scenes::scenes;
use source::{Block, SECTIONS, blocks};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// How to write the pages again, as they say in their heads.
pub const BLESS: &str = "FASTCAR_BLESS=1 cargo test -p fastcar-hw --test blocks";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every page by its path below `docs/blocks`.
fn pages(blocks: &[Block]) -> BTreeMap<String, String> {
    let scenes = scenes();
    let waves = |block: &Block| scenes.iter().filter(|scene| scene.block == block.path).collect::<Vec<_>>();
    let mut pages: BTreeMap<String, String> = blocks
        .iter()
        .map(|block| (format!("{}.md", block.path), page(block, blocks, &waves(block))))
        .collect();
    pages.insert("README.md".to_owned(), index(blocks));
    pages
}

/// Markdown files below a folder, by their path in it.
fn committed(folder: &Path, prefix: &str, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            committed(&entry.path(), &format!("{name}/"), out);
        } else {
            out.insert(name);
        }
    }
}

#[test]
fn pages_are_up_to_date() {
    let (folder, pages) = (root().join("docs/blocks"), pages(&blocks()));
    let mut there = BTreeSet::new();
    committed(&folder, "", &mut there);
    if std::env::var_os("FASTCAR_BLESS").is_some() {
        for (name, text) in &pages {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        there.iter().filter(|name| !pages.contains_key(*name)).for_each(|name| {
            fs::remove_file(folder.join(name)).unwrap();
        });
        return;
    }
    assert_eq!(there, pages.keys().cloned().collect(), "pages in docs/blocks; to write them: {BLESS}");
    for (name, text) in &pages {
        let found = fs::read_to_string(folder.join(name)).unwrap();
        assert!(found == *text, "docs/blocks/{name} is not what the source says; to write it again: {BLESS}");
    }
}

#[test]
fn every_block_has_the_sections_in_order() {
    let blocks = blocks();
    assert!(blocks.len() >= 80, "only {} blocks found", blocks.len());
    for block in &blocks {
        let names: Vec<&str> = block.sections.iter().map(|section| section.0.as_str()).collect();
        assert_eq!(names, SECTIONS, "hw/src/{}", block.file);
        let empty = block.sections.iter().find(|section| section.1.trim().is_empty());
        assert!(empty.is_none(), "hw/src/{}: nothing is said of {empty:?}", block.file);
    }
}

#[test]
fn scenes_belong_to_blocks() {
    let blocks = blocks();
    let paths: BTreeSet<&str> = blocks.iter().map(|block| block.path.as_str()).collect();
    let scenes = scenes();
    assert!(scenes.len() >= 10, "only {} scenes", scenes.len());
    for scene in scenes {
        assert!(paths.contains(scene.block), "no block is at {}", scene.block);
        assert!(wave::draw(&scene).lines().count() > 2, "{}: nothing is drawn", scene.title);
    }
}

/// Pages without a diagram: none may come to these.
const UNDRAWN: &[&str] = &[
    "array/feeder",
    "array/results",
    "array/sender",
    "array/share",
    "attn/attention",
    "attn/center",
    "attn/queries",
    "attn/scores",
    "attn/spans",
    "attn/sums",
    "attn/weights",
    "cmd/dispatch",
    "core",
    "core/control_reads",
    "core/report",
    "gate/keys",
    "gate/score",
    "gate/tas",
    "kernel",
    "pe/cluster",
    "port",
    "vec/unit",
    "vec/writes",
    "walk/appends",
    "walk/heads",
    "walk/lists",
    "walk/past",
    "walk/queue",
    "walk/records",
];

#[test]
fn blocks_have_a_diagram() {
    let (blocks, scenes) = (blocks(), scenes());
    let drawn = |block: &&Block| scenes.iter().any(|scene| scene.block == block.path);
    let without: Vec<&str> =
        blocks.iter().filter(|block| !drawn(block)).map(|block| block.path.as_str()).collect();
    assert_eq!(without, UNDRAWN, "blocks without a scene");
}
