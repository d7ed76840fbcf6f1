//! The shipped video model, `tests/models/moving-digits`, decoded by the oracle: real weights, prompts and
//! pictures.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::path::Path;

use fastcar_host::model::{Clip, Frame, Heldout, Model};
use fastcar_host::oracle::{Gate, Oracle, Replay, Sequence, TasForm};

/// Held-out videos that a test looks at.
const CLIPS: usize = 3;

fn open() -> (Model, Heldout) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/moving-digits");
    let model = Model::open(dir).unwrap();
    let heldout = model.heldout().unwrap();
    (model, heldout)
}

/// Of the tokens after the first frame: the share that are the most likely ones given all before them, and
/// the share of their MLPs that were replayed.
fn accuracy(sequence: &mut Sequence<'_>, clip: &Clip, period: usize) -> [f64; 2] {
    let best =
        |logits: &[f32]| (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u32;
    let mut guess = best(sequence.prefill(&clip.prompt).unwrap());
    let (mut right, mut replayed) = (0, 0);
    for (i, &token) in clip.tokens.iter().enumerate() {
        right += u32::from(i >= period && guess == token);
        guess = best(sequence.step(token).unwrap());
        replayed += sequence.decisions().iter().filter(|d| d.replayed).count();
    }
    let later = (clip.tokens.len() - period) as f64;
    [f64::from(right) / later, replayed as f64 / later / sequence.decisions().len() as f64]
}

fn psnr(a: &Frame, b: &Frame) -> f64 {
    let error: f64 =
        a.pixels.iter().zip(&b.pixels).map(|(&x, &y)| (f64::from(x) - f64::from(y)).powi(2)).sum();
    10.0 * (255.0f64.powi(2) * a.pixels.len() as f64 / error.max(1e-9)).log10()
}

#[test]
fn held_out_videos_are_predicted() {
    let (model, heldout) = open();
    let period = model.frame_period().unwrap();
    let oracle = Oracle::new(&model).unwrap();
    let begun = std::time::Instant::now();
    let mut steps = 0;
    let mut mean = 0.0;
    for clip in &heldout.clips()[..CLIPS] {
        let [share, replayed] = accuracy(&mut oracle.sequence(), clip, period);
        assert_eq!(replayed, 0.0);
        steps += clip.prompt.len() + clip.tokens.len();
        mean += share / CLIPS as f64;
    }
    let rate = steps as f64 / begun.elapsed().as_secs_f64();
    println!("{mean:.3} of the tokens after the first frame are right; {rate:.0} tokens per second");
    assert!(mean > 0.7, "{mean}");
}

#[test]
fn replay_costs_accuracy_in_order_of_its_share() {
    let (model, heldout) = open();
    let period = model.frame_period().unwrap();
    let oracle = Oracle::new(&model).unwrap();
    let layers = model.config().num_hidden_layers();
    let under = |gate: Gate| {
        let mut total = [0.0; 2];
        for clip in &heldout.clips()[..CLIPS] {
            let mut sequence = oracle.sequence_with(Replay::new(period, gate.clone()).unwrap()).unwrap();
            let shares = accuracy(&mut sequence, clip, period);
            total = [total[0] + shares[0] / CLIPS as f64, total[1] + shares[1] / CLIPS as f64];
        }
        total
    };
    let [dense, none] = under(Gate::Dense { form: TasForm::Code });
    let [near, some] = under(Gate::InputDelta { thresholds: vec![Some(0.2); layers] });
    let [all, whole] =
        under(Gate::Tas { form: TasForm::Code, thresholds: vec![Some(f32::NEG_INFINITY); layers] });
    println!(
        "accuracy {dense:.3} dense, {near:.3} with {some:.3} replayed by input, {all:.3} with all replayed"
    );
    assert_eq!((none, whole), (0.0, 1.0));
    assert!(some > 0.1 && some < 0.9, "{some}");
    assert!((dense - near).abs() < 0.05, "{dense} {near}");
    assert!(all < dense - 0.05, "{dense} {all}");
}

#[test]
fn prompts_and_pictures_belong_together() {
    let (model, heldout) = open();
    let video = model.video().unwrap();
    let tokenizer = model.prompt_tokenizer().unwrap();
    let codebook = model.codebook().unwrap();
    assert_eq!(tokenizer.encode("7 up-left checker").unwrap().len(), video.prompt_tokens());
    for clip in heldout.clips() {
        let words = tokenizer.decode(&clip.prompt).unwrap();
        assert_eq!(tokenizer.encode(&words).unwrap(), clip.prompt, "{words}");
        let frames = codebook.render(&clip.tokens).unwrap();
        assert_eq!(frames.len(), video.frames());
        let mean =
            frames.iter().zip(&clip.frames).map(|(a, b)| psnr(a, b)).sum::<f64>() / frames.len() as f64;
        assert!(mean > 20.0, "{words}: {mean:.1} dB");
    }
}
