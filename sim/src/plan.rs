//! What one command asks of the units: the streams it reads, the products it makes, the records it writes.
//!
//! A plan follows from the command, the slots that it runs for, and the decisions of the run; it holds no time.

use crate::Policy;
use crate::port::Segment;
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::{Attn, Command, GateTas, IndexBy, KvAppend, Matvec, NormKind};
use fastcar_arch::layout::{KvLayout, RecordLayout, WeightLayout};
use fastcar_arch::step::{SlotEntry, StepTable};
use fastcar_arch::timing::{
    self, MASK_BLOCKS, cycles_per_beat_row, cycles_per_row_group, head_value_words, key_passes, key_rows,
    past_key_cycles, value_passes,
};
use fastcar_golden::Decisions;
use std::ops::Range;
use std::rc::Rc;

/// The segments of one stream item on each class of channels.
#[derive(Clone, Debug)]
pub(crate) enum Lanes {
    /// The same on every channel.
    Same(Rc<[Segment]>),
    /// One list per class of channels.
    Each(Vec<Rc<[Segment]>>),
}

impl Lanes {
    pub(crate) fn same(segments: impl Into<Rc<[Segment]>>) -> Self {
        Self::Same(segments.into())
    }

    /// Only on the first class, which is channel 0's.
    pub(crate) fn first(segment: Segment, classes: usize) -> Self {
        let each = |class| if class == 0 { Rc::from([segment]) } else { Rc::from([]) };
        Self::Each((0..classes).map(each).collect())
    }

    pub(crate) fn get(&self, class: usize) -> &Rc<[Segment]> {
        match self {
            Self::Same(segments) => segments,
            Self::Each(lanes) => &lanes[class],
        }
    }

    /// Segments on the channel that has most.
    pub(crate) fn longest(&self) -> usize {
        match self {
            Self::Same(segments) => segments.len(),
            Self::Each(lanes) => lanes.iter().map(|segments| segments.len()).max().unwrap_or(0),
        }
    }

    pub(crate) fn beats(&self, class: usize, beat: u64) -> u64 {
        self.get(class).iter().map(|s| s.bytes / beat).sum()
    }
}

/// One stream through the MAC array: a weight matrix for a round of slots, or the keys or the values of one head.
#[derive(Clone, Debug)]
pub(crate) struct MacOp {
    pub(crate) lanes: Lanes,
    /// Slots whose operands it needs and whose results it holds.
    pub(crate) slots: u32,
    /// Rows of the accumulators that it takes, per column.
    pub(crate) rows: u64,
    /// First keys of a round of heads: blocks of their queries, which are sent one a cycle before; words of the sums of values that
    /// the round takes.
    pub(crate) queries: u64,
    pub(crate) values: u64,
    /// Values wait for the scores of the keys before them.
    pub(crate) after_scores: bool,
    /// The block that holds the slot's own token, which is still being written: it goes through the main stream, so that
    /// the older blocks behind it can be read ahead.
    pub(crate) own: bool,
    /// Masked weights: segments up to the end of each group of blocks whose masks come together.
    pub(crate) groups: Vec<usize>,
    /// Weights: how its operands go to the clusters.
    pub(crate) operands: Operands,
}

/// The operands of a product on their way to the clusters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operands {
    /// Cycles before the first of them: masks are looked at, slots without any are told.
    pub(crate) before: u64,
    /// Those of the first block.
    pub(crate) first: u64,
    /// Cycles of all: those before, and for each block that is streamed a header, and a block of each slot.
    pub(crate) cycles: u64,
}

impl Operands {
    /// Of so many blocks, that take part in all slots.
    fn dense(blocks: u64, slots: u64) -> Self {
        Self { before: 0, first: slots, cycles: blocks * (1 + slots) }
    }

    /// Of blocks that take part in some of these slots each.
    fn masked(blocks: &[u32], slots: u32) -> Self {
        let active: Vec<u32> = blocks.iter().map(|block| block & slots).filter(|&slots| slots != 0).collect();
        let none = slots & !active.iter().fold(0, |all, slots| all | slots);
        let before = blocks.len().div_ceil(MASK_BLOCKS as usize) as u64
            + timing::MASK_SEEK
            + u64::from(none.count_ones());
        // Where there is no block at all, that is sent like one with a single slot.
        let mut counts =
            active.iter().map(|slots| u64::from(slots.count_ones())).chain(active.is_empty().then_some(1));
        let first = counts.next().unwrap_or(1);
        Self { before, first, cycles: before + 1 + first + counts.map(|count| 1 + count).sum::<u64>() }
    }
}

