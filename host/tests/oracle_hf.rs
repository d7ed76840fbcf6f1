//! The oracle against recorded logits of Hugging Face transformers: `tests/vectors/hf/case_*`, each a small
//! model with the tokens that were run and the logits after each of them.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::path::{Path, PathBuf};

use fastcar_host::model::{Model, TensorFile};
use fastcar_host::oracle::Oracle;

/// Largest difference in a row, relative to the row's largest magnitude.
const TOLERANCE: f32 = 1e-4;

/// Fewer cases than this means that the vectors are not where they should be.
const LEAST_CASES: usize = 6;

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/hf");
    let mut cases: Vec<PathBuf> = std::fs::read_dir(&root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("case_")))
        .collect();
    cases.sort();
    cases
}

/// The worst relative difference of a case, and where it is.
fn worst(case: &Path) -> (f32, usize) {
    let model = Model::open(case).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
    let oracle = Oracle::new(&model).unwrap();
    let expected = TensorFile::open(case.join("expected.safetensors")).unwrap();
    let ids = expected.tensor("input_ids").unwrap().to_i32().unwrap();
    let logits = expected.tensor("logits").unwrap();
    let vocab = model.config().vocab_size();
    logits.expect_shape(&[ids.len(), vocab]).unwrap();
    let logits = logits.to_f32(0..logits.elements()).unwrap();

    let mut sequence = oracle.sequence();
    let mut worst = (0.0f32, 0);
    for (t, (&id, row)) in ids.iter().zip(logits.chunks_exact(vocab)).enumerate() {
        let found = sequence.step(u32::try_from(id).unwrap()).unwrap();
        let scale = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let error = found.iter().zip(row).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / scale;
        assert!(error.is_finite());
        if error > worst.0 {
            worst = (error, t);
        }
    }
    worst
}

#[test]
fn logits_equal_those_of_transformers() {
    let cases = cases();
    assert!(cases.len() >= LEAST_CASES, "{} cases found, at least {LEAST_CASES} are needed", cases.len());
    for case in cases {
        let (error, position) = worst(&case);
        println!("{}: worst relative difference {error:.2e}, at position {position}", case.display());
        assert!(error <= TOLERANCE, "{}: {error:e} at position {position}", case.display());
    }
}
