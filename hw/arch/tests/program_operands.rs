//! What a program has to keep to beside its bounds, so that the machine's units can work with it: operands that one command
//! filled, masks of the slots, a gate for each decision, records that fit their buffers. Each rule refused and just legal.

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::isa::*;
use fastcar_arch::layout::KvLayout;
use fastcar_arch::program::{Limits, Program};
use fastcar_arch::timing::append_beats;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::cell::Cell;

const LIMITS: Limits = Limits { slots: 4, positions: 256, ring: 4, tokens: 4, gates: 8 };
const APART: u64 = 1 << 20;

fn tiny() -> AccelConfig {
    AccelConfig::preset("tiny").expect("it is valid")
}

fn with(preset: &str, change: impl FnOnce(&mut ConfigFields)) -> AccelConfig {
    let mut fields = AccelConfig::preset(preset).expect("it is valid").fields().clone();
    change(&mut fields);
    AccelConfig::new(fields).expect("it is valid")
}

fn check(config: &AccelConfig, commands: &[Command]) -> Result<(), String> {
    let commands = commands.iter().copied().chain([End::default().into()]).collect();
    Program::new(config, LIMITS, commands).map(|_| ()).map_err(|e| e.to_string())
}

fn legal(commands: &[Command]) {
    assert_eq!(check(&tiny(), commands), Ok(()));
}

fn refusal(commands: &[Command]) -> String {
    check(&tiny(), commands).expect_err("the program is refused")
}

fn quant(pred: Pred, first: u16, blocks: u16) -> Command {
    part(pred, 0, first, blocks)
}

/// The blocks behind so many others of their operand.
fn part(pred: Pred, before: u16, first: u16, blocks: u16) -> Command {
    Quant { pred, src: VbLine(0), dst: AbBlock(first), blocks, before }.into()
}

/// The gate's number tells the references of one command from another's.
fn delta(pred: Pred, gate: u16, first: u16, blocks: u16) -> Command {
    let addr = Addr(APART * (1 + u64::from(gate)));
    let (dst, slot_stride, index_stride) = (AbBlock(first), 1 << 16, 1 << 12);
    Delta { pred, gate, dst, blocks, addr, slot_stride, index_stride, ..Delta::default() }.into()
}

fn product(pred: Pred, first: u16, blocks: u16) -> Matvec {
    Matvec { pred, src: AbBlock(first), blocks, rows: 16, addr: Addr(100 << 20), ..Matvec::default() }
}

fn matvec(pred: Pred, first: u16, blocks: u16) -> Command {
    product(pred, first, blocks).into()
}

fn masked_product(pred: Pred, first: u16, blocks: u16) -> Matvec {
    let (ring, slot_stride, index_stride) = (Addr(50 << 20), 1 << 16, 1 << 12);
    Matvec { delta: true, ring, slot_stride, index_stride, ..product(pred, first, blocks) }
}

fn masked(pred: Pred, first: u16, blocks: u16) -> Command {
    masked_product(pred, first, blocks).into()
}

fn gate(gate: u16) -> Command {
    GateHost { gate, ..GateHost::default() }.into()
}

use Pred::{All, Compute, Output, Replay};

