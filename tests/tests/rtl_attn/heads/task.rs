//! What an `attn` command attends to, and what comes of it.

use super::{Cover, Made, Random};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::*;
use fastcar_arch::layout::{KvLayout, ListLayout};
use fastcar_arch::num::mx::{BLOCK, Int8Block, quantise_int8_row};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, SlotEntry, StepTable};
use fastcar_arch::timing::value_passes;
use fastcar_arch::units::Bytes;
use fastcar_golden::{Golden, Memory};

/// One slot at one position, with one head of keys.
pub struct Task {
    /// Query heads.
    pub group: usize,
    pub dim: usize,
    pub factor: f32,
    /// By query head.
    pub queries: Vec<Vec<Int8Block>>,
    /// By block of the cache: its number, and the tokens that are attended to.
    pub blocks: Vec<(u32, u32)>,
    pub expected: Vec<f32>,
    /// The block of the slot's own token.
    pub own: u32,
    machine: Golden,
    layout: KvLayout,
}

/// Local addresses.
const KV: u64 = 0x2_0000;
const LIST: u64 = 0x10_0000;
const OUTPUT: u64 = 0x11_0000;
const LIMITS: Limits = Limits { slots: 1, positions: 256, ring: 1, tokens: 64, gates: 0 };
/// Entries for which a list has room.
const ENTRIES: u16 = 8;

/// Fills the cache of a channel: elements, with scales near each other, now and then one of NaN.
fn fill(random: &mut Random, cache: &mut [u8], block_bytes: usize, dim: usize, nan: bool) {
    for (at, byte) in cache.iter_mut().enumerate() {
        *byte = match at % block_bytes < 2 * dim {
            true if nan && random.chance(1) => 255,
            true => 120 + random.below(8) as u8,
            false => random.word() as u8,
        };
    }
}

/// Blocks up to a position: all, or those of a list.
fn attended(random: &mut Random, pos: u32, listed: bool) -> Vec<(u32, u32)> {
    let mut blocks: Vec<(u32, u32)> = (0..=pos / KV_BLOCK_TOKENS).map(|block| (block, u32::MAX)).collect();
    if listed {
        blocks.retain(|_| random.chance(60));
        for (_, mask) in &mut blocks {
            let any = random.word() as u32;
            *mask = [u32::MAX, any, any << 20, any >> 20, 1 << random.below(32), 0][random.below(6) as usize];
        }
    }
    blocks
}

/// Tokens beyond the slot's position are not attended to.
fn cut(blocks: &mut Vec<(u32, u32)>, pos: u32) {
    for (block, mask) in &mut *blocks {
        let seen = (pos + 1 - *block * KV_BLOCK_TOKENS).min(KV_BLOCK_TOKENS);
        *mask &= u32::MAX >> (KV_BLOCK_TOKENS - seen);
    }
    blocks.retain(|block| block.1 != 0);
}

/// Loads queries, attends, stores.
fn commands(group: usize, dim: usize, factor: f32, listed: bool) -> Vec<Command> {
    let words = (group * dim) as u32;
    let lines = (words / 32) as u16;
    let attn = Attn {
        dst: VbLine(lines),
        heads: group as u16,
        head_dim: dim as u16,
        kv_heads: 1,
        scale: factor.into(),
        addr: Addr(KV),
        slot_stride: 0x8_0000,
        list: Addr(LIST),
        list_stride: 0x1000,
        list_entries: if listed { ENTRIES } else { 0 },
        ahead: listed,
        ..Attn::default()
    };
    vec![
        Load { words, ..Load::default() }.into(),
        Quant { blocks: lines, ..Quant::default() }.into(),
        attn.into(),
        Store { src: VbLine(lines), words, addr: Addr(OUTPUT), ..Store::default() }.into(),
        End::default().into(),
    ]
}

/// Whether a token between attended ones is not.
fn has_hole(mask: u32) -> bool {
    mask != 0 && mask.leading_zeros() + mask.trailing_zeros() + mask.count_ones() < u32::BITS
}

