//! The beats of a channel, with what the walk over keys and values says of them.

use super::task::Task;
use crate::scores::pack;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::mx::BLOCK;
use fastcar_arch::timing::{key_passes, value_passes};
use fastcar_hw::attn::Shape;
use fastcar_hw::pe::Cluster;
use fastcar_hw::rtl::Bits;
use std::collections::VecDeque;

/// A cycle of a channel: what its inputs are.
pub type Inputs = Vec<(&'static str, Bits)>;

/// Sizes of a cluster.
pub struct Sizes {
    pub config: AccelConfig,
    pub cluster: Cluster,
    pub shape: Shape,
}

fn bytes_of(bytes: &[u8]) -> Bits {
    Bits::from_bytes(8 * bytes.len() as u32, bytes)
}

fn bit(bit: bool) -> Bits {
    Bits::from_u64(1, bit.into())
}

/// What a channel streams of a head's keys.
struct Keys<'a> {
    sizes: &'a Sizes,
    task: &'a Task,
    /// Token, attended.
    tokens: Vec<(u32, bool)>,
    /// Of all blocks: scale bytes of keys and of values.
    scales: Vec<u8>,
    parts: Vec<u8>,
    /// Of all tokens.
    largest: Vec<u8>,
}

/// A beat in a pass.
#[derive(Clone, Copy)]
struct At {
    /// Number of the beat, and of its first block.
    n: usize,
    block: usize,
    pass: usize,
}

impl<'a> Keys<'a> {
    fn new(sizes: &'a Sizes, task: &'a Task, channel: usize) -> Self {
        let tokens = task.tokens(channel, sizes.beat());
        let all = |value: bool| tokens.iter().flat_map(|t| task.bytes(t.0, value).0.to_vec()).collect();
        let (scales, parts) = (all(false), all(true));
        let largest = tokens.iter().map(|t| *task.bytes(t.0, false).0.iter().max().unwrap()).collect();
        Self { sizes, task, scales, parts, largest, tokens }
    }

    /// The token of a lane.
    fn token(&self, at: At, lane: usize) -> usize {
        let first = at.n * self.sizes.beat() / self.task.dim;
        if self.sizes.narrow(self.task) { first + lane } else { first }
    }

    fn head(&self, at: At, column: usize) -> Option<usize> {
        Some(at.pass * self.sizes.columns() + column).filter(|&head| head < self.task.group)
    }

    fn query_scale(&self, at: At, column: usize) -> u8 {
        let blocks = self.head(at, column).map(|head| &self.task.queries[head]);
        blocks.map_or(0, |blocks| blocks.iter().map(|block| block.scale.0).max().unwrap())
    }

    /// A column's operand for a group, and its base.
    fn operand(&self, at: At, column: usize, group: usize) -> [Bits; 2] {
        let block = at.block + group;
        let per_token = self.task.dim / BLOCK;
        let act = match self.head(at, column) {
            None => Bits::zero(264),
            Some(head) => {
                let block = &self.task.queries[head][block % per_token];
                let elements: Vec<u8> = block.elems.iter().map(|&e| e as u8).collect();
                pack([bytes_of(&elements), bytes_of(&[block.scale.0])])
            }
        };
        let base = u64::from(self.query_scale(at, column)) + u64::from(self.largest[block / per_token]);
        [act, Bits::from_u64(9, base)]
    }

    /// What the cluster is told.
    fn of_cluster(&self, at: At, bytes: &[u8]) -> Inputs {
        let (s, beat, dim) = (self.sizes, self.sizes.beat(), self.task.dim);
        let (columns, groups) = (s.columns(), s.cluster.groups() as usize);
        // The scale bytes of the beat's own blocks; nothing looks at the others.
        let scale =
            |n: usize| self.scales.get(at.block + n).copied().filter(|_| n < groups).unwrap_or(n as u8);
        let scales: Vec<u8> = (0..beat).map(scale).collect();
        let operands = |which: usize| {
            let all = (0..columns).flat_map(|c| (0..groups).map(move |g| (c, g)));
            pack(all.map(|(c, g)| self.operand(at, c, g)[which].clone()))
        };
        let word = Bits::from_u64(s.cluster.word_width(), at.pass as u64);
        vec![
            ("valid_i", bit(true)),
            ("beat_i", bytes_of(bytes)),
            ("scale_i", bit(true)),
            ("scales_i", bytes_of(&scales)),
            ("upper_i", bit(s.upper(at.n))),
            ("axpy_i", bit(false)),
            ("pass_i", Bits::from_u64(s.cluster.pass_width(), at.pass as u64)),
            ("address_i", pack(vec![word; columns])),
            ("enable_i", pack((0..columns).map(|column| bit(self.head(at, column).is_some())))),
            ("first_i", pack(vec![bit(at.n * beat % dim < BLOCK.max(beat)); columns])),
            ("act_i", operands(0)),
            ("base_i", operands(1)),
        ]
    }