impl MacOp {
    /// The segments of a group of masks.
    pub(crate) fn of_group(&self, group: usize) -> Lanes {
        let begin = group.checked_sub(1).map_or(0, |before| self.groups[before]);
        Lanes::same(&self.lanes.get(0)[begin..self.groups[group]])
    }
}

/// A record on its way to the vector or gate unit, which takes it in step: one beat at a time from every channel that has some of it.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) lanes: Lanes,
}

/// What a `gate_tas` reads for a slot that it looks at.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) slot: u32,
    /// Heads on the channel that has most.
    pub(crate) places: usize,
    /// Scale bytes and elements of the past keys, if there are any.
    pub(crate) keys: Option<[Record; 2]>,
}

/// What a command does beside its products for one slot, or for one round of heads of a slot.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotWork {
    pub(crate) slot: u32,
    /// Index of the product behind which its results are ready.
    pub(crate) after_mac: Option<usize>,
    pub(crate) record: Option<Record>,
    pub(crate) write: Option<Lanes>,
    /// Accumulator rows, and words of the sums of values, that are free again when the vector unit has its results.
    pub(crate) frees: u64,
    pub(crate) frees_values: u64,
    /// Of attention: key/value heads of the round.
    pub(crate) heads: u32,
}

/// Everything that one command asks of the units.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// Products in order.
    pub(crate) mac: Vec<MacOp>,
    /// Record that all slots share, taken with the first.
    pub(crate) shared: Option<Record>,
    /// Slots in the order in which the vector unit takes them.
    pub(crate) slots: Vec<SlotWork>,
    /// Slots in the order in which the gate unit looks at them: one at least, for a `gate_tas`.
    pub(crate) past: Vec<Past>,
    /// Passes over a weight matrix.
    pub(crate) passes: u64,
    /// Weight blocks streamed and skipped.
    pub(crate) blocks: (u64, u64),
}

impl Work {
    pub(crate) fn mask(&self) -> u32 {
        self.slots.iter().fold(0, |mask, s| mask | 1 << s.slot)
    }

    /// Slots that it writes something for.
    pub(crate) fn written(&self) -> u32 {
        self.slots.iter().filter(|s| s.write.is_some()).fold(0, |mask, s| mask | 1 << s.slot)
    }
}

/// What plans are made from.
pub(crate) struct Planner<'a> {
    pub(crate) config: &'a AccelConfig,
    pub(crate) table: &'a StepTable,
    pub(crate) decisions: &'a Decisions,
    pub(crate) policy: Policy,
    /// First channel of each class.
    pub(crate) leaders: &'a [u32],
    /// Positions that a cache holds.
    pub(crate) positions: u32,
}

/// Slots of a mask in ascending order.
pub(crate) fn slots_of(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |s| mask >> s & 1 == 1)
}

