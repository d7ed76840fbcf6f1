//! Programs: command lists that are known to be safe on a configuration.
//!
//! [`Program::new`] proves, before anything runs, that no command can touch storage that does not exist: buffer
//! ranges, memory ranges for every slot and index that the [`Limits`] admit, alignment, and the numeric bounds of
//! docs/numerics.md. [`Program::check_step`] does the same for a step table. What passes both cannot go out of range.
//! It also proves that what one command writes no other uses as something else ([`Family`]), so that hardware may read
//! ahead of older writes after comparing record addresses for equality alone; that a product reads what one command
//! filled, and masks that are there for its slots; and that each gate decides once.

mod family;
mod fills;
mod gates;

pub use family::{Access, Family, FamilyKind, LocalRange, Operand};
pub use fills::{BlockRange, MaskFault, PartFault};

use crate::config::{AccelConfig, LINE_WORDS};
use crate::isa::{AbBlock, Addr, Command, Epilogue, IndexBy, IsaError, NormKind, VbLine};
use crate::layout::{KvLayout, LIST_PLACES, ListLayout, RecordLayout, WeightLayout};
use crate::num::sumsq::MAX_TERMS;
use crate::num::window::MAX_BLOCKS;
use crate::step::{ACTIVE, StepTable};
use crate::timing::{MASK_BLOCKS, append_beats, key_passes, query_rows, value_passes};
use crate::units::Bytes;
use family::{Collector, CommandRef, Operands};
use fills::Fills;
use gates::Gates;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The most gates of a step table: what the memory of the report holds.
pub const MAX_GATES: u32 = 1024;

/// The most words of a head: what the sums of p.v hold.
pub const MAX_HEAD_DIM: u32 = 1024;

/// The largest values that step tables of a program may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Slots with memory of their own.
    pub slots: u32,
    /// Positions of a sequence.
    pub positions: u32,
    /// Positions in a frame.
    pub ring: u32,
    /// Token identifiers.
    pub tokens: u32,
    /// Gates in the step table.
    pub gates: u32,
}

/// A program that is safe on a configuration within its limits.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    commands: Arc<[Command]>,
    limits: Limits,
    reach: Bytes,
    operands: Operands,
}

