//! Shared helpers of the cross-crate tests.

pub mod mutants;
pub mod opencl;
pub mod rtl;

use fastcar_arch::config::AccelConfig;
use fastcar_host::backend::GoldenBackend;
use fastcar_host::model::Model;
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::Policy;
use fastcar_host::sampler::Sampling;
use fastcar_host::session::{Request, Session, SessionOptions};
use std::path::PathBuf;
use std::sync::Arc;

/// Result of a test body that may fail anywhere.
pub type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Folder of the shipped model.
#[must_use]
pub fn moving_digits() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/moving-digits")
}

/// Packs a model for a preset.
///
/// # Errors
/// As [`pack`].
pub fn packed(
    model: &Model,
    preset: &str,
    options: PackOptions,
) -> Result<Arc<PackedModel>, Box<dyn std::error::Error>> {
    let config = AccelConfig::preset(preset)?;
    Ok(Arc::new(pack(model, &config, options, &())?))
}

/// A session on the functional model.
///
/// # Errors
/// As [`Session::open`].
pub fn golden_session(
    model: &Arc<PackedModel>,
    policy: Policy,
    slots: u32,
    positions: u32,
) -> Result<Session, Box<dyn std::error::Error>> {
    let options = SessionOptions { slots, positions };
    Ok(Session::open(Box::new(GoldenBackend::new()), Arc::clone(model), policy, options)?)
}

/// A greedy request whose tokens are given: what would have been chosen comes back beside them.
#[must_use]
pub fn forced(prompt: Vec<u32>, tokens: &[u32], allowed: std::ops::Range<u32>) -> Request {
    Request {
        prompt,
        guidance: None,
        positions: tokens.len() as u32,
        sampling: Sampling::GREEDY,
        allowed,
        given: tokens.iter().map(|&t| vec![t]).collect(),
    }
}

/// Decodes a request alone in its own session and returns every position's chosen token and logits, as bits.
///
/// # Errors
/// As [`Session::step`].
pub fn decode_bits(
    session: &mut Session,
    requests: &[Request],
) -> Result<Vec<Vec<u32>>, Box<dyn std::error::Error>> {
    let ids = requests.iter().map(|r| session.start(r.clone())).collect::<Result<Vec<_>, _>>()?;
    let mut out = vec![Vec::new(); ids.len()];
    loop {
        let made = session.step()?;
        if made.is_empty() && ids.iter().all(|id| session.is_done(*id).unwrap_or(true)) {
            return Ok(out);
        }
        for generated in made {
            let Some(index) = ids.iter().position(|id| *id == generated.sequence) else { continue };
            out[index].extend(&generated.chosen);
            for &slot in session.slots(generated.sequence)? {
                out[index].extend(session.logits(slot)?.iter().map(|l| l.to_bits()));
            }
        }
    }
}
