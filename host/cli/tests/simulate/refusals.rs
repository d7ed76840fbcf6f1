//! Bad input and faults: each with its exit code and what the message says.

use crate::{TestResult, fastcar, tiny};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let assert = tiny(args).code(code).stdout("");
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(text.starts_with("error: ") && !text.contains("panicked"), "{text}");
    parts.iter().for_each(|part| assert!(text.contains(part), "{part} is not in {text}"));
}

#[test]
fn names() {
    let machine = |args: &[&str]| {
        let assert = fastcar().arg("simulate").args(args).assert().stdout("");
        let output = assert.get_output();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = machine(&["--workload", "llama-9t"]);
    assert_eq!(code, Some(1));
    assert!(
        text.contains("no workload is named 'llama-9t': the workloads are tiny, moving-digits"),
        "{text}"
    );
    let (code, text) = machine(&["--preset", "u9"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("no preset is named 'u9'; the presets are tiny, edge"), "{text}");
    let (code, text) = machine(&["--preset", "/nowhere.toml"]);
    assert_eq!(code, Some(1));
    assert!(text.contains("cannot read configuration file /nowhere.toml"), "{text}");
    refused(
        &["--policy", "magic"],
        2,
        &["no scheduling policy is named 'magic'", "static, compact, overlap"],
    );
    refused(&["--memory", "tape"], 2, &["no memory is named 'tape'"]);
    refused(&["--attention", "some"], 2, &["attention 'some'"]);
    refused(&["--set", "colums=3"], 2, &["no field 'colums'", "columns", "vector_lanes"]);
    refused(&["--set", "columns=many"], 2, &["FIELD=NUMBER"]);
    refused(&["--set", "name=3"], 2, &["no field 'name'"]);
}

#[test]
fn numbers() {
    refused(&["--replay", "0.8"], 1, &["replay is 0.8", "0.7500", "the first frame has nothing to replay"]);
    refused(&["--replay", "1.5"], 2, &["a share from 0 to 1, or cap"]);
    refused(&["--replay", "0.1", "--delta", "0.1"], 2, &["cannot be used with"]);
    refused(&["--batch", "5"], 1, &["batch is 5", "preset 'tiny' has 1 to 4 slots"]);
    refused(&["--batch", "3", "--guided"], 1, &["batch is 3", "two rows each"]);
    refused(&["--positions", "40..49"], 1, &["positions is 40..49", "generates 48 positions"]);
    refused(&["--positions", "9..9"], 2, &["A..B with A below B"]);
    refused(&["--frames", "4294967295"], 2, &["--frames 4294967295 is too many"]);
    refused(&["--set", "columns=9"], 2, &["config.columns = 9", "from 1 to 4"]);
    refused(&["--set", "columns=4294967297"], 2, &["beyond what the field holds"]);
    refused(&["--correlation", "2", "--batch", "cfg", "--replay", "0.1"], 1, &["correlation is 2"]);
    refused(&["--profile", "0,0", "--replay", "0.1"], 1, &["the other layers have weight 0"]);
    refused(&["--delta", "0.5:0.5"], 2, &["QKV:O:UP:DOWN"]);
}

#[test]
fn flags_that_do_not_belong_together() {
    refused(&["--coupled"], 2, &["guided pairs", "--replay"]);
    refused(&["--correlation", "0.5", "--replay", "0.5"], 2, &["--batch cfg or --guided"]);
    refused(&["--gate", "input-delta"], 2, &["add --replay SHARE"]);
    refused(&["--trace-position", "3"], 2, &["--trace"]);
    let dir = std::env::temp_dir().join("fastcar-not-written.json");
    let dir = dir.to_string_lossy();
    refused(&["--positions", "0..4", "--trace", &dir, "--trace-position", "4"], 2, &["0..4"]);
}

#[test]
fn what_does_not_fit() {
    let args = ["simulate", "--workload", "vila-u-7b", "--body-only", "--batch", "32", "--quiet"];
    let assert = fastcar().args(args).assert().code(1).stdout("");
    let text = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(
        text.contains("memory map: region 'kv.") && text.contains("of 536870912 bytes are left"),
        "{text}"
    );
}

#[test]
fn a_signal_stops_a_run() -> TestResult {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fastcar"));
    // A whole video of a large model takes far longer than this test.
    command.args(["simulate", "--workload", "vila-u-7b", "--body-only"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut messages = BufReader::new(child.stderr.take().ok_or("no standard error")?);
    let mut line = String::new();
    messages.read_line(&mut line)?;
    assert_eq!(line, "simulating: 2108 steps\n");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status()?.success());
    let mut rest = String::new();
    messages.read_to_string(&mut rest)?;
    assert_eq!(child.wait()?.code(), Some(130), "{rest}");
    assert_eq!(rest, "error: interrupted while simulating; nothing was written\n");
    Ok(())
}

#[test]
fn faults_end_the_run_with_command_and_unit() -> TestResult {
    let all = "0:0..0x10000000";
    let read = ["channel 0 answered a read for the command processor", "(SLVERR)", "status 'read'"];
    refused(&["--fault", &format!("read-error:{all}")], 1, &read);
    refused(&["--fault", &format!("ecc:{all}")], 1, &["uncorrectable ECC error", "status 'read'"]);
    refused(
        &["--fault", &format!("write-error:{all}")],
        1,
        &["answered a write for the memory writer", "(kv_append)", "status 'write'"],
    );
    refused(
        &["--fault", "stuck:0:500"],
        1,
        &["watchdog: nothing has moved since cycle", "waits in the", "State:", "channel 0:"],
    );
    refused(&["--fault", "ecc:7:0..1"], 1, &["port 7"]);
    refused(&["--fault", "ecc:7"], 2, &["read-error:CHANNEL:START..END"]);
    // A fault that nothing meets changes nothing.
    tiny(&["--fault", "stuck:0:1000000000"]).success();
    Ok(())
}
