//! Decisions of a decode, timed again without its values.

use crate::{TestResult, fastcar, stdout};
use serde_json::Value;
use std::path::Path;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/models/moving-digits");
const REPLAY: [&str; 6] = ["--policy", "replay", "--gate", "input-delta", "--threshold", "0.5"];

/// Decodes 70 positions, of which 69 are processed and 5 have a predecessor, and writes the decisions.
fn decode(file: &Path, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let folder = file.parent().ok_or("no folder")?.to_string_lossy().into_owned();
    let mut command = fastcar();
    command.args(["decode", "--model", MODEL, "--prompt", "7 left stripes", "--preset", "edge"]);
    command.args(["--positions", "70", "--backend", "sim", "--json", "--out", &folder, "--record"]);
    Ok(serde_json::from_str(&stdout(command.arg(file).args(args).assert()))?)
}

fn simulate(file: &Path, workload: &str, args: &[&str]) -> assert_cmd::assert::Assert {
    let mut command = fastcar();
    command.args(["simulate", "--preset", "edge", "--workload", workload, "--decisions"]).arg(file);
    command.args(["--quiet"]).args(args).assert()
}

fn json(file: &Path, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    Ok(serde_json::from_str(&stdout(simulate(file, MODEL, &[args, &["--json"]].concat())))?)
}

fn sum(list: &Value) -> Option<u64> {
    list.as_array()?.iter().map(Value::as_u64).sum()
}

/// Compares a decode with the same decisions timed again, and gives the latter.
fn agree(file: &Path, policy: &[&str], flags: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let decoded = decode(file, policy)?;
    let (was, found) = (&decoded["simulated"], json(file, flags)?);
    let body = &found["result"]["body"];
    assert_eq!(body["steps"], 69);
    assert_eq!(sum(&found["result"]["body_cycles_by_position"]), was["body_cycles"].as_u64());
    for (here, there) in [("cycles", "body_cycles"), ("replays", "replays"), ("computes", "computes")] {
        assert_eq!(body[here], was[there], "{here}");
    }
    Ok(found)
}

#[test]
fn body_cycles_are_those_of_the_decode() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("d.jsonl");
    let gate = ["--gate", "input-delta"];
    let found = agree(&file, &REPLAY, &gate)?;
    let body = &found["result"]["body"];
    assert!(body["replays"].as_u64() > Some(0), "{body}");
    let decisions = &found["conditions"]["decisions"];
    assert_eq!((&decisions["method"], &decisions["positions"]), (&"replay".into(), &69.into()));
    assert!(decisions["replay_share"].as_f64() > Some(0.0) && found["conditions"]["seed"].is_null());
    // Some of the positions take what they take among all.
    let some = json(&file, &[&gate[..], &["--positions", "64..69", "--no-baseline"]].concat())?;
    let all = found["result"]["body_cycles_by_position"].as_array().ok_or("no list")?;
    assert_eq!(some["result"]["body_cycles_by_position"].as_array(), Some(&all[64..].to_vec()));
    let text = stdout(simulate(&file, MODEL, &gate));
    let name = format!("recorded: {}, 69 positions", file.display());
    for part in [&name, "replays ", ", by layer ", "speed-up", "prompt of", "0..69 of 70"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    Ok(())
}

#[test]
fn pairs_and_delta_decode_are_timed_too() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("d.jsonl");
    let pairs = [&REPLAY[..], &["--cfg", "2"]].concat();
    let found = agree(&file, &pairs, &["--gate", "input-delta"])?;
    assert_eq!(found["conditions"]["paired"], true);
    assert!(stdout(simulate(&file, MODEL, &["--gate", "input-delta"])).contains("correlation of pairs "));
    let delta = ["--policy", "delta", "--threshold", "0.25"];
    let found = agree(&file, &delta, &[])?;
    assert!(found["result"]["body"]["blocks_skipped"].as_u64() > Some(0), "{}", found["result"]["body"]);
    assert!(stdout(simulate(&file, MODEL, &[])).contains("of the inputs of qkv, o, up, down"));
    Ok(())
}

#[test]
fn the_trace_is_of_the_recorded_decisions() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (file, out) = (dir.path().join("d.jsonl"), dir.path().join("t.json"));
    decode(&file, &REPLAY)?;
    let path = out.to_string_lossy().into_owned();
    let flags = ["--gate", "input-delta", "--no-baseline", "--trace", &path, "--trace-position"];
    let found = json(&file, &[&flags[..], &["68"]].concat())?;
    let cycles = found["result"]["body_cycles_by_position"][68].as_u64().ok_or("no cycles")?;
    let document: Value = serde_json::from_slice(&std::fs::read(&out)?)?;
    let events = document["traceEvents"].as_array().ok_or("no events")?;
    let end = |e: &Value| Some(e["args"]["start_cycle"].as_u64()? + e["args"]["cycles"].as_u64()?);
    let last = events.iter().filter_map(end).max().ok_or("no spans")?;
    // Drawn decisions, of which none replays here, would go on for longer.
    assert!(last <= cycles && last * 100 > cycles * 95, "{last} of {cycles}");
    assert!(cycles < found["result"]["body_cycles_by_position"][63].as_u64().unwrap_or(0), "nothing replays");
    let assert = simulate(&file, MODEL, &[&flags[..], &["69"]].concat()).code(2);
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("positions 0..69"));
    Ok(())
}

#[test]
fn what_was_not_recorded_is_refused_in_a_line() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("d.jsonl");
    decode(&file, &REPLAY)?;
    let refused = |workload: &str, args: &[&str], code: i32, part: &str| {
        let assert = simulate(&file, workload, args).code(code).stdout("");
        let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(text.starts_with("error: ") && text.contains(part), "{part} is not in {text}");
        text
    };
    let other = refused("tiny", &[], 1, "the decisions were recorded with layers 4, the run has 2");
    assert_eq!(other.lines().count(), 1, "{other}");
    refused(MODEL, &["--prompt", "40"], 1, "prompt tokens");
    refused(MODEL, &["--frames", "2", "--positions", "60..70"], 1, "the recording has 0..69");
    refused(MODEL, &[], 1, "the decisions were recorded with gate input-delta, the run has tas");
    refused(MODEL, &["--coupled"], 2, "the method replay of single rows");
    for flag in [["--replay", "0.5"], ["--delta", "1"], ["--batch", "2"], ["--profile", "1"], ["--seed", "1"]]
    {
        refused(MODEL, &flag, 2, "cannot be used with");
    }
    std::fs::write(&file, "{}\n")?;
    refused(MODEL, &[], 1, "line 1: no head of a recording");
    Ok(())
}
