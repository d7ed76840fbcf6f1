//! How designs are written, and what is said of circuits that cannot be.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::pe::DotLane;
use fastcar_hw::prim::{Fifo, SkidBuffer};
use fastcar_hw::rtl::{Bits, Builder, Module, RamStyle, RtlError, Simulator, emit};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Two queues alike, one that is not, a buffer.
fn design() -> Arc<Module> {
    let m = Builder::new("pipeline");
    let mut stream = m.stream_in("in", 8);
    for (name, depth) in [("first", 4), ("second", 4), ("third", 5)] {
        stream = Fifo::new(8, depth, RamStyle::Block).unwrap().after(&m, name, stream).unwrap();
    }
    let stream = SkidBuffer::new(8).unwrap().after(&m, "fourth", stream).unwrap();
    m.stream_out("out", stream);
    m.finish().unwrap()
}

#[test]
fn equal_modules_are_written_once() {
    let design = emit(&design()).unwrap();
    let names: Vec<&str> = design.modules().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["fifo_w8_d4_block", "fifo_w8_d5_block", "skid_w8", "pipeline"]);
    assert_eq!(design.top(), "pipeline");
    for (name, text) in design.modules() {
        assert!(text.starts_with("`default_nettype none\n"), "{name}");
        assert!(text.ends_with("`default_nettype wire\n"), "{name}");
        assert_eq!(text.matches(&format!("module {name} (")).count(), 1, "{name}");
    }
}

