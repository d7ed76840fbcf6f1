//! `config.json`: defaults, the forms that different writers give it, and every refusal.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::path::Path;

use fastcar_host::model::testing::{LlamaSpec, VideoSpec, VilaUSpec};
use fastcar_host::model::{
    Architecture, ModelConfig, ModelError, Norm, NullPrompt, ProjectorKind, VilaUConfig,
};
use serde_json::{Value, json};

const PATH: &str = "m/config.json";

fn parse(config: &Value) -> Result<ModelConfig, ModelError> {
    ModelConfig::parse(&config.to_string(), Path::new(PATH))
}

fn llama() -> Value {
    LlamaSpec::default().config()
}

fn video() -> Value {
    VideoSpec::default().config()
}

/// The field that is refused when `pointer` holds `value`.
#[track_caller]
fn refused(base: Value, pointer: &str, value: Value) -> (String, String) {
    let mut config = base;
    let (parent, leaf) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[leaf] = value;
    match parse(&config) {
        Err(ModelError::Field { field, limit, help, .. }) => {
            assert!(!limit.is_empty() && !help.is_empty());
            (field, limit)
        }
        other => panic!("{pointer}: {other:?}"),
    }
}

#[test]
fn fields_and_defaults() {
    let config = parse(&llama()).unwrap();
    assert_eq!((config.hidden_size(), config.intermediate_size(), config.num_hidden_layers()), (64, 96, 2));
    assert_eq!((config.num_attention_heads(), config.num_key_value_heads(), config.head_dim()), (2, 2, 32));
    assert_eq!((config.rms_norm_eps(), config.rope_theta()), (1e-5, 10_000.0));
    assert_eq!((config.vocab_size(), config.max_position_embeddings()), (64, 256));
    assert!(!config.attention_bias() && !config.mlp_bias() && !config.tie_word_embeddings());
    assert_eq!(config.video(), None);

    let minimal = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 10,
    });
    let config = parse(&minimal).unwrap();
    assert_eq!((config.num_key_value_heads(), config.head_dim()), (4, 64));
    assert_eq!(
        (config.rms_norm_eps(), config.rope_theta(), config.max_position_embeddings()),
        (1e-6, 1e4, 2048)
    );

    // Null means absent, and a head may be wider than its share.
    let mut config = llama();
    config["num_key_value_heads"] = Value::Null;
    config["head_dim"] = 96.into();
    let config = parse(&config).unwrap();
    assert_eq!((config.num_key_value_heads(), config.head_dim()), (2, 96));
}

#[test]
fn rotary_base_of_every_writer() {
    for (extra, theta) in [
        (json!({ "rope_theta": 500000 }), 500_000.0),
        (json!({ "rope_theta": null }), 10_000.0),
        (
            json!({ "rope_theta": null, "rope_parameters": { "rope_type": "default", "rope_theta": 777.5 } }),
            777.5,
        ),
        (json!({ "rope_theta": 123.0, "rope_parameters": { "rope_type": "default" } }), 123.0),
        (json!({ "rope_theta": 50.0, "rope_scaling": { "type": "default" } }), 50.0),
    ] {
        let mut config = llama();
        for (k, v) in extra.as_object().unwrap() {
            config[k] = v.clone();
        }
        assert_eq!(parse(&config).unwrap().rope_theta(), theta, "{extra}");
    }
    for (field, value) in [
        ("rope_scaling", json!({ "rope_type": "llama3", "factor": 8.0 })),
        ("rope_scaling", json!({ "type": "linear", "factor": 2.0 })),
        ("rope_scaling", json!({ "factor": 2.0 })),
        ("rope_scaling", json!("yarn")),
        ("rope_parameters", json!({ "rope_type": "yarn", "rope_theta": 1e4 })),
        ("rope_parameters", json!({ "partial_rotary_factor": 0.5 })),
        ("rope_theta", json!(0.5)),
        ("rope_theta", json!("big")),
        ("partial_rotary_factor", json!(0.5)),
    ] {
        let (named, _) = refused(llama(), &format!("/{field}"), value);
        assert!(named.starts_with(field), "{named}");
    }
}

