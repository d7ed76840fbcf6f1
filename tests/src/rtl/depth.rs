//! How many look-up tables a signal goes through between two registers.

use super::accept::{NETLIST, synthesised};
use fastcar_hw::rtl::Design;
use fastcar_rtl::{BenchError, Held, at};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::fs;

/// The deepest path of a design.
///
/// A path begins and ends at a register, a shift register, a DSP block, a block RAM, an UltraRAM or a port; enables and resets of
/// registers are ends too. Each look-up table, inverter and read of a distributed RAM on the way is a level. Carry chains and the
/// multiplexers of a slice (`MUXF7` to `MUXF9`) are passed but not counted: they have wires of their own. A DSP block counts as a
/// boundary whether or not its registers are in use. The levels are those of Yosys's mapping, which may be more than it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Levels of look-up tables.
    pub levels: u32,
    /// What the path begins with: a signal.
    pub from: String,
    /// What the path ends at: a signal, the one that a cell drives, with the cell's pin.
    pub to: String,
}

/// What a path does at a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It ends, and others begin.
    Boundary,
    /// It goes through, and so many levels are counted.
    Through(u32),
    /// It goes from the address through, and one level is counted; whatever else goes in ends there.
    Ram,
}

const BOUNDARIES: [&str; 7] = ["FD", "SRL", "DSP", "RAMB", "URAM", "GND", "VCC"];
const FREE: [&str; 5] = ["CARRY", "MUXF", "MUXCY", "XORCY", "BUF"];

fn kind(cell: &str) -> Option<Kind> {
    let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| cell.starts_with(prefix));
    match () {
        () if is(&BOUNDARIES) => Some(Kind::Boundary),
        () if is(&FREE) => Some(Kind::Through(0)),
        () if is(&["LUT", "INV"]) => Some(Kind::Through(1)),
        () if is(&["RAM"]) => Some(Kind::Ram),
        () => None,
    }
}

/// A wire of the netlist, by Yosys's number.
type Net = u64;

struct Cell<'a> {
    kind: Kind,
    /// Pin and wire.
    inputs: Vec<(&'a str, Net)>,
    outputs: Vec<Net>,
}

/// The deepest path that Yosys's netlist for an UltraScale+ device has.
///
/// # Errors
/// What Yosys objects to; a netlist with a cell that is not known, or with a loop.
pub fn depth(design: &Design) -> Result<Depth, BenchError> {
    let held = synthesised(design)?;
    let path = held.folder.join(NETLIST);
    let text = fs::read_to_string(&path).map_err(at(&path))?;
    let json: Value = serde_json::from_str(&text).map_err(|error| failed(&held, error.to_string()))?;
    let top = &json["modules"][design.top()];
    let cells = cells(&held, top)?;
    let deepest = deepest(&cells, &outputs(top));
    let Some((levels, first, last)) = deepest else {
        return Err(failed(&held, "the netlist has a combinational loop".into()));
    };
    let names = names(top);
    let name = |net: Net| names.get(&net).cloned().unwrap_or_else(|| format!("wire {net}"));
    let to = match last {
        End::None => String::new(),
        End::Port(net) => name(net),
        End::Pin(cell, pin) => {
            let driven = cells[cell].outputs.first().map_or_else(String::new, |&net| name(net));
            format!("{driven}.{pin}")
        }
    };
    Ok(Depth { levels, from: first.map_or_else(String::new, name), to })
}

fn failed(held: &Held, output: String) -> BenchError {
    BenchError::Failed { what: "logic depth".into(), folder: held.folder.clone(), output }
}

fn object(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter).map(|(name, value)| (name.as_str(), value))
}

/// Wires; constants are none.
fn nets(bits: &Value) -> impl Iterator<Item = Net> {
    bits.as_array().into_iter().flatten().filter_map(Value::as_u64)
}

fn cells<'a>(held: &Held, top: &'a Value) -> Result<Vec<Cell<'a>>, BenchError> {
    let mut cells = Vec::new();
    // Flattening leaves notes of where the modules were.
    for (_, cell) in object(&top["cells"]).filter(|(_, cell)| cell["type"] != "$scopeinfo") {
        let name = cell["type"].as_str().unwrap_or_default();
        let kind = kind(name).ok_or_else(|| failed(held, format!("a cell of unknown type {name:?}")))?;
        let mut made = Cell { kind, inputs: Vec::new(), outputs: Vec::new() };
        for (pin, bits) in object(&cell["connections"]) {
            if cell["port_directions"][pin] == "output" {
                made.outputs.extend(nets(bits));
            } else {
                made.inputs.extend(nets(bits).map(|net| (pin, net)));
            }
        }
        cells.push(made);
    }
    Ok(cells)
}