#[test]
fn the_same_design_is_the_same_bytes() {
    assert_eq!(emit(&design()).unwrap(), emit(&design()).unwrap());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let texts = folders.each_ref().map(|folder| {
        let design = emit(&design()).unwrap();
        design.write(folder.path()).unwrap();
        let list = std::fs::read_to_string(folder.path().join("files.f")).unwrap();
        assert_eq!(list.lines().collect::<Vec<_>>(), design.files());
        let found: BTreeSet<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(found.len(), design.files().len() + 1);
        list.lines().map(|file| std::fs::read(folder.path().join(file)).unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn verilog_is_readable() {
    let m = Builder::new("limit_w8");
    let (value, limit) = (m.input("value_i", 8), m.input("limit_i", 8));
    let under = value.lt_signed(limit).named("under");
    let count = m.reg("count", 4).reset(3);
    count.set_when(under, count.q() + 1);
    m.output("value_o", under.mux(value, limit));
    m.output("count_o", count.q());
    let text = emit(&m.finish().unwrap()).unwrap().modules()[0].1.clone();
    assert_eq!(
        text,
        "`default_nettype none

module limit_w8 (
    input wire clk_i,
    input wire rst_i,
    input wire [7:0] value_i,
    input wire [7:0] limit_i,
    output wire [7:0] value_o,
    output wire [3:0] count_o
);
    reg [3:0] count;
    wire under = ($signed(value_i) < $signed(limit_i));
    assign value_o = (under ? value_i : limit_i);
    assign count_o = count;
    always @(posedge clk_i) begin
        if (rst_i) count <= 4'h3;
        else if (under) count <= (count + 4'h1);
    end
endmodule

`default_nettype wire
"
    );
}

#[test]
fn thousands_of_lanes_take_seconds() {
    let begin = Instant::now();
    let lane = DotLane::new(32).unwrap();
    let m = Builder::new("array");
    let valid = m.input("valid_i", 1);
    let act = m.input("act_i", 256);
    let sums: Vec<_> = (0..4096)
        .map(|n| {
            let one = m.instance(&format!("lane_{n}"), &lane).unwrap();
            one.set("valid_i", valid);
            one.set("act_i", act);
            one.set("weight_i", act.slice(n % 8, 248).zext(256));
            one.get("dot_o")
        })
        .collect();
    m.output("dots_o", m.pack(&sums));
    let design = emit(&m.finish().unwrap()).unwrap();
    assert_eq!(design.modules().len(), 2);
    assert_eq!(design.modules()[1].1.matches("dot_lane_int8_n32 lane_").count(), 4096);
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// What is said of a module.
fn refused(build: impl FnOnce(&Builder)) -> String {
    let m = Builder::new("wrong");
    build(&m);
    let text = m.finish().unwrap_err().to_string();
    // The line moves with this file.
    match text.split_once("emission.rs:") {
        Some((before, after)) => {
            format!("{before}HERE{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        None => text,
    }
}

#[test]
fn errors_say_what_and_where() {
    let texts = [
        refused(|m| {
            let sum = m.input("a_i", 8) + m.input("b_i", 9);
            m.output("y_o", sum);
        }),
        refused(|m| m.output("y_o", m.input("a_i", 8).slice(5, 4))),
        refused(|m| m.output("y_o", m.input("a_i", 8) + 256)),
        refused(|m| m.output("y_o", m.input("a_i", 0))),
        refused(|m| m.output("y_o", m.reg("state", 2).q())),
        refused(|m| m.output("y_o", m.later("ready", 1).wire())),
        refused(|m| m.output("case", m.input("a_i", 1))),
        refused(|m| m.output("a_i", m.input("a_i", 1))),
        refused(|m| {
            let state = m.reg("state", 1);
            state.set(m.lit(1, 0));
            state.set(m.lit(1, 1));
        }),
        refused(|m| {
            let skid = m.instance("skid", &SkidBuffer::new(8).unwrap()).unwrap();
            m.output("y_o", skid.get("out_dta_o"));
        }),
        refused(|m| {
            let _ = m.instance("skid", &SkidBuffer::new(8).unwrap()).unwrap();
        }),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn modules_do_not_mix() {
    let (m, other) = (Builder::new("mixed"), Builder::new("other"));
    m.output("y_o", m.input("a_i", 1) & other.lit(1, 1));
    let error = m.finish().unwrap_err().to_string();
    assert!(
        error.ends_with("an operand belongs to module other, not to mixed; connect modules through ports"),
        "{error}"
    );
}

#[test]
fn two_modules_of_one_name_are_refused() {
    let part = |bit| {
        let m = Builder::new("part");
        m.output("y_o", m.lit(1, bit));
        m.finish().unwrap()
    };
    let m = Builder::new("whole");
    for bit in [0, 1] {
        let one = m.instance(&format!("part_{bit}"), &part(bit)).unwrap();
        m.output(&format!("y{bit}_o"), one.get("y_o"));
    }
    let error = emit(&m.finish().unwrap()).unwrap_err();
    assert_eq!(error, RtlError::ModuleTwice { name: "part".into() });
}

#[test]
fn loops_are_found() {
    let through = {
        let m = Builder::new("through");
        m.output("y_o", !m.input("a_i", 1));
        m.finish().unwrap()
    };
    let m = Builder::new("ring");
    let part = m.instance("part", &through).unwrap();
    part.set("a_i", part.get("y_o"));
    let error = Simulator::new(&m.finish().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "ring: combinational loop through ring, ring.part");
}

#[test]
fn parameters_that_cannot_be_are_refused() {
    let text = |error: RtlError| error.to_string();
    assert_eq!(
        text(Fifo::new(8, 1, RamStyle::Block).unwrap_err()),
        "fifo: depth is 1; it must be 1 to 1048576, and at least 2 in block RAM and UltraRAM"
    );
    assert_eq!(
        text(Fifo::new(8, 4, RamStyle::Block).unwrap().almost_full_at(5).unwrap_err()),
        "fifo: almost is 5; it must be 1 to the depth"
    );
    assert_eq!(
        text(DotLane::new(12).unwrap_err()),
        "dot lane: lanes is 12; it must be a power of two up to 65536"
    );
}

#[test]
fn an_instance_may_be_reset_alone() {
    let counter = |name: &str, inner: bool| {
        let m = Builder::new(name);
        let count = m.reg("count", 4).reset(3);
        count.set(count.q() + 1);
        m.output("count_o", count.q());
        if inner {
            let part = m.instance("u_part", &part_of()).unwrap();
            m.output("part_o", part.get("count_o"));
        }
        m.finish().unwrap()
    };
    fn part_of() -> Arc<Module> {
        let m = Builder::new("part");
        let count = m.reg("count", 4).reset(9);
        count.set(count.q() + 1);
        m.output("count_o", count.q());
        m.finish().unwrap()
    }
    let m = Builder::new("whole");
    let (first, second) = (
        m.instance("u_first", &counter("nested", true)).unwrap(),
        m.instance("u_second", &counter("plain", false)).unwrap(),
    );
    first.reset_by(m.input("clear_i", 1));
    m.output("first_o", first.get("count_o"));
    m.output("part_o", first.get("part_o"));
    m.output("second_o", second.get("count_o"));
    let module = m.finish().unwrap();
    let text = emit(&module).unwrap();
    let top = text.modules().iter().find(|(name, _)| name == "whole").map(|(_, text)| text.clone()).unwrap();
    assert_eq!(top.matches(".rst_i(rst_i | clear_i)").count(), 1, "{top}");
    assert_eq!(top.matches(".rst_i(rst_i)").count(), 1, "{top}");

    let mut sim = Simulator::new(&module).unwrap();
    let value = |sim: &mut Simulator, name: &str| sim.get(name).unwrap().to_u64().unwrap();
    sim.set("clear_i", Bits::from_u64(1, 0)).unwrap();
    sim.set("rst_i", Bits::from_u64(1, 1)).unwrap();
    sim.tick();
    sim.set("rst_i", Bits::from_u64(1, 0)).unwrap();
    sim.tick();
    assert_eq!(["first_o", "part_o", "second_o"].map(|name| value(&mut sim, name)), [4, 10, 4]);
    sim.set("clear_i", Bits::from_u64(1, 1)).unwrap();
    sim.tick();
    assert_eq!(["first_o", "part_o", "second_o"].map(|name| value(&mut sim, name)), [3, 9, 5]);
}
