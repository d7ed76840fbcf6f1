//! What stands in the activation buffer: whether a product, or a score of past keys, reads what one command filled, for every slot that it runs for.
//!
//! The largest scale byte of a vector, and the block masks of a `delta`, are kept under the first block of what was filled.
//! So both have to read all of one fill and nothing else.

use super::ProgramError;
use super::family::CommandRef;
use crate::field::Field;
use crate::isa::{AbBlock, Command, Delta, Matvec, Pred, Quant};
use crate::num::mx::BLOCK;
use std::collections::BTreeMap;
use std::fmt;

/// A range of blocks of the activation buffer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockRange {
    /// First block.
    pub start: u32,
    /// One past the last block.
    pub end: u32,
}

impl BlockRange {
    fn new(first: AbBlock, blocks: u16) -> Self {
        let start = u32::from(first.0);
        Self { start, end: start + u32::from(blocks) }
    }

    fn meets(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}

impl fmt::Display for BlockRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Why a product with `delta` set cannot use the block masks.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaskFault {
    /// No `delta` before it.
    #[error("no 'delta' stands before it")]
    NoDelta,
    /// It reads what the last `delta` did not fill.
    #[error("it reads blocks {read}, the last 'delta', command {delta}, fills {filled}")]
    OtherBlocks {
        /// What it reads.
        read: BlockRange,
        /// The last `delta`.
        delta: usize,
        /// What that fills.
        filled: BlockRange,
    },
    /// Another command has filled the blocks since, for some slots or all.
    #[error("command {filler} ({filler_command}) fills its blocks behind the last 'delta', command {delta}")]
    Overwritten {
        /// The last `delta`.
        delta: usize,
        /// The command behind it.
        filler: usize,
        /// Its mnemonic.
        filler_command: &'static str,
    },
    /// It may run for slots that the `delta` did not run for.
    #[error("it runs for '{found}', the last 'delta', command {delta}, for '{of_delta}'")]
    Slots {
        /// The product's predicate.
        found: String,
        /// The last `delta`.
        delta: usize,
        /// Its predicate.
        of_delta: String,
    },
    /// Between the two a gate decides anew which slots the predicate names.
    #[error("a gate decides between it and the last 'delta', command {delta}, both for '{pred}'")]
    Decided {
        /// The last `delta`.
        delta: usize,
        /// Their predicate.
        pred: String,
    },
    /// Which blocks are active is not known as early as what is read ahead.
    #[error("it has 'ahead' set")]
    Ahead,
}

/// Why a `quant` cannot go on with an operand.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartFault {
    /// The latest fill is none of a `quant`.
    #[error("no 'quant' is the latest to fill any")]
    NoQuant,
    /// The latest `quant` filled something else.
    #[error("command {quant} (quant), the latest to fill any, has filled {filled}")]
    OtherBlocks {
        /// The latest `quant`.
        quant: usize,
        /// The operand that it filled, so far.
        filled: BlockRange,
    },
    /// The latest `quant` ran for other slots, as far as can be known.
    #[error("it runs for '{found}', command {quant} (quant) before it for '{of_quant}'")]
    Slots {
        /// Its predicate.
        found: String,
        /// The latest `quant`.
        quant: usize,
        /// That one's predicate.
        of_quant: String,
    },
    /// Between the two a gate decides anew which slots the predicate names.
    #[error("a gate decides between it and command {quant} (quant), both for '{pred}'")]
    Decided {
        /// The latest `quant`.
        quant: usize,
        /// Their predicate.
        pred: String,
    },
    /// A product has used what was there.
    #[error("command {reader} has read some of them")]
    Read {
        /// The product.
        reader: usize,
    },
}

/// Slots of a step, as far as commands tell: a predicate, and how many gates have decided before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Slots {
    pred: Pred,
    decisions: usize,
}

impl Slots {
    const ALL: Self = Self { pred: Pred::All, decisions: 0 };

    fn new(pred: Pred, decisions: usize) -> Self {
        match pred {
            // Before the first gate every slot computes.
            Pred::Compute if decisions == 0 => Self::ALL,
            Pred::All | Pred::Output => Self { pred, decisions: 0 },
            Pred::Compute | Pred::Replay => Self { pred, decisions },
        }
    }

    fn is_nobody(self) -> bool {
        self.pred == Pred::Replay && self.decisions == 0
    }

