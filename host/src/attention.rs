//! Sparse attention: which tokens a head reads, as text, as token ranges and as the block lists of the machine.
//!
//! The machine knows one mechanism: it walks a list of KV blocks, each with a mask of tokens (`attn` in docs/isa.md).
//! A [`Pattern`] says which tokens these are, for every position of a sequence; an [`Attention`] deals patterns to
//! key/value heads and layers. Patterns only make lists: neither program nor cache depends on them otherwise, and keys
//! and values of tokens that nobody reads are cached all the same.
//!
//! # Text form
//!
//! ```text
//! attention = layer [ "/" layer .. ]      one for all layers, or one per layer
//! layer     = pattern [ "," pattern .. ]  dealt to the layer's key/value heads in turn
//! pattern   = "dense" | term [ "+" term .. ]
//! ```
//!
//! A pattern reads the union of its terms, never more than the tokens up to and including the position's own:
//!
//! | term | tokens |
//! |---|---|
//! | `dense` | all |
//! | `sinkN` | the first N of the sequence |
//! | `localN` | the last N, the own one included |
//! | `prompt` | the prompt |
//! | `frame-strideK~W` | the own frame so far; of every K-th frame before it, the same position and W on either side (not beyond that frame's ends). A prompt token reads the prompt so far |
//!
//! ```
//! use fastcar_host::attention::{Attention, Place};
//!
//! let attention: Attention = "sink4+local64".parse()?;
//! let place = Place { token: 100, prompt: 4, period: 64 };
//! assert_eq!(attention.patterns(0, 1)[0].ranges(place), [0..4, 37..101]);
//! assert_eq!(attention.patterns(0, 1)[0].blocks(place), [(0, 0xf), (1, 0xffff_ffe0), (2, u32::MAX), (3, 0x1f)]);
//! # Ok::<(), fastcar_host::attention::AttentionError>(())
//! ```

use fastcar_arch::config::KV_BLOCK_TOKENS;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Where a token stands in its sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Its position, from 0.
    pub token: u32,
    /// Tokens of the sequence's prompt.
    pub prompt: u32,
    /// Positions in a frame; 0 where the model has none.
    pub period: u32,
}

/// Tokens of the own frame, and around the same position of earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct FrameStride {
    /// Every so many frames back.
    every: u32,
    /// Tokens on either side of the same position.
    near: u32,
}

/// What a head attends to: the union of its terms.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pattern {
    sink: u32,
    /// [`ALL`] for dense attention.
    local: u32,
    prompt: bool,
    frames: Option<FrameStride>,
}

/// Local window of dense attention.
const ALL: u32 = u32::MAX;

/// Text that is no attention.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttentionError {
    /// A term that is not known, or stands twice.
    #[error(
        "attention '{text}': '{term}' is not one of dense, sinkN, localN, prompt and frame-strideK~W, each once in a \
         pattern, with N and K of at least 1; as in sink4+local256 or prompt+frame-stride1~8"
    )]
    Term {
        /// The whole text.
        text: String,
        /// The term found.
        term: String,
    },
    /// A pattern that would not read the position's own token.
    #[error(
        "attention '{text}': pattern '{pattern}' does not reach the position's own token; add localN or frame-strideK~W"
    )]
    Own {
        /// The whole text.
        text: String,
        /// The pattern found.
        pattern: String,
    },
}

impl Pattern {
    /// Every token up to the own.
    pub const DENSE: Self = Self { local: ALL, ..Self::NOTHING };

    const NOTHING: Self = Self { sink: 0, local: 0, prompt: false, frames: None };

    /// Whether it is dense attention.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.local == ALL
    }

    /// Whether it needs a model with frames.
    #[must_use]
    pub fn needs_frames(&self) -> bool {
        self.frames.is_some()
    }

    /// The tokens read at a place: ascending, disjoint and not adjacent.
    #[must_use]
    pub fn ranges(&self, place: Place) -> Vec<Range<u32>> {
        let end = place.token.saturating_add(1);
        let mut all = vec![0..self.sink.min(end), end.saturating_sub(self.local)..end];
        if self.prompt {
            all.push(0..place.prompt.min(end));
        }
        if let Some(frames) = self.frames {
            frames.ranges(place, &mut all);
        }
        all.retain(|r| !r.is_empty());
        all.sort_unstable_by_key(|r| r.start);
        let mut merged: Vec<Range<u32>> = Vec::with_capacity(all.len());
        for range in all {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// The block list at a place: block numbers ascending, each with the mask of its tokens.
    #[must_use]
    pub fn blocks(&self, place: Place) -> Vec<(u32, u32)> {
        let mut list: Vec<(u32, u32)> = Vec::new();
        for range in self.ranges(place) {
            for block in range.start / KV_BLOCK_TOKENS..=(range.end - 1) / KV_BLOCK_TOKENS {
                let first = block * KV_BLOCK_TOKENS;
                let (from, to) = (range.start.max(first) - first, (range.end - first).min(KV_BLOCK_TOKENS));
                let mask = (u32::MAX >> (KV_BLOCK_TOKENS - (to - from))) << from;
                match list.last_mut() {
                    Some((last, tokens)) if *last == block => *tokens |= mask,
                    _ => list.push((block, mask)),
                }
            }
        }
        list
    }

    /// Entries that suffice for the block list of every place in sequences of up to `positions` tokens, whatever their
    /// prompt.
    #[must_use]
    pub fn most_entries(&self, positions: u32) -> u32 {
        let all = positions.div_ceil(KV_BLOCK_TOKENS);
        if self.is_dense() || self.prompt || self.frames.is_some() {
            return all;
        }
        // A window starts anywhere in its first block.
        let window = if self.local == 0 { 0 } else { (self.local - 1).div_ceil(KV_BLOCK_TOKENS) + 1 };
        all.min(self.sink.div_ceil(KV_BLOCK_TOKENS).saturating_add(window))
    }

    /// Adds a term, which is `None` where it is not known or stands already.
    fn with(mut self, term: &str) -> Option<Self> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&n| n > 0 && n < ALL);
        if let Some(n) = term.strip_prefix("sink").filter(|_| self.sink == 0) {
            self.sink = number(n)?;
        } else if let Some(n) = term.strip_prefix("local").filter(|_| self.local == 0) {
            self.local = number(n)?;
        } else if let Some(rest) = term.strip_prefix("frame-stride").filter(|_| self.frames.is_none()) {
            let (every, near) = rest.split_once('~')?;
            self.frames = Some(FrameStride { every: number(every)?, near: near.parse().ok()? });
        } else if term == "prompt" && !self.prompt {
            self.prompt = true;
        } else {
            return None;
        }
        Some(self)
    }
}

