//! Runs: one program, one step table, on one machine.

use crate::counters::Counters;
use crate::dram::Cycle;
use crate::error::SimError;
use crate::flow::Flow;
use crate::flow::bulk::BulkFlow;
use crate::flow::step::StepFlow;
use crate::machine::{Job, Machine};
use crate::memory::{Fault, MemorySpec, MemorySystem};
use crate::plan::Planner;
use crate::trace::Span;
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::{COMMAND_BYTES, Command};
use fastcar_arch::layout::PAGE_BYTES;
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, GateReport, PAIRED, SLOT_BYTES, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_golden::Decisions;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

/// How slots share the columns of the MAC array: the policies of Dynamic Resource Scheduling.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Policy {
    /// Every slot has its column for good, and a column with more active slots holds up the others: the baseline.
    Static,
    /// The active slots are packed into the columns anew after every decision.
    #[default]
    Compact,
    /// As `compact`, and the slots go through the program in two waves, so that one wave's stream, vector work or
    /// attention fills the gaps of the other. Weights are streamed once per wave.
    Overlap,
}

impl Policy {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Static, "static"), (Self::Compact, "compact"), (Self::Overlap, "overlap")];
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|p| p.0 == *self).map_or("", |p| p.1);
        f.write_str(name)
    }
}

/// No policy of that name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no scheduling policy is named '{found}'; the policies are static, compact, overlap")]
pub struct UnknownPolicy {
    /// What was given.
    pub found: String,
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(text: &str) -> Result<Self, UnknownPolicy> {
        let found = Self::ALL.iter().find(|p| p.1 == text);
        found.map(|p| p.0).ok_or_else(|| UnknownPolicy { found: text.to_owned() })
    }
}

/// How the cycles are found; both ways yield the same ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Advance {
    /// Burst by burst, skipping cycles in which nothing begins or ends.
    #[default]
    Bulk,
    /// Every beat and every cycle.
    Step,
}

/// Where program, step table and report lie on channel 0, in bytes from its start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Placement {
    /// The first command.
    pub program: u64,
    /// The step table.
    pub step: u64,
    /// The report.
    pub report: u64,
}

impl Placement {
    /// What the register map asks of the addresses of program, step table and report.
    pub const ALIGNMENT: u64 = COMMAND_BYTES as u64;

    /// Every part is aligned and ends within the channel.
    fn check(&self, config: &AccelConfig, program: &Program, table: &StepTable) -> Result<(), SimError> {
        let gates = program.limits().gates as usize;
        let parts = [
            ("program", self.program, program.commands().len() * COMMAND_BYTES),
            ("step table", self.step, SLOT_BYTES * (1 + table.slots.len()) + 8 * gates),
            ("report", self.report, gates * size_of::<GateReport>()),
        ];
        let capacity = config.channel_capacity();
        for (what, start, bytes) in parts {
            let end = start.checked_add(bytes as u64);
            if !start.is_multiple_of(Self::ALIGNMENT) || end.is_none_or(|end| end > capacity.get()) {
                let bytes = Bytes(bytes as u64);
                return Err(SimError::Placement { what, start, bytes, capacity });
            }
        }
        Ok(())
    }

    /// Behind the data, on pages of their own.
    /// # Errors
    /// There is no room for them.
    pub fn behind(config: &AccelConfig, program: &Program, data: Bytes) -> Result<Self, SimError> {
        let pages = |bytes: usize| (bytes as u64).next_multiple_of(PAGE_BYTES);
        let gates = program.limits().gates as usize;
        let start = data.get().max(program.reach().get()).next_multiple_of(PAGE_BYTES);
        let step = start + pages(program.commands().len() * COMMAND_BYTES);
        let report = step + pages(SLOT_BYTES * (1 + config.slots() as usize) + 8 * gates);
        let end = report + pages(gates * size_of::<GateReport>());
        let capacity = config.channel_capacity();
        if end > capacity.get() {
            let left = Bytes(capacity.get().saturating_sub(start));
            return Err(SimError::NoRoom { asked: Bytes(end - start), left, capacity });
        }
        Ok(Self { program: start, step, report })
    }
}

