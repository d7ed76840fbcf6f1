//! `core`: the machine between its control registers and its memory channels.
//!
//! # Purpose
//!
//! Puts the units together: a run from its start to its end, by the rules of `docs/cycles.md`. What it is to become, and what it runs so far, is told in `docs/core.md`: at present it
//! runs `load`, `add`, `kv_append` and what else the vector unit does with records alone.
//!
//! # Interface
//!
//! | port | dir | width (bits) | meaning |
//! |---|---|---|---|
//! | `rst_i` | in | 1 | no run |
//! | `start_i` | in | 1 | a run begins; the arguments stay to its end |
//! | `program_i`, `step_i`, `report_i` | in | 64 | device addresses |
//! | `commands_i` | in | 32 | commands in the program |
//! | `channel<c>_i` | in | 64 | device address of the channel's local byte 0 |
//! | `done_o` | out | 1 | the run ends |
//! | `error_valid_o`, `error_code_o` | out | 1, 8 | something is wrong: the run ends as soon as the bus is quiet, with what is in [`ERROR_CODES`](fastcar_arch::regs::ERROR_CODES) |
//! | `error_command_o` | out | 32 | with it: at which command; else the last one that had been dispatched |
//! | `error_channel_o`, `error_response_o` | out | 8, 2 | with it: a read's or write's channel and response |
//! | `abort_i` | in | 1 | the run is to end with the error `aborted` |
//! | `watchdog_i` | in | 32 | cycles without a beat on any channel or a command after which it ends with the error `stuck`; 0: never |
//! | `compact_i` | in | 1 | the policy is `compact`, not `static` |
//! | `mac_busy_o`, `mac_there_o` | out | 1 | a cycle in which a beat occupies channel 0's cluster; a product's command is dispatched and not finished |
//! | `vector_busy_o`, `vector_there_o` | out | 1 | a cycle in which the vector unit works; in which a command is in its queue |
//! | `passes_o`, `streamed_o`, `skipped_o` | out | [`EVENT_BITS`](crate::axi::control::EVENT_BITS) | passes of the array over matrices; blocks of these that come, and that do not |
//! | `gate_busy_o`, `gate_there_o` | out | 1 | a cycle in which keys are taken or a gate settles; in which a gate command is in the queue |
//! | `replays_o`, `computes_o` | out | log2(slots + 1) | slots for which a gate has decided so |
//! | `command_valid_o`, `command_busy_o`, `command_stalled_o` | out | 1 | a command is dispatched; the command processor works, or is held up |
//! | `read_beat<c>_o`, `written_beat<c>_o`, `reading_o`, `writing_o` | out | 1 | beats of the channels; channel 0 has reads, or writes, queued or under way |
//! | `m<c>_axi_*` | | | AXI4 of the channels, see [`Port`] |
//!
//! # Timing
//!
//! Cycle for cycle that of `fastcar_sim`. A run with an error ends when every burst that is on AXI is over, and some cycles later; what it wrote by then stays.
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
//! `tests/tests/rtl_core`: cycles and counters of whole runs against the simulator's, on its memories; errors of every kind, and the run behind each.
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

pub mod activations;
mod array;
mod attention;
pub mod commits;
pub mod control_reads;
mod gates;
mod keys;
mod lists;
pub mod masks;
pub mod parts;
pub mod progress;
pub mod record_rows;
pub mod report;
pub mod segments;
mod streams;
mod task;
mod top;
mod vector;

pub use activations::Activations;
pub use commits::Commits;
pub use control_reads::ControlReads;
pub use masks::Masks;
pub use parts::Parts;
pub use progress::Progress;
pub use record_rows::RecordRows;
pub use report::Report;
pub use segments::Segments;
pub use top::Core;

