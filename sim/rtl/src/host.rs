//! A kernel on the board: runs are started, waited for and read by its registers, as a host does.

use crate::Random;
use crate::board::{Board, Drives};
use crate::channel::{Channel, base};
use crate::counted::{Counted, Failed};
use crate::dut::{Output, Rtl};
use crate::error::{BenchError, RunError};
use crate::library::Progress;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::regs::{CONTROL_PORT, Register, RegisterMap};
use fastcar_hw::axi::Handshake;
use fastcar_hw::kernel::Kernel;
use fastcar_sim::Placement;
use fastcar_sim::memory::MemorySystem;

const START: u64 = 1;
const DONE: u64 = 1 << 1;
const IDLE: u64 = 1 << 2;
const READY: u64 = 1 << 3;
const CONTINUE: u64 = 1 << 4;

/// Cycles within which the registers take a word, and answer.
const ANSWERS_IN: u64 = 1 << 10;

/// Who starts runs, and what it knows of the one before.
pub(crate) struct Host {
    handshake: Handshake,
    map: RegisterMap,
    /// How it hesitates at the bus, and how it waits; one without is always prompt, and waits for the interrupt.
    random: Option<Random>,
    interrupt: Output,
    /// The run's first cycle, when it is known.
    begins: u64,
    memory: Option<MemorySystem>,
    /// A start is written that has not begun a run; a run's results are not accepted.
    waits: bool,
    held: bool,
}

impl Host {
    /// A run is asked for, or the results of the one before are accepted, in a cycle.
    fn command(&mut self, value: u64, cycle: u64) {
        self.waits |= value & START != 0;
        self.held &= value & CONTINUE == 0;
        if self.waits && !self.held {
            (self.waits, self.begins) = (false, cycle + Kernel::START_LATENCY);
        }
    }

    /// Cycles by which it is late with a word.
    fn late(&mut self) -> u64 {
        self.random.as_mut().map_or(0, |random| random.below(4))
    }

    /// Whether it takes an answer in a cycle.
    fn takes(&mut self) -> bool {
        self.random.as_mut().is_none_or(|random| random.chance(50))
    }

    /// One of two ways that are both right.
    fn either(&mut self) -> bool {
        self.random.as_mut().is_some_and(|random| random.chance(50))
    }
}

fn wrong(what: impl Into<String>) -> RunError {
    RunError::Registers { what: what.into() }
}

/// What a register has to read as.
fn expect(what: &str, found: u64, expected: u64) -> Result<(), RunError> {
    if found == expected {
        return Ok(());
    }
    Err(wrong(format!("{what}: {found:#x} is read, not {expected:#x}")))
}

impl Board {
    /// A board with the kernel of a configuration, whose memories are empty. Its host hesitates at random.
    ///
    /// # Errors
    /// What is wrong with the kernel; tools that are missing or fail.
    pub fn kernel(config: &AccelConfig, handshake: Handshake, seed: u64) -> Result<Self, BenchError> {
        Self::of_kernel(config, handshake, Some(Random::new(seed)), &())
    }

    /// The kernel as it is generated, with a host that never hesitates.
    ///
    /// # Errors
    /// As [`Board::kernel`].
    pub fn prompt_kernel(config: &AccelConfig, progress: &dyn Progress) -> Result<Self, BenchError> {
        Self::of_kernel(config, Handshake::Chain, None, progress)
    }

    fn of_kernel(
        config: &AccelConfig,
        handshake: Handshake,
        random: Option<Random>,
        progress: &dyn Progress,
    ) -> Result<Self, BenchError> {
        let mut dut = Rtl::of_design(&Kernel::new(config, handshake)?.design()?, "ap_clk", progress)?;
        let channels = Channel::all(&mut dut, config, true);
        let host = Host {
            handshake,
            map: RegisterMap::new(config),
            random,
            interrupt: dut.output("interrupt"),
            begins: u64::MAX,
            memory: None,
            waits: false,
            held: false,
        };
        let drives = Drives::Kernel(Box::new(host));
        let mut board = Self { dut, config: config.clone(), channels, drives };
        board.reset();
        Ok(board)
    }

    /// Resets the kernel by `ap_rst_n`, and the memories with it, whatever is under way.
    pub fn reset(&mut self) {
        let Self { dut, channels, .. } = self;
        channels.iter_mut().for_each(|channel| channel.drop_all(dut));
        let host = self.host();
        (host.held, host.waits, host.begins, host.memory) = (false, false, u64::MAX, None);
        self.dut.set("ap_rst_n", false);
        (0..3).for_each(|_| self.dut.tick());
        self.dut.set("ap_rst_n", true);
        // The register behind it.
        self.dut.tick();
    }

    fn host(&mut self) -> &mut Host {
        match &mut self.drives {
            Drives::Kernel(host) => host,
            Drives::Core(_) => panic!("the core stands alone"),
        }
    }

