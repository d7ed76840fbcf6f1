//! Random programs with attention.

use crate::products::multiplying;
use crate::programs::{self, Run, append, appending, cache, line, pred};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{AbBlock, Attn, Command, Quant};
use fastcar_arch::layout::KvLayout;
use fastcar_golden::Memory;
use fastcar_tests::rtl::{Cover, Random};

/// Blocks of queries that a command reads at most.
const BLOCKS: u16 = 16;

/// Attention over a family of caches.
fn attn(random: &mut Random) -> Attn {
    let (addr, slot_stride, kv_heads, scales) = cache(random);
    let most = BLOCKS / (kv_heads * scales);
    let group = 1 + random.below(u64::from(most)) as u16;
    let head_dim = 32 * scales;
    let scale = (std::f32::consts::LOG2_E / f32::from(head_dim).sqrt()).into();
    let src = AbBlock(random.below(u64::from(BLOCKS) + 1) as u16);
    let (heads, ahead, dst) = (kv_heads * group, random.chance(50), line(random));
    Attn {
        pred: pred(random),
        src,
        dst,
        heads,
        head_dim,
        kv_heads,
        scale,
        addr,
        slot_stride,
        ahead,
        ..Attn::default()
    }
}

/// Attention, and what comes before and behind it.
fn attending(random: &mut Random) -> Vec<Command> {
    let command = match random.below(10) {
        0..4 => attn(random).into(),
        4 | 5 => append(random).into(),
        6 => {
            let (src, dst) = (line(random), AbBlock(random.below(16) as u16));
            let blocks = 1 + random.below(16) as u16;
            Quant { pred: pred(random), src, dst, blocks, before: 0 }.into()
        }
        7 => {
            return multiplying(random)
                .into_iter()
                .chain(random.chance(60).then(|| attn(random).into()))
                .collect();
        }
        _ => appending(random),
    };
    vec![command]
}

/// A program with attention behind the commands that fill the buffers.
pub fn heads_run(random: &mut Random, config: &AccelConfig, length: u64) -> Run {
    let mut commands: Vec<Command> = programs::fill().into_iter().chain(crate::products::fill()).collect();
    commands.extend((0..length).flat_map(|_| attending(random)));
    commands.extend(crate::products::keep());
    programs::set_out(random, config, commands)
}

/// Gives the tokens of all caches scales near each other, so that many of them count; some are NaN.
pub fn caches(random: &mut Random, config: &AccelConfig, positions: u32, memory: &mut Memory) {
    for (addr, slot_stride, kv_heads, scales) in programs::caches() {
        let layout = KvLayout::new(config, kv_heads.into(), 32 * u32::from(scales), positions);
        let strange = random.chance(10);
        for slot in 0..u64::from(config.slots()) {
            for (head, token) in
                (0..u64::from(kv_heads)).flat_map(|h| (0..u64::from(positions)).map(move |t| (h, t)))
            {
                let places = layout.token(head, token);
                let base = addr.0 + slot * slot_stride;
                let channel = memory.channel_mut(places.channel);
                for (at, low) in [(places.key_scales, 118), (places.value_scales, 112)] {
                    for byte in &mut channel[(base + at) as usize..][..usize::from(scales)] {
                        let any = random.below(12);
                        *byte = if strange && random.chance(2) { 255 } else { low + any as u8 };
                    }
                }
            }
        }
    }
}

/// What runs with attention have to meet.
pub fn cover() -> Cover {
    Cover::new(&[
        "read ahead",
        "by main",
        "several query heads",
        "several passes",
        "several places",
        "a head on several channels",
        "several blocks of a head",
        "behind a product",
        "one behind the other",
    ])
}

/// Notes what a run meets.
pub fn hit(cover: &mut Cover, config: &AccelConfig, run: &Run) {
    let mut before = None;
    for command in run.program.commands() {
        if let Command::Attn(c) = command {
            let (channels, kv_heads, group) =
                (config.channels(), u32::from(c.kv_heads), c.heads / c.kv_heads);
            cover.hit("read ahead", c.ahead);
            cover.hit("by main", !c.ahead);
            cover.hit("several query heads", group > 1);
            cover.hit("several passes", u32::from(group) > config.columns());
            cover.hit("several places", kv_heads > channels);
            cover.hit("a head on several channels", kv_heads < channels || channels == 1);
            cover.hit("several blocks of a head", c.head_dim > 32);
            cover.hit("behind a product", matches!(before, Some(Command::Matvec(_))));
            cover.hit("one behind the other", matches!(before, Some(Command::Attn(_))));
        }
        before = Some(*command);
    }
}