impl Task {
    pub fn any(random: &mut Random, config: &AccelConfig, cover: &mut Cover) -> Made<Self> {
        let beat = config.beat().get() as usize;
        let dim = [32usize, 64, 128][random.below(3) as usize];
        let rows = |group: usize| value_passes(config, group as u32) as usize * dim.next_multiple_of(beat);
        let mut group = 1 + random.below(6) as usize;
        while rows(group) > config.acc_rows() as usize {
            group -= 1;
        }
        let layout = KvLayout::new(config, 1, dim as u32, LIMITS.positions);
        let mut machine = Golden::new(config.clone(), Memory::new(config, Bytes(0x12_0000)));
        let nan = random.chance(10);
        for channel in 0..config.channels() as usize {
            let cache = &mut machine.memory_mut().channel_mut(channel)[KV as usize..];
            let bytes = layout.local_bytes().get() as usize;
            fill(random, &mut cache[..bytes], layout.block_bytes().get() as usize, dim, nan);
        }
        let words: Vec<f32> =
            (0..group * dim).map(|_| (random.below(2000) as f32 - 1000.0) / 256.0).collect();
        machine.memory_mut().write_vector(0, &words);
        let (pos, listed) = (random.below(200) as u32, random.chance(60));
        let mut blocks = attended(random, pos, listed);
        cut(&mut blocks, pos);
        let lists = ListLayout::new(config, 1, ENTRIES.into()).record(pos, &[blocks.clone()]);
        for (channel, bytes) in lists.iter().enumerate() {
            machine.memory_mut().channel_mut(channel)[LIST as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        cover.hit(if listed { "list" } else { "every token" }, true);

        let factor =
            std::f32::consts::LOG2_E / (dim as f32).sqrt() / [1.0, 1.0, 8.0][random.below(3) as usize];
        let mut table = StepTable::new(1, 0);
        table.slots[0] = SlotEntry { flags: ACTIVE, pos, ..SlotEntry::idle() };
        machine.run(&Program::new(config, LIMITS, commands(group, dim, factor, listed))?, &table)?;
        let mut expected = vec![0.0; group * dim];
        machine.memory().read_vector(OUTPUT, &mut expected);
        let queries = quantise_int8_row(&words).chunks(dim / BLOCK).map(<[_]>::to_vec).collect();
        let task = Self {
            group,
            dim,
            factor,
            queries,
            blocks,
            expected,
            own: pos / KV_BLOCK_TOKENS,
            machine,
            layout,
        };
        cover.hit("no token", task.blocks.is_empty());
        cover.hit("token left out", task.blocks.iter().any(|block| has_hole(block.1)));
        Ok(task)
    }

    /// The tokens that a channel streams, in order: token, attended. From beat to beat.
    pub fn tokens(&self, channel: usize, beat: usize) -> Vec<(u32, bool)> {
        let a_beat = (beat / self.dim).max(1) as u32;
        let here = self.blocks.iter().filter(|b| self.layout.block_place(0, b.0.into()).channel == channel);
        here.flat_map(|&(block, mask)| {
            let first = mask.trailing_zeros() / a_beat * a_beat;
            let end = (32 - mask.leading_zeros()).next_multiple_of(a_beat);
            (first..end).map(move |t| (block * KV_BLOCK_TOKENS + t, mask >> t & 1 == 1))
        })
        .collect()
    }

    /// A token's scale bytes and elements: of its key, or of its value.
    pub fn bytes(&self, token: u32, value: bool) -> (&[u8], &[u8]) {
        let p = self.layout.token(0, token.into());
        let (scales, elements) = if value { (p.value_scales, p.value) } else { (p.key_scales, p.key) };
        let memory = &self.machine.memory().channel(p.channel)[KV as usize..];
        (&memory[scales as usize..][..self.dim / BLOCK], &memory[elements as usize..][..self.dim])
    }

    /// The blocks of a channel that are attended to: number, tokens, and the channel's memory from the block on.
    pub fn blocks_on(&self, channel: usize) -> impl Iterator<Item = (u32, u32, &[u8])> {
        let memory = &self.machine.memory().channel(channel)[KV as usize..];
        self.blocks.iter().filter_map(move |&(block, mask)| {
            let place = self.layout.block_place(0, block.into());
            (place.channel == channel).then(|| (block, mask, &memory[place.offset as usize..]))
        })
    }
}