impl Planner<'_> {
    /// Whether a slot has no reference for a gate's delta commands.
    fn fresh(&self, gate: u16, slot: u32) -> bool {
        let allowed = self.table.gates[usize::from(gate)].allow >> slot & 1 == 1;
        !allowed || self.entry(slot).ring().is_none()
    }

    fn entry(&self, slot: u32) -> &SlotEntry {
        &self.table.slots[slot as usize]
    }

    /// Local address of a slot's record; none where it has no ring position.
    fn record_addr(
        &self,
        slot: u32,
        index: IndexBy,
        (addr, slot_stride, index_stride): Strides,
    ) -> Option<u64> {
        let entry = self.entry(slot);
        let index = match index {
            IndexBy::None => 0,
            IndexBy::Position => entry.pos,
            IndexBy::Ring => entry.ring()?,
            IndexBy::Token0 => entry.token[0],
            IndexBy::Token1 => entry.token[1],
            IndexBy::Token2 => entry.token[2],
            IndexBy::Token3 => entry.token[3],
        };
        Some(addr + u64::from(slot) * slot_stride + u64::from(index) * index_stride)
    }

    /// A striped record: every channel reads or writes the same local beats.
    fn striped(&self, addr: u64, bytes: u64) -> Segment {
        let bytes = RecordLayout::new(self.config).local_bytes(bytes).get();
        Segment { addr, bytes, pace: 1, spare: 0, guarded: false }
    }

    fn words(&self, addr: u64, words: u64) -> Record {
        self.record(addr, words * 4, 4, 1)
    }

    /// The same, taken along with rows of a product.
    fn beside_rows(&self, addr: u64, words: u64) -> Record {
        self.record(addr, words * 4, 4, cycles_per_row_group(self.config))
    }

    fn act(&self, addr: u64, blocks: u64) -> Record {
        self.record(addr, blocks * 33, 1, 1)
    }

    /// A record that the vector unit takes in groups of its lanes, of units of so many bytes, one every so many cycles. It leaves
    /// what is behind the last group.
    fn record(&self, addr: u64, bytes: u64, unit: u64, cycles: u64) -> Record {
        let in_row = cycles_per_beat_row(self.config, unit);
        let striped = self.striped(addr, bytes);
        let rows = striped.bytes / self.config.beat().get();
        let groups = bytes.div_ceil(unit * u64::from(self.config.vector_lanes()));
        let spare = (rows * in_row).saturating_sub(groups).min(in_row - 1);
        let [pace, spare] = [in_row, spare].map(|groups| (groups * cycles) as u32);
        let segment = Segment { pace, spare, guarded: true, ..striped };
        Record { lanes: Lanes::same([segment]) }
    }

    fn stored(&self, addr: u64, bytes: u64) -> Lanes {
        Lanes::same([self.striped(addr, bytes)])
    }

    /// Plans a command for some slots.
    pub(crate) fn plan(&self, index: usize, command: &Command, slots: u32, delta: Option<u16>) -> Work {
        let each =
            |f: &dyn Fn(u32) -> SlotWork| Work { slots: slots_of(slots).map(f).collect(), ..Work::default() };
        let bare = |slot| SlotWork { slot, ..SlotWork::default() };
        match command {
            Command::End(_) => Work::default(),
            Command::Quant(_) | Command::Add(_) | Command::GateHost(_) => each(&bare),
            Command::Load(c) => each(&|slot| {
                let strides = (c.addr.0, c.slot_stride, c.index_stride);
                let addr = self.record_addr(slot, c.index, strides);
                SlotWork { record: addr.map(|a| self.words(a, c.words.into())), ..bare(slot) }
            }),
            Command::Store(c) => each(&|slot| {
                let strides = (c.addr.0, c.slot_stride, c.index_stride);
                let addr = self.record_addr(slot, c.index, strides);
                SlotWork { write: addr.map(|a| self.stored(a, u64::from(c.words) * 4)), ..bare(slot) }
            }),
            Command::StoreAct(c) => each(&|slot| {
                let strides = (c.addr.0, c.slot_stride, c.index_stride);
                let addr = self.record_addr(slot, c.index, strides);
                SlotWork { write: addr.map(|a| self.stored(a, u64::from(c.blocks) * 33)), ..bare(slot) }
            }),
            Command::Norm(c) => {
                let mut shared = self.words(c.gamma.0, c.words.into());
                if c.kind == NormKind::Layer {
                    let beta = self.words(c.beta.0, c.words.into());
                    shared.lanes = Lanes::same([shared.lanes.get(0)[0], beta.lanes.get(0)[0]]);
                }
                Work { shared: (slots != 0).then_some(shared), ..each(&bare) }
            }
            Command::Rope(c) => each(&|slot| {
                let strides = (c.table.0, 0, c.index_stride);
                let addr = self.record_addr(slot, IndexBy::Position, strides);
                SlotWork { record: addr.map(|a| self.words(a, c.head_dim.into())), ..bare(slot) }
            }),
            Command::Delta(c) => each(&|slot| {
                let addr = self.record_addr(slot, IndexBy::Ring, (c.addr.0, c.slot_stride, c.index_stride));
                let words = u64::from(c.blocks) * 32;
                let read = addr.filter(|_| !self.fresh(c.gate, slot));
                SlotWork {
                    record: read.map(|a| self.words(a, words)),
                    write: addr.map(|a| self.stored(a, words * 4)),
                    ..bare(slot)
                }
            }),
            Command::Matvec(c) => self.matvec(c, slots, delta),
            Command::KvAppend(c) => {
                each(&|slot| SlotWork { write: Some(self.append(c, slot)), ..bare(slot) })
            }
            Command::Attn(c) => self.attn(index, c, slots),
            Command::GateTas(c) => Work { past: self.past(c, slots), ..each(&bare) },
            Command::GateDelta(c) => each(&|slot| {
                let allowed = self.table.gates[usize::from(c.gate)].allow >> slot & 1 == 1;
                let addr = self.record_addr(slot, IndexBy::Ring, (c.addr.0, c.slot_stride, c.index_stride));
                let record = addr.filter(|_| allowed).map(|a| self.act(a, c.blocks.into()));
                SlotWork { record, ..bare(slot) }
            }),
        }
    }

    /// Where each slot's products are made: (slot, column, pass).
    fn mapping(&self, slots: u32) -> Vec<(u32, u32, u32)> {
        let columns = self.config.columns();
        let mut taken = [0u32; 32];
        let place = |(rank, slot): (usize, u32)| {
            let column = match self.policy {
                Policy::Static => slot % columns,
                Policy::Compact | Policy::Overlap => rank as u32 % columns,
            };
            let pass = taken[column as usize];
            taken[column as usize] += 1;
            (slot, column, pass)
        };
        slots_of(slots).enumerate().map(place).collect()
    }

    fn matvec(&self, c: &Matvec, slots: u32, delta: Option<u16>) -> Work {
        let layout = WeightLayout::new(self.config, c.rows, c.blocks.into(), c.format);
        let chunk = layout.chunk_rows();
        let mut mapping = self.mapping(slots);
        let passes = mapping.iter().map(|m| m.2 + 1).max().unwrap_or(0);
        let per_round = (u64::from(self.config.acc_rows()) / chunk).max(1) as u32;
        mapping.sort_by_key(|m| m.2 / per_round);
        let mut work = Work { passes: passes.into(), ..Work::default() };
        for round in mapping.chunk_by(|a, b| a.2 / per_round == b.2 / per_round) {
            let passes = round.iter().map(|m| m.2 % per_round + 1).max().unwrap_or(0);
            let slots = round.iter().map(|m| 1 << m.0).sum();
            let blocks = u64::from(c.blocks);
            let (segments, groups, streamed, operands) = match delta.filter(|_| c.delta) {
                Some(gate) => {
                    let (segments, groups, streamed) = self.masked(c, &layout, round, gate);
                    let masks = &self.decisions.blocks[usize::from(gate)];
                    (segments, groups, streamed, Operands::masked(masks, slots))
                }
                None => {
                    let operands = Operands::dense(blocks, round.len() as u64);
                    (vec![whole(c, &layout, passes)], Vec::new(), blocks, operands)
                }
            };
            work.blocks.0 += streamed;
            work.blocks.1 += blocks - streamed;
            let rows = u64::from(passes) * chunk;
            work.mac.push(MacOp {
                lanes: Lanes::same(segments),
                slots,
                rows,
                queries: 0,
                values: 0,
                after_scores: false,
                own: false,
                groups,
                operands,
            });
            let op = work.mac.len() - 1;
            work.slots.extend(round.iter().map(|&(slot, ..)| self.drained(c, slot, op, delta)));
            if let Some(last) = work.slots.last_mut() {
                last.frees = rows;
            }
        }
        if let Some(first) = work.slots.first().filter(|_| c.has_bias) {
            // Beside a reference the bias comes before.
            let (addr, rows) = (c.bias.0, c.rows.into());
            let before = first.record.is_some();
            work.shared = Some(if before { self.words(addr, rows) } else { self.beside_rows(addr, rows) });
        }
        work
    }

    fn drained(&self, c: &Matvec, slot: u32, op: usize, delta: Option<u16>) -> SlotWork {
        let mut out = SlotWork { slot, after_mac: Some(op), ..SlotWork::default() };
        if let Some(gate) = delta.filter(|_| c.delta) {
            let addr = self.record_addr(slot, IndexBy::Ring, (c.ring.0, c.slot_stride, c.index_stride));
            let read = addr.filter(|_| !self.fresh(gate, slot));
            out.record = read.map(|a| self.beside_rows(a, c.rows.into()));
            out.write = addr.map(|a| self.stored(a, u64::from(c.rows) * 4));
        }
        out
    }

    /// The runs of blocks that are active in at least one slot of a round, runs up to the end of each group of masks, and active
    /// blocks. A block takes as many passes as the fullest column has slots in which it is active. Runs end with
    /// their group, since the next group's masks may not be known yet.
    fn masked(
        &self,
        c: &Matvec,
        layout: &WeightLayout,
        round: &[(u32, u32, u32)],
        gate: u16,
    ) -> (Vec<Segment>, Vec<usize>, u64) {
        let run = layout.block_run().get();
        let columns: Vec<u32> = (0..self.config.columns())
            .map(|column| round.iter().filter(|m| m.1 == column).map(|m| 1u32 << m.0).sum())
            .collect();
        let mut segments: Vec<Segment> = Vec::new();
        let mut groups = Vec::new();
        let mut streamed = 0;
        let mut addr = c.addr.0;
        for group in self.decisions.blocks[usize::from(gate)].chunks(MASK_BLOCKS as usize) {
            let first = segments.len();
            for &active in group {
                let pace = columns.iter().map(|m| (m & active).count_ones()).max().unwrap_or(0);
                streamed += u64::from(pace > 0);
                match segments[first..].last_mut() {
                    _ if pace == 0 => {}
                    Some(last) if last.addr + last.bytes == addr && last.pace == pace => last.bytes += run,
                    _ => segments.push(Segment { addr, bytes: run, pace, spare: 0, guarded: false }),
                }
                addr += run;
            }
            groups.push(segments.len());
        }
        (segments, groups, streamed)
    }

    fn kv(&self, kv_heads: u16, head_dim: u16) -> Kv {
        let layout = KvLayout::new(self.config, kv_heads.into(), head_dim.into(), self.positions);
        let interleave = (self.config.channels() / u32::from(kv_heads)).max(1);
        Kv {
            layout,
            kv_heads: kv_heads.into(),
            head_dim: head_dim.into(),
            interleave,
            beat: self.config.beat().get(),
        }
    }

    fn attn(&self, index: usize, c: &Attn, slots: u32) -> Work {
        let kv = self.kv(c.kv_heads, c.head_dim);
        let group = u32::from(c.heads / c.kv_heads);
        let (pace, value_pace) = (key_passes(self.config, group), value_passes(self.config, group));
        let rows = u64::from(key_rows(self.config, group));
        let values = u64::from(head_value_words(self.config, group, c.head_dim.into()));
        let blocks = u64::from(group) * u64::from(c.head_dim) / 32;
        let mut work = Work::default();
        for slot in slots_of(slots) {
            let base = c.addr.0 + u64::from(slot) * c.slot_stride;
            let own = self.entry(slot).pos / KV_BLOCK_TOKENS;
            for unit in 0..kv.units(self.config.channels()) {
                let mut parts: [Vec<Rc<[Segment]>>; 4] = Default::default();
                for &channel in self.leaders {
                    let place = kv.runs(channel, unit, self.config.channels());
                    let (head, mut blocks) = place.map_or((0, Vec::new()), |(head, residue)| {
                        (head, self.attended(index, c, slot, head, residue, kv.interleave))
                    });
                    let last = blocks.pop_if(|b| b.0 == own);
                    parts[0].push(kv.keys(base, head, &blocks, false, pace));
                    parts[1].push(kv.keys(base, head, last.as_slice(), true, pace));
                    parts[2].push(kv.values(base, head, &blocks, false, value_pace));
                    parts[3].push(kv.values(base, head, last.as_slice(), true, value_pace));
                }
                let heads = kv.heads(unit, self.config.channels());
                for (part, lanes) in parts.into_iter().enumerate() {
                    let first = |what: u64| if part == 0 { what } else { 0 };
                    work.mac.push(MacOp {
                        lanes: Lanes::Each(lanes),
                        slots: 1 << slot,
                        rows: first(rows),
                        queries: first(u64::from(heads) * blocks),
                        values: first(values),
                        after_scores: part == 2,
                        own: part % 2 == 1,
                        groups: Vec::new(),
                        operands: Operands::default(),
                    });
                }
                let after_mac = Some(work.mac.len() - 1);
                let round = SlotWork { slot, after_mac, heads, ..SlotWork::default() };
                work.slots.push(SlotWork { frees: rows, frees_values: values, ..round });
            }
        }
        work
    }

    /// Blocks of a head that a slot attends to and that lie on one residue: block number, first and last token of it.
    fn attended(
        &self,
        index: usize,
        c: &Attn,
        slot: u32,
        head: u32,
        residue: u32,
        interleave: u32,
    ) -> Vec<Attended> {
        let pos = self.entry(slot).pos;
        let here = |block: &u32| block % interleave == residue;
        let visible = |block: u32| (pos + 1).saturating_sub(block * KV_BLOCK_TOKENS).min(KV_BLOCK_TOKENS);
        if c.list_entries == 0 {
            return (0..=pos / KV_BLOCK_TOKENS).filter(here).map(|b| (b, 0..visible(b))).collect();
        }
        let Some(list) = self.decisions.lists.get(&(index as u32, slot, head)) else { return Vec::new() };
        let span = |&(block, mask): &(u32, u32)| {
            let seen = visible(block);
            let mask = if seen == 32 { mask } else { mask & ((1 << seen) - 1) };
            (mask != 0).then(|| (block, mask.trailing_zeros()..32 - mask.leading_zeros()))
        };
        list.iter().filter(|e| here(&e.0)).filter_map(span).collect()
    }

    fn append(&self, c: &KvAppend, slot: u32) -> Lanes {
        let kv = self.kv(c.kv_heads, c.head_dim);
        let pos = self.entry(slot).pos;
        let base = c.addr.0 + u64::from(slot) * c.slot_stride;
        let lane = |&channel: &u32| {
            let heads = || kv.heads_of(channel, pos / KV_BLOCK_TOKENS, self.config.channels());
            let keys = heads().flat_map(|head| kv.key(base, head, pos).into_iter().rev());
            let values = heads().flat_map(|head| kv.value(base, head, pos));
            keys.chain(values).collect::<Vec<_>>().into()
        };
        Lanes::Each(self.leaders.iter().map(lane).collect())
    }

    /// The slots that a gate allows; for none of them, one that has no keys.
    fn past(&self, c: &GateTas, slots: u32) -> Vec<Past> {
        let allowed = slots & self.table.gates[usize::from(c.gate)].allow;
        let places = self.kv(c.kv_heads, c.head_dim).units(self.config.channels()) as usize;
        if allowed == 0 {
            return vec![Past { slot: 0, places, keys: None }];
        }
        let keys = |slot| Some(self.past_keys(c, slot, self.entry(slot).pos.checked_sub(c.period)?));
        slots_of(allowed).map(|slot| Past { slot, places, keys: keys(slot) }).collect()
    }

    /// Scale bytes of all heads, then their elements: the base of the window is known before the first element comes.
    fn past_keys(&self, c: &GateTas, slot: u32, past: u32) -> [Record; 2] {
        let kv = self.kv(c.kv_heads, c.head_dim);
        let channels = self.config.channels();
        let base = c.addr.0 + u64::from(slot) * c.slot_stride;
        let group = u32::from(c.heads / c.kv_heads);
        [0, 1].map(|which| {
            let lane = |&channel: &u32| {
                let segment = |unit: u32| {
                    let (head, residue) = kv.runs(channel, unit, channels)?;
                    let here = past / KV_BLOCK_TOKENS % kv.interleave == residue;
                    // One channel after the other.
                    let heads = channels.min(u32::from(c.kv_heads) - unit * channels);
                    let keys = past_key_cycles(self.config, c.head_dim.into(), heads, group);
                    let pace = [heads, keys][which];
                    here.then(|| Segment { pace, ..kv.key(base, head, past)[which] })
                };
                (0..kv.units(channels)).filter_map(segment).collect::<Vec<_>>().into()
            };
            Record { lanes: Lanes::Each(self.leaders.iter().map(lane).collect()) }
        })
    }
}