/// What a machine is simulated with.
#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    /// How slots share the columns.
    pub policy: Policy,
    /// How the cycles are found.
    pub advance: Advance,
    /// The memory; that of the configuration where not given.
    pub memory: Option<MemorySpec>,
    /// Phase of the memory's refresh: 0 for all channels alike.
    pub memory_seed: u64,
    /// Faults of the memory.
    pub faults: Vec<Fault>,
    /// Whether runs note what the units did when.
    pub trace: bool,
}

/// What one run took.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Timing {
    /// Counters.
    pub counters: Counters,
    /// What the units did when; empty unless asked for.
    pub spans: Vec<Span>,
}

impl Timing {
    /// Clock cycles from start to done.
    #[must_use]
    pub fn cycles(&self) -> Cycle {
        self.counters.cycles
    }
}

/// A machine without values: it knows how long a run takes whose decisions are given.
#[derive(Clone, Debug)]
pub struct Timer {
    config: AccelConfig,
    options: SimOptions,
    spec: MemorySpec,
}

impl Timer {
    /// A machine of a configuration.
    ///
    /// # Errors
    /// The configuration has no memory of its own and none is given, or a fault names a channel that is not there.
    pub fn new(config: AccelConfig, options: SimOptions) -> Result<Self, SimError> {
        let spec = match &options.memory {
            Some(spec) => spec.clone(),
            None => MemorySpec::for_config(&config)?,
        };
        let timer = Self { config, options, spec };
        timer.memory()?;
        Ok(timer)
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &AccelConfig {
        &self.config
    }

    /// Bytes a second that memory and ports could move at most.
    ///
    /// # Errors
    /// As [`Timer::new`].
    pub fn peak_bytes_per_second(&self) -> Result<u64, SimError> {
        let ports = u64::from(self.config.channels()) * self.config.beat().get() * self.config.clock().get();
        Ok(self.memory()?.peak_bytes_per_second().min(ports))
    }

    fn memory(&self) -> Result<MemorySystem, SimError> {
        let mut memory = MemorySystem::new(&self.spec, &self.config, self.options.memory_seed)?;
        for fault in &self.options.faults {
            memory.inject(fault.clone())?;
        }
        Ok(memory)
    }

    /// Times one run. `data` is what lies in memory on each channel; program, step table and report are placed behind.
    ///
    /// # Errors
    /// The step table or the decisions do not fit the program, a memory fault, or a stall.
    pub fn run(
        &self,
        program: &Program,
        table: &StepTable,
        decisions: &Decisions,
        data: Bytes,
    ) -> Result<Timing, SimError> {
        let placement = Placement::behind(&self.config, program, data)?;
        self.run_placed(program, table, decisions, placement)
    }

    /// Times one run whose program, step table and report lie at given places. Local byte 0 of every channel is taken
    /// to be the first byte of its memory.
    ///
    /// # Errors
    /// As [`Timer::run`], or the placement is not aligned or leaves the channel.
    pub fn run_placed(
        &self,
        program: &Program,
        table: &StepTable,
        decisions: &Decisions,
        placement: Placement,
    ) -> Result<Timing, SimError> {
        program.check_step(table)?;
        check_decisions(program, table, decisions)?;
        placement.check(&self.config, program, table)?;
        let memory = self.memory()?;
        let classes = self.classes(program, table, decisions, &memory);
        let leaders: Vec<u32> = classes.iter().map(|c| c[0]).collect();
        let sizes: Vec<u64> = classes.iter().map(|c| c.len() as u64).collect();
        let waves = waves(self.options.policy, table, self.config.columns());
        let job = Job {
            config: &self.config,
            program,
            table,
            placement,
            planner: Planner {
                config: &self.config,
                table,
                decisions,
                policy: self.options.policy,
                leaders: &leaders,
                positions: program.limits().positions,
            },
            sizes: &sizes,
            waves,
            trace: self.options.trace,
        };
        match self.options.advance {
            Advance::Bulk => self.finish::<BulkFlow>(job, memory, &leaders, &classes),
            Advance::Step => self.finish::<StepFlow>(job, memory, &leaders, &classes),
        }
    }

    fn finish<F: Flow>(
        &self,
        job: Job<'_>,
        memory: MemorySystem,
        leaders: &[u32],
        classes: &[Vec<u32>],
    ) -> Result<Timing, SimError> {
        let flow = F::new(&self.config, memory, job.waves.len(), leaders, self.options.trace);
        let (mut counters, spans, flow) = Machine::new(job, flow).run()?;
        let channels = self.config.channels() as usize;
        counters.read_bytes = vec![0; channels];
        counters.write_bytes = vec![0; channels];
        for class in classes {
            let port = flow.memory().counters(class[0]);
            for &channel in class {
                counters.read_bytes[channel as usize] = port.read_bytes;
                counters.write_bytes[channel as usize] = port.written_bytes;
            }
        }
        Ok(Timing { counters, spans })
    }

    /// Channels that do the same in a run: each class is simulated once. Channel 0, which also carries commands, is
    /// the first class and alone.
    fn classes(
        &self,
        program: &Program,
        table: &StepTable,
        decisions: &Decisions,
        memory: &MemorySystem,
    ) -> Vec<Vec<u32>> {
        let mut classes: Vec<(u64, Vec<u32>)> = Vec::new();
        for channel in 0..self.config.channels() {
            let alike = |leader: u32| leader != 0 && !memory.shared() && memory.same_state(leader, channel);
            let key = cache_key(&self.config, program, table, decisions, channel);
            match classes.iter_mut().find(|c| c.0 == key && alike(c.1[0])) {
                Some(class) => class.1.push(channel),
                None => classes.push((key, vec![channel])),
            }
        }
        classes.into_iter().map(|c| c.1).collect()
    }
}

/// What a channel's part of the KV caches looks like to the commands of a run.
fn cache_key(
    config: &AccelConfig,
    program: &Program,
    table: &StepTable,
    decisions: &Decisions,
    channel: u32,
) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut seen: Vec<(u16, u16)> = Vec::new();
    let active = table.mask(ACTIVE);
    for (index, command) in program.commands().iter().enumerate() {
        let (kv_heads, lists) = match command {
            Command::Attn(c) => (c.kv_heads, c.list_entries > 0),
            Command::GateTas(c) => (c.kv_heads, false),
            Command::KvAppend(c) => (c.kv_heads, false),
            _ => continue,
        };
        let shape = (kv_heads, u16::from(lists));
        if !lists && seen.contains(&shape) {
            continue;
        }
        seen.push(shape);
        let kv_heads = u32::from(kv_heads);
        let interleave = (config.channels() / kv_heads).max(1);
        for place in (channel..kv_heads * interleave).step_by(config.channels() as usize) {
            let (head, residue) = (place / interleave, place % interleave);
            for slot in crate::plan::slots_of(active) {
                let list = decisions.lists.get(&(index as u32, slot, head));
                let here = |e: &&(u32, u32)| e.0 % interleave == residue;
                match list.filter(|_| lists) {
                    Some(list) => list.iter().filter(here).for_each(|e| e.hash(&mut hash)),
                    None => {
                        let last = table.slots[slot as usize].pos / KV_BLOCK_TOKENS;
                        (residue, last, interleave).hash(&mut hash);
                    }
                }
                u32::MAX.hash(&mut hash);
            }
        }
    }
    hash.finish()
}

