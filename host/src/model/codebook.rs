//! Picture tokens to pictures, and recorded videos.

use std::path::Path;

use super::config::VideoConfig;
use super::error::ModelError;
use super::safetensors::TensorFile;

/// One picture: rows from the top, pixels from the left, channels innermost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// Values per pixel; 1 is greyscale.
    pub channels: usize,
    /// `height * width * channels` values, 0 dark.
    pub pixels: Vec<u8>,
}

/// The picture patch of every code.
#[derive(Debug, Clone)]
pub struct Codebook {
    video: VideoConfig,
    /// `[codes, patch height * patch width * channels]`, already in 0..=255.
    patches: Vec<u8>,
}

impl Codebook {
    /// Reads the tensor `codebook`, F32 `[codes, patch height * patch width * channels]` with 0 dark and 1
    /// bright.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Header`], [`ModelError::MissingTensor`], [`ModelError::Shape`],
    /// [`ModelError::Dtype`], [`ModelError::NonFinite`].
    pub fn open(path: impl AsRef<Path>, video: &VideoConfig) -> Result<Self, ModelError> {
        let file = TensorFile::open(path)?;
        let tensor = file.tensor("codebook")?;
        let [h, w] = video.patch();
        tensor.expect_shape(&[video.codes(), h * w * video.channels()])?;
        let values = tensor.to_f32(0..tensor.elements())?;
        // The cast saturates; the values are finite.
        let patches = values.iter().map(|v| (v * 255.0).round() as u8).collect();
        Ok(Self { video: video.clone(), patches })
    }

    /// How its tokens make a video.
    #[must_use]
    pub fn video(&self) -> &VideoConfig {
        &self.video
    }

    /// Renders picture tokens, whole frames of them, the prompt left out.
    ///
    /// # Errors
    /// [`ModelError::PartialFrame`]; [`ModelError::TokenRange`] with the position of the first token that is
    /// no picture code.
    pub fn render(&self, tokens: &[u32]) -> Result<Vec<Frame>, ModelError> {
        let per_frame = self.video.tokens_per_frame();
        if !tokens.len().is_multiple_of(per_frame) {
            return Err(ModelError::PartialFrame { found: tokens.len(), tokens_per_frame: per_frame });
        }
        let first = self.video.code_offset();
        let last = first + self.video.codes() - 1;
        if let Some(position) = tokens.iter().position(|&t| !(first..=last).contains(&(t as usize))) {
            return Err(ModelError::TokenRange {
                position,
                token: i64::from(tokens[position]),
                first: first as i64,
                last: last as i64,
            });
        }
        Ok(tokens.chunks_exact(per_frame).map(|frame| self.render_frame(frame)).collect())
    }

    fn render_frame(&self, tokens: &[u32]) -> Frame {
        let [grid_h, grid_w] = self.video.grid();
        let [patch_h, patch_w] = self.video.patch();
        let channels = self.video.channels();
        let (height, width) = (grid_h * patch_h, grid_w * patch_w);
        let row = patch_w * channels;
        let mut pixels = vec![0; height * width * channels];
        for (at, &token) in tokens.iter().enumerate() {
            let patch = &self.patches[(token as usize - self.video.code_offset()) * patch_h * row..];
            let (top, left) = (at / grid_w * patch_h, at % grid_w * patch_w);
            for y in 0..patch_h {
                let to = ((top + y) * width + left) * channels;
                pixels[to..to + row].copy_from_slice(&patch[y * row..(y + 1) * row]);
            }
        }
        Frame { width, height, channels, pixels }
    }
}

/// Videos that a model was not trained on, with their prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heldout {
    clips: Vec<Clip>,
}

/// One recorded video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clip {
    /// The prompt's tokens.
    pub prompt: Vec<u32>,
    /// Picture tokens, frame after frame.
    pub tokens: Vec<u32>,
    /// The pictures that the tokens were made from.
    pub frames: Vec<Frame>,
}

impl Heldout {
    /// Reads `prompt` I32 `[N, prompt_tokens]`, `tokens` I32 `[N, F, tokens_per_frame]` and `frames` U8 `[N,
    /// F, H, W]` (a last extent of `channels` beyond one).
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::Header`], [`ModelError::MissingTensor`], [`ModelError::Shape`],
    /// [`ModelError::Dtype`]; [`ModelError::TokenRange`] for a negative prompt token or a token that is no
    /// code.
    pub fn open(path: impl AsRef<Path>, video: &VideoConfig) -> Result<Self, ModelError> {
        let file = TensorFile::open(path)?;
        let tokens = file.tensor("tokens")?;
        tokens.expect_rank(3)?;
        let (n, f) = (tokens.shape()[0], tokens.shape()[1]);
        let per_frame = video.tokens_per_frame();
        tokens.expect_shape(&[n, f, per_frame])?;
        let prompt = file.tensor("prompt")?;
        prompt.expect_shape(&[n, video.prompt_tokens()])?;
        let frames = file.tensor("frames")?;
        let [grid_h, grid_w] = video.grid();
        let [patch_h, patch_w] = video.patch();
        let (height, width, channels) = (grid_h * patch_h, grid_w * patch_w, video.channels());
        if channels == 1 {
            frames.expect_shape(&[n, f, height, width])?;
        } else {
            frames.expect_shape(&[n, f, height, width, channels])?;
        }

        let first = video.code_offset();
        let codes = in_range(&tokens.to_i32()?, first, first + video.codes() - 1)?;
        let words = in_range(&prompt.to_i32()?, 0, i32::MAX as usize)?;
        let pixels = frames.to_u8()?;
        let frame_bytes = height * width * channels;
        let clips = (0..n)
            .map(|i| Clip {
                prompt: words[i * video.prompt_tokens()..(i + 1) * video.prompt_tokens()].to_vec(),
                tokens: codes[i * f * per_frame..(i + 1) * f * per_frame].to_vec(),
                frames: pixels[i * f * frame_bytes..(i + 1) * f * frame_bytes]
                    .chunks_exact(frame_bytes)
                    .map(|p| Frame { width, height, channels, pixels: p.to_vec() })
                    .collect(),
            })
            .collect();
        Ok(Self { clips })
    }

    /// The videos.
    #[must_use]
    pub fn clips(&self) -> &[Clip] {
        &self.clips
    }
}

fn in_range(values: &[i32], first: usize, last: usize) -> Result<Vec<u32>, ModelError> {
    values
        .iter()
        .enumerate()
        .map(|(position, &v)| {
            u32::try_from(v).ok().filter(|&u| (first..=last).contains(&(u as usize))).ok_or(
                ModelError::TokenRange {
                    position,
                    token: i64::from(v),
                    first: first as i64,
                    last: last as i64,
                },
            )
        })
        .collect()
}