/// Wires that output ports show.
fn outputs(top: &Value) -> Vec<Net> {
    let ports = object(&top["ports"]).filter(|(_, port)| port["direction"] == "output");
    ports.flat_map(|(_, port)| nets(&port["bits"])).collect()
}

/// A name for each wire: the shortest that was given to it.
fn names(top: &Value) -> HashMap<Net, String> {
    let mut names: HashMap<Net, String> = HashMap::new();
    for (name, data) in object(&top["netnames"]).filter(|(_, data)| data["hide_name"] == 0) {
        let wide = nets(&data["bits"]).nth(1).is_some();
        for (index, net) in data["bits"].as_array().into_iter().flatten().enumerate() {
            let Some(net) = net.as_u64() else { continue };
            let text = if wide { format!("{name}[{index}]") } else { name.to_string() };
            let best = names.entry(net).or_insert_with(|| text.clone());
            if text.len() < best.len() {
                *best = text;
            }
        }
    }
    names
}

impl Cell<'_> {
    /// Whether what comes in at a pin goes on to the outputs in the same cycle, and how many levels that takes.
    fn passes(&self, pin: &str) -> Option<u32> {
        match self.kind {
            Kind::Through(levels) => Some(levels),
            Kind::Ram if pin.starts_with('A') || pin.starts_with("DPRA") => Some(1),
            Kind::Ram | Kind::Boundary => None,
        }
    }
}

/// Where a path ends.
enum End<'a> {
    None,
    Port(Net),
    Pin(usize, &'a str),
}

/// Levels behind a wire, and the wire with which the deepest path to it begins.
type Level = (u32, Net);

/// The deepest path; nothing where wires form a loop.
fn deepest<'a>(cells: &[Cell<'a>], outputs: &[Net]) -> Option<(u32, Option<Net>, End<'a>)> {
    let levels = levels(cells)?;
    let mut best = (0, None, End::None);
    let mut look = |net: Net, end: End<'a>| {
        let (depth, from) = levels.get(&net).copied().unwrap_or((0, net));
        if depth > best.0 || best.1.is_none() {
            best = (depth, Some(from), end);
        }
    };
    for (index, cell) in cells.iter().enumerate() {
        for &(pin, net) in cell.inputs.iter().filter(|(pin, _)| cell.passes(pin).is_none()) {
            look(net, End::Pin(index, pin));
        }
    }
    outputs.iter().for_each(|&net| look(net, End::Port(net)));
    Some(best)
}

/// The levels of every wire behind a look-up table: cell by cell, each when all that it waits for is known.
fn levels(cells: &[Cell<'_>]) -> Option<HashMap<Net, Level>> {
    let passing = |cell: &Cell<'_>| cell.inputs.iter().any(|(pin, _)| cell.passes(pin).is_some());
    let open: Vec<&Cell<'_>> = cells.iter().filter(|cell| passing(cell)).collect();
    let driver: HashMap<Net, usize> = (0..)
        .zip(&open)
        .flat_map(|(index, cell)| cell.outputs.iter().map(move |&net| (net, index)))
        .collect();
    let (mut readers, mut waiting) = (vec![Vec::new(); open.len()], vec![0u32; open.len()]);
    for (index, cell) in open.iter().enumerate() {
        let through = cell.inputs.iter().filter(|(pin, _)| cell.passes(pin).is_some());
        for &before in through.filter_map(|(_, net)| driver.get(net)) {
            readers[before].push(index);
            waiting[index] += 1;
        }
    }
    let mut ready: Vec<usize> = (0..open.len()).filter(|&index| waiting[index] == 0).collect();
    let (mut levels, mut done) = (HashMap::new(), 0);
    while let Some(index) = ready.pop() {
        done += 1;
        if let Some(level) = level(open[index], &levels) {
            levels.extend(open[index].outputs.iter().map(|&net| (net, level)));
        }
        for &reader in &readers[index] {
            waiting[reader] -= 1;
            if waiting[reader] == 0 {
                ready.push(reader);
            }
        }
    }
    (done == open.len()).then_some(levels)
}

/// The level of a cell's outputs.
fn level(cell: &Cell<'_>, levels: &HashMap<Net, Level>) -> Option<Level> {
    let inputs = cell.inputs.iter().filter_map(|&(pin, net)| {
        let (before, from) = levels.get(&net).copied().unwrap_or((0, net));
        Some((before + cell.passes(pin)?, from))
    });
    inputs.max_by_key(|level| level.0)
}