/// Why a program or a step table is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// The bytes do not decode.
    #[error(transparent)]
    Isa(#[from] IsaError),
    /// No `end`, or commands behind it.
    #[error(
        "a program ends with its only 'end': found {found} of {commands} commands before the first 'end'"
    )]
    End {
        /// Commands before the first `end`.
        found: usize,
        /// Commands in all.
        commands: usize,
    },
    /// An operand beyond a limit.
    #[error("command {index} ({command}): {what} is {found}, the limit is {limit}")]
    Limit {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// Which operand or derived size.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// An operand that must be a multiple of something, or not zero.
    #[error("command {index} ({command}): {what} is {found}; it must be a multiple of {unit} and not 0")]
    Multiple {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// Which operand.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The unit.
        unit: u64,
    },
    /// An operand that no unit of the machine could work with.
    #[error("command {index} ({command}): {what} is {found}; it must be {allowed}, because {reason}")]
    Unfit {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// Which operand or derived size.
        what: &'static str,
        /// Its value.
        found: u64,
        /// What is allowed.
        allowed: String,
        /// Why, and what helps.
        reason: &'static str,
    },
    /// An operand of a product, or of a score of past keys, that nothing filled.
    #[error(
        "command {index} ({command}): src reads blocks {read} of the activation buffer, which no command before it fills as one for all slots of '{pred}'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots"
    )]
    NotFilled {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// What it reads.
        read: BlockRange,
        /// Its predicate.
        pred: String,
    },
    /// An operand of a product, or of a score of past keys, that is not what one command filled.
    #[error(
        "command {index} ({command}): src reads blocks {read} of the activation buffer, of which command {filler} ({filler_command}) was the last to fill some, as {filled}; an operand is all that one 'quant' or 'delta' filled and nothing else: fill just what it reads"
    )]
    OtherFill {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// What it reads.
        read: BlockRange,
        /// The last command before it that filled some of these blocks.
        filler: usize,
        /// Its mnemonic.
        filler_command: &'static str,
        /// All that this filled.
        filled: BlockRange,
    },
    /// A `quant` of a part of an operand whose parts before are not there.
    #[error(
        "command {index} ({command}): it goes on with an operand that has blocks {before} so far, but {fault}; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that"
    )]
    Part {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// The operand so far, as it has it.
        before: BlockRange,
        /// What is in the way.
        fault: Box<PartFault>,
    },
    /// A product with `delta` set whose block masks are not there.
    #[error(
        "command {index} ({command}): delta is set, but {fault}; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue"
    )]
    Masks {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// What is wrong.
        fault: MaskFault,
    },
    /// A gate that two commands use.
    #[error(
        "command {index} ({command}): gate is {gate}, which command {first} ({first_command}) uses too; the report has one entry for each gate: give each command a gate of its own"
    )]
    GateTwice {
        /// Position of the second command.
        index: usize,
        /// Its mnemonic.
        command: &'static str,
        /// The gate.
        gate: u16,
        /// Position of the first command.
        first: usize,
        /// Its mnemonic.
        first_command: &'static str,
    },
    /// Memory that one command writes and that another operand describes differently.
    #[error(
        "command {writer} ({writer_command}) writes local bytes {written}, which overlap {used} of command {other} ({other_command}): what a program writes is either apart from every other operand or the same records, with equal address, strides, size and layout; move one of the two, or give both the same description"
    )]
    Overlap {
        /// Position of the command that writes.
        writer: usize,
        /// Its mnemonic.
        writer_command: &'static str,
        /// What it can write, over every slot and index.
        written: LocalRange,
        /// Position of the command with the other operand; the same command where its operands overlap.
        other: usize,
        /// Its mnemonic.
        other_command: &'static str,
        /// What it can use, over every slot and index.
        used: LocalRange,
    },
    /// Records of different slots or indices that share bytes, in an operand that is written.
    #[error(
        "command {index} ({command}): records of {record} each would overlap at slot_stride {slot_stride} (slots: {slots}) and index_stride {index_stride} (indices: {indices}); one stride must be at least a record, the other at least the span of the records under the first"
    )]
    Records {
        /// Position in the program.
        index: usize,
        /// Mnemonic.
        command: &'static str,
        /// Size of a record on each channel.
        record: Bytes,
        /// Slots that the limits admit.
        slots: u32,
        /// Local bytes from slot to slot.
        slot_stride: u64,
        /// Indices that the limits admit.
        indices: u32,
        /// Local bytes from index to index.
        index_stride: u64,
    },
    /// A step table that does not fit the program.
    #[error("step table: {what} is {found}, the limit is {limit}")]
    Step {
        /// Which entry.
        what: String,
        /// Its value.
        found: u64,
        /// The limit.
        limit: u64,
    },
}

impl Program {
    /// Checks every command.
    ///
    /// # Errors
    /// [`ProgramError`] for the first command that could leave its bounds, or for one that overlaps another.
    pub fn new(config: &AccelConfig, limits: Limits, commands: Vec<Command>) -> Result<Self, ProgramError> {
        let before_end = commands.iter().take_while(|c| !matches!(c, Command::End(_))).count();
        if before_end + 1 != commands.len() {
            return Err(ProgramError::End { found: before_end, commands: commands.len() });
        }
        check_limits(config, limits)?;
        let mut checker =
            Checker { config, limits, index: 0, command: "", reach: 0, operands: Collector::default() };
        let (mut fills, mut gates) = (Fills::default(), Gates::default());
        for (index, command) in commands.iter().enumerate() {
            (checker.index, checker.command) = (index, command.info().mnemonic);
            checker.check(command)?;
            checker.form(command)?;
            checker.operands.end_command();
            gates.follow(checker.at(), command)?;
            fills.follow(checker.at(), command)?;
        }
        let reach = Bytes(checker.reach);
        let operands = checker.operands.finish(limits)?;
        Ok(Self { commands: commands.into(), limits, reach, operands })
    }