use crate::cmd::{Classes, Dispatch, Fields, NUMBER_BITS, Prefetch, TableReader, Writers};
use crate::drs::{Decisions, Gates};
use crate::gate::Tas;
use crate::port::Port;
use crate::rtl::{Bits, Block, Builder, Instance, Module, Reg, RtlError, Wire};
use crate::walk::appends::BLOCK_BITS;
use crate::walk::{Direction, PastWalker, Sizes, shape};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::regs::error_code;
use fastcar_arch::timing::{DISPATCH, FINISH, HOP};
use lists::ListState;
use segments::{hop, hop_word};
use std::sync::Arc;
use streams::Streams;

/// Who asks for decisions.
const VECTOR: u32 = 0;
const RECORDS: u32 = 1;
const WRITES: u32 = 2;
const WRITERS: u32 = 3;
const PRODUCTS: u32 = 4;
const MAIN: u32 = 5;
const AHEAD: u32 = 6;
const GATES: u32 = 7;
const READERS: u32 = 8;

/// The units of a run, put together.
#[derive(Clone, Debug)]
struct Machine {
    config: AccelConfig,
    port: Port,
}

/// A command on its way to the queues.
struct Issue<'m> {
    valid: Wire<'m>,
    fields: Fields<'m>,
    classes: Classes<'m>,
    /// Its number in the program, and the low bits of that.
    position: Wire<'m>,
    index: Wire<'m>,
    decides: Wire<'m>,
    decision: Wire<'m>,
    /// Its number among the commands of the vector unit, and among gates.
    vector: Wire<'m>,
    gate: Wire<'m>,
    /// What the step table says of its gate, or of that of its masks.
    allow: Wire<'m>,
    force: Wire<'m>,
    /// Commands before it that write.
    writer: Wire<'m>,
    /// Whether a vector command fills what it reads, and its number; whether products read what it fills, and the number of the last.
    operand: [Wire<'m>; 2],
    product: [Wire<'m>; 2],
    /// The same of gates that read what it fills.
    compared: [Wire<'m>; 2],
}

/// What all parts of the core share.
struct Center<'m> {
    m: &'m Builder,
    config: &'m AccelConfig,
    sizes: Sizes,
    start: Wire<'m>,
    /// Device address of channel 0.
    base: Wire<'m>,
    issue: Issue<'m>,
    table: Instance<'m>,
    decisions: Instance<'m>,
    gates: Instance<'m>,
    /// Scores of past keys, and the walk over these.
    tas: Instance<'m>,
    past: Instance<'m>,
    report: Instance<'m>,
    masks: Instance<'m>,
    /// The report is being written.
    reporting: Reg<'m>,
    dispatch: Instance<'m>,
    writers: Instance<'m>,
    ports: Vec<Instance<'m>>,
    lists: ListState<'m>,
}

impl Machine {
    /// The machine of a configuration.
    ///
    /// # Errors
    /// As its units'.
    fn new(config: &AccelConfig) -> Result<Self, RtlError> {
        if config.channels() > config.vector_lanes() {
            let (block, parameter, asked) = ("core", "vector lanes", config.vector_lanes().into());
            let allowed = "at least as many as channels: a row from each comes in a cycle";
            return Err(RtlError::Parameter { block, parameter, asked, allowed });
        }
        Ok(Self { config: config.clone(), port: Port::new(config)? })
    }

    /// A channel's port, with its AXI on the outside; what no unit uses yet is at rest.
    fn channel<'m>(
        &self,
        m: &'m Builder,
        channel: usize,
        (base, halt): (Wire<'m>, Wire<'m>),
    ) -> Result<Instance<'m>, RtlError> {
        let port = m.instance(&format!("u_port_{channel}"), &self.port)?;
        port.set("base_i", base);
        port.set("halt_i", hop(m, &format!("halt_{channel}"), HOP, halt));
        for pin in port.module().ports().to_vec() {
            let outer = format!("m{channel}_{}", pin.name);
            match (pin.name.starts_with("axi_"), pin.input) {
                (true, true) => port.set(&pin.name, m.input(&outer, pin.width)),
                (true, false) => m.output(&outer, port.get(&pin.name)),
                (false, true) if pin.name.starts_with("clear_") => {
                    port.set(&pin.name, m.constant(Bits::zero(pin.width)));
                }
                _ => {}
            }
        }
        m.output(&format!("read_beat{channel}_o"), port.get("read_beat_o"));
        m.output(&format!("written_beat{channel}_o"), port.get("written_beat_o"));
        for name in ["quiet", "read_error_valid", "write_error_valid"] {
            let bit = hop(m, &format!("{name}_{channel}"), HOP, port.get(&format!("{name}_o")));
            m.output(&format!("{name}{channel}_o"), bit);
        }
        for name in ["read_error_response", "write_error_response"] {
            let word = hop_word(m, &format!("{name}_{channel}"), HOP, port.get(&format!("{name}_o")));
            m.output(&format!("{name}{channel}_o"), word);
        }
        Ok(port)
    }

    /// Step table and program: fetched, checked, dispatched.
    fn command_processor<'m>(
        &self,
        m: &'m Builder,
        start: Wire<'m>,
        (ports, base): (&[Instance<'m>], Wire<'m>),
    ) -> Result<Processor<'m>, RtlError> {
        let table = m.instance("u_table", &TableReader::new(&self.config, 4)?)?;
        let prefetch = m.instance("u_prefetch", &Prefetch::new(self.config.fields().beat_bytes)?)?;
        let dispatch = m.instance("u_dispatch", &Dispatch::new(self.config.fields().beat_bytes)?)?;
        for unit in [&table, &prefetch, &dispatch] {
            unit.set("start_i", start);
        }
        let reads = m.instance("u_control_reads", &ControlReads::new(&self.config))?;
        reads.set("base_i", base);
        reads.set("step_i", m.input("step_i", 64));
        reads.set("program_i", m.input("program_i", 64));
        reads.stream_in("table", table.stream_out("request"));
        reads.stream_in("program", prefetch.stream_out("request"));
        let keepers = lists::keepers(m, &self.config, &reads, ports)?;

        // The table comes first, then the program.
        let beat = hop(m, "control_valid", HOP, keepers[0].get("other_o"));
        let data = hop_word(m, "control_data", HOP, ports[0].get("control_beat_data_o"));
        let there = table.get("there_o");
        table.set("beat_valid_i", beat & !there);
        prefetch.set("beat_valid_i", beat & there);
        for unit in [&table, &prefetch] {
            unit.set("beat_data_i", data);
        }
        prefetch.set("enable_i", there);
        prefetch.set("commands_i", m.input("commands_i", 32));

        dispatch.set("go_i", table.get("ready_o"));
        dispatch.stream_in("command", prefetch.stream_out("command"));
        for name in ["index", "last", "bursts"] {
            dispatch.set(&format!("{name}_i"), prefetch.get(&format!("{name}_o")));
        }
        prefetch.set("given_i", dispatch.get("taken_o"));
        table.set("gate_i", dispatch.get("gate_entry_o"));
        Ok(Processor { table, dispatch, reads, keepers })
    }
}

