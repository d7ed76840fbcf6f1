//! Attention in a cluster: scores, weights, what channels exchange; values bit for bit, cycles, cells and depth.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "rtl_attn/center.rs"]
mod center;
#[path = "rtl_attn/channels.rs"]
mod channels;
#[path = "rtl_attn/exchange.rs"]
mod exchange;
#[path = "rtl_attn/heads.rs"]
mod heads;
#[path = "rtl_attn/lines.rs"]
mod lines;
#[path = "rtl_attn/numbers.rs"]
mod numbers;
#[path = "rtl_attn/scale_bytes.rs"]
mod scale_bytes;
#[path = "rtl_attn/scores.rs"]
mod scores;
#[path = "rtl_attn/span_walk.rs"]
mod span_walk;
#[path = "rtl_attn/sums.rs"]
mod sums;
#[path = "rtl_attn/turn.rs"]
mod turn;
#[path = "rtl_attn/value_drain.rs"]
mod value_drain;
#[path = "rtl_attn/value_scales.rs"]
mod value_scales;
#[path = "rtl_attn/weights.rs"]
mod weights;

use fastcar_arch::config::AccelConfig;
use fastcar_arch::num::fp;
use fastcar_arch::num::softmax::score_fixed;
use fastcar_arch::num::window::{Base, Pair, to_f32};
use fastcar_hw::attn::{
    Agreement, Attention, Center, Exchange, Lines, Queries, QueryBuffer, ScaleBytes, Score, Scores, Shape,
    SpanWalk, Spans, Sums, Totals, Turn, ValueDrain, ValueScales, Weights,
};
use fastcar_hw::rtl::{Block, Module, RtlError, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Cover, Figures, Gaps, Random, Rtl, accept, depth, hold, skipped};
use numbers::{Sum, scale};
use std::collections::VecDeque;
use std::sync::Arc;

const PRESETS: [&str; 3] = ["tiny", "edge", "u55c"];

fn shape(preset: &str) -> Result<Shape, Box<dyn std::error::Error>> {
    Ok(Shape::of(&AccelConfig::preset(preset)?)?)
}

/// Every score comes in its cycle, whatever the gaps.
fn scores_of_sums(cycles: u64, seed: u64, native: bool) -> TestResult {
    let module = Score.module()?;
    let mut dut = if native { Rtl::beside_native(&module)? } else { Rtl::build(&module)? };
    let mut random = Random::new(seed);
    let mut cover = Cover::new(&["NaN", "saturated", "zero", "tie", "moderate"]);
    for (name, width) in [("valid_i", 1), ("acc_i", 48), ("base_i", 9), ("nan_i", 1), ("factor_i", 32)] {
        dut.set(name, fastcar_hw::rtl::Bits::zero(width));
    }
    dut.reset();
    let mut gaps = Gaps::new(80);
    let mut owed: VecDeque<Option<Option<i32>>> = (0..Score::LATENCY).map(|_| None).collect();
    let mut factor = scale(&mut random);
    for cycle in 0..cycles {
        // The factor stays while scores are on their way.
        if cycle % 1000 == 0 {
            dut.set("valid_i", false);
            for due in owed.iter_mut() {
                check_score(&mut dut, due.take());
                dut.tick();
            }
            factor = scale(&mut random);
            dut.set("factor_i", u64::from(factor.to_bits()));
        }
        let sum = gaps.next(&mut random).then(|| Sum::any(&mut random, factor));
        dut.set("valid_i", sum.is_some());
        let expected = sum.as_ref().map(|sum| {
            let base = Base::new(sum.key, sum.query);
            dut.set("acc_i", sum.acc);
            dut.set("base_i", u64::from(base.sum()));
            dut.set("nan_i", base.is_nan());
            let product = fp::mul(to_f32(sum.acc, base, Pair::Int8Int8), factor);
            let score = score_fixed(product);
            cover.hit("NaN", score.is_none());
            cover.hit("saturated", score.is_some_and(|s| s == i32::MAX || s == i32::MIN));
            cover.hit("zero", score == Some(0));
            cover.hit("tie", (f64::from(product) * 65536.0).fract().abs() == 0.5);
            cover.hit("moderate", score.is_some_and(|s| (1 << 10..1 << 24).contains(&s.unsigned_abs())));
            score
        });
        owed.push_back(expected);
        let due = owed.pop_front().flatten();
        check_score(&mut dut, due);
        dut.tick();
    }
    cover.assert(20);
    Ok(())
}

fn check_score(dut: &mut Rtl, due: Option<Option<i32>>) {
    assert_eq!(dut.is_set("valid_o"), due.is_some(), "cycle {}", dut.cycle());
    if let Some(score) = due {
        assert_eq!(dut.is_set("nan_o"), score.is_none(), "cycle {}", dut.cycle());
        if let Some(score) = score {
            assert_eq!(dut.bits("fixed_o").to_u64(), Some(u64::from(score as u32)), "cycle {}", dut.cycle());
        }
    }
}

#[test]
fn sums_become_scores() -> TestResult {
    if skipped() {
        return Ok(());
    }
    scores_of_sums(5000, 1, true)?;
    scores_of_sums(300_000, 2, false)
}

/// `cargo test --release -p fastcar-tests --test rtl_attn -- --ignored`
#[test]
#[ignore = "ten million sums"]
fn sums_become_scores_in_the_long_run() -> TestResult {
    if skipped() {
        return Ok(());
    }
    scores_of_sums(12_500_000, 3, false)
}