fn check_decisions(program: &Program, table: &StepTable, decisions: &Decisions) -> Result<(), SimError> {
    let expect = |what, found: usize, expected: usize| match found == expected {
        true => Ok(()),
        false => Err(SimError::Decisions { what, found, expected }),
    };
    expect("number of replay masks", decisions.replay.len(), table.gates.len())?;
    expect("number of block masks", decisions.blocks.len(), table.gates.len())?;
    for command in program.commands() {
        if let Command::Delta(c) = command {
            let found = decisions.blocks[usize::from(c.gate)].len();
            expect("number of blocks of a delta command", found, c.blocks.into())?;
        }
    }
    Ok(())
}

/// The waves of a policy. The first is the smallest half that fills whole passes; rows of a guided pair stay together.
fn waves(policy: Policy, table: &StepTable, columns: u32) -> Vec<u32> {
    let (active, paired) = (table.mask(ACTIVE), table.mask(PAIRED));
    let half = active.count_ones().div_ceil(2).next_multiple_of(columns);
    let mut first = 0u32;
    for slot in crate::plan::slots_of(active) {
        let both = 3 << (slot & !1);
        let second_row = slot % 2 == 1 && both & paired == both;
        if first.count_ones() < half || second_row && first >> (slot - 1) & 1 == 1 {
            first |= 1 << slot;
        }
    }
    match active & !first {
        second if policy == Policy::Overlap && second != 0 => vec![first, second],
        _ => vec![active],
    }
}
