//! The control registers against a model that is written from `docs/registers.md`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{Access, RegisterMap, Reset};
use fastcar_hw::axi::{Control, Handshake, control::counters};
use fastcar_hw::rtl::{Block, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Random, Rtl, accept, gather, skipped};
use std::collections::BTreeMap;

const START: u32 = 1;
const DONE: u32 = 1 << 1;
const IDLE: u32 = 1 << 2;
const READY: u32 = 1 << 3;
const CONTINUE: u32 = 1 << 4;
const RESTART: u32 = 1 << 7;

/// The device within the gathered module, and its map.
struct Registers {
    dut: Rtl,
    prefix: &'static str,
    map: RegisterMap,
    /// What happened on the outputs since it was looked at last.
    starts: u32,
}

impl Registers {
    fn open(prefix: &'static str) -> Result<Self, Box<dyn std::error::Error>> {
        let config = AccelConfig::preset("tiny")?;
        let parts = [
            ("hs", Control::new(&config, Handshake::Single).module()?),
            ("chain", Control::new(&config, Handshake::Chain).module()?),
        ];
        let module = gather("axi_control", &parts)?;
        accept(&emit(&module)?)?;
        let mut dut = Rtl::beside_native(&module)?;
        let inputs: Vec<_> = dut.inputs().map(|(name, width)| (name.to_string(), width)).collect();
        for (name, width) in inputs {
            dut.set(&name, fastcar_hw::rtl::Bits::zero(width));
        }
        dut.reset();
        Ok(Self { dut, prefix, map: RegisterMap::new(&config), starts: 0 })
    }

    fn set(&mut self, port: &str, value: u64) {
        self.dut.set(&format!("{}_{port}", self.prefix), value);
    }

    fn get(&mut self, port: &str) -> u64 {
        self.dut.get(&format!("{}_{port}", self.prefix))
    }

    fn tick(&mut self) {
        self.starts += self.get("start_o") as u32;
        self.dut.tick();
    }

    fn ticks(&mut self, count: u32) {
        (0..count).for_each(|_| self.tick());
    }

    fn offset(&self, name: &str) -> u32 {
        self.map.get(name).unwrap().offset
    }

    /// Waits until an output is set, for ten cycles at most.
    fn wait(&mut self, port: &str) {
        for _ in 0..10 {
            if self.get(port) == 1 {
                return;
            }
            self.tick();
        }
        panic!("no {port}");
    }

    fn write(&mut self, offset: u32, data: u32, strobe: u64) {
        let values = [("awaddr", offset.into()), ("wdata", data.into()), ("wstrb", strobe)];
        for (port, value) in values.into_iter().chain([("awvalid", 1), ("wvalid", 1), ("bready", 1)]) {
            self.set(&format!("axi_{port}_i"), value);
        }
        self.tick();
        self.set("axi_awvalid_i", 0);
        self.set("axi_wvalid_i", 0);
        self.wait("axi_bvalid_o");
        assert_eq!(self.get("axi_bresp_o"), 0);
        self.tick();
        self.set("axi_bready_i", 0);
    }

    fn read(&mut self, offset: u32) -> u32 {
        for (port, value) in [("axi_araddr_i", offset.into()), ("axi_arvalid_i", 1), ("axi_rready_i", 1)] {
            self.set(port, value);
        }
        self.tick();
        self.set("axi_arvalid_i", 0);
        self.wait("axi_rvalid_o");
        assert_eq!(self.get("axi_rresp_o"), 0);
        let data = self.get("axi_rdata_o") as u32;
        self.tick();
        self.set("axi_rready_i", 0);
        data
    }

    fn put(&mut self, name: &str, value: u32) {
        self.write(self.offset(name), value, 15);
    }

    fn look(&mut self, name: &str) -> u32 {
        self.read(self.offset(name))
    }

    fn wide(&mut self, name: &str) -> u64 {
        let offset = self.offset(name);
        u64::from(self.read(offset)) | u64::from(self.read(offset + 4)) << 32
    }

    /// One cycle of a port.
    fn pulse(&mut self, port: &str) {
        self.set(port, 1);
        self.tick();
        self.set(port, 0);
    }

