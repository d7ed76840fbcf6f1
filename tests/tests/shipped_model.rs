//! The shipped model through the functional model of the machine, against plain binary32.

use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::oracle::Oracle;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::Policy;
use fastcar_tests::{TestResult, forced, golden_session, moving_digits, packed};

/// Share of positions at which machine and oracle choose the same token, given the same true video.
fn agreement(weights: Format, clips: usize) -> Result<f64, Box<dyn std::error::Error>> {
    let model = Model::open(moving_digits())?;
    let oracle = Oracle::new(&model)?;
    let codes = model.video().map_or(0, |v| v.codes()) as u32;
    let packed = packed(&model, "edge", PackOptions { weights, head: None })?;
    let (mut same, mut total) = (0u32, 0u32);
    for clip in &model.heldout()?.clips()[..clips] {
        let tokens = &clip.tokens;
        let mut session = golden_session(&packed, Policy::dense(), 1, 640)?;
        session.start(forced(clip.prompt.clone(), tokens, 0..codes))?;
        let chosen: Vec<u32> =
            session.generate().map(|g| g.map(|g| g.chosen[0])).collect::<Result<_, _>>()?;
        let mut sequence = oracle.sequence();
        let mut logits = sequence.prefill(&clip.prompt)?.to_vec();
        for (&token, chosen) in tokens.iter().zip(chosen) {
            let best = (0..codes).max_by(|&a, &b| logits[a as usize].total_cmp(&logits[b as usize]));
            same += u32::from(best == Some(chosen));
            total += 1;
            logits = sequence.step(token)?.to_vec();
        }
    }
    Ok(f64::from(same) / f64::from(total))
}

#[test]
fn top_1_agreement_with_the_oracle() -> TestResult {
    let t = std::time::Instant::now();
    let (int8, fp4) = (agreement(Format::MxInt8, 4)?, agreement(Format::MxFp4, 4)?);
    println!("top-1 agreement with binary32: MXINT8 {int8:.4}, MXFP4 {fp4:.4} {:?}", t.elapsed());
    assert!(int8 > 0.995, "MXINT8 weights: {int8}");
    assert!(fp4 > 0.97, "MXFP4 weights: {fp4}");
    Ok(())
}