#[test]
fn products_read_what_one_command_filled() {
    legal(&[quant(All, 4, 8), matvec(All, 4, 8)]);
    legal(&[delta(All, 0, 16, 8), matvec(All, 16, 8)]);
    legal(&[quant(All, 0, 4), quant(All, 4, 4), matvec(All, 0, 4), matvec(All, 4, 4)]);
    // What is overwritten does not matter, nor what lies beside.
    legal(&[quant(All, 0, 16), quant(All, 4, 8), quant(All, 12, 2), matvec(All, 4, 8)]);
    legal(&[quant(All, 0, 4), quant(All, 2, 4), quant(All, 0, 4), matvec(All, 0, 4)]);
    assert_snapshot!(refusal(&[matvec(All, 4, 8)]), @"command 0 (matvec): src reads blocks 4..12 of the activation buffer, which no command before it fills as one for all slots of 'all'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots");
    assert_snapshot!(refusal(&[quant(All, 12, 8), matvec(All, 4, 8), quant(All, 4, 8)]), @"command 1 (matvec): src reads blocks 4..12 of the activation buffer, which no command before it fills as one for all slots of 'all'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots");
    assert_snapshot!(refusal(&[quant(All, 4, 4), quant(All, 8, 4), matvec(All, 4, 8)]), @"command 2 (matvec): src reads blocks 4..12 of the activation buffer, of which command 1 (quant) was the last to fill some, as 8..12; an operand is all that one 'quant' or 'delta' filled and nothing else: fill just what it reads");
    for (first, blocks) in [(4, 7), (4, 9), (3, 8), (3, 9), (5, 8), (5, 7), (11, 1), (11, 2)] {
        let error = refusal(&[quant(All, 4, 8), matvec(All, first, blocks)]);
        assert!(error.contains("command 0 (quant) was the last to fill some, as 4..12"), "{error}");
    }
    // A later fill of a part, on any side of it.
    for (first, blocks) in [(4, 1), (11, 1), (7, 2), (0, 5), (11, 9), (0, 20), (4, 9), (3, 9)] {
        let error = refusal(&[quant(All, 4, 8), quant(All, first, blocks), matvec(All, 4, 8)]);
        assert!(error.contains("command 1 (quant) was the last to fill some"), "{first}, {blocks}: {error}");
    }
    for (first, blocks) in [(0, 4), (3, 1), (12, 1), (12, 20)] {
        legal(&[quant(All, 4, 8), quant(All, first, blocks), matvec(All, 4, 8)]);
    }
    // The rest of an older fill is none of its own.
    let rest = refusal(&[quant(All, 0, 8), quant(All, 4, 4), matvec(All, 0, 4)]);
    assert_snapshot!(rest, @"command 2 (matvec): src reads blocks 0..4 of the activation buffer, of which command 0 (quant) was the last to fill some, as 0..8; an operand is all that one 'quant' or 'delta' filled and nothing else: fill just what it reads");
}

#[test]
fn operands_may_be_filled_in_parts() {
    legal(&[quant(All, 4, 4), part(All, 4, 8, 2), part(All, 6, 10, 2), matvec(All, 4, 8)]);
    legal(&[gate(0), quant(Compute, 4, 4), part(Compute, 4, 8, 4), matvec(Compute, 4, 8)]);
    // What stands before and is of another operand may be read in between, as tiles of a product do.
    legal(&[quant(All, 20, 4), quant(All, 4, 4), matvec(All, 20, 4), part(All, 4, 8, 4), matvec(All, 4, 8)]);
    // An older whole one of the same blocks counts for the other slots.
    legal(&[quant(Output, 0, 4), part(Output, 4, 4, 4), quant(All, 0, 8), matvec(All, 0, 8)]);
    for (first, blocks) in [(4, 4), (8, 4), (4, 7), (3, 9)] {
        let error = refusal(&[quant(All, 4, 4), part(All, 4, 8, 4), matvec(All, first, blocks)]);
        assert!(error.contains("command 1 (quant) was the last to fill some, as 4..12"), "{error}");
    }
    assert_snapshot!(refusal(&[part(All, 5, 4, 4)]), @"command 0 (quant): before is 5, the limit is 4");
    assert_snapshot!(refusal(&[part(All, 4, 4, 4)]), @"command 0 (quant): it goes on with an operand that has blocks 0..4 so far, but no 'quant' is the latest to fill any; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that");
    assert_snapshot!(refusal(&[quant(All, 0, 4), delta(All, 0, 16, 2), part(All, 4, 4, 4)]), @"command 2 (quant): it goes on with an operand that has blocks 0..4 so far, but no 'quant' is the latest to fill any; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that");
    for before in [1, 2, 3, 5] {
        let error = refusal(&[quant(All, 4, 4), part(All, before, 8, 4)]);
        assert!(error.contains("command 0 (quant), the latest to fill any, has filled 4..8"), "{error}");
    }
    assert_snapshot!(refusal(&[quant(All, 4, 4), quant(All, 20, 4), part(All, 4, 8, 4)]), @"command 2 (quant): it goes on with an operand that has blocks 4..8 so far, but command 1 (quant), the latest to fill any, has filled 20..24; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that");
    assert_snapshot!(refusal(&[gate(0), quant(Compute, 4, 4), part(Replay, 4, 8, 4)]), @"command 2 (quant): it goes on with an operand that has blocks 4..8 so far, but it runs for 'replay', command 1 (quant) before it for 'compute'; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that");
    assert_snapshot!(refusal(&[gate(0), quant(Compute, 4, 4), gate(1), part(Compute, 4, 8, 4)]), @"command 3 (quant): it goes on with an operand that has blocks 4..8 so far, but a gate decides between it and command 1 (quant), both for 'compute'; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that");
    assert_snapshot!(refusal(&[quant(All, 4, 4), matvec(All, 4, 4), part(All, 4, 8, 4)]), @"command 2 (quant): it goes on with an operand that has blocks 4..8 so far, but command 1 has read some of them; a part of an operand comes right behind the 'quant' of the part before, for the same slots, before any product reads that");
    // A part for some slots only is not the operand of the others.
    assert_snapshot!(refusal(&[quant(All, 4, 8), quant(Output, 4, 4), part(Output, 4, 8, 4), matvec(All, 4, 8)]), @"command 3 (matvec): src reads blocks 4..12 of the activation buffer, which no command before it fills as one for all slots of 'all'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots");
}

