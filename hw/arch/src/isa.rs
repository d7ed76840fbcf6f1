//! The command set: fixed 64-byte descriptors that the command processor fetches from device memory.
//!
//! One *program* is a list of commands closed by [`End`]. The host compiles it once per model; between steps
//! only the step table ([`crate::step`]) changes. Every command runs for all slots that its [`Pred`] selects.
//!
//! On-chip storage that commands name, private to each slot:
//! * **VB**, the vector buffer: binary32 words in lines of 32; a [`VbLine`] is a line index.
//! * **AB**, the activation buffer: MXINT8 blocks of 32 elements; an [`AbBlock`] is a block index.
//! * the **Index Register** (one bit per slot, 1 = compute) written by the gate commands, and the **block masks**
//!   (one bit per slot and input block) written by [`Delta`].
//!
//! VB and AB hold nothing from one program run to the next. The Index Register starts a run at all ones.
//!
//! Memory operands are *channel-local* byte addresses ([`Addr`]): the same offset on every memory channel, with
//! the data spread by the layouts of [`crate::layout`].
//!
//! A cluster fetches the long streams (weights, keys and values) through two queues, each in program order: the
//! *main* queue, and the *read-ahead* queue of commands that have `ahead` set. A stream in the main queue whose
//! predicate or block mask is not yet known holds up those behind it; what is needed in any case goes through the
//! read-ahead queue meanwhile.
//!
//! This module is the single definition: encoding, decoding, assembly text and `docs/isa.md` are made from it.

use crate::field::{Field, FieldError, FieldInfo, wrapped_field};
use std::fmt;

/// Size of one encoded command.
pub const COMMAND_BYTES: usize = 64;
/// Version of the command set; part of the identity hash.
pub const ISA_VERSION: u32 = 3;

/// Line index in the vector buffer (32 binary32 words a line).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct VbLine(pub u16);
wrapped_field!(VbLine(u16), "VbLine", |v| v.to_string());

/// Block index in the activation buffer (32 MXINT8 elements a block).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AbBlock(pub u16);
wrapped_field!(AbBlock(u16), "AbBlock", |v| v.to_string());

/// Channel-local byte address in device memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Addr(pub u64);
wrapped_field!(Addr(u64), "Addr", |v| format!("0x{v:x}"));

/// Binary32 constant carried as its bits, so that encoding is exact for every value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct F32Bits(pub u32);
wrapped_field!(F32Bits(u32), "F32Bits", |v| format!("0x{v:08x}"));

impl F32Bits {
    /// The constant's value.
    #[must_use]
    pub fn get(self) -> f32 {
        f32::from_bits(self.0)
    }
}

impl From<f32> for F32Bits {
    fn from(x: f32) -> Self {
        Self(x.to_bits())
    }
}

/// Declares a one-byte enumeration that is a command field. The first variant is the default.
macro_rules! field_enum {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $var:ident = $val:literal $text:literal),+ $(,)? }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $doc])+ $var = $val),+ }

        impl $name {
            /// Documentation record.
            pub const INFO: EnumInfo =
                EnumInfo { name: stringify!($name), doc: concat!($($about),+), rows: Self::TABLE };
            /// Every value, in encoding order.
            pub const ALL: &'static [Self] = &[$(Self::$var),+];
            /// Encoded value, text and meaning of every variant, for the documentation.
            pub const TABLE: &'static [(u8, &'static str, &'static str)] =
                &[$(($val, $text, concat!($($doc),+))),+];

            fn choices() -> String {
                let texts: Vec<&str> = Self::TABLE.iter().map(|row| row.1).collect();
                format!("one of {}", texts.join(", "))
            }
        }

        impl Default for $name {
            fn default() -> Self { Self::ALL[0] }
        }

        impl Field for $name {
            const BYTES: usize = 1;
            const KIND: &'static str = stringify!($name);
            fn put(&self, out: &mut [u8]) { out[0] = *self as u8; }
            fn get(raw: &[u8]) -> Result<Self, FieldError> {
                match raw[0] {
                    $($val => Ok(Self::$var),)+
                    other => Err(FieldError::new(format!("0x{other:02x}"), Self::choices())),
                }
            }
            fn show(&self) -> String {
                match self { $(Self::$var => $text.to_owned()),+ }
            }
            fn parse(text: &str) -> Result<Self, FieldError> {
                match text {
                    $($text => Ok(Self::$var),)+
                    _ => Err(FieldError::new(text, Self::choices())),
                }
            }
        }
    };
}

