//! The files that the kernel is generated as: complete, the same every time, accepted by the tools, and one with the register map.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{ERROR_CODES, MAP_BYTES, Register, RegisterMap, Reset};
use fastcar_arch::resources::Resources;
use fastcar_hw::generate::{Existing, Manifest, generate};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{accept_folder, skipped};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Most bytes of Verilog of a configuration.
const MAX_VERILOG: u64 = 10 << 20;

fn generated(config: &AccelConfig, folder: &Path) -> Result<Manifest, Box<dyn std::error::Error>> {
    Ok(generate(config, folder, Existing::Keep, &mut |_| ControlFlow::Continue(()))?)
}

fn read(folder: &Path, name: &str) -> Result<String, Box<dyn std::error::Error>> {
    Ok(fs::read_to_string(folder.join(name))?)
}

/// Files of a folder by name.
fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>, Box<dyn std::error::Error>> {
    let entries = fs::read_dir(folder)?.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().into_string().unwrap(), fs::read(entry.path())?))
    });
    entries.collect()
}

/// Has coreutils look at the hashes.
fn check_hashes(folder: &Path, manifest: &Manifest) -> TestResult {
    let mut check = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .spawn()?;
    let lines: String =
        manifest.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    check.stdin.take().unwrap().write_all(lines.as_bytes())?;
    assert!(check.wait()?.success(), "hashes of {}", folder.display());
    Ok(())
}

#[test]
fn every_preset_generates_the_same_files_every_time() -> TestResult {
    for preset in AccelConfig::PRESETS {
        let (config, dir) = (AccelConfig::preset(preset)?, tempfile::tempdir()?);
        let (first, second) = (dir.path().join("first"), dir.path().join("second"));
        let begun = Instant::now();
        let manifest = generated(&config, &first)?;
        let seconds = begun.elapsed().as_secs_f64();
        assert_eq!(generated(&config, &second)?, manifest);
        let files = contents(&first)?;
        assert!(files == contents(&second)?, "{preset}: two generations differ");

        check_hashes(&first, &manifest)?;
        let names: Vec<&String> = files.keys().filter(|name| *name != "manifest.json").collect();
        let mut listed: Vec<&String> = manifest.files.iter().map(|file| &file.name).collect();
        listed.sort_unstable();
        assert_eq!(names, listed);
        assert!(manifest.files.iter().all(|file| files[&file.name].len() as u64 == file.bytes));
        check_manifest(&config, &manifest, &files["manifest.json"])?;

        let list = read(&first, "files.f")?;
        let modules: Vec<&str> = list.lines().collect();
        assert_eq!(modules.last(), Some(&"fastcar.v"));
        assert_eq!(modules.len(), names.iter().filter(|name| name.ends_with(".v")).count());
        let verilog: u64 = modules.iter().map(|name| files[*name].len() as u64).sum();
        assert!(verilog < MAX_VERILOG, "{preset}: {verilog} bytes of Verilog");
        println!("{preset}: {} modules, {verilog} bytes, {seconds:.2} s", modules.len());
    }
    Ok(())
}

fn check_manifest(config: &AccelConfig, manifest: &Manifest, bytes: &[u8]) -> TestResult {
    let json: serde_json::Value = serde_json::from_slice(bytes)?;
    assert_eq!(json, serde_json::to_value(manifest)?);
    assert_eq!(json["config"], serde_json::to_value(config.fields())?);
    assert_eq!(json["identity"], Identity::of(config).to_string());
    assert_eq!(json["clock_hz"], config.clock().get());
    assert_eq!(json["estimated_resources"], serde_json::to_value(Resources::of(config).total())?);
    let map = RegisterMap::new(config);
    for (key, register) in [
        ("register_version", "REGISTER_VERSION"),
        ("isa_version", "ISA_VERSION"),
        ("layout_version", "LAYOUT_VERSION"),
    ] {
        assert_eq!(json[key], reset(map.get(register).unwrap(), config), "{key}");
    }
    Ok(())
}

fn reset(register: &Register, config: &AccelConfig) -> u64 {
    match register.reset {
        Reset::Value(value) | Reset::Constant(value) | Reset::Configuration(value) => value,
        Reset::Identity(word) => Identity::of(config).words()[word].into(),
    }
}

/// Names and values that the header has to have.
fn header_values(config: &AccelConfig) -> Vec<(String, u64)> {
    let mut values = vec![("FASTCAR_REG_MAP_BYTES".to_owned(), MAP_BYTES.into())];
    for register in RegisterMap::new(config).registers() {
        let mut add = |suffix: &str, value| {
            values.push((format!("FASTCAR_REG_{}_{suffix}", register.name), value));
        };
        add("OFFSET", register.offset.into());
        add("BITS", register.bits.into());
        add("RESET", reset(register, config));
        register.argument.iter().for_each(|argument| add("ARGUMENT", argument.index.into()));
        for field in register.fields {
            let name = field.name.to_uppercase();
            add(&format!("{name}_SHIFT"), field.low.into());
            add(&format!("{name}_MASK"), (field.low..field.low + field.width).map(|bit| 1 << bit).sum());
        }
    }
    let codes = ERROR_CODES.iter();
    values.extend(
        codes.map(|(code, name, _)| (format!("FASTCAR_ERROR_{}", name.to_uppercase()), (*code).into())),
    );
    values
}

