//! Commands one by one, on hand-made programs: what sessions on real models do not reach.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa::*;
use fastcar_arch::layout::{ListLayout, RecordLayout};
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::step::{ACTIVE, GateEntry, NO_RING, PAIRED, SlotEntry, StepReport, StepTable};
use fastcar_arch::units::Bytes;
use fastcar_golden::{Decisions, Golden, GoldenError, Memory};
use proptest::prelude::*;

const LIMITS: Limits = Limits { slots: 4, positions: 256, ring: 8, tokens: 64, gates: 1 };
/// Local addresses of the test's regions.
const INPUT: u64 = 0;
const OUTPUT: u64 = 0x1_0000;
const KV: u64 = 0x2_0000;
const LIST: u64 = 0x10_0000;
const RING: u64 = 0x11_0000;
const STRIDE: u64 = 0x2000;
const KV_STRIDE: u64 = 0x2_0000;

struct Rig {
    machine: Golden,
    config: AccelConfig,
}

impl Rig {
    fn new(preset: &str) -> Self {
        let config = AccelConfig::preset(preset).unwrap();
        let machine = Golden::new(config.clone(), Memory::new(&config, Bytes(0x20_0000)));
        Self { machine, config }
    }

    fn program(&self, mut commands: Vec<Command>) -> Program {
        commands.push(End::default().into());
        Program::new(&self.config, LIMITS, commands).unwrap()
    }

    fn run(&mut self, commands: Vec<Command>, table: &StepTable) -> Result<StepReport, GoldenError> {
        self.machine.run(&self.program(commands), table)
    }

    /// Runs recorded, and holds report and memory to those of a plain run.
    fn recorded(&mut self, commands: Vec<Command>, table: &StepTable) -> (StepReport, Decisions) {
        let program = self.program(commands);
        let mut plain = self.machine.clone();
        let expected = plain.run(&program, table).unwrap();
        let (report, decisions) = self.machine.run_recorded(&program, table).unwrap();
        // As bytes: scores that were not computed are NaN.
        assert_eq!(report.to_bytes(), expected.to_bytes());
        for channel in 0..self.config.channels() as usize {
            assert!(self.machine.memory().channel(channel) == plain.memory().channel(channel));
        }
        (report, decisions)
    }

    fn input(&mut self, slot: u64, words: &[f32]) {
        self.machine.memory_mut().write_vector(INPUT + slot * STRIDE, words);
    }

    fn output(&self, slot: u64, words: usize) -> Vec<f32> {
        let mut out = vec![0.0; words];
        self.machine.memory().read_vector(OUTPUT + slot * STRIDE, &mut out);
        out
    }
}

fn load(dst: u16, words: u32) -> Command {
    Load { dst: VbLine(dst), words, addr: Addr(INPUT), slot_stride: STRIDE, ..Load::default() }.into()
}

fn store(src: u16, words: u32) -> Command {
    Store { src: VbLine(src), words, addr: Addr(OUTPUT), slot_stride: STRIDE, ..Store::default() }.into()
}

/// A table with the first slots active at a position.
fn table(active: usize, pos: u32) -> StepTable {
    let mut table = StepTable::new(4, 1);
    for slot in &mut table.slots[..active] {
        *slot = SlotEntry { flags: ACTIVE, pos, ring: pos % 8, ..SlotEntry::idle() };
    }
    table
}

