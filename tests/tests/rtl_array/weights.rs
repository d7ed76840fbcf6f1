//! Weights and activations for tests of the MAC array.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::WeightFormat;
use fastcar_arch::layout::WeightLayout;
use fastcar_arch::num::dot::{dot_fp4, dot_int8};
use fastcar_arch::num::mx::{BLOCK, E8M0, Int8Block};
use fastcar_arch::num::window::Base;
use fastcar_hw::rtl::Bits;
use fastcar_tests::rtl::Random;

/// Bytes that are often extreme, which is where sums and signs go wrong.
pub fn bytes(random: &mut Random, count: usize) -> Vec<u8> {
    let extremes = [0x80, 0x7f, 0xff, 0x00, 0x08, 0xf7];
    match random.below(6) {
        0 => vec![0x80; count],
        1 => vec![extremes[random.below(6) as usize]; count],
        2 => (0..count).map(|_| extremes[random.below(6) as usize]).collect(),
        _ => (0..count).map(|_| random.word() as u8).collect(),
    }
}

pub fn block(random: &mut Random) -> [i8; BLOCK] {
    let bytes = bytes(random, BLOCK);
    std::array::from_fn(|i| bytes[i] as i8)
}

/// Scale bytes that lie close together, so that most terms count.
pub fn scale(random: &mut Random) -> E8M0 {
    E8M0(match random.below(8) {
        0 => random.word() as u8,
        _ => 100 + random.below(24) as u8,
    })
}

pub fn act(random: &mut Random) -> Int8Block {
    Int8Block { scale: scale(random), elems: block(random) }
}

/// Side by side, the first one low.
pub fn pack(values: impl IntoIterator<Item = Bits>) -> Bits {
    let mut parts: Vec<Bits> = values.into_iter().collect();
    parts.reverse();
    Bits::concat(&parts)
}

/// An activation block as operands have it: elements, scale byte.
pub fn act_bits(act: &Int8Block) -> Bits {
    let elements = Bits::from_bytes(8 * BLOCK as u32, &act.elems.map(|e| e as u8));
    pack([elements, Bits::from_u64(8, act.scale.0.into())])
}

/// Signed numbers of a width that stand side by side, the first one low.
pub fn lanes(bits: &Bits, width: u32) -> Vec<i64> {
    (0..bits.width() / width).map(|lane| bits.slice(lane * width, width).to_i64().unwrap()).collect()
}

/// The base of that sum of scale bytes.
pub fn base_of(sum: u16) -> Base {
    let larger = sum.min(255) as u8;
    Base::new(E8M0(larger), E8M0((sum - u16::from(larger)) as u8))
}

/// A chunk of a weight matrix as it lies in one channel's memory.
pub struct Chunk {
    pub memory: Vec<u8>,
    pub layout: WeightLayout,
    channels: u64,
    pub format: WeightFormat,
    pub rows: u64,
    pub blocks: u64,
}

impl Chunk {
    pub fn new(
        random: &mut Random,
        config: &AccelConfig,
        format: WeightFormat,
        rows: u32,
        blocks: u32,
    ) -> Self {
        // As many rows on every channel.
        let layout = WeightLayout::new(config, rows * config.channels(), blocks, format);
        let mut memory = vec![0; layout.local_bytes().get() as usize];
        for byte in &mut memory {
            *byte = if random.chance(20) { 0x80 } else { random.word() as u8 };
        }
        let (channels, rows, blocks) = (config.channels().into(), rows.into(), blocks.into());
        let mut chunk = Self { memory, layout, channels, format, rows, blocks };
        for (row, block) in (0..chunk.rows).flat_map(|r| (0..chunk.blocks).map(move |b| (r, b))) {
            let at = chunk.place(row, block).0;
            chunk.memory[at] = scale(random).0;
        }
        chunk
    }

    /// Where the scale byte and the elements of one of the chunk's rows lie.
    fn place(&self, row: u64, block: u64) -> (usize, usize) {
        // Every channel's rows lie in the same way; these are those of the first.
        let (scale, elements) = self.layout.place(row * self.channels, block);
        (scale.offset as usize, elements.offset as usize)
    }

    pub fn scale(&self, row: u64, block: u64) -> E8M0 {
        E8M0(self.memory[self.place(row, block).0])
    }

    pub fn dot(&self, row: u64, block: u64, act: &Int8Block) -> i32 {
        let at = self.place(row, block).1;
        match self.format {
            WeightFormat::Int8 => {
                let w: [u8; BLOCK] = self.memory[at..at + BLOCK].try_into().unwrap();
                dot_int8(&w.map(|b| b as i8), &act.elems)
            }
            WeightFormat::Fp4 => dot_fp4(self.memory[at..at + BLOCK / 2].try_into().unwrap(), &act.elems),
        }
    }

    /// The base of the chunk's window with activations.
    pub fn base(&self, acts: &[Int8Block]) -> u16 {
        let places = (0..self.rows).flat_map(|r| (0..self.blocks).map(move |b| (r, b)));
        let weights = places.map(|(r, b)| self.scale(r, b).0).max().unwrap();
        u16::from(weights) + u16::from(acts.iter().map(|b| b.scale.0).max().unwrap())
    }
}
