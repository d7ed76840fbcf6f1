//! Everything that can be wrong with a model on disk, said so that the reader can mend it.

use std::fmt;
use std::path::PathBuf;

/// Why a model, or a file beside it, was refused.
///
/// Each message names what was asked for, what was found, the limit that it broke and a way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}; check that the path exists and is readable", path.display())]
    Io {
        /// What was attempted: open, read, map, inspect.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A small text file (JSON) is larger than it may be.
    #[error(
        "{} is {found_bytes} bytes long and the limit is {limit_bytes}; this does not look like a file of that \
         name, check that the download is the right one",
        path.display()
    )]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        found_bytes: u64,
        /// The largest size accepted.
        limit_bytes: u64,
    },

    /// No weights in the folder.
    #[error(
        "no weights in {}: looked for model.safetensors and model.safetensors.index.json{}",
        dir.display(),
        if *has_pickle { "; it holds pytorch_model*.bin, which is not read: save the model as safetensors" }
        else { "; point at the folder that holds them" }
    )]
    NoWeights {
        /// The folder.
        dir: PathBuf,
        /// Whether PyTorch pickles were found instead.
        has_pickle: bool,
    },

    /// A `.safetensors` file whose header is not to be believed.
    #[error("{} is not a valid safetensors file: {fault}", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: HeaderFault,
    },

    /// A `model.safetensors.index.json` that does not describe its shards.
    #[error("{} does not match its shards: {fault}", path.display())]
    Index {
        /// The index file.
        path: PathBuf,
        /// What is wrong with it.
        fault: IndexFault,
    },

    /// A tensor that the architecture needs is not there.
    #[error(
        "tensor {name} is missing from {}{}; the checkpoint is incomplete or uses other names than its \
         config.json implies",
        place.display(),
        nearest.as_ref().map(|n| format!(" (the nearest name there is {n})")).unwrap_or_default()
    )]
    MissingTensor {
        /// The name asked for.
        name: String,
        /// The file or folder searched.
        place: PathBuf,
        /// The most similar name that exists.
        nearest: Option<String>,
    },

    /// A tensor has another shape than the configuration implies.
    #[error(
        "tensor {name} has shape {found:?} where {expected} is expected; config.json and the weights must \
         come from the same model"
    )]
    Shape {
        /// The tensor.
        name: String,
        /// The shape asked for, `?` where any extent will do.
        expected: String,
        /// The shape found.
        found: Vec<usize>,
    },

    /// A tensor is stored in a number format that cannot be used here.
    #[error("tensor {name} is stored as {found} where {supported} is accepted; convert the checkpoint")]
    Dtype {
        /// The tensor.
        name: String,
        /// The format found.
        found: &'static str,
        /// The formats accepted.
        supported: &'static str,
    },

    /// A weight is NaN or infinite.
    #[error(
        "tensor {name} holds {value} at element {index}; weights must be finite, the checkpoint is damaged or \
         was saved after training diverged"
    )]
    NonFinite {
        /// The tensor.
        name: String,
        /// The first such element, counted in row-major order.
        index: usize,
        /// Its value.
        value: f32,
    },

    /// A JSON file that cannot be parsed.
    #[error("{} is not valid JSON of the expected form: {detail}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        detail: String,
    },

    /// A configuration field is missing or out of its range.
    #[error("{}: {field} is {found}; {limit}; {help}", path.display())]
    Field {
        /// The configuration file.
        path: PathBuf,
        /// The field, with dots for nesting.
        field: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        limit: String,
        /// A way out.
        help: String,
    },

    /// An architecture that is not implemented.
    #[error(
        "{} declares architecture {found}; the known ones are {known}; convert the model to one of these if its \
         layers are the same",
        path.display()
    )]
    UnknownArchitecture {
        /// The configuration file.
        path: PathBuf,
        /// What it declares.
        found: String,
        /// What is implemented.
        known: &'static str,
    },

    /// A layer outside the model.
    #[error("layer {layer} was asked for and the {transformer} transformer has {layers}; count from 0")]
    Layer {
        /// Which transformer of the model.
        transformer: &'static str,
        /// The layer asked for.
        layer: usize,
        /// How many there are.
        layers: usize,
    },

    /// A matrix that this kind of layer does not have.
    #[error("a {activation} layer has no {role} matrix; its matrices are {known}")]
    Role {
        /// The layer's activation.
        activation: &'static str,
        /// The matrix asked for.
        role: &'static str,
        /// The matrices it has.
        known: &'static str,
    },

    /// A tokenizer file that cannot be used.
    #[error("{} is not a usable tokenizer: {detail}; use the tokenizer.json saved with the model", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },

    /// A prompt uses a word that the model was not trained on.
    #[error("the prompt's word {word:?} is not in the vocabulary; known words: {known}")]
    UnknownWord {
        /// The word.
        word: String,
        /// The words that may be used.
        known: String,
    },

    /// A prompt of the wrong length.
    #[error(
        "the prompt {prompt:?} makes {found} tokens and the model takes exactly {expected}; word it like the \
         model's examples"
    )]
    PromptLength {
        /// The prompt.
        prompt: String,
        /// Its tokens.
        found: usize,
        /// The length that the model was trained with.
        expected: usize,
    },

    /// A token that is no picture code.
    #[error(
        "token {token} at position {position} is outside the picture codes {first}..={last}; render only tokens \
         that were sampled from that range"
    )]
    TokenRange {
        /// Where in the sequence.
        position: usize,
        /// The token.
        token: i64,
        /// The lowest picture code.
        first: i64,
        /// The highest picture code.
        last: i64,
    },

    /// A token sequence that is not a whole number of frames.
    #[error("{found} tokens are not a whole number of frames of {tokens_per_frame}; pass whole frames")]
    PartialFrame {
        /// Tokens given.
        found: usize,
        /// Tokens of one frame.
        tokens_per_frame: usize,
    },

    /// A model without a video description was asked for something that needs one.
    #[error(
        "{} describes no video: {asked} come from the object \"fastcar_video\" in config.json",
        dir.display()
    )]
    NotAVideoModel {
        /// The model's folder.
        dir: PathBuf,
        /// What was asked for.
        asked: &'static str,
    },
}