#[test]
fn products_run_for_slots_whose_operand_is_filled() {
    for pred in [All, Compute, Replay, Output] {
        legal(&[gate(0), quant(All, 0, 4), matvec(pred, 0, 4)]);
        legal(&[gate(0), quant(pred, 0, 4), matvec(pred, 0, 4)]);
        // For the others an older one of the same blocks stands.
        legal(&[quant(All, 0, 4), gate(0), quant(pred, 0, 4), matvec(All, 0, 4)]);
        for other in [All, Compute, Replay, Output] {
            let found = check(&tiny(), &[gate(0), quant(pred, 0, 4), matvec(other, 0, 4)]);
            assert_eq!(found.is_ok(), pred == All || other == pred, "{pred:?} for {other:?}: {found:?}");
        }
    }
    legal(&[gate(0), quant(Compute, 0, 4), quant(Replay, 0, 4), matvec(All, 0, 4)]);
    legal(&[quant(Compute, 0, 4), matvec(All, 0, 4)]);
    legal(&[gate(0), quant(Output, 0, 4), gate(1), matvec(Output, 0, 4)]);
    assert_snapshot!(refusal(&[gate(0), quant(Compute, 0, 4), gate(1), matvec(Compute, 0, 4)]), @"command 3 (matvec): src reads blocks 0..4 of the activation buffer, which no command before it fills as one for all slots of 'compute'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots");
    assert_snapshot!(refusal(&[gate(0), quant(Compute, 0, 4), gate(1), quant(Replay, 0, 4), matvec(All, 0, 4)]), @"command 4 (matvec): src reads blocks 0..4 of the activation buffer, which no command before it fills as one for all slots of 'all'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots");
    // The older fill was of other blocks: what does not compute has parts of it.
    assert_snapshot!(refusal(&[quant(All, 0, 8), gate(0), quant(Compute, 0, 4), matvec(All, 0, 4)]), @"command 3 (matvec): src reads blocks 0..4 of the activation buffer, which no command before it fills as one for all slots of 'all'; fill just these by a 'quant' or 'delta' before it, with pred=all or for the same slots");
}

