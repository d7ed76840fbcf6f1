//! Vector commands: memory records, normalisation, quantisation, residual, RoPE.

use crate::golden::Golden;
use fastcar_arch::isa::{Add, IndexBy, Load, Norm, NormKind, Quant, Rope, Store, StoreAct};
use fastcar_arch::num::mx::{self, BLOCK, Int8Block};
use fastcar_arch::num::{fp, func, sumsq};

/// Local address of a slot's record, or `None` when the slot has no index and the access is skipped.
pub(crate) fn record_addr(
    machine: &Golden,
    slot: usize,
    by: IndexBy,
    (addr, slot_stride, index_stride): (u64, u64, u64),
) -> Option<u64> {
    let index = machine.slots[slot].index(by)?;
    Some(addr + slot as u64 * slot_stride + index * index_stride)
}

pub(crate) fn load(machine: &mut Golden, c: &Load, active: &[usize]) {
    let mut words = vec![0.0; c.words as usize];
    for &s in active {
        let strides = (c.addr.0, c.slot_stride, c.index_stride);
        let Some(addr) = record_addr(machine, s, c.index, strides) else { continue };
        machine.memory.read_vector(addr, &mut words);
        let dst = machine.slots[s].words_mut(c.dst, words.len());
        for (d, &w) in dst.iter_mut().zip(&words) {
            *d = if c.accumulate { fp::add(*d, w) } else { fp::flush(w) };
        }
    }
}

pub(crate) fn store(machine: &mut Golden, c: &Store, active: &[usize]) {
    for &s in active {
        let strides = (c.addr.0, c.slot_stride, c.index_stride);
        let Some(addr) = record_addr(machine, s, c.index, strides) else { continue };
        machine.memory.write_vector(addr, machine.slots[s].words(c.src, c.words as usize));
    }
}

pub(crate) fn store_act(machine: &mut Golden, c: &StoreAct, active: &[usize]) {
    for &s in active {
        let strides = (c.addr.0, c.slot_stride, c.index_stride);
        let Some(addr) = record_addr(machine, s, c.index, strides) else { continue };
        let bytes = act_to_bytes(machine.slots[s].blocks(c.src, c.blocks.into()));
        machine.memory.write_record(addr, &bytes);
    }
}

/// An MXINT8 record: all elements, then all scale bytes.
fn act_to_bytes(blocks: &[Int8Block]) -> Vec<u8> {
    let elems = blocks.iter().flat_map(|b| b.elems.iter().map(|&e| e as u8));
    elems.chain(blocks.iter().map(|b| b.scale.0)).collect()
}

/// Reads an MXINT8 record.
pub(crate) fn act_from_bytes(bytes: &[u8], blocks: usize) -> Vec<Int8Block> {
    let (elems, scales) = bytes.split_at(blocks * BLOCK);
    let (elems, _) = elems.as_chunks::<BLOCK>();
    let block =
        |(e, &scale): (&[u8; BLOCK], &u8)| Int8Block { scale: mx::E8M0(scale), elems: e.map(|b| b as i8) };
    elems.iter().zip(scales).map(block).collect()
}

pub(crate) fn norm(machine: &mut Golden, c: &Norm, active: &[usize]) {
    let words = c.words as usize;
    let mut gamma = vec![0.0; words];
    let mut beta = vec![0.0; words];
    machine.memory.read_vector(c.gamma.0, &mut gamma);
    if c.kind == NormKind::Layer {
        machine.memory.read_vector(c.beta.0, &mut beta);
    }
    for &s in active {
        let slot = &mut machine.slots[s];
        let mut x: Vec<f32> = slot.words(c.src, words).to_vec();
        if c.kind == NormKind::Layer {
            let mean = fp::mul(sumsq::sum(&x), c.inv_words.get());
            x.iter_mut().for_each(|v| *v = fp::sub(*v, mean));
        }
        let mean_square = fp::mul(sumsq::sum_squares(&x), c.inv_words.get());
        let r = func::rsqrt(fp::add(mean_square, c.eps.get()));
        let dst = slot.words_mut(c.dst, words);
        for i in 0..words {
            let y = fp::mul(fp::mul(x[i], r), gamma[i]);
            dst[i] = if c.kind == NormKind::Layer { fp::add(y, beta[i]) } else { y };
        }
    }
}

pub(crate) fn quant(machine: &mut Golden, c: &Quant, active: &[usize]) {
    for &s in active {
        let slot = &mut machine.slots[s];
        let blocks = quantise(slot.words(c.src, usize::from(c.blocks) * BLOCK));
        let first = usize::from(c.dst.0);
        slot.ab[first..first + blocks.len()].copy_from_slice(&blocks);
    }
}

/// MXINT8 blocks of a vector whose length is a multiple of 32.
pub(crate) fn quantise(words: &[f32]) -> Vec<Int8Block> {
    words.as_chunks::<BLOCK>().0.iter().map(mx::quantise_int8).collect()
}

pub(crate) fn add(machine: &mut Golden, c: &Add, active: &[usize]) {
    let words = c.words as usize;
    for &s in active {
        let slot = &mut machine.slots[s];
        let src = slot.words(c.src, words).to_vec();
        for (d, s) in slot.words_mut(c.dst, words).iter_mut().zip(src) {
            *d = fp::add(*d, s);
        }
    }
}

pub(crate) fn rope(machine: &mut Golden, c: &Rope, active: &[usize]) {
    let dim = usize::from(c.head_dim);
    let half = dim / 2;
    let mut table = vec![0.0; dim];
    for &s in active {
        let addr = c.table.0 + u64::from(machine.slots[s].entry.pos) * c.index_stride;
        machine.memory.read_vector(addr, &mut table);
        let (cos, sin) = table.split_at(half);
        let vec = machine.slots[s].words_mut(c.vec, usize::from(c.heads) * dim);
        for head in vec.chunks_exact_mut(dim) {
            let (a, b) = head.split_at_mut(half);
            for i in 0..half {
                let (x, y) = (a[i], b[i]);
                a[i] = fp::sub(fp::mul(x, cos[i]), fp::mul(y, sin[i]));
                b[i] = fp::add(fp::mul(y, cos[i]), fp::mul(x, sin[i]));
            }
        }
    }
}