/// Address of slot 0 and index 0, bytes from slot to slot, bytes from index to index.
type Strides = (u64, u64, u64);

/// The whole of a matrix on a channel.
fn whole(c: &Matvec, layout: &WeightLayout, passes: u32) -> Segment {
    Segment { addr: c.addr.0, bytes: layout.local_bytes().get(), pace: passes, spare: 0, guarded: false }
}

/// A block number, and the tokens of it from the first to behind the last that is attended.
type Attended = (u32, Range<u32>);

/// A cache's places, channel by channel.
struct Kv {
    layout: KvLayout,
    kv_heads: u32,
    head_dim: u64,
    interleave: u32,
    beat: u64,
}

impl Kv {
    /// Heads, or parts of heads, that a channel holds at most.
    fn units(&self, channels: u32) -> u32 {
        (self.kv_heads * self.interleave).div_ceil(channels)
    }

    /// Different heads of all channels' n-th places.
    fn heads(&self, unit: u32, channels: u32) -> u32 {
        (self.kv_heads - unit * channels.min(self.kv_heads)).min(channels)
    }

    /// The head and the residue of its block numbers in a channel's n-th place.
    fn runs(&self, channel: u32, unit: u32, channels: u32) -> Option<(u32, u32)> {
        let place = unit * channels + channel;
        (place < self.kv_heads * self.interleave).then(|| (place / self.interleave, place % self.interleave))
    }

