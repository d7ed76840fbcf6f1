//! Cycle behaviour of the machine's units: latencies, initiation intervals and queue depths.
//!
//! Simulator and hardware both take their cycles from here, so that a change of a pipeline's depth is one edit. A
//! *latency* is counted from the edge that takes the last operand to the edge at which the result may be used; an
//! *issue* time is the number of cycles for which a unit's input is taken. Figures are what a pipeline at 300 MHz on an
//! UltraScale+ part is expected to need; where the hardware turns out to need another figure, this table follows it.

use crate::config::{AccelConfig, LINE_WORDS};
use crate::isa::{Attn, Command, Epilogue, NormKind};
use crate::num::mx::BLOCK;

/// Commands that a unit's queue holds.
pub const QUEUE_COMMANDS: usize = 32;
/// Commands from the front of any queue to the next one to be dispatched, at most.
pub const WINDOW: usize = 64;
/// Commands that the command processor's prefetch buffer holds.
pub const PREFETCH_COMMANDS: u64 = 64;
/// From `ap_start` to the first read of the step table.
pub const START: u64 = 4;
/// From the last beat of the step table to the first dispatch.
pub const STEP_DECODE: u64 = 8;
/// From the last beat of a burst of commands to the dispatch of the first of them: put together, check, decode.
pub const COMMAND_DECODE: u64 = 14;
/// Cycles that dispatching one command takes: decode, and comparison with the commands under way.
pub const DISPATCH: u64 = 4;
/// The network between the middle of the machine (command processor, vector unit, gate unit, MAC sequencer) and its
/// channels, each way.
pub const HOP: u64 = 4;
/// From a dispatch, or a decision that a stream waited for, to the first address of it on a channel's AXI: product of
/// index and stride, walk over the list, [`HOP`], queue, and [`PORT_ISSUE`].
pub const ADDRESS: u64 = 20;
/// The same for what a command writes, whose addresses go through the walk of keys and values too.
pub const WRITE_ADDRESS: u64 = ADDRESS + 9;
/// From masks that a stream may use to the address of their blocks on AXI: slots of each column, passes of each block, runs of
/// blocks, and from there on as the last cycles of [`ADDRESS`].
pub const MASK_ADDRESS: u64 = 19;
/// From a masked product that a stream takes to the first masks that it can use: the slots' columns, the job.
pub const MASK_MAP: u64 = 5;
/// From the last masks of a product's round to the first of the next: columns of the slots that are left.
pub const MASK_ROUND: u64 = 3;
/// From the last group of masks that is looked at for a product's operands to the first of these: a block, its slots, its passes.
pub const MASK_SEEK: u64 = 3;
/// From a port's decision for a burst to its address on AXI: base address, register in front of the bus.
pub const PORT_ISSUE: u64 = 2;
/// From the last beat of a burst, or from a response, on AXI to the port's decisions that count it.
pub const PORT_RETURN: u64 = 2;
/// From a part's result in the vector unit to its write in the queues of the ports: rows put together, [`HOP`], the buffer there.
pub const WRITE_QUEUE: u64 = HOP + 2;
/// From one command that a stream takes to the next: its slots, its guard, its job.
pub const STREAM_STEP: u64 = 4;
/// Commands that write and are dispatched and not acknowledged by every channel: so many the scoreboard holds.
pub const WRITERS: usize = 16;
/// From the last response to `ap_done`, with the report written.
pub const FINISH: u64 = 4;

/// From a product that is armed to its first beat: an operand of the activation buffer read, and broadcast to the clusters. Each operand
/// more takes a cycle.
pub const MAC_START: u64 = 8;
/// From a command in front of the MAC array's queue whose slots are known to its first product: columns and passes of the slots.
pub const MAC_MAP: u64 = 4;
/// From attention in front of the MAC array's queue whose slots are known to its first query: query heads of a key/value head, passes.
pub const HEADS_MAP: u64 = 20;
/// Rounds of heads, one on every channel, whose keys are armed and whose results are not there, at most.
pub const HEADS_UNDER_WAY: usize = 4;
/// Rounds of heads whose queries the clusters keep: those in use, and the next.
pub const HEADS_KEPT: usize = 2;
/// From a beat taken by the MAC array to its sums in the accumulators: unpack, products, tree, align, add.
pub const MAC_LATENCY: u64 = 14;
/// From a row asked for at a cluster to the row: memory, its output register, choice of column and row.
pub const DRAIN_LATENCY: u64 = 3;
/// From the last beat of a product in the slowest cluster to its first rows in the middle.
pub const RESULT_LATENCY: u64 = MAC_LATENCY + DRAIN_LATENCY + HOP;
/// From the last score of a head to the first weight: conversion, scale, largest score over the clusters, exp2.
pub const SCORE_LATENCY: u64 = 28;
/// From a sum of values asked for at a cluster to the sum: memory, choice of the byte, halves added up.
pub const VALUE_DRAIN_LATENCY: u64 = 5;
/// From an accumulator to binary32: normalise, round.
pub const CONVERT_LATENCY: u64 = 5;