    /// Those of the slots of the same decision that are not among these.
    fn others(self) -> Option<Self> {
        match self.pred {
            Pred::Compute => Some(Self { pred: Pred::Replay, ..self }),
            Pred::Replay => Some(Self { pred: Pred::Compute, ..self }),
            Pred::All | Pred::Output => None,
        }
    }
}

/// A range of blocks that was filled as one, perhaps by several commands for different slots.
#[derive(Clone, Debug)]
struct Fill {
    /// The latest command.
    by: CommandRef,
    blocks: BlockRange,
    slots: Vec<Slots>,
}

impl Fill {
    fn add(&mut self, by: CommandRef, slots: Slots) {
        self.by = by;
        if slots.others().is_some_and(|others| self.slots.contains(&others)) {
            self.slots = vec![Slots::ALL];
        } else if !self.is_for(slots) {
            self.slots.push(slots);
        }
    }

    fn is_for(&self, slots: Slots) -> bool {
        slots.is_nobody() || self.slots.contains(&Slots::ALL) || self.slots.contains(&slots)
    }
}

/// A `delta`: what it filled, and for whom.
#[derive(Clone, Copy, Debug)]
struct Masks {
    by: CommandRef,
    blocks: BlockRange,
    pred: Pred,
    decisions: usize,
}

/// An operand that may go on: what the latest fill, a `quant`'s, has filled of it.
#[derive(Clone, Copy, Debug)]
struct Open {
    quant: usize,
    blocks: BlockRange,
    pred: Pred,
    slots: Slots,
    /// A product that reads some of it.
    reader: Option<usize>,
}

/// The fills that stand behind the commands so far.
#[derive(Default)]
pub(super) struct Fills {
    /// By first block, the last block and the fill that it is of. What is written over is cut off, so that they do not overlap.
    stand: BTreeMap<u32, (u32, Fill)>,
    /// The last `delta`.
    masks: Option<Masks>,
    open: Option<Open>,
    /// Gates so far.
    decisions: usize,
}

impl Fills {
    /// Follows a command that passed all other checks.
    ///
    /// # Errors
    /// [`ProgramError`] for a product whose operand or masks are not there.
    pub(super) fn follow(&mut self, by: CommandRef, command: &Command) -> Result<(), ProgramError> {
        match command {
            Command::Quant(c) => self.quant(by, c)?,
            Command::Delta(Delta { pred, dst, blocks, .. }) => {
                let (blocks, decisions) = (BlockRange::new(*dst, *blocks), self.decisions);
                self.masks = Some(Masks { by, blocks, pred: *pred, decisions });
                self.open = None;
                self.fill(by, blocks, *pred);
            }
            Command::Matvec(c) => {
                let read = BlockRange::new(c.src, c.blocks);
                let latest = self.operand(by, read, c.pred)?;
                self.uses(by, read);
                match self.fault(latest, c) {
                    Some(fault) if c.delta => {
                        return Err(ProgramError::Masks { index: by.index, command: by.mnemonic, fault });
                    }
                    _ => {}
                }
            }
            Command::GateTas(c) => {
                let blocks = u32::from(c.heads) * u32::from(c.head_dim) / BLOCK as u32;
                let start = u32::from(c.src.0);
                let read = BlockRange { start, end: start + blocks };
                self.operand(by, read, c.pred)?;
                self.uses(by, read);
                self.decisions += 1;
            }
            Command::GateDelta(_) | Command::GateHost(_) => self.decisions += 1,
            _ => {}
        }
        Ok(())
    }

    /// A command that uses a whole operand: what it reads of the latest does not go on.
    fn uses(&mut self, by: CommandRef, read: BlockRange) {
        if let Some(open) = self.open.as_mut().filter(|open| open.blocks.meets(read)) {
            open.reader.get_or_insert(by.index);
        }
    }

    /// Fills a whole operand, or goes on with one.
    fn quant(&mut self, by: CommandRef, c: &Quant) -> Result<(), ProgramError> {
        let own = BlockRange::new(c.dst, c.blocks);
        // `before` is within `dst`: the fields have been looked at.
        let blocks = BlockRange { start: own.start - u32::from(c.before), ..own };
        let slots = Slots::new(c.pred, self.decisions);
        if c.before > 0 {
            let before = BlockRange { end: own.start, ..blocks };
            if let Some(fault) = self.part_fault(before, c.pred, slots) {
                let fault = Box::new(fault);
                return Err(ProgramError::Part { index: by.index, command: by.mnemonic, before, fault });
            }
        }
        self.open = Some(Open { quant: by.index, blocks, pred: c.pred, slots, reader: None });
        self.fill(by, blocks, c.pred);
        Ok(())
    }

