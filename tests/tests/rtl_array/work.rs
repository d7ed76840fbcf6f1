//! Random products: weights, slots with their activations, masks, and what comes of them.

use crate::weights::{Chunk, act, act_bits, base_of, pack};
use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::WeightFormat;
use fastcar_arch::num::mx::Int8Block;
use fastcar_arch::num::window::term;
use fastcar_hw::array::{Feeder, Operands};
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::Bits;
use fastcar_tests::rtl::{Cover, Random};
use std::ops::Range;

/// A beat of a product, or what stands for a product without any.
#[derive(Clone)]
pub struct Beat {
    pub none: bool,
    pub bytes: Vec<u8>,
    pub scale: bool,
    pub fp4: bool,
    pub passes: u32,
    pub ends_burst: bool,
    pub ends_block: bool,
    pub ends_product: bool,
}

/// A word for the operands: a header takes sets, and operands follow it.
pub struct Operand {
    pub bits: Bits,
    pub sets: u32,
    pub follow: u32,
}

impl Operand {
    pub fn is_header(&self) -> bool {
        self.sets > 0
    }
}

/// A slot of a product.
struct Slot {
    /// The slot's pass if none were left out: where its sums stand.
    place: u64,
    acts: Vec<Int8Block>,
    active: Vec<bool>,
    base: u16,
}

impl Slot {
    fn first(&self) -> Option<usize> {
        self.active.iter().position(|&active| active)
    }
}

/// A product.
pub struct Work {
    pub ahead: bool,
    chunk: Chunk,
    /// By column.
    slots: Vec<Vec<Slot>>,
    first_word: u64,
    /// Words of a pass.
    pass_words: u64,
}

impl Work {
    /// A product whose sums do not meet those of others; none if no place was found.
    pub fn new(
        random: &mut Random,
        config: &AccelConfig,
        cluster: &Cluster,
        taken: &[Range<u64>],
        cover: &mut Cover,
    ) -> Option<Self> {
        let passes = u64::from(config.slots().div_ceil(config.columns()));
        let rows = ROW_GRANULE * (1 + random.below(7) as u32);
        let pass_words = u64::from(rows / cluster.rows());
        let all = u64::from(config.acc_rows() / cluster.rows());
        let most = passes.min(all / pass_words).min(1 + random.below(passes));
        let first_word = random.below(all - most * pass_words + 1);
        let end = first_word + most * pass_words;
        if taken.iter().any(|other| first_word < other.end && other.start < end) {
            return None;
        }
        let format = if random.chance(50) { WeightFormat::Int8 } else { WeightFormat::Fp4 };
        let blocks = 1 + random.below(6) as u32;
        let chunk = Chunk::new(random, config, format, rows, blocks);
        let masked = random.chance(60);
        let mut slots: Vec<Vec<Slot>> = (0..config.columns())
            .map(|_| {
                (0..random.below(most + 1)).map(|place| Slot::new(random, &chunk, place, masked)).collect()
            })
            .collect();
        // All the places are somebody's, and mostly something takes part.
        slots[0] = (0..most).map(|place| Slot::new(random, &chunk, place, masked)).collect();
        if random.chance(15) {
            slots.iter_mut().flatten().for_each(|slot| slot.active.fill(false));
        } else {
            slots[0][0].active[0] = true;
        }
        let work = Self { ahead: random.chance(50), chunk, slots, first_word, pass_words };
        work.note(cover, u64::from(rows) % config.beat().get() != 0);
        Some(work)
    }

    fn note(&self, cover: &mut Cover, rest: bool) {
        cover.hit("rest of rows", rest);
        for block in self.streamed() {
            let passes = self.passes_of(block);
            cover.hit("several passes", passes.len() > 1);
            let apart = |pass: &Vec<Option<&Slot>>| {
                let mut places = pass.iter().flatten().map(|slot| slot.place);
                let first = places.next();
                places.any(|place| Some(place) != first)
            };
            cover.hit("slots of different passes together", passes.iter().any(apart));
        }
        cover.hit("nothing is streamed", self.streamed().next().is_none());
        let begins = |slot: &Slot| slot.first().map(|first| first > 0);
        cover.hit("a slot begins late", self.slots.iter().flatten().any(|slot| begins(slot) == Some(true)));
        cover.hit("a slot without a block", self.slots.iter().flatten().any(|slot| begins(slot).is_none()));
    }

    /// The words of the accumulators that are its own.
    pub fn words(&self) -> Range<u64> {
        self.first_word..self.first_word + self.slots[0].len() as u64 * self.pass_words
    }

    /// The slots that meet in the passes of a block, by column: those in which it is active, in order.
    fn passes_of(&self, block: usize) -> Vec<Vec<Option<&Slot>>> {
        let active = |slots: &Vec<Slot>| slots.iter().filter(|s| s.active[block]).count();
        let passes = self.slots.iter().map(active).max().unwrap();
        (0..passes)
            .map(|pass| {
                self.slots.iter().map(|column| column.iter().filter(|s| s.active[block]).nth(pass)).collect()
            })
            .collect()
    }

    /// Blocks that any slot needs.
    fn streamed(&self) -> impl Iterator<Item = usize> {
        (0..self.chunk.blocks as usize).filter(|&b| self.slots.iter().flatten().any(|slot| slot.active[b]))
    }

