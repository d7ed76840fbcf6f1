//! What the registers do: runs, interrupts, arguments, errors, counters.

use super::bus::Bus;
use super::map::Map;
use super::{CYCLES, CounterPort, Handshake};
use crate::rtl::{Builder, Reg, RtlError, Wire};
use fastcar_arch::regs::{Register, Reset};

const CTRL: &str = "CTRL";
const ISR: &str = "ISR";
const ERROR: &str = "ERROR";
const ABORT: &str = "ABORT";
const WATCHDOG: &str = "WATCHDOG";

/// A run as the other registers see it.
pub(super) struct Run<'m> {
    /// It begins: arguments are sampled, counters and errors cleared.
    accepted: Wire<'m>,
    /// It is under way, its last cycle included.
    running: Wire<'m>,
    /// It ends.
    finished: Wire<'m>,
}

/// A bit that software reads and writes.
fn kept<'m>(bus: &Bus<'m>, map: &mut Map<'m>, register: &str, field: &str) -> Result<Wire<'m>, RtlError> {
    let (offset, bits) = map.field(register, field)?;
    let name = format!("{register}_{field}").to_lowercase();
    let reg = bus.m.reg(&name, bits.width).reset(map.field_reset(register, bits)?);
    reg.set_when(bus.writes(offset), bus.written(reg.q(), bits.low));
    map.set_field(register, field, reg.q());
    Ok(reg.q())
}

/// A bit that an event sets and something else clears; the event wins.
fn flag<'m>(m: &'m Builder, name: &str, event: Wire<'m>, clear: Wire<'m>) -> Wire<'m> {
    let reg = m.reg(name, 1).reset(0);
    reg.update(&[(event, m.lit(1, 1)), (clear, m.lit(1, 0))]);
    reg.q()
}

/// `CTRL`: runs begin and end.
pub(super) fn run<'m>(bus: &Bus<'m>, map: &mut Map<'m>, handshake: Handshake) -> Result<Run<'m>, RtlError> {
    let m = bus.m;
    let accepted = m.later("accepted", 1);
    let running = m.reg("running", 1).reset(0);
    let finished = (m.input("done_i", 1) & running.q()).named("finished");
    running.update(&[(accepted.wire(), m.lit(1, 1)), (finished, m.lit(1, 0))]);

    let restart = kept(bus, map, CTRL, "auto_restart")?;
    let (ctrl, ap_start) = map.field(CTRL, "ap_start")?;
    let begun = accepted.wire() & !restart;
    let start = flag(m, "ap_start", bus.writes_one(ctrl, ap_start.low), begun);
    // The results of the last run wait to be accepted.
    let (_, ap_continue) = map.field(CTRL, "ap_continue")?;
    let held = match handshake {
        Handshake::Single => m.lit(1, 0),
        Handshake::Chain => flag(m, "held", finished, bus.writes_one(ctrl, ap_continue.low)),
    };
    accepted.set(start & !running.q() & !held);
    m.output("start_o", m.register_valid("start", accepted.wire()));

    let read = bus.reads(ctrl);
    map.set_field(CTRL, "ap_start", start);
    map.set_field(CTRL, "ap_done", flag(m, "ap_done", finished, read));
    // A run that is asked for but has not begun counts: a host that waits for idle waits for it.
    map.set_field(CTRL, "ap_idle", !running.q() & !start);
    map.set_field(CTRL, "ap_ready", flag(m, "ap_ready", accepted.wire(), read));
    map.set_field(CTRL, "ap_continue", m.lit(1, 0));
    Ok(Run { accepted: accepted.wire(), running: running.q(), finished })
}

/// `GIE`, `IER`, `ISR` and the interrupt.
pub(super) fn interrupts<'m>(bus: &Bus<'m>, map: &mut Map<'m>, run: &Run<'m>) -> Result<(), RtlError> {
    let m = bus.m;
    let enable = kept(bus, map, "GIE", "enable")?;
    let mut status = Vec::new();
    for (field, event) in [("done", run.finished), ("ready", run.accepted)] {
        let enabled = kept(bus, map, "IER", field)?;
        let (isr, bit) = map.field(ISR, field)?;
        let reg = m.reg(&format!("isr_{field}"), 1).reset(0);
        let toggles = bus.writes_one(isr, bit.low);
        reg.update(&[(event & enabled, m.lit(1, 1)), (toggles, !reg.q())]);
        map.set_field(ISR, field, reg.q());
        status.push(reg.q());
    }
    m.output("interrupt_o", m.register_valid("interrupt", enable & m.tree(&status, |a, b| a | b)));
    Ok(())
}

