//! The core, or the kernel around it, with the simulator's memories on its channels.

use super::Rtl;
use super::host::Host;
use super::tools::RtlTestError;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa;
use fastcar_arch::program::Program;
use fastcar_arch::regs;
use fastcar_arch::step::StepTable;
use fastcar_hw::core::Core;
use fastcar_hw::rtl::{Bits, Block, Module, RtlError};
use fastcar_sim::memory::{Burst, MemorySystem};
use fastcar_sim::{Counters, Placement, Policy};
use std::collections::VecDeque;
use std::sync::Arc;

/// Cycles after which a run counts as hung.
pub(super) const PATIENCE: u64 = 1 << 20;

/// Device address of a channel's local byte 0: another one for each, all on pages.
pub(super) fn base(channel: usize) -> u64 {
    (channel as u64 + 1) << 40 | 0x5000
}

/// What a run counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// Cycles from start to done.
    pub cycles: u64,
    /// Commands dispatched.
    pub commands: u64,
    /// Cycles in which the command processor works, and in which it is held up.
    pub command: (u64, u64),
    /// Cycles in which beats occupy channel 0's cluster, and the rest of those in which a product is under way.
    pub mac: (u64, u64),
    /// Cycles in which the vector unit works, and the rest of those in which a command is in its queue.
    pub vector: (u64, u64),
    /// Passes of the array over matrices; blocks of these that came, and that did not.
    pub passes: (u64, u64, u64),
    /// Cycles in which gates settle, and the rest of those in which there are gates.
    pub gate: (u64, u64),
    /// Slots for which gates decided that they replay, and that they do not.
    pub decided: (u64, u64),
    /// Cycles in which channel 0 reads but brings no beat, and in which it writes but takes none.
    pub stalled: (u64, u64),
    /// Bytes read and written on each channel.
    pub bytes: Vec<(u64, u64)>,
    /// How it failed.
    pub error: Option<Failed>,
}

/// The error of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Failed {
    /// Its code.
    pub code: u64,
    /// The command, or the last that had been dispatched.
    pub command: u64,
    /// The channel of a read or write.
    pub channel: u64,
    /// Its response.
    pub response: u64,
}

impl From<Counters> for Counted {
    /// What the simulator says of a run, in the words of the board.
    fn from(c: Counters) -> Self {
        Self {
            cycles: c.cycles,
            commands: c.commands,
            command: (c.units[0].busy, c.units[0].stalled),
            mac: (c.units[3].busy, c.units[3].stalled),
            vector: (c.units[4].busy, c.units[4].stalled),
            passes: (c.passes, c.blocks_streamed, c.blocks_skipped),
            gate: (c.units[5].busy, c.units[5].stalled),
            decided: (c.replays, c.computes),
            stalled: (c.units[1].stalled, c.units[2].stalled),
            bytes: c.read_bytes.into_iter().zip(c.write_bytes).collect(),
            error: None,
        }
    }
}

/// A channel's side of AXI.
#[derive(Default)]
pub(super) struct Channel {
    bytes: Vec<u8>,
    /// Beats on their way: cycle, place, last of its burst, response.
    beats: VecDeque<(u64, u64, bool, u64)>,
    /// Bursts whose data comes: place of the next beat, beats left.
    writes: VecDeque<(u64, u64)>,
    responses: VecDeque<(u64, u64)>,
}

/// A core, or a kernel with its host, and its memories.
pub struct Board {
    pub(super) dut: Rtl,
    pub(super) config: AccelConfig,
    pub(super) channels: Vec<Channel>,
    /// Who starts runs by the registers; none where the core stands alone.
    pub(super) host: Option<Host>,
}

impl Board {
    /// The core of a configuration.
    ///
    /// # Errors
    /// What is wrong with the core.
    pub fn module(config: &AccelConfig) -> Result<Arc<Module>, RtlError> {
        Core::new(config)?.module()
    }

    /// A board whose memories are empty.
    ///
    /// # Errors
    /// What is wrong with the core; tools that are missing or fail.
    pub fn new(config: &AccelConfig) -> Result<Self, RtlTestError> {
        let mut dut = Rtl::build(&Self::module(config)?)?;
        dut.reset();
        let channels = (0..config.channels()).map(|_| Channel::default()).collect();
        Ok(Self { dut, config: config.clone(), channels, host: None })
    }

    /// Chooses the policy; the default is `static`. One wave is all that the hardware has: `overlap` is as `compact`.
    ///
    /// # Panics
    /// When the board is a kernel: its policy is `compact`.
    pub fn set_policy(&mut self, policy: Policy) {
        self.dut.set("compact_i", policy != Policy::Static);
    }