/// A compiler reads the header, and finds the values of the map under their names, and no others.
#[test]
fn the_header_is_the_register_map() -> TestResult {
    for preset in ["tiny", "u55c"] {
        let (config, dir) = (AccelConfig::preset(preset)?, tempfile::tempdir()?);
        let folder = dir.path().join("kernel");
        generated(&config, &folder)?;
        let values = header_values(&config);
        let prints: String = values
            .iter()
            .map(|(name, _)| format!("    printf(\"%llu\\n\", (unsigned long long) {name});\n"))
            .collect();
        let program = format!(
            "#include <stdio.h>\n#include \"fastcar_registers.h\"\n#include \"fastcar_registers.h\"\n\
             int main(void) {{\n    puts(FASTCAR_REG_IDENTITY);\n{prints}    return 0;\n}}\n"
        );
        fs::write(dir.path().join("main.c"), program)?;
        let compiled = Command::new("cc")
            .args([
                "-std=c99",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pedantic",
                "-Ikernel",
                "main.c",
                "-o",
                "main",
            ])
            .current_dir(dir.path())
            .output()?;
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let printed = String::from_utf8(Command::new(dir.path().join("main")).output()?.stdout)?;
        let mut lines = printed.lines();
        assert_eq!(lines.next(), Some(Identity::of(&config).to_string().as_str()));
        for (name, value) in &values {
            assert_eq!(lines.next(), Some(value.to_string().as_str()), "{name}");
        }
        let header = read(&folder, "fastcar_registers.h")?;
        let defined = header.lines().filter(|line| line.starts_with("#define ")).count();
        // The guard and the identity have no number.
        assert_eq!(defined, values.len() + 2);
    }
    Ok(())
}

/// Direction and width of the top's ports, from its text.
fn ports(folder: &Path) -> Result<BTreeMap<String, (String, u32)>, Box<dyn std::error::Error>> {
    let text = read(folder, "fastcar.v")?;
    let head = text.split("module fastcar (").nth(1).unwrap().split(");").next().unwrap();
    let lines = head.lines().map(|line| line.trim().trim_end_matches(',')).filter(|line| !line.is_empty());
    let port = |line: &str| {
        let (direction, rest) = line.split_once(" wire ").unwrap();
        let (width, name) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (high, name) = rest.split_once(":0] ").unwrap();
                (high.parse::<u32>().unwrap() + 1, name)
            }
            None => (1, rest),
        };
        (name.to_owned(), (direction.to_owned(), width))
    };
    Ok(lines.map(port).collect())
}

/// What whoever is asked drives.
const ANSWERS: [&str; 9] =
    ["AWREADY", "ARREADY", "WREADY", "BVALID", "BRESP", "RVALID", "RDATA", "RRESP", "RLAST"];

/// The signals of a slave of AXI4-Lite with 32 bits, or of a master of AXI4 without identifiers: name, whether the kernel drives it, width.
fn axi_signals(beat_bits: Option<u32>, address: u32) -> Vec<(String, bool, u32)> {
    let data = beat_bits.unwrap_or(32);
    let shared = [("WVALID", 1), ("WREADY", 1), ("WDATA", data), ("WSTRB", data / 8), ("BVALID", 1)]
        .into_iter()
        .chain([("BREADY", 1), ("BRESP", 2), ("RVALID", 1), ("RREADY", 1), ("RDATA", data), ("RRESP", 2)]);
    let mut signals: Vec<(String, u32)> = shared.map(|(name, width)| (name.to_owned(), width)).collect();
    let mut of_address = vec![("VALID", 1), ("READY", 1), ("ADDR", address)];
    if beat_bits.is_some() {
        signals.extend([("WLAST".to_owned(), 1), ("RLAST".to_owned(), 1)]);
        of_address.extend([("LEN", 8), ("SIZE", 3), ("BURST", 2), ("LOCK", 1), ("CACHE", 4), ("PROT", 3)]);
        of_address.extend([("QOS", 4), ("REGION", 4)]);
    }
    for channel in ["AW", "AR"] {
        signals.extend(of_address.iter().map(|(name, width)| (format!("{channel}{name}"), *width)));
    }
    let driven = |name: &str| ANSWERS.contains(&name) != beat_bits.is_some();
    signals.into_iter().map(|(name, width)| (name.clone(), driven(&name), width)).collect()
}

