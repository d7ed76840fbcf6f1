//! What a request may ask of a session.

use super::{Request, SessionError, SessionOptions};
use crate::compile::Compiled;
use crate::image::{Image, Input};

impl Request {
    /// Slots that it takes: one, or a pair.
    #[must_use]
    pub fn rows(&self) -> usize {
        if self.guidance.is_some() { 2 } else { 1 }
    }
}

/// The limits of the requests that sessions of one model and size take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    slots: u32,
    positions: u32,
    vocabulary: usize,
    /// Tokens that have logits and can be read back as an input.
    choices: usize,
    /// Tokens of a position.
    codes: usize,
}

impl Rules {
    pub(super) fn new(image: &Image, compiled: &Compiled, size: SessionOptions) -> Self {
        let logits: u32 = compiled.logits.iter().map(|l| l.words).sum();
        Self {
            slots: size.slots,
            positions: size.positions,
            vocabulary: entries(&image.inputs[0]),
            choices: image.inputs.last().map_or(0, entries).min(logits as usize),
            codes: compiled.depth.len().max(1),
        }
    }

    /// Refuses what cannot be served.
    pub(crate) fn check(&self, request: &Request) -> Result<(), SessionError> {
        request.sampling.check()?;
        self.check_prompt(request)?;
        if request.rows() > self.slots as usize {
            let limit = format!("a guided sequence takes two slots, the session has {}", self.slots);
            return refuse("guidance", request.rows(), limit);
        }
        let Self { choices, codes, .. } = *self;
        if request.allowed.is_empty() || request.allowed.end as usize > choices {
            let limit = format!("a non-empty range within 0..{choices}");
            return refuse("allowed", request.allowed.end as usize, limit);
        }
        if let Some(bad) = request.given.iter().find(|g| g.len() != codes) {
            return refuse("given", bad.len(), format!("a position has {codes} tokens"));
        }
        if let Some(&bad) = request.given.iter().flatten().find(|&&t| t as usize >= choices) {
            return refuse("given", bad as usize, format!("tokens are below {choices}"));
        }
        Ok(())
    }

    fn check_prompt(&self, request: &Request) -> Result<(), SessionError> {
        let (prompt, total) = (request.prompt.len(), request.prompt.len() + request.positions as usize);
        if prompt == 0 {
            return refuse("prompt", 0, "a prompt has at least one token".to_owned());
        }
        if request.positions == 0 {
            return refuse("positions", 0, "at least one position is generated".to_owned());
        }
        if total > self.positions as usize {
            let limit = format!("the session holds {} positions, prompt included", self.positions);
            return refuse("positions", total, limit);
        }
        let vocabulary = self.vocabulary;
        let null = request.guidance.iter().flat_map(|g| &g.0);
        if let Some(&bad) = request.prompt.iter().chain(null).find(|&&t| t as usize >= vocabulary) {
            return refuse("prompt", bad as usize, format!("the vocabulary has {vocabulary} tokens"));
        }
        if let Some((null, _)) = request.guidance.as_ref().filter(|g| g.0.len() != prompt) {
            let limit = format!("both prompts of a guided sequence have the same length, {prompt} here");
            return refuse("guidance", null.len(), limit);
        }
        Ok(())
    }

    /// Whether these can be the tokens of a position.
    pub(super) fn are_tokens(&self, tokens: &[u32]) -> bool {
        tokens.len() == self.codes && tokens.iter().all(|&t| (t as usize) < self.choices)
    }
}

fn refuse<T>(what: &'static str, found: usize, limit: String) -> Result<T, SessionError> {
    Err(SessionError::Request { what, found: found as u64, limit })
}

/// Tokens that an input can look up.
fn entries(input: &Input) -> usize {
    input.tables.iter().map(|t| t.entries as usize).min().unwrap_or(0)
}
