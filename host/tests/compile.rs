//! Programs as the machine wants them: whole tiles, work behind each, decisions early, reads ahead where allowed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ROW_GRANULE};
use fastcar_arch::isa::{Attn, Command, Epilogue, Load, Matvec, Pred};
use fastcar_arch::program::Program;
use fastcar_host::compile::{Compiled, compile};
use fastcar_host::image::{Image, Matrix, Transformer};
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Method, Policy, TasForm};
use fastcar_host::workload::{HeadShape, ModelShape, Plan, TransformerShape, Workload};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn config(preset: &str) -> AccelConfig {
    AccelConfig::preset(preset).unwrap()
}

fn plan(workload: &str, preset: &str) -> Plan {
    let mut fields = config(preset).fields().clone();
    // Room for the scores of all positions, in each of two passes over the keys of `llama-1b` on `edge`.
    fields.score_tokens = 8192;
    let config = AccelConfig::new(fields).unwrap();
    Workload::named(workload).unwrap().plan(&config, PackOptions::default()).unwrap()
}

fn compiled(workload: &str, preset: &str, policy: &Policy) -> (Image, Compiled) {
    let plan = plan(workload, preset);
    let compiled = compile(&plan, policy, Workload::named(workload).unwrap().options(1)).unwrap();
    (plan.image().clone(), compiled)
}

fn tas(form: TasForm) -> Policy {
    Policy::replay(Gate::Tas { form, thresholds: vec![0.0] }).unwrap()
}

fn policies() -> Vec<Policy> {
    vec![
        Policy::dense(),
        tas(TasForm::Code),
        tas(TasForm::Paper),
        Policy::replay(Gate::InputDelta { thresholds: vec![0.1] }).unwrap(),
        Policy::replay(Gate::Always).unwrap(),
        Policy::delta(0.1).unwrap(),
    ]
}

/// Every workload on a card and on the smallest preset that holds it.
const CASES: [(&str, &str); 6] = [
    ("tiny", "tiny"),
    ("tiny", "u55c"),
    ("moving-digits", "tiny"),
    ("moving-digits", "edge"),
    ("llama-1b", "edge"),
    ("vila-u-7b", "u55c"),
];

fn matrices(t: &Transformer) -> impl Iterator<Item = &Matrix> {
    t.layers.iter().flat_map(|l| [&l.qkv, &l.o, &l.up, &l.down]).chain(&t.head)
}

fn programs(compiled: &Compiled) -> impl Iterator<Item = &Program> {
    compiled.body.iter().chain(&compiled.depth)
}

fn matvecs(program: &Program) -> impl Iterator<Item = (usize, &Matvec)> {
    program.commands().iter().enumerate().filter_map(|(i, c)| match c {
        Command::Matvec(m) => Some((i, m)),
        _ => None,
    })
}

/// First rows of a matrix's tiles.
fn borders(matrix: &Matrix) -> Vec<u32> {
    matrix.tiles.iter().map(|t| t.first_row).collect()
}

#[test]
fn a_7b_layer_is_cut_for_overlap() {
    let plan = plan("vila-u-7b", "u55c");
    let layer = &plan.image().body.layers[7];
    assert_eq!(borders(&layer.qkv), [0, 4096, 8192], "at the borders of queries, keys and values");
    // 10.75 units of 2,048 rows: a whole beat of 64 scale bytes on each of 32 channels.
    assert_eq!(borders(&layer.up), [0, 3 * 2048, 6 * 2048, 9 * 2048]);
    assert_eq!((borders(&layer.o), borders(&layer.down)), (vec![0, 2048], vec![0, 2048]));
    let (depth, _) = plan.image().depth.as_ref().unwrap();
    assert_eq!(borders(depth.head.as_ref().unwrap()), [0, 4096, 8192, 12_288]);
}

