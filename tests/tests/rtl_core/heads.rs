//! Random programs with attention.

use crate::products::multiplying;
use crate::programs::{self, CACHE, CACHES, LIST, LISTS, Run, append, appending, cache, line, pred};
use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS};
use fastcar_arch::isa::{AbBlock, Addr, Attn, Command, Pred, Quant};
use fastcar_arch::layout::{KvLayout, ListLayout};
use fastcar_arch::step::StepTable;
use fastcar_golden::{Decisions, Memory};
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
    let (heads, dst, listed) = (kv_heads * group, line(random), random.chance(50));
    let family = (addr.0 - CACHES) / (8 * CACHE);
    let (list, list_stride, list_entries) = (Addr(LISTS + family * 8 * LIST), LIST, room(family));
    let lists = Attn { list, list_stride, list_entries, ahead: true, ..Attn::default() };
    let lists = if listed { lists } else { Attn { ahead: random.chance(50), ..Attn::default() } };
    Attn { pred: pred(random), src, dst, heads, head_dim, kv_heads, scale, addr, slot_stride, ..lists }
}

/// Entries for which the lists of a family of caches have room: of one head fewer than there may be blocks.
fn room(family: u64) -> u16 {
    2 + family as u16 % 3
}

/// Which tokens of a block are attended to.
fn mask(random: &mut Random) -> u32 {
    let any = random.word() as u32;
    [u32::MAX, any, any << 20, any >> 20, 1 << random.below(32), 1, 0][random.below(7) as usize]
}

/// Writes block lists for all slots and families of caches.
pub fn lists(random: &mut Random, config: &AccelConfig, table: &StepTable, memory: &mut Memory) {
    for (family, (.., kv_heads, _)) in (0..).zip(programs::caches()) {
        let layout = ListLayout::new(config, kv_heads.into(), room(family).into());
        for (slot, entry) in (0..).zip(&table.slots) {
            let blocks = 0..=entry.pos / KV_BLOCK_TOKENS;
            let often = [0, 50, 80, 100][random.below(4) as usize];
            let list = |random: &mut Random| {
                let blocks = blocks.clone().filter(|_| random.chance(often)).collect::<Vec<_>>();
                blocks.into_iter().map(|block| (block, mask(random))).collect::<Vec<_>>()
            };
            let lists: Vec<_> = (0..kv_heads).map(|_| list(random)).collect();
            let at = (LISTS + (family * 8 + slot) * LIST) as usize;
            for (channel, bytes) in layout.record(entry.pos, &lists).iter().enumerate() {
                memory.channel_mut(channel)[at..][..bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// What a block list can be wrong in.
const FAULTS: [&str; 5] = ["its length", "its order", "a row beyond", "no token", "a token beyond"];
/// A list where a channel has no head.
const HEADLESS: &str = "no head";

/// Those that a configuration may have.
pub fn faults(config: &AccelConfig) -> Vec<&'static str> {
    let some = (config.channels() > 1).then_some(HEADLESS);
    FAULTS.into_iter().chain(some).collect()
}

/// A program with listed attention, which is its last command but for the end.
pub fn listed_run(random: &mut Random, config: &AccelConfig) -> Run {
    let mut commands: Vec<Command> = programs::fill().into();
    let listed = std::iter::repeat_with(|| attn(random)).find(|c| c.list_entries > 0);
    commands.push(Attn { pred: Pred::All, ..listed.unwrap() }.into());
    programs::set_out(random, config, commands)
}

/// Makes some list wrong of a run's last attention; its place in the program.
pub fn spoil(
    random: &mut Random,
    config: &AccelConfig,
    run: &Run,
    fault: &str,
    memory: &mut Memory,
) -> usize {
    let position = run.program.commands().len() - 2;
    let Command::Attn(c) = run.program.commands()[position] else { panic!("attention is the last") };
    let layout = ListLayout::new(config, c.kv_heads.into(), c.list_entries.into());
    let slot = random.below(run.table.slots.len() as u64);
    let own = run.table.slots[slot as usize].pos / KV_BLOCK_TOKENS;
    let head = random.below(c.kv_heads.into()) as u32;
    let residue = random.below(layout.share().into()) as u32;
    let (place, rows) = (layout.place(head, residue), layout.rows(own, residue));
    let at = layout.headless().next().filter(|_| fault == HEADLESS).unwrap_or(place.header);
    let room = u32::from(c.list_entries);
    let beyond = [rows, rows + 1, 1 << 10, u32::MAX][random.below(4) as usize];
    let (header, entries) = match fault {
        "its length" => ([room + 1, room + 7, 1 << 10, u32::MAX][random.below(4) as usize], vec![]),
        "its order" => (2, vec![[1, 7], [random.below(2) as u32, 7]]),
        "a row beyond" => (1, vec![[beyond, 7]]),
        "no token" => (1, vec![[0, 0]]),
        HEADLESS => (1, vec![[0, 7]]),
        _ => (0, vec![]),
    };
    let mask = if fault == "a token beyond" { 1 << 31 } else { 0 };
    let base = c.list.0 + slot * c.list_stride;
    let channel = memory.channel_mut(at.channel);
    let mut put = |at: u64, words: [u32; 2]| {
        let bytes = words.map(u32::to_le_bytes);
        channel[(base + at) as usize..][..8].copy_from_slice(bytes.as_flattened());
    };
    put(at.offset, [header, mask]);
    (0..).zip(entries).for_each(|(n, entry)| put(place.entries + 8 * n, entry));
    position
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
        "by lists",
        "lists behind lists",
        "nothing listed",
        "no own block listed",
        "no older block listed",
        "a block in two runs",
        "a hole",
    ])
}

/// Notes what a run meets.
pub fn hit(cover: &mut Cover, config: &AccelConfig, run: &Run, decisions: &Decisions) {
    let mut before = None;
    for command in run.program.commands() {
        if let Command::Attn(c) = command {
            let (channels, kv_heads, group) =
                (config.channels(), u32::from(c.kv_heads), c.heads / c.kv_heads);
            cover.hit("by lists", c.list_entries > 0);
            let listed = |c: &Command| matches!(c, Command::Attn(c) if c.list_entries > 0);
            cover.hit("lists behind lists", listed(command) && before.as_ref().is_some_and(listed));
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
    for ((_, slot, _), list) in &decisions.lists {
        let own = run.table.slots[*slot as usize].pos / KV_BLOCK_TOKENS;
        cover.hit("nothing listed", list.is_empty());
        cover.hit("no own block listed", !list.is_empty() && list.iter().all(|entry| entry.0 != own));
        cover.hit("no older block listed", list.len() == 1 && list[0].0 == own && own > 0);
        cover.hit("a block in two runs", list.iter().any(|entry| entry.1 & 1 == 0));
        let hole = |mask: u32| mask.leading_zeros() + mask.trailing_zeros() + mask.count_ones() < 32;
        cover.hit("a hole", list.iter().any(|entry| hole(entry.1)));
    }
}
