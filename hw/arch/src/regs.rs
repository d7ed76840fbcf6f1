//! The AXI4-Lite register map: one table, from which the hardware, the host and `docs/registers.md` are made.
//!
//! The first four registers are those of every Vitis RTL kernel, and the kernel arguments follow from 0x10. All other
//! blocks start at fixed offsets, so that software can read what a card holds before it knows its configuration.
//! Only the number of channel base addresses and channel counters depends on the configuration.

use crate::config::{AccelConfig, MAX_SLOTS};
use crate::isa::ISA_VERSION;
use crate::layout::LAYOUT_VERSION;
use std::fmt;

/// Version of the register map; part of the identity hash.
pub const REGISTER_VERSION: u32 = 2;
/// Bytes of address space that the map occupies.
pub const MAP_BYTES: u32 = 0x1000;
/// AXI4-Lite slave that the map lies behind.
pub const CONTROL_PORT: &str = "s_axi_control";
/// What `MAGIC` reads as: "FCAR" in ASCII, `F` in the low byte.
pub const MAGIC: u32 = u32::from_le_bytes(*b"FCAR");

/// Offset of the first kernel argument.
const ARGUMENTS: u32 = 0x010;
/// Offset of status and error.
const STATUS: u32 = 0x200;
/// Offset of versions, identity and configuration.
const DESCRIPTION: u32 = 0x240;
/// Offset of the performance counters.
const COUNTERS: u32 = 0x400;

/// What software may do with a register or a bit field.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Software reads; writes are ignored.
    ReadOnly,
    /// Software reads and writes; the hardware does not change it.
    ReadWrite,
    /// Software writes 1 to set it; the hardware clears it.
    WriteSet,
    /// A read clears it.
    ReadClear,
    /// Software writes 1 to toggle it, as interrupt status bits of Vitis kernels do.
    WriteToggle,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadOnly => "RO",
            Self::ReadWrite => "RW",
            Self::WriteSet => "RW1S",
            Self::ReadClear => "RC",
            Self::WriteToggle => "RW1T",
        })
    }
}

/// A run of bits in a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BitField {
    /// Name.
    pub name: &'static str,
    /// Lowest bit.
    pub low: u32,
    /// Number of bits.
    pub width: u32,
    /// What software may do with it.
    pub access: Access,
    /// Meaning.
    pub doc: &'static str,
}

/// What a register reads as after reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// This value, until it changes.
    Value(u64),
    /// A constant: the same in every accelerator of this version.
    Constant(u64),
    /// A constant of the configuration.
    Configuration(u64),
    /// A constant: a word of the identity hash ([`crate::identity::Identity::words`]).
    Identity(usize),
}

/// What a kernel argument is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Number, as `clSetKernelArg` counts.
    pub index: u32,
    /// AXI4 master behind a pointer; none for a plain number.
    pub port: Option<String>,
}

/// One register.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Register {
    /// Name.
    pub name: String,
    /// Byte offset. A 64-bit register has its low word here and its high word 4 bytes on.
    pub offset: u32,
    /// 32 or 64.
    pub bits: u32,
    /// What software may do with it as a whole; fields may differ.
    pub access: Access,
    /// Value after reset.
    pub reset: Reset,
    /// The kernel argument that it holds, if it holds one.
    pub argument: Option<Argument>,
    /// The memory channel that it belongs to, if it is one of a row of registers, one a channel.
    pub channel: Option<u32>,
    /// Bit fields; none where the register is one number.
    pub fields: &'static [BitField],
    /// Meaning.
    pub doc: String,
}

/// A unit whose busy and stalled cycles are counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Unit {
    /// Name in register names.
    pub name: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// The counted units.
pub const UNITS: &[Unit] = &[
    Unit { name: "COMMAND", doc: "command processor: fetches and decodes commands" },
    Unit { name: "READ", doc: "memory readers: weight, KV, ring and record streams" },
    Unit { name: "WRITE", doc: "memory writers: KV append, ring and record streams" },
    Unit { name: "MAC", doc: "MAC array: matrix-vector products and attention" },
    Unit {
        name: "VECTOR",
        doc: "vector unit: norms, RoPE, epilogues, quantisation, distances to references",
    },
    Unit { name: "GATE", doc: "gate unit: temporal attention scores and replay decisions" },
];