    /// Decodes and checks.
    ///
    /// # Errors
    /// As [`Program::new`] and [`crate::isa::decode`].
    pub fn from_bytes(config: &AccelConfig, limits: Limits, raw: &[u8]) -> Result<Self, ProgramError> {
        Self::new(config, limits, crate::isa::decode(raw)?)
    }

    /// Whether the commands are the same. Copies of a program are known to have the same without a look at them.
    #[must_use]
    pub fn has_commands_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.commands, &other.commands) || self.commands == other.commands
    }

    /// The commands, `end` last.
    #[must_use]
    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// The limits of its step tables.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Bytes that the program needs on each channel: the largest end of any memory operand, over every slot and index
    /// that the limits admit. An executor whose memory is at least as large need not check addresses again.
    #[must_use]
    pub fn reach(&self) -> Bytes {
        self.reach
    }

    /// The memory operands of a command, by its position in the program; none beyond the last.
    pub fn operands(&self, index: usize) -> impl Iterator<Item = Operand> + '_ {
        self.operands.of(index).iter().copied()
    }

    /// The families of records that the program uses; [`Operand::family`] counts them.
    #[must_use]
    pub fn families(&self) -> &[Family] {
        self.operands.families()
    }

    /// Checks a step table against the limits.
    ///
    /// # Errors
    /// [`ProgramError::Step`].
    pub fn check_step(&self, table: &StepTable) -> Result<(), ProgramError> {
        let Limits { slots, positions, ring, tokens, gates } = self.limits;
        let refuse = |what: String, found, limit| Err(ProgramError::Step { what, found, limit });
        let (found, limit) = (table.slots.len() as u64, slots.into());
        if found > limit {
            return refuse("number of slots".to_owned(), found, limit);
        }
        let (found, limit) = (table.gates.len() as u64, gates.into());
        if found != limit {
            return refuse("number of gates".to_owned(), found, limit);
        }
        for (i, slot) in table.slots.iter().enumerate().filter(|(_, s)| s.has(ACTIVE)) {
            let [token0, token1, token2, token3] = slot.token;
            let largest = token0.max(token1).max(token2).max(token3);
            let fields = [
                ("pos", Some(slot.pos), positions - 1),
                ("ring", slot.ring(), ring.saturating_sub(1)),
                ("token", Some(largest), tokens - 1),
            ];
            for (field, found, limit) in fields {
                if let Some(found) = found.filter(|&found| found > limit) {
                    return refuse(format!("slot {i}: {field}"), found.into(), limit.into());
                }
            }
        }
        Ok(())
    }
}

fn check_limits(config: &AccelConfig, limits: Limits) -> Result<(), ProgramError> {
    let bounds = [
        ("slots", limits.slots, config.slots()),
        ("positions", limits.positions, config.score_tokens()),
        ("tokens", limits.tokens, 1 << 24),
        ("ring", limits.ring, config.score_tokens()),
        ("gates", limits.gates, MAX_GATES),
    ];
    for (what, found, limit) in bounds {
        let too_small = found == 0 && matches!(what, "slots" | "positions" | "tokens");
        if found > limit || too_small {
            let what = format!("program limit '{what}'{}", if too_small { " (at least 1)" } else { "" });
            return Err(ProgramError::Step { what, found: found.into(), limit: limit.into() });
        }
    }
    Ok(())
}

/// Checks one command after the other.
struct Checker<'a> {
    config: &'a AccelConfig,
    limits: Limits,
    index: usize,
    command: &'static str,
    /// Largest end of a memory operand so far.
    reach: u64,
    operands: Collector,
}

/// Where the records of an operand lie.
#[derive(Clone, Copy)]
struct Place {
    field: &'static str,
    index: IndexBy,
    addr: Addr,
    slot_stride: u64,
    index_stride: u64,
}

impl Place {
    /// The one record of a constant.
    fn fixed(field: &'static str, addr: Addr) -> Self {
        Self { field, index: IndexBy::None, addr, slot_stride: 0, index_stride: 0 }
    }

    /// A slot's cache: one record, in which the position chooses the token.
    fn cache(addr: Addr, slot_stride: u64) -> Self {
        Self { slot_stride, ..Self::fixed("addr", addr) }
    }
}