#[test]
fn masks_are_those_of_the_last_delta() {
    legal(&[delta(All, 0, 0, 4), masked(All, 0, 4), masked(All, 0, 4)]);
    legal(&[delta(All, 0, 0, 4), quant(All, 4, 4), matvec(All, 4, 4), masked(All, 0, 4)]);
    legal(&[delta(All, 0, 0, 4), masked(All, 0, 4), delta(All, 1, 16, 8), masked(All, 16, 8)]);
    for pred in [Compute, Replay, Output] {
        legal(&[delta(All, 0, 0, 4), gate(1), masked(pred, 0, 4)]);
        legal(&[gate(1), delta(pred, 0, 0, 4), masked(pred, 0, 4)]);
    }
    legal(&[delta(Output, 0, 0, 4), gate(1), masked(Output, 0, 4)]);
    assert_snapshot!(refusal(&[quant(All, 0, 4), masked(All, 0, 4)]), @"command 1 (matvec): delta is set, but no 'delta' stands before it; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue");
    assert_snapshot!(refusal(&[delta(All, 0, 0, 4), delta(All, 1, 16, 4), masked(All, 0, 4)]), @"command 2 (matvec): delta is set, but it reads blocks 0..4, the last 'delta', command 1, fills 16..20; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue");
    assert_snapshot!(refusal(&[delta(All, 0, 0, 4), quant(Compute, 0, 4), masked(All, 0, 4)]), @"command 2 (matvec): delta is set, but command 1 (quant) fills its blocks behind the last 'delta', command 0; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue");
    let other = [quant(All, 0, 4), gate(1), delta(Compute, 0, 0, 4), masked(All, 0, 4)];
    assert_snapshot!(refusal(&other), @"command 3 (matvec): delta is set, but it runs for 'all', the last 'delta', command 2, for 'compute'; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue");
    let decided = [quant(All, 0, 4), gate(1), delta(Compute, 0, 0, 4), gate(2), masked(Compute, 0, 4)];
    assert_snapshot!(refusal(&decided), @"command 4 (matvec): delta is set, but a gate decides between it and the last 'delta', command 2, both for 'compute'; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue");
    let ahead = Matvec { ahead: true, ..masked_product(All, 0, 4) };
    assert_snapshot!(refusal(&[delta(All, 0, 0, 4), ahead.into()]), @"command 1 (matvec): delta is set, but it has 'ahead' set; such a product reads just what the last 'delta' before it filled, for the same slots or with pred=all there, through the main queue");
    legal(&[delta(All, 0, 0, 4), Matvec { ahead: true, ..product(All, 0, 4) }.into()]);
}

#[test]
fn masks_begin_a_group() {
    legal(&[delta(All, 0, 32, 4)]);
    for first in [1, 15, 17, 24] {
        assert!(refusal(&[delta(All, 0, first, 4)]).contains("it must be a multiple of 16"));
    }
    assert_snapshot!(refusal(&[delta(All, 0, 8, 4)]), @"command 0 (delta): dst is 8; it must be a multiple of 16, because the block masks beside the activation buffer are read in groups of that many");
}

#[test]
fn a_gate_decides_once() {
    let tas = |gate| {
        let heads = GateTas { heads: 1, kv_heads: 1, head_dim: 32, period: 1, gate, ..GateTas::default() };
        Command::from(GateTas { src: AbBlock(8), slot_stride: 1 << 16, ..heads })
    };
    let queries = quant(All, 8, 1);
    let compare =
        |gate| Command::from(GateDelta { gate, blocks: 1, addr: Addr(90 << 20), ..GateDelta::default() });
    let users: [&dyn Fn(u16) -> Command; 4] = [&gate, &tas, &compare, &|gate| delta(All, gate, 0, 4)];
    for first in users {
        for second in users {
            legal(&[queries, first(0), second(1)]);
            let error = refusal(&[queries, first(1), second(1)]);
            assert!(error.contains("gate is 1, which command 1 ("), "{error}");
        }
    }
    assert_snapshot!(refusal(&[gate(3), gate(2), tas(3)]), @"command 2 (gate_tas): gate is 3, which command 0 (gate_host) uses too; the report has one entry for each gate: give each command a gate of its own");
}

