//! Opening checkpoints: formats, shards, weights by role, and agreement of configuration and tensors.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::fs;
use std::path::Path;

use fastcar_host::model::testing::{LlamaSpec, Random, Tensors, WeightFormat, write_json};
use fastcar_host::model::{
    Activation, Architecture, Checkpoint, Dtype, LinearRole, Model, ModelError, Norm, NormRole, TensorFile,
};
use half::{bf16, f16};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn values() -> Vec<f32> {
    let mut random = Random::new(7);
    // More than one conversion chunk, and not a whole number of them.
    let mut values = random.vector(300 * 701, 3.0);
    values[..8].copy_from_slice(&[0.0, -0.0, 1.0, -1.0, 1e-30, f32::MIN_POSITIVE, 65504.0, -2.5]);
    values
}

fn checkpoint_of(dir: &Path, tensors: &Tensors) -> Checkpoint {
    tensors.write(dir, 1).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    Checkpoint::open(dir).unwrap()
}

#[test]
fn floats_of_every_format_are_exact() {
    let dir = folder();
    let values = values();
    let mut tensors = Tensors::default();
    tensors.floats("a", &[300, 701], WeightFormat::F32, &values);
    tensors.floats("b", &[300, 701], WeightFormat::F16, &values);
    tensors.floats("c", &[300, 701], WeightFormat::Bf16, &values);
    tensors.bytes("odd", &[1], &[3]);
    let open = checkpoint_of(dir.path(), &tensors);
    assert_eq!(open.names().collect::<Vec<_>>(), ["a", "b", "c", "odd"]);
    assert_eq!(open.total_bytes(), (300 * 701 * 8 + 1) as u64);

    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let shape = [300, 701];
    assert_eq!(bits(&open.to_f32("a", &shape).unwrap()), bits(&values));
    let half: Vec<f32> = values.iter().map(|&v| f16::from_f32(v).to_f32()).collect();
    assert_eq!(bits(&open.to_f32("b", &shape).unwrap()), bits(&half));
    let brain: Vec<f32> = values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect();
    assert_eq!(bits(&open.to_f32("c", &shape).unwrap()), bits(&brain));
    assert_eq!(open.tensor("c").unwrap().dtype(), Dtype::Bf16);

    assert_eq!(open.rows_to_f32("a", shape, 100..103).unwrap(), values[70_100..72_203]);
    assert_eq!(open.rows_to_f32("a", shape, 300..300).unwrap(), [0.0f32; 0]);
    assert!(matches!(open.rows_to_f32("a", shape, 299..301), Err(ModelError::Shape { .. })));
    assert!(matches!(open.rows_to_f32("a", shape, 0..usize::MAX), Err(ModelError::Shape { .. })));
    assert!(matches!(open.to_f32("a", &[701, 300]), Err(ModelError::Shape { .. })));
}

#[test]
fn integers_and_bytes() {
    let dir = folder();
    let mut tensors = Tensors::default();
    tensors.ints("ids", &[2, 2], &[1, -2, i32::MAX, i32::MIN]);
    tensors.bytes("pixels", &[3], &[0, 127, 255]);
    let path = dir.path().join("x.safetensors");
    fs::write(&path, tensors.to_file().unwrap()).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.tensor("ids").unwrap().to_i32().unwrap(), [1, -2, i32::MAX, i32::MIN]);
    assert_eq!(file.tensor("pixels").unwrap().to_u8().unwrap(), [0, 127, 255]);
    assert!(matches!(file.tensor("pixels").unwrap().to_i32(), Err(ModelError::Dtype { .. })));
    assert!(matches!(file.tensor("ids").unwrap().to_u8(), Err(ModelError::Dtype { .. })));
    assert!(matches!(file.tensor("ids").unwrap().to_f32(0..4), Err(ModelError::Dtype { .. })));
}

