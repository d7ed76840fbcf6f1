//! Random programs: commands on a few families of records that do not meet, step tables, memory.

use crate::masked::END;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::{
    AbBlock, Add, Addr, Command, Coupling, Delta, End, GateDelta, GateHost, IndexBy, KvAppend, Load, Norm,
    NormKind, Pred, Quant, Rope, Store, StoreAct, VbLine,
};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, GateEntry, OUTPUT, PAIRED, SlotEntry, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_golden::Memory;
use fastcar_sim::Placement;
use fastcar_tests::rtl::Random;

/// Local bytes of every channel that records lie in; weights, programs and step tables lie behind.
pub const RECORDS: u64 = LISTS + CACHE_HEADS.len() as u64 * 8 * LIST;
/// Positions of caches: one block, a token more, a part of a block, whole blocks.
const POSITIONS: [u32; 4] = [32, 33, 100, 128];
const RING: u32 = 8;
/// Local bytes from one slot's records of a family to the next one's, and from index to index.
const SLOT: u64 = 0x4000;
const INDEX: u64 = 0x800;
/// Lines of the vector buffer that programs use.
const LINES: u64 = 32;
/// Words of the records of each family: one, whole lines, parts of lines, a long one.
const WORDS: [u32; 6] = [1, 32, 33, 100, 512, 500];

/// What a program may do.
pub type Any = fn(&mut Random) -> Command;

/// A program, its step table, and where they lie.
pub struct Run {
    pub program: Program,
    pub table: StepTable,
    pub at: Placement,
}

/// A command for no slot: no gate has decided, so nobody replays.
pub fn for_nobody(random: &mut Random) -> Command {
    let (first, second) = (random.below(8) as u16, random.below(8) as u16);
    match random.below(3) {
        0 => Add { pred: Pred::Replay, dst: VbLine(2 * first), src: VbLine(2 * second), words: 64 }.into(),
        1 => Quant { pred: Pred::Replay, src: VbLine(first), dst: AbBlock(second), blocks: 2, before: 0 }
            .into(),
        _ => Store { pred: Pred::Replay, ..store(random) }.into(),
    }
}

pub fn line(random: &mut Random) -> VbLine {
    VbLine(random.below(LINES) as u16)
}

pub fn pred(random: &mut Random) -> Pred {
    [Pred::All, Pred::All, Pred::Output, Pred::Compute, Pred::Replay][random.below(5) as usize]
}

/// A family of records that are loaded and stored: its address, what indexes it, bytes from index to index, words.
fn family(random: &mut Random) -> (Addr, IndexBy, u64, u32) {
    let family = random.below(2 * WORDS.len() as u64);
    let addr = Addr(0x4_0000 + family * 8 * SLOT);
    let words = WORDS[family as usize / 2];
    match family % 2 {
        0 => (addr, IndexBy::None, 0, words),
        _ => (addr, IndexBy::Ring, INDEX, words),
    }
}

fn store(random: &mut Random) -> Store {
    let (addr, index, index_stride, words) = family(random);
    let slot_stride = SLOT;
    Store { pred: pred(random), src: line(random), index, index_stride, slot_stride, words, addr }
}

/// Every slot's words of a family, from a line on.
pub fn store_all(src: VbLine, family: usize) -> Store {
    let (addr, words) = (Addr(0x4_0000 + 2 * family as u64 * 8 * SLOT), WORDS[family]);
    Store { src, words, addr, slot_stride: SLOT, ..Store::default() }
}

fn load(random: &mut Random) -> Load {
    let (addr, index, index_stride, words) = family(random);
    let (dst, accumulate, slot_stride) = (line(random), random.chance(50), SLOT);
    Load { pred: pred(random), dst, index, index_stride, slot_stride, words, addr, accumulate }
}

/// A command of the vector unit that reads records or the buffers, and writes no memory.
pub fn reading(random: &mut Random) -> Command {
    let (first, second) = (line(random), line(random));
    let words = [1, 32, 33, 100, 512, 1 + random.below(512) as u32][random.below(6) as usize];
    match random.below(6) {
        0 | 1 => load(random).into(),
        2 => {
            // A destination that begins within the source is no vector of its own.
            let dst = if second.0 < first.0 { first } else { second };
            let src = if second.0 < first.0 { second } else { first };
            let apart = u32::from(dst.0 - src.0) * 32;
            let words = if apart == 0 { words } else { words.min(apart) };
            Add { pred: pred(random), dst, src, words }.into()
        }
        3 => {
            let kind = if random.chance(50) { NormKind::Rms } else { NormKind::Layer };
            let (gamma, beta) = (Addr(0x1000), Addr(if kind == NormKind::Layer { 0x2000 } else { 0 }));
            let words = 32 * (1 + random.below(16) as u32);
            let (eps, inv_words) = (1e-5.into(), (1.0 / words as f32).into());
            let norm = Norm { src: first, dst: first, kind, words, eps, inv_words, ..Norm::default() };
            Norm { pred: pred(random), gamma, beta, ..norm }.into()
        }
        4 => {
            let heads = 1 + random.below(4) as u16;
            let rope = Rope { vec: first, heads, head_dim: 32, index_stride: 256, ..Rope::default() };
            Rope { pred: pred(random), table: Addr(0x4000), ..rope }.into()
        }
        _ => {
            let (dst, blocks) = (AbBlock(random.below(16) as u16), 1 + random.below(16) as u16);
            Quant { pred: pred(random), src: first, dst, blocks, before: 0 }.into()
        }
    }
}