/// Reading a line of the vector buffer.
const VB_READ: u64 = 2;
/// Writing a line of the vector or activation buffer.
const WRITE: u64 = 1;
/// Binary32 addition.
pub const ADD_LATENCY: u64 = 6;
/// Binary32 product.
pub const MUL_LATENCY: u64 = 4;
/// A table function: range reduction, table, two products and sums, rounding.
pub const FUNC_LATENCY: u64 = 10;
/// A sum of squares: align, two squares, add.
pub const SUMSQ_LATENCY: u64 = 9;
/// Largest exponent of a block, shift, round: MXINT8 of 32 words.
pub const QUANT_LATENCY: u64 = 8;

/// Elements of an MXINT8 block to binary32.
pub const DEQUANT_LATENCY: u64 = 1;

/// From the last beat of values in the slowest cluster to the first group of sums in the middle: the words are asked for, added up over the
/// channels that share a head, and collected until a line of each head is there.
#[must_use]
pub fn attn_latency(config: &AccelConfig) -> u64 {
    let asked = HOP + SUMS_ASK + HOP + VALUE_DRAIN_LATENCY + HOP;
    asked + u64::from(config.channels().ilog2()) + u64::from(LINE_WORDS) - 1 + SUMS_TURN
}

/// From word that the clusters are through with values to the first question for a sum.
pub const SUMS_ASK: u64 = 3;
/// From the last word of a line to its first group: it is turned to its lanes, written, read, and turned to its channel.
pub const SUMS_TURN: u64 = 5;

/// From a slot whose past keys may be taken to the first of their beats.
pub const KEYS_START: u64 = 1;
/// Products of a block of keys and their sum: a product, five levels of a tree.
pub const KEY_DOT: u64 = 6;
/// From the sum of a block of keys to its place in the window: the largest of the scale bytes, which came just before the first block, is there.
pub const KEY_BASE: u64 = 2;
/// Shift of a sum to its place, and its addition.
pub const KEY_TERM: u64 = 3;
/// From the last past key to a slot's score: its block chosen, products, window, conversion, scale.
pub const TAS_LATENCY: u64 = 1 + KEY_DOT + KEY_BASE + KEY_TERM + CONVERT_LATENCY + MUL_LATENCY;

/// Cycles that the gate unit needs for a beat of elements of past keys from so many channels, each of a head that serves a group of
/// query heads: a block of keys and one of queries a cycle, or, of shorter beats, half a block of each.
#[must_use]
pub fn past_key_cycles(config: &AccelConfig, head_dim: u32, heads: u32, group: u32) -> u32 {
    heads * group * (config.fields().beat_bytes.min(head_dim) / LINE_WORDS).max(1)
}

/// From the last score of a gate to the Index Register: comparison, coupling, and the Mapping Registers' prefix sum.
pub const SETTLE: u64 = 12;
/// From the last slot's distances to block masks that streams may use, or to the gate unit.
pub const MASK_LATENCY: u64 = 2;
/// From when a walker is through with keys or values of which a channel has none until its cluster may pass over them, beside what an address would take.
pub const NONE_KNOWN: u64 = 3;
/// From the arrival of an `attn`'s last block list to its walk.
pub const LIST_KNOWN: u64 = 2;
/// Blocks whose masks are handed on together, while the last slot's later blocks are still being compared.
pub const MASK_BLOCKS: u32 = 16;

/// Words of a vector that are behind the vector unit when it has handed on so many groups of masks of a delta command
/// with so many blocks.
#[must_use]
pub fn masked_words(groups: u32, blocks: u32) -> u64 {
    u64::from((groups * MASK_BLOCKS).min(blocks)) * u64::from(LINE_WORDS)
}

