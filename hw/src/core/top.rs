//! The machine, and what becomes of it when something is wrong.
//!
//! The first error of a run is kept. No port begins another burst from then on; when all bursts are over, which is when AXI is as quiet as before the run, everything but the outside is
//! reset, and the run is done. So nothing of it is left for the next.

use super::Machine;
use crate::rtl::{Block, Builder, Instance, Module, RtlError, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::error_code;
use fastcar_arch::timing::{HOP, PORT_ISSUE};
use std::sync::Arc;

/// Bits of an error's code, its channel, its response, its command.
const CODE: u32 = 8;
const CHANNEL: u32 = 8;
const RESPONSE: u32 = 2;
const COMMAND: u32 = 32;
/// Bits of a number of cycles without a move.
const PATIENCE: u32 = 32;
/// Cycles until it is heard that a port was quiet when it did not decide any more: there, a decision and its count, and back.
const HALT: u64 = 2 * HOP + PORT_ISSUE + 2;
const HALT_BITS: u32 = 4;
const _: () = assert!(HALT < 1 << HALT_BITS);

/// The machine. See the [module](super).
#[derive(Clone, Debug)]
pub struct Core {
    config: AccelConfig,
    machine: Machine,
}

impl Core {
    /// The machine of a configuration.
    ///
    /// # Errors
    /// As its units'.
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self { config: config.clone(), machine: Machine::new(config)? })
    }
}

/// Something that is wrong.
struct Wrong<'m> {
    valid: Wire<'m>,
    code: Wire<'m>,
    command: Wire<'m>,
    channel: Wire<'m>,
    response: Wire<'m>,
}

impl<'m> Wrong<'m> {
    /// The first of what is wrong in a cycle.
    fn new(m: &'m Builder, machine: &Instance<'m>, channels: u32, moves: Wire<'m>) -> Self {
        let code = |name: &str| m.lit(CODE, error_code(name).unwrap_or_default().into());
        // An error of the bus is not a command's; the last one that was dispatched says how far the run was.
        let last = m.reg("last_command", COMMAND).reset(0);
        last.set_when(machine.get("issued_o"), machine.get("issued_command_o"));
        let own = |code: Wire<'m>| [code, m.lit(CHANNEL, 0), m.lit(RESPONSE, 0)];
        let mut cases = vec![
            (machine.get("error_valid_o"), own(machine.get("error_code_o"))),
            (machine.get("wrong_table_o"), own(code("step_table"))),
            (m.input("abort_i", 1), own(code("aborted"))),
            (stuck(m, moves), own(code("stuck"))),
        ];
        for channel in 0..channels {
            for kind in ["read", "write"] {
                let valid = machine.get(&format!("{kind}_error_valid{channel}_o"));
                let response = machine.get(&format!("{kind}_error_response{channel}_o"));
                cases.push((valid, [code(kind), m.lit(CHANNEL, channel.into()), response]));
            }
        }
        let of = |part: usize| {
            let each: Vec<_> = cases.iter().map(|(valid, parts)| (*valid, parts[part])).collect();
            m.select(own(code("none"))[part], &each)
        };
        let valid = m.pack(&cases.iter().map(|case| case.0).collect::<Vec<_>>()).any();
        let command = machine.get("error_valid_o").mux(machine.get("error_command_o"), last.q());
        Self { valid, code: of(0), command, channel: of(1), response: of(2) }
    }
}

/// Whether nothing has moved for as long as the host has patience.
fn stuck<'m>(m: &'m Builder, moves: Wire<'m>) -> Wire<'m> {
    let patience = m.input("watchdog_i", PATIENCE);
    let still = m.reg("still", PATIENCE).reset(0);
    still.set(moves.mux(m.lit(PATIENCE, 0), still.q() + 1));
    m.register_valid("stuck", still.q().eq(patience) & patience.any())
}

/// Outputs of the machine that only the top looks at.
fn is_inner(name: &str) -> bool {
    let inner = ["done", "error", "issued", "wrong_table", "quiet", "read_error", "write_error"];
    inner.iter().any(|prefix| name.starts_with(prefix))
}

impl Block for Core {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("core_{}", self.config.name()));
        let machine = m.instance("u_machine", &self.machine)?;
        let mut start = m.lit(1, 0);
        for pin in machine.module().ports().to_vec() {
            match (pin.name.as_str(), pin.input) {
                ("halt_i", _) => {}
                (name, true) => {
                    let wire = m.input(name, pin.width);
                    machine.set(name, wire);
                    start = if name == "start_i" { wire } else { start };
                }
                (name, false) if !is_inner(name) => m.output(name, machine.get(name)),
                _ => {}
            }
        }
        let channels = self.config.channels();
        let running = m.reg("running", 1).reset(0);
        let beats = (0..channels).flat_map(|c| [format!("read_beat{c}_o"), format!("written_beat{c}_o")]);
        let moves: Vec<_> = beats.map(|name| machine.get(&name)).collect();
        let moves = m.pack(&moves).any() | machine.get("command_valid_o") | !running.q();
        let wrong = Wrong::new(&m, &machine, channels, moves);
        let (halts, waited) = (m.reg("halts", 1).reset(0), m.reg("waited", HALT_BITS).reset(0));
        // What the host asks for stays until it hears of the end.
        let cleared = m.later("cleared_now", 1);
        let first = (running.q() & wrong.valid & !halts.q() & !cleared.wire()).named("first_error");
        let quiet: Vec<_> = (0..channels).map(|c| machine.get(&format!("quiet{c}_o"))).collect();
        let over = waited.q().eq(HALT) & m.pack(&quiet).all();
        let clear = (halts.q() & over).named("clear");
        let zero = m.lit(HALT_BITS, 0);
        waited.update(&[(!halts.q(), zero), (waited.q().ne(HALT), waited.q() + 1)]);
        halts.update(&[(clear, m.lit(1, 0)), (first, m.lit(1, 1))]);
        machine.set("halt_i", halts.q());
        machine.reset_by(clear);

        cleared.set(m.register_valid("cleared", clear));
        let done = (machine.get("done_o") & running.q() & !halts.q() & !first) | cleared.wire();
        running.update(&[(start, m.lit(1, 1)), (done, m.lit(1, 0))]);
        m.output("done_o", done);
        let outputs = [
            ("valid", first),
            ("code", wrong.code),
            ("command", wrong.command),
            ("channel", wrong.channel),
            ("response", wrong.response),
        ];
        outputs.iter().for_each(|(name, wire)| m.output(&format!("error_{name}_o"), *wire));
        m.finish()
    }
}
