//! One `.safetensors` file, mapped, with a header that has been checked against the file's length.
//!
//! The format: eight bytes with the header's length (little-endian), a JSON object from tensor name to
//! `{dtype, shape, data_offsets}`, then the data. A header is hostile until shown otherwise: nothing is
//! allocated from a number that it declares, and every byte of the data must belong to exactly one tensor.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use half::{bf16, f16};
use rayon::prelude::*;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::error::{HeaderFault, ModelError};
use crate::mmap::MappedFile;

/// The longest header accepted, the same bound as the reference implementation of the format.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Elements per parallel work item when converting to binary32.
const CHUNK: usize = 1 << 16;

/// A number format of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the format's own")]
pub enum Dtype {
    Bool,
    U8,
    I8,
    F8E5M2,
    F8E4M3,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    F64,
    I64,
    U64,
}

impl Dtype {
    /// Every name that a header may use.
    pub const KNOWN: &'static str =
        "BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, F16, BF16, I32, U32, F32, F64, I64, U64";

    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "U8" => Self::U8,
            "I8" => Self::I8,
            "F8_E5M2" => Self::F8E5M2,
            "F8_E4M3" => Self::F8E4M3,
            "I16" => Self::I16,
            "U16" => Self::U16,
            "F16" => Self::F16,
            "BF16" => Self::Bf16,
            "I32" => Self::I32,
            "U32" => Self::U32,
            "F32" => Self::F32,
            "F64" => Self::F64,
            "I64" => Self::I64,
            "U64" => Self::U64,
            _ => return None,
        })
    }

    /// The name in a header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::U8 => "U8",
            Self::I8 => "I8",
            Self::F8E5M2 => "F8_E5M2",
            Self::F8E4M3 => "F8_E4M3",
            Self::I16 => "I16",
            Self::U16 => "U16",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::I32 => "I32",
            Self::U32 => "U32",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::I64 => "I64",
            Self::U64 => "U64",
        }
    }

    /// Bytes of one element.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E5M2 | Self::F8E4M3 => 1,
            Self::I16 | Self::U16 | Self::F16 | Self::Bf16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }
}

/// Where a tensor lies in its file.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// Bytes, counted from the start of the file.
    pub(crate) span: Range<usize>,
}