    /// Bytes of a channel, from local byte 0 on.
    #[must_use]
    pub fn bytes(&self, channel: usize) -> &[u8] {
        &self.channels[channel].bytes
    }

    /// Puts bytes into a channel.
    pub fn write(&mut self, channel: usize, at: u64, bytes: &[u8]) {
        let memory = &mut self.channels[channel].bytes;
        let end = at as usize + bytes.len();
        memory.resize(memory.len().max(end), 0);
        memory[at as usize..end].copy_from_slice(bytes);
    }

    /// Runs a program on a fresh memory system; what lies in memory stays.
    ///
    /// # Panics
    /// When the run does not end.
    pub fn run(
        &mut self,
        program: &Program,
        table: &StepTable,
        at: Placement,
        memory: MemorySystem,
    ) -> Counted {
        self.write(0, at.program, &isa::encode(program.commands()));
        self.write(0, at.step, &table.to_bytes(program.limits()));
        self.run_raw(program.commands().len() as u64, at, memory)
    }

    /// Runs what lies in memory as a program of so many commands.
    ///
    /// # Panics
    /// When the run does not end.
    pub fn run_raw(&mut self, commands: u64, at: Placement, memory: MemorySystem) -> Counted {
        if self.host.is_some() {
            return self.run_by_registers(commands, at, memory);
        }
        self.run_core(commands, at, memory)
    }

    fn run_core(&mut self, commands: u64, at: Placement, mut memory: MemorySystem) -> Counted {
        let mut counted = Counted { bytes: vec![(0, 0); self.channels.len()], ..Counted::default() };
        self.dut.set("commands_i", commands);
        for (name, local) in [("program", at.program), ("step", at.step), ("report", at.report)] {
            self.dut.set(&format!("{name}_i"), base(0) + local);
        }
        for channel in 0..self.channels.len() {
            self.dut.set(&format!("channel{channel}_i"), base(channel));
        }
        self.dut.set("watchdog_i", PATIENCE / 2);
        for now in 0..PATIENCE {
            self.dut.set("start_i", now == 0);
            for channel in 0..self.channels.len() {
                self.read_bus(channel, now, &mut memory);
                self.write_bus(channel, now, &mut memory);
            }
            self.count(&mut counted);
            let done = self.dut.is_set("done_o");
            self.dut.tick();
            if done {
                self.check_quiet();
                counted.cycles = now + 1;
                for (busy, there) in [&mut counted.mac, &mut counted.vector, &mut counted.gate] {
                    *there = there.saturating_sub(*busy);
                }
                return counted;
            }
        }
        panic!("the run does not end: {counted:?}");
    }

    /// Nothing is on the bus any more.
    pub(super) fn drop_bus(&mut self) {
        for channel in 0..self.channels.len() {
            let axi = self.axi(channel);
            for name in ["arready_i", "rvalid_i", "awready_i", "wready_i", "bvalid_i"] {
                self.dut.set(&axi(name), false);
            }
            let side = &mut self.channels[channel];
            side.beats.clear();
            side.writes.clear();
            side.responses.clear();
        }
    }

    /// A run leaves nothing on the bus: no burst without all its data, no answer that is still to come.
    pub(super) fn check_quiet(&self) {
        for (channel, side) in self.channels.iter().enumerate() {
            let owed: u64 = side.writes.iter().map(|write| write.1).sum();
            let open = (side.beats.len(), owed, side.responses.len());
            assert_eq!(open, (0, 0, 0), "channel {channel}: beats to come, beats owed, responses to come");
        }
    }