    /// Heads whose given block lies on a channel.
    fn heads_of(&self, channel: u32, block: u32, channels: u32) -> impl Iterator<Item = u32> {
        (0..self.units(channels)).filter_map(move |unit| {
            self.runs(channel, unit, channels).filter(|r| block % self.interleave == r.1).map(|r| r.0)
        })
    }

    fn beats(&self, start: u64, end: u64, pace: u32, guarded: bool) -> Segment {
        let addr = start / self.beat * self.beat;
        Segment { addr, bytes: end.next_multiple_of(self.beat) - addr, pace, spare: 0, guarded }
    }

    /// Scales of keys and values, then the attended keys, of each block.
    fn keys(&self, base: u64, head: u32, blocks: &[Attended], guarded: bool, pace: u32) -> Rc<[Segment]> {
        let mut out: Vec<Segment> = Vec::new();
        for (block, tokens) in blocks {
            let places = self.layout.token(head.into(), u64::from(block * KV_BLOCK_TOKENS));
            let (scales, key) = (base + places.key_scales, base + places.key);
            let first = key + u64::from(tokens.start) * self.head_dim;
            let last = key + u64::from(tokens.end) * self.head_dim;
            if first == key {
                out.push(self.beats(scales, last, pace, guarded));
            } else {
                out.push(self.beats(scales, key, pace, guarded));
                out.push(self.beats(first, last, pace, guarded));
            }
        }
        out.into()
    }