/// The command processor's parts.
struct Processor<'m> {
    table: Instance<'m>,
    dispatch: Instance<'m>,
    reads: Instance<'m>,
    keepers: Vec<Instance<'m>>,
}

impl<'m> Issue<'m> {
    fn of(m: &'m Builder, dispatch: &Instance<'m>, table: &Instance<'m>, slots: u32) -> Self {
        let get = |name: &str| dispatch.get(&format!("issue_{name}_o"));
        // The table was asked when the command was taken.
        let entry = (0..DISPATCH - 1 - TableReader::GATE_LATENCY)
            .fold(table.get("gate_o"), |entry, stage| m.register(&format!("issue_entry_{stage}"), entry));
        let [allow, force] = [0, 32].map(|low| entry.slice(low, slots));
        Self {
            valid: get("valid"),
            fields: Fields::new(get("command")),
            classes: Classes::of(get("classes")),
            position: get("index"),
            index: get("index").trunc(NUMBER_BITS),
            decides: get("decision_valid"),
            decision: get("decision"),
            vector: get("number_vector"),
            gate: get("number_gate"),
            allow,
            force,
            writer: get("number_writer"),
            operand: ["operand_valid", "operand"].map(get),
            product: ["product_valid", "product"].map(get),
            compared: ["gate_valid", "gate"].map(get),
        }
    }
}

