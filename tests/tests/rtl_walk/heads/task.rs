//! What attention reads of a slot's cache on a channel, by the layout and the rules of docs/cycles.md (Streams).

use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::{Addr, Attn, Command, Pred};
use fastcar_arch::layout::KvLayout;
use fastcar_tests::rtl::Random;

/// Beats of a channel's addresses.
pub fn beats(config: &AccelConfig) -> u64 {
    (config.channel_capacity().get() / config.beat().get()).next_power_of_two()
}

/// The caches of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    pub heads: u32,
    pub dim: u32,
    /// Positions that there is room for.
    pub positions: u32,
    pub addr: u64,
    pub slot_stride: u64,
    pub pred: Pred,
    pub ahead: bool,
}

/// A run of beats, and whether it waits for writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    pub address: u64,
    pub length: u64,
    pub guarded: bool,
}

/// What its beats are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub values: bool,
    pub none: bool,
    pub last_block: bool,
    /// First and last token, and which of the block's are attended to; of an item without a block nothing.
    pub tokens: Option<[u64; 3]>,
}

/// A cycle of a channel's walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    pub run: Option<Run>,
    /// None: weights.
    pub span: Option<Span>,
}

/// Items that a stream brings.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    pub older: bool,
    pub own: bool,
}

impl Task {
    pub fn any(random: &mut Random, config: &AccelConfig) -> Self {
        let (channels, beat) = (config.channels(), config.beat().get());
        let beats = config.channel_capacity().get() / beat;
        let some = |random: &mut Random, limit: u32| 1 + random.below(limit.into()) as u32;
        // A head is a line at least.
        let heads = match random.below(8) {
            0 => 1,
            1 => channels,
            2 => channels + 1,
            3 => 2 * channels,
            4 => (channels / 2).max(1),
            5 => some(random, 3 * channels),
            _ => some(random, channels),
        };
        let heads = heads.min(config.vb_lines().max(channels));
        let dim = [32, 64, 96, 128, 32 * some(random, 32), 1024][random.below(6) as usize];
        let positions = match random.below(16) {
            0 => 1 << 15,
            1 => some(random, 1 << 15),
            2 => 32,
            _ => some(random, 24 * KV_BLOCK_TOKENS),
        };
        Self {
            heads,
            dim,
            positions,
            addr: random.below(beats) * beat,
            slot_stride: [0, beat, random.below(beats) * beat][random.below(3) as usize],
            pred: Pred::ALL[random.below(Pred::ALL.len() as u64) as usize],
            ahead: random.chance(50),
        }
    }

    /// A position that there is room for, often at a block's ends.
    pub fn position(&self, random: &mut Random) -> u32 {
        let any = random.below(self.positions.into()) as u32;
        let block = any / KV_BLOCK_TOKENS * KV_BLOCK_TOKENS;
        match random.below(5) {
            0 => block,
            1 => (block + KV_BLOCK_TOKENS - 1).min(self.positions - 1),
            2 => self.positions - 1,
            3 => any % KV_BLOCK_TOKENS,
            _ => any,
        }
    }

    pub fn command(&self) -> Command {
        let Self { heads, dim, addr, slot_stride, ahead, pred, .. } = *self;
        let (kv_heads, head_dim) = (heads as u16, dim as u16);
        let attn = Attn {
            addr: Addr(addr),
            slot_stride,
            heads: kv_heads,
            kv_heads,
            head_dim,
            ahead,
            pred,
            ..Attn::default()
        };
        Command::from(attn)
    }

    /// Channels that share a head.
    pub fn share(&self, config: &AccelConfig) -> u32 {
        (config.channels() / self.heads).max(1)
    }

    pub fn units(&self, config: &AccelConfig) -> u32 {
        (self.heads * self.share(config)).div_ceil(config.channels())
    }

    pub fn layout(&self, config: &AccelConfig) -> KvLayout {
        KvLayout::new(config, self.heads, self.dim, self.positions)
    }

    /// Beats of a channel's place of heads.
    pub fn unit_beats(&self, config: &AccelConfig) -> u64 {
        self.layout(config).local_bytes().get() / u64::from(self.units(config)) / config.beat().get()
    }

    /// First byte of a slot's cache.
    pub fn base(&self, slot: u64) -> u64 {
        self.addr.wrapping_add(slot.wrapping_mul(self.slot_stride))
    }

    /// Heads and blocks of a channel, place by place, up to the position's block.
    fn blocks(&self, config: &AccelConfig, position: u32, channel: u32) -> Vec<Vec<(u64, u64)>> {
        let layout = self.layout(config);
        let unit_bytes = self.unit_beats(config) * config.beat().get();
        let mut units = vec![Vec::new(); self.units(config) as usize];
        for head in 0..u64::from(self.heads) {
            for block in 0..=u64::from(position / KV_BLOCK_TOKENS) {
                let place = layout.block_place(head, block);
                if place.channel == channel as usize {
                    units[(place.offset / unit_bytes) as usize].push((head, block));
                }
            }
        }
        units
    }

    /// The walk over a slot's cache on a channel.
    pub fn steps(
        &self,
        config: &AccelConfig,
        slot: u64,
        position: u32,
        channel: u32,
        wanted: Wanted,
    ) -> Vec<Step> {
        let own_block = u64::from(position / KV_BLOCK_TOKENS);
        let mut steps = Vec::new();
        for unit in self.blocks(config, position, channel) {
            for values in [false, true] {
                for own in
                    [false, true].into_iter().filter(|&own| if own { wanted.own } else { wanted.older })
                {
                    let item: Vec<_> = unit.iter().filter(|b| (b.1 == own_block) == own).collect();
                    if item.is_empty() {
                        let span = Span { values, none: true, last_block: true, tokens: None };
                        steps.push(Step { run: None, span: Some(span) });
                    }
                    let last = item.len();
                    let of = |(n, &(head, block)): (usize, &(u64, u64))| {
                        let tokens = if own { u64::from(position % KV_BLOCK_TOKENS) + 1 } else { 32 };
                        let span = Span {
                            values,
                            none: false,
                            last_block: n + 1 == last,
                            tokens: Some([0, tokens - 1, (1 << tokens) - 1]),
                        };
                        let run = self.run(config, slot, (head, block, tokens), values, own);
                        Step { run: Some(run), span: Some(span) }
                    };
                    steps.extend(item.into_iter().enumerate().map(of));
                }
            }
        }
        steps
    }

    /// The run of a block's first tokens: keys from their first scale byte on, or values.
    fn run(
        &self,
        config: &AccelConfig,
        slot: u64,
        (head, block, tokens): (u64, u64, u64),
        values: bool,
        guarded: bool,
    ) -> Run {
        let beat = config.beat().get();
        let places = self.layout(config).token(head, block * u64::from(KV_BLOCK_TOKENS));
        let elements = tokens * u64::from(self.dim);
        let (first, end) = if values {
            (places.value, places.value + elements)
        } else {
            (places.key_scales, places.key + elements)
        };
        let (first, end) = (first / beat, end.div_ceil(beat));
        let address = (self.base(slot) / beat).wrapping_add(first) % beats(config);
        Run { address, length: end - first, guarded }
    }
}