// What the middle learns of the channels is on its way for a hop before it is counted; what it asks of them is as well.
const _: () = assert!(HOP < MAC_LATENCY && HOP < MAC_START && HOP + PORT_ISSUE < MASK_ADDRESS);

/// Cycles for which a part takes the vector unit's input at least.
const LEAST_ISSUE: u64 = 2;

/// What one command takes of the vector unit for one slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VectorTime {
    /// Cycles for which the unit's input is taken.
    pub issue: u64,
    /// Of these, the cycles in which the unit works: in the others it waits for the clusters' pace, or for its beats to leave.
    pub work: u64,
    /// Of these, the cycles before records are taken: passes over the vector that do not need them.
    pub lead: u64,
    /// Cycles from the end of the part's last record, if it takes one, to the end of issue: what does not need it.
    pub tail: u64,
    /// Cycles from the end of issue until the result may be used.
    pub latency: u64,
}

/// Finding the largest exponent of a vector, under which its sum is aligned: the vector buffer keeps the largest of
/// each line, and 32 of these are looked at in a cycle.
fn scan(words: u64) -> u64 {
    words.div_ceil(u64::from(LINE_WORDS) * 32)
}

/// Lines' words in groups of lanes.
fn groups(config: &AccelConfig, words: u64) -> u64 {
    words.div_ceil(config.vector_lanes().into())
}

/// A pass that only adds up words or their squares: a lane takes one from either bank of the vector buffer.
fn sum_pass(config: &AccelConfig, words: u64) -> u64 {
    scan(words) + groups(config, words).div_ceil(2)
}

/// The squares of a line are added up two groups at a time, when its largest exponent is known.
fn squares_of_line(config: &AccelConfig) -> u64 {
    let tree = u64::from(config.vector_lanes().ilog2());
    (tree + 1).div_ceil(2) + groups(config, LINE_WORDS.into()).div_ceil(2)
}

/// Cycles that the vector unit needs to take one beat from every channel, at `unit_bytes` bytes an element.
#[must_use]
pub fn cycles_per_beat_row(config: &AccelConfig, unit_bytes: u64) -> u64 {
    let elements = u64::from(config.channels()) * config.beat().get() / unit_bytes;
    elements.div_ceil(config.vector_lanes().into())
}

/// Cycles in which the clusters, a row a cycle from each, bring a group of rows to the vector unit.
#[must_use]
pub fn cycles_per_row_group(config: &AccelConfig) -> u64 {
    u64::from((config.vector_lanes() / config.channels()).max(1))
}

/// Beats that a token's scale bytes take at most in a head's keys, or values, of a cache.
fn scale_beats(config: &AccelConfig, head_dim: u64) -> u64 {
    let (scales, beat) = (head_dim / u64::from(LINE_WORDS), config.beat().get());
    // Else they begin anywhere in a beat.
    if scales.is_power_of_two() { scales.div_ceil(beat) } else { scales.saturating_sub(2) / beat + 2 }
}

/// Beats that a token's keys and values take at most on the channel that gets most of them: each head's scale bytes and elements are
/// runs of their own.
#[must_use]
pub fn append_beats(config: &AccelConfig, kv_heads: u64, head_dim: u64) -> u64 {
    // The heads of a token go around the channels.
    let heads = kv_heads.div_ceil(config.channels().into());
    heads * 2 * (scale_beats(config, head_dim) + head_dim.div_ceil(config.beat().get()))
}

/// Cycles that a part of `kv_append` takes longer than its words: where the vector unit makes elements as fast as they leave for a channel,
/// and a head goes to the channel of the head before, its elements wait for the scale bytes of that.
#[must_use]
pub fn append_pause(config: &AccelConfig, kv_heads: u64, head_dim: u64) -> u64 {
    let lanes = u64::from(config.vector_lanes());
    let as_fast = lanes >= config.beat().get().min(LINE_WORDS.into());
    // Heads go around the channels: the last of the keys meets the first of the values, the last of these the next part.
    let meets = kv_heads % u64::from(config.channels()) == 1;
    if as_fast && meets { 2 * scale_beats(config, head_dim) } else { 0 }
}