/// Error codes of the `ERROR` register: value, name, meaning.
pub const ERROR_CODES: &[(u32, &str, &str)] = &[
    (0, "none", "no error"),
    (1, "opcode", "an undefined opcode was fetched"),
    (
        2,
        "operand",
        "a command field holds an undefined value, a length of 0, or an address or stride that is no multiple of a beat; or a reserved byte is not 0",
    ),
    (3, "no_end", "the last of `COMMANDS` commands was not `end`, or an earlier one was"),
    (4, "step_table", "the step table names more slots than the configuration has, or too few gates"),
    (5, "read", "a memory read was answered with an error response"),
    (6, "write", "a memory write was answered with an error response"),
    (
        7,
        "block_list",
        "a block list is longer than its room, does not ascend, or names a block or token that the slot has not",
    ),
    (8, "aborted", "the host ended the run by `ABORT`"),
    (9, "stuck", "nothing moved for as many cycles as `WATCHDOG` says"),
];

/// The code of an error by its name.
#[must_use]
pub fn error_code(name: &str) -> Option<u32> {
    ERROR_CODES.iter().find(|code| code.1 == name).map(|code| code.0)
}

macro_rules! fields {
    ($($name:literal $low:literal $width:literal $access:ident $doc:literal),+ $(,)?) => {
        &[$(BitField { name: $name, low: $low, width: $width, access: Access::$access, doc: $doc }),+]
    };
}

const CTRL_FIELDS: &[BitField] = fields![
    "ap_start" 0 1 WriteSet "write 1 to start a run; reads 1 until the run is accepted",
    "ap_done" 1 1 ReadClear "a run has finished since the last read",
    "ap_idle" 2 1 ReadOnly "no run is in progress",
    "ap_ready" 3 1 ReadClear "the arguments may be written for the next run",
    "ap_continue" 4 1 WriteSet "ap_ctrl_chain: write 1 to accept the finished run's results",
    "auto_restart" 7 1 ReadWrite "start again as soon as a run is done",
];
const GIE_FIELDS: &[BitField] =
    fields!["enable" 0 1 ReadWrite "let enabled interrupts reach the `interrupt` port"];
const IER_FIELDS: &[BitField] = fields![
    "done" 0 1 ReadWrite "interrupt when a run is done",
    "ready" 1 1 ReadWrite "interrupt when the next run may be prepared",
];
const ISR_FIELDS: &[BitField] = fields![
    "done" 0 1 WriteToggle "a run was done while its interrupt was enabled",
    "ready" 1 1 WriteToggle "a run became ready while its interrupt was enabled",
];
const ERROR_FIELDS: &[BitField] = fields![
    "code" 0 8 ReadOnly "error code, 0 for none (see the error codes)",
    "channel" 8 8 ReadOnly "memory channel of a read or write error",
    "response" 16 2 ReadOnly "AXI response of a read or write error",
];

const ABORT_FIELDS: &[BitField] = fields![
    "abort" 0 1 WriteSet "write 1 to end the run in progress with the error `aborted`; reads 1 until it has ended",
];
/// Cycles that `WATCHDOG` has after reset: longer than anything that a unit does without a beat of memory.
const PATIENCE: u64 = 1 << 20;

/// The registers of a configuration, in address order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterMap {
    registers: Vec<Register>,
}

impl RegisterMap {
    /// The registers of a configuration.
    #[must_use]
    pub fn new(config: &AccelConfig) -> Self {
        let mut builder = Builder::default();
        builder.control();
        builder.arguments(config);
        builder.status();
        builder.versions();
        builder.configuration(config);
        builder.counters();
        builder.channel_counters(config);
        Self { registers: builder.registers }
    }

    /// The registers in address order.
    #[must_use]
    pub fn registers(&self) -> &[Register] {
        &self.registers
    }

