//! The core with the simulator's memories on its channels.

use super::Rtl;
use super::tools::RtlTestError;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa;
use fastcar_arch::program::Program;
use fastcar_arch::step::StepTable;
use fastcar_hw::core::Core;
use fastcar_hw::rtl::{Bits, Block, Module, RtlError};
use fastcar_sim::memory::{Burst, MemorySystem};
use fastcar_sim::{Placement, Policy};
use std::collections::VecDeque;
use std::sync::Arc;

/// Cycles after which a run counts as hung.
const PATIENCE: u64 = 1 << 20;

/// Device address of a channel's local byte 0: another one for each, all on pages.
fn base(channel: usize) -> u64 {
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
    /// Cycles in which channel 0 reads but brings no beat, and in which it writes but takes none.
    pub stalled: (u64, u64),
    /// Bytes read and written on each channel.
    pub bytes: Vec<(u64, u64)>,
    /// Code and command of an error.
    pub error: Option<(u64, u64)>,
}

/// A channel's side of AXI.
#[derive(Default)]
struct Channel {
    bytes: Vec<u8>,
    /// Beats on their way: cycle, place, last of its burst, response.
    beats: VecDeque<(u64, u64, bool, u64)>,
    /// Bursts whose data comes: place of the next beat, beats left.
    writes: VecDeque<(u64, u64)>,
    responses: VecDeque<(u64, u64)>,
}

/// A core and its memories.
pub struct Board {
    dut: Rtl,
    config: AccelConfig,
    channels: Vec<Channel>,
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
        Ok(Self { dut, config: config.clone(), channels })
    }

    /// Chooses the policy; the default is `static`. One wave is all that the hardware has: `overlap` is as `compact`.
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
    pub fn run_raw(&mut self, commands: u64, at: Placement, mut memory: MemorySystem) -> Counted {
        let mut counted = Counted { bytes: vec![(0, 0); self.channels.len()], ..Counted::default() };
        self.dut.set("commands_i", commands);
        for (name, local) in [("program", at.program), ("step", at.step)] {
            self.dut.set(&format!("{name}_i"), base(0) + local);
        }
        for channel in 0..self.channels.len() {
            self.dut.set(&format!("channel{channel}_i"), base(channel));
        }
        for now in 0..PATIENCE {
            self.dut.set("start_i", now == 0);
            for channel in 0..self.channels.len() {
                self.read_bus(channel, now, &mut memory);
                self.write_bus(channel, now, &mut memory);
            }
            self.count(&mut counted);
            let done = self.dut.is_set("done_o");
            self.dut.tick();
            if done || counted.error.is_some() {
                counted.cycles = now + 1;
                counted.mac.1 = counted.mac.1.saturating_sub(counted.mac.0);
                return counted;
            }
        }
        panic!("the run does not end: {counted:?}");
    }

    fn count(&mut self, counted: &mut Counted) {
        let mut bit = |name: &str| u64::from(self.dut.is_set(name));
        counted.commands += bit("command_valid_o");
        counted.command.0 += bit("command_busy_o");
        counted.command.1 += bit("command_stalled_o");
        counted.mac.0 += bit("mac_busy_o");
        counted.mac.1 += bit("mac_there_o");
        let (read, written) = (bit("read_beat0_o"), bit("written_beat0_o"));
        counted.stalled.0 += bit("reading_o") & !read & 1;
        counted.stalled.1 += bit("writing_o") & !written & 1;
        for (channel, bytes) in counted.bytes.iter_mut().enumerate() {
            let beat = self.config.beat().get();
            bytes.0 += beat * bit(&format!("read_beat{channel}_o"));
            bytes.1 += beat * bit(&format!("written_beat{channel}_o"));
        }
        if bit("error_valid_o") == 1 {
            counted.error = Some((self.dut.get("error_code_o"), self.dut.get("error_command_o")));
        }
    }

    fn read_bus(&mut self, channel: usize, now: u64, memory: &mut MemorySystem) {
        let axi = |name: &str| format!("m{channel}_axi_{name}");
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

    fn write_bus(&mut self, channel: usize, now: u64, memory: &mut MemorySystem) {
        let axi = |name: &str| format!("m{channel}_axi_{name}");
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