/// The [`Place`] of a command whose fields have the usual names.
macro_rules! place {
    ($c:ident, $index:expr) => {
        Place {
            field: "addr",
            index: $index,
            addr: $c.addr,
            slot_stride: $c.slot_stride,
            index_stride: $c.index_stride,
        }
    };
}

type Check = Result<(), ProgramError>;

impl Checker<'_> {
    fn at(&self) -> CommandRef {
        CommandRef { index: self.index, mnemonic: self.command }
    }

    /// What every command has to be, also in fields that it does not use: the hardware looks at all.
    fn form(&self, command: &Command) -> Check {
        command
            .misfit(self.config.beat().get())
            .map_or(Ok(()), |misfit| self.multiple(misfit.field, misfit.found, misfit.unit))
    }

    fn check(&mut self, command: &Command) -> Check {
        use Access::{Read, ReadWrite, Write};
        match command {
            Command::End(_) => Ok(()),
            Command::Load(c) => {
                self.lines("dst", c.dst, c.words.into())?;
                self.vector(Read, place!(c, c.index), c.words.into())
            }
            Command::Store(c) => {
                self.lines("src", c.src, c.words.into())?;
                self.written_words(c.words.into())?;
                self.vector(Write, place!(c, c.index), c.words.into())
            }
            Command::StoreAct(c) => {
                self.blocks("src", c.src, c.blocks.into())?;
                self.written(RecordLayout::new(self.config).act_bytes(c.blocks.into()))?;
                self.act(Write, place!(c, c.index), c.blocks.into())
            }
            Command::Norm(c) => {
                let words = u64::from(c.words);
                self.limit("words", words, MAX_TERMS as u64)?;
                self.multiple("words", words, LINE_WORDS.into())?;
                self.lines("src", c.src, words)?;
                self.lines("dst", c.dst, words)?;
                self.apart(c.dst, c.src, words)?;
                self.constant(Place::fixed("gamma", c.gamma), words * 4)?;
                match c.kind {
                    NormKind::Rms => Ok(()),
                    NormKind::Layer => self.constant(Place::fixed("beta", c.beta), words * 4),
                }
            }
            Command::Quant(c) => {
                self.limit("before", c.before.into(), c.dst.0.into())?;
                self.quant(c.src, c.dst, c.blocks)
            }
            Command::Add(c) => {
                self.lines("dst", c.dst, c.words.into())?;
                self.lines("src", c.src, c.words.into())?;
                self.apart(c.dst, c.src, c.words.into())
            }
            Command::Rope(c) => {
                self.heads(c.heads, c.heads, c.head_dim)?;
                self.lines("vec", c.vec, u64::from(c.heads) * u64::from(c.head_dim))?;
                let (index, index_stride) = (IndexBy::Position, c.index_stride);
                let table = Place { index, index_stride, ..Place::fixed("table", c.table) };
                self.constant(table, u64::from(c.head_dim) * 4)
            }
            Command::Delta(c) => {
                self.gate(c.gate)?;
                self.limit("blocks * 32", u64::from(c.blocks) * 32, MAX_TERMS as u64)?;
                self.quant(c.src, c.dst, c.blocks)?;
                self.mask_groups(c.dst)?;
                self.written_words(u64::from(c.blocks) * 32)?;
                self.vector(ReadWrite, place!(c, IndexBy::Ring), u64::from(c.blocks) * 32)
            }
            Command::Matvec(c) => self.matvec(c),
            Command::KvAppend(c) => {
                self.heads(c.kv_heads, c.kv_heads, c.head_dim)?;
                let words = u64::from(c.kv_heads) * u64::from(c.head_dim);
                self.lines("key", c.key, words)?;
                self.lines("value", c.value, words)?;
                self.cached_head(c.head_dim)?;
                self.written_beats(append_beats(self.config, c.kv_heads.into(), c.head_dim.into()))?;
                self.kv(Write, Place::cache(c.addr, c.slot_stride), c.kv_heads, c.head_dim)
            }
            Command::Attn(c) => {
                self.heads(c.heads, c.kv_heads, c.head_dim)?;
                let words = u64::from(c.heads) * u64::from(c.head_dim);
                self.blocks("src", c.src, words / 32)?;
                self.lines("dst", c.dst, words)?;
                self.cached_head(c.head_dim)?;
                let passes = value_passes(self.config, u32::from(c.heads / c.kv_heads));
                // A beat of values adds to a whole word of sums.
                let rows =
                    u64::from(passes) * u64::from(c.head_dim).next_multiple_of(self.config.beat().get());
                self.limit("accumulator rows of a head", rows, self.config.acc_rows().into())?;
                let passes = key_passes(self.config, u32::from(c.heads / c.kv_heads));
                let blocks = u64::from(passes) * u64::from(c.head_dim) / u64::from(LINE_WORDS);
                self.limit("query blocks of a column", blocks, query_rows(self.config).into())?;
                self.scores(c.heads / c.kv_heads)?;
                self.kv(Read, Place::cache(c.addr, c.slot_stride), c.kv_heads, c.head_dim)?;
                self.lists(c)
            }
            Command::GateTas(c) => {
                self.gate(c.gate)?;
                self.heads(c.heads, c.kv_heads, c.head_dim)?;
                let blocks = u64::from(c.heads) * u64::from(c.head_dim) / 32;
                self.limit("heads * head_dim / 32", blocks, MAX_BLOCKS as u64)?;
                self.blocks("src", c.src, blocks)?;
                self.multiple("period", c.period.into(), 1)?;
                self.cached_head(c.head_dim)?;
                self.kv(Read, Place::cache(c.addr, c.slot_stride), c.kv_heads, c.head_dim)
            }
            Command::GateDelta(c) => {
                self.gate(c.gate)?;
                self.limit("blocks * 32", u64::from(c.blocks) * 32, MAX_TERMS as u64)?;
                self.blocks("src", c.src, c.blocks.into())?;
                self.act(Read, place!(c, IndexBy::Ring), c.blocks.into())
            }
            Command::GateHost(c) => self.gate(c.gate),
        }
    }

    fn lists(&mut self, c: &crate::isa::Attn) -> Check {
        if c.list_entries == 0 {
            return Ok(());
        }
        if !c.ahead {
            let reason = "a channel keeps the entries of lists for its read-ahead stream";
            return self.unfit("ahead", 0, "1 with block lists".to_owned(), reason);
        }
        let layout = ListLayout::new(self.config, c.kv_heads.into(), c.list_entries.into());
        self.limit("places of heads with lists on a channel", layout.places().into(), LIST_PLACES.into())?;
        let most = ListLayout::most_entries(self.config, self.limits.slots, c.kv_heads.into());
        self.limit("list_entries", c.list_entries.into(), most.into())?;
        let list = Place { slot_stride: c.list_stride, ..Place::fixed("list", c.list) };
        let bytes = layout.local_bytes();
        self.memory(FamilyKind::Constant, Access::Read, list, bytes, bytes)
    }

    fn matvec(&mut self, c: &crate::isa::Matvec) -> Check {
        let rows = u64::from(c.rows);
        self.multiple("rows", rows, 1)?;
        self.limit("blocks", c.blocks.into(), MAX_BLOCKS as u64)?;
        self.blocks("src", c.src, c.blocks.into())?;
        self.limit("rows", rows, u64::from(self.config.acc_rows()) * u64::from(self.config.channels()))?;
        let chunk = WeightLayout::chunk_rows_of(self.config, c.rows);
        self.limit("rows per channel", chunk.into(), self.config.acc_rows().into())?;
        let words = match c.epilogue {
            Epilogue::SwiGlu => {
                self.multiple("rows", rows, 2)?;
                rows / 2
            }
            Epilogue::None | Epilogue::Gelu => rows,
        };
        self.lines("dst", c.dst, words)?;
        self.limit("scale_max", c.scale_max.into(), 254)?;
        let weights = WeightLayout::new(self.config, c.rows, c.blocks.into(), c.format).local_bytes();
        self.memory(FamilyKind::Constant, Access::Read, Place::fixed("addr", c.addr), weights, weights)?;
        if c.has_bias {
            self.constant(Place::fixed("bias", c.bias), rows * 4)?;
        }
        if c.delta {
            self.written_words(rows)?;
            let ring = Place { field: "ring", addr: c.ring, ..place!(c, IndexBy::Ring) };
            self.vector(Access::ReadWrite, ring, rows)?;
        }
        Ok(())
    }

    fn limit(&self, what: &'static str, found: u64, limit: u64) -> Check {
        if found <= limit {
            return Ok(());
        }
        Err(ProgramError::Limit { index: self.index, command: self.command, what, found, limit })
    }

    fn multiple(&self, what: &'static str, found: u64, unit: u64) -> Check {
        if found != 0 && found.is_multiple_of(unit) {
            return Ok(());
        }
        Err(ProgramError::Multiple { index: self.index, command: self.command, what, found, unit })
    }

    /// Only where an operand is not as `allowed` says.
    fn unfit(&self, what: &'static str, found: u64, allowed: String, reason: &'static str) -> Check {
        Err(ProgramError::Unfit { index: self.index, command: self.command, what, found, allowed, reason })
    }

    /// A group of masks never begins in the middle of one of the mask memory.
    fn mask_groups(&self, dst: AbBlock) -> Check {
        if u32::from(dst.0).is_multiple_of(MASK_BLOCKS) {
            return Ok(());
        }
        let allowed = format!("a multiple of {MASK_BLOCKS}");
        self.unfit(
            "dst",
            dst.0.into(),
            allowed,
            "the block masks beside the activation buffer are read in groups of that many",
        )
    }

    /// A result does not overwrite words that are read later.
    fn apart(&self, dst: VbLine, src: VbLine, words: u64) -> Check {
        let (first, end) = (u64::from(src.0), u64::from(src.0) + words.div_ceil(LINE_WORDS.into()));
        let found = u64::from(dst.0);
        if found <= first || found >= end {
            return Ok(());
        }
        let allowed = format!("at most {first} (src) or at least {end} (behind it)");
        self.unfit("dst", found, allowed, "lines are written while later ones are still to be read")
    }

    /// Each pass over a head's keys leaves a score for every token.
    fn scores(&self, group: u16) -> Check {
        let passes = key_passes(self.config, group.into());
        let found = u64::from(self.limits.positions) * u64::from(passes);
        let limit = self.config.score_tokens();
        if found <= limit.into() {
            return Ok(());
        }
        let reason = "the score buffer keeps the scores of all passes over a head's keys: allow fewer positions, or build with more columns or score_tokens";
        self.unfit("positions * passes over the keys", found, format!("at most {limit}"), reason)
    }

    /// The elements of a token are whole beats, or a single block of a beat that holds several.
    fn cached_head(&self, head_dim: u16) -> Check {
        let beat = self.config.beat().get();
        if u32::from(head_dim) == LINE_WORDS || u64::from(head_dim).is_multiple_of(beat) {
            return Ok(());
        }
        let allowed = format!("{LINE_WORDS} or a multiple of {beat}");
        self.unfit(
            "head_dim",
            head_dim.into(),
            allowed,
            "a token's keys and values are whole beats of the cache, or one block of a beat",
        )
    }

    fn written_words(&self, words: u64) -> Check {
        self.written(RecordLayout::new(self.config).vector_bytes(words))
    }

    /// A record that a slot writes, of so many bytes on each channel.
    fn written(&self, local: Bytes) -> Check {
        self.written_beats(local.get() / self.config.beat().get())
    }

    fn written_beats(&self, found: u64) -> Check {
        let limit = self.config.write_beats();
        if found <= limit.into() {
            return Ok(());
        }
        let reason = "the write buffer keeps what a command writes for a slot until it is whole: write less at a time, or build with more write_beats";
        self.unfit("beats written to a channel", found, format!("at most {limit}"), reason)
    }

    fn gate(&self, gate: u16) -> Check {
        self.limit("gate + 1", u64::from(gate) + 1, self.limits.gates.into())
    }

    fn lines(&self, what: &'static str, first: VbLine, words: u64) -> Check {
        self.multiple("words", words, 1)?;
        let end = u64::from(first.0) + words.div_ceil(LINE_WORDS.into());
        self.limit(what, end, self.config.vb_lines().into())
    }

    fn blocks(&self, what: &'static str, first: AbBlock, blocks: u64) -> Check {
        self.multiple("blocks", blocks, 1)?;
        self.limit(what, u64::from(first.0) + blocks, self.config.ab_blocks().into())
    }

    fn quant(&self, src: VbLine, dst: AbBlock, blocks: u16) -> Check {
        self.lines("src", src, u64::from(blocks) * u64::from(LINE_WORDS))?;
        self.blocks("dst", dst, blocks.into())
    }

    fn heads(&self, heads: u16, kv_heads: u16, head_dim: u16) -> Check {
        self.multiple("head_dim", head_dim.into(), LINE_WORDS.into())?;
        self.limit("head_dim", head_dim.into(), MAX_HEAD_DIM.into())?;
        self.multiple("kv_heads", kv_heads.into(), 1)?;
        self.multiple("heads", heads.into(), kv_heads.into())
    }

    fn kv(&mut self, access: Access, place: Place, kv_heads: u16, head_dim: u16) -> Check {
        let layout = KvLayout::new(self.config, kv_heads.into(), head_dim.into(), self.limits.positions);
        let bytes = layout.local_bytes();
        self.memory(FamilyKind::Kv { kv_heads, head_dim }, access, place, bytes, bytes)
    }

    fn vector(&mut self, access: Access, place: Place, words: u64) -> Check {
        let local = RecordLayout::new(self.config).vector_bytes(words);
        self.memory(FamilyKind::Vector, access, place, Bytes(words * 4), local)
    }

    fn act(&mut self, access: Access, place: Place, blocks: u64) -> Check {
        let local = RecordLayout::new(self.config).act_bytes(blocks);
        let bytes = blocks * (u64::from(LINE_WORDS) + 1);
        self.memory(FamilyKind::Act, access, place, Bytes(bytes), local)
    }

    /// A record that no command may write.
    fn constant(&mut self, place: Place, bytes: u64) -> Check {
        let local = RecordLayout::new(self.config).local_bytes(bytes);
        self.memory(FamilyKind::Constant, Access::Read, place, Bytes(bytes), local)
    }

    /// The last byte that any slot and index can reach lies inside the channel, and all is aligned to beats.
    fn memory(&mut self, kind: FamilyKind, access: Access, at: Place, bytes: Bytes, local: Bytes) -> Check {
        let beat = self.config.beat().get();
        let aligned =
            [("addr", at.addr.0), ("slot_stride", at.slot_stride), ("index_stride", at.index_stride)];
        if let Some((what, found)) = aligned.into_iter().find(|(_, value)| !value.is_multiple_of(beat)) {
            return self.multiple(what, found, beat);
        }
        let (slots, indices) = (self.limits.slots, self.indices(at.index));
        let reach = |stride: u64, count: u32| stride.checked_mul(u64::from(count) - 1);
        let end = reach(at.slot_stride, slots)
            .zip(reach(at.index_stride, indices))
            .and_then(|(slot, idx)| at.addr.0.checked_add(slot)?.checked_add(idx)?.checked_add(local.get()));
        let end = end.unwrap_or(u64::MAX);
        self.limit("end of the memory operand", end, self.config.channel_capacity().get())?;
        self.reach = self.reach.max(end);

        // A stride that is never taken does not tell families apart.
        let taken = |stride: u64, count: u32| if count == 1 { 0 } else { stride };
        let family = Family {
            kind,
            addr: at.addr,
            slot_stride: taken(at.slot_stride, slots),
            index_stride: taken(at.index_stride, indices),
            indices,
            bytes,
            local_bytes: local,
        };
        let by = if matches!(kind, FamilyKind::Kv { .. }) { IndexBy::Position } else { at.index };
        self.operands.add(self.at(), family, (access, by, at.field));
        Ok(())
    }

    /// How many indices the limits admit.
    fn indices(&self, by: IndexBy) -> u32 {
        match by {
            IndexBy::None => 1,
            IndexBy::Position => self.limits.positions,
            IndexBy::Ring => self.limits.ring.max(1),
            IndexBy::Token0 | IndexBy::Token1 | IndexBy::Token2 | IndexBy::Token3 => self.limits.tokens,
        }
    }
}
