//! `core`: the machine between its control registers and its memory channels.
//!
//! # Purpose
//!
//! Puts the units together: a run from its start to its end, by the rules of `docs/cycles.md`. What it is to become, and what it runs so far, is told in `docs/core.md`: at present it
//! reads the step table and the program, and runs commands that are for no slot.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no run |
//! | `start_i` | in | 1 | a run begins; the arguments stay to its end |
//! | `program_i`, `step_i` | in | 64 | device addresses |
//! | `commands_i` | in | 32 | commands in the program |
//! | `channel<c>_i` | in | 64 | device address of the channel's local byte 0 |
//! | `done_o` | out | 1 | the run ends |
//! | `error_valid_o`, `error_code_o`, `error_command_o` | out | 1, 8, 32 | the program is wrong at this command |
//! | `command_valid_o`, `command_busy_o`, `command_stalled_o` | out | 1 | a command is dispatched; the command processor works, or is held up |
//! | `read_beat<c>_o`, `written_beat<c>_o`, `reading_o`, `writing_o` | out | 1 | beats of the channels; channel 0 has reads, or writes, queued or under way |
//! | `m<c>_axi_*` | | | AXI4 of the channels, see [`Port`] |
//!
//! # Timing
//!
//! Cycle for cycle that of `fastcar_sim`.
//!
//! # Numeric contract
//!
//! None yet.
//!
//! # Cost
//!
//! That of its units.
//!
//! # Verification
//!
//! `tests/tests/rtl_core.rs`: cycles and counters of whole runs against the simulator's, on its memories.
//!
//! # Example
//!
//! ```
//! use fastcar_arch::config::AccelConfig;
//! use fastcar_hw::{core::Core, rtl::Block};
//!
//! let core = Core::new(&AccelConfig::preset("tiny")?)?;
//! assert!(core.module()?.ports().iter().any(|port| port.name == "m0_axi_araddr_o"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod control_reads;

pub use control_reads::ControlReads;

use crate::cmd::{Classes, Dispatch, NUMBER_BITS, Prefetch, TableReader};
use crate::drs::Decisions;
use crate::port::Port;
use crate::prim::Fifo;
use crate::rtl::{Block, Builder, Instance, Module, RamStyle, RtlError, Stream, Wire};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::timing::{DISPATCH, FINISH, HOP, QUEUE_COMMANDS};
use std::sync::Arc;

/// The machine. See the [module](self).
#[derive(Clone, Debug)]
pub struct Core {
    config: AccelConfig,
    port: Port,
}

impl Core {
    /// The machine of a configuration.
    ///
    /// # Errors
    /// As its units'.
    pub fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        Ok(Self { config: config.clone(), port: Port::new(config)? })
    }

    /// A channel's port, with its AXI on the outside; what no unit uses yet is at rest.
    fn channel<'m>(&self, m: &'m Builder, channel: usize, base: Wire<'m>) -> Result<Instance<'m>, RtlError> {
        let port = m.instance(&format!("u_port_{channel}"), &self.port)?;
        port.set("base_i", base);
        for pin in port.module().ports().to_vec() {
            let outer = format!("m{channel}_{}", pin.name);
            match (pin.name.starts_with("axi_"), pin.input) {
                (true, true) => port.set(&pin.name, m.input(&outer, pin.width)),
                (true, false) => m.output(&outer, port.get(&pin.name)),
                (false, true)
                    if pin.name != "base_i" && !(channel == 0 && pin.name.starts_with("control_")) =>
                {
                    port.set(&pin.name, m.constant(crate::rtl::Bits::zero(pin.width)));
                }
                _ => {}
            }
        }
        m.output(&format!("read_beat{channel}_o"), port.get("read_beat_o"));
        m.output(&format!("written_beat{channel}_o"), port.get("written_beat_o"));
        Ok(port)
    }
}

/// The beats of the control queue, as they come to the middle of the machine.
fn control_beats<'m>(m: &'m Builder, port: &Instance<'m>) -> (Wire<'m>, Wire<'m>) {
    let mut valid = port.get("control_beat_valid_o");
    for hop in 0..HOP {
        valid = m.register_valid(&format!("control_valid_{hop}"), valid);
    }
    let data = port.get("control_beat_data_o");
    let data = (0..HOP).fold(data, |data, hop| m.register(&format!("control_data_{hop}"), data));
    (valid, data)
}

/// The commands of the vector unit in order. So far those that are for no slot.
fn vector_queue<'m>(
    m: &'m Builder,
    dispatch: &Instance<'m>,
    decisions: &Instance<'m>,
    classes: &Classes<'m>,
) -> Result<Wire<'m>, RtlError> {
    let issued = dispatch.get("issue_valid_o") & classes.vector;
    let pred = crate::cmd::Fields::new(dispatch.get("issue_command_o")).pred();
    let waits = dispatch.get("issue_decision_valid_o").cat(dispatch.get("issue_decision_o"));
    let word = pred.cat(waits).cat(dispatch.get("issue_index_o").trunc(NUMBER_BITS));
    let input = Stream { valid: issued, data: word, ready: m.later("vector_room", 1) };
    let queue = Fifo::new(word.width(), QUEUE_COMMANDS as u32, RamStyle::Distributed)?;
    let front = queue.after(m, "u_vector_queue", input)?;
    let index = front.data.trunc(NUMBER_BITS);
    decisions.set("decision_0_i", front.data.slice(NUMBER_BITS, NUMBER_BITS));
    decisions.set("decision_valid_0_i", front.data.bit(2 * NUMBER_BITS));
    decisions.set("pred_0_i", front.data.slice(2 * NUMBER_BITS + 1, 2));
    // Its first part is made out in the cycle in which it is in front and its slots are known.
    let leaves = m.later("vector_leaves", 1);
    let made = m.register_valid("vector_made", front.valid & decisions.get("known_0_o") & !leaves.wire());
    leaves.set(made & decisions.get("slots_0_o").is_zero());
    front.ready.set(leaves.wire());
    dispatch.set("vector_pop_i", leaves.wire());
    dispatch.set("vector_front_valid_i", front.valid);
    dispatch.set("vector_front_i", index);
    Ok(!front.valid)
}

