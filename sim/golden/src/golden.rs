//! The command loop.

use crate::decisions::Decisions;
use crate::memory::Memory;
use crate::slot::Slot;
use crate::{attention, delta, gate, matvec, vector};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{Command, Pred};
use fastcar_arch::program::{Program, ProgramError};
use fastcar_arch::step::{ACTIVE, GateReport, OUTPUT, StepReport, StepTable};
use fastcar_arch::units::Bytes;

/// Why a run stops.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GoldenError {
    /// The step table does not fit the program.
    #[error(transparent)]
    Step(#[from] ProgramError),
    /// The program reaches beyond the memory image.
    #[error("the program needs {reach} on each channel, the memory image has {size}")]
    Image {
        /// One past the last byte that the program can reach.
        reach: Bytes,
        /// Size of the image on each channel.
        size: Bytes,
    },
    /// An entry of a block list that does not ascend, or is no block before the slot's own one.
    #[error(
        "slot {slot}, key/value head {head}: entry {entry} of the block list on channel {channel} is row {found}; rows ascend, and there are {rows} before the slot's own block"
    )]
    BlockList {
        /// Slot.
        slot: usize,
        /// Key/value head.
        head: usize,
        /// Channel of the list.
        channel: usize,
        /// Entry in the list.
        entry: usize,
        /// Its row.
        found: u32,
        /// Rows of the head on this channel before the slot's own block.
        rows: u32,
    },
    /// The mask of an entry, or of the own block, is none.
    #[error(
        "slot {slot}, key/value head {head}: a mask of the block list on channel {channel} is {found:#010x}; that of an entry is not 0, that of the own block has no bit beyond the slot's position"
    )]
    BlockListMask {
        /// Slot.
        slot: usize,
        /// Key/value head.
        head: usize,
        /// Channel of the list.
        channel: usize,
        /// The mask.
        found: u32,
    },
    /// A block list without a head.
    #[error("slot {slot}: channel {channel} has no head for the block list that says {found} entries")]
    BlockListHeadless {
        /// Slot.
        slot: usize,
        /// Channel of the list.
        channel: usize,
        /// Entries in the header.
        found: u32,
    },
    /// A block list that says it is longer than its room.
    #[error(
        "slot {slot}, key/value head {head}: the block list on channel {channel} says {found} entries, it has room for {room}"
    )]
    BlockListLength {
        /// Slot.
        slot: usize,
        /// Key/value head.
        head: usize,
        /// Channel of the list.
        channel: usize,
        /// Entries in the header.
        found: u32,
        /// Room.
        room: u16,
    },
}

/// Below this many products of a command the threads cost more than they bring.
const PARALLEL_FROM: u64 = 1 << 22;

/// The functional machine: a memory image and the slots' buffers.
#[derive(Clone, Debug)]
pub struct Golden {
    pub(crate) config: AccelConfig,
    pub(crate) memory: Memory,
    pub(crate) slots: Vec<Slot>,
    /// Index Register: bit i set when slot i computes.
    pub(crate) compute: u32,
    /// Positions of a sequence in the running program: they shape the KV cache.
    pub(crate) positions: u32,
    parallel_from: u64,
}

impl Golden {
    /// A machine of a configuration over a memory image.
    #[must_use]
    pub fn new(config: AccelConfig, memory: Memory) -> Self {
        let slots = vec![Slot::new(&config); config.slots() as usize];
        Self { config, memory, slots, compute: u32::MAX, positions: 1, parallel_from: PARALLEL_FROM }
    }

    /// Shares a command's work among threads from this many products on. Changes the time, never a bit.
    #[must_use]
    pub fn with_parallel_from(mut self, products: u64) -> Self {
        self.parallel_from = products;
        self
    }

    /// Whether a command of so many products is worth several threads.
    pub(crate) fn parallel(&self, products: u64) -> bool {
        products >= self.parallel_from
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &AccelConfig {
        &self.config
    }

    /// The memory image.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// The memory image, to write.
    pub fn memory_mut(&mut self) -> &mut Memory {
        &mut self.memory
    }

    /// Runs a program once for the slots of a step table.
    ///
    /// # Errors
    /// [`GoldenError`]; the memory may then hold part of the run's results.
    pub fn run(&mut self, program: &Program, table: &StepTable) -> Result<StepReport, GoldenError> {
        self.run_with(program, table, None)
    }

    /// As [`Golden::run`], taking down what the data decided.
    ///
    /// # Errors
    /// As [`Golden::run`].
    pub fn run_recorded(
        &mut self,
        program: &Program,
        table: &StepTable,
    ) -> Result<(StepReport, Decisions), GoldenError> {
        let mut decisions = Decisions::new(table);
        let report = self.run_with(program, table, Some(&mut decisions))?;
        Ok((report, decisions))
    }

    fn run_with(
        &mut self,
        program: &Program,
        table: &StepTable,
        mut decisions: Option<&mut Decisions>,
    ) -> Result<StepReport, GoldenError> {
        program.check_step(table)?;
        let (reach, size) = (program.reach(), self.memory.size());
        if reach > size {
            return Err(GoldenError::Image { reach, size });
        }
        for (slot, entry) in self.slots.iter_mut().zip(&table.slots) {
            slot.entry = *entry;
        }
        self.compute = u32::MAX;
        self.positions = program.limits().positions;
        let mut report = StepReport { gates: vec![GateReport::default(); table.gates.len()] };
        for (index, command) in program.commands().iter().enumerate() {
            let active = self.selected(command.pred(), table);
            self.execute(command, &active, table, &mut report)?;
            if let Some(decisions) = &mut decisions {
                decisions.record(self, index, command, &active, &report)?;
            }
        }
        Ok(report)
    }

    /// Indices of the slots that a predicate selects.
    fn selected(&self, pred: Pred, table: &StepTable) -> Vec<usize> {
        let mask = match pred {
            Pred::All => table.mask(ACTIVE),
            Pred::Compute => table.mask(ACTIVE) & self.compute,
            Pred::Replay => table.mask(ACTIVE) & !self.compute,
            Pred::Output => table.mask(OUTPUT),
        };
        (0..table.slots.len()).filter(|i| mask >> i & 1 == 1).collect()
    }

    fn execute(
        &mut self,
        command: &Command,
        active: &[usize],
        table: &StepTable,
        report: &mut StepReport,
    ) -> Result<(), GoldenError> {
        match command {
            Command::End(_) => {}
            Command::Load(c) => vector::load(self, c, active),
            Command::Store(c) => vector::store(self, c, active),
            Command::StoreAct(c) => vector::store_act(self, c, active),
            Command::Norm(c) => vector::norm(self, c, active),
            Command::Quant(c) => vector::quant(self, c, active),
            Command::Add(c) => vector::add(self, c, active),
            Command::Rope(c) => vector::rope(self, c, active),
            Command::Delta(c) => delta::delta(self, c, active, table, report),
            Command::Matvec(c) => matvec::matvec(self, c, active),
            Command::KvAppend(c) => attention::kv_append(self, c, active),
            Command::Attn(c) => attention::attn(self, c, active)?,
            Command::GateTas(c) => gate::tas(self, c, active, table, report),
            Command::GateDelta(c) => gate::input_delta(self, c, active, table, report),
            Command::GateHost(c) => gate::host(self, c, active, table, report),
        }
        Ok(())
    }
}