    pub fn descriptor(&self, feeder: &Feeder) -> Bits {
        let widths = feeder.product();
        pack([
            Bits::from_u64(widths.last_granule, self.chunk.rows / u64::from(ROW_GRANULE) - 1),
            Bits::from_u64(1, u64::from(self.chunk.format == WeightFormat::Fp4)),
            Bits::from_u64(1, self.ahead.into()),
        ])
    }

    /// Its beats as they come from memory.
    pub fn beats(&self) -> Vec<Beat> {
        let size = self.chunk.layout.groups().next().unwrap().elements as usize;
        let run = self.chunk.layout.block_run().get() as usize;
        let fp4 = self.chunk.format == WeightFormat::Fp4;
        let mut beats = Vec::new();
        for block in self.streamed() {
            let passes = self.passes_of(block).len() as u32;
            let scales: Vec<_> = self.chunk.layout.groups().map(|group| group.scales as usize).collect();
            let memory = &self.chunk.memory[block * run..][..run];
            beats.extend(memory.chunks(size).enumerate().map(|(n, bytes)| Beat {
                none: false,
                bytes: bytes.to_vec(),
                scale: scales.contains(&(n * size)),
                fp4,
                passes,
                // Bursts end somewhere.
                ends_burst: (block + n).is_multiple_of(7),
                ends_block: (n + 1) * size == run,
                ends_product: false,
            }));
        }
        if beats.is_empty() {
            let (bytes, passes, ends_block) = (Vec::new(), 1, true);
            let none = Beat {
                none: true,
                bytes,
                scale: true,
                fp4,
                passes,
                ends_burst: false,
                ends_block,
                ends_product: true,
            };
            beats.push(none);
        }
        beats.last_mut().unwrap().ends_product = true;
        beats
    }

    /// Its words for the operands.
    pub fn operands(&self, operands: &Operands) -> Vec<Operand> {
        let (header, widths) = (operands.header(), operands.operand());
        let padded = |bits: Bits| match operands.width() - bits.width() {
            0 => bits,
            more => pack([bits, Bits::zero(more)]),
        };
        let mut words = Vec::new();
        let mut blocks = self.streamed().peekable();
        if blocks.peek().is_none() {
            let last = pack([Bits::zero(header.last_pass), Bits::ones(1)]);
            let columns = header.columns.iter().map(|width| Bits::zero(*width));
            let bits = pack([last].into_iter().chain(columns));
            words.push(Operand { bits: padded(bits), sets: 1, follow: 0 });
        }
        while let Some(block) = blocks.next() {
            let passes = self.passes_of(block);
            let mut parts = vec![
                Bits::from_u64(header.last_pass, passes.len() as u64 - 1),
                Bits::from_u64(header.last_block, blocks.peek().is_none().into()),
            ];
            for (pass, width) in header.columns.iter().enumerate() {
                let slots = passes.get(pass).into_iter().flatten().enumerate();
                let columns = slots.map(|(c, slot)| u64::from(slot.is_some()) << c).sum();
                parts.push(Bits::from_u64(*width, columns));
            }
            let slots: Vec<_> = passes.iter().flatten().flatten().collect();
            let (sets, follow) = (passes.len() as u32, slots.len() as u32);
            words.push(Operand { bits: padded(pack(parts)), sets, follow });
            words.extend(slots.into_iter().map(|slot| {
                let word = self.first_word + slot.place * self.pass_words;
                let base = Bits::from_u64(widths.base, slot.base.into());
                let first = Bits::from_u64(widths.first, (slot.first() == Some(block)).into());
                let bits =
                    pack([act_bits(&slot.acts[block]), base, Bits::from_u64(widths.word, word), first]);
                Operand { bits: padded(bits), sets: 0, follow: 0 }
            }));
        }
        words
    }

    /// The sums of its n-th word: by column and row; none where no slot has any.
    pub fn sums(&self, word: u64, rows: u64) -> Vec<Option<i64>> {
        let (place, first_row) = (word / self.pass_words, word % self.pass_words * rows);
        let of_column = |column: &Vec<Slot>| -> Vec<Option<i64>> {
            let slot = column.get(place as usize).filter(|slot| slot.first().is_some());
            (first_row..first_row + rows).map(|row| slot.map(|slot| self.sum(slot, row))).collect()
        };
        self.slots.iter().flat_map(of_column).collect()
    }

    fn sum(&self, slot: &Slot, row: u64) -> i64 {
        let base = base_of(slot.base);
        let of_block = |(block, act): (u64, &Int8Block)| {
            term(self.chunk.dot(row, block, act), base.shift(self.chunk.scale(row, block), act.scale))
        };
        let blocks = (0..).zip(&slot.acts).zip(&slot.active);
        blocks.filter(|(_, active)| **active).map(|(block, _)| of_block(block)).sum()
    }
}

impl Slot {
    fn new(random: &mut Random, chunk: &Chunk, place: u64, masked: bool) -> Self {
        let acts: Vec<_> = (0..chunk.blocks).map(|_| act(random)).collect();
        let most = if !masked { 100 } else { [0, 30, 60, 90][random.below(4) as usize] };
        let active = (0..chunk.blocks).map(|_| random.chance(most)).collect();
        Self { place, base: chunk.base(&acts), acts, active }
    }
}