    fn started(&mut self) -> u32 {
        std::mem::take(&mut self.starts)
    }
}

/// Every word of the map after reset: identity, constants, zeros; and zeros between registers and behind the last.
#[test]
fn words_after_reset() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut registers = Registers::open("chain")?;
    let identity = Identity::of(&AccelConfig::preset("tiny")?).words();
    for offset in (0..fastcar_arch::regs::MAP_BYTES).step_by(4) {
        let expected = registers.map.at(offset).map_or(0, |r| match r.reset {
            Reset::Value(v) | Reset::Constant(v) | Reset::Configuration(v) => {
                (v >> (8 * (offset - r.offset))) as u32
            }
            Reset::Identity(word) => identity[word],
        });
        assert_eq!(registers.read(offset), expected, "offset {offset:#x}");
    }
    Ok(())
}

/// Random writes with random strobes everywhere but the first four registers: arguments and the watchdog's patience take them byte by byte, all else ignores them.
#[test]
fn writes_reach_arguments_and_patience_only() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut registers = Registers::open("chain")?;
    let mut random = Random::new(21);
    let first = registers.map.arguments().next().unwrap().1.offset;
    let mut model = BTreeMap::new();
    for offset in (first..fastcar_arch::regs::MAP_BYTES).step_by(4) {
        model.insert(offset, registers.read(offset));
    }
    let end = registers.map.arguments().last().map(|(_, r)| r.offset + r.bits / 8).unwrap();
    for _ in 0..1500 {
        let span = if random.chance(70) { end - first } else { fastcar_arch::regs::MAP_BYTES - first };
        let offset = first + random.below(u64::from(span) / 4) as u32 * 4;
        let offset = if random.chance(5) { registers.offset("WATCHDOG") } else { offset };
        let (data, strobe) = (random.bits(32).to_u64().unwrap() as u32, random.below(16));
        registers.write(offset, data, strobe);
        if registers.map.at(offset).is_some_and(|r| r.argument.is_some() || r.name == "WATCHDOG") {
            let mask = (0..4).filter(|n| strobe >> n & 1 == 1).fold(0, |mask, n| mask | 0xff_u32 << (8 * n));
            let word = model.get_mut(&offset).unwrap();
            *word = *word & !mask | data & mask;
        }
        assert_eq!(registers.read(offset), model[&offset], "offset {offset:#x}");
    }
    for (offset, word) in &model {
        assert_eq!(registers.read(*offset), *word, "offset {offset:#x}");
    }
    let patience = model[&registers.offset("WATCHDOG")];
    assert_eq!(registers.get("watchdog_o"), u64::from(patience));
    // The machine sees the arguments from the next run on, and only then.
    registers.put("CTRL", START);
    registers.ticks(4);
    let arguments: Vec<_> = registers.map.arguments().map(|(_, r)| r.clone()).collect();
    for step in 0..2 {
        for r in &arguments {
            let high = if r.bits == 64 { u64::from(model[&(r.offset + 4)]) << 32 } else { 0 };
            let expected = high | u64::from(model[&r.offset]);
            assert_eq!(registers.get(&format!("{}_o", r.name.to_lowercase())), expected, "{} {step}", r.name);
        }
        for r in &arguments {
            registers.write(r.offset, random.below(1 << 32) as u32, 15);
        }
    }
    Ok(())
}

