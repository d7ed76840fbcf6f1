//! The shape of the workspace: which crate may use which, and where `unsafe` may stand.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Crates of ours that each crate's normal dependencies may name.
fn allowed() -> BTreeMap<&'static str, Vec<&'static str>> {
    let all = vec![
        "fastcar-arch",
        "fastcar-golden",
        "fastcar-sim",
        "fastcar-icd",
        "fastcar-hw",
        "fastcar-rtl",
        "fastcar-xclbin",
        "fastcar-host",
    ];
    BTreeMap::from([
        ("hw/arch", vec![]),
        ("sim/golden", vec!["fastcar-arch"]),
        ("hw", vec!["fastcar-arch", "fastcar-xclbin"]),
        ("sim", vec!["fastcar-arch", "fastcar-golden"]),
        ("sim/icd", vec!["fastcar-arch", "fastcar-golden", "fastcar-rtl", "fastcar-sim", "fastcar-xclbin"]),
        ("sim/rtl", vec!["fastcar-arch", "fastcar-hw", "fastcar-sim"]),
        ("host/xclbin", vec!["fastcar-arch"]),
        ("host", vec!["fastcar-arch", "fastcar-golden", "fastcar-rtl", "fastcar-sim", "fastcar-xclbin"]),
        ("host/capi", vec!["fastcar-arch", "fastcar-host"]),
        ("host/cli", all.clone()),
        ("tests", all),
    ])
}

fn manifest(dir: &str) -> toml::Table {
    let path = root().join(dir).join("Cargo.toml");
    std::fs::read_to_string(&path).unwrap().parse().unwrap()
}

#[test]
fn dependency_arrows_point_down() {
    for (dir, allowed) in allowed() {
        let manifest = manifest(dir);
        for section in ["dependencies", "build-dependencies"] {
            let Some(dependencies) = manifest.get(section).and_then(|d| d.as_table()) else { continue };
            for name in dependencies.keys().filter(|n| n.starts_with("fastcar-")) {
                assert!(allowed.contains(&name.as_str()), "{dir} may not depend on {name}");
            }
        }
    }
}

#[test]
fn models_of_the_machine_are_optional_to_the_host() {
    let manifest = manifest("host");
    for model in ["fastcar-golden", "fastcar-sim", "fastcar-rtl"] {
        let optional = manifest["dependencies"][model].get("optional").and_then(toml::Value::as_bool);
        assert_eq!(optional, Some(true), "{model}");
    }
    let default = manifest["features"]["default"].as_array().unwrap();
    assert!(!default.iter().any(|feature| feature.as_str() == Some("rtl")), "{default:?}");
}

/// The demo's platform is built without it.
#[test]
fn the_hardware_is_optional_to_the_platform() {
    let manifest = manifest("sim/icd");
    let hardware = &manifest["dependencies"]["fastcar-rtl"];
    assert_eq!(hardware.get("optional").and_then(toml::Value::as_bool), Some(true));
    assert!(manifest["features"].get("default").is_none());
}

/// The demo is built without what only hardware designers need.
#[test]
fn the_hardware_generator_is_optional_to_the_command() {
    let manifest = manifest("host/cli");
    let hardware = &manifest["dependencies"]["fastcar-hw"];
    assert_eq!(hardware.get("optional").and_then(toml::Value::as_bool), Some(true));
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let demo = makefile.lines().skip_while(|line| *line != "demo:").nth(1).unwrap();
    assert!(demo.contains("-p fastcar-cli --no-default-features"), "{demo}");
}

#[test]
fn every_member_is_listed_here_and_shares_the_lints() {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let mut names: Vec<&str> = members.iter().map(|m| m.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, allowed().keys().copied().collect::<Vec<_>>());
    for dir in names {
        assert_eq!(manifest(dir)["lints"]["workspace"].as_bool(), Some(true), "{dir}");
    }
}

/// Rust files below a folder.
fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn unsafe_stands_where_it_has_to() {
    let mut files = Vec::new();
    for dir in ["hw", "sim", "host", "tests"] {
        sources(&root().join(dir), &mut files);
    }
    assert!(files.len() > 40, "only {} files found", files.len());
    let marker = ["unsafe", "_code"].concat();
    // The mapping, the calls of OpenCL, its implementation, the library for C, and Verilated modules.
    let places = [
        "host/src/mmap.rs",
        "host/src/opencl/",
        "host/capi/src/",
        "sim/icd/",
        "tests/src/opencl/",
        "sim/rtl/src/dut.rs",
    ];
    let allowed = |file: &Path| places.iter().any(|place| file.starts_with(root().join(place)));
    for file in files.iter().filter(|f| std::fs::read_to_string(f).unwrap().contains(&marker)) {
        assert!(allowed(file), "{} may not hold unsafe code", file.display());
    }
}

#[test]
fn arch_does_no_input_or_output() {
    let mut files = Vec::new();
    sources(&root().join("hw/arch/src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for banned in ["std::fs", "std::net", "std::env", "std::process", "println!"] {
            assert!(!text.contains(banned), "{} uses {banned}", file.display());
        }
    }
}
