//! `fastcar quality` and `fastcar calibrate`.

use crate::{TestResult, fastcar, model, names, run, stderr, stdout};
use serde_json::Value;

#[test]
fn quality_writes_a_table_and_a_plot() -> TestResult {
    let dir = tempfile::tempdir()?;
    let out = dir.path().to_string_lossy();
    let few = ["--clips", "1", "--points", "1", "--from", "0.7", "--policies", "input-delta,random"];
    let output = run("quality", [&few[..], &["--json", "--out", &out]].concat())?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(names(dir.path()), ["quality.csv", "quality.png"]);
    let table = std::fs::read_to_string(dir.path().join("quality.csv"))?;
    let families: Vec<&str> = table.lines().skip(1).filter_map(|l| l.split(',').next()).collect();
    assert_eq!(families, ["dense", "input-delta", "random"]);
    assert!(image::open(dir.path().join("quality.png"))?.width() > 800);
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok(), "{}", stdout(&output));
    Ok(())
}

#[test]
fn calibrate_writes_a_policy_that_decode_takes() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (file, out) = (dir.path().join("p.toml"), dir.path().join("out"));
    let (file, out) = (file.to_string_lossy(), out.to_string_lossy());
    let target = ["--method", "input-delta", "--target-ratio", "0.4", "--clips", "1", "-o", &file];
    let output = run("calibrate", target)?;
    assert!(output.status.success(), "{}", stderr(&output));
    let again = run("calibrate", target)?;
    assert!(!again.status.success() && stderr(&again).contains("--force"), "{}", stderr(&again));

    let args = ["--prompt", "3 up dots", "--frames", "3", "--policy-file", &file, "--json", "--out", &out];
    let output = run("decode", args)?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let ratio = report["total"]["replay_ratio"].as_f64().ok_or("no ratio")?;
    assert!((0.1..0.8).contains(&ratio), "{ratio}");
    Ok(())
}

#[test]
fn measures_under_sparse_attention() -> TestResult {
    let dir = tempfile::tempdir()?;
    let (out, file) = (dir.path().join("q"), dir.path().join("p.toml"));
    let (out, file) = (out.to_string_lossy(), file.to_string_lossy());
    let sparse = ["--clips", "1", "--attention", "sink4+local32"];
    let few = ["--points", "1", "--from", "0.7", "--policies", "random", "--json", "--out", &out];
    let output = run("quality", [&sparse[..], &few].concat())?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let dense = &report["points"][0];
    assert_eq!((&dense["family"], &dense["traffic"]), (&Value::from("dense"), &Value::from(1.0)));
    assert!(dense["agreement"].as_f64().is_some_and(|a| a < 1.0), "attention alone costs something: {dense}");

    let target = ["--method", "input-delta", "--target-ratio", "0.4", "-o", &file];
    let output = run("calibrate", [&sparse[..], &target].concat())?;
    assert!(output.status.success(), "{}", stderr(&output));
    let policy = std::fs::read_to_string(&*file)?;
    assert!(policy.ends_with("[attention]\nlayers = [\"sink4+local32\"]\n"), "{policy}");
    Ok(())
}

#[test]
fn targets_out_of_reach_are_refused() -> TestResult {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("p.toml");
    let file = file.to_string_lossy();
    let refused = |args: &[&str], message: &str| -> TestResult {
        let model = model();
        let fixed = ["calibrate", "--model", &model.to_string_lossy(), "-o", &file, "--clips", "1"];
        let output = fastcar().args(fixed).args(args).output()?;
        assert!(!output.status.success() && stderr(&output).contains(message), "{}", stderr(&output));
        assert!(names(dir.path()).is_empty(), "nothing is written");
        Ok(())
    };
    refused(&["--method", "tas", "--target-ratio", "1.5"], "1.5")?;
    refused(&["--method", "tas", "--target-traffic", "0.1"], "0.1")?;
    refused(&["--method", "psychic", "--target-ratio", "0.5"], "psychic")
}