/// A run from `ap_start` to `ap_done`, with both handshakes: every bit of `CTRL` on the way.
#[test]
fn runs_begin_and_end() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for chain in [false, true] {
        let mut registers = Registers::open(if chain { "chain" } else { "hs" })?;
        registers.pulse("done_i");
        assert_eq!((registers.look("CTRL"), registers.started()), (IDLE, 0));
        // No strobe, no start.
        registers.write(registers.offset("CTRL"), START, 0b1110);
        assert_eq!((registers.look("CTRL"), registers.started()), (IDLE, 0));
        registers.put("CTRL", START);
        registers.tick();
        // Four cycles after the write came, no sooner and no later.
        assert_eq!((registers.started(), registers.get("start_o")), (0, 1));
        registers.ticks(4);
        assert_eq!(registers.started(), 1);
        // It was accepted: said once.
        assert_eq!(registers.look("CTRL"), READY);
        assert_eq!(registers.look("CTRL"), 0);
        // The next may be asked for already; it waits.
        registers.put("CTRL", START);
        registers.ticks(20);
        assert_eq!((registers.look("CTRL"), registers.started()), (START, 0));
        registers.pulse("done_i");
        registers.ticks(4);
        if chain {
            // Until the results are accepted. Reading does not accept them.
            assert_eq!(registers.look("CTRL"), START | DONE);
            registers.ticks(20);
            assert_eq!((registers.look("CTRL"), registers.started()), (START, 0));
            registers.put("CTRL", CONTINUE);
            registers.ticks(4);
            assert_eq!((registers.look("CTRL"), registers.started()), (READY, 1));
        } else {
            assert_eq!((registers.look("CTRL"), registers.started()), (DONE | READY, 1));
        }
        registers.pulse("done_i");
        assert_eq!(registers.look("CTRL"), DONE | IDLE);
        assert_eq!(registers.look("CTRL"), IDLE);
    }
    Ok(())
}

#[test]
fn auto_restart_goes_on_until_it_is_cleared() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut registers = Registers::open("hs")?;
    registers.put("CTRL", START | RESTART);
    for _ in 0..5 {
        registers.ticks(4);
        assert_eq!(registers.started(), 1);
        registers.pulse("done_i");
    }
    registers.ticks(4);
    assert_eq!(registers.look("CTRL") & RESTART, RESTART);
    registers.put("CTRL", 0);
    registers.started();
    registers.pulse("done_i");
    registers.ticks(4);
    // One was asked for before the bit was cleared.
    assert_eq!(registers.started(), 1);
    registers.pulse("done_i");
    registers.ticks(4);
    assert_eq!(registers.started(), 0);
    assert_eq!(registers.look("CTRL") & (IDLE | START), IDLE);
    Ok(())
}

/// An event in any cycle around a read or a write that clears its bit is seen exactly once.
#[test]
fn no_event_is_lost() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for delay in 0..8 {
        let mut registers = Registers::open("hs")?;
        registers.put("IER", 1);
        registers.put("CTRL", START);
        registers.ticks(4);
        registers.look("CTRL");
        // A read during which the run ends.
        registers.set("axi_araddr_i", registers.offset("CTRL").into());
        registers.set("axi_rready_i", 1);
        let mut seen = 0;
        for cycle in 0..10 {
            registers.set("axi_arvalid_i", u64::from(cycle == 0));
            registers.set("done_i", u64::from(cycle == delay));
            if registers.get("axi_rvalid_o") == 1 {
                seen += u32::from(registers.get("axi_rdata_o") as u32 & DONE != 0);
            }
            registers.tick();
        }
        seen += u32::from(registers.look("CTRL") & DONE != 0);
        seen += u32::from(registers.look("CTRL") & DONE != 0);
        assert_eq!(seen, 1, "done {delay} cycles after the read");
        assert_eq!(registers.look("ISR"), 1);
    }
    Ok(())
}

#[test]
fn interrupts_are_enabled_raised_and_toggled() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut registers = Registers::open("chain")?;
    let run = |registers: &mut Registers| {
        registers.put("CTRL", START | CONTINUE);
        registers.ticks(4);
        registers.pulse("done_i");
        registers.ticks(2);
    };
    run(&mut registers);
    assert_eq!((registers.look("ISR"), registers.get("interrupt_o")), (0, 0), "nothing is enabled");
    for (enabled, expected) in [(1, 1), (2, 2), (3, 3)] {
        registers.put("IER", enabled);
        run(&mut registers);
        assert_eq!((registers.look("ISR"), registers.get("interrupt_o")), (expected, 0), "GIE is not set");
        registers.put("GIE", 1);
        registers.ticks(3);
        assert_eq!(registers.get("interrupt_o"), 1);
        registers.put("ISR", expected);
        registers.ticks(3);
        assert_eq!((registers.look("ISR"), registers.get("interrupt_o")), (0, 0));
        registers.put("GIE", 0);
    }
    // It toggles: ones raise what was not there.
    registers.put("ISR", 3);
    assert_eq!(registers.look("ISR"), 3);
    assert_eq!((registers.look("IER"), registers.look("GIE")), (3, 0));
    registers.put("IER", u32::MAX);
    assert_eq!(registers.look("IER"), 3, "other bits read as 0");
    Ok(())
}

