//! A simulation of a block as a drawing in letters.

use super::scenes::{self, Scene};
use fastcar_hw::rtl::{Bits, Port, Simulator};
use std::fmt::Write;

/// Letters of a cycle, at least.
const NARROWEST: usize = 6;

/// A row of a drawing: a bit, or values that there are in some cycles.
enum Row {
    Bit(Vec<bool>),
    Values(Vec<Option<String>>),
}

/// Runs a scene and draws its rows. What a cycle shows is sampled at its end: a number's column is the clock's edge there.
pub fn draw(scene: &Scene) -> String {
    let module = scene.module.clone().unwrap();
    let mut sim = Simulator::new(&module).unwrap();
    if module.has_reset() {
        sim.set("rst_i", Bits::from_u64(1, 1)).unwrap();
        sim.tick();
        sim.set("rst_i", Bits::from_u64(1, 0)).unwrap();
    }
    let port = |name: &str| module.ports().iter().find(|port| port.name == name).unwrap().clone();
    let mut samples: Vec<Vec<Bits>> = vec![Vec::new(); scene.rows.len()];
    for cycle in 0..scene.cycles {
        for (name, values) in &scene.inputs {
            let (width, value) = (port(name).width, values.get(cycle).copied().unwrap_or_default());
            sim.set(name, Bits::from_u128(width, value)).unwrap();
        }
        for (row, samples) in scene.rows.iter().zip(&mut samples) {
            let bits = value(&mut sim, &port(row.port), scene, cycle);
            let part = row.part.as_ref();
            samples.push(part.map_or(bits.clone(), |part| bits.slice(part.start, part.end - part.start)));
        }
        sim.tick();
    }
    let index = |name: &str| scene.rows.iter().position(|row| row.port == name).unwrap();
    let row = |(row, bits): (&scenes::Row, &Vec<Bits>)| match row.valid {
        None if bits[0].width() == 1 => Row::Bit(drawn(scene).map(|cycle| bits[cycle].any()).collect()),
        valid => {
            let there = |cycle: usize| valid.is_none_or(|valid| samples[index(valid)][cycle].any());
            Row::Values(drawn(scene).map(|cycle| there(cycle).then(|| hex(&bits[cycle]))).collect())
        }
    };
    let rows: Vec<Row> = scene.rows.iter().zip(&samples).map(row).collect();
    text(scene, &rows)
}

/// The cycles that are drawn.
fn drawn(scene: &Scene) -> impl Iterator<Item = usize> {
    (0..scene.cycles).filter(|cycle| !scene.left_out.contains(cycle))
}

/// A row's port, and which bits of it.
fn label(row: &scenes::Row) -> String {
    let part = row.part.as_ref().map(|part| format!("[{}:{}]", part.end - 1, part.start));
    format!("{}{}", row.port, part.unwrap_or_default())
}

fn value(sim: &mut Simulator, port: &Port, scene: &Scene, cycle: usize) -> Bits {
    if !port.input {
        return sim.get(&port.name).unwrap();
    }
    let given = scene.inputs.iter().find(|input| input.0 == port.name);
    let given = given.unwrap_or_else(|| panic!("{}: {} is given nothing", scene.title, port.name));
    Bits::from_u128(port.width, given.1.get(cycle).copied().unwrap_or_default())
}

/// Without leading zeros.
fn hex(bits: &Bits) -> String {
    let digits: String = bits.to_bytes().iter().rev().map(|byte| format!("{byte:02x}")).collect();
    let short = digits.trim_start_matches('0');
    if short.is_empty() { "0".to_owned() } else { short.to_owned() }
}

fn text(scene: &Scene, rows: &[Row]) -> String {
    let longest = |row: &Row| match row {
        Row::Bit(_) => 0,
        Row::Values(values) => values.iter().flatten().map(String::len).max().unwrap_or(0),
    };
    let wide = rows.iter().map(longest).max().unwrap_or(0) + 4;
    let wide = wide.max(NARROWEST);
    let names = scene.rows.iter().map(|row| label(row).len()).max().unwrap_or(0) + 2;
    let number = |cycle: usize| match cycle > 0 && cycle == scene.left_out.end {
        true => format!("~{cycle}"),
        false => cycle.to_string(),
    };
    let cycles: String = drawn(scene).map(|cycle| format!("{:<wide$}", number(cycle))).collect();
    let mut out = format!("{:<names$}{}\n", "cycle", cycles.trim_end());
    for (name, row) in scene.rows.iter().map(label).zip(rows) {
        let drawn = match row {
            Row::Bit(bits) => levels(bits, wide),
            Row::Values(values) => cells(values, wide),
        };
        let _ = writeln!(out, "{name:<names$}{drawn}");
    }
    out
}

/// `/----\` where the bit is set, `____` where it is not.
fn levels(bits: &[bool], wide: usize) -> String {
    let before = |cycle: usize| cycle > 0 && bits[cycle - 1];
    let cell = |(cycle, set): (usize, &bool)| {
        let (first, rest) = match (before(cycle), *set) {
            (false, true) => ('/', '-'),
            (true, false) => ('\\', '_'),
            (_, true) => ('-', '-'),
            (_, false) => ('_', '_'),
        };
        std::iter::once(first).chain(std::iter::repeat_n(rest, wide - 1)).collect::<String>()
    };
    bits.iter().enumerate().map(cell).collect()
}

/// `< value >` where there is one.
fn cells(values: &[Option<String>], wide: usize) -> String {
    let cell = |value: &Option<String>| match value {
        Some(value) => format!("<{value:^width$}>", width = wide - 2),
        None => "-".repeat(wide),
    };
    values.iter().map(cell).collect()
}
