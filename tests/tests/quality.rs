//! Quality over weight traffic on the shipped model: input-delta replay above TAS above random, delta decode at least
//! as good as either; measured small here, and read from the committed curves.

use fastcar_host::backend::GoldenBackend;
use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::quality::table::{Row, agreement_at, from_csv, to_csv};
use fastcar_host::quality::{Bench, Family, QualityError, Scene, sweep};
use fastcar_tests::{TestResult, moving_digits, packed};
use std::sync::atomic::AtomicBool;

/// What the committed curves are made with, and how far apart methods have to be.
const FAMILIES: [&str; 4] = ["delta", "input-delta", "tas", "random"];
const MARGIN: f64 = 0.02;

fn bench(clips: usize) -> Result<Bench, Box<dyn std::error::Error>> {
    let model = Model::open(moving_digits())?;
    let packed = packed(&model, "edge", PackOptions { weights: Format::MxInt8, head: None })?;
    let scenes = model.heldout()?.clips()[..clips].iter().cloned().map(Scene::from).collect();
    let video = model.video().ok_or("no video")?;
    let machines = Box::new(|| Box::new(GoldenBackend::new()) as _);
    Ok(Bench::new(packed, machines, video, Some(model.codebook()?), scenes, &())?)
}

/// Agreement of the four methods at a traffic.
fn agreements(rows: &[Row], traffic: f64) -> Result<[f64; 4], String> {
    let mut found = [0.0; 4];
    for (out, family) in found.iter_mut().zip(FAMILIES) {
        *out = agreement_at(rows, family, traffic)
            .ok_or(format!("{family} has no points around traffic {traffic}"))?;
    }
    Ok(found)
}

#[test]
fn methods_keep_their_order_at_equal_traffic() -> TestResult {
    let families = FAMILIES.map(str::parse::<Family>).into_iter().collect::<Result<Vec<_>, _>>()?;
    let points = sweep(&bench(2)?, &families, &[0.5], &())?;
    let rows = from_csv(&to_csv(&points))?;
    assert_eq!((rows[0].family.as_str(), rows[0].agreement, rows[0].traffic), ("dense", 1.0, 1.0));
    for (row, family) in rows[1..].iter().zip(FAMILIES) {
        assert_eq!(row.family, family);
        assert!((row.traffic - 0.5).abs() < 0.01, "{family}: {}", row.traffic);
    }
    let [delta, input_delta, tas, random] = [1, 2, 3, 4].map(|i| rows[i].agreement);
    println!(
        "agreement at traffic 0.5: delta {delta:.4}, input-delta {input_delta:.4}, TAS {tas:.4}, random {random:.4}"
    );
    assert!(tas > random + MARGIN && input_delta > tas + MARGIN && delta >= input_delta);
    Ok(())
}

#[test]
fn committed_curves_show_the_order() -> TestResult {
    let rows = from_csv(include_str!("../baselines/quality-moving-digits.csv"))?;
    for traffic in [0.5, 0.65, 0.8] {
        let [delta, input_delta, tas, random] = agreements(&rows, traffic)?;
        assert!(tas > random + MARGIN, "at {traffic}: TAS {tas}, random {random}");
        assert!(input_delta > tas + MARGIN, "at {traffic}: input-delta {input_delta}, TAS {tas}");
        // Where both are within noise of perfect, delta decode may be the lower by a token or two.
        assert!(delta > input_delta - 0.003, "at {traffic}: delta {delta}, input-delta {input_delta}");
    }
    let [delta, input_delta, ..] = agreements(&rows, 0.5)?;
    assert!(delta > input_delta + MARGIN, "at 0.5: delta {delta}, input-delta {input_delta}");
    Ok(())
}

#[test]
fn nothing_skipped_is_the_dense_decode() -> TestResult {
    let bench = bench(1)?;
    for policy in [Policy::dense(), Policy::replay(Gate::Never)?] {
        let m = bench.measure(&policy, &())?;
        assert_eq!((m.traffic, m.free_traffic, m.replay_ratio, m.joint_ratio), (1.0, 1.0, 0.0, 0.0));
        assert_eq!((m.agreement, m.free_agreement), (1.0, 1.0));
        assert_eq!(
            m.against_dense.map(|f| (f.psnr_db, f.ssim.map(f64::round))),
            Some((f64::INFINITY, Some(1.0)))
        );
        assert!(m.accuracy.is_some_and(|a| a > 0.9));
    }
    let all = bench.measure(&Policy::replay(Gate::Always)?, &())?;
    assert_eq!((all.replay_ratio, all.joint_ratio), (1.0, 1.0));
    assert!(all.traffic < 0.35 && all.agreement < 0.9);
    Ok(())
}

/// Frames that the bound on age computes are part of the traffic: with at most one replay in a row, half computes.
#[test]
fn a_bound_on_age_bounds_the_traffic() -> TestResult {
    let family: Family = "budget+age1".parse()?;
    let points = sweep(&bench(1)?, &[family], &[0.35], &())?;
    let last = &points[1].measured;
    assert!(last.replay_ratio < 0.6 && last.traffic > 0.6, "{last:?}");
    Ok(())
}

#[test]
fn misfits_are_refused_and_a_cancel_is_heard() -> TestResult {
    let model = Model::open(moving_digits())?;
    let packed = packed(&model, "edge", PackOptions { weights: Format::MxFp4, head: None })?;
    let video = model.video().ok_or("no video")?;
    let open = |scenes: Vec<Scene>, stop: bool| {
        let machines = Box::new(|| Box::new(GoldenBackend::new()) as _);
        Bench::new(packed.clone(), machines, video, None, scenes, &AtomicBool::new(stop))
            .err()
            .map(|e| e.to_string())
    };
    let scene = Scene::from(model.heldout()?.clips()[0].clone());
    assert_eq!(open(Vec::new(), false), Some(QualityError::NoClips.to_string()));
    let short = Scene { truth: scene.truth.clone().map(|(t, f)| (t[..64].to_vec(), f)), ..scene.clone() };
    let text = "clip 0 has 64 tokens: the model's videos have 512, and more than one frame";
    assert_eq!(open(vec![short], false).as_deref(), Some(text));
    assert_eq!(open(vec![scene], true).as_deref(), Some("cancelled"));
    Ok(())
}