fn words(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    (0..n)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// One token of a cache of two key/value heads with four query heads: load q, k, v, append, attend, store.
fn attention(list_entries: u16) -> Vec<Command> {
    let kv = (Addr(KV), KV_STRIDE);
    vec![
        load(0, 256),
        Quant { src: VbLine(0), dst: AbBlock(0), blocks: 4, ..Quant::default() }.into(),
        KvAppend {
            key: VbLine(4),
            value: VbLine(6),
            kv_heads: 2,
            head_dim: 32,
            addr: kv.0,
            slot_stride: kv.1,
            ..KvAppend::default()
        }
        .into(),
        Attn {
            src: AbBlock(0),
            dst: VbLine(8),
            heads: 4,
            head_dim: 32,
            kv_heads: 2,
            scale: 0.3.into(),
            addr: kv.0,
            slot_stride: kv.1,
            list: Addr(LIST),
            list_stride: 0x1000,
            list_entries,
            ahead: list_entries > 0,
            ..Attn::default()
        }
        .into(),
        store(8, 128),
    ]
}

/// Writes the same block list for both heads of slot 0, at a position.
fn write_list(rig: &mut Rig, room: u16, pos: u32, entries: &[(u32, u32)]) {
    let layout = ListLayout::new(rig.machine.config(), 2, room.into());
    for (channel, bytes) in layout.record(pos, &[entries.to_vec(), entries.to_vec()]).iter().enumerate() {
        let memory = rig.machine.memory_mut().channel_mut(channel);
        memory[LIST as usize..][..bytes.len()].copy_from_slice(bytes);
    }
}

/// Fills the cache up to `pos` and returns the rig after the last dense step, with all inputs.
fn filled(preset: &str, pos: u32) -> (Rig, Vec<Vec<f32>>) {
    let mut rig = Rig::new(preset);
    let inputs: Vec<Vec<f32>> = (0..=pos).map(|p| words(u64::from(p) + 7, 256)).collect();
    for (p, input) in inputs.iter().enumerate() {
        rig.input(0, input);
        rig.run(attention(0), &table(1, p as u32)).unwrap();
    }
    (rig, inputs)
}

/// Softmax attention of the last token over some tokens, in binary64.
fn expected(inputs: &[Vec<f32>], tokens: &[usize]) -> Vec<f64> {
    let query = inputs.last().unwrap();
    let mut out = Vec::new();
    for head in 0..4 {
        let (q, kv) = (&query[head * 32..][..32], head / 2 * 32);
        let score = |t: usize| {
            let k = &inputs[t][128 + kv..][..32];
            (q.iter().zip(k).map(|(a, b)| f64::from(a * b)).sum::<f64>() * f64::from(0.3f32)).exp2()
        };
        let total: f64 = tokens.iter().map(|&t| score(t)).sum();
        out.extend((0..32).map(|c| {
            tokens.iter().map(|&t| score(t) * f64::from(inputs[t][192 + kv + c])).sum::<f64>() / total
        }));
    }
    out
}

fn close(found: &[f32], expected: &[f64]) {
    for (f, e) in found.iter().zip(expected) {
        assert!((f64::from(*f) - e).abs() < 0.02, "{f} is not near {e}");
    }
}

#[test]
fn attention_reads_what_the_list_names() {
    for preset in ["tiny", "u55c"] {
        let (mut rig, inputs) = filled(preset, 99);
        let dense = rig.output(0, 128);
        close(&dense, &expected(&inputs, &(0..100).collect::<Vec<_>>()));

        write_list(&mut rig, 4, 99, &[(0, u32::MAX), (1, u32::MAX), (2, u32::MAX), (3, u32::MAX)]);
        rig.run(attention(4), &table(1, 99)).unwrap();
        assert_eq!(rig.output(0, 128), dense, "a list of every block is dense attention, bit for bit");

        // Four sink tokens and a window of the last 16.
        write_list(&mut rig, 4, 99, &[(0, 0xF), (2, 0xFFF0_0000), (3, 0xF)]);
        rig.run(attention(4), &table(1, 99)).unwrap();
        let tokens: Vec<usize> = (0..4).chain(84..100).collect();
        close(&rig.output(0, 128), &expected(&inputs, &tokens));

        write_list(&mut rig, 4, 99, &[]);
        rig.run(attention(4), &table(1, 99)).unwrap();
        assert_eq!(rig.output(0, 128), [0.0; 128], "without a token the output is zero");
    }
}

#[test]
fn bad_block_lists_are_refused() {
    let (mut rig, _) = filled("tiny", 70);
    let of = "slot 0, key/value head 0";
    let row = |entry: u32, found: u32| {
        format!(
            "{of}: entry {entry} of the block list on channel 0 is row {found}; rows ascend, and there are 2 before the slot's own block"
        )
    };
    let mask = |found: u32| {
        format!(
            "{of}: a mask of the block list on channel 0 is {found:#010x}; that of an entry is not 0, that of the own block has no bit beyond the slot's position"
        )
    };
    // Headers of two heads, then the first head's entries.
    for (words, message) in [
        ([2, 0, 0, 0, 1, 1, 1, 1], row(1, 1)),
        ([2, 0, 0, 0, 1, 1, 0, 1], row(1, 0)),
        ([1, 0, 0, 0, 2, 1, 0, 0], row(0, 2)),
        ([1, 0, 0, 0, u32::MAX, 1, 0, 0], row(0, u32::MAX)),
        ([2, 0, 0, 0, 0, 1, 1, 0], mask(0)),
        ([0, 0x80, 0, 0, 0, 0, 0, 0], mask(0x80)),
        (
            [9, 0, 0, 0, 0, 0, 0, 0],
            format!("{of}: the block list on channel 0 says 9 entries, it has room for 4"),
        ),
    ] {
        rig.machine.memory_mut().channel_mut(0)[LIST as usize..][..32]
            .copy_from_slice(bytemuck::bytes_of(&words));
        assert_eq!(rig.run(attention(4), &table(1, 70)).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_program_beyond_the_image_is_refused() {
    let config = AccelConfig::preset("tiny").unwrap();
    let mut machine = Golden::new(config.clone(), Memory::new(&config, Bytes(4096)));
    let program = Program::new(&config, LIMITS, vec![store(0, 32), End::default().into()]).unwrap();
    let error = machine.run(&program, &table(1, 0)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the program needs 90240 bytes on each channel, the memory image has 4096 bytes"
    );
    let bad = table(1, 256);
    assert_eq!(
        machine.run(&program, &bad).unwrap_err().to_string(),
        "step table: slot 0: pos is 256, the limit is 255"
    );
}

/// Host gate, then a marker written by replaying slots only.
fn replayed(rig: &mut Rig, gate: GateEntry, table: &mut StepTable) -> (u32, Vec<bool>) {
    table.gates[0] = gate;
    (0..4).for_each(|s| rig.input(s, &[1.0; 32]));
    rig.machine.memory_mut().write_record(OUTPUT, &[0; 4 * STRIDE as usize]);
    let marked = Store {
        pred: Pred::Replay,
        ..match store(0, 32) {
            Command::Store(c) => c,
            _ => unreachable!(),
        }
    };
    let report = rig.run(vec![GateHost::default().into(), load(0, 32), marked.into()], table).unwrap();
    (report.gates[0].replay, (0..4).map(|s| rig.output(s, 1)[0] == 1.0).collect())
}

#[test]
fn the_host_gate_needs_both_masks() {
    let mut rig = Rig::new("tiny");
    let (replay, marks) = replayed(&mut rig, GateEntry { allow: 0b0111, force: 0b1110 }, &mut table(4, 0));
    assert_eq!((replay, marks), (0b0110, vec![false, true, true, false]));
    let (replay, marks) = replayed(&mut rig, GateEntry { allow: 0b1111, force: 0b1111 }, &mut table(2, 0));
    assert_eq!((replay, marks), (0b0011, vec![true, true, false, false]), "idle slots take no part");
}

/// Scores of a TAS gate whose q.k is 2.0 and 0.5 in the two slots of a pair.
fn coupled(coupling: Coupling, threshold: f32, allow: u32, paired: bool) -> u32 {
    let mut rig = Rig::new("tiny");
    let gate = GateTas {
        src: AbBlock(0),
        heads: 1,
        head_dim: 32,
        kv_heads: 1,
        coupling,
        addr: Addr(KV),
        slot_stride: KV_STRIDE,
        period: 8,
        threshold: threshold.into(),
        scale: 1.0.into(),
        ..GateTas::default()
    };
    let append = KvAppend {
        key: VbLine(0),
        value: VbLine(0),
        kv_heads: 1,
        head_dim: 32,
        addr: Addr(KV),
        slot_stride: KV_STRIDE,
        ..KvAppend::default()
    };
    let mut vector = [0.0; 32];
    vector[0] = 1.0;
    rig.input(0, &vector);
    rig.input(1, &vector);
    rig.run(vec![load(0, 32), append.into()], &table(2, 0)).unwrap();
    for (slot, q) in [(0, 2.0), (1, 0.5)] {
        vector[0] = q;
        rig.input(slot, &vector);
    }
    let mut now = table(2, 8);
    now.gates[0].allow = allow;
    if paired {
        now.slots[..2].iter_mut().for_each(|s| s.flags |= PAIRED);
    }
    let quant = Quant { src: VbLine(0), dst: AbBlock(0), blocks: 1, ..Quant::default() };
    let report = rig.run(vec![load(0, 32), quant.into(), gate.into()], &now).unwrap();
    if allow == 3 {
        assert_eq!(report.gates[0].score[..2], [2.0, 0.5]);
    }
    report.gates[0].replay
}

#[test]
fn pairs_settle_as_their_coupling_says() {
    use Coupling::{BothAgree, Independent, Mean};
    assert_eq!(coupled(Independent, 1.0, 3, true), 0b01);
    assert_eq!(coupled(BothAgree, 1.0, 3, true), 0);
    assert_eq!(coupled(BothAgree, 0.4, 3, true), 0b11);
    assert_eq!(coupled(Mean, 1.0, 3, true), 0b11, "the mean of 2 and 0.5 is above 1");
    assert_eq!(coupled(Mean, 1.25, 3, true), 0, "above, not at the threshold");
    assert_eq!(coupled(BothAgree, 1.0, 3, false), 0b01, "slots that are no pair decide alone");
    assert_eq!(coupled(Mean, 0.1, 1, true), 0, "a pair replays together or not at all");
    assert_eq!(coupled(Independent, 2.0, 3, true), 0, "strictly above");
}

/// Delta command alone: the report and the quantised change as stored reference.
fn delta(rig: &mut Rig, input: &[f32], tau_sq: f32, allow: u32, ring: u32) -> (u32, Vec<f32>) {
    rig.input(0, input);
    let blocks = (input.len() / 32) as u16;
    let command = Delta {
        src: VbLine(0),
        dst: AbBlock(0),
        blocks,
        tau_sq: tau_sq.into(),
        addr: Addr(RING),
        slot_stride: 0x4000,
        index_stride: 0x800,
        ..Delta::default()
    };
    let mut now = table(1, 9);
    now.slots[0].ring = ring;
    now.gates[0].allow = allow;
    let report = rig.run(vec![load(0, input.len() as u32), command.into()], &now).unwrap();
    let mut reference = vec![0.0; input.len()];
    rig.machine.memory().read_vector(RING + 3 * 0x800, &mut reference);
    (report.gates[0].active_blocks[0], reference)
}

#[test]
fn delta_follows_changed_blocks_only() {
    let mut rig = Rig::new("edge");
    let mut input = words(3, 128);
    let (active, reference) = delta(&mut rig, &input, 1e-4, 0, 3);
    assert_eq!(active, 4, "a fresh slot takes every block");
    let near = |a: &[f32], b: &[f32], eps: f32| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= eps);
    assert!(near(&reference, &input, 1.0 / 64.0));

    let (active, same) = delta(&mut rig, &input, 1e-3, 1, 3);
    assert_eq!((active, &same), (0, &reference), "what has not changed is not touched");

    input[40] += 0.5;
    let (active, moved) = delta(&mut rig, &input, 1e-3, 1, 3);
    assert_eq!(active, 1);
    assert_eq!((&moved[..32], &moved[64..]), (&reference[..32], &reference[64..]));
    assert!(near(&moved[32..64], &input[32..64], 0.01), "the active block follows");

    let (active, _) = delta(&mut rig, &input, 0.0, 1, 3);
    assert_eq!(active, 4, "with threshold 0 the rounding of the reference is a change");
    let (active, kept) = delta(&mut rig, &words(9, 128), 1.0, 1, NO_RING);
    assert_eq!(active, 4, "without a ring position a slot is fresh");
    assert!(near(&kept, &input, 0.01), "and leaves no reference");
}

#[test]
fn recorded_lists_are_those_in_memory() {
    let (mut rig, _) = filled("tiny", 70);
    let entries = [(0, 0xF), (1, 0x8000_0000), (2, u32::MAX)];
    write_list(&mut rig, 4, 70, &entries);
    let (_, decisions) = rig.recorded(attention(4), &table(1, 70));
    // Command 3 is the attention; one slot, two key/value heads.
    let seen = [entries[0], entries[1], (2, 0x7F)];
    let expected = [0, 1].map(|head| ((3, 0, head), seen.to_vec()));
    assert_eq!(decisions.lists, expected.into());
    let (_, decisions) = rig.recorded(attention(0), &table(1, 70));
    assert_eq!(decisions, Decisions { replay: vec![0], blocks: vec![vec![]], ..Decisions::default() });
}

#[test]
fn recorded_gates_are_those_of_the_report() {
    let mut rig = Rig::new("tiny");
    let mut now = table(3, 0);
    now.gates[0] = GateEntry { allow: 0b1011, force: 0b1110 };
    let (report, decisions) = rig.recorded(vec![GateHost::default().into()], &now);
    assert_eq!((report.gates[0].replay, decisions.replay), (0b0010, vec![0b0010]));
    assert!(decisions.blocks[0].is_empty() && decisions.lists.is_empty());
}

#[test]
fn recorded_blocks_are_those_that_changed() {
    let mut rig = Rig::new("edge");
    let command = Delta {
        src: VbLine(0),
        dst: AbBlock(0),
        blocks: 4,
        tau_sq: 1e-3.into(),
        addr: Addr(RING),
        slot_stride: 0x4000,
        index_stride: 0x800,
        ..Delta::default()
    };
    let commands = || vec![load(0, 128), command.into()];
    let mut inputs = [words(3, 128), words(4, 128)];
    let write = |rig: &mut Rig, inputs: &[Vec<f32>]| (0..2).for_each(|s| rig.input(s as u64, &inputs[s]));
    write(&mut rig, &inputs);
    let mut now = table(2, 1);
    let (_, decisions) = rig.recorded(commands(), &now);
    assert_eq!(decisions.blocks, [vec![0b11; 4]], "fresh slots take every block");
    assert_eq!(decisions.replay, [0], "a delta command makes no replay decision");

    inputs[0][40] += 0.5;
    inputs[1][50] += 0.5;
    inputs[1][127] -= 0.5;
    write(&mut rig, &inputs);
    now.gates[0].allow = 0b11;
    let (report, decisions) = rig.recorded(commands(), &now);
    assert_eq!(decisions.blocks, [vec![0, 0b11, 0, 0b10]]);
    assert_eq!((report.gates[0].union_blocks, &report.gates[0].active_blocks[..2]), (2, &[1, 2][..]));
}

#[test]
fn reading_ahead_changes_no_value() {
    let ahead = |command: Command| match command {
        Command::Attn(c) => Attn { ahead: true, ..c }.into(),
        Command::Matvec(c) => Matvec { ahead: true, ..c }.into(),
        other => other,
    };
    let (mut rig, _) = filled("u55c", 40);
    let matvec = Matvec { rows: 64, blocks: 4, addr: Addr(RING), scale_max: 130, ..Matvec::default() };
    // As scale bytes none is so far below the largest that its row is zero.
    let weights: Vec<u8> = words(5, 1 << 10).iter().map(|w| (w.to_bits() >> 9) as u8 & 0xF | 0x70).collect();
    for channel in 0..32 {
        rig.machine.memory_mut().channel_mut(channel)[RING as usize..][..1 << 10].copy_from_slice(&weights);
    }
    // The first half of the output is the product's, the second the attention's.
    let mut commands = attention(0);
    commands.insert(4, Matvec { dst: VbLine(8), ..matvec }.into());
    let [plain, early] = [false, true].map(|set| {
        let commands = commands.iter().map(|&c| if set { ahead(c) } else { c }).collect();
        rig.run(commands, &table(1, 41)).unwrap();
        rig.output(0, 128)
    });
    assert_eq!(plain, early);
    assert!(plain.chunks(64).all(|half| half.iter().any(|&w| w != 0.0)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Following a moving input with references ends where a dense quantisation would: errors do not accumulate.
    #[test]
    fn delta_references_do_not_drift(seed: u64, steps in 2usize..12) {
        let mut rig = Rig::new("tiny");
        let mut input = words(seed, 64);
        delta(&mut rig, &input, 0.0, 0, 3);
        for step in 0..steps {
            for (x, d) in input.iter_mut().zip(words(seed ^ step as u64, 64)) {
                *x += 0.1 * d;
            }
            let (_, reference) = delta(&mut rig, &input, 0.0, 1, 3);
            for (x, r) in input.iter().zip(reference) {
                prop_assert!((x - r).abs() < 0.1 / 64.0 + 1e-6, "{x} {r}");
            }
        }
    }

    /// Records come back from memory as they were written, whatever the striping.
    #[test]
    fn records_survive(bytes in prop::collection::vec(any::<u8>(), 1..3000), preset in 0usize..5) {
        let config = AccelConfig::preset(AccelConfig::PRESETS[preset]).unwrap();
        let mut memory = Memory::new(&config, Bytes(0x1000));
        memory.write_record(64, &bytes);
        let mut out = vec![0; bytes.len()];
        memory.read_record(64, &mut out);
        prop_assert_eq!(&out, &bytes);
        prop_assert!(RecordLayout::new(&config).local_bytes(bytes.len() as u64).get() <= 0x1000);
    }
}

/// Memory that is there already is used as it is and given back, however long each channel's is.
#[test]
fn memory_is_taken_over() {
    let config = AccelConfig::preset("edge").unwrap();
    let channels: Vec<Vec<u8>> =
        (0..config.channels() as usize).map(|c| vec![c as u8; 4096 * (c + 1)]).collect();
    let memory = Memory::from_channels(&config, channels.clone()).unwrap();
    assert_eq!(memory.size(), Bytes(4096), "what every channel has");
    assert_eq!(memory.into_channels(), channels);
    let error = Memory::from_channels(&config, Vec::new()).unwrap_err();
    let expected =
        format!("0 channel memories are given, the configuration has {} channels", config.channels());
    assert_eq!(error.to_string(), expected);
}