#[test]
fn small_matrices_stay_whole() {
    let plan = plan("moving-digits", "u55c");
    assert!(matrices(&plan.image().body).all(|m| m.tiles.len() == 1), "22 rows a channel are not cut");
    let on_edge = self::plan("moving-digits", "edge");
    let layer = &on_edge.image().body.layers[0];
    assert_eq!((borders(&layer.qkv), borders(&layer.up)), (vec![0, 128, 256], vec![0, 384]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Tiles are whole, even, without padding, and two of them fit the accumulators.
    #[test]
    fn tiles_suit_the_machine(
        preset in 0usize..5, channels in 0u32..6, acc in 7u32..=12, hidden in 1u32..64, ffn in 1u32..400,
        heads in 1u32..9, group in 1u32..4, vocab in 1u32..20_000,
    ) {
        let mut fields = config(AccelConfig::PRESETS[preset]).fields().clone();
        (fields.channels, fields.vector_lanes, fields.acc_rows) = (1 << channels, 32, 1 << acc);
        fields.channel_bytes = 1 << 36;
        let config = AccelConfig::new(fields).unwrap();
        let mut shape = Workload::named("tiny").unwrap().model().body.shape;
        (shape.hidden, shape.ffn, shape.layers) = (hidden * 32, ffn * 32, 1);
        (shape.heads, shape.kv_heads) = (heads * group, heads);
        let body = TransformerShape::plain(shape, true, Some(HeadShape { rows: vocab, bias: false }));
        let model = ModelShape { body, vocabulary: vocab, codes: None, period: None };
        let plan = Plan::new(&config, &model, PackOptions::default()).unwrap();

        let body = &plan.image().body;
        let granules = (config.channels() * ROW_GRANULE).max(64);
        let beats = granules.max(config.channels() * config.beat().get() as u32);
        let whole = |m: &Matrix, unit| m.tiles[..m.tiles.len() - 1].iter().all(|t| t.rows.is_multiple_of(unit));
        for matrix in matrices(body) {
            let mut end = 0;
            for tile in &matrix.tiles {
                prop_assert_eq!(tile.first_row, end);
                end += tile.rows;
                let channel_rows = tile.rows.div_ceil(config.channels()).next_multiple_of(ROW_GRANULE);
                prop_assert!(2 * channel_rows <= config.acc_rows() || tile.rows <= granules, "{:?}", tile);
            }
            prop_assert_eq!(end, matrix.rows);
        }
        let layer = &body.layers[0];
        for matrix in [&layer.qkv, &layer.o, &layer.up, &layer.down] {
            prop_assert!(whole(matrix, granules), "no padding but at the end");
        }
        let unit = if whole(&layer.up, beats) { beats } else { granules };
        let sizes: Vec<u32> = layer.up.tiles.iter().map(|t| t.rows.div_ceil(unit)).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "even: {:?}", sizes);
        let (q, kv) = (shape.attended(), shape.kv_words());
        let cut: BTreeSet<u32> = borders(&layer.qkv).into_iter().collect();
        let possible = q.is_multiple_of(granules) && kv.is_multiple_of(granules);
        prop_assert!(!possible || (cut.contains(&q) && cut.contains(&(q + kv))));
    }
}

/// Attention always reads ahead, its projections wherever no mask holds them up, and nothing else does.
#[test]
fn what_is_needed_in_any_case_reads_ahead() {
    for (workload, preset) in CASES {
        for policy in policies() {
            let (image, compiled) = compiled(workload, preset, &policy);
            let delta = matches!(policy.method(), Method::Delta { .. });
            let qkv = |t: &Transformer, ahead: bool| -> BTreeSet<u64> {
                let tiles = t.layers.iter().flat_map(|l| &l.qkv.tiles).map(|tile| tile.addr);
                tiles.filter(|_| ahead).collect()
            };
            let mut expected = qkv(&image.body, !delta);
            expected.extend(image.depth.iter().flat_map(|(t, _)| qkv(t, true)));
            for program in programs(&compiled) {
                for (i, m) in matvecs(program) {
                    assert_eq!(m.ahead, expected.contains(&m.addr.0), "{workload}: command {i}");
                    assert!(!(m.ahead && m.delta));
                }
                let attentions = program.commands().iter().filter_map(|c| match c {
                    Command::Attn(Attn { ahead, .. }) => Some(*ahead),
                    _ => None,
                });
                assert!(attentions.into_iter().all(|ahead| ahead));
            }
        }
    }
}

/// In dense and replay decode each part of the MLP's inner vector is quantised right behind the tile that made it, all as one
/// operand; in delta decode its change is, behind the last tile.
#[test]
fn inner_vectors_are_one_operand() {
    for (workload, preset) in CASES {
        for policy in policies() {
            let (image, compiled) = compiled(workload, preset, &policy);
            let commands = compiled.body[0].commands();
            let product = |addr| matvecs(&compiled.body[0]).find(|(_, m)| m.addr.0 == addr).unwrap();
            for layer in &image.body.layers {
                let (down, reader) = product(layer.down.tiles[0].addr);
                let (mut next, mut filled) = (product(layer.up.tiles[0].addr).0, 0);
                for tile in &layer.up.tiles {
                    let (index, m) = product(tile.addr);
                    assert_eq!((index, m.epilogue), (next, Epilogue::SwiGlu), "{workload}: {policy:?}");
                    next += 1;
                    if reader.delta {
                        continue;
                    }
                    let Command::Quant(q) = commands[next] else { panic!("{workload}: {policy:?}") };
                    assert_eq!((q.pred, q.src, u32::from(q.blocks)), (m.pred, m.dst, m.rows / 64));
                    assert_eq!((q.dst.0, q.before), (reader.src.0 + filled, filled));
                    filled += q.blocks;
                    next += 1;
                }
                if let Command::Delta(d) = commands[next] {
                    assert_eq!((d.pred, d.dst), (reader.pred, reader.src));
                    (next, filled) = (next + 1, d.blocks);
                }
                assert_eq!((next, filled), (down, reader.blocks), "{workload}: {policy:?}");
            }
        }
    }
}

/// TAS and the host decide before attention; what a replay takes is fetched right behind the decision.
#[test]
fn decisions_are_early() {
    let at = |commands: &[Command], wanted: fn(&Command) -> bool| commands.iter().position(wanted).unwrap();
    let gate = |c: &Command| matches!(c, Command::GateTas(_) | Command::GateHost(_) | Command::GateDelta(_));
    for (policy, before_attention) in [
        (tas(TasForm::Code), true),
        (tas(TasForm::Paper), true),
        (Policy::replay(Gate::Budget { ratio: 0.5 }).unwrap(), true),
        (Policy::replay(Gate::InputDelta { thresholds: vec![0.1] }).unwrap(), false),
    ] {
        let (_, compiled) = compiled("vila-u-7b", "u55c", &policy);
        let commands = compiled.body[1].commands();
        let (decision, attention) =
            (at(commands, gate), at(commands, |c| matches!(c, Command::KvAppend(_) | Command::Attn(_))));
        assert_eq!(decision < attention, before_attention, "{policy:?}");
        assert!(matches!(commands[decision + 1], Command::Load(Load { pred: Pred::Replay, .. })));
    }
    let (_, compiled) = compiled("vila-u-7b", "u55c", &tas(TasForm::Code));
    let commands = compiled.body[1].commands();
    let keys = plan("vila-u-7b", "u55c").image().body.layers[0].qkv.tiles[1].addr;
    let keys = matvecs(&compiled.body[1]).find(|(_, m)| m.addr.0 == keys).unwrap().0;
    assert!(at(commands, gate) < keys, "the queries' tile suffices for a decision");
}
