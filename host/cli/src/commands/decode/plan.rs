//! What to decode: sequences, length, tokens to choose from.

use super::Args;
use super::args::TokenList;
use anyhow::{Context, Result, bail};
use fastcar_host::model::{Clip, Model, NullPrompt};
use fastcar_host::sampler::Sampling;
use fastcar_host::session::Request;
use std::ops::Range;

/// Longest file name made from a prompt.
const NAME_LIMIT: usize = 48;

/// One sequence.
pub struct Sequence {
    /// Its prompt as text.
    pub prompt: String,
    /// Which held-out video it continues.
    pub heldout: Option<usize>,
    /// Its prompt as tokens.
    pub tokens: Vec<u32>,
    /// The held-out video.
    pub truth: Option<Clip>,
}

/// What to decode.
pub struct Plan {
    /// Sequences.
    pub sequences: Vec<Sequence>,
    /// Unconditional prompt and scale.
    pub guidance: Option<(Vec<u32>, f32)>,
    /// Positions of each sequence.
    pub positions: u32,
    /// Positions of a frame.
    pub period: Option<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// From which.
    pub allowed: Range<u32>,
}

impl Plan {
    /// From the flags and the model.
    ///
    /// # Errors
    /// A prompt that the model does not know, a held-out video that does not exist, guidance without a null
    /// prompt.
    pub fn new(args: &Args, model: &Model, sampling: Sampling) -> Result<Self> {
        let period = model.frame_period().map(|p| p as u32);
        let sequences = match (&args.prompt_tokens[..], &args.first_frame[..]) {
            ([], []) => prompted(args, model)?,
            (lists, []) => lists.iter().map(numbered).collect(),
            _ => continued(args, model)?,
        };
        Ok(Self {
            guidance: args
                .cfg
                .map(|scale| Ok::<_, anyhow::Error>((null_prompt(model)?, scale)))
                .transpose()?,
            positions: positions(args, model, period)?,
            period,
            sampling,
            allowed: allowed(model),
            sequences,
        })
    }

    /// Slots that all sequences take together.
    pub fn slots(&self) -> u32 {
        self.sequences.len() as u32 * if self.guidance.is_some() { 2 } else { 1 }
    }

    /// Positions of the longest sequence, prompt included.
    pub fn longest(&self) -> u32 {
        self.prompt_tokens().saturating_add(self.positions)
    }

    /// Tokens of the longest prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.sequences.iter().map(|s| s.tokens.len() as u32).max().unwrap_or(0)
    }

    /// Positions whose tokens are given: the first frame of a held-out video.
    pub fn given(&self) -> usize {
        let first =
            if self.sequences.iter().any(|s| s.truth.is_some()) { self.period.unwrap_or(0) } else { 0 };
        first.min(self.positions) as usize
    }

    /// The request of a sequence; `tokens` gives all its tokens instead of the first frame's.
    pub fn request(&self, sequence: &Sequence, tokens: Option<&[Vec<u32>]>) -> Request {
        let first = || {
            sequence.truth.iter().flat_map(|clip| &clip.tokens).take(self.given()).map(|&t| vec![t]).collect()
        };
        Request {
            prompt: sequence.tokens.clone(),
            guidance: self.guidance.clone(),
            positions: self.positions,
            sampling: self.sampling,
            allowed: self.allowed.clone(),
            given: tokens.map_or_else(first, <[_]>::to_vec),
        }
    }

    /// A file name: the first prompt, and how many more there are.
    pub fn file_name(&self) -> String {
        let first = self.sequences.first().map_or(String::new(), Sequence::file_name);
        match self.sequences.len() {
            0 | 1 => first,
            n => format!("{first}+{}", n - 1),
        }
    }
}

impl Sequence {
    fn file_name(&self) -> String {
        if let Some(n) = self.heldout {
            return format!("heldout-{n}");
        }
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = self.prompt.chars().map(plain).collect();
        let words: Vec<&str> = name.split('-').filter(|w| !w.is_empty()).collect();
        let name: String = words.join("-").chars().take(NAME_LIMIT).collect();
        if name.is_empty() { "decode".to_owned() } else { name }
    }
}

fn prompted(args: &Args, model: &Model) -> Result<Vec<Sequence>> {
    let tokenizer = model.prompt_tokenizer()?;
    let sequence = |prompt: &String| {
        Ok(Sequence { tokens: tokenizer.encode(prompt)?, prompt: prompt.clone(), heldout: None, truth: None })
    };
    args.prompt.iter().map(sequence).collect()
}

fn numbered(TokenList(tokens): &TokenList) -> Sequence {
    let words: Vec<String> = tokens.iter().map(u32::to_string).collect();
    Sequence { prompt: words.join(" "), heldout: None, tokens: tokens.clone(), truth: None }
}

fn continued(args: &Args, model: &Model) -> Result<Vec<Sequence>> {
    let clips = model.heldout()?;
    let tokenizer = model.prompt_tokenizer()?;
    let sequence = |&number: &usize| {
        let count = clips.clips().len();
        let clip = clips.clips().get(number).with_context(|| {
            format!("held-out video {number} does not exist: the model has {count}, counted from 0")
        })?;
        let prompt = tokenizer.decode(&clip.prompt)?;
        Ok(Sequence { prompt, heldout: Some(number), tokens: clip.prompt.clone(), truth: Some(clip.clone()) })
    };
    args.first_frame.iter().map(sequence).collect()
}

fn null_prompt(model: &Model) -> Result<Vec<u32>> {
    match model.video().and_then(|v| v.null_prompt()) {
        Some(NullPrompt::Tokens(tokens)) => Ok(tokens.clone()),
        Some(NullPrompt::Text(text)) => Ok(model.prompt_tokenizer()?.encode(text)?),
        None => bail!(
            "--cfg needs an unconditional prompt, and config.json of {} has no fastcar_video.null_prompt: \
             leave --cfg out, or use a model that was trained with guidance",
            model.dir().display()
        ),
    }
}

fn positions(args: &Args, model: &Model, period: Option<u32>) -> Result<u32> {
    if let Some(positions) = args.positions {
        return Ok(positions);
    }
    let Some(period) = period else {
        bail!(
            "{} makes no video, so it has no frames: say how much to generate with --positions N",
            model.dir().display()
        );
    };
    let frames = args.frames.or(model.video().map(|v| v.frames() as u32));
    let frames = frames.with_context(|| {
        format!("{} does not say how many frames its videos have: give --frames N", model.dir().display())
    })?;
    frames.checked_mul(period).with_context(|| {
        format!("{frames} frames of {period} positions are more than any sequence holds: give fewer --frames")
    })
}

/// Picture codes of a video model, the head's vocabulary of any other.
fn allowed(model: &Model) -> Range<u32> {
    match (model.video(), model.vila_u()) {
        (_, Some(vila)) => 0..vila.config().codes() as u32,
        (Some(video), None) => video.code_offset() as u32..(video.code_offset() + video.codes()) as u32,
        (None, None) => 0..model.body().spec().vocab() as u32,
    }
}
