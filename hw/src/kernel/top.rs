//! The outermost module: the names that the vendor's tools know interfaces by, and nothing else.

use crate::rtl::{Design, Port};
use fastcar_xclbin::image::KERNEL;
use std::fmt::Write;

const CLOCK: &str = "ap_clk";
const RESET: &str = "ap_rst_n";
/// Outputs that AXI4 masters have and the machine does not use: normal accesses, no quality of service, one region.
const CONSTANTS: [(&str, u32); 3] = [("LOCK", 1), ("QOS", 4), ("REGION", 4)];
/// Address channels of a master, by the signal that shows one.
const ADDRESSES: [&str; 2] = ["AW", "AR"];

/// The design within a module of the kernel's name.
pub(super) fn vendor_top(design: Design) -> Design {
    let inner: Vec<(Port, Port)> =
        design.ports().iter().filter_map(|port| Some((port.clone(), outer(port)?))).collect();
    let constants = constants(inner.iter().map(|(_, outer)| outer));
    let single = |name: &str| Port { name: name.into(), width: 1, input: true };
    let mut ports = vec![single(CLOCK), single(RESET)];
    ports.extend(inner.iter().map(|(_, outer)| outer.clone()));
    ports.extend(constants.iter().cloned());
    let text = text(design.top(), &ports, &inner, &constants);
    design.within(KERNEL, text, ports)
}

/// What a port is called outside; nothing for clock and reset.
fn outer(port: &Port) -> Option<Port> {
    let name = port.name.strip_suffix("_i").or(port.name.strip_suffix("_o"))?;
    let name = match name.rsplit_once('_') {
        Some((bus, signal)) if bus.contains("_axi_") => format!("{bus}_{}", signal.to_uppercase()),
        _ if matches!(name, "clk" | "rst") => return None,
        _ => name.to_owned(),
    };
    Some(Port { name, ..port.clone() })
}

/// The outputs without a source, for each address channel that has a length: AXI4-Lite has none.
fn constants<'a>(ports: impl Iterator<Item = &'a Port>) -> Vec<Port> {
    let channels = ports.filter_map(|port| {
        let channel = port.name.strip_suffix("LEN")?;
        ADDRESSES.iter().any(|address| channel.ends_with(address)).then(|| channel.to_owned())
    });
    let with = |channel: String| {
        CONSTANTS.map(|(signal, width)| Port { name: format!("{channel}{signal}"), width, input: false })
    };
    channels.flat_map(with).collect()
}

fn text(inner: &str, ports: &[Port], connected: &[(Port, Port)], constants: &[Port]) -> String {
    // A word of C++ for Verilator; the vendor's tools want the name.
    let mut out = "// verilator lint_off SYMRSVDWORD\n`default_nettype none\n\n".to_owned();
    let _ = writeln!(out, "module {KERNEL} (");
    for (index, port) in ports.iter().enumerate() {
        let direction = if port.input { "input" } else { "output" };
        let range = if port.width == 1 { String::new() } else { format!("[{}:0] ", port.width - 1) };
        let comma = if index + 1 == ports.len() { "" } else { "," };
        let _ = writeln!(out, "    {direction} wire {range}{}{comma}", port.name);
    }
    let _ = writeln!(out, ");\n    reg reset;\n    always @(posedge {CLOCK}) reset <= ~{RESET};\n");
    for port in constants {
        let _ = writeln!(out, "    assign {} = {}'d0;", port.name, port.width);
    }
    let _ = write!(out, "\n    {inner} u_kernel (\n        .clk_i({CLOCK}),\n        .rst_i(reset)");
    for (port, outer) in connected {
        let _ = write!(out, ",\n        .{}({})", port.name, outer.name);
    }
    out.push_str("\n    );\nendmodule\n\n`default_nettype wire\n");
    out
}