    /// A register by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Register> {
        self.registers.iter().find(|r| r.name == name)
    }

    /// The register whose bytes contain an offset.
    #[must_use]
    pub fn at(&self, offset: u32) -> Option<&Register> {
        self.registers.iter().find(|r| (r.offset..r.offset + r.bits / 8).contains(&offset))
    }

    /// The kernel arguments in order.
    pub fn arguments(&self) -> impl Iterator<Item = (&Argument, &Register)> {
        self.registers.iter().filter_map(|r| Some((r.argument.as_ref()?, r)))
    }
}

/// Places registers one after the other, each aligned to its size.
#[derive(Default)]
struct Builder {
    registers: Vec<Register>,
    next: u32,
    arguments: u32,
}

impl Builder {
    fn add(
        &mut self,
        name: impl Into<String>,
        bits: u32,
        access: Access,
        doc: impl Into<String>,
    ) -> &mut Register {
        let offset = self.next.next_multiple_of(bits / 8);
        self.next = offset + bits / 8;
        self.registers.push(Register {
            name: name.into(),
            offset,
            bits,
            access,
            reset: Reset::Value(0),
            argument: None,
            channel: None,
            fields: &[],
            doc: doc.into(),
        });
        let last = self.registers.len() - 1;
        &mut self.registers[last]
    }

    fn control(&mut self) {
        let ctrl = self.add("CTRL", 32, Access::ReadWrite, "kernel control");
        (ctrl.fields, ctrl.reset) = (CTRL_FIELDS, Reset::Value(1 << 2));
        self.add("GIE", 32, Access::ReadWrite, "global interrupt enable").fields = GIE_FIELDS;
        self.add("IER", 32, Access::ReadWrite, "interrupt enable").fields = IER_FIELDS;
        self.add("ISR", 32, Access::WriteToggle, "interrupt status").fields = ISR_FIELDS;
    }

    fn argument(&mut self, name: &str, bits: u32, port: Option<String>, doc: &str) -> &mut Register {
        let index = self.arguments;
        self.arguments += 1;
        let register = self.add(name, bits, Access::ReadWrite, doc);
        register.argument = Some(Argument { index, port });
        register
    }

    fn arguments(&mut self, config: &AccelConfig) {
        self.next = ARGUMENTS;
        let first = || Some(port(0));
        self.argument("PROGRAM", 64, first(), "device address of the first command; a multiple of 64");
        self.argument("COMMANDS", 32, None, "commands in the program, `end` included");
        self.argument("STEP", 64, first(), "device address of the step table; a multiple of 64");
        self.argument("REPORT", 64, first(), "device address of the report; a multiple of 64");
        for channel in 0..config.channels() {
            let doc = "device address of local byte 0 on this channel; a multiple of 4096";
            self.argument(&format!("CHANNEL{channel}"), 64, Some(port(channel)), doc).channel = Some(channel);
        }
    }

    fn status(&mut self) {
        self.next = STATUS;
        self.add("ERROR", 32, Access::ReadOnly, "first error of the run; `ap_start` clears it").fields =
            ERROR_FIELDS;
        self.add(
            "ERROR_COMMAND",
            32,
            Access::ReadOnly,
            "position in the program of the command with the error",
        );
        self.add("COMMAND", 32, Access::ReadOnly, "position in the program of the last command issued");
        self.add("ABORT", 32, Access::ReadWrite, "end of a run by the host").fields = ABORT_FIELDS;
        let watchdog = "cycles without a beat on any channel or a command issued after which a run ends with the error `stuck`; 0: never";
        self.add("WATCHDOG", 32, Access::ReadWrite, watchdog).reset = Reset::Value(PATIENCE);
    }

    fn constant(&mut self, name: &str, bits: u32, reset: Reset, doc: &str) {
        self.add(name, bits, Access::ReadOnly, doc).reset = reset;
    }

    fn versions(&mut self) {
        self.next = DESCRIPTION;
        self.constant("MAGIC", 32, Reset::Constant(MAGIC.into()), "`FCAR`: this is a fastcar accelerator");
        self.constant(
            "REGISTER_VERSION",
            32,
            Reset::Constant(REGISTER_VERSION.into()),
            "version of this map",
        );
        self.constant("ISA_VERSION", 32, Reset::Constant(ISA_VERSION.into()), "version of the command set");
        self.constant(
            "LAYOUT_VERSION",
            32,
            Reset::Constant(LAYOUT_VERSION.into()),
            "version of the memory layouts",
        );
        for word in 0..8 {
            let doc = format!("identity hash, bytes {} to {}", 4 * word, 4 * word + 3);
            self.add(format!("IDENTITY{word}"), 32, Access::ReadOnly, doc).reset = Reset::Identity(word);
        }
    }

