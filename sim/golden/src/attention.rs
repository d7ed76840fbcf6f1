//! KV cache append, and attention over a block list.

use crate::golden::{Golden, GoldenError};
use crate::vector::quantise;
use fastcar_arch::config::KV_BLOCK_TOKENS;
use fastcar_arch::isa::{Attn, KvAppend};
use fastcar_arch::layout::{KvLayout, KvPlaces, ListLayout, Place};
use fastcar_arch::num::dot::dot_int8;
use fastcar_arch::num::mx::{BLOCK, E8M0, Int8Block};
use fastcar_arch::num::{fp, softmax, window};
use rayon::prelude::*;

pub(crate) fn kv_append(machine: &mut Golden, c: &KvAppend, active: &[usize]) {
    let (heads, dim) = (usize::from(c.kv_heads), usize::from(c.head_dim));
    let layout = kv_layout(machine, c.kv_heads, c.head_dim);
    for &s in active {
        let slot = &machine.slots[s];
        let pos = slot.entry.pos;
        let keys = quantise(slot.words(c.key, heads * dim));
        let values = quantise(slot.words(c.value, heads * dim));
        let per_head = dim / BLOCK;
        for head in 0..heads {
            let places = layout.token(head as u64, pos.into());
            let base = (c.addr.0 + s as u64 * c.slot_stride) as usize;
            let memory = &mut machine.memory.channel_mut(places.channel)[base..];
            let blocks = head * per_head..(head + 1) * per_head;
            write_blocks(memory, places.key_scales, places.key, &keys[blocks.clone()]);
            write_blocks(memory, places.value_scales, places.value, &values[blocks]);
        }
    }
}

fn write_blocks(memory: &mut [u8], scales: u64, elements: u64, blocks: &[Int8Block]) {
    for (i, block) in blocks.iter().enumerate() {
        memory[scales as usize + i] = block.scale.0;
        memory[elements as usize + i * BLOCK..][..BLOCK].copy_from_slice(bytemuck::cast_slice(&block.elems));
    }
}

/// The layout of a layer's cache for the positions that the running program admits.
fn kv_layout(machine: &Golden, kv_heads: u16, head_dim: u16) -> KvLayout {
    KvLayout::new(&machine.config, kv_heads.into(), head_dim.into(), machine.positions)
}

/// A cached key or value of one head: its scale bytes and its elements.
pub(crate) struct Cached<'a> {
    pub(crate) scales: &'a [u8],
    pub(crate) elems: &'a [[i8; BLOCK]],
}

/// The cache of one slot in one layer.
pub(crate) struct Cache<'a> {
    machine: &'a Golden,
    layout: KvLayout,
    base: usize,
    per_head: usize,
}

impl<'a> Cache<'a> {
    pub(crate) fn new(
        machine: &'a Golden,
        slot: usize,
        kv_heads: u16,
        head_dim: u16,
        addr: u64,
        slot_stride: u64,
    ) -> Self {
        let layout = kv_layout(machine, kv_heads, head_dim);
        let base = (addr + slot as u64 * slot_stride) as usize;
        Self { machine, layout, base, per_head: usize::from(head_dim) / BLOCK }
    }

    fn read(&self, places: &KvPlaces, scales: u64, elements: u64) -> Cached<'a> {
        let memory = &self.machine.memory.channel(places.channel)[self.base..];
        Cached {
            scales: &memory[scales as usize..][..self.per_head],
            elems: bytemuck::cast_slice(&memory[elements as usize..][..self.per_head * BLOCK]),
        }
    }

    pub(crate) fn key(&self, head: usize, token: u32) -> Cached<'a> {
        let p = self.layout.token(head as u64, token.into());
        self.read(&p, p.key_scales, p.key)
    }

    pub(crate) fn value(&self, head: usize, token: u32) -> Cached<'a> {
        let p = self.layout.token(head as u64, token.into());
        self.read(&p, p.value_scales, p.value)
    }
}