/// The vector unit's time for a command and one slot (for `attn`: and one key/value head on every cluster); none for a
/// command that it takes no part in.
#[must_use]
pub fn vector_time(config: &AccelConfig, command: &Command) -> Option<VectorTime> {
    let line = u64::from(LINE_WORDS);
    let moved = VB_READ + WRITE;
    // The part behind is made out while one begins, which takes a cycle.
    let paced = |issue: u64, work: u64, tail, latency| {
        let [issue, work] = [issue, work].map(|cycles| cycles.max(LEAST_ISSUE));
        Some(VectorTime { issue, work, lead: 0, tail, latency: latency + moved })
    };
    let timed =
        |issue: u64, lead, tail, latency| Some(VectorTime { lead, ..paced(issue, issue, tail, latency)? });
    let time = |issue, latency| timed(issue, 0, 0, latency);
    // With records in the last pass, or the last passes, over the vector.
    let behind = |lead: u64, passes: u64, latency| timed(lead + passes, lead, 0, latency);
    // With records in the first of so many cycles.
    let before = |issue: u64, records: u64, latency| timed(issue, 0, issue - records, latency);
    let lanes = u64::from(config.vector_lanes());
    // Words are written in whole lines: the rest of the last is written with what was there.
    let whole = |words: u64| groups(config, words.next_multiple_of(line));
    let tree = u64::from(lanes.ilog2());
    match command {
        Command::End(_) | Command::GateTas(_) | Command::GateHost(_) => None,
        Command::Load(c) => {
            let words = c.words.into();
            before(whole(words), groups(config, words), if c.accumulate { ADD_LATENCY } else { 0 })
        }
        Command::Store(c) => time(groups(config, c.words.into()), 0),
        Command::StoreAct(c) => time(groups(config, u64::from(c.blocks) * line), 0),
        Command::Norm(c) => {
            let words = groups(config, c.words.into());
            // A sum of words or squares is aligned by the largest exponent, which is found for a line, or a group, at a time.
            let largest = tree.div_ceil(2);
            let reduce = SUMSQ_LATENCY + tree + CONVERT_LATENCY + MUL_LATENCY;
            let scale = 2 * MUL_LATENCY;
            let root = ADD_LATENCY + FUNC_LATENCY;
            match c.kind {
                NormKind::Rms => {
                    behind(sum_pass(config, c.words.into()) + largest + reduce + root + 1, words, scale)
                }
                // Mean, then the largest of the centred words, then their squares, then gamma, then beta.
                NormKind::Layer => {
                    let pass = groups(config, c.words.into()).div_ceil(2);
                    let centred = 2 * pass + (tree + 1).div_ceil(2);
                    let sums = sum_pass(config, c.words.into()) + largest + centred + 2 * reduce;
                    behind(sums + root + 1, 2 * words, scale + 2 * ADD_LATENCY)
                }
            }
        }
        Command::Quant(c) => time(groups(config, u64::from(c.blocks) * line), QUANT_LATENCY),
        Command::Add(c) => {
            let words = whole(c.words.into());
            // Two vectors that begin in one bank are read a cycle apart; that shows where the last line is a single group.
            let alone = lanes == line && (c.dst.0 ^ c.src.0) & 1 == 0 && words % 2 == 1;
            time(words + u64::from(alone), ADD_LATENCY + u64::from(!alone))
        }
        // A lane has two multipliers, which is what a rotated word needs. Cosines and sines of a head come first; a word's
        // partner is half a head away.
        Command::Rope(c) => {
            let angles = groups(config, c.head_dim.into());
            let words = groups(config, u64::from(c.heads) * u64::from(c.head_dim));
            let half = groups(config, u64::from(c.head_dim) / 2);
            before(angles + words, angles, half + 2 + MUL_LATENCY + ADD_LATENCY)
        }
        // Sum of squares of the input, then distance, quantisation and reference update block by block. The limit is there
        // before the first distance; what is waited for are the squares of the part before.
        Command::Delta(c) => {
            let words = u64::from(c.blocks) * line;
            let of_line = groups(config, line);
            let squares = squares_of_line(config);
            let distance = ADD_LATENCY + squares + SUMSQ_LATENCY + tree + CONVERT_LATENCY + of_line - 1;
            behind(sum_pass(config, words) + squares + 4, groups(config, words), distance)
        }
        // Sums are not read of the vector buffer; they come at the clusters' pace, and the rest of the last line at once.
        Command::Matvec(c) => {
            let epilogue = match c.epilogue {
                Epilogue::None => 0,
                Epilogue::SwiGlu | Epilogue::Gelu => FUNC_LATENCY + 2 * MUL_LATENCY,
            };
            let sums = u64::from(c.has_bias) + u64::from(c.delta) + u64::from(c.accumulate);
            let latency = CONVERT_LATENCY + epilogue + sums * ADD_LATENCY - VB_READ;
            let words = match c.epilogue {
                Epilogue::SwiGlu => 2 * whole(u64::from(c.rows) / 2),
                Epilogue::None | Epilogue::Gelu => whole(c.rows.into()),
            };
            let rows = groups(config, c.rows.into());
            // The rows, at the clusters' pace, then what is left of the last line.
            paced(words - rows + rows * cycles_per_row_group(config), words, words - rows, latency)
        }
        Command::KvAppend(c) => {
            let words = 2 * u64::from(c.kv_heads) * u64::from(c.head_dim);
            // The results come without the pause.
            let pause = append_pause(config, c.kv_heads.into(), c.head_dim.into());
            paced(groups(config, words) + pause, groups(config, words), 0, QUANT_LATENCY - pause)
        }
        Command::Attn(c) => Some(attn_time(config, c, config.channels().min(c.kv_heads.into()))),
        // The record's elements come before its scale bytes: they are kept until these are there, while the largest exponent of
        // the words is found. Then a pass for the largest of the differences, and one for their squares.
        Command::GateDelta(c) => {
            let blocks = u64::from(c.blocks);
            let words = groups(config, blocks * line);
            let tail = 2 * words + (tree + 1).div_ceil(2) + 6;
            let score = SUMSQ_LATENCY + tree + CONVERT_LATENCY + MUL_LATENCY;
            let latency = DEQUANT_LATENCY + ADD_LATENCY + score;
            timed(words + blocks.div_ceil(lanes) + tail, 0, tail, latency)
        }
    }
}

