//! Streamed matrix-vector products: exact block sums in the aligned window, then bias, epilogue, store.

use crate::golden::Golden;
use crate::slot::Slot;
use crate::vector::record_addr;
use fastcar_arch::isa::{Epilogue, IndexBy, Matvec, WeightFormat};
use fastcar_arch::layout::{WeightGroup, WeightLayout};
use fastcar_arch::num::mx::{BLOCK, E8M0, e2m1_to_half_units};
use fastcar_arch::num::{fp, func, window};
use rayon::prelude::*;

/// One slot's operand of a product: its blocks, and the sum of the two largest scale bytes.
struct Operand<'a> {
    /// Elements, widened once for all rows.
    blocks: Vec<[i16; BLOCK]>,
    scales: Vec<E8M0>,
    mask: Option<&'a [bool]>,
    base: window::Base,
}

impl<'a> Operand<'a> {
    fn new(slot: &'a Slot, c: &Matvec) -> Self {
        let blocks = slot.blocks(c.src, c.blocks.into());
        let scales: Vec<E8M0> = blocks.iter().map(|b| b.scale).collect();
        let base = window::Base::new(E8M0(c.scale_max), E8M0::max_of(scales.iter().copied()));
        let blocks = blocks.iter().map(|b| b.elems.map(i16::from)).collect();
        Self { blocks, scales, mask: c.delta.then_some(&slot.mask[..]), base }
    }

    fn takes(&self, block: usize) -> bool {
        self.mask.is_none_or(|m| m[block])
    }
}

pub(crate) fn matvec(machine: &mut Golden, c: &Matvec, active: &[usize]) {
    if active.is_empty() {
        return;
    }
    let products = products(machine, c, active);
    let mut bias = vec![0.0; c.rows as usize];
    if c.has_bias {
        machine.memory.read_vector(c.bias.0, &mut bias);
    }
    for (&s, mut rows) in active.iter().zip(products) {
        if c.delta {
            add_reference(machine, c, s, &mut rows);
        }
        if c.has_bias {
            rows.iter_mut().zip(&bias).for_each(|(r, &b)| *r = fp::add(*r, b));
        }
        let words = epilogue(c.epilogue, rows);
        let dst = machine.slots[s].words_mut(c.dst, words.len());
        for (d, w) in dst.iter_mut().zip(words) {
            *d = if c.accumulate { fp::add(*d, w) } else { w };
        }
    }
}

fn epilogue(kind: Epilogue, mut rows: Vec<f32>) -> Vec<f32> {
    match kind {
        Epilogue::None => rows,
        Epilogue::SwiGlu => {
            rows.as_chunks::<2>().0.iter().map(|&[gate, up]| fp::mul(func::silu(gate), up)).collect()
        }
        Epilogue::Gelu => {
            rows.iter_mut().for_each(|r| *r = func::gelu(*r));
            rows
        }
    }
}

/// Adds the slot's output reference and writes the sum back; a fresh slot has none to add.
fn add_reference(machine: &mut Golden, c: &Matvec, slot: usize, rows: &mut [f32]) {
    let strides = (c.ring.0, c.slot_stride, c.index_stride);
    let Some(addr) = record_addr(machine, slot, IndexBy::Ring, strides) else { return };
    if !machine.slots[slot].fresh {
        let mut reference = vec![0.0; rows.len()];
        machine.memory.read_vector(addr, &mut reference);
        rows.iter_mut().zip(reference).for_each(|(r, y)| *r = fp::add(y, *r));
    }
    machine.memory.write_vector(addr, rows);
}

