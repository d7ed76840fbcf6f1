//! Random programs with scores of past keys.

use crate::programs::{CACHE, CACHE_HEADS, CACHES, Run, deciding, fill, line, pred, set_out};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{AbBlock, Addr, Command, Coupling, GateTas, Quant, VbLine};
use fastcar_arch::step::ACTIVE;
use fastcar_tests::rtl::{Cover, Random};

/// Where the queries stand, and how many blocks there are at most.
const QUERIES: AbBlock = AbBlock(32);
const MOST: u16 = 24;

/// A score on one of the caches, by a query head for each key/value head, or several.
fn gate_tas(random: &mut Random) -> GateTas {
    let family = random.below(CACHE_HEADS.len() as u64);
    let (kv_heads, scales) = CACHE_HEADS[family as usize];
    let group = 1 + random.below((MOST / (kv_heads * scales)).min(6).into()) as u16;
    let coupling = [Coupling::Independent, Coupling::BothAgree, Coupling::Mean][random.below(3) as usize];
    let threshold = [f32::NEG_INFINITY, -1.0, 0.0, 1e-6, 1.0, 1e9][random.below(6) as usize].into();
    let period = [1, 2, 8, 31, 32, 33, 64, 100, 1 << 20][random.below(9) as usize];
    let scale = [1.0, 0.125, -0.3][random.below(3) as usize].into();
    let shape = GateTas { heads: kv_heads * group, kv_heads, head_dim: 32 * scales, ..GateTas::default() };
    let (addr, slot_stride) = (Addr(CACHES + family * 8 * CACHE), CACHE);
    GateTas {
        pred: pred(random),
        src: QUERIES,
        coupling,
        addr,
        slot_stride,
        period,
        threshold,
        scale,
        ..shape
    }
}

/// Gates of past keys among others and what they let run; what fills the queries before, now and then.
pub fn scoring_run(random: &mut Random, config: &AccelConfig, length: u64) -> Run {
    let mut commands = fill().to_vec();
    let mut filled = 0;
    for _ in 0..length {
        let command = if random.chance(45) { gate_tas(random).into() } else { deciding(random) };
        if let Command::GateTas(c) = command {
            let blocks = c.heads * (c.head_dim / 32);
            if filled != blocks || random.chance(40) {
                let src = VbLine(line(random).0 % 16);
                commands.push(Quant { src, dst: QUERIES, blocks, ..Quant::default() }.into());
                filled = blocks;
            }
        }
        commands.push(command);
    }
    set_out(random, config, commands)
}

/// What runs should meet.
pub fn cover() -> Cover {
    Cover::new(&[
        "past keys",
        "none yet",
        "some yet",
        "nobody",
        "not allowed",
        "a group of heads",
        "several heads a channel",
        "channels without a head",
        "blocks of a head",
        "no slot of several",
    ])
}

/// Notes what a run meets.
pub fn hit(cover: &mut Cover, config: &AccelConfig, run: &Run) {
    let active: Vec<_> =
        run.table.slots.iter().enumerate().filter(|(_, slot)| slot.flags & ACTIVE != 0).collect();
    for command in run.program.commands() {
        let Command::GateTas(c) = command else { continue };
        let entry = run.table.gates[usize::from(c.gate)];
        let allowed: Vec<_> = active.iter().filter(|(n, _)| entry.allow >> n & 1 == 1).collect();
        let past = allowed.iter().filter(|(_, slot)| slot.pos >= c.period).count();
        cover.hit("past keys", past > 0);
        cover.hit("none yet", past == 0 && !allowed.is_empty());
        cover.hit("some yet", past > 0 && past < allowed.len());
        cover.hit("nobody", allowed.is_empty());
        cover.hit("not allowed", allowed.len() < active.len());
        cover.hit("a group of heads", c.heads > c.kv_heads);
        let channels = config.channels();
        let one = channels == 1;
        cover.hit("several heads a channel", u32::from(c.kv_heads) > channels);
        cover.hit("channels without a head", one || u32::from(c.kv_heads) < channels);
        cover.hit("blocks of a head", c.head_dim > 32);
        cover.hit("no slot of several", past == 0 && allowed.len() > 1);
    }
}
