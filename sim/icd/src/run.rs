//! A kernel run: what the accelerator does between start and done.

use crate::engine::Nanos;
use crate::hardware::{Asked, Hardware, HardwareError};
use crate::memory::Buffer;
use crate::settings::{FailureKind, RunMode};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::{COMMAND_BYTES, Command};
use fastcar_arch::layout::ListLayout;
use fastcar_arch::program::{Limits, Program, ProgramError};
use fastcar_arch::step::{ACTIVE, GateReport, SLOT_BYTES, StepError, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_golden::{ChannelCount, Decisions, Golden, GoldenError, Memory};
use fastcar_sim::dram::Dir;
use fastcar_sim::memory::Fault;
use fastcar_sim::{Placement, SimError, SimOptions, Timer};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// A buffer that an argument names, and its address in its bank.
#[derive(Clone)]
pub(crate) struct Window {
    pub(crate) buffer: Arc<Buffer>,
    pub(crate) address: u64,
}

/// The arguments of a run.
pub(crate) struct Launch {
    pub(crate) program: Window,
    pub(crate) commands: u32,
    pub(crate) step: Window,
    pub(crate) report: Window,
    pub(crate) channels: Vec<Window>,
}

/// Why a run is refused or ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{what} needs {needed} bytes, its buffer has {found}: make the buffer larger")]
    Room { what: &'static str, needed: u64, found: u64 },
    #[error(
        "the program reaches {needed} of channel {channel}, the buffer of CHANNEL{channel} has {found}: make the buffer larger, or use fewer slots or positions"
    )]
    Reach { channel: usize, needed: Bytes, found: Bytes },
    #[error(transparent)]
    Step(#[from] StepError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Golden(#[from] GoldenError),
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error(transparent)]
    Channels(#[from] ChannelCount),
    #[error(transparent)]
    Hardware(#[from] HardwareError),
    #[error(
        "the hardware needs the buffer of CHANNEL0 at the beginning of its bank, and program, step table and report behind it: make that buffer first"
    )]
    Place,
    #[error("the simulator itself has failed; memory holds part of the run's results")]
    Broken,
    #[error("no memory for command {number} of the device: this is what FASTCAR_SIM_FAULT asks for")]
    Memory { number: u64 },
    #[error("the device is lost: {cause}")]
    Lost { cause: &'static str },
}

/// What a decoded program is known by.
struct Decoded {
    raw: Vec<u8>,
    limits: Limits,
    program: Arc<Program>,
}

/// A run whose time is known.
struct Timed {
    program: Arc<Program>,
    table: StepTable,
    placement: Placement,
    time: Nanos,
}

/// Programs and times that a machine remembers: those of a model whose layers are passes of their own, too.
const REMEMBERED: usize = 256;

/// The accelerator of an image: buffers of its units, and what it remembers of earlier runs.
pub(crate) struct Machine {
    golden: Golden,
    timer: Timer,
    /// Where runs are its.
    hardware: Option<Hardware>,
    programs: VecDeque<Decoded>,
    times: VecDeque<Timed>,
}

/// A run that has been checked.
struct Ready {
    program: Arc<Program>,
    table: StepTable,
    placement: Placement,
}

impl Machine {
    /// A machine of a configuration, for runs of a kind.
    pub(crate) fn new(config: &AccelConfig, mode: RunMode) -> Result<Self, RunError> {
        Ok(Self {
            golden: Golden::new(config.clone(), Memory::new(config, Bytes(0))),
            timer: Timer::new(config.clone(), SimOptions::default())?,
            hardware: (mode == RunMode::Rtl).then(|| Hardware::new(config)).transpose()?,
            programs: VecDeque::new(),
            times: VecDeque::new(),
        })
    }

    /// Runs once; the time it takes.
    pub(crate) fn run(&mut self, mode: RunMode, launch: &Launch) -> Result<Nanos, RunError> {
        let run = self.check(launch)?;
        match mode {
            RunMode::Instant => Ok(0),
            RunMode::Timing => {
                let time = self.dense_time(&run)?;
                let bytes = run.table.gates.len() * size_of::<GateReport>();
                launch.report.buffer.with(|report| report[..bytes].fill(0));
                Ok(time)
            }
            RunMode::Functional => {
                self.values(&run, launch)?;
                Ok(0)
            }
            RunMode::Values => {
                let decisions = self.values(&run, launch)?;
                self.time(&self.timer, &run, &decisions)
            }
            RunMode::Rtl => self.run_hardware(&run, launch, Vec::new()),
        }
    }