/// Local byte of the records of blocks, and from slot to slot.
const ACTS: u64 = 0x1C_0000;
const ACT: u64 = RING as u64 * 0x400;
/// Blocks of the records of each family of blocks.
const BLOCKS: [u16; 3] = [1, 5, 16];

fn store_act(random: &mut Random) -> StoreAct {
    let family = random.below(BLOCKS.len() as u64);
    let (addr, blocks) = (Addr(ACTS + family * 8 * ACT), BLOCKS[family as usize]);
    let src = AbBlock(random.below(16) as u16);
    let (index, index_stride, slot_stride) = (IndexBy::Ring, 0x400, ACT);
    StoreAct { pred: pred(random), src, index, index_stride, slot_stride, blocks, addr }
}

/// Local byte of the caches, and from slot to slot.
pub const CACHES: u64 = 0x20_0000;
pub const CACHE: u64 = 0xC000;
/// Heads of the caches of each family, and blocks of a head.
pub const CACHE_HEADS: [(u16, u16); 8] = [(1, 1), (2, 1), (4, 1), (5, 1), (1, 2), (2, 2), (1, 3), (1, 4)];

/// The families of caches: their addresses, bytes from slot to slot, heads, blocks of a head.
pub fn caches() -> impl Iterator<Item = (Addr, u64, u16, u16)> {
    let family =
        |(n, (heads, scales)): (u64, (u16, u16))| (Addr(CACHES + n * 8 * CACHE), CACHE, heads, scales);
    (0..).zip(CACHE_HEADS).map(family)
}

/// One of them.
pub fn cache(random: &mut Random) -> (Addr, u64, u16, u16) {
    caches().nth(random.below(CACHE_HEADS.len() as u64) as usize).unwrap()
}

pub fn append(random: &mut Random) -> KvAppend {
    let (addr, slot_stride, kv_heads, scales) = cache(random);
    let (key, value, pred) = (line(random), line(random), pred(random));
    KvAppend { pred, key, value, kv_heads, head_dim: 32 * scales, addr, slot_stride }
}

/// Keys and values, among stores and what reads.
pub fn appending(random: &mut Random) -> Command {
    match random.below(10) {
        0..4 => append(random).into(),
        4..7 => storing(random),
        _ => reading(random),
    }
}

/// Gates, among what they let run.
pub fn deciding(random: &mut Random) -> Command {
    match random.below(10) {
        0..2 => GateHost { pred: pred(random), gate: 0 }.into(),
        2..4 => gate_delta(random).into(),
        4..6 => delta(random).into(),
        _ => appending(random),
    }
}

fn gate_delta(random: &mut Random) -> GateDelta {
    let family = random.below(BLOCKS.len() as u64);
    let (addr, blocks) = (Addr(ACTS + family * 8 * ACT), BLOCKS[family as usize]);
    let (index_stride, slot_stride) = (0x400, ACT);
    let threshold = [0.0, 0.5, 2.0, 1e9][random.below(4) as usize].into();
    let coupling = [Coupling::Independent, Coupling::BothAgree, Coupling::Mean][random.below(3) as usize];
    let (src, pred) = (AbBlock(random.below(16) as u16), pred(random));
    GateDelta { pred, src, gate: 0, blocks, coupling, addr, slot_stride, index_stride, threshold }
}

/// Local byte of the references of `delta`, and from slot to slot.
const REFERENCES: u64 = CACHES + CACHE_HEADS.len() as u64 * 8 * CACHE;
const REFERENCE: u64 = RING as u64 * 0x1000;
/// Local byte of the block lists of each family of caches, and from slot to slot.
pub const LISTS: u64 = REFERENCES + DELTA_BLOCKS.len() as u64 * 8 * REFERENCE;
pub const LIST: u64 = 0x100;
/// Blocks of the input of each family of `delta` commands.
const DELTA_BLOCKS: [u16; 4] = [1, 5, 9, 16];