field_enum! {
    /// Which slots of the step a command runs for.
    Pred {
        /// every active slot
        All = 0 "all",
        /// active slots whose Index Register bit is 1 (the MLP is computed)
        Compute = 1 "compute",
        /// active slots whose Index Register bit is 0 (the MLP output is replayed)
        Replay = 2 "replay",
        /// active slots whose step entry asks for an output (logits)
        Output = 3 "output",
    }
}

field_enum! {
    /// What a per-slot memory operand is indexed by.
    IndexBy {
        /// no index
        None = 0 "none",
        /// the slot's position `pos`
        Position = 1 "position",
        /// the slot's position in the frame `ring`; a slot without one skips the access
        Ring = 2 "ring",
        /// the slot's `token[0]`
        Token0 = 3 "token0",
        /// the slot's `token[1]`
        Token1 = 4 "token1",
        /// the slot's `token[2]`
        Token2 = 5 "token2",
        /// the slot's `token[3]`
        Token3 = 6 "token3",
    }
}

field_enum! {
    /// Storage format of a weight matrix.
    WeightFormat {
        /// MXINT8: 32 bytes and one scale byte a block
        Int8 = 0 "mxint8",
        /// MXFP4 (E2M1): 16 bytes and one scale byte a block
        Fp4 = 1 "mxfp4",
    }
}

field_enum! {
    /// What happens to a matrix row's result after the bias.
    Epilogue {
        /// the row is the output word
        None = 0 "none",
        /// rows 2i and 2i+1 are gate and up: output word i = silu(gate) * up
        SwiGlu = 1 "swiglu",
        /// output word = gelu(row)
        Gelu = 2 "gelu",
    }
}

field_enum! {
    /// Normalisation.
    NormKind {
        /// root mean square: x * rsqrt(mean(x^2) + eps) * gamma
        Rms = 0 "rms",
        /// layer norm: (x - mean) * rsqrt(var + eps) * gamma + beta
        Layer = 1 "layer",
    }
}

field_enum! {
    /// How the two slots of a pair (2i, 2i+1) settle a gate decision, when both are active and marked paired.
    Coupling {
        /// each slot decides alone
        Independent = 0 "independent",
        /// both replay only when both would
        BothAgree = 1 "both",
        /// both decide on the mean of their two scores
        Mean = 2 "mean",
    }
}

/// Documentation record of one enumeration.
#[derive(Clone, Copy, Debug)]
pub struct EnumInfo {
    /// Type name, as in [`FieldInfo::kind`].
    pub name: &'static str,
    /// What it selects.
    pub doc: &'static str,
    /// Encoded value, text and meaning of every variant.
    pub rows: &'static [(u8, &'static str, &'static str)],
}

/// Every enumeration that is a command field.
pub const ENUMS: &[EnumInfo] =
    &[Pred::INFO, IndexBy::INFO, WeightFormat::INFO, Epilogue::INFO, NormKind::INFO, Coupling::INFO];

/// Documentation record of one command.
#[derive(Clone, Copy, Debug)]
pub struct CommandInfo {
    /// Rust name.
    pub name: &'static str,
    /// Assembly mnemonic.
    pub mnemonic: &'static str,
    /// Opcode byte.
    pub opcode: u8,
    /// What the command does.
    pub doc: &'static str,
    /// Operand fields, `pred` excluded.
    pub fields: &'static [FieldInfo],
}

/// A field that no unit of the machine can work with, whatever the others say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misfit {
    /// Its name.
    pub field: &'static str,
    /// Its value.
    pub found: u64,
    /// What it has to be a multiple of; not 0 where that is 1.
    pub unit: u64,
}

