//! A head: what its channels stream, what the middle sends, and what comes of it.

use super::model::{AHEAD, MAIN};
use super::product::Product;
use crate::heads::Made;
use crate::heads::beats::Sizes;
use crate::heads::task::Task;
use crate::scores::pack;
use crate::span_walk::Span;
use fastcar_arch::num::fp::CANONICAL_NAN;
use fastcar_arch::num::mx::{BLOCK, E8M0};
use fastcar_arch::num::softmax;
use fastcar_arch::timing::{key_passes, value_passes};
use fastcar_hw::attn::{NAN, Phase, QueryBuffer, Spans};
use fastcar_hw::rtl::Bits;
use fastcar_tests::rtl::{Cover, Random};
use std::collections::VecDeque;
use std::ops::Range;

/// Tokens of a block.
const TOKENS: usize = 32;

/// What a channel streams of the keys, or of the values.
pub struct Item {
    pub pace: u64,
    /// By stream.
    pub spans: Vec<(usize, Bits)>,
    pub bytes: Vec<Vec<u8>>,
    /// Of the own block; the stream.
    pub beats: Vec<(bool, usize)>,
}

pub struct Head {
    task: Task,
    ahead: bool,
    bank: usize,
    key_word: u64,
    /// Words of the sums of values.
    pub words: Range<usize>,
    value_passes: u32,
    /// By channel: keys, values.
    pub items: Vec<[Item; 2]>,
    /// Products that are armed before it.
    pub products: VecDeque<Product>,
    /// Not sent.
    pub queries: VecDeque<Bits>,
    /// When keys and values were armed; by channel: whether they are done.
    pub armed: [Option<u64>; 2],
    pub done: Vec<[bool; 2]>,
    pub keys_over: Option<u64>,
    pub values_over: Option<u64>,
    /// What the channels agreed upon: scale, and the words by pass over the values.
    pub agreed: Vec<Vec<u64>>,
    pub totals: Vec<u64>,
    /// Words that were asked for; by channel and word: their sums.
    pub read: usize,
    pub sums: Vec<Vec<Vec<i64>>>,
}

fn word(parts: &[(u32, u64)]) -> Bits {
    pack(parts.iter().map(|&(width, value)| Bits::from_u64(width, value)))
}

impl Item {
    fn new(
        sizes: &Sizes,
        task: &Task,
        channel: usize,
        (values, ahead): (bool, bool),
        cover: &mut Cover,
    ) -> Self {
        let (config, group) = (&sizes.config, task.group as u32);
        let pace = if values { value_passes(config, group) } else { key_passes(config, group) };
        let mut item = Self { pace: pace.into(), spans: Vec::new(), bytes: Vec::new(), beats: Vec::new() };
        let all: Vec<_> = task.blocks_on(channel).collect();
        let (own, older): (Vec<_>, Vec<_>) = all.into_iter().partition(|block| block.0 == task.own);
        cover.hit("own block alone", older.is_empty() && !own.is_empty());
        cover.hit("no own block", own.is_empty() && !older.is_empty());
        cover.hit("channel without a token", older.is_empty() && own.is_empty());
        let older_stream = if ahead { AHEAD } else { MAIN };
        for (blocks, own, stream) in [(older, false, older_stream), (own, true, MAIN)] {
            for (n, (_, mask, memory)) in blocks.iter().enumerate() {
                let span = Span::of(values, *mask, n + 1 == blocks.len());
                item.spans.push((stream, span.word()));
                item.block(sizes, task.dim, &span, (own, stream), memory);
            }
            if blocks.is_empty() {
                item.spans.push((stream, Span::of(values, 0, true).word()));
            }
        }
        item
    }

    /// The beats of a block.
    fn block(&mut self, sizes: &Sizes, dim: usize, span: &Span, of: (bool, usize), memory: &[u8]) {
        let (beat, scales) = (sizes.beat(), 2 * TOKENS * dim / BLOCK);
        let elements = scales + if span.values { TOKENS * dim } else { 0 };
        let first = span.first as usize * dim / beat * beat;
        let last = ((span.last as usize + 1) * dim).next_multiple_of(beat);
        let ranges = [0..if span.values { 0 } else { scales }, elements + first..elements + last];
        for beat in ranges.into_iter().flat_map(|range| memory[range].chunks(beat)) {
            self.bytes.push(beat.to_vec());
            self.beats.push(of);
        }
    }
}

