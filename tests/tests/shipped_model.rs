//! The shipped model through the functional model of the machine, against plain binary32.

use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::oracle::Oracle;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::Policy;
use fastcar_tests::{TestResult, forced, golden_session, moving_digits, packed};

/// How the machine's logits compare with the oracle's, given the same true videos.
#[derive(Debug, Default)]
struct Comparison {
    /// Share of positions at which both choose the same token.
    agreement: f64,
    /// Root mean square error of the logits over the root mean square of their spread.
    error: f64,
}

fn compare(weights: Format, clips: usize) -> Result<Comparison, Box<dyn std::error::Error>> {
    let model = Model::open(moving_digits())?;
    let oracle = Oracle::new(&model)?;
    let codes = model.video().map_or(0, |v| v.codes());
    let packed = packed(&model, "edge", PackOptions { weights, head: None })?;
    let (mut same, mut total, mut noise, mut signal) = (0u32, 0u32, 0f64, 0f64);
    for clip in &model.heldout()?.clips()[..clips] {
        let mut session = golden_session(&packed, Policy::dense(), 1, 640)?;
        let id = session.start(forced(clip.prompt.clone(), &clip.tokens, 0..codes as u32))?;
        session.prefill()?;
        let mut sequence = oracle.sequence();
        sequence.prefill(&clip.prompt)?;
        for &token in &clip.tokens {
            let chosen = session.step()?[0].chosen[0];
            let found = session.logits(session.slots(id)?[0])?;
            let expected = &sequence.logits()[..codes];
            let best = (0..codes).max_by(|&a, &b| expected[a].total_cmp(&expected[b]));
            same += u32::from(best == Some(chosen as usize));
            total += 1;
            let mean = expected.iter().map(|&e| f64::from(e)).sum::<f64>() / codes as f64;
            for (&f, &e) in found.iter().zip(expected) {
                noise += (f64::from(f) - f64::from(e)).powi(2);
                signal += (f64::from(e) - mean).powi(2);
            }
            sequence.step(token)?;
        }
    }
    Ok(Comparison { agreement: f64::from(same) / f64::from(total), error: (noise / signal).sqrt() })
}

/// The figures of docs/accuracy.md are these.
#[test]
fn machine_follows_the_oracle() -> TestResult {
    let (int8, fp4) = (compare(Format::MxInt8, 8)?, compare(Format::MxFp4, 8)?);
    println!("MXINT8 weights: {int8:?}\nMXFP4 weights: {fp4:?}");
    assert!(int8.agreement > 0.995 && int8.error < 0.03, "{int8:?}");
    assert!(fp4.agreement > 0.97 && fp4.error < 0.22, "{fp4:?}");
    Ok(())
}

/// With threshold 0 delta decode follows every change, so it must stay with the dense decode: what differs is the
/// rounding of changes instead of inputs.
#[test]
fn delta_decode_without_a_threshold_follows_the_dense_one() -> TestResult {
    let model = Model::open(moving_digits())?;
    let packed = packed(&model, "tiny", PackOptions { weights: Format::MxInt8, head: None })?;
    let heldout = model.heldout()?;
    let clip = &heldout.clips()[2];
    let mut logits = Vec::new();
    for policy in [Policy::dense(), Policy::delta(0.0)?] {
        let mut session = golden_session(&packed, policy, 1, 640)?;
        let id = session.start(forced(clip.prompt.clone(), &clip.tokens, 0..256))?;
        let mut all = Vec::new();
        for _ in 0..4 + 64 * 4 {
            session.step()?;
            all.push(session.logits(session.slots(id)?[0])?);
        }
        logits.push(all);
    }
    let first_frame = 4 + 64;
    assert!(logits[0][3..first_frame] == logits[1][3..first_frame], "the first frame is dense, bit for bit");
    assert!(logits[0][first_frame..] != logits[1][first_frame..], "later frames are not");
    let (mut noise, mut signal) = (0f64, 0f64);
    for (dense, delta) in logits[0][first_frame..].iter().zip(&logits[1][first_frame..]) {
        for (&a, &b) in dense.iter().zip(delta) {
            noise += f64::from(a - b).powi(2);
            signal += f64::from(a).powi(2);
        }
    }
    let error = (noise / signal).sqrt();
    println!("delta decode at threshold 0: relative error of the logits {error:.4}");
    assert!(error < 0.04, "{error}");
    Ok(())
}

#[test]
fn shipped_policies_fit_the_shipped_model() -> TestResult {
    for name in ["policy-input-delta.toml", "policy-delta.toml"] {
        Policy::load(&moving_digits().join(name))?.check_layers(4)?;
    }
    Ok(())
}
