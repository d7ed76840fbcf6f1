//! Prompts to tokens, with no word silently lost.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use super::checkpoint::read_text;
use super::error::ModelError;

/// How many known words a message lists.
const LISTED_WORDS: usize = 64;

/// The names by which tokenizers call the token of an unknown word.
const UNKNOWN_TOKENS: [&str; 3] = ["[UNK]", "<unk>", "<UNK>"];

/// A `tokenizer.json`, held to a fixed prompt length where the model has one.
#[derive(Debug)]
pub struct PromptTokenizer {
    path: PathBuf,
    tokenizer: Tokenizer,
    unknown: HashSet<u32>,
    prompt_tokens: Option<usize>,
}

impl PromptTokenizer {
    /// Reads a tokenizer. With `prompt_tokens`, every prompt must make exactly that many tokens.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::FileTooLarge`], [`ModelError::Tokenizer`].
    pub fn open(path: impl AsRef<Path>, prompt_tokens: Option<usize>) -> Result<Self, ModelError> {
        let path = path.as_ref().to_owned();
        let text = read_text(&path)?;
        let tokenizer: Tokenizer = text.parse().map_err(|e: tokenizers::Error| ModelError::Tokenizer {
            path: path.clone(),
            detail: e.to_string(),
        })?;
        let unknown = UNKNOWN_TOKENS.iter().filter_map(|t| tokenizer.token_to_id(t)).collect();
        Ok(Self { path, tokenizer, unknown, prompt_tokens })
    }

    /// The tokens of a prompt, with the special tokens that the tokenizer's template adds.
    ///
    /// # Errors
    /// [`ModelError::UnknownWord`], [`ModelError::PromptLength`], [`ModelError::Tokenizer`].
    pub fn encode(&self, prompt: &str) -> Result<Vec<u32>, ModelError> {
        let encoding = self
            .tokenizer
            .encode(prompt, true)
            .map_err(|e| ModelError::Tokenizer { path: self.path.clone(), detail: e.to_string() })?;
        let unknown = encoding.get_ids().iter().position(|id| self.unknown.contains(id));
        if let Some(i) = unknown {
            let span = encoding.get_offsets().get(i).copied().unwrap_or((0, prompt.len()));
            let word = prompt.get(span.0..span.1).filter(|w| !w.is_empty()).unwrap_or(prompt);
            return Err(ModelError::UnknownWord { word: word.to_owned(), known: self.known_words() });
        }
        let ids = encoding.get_ids().to_vec();
        match self.prompt_tokens {
            Some(expected) if expected != ids.len() => {
                Err(ModelError::PromptLength { prompt: prompt.to_owned(), found: ids.len(), expected })
            }
            _ => Ok(ids),
        }
    }

    /// The text of some tokens; tokens without text (picture codes) are left out.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`].
    pub fn decode(&self, tokens: &[u32]) -> Result<String, ModelError> {
        self.tokenizer
            .decode(tokens, true)
            .map_err(|e| ModelError::Tokenizer { path: self.path.clone(), detail: e.to_string() })
    }

    /// The words that a prompt may use, in alphabetical order, special tokens aside.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let special: HashSet<String> = self
            .tokenizer
            .get_added_tokens_decoder()
            .into_values()
            .filter(|t| t.special)
            .map(|t| t.content)
            .collect();
        let mut words: Vec<String> = self
            .tokenizer
            .get_vocab(true)
            .into_keys()
            .filter(|w| !special.contains(w) && !UNKNOWN_TOKENS.contains(&w.as_str()))
            .collect();
        words.sort_unstable();
        words
    }

    fn known_words(&self) -> String {
        let words = self.words();
        let listed = words.iter().take(LISTED_WORDS).map(String::as_str).collect::<Vec<_>>().join(" ");
        match words.len().saturating_sub(LISTED_WORDS) {
            0 => listed,
            more => format!("{listed} and {more} more"),
        }
    }
}