#[test]
fn every_dimension_has_its_limits() {
    for (field, value) in [
        ("hidden_size", json!(100)),
        ("hidden_size", json!(0)),
        ("hidden_size", json!(65_568)),
        ("hidden_size", json!(-64)),
        ("hidden_size", json!(64.5)),
        ("hidden_size", json!("64")),
        ("hidden_size", Value::Null),
        ("intermediate_size", json!(97)),
        ("intermediate_size", json!(1u64 << 60)),
        ("num_hidden_layers", json!(0)),
        ("num_hidden_layers", json!(1025)),
        ("num_attention_heads", json!(0)),
        ("num_key_value_heads", json!(0)),
        ("num_key_value_heads", json!(3)),
        ("num_key_value_heads", json!(4)),
        ("head_dim", json!(16)),
        ("head_dim", json!(0)),
        ("rms_norm_eps", json!(0.0)),
        ("rms_norm_eps", json!(1e-60)),
        ("rms_norm_eps", json!(2.0)),
        ("rms_norm_eps", json!("small")),
        ("hidden_act", json!("gelu")),
        ("hidden_act", json!(1)),
        ("vocab_size", json!(0)),
        ("max_position_embeddings", json!(0)),
        ("tie_word_embeddings", json!("yes")),
        ("attention_bias", json!(1)),
        ("mlp_bias", json!("no")),
        ("quantization_config", json!({ "bits": 4 })),
        ("fastcar_video", json!([])),
    ] {
        assert_eq!(refused(llama(), &format!("/{field}"), value.clone()).0, field, "{value}");
    }
    assert_eq!(
        refused(llama(), "/hidden_size", json!(100)).1,
        "it must be a multiple of 32, the block of the number formats, up to 65536"
    );
}

