//! Folders that the kernel is generated in: new, generated before, with files of others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_hw::generate::{Existing, GenerateError, MANIFEST, Manifest, Progress, generate};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn tiny() -> AccelConfig {
    AccelConfig::preset("tiny").unwrap()
}

/// A configuration whose modules have other names.
fn other() -> AccelConfig {
    AccelConfig::new(ConfigFields { name: "other".to_owned(), slots: 6, ..tiny().fields().clone() }).unwrap()
}

fn run(config: &AccelConfig, folder: &Path, existing: Existing) -> Result<Manifest, GenerateError> {
    generate(config, folder, existing, &mut |_| ControlFlow::Continue(()))
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entry = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        let bytes = if entry.path().is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        (entry.file_name().into_string().unwrap(), bytes)
    };
    fs::read_dir(folder).unwrap().map(entry).collect()
}

/// The folder beside and within which nothing else may be left.
fn names(parent: &Path) -> Vec<String> {
    contents(parent).into_keys().collect()
}

#[test]
fn a_new_folder_appears_whole() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("a/b");
    let mut steps = Vec::new();
    let manifest = generate(&tiny(), &folder, Existing::Keep, &mut |step| {
        assert!(!folder.exists());
        steps.push(step);
        ControlFlow::Continue(())
    })?;
    let total = manifest.files.len() + 1;
    assert_eq!(contents(&folder).len(), total);
    assert_eq!(steps[0], Progress::Building);
    let writing: Vec<Progress> = (0..=total).map(|done| Progress::Writing { done, total }).collect();
    assert_eq!(steps[1..], writing);
    assert_eq!(names(&parent.path().join("a")), ["b"]);
    Ok(())
}

#[test]
fn what_was_generated_is_generated_again() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("kernel");
    fs::create_dir(&folder)?;
    run(&tiny(), &folder, Existing::Keep)?;
    let first = contents(&folder);
    // Into an empty folder, over itself, and from there to another configuration, whose files alone are left.
    run(&tiny(), &folder, Existing::Keep)?;
    assert!(contents(&folder) == first);
    let manifest = run(&other(), &folder, Existing::Keep)?;
    let mut expected: Vec<String> = manifest.files.into_iter().map(|file| file.name).collect();
    expected.push(MANIFEST.to_owned());
    expected.sort_unstable();
    assert_eq!(names(&folder), expected);
    assert!(expected.iter().any(|name| !first.contains_key(name)));
    run(&tiny(), &folder, Existing::Keep)?;
    assert!(contents(&folder) == first);
    Ok(())
}

/// A refusal with these parts, after which the folder is as before.
fn refused(folder: &Path, existing: Existing, parts: &[&str]) {
    let before = contents(folder);
    let error = run(&tiny(), folder, existing).unwrap_err().to_string();
    assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    assert!(contents(folder) == before);
}

#[test]
fn files_of_others_stay() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("kernel");
    run(&other(), &folder, Existing::Keep)?;
    let before = names(&folder);
    fs::write(folder.join("notes.txt"), "mine")?;
    fs::create_dir(folder.join("work"))?;
    refused(&folder, Existing::Keep, &["kernel holds notes.txt", "--force"]);
    let manifest = run(&tiny(), &folder, Existing::Replace)?;
    let after = contents(&folder);
    assert_eq!(after["notes.txt"], b"mine");
    let mut expected: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    expected.extend([MANIFEST, "notes.txt", "work"]);
    expected.sort_unstable();
    assert_eq!(after.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(before.iter().any(|name| !after.contains_key(name)), "nothing was to be removed");
    Ok(())
}

#[test]
fn changed_files_are_replaced_only_when_told() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("kernel");
    run(&tiny(), &folder, Existing::Keep)?;
    let first = contents(&folder);
    let mut text = first["fastcar.v"].clone();
    text[0] = b'#';
    fs::write(folder.join("fastcar.v"), &text)?;
    refused(&folder, Existing::Keep, &["holds fastcar.v", "has changed since"]);
    run(&tiny(), &folder, Existing::Replace)?;
    assert!(contents(&folder) == first);
    // A file that is gone is no reason to refuse.
    fs::remove_file(folder.join("fastcar.v"))?;
    run(&tiny(), &folder, Existing::Keep)?;
    assert!(contents(&folder) == first);
    Ok(())
}