/// The top has the signals that the vendor's tools look for, and no others.
#[test]
fn the_top_has_the_vendors_names() -> TestResult {
    for preset in ["tiny", "u55c"] {
        let (config, dir) = (AccelConfig::preset(preset)?, tempfile::tempdir()?);
        let folder = dir.path().join("kernel");
        generated(&config, &folder)?;
        let mut expected: BTreeMap<String, (String, u32)> = BTreeMap::new();
        let mut add = |name: String, driven: bool, width| {
            expected.insert(name, (if driven { "output" } else { "input" }.to_owned(), width));
        };
        for (name, driven) in [("ap_clk", false), ("ap_rst_n", false), ("interrupt", true)] {
            add(name.to_owned(), driven, 1);
        }
        for (signal, driven, width) in axi_signals(None, MAP_BYTES.ilog2()) {
            add(format!("s_axi_control_{signal}"), driven, width);
        }
        for channel in 0..config.channels() {
            for (signal, driven, width) in axi_signals(Some(8 * config.fields().beat_bytes), 64) {
                add(format!("m_axi_gmem{channel}_{signal}"), driven, width);
            }
        }
        assert_eq!(ports(&folder)?, expected, "{preset}");
    }
    Ok(())
}

/// Attributes of an element.
fn attributes<'a>(node: roxmltree::Node<'a, '_>) -> BTreeMap<&'a str, &'a str> {
    node.attributes().map(|attribute| (attribute.name(), attribute.value())).collect()
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

/// Ports and arguments of `kernel.xml` are those of the register map and of the top.
#[test]
fn the_kernel_xml_is_the_register_map() -> TestResult {
    for preset in ["tiny", "u55c"] {
        let (config, dir) = (AccelConfig::preset(preset)?, tempfile::tempdir()?);
        let folder = dir.path().join("kernel");
        generated(&config, &folder)?;
        let text = read(&folder, "kernel.xml")?;
        let document = roxmltree::Document::parse(&text)?;
        let root = document.root_element();
        assert_eq!(
            (root.tag_name().name(), attributes(root)),
            ("root", [("versionMajor", "1"), ("versionMinor", "6")].into())
        );
        let elements = |of: roxmltree::Node<'_, '_>| {
            of.children().filter(|n| n.is_element()).map(|n| n.id()).collect::<Vec<_>>()
        };
        let kernels = elements(root);
        assert_eq!(kernels.len(), 1);
        let kernel = document.get_node(kernels[0]).unwrap();
        let expected = [
            ("name", "fastcar"),
            ("language", "ip_c"),
            ("vlnv", "fastcar:kernel:fastcar:1.0"),
            ("attributes", ""),
            ("preferredWorkGroupSizeMultiple", "0"),
            ("workGroupSize", "1"),
            ("interrupt", "true"),
            ("hwControlProtocol", "ap_ctrl_chain"),
        ];
        assert_eq!(attributes(kernel), expected.into());
        let map = RegisterMap::new(&config);
        let mut widths = BTreeMap::new();
        for node in kernel.descendants().filter(|node| node.has_tag_name("port")) {
            let port = attributes(node);
            assert_eq!((port["portType"], port["base"]), ("addressable", "0x0"));
            let slave = port["name"] == "s_axi_control";
            assert_eq!(port["mode"], if slave { "slave" } else { "master" });
            assert_eq!(number(port["range"]), if slave { MAP_BYTES.into() } else { u64::MAX });
            widths.insert(port["name"].to_owned(), port["dataWidth"].parse::<u32>()?);
        }
        let data = ports(&folder)?.into_iter().filter_map(|(name, (_, width))| {
            name.strip_suffix("_WDATA").map(|port| (port.to_owned(), width))
        });
        assert_eq!(widths, data.collect());
        let arguments: Vec<_> = kernel.descendants().filter(|node| node.has_tag_name("arg")).collect();
        assert_eq!(arguments.len(), map.arguments().count());
        for (node, (argument, register)) in arguments.into_iter().zip(map.arguments()) {
            let found = attributes(node);
            let pointer = argument.port.is_some();
            let port = argument.port.as_deref().unwrap_or("s_axi_control");
            let ty = if pointer { "void*" } else { "uint" };
            let texts = [("name", register.name.as_str()), ("port", port), ("type", ty)];
            texts.iter().for_each(|(key, value)| assert_eq!(found[key], *value, "{found:?}"));
            assert_eq!(found["id"], argument.index.to_string());
            assert_eq!(found["addressQualifier"], u32::from(pointer).to_string());
            let bytes = u64::from(register.bits / 8);
            let numbers = [("size", bytes), ("hostSize", bytes), ("offset", register.offset.into())];
            numbers.into_iter().chain([("hostOffset", 0)]).for_each(|(key, value)| {
                assert_eq!(number(found[key]), value, "{key} of {found:?}");
            });
        }
    }
    Ok(())
}

fn accepted(preset: &str) -> TestResult {
    if skipped() {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let folder = dir.path().join("kernel");
    generated(&AccelConfig::preset(preset)?, &folder)?;
    Ok(accept_folder(&folder, "fastcar")?)
}

#[test]
fn tools_accept_the_smallest_kernel() -> TestResult {
    accepted("tiny")
}

#[test]
fn tools_accept_the_edge_kernel() -> TestResult {
    accepted("edge")
}