    /// Runs once on a memory that answers the first read with an error.
    pub(crate) fn run_with_error(&mut self, launch: &Launch) -> Result<Nanos, RunError> {
        let run = self.check(launch)?;
        let config = self.timer.config().clone();
        let range = 0..config.channel_capacity().get();
        let faults = vec![Fault::SlaveError { port: 0, dir: Dir::Read, range }];
        if self.hardware.is_some() {
            return self.run_hardware(&run, launch, faults);
        }
        let timer = Timer::new(config, SimOptions { faults, ..SimOptions::default() })?;
        let decisions = dense(self.golden.config(), &run.program, &run.table);
        self.time(&timer, &run, &decisions)
    }

    /// Reads program and step table, and checks that all they reach is there.
    fn check(&mut self, launch: &Launch) -> Result<Ready, RunError> {
        let (found, expected) = (launch.channels.len(), self.timer.config().channels() as usize);
        if found != expected {
            return Err(RunError::Channels(ChannelCount { found, expected }));
        }
        let (table, limits) = read_table(&launch.step.buffer)?;
        let program = self.decode(launch, limits)?;
        program.check_step(&table)?;
        for (channel, window) in launch.channels.iter().enumerate() {
            let (needed, found) = (program.reach(), Bytes(window.buffer.size()));
            if needed > found {
                return Err(RunError::Reach { channel, needed, found });
            }
        }
        let report = (table.gates.len() * size_of::<GateReport>()) as u64;
        room("the report", report, &launch.report.buffer)?;
        let placement = Placement {
            program: launch.program.address,
            step: launch.step.address,
            report: launch.report.address,
        };
        Ok(Ready { program, table, placement })
    }

    /// The program, decoded and checked once for every content.
    fn decode(&mut self, launch: &Launch, limits: Limits) -> Result<Arc<Program>, RunError> {
        let bytes = u64::from(launch.commands) * COMMAND_BYTES as u64;
        room("the program", bytes, &launch.program.buffer)?;
        let config = self.timer.config();
        let programs = &mut self.programs;
        launch.program.buffer.with(|memory| {
            let raw = &memory[..bytes as usize];
            let known = programs.iter().position(|p| p.limits == limits && p.raw == raw);
            let decoded = match known.and_then(|at| programs.remove(at)) {
                Some(decoded) => decoded,
                None => {
                    let program = Arc::new(Program::from_bytes(config, limits, raw)?);
                    Decoded { raw: raw.to_vec(), limits, program }
                }
            };
            let program = decoded.program.clone();
            // The program that has not been used for longest is forgotten.
            programs.truncate(REMEMBERED - 1);
            programs.push_front(decoded);
            Ok(program)
        })
    }

    /// Values and cycles of the hardware.
    fn run_hardware(&mut self, run: &Ready, launch: &Launch, faults: Vec<Fault>) -> Result<Nanos, RunError> {
        let at = run.placement;
        let first = &launch.channels[0];
        let lowest = at.program.min(at.step).min(at.report);
        if first.address != 0 || lowest < first.buffer.size() {
            return Err(RunError::Place);
        }
        let hardware = self.hardware.as_mut().ok_or(RunError::Broken)?;
        let ran = with_channels(launch, |mut channels| {
            let (program, table) = (&run.program, &run.table);
            let ran = hardware.run(&mut Asked { program, table, at, faults, channels: &mut channels });
            (channels, ran)
        })?;
        launch.report.buffer.with(|bytes| bytes[..ran.report.len()].copy_from_slice(&ran.report));
        Ok(self.nanos(ran.cycles))
    }

    /// The values: the channels' buffers are the machine's memory for the time of the run.
    fn values(&mut self, run: &Ready, launch: &Launch) -> Result<Decisions, RunError> {
        let (config, golden) = (self.timer.config(), &mut self.golden);
        let result = with_channels(launch, |channels| {
            match Memory::from_channels(config, channels) {
                Ok(memory) => *golden.memory_mut() = memory,
                Err(error) => return (Vec::new(), Err(RunError::from(error))),
            }
            let result = catch_unwind(AssertUnwindSafe(|| golden.run_recorded(&run.program, &run.table)));
            let memory = std::mem::replace(golden.memory_mut(), Memory::new(config, Bytes(0)));
            (memory.into_channels(), Ok(result))
        })?;
        let (report, decisions) = result.map_err(|_| RunError::Broken)??;
        write_report(&report, &launch.report.buffer);
        Ok(decisions)
    }

