//! Calibration on the shipped model.

use fastcar_host::backend::GoldenBackend;
use fastcar_host::calibrate::{CalibrateError, TOLERANCE, Target, calibrate, calibrate_factors};
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Method, Policy};
use fastcar_host::quality::{Bench, Family, Scene};
use fastcar_tests::{TestResult, moving_digits, packed};

fn bench(
    scenes: impl Fn(&Model) -> Result<Vec<Scene>, Box<dyn std::error::Error>>,
) -> Result<Bench, Box<dyn std::error::Error>> {
    let model = Model::open(moving_digits())?;
    let packed = packed(&model, "edge", PackOptions { weights: Format::MxFp4, head: None })?;
    let video = model.video().ok_or("no video")?;
    let machines = Box::new(|| Box::new(GoldenBackend::new()) as _);
    Ok(Bench::new(packed, machines, video, None, scenes(&model)?, &())?)
}

fn one_clip(model: &Model) -> Result<Vec<Scene>, Box<dyn std::error::Error>> {
    Ok(vec![Scene::from(model.heldout()?.clips()[0].clone())])
}

#[test]
fn a_target_ratio_is_met_and_the_file_does_the_same() -> TestResult {
    let bench = bench(one_clip)?;
    let family: Family = "tas+per-layer".parse()?;
    let found = calibrate(&bench, &family, Target::Ratio(0.5), &())?;
    assert!((found.measured.replay_ratio - 0.5).abs() < 2.0 * TOLERANCE, "{:?}", found.measured);
    let Method::Replay { gate: Gate::Tas { thresholds, .. }, .. } = found.policy.method() else {
        return Err("not a TAS policy".into());
    };
    assert_eq!(thresholds.len(), bench.layers());
    let read = Policy::from_toml(&found.policy.to_toml()?)?;
    assert_eq!(bench.measure(&read, &())?, found.measured);
    Ok(())
}

/// A prompt alone is enough: the dense decode is the reference.
#[test]
fn a_floor_is_kept() -> TestResult {
    let prompted = |model: &Model| {
        let prompt = model.heldout()?.clips()[1].prompt.clone();
        Ok(vec![Scene { prompt, truth: None }])
    };
    let found = calibrate(&bench(prompted)?, &"delta".parse()?, Target::Agreement(0.95), &())?;
    assert!(found.measured.agreement >= 0.95 && found.measured.traffic < 0.7, "{:?}", found.measured);
    assert_eq!((found.measured.accuracy, found.measured.against_truth), (None, None));
    Ok(())
}

#[test]
fn what_cannot_be_reached_is_said() -> TestResult {
    let bench = bench(one_clip)?;
    let text = |family: &str, target| -> Result<String, Box<dyn std::error::Error>> {
        Ok(calibrate(&bench, &family.parse()?, target, &()).err().map(|e| e.to_string()).unwrap_or_default())
    };
    // Replay leaves attention's projections: 65,536 of 200,704 weights of a layer.
    let expected = "no input-delta policy reaches traffic 0.2000 on these clips: the best is 0.3265; ask for that, or use another method";
    assert_eq!(text("input-delta", Target::Traffic(0.2))?, expected);
    assert!(text("tas+age1", Target::Ratio(0.9))?.contains("no tas+age1 policy reaches ratio 0.9000"));
    assert_eq!(text("tas", Target::PsnrDb(30.0))?, CalibrateError::NoPictures.to_string());
    assert_eq!(text("tas", Target::Ratio(2.0))?, "target ratio = 2: must be from 0 to 1");
    let factors = calibrate_factors(&bench, &"tas".parse()?, Target::Ratio(0.5), &());
    let text = "relative thresholds belong to delta decode, not to tas";
    assert_eq!(factors.err().map(|e| e.to_string()).as_deref(), Some(text));
    Ok(())
}
