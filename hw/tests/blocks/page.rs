//! Pages in Markdown.

use super::BLESS;
use super::scenes::Scene;
use super::source::Block;
use super::wave::draw;
use std::fmt::Write;

/// What stands above the table of all blocks.
const ABOUT: &str = "\
# Blocks

A page for each block of `fastcar-hw`: what it is for, its ports, its cycles, its bits, what it costs, how it is tested. How blocks are written: [hw.md](../hw.md); how they are put together:
[core.md](../core.md). The diagrams below `Timing` are simulations of the block; those within its text are drawn by hand.
Values are hexadecimal. `~` before the number of a cycle: cycles before it are not drawn.
";

fn generated(from: &str) -> String {
    format!("<!-- Generated from {from}. To write it again: {BLESS} -->\n\n")
}

/// All blocks with their meaning, by folder.
pub fn index(blocks: &[Block]) -> String {
    let mut out = generated("hw/src");
    out.push_str(ABOUT);
    let mut folder = None;
    for block in blocks {
        let of = block.path.split_once('/').map_or(block.path.as_str(), |path| path.0);
        if folder != Some(of) {
            folder = Some(of);
            let _ = write!(out, "\n## `{of}`\n\n| block | meaning |\n|---|---|\n");
        }
        let meaning = linked(&block.meaning, block, blocks, "");
        let _ = writeln!(out, "| [{}]({}.md) | {meaning} |", block.name, block.path);
    }
    out
}

/// A block's page, with the simulations of it.
pub fn page(block: &Block, blocks: &[Block], scenes: &[&Scene]) -> String {
    let mut out = generated(&format!("hw/src/{}", block.file));
    let up = "../".repeat(block.path.matches('/').count());
    let text = |text: &str| linked(text, block, blocks, &up);
    let _ = writeln!(out, "# {}\n\n{}", block.name, text(&capital(&block.meaning)));
    if !block.head.is_empty() {
        let _ = writeln!(out, "\n{}", text(&block.head));
    }
    for (heading, body) in &block.sections {
        let _ = writeln!(out, "\n## {heading}\n\n{}", text(body.trim()));
        for scene in scenes.iter().filter(|_| heading == "Timing") {
            let _ = write!(out, "\nSimulated: {}\n\n```text\n{}```\n", scene.title, draw(scene));
        }
    }
    let _ = writeln!(out, "\nSource: [hw/src/{}]({up}../../hw/src/{})", block.file, block.file);
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Links between items of the code become links between pages, or code where there is no page; code without a language is Rust.
fn linked(text: &str, from: &Block, blocks: &[Block], up: &str) -> String {
    let mut in_code = false;
    let lines = text.lines().map(|line| {
        if let Some(language) = line.strip_prefix("```") {
            in_code = !in_code;
            return if in_code && language.is_empty() { "```rust".to_owned() } else { line.to_owned() };
        }
        if in_code { line.to_owned() } else { line_linked(line, from, blocks, up) }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn line_linked(mut line: &str, from: &Block, blocks: &[Block], up: &str) -> String {
    let mut out = String::new();
    while let Some((before, rest)) = line.split_once('[') {
        out.push_str(before);
        let Some((text, target, after)) = item_link(rest) else {
            out.push('[');
            line = rest;
            continue;
        };
        match page_of(target, from, blocks) {
            Some(page) => out.push_str(&format!("[{text}]({up}{page}.md)")),
            None => out.push_str(text),
        }
        line = after;
    }
    out + line
}

/// A link to an item of the code, behind its bracket: its text, the item, and what follows.
fn item_link(rest: &str) -> Option<(&str, &str, &str)> {
    let (text, after) = rest.split_once(']')?;
    let code = text.strip_prefix('`').and_then(|text| text.strip_suffix('`'));
    match after.strip_prefix('(').and_then(|after| after.split_once(')')) {
        Some((target, after)) => {
            let is_item = target.chars().all(|c| c.is_alphanumeric() || "_:@".contains(c));
            is_item.then_some((text, target, after))
        }
        None => Some((text, code?, after)),
    }
}

/// The page of the block that defines a type: in the folder that the path names, or in the block's own.
fn page_of<'a>(target: &str, from: &Block, blocks: &'a [Block]) -> Option<&'a str> {
    let parts: Vec<&str> = target.split("::").collect();
    let folder = match parts.as_slice() {
        ["crate", folder, ..] => folder,
        [library, ..] if library.starts_with("fastcar_") || *library == "std" => return None,
        _ => from.path.split('/').next()?,
    };
    let defines = |block: &&Block| {
        let in_folder = block.path == *folder || block.path.starts_with(&format!("{folder}/"));
        in_folder && block.types.iter().any(|name| parts.contains(&name.as_str()))
    };
    let found = blocks.iter().find(defines)?;
    (found.path != from.path).then_some(found.path.as_str())
}
