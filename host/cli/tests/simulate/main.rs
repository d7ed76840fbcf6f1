//! `fastcar simulate`, `fastcar sweep` and `fastcar targets` as a user runs them.

mod recorded;
mod refusals;
mod sweep;
mod targets;
mod trace;

use serde_json::Value;
use std::collections::BTreeSet;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// The command, without arguments.
fn fastcar() -> assert_cmd::Command {
    assert_cmd::Command::new(env!("CARGO_BIN_EXE_fastcar"))
}

/// Runs `fastcar simulate` on the smallest machine and workload.
fn tiny(args: &[&str]) -> assert_cmd::assert::Assert {
    fastcar().args(["simulate", "--preset", "tiny", "--workload", "tiny", "--quiet"]).args(args).assert()
}

/// Standard output of a run that succeeds.
fn stdout(assert: assert_cmd::assert::Assert) -> String {
    String::from_utf8_lossy(&assert.success().get_output().stdout).into_owned()
}

fn json(args: &[&str]) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&stdout(tiny(&[args, &["--json"]].concat())))
}

/// Every path of a document with the type found there, lists by what is in them.
fn schema(value: &Value, path: &str, out: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| schema(field, &format!("{path}.{name}"), out));
        }
        Value::Array(items) => items.iter().for_each(|item| schema(item, &format!("{path}[]"), out)),
        Value::Null => drop(out.insert(format!("{path}: null"))),
        Value::Bool(_) => drop(out.insert(format!("{path}: flag"))),
        Value::Number(_) => drop(out.insert(format!("{path}: number"))),
        Value::String(_) => drop(out.insert(format!("{path}: text"))),
    }
}

#[test]
fn the_json_keeps_its_schema() -> TestResult {
    let mut paths = BTreeSet::new();
    schema(&json(&["--replay", "0.5", "--set", "main_beats=512", "--sample", "4"])?, "", &mut paths);
    let lines: Vec<String> = paths.into_iter().collect();
    insta::assert_snapshot!(lines.join("\n"));
    Ok(())
}