fn of_presets<B: Block>(
    new: impl Fn(Shape) -> Result<B, RtlError>,
) -> Result<Vec<Arc<Module>>, Box<dyn std::error::Error>> {
    PRESETS.iter().map(|preset| Ok(new(shape(preset)?)?.module()?)).collect()
}

/// With all their parts.
fn attentions() -> Result<Vec<Arc<Module>>, Box<dyn std::error::Error>> {
    of_configs(Attention::new)
}

fn of_configs<B: Block>(
    new: impl Fn(&AccelConfig) -> Result<B, RtlError>,
) -> Result<Vec<Arc<Module>>, Box<dyn std::error::Error>> {
    PRESETS.iter().map(|preset| Ok(new(&AccelConfig::preset(preset)?)?.module()?)).collect()
}

/// What the channels of a preset agree with.
fn agreement(preset: &str) -> Result<[Arc<Module>; 2], Box<dyn std::error::Error>> {
    let (channels, pairs) = (AccelConfig::preset(preset)?.channels(), shape(preset)?.pairs());
    Ok([Exchange::new(channels, pairs)?.module()?, Totals::new(channels, pairs)?.module()?])
}

#[test]
fn designs_are_accepted() -> TestResult {
    if skipped() {
        return Ok(());
    }
    for module in attentions()?.into_iter().chain(of_configs(Spans::new)?).chain([Turn.module()?]) {
        accept(&emit(&module)?)?;
    }
    for preset in PRESETS {
        for module in agreement(preset)? {
            accept(&emit(&module)?)?;
        }
    }
    Ok(())
}

/// The most levels of look-up tables between registers.
const MOST_LEVELS: u32 = 8;

fn held(name: &str, modules: &[Arc<Module>]) -> TestResult {
    hold(name, modules)?;
    for module in modules {
        let figures = Figures::of(module)?;
        let path = || depth(&emit(module).unwrap()).unwrap();
        assert!(figures.levels <= MOST_LEVELS, "{}: {figures:?}, {:?}", module.name(), path());
    }
    Ok(())
}

#[test]
fn synthesis_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    held("attn_score", &[Score.module()?])?;
    held("attn_scores", &of_presets(Scores::new)?)?;
    held("attn_value_scales", &of_presets(ValueScales::new)?)?;
    held("attn_weights", &of_presets(Weights::new)?)?;
    let lines = [(1, 4), (4, 16)].map(|(channels, lanes)| Lines::new(channels, lanes)?.module());
    held("attn_lines", &lines.into_iter().collect::<Result<Vec<_>, RtlError>>()?)?;
    let drain = |preset: &&str| Ok(ValueDrain::new(&AccelConfig::preset(preset)?)?.module()?);
    let drains: Result<Vec<_>, Box<dyn std::error::Error>> = PRESETS.iter().map(drain).collect();
    held("attn_value_drain", &drains?)?;
    held("attn_exchange", &agreement("edge")?)
}

#[test]
fn synthesis_of_what_takes_the_beats_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    held("attn_turn", &[Turn.module()?])?;
    held("attn_span_walk", &of_configs(SpanWalk::new)?)?;
    held("attn_scale_bytes", &of_configs(ScaleBytes::new)?)?;
    held("attn_query_buffer", &of_configs(QueryBuffer::new)?)?;
    held("attn_spans", &of_configs(Spans::new)?)
}

#[test]
fn synthesis_of_the_middle_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let mut modules = [of_configs(Center::new)?, of_configs(Queries::new)?].concat();
    // With 32 channels these take minutes.
    for preset in ["tiny", "edge"] {
        let config = AccelConfig::preset(preset)?;
        modules.extend([Agreement::new(&config)?.module()?, Sums::new(&config)?.module()?]);
    }
    // That of `edge` still has a level more, through the queue of rounds that are kept.
    hold("attn_middle", &modules)?;
    Ok(())
}

/// `cargo test --release -p fastcar-tests --test rtl_attn -- --ignored`
#[test]
#[ignore = "synthesis of 32 channels takes minutes"]
fn synthesis_of_the_large_exchange_is_as_before() -> TestResult {
    if skipped() {
        return Ok(());
    }
    held("attn_exchange_large", &agreement("u55c")?)
}

#[test]
fn what_cannot_be_built_is_refused() -> TestResult {
    let tiny = shape("tiny")?;
    let refused = |shape: Shape| shape.checked().unwrap_err().to_string();
    let texts = [
        refused(Shape { columns: 3, ..tiny }),
        refused(Shape { columns: 34, ..tiny }),
        refused(Shape { lanes: 3, ..tiny }),
        refused(Shape { lanes: 2, block_beats: 2, ..tiny }),
        refused(Shape { passes: 0, ..tiny }),
        refused(Shape { tokens: 65_536, ..tiny }),
        Exchange::new(12, 1).unwrap_err().to_string(),
        Totals::new(4, 17).unwrap_err().to_string(),
    ];
    let expected = [
        "attention: columns is 3; it must be 1, or even and at most 32",
        "attention: columns is 34; it must be 1, or even and at most 32",
        "attention: lanes is 3; it must be 1 or 2",
        "attention: block_beats is 2; it must be 1, or 2 with one lane",
        "attention: passes is 0; it must be 1 to 2048",
        "attention: tokens is 65536; it must be 32 to 32768",
        "attention's exchange: channels is 12; it must be a power of two up to 32",
        "attention's totals: pairs is 17; it must be 1 to 16",
    ];
    assert_eq!(texts, expected);
    Ok(())
}