/// A tensor in its mapped file: nothing is copied.
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    name: &'a str,
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// The tensor's name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The format of its elements.
    #[must_use]
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Its extents, outermost first.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Its elements, little-endian, row-major.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many elements it has.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size_bytes()
    }

    /// Refuses another shape than `expected`.
    ///
    /// # Errors
    /// [`ModelError::Shape`].
    pub fn expect_shape(&self, expected: &[usize]) -> Result<(), ModelError> {
        if self.shape == expected {
            return Ok(());
        }
        Err(ModelError::Shape {
            name: self.name.to_owned(),
            expected: format!("{expected:?}"),
            found: self.shape.to_vec(),
        })
    }

    /// Refuses another number of dimensions than `rank`.
    ///
    /// # Errors
    /// [`ModelError::Shape`].
    pub fn expect_rank(&self, rank: usize) -> Result<(), ModelError> {
        if self.shape.len() == rank {
            return Ok(());
        }
        Err(ModelError::Shape {
            name: self.name.to_owned(),
            expected: format!("[{}]", vec!["?"; rank].join(", ")),
            found: self.shape.to_vec(),
        })
    }

    /// The elements of `range` as binary32, exactly (F16 and BF16 widen without rounding).
    ///
    /// # Errors
    /// [`ModelError::Dtype`] for anything that is not F32, F16 or BF16; [`ModelError::NonFinite`] for the
    /// first NaN or infinity; [`ModelError::Shape`] when the range ends past the tensor.
    pub fn to_f32(&self, range: Range<usize>) -> Result<Vec<f32>, ModelError> {
        match self.dtype {
            Dtype::F32 => self.convert::<4>(range, f32::from_le_bytes),
            Dtype::F16 => self.convert::<2>(range, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::Bf16 => self.convert::<2>(range, |b| bf16::from_le_bytes(b).to_f32()),
            _ => Err(self.wrong_dtype("F32, F16 or BF16")),
        }
    }

    /// The elements from `first` on as binary32, as many as `out` holds; on the caller's thread.
    ///
    /// # Errors
    /// As [`TensorView::to_f32`].
    pub fn read_f32(&self, first: usize, out: &mut [f32]) -> Result<(), ModelError> {
        let range = first..first.saturating_add(out.len());
        let part = |size: usize| {
            let bytes = range.start.saturating_mul(size)..range.end.saturating_mul(size);
            self.bytes.get(bytes).ok_or_else(|| self.past_the_end(&range))
        };
        match self.dtype {
            Dtype::F32 => widen(part(4)?, out, f32::from_le_bytes),
            Dtype::F16 => match bytemuck::try_cast_slice::<u8, u16>(part(2)?) {
                Ok(bits) => bits.reinterpret_cast::<f16>().convert_to_f32_slice(out),
                Err(_) => widen(part(2)?, out, |b| f16::from_le_bytes(b).to_f32()),
            },
            Dtype::Bf16 => widen(part(2)?, out, |b| bf16::from_le_bytes(b).to_f32()),
            _ => return Err(self.wrong_dtype("F32, F16 or BF16")),
        }
        // All are looked at before any is looked for, which vector units can do.
        if out.iter().fold(true, |finite, v| finite & v.is_finite()) {
            return Ok(());
        }
        let bad = out.iter().position(|v| !v.is_finite()).unwrap_or_default();
        Err(ModelError::NonFinite { name: self.name.to_owned(), index: first + bad, value: out[bad] })
    }

    fn convert<const N: usize>(
        &self,
        range: Range<usize>,
        decode: impl Fn([u8; N]) -> f32 + Sync,
    ) -> Result<Vec<f32>, ModelError> {
        let first = range.start;
        let count = range.end.saturating_sub(first);
        let bytes = self
            .bytes
            .get(first.saturating_mul(N)..range.end.saturating_mul(N))
            .ok_or_else(|| self.past_the_end(&range))?;
        let mut out = vec![0.0f32; count];
        let bad = out
            .par_chunks_mut(CHUNK)
            .zip(bytes.par_chunks(CHUNK * N))
            .enumerate()
            .filter_map(|(chunk, (to, from))| {
                let mut finite = true;
                for (o, b) in to.iter_mut().zip(from.chunks_exact(N)) {
                    let mut le = [0u8; N];
                    le.copy_from_slice(b);
                    *o = decode(le);
                    finite &= o.is_finite();
                }
                if finite { None } else { to.iter().position(|v| !v.is_finite()).map(|i| chunk * CHUNK + i) }
            })
            .min();
        match bad {
            None => Ok(out),
            Some(i) => {
                Err(ModelError::NonFinite { name: self.name.to_owned(), index: first + i, value: out[i] })
            }
        }
    }

    /// All elements of an I32 tensor.
    ///
    /// # Errors
    /// [`ModelError::Dtype`].
    pub fn to_i32(&self) -> Result<Vec<i32>, ModelError> {
        if self.dtype != Dtype::I32 {
            return Err(self.wrong_dtype("I32"));
        }
        Ok(self.bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// All elements of a U8 tensor.
    ///
    /// # Errors
    /// [`ModelError::Dtype`].
    pub fn to_u8(&self) -> Result<&'a [u8], ModelError> {
        if self.dtype == Dtype::U8 { Ok(self.bytes) } else { Err(self.wrong_dtype("U8")) }
    }

    pub(crate) fn wrong_dtype(&self, supported: &'static str) -> ModelError {
        ModelError::Dtype { name: self.name.to_owned(), found: self.dtype.name(), supported }
    }

    fn past_the_end(&self, range: &Range<usize>) -> ModelError {
        ModelError::Shape {
            name: self.name.to_owned(),
            expected: format!("at least {} elements", range.end),
            found: self.shape.to_vec(),
        }
    }
}

/// One `.safetensors` file.
#[derive(Debug)]
pub struct TensorFile {
    file: MappedFile,
    tensors: BTreeMap<String, Entry>,
}

impl TensorFile {
    /// Maps a file and checks its header.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Header`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let file = MappedFile::open(path)?;
        let tensors = parse_header(file.bytes())
            .map_err(|fault| ModelError::Header { path: path.to_owned(), fault })?;
        Ok(Self { file, tensors })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`].
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        self.get(name).ok_or_else(|| ModelError::MissingTensor {
            name: name.to_owned(),
            place: self.path().to_owned(),
            nearest: nearest(name, self.names()),
        })
    }

    /// A tensor by name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.tensors.get_key_value(name)?;
        let bytes = self.file.bytes().get(entry.span.clone())?;
        Some(TensorView { name, dtype: entry.dtype, shape: &entry.shape, bytes })
    }
}

/// The name of most characters in common at both ends, for messages.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let common = |a: &str| {
        let front = a.bytes().zip(wanted.bytes()).take_while(|(x, y)| x == y).count();
        let back = a.bytes().rev().zip(wanted.bytes().rev()).take_while(|(x, y)| x == y).count();
        (front + back).min(wanted.len())
    };
    names
        .map(|n| (common(n), n))
        .max_by_key(|&(score, _)| score)
        .filter(|&(s, _)| s > 3)
        .map(|(_, n)| n.to_owned())
}

/// Parses and checks the header of a whole file.
///
/// # Errors
/// The first fault found.
pub(crate) fn parse_header(file: &[u8]) -> Result<BTreeMap<String, Entry>, HeaderFault> {
    let total = file.len() as u64;
    let Some((length, rest)) = file.split_first_chunk::<8>() else {
        return Err(HeaderFault::Truncated { found_bytes: total });
    };
    let declared = u64::from_le_bytes(*length);
    let limit = MAX_HEADER_BYTES.min(total - 8);
    if declared > limit {
        return Err(HeaderFault::Length { declared_bytes: declared, limit_bytes: limit });
    }
    // At most 10^8, so it fits any usize of 32 bits or more.
    let header_len = usize::try_from(declared)
        .map_err(|_| HeaderFault::Length { declared_bytes: declared, limit_bytes: limit })?;
    let (header, data) = rest.split_at(header_len);
    let raw: RawHeader = match serde_json::from_slice(header) {
        Ok(raw) => raw,
        Err(e) => return Err(HeaderFault::Json { detail: e.to_string() }),
    };
    if let Some(tensor) = raw.duplicate {
        return Err(HeaderFault::Duplicate { tensor });
    }

    let data_start = 8 + header_len;
    let limit_bytes = data.len() as u64;
    let mut tensors = BTreeMap::new();
    let mut spans = Vec::with_capacity(raw.tensors.len());
    for (tensor, info) in raw.tensors {
        let Some(dtype) = Dtype::parse(&info.dtype) else {
            return Err(HeaderFault::UnknownDtype { tensor, dtype: info.dtype });
        };
        let [begin, end] = info.data_offsets;
        if begin > end || end > limit_bytes {
            return Err(HeaderFault::Offsets { tensor, begin, end, limit_bytes });
        }
        let expected =
            info.shape.iter().try_fold(dtype.size_bytes() as u64, |bytes, &n| bytes.checked_mul(n));
        if expected != Some(end - begin) {
            return Err(HeaderFault::Size { tensor, found_bytes: end - begin, expected_bytes: expected });
        }
        // An extent beyond usize can only be beside a zero extent; such a tensor has no elements.
        let shape: Result<Vec<usize>, _> = info.shape.iter().map(|&n| usize::try_from(n)).collect();
        let Ok(shape) = shape else {
            return Err(HeaderFault::Size { tensor, found_bytes: end - begin, expected_bytes: None });
        };
        spans.push((begin, end, tensor.clone()));
        // Both are within the file's length, which is a usize.
        let span = data_start + begin as usize..data_start + end as usize;
        tensors.insert(tensor, Entry { dtype, shape, span });
    }

    spans.sort();
    let mut previous_end = 0;
    for (begin, end, tensor) in spans {
        if begin < previous_end {
            return Err(HeaderFault::Overlap { tensor, begin, previous_end });
        }
        if begin > previous_end {
            return Err(HeaderFault::Gap { begin: previous_end, end: begin });
        }
        previous_end = end;
    }
    if previous_end != limit_bytes {
        return Err(HeaderFault::Gap { begin: previous_end, end: limit_bytes });
    }
    Ok(tensors)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

/// The header as written, with the first name that occurs twice: a JSON map type would hide it.
struct RawHeader {
    tensors: BTreeMap<String, RawTensor>,
    duplicate: Option<String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensor name to {dtype, shape, data_offsets}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut header = RawHeader { tensors: BTreeMap::new(), duplicate: None };
                let mut metadata = false;
                while let Some(name) = map.next_key::<String>()? {
                    let again = if name == "__metadata__" {
                        let _: BTreeMap<String, String> = map.next_value()?;
                        std::mem::replace(&mut metadata, true)
                    } else {
                        let tensor: RawTensor = map.next_value()?;
                        header.tensors.insert(name.clone(), tensor).is_some()
                    };
                    if again {
                        header.duplicate.get_or_insert(name);
                    }
                }
                Ok(header)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

fn widen<const N: usize>(bytes: &[u8], out: &mut [f32], decode: impl Fn([u8; N]) -> f32) {
    let (elements, _) = bytes.as_chunks::<N>();
    out.iter_mut().zip(elements).for_each(|(to, from)| *to = decode(*from));
}