/// A register of one number that software reads and writes.
fn number<'m>(bus: &Bus<'m>, map: &mut Map<'m>, register: &Register) -> Wire<'m> {
    let m = bus.m;
    let name = register.name.to_lowercase();
    let reset = if let Reset::Value(value) = register.reset { value } else { 0 };
    let words: Vec<_> = (0..register.bits / 32)
        .map(|word| {
            let low = reset >> (32 * word) & u64::from(u32::MAX);
            let reg = m.reg(&format!("{name}_word{word}"), 32).reset(low);
            reg.set_when(bus.writes(register.offset + 4 * word), bus.written(reg.q(), 0));
            reg.q()
        })
        .collect();
    let value = m.pack(&words);
    map.set(&register.name, value);
    value
}

/// `ABORT` and `WATCHDOG`: what ends runs that do not end by themselves.
pub(super) fn ends<'m>(bus: &Bus<'m>, map: &mut Map<'m>, run: &Run<'m>) -> Result<(), RtlError> {
    let m = bus.m;
    let (offset, bit) = map.field(ABORT, "abort")?;
    let abort = m.reg("abort", 1).reset(0);
    let asked = bus.writes_one(offset, bit.low) & run.running;
    abort.update(&[(run.finished, m.lit(1, 0)), (asked, m.lit(1, 1))]);
    map.set_field(ABORT, "abort", abort.q());
    m.output("abort_o", abort.q());
    let watchdog = map.register(WATCHDOG)?.clone();
    m.output("watchdog_o", number(bus, map, &watchdog));
    Ok(())
}

/// The kernel arguments: as written, and as sampled when a run begins.
pub(super) fn arguments<'m>(bus: &Bus<'m>, map: &mut Map<'m>, run: &Run<'m>) {
    let m = bus.m;
    let registers: Vec<_> = map.registers.arguments().map(|(_, register)| register.clone()).collect();
    for register in registers {
        let name = register.name.to_lowercase();
        let sampled = m.reg(&format!("{name}_sampled"), register.bits);
        sampled.set_when(run.accepted, number(bus, map, &register));
        m.output(&format!("{name}_o"), sampled.q());
    }
}

/// A register that a run clears and that is set while it is under way.
fn of_run<'m>(m: &'m Builder, run: &Run<'m>, name: &str, when: Wire<'m>, value: Wire<'m>) -> Reg<'m> {
    let reg = m.reg(name, value.width()).reset(0);
    let zero = m.lit(value.width(), 0);
    reg.update(&[(run.accepted, zero), (run.running & when, value)]);
    reg
}

/// `ERROR`, `ERROR_COMMAND` and `COMMAND`.
pub(super) fn errors<'m>(m: &'m Builder, map: &mut Map<'m>, run: &Run<'m>) -> Result<(), RtlError> {
    let valid = m.input("error_valid_i", 1);
    let failed = m.later("failed", 1);
    let first = valid & !failed.wire();
    failed.set(of_run(m, run, "failed_before", valid, m.lit(1, 1)).q());
    for field in map.register(ERROR)?.fields {
        let name = format!("error_{}", field.name);
        let value = m.input(&format!("{name}_i"), field.width);
        map.set_field(ERROR, field.name, of_run(m, run, &name, first, value).q());
    }
    for (register, when) in [("ERROR_COMMAND", first), ("COMMAND", m.input("command_valid_i", 1))] {
        let name = register.to_lowercase();
        let value = m.input(&format!("{name}_i"), map.register(register)?.bits);
        map.set(register, of_run(m, run, &name, when, value).q());
    }
    Ok(())
}

/// The counters.
pub(super) fn count<'m>(m: &'m Builder, map: &mut Map<'m>, run: &Run<'m>, ports: &[CounterPort]) {
    let counter = |name: &str, step: Wire<'m>, unit: u64| {
        // What is below the unit stays 0.
        let zeros = unit.ilog2();
        let reg = m.reg(&name.to_lowercase(), 64 - zeros).reset(0);
        let next = reg.q() + step.zext(64 - zeros);
        reg.update(&[(run.accepted, m.lit(64 - zeros, 0)), (run.running, next)]);
        if zeros == 0 { reg.q() } else { reg.q().cat(m.lit(zeros, 0)) }
    };
    map.set(CYCLES, counter(CYCLES, m.lit(1, 1), 1));
    for port in ports {
        map.set(&port.register, counter(&port.register, m.input(&port.port, port.width), port.unit));
    }
}
