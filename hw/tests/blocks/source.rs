//! What blocks say of themselves in their sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The sections of a block, in order.
pub const SECTIONS: [&str; 7] =
    ["Purpose", "Interface", "Timing", "Numeric contract", "Cost", "Verification", "Example"];

/// A block's documentation.
pub struct Block {
    /// Below `hw/src`: file, and the path of its page.
    pub file: String,
    pub path: String,
    /// First line: name and meaning.
    pub name: String,
    pub meaning: String,
    /// What stands between that and the first section.
    pub head: String,
    /// Heading and text.
    pub sections: Vec<(String, String)>,
    /// Public structs that the source defines.
    pub types: Vec<String>,
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(path);
        }
    }
}

/// All blocks, by path.
pub fn blocks() -> Vec<Block> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    let found = paths.iter().filter_map(|path| {
        let file = path.strip_prefix(&source).unwrap().to_str().unwrap().to_owned();
        read(file, &fs::read_to_string(path).unwrap())
    });
    // A module's page lies in its folder's place.
    let by_path: BTreeMap<String, Block> = found.map(|block| (block.path.clone(), block)).collect();
    by_path.into_values().collect()
}

fn read(file: String, text: &str) -> Option<Block> {
    let documentation: Vec<&str> = text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line[3..].strip_prefix(' ').unwrap_or(&line[3..]))
        .collect();
    documentation.contains(&"# Purpose").then_some(())?;
    let (name, meaning) = documentation[0].split_once(": ")?;
    let mut sections: Vec<(String, String)> = vec![(String::new(), String::new())];
    let mut in_code = false;
    for line in &documentation[1..] {
        in_code ^= line.starts_with("```");
        match line.strip_prefix("# ") {
            // What rustdoc hides.
            Some(_) if in_code => {}
            Some(heading) => sections.push((heading.to_owned(), String::new())),
            None => {
                let text = &mut sections.last_mut().unwrap().1;
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    let head = sections.remove(0).1.trim().to_owned();
    let types = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub struct "))
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
    let (name, meaning) = (name.to_owned(), meaning.to_owned());
    Some(Block { path, name, meaning, head, sections, types: types.collect(), file })
}
