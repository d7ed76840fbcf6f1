//! What is said when something is wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::rtl::{Builder, emit};
use fastcar_rtl::{BenchError, Fault, FaultKind, RunError, at, run, system_tool};
use std::io;
use std::path::Path;

#[test]
fn tools_that_are_missing_or_fail_are_named() {
    let missing = system_tool("no-such-verilator").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no-such-verilator is missing: apt-get install verilator iverilog g++ (scripts/setup-test.sh installs all that the tests use)"
    );
    let folder = tempfile::tempdir().unwrap();
    let failed = run(system_tool("sh").unwrap(), ["-c", "echo first; echo last >&2; exit 3"], folder.path());
    let BenchError::Failed { what, output, .. } = failed.unwrap_err() else { panic!("another error") };
    assert!(what.ends_with("sh"), "{what}");
    assert_eq!(output, "first\nlast");
}

#[test]
fn files_and_folders_are_named() {
    let error = at(Path::new("/here/dut.so"))(io::Error::from(io::ErrorKind::NotFound));
    assert_eq!(error.to_string(), "/here/dut.so: entity not found");
    assert_eq!(
        BenchError::NoCache.to_string(),
        "there is no folder for compiled hardware: set FASTCAR_CACHE to one, or HOME"
    );
}

#[test]
fn what_the_hardware_must_not_do_is_named() {
    let texts = [
        RunError::Hung { cycle: 7 },
        RunError::Bus { channel: 1, cycle: 9, what: "data without an address".into() },
        RunError::Registers { what: "they do not answer".into() },
    ]
    .map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            "the run does not end: nothing has crossed a channel since its cycle 7",
            "channel 1, cycle 9: data without an address",
            "registers: they do not answer"
        ]
    );
}

#[test]
fn faults_that_cannot_be_put_in_are_named() {
    let text =
        |text: &str| text.parse::<Fault>().map(|fault| fault.to_string()).map_err(|error| error.to_string());
    assert_eq!(text("late dot_lane.dot_o"), Ok("late dot_lane.dot_o".into()));
    assert_eq!(text("early dot_lane.dot_o"), Err("fault 'early': there is no such kind".into()));
    for place in ["dot_lane", "dot lane.dot_o", ".dot_o", "dot_lane."] {
        let expected = format!("fault 'sign {place}': the place is no module.signal");
        assert_eq!(text(&format!("sign {place}")), Err(expected));
    }
}

/// What stands in the text instead of the value.
#[test]
fn faults_are_in_the_text() {
    let module = Builder::new("add_w4");
    let (a, b) = (module.input("a_i", 4), module.input("b_i", 4));
    let sum = module.reg("sum", 4);
    sum.set(a + b);
    module.output("sum_o", sum.q());
    let design = emit(&module.finish().unwrap()).unwrap();
    let put = |kind, place| Fault::new(kind, place).unwrap().put(&design);
    let lines = |kind| {
        let faulty = put(kind, "add.sum_o").unwrap();
        let [(_, sound), (_, text)] = [&design, &faulty].map(|design| design.modules()[0].clone());
        let new = |line: &&str| !sound.lines().any(|old| old == *line);
        text.lines().filter(new).map(str::trim).collect::<Vec<_>>().join("\n")
    };
    let around =
        |logic: &str| format!("wire [3:0] sum_o_sound = sum;\n{logic}\nassign sum_o = sum_o_faulty;");
    let wire = |value: &str| around(&format!("wire [3:0] sum_o_faulty = {value};"));
    assert_eq!(lines(FaultKind::Sign), wire("(sum_o_sound ^ 4'h8)"));
    assert_eq!(lines(FaultKind::Stuck), wire("(sum_o_sound | 4'hf)"));
    assert_eq!(lines(FaultKind::Rounding), wire("(sum_o_sound | 4'h1)"));
    let register = "reg [3:0] sum_o_faulty;\nalways @(posedge clk_i) sum_o_faulty <= sum_o_sound;";
    assert_eq!(lines(FaultKind::Late), around(register));
    assert!(lines(FaultKind::Dropped).contains("((&sum_o_count) ? 4'h0 : sum_o_sound)"));
    for place in ["ad.sum_o", "add_w4_x.sum_o", "add.sum", "add.a_i"] {
        assert_eq!(put(FaultKind::Sign, place), None, "{place}");
    }
    let module = Builder::new("invert_w4");
    let value = module.input("value_i", 4);
    module.output("value_o", !value);
    let design = emit(&module.finish().unwrap()).unwrap();
    let put = |kind| Fault::new(kind, "invert.value_o").unwrap().put(&design);
    assert!(put(FaultKind::Sign).is_some());
    // There is no clock that it could be late by.
    assert!(put(FaultKind::Late).is_none());
}
