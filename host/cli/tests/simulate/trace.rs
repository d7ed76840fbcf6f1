//! The timeline.

use crate::{TestResult, tiny};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

fn trace(args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("out.json");
    let flags = ["--no-baseline", "--trace", &path.to_string_lossy()];
    tiny(&[args, &flags].concat()).success();
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Checks a document and gives the names of its tracks.
fn check(document: &Value, cycles: u64) -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let events = document["traceEvents"].as_array().ok_or("no events")?;
    let mut names = BTreeMap::new();
    let mut tracks: BTreeMap<u64, Vec<(u64, u64)>> = BTreeMap::new();
    for event in events {
        let thread = event["tid"].as_u64();
        match (event["ph"].as_str(), event["name"].as_str(), thread) {
            (Some("M"), Some("process_name"), None) => {
                let title = event["args"]["name"].as_str().ok_or("no title")?;
                assert!(title.starts_with("fastcar tiny"), "{title}");
            }
            (Some("M"), Some("thread_name"), Some(thread)) => {
                let name = event["args"]["name"].as_str().ok_or("no name")?;
                assert!(names.insert(thread, name.to_owned()).is_none());
            }
            (Some("M"), Some("thread_sort_index"), Some(_)) => {}
            (Some("X"), Some(name), Some(thread)) => {
                let count = |key: &str| event["args"][key].as_u64().ok_or(format!("no {key}"));
                let (start, length) = (count("start_cycle")?, count("cycles")?);
                let (mnemonic, _) = name.split_once(" #").ok_or("no command")?;
                assert!(event["args"]["command"].as_str().is_some_and(|c| c.starts_with(mnemonic)));
                assert!(event["args"]["slots"].as_array().is_some_and(|s| !s.is_empty()), "{event}");
                // 100 MHz: a cycle is a hundredth of a microsecond.
                let time = event["ts"].as_f64().ok_or("no time")?;
                assert!((time * 100.0 - start as f64).abs() < 1e-6, "{event}");
                tracks.entry(thread).or_default().push((start, start + length));
            }
            other => return Err(format!("{other:?} in {event}").into()),
        }
    }
    for (thread, mut spans) in tracks {
        spans.sort_unstable();
        assert!(names.contains_key(&thread));
        assert!(spans.iter().all(|s| s.0 < s.1 && s.1 <= cycles), "{spans:?} in {cycles} cycles");
        assert!(spans.windows(2).all(|w| w[0].1 <= w[1].0), "{}: {spans:?}", names[&thread]);
    }
    Ok(names.into_values().collect())
}

/// Cycles of one position.
fn cycles(args: &[&str], position: u64) -> Result<u64, Box<dyn std::error::Error>> {
    let found = crate::json(&[args, &["--no-baseline"]].concat())?;
    let at = usize::try_from(position)?;
    Ok(found["result"]["body_cycles_by_position"][at].as_u64().ok_or("no cycles")?)
}

#[test]
fn every_unit_has_its_track() -> TestResult {
    let args = ["--replay", "0.5", "--batch", "2"];
    let document = trace(&[&args[..], &["--trace-position", "30"]].concat())?;
    let names = check(&document, cycles(&args, 30)?)?;
    for unit in ["COMMAND", "READ", "MAC", "VECTOR", "GATE", "WRITE"] {
        assert!(names.contains(unit), "{unit} is not in {names:?}");
    }
    Ok(())
}

#[test]
fn exclusive_units_need_one_track_a_wave() -> TestResult {
    let args = ["--replay", "0.5", "--batch", "4", "--policy", "overlap"];
    let document = trace(&args)?;
    let names = check(&document, cycles(&args, 24)?)?;
    for unit in ["COMMAND", "MAC", "VECTOR", "GATE"] {
        let own: Vec<&String> = names.iter().filter(|n| n.starts_with(unit)).collect();
        assert_eq!(own, [&format!("{unit} wave 0"), &format!("{unit} wave 1")]);
    }
    Ok(())
}