/// One channel of beats of 16 bytes whose write buffer holds 128.
#[test]
fn what_a_slot_writes_fits_the_write_buffer() {
    let store = |words| Command::from(Store { words, slot_stride: 1 << 16, ..Store::default() });
    let act = |blocks| Command::from(StoreAct { blocks, slot_stride: 1 << 16, ..StoreAct::default() });
    legal(&[store(512)]);
    assert_snapshot!(refusal(&[store(513)]), @"command 0 (store): beats written to a channel is 129; it must be at most 128, because the write buffer keeps what a command writes for a slot until it is whole: write less at a time, or build with more write_beats");
    legal(&[act(62)]);
    assert_snapshot!(refusal(&[act(63)]), @"command 0 (store_act): beats written to a channel is 130; it must be at most 128, because the write buffer keeps what a command writes for a slot until it is whole: write less at a time, or build with more write_beats");
    legal(&[delta(All, 0, 0, 16)]);
    assert_snapshot!(refusal(&[delta(All, 0, 0, 17)]), @"command 0 (delta): beats written to a channel is 136; it must be at most 128, because the write buffer keeps what a command writes for a slot until it is whole: write less at a time, or build with more write_beats");
    let rows = |rows| [delta(All, 0, 0, 4), Matvec { rows, ..masked_product(All, 0, 4) }.into()];
    legal(&rows(512));
    assert_snapshot!(refusal(&rows(513)), @"command 1 (matvec): beats written to a channel is 129; it must be at most 128, because the write buffer keeps what a command writes for a slot until it is whole: write less at a time, or build with more write_beats");
    legal(&[quant(All, 0, 4), Matvec { rows: 513, ..product(All, 0, 4) }.into()]);
    // More channels take more.
    let four = with("tiny", |f| f.channels = 4);
    assert_eq!(check(&four, &[store(2048)]), Ok(()));
    assert!(check(&four, &[store(2049)]).is_err());
}

fn append(kv_heads: u16, head_dim: u16) -> Command {
    KvAppend { kv_heads, head_dim, slot_stride: 1 << 22, ..KvAppend::default() }.into()
}

#[test]
fn a_token_s_keys_and_values_fit_the_write_buffer() {
    // Of each head 2 beats of elements and one of scale bytes, twice.
    let large = with("tiny", |f| f.vb_lines = 256);
    assert_eq!(check(&large, &[append(21, 32)]), Ok(()));
    assert_snapshot!(check(&large, &[append(22, 32)]).unwrap_err(), @"command 0 (kv_append): beats written to a channel is 132; it must be at most 128, because the write buffer keeps what a command writes for a slot until it is whole: write less at a time, or build with more write_beats");
    // Three scale bytes may begin anywhere: two beats.
    assert_eq!(check(&large, &[append(8, 96)]), Ok(()));
    assert!(check(&large, &[append(9, 96)]).is_err());
    let two = AccelConfig::new(ConfigFields { channels: 2, ..large.fields().clone() }).unwrap();
    assert_eq!(check(&two, &[append(42, 32)]), Ok(()));
    assert!(check(&two, &[append(43, 32)]).is_err());
}

proptest! {
    /// The most that any channel gets of any token.
    #[test]
    fn beats_of_appended_tokens(
        channels in 0u32..6, beat in 4u32..7, kv_heads in 1u32..40, blocks in 1u32..9, addr in 0u64..8,
    ) {
        let config = with("u55c", |f| (f.channels, f.beat_bytes) = (1 << channels, 1 << beat));
        let beat = config.beat().get();
        prop_assume!(blocks == 1 || u64::from(blocks * 32).is_multiple_of(beat));
        let layout = KvLayout::new(&config, kv_heads, blocks * 32, 64 * 32);
        let (addr, dim, scales) = (addr * beat, u64::from(blocks * 32), u64::from(blocks));
        let run = |start: u64, bytes: u64| (addr + start + bytes - 1) / beat - (addr + start) / beat + 1;
        let mut most = 0;
        for token in 0..64 * 32 {
            let mut of_channel = vec![0; config.channels() as usize];
            for head in 0..kv_heads {
                let at = layout.token(head.into(), token);
                let elements = run(at.key, dim) + run(at.value, dim);
                of_channel[at.channel] += elements + run(at.key_scales, scales) + run(at.value_scales, scales);
            }
            most = most.max(of_channel.into_iter().max().unwrap_or(0));
        }
        prop_assert_eq!(append_beats(&config, kv_heads.into(), dim), most);
    }
}