impl Command {
    /// The first field that is a length of 0, or an address or stride that is no multiple of a beat of so many bytes; also of those that the command does not use.
    #[must_use]
    pub fn misfit(&self, beat: u64) -> Option<Misfit> {
        let raw = self.encode();
        let misfit = |field: &FieldInfo| {
            let (field, found, unit) =
                (field.name, field.value(&raw), if field.is_place() { beat } else { 1 });
            Misfit { field, found, unit }
        };
        let wrong = |field: &&FieldInfo| {
            let value = field.value(&raw);
            (field.is_length() && value == 0) || (field.is_place() && !value.is_multiple_of(beat))
        };
        self.info().fields.iter().find(wrong).map(misfit)
    }
}

/// Why bytes or text are no command.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsaError {
    /// The opcode byte names no command.
    #[error(
        "opcode 0x{found:02x} is not defined; docs/isa.md lists the commands of ISA version {ISA_VERSION}"
    )]
    Opcode {
        /// The byte found.
        found: u8,
    },
    /// The mnemonic names no command.
    #[error("command '{found}' is not defined; docs/isa.md lists the commands of ISA version {ISA_VERSION}")]
    Mnemonic {
        /// The word found.
        found: String,
    },
    /// A field holds a value outside its type.
    #[error("{command}.{field}: {error}")]
    Field {
        /// Mnemonic.
        command: &'static str,
        /// Field name.
        field: &'static str,
        /// What was found and what is allowed.
        error: FieldError,
    },
    /// A byte that no field uses is not zero.
    #[error("{command}: reserved byte {offset} is 0x{found:02x}; it must be 0")]
    Reserved {
        /// Mnemonic.
        command: &'static str,
        /// Offset in the command.
        offset: usize,
        /// The byte found.
        found: u8,
    },
    /// The bytes are not a whole number of commands.
    #[error("a program of {found} bytes is not a whole number of {COMMAND_BYTES}-byte commands")]
    Length {
        /// The length found.
        found: usize,
    },
    /// Assembly text that is not `name=value`, names no field, or names one twice.
    #[error("{command}: '{found}' is not one of its operands ({allowed}), each once, as name=value")]
    Operand {
        /// Mnemonic.
        command: &'static str,
        /// The word found.
        found: String,
        /// The operand names.
        allowed: String,
    },
    /// An operand is absent from assembly text.
    #[error("{command}: operand '{field}' is missing")]
    Missing {
        /// Mnemonic.
        command: &'static str,
        /// Field name.
        field: &'static str,
    },
}