#[test]
fn empty_tensors_and_an_empty_header_are_fine() {
    let dir = folder();
    let mut tensors = Tensors::default();
    tensors.floats("none", &[0, 5], WeightFormat::F32, &[]);
    let open = checkpoint_of(dir.path(), &tensors);
    assert_eq!(open.to_f32("none", &[0, 5]).unwrap(), [0.0f32; 0]);
    fs::write(dir.path().join("model.safetensors"), b"\x02\0\0\0\0\0\0\0{}").unwrap();
    assert_eq!(Checkpoint::open(dir.path()).unwrap().names().count(), 0);
}

#[test]
fn the_first_value_that_is_not_finite_is_named() {
    let dir = folder();
    for (format, bad) in [
        (WeightFormat::F32, f32::NAN),
        (WeightFormat::F16, f32::INFINITY),
        (WeightFormat::Bf16, f32::NEG_INFINITY),
    ] {
        let mut values = values();
        values[200_000] = bad;
        values[150_001] = bad;
        let mut tensors = Tensors::default();
        tensors.floats("w", &[values.len()], format, &values);
        let open = checkpoint_of(dir.path(), &tensors);
        match open.to_f32("w", &[values.len()]) {
            Err(ModelError::NonFinite { name, index, value }) => {
                assert_eq!((name.as_str(), index), ("w", 150_001));
                assert_eq!(value.is_nan(), bad.is_nan());
            }
            other => panic!("{other:?}"),
        }
        let view = open.tensor("w").unwrap();
        assert!(view.to_f32(150_002..200_000).is_ok());
        assert!(matches!(view.to_f32(150_000..150_002), Err(ModelError::NonFinite { index: 150_001, .. })));
    }
}

#[test]
fn shards_and_one_file_hold_the_same_model() {
    let (one, many) = (folder(), folder());
    LlamaSpec::default().write(one.path()).unwrap();
    LlamaSpec { shards: 3, ..LlamaSpec::default() }.write(many.path()).unwrap();
    assert!(!many.path().join("model.safetensors").exists());
    let (a, b) = (Model::open(one.path()).unwrap(), Model::open(many.path()).unwrap());
    assert_eq!(b.body().checkpoint().files().count(), 3);
    assert_eq!(a.config(), b.config());
    for role in a.body().spec().linears() {
        let load = |m: &Model| m.weights(1).unwrap().linear(*role).unwrap().load().unwrap();
        assert_eq!(load(&a), load(&b), "{role:?}");
    }
    assert_eq!(a.body().final_norm().unwrap(), b.body().final_norm().unwrap());
}

#[test]
fn weights_by_role() {
    let dir = folder();
    let spec =
        LlamaSpec { heads: 4, kv_heads: 2, attention_bias: true, mlp_bias: true, ..LlamaSpec::default() };
    spec.write(dir.path()).unwrap();
    let model = Model::open(dir.path()).unwrap();
    assert_eq!(model.architecture(), Architecture::Llama);
    let t = model.body().spec();
    assert_eq!(
        (t.layers(), t.hidden(), t.heads(), t.kv_heads(), t.head_dim(), t.ffn()),
        (2, 64, 4, 2, 32, 96)
    );
    assert_eq!(t.norm(), Norm::Rms { eps: 1e-5 });
    assert_eq!((t.activation(), t.rope_theta()), (Activation::SwiGlu, Some(10_000.0)));
    assert_eq!((t.vocab(), t.max_positions(), t.tied_head()), (64, 256, false));
    assert_eq!(t.layer_parameters(), 2 * (128 * 64 * 2 + 64 * 64 * 2 + 3 * 96 * 64));

    let layer = model.weights(1).unwrap();
    assert_eq!(layer.index(), 1);
    let q = layer.linear(LinearRole::Q).unwrap();
    assert_eq!((q.name(), q.rows(), q.cols()), ("model.layers.1.self_attn.q_proj.weight", 128, 64));
    assert!(q.has_bias());
    assert_eq!(q.bias_f32().unwrap().unwrap().len(), 128);
    assert_eq!(q.rows_f32(5..7).unwrap(), q.weight_f32().unwrap()[5 * 64..7 * 64]);
    let down = layer.linear(LinearRole::Down).unwrap().load().unwrap();
    assert_eq!((down.rows, down.cols, down.weight.len()), (64, 96, 64 * 96));
    assert!(down.bias.is_some());
    assert_eq!(layer.norm(NormRole::Input).unwrap().gamma.len(), 64);
    assert_eq!(layer.norm(NormRole::PostAttention).unwrap().beta, None);
    assert!(matches!(layer.linear(LinearRole::Fc1), Err(ModelError::Role { .. })));
    assert!(matches!(model.weights(2), Err(ModelError::Layer { layer: 2, layers: 2, .. })));
    let embedding = model.body().embedding().unwrap().unwrap();
    assert_eq!((embedding.rows(), embedding.cols()), (64, 64));
    assert_ne!(model.body().head().unwrap().name(), embedding.name());
    assert_eq!(model.body().positions().unwrap(), None);
}