impl<'m> Center<'m> {
    /// Asks for the slots of a command: whether they are known, and which.
    fn slots_of(&self, reader: u32, pred: Wire<'m>, decides: Wire<'m>, decision: Wire<'m>) -> [Wire<'m>; 2] {
        self.decisions.set(&format!("pred_{reader}_i"), pred);
        self.decisions.set(&format!("decision_valid_{reader}_i"), decides);
        self.decisions.set(&format!("decision_{reader}_i"), decision);
        ["known", "slots"].map(|name| self.decisions.get(&format!("{name}_{reader}_o")))
    }

    /// What decisions and writers are told.
    fn tell(&self) -> Result<(), RtlError> {
        let Self { m, issue, decisions, writers, table, gates, .. } = self;
        for unit in [decisions, writers] {
            unit.set("active_i", table.get("active_o"));
            unit.set("output_i", table.get("output_o"));
            for (name, from) in [("settle_valid", "settles"), ("settle", "number"), ("replay", "replay")] {
                unit.set(&format!("{name}_i"), gates.get(&format!("{from}_o")));
            }
        }
        decisions.set("gate_valid_i", issue.valid & issue.classes.gate);
        decisions.set("gate_i", issue.gate);
        let pred = issue.fields.pred();
        let [known, slots] = self.slots_of(WRITERS, pred, issue.decides, issue.decision);
        let written = shape(&self.sizes, m, &issue.fields, Direction::Write)?;
        let pushed = [
            ("push_valid", issue.valid & issue.classes.writes),
            ("push", issue.writer),
            ("push_family", written.addr),
            ("push_ringed", written.ringed & written.own),
            ("push_pred", pred),
            ("push_decides", issue.decides),
            ("push_decision", issue.decision),
            ("push_known", known),
            ("push_slots", slots),
            ("ring", table.get("ring_o")),
            ("start", self.start),
        ];
        pushed.iter().for_each(|(name, wire)| writers.set(&format!("{name}_i"), *wire));
        self.dispatch.set("writer_room_i", writers.get("room_o"));
        Ok(())
    }
}

impl Block for Machine {
    fn module(&self) -> Result<Arc<Module>, RtlError> {
        let m = Builder::new(format!("machine_{}", self.config.name()));
        let start = m.input("start_i", 1);
        let bases: Vec<_> =
            (0..self.config.channels()).map(|c| m.input(&format!("channel{c}_i"), 64)).collect();
        let halt = m.input("halt_i", 1);
        let channels = bases.iter().enumerate();
        let ports =
            channels.map(|(c, base)| self.channel(&m, c, (*base, halt))).collect::<Result<Vec<_>, _>>()?;
        m.output("reading_o", ports[0].get("reading_o"));
        m.output("writing_o", ports[0].get("writing_o"));
        let processor = self.command_processor(&m, start, (&ports, bases[0]))?;
        let Processor { table, dispatch, reads, keepers } = processor;
        let sizes = Sizes::new(&self.config);
        let slots = self.config.slots();
        let issue = Issue::of(&m, &dispatch, &table, slots);
        let lists = ListState::new(&m, (start, &issue), table.get("active_o"), keepers)?;
        let center = Center {
            m: &m,
            config: &self.config,
            sizes,
            start,
            base: bases[0],
            issue,
            gates: m.instance("u_gates", &Gates::new(slots)?)?,
            tas: m.instance("u_tas", &Tas::new(&self.config))?,
            past: m.instance("u_past_walker", &PastWalker::new(&self.config))?,
            report: m.instance("u_report", &Report::new(&self.config)?)?,
            masks: m.instance(
                "u_masks",
                &Masks::new(&self.config, &["finder", "sender", "walker"], &["queue", "walker"])?,
            )?,
            reporting: m.reg("reporting", 1).reset(0),
            decisions: m.instance("u_decisions", &Decisions::new(slots, READERS)?)?,
            writers: m.instance("u_writers", &Writers::new(slots, sizes.address, 3)?)?,
            table,
            dispatch,
            ports,
            lists,
        };
        center.tell()?;
        center.ask_for_lists(&reads)?;
        let array = center.array()?;
        let through = array.sequencer.get("idle_o");
        m.output("mac_there_o", array.sequencer.get("front_valid_o") & !through);
        let idle = center.vector(&array)? & through & center.decide()?;
        let idle = idle & !center.writers.get("oldest_valid_o") & center.lists.idle;
        center.finish(idle, &array.streams)?;
        m.finish()
    }
}

