//! A kernel on the board: runs are started, waited for and read by its registers, as a host does.

use super::board::{Board, Channel, Counted, Failed, PATIENCE, base};
use super::tools::RtlTestError;
use super::{Random, Rtl};
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

/// Who starts runs, and what it knows of the one before.
pub(super) struct Host {
    handshake: Handshake,
    map: RegisterMap,
    /// How it hesitates at the bus, and how it waits.
    random: Random,
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
}

impl Board {
    /// A board with the kernel of a configuration, whose memories are empty.
    ///
    /// # Errors
    /// What is wrong with the kernel; tools that are missing or fail.
    pub fn kernel(config: &AccelConfig, handshake: Handshake, seed: u64) -> Result<Self, RtlTestError> {
        let dut = Rtl::of_design(&Kernel::new(config, handshake)?.design()?, "ap_clk")?;
        let (map, random) = (RegisterMap::new(config), Random::new(seed));
        let host = Host { handshake, map, random, begins: u64::MAX, memory: None, waits: false, held: false };
        let channels = (0..config.channels()).map(|_| Channel::default()).collect();
        let mut board = Self { dut, config: config.clone(), channels, host: Some(host) };
        board.reset();
        Ok(board)
    }

    /// Resets the kernel by `ap_rst_n`, and the memories with it, whatever is under way.
    pub fn reset(&mut self) {
        self.drop_bus();
        let host = self.host();
        (host.held, host.waits, host.begins, host.memory) = (false, false, u64::MAX, None);
        self.dut.set("ap_rst_n", false);
        (0..3).for_each(|_| self.dut.tick());
        self.dut.set("ap_rst_n", true);
        // The register behind it.
        self.dut.tick();
    }

    fn host(&mut self) -> &mut Host {
        self.host.as_mut().unwrap_or_else(|| panic!("the core stands alone"))
    }

    /// A cycle, with the memories on the channels.
    pub fn clock(&mut self) {
        let now = self.dut.cycle().saturating_sub(self.host().begins);
        if let Some(mut memory) = self.host().memory.take() {
            for channel in 0..self.channels.len() {
                self.read_bus(channel, now, &mut memory);
                self.write_bus(channel, now, &mut memory);
            }
            self.host().memory = Some(memory);
        }
        self.dut.tick();
    }

    fn set_control(&mut self, signal: &str, value: u64) {
        self.dut.set(&format!("{CONTROL_PORT}_{signal}"), value);
    }

    fn get_control(&mut self, signal: &str) -> u64 {
        self.dut.get(&format!("{CONTROL_PORT}_{signal}"))
    }

    /// Offers a word on each of some channels of the bus until it is taken, each as late as the host likes; the cycle in which the last is taken.
    fn offer(&mut self, channels: &[&str]) -> u64 {
        let random = &mut self.host().random;
        let mut left: Vec<(&str, u64)> = channels.iter().map(|name| (*name, random.below(4))).collect();
        for _ in 0..PATIENCE {
            let mut taken = Vec::new();
            for (name, late) in &left {
                self.set_control(&format!("{name}VALID"), (*late == 0).into());
                if *late == 0 && self.get_control(&format!("{name}READY")) == 1 {
                    taken.push(*name);
                }
            }
            let cycle = self.dut.cycle();
            self.clock();
            taken.iter().for_each(|name| self.set_control(&format!("{name}VALID"), 0));
            left.retain(|word| !taken.contains(&word.0));
            if left.is_empty() {
                return cycle;
            }
            left.iter_mut().for_each(|word| word.1 = word.1.saturating_sub(1));
        }
        panic!("the registers take nothing");
    }

    /// Takes a response, as late as the host likes: it has to be OKAY. What its data signal says.
    fn take(&mut self, channel: &str, data: &str) -> u64 {
        for _ in 0..PATIENCE {
            let ready = self.host().random.chance(50);
            self.set_control(&format!("{channel}READY"), ready.into());
            let valid = self.get_control(&format!("{channel}VALID")) == 1;
            let (value, response) = (self.get_control(data), self.get_control(&format!("{channel}RESP")));
            self.clock();
            if valid && ready {
                self.set_control(&format!("{channel}READY"), 0);
                assert_eq!(response, 0, "the registers answer with an error");
                return value;
            }
        }
        panic!("the registers do not answer");
    }

    fn register(&mut self, name: &str) -> Register {
        let register = self.host().map.get(name).cloned();
        register.unwrap_or_else(|| panic!("no register is named {name}"))
    }

    fn write_word(&mut self, offset: u32, value: u32) {
        let signals = [("AWADDR", offset.into()), ("WDATA", value.into()), ("WSTRB", 0xF)];
        signals.iter().for_each(|(signal, value)| self.set_control(signal, *value));
        let cycle = self.offer(&["AW", "W"]);
        if offset == self.register("CTRL").offset {
            self.host().command(value.into(), cycle);
        }
        self.take("B", "BRESP");
    }

    /// Writes a register, word by word.
    pub fn write_register(&mut self, name: &str, value: u64) {
        let register = self.register(name);
        for word in 0..register.bits / 32 {
            self.write_word(register.offset + 4 * word, (value >> (32 * word)) as u32);
        }
    }