    fn dense_time(&mut self, run: &Ready) -> Result<Nanos, RunError> {
        let same = |t: &&Timed| {
            Arc::ptr_eq(&t.program, &run.program) && t.placement == run.placement && t.table == run.table
        };
        if let Some(known) = self.times.iter().find(same) {
            return Ok(known.time);
        }
        let time = self.time(&self.timer, run, &dense(self.golden.config(), &run.program, &run.table))?;
        self.times.truncate(REMEMBERED - 1);
        let Ready { program, table, placement } = run;
        let (program, table, placement) = (program.clone(), table.clone(), *placement);
        self.times.push_front(Timed { program, table, placement, time });
        Ok(time)
    }

    fn time(&self, timer: &Timer, run: &Ready, decisions: &Decisions) -> Result<Nanos, RunError> {
        let timing = timer.run_placed(&run.program, &run.table, decisions, run.placement)?;
        Ok(self.nanos(timing.cycles()))
    }

    fn nanos(&self, cycles: u64) -> Nanos {
        let ns = u128::from(cycles) * 1_000_000_000;
        ns.div_ceil(u128::from(self.timer.config().clock().get())) as Nanos
    }
}

/// Does something with the bytes of the channels' buffers, which it gives back.
fn with_channels<T>(launch: &Launch, work: impl FnOnce(Vec<Vec<u8>>) -> (Vec<Vec<u8>>, T)) -> T {
    // Each channel's buffer lies in a bank of its own, so no two are the same, and every run locks them in order.
    let mut locks: Vec<_> = launch.channels.iter().map(|w| w.buffer.whole()).collect();
    let mut rests = Vec::new();
    let mut channels = Vec::new();
    for (lock, window) in locks.iter_mut().zip(&launch.channels) {
        let (bytes, rest) = cut_out(std::mem::take(&mut **lock), &window.buffer);
        channels.push(bytes);
        rests.push(rest);
    }
    let (channels, result) = work(channels);
    for ((lock, bytes), rest) in locks.iter_mut().zip(channels).zip(rests) {
        **lock = put_back(bytes, rest);
    }
    result
}

/// An error in `what` that does not fit its buffer.
fn room(what: &'static str, needed: u64, buffer: &Buffer) -> Result<(), RunError> {
    let found = buffer.size();
    if needed <= found { Ok(()) } else { Err(RunError::Room { what, needed, found }) }
}

/// The step table: its head says how long it is.
fn read_table(buffer: &Buffer) -> Result<(StepTable, Limits), RunError> {
    room("the step table's head", SLOT_BYTES as u64, buffer)?;
    let table = buffer.with(|bytes| match StepTable::from_bytes(bytes) {
        // The buffer is longer than the table: as many bytes as the head implies.
        Err(StepError { expected, .. }) if expected <= bytes.len() => {
            StepTable::from_bytes(&bytes[..expected])
        }
        other => other,
    });
    Ok(table?)
}

fn write_report(report: &StepReport, buffer: &Buffer) {
    let raw = report.to_bytes();
    buffer.with(|bytes| bytes[..raw.len()].copy_from_slice(&raw));
}

/// What lies before and behind a part of a buffer.
struct Rest {
    before: Vec<u8>,
    behind: Vec<u8>,
}

/// A part's own bytes, without a copy where the part is the whole.
fn cut_out(mut whole: Vec<u8>, part: &Buffer) -> (Vec<u8>, Rest) {
    let (origin, end) = (part.origin() as usize, (part.origin() + part.size()) as usize);
    let behind = if end == whole.len() { Vec::new() } else { whole.split_off(end) };
    if origin == 0 {
        return (whole, Rest { before: Vec::new(), behind });
    }
    let bytes = whole.split_off(origin);
    (bytes, Rest { before: whole, behind })
}

/// The whole again.
fn put_back(bytes: Vec<u8>, rest: Rest) -> Vec<u8> {
    let Rest { mut before, behind } = rest;
    let mut whole = bytes;
    if !before.is_empty() {
        before.append(&mut whole);
        whole = before;
    }
    if !behind.is_empty() {
        whole.extend_from_slice(&behind);
    }
    whole
}

