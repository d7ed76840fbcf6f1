//! The core, or the kernel around it, with the simulator's memories on its channels.

use crate::channel::{Channel, base};
use crate::counted::{Counted, Failed};
use crate::dut::{Output, Rtl};
use crate::error::{BenchError, RunError};
use crate::host::Host;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa;
use fastcar_arch::program::Program;
use fastcar_arch::step::StepTable;
use fastcar_hw::core::Core;
use fastcar_hw::rtl::{Block, Module, RtlError};
use fastcar_sim::memory::MemorySystem;
use fastcar_sim::{Placement, Policy};
use std::sync::Arc;

/// Cycles without a beat on any channel after which a run counts as hung.
pub(crate) const PATIENCE: u64 = 1 << 20;

/// A core, or a kernel with its host, and its memories.
pub struct Board {
    pub(crate) dut: Rtl,
    pub(crate) config: AccelConfig,
    pub(crate) channels: Vec<Channel>,
    pub(crate) drives: Drives,
}

/// What starts runs and counts.
pub(crate) enum Drives {
    /// The bare core.
    Core(Watched),
    /// The kernel, by its registers.
    Kernel(Box<Host>),
}

/// Outputs of the core that are looked at in every cycle.
#[derive(Clone)]
pub(crate) struct Watched {
    bits: [Output; 11],
    /// By channel: beats read and written.
    beats: Vec<[Output; 2]>,
    decided: [Output; 2],
    passes: [Output; 3],
    error: [Output; 5],
    done: Output,
}

impl Watched {
    fn new(dut: &Rtl, channels: usize) -> Self {
        let output = |name: &str| dut.output(&format!("{name}_o"));
        let bits = [
            "command_valid",
            "command_busy",
            "command_stalled",
            "mac_busy",
            "mac_there",
            "vector_busy",
            "vector_there",
            "gate_busy",
            "gate_there",
            "reading",
            "writing",
        ];
        let beats = |channel| ["read", "written"].map(|way| output(&format!("{way}_beat{channel}")));
        Self {
            bits: bits.map(output),
            beats: (0..channels).map(beats).collect(),
            decided: ["replays", "computes"].map(output),
            passes: ["passes", "streamed", "skipped"].map(output),
            error: ["valid", "code", "command", "channel", "response"]
                .map(|name| output(&format!("error_{name}"))),
            done: output("done"),
        }
    }

    /// Adds what a cycle counts.
    fn count(&self, dut: &mut Rtl, beat: u64, counted: &mut Counted) {
        let bits = self.bits.map(|bit| dut.word(bit));
        counted.commands += bits[0];
        let pairs = [&mut counted.command, &mut counted.mac, &mut counted.vector, &mut counted.gate];
        for (pair, bits) in pairs.into_iter().zip(bits[1..].chunks(2)) {
            *pair = (pair.0 + bits[0], pair.1 + bits[1]);
        }
        for (channel, (bytes, beats)) in counted.bytes.iter_mut().zip(&self.beats).enumerate() {
            let [read, written] = beats.map(|output| dut.word(output));
            *bytes = (bytes.0 + beat * read, bytes.1 + beat * written);
            if channel == 0 {
                counted.stalled.0 += bits[9] & !read & 1;
                counted.stalled.1 += bits[10] & !written & 1;
            }
        }
        let [replays, computes] = self.decided.map(|output| dut.word(output));
        counted.decided = (counted.decided.0 + replays, counted.decided.1 + computes);
        let [passes, streamed, skipped] = self.passes.map(|output| dut.word(output));
        let sum = counted.passes;
        counted.passes = (sum.0 + passes, sum.1 + streamed, sum.2 + skipped);
        let [wrong, code, command, channel, response] = self.error.map(|output| dut.word(output));
        if wrong == 1 {
            counted.error = Some(Failed { code, command, channel, response });
        }
    }
}

impl Board {
    /// The core of a configuration.
    ///
    /// # Errors
    /// What is wrong with the core.
    pub fn module(config: &AccelConfig) -> Result<Arc<Module>, RtlError> {
        Core::new(config)?.module()
    }