impl Block for Core {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("core_{}", self.config.name()));
        let start = m.input("start_i", 1);
        let bases: Vec<_> =
            (0..self.config.channels()).map(|c| m.input(&format!("channel{c}_i"), 64)).collect();
        let channels = bases.iter().enumerate();
        let ports = channels.map(|(c, base)| self.channel(&m, c, *base)).collect::<Result<Vec<_>, _>>()?;
        m.output("reading_o", ports[0].get("reading_o"));
        m.output("writing_o", ports[0].get("writing_o"));

        let table = m.instance("u_table", &TableReader::new(&self.config, 1)?)?;
        let prefetch = m.instance("u_prefetch", &Prefetch::new(self.config.fields().beat_bytes)?)?;
        let dispatch = m.instance("u_dispatch", &Dispatch)?;
        for unit in [&table, &prefetch, &dispatch] {
            unit.set("start_i", start);
        }
        let reads = m.instance("u_control_reads", &ControlReads::new(&self.config))?;
        reads.set("base_i", bases[0]);
        reads.set("step_i", m.input("step_i", 64));
        reads.set("program_i", m.input("program_i", 64));
        reads.stream_in("table", table.stream_out("request"));
        reads.stream_in("program", prefetch.stream_out("request"));
        ports[0].stream_in("control_segment", reads.stream_out("segment"));

        // The table comes first, then the program.
        let (beat, data) = control_beats(&m, &ports[0]);
        let there = table.get("there_o");
        table.set("beat_valid_i", beat & !there);
        prefetch.set("beat_valid_i", beat & there);
        for unit in [&table, &prefetch] {
            unit.set("beat_data_i", data);
        }
        prefetch.set("enable_i", there);
        prefetch.set("commands_i", m.input("commands_i", 32));
        table.set("slot_0_i", m.lit(self.config.slots().next_power_of_two().ilog2().max(1), 0));
        table.set("gate_i", m.lit(16, 0));

        dispatch.set("go_i", table.get("ready_o"));
        dispatch.set("writer_room_i", m.lit(1, 1));
        dispatch.stream_in("command", prefetch.stream_out("command"));
        for name in ["index", "last", "bursts"] {
            dispatch.set(&format!("{name}_i"), prefetch.get(&format!("{name}_o")));
        }
        prefetch.set("given_i", dispatch.get("taken_o"));
        for queue in ["product", "gate"] {
            dispatch.set(&format!("{queue}_pop_i"), m.lit(1, 0));
        }
        for queue in ["product", "gate", "record", "main", "ahead"] {
            dispatch.set(&format!("{queue}_front_valid_i"), m.lit(1, 0));
            dispatch.set(&format!("{queue}_front_i"), m.lit(NUMBER_BITS, 0));
        }
        let classes = Classes::of(dispatch.get("issue_classes_o"));
        let decisions = m.instance("u_decisions", &Decisions::new(self.config.slots(), 1)?)?;
        decisions.set("active_i", table.get("active_o"));
        decisions.set("output_i", table.get("output_o"));
        for (name, width) in
            [("gate_valid", 1), ("gate", NUMBER_BITS), ("settle_valid", 1), ("settle", NUMBER_BITS)]
        {
            decisions.set(&format!("{name}_i"), m.lit(width, 0));
        }
        decisions.set("replay_i", m.lit(self.config.slots(), 0));
        let idle = vector_queue(&m, &dispatch, &decisions, &classes)?;
        finish(&m, start, &dispatch, &classes, idle)?;
        m.finish()
    }
}

/// The end of a run, and what is counted of the command processor.
fn finish<'m>(
    m: &'m Builder,
    start: Wire<'m>,
    dispatch: &Instance<'m>,
    classes: &Classes<'m>,
    idle: Wire<'m>,
) -> Result<(), RtlError> {
    // `end` stands in no queue: it is there when it would.
    let ended = m.reg("ended", 1).reset(0);
    ended.update(&[(start, m.lit(1, 0)), (dispatch.get("issue_valid_o") & classes.end, m.lit(1, 1))]);
    let all = (ended.q() & idle).named("all_done");
    let seen = m.reg("seen", 1).reset(0);
    seen.update(&[(start, m.lit(1, 0)), (all, m.lit(1, 1))]);
    let mut done = all & !seen.q();
    for stage in 1..FINISH {
        done = m.register_valid(&format!("done_{stage}"), done & !start);
    }
    m.output("done_o", done);

    let taken = dispatch.get("taken_o");
    m.output("command_valid_o", taken);
    // Busy for as long as a dispatch takes; held up until `end` is on its way.
    let busy = m.reg("busy", 3).reset(0);
    busy.update(&[(taken, m.lit(3, DISPATCH - 1)), (busy.q().any(), busy.q() - 1)]);
    let working = taken | busy.q().any();
    let running = m.reg("running", 1).reset(0);
    running.update(&[(start, m.lit(1, 1)), (dispatch.get("ended_o"), m.lit(1, 0))]);
    m.output("command_busy_o", working);
    m.output("command_stalled_o", (start | running.q()) & !working);
    for name in ["valid", "code"] {
        m.output(&format!("error_{name}_o"), dispatch.get(&format!("error_{name}_o")));
    }
    m.output("error_command_o", dispatch.get("error_index_o"));
    Ok(())
}