fn delta(random: &mut Random) -> Delta {
    let family = random.below(DELTA_BLOCKS.len() as u64);
    let (addr, blocks) = (Addr(REFERENCES + family * 8 * REFERENCE), DELTA_BLOCKS[family as usize]);
    let dst = AbBlock(16 * random.below(2) as u16);
    let tau_sq = [0.0, 0.01, 0.1, 1.0, 1e9][random.below(5) as usize].into();
    let (src, pred, slot_stride, index_stride) = (line(random), pred(random), REFERENCE, 0x1000);
    Delta { pred, src, dst, blocks, tau_sq, addr, slot_stride, index_stride, ..Delta::default() }
}

/// Gives every gate an entry of its own in the step table; how many there are.
fn number_gates(commands: &mut [Command]) -> u16 {
    let mut count = 0;
    for command in commands {
        let gate = match command {
            Command::GateHost(c) => &mut c.gate,
            Command::GateDelta(c) => &mut c.gate,
            Command::GateTas(c) => &mut c.gate,
            Command::Delta(c) => &mut c.gate,
            _ => continue,
        };
        *gate = count;
        count += 1;
    }
    count
}

/// The same, and stores.
pub fn storing(random: &mut Random) -> Command {
    match random.below(10) {
        0..3 => store(random).into(),
        3 | 4 => store_act(random).into(),
        _ => reading(random),
    }
}

/// The whole of the buffers that programs use, filled for every slot.
pub fn fill() -> [Command; 2] {
    let words = 32 * (LINES as u32 + 16);
    let load = Load { addr: Addr(0x1_0000), slot_stride: 0x2000, words, ..Load::default() };
    [load.into(), Quant { blocks: 32, ..Quant::default() }.into()]
}

/// A program of so many commands behind those that fill the buffers, and a step table with some slots.
pub fn any_run(random: &mut Random, config: &AccelConfig, length: u64, any: Any) -> Run {
    let mut commands: Vec<Command> = (0..length).map(|_| any(random)).collect();
    if commands.iter().any(|command| command.pred() != Pred::Replay) {
        commands.splice(0..0, fill());
    }
    set_out(random, config, commands)
}

/// A program of these commands, a step table with some slots, and places for both.
pub fn set_out(random: &mut Random, config: &AccelConfig, mut commands: Vec<Command>) -> Run {
    commands.push(End::default().into());
    let gates = number_gates(&mut commands);
    let slots = 1 + random.below(config.slots().into()) as u32;
    let positions = POSITIONS[random.below(POSITIONS.len() as u64) as usize];
    let limits = Limits { slots, positions, ring: RING, tokens: 1, gates: gates.into() };
    let program = Program::new(config, limits, commands).unwrap();
    let mut table = StepTable::new(slots as usize, gates.into());
    for gate in &mut table.gates {
        let mut mask = || random.word() as u32 | if random.chance(40) { u32::MAX } else { 0 };
        *gate = GateEntry { allow: mask(), force: mask() & mask() };
    }
    for slot in &mut table.slots {
        let idle = SlotEntry::idle();
        let ring = if random.chance(60) { random.below(RING.into()) as u32 } else { idle.ring };
        let mut flag = |flag: u32, percent: u64| if random.chance(percent) { flag } else { 0 };
        let flags = flag(ACTIVE, 80) | flag(OUTPUT, 50) | flag(PAIRED, 60);
        // Leaning on the ends of blocks.
        let any = random.below(positions.into()) as u32;
        let pos = if random.chance(40) { (any | 31).min(positions - 1) } else { any };
        *slot = SlotEntry { flags, pos, ring, ..idle };
    }
    // Anywhere: across bursts and rows, before or behind each other.
    let pages = END + random.below(64) * 4096;
    let program_at = pages + random.below(64) * 64;
    let step = pages + 65_536 + random.below(64) * 64;
    let at = Placement { program: program_at, step, report: pages + 0x2_0000 + random.below(64) * 64 };
    Run { program, table, at }
}

/// Memory full of numbers of every size that sums of a few hundred do not overflow.
pub fn memory(random: &mut Random, config: &AccelConfig) -> Memory {
    let mut memory = Memory::new(config, Bytes(END));
    for channel in 0..config.channels() as usize {
        for word in memory.channel_mut(channel).chunks_exact_mut(4) {
            let bits = random.below(1 << 32) as u32;
            let exponent = 115 + bits % 24;
            let bits = if bits & 0x1F00 == 0 { 0 } else { bits & 0x807F_FFFF | exponent << 23 };
            word.copy_from_slice(&bits.to_le_bytes());
        }
    }
    memory
}
