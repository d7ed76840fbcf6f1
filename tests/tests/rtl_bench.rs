//! The bench itself: it objects to what is wrong, and blocks need no more than reset to begin.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::prim::{CreditCounter, Fifo, RoundRobin, SkidBuffer, Wider};
use fastcar_hw::rtl::{Bits, Block, Builder, Module, Port, RamStyle, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{BenchError, Gaps, Random, Rtl, accept, gather, prove, skipped};
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

/// A register between two streams that forgets to look at `ready`.
fn leaky() -> Arc<Module> {
    let m = Builder::new("leaky");
    let input = m.stream_in("in", 2);
    let (valid, data) = (m.reg("valid", 1).reset(0), m.reg("data", 2));
    valid.set(input.valid);
    data.set(input.data);
    input.ready.set(m.lit(1, 1));
    m.stream_out("out", m.stream("out_ready", valid.q(), data.q()));
    m.finish().unwrap()
}

#[test]
fn a_property_that_does_not_hold_fails() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let harness = "module harness(input wire clk, input wire in_valid, input wire [1:0] in_data, input wire out_ready);
    reg started = 0;
    always @(posedge clk) started <= 1;
    wire in_ready, out_valid;
    wire [1:0] out_data;
    leaky dut(.clk_i(clk), .rst_i(!started), .in_valid_i(in_valid), .in_data_i(in_data), .in_ready_o(in_ready),
        .out_valid_o(out_valid), .out_data_o(out_data), .out_ready_i(out_ready));
    always @(posedge clk) if (started && $past(started) && $past(out_valid && !out_ready)) assert(out_valid);
endmodule
";
    let error = prove(&emit(&leaky())?, harness, 6, false).unwrap_err();
    assert!(matches!(&error, BenchError::Failed { output, .. } if output.contains("FAIL")), "{error}");
    Ok(())
}

#[test]
fn a_loop_is_objected_to() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let invert = {
        let m = Builder::new("invert");
        m.output("y_o", !m.input("a_i", 1));
        m.finish()?
    };
    let m = Builder::new("ring");
    let part = m.instance("part", &invert)?;
    part.set("a_i", part.get("y_o"));
    m.output("y_o", part.get("y_o"));
    let error = accept(&emit(&m.finish()?)?).unwrap_err();
    assert!(error.to_string().contains("UNOPTFLAT"), "{error}");
    Ok(())
}

#[test]
#[should_panic(expected = "has no output sum_o; it has")]
fn a_port_that_is_not_there_is_named() {
    if skipped() {
        panic!("has no output sum_o; it has (left out)");
    }
    Rtl::build(&leaky()).unwrap().get("sum_o");
}

/// Whether a port is an output that reset decides; what goes with data is anything before the first word.
fn control(port: &Port) -> bool {
    !port.input && !["_data_", "_keep_", "_last_"].iter().any(|data| port.name.contains(data))
}

/// Registers begin with anything; after reset two devices with different beginnings do the same.
#[test]
fn reset_is_enough() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let parts = [
        ("shallow", Fifo::new(8, 5, RamStyle::Distributed)?.module()?),
        ("deep", Fifo::new(8, 7, RamStyle::Block)?.module()?),
        ("skid", SkidBuffer::new(8)?.module()?),
        ("wider", Wider::new(8, 4)?.module()?),
        ("arbiter", RoundRobin::new(5)?.module()?),
        ("credit", CreditCounter::new(6)?.module()?),
    ];
    let all = gather("beginnings", &parts)?;
    let mut devices: Vec<Rtl> =
        (1..=3).map(|seed| Rtl::build_random(&all, seed)).collect::<Result<_, _>>()?;
    let differ = |devices: &mut [Rtl], port: &str| {
        let values: BTreeSet<u64> = devices.iter_mut().map(|dut| dut.get(port)).collect();
        values.len() > 1
    };
    assert!(
        differ(&mut devices, "credit_count_o") || differ(&mut devices, "deep_count_o"),
        "nothing began at random"
    );
    devices.iter_mut().for_each(Rtl::reset);
    let inputs: Vec<_> = devices[0].inputs().map(|(name, width)| (name.to_string(), width)).collect();
    let mut random = Random::new(1);
    let mut gaps: Vec<Gaps> = inputs.iter().map(|_| Gaps::new(50)).collect();
    for cycle in 0..2000 {
        for ((name, width), gaps) in inputs.iter().zip(&mut gaps).filter(|((name, _), _)| name != "rst_i") {
            let bits = match width {
                1 => Bits::from_u64(1, u64::from(gaps.next(&mut random))),
                _ => random.bits(*width),
            };
            devices.iter_mut().for_each(|dut| dut.set(name, &bits));
        }
        for port in all.ports().iter().filter(|port| control(port)) {
            assert!(!differ(&mut devices, &port.name), "{} in cycle {cycle}", port.name);
        }
        devices.iter_mut().for_each(Rtl::tick);
    }
    Ok(())
}

/// A run that is asked for waveforms has them, with the signals inside; one that fails leaves its ports.
#[test]
fn waveforms_are_written() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let again = |test: &str| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--include-ignored", "--nocapture"]).env("RTL_TRACE", folder.path());
        command.output().unwrap()
    };
    assert!(again("traced").status.success());
    let failed = again("failing");
    assert!(!failed.status.success());
    let files: Vec<_> = std::fs::read_dir(folder.path())?.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        assert!(text.contains(" valid $end") && text.contains("#20"), "{}", file.display());
    }
    let text = String::from_utf8(failed.stderr)?;
    let ports = text.lines().find_map(|line| line.split("the last cycles are in ").nth(1)).unwrap();
    let wave = std::fs::read_to_string(ports)?;
    std::fs::remove_file(ports)?;
    assert!(wave.contains("p0 in_data_i $end") && wave.contains("b11 p0\n"), "{wave}");
    Ok(())
}

fn ten_cycles() -> Rtl {
    let mut dut = Rtl::build(&leaky()).unwrap();
    dut.reset();
    for word in 0..10 {
        dut.set("in_valid_i", true);
        dut.set("in_data_i", word & 3);
        dut.tick();
    }
    dut
}

#[test]
#[ignore = "run by waveforms_are_written"]
fn traced() {
    assert!(ten_cycles().is_set("out_valid_o"));
}

#[test]
#[ignore = "run by waveforms_are_written"]
fn failing() {
    let mut dut = ten_cycles();
    assert!(!dut.is_set("out_valid_o"), "as intended");
}

/// Not a limit, a figure: cycles per second of a small device through the bench.
#[test]
#[ignore = "a measurement"]
fn speed() -> TestResult {
    let mut dut = Rtl::build(&Fifo::new(512, 32, RamStyle::Block)?.module()?)?;
    dut.reset();
    let begin = Instant::now();
    let cycles = 1_000_000;
    for cycle in 0..cycles {
        dut.set("in_valid_i", true);
        dut.set("out_ready_i", cycle % 2 == 0);
        dut.tick();
    }
    println!("{:.0} cycles/s", f64::from(cycles) / begin.elapsed().as_secs_f64());
    Ok(())
}