    fn configuration(&mut self, config: &AccelConfig) {
        let fields = config.fields();
        self.constant(
            "CHANNEL_BYTES",
            64,
            Reset::Configuration(fields.channel_bytes),
            "capacity of one channel in bytes",
        );
        self.constant(
            "CLOCK_HZ",
            64,
            Reset::Configuration(fields.clock_hz),
            "kernel clock that the image was built for, in Hz",
        );
        let words = [
            ("CHANNELS", fields.channels, "memory channels"),
            ("BEAT_BYTES", fields.beat_bytes, "width of a channel's data bus in bytes"),
            ("SLOTS", fields.slots, "sequences that a step advances"),
            ("COLUMNS", fields.columns, "physical columns of the MAC array"),
            ("VECTOR_LANES", fields.vector_lanes, "binary32 lanes of the vector unit"),
            ("VB_LINES", fields.vb_lines, "lines of the vector buffer, per slot"),
            ("AB_BLOCKS", fields.ab_blocks, "blocks of the activation buffer, per slot"),
            ("ACC_ROWS", fields.acc_rows, "rows of the accumulator RAM, per cluster and column"),
            ("SCORE_TOKENS", fields.score_tokens, "tokens of the score buffer"),
            ("MAIN_BEATS", fields.main_beats, "beats of the main stream buffer, per channel"),
            ("AHEAD_BEATS", fields.ahead_beats, "beats of the read-ahead stream buffer, per channel"),
            ("RECORD_BEATS", fields.record_beats, "beats of the record buffer, per channel"),
            ("WRITE_BEATS", fields.write_beats, "beats of the write buffer, per channel"),
            ("READ_BURSTS", fields.read_bursts, "read bursts that a channel's port may have under way"),
        ];
        for (name, value, doc) in words {
            self.constant(name, 32, Reset::Configuration(value.into()), doc);
        }
    }

    fn counter(&mut self, name: impl Into<String>, doc: impl Into<String>) -> &mut Register {
        self.add(name, 64, Access::ReadOnly, doc)
    }

    fn counters(&mut self) {
        self.next = COUNTERS;
        self.counter("CYCLES", "clock cycles from `ap_start` accepted to `ap_done`");
        self.counter("COMMANDS_DONE", "commands executed");
        self.counter("REPLAYS", "decisions of a gate for a slot that cleared its Index Register bit");
        self.counter("COMPUTES", "decisions of a gate for a slot that set its Index Register bit");
        self.counter("PASSES", "passes of the MAC array over a weight matrix");
        self.counter("BLOCKS_STREAMED", "weight input blocks streamed");
        self.counter("BLOCKS_SKIPPED", "weight input blocks that delta decode did not stream");
        for unit in UNITS {
            self.counter(format!("{}_BUSY", unit.name), format!("cycles with work done; {}", unit.doc));
            let doc = format!("cycles with work held up by another unit or by memory; {}", unit.doc);
            self.counter(format!("{}_STALLED", unit.name), doc);
        }
    }

    fn channel_counters(&mut self, config: &AccelConfig) {
        self.next = self.next.next_multiple_of(0x100);
        for channel in 0..config.channels() {
            let (read, written) = ("bytes read on this channel", "bytes written on this channel");
            self.counter(format!("READ_BYTES{channel}"), read).channel = Some(channel);
            self.counter(format!("WRITE_BYTES{channel}"), written).channel = Some(channel);
        }
    }
}

/// AXI4 master of a memory channel.
#[must_use]
pub fn port(channel: u32) -> String {
    format!("m_axi_gmem{channel}")
}

// A step has a bit per slot in a 32-bit mask, and a map has room for the counters of as many channels.
const _: () = assert!(MAX_SLOTS == 32 && COUNTERS + 0x200 + 32 * 16 <= MAP_BYTES);