    /// Reads a register, word by word.
    pub fn read_register(&mut self, name: &str) -> u64 {
        let register = self.register(name);
        let words = 0..register.bits / 32;
        words.fold(0, |value, word| {
            self.set_control("ARADDR", (register.offset + 4 * word).into());
            self.offer(&["AR"]);
            value | self.take("R", "RDATA") << (32 * word)
        })
    }

    /// Runs what lies in memory, by the registers alone.
    pub(super) fn run_by_registers(&mut self, commands: u64, at: Placement, memory: MemorySystem) -> Counted {
        self.begin(commands, at, memory);
        let counted = self.end();
        if counted.error.is_none() {
            assert_eq!(self.read_register("COMMAND"), commands - 1, "the last command issued");
        }
        counted
    }

    /// Starts a run of what lies in memory.
    pub fn begin(&mut self, commands: u64, at: Placement, memory: MemorySystem) {
        self.write_register("COMMANDS", commands);
        for (name, local) in [("PROGRAM", at.program), ("STEP", at.step), ("REPORT", at.report)] {
            self.write_register(name, base(0) + local);
        }
        for channel in 0..self.channels.len() {
            self.write_register(&format!("CHANNEL{channel}"), base(channel));
        }
        self.write_register("GIE", 1);
        self.write_register("IER", 1);
        (self.host().memory, self.host().begins) = (Some(memory), u64::MAX);
        self.start();
    }

    /// Waits for the end of the run, and reads what it counted.
    ///
    /// # Panics
    /// When it does not end, or leaves something on the bus.
    pub fn end(&mut self) -> Counted {
        self.wait();
        self.check_quiet();
        self.host().held = self.host().handshake == Handshake::Chain;
        self.counted()
    }

    /// Accepts the results of the run before, and starts one: in any order.
    fn start(&mut self) {
        let first = self.host().random.chance(50);
        for accepts in [first, !first] {
            match accepts {
                true if self.host().held => {
                    let before = if self.host().waits { START } else { IDLE };
                    assert_eq!(self.read_register("CTRL"), before, "results are not accepted yet");
                    self.write_register("CTRL", CONTINUE);
                }
                true => {}
                false => self.write_register("CTRL", START),
            }
        }
    }

    /// Waits for the end of a run, for its interrupt or by looking again and again, and checks what the host sees of it.
    fn wait(&mut self) {
        let polls = self.host().random.chance(50);
        let mut seen = 0;
        for _ in 0..PATIENCE {
            if polls || self.dut.is_set("interrupt") {
                let ctrl = self.read_register("CTRL");
                assert_eq!(ctrl & IDLE != 0, ctrl & DONE != 0, "CTRL reads {ctrl:#x} in a run");
                seen |= ctrl;
            } else {
                self.clock();
            }
            if seen & DONE != 0 {
                assert_eq!(seen, DONE | IDLE | READY | seen & START, "what CTRL read as");
                assert_eq!(self.read_register("CTRL"), IDLE, "a read clears ap_done and ap_ready");
                assert!(self.dut.is_set("interrupt"), "a run ends without an interrupt");
                assert_eq!(self.read_register("ISR"), 1);
                self.write_register("ISR", 1);
                // It follows its bit, which the response does not wait for.
                self.clock();
                assert!(!self.dut.is_set("interrupt"), "the interrupt stays");
                return;
            }
        }
        panic!("the run does not end");
    }

    /// What the registers say of the last run.
    fn counted(&mut self) -> Counted {
        let beat = self.config.beat().get();
        let bytes: Vec<(u64, u64)> = (0..self.channels.len())
            .map(|c| ["READ", "WRITE"].map(|way| self.read_register(&format!("{way}_BYTES{c}"))).into())
            .collect();
        assert_eq!(self.read_register("READ_BUSY") * beat, bytes[0].0, "cycles that channel 0 reads");
        assert_eq!(self.read_register("WRITE_BUSY") * beat, bytes[0].1, "cycles that channel 0 writes");
        let mut both =
            |unit: &str| ["BUSY", "STALLED"].map(|name| self.read_register(&format!("{unit}_{name}"))).into();
        let [command, mac, vector, gate] = ["COMMAND", "MAC", "VECTOR", "GATE"].map(&mut both);
        let [passes, streamed, skipped] =
            ["PASSES", "BLOCKS_STREAMED", "BLOCKS_SKIPPED"].map(|name| self.read_register(name));
        let passes = (passes, streamed, skipped);
        let decided = (self.read_register("REPLAYS"), self.read_register("COMPUTES"));
        let stalled = (self.read_register("READ_STALLED"), self.read_register("WRITE_STALLED"));
        let (error, command_at) = (self.read_register("ERROR"), self.read_register("ERROR_COMMAND"));
        let (code, channel, response) = (error & 0xFF, error >> 8 & 0xFF, error >> 16 & 3);
        let failed = Failed { code, command: command_at, channel, response };
        let error = (code != 0).then_some(failed);
        let (cycles, commands) = (self.read_register("CYCLES"), self.read_register("COMMANDS_DONE"));
        Counted { cycles, commands, command, mac, vector, passes, gate, decided, stalled, bytes, error }
    }
}