    /// A cycle, with the memories on the channels.
    ///
    /// # Errors
    /// What crosses the channels must not.
    pub fn clock(&mut self) -> Result<(), RunError> {
        let now = self.now();
        if let Some(mut memory) = self.host().memory.take() {
            self.cross(now, &mut memory)?;
            self.host().memory = Some(memory);
        }
        self.dut.tick();
        Ok(())
    }

    /// The cycle of the run.
    fn now(&mut self) -> u64 {
        self.dut.cycle().saturating_sub(self.host().begins)
    }

    fn interrupted(&mut self) -> bool {
        let interrupt = self.host().interrupt;
        self.dut.word(interrupt) != 0
    }

    fn set_control(&mut self, signal: &str, value: u64) {
        self.dut.set(&format!("{CONTROL_PORT}_{signal}"), value);
    }

    fn get_control(&mut self, signal: &str) -> u64 {
        self.dut.get(&format!("{CONTROL_PORT}_{signal}"))
    }

    /// Offers a word on each of some channels of the bus until it is taken, each as late as the host likes; the cycle in which the last is taken.
    fn offer(&mut self, channels: &[&str]) -> Result<u64, RunError> {
        let host = self.host();
        let mut left: Vec<(&str, u64)> = channels.iter().map(|name| (*name, host.late())).collect();
        for _ in 0..ANSWERS_IN {
            let mut taken = Vec::new();
            for (name, late) in &left {
                self.set_control(&format!("{name}VALID"), (*late == 0).into());
                if *late == 0 && self.get_control(&format!("{name}READY")) == 1 {
                    taken.push(*name);
                }
            }
            let cycle = self.dut.cycle();
            self.clock()?;
            taken.iter().for_each(|name| self.set_control(&format!("{name}VALID"), 0));
            left.retain(|word| !taken.contains(&word.0));
            if left.is_empty() {
                return Ok(cycle);
            }
            left.iter_mut().for_each(|word| word.1 = word.1.saturating_sub(1));
        }
        Err(wrong("they take nothing"))
    }

    /// Takes a response, as late as the host likes: it has to be OKAY. What its data signal says.
    fn take(&mut self, channel: &str, data: &str) -> Result<u64, RunError> {
        for _ in 0..ANSWERS_IN {
            let ready = self.host().takes();
            self.set_control(&format!("{channel}READY"), ready.into());
            let valid = self.get_control(&format!("{channel}VALID")) == 1;
            let (value, response) = (self.get_control(data), self.get_control(&format!("{channel}RESP")));
            self.clock()?;
            if valid && ready {
                self.set_control(&format!("{channel}READY"), 0);
                expect("a response", response, 0)?;
                return Ok(value);
            }
        }
        Err(wrong("they do not answer"))
    }

    fn register(&mut self, name: &str) -> Register {
        let register = self.host().map.get(name).cloned();
        register.unwrap_or_else(|| panic!("no register is named {name}"))
    }

    fn write_word(&mut self, offset: u32, value: u32) -> Result<(), RunError> {
        let signals = [("AWADDR", offset.into()), ("WDATA", value.into()), ("WSTRB", 0xF)];
        signals.iter().for_each(|(signal, value)| self.set_control(signal, *value));
        let cycle = self.offer(&["AW", "W"])?;
        if offset == self.register("CTRL").offset {
            self.host().command(value.into(), cycle);
        }
        self.take("B", "BRESP")?;
        Ok(())
    }

    /// Writes a register, word by word.
    ///
    /// # Errors
    /// The kernel does not take it.
    pub fn write_register(&mut self, name: &str, value: u64) -> Result<(), RunError> {
        let register = self.register(name);
        let mut words = 0..register.bits / 32;
        words.try_for_each(|word| self.write_word(register.offset + 4 * word, (value >> (32 * word)) as u32))
    }

