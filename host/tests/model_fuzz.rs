//! Hostile files: whatever the bytes, opening ends with a model or a refusal, and memory stays in proportion.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::fs;
use std::path::Path;

use fastcar_host::model::testing::{LlamaSpec, Tensors, VideoSpec, VilaUSpec, WeightFormat};
use fastcar_host::model::{Checkpoint, Model, ModelConfig, ModelError, TensorFile, VilaUConfig};
use proptest::prelude::*;
use serde_json::Value;

fn valid() -> Vec<u8> {
    let mut t = Tensors::default();
    t.floats("w", &[4, 8], WeightFormat::F32, &[1.0; 32]);
    t.floats("h", &[6], WeightFormat::F16, &[2.0; 6]);
    t.ints("i", &[2], &[1, 2]);
    t.to_file().unwrap()
}

/// Opens the bytes as a file and reads all of it.
fn open(dir: &Path, bytes: &[u8]) -> Result<usize, ModelError> {
    let path = dir.join("x.safetensors");
    fs::write(&path, bytes).unwrap();
    let file = TensorFile::open(&path)?;
    let mut total = 0;
    for name in file.names() {
        let view = file.tensor(name)?;
        assert_eq!(
            view.shape().iter().product::<usize>() * view.dtype().size_bytes(),
            view.bytes().len(),
            "a view whose shape lies"
        );
        total += view.bytes().len();
        let _ = view.to_f32(0..view.elements());
        let _ = view.to_i32();
    }
    assert!(total <= bytes.len());
    Ok(total)
}

/// Peak virtual memory of the process, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmPeak:"));
    line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// A change of a byte string.