    fn count(&mut self, counted: &mut Counted) {
        let mut bit = |name: &str| u64::from(self.dut.is_set(name));
        counted.commands += bit("command_valid_o");
        counted.command.0 += bit("command_busy_o");
        counted.command.1 += bit("command_stalled_o");
        counted.mac.0 += bit("mac_busy_o");
        counted.mac.1 += bit("mac_there_o");
        counted.vector.0 += bit("vector_busy_o");
        counted.vector.1 += bit("vector_there_o");
        counted.gate.0 += bit("gate_busy_o");
        counted.gate.1 += bit("gate_there_o");
        let (read, written) = (bit("read_beat0_o"), bit("written_beat0_o"));
        counted.stalled.0 += bit("reading_o") & !read & 1;
        counted.stalled.1 += bit("writing_o") & !written & 1;
        for (channel, bytes) in counted.bytes.iter_mut().enumerate() {
            let beat = self.config.beat().get();
            bytes.0 += beat * bit(&format!("read_beat{channel}_o"));
            bytes.1 += beat * bit(&format!("written_beat{channel}_o"));
        }
        let wrong = bit("error_valid_o") == 1;
        counted.decided.0 += self.dut.get("replays_o");
        counted.decided.1 += self.dut.get("computes_o");
        counted.passes.0 += self.dut.get("passes_o");
        counted.passes.1 += self.dut.get("streamed_o");
        counted.passes.2 += self.dut.get("skipped_o");
        if wrong {
            let [code, command, channel, response] = ["code", "command", "channel", "response"]
                .map(|name| self.dut.get(&format!("error_{name}_o")));
            counted.error = Some(Failed { code, command, channel, response });
        }
    }

    /// Names of a channel's signals.
    fn axi(&self, channel: usize) -> impl Fn(&str) -> String + use<> {
        let kernel = self.host.is_some();
        move |name| match name.rsplit_once('_') {
            Some((signal, _)) if kernel => {
                format!("{}_{}", regs::port(channel as u32), signal.to_uppercase())
            }
            _ => format!("m{channel}_axi_{name}"),
        }
    }

    pub(super) fn read_bus(&mut self, channel: usize, now: u64, memory: &mut MemorySystem) {
        let axi = self.axi(channel);
        let beat = self.config.beat().get();
        let side = &mut self.channels[channel];
        let due = side.beats.pop_front_if(|beat| beat.0 == now);
        self.dut.set(&axi("arready_i"), true);
        self.dut.set(&axi("rvalid_i"), due.is_some());
        if let Some((_, at, last, response)) = due {
            let end = (at + beat) as usize;
            side.bytes.resize(side.bytes.len().max(end), 0);
            self.dut.set(&axi("rdata_i"), Bits::from_bytes(8 * beat as u32, &side.bytes[at as usize..end]));
            self.dut.set(&axi("rlast_i"), last);
            self.dut.set(&axi("rresp_i"), response);
        }
        if !self.dut.is_set(&axi("arvalid_o")) {
            return;
        }
        let beats = self.dut.get(&axi("arlen_o")) + 1;
        let burst =
            Burst { addr: self.dut.get(&axi("araddr_o")) - base(channel), bytes: (beats * beat) as u32 };
        let Some(arrival) = memory.read(channel as u32, now, burst) else { return };
        let response = if arrival.fault().is_some() { 2 } else { 0 };
        let places = (0..arrival.beats())
            .map(|i| (arrival.beat(i), burst.addr + u64::from(i) * beat, i + 1 == arrival.beats(), response));
        self.channels[channel].beats.extend(places);
    }

    pub(super) fn write_bus(&mut self, channel: usize, now: u64, memory: &mut MemorySystem) {
        let axi = self.axi(channel);
        let beat = self.config.beat().get();
        let due = self.channels[channel].responses.pop_front_if(|response| response.0 == now);
        self.dut.set(&axi("awready_i"), true);
        self.dut.set(&axi("wready_i"), true);
        self.dut.set(&axi("bvalid_i"), due.is_some());
        self.dut.set(&axi("bresp_i"), due.map_or(0, |due| due.1));
        if self.dut.is_set(&axi("awvalid_o")) {
            let beats = self.dut.get(&axi("awlen_o")) + 1;
            let addr = self.dut.get(&axi("awaddr_o")) - base(channel);
            let burst = Burst { addr, bytes: (beats * beat) as u32 };
            if let Some(written) = memory.write(channel as u32, now, burst) {
                let response = if written.fault.is_some() { 2 } else { 0 };
                self.channels[channel].responses.push_back((written.response, response));
                self.channels[channel].writes.push_back((addr, beats));
            }
        }
        if self.dut.is_set(&axi("wvalid_o")) {
            let data = self.dut.bits(&axi("wdata_o")).to_bytes();
            let Some((at, left)) = self.channels[channel].writes.pop_front() else {
                panic!("data without an address on channel {channel} in cycle {now}");
            };
            let bytes = self.dut.bits(&axi("wstrb_o"));
            for (byte, value) in data.iter().enumerate().filter(|byte| bytes.bit(byte.0 as u32)) {
                self.write(channel, at + byte as u64, &[*value]);
            }
            if left > 1 {
                self.channels[channel].writes.push_front((at + beat, left - 1));
            }
        }
    }
}