#[test]
fn a_head_width_that_is_not_implied_must_be_given() {
    let mut config = llama();
    config["head_dim"] = Value::Null;
    config["num_attention_heads"] = 3.into();
    config["num_key_value_heads"] = 3.into();
    match parse(&config) {
        Err(ModelError::Field { field, found, .. }) => {
            assert_eq!((&*field, &*found), ("head_dim", "missing"))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn architectures() {
    let detect = |v: Value| Architecture::detect(&v.to_string(), Path::new(PATH));
    assert_eq!(detect(json!({ "architectures": ["LlamaForCausalLM"] })).unwrap(), Architecture::Llama);
    assert_eq!(detect(json!({ "architectures": ["VILAULlamaModel"] })).unwrap(), Architecture::VilaU);
    assert_eq!(detect(json!({ "model_type": "vila_u_llama" })).unwrap(), Architecture::VilaU);
    for (unknown, found) in [
        (json!({}), "none"),
        (json!({ "model_type": "llama" }), "none (model_type \"llama\")"),
        (json!({ "architectures": ["Qwen2ForCausalLM"] }), "Qwen2ForCausalLM"),
        (json!({ "architectures": ["LlamaForCausalLM", "Other"] }), "LlamaForCausalLM, Other"),
    ] {
        match detect(unknown) {
            Err(ModelError::UnknownArchitecture { found: f, known, .. }) => {
                assert_eq!((&*f, known), (found, "LlamaForCausalLM and VILAULlamaModel"));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(
        ModelConfig::parse("{\"model_type\": \"vila_u_llama\"}", Path::new(PATH)),
        Err(ModelError::UnknownArchitecture { .. })
    ));
    for text in ["", "[]", "{", "{\"architectures\": [\"LlamaForCausalLM\"]} x"] {
        assert!(
            matches!(ModelConfig::parse(text, Path::new(PATH)), Err(ModelError::Json { .. })),
            "{text:?}"
        );
    }
}

#[test]
fn video_fields() {
    let config = parse(&video()).unwrap();
    let v = config.video().unwrap();
    assert_eq!((v.frames(), v.grid(), v.patch(), v.channels()), (4, [3, 4], [2, 3], 1));
    assert_eq!((v.tokens_per_frame(), v.video_tokens()), (12, 48));
    assert_eq!((v.codebook(), v.code_offset(), v.codes()), (Some("codebook.safetensors"), 0, 48));
    assert_eq!(v.prompt_tokens(), 4);
    assert_eq!(v.null_prompt(), Some(&NullPrompt::Tokens(vec![54, 55, 55, 55])));

    let mut config = video();
    config["fastcar_video"]["null_prompt"] = json!("nothing at all");
    let config = parse(&config).unwrap();
    let null = config.video().unwrap().null_prompt();
    assert_eq!(null, Some(&NullPrompt::Text("nothing at all".to_owned())));
}

#[test]
fn every_video_field_has_its_limits() {
    for (field, value) in [
        ("frames", json!(0)),
        ("frames", json!(22)),
        ("frames", Value::Null),
        ("grid", json!([3])),
        ("grid", json!([3, 0])),
        ("grid", json!([3, 1u64 << 40])),
        ("patch", json!("2x3")),
        ("channels", json!(5)),
        ("tokens_per_frame", json!(13)),
        ("codebook", json!("../codebook.safetensors")),
        ("codebook", json!("/etc/passwd")),
        ("codebook", json!(7)),
        ("code_offset", json!(-1)),
        ("codes", json!(0)),
        ("codes", json!(58)),
        ("prompt_tokens", json!(257)),
        ("null_prompt", json!([1, 2, 3])),
        ("null_prompt", json!([1, 2, 3, 57])),
        ("null_prompt", json!({})),
        ("frame_rate", json!(25)),
    ] {
        let (named, _) = refused(video(), &format!("/fastcar_video/{field}"), value.clone());
        assert_eq!(named, format!("fastcar_video.{field}"), "{value}");
    }
}

#[test]
fn vila_u_fields() {
    let spec = VilaUSpec::default();
    let projector = json!({ "mm_projector_type": "mlp2x_gelu" });
    let parse = |tower: &Value, projector: &Value| {
        let texts = (tower.to_string(), projector.to_string());
        VilaUConfig::parse((&texts.0, Path::new("t.json")), (&texts.1, Path::new("p.json")), 64)
    };
    let config = parse(&spec.tower_config(), &projector).unwrap();
    assert_eq!((config.code_grid(), config.positions_per_frame(), config.code_depth()), ([2, 2], 4, 4));
    assert_eq!((config.codes(), config.code_width(), config.body_width()), (40, 32, 64));
    assert!(config.shared_codebook());
    assert_eq!(config.projector(), ProjectorKind::Mlp { layers: 2 });
    let depth = config.spec();
    assert_eq!(
        (depth.layers(), depth.hidden(), depth.heads(), depth.head_dim(), depth.ffn()),
        (2, 64, 2, 32, 256)
    );
    assert_eq!(
        (depth.norm(), depth.rope_theta(), depth.max_positions()),
        (Norm::Layer { eps: 1e-5 }, None, 4)
    );

    for (pointer, value, named) in [
        ("/rqtransformer", Value::Null, "rqtransformer"),
        ("/rqvaesiglip", json!(1), "rqvaesiglip"),
        ("/rqtransformer/block_size", json!([2, 2]), "rqtransformer.block_size"),
        ("/rqtransformer/block_size", json!([2, 2, 5]), "rqtransformer.block_size"),
        ("/rqtransformer/vocab_size", json!(41), "rqtransformer.vocab_size"),
        ("/rqtransformer/input_embed_dim_1", json!(33), "rqtransformer.input_embed_dim_1"),
        ("/rqtransformer/input_embed_dim_2", json!(96), "rqtransformer.input_embed_dim_2"),
        ("/rqtransformer/embed_dim", json!(0), "rqtransformer.embed_dim"),
        ("/rqtransformer/head/n_layer", json!(0), "rqtransformer.head.n_layer"),
        ("/rqtransformer/head/block", Value::Null, "rqtransformer.head.block"),
        ("/rqtransformer/head/block/n_head", json!(3), "rqtransformer.head.block.n_head"),
        ("/rqtransformer/head/block/n_head", json!(4), "rqtransformer.head.block.n_head"),
        ("/rqvaesiglip/n_embed", Value::Null, "rqvaesiglip.n_embed"),
        ("/rqvaesiglip/code_shape", json!([]), "rqvaesiglip.code_shape"),
        ("/rqvaesiglip/shared_codebook", json!(1), "rqvaesiglip.shared_codebook"),
    ] {
        let mut tower = spec.tower_config();
        *tower.pointer_mut(pointer).unwrap() = value;
        match parse(&tower, &projector) {
            Err(ModelError::Field { field, .. }) => assert_eq!(field, named),
            other => panic!("{pointer}: {other:?}"),
        }
    }
    for kind in ["mlp", "mlp0x_gelu", "mlp17x_gelu", "identity", "mlp_downsample"] {
        match parse(&spec.tower_config(), &json!({ "mm_projector_type": kind })) {
            Err(ModelError::Field { field, .. }) => assert_eq!(field, "mm_projector_type"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}
