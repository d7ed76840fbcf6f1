//! A folder in the Hugging Face layout: `config.json` beside `model.safetensors`, whole or in shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use super::error::{IndexFault, ModelError};
use super::safetensors::{TensorFile, TensorView, nearest};

/// The largest `config.json` or tokenizer accepted.
pub const MAX_JSON_BYTES: u64 = 64 << 20;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The tensors of a model, mapped and checked.
///
/// The files must not change while this value lives: they are mapped, not copied.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    config: String,
    shards: Vec<TensorFile>,
    /// Which shard holds a tensor.
    place: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens a folder. `model.safetensors` is preferred where an index exists beside it.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::NoWeights`], [`ModelError::Header`], [`ModelError::Index`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, ModelError> {
        let dir = dir.as_ref();
        let config = read_text(&dir.join("config.json"))?;
        let single = dir.join(SINGLE);
        let index = dir.join(INDEX);
        let (shards, place) = if single.is_file() {
            let file = TensorFile::open(&single)?;
            let place = file.names().map(|n| (n.to_owned(), 0)).collect();
            (vec![file], place)
        } else if index.is_file() {
            open_shards(dir, &index)?
        } else {
            return Err(ModelError::NoWeights { dir: dir.to_owned(), has_pickle: has_pickle(dir) });
        };
        Ok(Self { dir: dir.to_owned(), config, shards, place })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The text of `config.json`.
    #[must_use]
    pub fn config_json(&self) -> &str {
        &self.config
    }

    /// The files that hold the weights.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.shards.iter().map(TensorFile::path)
    }

    /// The names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.place.keys().map(String::as_str)
    }

    /// Whether there is such a tensor.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.place.contains_key(name)
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// [`ModelError::MissingTensor`], with the nearest name that exists.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        self.place
            .get(name)
            .and_then(|&shard| self.shards.get(shard))
            .and_then(|file| file.get(name))
            .ok_or_else(|| ModelError::MissingTensor {
                name: name.to_owned(),
                place: self.dir.clone(),
                nearest: nearest(name, self.names()),
            })
    }

    /// A whole tensor of a known shape as binary32.
    ///
    /// # Errors
    /// As [`Checkpoint::tensor`] and [`TensorView::to_f32`], and [`ModelError::Shape`].
    pub fn to_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name)?;
        tensor.expect_shape(shape)?;
        tensor.to_f32(0..tensor.elements())
    }

    /// Some rows of a matrix of a known shape as binary32: for matrices that are not to be held whole.
    ///
    /// # Errors
    /// As [`Checkpoint::to_f32`].
    pub fn rows_to_f32(
        &self,
        name: &str,
        shape: [usize; 2],
        rows: Range<usize>,
    ) -> Result<Vec<f32>, ModelError> {
        let tensor = self.tensor(name)?;
        tensor.expect_shape(&shape)?;
        let cols = shape[1];
        tensor.to_f32(rows.start.saturating_mul(cols)..rows.end.saturating_mul(cols))
    }

    /// The bytes of all weights.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.names().filter_map(|n| self.tensor(n).ok()).map(|t| t.bytes().len() as u64).sum()
    }
}

/// Reads a text file of bounded size.
pub(crate) fn read_text(path: &Path) -> Result<String, ModelError> {
    let fail = |action, source| ModelError::Io { action, path: path.to_owned(), source };
    let found_bytes = std::fs::metadata(path).map_err(|e| fail("open", e))?.len();
    if found_bytes > MAX_JSON_BYTES {
        return Err(ModelError::FileTooLarge {
            path: path.to_owned(),
            found_bytes,
            limit_bytes: MAX_JSON_BYTES,
        });
    }
    std::fs::read_to_string(path).map_err(|e| fail("read", e))
}

fn has_pickle(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|entries| {
        entries.flatten().any(|e| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            name.starts_with("pytorch_model") && name.contains(".bin")
        })
    })
}

/// Whether a name stays in its folder.
pub(crate) fn is_plain_file_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', '\0', ':'])
        && Path::new(name).file_name().is_some_and(|f| f == name)
}

type Shards = (Vec<TensorFile>, BTreeMap<String, usize>);

fn open_shards(dir: &Path, index_path: &Path) -> Result<Shards, ModelError> {
    let fault = |fault| ModelError::Index { path: index_path.to_owned(), fault };
    let text = read_text(index_path)?;
    let index: RawIndex = serde_json::from_str(&text)
        .map_err(|e| ModelError::Json { path: index_path.to_owned(), detail: e.to_string() })?;
    let WeightMap { entries, duplicate } = index.weight_map;
    if let Some((tensor, shards)) = duplicate {
        return Err(fault(IndexFault::Duplicate { tensor, shards }));
    }
    if entries.is_empty() {
        return Err(fault(IndexFault::Empty));
    }

    let shard_names: BTreeSet<&str> = entries.values().map(String::as_str).collect();
    if let Some(shard) = shard_names.iter().find(|s| !is_plain_file_name(s)) {
        return Err(fault(IndexFault::ShardName { shard: (*shard).to_owned() }));
    }
    let mut files = Vec::with_capacity(shard_names.len());
    for shard in &shard_names {
        let path = dir.join(shard);
        if !path.is_file() {
            return Err(fault(IndexFault::MissingShard { shard: (*shard).to_owned() }));
        }
        files.push(TensorFile::open(&path)?);
    }

    let number: BTreeMap<&str, usize> = shard_names.iter().enumerate().map(|(i, s)| (*s, i)).collect();
    let mut holder: BTreeMap<&str, &str> = BTreeMap::new();
    for (shard, file) in shard_names.iter().zip(&files) {
        for tensor in file.names() {
            if let Some(other) = holder.insert(tensor, shard) {
                let shards = format!("{other}, {shard}");
                return Err(fault(IndexFault::Duplicate { tensor: tensor.to_owned(), shards }));
            }
        }
    }
    let mut place = BTreeMap::new();
    for (tensor, shard) in &entries {
        if holder.get(tensor.as_str()) != Some(&shard.as_str()) {
            return Err(fault(IndexFault::MissingTensor { tensor: tensor.clone(), shard: shard.clone() }));
        }
        place.insert(tensor.clone(), number[shard.as_str()]);
    }
    Ok((files, place))
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: WeightMap,
}

struct WeightMap {
    entries: BTreeMap<String, String>,
    duplicate: Option<(String, String)>,
}

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from tensor name to shard file name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut out = WeightMap { entries: BTreeMap::new(), duplicate: None };
                while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
                    if let Some(other) = out.entries.insert(tensor.clone(), shard.clone()) {
                        out.duplicate.get_or_insert((tensor, format!("{other}, {shard}")));
                    }
                }
                Ok(out)
            }
        }

        deserializer.deserialize_map(Entries)
    }
}