/// Declares the commands: structs, encoding, decoding, text and documentation from one list.
macro_rules! commands {
    ($($(#[doc = $doc:literal])+ $name:ident = $op:literal $mn:literal {
        $($(#[doc = $fdoc:literal])+ $field:ident: $ty:ty = $off:literal),* $(,)?
    })+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
            pub struct $name {
                /// Slots that the command runs for.
                pub pred: Pred,
                $($(#[doc = $fdoc])+ pub $field: $ty,)*
            }

            impl $name {
                const INFO: CommandInfo = CommandInfo {
                    name: stringify!($name),
                    mnemonic: $mn,
                    opcode: $op,
                    doc: concat!($($doc, "\n"),+),
                    fields: &[$(FieldInfo {
                        name: stringify!($field), offset: $off, bytes: <$ty as Field>::BYTES,
                        kind: <$ty as Field>::KIND, doc: concat!($($fdoc),+),
                    }),*],
                };

                fn put(&self, out: &mut [u8; COMMAND_BYTES]) {
                    out[0] = $op;
                    self.pred.put(&mut out[1..]);
                    $(self.$field.put(&mut out[$off..]);)*
                }

                fn get(raw: &[u8; COMMAND_BYTES]) -> Result<Self, IsaError> {
                    Ok(Self {
                        pred: Pred::get(&raw[1..]).map_err(|error| field_error($mn, "pred", error))?,
                        $($field: <$ty as Field>::get(&raw[$off..])
                            .map_err(|error| field_error($mn, stringify!($field), error))?,)*
                    })
                }

                fn show(&self) -> Vec<(&'static str, String)> {
                    vec![("pred", self.pred.show()), $((stringify!($field), self.$field.show())),*]
                }

                fn parse(operands: &Operands<'_>) -> Result<Self, IsaError> {
                    Ok(Self {
                        pred: operands.get("pred")?,
                        $($field: operands.get(stringify!($field))?,)*
                    })
                }
            }

            impl From<$name> for Command {
                fn from(c: $name) -> Self { Self::$name(c) }
            }
        )+

        /// One command.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Command { $($(#[doc = $doc])+ $name($name)),+ }

        impl Command {
            /// Every command's documentation record, in opcode order.
            pub const TABLE: &'static [CommandInfo] = &[$($name::INFO),+];

            /// This command's documentation record.
            #[must_use]
            pub fn info(&self) -> &'static CommandInfo {
                match self { $(Self::$name(_) => &$name::INFO),+ }
            }

            /// The slots it runs for.
            #[must_use]
            pub fn pred(&self) -> Pred {
                match self { $(Self::$name(c) => c.pred),+ }
            }

            /// The encoded command.
            #[must_use]
            pub fn encode(&self) -> [u8; COMMAND_BYTES] {
                let mut out = [0; COMMAND_BYTES];
                match self { $(Self::$name(c) => c.put(&mut out)),+ }
                out
            }

            /// Decodes one command.
            ///
            /// # Errors
            /// Undefined opcode, a field value outside its type, a reserved byte that is not zero.
            pub fn decode(raw: &[u8; COMMAND_BYTES]) -> Result<Self, IsaError> {
                let command = match raw[0] {
                    $($op => Self::$name($name::get(raw)?),)+
                    found => return Err(IsaError::Opcode { found }),
                };
                reserved_are_zero(command.info(), raw)?;
                Ok(command)
            }

            fn operands(&self) -> Vec<(&'static str, String)> {
                match self { $(Self::$name(c) => c.show()),+ }
            }
        }

        impl std::str::FromStr for Command {
            type Err = IsaError;

            /// Reads one line of assembly text, as `Display` writes it.
            fn from_str(line: &str) -> Result<Self, IsaError> {
                let mut words = line.split_whitespace();
                let mnemonic = words.next().unwrap_or_default();
                match mnemonic {
                    $($mn => $name::parse(&Operands::read(&$name::INFO, words)?).map(Self::$name),)+
                    found => Err(IsaError::Mnemonic { found: found.to_owned() }),
                }
            }
        }
    };
}

fn field_error(command: &'static str, field: &'static str, error: FieldError) -> IsaError {
    IsaError::Field { command, field, error }
}

fn reserved_are_zero(info: &CommandInfo, raw: &[u8; COMMAND_BYTES]) -> Result<(), IsaError> {
    let used = |offset: usize| {
        offset < 2 || info.fields.iter().any(|f| (f.offset..f.offset + f.bytes).contains(&offset))
    };
    match (0..COMMAND_BYTES).find(|&offset| raw[offset] != 0 && !used(offset)) {
        Some(offset) => Err(IsaError::Reserved { command: info.mnemonic, offset, found: raw[offset] }),
        None => Ok(()),
    }
}

/// The `name=value` words of one assembly line.
struct Operands<'a> {
    command: &'static str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Operands<'a> {
    fn read(info: &'static CommandInfo, words: impl Iterator<Item = &'a str>) -> Result<Self, IsaError> {
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        for word in words {
            let known = |name: &str| name == "pred" || info.fields.iter().any(|f| f.name == name);
            match word.split_once('=') {
                Some((name, value)) if known(name) && pairs.iter().all(|p| p.0 != name) => {
                    pairs.push((name, value))
                }
                _ => {
                    let names: Vec<&str> =
                        std::iter::once("pred").chain(info.fields.iter().map(|f| f.name)).collect();
                    return Err(IsaError::Operand {
                        command: info.mnemonic,
                        found: word.to_owned(),
                        allowed: names.join(", "),
                    });
                }
            }
        }
        Ok(Self { command: info.mnemonic, pairs })
    }

    fn get<T: Field>(&self, field: &'static str) -> Result<T, IsaError> {
        let Some((_, text)) = self.pairs.iter().find(|p| p.0 == field) else {
            return Err(IsaError::Missing { command: self.command, field });
        };
        T::parse(text).map_err(|error| field_error(self.command, field, error))
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.info().mnemonic)?;
        self.operands().iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

/// Encodes a program.
#[must_use]
pub fn encode(program: &[Command]) -> Vec<u8> {
    program.iter().flat_map(Command::encode).collect()
}

/// Decodes a program.
///
/// # Errors
/// As [`Command::decode`], or the length is not a whole number of commands.
pub fn decode(raw: &[u8]) -> Result<Vec<Command>, IsaError> {
    let (commands, rest) = raw.as_chunks::<COMMAND_BYTES>();
    if !rest.is_empty() {
        return Err(IsaError::Length { found: raw.len() });
    }
    commands.iter().map(Command::decode).collect()
}

commands! {
    /// Ends the program. The run is done when every earlier command has written its results.
    End = 0x00 "end" {}

    /// Reads a vector record of binary32 words from memory into VB: embeddings, positional embeddings, host
    /// vectors, replay ring. The record of a slot lies at `addr + slot * slot_stride + index * index_stride`.
    Load = 0x01 "load" {
        /// first destination line
        dst: VbLine = 2,
        /// what indexes the record
        index: IndexBy = 4,
        /// add to the destination (binary32) instead of replacing it
        accumulate: bool = 5,
        /// words in the record
        words: u32 = 8,
        /// record of slot 0, index 0
        addr: Addr = 16,
        /// local bytes from one slot's records to the next slot's
        slot_stride: u64 = 24,
        /// local bytes from one index to the next
        index_stride: u64 = 32,
    }

    /// Writes a vector record of binary32 words from VB to memory: logits, hidden states, replay ring. A channel's part of the
    /// record fits its write buffer, as that of every command that writes.
    Store = 0x02 "store" {
        /// first source line
        src: VbLine = 2,
        /// what indexes the record
        index: IndexBy = 4,
        /// words in the record
        words: u32 = 8,
        /// record of slot 0, index 0
        addr: Addr = 16,
        /// local bytes from one slot's records to the next slot's
        slot_stride: u64 = 24,
        /// local bytes from one index to the next
        index_stride: u64 = 32,
    }

    /// Writes an MXINT8 record from AB to memory: the reference inputs of the input-delta gate.
    StoreAct = 0x03 "store_act" {
        /// first source block
        src: AbBlock = 2,
        /// what indexes the record
        index: IndexBy = 4,
        /// blocks in the record
        blocks: u16 = 8,
        /// record of slot 0, index 0
        addr: Addr = 16,
        /// local bytes from one slot's records to the next slot's
        slot_stride: u64 = 24,
        /// local bytes from one index to the next
        index_stride: u64 = 32,
    }

    /// Normalises a vector: `dst = norm(src) * gamma (+ beta)`. Sums run in the integer window (docs/numerics.md).
    /// `dst` does not begin behind the first line of the source and before its end.
    Norm = 0x10 "norm" {
        /// first source line
        src: VbLine = 2,
        /// first destination line; may equal `src`
        dst: VbLine = 4,
        /// which normalisation
        kind: NormKind = 6,
        /// words in the vector
        words: u32 = 8,
        /// added to the mean square or the variance
        eps: F32Bits = 12,
        /// vector record of gamma
        gamma: Addr = 16,
        /// vector record of beta (layer norm; 0 and unused otherwise)
        beta: Addr = 24,
        /// 1 / words, rounded to binary32
        inv_words: F32Bits = 32,
    }

    /// Quantises a vector to MXINT8: `AB[dst..] = mxint8(VB[src..])`. What one command fills is one operand of products. With
    /// `before` it is the rest, or another part, of an operand: the latest fill was that of a `quant` which has filled the operand
    /// so far, the `before` blocks in front of `dst`, for the same slots (the same `pred`, with no gate between the two), and
    /// no product has read it.
    Quant = 0x11 "quant" {
        /// first source line
        src: VbLine = 2,
        /// first destination block
        dst: AbBlock = 4,
        /// blocks of the operand in front of `dst`
        before: u16 = 6,
        /// blocks of 32 words
        blocks: u16 = 8,
    }

    /// Adds vectors: `VB[dst..] += VB[src..]`, binary32. `dst` does not begin behind the first line of the source and before
    /// its end.
    Add = 0x12 "add" {
        /// first destination line
        dst: VbLine = 2,
        /// first source line
        src: VbLine = 4,
        /// words in the vector
        words: u32 = 8,
    }

    /// Rotates `heads` heads in place by the slot's position (rotate-half form): with c and s from the table,
    /// `(a, b) -> (a*c - b*s, b*c + a*s)` for the word pair (i, i + head_dim/2).
    Rope = 0x13 "rope" {
        /// first line of the first head
        vec: VbLine = 2,
        /// number of consecutive heads
        heads: u16 = 4,
        /// words in a head
        head_dim: u16 = 6,
        /// vector records indexed by position: head_dim/2 cosines, then head_dim/2 sines
        table: Addr = 16,
        /// local bytes from one position's record to the next
        index_stride: u64 = 32,
    }

    /// Quantises the change of a vector against its reference (delta decode). With `r` the reference record of
    /// the slot (all zero for a fresh slot), block b is *active* when the slot is fresh or
    /// `sum_sq(x_b - r_b) > tau_sq * sum_sq(x)`. Active blocks: `AB = mxint8(x_b - r_b)`, `r_b += AB`, and the
    /// block's mask bit is set; other blocks: AB is zero, `r_b` stays, the bit is cleared. A slot is fresh when the
    /// gate's `allow` bit is 0 or the slot has no ring position; without a ring position nothing is written back.
    Delta = 0x20 "delta" {
        /// first source line
        src: VbLine = 2,
        /// first destination block, a multiple of 16: masks are read in groups
        dst: AbBlock = 4,
        /// number of the gate in the step table; no other command uses it
        gate: u16 = 6,
        /// blocks of 32 words
        blocks: u16 = 8,
        /// square of the relative threshold, divided by the number of blocks
        tau_sq: F32Bits = 12,
        /// reference records (binary32), indexed by ring position
        addr: Addr = 16,
        /// local bytes from one slot's records to the next slot's
        slot_stride: u64 = 24,
        /// local bytes from one ring position to the next
        index_stride: u64 = 32,
    }

    /// Multiplies a streamed weight matrix with each slot's activations: `row = W[row] . AB[src..]`, then bias,
    /// epilogue, and store or accumulate to VB. With `delta` set, only blocks whose mask bit is set take part and
    /// `row = y_ref + W[row] . AB` with `y_ref` (0 for a fresh slot) read from and written back to the ring.
    ///
    /// The operand is what one `quant` (or several, with `before`) or `delta` filled: the latest that filled any of its blocks filled just these, and every
    /// slot of the command has its blocks from such a one. With `delta` set that is the last `delta` before it, which ran for
    /// all slots or has the same `pred`, with no gate between the two if that is `compute` or `replay`; and `ahead` is not set.
    Matvec = 0x21 "matvec" {
        /// first source block
        src: AbBlock = 2,
        /// first destination line
        dst: VbLine = 4,
        /// storage format of the weights
        format: WeightFormat = 6,
        /// after the bias
        epilogue: Epilogue = 7,
        /// blocks in a row (input size / 32)
        blocks: u16 = 8,
        /// add to the destination (binary32) instead of replacing it
        accumulate: bool = 10,
        /// largest scale byte in the matrix
        scale_max: u8 = 11,
        /// rows (output size)
        rows: u32 = 12,
        /// weight matrix
        addr: Addr = 16,
        /// vector record of the bias
        bias: Addr = 24,
        /// whether there is a bias
        has_bias: bool = 32,
        /// delta decode: use block masks and the output reference ring
        delta: bool = 33,
        /// the weights are fetched through the read-ahead queue: they may overtake older streams whose need is not
        /// yet decided. Values do not depend on it
        ahead: bool = 34,
        /// delta: output reference records (binary32, `rows` words), indexed by ring position
        ring: Addr = 40,
        /// delta: local bytes from one slot's records to the next slot's
        slot_stride: u64 = 48,
        /// delta: local bytes from one ring position to the next
        index_stride: u64 = 56,
    }

    /// Quantises one token's keys and values to MXINT8 and appends them to the KV cache at the slot's position. What a channel
    /// gets of them fits its write buffer.
    KvAppend = 0x30 "kv_append" {
        /// first line of the keys (`kv_heads * head_dim` words)
        key: VbLine = 2,
        /// first line of the values
        value: VbLine = 4,
        /// key/value heads
        kv_heads: u16 = 6,
        /// words in a head: 32, or whole beats of elements
        head_dim: u16 = 8,
        /// KV cache of slot 0 in this layer
        addr: Addr = 16,
        /// local bytes from one slot's cache to the next slot's
        slot_stride: u64 = 24,
    }

    /// Attention of one token over its KV cache: per head, scores `q.k * scale` (scale includes log2 e), softmax
    /// in base 2, weighted sum of values. Reads every position up to the slot's own, or those of a block list. The scores of all
    /// query heads of a key/value head, as many tokens as a sequence may have for each pass over the keys, fit the score buffer.
    Attn = 0x31 "attn" {
        /// first block of the queries (MXINT8, `heads * head_dim`)
        src: AbBlock = 2,
        /// first destination line (`heads * head_dim` words)
        dst: VbLine = 4,
        /// query heads
        heads: u16 = 6,
        /// words in a head: 32, or whole beats of elements
        head_dim: u16 = 8,
        /// key/value heads; query head h reads key/value head `h * kv_heads / heads`
        kv_heads: u16 = 10,
        /// log2(e) / sqrt(head_dim)
        scale: F32Bits = 12,
        /// KV cache of slot 0 in this layer
        addr: Addr = 16,
        /// local bytes from one slot's cache to the next slot's
        slot_stride: u64 = 24,
        /// block lists of slot 0 in this layer
        list: Addr = 32,
        /// local bytes from one slot's lists to the next slot's
        list_stride: u64 = 40,
        /// entries for which a list has room; 0 reads every block
        list_entries: u16 = 48,
        /// keys and values are fetched through the read-ahead queue: they may overtake older streams whose need is not
        /// yet decided. Values do not depend on it
        ahead: bool = 50,
    }

    /// Temporal Attention Score and replay decision: `TAS = scale * sum over heads of q_h . k_h[pos - period]`;
    /// an allowed slot replays when it is forced or `TAS > threshold`. Writes the Index Register. The queries are what one `quant` filled, as
    /// an operand of a product is.
    GateTas = 0x40 "gate_tas" {
        /// first block of the queries, before or after RoPE as the policy says
        src: AbBlock = 2,
        /// number of the gate in the step table; no other command uses it
        gate: u16 = 4,
        /// query heads
        heads: u16 = 6,
        /// words in a head: 32, or whole beats of elements
        head_dim: u16 = 8,
        /// key/value heads
        kv_heads: u16 = 10,
        /// how a pair of slots settles
        coupling: Coupling = 12,
        /// KV cache of slot 0 in this layer
        addr: Addr = 16,
        /// local bytes from one slot's cache to the next slot's
        slot_stride: u64 = 24,
        /// tokens in a frame
        period: u32 = 32,
        /// replay above this score
        threshold: F32Bits = 36,
        /// 1 / (heads * sqrt(head_dim))
        scale: F32Bits = 40,
    }

    /// Input-delta gate: with `a` the slot's MXINT8 input and `r` the reference record, the score is
    /// `sum_sq(a - r) / sum_sq(a)`; an allowed slot replays when it is forced or the score is below `threshold`.
    GateDelta = 0x41 "gate_delta" {
        /// first block of the input
        src: AbBlock = 2,
        /// number of the gate in the step table; no other command uses it
        gate: u16 = 4,
        /// blocks in the input
        blocks: u16 = 8,
        /// how a pair of slots settles
        coupling: Coupling = 12,
        /// reference records (MXINT8), indexed by ring position
        addr: Addr = 16,
        /// local bytes from one slot's records to the next slot's
        slot_stride: u64 = 24,
        /// local bytes from one ring position to the next
        index_stride: u64 = 32,
        /// replay below this score (the square of a relative distance)
        threshold: F32Bits = 40,
    }

    /// Decision by the host alone: an allowed slot replays when it is forced.
    GateHost = 0x42 "gate_host" {
        /// number of the gate in the step table; no other command uses it
        gate: u16 = 4,
    }
}