/// Counters and errors of random runs: exact to the cycle, cleared by the next run, still between runs.
#[test]
fn counters_and_errors_belong_to_their_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let config = AccelConfig::preset("tiny")?;
    let ports = counters(&config);
    let expected = RegisterMap::new(&config);
    let counted = expected.registers().iter().filter(|r| {
        r.access == Access::ReadOnly && r.bits == 64 && r.reset == Reset::Value(0) && r.name != "CYCLES"
    });
    assert_eq!(counted.count(), ports.len(), "every counter has its port");
    let mut registers = Registers::open("hs")?;
    let mut random = Random::new(22);
    let mut cover = Cover::new(&["error", "second error", "one cycle", "large steps"]);
    for _ in 0..60 {
        let mut model: BTreeMap<&str, u64> = ports.iter().map(|port| (port.register.as_str(), 0)).collect();
        let (mut errors, mut command, length) = (Vec::new(), 0, 1 + random.below(40));
        cover.hit("one cycle", length == 1);
        registers.put("CTRL", START);
        for _ in 0..10 {
            if registers.get("start_o") == 1 {
                break;
            }
            registers.tick();
        }
        assert_eq!(registers.get("start_o"), 1);
        for cycle in 1..=length + 3 {
            let counts = cycle <= length;
            for port in &ports {
                let step = random.bits(port.width).to_u64().unwrap();
                registers.set(&port.port, step);
                *model.get_mut(port.register.as_str()).unwrap() += u64::from(counts) * step * port.unit;
                cover.hit("large steps", step > 60000);
            }
            let error = [random.below(256), random.below(256), random.below(4), random.below(1 << 32)];
            let fails = random.chance(4);
            registers.set("error_valid_i", u64::from(fails));
            let names = ["error_code_i", "error_channel_i", "error_response_i", "error_command_i"];
            names.iter().zip(error).for_each(|(name, value)| registers.set(name, value));
            let (issued, position) = (random.chance(50), random.below(1 << 32));
            registers.set("command_valid_i", u64::from(issued));
            registers.set("command_i", position);
            if counts && fails {
                cover.hit("error", errors.is_empty());
                cover.hit("second error", !errors.is_empty());
                errors.push(error);
            }
            if counts && issued {
                command = position;
            }
            registers.set("done_i", u64::from(cycle == length));
            registers.tick();
        }
        assert_eq!(registers.wide("CYCLES"), length);
        for port in &ports {
            assert_eq!(registers.wide(&port.register), model[port.register.as_str()], "{}", port.register);
        }
        let first = errors.first().copied().unwrap_or_default();
        let error = first[0] | first[1] << 8 | first[2] << 16;
        assert_eq!(u64::from(registers.look("ERROR")), error);
        assert_eq!(u64::from(registers.look("ERROR_COMMAND")), first[3]);
        assert_eq!(u64::from(registers.look("COMMAND")), command);
    }
    cover.assert(1);
    Ok(())
}

/// A run may be asked to end, which stays until it does; without a run there is nothing to end.
#[test]
fn runs_are_asked_to_end() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut registers = Registers::open("hs")?;
    registers.put("ABORT", 1);
    assert_eq!((registers.look("ABORT"), registers.get("abort_o")), (0, 0), "no run");
    for _ in 0..3 {
        registers.put("CTRL", START);
        registers.ticks(4);
        registers.put("ABORT", 0);
        registers.write(registers.offset("ABORT"), 1, 0b1110);
        assert_eq!((registers.look("ABORT"), registers.get("abort_o")), (0, 0), "nobody has asked");
        registers.put("ABORT", 1);
        registers.put("ABORT", 0);
        assert_eq!((registers.look("ABORT"), registers.get("abort_o")), (1, 1));
        registers.pulse("done_i");
        assert_eq!((registers.look("ABORT"), registers.get("abort_o")), (0, 0), "the run is over");
    }
    Ok(())
}