    /// What attention is told.
    fn of_attention(&self, at: At) -> Inputs {
        let (s, beat) = (self.sizes, self.sizes.beat());
        let lanes = s.shape.lanes as usize;
        let ends = s.narrow(self.task) || ((at.n + 1) * beat).is_multiple_of(self.task.dim);
        let of_lanes = |of: &dyn Fn(usize) -> u8| bytes_of(&(0..lanes).map(of).collect::<Vec<_>>());
        let attended = |lane: usize| bit(self.tokens[self.token(at, lane)].1);
        let queries = (0..s.columns()).map(|column| bytes_of(&[self.query_scale(at, column)]));
        vec![
            ("attended_i", pack((0..lanes).map(attended))),
            ("part_valid_i", bit(at.pass == 0 && (beat >= BLOCK || s.upper(at.n)))),
            ("part_i", of_lanes(&|lane| self.parts[at.block + lane])),
            ("key_valid_i", bit(ends)),
            ("key_scale_i", of_lanes(&|lane| self.largest[self.token(at, lane)])),
            ("query_scale_i", pack(queries)),
        ]
    }
}

impl Sizes {
    pub fn beat(&self) -> usize {
        self.config.beat().get() as usize
    }

    fn columns(&self) -> usize {
        self.shape.columns as usize
    }

    /// A beat holds several tokens.
    pub fn narrow(&self, task: &Task) -> bool {
        task.dim < self.beat()
    }

    /// A beat is the second half of a block.
    fn upper(&self, n: usize) -> bool {
        self.beat() < BLOCK && n % 2 == 1
    }

    /// A channel's beats of keys, in all passes.
    pub fn keys(&self, task: &Task, channel: usize) -> VecDeque<Inputs> {
        let keys = Keys::new(self, task, channel);
        let elements: Vec<u8> = keys.tokens.iter().flat_map(|t| task.bytes(t.0, false).1.to_vec()).collect();
        let mut all = VecDeque::new();
        for (n, bytes) in elements.chunks(self.beat()).enumerate() {
            for pass in 0..key_passes(&self.config, task.group as u32) as usize {
                let at = At { n, block: n * self.beat() / BLOCK, pass };
                all.push_back([keys.of_cluster(at, bytes), keys.of_attention(at)].concat());
            }
        }
        all
    }

    /// A channel's beats of values, in all passes.
    pub fn values(&self, task: &Task, channel: usize) -> VecDeque<Inputs> {
        let (beat, pairs, columns) = (self.beat(), self.shape.pairs() as usize, self.columns());
        let tokens = task.tokens(channel, beat);
        let elements: Vec<u8> = tokens.iter().flat_map(|t| task.bytes(t.0, true).1.to_vec()).collect();
        let parts = task.dim.div_ceil(beat);
        let mut all = VecDeque::new();
        for (n, bytes) in elements.chunks(beat).enumerate() {
            for pass in 0..value_passes(&self.config, task.group as u32) as usize {
                let enabled = |column: usize| pass * pairs + column / 2 < task.group;
                let word = Bits::from_u64(self.cluster.word_width(), (pass * parts + n % parts) as u64);
                all.push_back(vec![
                    ("valid_i", bit(true)),
                    ("beat_i", bytes_of(bytes)),
                    ("axpy_i", bit(true)),
                    ("upper_i", bit(false)),
                    ("address_i", pack(vec![word; columns])),
                    ("enable_i", pack((0..columns).map(|column| bit(enabled(column))))),
                    ("first_i", pack(vec![bit(n < parts); columns])),
                ]);
            }
        }
        all
    }
}