pub(crate) fn attn(machine: &mut Golden, c: &Attn, active: &[usize]) -> Result<(), GoldenError> {
    let words = usize::from(c.heads) * usize::from(c.head_dim);
    let tokens: u64 = active.iter().map(|&s| u64::from(machine.slots[s].entry.pos) + 1).sum();
    let run = |&s: &usize| attend(machine, c, s);
    let outputs: Vec<Vec<f32>> = if machine.parallel(tokens * words as u64) {
        active.par_iter().map(run).collect::<Result<_, _>>()?
    } else {
        active.iter().map(run).collect::<Result<_, _>>()?
    };
    for (&s, output) in active.iter().zip(outputs) {
        machine.slots[s].words_mut(c.dst, words).copy_from_slice(&output);
    }
    Ok(())
}

/// Every head of one slot.
fn attend(machine: &Golden, c: &Attn, slot: usize) -> Result<Vec<f32>, GoldenError> {
    if c.list_entries > 0 {
        check_headless(machine, c, slot)?;
    }
    let (heads, dim) = (usize::from(c.heads), usize::from(c.head_dim));
    let group = heads / usize::from(c.kv_heads);
    let cache = Cache::new(machine, slot, c.kv_heads, c.head_dim, c.addr.0, c.slot_stride);
    let queries = machine.slots[slot].blocks(c.src, heads * dim / BLOCK);
    let mut out = Vec::with_capacity(heads * dim);
    for kv_head in 0..usize::from(c.kv_heads) {
        let tokens = attended(machine, c, slot, kv_head)?;
        for query in queries.chunks(dim / BLOCK).skip(kv_head * group).take(group) {
            out.extend(head(&cache, query, kv_head, &tokens, c.scale.get(), dim));
        }
    }
    Ok(out)
}

/// One head: scores against every attended key, softmax weights, weighted sum of the values. Without an attended
/// token the output is zero.
fn head(
    cache: &Cache<'_>,
    query: &[Int8Block],
    kv_head: usize,
    tokens: &[u32],
    scale: f32,
    dim: usize,
) -> Vec<f32> {
    let score = |&t: &u32| softmax::score_fixed(fp::mul(dot(query, &[cache.key(kv_head, t)]), scale));
    let Some(scores) = tokens.iter().map(score).collect::<Option<Vec<i32>>>() else {
        return vec![fp::CANONICAL_NAN; dim];
    };
    let Some(&largest) = scores.iter().max() else { return vec![0.0; dim] };
    let top = softmax::max_int(largest);
    let scales = tokens.iter().flat_map(|&t| cache.value(kv_head, t).scales);
    let ev = E8M0::max_of(scales.map(|&b| E8M0(b)));

    let mut sums = vec![0i64; dim];
    let mut denom = 0u64;
    for (&t, &score) in tokens.iter().zip(&scores) {
        let distance = softmax::distance(top, score);
        denom += u64::from(softmax::prob(distance, 0));
        let value = cache.value(kv_head, t);
        for (sums, (&scale, elems)) in sums.chunks_exact_mut(BLOCK).zip(value.scales.iter().zip(value.elems))
        {
            let weight = i64::from(softmax::prob(distance, u32::from(ev.0 - scale)));
            sums.iter_mut().zip(elems).for_each(|(s, &v)| *s += weight * i64::from(v));
        }
    }
    let inverse = softmax::inverse(denom);
    sums.into_iter().map(|acc| softmax::output_scaled(acc, ev, inverse)).collect()
}