/// Words of a key/value head's queries, which come one a cycle: a round of heads begins no earlier than so many cycles behind the one before.
#[must_use]
pub fn attn_words(c: &Attn) -> u64 {
    u64::from(c.heads / c.kv_heads) * u64::from(c.head_dim)
}

/// The vector unit's time for a slot and a round of so many key/value heads.
#[must_use]
pub fn attn_time(config: &AccelConfig, c: &Attn, kv_heads: u32) -> VectorTime {
    let line = u64::from(LINE_WORDS);
    // Of each head's words one a cycle comes, and a line is whole before its first group goes: those of all heads follow each other.
    let lines = attn_words(c) / line;
    let of_line = groups(config, u64::from(kv_heads) * line);
    let (issue, work) = ((lines - 1) * line + of_line, lines * of_line);
    let normalise = CONVERT_LATENCY + FUNC_LATENCY + MUL_LATENCY;
    let latency = normalise + WRITE;
    VectorTime { issue: issue.max(LEAST_ISSUE), work: work.max(LEAST_ISSUE), lead: 0, tail: 0, latency }
}

/// Rows of the accumulators that a head's keys take: a word for each pass.
#[must_use]
pub fn key_rows(config: &AccelConfig, group: u32) -> u32 {
    // A row for each MXFP4 block of a beat.
    key_passes(config, group) * (config.fields().beat_bytes / (BLOCK as u32 / 2))
}

/// Words of the sums of values that a cluster holds.
#[must_use]
pub fn value_words(config: &AccelConfig) -> u32 {
    config.acc_rows() / config.fields().beat_bytes
}

/// Words of the sums of values that a head takes: one for each beat of a token's value in each pass.
#[must_use]
pub fn head_value_words(config: &AccelConfig, group: u32, head_dim: u32) -> u32 {
    value_passes(config, group) * head_dim.div_ceil(config.fields().beat_bytes)
}

/// Passes of the MAC array over a head's keys for a group of query heads that share them.
#[must_use]
pub fn key_passes(config: &AccelConfig, group: u32) -> u32 {
    group.div_ceil(config.columns())
}

/// Passes over a head's values: a softmax weight is wider than an activation, so that two columns make one product.
#[must_use]
pub fn value_passes(config: &AccelConfig, group: u32) -> u32 {
    group.div_ceil((config.columns() / 2).max(1))
}

/// Blocks of a head's queries that a column of a channel keeps: its passes over the keys times the blocks of a key. With pairs of columns, half as many
/// as the accumulators would have sums of values for.
#[must_use]
pub fn query_rows(config: &AccelConfig) -> u32 {
    config.acc_rows() / (LINE_WORDS * config.columns().min(2))
}