/// What is wrong with the header of a `.safetensors` file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Shorter than the eight bytes that hold the header's length.
    Truncated {
        /// The file's length.
        found_bytes: u64,
    },
    /// The declared header length does not fit the file or the limit.
    Length {
        /// The length declared.
        declared_bytes: u64,
        /// The most that this file could hold, or the limit of the format.
        limit_bytes: u64,
    },
    /// The header is not the JSON that the format asks for.
    Json {
        /// The parser's words.
        detail: String,
    },
    /// The same name twice.
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// A number format that is not known.
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The format's name.
        dtype: String,
    },
    /// Offsets that are reversed or point past the end of the file.
    Offsets {
        /// The tensor.
        tensor: String,
        /// First byte, counted from the end of the header.
        begin: u64,
        /// One past the last byte.
        end: u64,
        /// The bytes that follow the header.
        limit_bytes: u64,
    },
    /// Offsets whose distance is not what the shape takes.
    Size {
        /// The tensor.
        tensor: String,
        /// What the offsets span.
        found_bytes: u64,
        /// What shape and format take; `None` when that number does not exist in 64 bits.
        expected_bytes: Option<u64>,
    },
    /// A tensor that begins before the previous one ends.
    Overlap {
        /// The tensor.
        tensor: String,
        /// Where it begins.
        begin: u64,
        /// Where the one before it ends.
        previous_end: u64,
    },
    /// Bytes that belong to no tensor.
    Gap {
        /// The first byte without an owner.
        begin: u64,
        /// Where the next tensor, or the end of the file, is.
        end: u64,
    },
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { found_bytes } => write!(
                f,
                "it is {found_bytes} bytes long and the length field alone takes 8; download it again"
            ),
            Self::Length { declared_bytes, limit_bytes } => write!(
                f,
                "it declares a header of {declared_bytes} bytes where at most {limit_bytes} are possible; it is \
                 truncated or of another format, download it again"
            ),
            Self::Json { detail } => write!(f, "its header does not parse: {detail}; save the file again"),
            Self::Duplicate { tensor } => {
                write!(f, "tensor {tensor} is listed twice; each name may occur once, save the file again")
            }
            Self::UnknownDtype { tensor, dtype } => write!(
                f,
                "tensor {tensor} has the unknown dtype {dtype:?}; known: {}; convert the checkpoint",
                super::safetensors::Dtype::KNOWN
            ),
            Self::Offsets { tensor, begin, end, limit_bytes } => write!(
                f,
                "tensor {tensor} claims bytes {begin}..{end} where {limit_bytes} follow the header; it is \
                 truncated, download it again"
            ),
            Self::Size { tensor, found_bytes, expected_bytes: Some(expected) } => write!(
                f,
                "tensor {tensor} spans {found_bytes} bytes where its shape takes {expected}; save the file again"
            ),
            Self::Size { tensor, found_bytes, expected_bytes: None } => write!(
                f,
                "tensor {tensor} spans {found_bytes} bytes where its shape takes more than 2^64; save the file again"
            ),
            Self::Overlap { tensor, begin, previous_end } => write!(
                f,
                "tensor {tensor} begins at byte {begin}, before the previous one ends at {previous_end}; tensors \
                 may not share bytes, save the file again"
            ),
            Self::Gap { begin, end } => write!(
                f,
                "bytes {begin}..{end} belong to no tensor; tensors must follow each other without gaps, save the \
                 file again"
            ),
        }
    }
}

/// What is wrong with an index of shards.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexFault {
    /// It lists no tensor.
    Empty,
    /// The same tensor twice in the map, or in two shards.
    Duplicate {
        /// The tensor.
        tensor: String,
        /// The shards that hold it.
        shards: String,
    },
    /// A shard name that is not a plain file name.
    ShardName {
        /// The name.
        shard: String,
    },
    /// A shard that is not there.
    MissingShard {
        /// The shard.
        shard: String,
    },
    /// A tensor that its shard does not hold.
    MissingTensor {
        /// The tensor.
        tensor: String,
        /// The shard named.
        shard: String,
    },
}

impl fmt::Display for IndexFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                write!(f, "weight_map lists no tensor; at least one is needed, save the model again")
            }
            Self::Duplicate { tensor, shards } => {
                write!(
                    f,
                    "tensor {tensor} occurs more than once ({shards}); each may occur once, save the model again"
                )
            }
            Self::ShardName { shard } => write!(
                f,
                "it names the shard {shard:?}; a shard is a plain file name in the same folder, without separators \
                 or .."
            ),
            Self::MissingShard { shard } => {
                write!(
                    f,
                    "the shard {shard} is not in the folder; download all the files that the index names"
                )
            }
            Self::MissingTensor { tensor, shard } => write!(
                f,
                "tensor {tensor} is not in {shard}, where the index puts it; index and shards must come from the \
                 same download"
            ),
        }
    }
}