impl FrameStride {
    fn ranges(self, place: Place, out: &mut Vec<Range<u32>>) {
        let Place { token, prompt, period } = place;
        let end = token.saturating_add(1);
        let Some(generated) = token.checked_sub(prompt).filter(|_| period > 0) else {
            // No frame has begun.
            return out.push(0..end);
        };
        let (frame, at) = (generated / period, generated % period);
        let start = |frame: u32| prompt + frame * period;
        out.push(start(frame)..end);
        let earlier = (1..=frame).filter(|back| back.is_multiple_of(self.every));
        out.extend(earlier.map(|back| {
            let first = start(frame - back);
            let last = at.saturating_add(self.near).min(period - 1);
            first + at.saturating_sub(self.near)..first + last + 1
        }));
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_dense() {
            return f.write_str("dense");
        }
        let mut terms = Vec::new();
        if self.prompt {
            terms.push("prompt".to_owned());
        }
        if self.sink > 0 {
            terms.push(format!("sink{}", self.sink));
        }
        if let Some(FrameStride { every, near }) = self.frames {
            terms.push(format!("frame-stride{every}~{near}"));
        }
        if self.local > 0 {
            terms.push(format!("local{}", self.local));
        }
        f.write_str(&terms.join("+"))
    }
}

/// Reads one pattern; `text` is the whole, for messages.
fn pattern(written: &str, text: &str) -> Result<Pattern, AttentionError> {
    if written == "dense" {
        return Ok(Pattern::DENSE);
    }
    let mut pattern = Pattern::NOTHING;
    for term in written.split('+') {
        let refuse = || AttentionError::Term { text: text.to_owned(), term: term.to_owned() };
        pattern = pattern.with(term).ok_or_else(refuse)?;
    }
    if pattern.local == 0 && pattern.frames.is_none() {
        return Err(AttentionError::Own { text: text.to_owned(), pattern: written.to_owned() });
    }
    Ok(pattern)
}

/// Patterns of all heads and layers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Attention {
    /// One entry for all layers, or one per layer; each the patterns that are dealt to its heads.
    layers: Vec<Vec<Pattern>>,
}

/// As it stands in a policy file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    layers: Vec<String>,
}

impl TryFrom<Text> for Attention {
    type Error = AttentionError;

    fn try_from(text: Text) -> Result<Self, AttentionError> {
        text.layers.join("/").parse()
    }
}

impl From<Attention> for Text {
    fn from(attention: Attention) -> Self {
        Self { layers: attention.layers.iter().map(|l| layer_text(l)).collect() }
    }
}

fn layer_text(patterns: &[Pattern]) -> String {
    patterns.iter().map(Pattern::to_string).collect::<Vec<_>>().join(",")
}

impl FromStr for Attention {
    type Err = AttentionError;

    fn from_str(text: &str) -> Result<Self, AttentionError> {
        let layer = |layer: &str| layer.split(',').map(|p| pattern(p.trim(), text)).collect();
        let attention = Self { layers: text.split('/').map(layer).collect::<Result<_, _>>()? };
        // However it is written, dense attention is one thing.
        Ok(if attention.is_dense() { Self::dense() } else { attention })
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layers: Vec<String> = self.layers.iter().map(|l| layer_text(l)).collect();
        f.write_str(&layers.join("/"))
    }
}

impl Default for Attention {
    fn default() -> Self {
        Self::dense()
    }
}

impl Attention {
    /// Every head reads every token.
    #[must_use]
    pub fn dense() -> Self {
        Self { layers: vec![vec![Pattern::DENSE]] }
    }

    /// Whether every head of every layer is dense.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.layers.iter().flatten().all(Pattern::is_dense)
    }

    /// Whether a pattern needs a model with frames.
    #[must_use]
    pub fn needs_frames(&self) -> bool {
        self.layers.iter().flatten().any(Pattern::needs_frames)
    }

    /// Entries of the list of layers: 1, or the number of layers that this fits.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Most patterns of a layer: it fits models with at least so many key/value heads.
    #[must_use]
    pub fn most_patterns(&self) -> usize {
        self.layers.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The pattern of each key/value head of a layer; the last entry's where the layer is beyond the list.
    #[must_use]
    pub fn patterns(&self, layer: usize, kv_heads: usize) -> Vec<Pattern> {
        let dealt = self.layers.get(layer).or(self.layers.last()).into_iter().flatten();
        dealt.copied().cycle().take(kv_heads).collect()
    }
}