/// Dot product of consecutive query blocks with the blocks of one or more cached keys, in one window.
pub(crate) fn dot(query: &[Int8Block], keys: &[Cached<'_>]) -> f32 {
    let key_scales = keys.iter().flat_map(|k| k.scales).map(|&b| E8M0(b));
    let base =
        window::Base::new(E8M0::max_of(key_scales.clone()), E8M0::max_of(query.iter().map(|b| b.scale)));
    let mut acc = 0i64;
    let key_elems = keys.iter().flat_map(|k| k.elems);
    for ((q, scale), elems) in query.iter().zip(key_scales).zip(key_elems) {
        acc += window::term(dot_int8(elems, &q.elems), base.shift(scale, q.scale));
    }
    window::to_f32(acc, base, window::Pair::Int8Int8)
}

/// The attended tokens of one slot and head, ascending, the slot's own position the last possible one.
fn attended(machine: &Golden, c: &Attn, slot: usize, kv_head: usize) -> Result<Vec<u32>, GoldenError> {
    let pos = machine.slots[slot].entry.pos;
    if c.list_entries == 0 {
        return Ok((0..=pos).collect());
    }
    let tokens = |(block, mask): (u32, u32)| {
        (0..KV_BLOCK_TOKENS).filter(move |t| mask >> t & 1 == 1).map(move |t| block * KV_BLOCK_TOKENS + t)
    };
    Ok(block_list(machine, c, slot, kv_head)?.into_iter().flat_map(tokens).collect())
}

/// Two words of a slot's block lists.
fn list_words(machine: &Golden, c: &Attn, slot: usize, place: Place) -> [u32; 2] {
    let at = c.list.0 + slot as u64 * c.list_stride + place.offset;
    let bytes = &machine.memory.channel(place.channel)[at as usize..][..8];
    [0, 4].map(|low| u32::from_le_bytes([bytes[low], bytes[low + 1], bytes[low + 2], bytes[low + 3]]))
}

/// A channel has no list for a head that it does not have.
fn check_headless(machine: &Golden, c: &Attn, slot: usize) -> Result<(), GoldenError> {
    let layout = ListLayout::new(&machine.config, c.kv_heads.into(), c.list_entries.into());
    let entries = |place: Place| (place.channel, list_words(machine, c, slot, place)[0]);
    match layout.headless().map(entries).find(|&(_, found)| found != 0) {
        Some((channel, found)) => Err(GoldenError::BlockListHeadless { slot, channel, found }),
        None => Ok(()),
    }
}

/// The entries (block number, token mask) of one slot and head's block lists on all channels, ascending; none without a token.
pub(crate) fn block_list(
    machine: &Golden,
    c: &Attn,
    slot: usize,
    kv_head: usize,
) -> Result<Vec<(u32, u32)>, GoldenError> {
    let layout = ListLayout::new(&machine.config, c.kv_heads.into(), c.list_entries.into());
    let pos = machine.slots[slot].entry.pos;
    let (own, seen) = (pos / KV_BLOCK_TOKENS, pos % KV_BLOCK_TOKENS + 1);
    let mut list = Vec::new();
    for residue in 0..layout.share() {
        let place = layout.place(kv_head as u32, residue);
        let channel = place.header.channel;
        let words = |offset: u64| list_words(machine, c, slot, Place { channel, offset });
        let mask = |found: u32, right: bool| {
            if right {
                Ok(found)
            } else {
                Err(GoldenError::BlockListMask { slot, head: kv_head, channel, found })
            }
        };
        let [entries, own_mask] = words(place.header.offset);
        if entries > c.list_entries.into() {
            let (found, room) = (entries, c.list_entries);
            return Err(GoldenError::BlockListLength { slot, head: kv_head, channel, found, room });
        }
        let (rows, mut next) = (layout.rows(own, residue), 0);
        for entry in 0..entries {
            let [row, tokens] = words(place.entries + u64::from(entry) * 8);
            if !(next..rows).contains(&row) {
                let (entry, found) = (entry as usize, row);
                return Err(GoldenError::BlockList { slot, head: kv_head, channel, entry, found, rows });
            }
            next = row + 1;
            list.push((row * layout.share() + residue, mask(tokens, tokens != 0)?));
        }
        if own % layout.share() == residue && own_mask != 0 {
            let right = seen == KV_BLOCK_TOKENS || own_mask >> seen == 0;
            list.push((own, mask(own_mask, right)?));
        }
    }
    list.sort_unstable();
    Ok(list)
}
