//! AXI as cocotbext-axi understands it, an implementation that knows nothing of this one: its memory and its master against the ports.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, BURST_BYTES};
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{MAP_BYTES, RegisterMap, Reset};
use fastcar_hw::axi::{BurstPort, Control, Handshake, ReadMaster, WriteMaster};
use fastcar_hw::rtl::{Builder, Instance, Module, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{cocotb, skipped};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const SEED: u64 = 31;

/// A part's ports under the names that the bench looks for: those of AXI with a prefix in place of `axi`, others as `name` says.
fn expose<'m>(m: &'m Builder, part: &Instance<'m>, prefix: &str, name: impl Fn(&str) -> Option<String>) {
    for port in part.module().ports().to_vec() {
        let plain = port.name.strip_suffix(if port.input { "_i" } else { "_o" }).unwrap();
        let axi = plain.strip_prefix("axi_").map(|signal| format!("{prefix}_{signal}"));
        let Some(outer) = axi.or_else(|| name(plain)) else { continue };
        if port.input {
            part.set(&port.name, m.input(&outer, port.width));
        } else {
            m.output(&outer, part.get(&port.name));
        }
    }
}

/// Both masters on one AXI4 port with identifiers, which that memory wants.
fn masters(port: BurstPort) -> Result<Arc<Module>, Box<dyn std::error::Error>> {
    let m = Builder::new("channel_bench");
    let read = m.instance("read", &ReadMaster::new(port))?;
    let write = m.instance("write", &WriteMaster::new(port))?;
    let (base, clear) = (m.input("base", 64), m.input("clear", 1));
    for (part, side, other) in [(&read, "read", "r"), (&write, "write", "w")] {
        part.set("base_i", base);
        part.set("clear_i", clear);
        expose(&m, part, "m_axi", |name| match name {
            "base" | "clear" | "error_address" | "error_response" => None,
            "error_valid" => Some(format!("error_{side}")),
            "under_way" => Some(format!("under_way_{side}")),
            _ if name.starts_with("req_") || name.starts_with("data_") => Some(format!("{other}_{name}")),
            _ => Some(name.to_string()),
        });
    }
    for channel in ["ar", "aw"] {
        m.output(&format!("m_axi_{channel}id"), m.lit(1, 0));
    }
    // Identifiers that come back are those that were sent: there is one.
    let _ = [m.input("m_axi_rid", 1), m.input("m_axi_bid", 1)];
    Ok(m.finish()?)
}

#[test]
fn masters_move_what_was_asked() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for preset in ["tiny", "u55c"] {
        let config = AccelConfig::preset(preset)?;
        let port = BurstPort::reads(&config, 5)?;
        let facts = json!({
            "beat": config.beat().get(),
            "burst": BURST_BYTES / config.beat().get(),
            "address": port.address_bits(),
            "length": port.length_bits(),
            "tag": port.tag_bits(),
            "base": 0x1_2345_6000_u64,
            "size": 1_u64 << 40,
            "turns": 8,
        });
        let script = include_str!("../src/rtl/cocotb/masters.py");
        cocotb(&emit(&masters(port)?)?, script, &facts, SEED)?;
    }
    Ok(())
}

/// What the bench is told about a register.
fn fact(register: &fastcar_arch::regs::Register, identity: &[u32; 8]) -> Value {
    let mut fact = json!({
        "offset": register.offset,
        "bytes": register.bits / 8,
        "argument": register.argument.is_some(),
    });
    match register.reset {
        Reset::Constant(value) | Reset::Configuration(value) => fact["constant"] = value.into(),
        Reset::Identity(word) => fact["constant"] = identity[word].into(),
        Reset::Value(_) => {}
    }
    fact
}

#[test]
fn registers_answer() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("edge")?;
    let m = Builder::new("registers_bench");
    let control = m.instance("control", &Control::new(&config, Handshake::Chain))?;
    // `program` is a word of SystemVerilog.
    expose(&m, &control, "s_axi", |name| Some(format!("k_{name}")));
    let module = m.finish()?;
    let map = RegisterMap::new(&config);
    let identity = Identity::of(&config).words();
    let registers: Map<_, _> = map.registers().iter().map(|r| (r.name.clone(), fact(r, &identity))).collect();
    let ctrl: Map<_, _> =
        map.get("CTRL").unwrap().fields.iter().map(|f| (f.name.to_string(), f.low.into())).collect();
    let inputs: Vec<_> =
        module.ports().iter().filter(|port| port.input).map(|port| port.name.clone()).collect();
    let facts = json!({ "registers": registers, "ctrl": ctrl, "inputs": inputs, "bytes": MAP_BYTES });
    cocotb(&emit(&module)?, include_str!("../src/rtl/cocotb/registers.py"), &facts, SEED)?;
    Ok(())
}
