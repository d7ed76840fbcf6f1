//! `fastcar decode --backend opencl` on the platform that is linked into the command, and `fastcar devices`.

use crate::{TestResult, fastcar, names, run, stderr, stdout};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

const POLICY: [&str; 6] = ["--policy", "replay", "--gate", "random", "--ratio", "0.6"];

/// The command without the variables that choose libraries and devices.
fn clean() -> Command {
    let mut command = fastcar();
    for name in [
        "FASTCAR_DEVICE",
        "OPENCL_DYLIB_PATH",
        "FASTCAR_SIM_DEVICES",
        "FASTCAR_SIM_MODE",
        "FASTCAR_SIM_FAULT",
    ] {
        command.env_remove(name);
    }
    command
}

fn decode(dir: &Path, args: &[&str], variables: &[(&str, &str)]) -> std::io::Result<Output> {
    let mut command = clean();
    command.args(["decode", "--prompt", "7 left stripes", "--frames", "2", "--out"]).arg(dir);
    command.arg("--model").arg(crate::model()).args(args).envs(variables.iter().copied()).output()
}

fn json(dir: &Path, args: &[&str]) -> Result<Value, Box<dyn std::error::Error>> {
    let output = decode(dir, &[args, &["--json"]].concat(), &[])?;
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[test]
fn a_device_gives_the_same_tokens_and_takes_the_simulators_time() -> TestResult {
    let dir = tempfile::tempdir()?;
    let with = |backend| json(dir.path(), &[&["--backend", backend], &POLICY[..]].concat());
    let (sim, opencl) = (with("sim")?, with("opencl")?);
    assert_eq!(sim["sequences"], opencl["sequences"]);
    assert!(opencl.get("simulated").is_none() && sim.get("device").is_none());
    let figures = &opencl["device"];
    let number = |name: &str| figures[name].as_f64().ok_or(format!("{name} is no number: {figures}"));
    assert_eq!(figures["name"], "edge (simulated)");
    assert_eq!(figures["image_identity"], opencl["identity"]);
    assert_eq!(figures["speed_up_over_dense"], Value::Null);
    // The same machine; program, step table and report lie elsewhere in its memory.
    let cycles = sim["simulated"]["milliseconds"].as_f64().ok_or("no time")?;
    assert!((number("milliseconds")? / cycles - 1.0).abs() < 0.05, "{figures} against {cycles} ms");
    assert!((number("positions_per_second")? * number("milliseconds")? / 128e3 - 1.0).abs() < 1e-6);
    assert!(number("load_bytes")? > 1e6 && number("load_seconds")? > 0.0);
    assert!((1e8..15.8e9).contains(&number("link_bytes_per_second")?), "{figures}");
    Ok(())
}

#[test]
fn a_speed_up_is_told_where_the_dense_decode_was_asked_for() -> TestResult {
    let dir = tempfile::tempdir()?;
    let all = [
        "--policy",
        "replay",
        "--gate",
        "always",
        "--compare-dense",
        "--backend",
        "opencl",
        "--device",
        "sim",
    ];
    let report = json(dir.path(), &all)?;
    let speed_up = report["device"]["speed_up_over_dense"].as_f64().ok_or("no speed-up")?;
    assert!((1.05..3.0).contains(&speed_up), "{speed_up}");
    let output = decode(dir.path(), &all, &[])?;
    let text = stdout(&output);
    for line in
        ["device       edge (simulated), image identity ", "load         ", "device time  ", "host time    "]
    {
        assert!(text.contains(&format!("\n{line}")), "{line}: {text}");
    }
    assert!(text.contains("x over the dense decode on the same device\n"), "{text}");
    Ok(())
}

#[test]
fn an_image_from_a_file_is_used_and_checked() -> TestResult {
    let dir = tempfile::tempdir()?;
    let path = |preset: &str| dir.path().join(format!("{preset}.xclbin"));
    for preset in ["edge", "tiny"] {
        let out = path(preset);
        let made = fastcar().args(["xclbin", "pack", "--preset", preset, "--out"]).arg(&out).output()?;
        assert!(made.status.success(), "{}", stderr(&made));
    }
    let with = |preset: &str| {
        let path = path(preset).to_string_lossy().into_owned();
        decode(dir.path(), &["--backend", "opencl", "--xclbin", &path], &[])
    };
    let output = with("edge")?;
    assert!(output.status.success(), "{}", stderr(&output));
    let output = with("tiny")?;
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("(preset 'tiny'), the weights are packed for identity"),
        "{}",
        stderr(&output)
    );
    let listed = clean().args(["devices", "--xclbin"]).arg(path("tiny")).output()?;
    let text = stdout(&listed);
    assert!(text.contains("\nimage   simulator, preset tiny, identity "), "{text}");
    assert!(
        text.contains("\ndevice  0 (tiny (simulated))\n")
            && text.contains("\nbanks   DDR[0] of 256.00 MiB\n"),
        "{text}"
    );
    Ok(())
}