impl Head {
    pub fn any(random: &mut Random, sizes: &Sizes, number: usize, cover: &mut Cover) -> Made<Self> {
        let task = Task::any(random, &sizes.config, cover)?;
        let (config, group) = (&sizes.config, task.group as u32);
        let (keys, values) = (key_passes(config, group), value_passes(config, group));
        let ahead = random.chance(60);
        let parts = task.dim.div_ceil(sizes.beat());
        let (all, count) = ((config.acc_rows() as usize) / sizes.beat(), values as usize * parts);
        let start = if number % 2 == 1 && 2 * count <= all { all - count } else { 0 };
        let key_words = config.acc_rows() / sizes.cluster.rows();
        let items: Vec<_> = (0..config.channels() as usize)
            .map(|channel| {
                [false, true].map(|values| Item::new(sizes, &task, channel, (values, ahead), cover))
            })
            .collect();
        cover.hit("several passes over keys", keys > 1);
        cover.hit("several passes over values", values > 1);
        cover.hit("narrow", sizes.narrow(&task) || sizes.shape.lanes == 1);
        cover.hit("ahead", ahead);
        let bank = number % 2;
        Ok(Self {
            products: VecDeque::new(),
            queries: queries(sizes, &task, bank)?,
            ahead,
            bank,
            key_word: random.below(u64::from(key_words - keys + 1)),
            words: start..start + count,
            value_passes: values,
            done: vec![[false; 2]; items.len()],
            sums: vec![vec![Vec::new(); count]; items.len()],
            items,
            task,
            armed: [None; 2],
            keys_over: None,
            values_over: None,
            agreed: Vec::new(),
            totals: Vec::new(),
            read: 0,
        })
    }

    /// Passes over the values.
    pub fn passes(&self) -> usize {
        self.value_passes as usize
    }

    /// What the channels are told when keys or values are armed.
    pub fn phase(&self, spans: &Spans, values: bool) -> Bits {
        let Phase { last_pass, blocks, last_query, word: address, .. } = spans.phase();
        let first = if values { self.words.start as u64 } else { self.key_word };
        word(&[
            (1, values.into()),
            (last_pass, u64::from(self.value_passes - 1)),
            (blocks, (self.task.dim / BLOCK - 1) as u64),
            (last_query, (self.task.group - 1) as u64),
            (address, first),
            (1, self.ahead.into()),
            (1, self.bank as u64),
            (32, self.task.factor.to_bits().into()),
        ])
    }

    /// A query head's sums of values over all channels.
    fn sums_of(&self, sizes: &Sizes, head: usize) -> Vec<i64> {
        let (beat, pairs, dim) = (sizes.beat(), sizes.shape.pairs() as usize, self.task.dim);
        let parts = dim.div_ceil(beat);
        let mut sums = vec![0; dim];
        for (channel, words) in self.sums.iter().enumerate() {
            // Sums begin with a token; without one they are anything.
            if self.items[channel][1].beats.is_empty() {
                continue;
            }
            for part in 0..parts {
                let word = &words[head / pairs * parts + part];
                for (lane, sum) in word[head % pairs * beat..][..beat].iter().enumerate() {
                    sums[(part * beat + lane) % dim] += sum;
                }
            }
        }
        sums
    }

    /// The words that the vector unit makes of what came are the functional model's.
    pub fn check(&self, sizes: &Sizes, _: &mut Cover) {
        let (pairs, dim) = (sizes.shape.pairs() as usize, self.task.dim);
        let scale = E8M0(self.agreed[0][0] as u8);
        for head in 0..self.task.group {
            let largest = self.agreed[1 + head / pairs][head % pairs];
            let nan = largest == NAN || scale.is_nan();
            let expected = &self.task.expected[head * dim..][..dim];
            for (n, (sum, expected)) in self.sums_of(sizes, head).into_iter().zip(expected).enumerate() {
                let found = match largest {
                    0 => 0.0,
                    _ if nan => CANONICAL_NAN,
                    _ => softmax::output(sum, scale, self.totals[head]),
                };
                let (group, blocks) = (self.task.group, &self.task.blocks);
                assert_eq!(
                    found.to_bits(),
                    expected.to_bits(),
                    "{found} for {expected}: head {head} of {group}, word {n} of {dim}, blocks {blocks:?}"
                );
            }
        }
    }
}

/// The blocks of the queries as they are sent.
fn queries(sizes: &Sizes, task: &Task, bank: usize) -> Made<VecDeque<Bits>> {
    let widths = QueryBuffer::new(&sizes.config)?.query();
    let columns = sizes.shape.columns as usize;
    let mut all = VecDeque::new();
    for (head, blocks) in task.queries.iter().enumerate() {
        let mut largest = 0;
        for (n, block) in blocks.iter().enumerate() {
            // So far: that of the last block counts.
            largest = block.scale.0.max(largest);
            let elements: Vec<u8> = block.elems.iter().map(|&e| e as u8).collect();
            let row = head / columns * blocks.len() + n;
            let rest = word(&[
                (8, block.scale.0.into()),
                (widths.largest, largest.into()),
                (widths.row, row as u64),
                (widths.pass, (head / columns) as u64),
                (widths.column, (head % columns) as u64),
                (widths.bank, bank as u64),
                (widths.narrow, sizes.narrow(task).into()),
            ]);
            all.push_back(pack([Bits::from_bytes(8 * elements.len() as u32, &elements), rest]));
        }
    }
    Ok(all)
}