/// `W . a` for each active slot: a vector of `rows` words per slot.
fn products(machine: &Golden, c: &Matvec, active: &[usize]) -> Vec<Vec<f32>> {
    let layout = WeightLayout::new(&machine.config, c.rows, c.blocks.into(), c.format);
    let operands: Vec<Operand<'_>> = active.iter().map(|&s| Operand::new(&machine.slots[s], c)).collect();
    let tasks: Vec<(usize, WeightGroup)> = (0..machine.config.channels() as usize)
        .flat_map(|channel| {
            let held = layout.rows_of(channel).count() as u64;
            let groups = layout.groups().take_while(move |g| g.first_row < held);
            groups.map(move |g| (channel, WeightGroup { rows: g.rows.min(held - g.first_row), ..g }))
        })
        .collect();
    let run = |&(channel, group): &(usize, WeightGroup)| {
        group_products(machine, c, &layout, channel, group, &operands)
    };
    let work = u64::from(c.rows) * u64::from(c.blocks) * BLOCK as u64 * active.len() as u64;
    let parts: Vec<Vec<Vec<f32>>> = if machine.parallel(work) {
        tasks.par_iter().map(run).collect()
    } else {
        tasks.iter().map(run).collect()
    };

    let mut out = vec![vec![0.0; c.rows as usize]; active.len()];
    for (&(channel, group), part) in tasks.iter().zip(parts) {
        let rows = layout.rows_of(channel).skip(group.first_row as usize);
        for (out, piece) in out.iter_mut().zip(part) {
            rows.clone().zip(piece).for_each(|(row, word)| out[row as usize] = word);
        }
    }
    out
}

/// The products of one group of rows that the matrix has, for every operand.
fn group_products(
    machine: &Golden,
    c: &Matvec,
    layout: &WeightLayout,
    channel: usize,
    group: WeightGroup,
    operands: &[Operand<'_>],
) -> Vec<Vec<f32>> {
    let bytes = &machine.memory.channel(channel)[c.addr.0 as usize..];
    let run = layout.block_run().get();
    let rows = group.rows as usize;
    let mut sums = vec![vec![0i64; rows]; operands.len()];
    let mut weights = vec![[0i16; BLOCK]; rows];
    for block in 0..usize::from(c.blocks) {
        if !operands.iter().any(|o| o.takes(block)) {
            continue;
        }
        let start = block as u64 * run;
        let scales = &bytes[(start + group.scales) as usize..][..rows];
        widen(c.format, &bytes[(start + group.elements) as usize..], &mut weights);
        for (operand, sums) in operands.iter().zip(&mut sums).filter(|(o, _)| o.takes(block)) {
            let (act, scale) = (&operand.blocks[block], operand.scales[block]);
            for ((sum, &row_scale), row) in sums.iter_mut().zip(scales).zip(&weights) {
                *sum += window::term(dot(row, act), operand.base.shift(E8M0(row_scale), scale));
            }
        }
    }
    let pair = match c.format {
        WeightFormat::Int8 => window::Pair::Int8Int8,
        WeightFormat::Fp4 => window::Pair::Fp4Int8,
    };
    let finish = |(o, sums): (&Operand<'_>, Vec<i64>)| {
        sums.into_iter().map(|acc| window::to_f32(acc, o.base, pair)).collect()
    };
    operands.iter().zip(sums).map(finish).collect()
}

/// The two elements of an MXFP4 byte in half units.
const FP4_PAIRS: [[i16; 2]; 256] = {
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [e2m1_to_half_units(byte as u8) as i16, e2m1_to_half_units(byte as u8 >> 4) as i16];
        byte += 1;
    }
    table
};

/// Elements of one block of consecutive rows as integers.
fn widen(format: WeightFormat, elements: &[u8], rows: &mut [[i16; BLOCK]]) {
    match format {
        WeightFormat::Int8 => {
            for (row, bytes) in rows.iter_mut().zip(elements.as_chunks::<BLOCK>().0) {
                *row = bytes.map(|b| i16::from(b as i8));
            }
        }
        WeightFormat::Fp4 => {
            for (row, &codes) in rows.iter_mut().zip(elements.as_chunks::<{ BLOCK / 2 }>().0) {
                for (pair, code) in row.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
                    *pair = FP4_PAIRS[usize::from(code)];
                }
            }
        }
    }
}

/// The exact block sum of `arch::num::dot`, on operands that are widened already.
fn dot(w: &[i16; BLOCK], a: &[i16; BLOCK]) -> i32 {
    w.iter().zip(a).map(|(&w, &a)| i32::from(w) * i32::from(a)).sum()
}