impl<'m> Center<'m> {
    /// The end of a run, when no unit has anything left to do.
    fn finish(&self, idle: Wire<'m>, streams: &Streams<'m>) -> Result<(), RtlError> {
        let Self { m, start, dispatch, issue, .. } = self;
        // `end` stands in no queue: it is there when it would.
        let ended = m.reg("ended", 1).reset(0);
        let comes = dispatch.get("issue_valid_o") & issue.classes.end;
        ended.update(&[(*start, m.lit(1, 0)), (comes, m.lit(1, 1))]);
        let all = (ended.q() & idle).named("all_done");
        let seen = m.reg("seen", 1).reset(0);
        seen.update(&[(*start, m.lit(1, 0)), (all, m.lit(1, 1))]);
        let mut done = self.reported(all & !seen.q());
        for stage in 1..FINISH {
            done = m.register_valid(&format!("done_{stage}"), done & !*start);
        }
        m.output("done_o", done);
        self.processed(streams)
    }

    /// What is counted of the command processor, and what is wrong with a program.
    fn processed(&self, streams: &Streams<'m>) -> Result<(), RtlError> {
        let Self { m, start, dispatch, .. } = self;
        let taken = dispatch.get("taken_o");
        m.output("command_valid_o", taken);
        // Busy for as long as a dispatch takes; held up until `end` is on its way.
        let busy = m.reg("busy", 3).reset(0);
        busy.update(&[(taken, m.lit(3, DISPATCH - 1)), (busy.q().any(), busy.q() - 1)]);
        let working = taken | busy.q().any();
        let running = m.reg("running", 1).reset(0);
        running.update(&[(*start, m.lit(1, 1)), (dispatch.get("ended_o"), m.lit(1, 0))]);
        m.output("command_busy_o", working);
        m.output("command_stalled_o", (*start | running.q()) & !working);
        let [wrong_list, its_command] = self.wrong_list(streams);
        let (wrong, list) = (dispatch.get("error_valid_o"), error_code("block_list").unwrap_or_default());
        m.output("error_valid_o", wrong | wrong_list);
        m.output("error_code_o", wrong.mux(dispatch.get("error_code_o"), m.lit(8, list.into())));
        m.output("error_command_o", wrong.mux(dispatch.get("error_index_o"), its_command));
        m.output("issued_o", dispatch.get("issue_valid_o"));
        m.output("issued_command_o", self.issue.position);
        m.output("wrong_table_o", self.table.get("wrong_o"));
        Ok(())
    }

    /// Blocks of 32 tokens that a head of a cache has room for.
    fn cache_blocks(&self) -> Wire<'m> {
        let blocks = self.table.get("positions_o") + u64::from(KV_BLOCK_TOKENS - 1);
        blocks.slice(KV_BLOCK_TOKENS.ilog2(), BLOCK_BITS + 1)
    }
}