/// Arguments, variables, and what standard error has.
type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);

#[test]
fn what_goes_wrong_is_said_and_nothing_is_written() -> TestResult {
    let dir = tempfile::tempdir()?;
    let opencl = ["--backend", "opencl"];
    let cases: [Case; 6] = [
        (
            &["--device", "sim"],
            &[("FASTCAR_SIM_DEVICES", "tiny,u50")],
            "error: no OpenCL device is 'edge': there is",
        ),
        (
            &["--device", "9"],
            &[("OPENCL_DYLIB_PATH", "")],
            "error: no OpenCL device is '9': there is 0 'u55c (simulated)'",
        ),
        (
            &[],
            &[("OPENCL_DYLIB_PATH", "/nowhere.so")],
            "error: OPENCL_DYLIB_PATH is '/nowhere.so', and none of it loads",
        ),
        (&["--xclbin", "/nowhere.xclbin"], &[], "error: cannot read image /nowhere.xclbin: No such file"),
        (
            &["--timeout", "0.5"],
            &[("FASTCAR_SIM_FAULT", "hang@9")],
            "has not ended after 0.5 s: the device hangs",
        ),
        (&[], &[("FASTCAR_SIM_FAULT", "lost@9")], "opencl: clEnqueueTask answered CL_"),
    ];
    for (args, variables, expected) in cases {
        let output = decode(dir.path(), &[&opencl, args].concat(), variables)?;
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{expected}: {}", stderr(&output));
    }
    assert_eq!(names(dir.path()), [""; 0]);
    Ok(())
}

#[test]
fn flags_of_a_device_belong_to_it() -> TestResult {
    for (args, expected) in [
        (&["--device", "sim"][..], "error: --device belongs to OpenCL devices: add --backend opencl\n"),
        (
            &["--timeout", "1", "--backend", "sim"],
            "error: --timeout belongs to OpenCL devices: add --backend opencl\n",
        ),
        (
            &["--drs", "static", "--backend", "opencl"],
            "error: --drs belongs to the simulator: add --backend sim\n",
        ),
        (
            &["--record", "x", "--backend", "opencl"],
            "error: --record needs decisions, which a device does not give: add --backend golden or sim\n",
        ),
    ] {
        let output = run("decode", [&["--prompt", "7 left stripes"], args].concat())?;
        assert_eq!((output.status.code(), &stderr(&output)[..]), (Some(2), expected));
    }
    let output = run("decode", ["--prompt", "x", "--backend", "opencl", "--timeout", "-1"])?;
    assert!(stderr(&output).contains("must be a positive number of seconds"), "{}", stderr(&output));
    Ok(())
}

#[test]
fn devices_are_listed() -> TestResult {
    let listed = |variables: &[(&str, &str)]| -> Result<Value, Box<dyn std::error::Error>> {
        let output = clean().args(["devices", "--json"]).envs(variables.iter().copied()).output()?;
        assert!(output.status.success(), "{}", stderr(&output));
        Ok(serde_json::from_slice(&output.stdout)?)
    };
    let all = listed(&[])?;
    let names: Vec<&str> =
        all["devices"].as_array().into_iter().flatten().filter_map(|d| d["name"].as_str()).collect();
    let presets = fastcar_arch::config::AccelConfig::PRESETS.map(|p| format!("{p} (simulated)"));
    assert_eq!(names, presets);
    let two = listed(&[("FASTCAR_SIM_DEVICES", "tiny*2")])?;
    assert_eq!(two["devices"].as_array().map(Vec::len), Some(2));
    let output = clean().arg("devices").output()?;
    assert!(stdout(&output).starts_with("device "), "{}", stdout(&output));
    // The system may have a library, platforms and devices, or none; never the simulator's five.
    let output = clean().args(["devices", "--system"]).env("OCL_ICD_VENDORS", "/nowhere").output()?;
    assert!(!stdout(&output).contains("u55c (simulated)"), "{}", stdout(&output));
    assert!(output.status.success() || stderr(&output).starts_with("error: "), "{}", stderr(&output));
    Ok(())
}
