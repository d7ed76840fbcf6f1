//! The three-folder layout of VILA-U, reduced and random.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use fastcar_host::model::testing::{VilaUSpec, WeightFormat};
use fastcar_host::model::{Activation, Architecture, LinearRole, Model, ModelError, NormRole};

fn write(spec: &VilaUSpec) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    spec.write(dir.path()).unwrap();
    dir
}

#[test]
fn two_transformers_and_their_links() {
    let spec = VilaUSpec::default();
    let dir = write(&spec);
    let model = Model::open(dir.path()).unwrap();
    assert_eq!(model.architecture(), Architecture::VilaU);
    assert_eq!(model.frame_period(), Some(4));
    assert_eq!(model.body().spec().name(), "body");
    let vila_u = model.vila_u().unwrap();
    let depth = vila_u.depth();
    assert_eq!((depth.spec().name(), depth.spec().activation()), ("depth", Activation::Gelu));
    assert!(!depth.spec().has_embedding());

    let layer = depth.layer(1).unwrap();
    for (role, name, rows, cols) in [
        (LinearRole::Q, "attn.query", 64, 64),
        (LinearRole::K, "attn.key", 64, 64),
        (LinearRole::V, "attn.value", 64, 64),
        (LinearRole::O, "attn.proj", 64, 64),
        (LinearRole::Fc1, "mlp.0", 256, 64),
        (LinearRole::Fc2, "mlp.2", 64, 256),
    ] {
        let view = layer.linear(role).unwrap();
        assert_eq!(view.name(), format!("rqtransformer.head_transformer.blocks.1.{name}.weight"));
        assert_eq!((view.rows(), view.cols(), view.has_bias()), (rows, cols, true));
    }
    assert!(matches!(layer.linear(LinearRole::Gate), Err(ModelError::Role { .. })));
    assert!(layer.norm(NormRole::Input).unwrap().beta.is_some());
    assert!(depth.final_norm().unwrap().beta.is_some());
    let head = depth.head().unwrap();
    assert_eq!((head.name(), head.rows()), ("rqtransformer.classifier_mlp.linear.weight", 40));
    assert!(head.has_bias());
    assert!(depth.embedding().unwrap().is_none());
    assert_eq!(depth.positions().unwrap().unwrap().len(), 4 * 64);

    let (codes, body) = (vila_u.input_from_codes().unwrap(), vila_u.input_from_body().unwrap());
    assert_eq!((codes.rows(), codes.cols(), body.rows(), body.cols()), (64, 32, 64, 64));
    let projector: Vec<_> =
        vila_u.projector().unwrap().iter().map(|l| (l.name().to_owned(), l.cols())).collect();
    assert_eq!(projector, [("layers.0.weight".to_owned(), 32), ("layers.2.weight".to_owned(), 64)]);
    for depth in 0..4 {
        let table = vila_u.code_embedding(depth).unwrap();
        assert_eq!(table.name(), "rqvaesiglip.quantizer.codebooks.0.weight");
        assert_eq!((table.rows(), table.cols()), (41, 32));
    }
    assert!(matches!(vila_u.code_embedding(4), Err(ModelError::Layer { .. })));
}

#[test]
fn codebooks_of_their_own_and_other_projectors() {
    for (projector, layers) in [("linear", 1), ("mlp2x_gelu", 2), ("identity", 0)] {
        let spec = VilaUSpec {
            shared_codebook: false,
            projector,
            code_width: if projector == "identity" { 64 } else { 32 },
            ..VilaUSpec::default()
        };
        let dir = write(&spec);
        let model = Model::open(dir.path()).unwrap();
        let vila_u = model.vila_u().unwrap();
        assert_eq!(vila_u.projector().unwrap().len(), layers);
        assert_eq!(vila_u.code_embedding(3).unwrap().name(), "rqvaesiglip.quantizer.codebooks.3.weight");
    }
}

#[test]
fn a_shared_codebook_is_found_under_any_number() {
    let spec = VilaUSpec::default();
    let dir = write(&spec);
    let mut tensors = spec.tower_tensors();
    tensors.remove("rqvaesiglip.quantizer.codebooks.0.weight");
    let zeros = vec![0.25; 41 * 32];
    tensors.floats("rqvaesiglip.quantizer.codebooks.3.weight", &[41, 32], WeightFormat::F32, &zeros);
    tensors.write(&dir.path().join("vision_tower"), 1).unwrap();
    let model = Model::open(dir.path()).unwrap();
    assert_eq!(
        model.vila_u().unwrap().code_embedding(0).unwrap().name(),
        "rqvaesiglip.quantizer.codebooks.3.weight"
    );
}

#[test]
fn every_tensor_is_needed() {
    let spec = VilaUSpec::default();
    let dir = write(&spec);
    for name in [
        "rqtransformer.in_mlp_1.bias",
        "rqtransformer.in_mlp_2.weight",
        "rqtransformer.pos_emb_d",
        "rqtransformer.head_transformer.blocks.1.attn.proj.bias",
        "rqtransformer.head_transformer.blocks.0.ln2.bias",
        "rqtransformer.head_transformer.blocks.0.mlp.2.weight",
        "rqtransformer.classifier_mlp.layer_norm.weight",
        "rqtransformer.classifier_mlp.linear.bias",
        "rqvaesiglip.quantizer.codebooks.0.weight",
    ] {
        let mut tensors = spec.tower_tensors();
        tensors.remove(name);
        tensors.write(&dir.path().join("vision_tower"), 1).unwrap();
        match Model::open(dir.path()) {
            Err(ModelError::MissingTensor { name: missing, place, .. }) => {
                assert_eq!(missing, name);
                assert!(place.ends_with("vision_tower"));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    std::fs::remove_dir_all(dir.path().join("mm_projector")).unwrap();
    spec.tower_tensors().write(&dir.path().join("vision_tower"), 1).unwrap();
    assert!(matches!(Model::open(dir.path()), Err(ModelError::Io { .. })));
}
