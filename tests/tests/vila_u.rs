//! A reduced VILA-U checkpoint through body, projector and depth transformer, against plain binary32.

use fastcar_host::image::Format;
use fastcar_host::model::Model;
use fastcar_host::model::testing::VilaUSpec;
use fastcar_host::oracle::Oracle;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{Gate, Policy};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::Request;
use fastcar_tests::{TestResult, golden_session, packed};

const POSITIONS: usize = 10;

fn codes(position: usize) -> Vec<u32> {
    (0..4).map(|k| ((position * 7 + k * 13 + 3) % 40) as u32).collect()
}

fn request() -> Request {
    Request {
        prompt: vec![3, 9, 27],
        guidance: None,
        positions: POSITIONS as u32,
        sampling: Sampling::GREEDY,
        allowed: 0..40,
        given: (0..POSITIONS).map(codes).collect(),
    }
}

fn relative_error(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0f32, |m, x| m.max(x.abs()));
    found.iter().zip(expected).fold(0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

fn compare(spec: &VilaUSpec, preset: &str) -> TestResult {
    let dir = tempfile::tempdir()?;
    spec.write(dir.path())?;
    let model = Model::open(dir.path())?;
    let oracle = Oracle::new(&model)?;
    let packed = packed(&model, preset, PackOptions { weights: Format::MxInt8, head: None })?;
    let mut session = golden_session(&packed, Policy::dense(), 1, 16)?;
    let id = session.start(request())?;
    session.prefill()?;
    let mut sequence = oracle.sequence();
    sequence.prefill(&request().prompt)?;
    for position in 0..POSITIONS {
        session.step()?;
        let given = codes(position);
        // The session's last logits are those of the last code.
        let expected = &oracle.depth_logits(sequence.hidden(), &given)?[3];
        let found = session.logits(session.slots(id)?[0])?;
        let error = relative_error(&found[..expected.len()], expected);
        assert!(error < 0.08, "{preset}, position {position}: relative error {error}");
        let input = oracle.code_embedding(&given)?;
        sequence.advance(&input, &mut ())?;
    }
    Ok(())
}

#[test]
fn logits_follow_the_oracle() -> TestResult {
    for projector in ["mlp2x_gelu", "linear"] {
        compare(&VilaUSpec { projector, ..VilaUSpec::default() }, "tiny")?;
    }
    compare(&VilaUSpec { shared_codebook: false, ..VilaUSpec::default() }, "u55c")
}

#[test]
fn replays_frames_and_chooses_codes() -> TestResult {
    let dir = tempfile::tempdir()?;
    VilaUSpec::default().write(dir.path())?;
    let packed = packed(&Model::open(dir.path())?, "edge", PackOptions::default())?;
    let mut session = golden_session(&packed, Policy::replay(Gate::Always)?, 2, 20)?;
    let sampling = Sampling { temperature: 1.0, top_k: 30, top_p: 0.96, seed: 4 };
    let guidance = Some((vec![1, 1, 1], 3.0));
    let id = session.start(Request { sampling, guidance, given: Vec::new(), positions: 13, ..request() })?;
    let made: Vec<_> = session.generate().collect::<Result<_, _>>()?;
    assert_eq!(made.len(), 13);
    assert!(made.iter().all(|g| g.tokens.len() == 4 && g.tokens.iter().all(|&t| t < 40)));
    let stats = session.finish(id)?;
    // Twelve positions are processed; a frame has 4, so 8 of them are eligible in 2 rows, and all replay.
    assert_eq!(stats.layers[0].eligible, 16);
    assert!((stats.replay_ratio() - 1.0).abs() < 1e-9 && (stats.joint_ratio() - 1.0).abs() < 1e-9);
    Ok(())
}