    fn values(&self, base: u64, head: u32, blocks: &[Attended], guarded: bool, pace: u32) -> Rc<[Segment]> {
        let run = |(block, tokens): &Attended| {
            let value = base + self.layout.token(head.into(), u64::from(block * KV_BLOCK_TOKENS)).value;
            let first = value + u64::from(tokens.start) * self.head_dim;
            let last = value + u64::from(tokens.end) * self.head_dim;
            self.beats(first, last, pace, guarded)
        };
        blocks.iter().map(run).collect()
    }

    /// One token's key: scale bytes, then elements.
    fn key(&self, base: u64, head: u32, token: u32) -> [Segment; 2] {
        let places = self.layout.token(head.into(), token.into());
        [self.run(base + places.key_scales, self.head_dim / 32), self.run(base + places.key, self.head_dim)]
    }

    /// One token's value: elements, then scale bytes.
    fn value(&self, base: u64, head: u32, token: u32) -> [Segment; 2] {
        let places = self.layout.token(head.into(), token.into());
        [
            self.run(base + places.value, self.head_dim),
            self.run(base + places.value_scales, self.head_dim / 32),
        ]
    }

    fn run(&self, at: u64, bytes: u64) -> Segment {
        self.beats(at, at + bytes, 1, false)
    }
}