    /// What keeps a part of an operand from going on behind these blocks.
    fn part_fault(&self, before: BlockRange, pred: Pred, slots: Slots) -> Option<PartFault> {
        let Some(Open { quant, blocks, pred: of_quant, slots: had, reader }) = self.open else {
            return Some(PartFault::NoQuant);
        };
        if blocks != before {
            Some(PartFault::OtherBlocks { quant, filled: blocks })
        } else if of_quant != pred {
            Some(PartFault::Slots { found: pred.show(), quant, of_quant: of_quant.show() })
        } else if had != slots {
            Some(PartFault::Decided { quant, pred: pred.show() })
        } else {
            reader.map(|reader| PartFault::Read { reader })
        }
    }

    fn fill(&mut self, by: CommandRef, blocks: BlockRange, pred: Pred) {
        let slots = Slots::new(pred, self.decisions);
        match self.stand.get_mut(&blocks.start) {
            Some((end, fill)) if *end == blocks.end && fill.blocks == blocks => fill.add(by, slots),
            _ => {
                self.cut(blocks);
                let slots = vec![slots];
                self.stand.insert(blocks.start, (blocks.end, Fill { by, blocks, slots }));
            }
        }
    }

    /// Takes blocks out of the fills that they were of.
    fn cut(&mut self, blocks: BlockRange) {
        let starts: Vec<u32> = self.overlapping(blocks).map(|(start, _)| start).collect();
        for start in starts {
            let Some((end, fill)) = self.stand.remove(&start) else { continue };
            if blocks.end < end {
                self.stand.insert(blocks.end, (end, fill.clone()));
            }
            if start < blocks.start {
                self.stand.insert(start, (blocks.start, fill));
            }
        }
    }

    /// What stands in some of these blocks, by its first block.
    fn overlapping(&self, blocks: BlockRange) -> impl Iterator<Item = (u32, &Fill)> {
        let before = self.stand.range(..blocks.end).rev();
        before.take_while(move |(_, (end, _))| *end > blocks.start).map(|(&start, (_, fill))| (start, fill))
    }

    /// The latest fill of any of these blocks, if it is of just these and the slots all have it.
    fn operand(&self, by: CommandRef, read: BlockRange, pred: Pred) -> Result<CommandRef, ProgramError> {
        let latest = self.overlapping(read).map(|(_, fill)| fill).max_by_key(|fill| fill.by.index);
        match latest {
            Some(fill) if fill.blocks != read => Err(ProgramError::OtherFill {
                index: by.index,
                command: by.mnemonic,
                read,
                filler: fill.by.index,
                filler_command: fill.by.mnemonic,
                filled: fill.blocks,
            }),
            Some(fill) if fill.is_for(Slots::new(pred, self.decisions)) => Ok(fill.by),
            _ => Err(ProgramError::NotFilled {
                index: by.index,
                command: by.mnemonic,
                read,
                pred: pred.show(),
            }),
        }
    }

    /// What keeps a product, whose operand has this latest fill, from the masks of the last `delta`.
    fn fault(&self, latest: CommandRef, c: &Matvec) -> Option<MaskFault> {
        let Some(masks) = self.masks else { return Some(MaskFault::NoDelta) };
        let (read, delta) = (BlockRange::new(c.src, c.blocks), masks.by.index);
        let decides = matches!(c.pred, Pred::Compute | Pred::Replay);
        if read != masks.blocks {
            Some(MaskFault::OtherBlocks { read, delta, filled: masks.blocks })
        } else if latest.index != delta {
            Some(MaskFault::Overwritten { delta, filler: latest.index, filler_command: latest.mnemonic })
        } else if masks.pred == Pred::All {
            c.ahead.then_some(MaskFault::Ahead)
        } else if masks.pred != c.pred {
            Some(MaskFault::Slots { found: c.pred.show(), delta, of_delta: masks.pred.show() })
        } else if decides && masks.decisions != self.decisions {
            Some(MaskFault::Decided { delta, pred: c.pred.show() })
        } else {
            c.ahead.then_some(MaskFault::Ahead)
        }
    }
}
