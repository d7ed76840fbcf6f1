//! `fastcar decode --backend sim`: the tokens of the functional model, and what they took.

use crate::{TestResult, fastcar, names, run, stderr, stdout};
use serde_json::Value;
use std::path::Path;

const POLICY: [&str; 6] = ["--policy", "replay", "--gate", "random", "--ratio", "0.6"];

fn decode(dir: &Path, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let out = dir.to_string_lossy().into_owned();
    let all = [&["--prompt", "7 left stripes", "--json", "--out", &out], args].concat();
    let output = run("decode", all)?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn the_simulator_gives_the_same_tokens_and_their_cycles() -> TestResult {
    let dir = tempfile::tempdir()?;
    let args = |backend| [&["--frames", "2", "--backend", backend], &POLICY[..]].concat();
    let golden = decode(dir.path(), &args("golden"))?;
    let sim = decode(dir.path(), &args("sim"))?;
    assert_eq!(golden["sequences"], sim["sequences"]);
    assert!(golden.get("simulated").is_none());
    let figures = &sim["simulated"];
    let number = |name: &str| figures[name].as_f64().ok_or(format!("{name} is no number: {figures}"));
    assert_eq!((&figures["memory"], &figures["drs"]), (&Value::from("ddr4-2400"), &Value::from("compact")));
    assert_eq!(number("cycles")?, number("body_cycles")? + number("codes_cycles")?);
    assert!((number("milliseconds")? - number("cycles")? / number("clock_hz")? * 1e3).abs() < 1e-6);
    // All but the last position are processed.
    let seconds = number("cycles")? / number("clock_hz")?;
    assert!((number("positions_per_second")? * seconds - 127.0).abs() < 1e-6);
    assert!((number("dense_cycles")? / number("cycles")? - number("speed_up_over_dense")?).abs() < 1e-9);
    assert!((0.1..1.0).contains(&number("share_of_peak_bandwidth")?));
    let frames = figures["frames"].as_array().ok_or("no frames")?;
    let cycles: f64 = frames.iter().filter_map(|f| f["cycles"].as_f64()).sum();
    assert_eq!((frames.len(), cycles), (2, number("cycles")?));
    let speed_up = |frame: usize| frames[frame]["speed_up_over_dense"].as_f64().unwrap_or(0.0);
    assert!(speed_up(1) > speed_up(0), "the first frame replays nothing: {frames:?}");
    let units = figures["units"].as_array().ok_or("no units")?;
    assert_eq!(units.len(), 6);
    for unit in units {
        let shares = ["busy", "stalled", "idle"].map(|s| unit[s].as_f64().unwrap_or(f64::NAN));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{unit}");
    }
    let classes: f64 =
        figures["bytes_by_class"].as_object().into_iter().flatten().filter_map(|c| c.1.as_f64()).sum();
    assert_eq!(classes, number("read_bytes")? + number("written_bytes")?);
    Ok(())
}

#[test]
fn settings_of_the_machine_change_cycles_and_no_token() -> TestResult {
    let dir = tempfile::tempdir()?;
    let with = |extra: &[&str]| {
        let all = [&["--positions", "70", "--backend", "sim", "--cfg", "2"], &POLICY[..], extra].concat();
        decode(dir.path(), &all)
    };
    let plain = with(&[])?;
    for extra in [&["--memory", "ideal"][..], &["--memory-seed", "3"], &["--drs", "static"]] {
        let other = with(extra)?;
        assert_eq!(plain["sequences"], other["sequences"], "{extra:?}");
    }
    let ideal = with(&["--memory", "ideal"])?;
    let cycles = |report: &Value| report["simulated"]["cycles"].as_u64();
    assert!(cycles(&ideal) < cycles(&plain) && ideal["simulated"]["memory"] == "ideal");
    Ok(())
}

#[test]
fn decisions_and_timelines_are_written() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (record, trace) = (dir.path().join("d.jsonl"), dir.path().join("t.json"));
    let files =
        ["--record", &record.to_string_lossy(), "--trace", &trace.to_string_lossy()].map(str::to_owned);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    decode(dir.path(), &[&["--positions", "70", "--backend", "sim"], &POLICY[..], &files].concat())?;
    let trace: Value = serde_json::from_slice(&std::fs::read(trace)?)?;
    assert!(trace["traceEvents"].as_array().is_some_and(|e| e.len() > 50), "{trace}");
    let text = std::fs::read_to_string(&record)?;
    assert_eq!(text.lines().count(), 1 + 69, "a head, and every processed position");
    let info = |json: &[&str]| fastcar().arg("info").args(json).arg(&record).output();
    let found: Value = serde_json::from_slice(&info(&["--json"])?.stdout)?;
    assert_eq!((&found["kind"], &found["positions"]), (&Value::from("decisions"), &Value::from(69)));
    // 5 of 69 positions can replay, each layer with probability 0.6.
    assert!(found["replay"].as_f64().is_some_and(|r| (0.005..=5.0 / 69.0).contains(&r)), "{found}");
    let human = stdout(&info(&[])?);
    assert!(human.contains("replay of 4 gates a position") && human.contains("0..69"), "{human}");
    // The functional model decides the same.
    let golden = dir.path().join("g.jsonl");
    let file = golden.to_string_lossy().into_owned();
    decode(dir.path(), &[&["--positions", "70", "--record", &file], &POLICY[..]].concat())?;
    assert_eq!(std::fs::read_to_string(golden)?, text);
    std::fs::write(&record, "{}\n")?;
    let refused = info(&[])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("line 1: no head of a recording"), "{}", stderr(&refused));
    Ok(())
}