#[derive(Debug, Clone)]
enum Change {
    Set(prop::sample::Index, u8),
    Length(u64),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Digit(prop::sample::Index, u8),
    Append(Vec<u8>),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, b)| Change::Set(i, b)),
        prop_oneof![any::<u64>(), 0u64..400, Just(u64::MAX), Just(100_000_001)].prop_map(Change::Length),
        any::<prop::sample::Index>().prop_map(Change::Cut),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, b)| Change::Insert(i, b)),
        // Digits of the header: offsets and extents that almost fit.
        (any::<prop::sample::Index>(), b'0'..=b'9').prop_map(|(i, b)| Change::Digit(i, b)),
        prop::collection::vec(any::<u8>(), 0..16).prop_map(Change::Append),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Set(i, b) if !bytes.is_empty() => {
            let i = i.index(bytes.len());
            bytes[i] = *b;
        }
        Change::Length(n) if bytes.len() >= 8 => bytes[..8].copy_from_slice(&n.to_le_bytes()),
        Change::Cut(i) => bytes.truncate(i.index(bytes.len() + 1)),
        Change::Insert(i, b) => bytes.insert(i.index(bytes.len() + 1), *b),
        Change::Digit(i, b) => {
            let digits: Vec<usize> = (0..bytes.len()).filter(|&i| bytes[i].is_ascii_digit()).collect();
            if !digits.is_empty() {
                bytes[digits[i.index(digits.len())]] = *b;
            }
        }
        Change::Append(tail) => bytes.extend(tail),
        _ => {}
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (0u64..300).prop_map(Value::from),
        (0u64..64).prop_map(|n| Value::from(n * 32)),
        any::<f64>().prop_map(Value::from),
        "[a-z_./0-9]{0,12}".prop_map(Value::from),
        prop::sample::select(vec!["silu", "default", "LlamaForCausalLM", "mlp2x_gelu"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{1,8}", inner, 0..4)
                .prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// Replaces, at random, values anywhere in a configuration.
fn mutate(value: &mut Value, changes: &mut impl Iterator<Item = (u8, Value)>) {
    let Some((roll, new)) = changes.next() else { return };
    if roll < 20 {
        *value = new;
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(|v| mutate(v, changes)),
        Value::Array(list) => list.iter_mut().for_each(|v| mutate(v, changes)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let dir = tempfile::tempdir().unwrap();
        let _ = open(dir.path(), &bytes);
    }

    #[test]
    fn arbitrary_header(text in "\\PC{0,120}", data in 0usize..64) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len() + data, 7);
        let _ = open(dir.path(), &bytes);
    }

    #[test]
    fn header_entries_of_any_numbers(
        shape in prop::collection::vec(prop_oneof![0u64..5, any::<u64>()], 0..5),
        offsets in [prop_oneof![0u64..64, any::<u64>()], prop_oneof![0u64..64, any::<u64>()]],
        dtype in prop::sample::select(vec!["F32", "F16", "BF16", "U8", "I64", "BOOL", "X"]),
        data in 0usize..64,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let header = serde_json::json!({ "a": { "dtype": dtype, "shape": shape, "data_offsets": offsets } }).to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        let _ = open(dir.path(), &bytes);
    }

    #[test]
    fn mutated_files(changes in prop::collection::vec(change(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let mut bytes = valid();
        changes.iter().for_each(|c| apply(&mut bytes, c));
        let _ = open(dir.path(), &bytes);
    }

    #[test]
    fn mutated_index(changes in prop::collection::vec(change(), 1..6)) {
        let dir = tempfile::tempdir().unwrap();
        let mut t = Tensors::default();
        t.floats("a", &[1], WeightFormat::F32, &[1.0]);
        t.floats("b", &[1], WeightFormat::F32, &[1.0]);
        t.write(dir.path(), 2).unwrap();
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        let index = dir.path().join("model.safetensors.index.json");
        let mut bytes = fs::read(&index).unwrap();
        changes.iter().for_each(|c| apply(&mut bytes, c));
        fs::write(&index, bytes).unwrap();
        if let Ok(open) = Checkpoint::open(dir.path()) {
            prop_assert!(open.files().all(|f| f.parent() == Some(dir.path())));
            for name in open.names() {
                prop_assert!(open.tensor(name).is_ok());
            }
        }
    }

    #[test]
    fn mutated_configurations(
        which in 0usize..3,
        changes in prop::collection::vec((any::<u8>(), json()), 1..40),
        text in prop::collection::vec(change(), 0..2),
    ) {
        let spec = VilaUSpec::default();
        let mut config = match which {
            0 => LlamaSpec::default().config(),
            1 => VideoSpec::default().config(),
            _ => spec.tower_config(),
        };
        let mut changes = changes.into_iter();
        if let Value::Object(map) = &mut config {
            map.values_mut().for_each(|v| mutate(v, &mut changes));
        }
        let mut bytes = config.to_string().into_bytes();
        text.iter().for_each(|c| apply(&mut bytes, c));
        let text = String::from_utf8_lossy(&bytes);
        let path = Path::new("config.json");
        if let Ok(config) = ModelConfig::parse(&text, path) {
            let t = config.spec();
            prop_assert!([t.hidden(), t.head_dim(), t.ffn()].iter().all(|n| n % 32 == 0 && *n > 0));
            prop_assert!(t.heads() % t.kv_heads() == 0);
        }
        let _ = VilaUConfig::parse((&text, path), (&text, path), 64);
    }
}

#[test]
fn a_header_of_lies_costs_no_memory() {
    let before = peak_kib();
    let dir = tempfile::tempdir().unwrap();
    for text in [
        r#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#,
        r#"{"a":{"dtype":"F32","shape":[18446744073709551615,0],"data_offsets":[0,0]}}"#,
        r#"{"a":{"dtype":"F32","shape":[2305843009213693952,2],"data_offsets":[0,0]}}"#,
    ] {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        let _ = open(dir.path(), &bytes);
    }
    let nested = "[".repeat(100_000);
    for json in [format!("{{\"a\":{nested}"), nested.clone()] {
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json.as_bytes());
        assert!(matches!(open(dir.path(), &bytes), Err(ModelError::Header { .. })));
        assert!(matches!(ModelConfig::parse(&json, Path::new("c")), Err(ModelError::Json { .. })));
    }
    let grown = peak_kib().saturating_sub(before);
    assert!(grown < 2 << 20, "memory grew by {grown} KiB");
}

#[test]
fn truncated_models_are_refused_wherever_they_end() {
    let dir = tempfile::tempdir().unwrap();
    let spec =
        LlamaSpec { layers: 1, hidden: 32, heads: 1, kv_heads: 1, ffn: 32, vocab: 4, ..LlamaSpec::default() };
    spec.write(dir.path()).unwrap();
    let path = dir.path().join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    assert!(Model::open(dir.path()).is_ok());
    for end in (0..whole.len()).step_by(97).chain([whole.len() - 1]) {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(matches!(Model::open(dir.path()), Err(ModelError::Header { .. })), "{end} bytes");
    }
}