    /// A board with the bare core, whose memories are empty.
    ///
    /// # Errors
    /// What is wrong with the core; tools that are missing or fail.
    pub fn new(config: &AccelConfig) -> Result<Self, BenchError> {
        let mut dut = Rtl::build(&Self::module(config)?)?;
        let channels = Channel::all(&mut dut, config, false);
        dut.reset();
        let drives = Drives::Core(Watched::new(&dut, channels.len()));
        Ok(Self { dut, config: config.clone(), channels, drives })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &AccelConfig {
        &self.config
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

    /// Bytes of all channels, to read and write.
    pub fn memories(&mut self) -> impl Iterator<Item = &mut Vec<u8>> {
        self.channels.iter_mut().map(|channel| &mut channel.bytes)
    }

    /// Puts bytes into a channel.
    pub fn write(&mut self, channel: usize, at: u64, bytes: &[u8]) {
        self.channels[channel].write(at, bytes);
    }

    /// Runs a program on a fresh memory system; what lies in memory stays.
    ///
    /// # Errors
    /// As [`Board::run_raw`].
    pub fn run(
        &mut self,
        program: &Program,
        table: &StepTable,
        at: Placement,
        memory: MemorySystem,
    ) -> Result<Counted, RunError> {
        self.write(0, at.program, &isa::encode(program.commands()));
        self.write(0, at.step, &table.to_bytes(program.limits()));
        self.run_raw(program.commands().len() as u64, at, memory)
    }

    /// Runs what lies in memory as a program of so many commands. What the hardware itself calls an error is in what it has
    /// counted.
    ///
    /// # Errors
    /// It does what it must not do, as not to end.
    pub fn run_raw(
        &mut self,
        commands: u64,
        at: Placement,
        memory: MemorySystem,
    ) -> Result<Counted, RunError> {
        match &self.drives {
            Drives::Core(watched) => {
                let watched = watched.clone();
                self.channels.iter_mut().for_each(Channel::begin);
                self.run_core(&watched, commands, at, memory)
            }
            Drives::Kernel(_) => self.run_by_registers(commands, at, memory),
        }
    }

    fn run_core(
        &mut self,
        watched: &Watched,
        commands: u64,
        at: Placement,
        mut memory: MemorySystem,
    ) -> Result<Counted, RunError> {
        let mut counted = Counted { bytes: vec![(0, 0); self.channels.len()], ..Counted::default() };
        self.dut.set("commands_i", commands);
        for (name, local) in [("program", at.program), ("step", at.step), ("report", at.report)] {
            self.dut.set(&format!("{name}_i"), base(0) + local);
        }
        for channel in 0..self.channels.len() {
            self.dut.set(&format!("channel{channel}_i"), base(channel));
        }
        self.dut.set("watchdog_i", PATIENCE / 2);
        for now in 0.. {
            self.dut.set("start_i", now == 0);
            self.cross(now, &mut memory)?;
            watched.count(&mut self.dut, self.config.beat().get(), &mut counted);
            let done = self.dut.word(watched.done) != 0;
            self.dut.tick();
            if done {
                self.check_quiet(now)?;
                counted.cycles = now + 1;
                break;
            }
            self.check_moves(now)?;
        }
        for (busy, there) in [&mut counted.mac, &mut counted.vector, &mut counted.gate] {
            *there = there.saturating_sub(*busy);
        }
        Ok(counted)
    }

    /// What crosses the channels in a cycle.
    pub(crate) fn cross(&mut self, now: u64, memory: &mut MemorySystem) -> Result<(), RunError> {
        let Self { dut, channels, .. } = self;
        channels.iter_mut().for_each(|channel| channel.drive(dut, now));
        channels.iter_mut().try_for_each(|channel| channel.take(dut, now, memory))
    }

    /// A run leaves nothing on the bus.
    pub(crate) fn check_quiet(&self, now: u64) -> Result<(), RunError> {
        self.channels.iter().try_for_each(|channel| channel.check_quiet(now))
    }

    /// A run in which nothing has moved for long does not end.
    pub(crate) fn check_moves(&self, now: u64) -> Result<(), RunError> {
        let cycle = self.channels.iter().map(|channel| channel.moved).max().unwrap_or(0);
        if now - cycle < PATIENCE { Ok(()) } else { Err(RunError::Hung { cycle }) }
    }
}