#[test]
fn flags_of_the_simulator_need_it() -> TestResult {
    let dir = tempfile::tempdir()?;
    let refused = |args: &[&str], code, part: &str| -> TestResult {
        let out = dir.path().to_string_lossy().into_owned();
        let output = run("decode", [&["--prompt", "7 left dots", "--out", &out], args].concat())?;
        assert_eq!(output.status.code(), Some(code), "{args:?}");
        assert!(stderr(&output).contains(part), "{args:?}: {}", stderr(&output));
        Ok(())
    };
    refused(&["--drs", "static"], 2, "--drs belongs to the simulator: add --backend sim")?;
    refused(&["--trace", "t.json"], 2, "--trace belongs to the simulator")?;
    let sim = ["--backend", "sim"];
    refused(&[&sim[..], &["--drs", "psychic"]].concat(), 2, "the policies are static, compact, overlap")?;
    refused(&[&sim[..], &["--memory", "hbm9"]].concat(), 2, "no memory is named 'hbm9'")?;
    let rtl = ["--backend", "rtl"];
    let refused_rtl = |more: &[&str], part| refused(&[&rtl[..], more].concat(), 2, part);
    refused_rtl(&["--drs", "overlap"], "the hardware's policy is compact; add --backend sim")?;
    refused_rtl(&["--trace", "t.json"], "--trace belongs to the simulator")?;
    refused_rtl(&["--record", "r.jsonl"], "--record needs decisions, which a device does not give")?;
    refused_rtl(&["--streamed"], "--streamed goes with --backend golden or opencl")?;
    assert!(names(dir.path()).is_empty());
    Ok(())
}

/// The cycles and what both count are the simulator's, on the memory that is asked for; the tokens too.
#[test]
fn the_hardware_counts_what_the_simulator_does() -> TestResult {
    if std::env::var_os("SKIP_RTL").is_some_and(|value| value == "1") {
        eprintln!("NOT RUN: SKIP_RTL=1: a decode on the hardware");
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let with = |backend| {
        let machine = ["--preset", "tiny", "--positions", "3", "--cfg", "2", "--memory-seed", "9"];
        decode(dir.path(), &[&machine[..], &["--drs", "compact", "--backend", backend]].concat())
    };
    let (sim, rtl) = (with("sim")?, with("rtl")?);
    assert_eq!(sim["sequences"], rtl["sequences"]);
    assert!(sim.get("hardware").is_none() && rtl.get("simulated").is_none());
    let (sim, rtl) = (&sim["simulated"], &rtl["hardware"]);
    // How fast it was simulated says nothing of the machine.
    let own = ["units", "commands", "simulated_cycles_per_second"];
    assert!(rtl["simulated_cycles_per_second"].as_f64() > Some(0.0));
    for figure in rtl.as_object().ok_or("no figures")?.keys().filter(|key| !own.contains(&key.as_str())) {
        assert_eq!(rtl[figure], sim[figure], "{figure}");
    }
    let units = rtl["units"].as_array().ok_or("no units")?;
    let all = sim["units"].as_array().ok_or("no units")?;
    assert_eq!(units.len(), 6);
    assert!(units.iter().all(|unit| all.contains(unit)), "{units:?} {all:?}");
    Ok(())
}

/// Without Verilator there is a line that installs it.
#[test]
fn missing_tools_are_named() -> TestResult {
    let dir = tempfile::tempdir()?;
    let out = dir.path().to_string_lossy().into_owned();
    let args = ["--preset", "tiny", "--prompt", "7 left dots", "--backend", "rtl", "--quiet", "--out", &out];
    let output =
        fastcar().arg("decode").arg("--model").arg(crate::model()).args(args).env("PATH", "").output()?;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "error: verilator is missing: apt-get install verilator iverilog g++ (scripts/setup-test.sh installs all that the tests use)\n"
    );
    Ok(())
}