#[test]
fn results_do_not_overwrite_what_is_read_later() {
    let add = |dst, words| Command::from(Add { dst: VbLine(dst), src: VbLine(8), words, ..Add::default() });
    let norm = |dst| Command::from(Norm { dst: VbLine(dst), src: VbLine(8), words: 128, ..Norm::default() });
    for dst in [0, 5, 7, 8, 12, 20] {
        legal(&[add(dst, 128), norm(dst)]);
    }
    for dst in [9, 10, 11] {
        assert!(refusal(&[add(dst, 128)]).contains(&format!("dst is {dst}; it must be at most 8 (src)")));
        assert!(refusal(&[norm(dst)]).contains(&format!("dst is {dst}; it must be at most 8 (src)")));
    }
    // A part of a line is a line.
    assert_snapshot!(refusal(&[add(12, 129)]), @"command 0 (add): dst is 12; it must be at most 8 (src) or at least 13 (behind it), because lines are written while later ones are still to be read");
    legal(&[add(13, 129), add(12, 128)]);
}

fn attn(heads: u16, kv_heads: u16, head_dim: u16) -> Command {
    Attn { heads, kv_heads, head_dim, slot_stride: 1 << 22, ..Attn::default() }.into()
}

/// Queries are one operand, as those of products are.
#[test]
fn scores_read_what_one_command_filled() {
    let tas = |pred, src, heads| {
        let heads =
            GateTas { pred, src: AbBlock(src), heads, kv_heads: 1, head_dim: 64, ..GateTas::default() };
        Command::from(GateTas { period: 1, slot_stride: 1 << 16, ..heads })
    };
    legal(&[quant(All, 4, 8), tas(All, 4, 4)]);
    legal(&[quant(Pred::Output, 4, 8), tas(Pred::Output, 4, 4)]);
    assert!(
        refusal(&[quant(Pred::Output, 4, 8), tas(All, 4, 4)]).contains("fills as one for all slots of 'all'")
    );
    assert!(refusal(&[quant(All, 4, 8), tas(All, 4, 3)]).contains("the last to fill some, as 4..12"));
    assert!(refusal(&[quant(All, 0, 12), tas(All, 4, 4)]).contains("the last to fill some, as 0..12"));
    assert!(
        refusal(&[tas(All, 4, 4)]).contains("reads blocks 4..12 of the activation buffer, which no command")
    );
}

/// Four passes over 256 positions fill the 1024 entries of the score buffer.
#[test]
fn scores_of_all_passes_fit() {
    legal(&[attn(8, 1, 32)]);
    legal(&[attn(16, 2, 32)]);
    assert_snapshot!(refusal(&[attn(9, 1, 32)]), @"command 0 (attn): positions * passes over the keys is 1280; it must be at most 1024, because the score buffer keeps the scores of all passes over a head's keys: allow fewer positions, or build with more columns or score_tokens");
    let wider = with("tiny", |f| f.columns = 4);
    assert_eq!(check(&wider, &[attn(9, 1, 32)]), Ok(()));
}

#[test]
fn heads_are_blocks_or_beats() {
    let tas = |head_dim| {
        let heads = GateTas { heads: 1, kv_heads: 1, head_dim, period: 1, ..GateTas::default() };
        Command::from(GateTas { slot_stride: 1 << 22, ..heads })
    };
    let wide = AccelConfig::preset("u55c").unwrap();
    for head_dim in [32, 64, 96, 128, 160] {
        for command in [attn(1, 1, head_dim), append(1, head_dim), tas(head_dim)] {
            let commands = [quant(All, 0, head_dim / 32), command];
            assert_eq!(check(&tiny(), &commands), Ok(()));
            let half = with("u55c", |f| f.beat_bytes = 32);
            assert_eq!(check(&half, &commands), Ok(()));
            let legal = head_dim == 32 || head_dim % 64 == 0;
            assert_eq!(check(&wide, &commands).is_ok(), legal, "{command}");
        }
    }
    let refused = |command| check(&wide, &[command]).unwrap_err();
    assert_snapshot!(refused(attn(1, 1, 96)), @"command 0 (attn): head_dim is 96; it must be 32 or a multiple of 64, because a token's keys and values are whole beats of the cache, or one block of a beat");
    assert_snapshot!(refused(append(1, 96)), @"command 0 (kv_append): head_dim is 96; it must be 32 or a multiple of 64, because a token's keys and values are whole beats of the cache, or one block of a beat");
    assert_snapshot!(refused(tas(160)), @"command 0 (gate_tas): head_dim is 160; it must be 32 or a multiple of 64, because a token's keys and values are whole beats of the cache, or one block of a beat");
}