#[test]
fn people_read_conditions_time_and_where_it_went() {
    let text = stdout(tiny(&["--batch", "cfg", "--replay", "0.5", "--coupled", "--policy", "overlap"]));
    for part in [
        "tiny: 1 channels, 2 columns, 100 MHz",
        "ddr4-2400, 1.6 GB/s at most",
        "tiny, mxfp4 weights, prompt of 4",
        "all 48",
        "2 rows, guided pairs",
        "replay 0.5000, gate tas, rows must agree (correlation 0); attention dense",
        "overlap",
        "positions/s",
        "share of bound",
        "speed-up",
        "ring write",
        "channels: least",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn counters_add_up() -> TestResult {
    let found = json(&["--replay", "cap", "--batch", "2"])?;
    let body = &found["result"]["body"];
    let number = |value: &Value| value.as_u64().ok_or_else(|| format!("{value} is no count"));
    let sum = |value: &Value| -> Result<u64, Box<dyn std::error::Error>> {
        let list = value.as_array().cloned().unwrap_or_default();
        let fields = value.as_object().into_iter().flatten().map(|f| f.1.clone());
        list.into_iter().chain(fields).map(|v| Ok(number(&v)?)).sum()
    };
    let cycles = number(&body["cycles"])?;
    for unit in ["command", "read", "write", "mac", "vector", "gate"] {
        assert_eq!(sum(&body["units"][unit])?, cycles, "{unit}");
    }
    let moved = sum(&body["read_bytes_by_channel"])? + sum(&body["write_bytes_by_channel"])?;
    assert_eq!((number(&body["moved_bytes"])?, sum(&body["traffic"])?), (moved, moved));
    assert_eq!(sum(&found["result"]["body_cycles_by_position"])?, cycles);
    // Two rows, two layers, 36 positions behind the first frame of 12: all replay, and nothing else does.
    assert_eq!((number(&body["replays"])?, number(&body["computes"])?), (2 * 2 * 36, 2 * 2 * 12));
    Ok(())
}

#[test]
fn both_ways_of_advancing_give_the_same_document() -> TestResult {
    let mut documents =
        ["bulk", "step"].map(|advance| json(&["--delta", "0.5:0.5:0.25:1", "--advance", advance]));
    for document in documents.iter_mut().flatten() {
        document["wall_seconds"] = Value::Null;
    }
    let [bulk, step] = documents;
    assert_eq!(bulk?, step?);
    Ok(())
}

#[test]
fn a_sample_stands_for_the_whole() -> TestResult {
    let all = json(&["--no-baseline"])?;
    let some = json(&["--no-baseline", "--sample", "8"])?;
    assert_eq!((&all["result"]["body"]["steps"], &some["result"]["body"]["steps"]), (&48.into(), &8.into()));
    let seconds = |v: &Value| v["result"]["video_seconds"].as_f64().ok_or("no video_seconds");
    let ratio = seconds(&some)? / seconds(&all)?;
    assert!((0.99..1.01).contains(&ratio), "{ratio}");
    let positions = all["result"]["body_cycles_by_position"].as_array().ok_or("no list")?;
    // The middles of eight parts of six positions each.
    let middles: Vec<&Value> = positions.iter().skip(3).step_by(6).collect();
    let found = some["result"]["body_cycles_by_position"].as_array().ok_or("no list")?;
    assert_eq!(found.iter().collect::<Vec<_>>(), middles);
    Ok(())
}

#[test]
fn what_is_asked_changes_what_is_found() -> TestResult {
    let cycles = |args: &[&str]| -> Result<u64, Box<dyn std::error::Error>> {
        let found = json(&[args, &["--no-baseline"]].concat())?;
        Ok(found["result"]["cycles"].as_u64().ok_or("no cycles")?)
    };
    let dense = cycles(&[])?;
    assert!(cycles(&["--replay", "cap"])? < dense);
    assert!(cycles(&["--delta", "0.25"])? < cycles(&["--delta", "1"])?);
    assert!(cycles(&["--weights", "mxint8"])? > dense);
    assert_ne!(cycles(&["--memory", "ideal"])?, dense);
    assert!(cycles(&["--set", "vector_lanes=16"])? < dense);
    assert!(cycles(&["--frames", "2"])? < dense && cycles(&["--positions", "0..12"])? < dense);
    assert!(cycles(&["--body-only"])? < dense);
    assert!(cycles(&["--batch", "4"])? > cycles(&["--batch", "4", "--columns", "4"])?);
    // The same machine at another clock waits other numbers of cycles for the same memory.
    assert_ne!(cycles(&["--clock-mhz", "300"])?, dense);
    assert_ne!(cycles(&["--replay", "0.5"])?, cycles(&["--replay", "0.5", "--seed", "1"])?);
    Ok(())
}

#[test]
fn pairs_settle_as_asked() -> TestResult {
    let replays = |args: &[&str]| -> Result<u64, Box<dyn std::error::Error>> {
        let pair = ["--batch", "cfg", "--replay", "0.5", "--no-baseline"];
        let found = json(&[&pair[..], args].concat())?;
        Ok(found["result"]["body"]["replays"].as_u64().ok_or("no replays")?)
    };
    let (alone, agree) = (replays(&[])?, replays(&["--coupled"])?);
    assert_eq!(agree, replays(&["--coupling", "both-agree"])?);
    assert!(agree < alone, "{agree} {alone}");
    // Rows that always draw the same agree always, and one decision for both is the same thing.
    let same = replays(&["--correlation", "1"])?;
    assert_eq!(replays(&["--correlation", "1", "--coupled"])?, same);
    assert!(replays(&["--coupling", "mean"])?.is_multiple_of(2) && same.is_multiple_of(2));
    Ok(())
}

#[test]
fn a_model_folder_is_a_workload() -> TestResult {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/models/moving-digits");
    let run = |workload: &str| -> Result<Value, Box<dyn std::error::Error>> {
        let args = ["simulate", "--preset", "edge", "--sample", "3", "--json", "--workload", workload];
        Ok(serde_json::from_str(&stdout(fastcar().args(args).assert()))?)
    };
    let (folder, named) = (run(model)?, run("moving-digits")?);
    assert_eq!(folder["result"], named["result"]);
    assert_eq!(folder["conditions"]["workload"], "moving-digits");
    Ok(())
}