#[test]
fn files_in_the_way_are_not_replaced() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder = parent.path();
    fs::write(folder.join("kernel.xml"), "mine")?;
    refused(folder, Existing::Keep, &["holds kernel.xml"]);
    refused(folder, Existing::Replace, &["kernel.xml is in the way", "move it"]);
    // A manifest that is none lists nothing, and is itself in the way.
    fs::remove_file(folder.join("kernel.xml"))?;
    for text in ["", "{}", "{\"format\": 99, \"files\": []}", "[1, 2"] {
        fs::write(folder.join(MANIFEST), text)?;
        refused(folder, Existing::Keep, &["holds manifest.json"]);
        refused(folder, Existing::Replace, &["manifest.json is in the way"]);
    }
    Ok(())
}

/// A manifest cannot point out of its folder, and a link is no generated file.
#[test]
fn a_manifest_reaches_no_other_folder() -> TestResult {
    let parent = tempfile::tempdir()?;
    let (folder, outside) = (parent.path().join("kernel"), parent.path().join("outside.txt"));
    fs::write(&outside, "mine")?;
    fs::create_dir(&folder)?;
    let hash = "0".repeat(64);
    let listed: Vec<String> = ["../outside.txt", "link.v", outside.to_str().unwrap()]
        .map(|name| format!("{{\"name\": \"{name}\", \"bytes\": 4, \"sha256\": \"{hash}\"}}"))
        .into();
    fs::write(folder.join(MANIFEST), format!("{{\"format\": 1, \"files\": [{}]}}", listed.join(", ")))?;
    std::os::unix::fs::symlink(&outside, folder.join("link.v"))?;
    refused(&folder, Existing::Keep, &["holds link.v"]);
    run(&tiny(), &folder, Existing::Replace)?;
    assert_eq!(fs::read_to_string(&outside)?, "mine");
    assert!(folder.join("link.v").is_symlink());
    Ok(())
}

/// An interrupted replacement leaves new files under an old manifest: the next one goes on from there when told to.
#[test]
fn an_interrupted_generation_is_completed() -> TestResult {
    let parent = tempfile::tempdir()?;
    let (folder, whole) = (parent.path().join("kernel"), parent.path().join("whole"));
    run(&other(), &folder, Existing::Keep)?;
    run(&tiny(), &whole, Existing::Keep)?;
    for name in names(&whole).iter().filter(|name| *name != MANIFEST).take(40) {
        fs::copy(whole.join(name), folder.join(name))?;
    }
    refused(&folder, Existing::Keep, &["--force"]);
    run(&tiny(), &folder, Existing::Replace)?;
    assert!(contents(&folder) == contents(&whole));
    Ok(())
}

#[test]
fn a_stopped_generation_leaves_nothing() -> TestResult {
    let parent = tempfile::tempdir()?;
    let folder = parent.path().join("kernel");
    let stop_at = |steps: usize, folder: &Path| {
        let mut left = steps;
        let error = generate(&tiny(), folder, Existing::Replace, &mut |_| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(error, Err(GenerateError::Stopped { .. })), "{error:?}");
    };
    for steps in [1, 2, 50] {
        stop_at(steps, &folder);
        assert_eq!(names(parent.path()), [""; 0]);
    }
    fs::create_dir(&folder)?;
    fs::write(folder.join("notes.txt"), "mine")?;
    stop_at(50, &folder);
    assert_eq!(names(&folder), ["notes.txt"]);
    Ok(())
}

#[test]
fn folders_that_cannot_be_written() -> TestResult {
    let parent = tempfile::tempdir()?;
    let file = parent.path().join("file");
    fs::write(&file, "mine")?;
    let error = |folder: &Path| run(&tiny(), folder, Existing::Replace).unwrap_err().to_string();
    let text = error(&file);
    assert!(text.contains("file: it is no folder; name another with --out"), "{text}");
    let text = error(&file.join("kernel"));
    assert!(text.contains("file/kernel") && text.contains("Not a directory"), "{text}");
    let text = error(Path::new("/proc/fastcar/kernel"));
    assert!(text.contains("cannot make /proc/fastcar") && text.contains("name another"), "{text}");
    assert_eq!(names(parent.path()), ["file"]);
    Ok(())
}

#[test]
fn a_machine_that_cannot_be_built_is_refused() {
    let fields = tiny().fields().clone();
    let config = ConfigFields { vector_lanes: 1, name: "narrow".to_owned(), ..fields };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("kernel");
    let error = run(&AccelConfig::new(config).unwrap(), &folder, Existing::Keep).unwrap_err().to_string();
    assert!(error.contains("'narrow' cannot be built: ") && error.contains("lanes is 1"), "{error}");
    assert!(names(parent.path()).is_empty());
}