/// A product of random fills is refused exactly when a slot would read what no command filled as one for it.
#[test]
fn fills_are_their_naive_model() {
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let range = || prop_oneof![3 => Just((0u16, 4u16)), 2 => (0u16..6, 1u16..6)];
    let pred = || prop::sample::select(vec![All, All, Compute, Replay, Output]);
    let fill = (0u8..5, pred(), range());
    let config = ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(fills in prop::collection::vec(fill, 0..7), of in pred(), (first, blocks) in range())| {
        let mut gates = 0;
        let mut commands: Vec<Command> = fills.iter().map(|&(kind, pred, (first, blocks))| {
            if kind > 0 {
                return quant(pred, first, blocks);
            }
            gates += 1;
            gate(gates)
        }).collect();
        let expected = naive(&commands, of, first, blocks);
        commands.push(matvec(of, first, blocks));
        let found = check(&tiny(), &commands);
        let counted = if expected { &accepted } else { &refused };
        counted.set(counted.get() + 1);
        prop_assert!(expected || found.is_err(), "{:?}", commands);
        prop_assert!(found.is_ok() || !expected || cuts_for_some(&commands, first, blocks), "{:?}", found);
    });
    assert!(accepted.get() > 2000 && refused.get() > 2000, "{accepted:?} accepted, {refused:?} refused");
}

/// Whether a part of the blocks is filled for some slots only: then the rule looks no further than to the next fill for all.
fn cuts_for_some(commands: &[Command], first: u16, blocks: u16) -> bool {
    let end = first + blocks;
    commands.iter().any(|command| match *command {
        Command::Quant(c) => {
            let meets = c.dst.0 < end && first < c.dst.0 + c.blocks;
            meets && c.pred != All && (c.dst.0, c.blocks) != (first, blocks)
        }
        _ => false,
    })
}

/// Plays the commands for every slot that could be: whether it replays after each gate, and whether its output is wanted.
fn naive(commands: &[Command], of: Pred, first: u16, blocks: u16) -> bool {
    let read: Vec<u16> = (first..first + blocks).collect();
    let fills = |command: &Command| match *command {
        Command::Quant(c) => Some((c.pred, (c.dst.0..c.dst.0 + c.blocks).collect::<Vec<u16>>())),
        _ => None,
    };
    // The latest that meets the range, for whatever slot.
    let latest =
        commands.iter().filter_map(fills).rev().find(|(_, filled)| filled.iter().any(|b| read.contains(b)));
    if latest.is_none_or(|(_, filled)| filled != read) {
        return false;
    }
    (0u32..256).all(|slot| {
        let (mut replays, mut decisions, mut own) = (false, 0, None);
        let output = slot & 1 == 1;
        let runs = |pred, replays: bool| match pred {
            All => true,
            Compute => !replays,
            Replay => replays,
            Output => output,
        };
        for command in commands {
            match fills(command) {
                None => {
                    decisions += 1;
                    replays = slot >> decisions & 1 == 1;
                }
                Some((pred, filled)) if runs(pred, replays) && filled.iter().any(|b| read.contains(b)) => {
                    own = Some(filled);
                }
                Some(_) => {}
            }
        }
        !runs(of, replays) || own.is_some_and(|filled| filled == read)
    })
}