/// The decisions of a run in which nothing is replayed or left out.
fn dense(config: &AccelConfig, program: &Program, table: &StepTable) -> Decisions {
    let active = table.mask(ACTIVE);
    let gates = table.gates.len();
    let mut decisions =
        Decisions { replay: vec![0; gates], blocks: vec![Vec::new(); gates], ..Decisions::default() };
    for (index, command) in program.commands().iter().enumerate() {
        match command {
            Command::Delta(c) => {
                decisions.blocks[usize::from(c.gate)] = vec![active; usize::from(c.blocks)];
            }
            Command::Attn(c) if c.list_entries > 0 => {
                let layout = ListLayout::new(config, c.kv_heads.into(), c.list_entries.into());
                let slots = (0..table.slots.len()).filter(|s| active >> s & 1 == 1);
                for slot in slots {
                    // A list ends at the slot's own block; of a longer context it has room for the latest.
                    let last = table.slots[slot].pos / KV_BLOCK_TOKENS;
                    let room = u32::from(c.list_entries) * layout.share();
                    let first = last.saturating_sub(room);
                    let list: Vec<(u32, u32)> = (first..=last).map(|block| (block, u32::MAX)).collect();
                    for head in 0..u32::from(c.kv_heads) {
                        decisions.lists.insert((index as u32, slot as u32, head), list.clone());
                    }
                }
            }
            _ => {}
        }
    }
    decisions
}

/// What a device does at one of its runs.
pub(crate) fn execute(
    machine: &mut Machine,
    mode: RunMode,
    failure: Option<FailureKind>,
    launch: &Launch,
) -> Result<Option<Nanos>, RunError> {
    match failure {
        // Where memory is short is decided before a command begins.
        None | Some(FailureKind::Memory) => machine.run(mode, launch).map(Some),
        Some(FailureKind::Hang) => Ok(None),
        Some(FailureKind::Lost) => Err(RunError::Lost { cause: "this is what FASTCAR_SIM_FAULT asks for" }),
        Some(FailureKind::SlaveError) => machine.run_with_error(launch).map(Some),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use fastcar_arch::isa::{AbBlock, Addr, Attn, Delta, End, VbLine};
    use fastcar_arch::step::{GateEntry, SlotEntry};

    const LIMITS: Limits = Limits { slots: 4, positions: 256, ring: 4, tokens: 1, gates: 1 };

    /// A delta command and attention by lists, timed without values: every block is active, every list full.
    #[test]
    fn dense_decisions_fit_programs_with_lists() {
        let config = AccelConfig::preset("tiny").unwrap();
        let delta = Delta { src: VbLine(0), dst: AbBlock(0), blocks: 2, addr: Addr(0), ..Delta::default() };
        let attn = Attn { heads: 2, kv_heads: 2, head_dim: 32, addr: Addr(1 << 20), ..Attn::default() };
        let attn = Attn {
            slot_stride: 1 << 17,
            list: Addr(1 << 16),
            list_stride: 256,
            list_entries: 3,
            ahead: true,
            ..attn
        };
        let delta = Delta { slot_stride: 4096, index_stride: 1024, ..delta };
        let commands = vec![delta.into(), attn.into(), End::default().into()];
        let program = Program::new(&config, LIMITS, commands).unwrap();
        let mut table = StepTable::new(4, 1);
        table.slots[2] = SlotEntry { flags: ACTIVE, pos: 200, ring: 0, ..SlotEntry::idle() };
        table.gates[0] = GateEntry { allow: 4, force: 0 };
        let decisions = dense(&config, &program, &table);
        assert_eq!((&decisions.replay[..], &decisions.blocks[..]), (&[0][..], &[vec![4, 4]][..]));
        let full = u32::MAX;
        // Position 200 is in block 6; a list has room for three before it.
        assert_eq!(decisions.lists[&(1, 2, 1)], [(3, full), (4, full), (5, full), (6, full)]);
        assert_eq!(decisions.lists.len(), 2);
        let timer = Timer::new(config, SimOptions::default()).unwrap();
        let placement = Placement { program: 0, step: 4096, report: 8192 };
        assert!(timer.run_placed(&program, &table, &decisions, placement).unwrap().cycles() > 0);
    }

    #[test]
    fn parts_of_a_buffer_are_cut_out_and_put_back() {
        let page = crate::memory::ALIGNMENT as usize;
        let whole = Buffer::new(3 * page as u64, None).unwrap();
        let bytes: Vec<u8> = (0..3 * page).map(|i| (i / 7) as u8).collect();
        for (origin, size) in [(0, 3), (0, 1), (1, 1), (2, 1), (1, 2)] {
            let part = whole.part((origin * page) as u64, (size * page) as u64);
            let (cut, rest) = cut_out(bytes.clone(), &part);
            assert_eq!(cut, bytes[origin * page..(origin + size) * page]);
            assert_eq!(put_back(cut, rest), bytes);
        }
    }
}