#[test]
fn biases_count_where_they_are_stored() {
    let dir = folder();
    let spec = LlamaSpec { attention_bias: true, ..LlamaSpec::default() };
    spec.write(dir.path()).unwrap();
    // Not declared, but there: used.
    let mut config = spec.config();
    config["attention_bias"] = false.into();
    write_json(&dir.path().join("config.json"), &config).unwrap();
    let model = Model::open(dir.path()).unwrap();
    assert!(model.weights(0).unwrap().linear(LinearRole::V).unwrap().has_bias());
    assert!(!model.weights(0).unwrap().linear(LinearRole::Up).unwrap().has_bias());
    // Declared, but not there: refused.
    config["mlp_bias"] = true.into();
    write_json(&dir.path().join("config.json"), &config).unwrap();
    match Model::open(dir.path()) {
        Err(ModelError::MissingTensor { name, .. }) => assert_eq!(name, "model.layers.0.mlp.gate_proj.bias"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_tied_head_is_the_embedding() {
    let dir = folder();
    LlamaSpec { tied: true, ..LlamaSpec::default() }.write(dir.path()).unwrap();
    let model = Model::open(dir.path()).unwrap();
    assert!(model.body().spec().tied_head());
    assert_eq!(model.body().head().unwrap().name(), "model.embed_tokens.weight");
    // Without the declaration the head's own matrix is missed.
    let mut config = LlamaSpec::default().config();
    config["tie_word_embeddings"] = false.into();
    write_json(&dir.path().join("config.json"), &config).unwrap();
    match Model::open(dir.path()) {
        Err(ModelError::MissingTensor { name, .. }) => assert_eq!(name, "lm_head.weight"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn configuration_and_tensors_must_agree() {
    let dir = folder();
    let spec = LlamaSpec::default();
    spec.write(dir.path()).unwrap();
    let mut config = spec.config();
    config["intermediate_size"] = 128.into();
    write_json(&dir.path().join("config.json"), &config).unwrap();
    match Model::open(dir.path()) {
        Err(ModelError::Shape { name, expected, found }) => {
            assert_eq!(name, "model.layers.0.mlp.gate_proj.weight");
            assert_eq!((expected.as_str(), found), ("[128, 64]", vec![96, 64]));
        }
        other => panic!("{other:?}"),
    }
    write_json(&dir.path().join("config.json"), &spec.config()).unwrap();
    let mut tensors = spec.tensors();
    tensors.ints("model.layers.1.mlp.up_proj.weight", &[96, 64], &vec![0; 96 * 64]);
    tensors.write(dir.path(), 1).unwrap();
    assert!(matches!(Model::open(dir.path()), Err(ModelError::Dtype { found: "I32", .. })));
}