    /// Reads a register, word by word.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub fn read_register(&mut self, name: &str) -> Result<u64, RunError> {
        let register = self.register(name);
        let mut words = 0..register.bits / 32;
        words.try_fold(0, |value, word| {
            self.set_control("ARADDR", (register.offset + 4 * word).into());
            self.offer(&["AR"])?;
            Ok(value | self.take("R", "RDATA")? << (32 * word))
        })
    }

    /// Runs what lies in memory, by the registers alone.
    pub(crate) fn run_by_registers(
        &mut self,
        commands: u64,
        at: Placement,
        memory: MemorySystem,
    ) -> Result<Counted, RunError> {
        self.begin(commands, at, memory)?;
        let counted = self.end()?;
        if counted.error.is_none() {
            expect("the last command issued", self.read_register("COMMAND")?, commands - 1)?;
        }
        Ok(counted)
    }

    /// Starts a run of what lies in memory.
    ///
    /// # Errors
    /// The kernel does not take what it is told.
    pub fn begin(&mut self, commands: u64, at: Placement, memory: MemorySystem) -> Result<(), RunError> {
        self.channels.iter_mut().for_each(Channel::begin);
        self.write_register("COMMANDS", commands)?;
        for (name, local) in [("PROGRAM", at.program), ("STEP", at.step), ("REPORT", at.report)] {
            self.write_register(name, base(0) + local)?;
        }
        for channel in 0..self.channels.len() {
            self.write_register(&format!("CHANNEL{channel}"), base(channel))?;
        }
        self.write_register("GIE", 1)?;
        self.write_register("IER", 1)?;
        (self.host().memory, self.host().begins) = (Some(memory), u64::MAX);
        self.start()
    }

    /// Waits for the end of the run, and reads what it counted.
    ///
    /// # Errors
    /// It does not end, or leaves something on the bus.
    pub fn end(&mut self) -> Result<Counted, RunError> {
        self.wait()?;
        let now = self.now();
        self.check_quiet(now)?;
        self.host().held = self.host().handshake == Handshake::Chain;
        self.counted()
    }

    /// Accepts the results of the run before, and starts one: in any order.
    fn start(&mut self) -> Result<(), RunError> {
        let first = self.host().either();
        for accepts in [first, !first] {
            match accepts {
                true if self.host().held => {
                    let before = if self.host().waits { START } else { IDLE };
                    expect("CTRL, before results are accepted", self.read_register("CTRL")?, before)?;
                    self.write_register("CTRL", CONTINUE)?;
                }
                true => {}
                false => self.write_register("CTRL", START)?,
            }
        }
        Ok(())
    }

    /// Waits for the end of a run, for its interrupt or by looking again and again, and checks what the host sees of it.
    fn wait(&mut self) -> Result<(), RunError> {
        let polls = self.host().either();
        let mut seen = 0;
        while seen & DONE == 0 {
            if polls || self.interrupted() {
                let ctrl = self.read_register("CTRL")?;
                if (ctrl & IDLE != 0) != (ctrl & DONE != 0) {
                    return Err(wrong(format!("CTRL reads {ctrl:#x} in a run")));
                }
                seen |= ctrl;
            } else {
                self.clock()?;
            }
            let now = self.now();
            self.check_moves(now)?;
        }
        expect("CTRL, while it was looked at", seen, DONE | IDLE | READY | seen & START)?;
        expect("CTRL, once more: a read clears ap_done and ap_ready", self.read_register("CTRL")?, IDLE)?;
        expect("the interrupt behind a run", self.interrupted().into(), 1)?;
        expect("ISR", self.read_register("ISR")?, 1)?;
        self.write_register("ISR", 1)?;
        // It follows its bit, which the response does not wait for.
        self.clock()?;
        expect("the interrupt, answered", self.interrupted().into(), 0)
    }

    /// What the registers say of the last run.
    fn counted(&mut self) -> Result<Counted, RunError> {
        let beat = self.config.beat().get();
        let mut bytes = Vec::new();
        for c in 0..self.channels.len() {
            bytes.push(self.both(|way| format!("{way}_BYTES{c}"), ["READ", "WRITE"])?);
        }
        expect("READ_BUSY in bytes", self.read_register("READ_BUSY")? * beat, bytes[0].0)?;
        expect("WRITE_BUSY in bytes", self.read_register("WRITE_BUSY")? * beat, bytes[0].1)?;
        let of = |unit: &'static str| move |what: &str| format!("{unit}_{what}");
        let counts = ["BUSY", "STALLED"];
        Ok(Counted {
            cycles: self.read_register("CYCLES")?,
            commands: self.read_register("COMMANDS_DONE")?,
            command: self.both(of("COMMAND"), counts)?,
            mac: self.both(of("MAC"), counts)?,
            vector: self.both(of("VECTOR"), counts)?,
            passes: (
                self.read_register("PASSES")?,
                self.read_register("BLOCKS_STREAMED")?,
                self.read_register("BLOCKS_SKIPPED")?,
            ),
            gate: self.both(of("GATE"), counts)?,
            decided: self.both(str::to_owned, ["REPLAYS", "COMPUTES"])?,
            stalled: self.both(|way| format!("{way}_STALLED"), ["READ", "WRITE"])?,
            bytes,
            error: self.failed()?,
        })
    }

    /// Two registers.
    fn both(&mut self, name: impl Fn(&str) -> String, of: [&str; 2]) -> Result<(u64, u64), RunError> {
        Ok((self.read_register(&name(of[0]))?, self.read_register(&name(of[1]))?))
    }

    /// The error of the last run.
    fn failed(&mut self) -> Result<Option<Failed>, RunError> {
        let (error, command) = (self.read_register("ERROR")?, self.read_register("ERROR_COMMAND")?);
        let (code, channel, response) = (error & 0xFF, error >> 8 & 0xFF, error >> 16 & 3);
        Ok((code != 0).then_some(Failed { code, command, channel, response }))
    }
}
