//! Workloads and plans: the layout of a model without its weights is the layout with them.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_host::compile::{CompileOptions, compile, most_positions};
use fastcar_host::image::{Format, Image, Input, Matrix, Transformer};
use fastcar_host::model::Model;
use fastcar_host::model::testing::{LlamaSpec, VideoSpec, VilaUSpec};
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::policy::{Gate, Method, Policy, TasForm};
use fastcar_host::workload::{ModelShape, Plan, Workload};
use std::path::{Path, PathBuf};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/moving-digits")
}

fn presets() -> impl Iterator<Item = AccelConfig> {
    AccelConfig::PRESETS.iter().map(|name| AccelConfig::preset(name).unwrap())
}

fn policies() -> Vec<Policy> {
    let tas = |form| Policy::replay(Gate::Tas { form, thresholds: vec![0.0] }).unwrap();
    vec![
        Policy::dense(),
        tas(TasForm::Code),
        tas(TasForm::Paper),
        Policy::replay(Gate::InputDelta { thresholds: vec![0.1] }).unwrap(),
        Policy::replay(Gate::Budget { ratio: 0.8 }).unwrap(),
        Policy::delta(0.1).unwrap(),
    ]
}

/// The image as a plan has it: without what weights decide.
fn unweighted(mut image: Image) -> Image {
    fn transformer(t: &mut Transformer) -> impl Iterator<Item = &mut Matrix> {
        t.layers.iter_mut().flat_map(|l| [&mut l.qkv, &mut l.o, &mut l.up, &mut l.down]).chain(&mut t.head)
    }
    let projectors = |inputs: &mut Vec<Input>| {
        inputs.iter_mut().flat_map(|i| &mut i.projector).for_each(|m| m.scale_max = 0);
    };
    transformer(&mut image.body).for_each(|m| m.scale_max = 0);
    projectors(&mut image.inputs);
    if let Some((depth, inputs)) = &mut image.depth {
        transformer(depth).for_each(|m| m.scale_max = 0);
        projectors(inputs);
    }
    image
}

/// A folder's plan from its shapes alone, from its headers, and from its weights.
fn one_layout(dir: &Path, config: &AccelConfig, options: PackOptions) {
    let model = Model::open(dir).unwrap();
    let packed = pack(&model, config, options, &()).unwrap();
    let from_config = Workload::from_checkpoint(dir).unwrap().plan(config, options).unwrap();
    let from_headers = Plan::new(config, &ModelShape::of(&model).unwrap(), options).unwrap();
    assert_ne!(packed.image(), from_config.image(), "weights have a largest scale");
    assert_eq!(&unweighted(packed.image().clone()), from_config.image(), "{}", config.name());
    assert_eq!(from_headers, from_config);
    assert_eq!(packed.constants(), from_config.constants());
}

#[test]
fn weights_do_not_move_the_layout() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let gqa =
        LlamaSpec { heads: 4, kv_heads: 2, attention_bias: true, mlp_bias: true, ..LlamaSpec::default() };
    VideoSpec { body: gqa, ..VideoSpec::default() }.write(&at("biased")).unwrap();
    VilaUSpec::default().write(&at("vila-u")).unwrap();
    VilaUSpec { projector: "linear", code_depth: 1, ..VilaUSpec::default() }.write(&at("one-code")).unwrap();
    for config in presets() {
        for weights in [Format::MxFp4, Format::MxInt8] {
            let options = PackOptions { weights, head: Some(weights) };
            for name in ["biased", "vila-u", "one-code"] {
                one_layout(&at(name), &config, options);
            }
        }
    }
    one_layout(&shipped(), &AccelConfig::preset("edge").unwrap(), PackOptions::default());
}

#[test]
fn a_folder_without_weights_is_a_workload() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(shipped().join("config.json"), dir.path().join("config.json")).unwrap();
    let found = Workload::from_checkpoint(dir.path()).unwrap();
    let expected = Workload::named("moving-digits").unwrap();
    assert_eq!(found.model(), expected.model());
    assert_eq!(Workload::from_checkpoint(&shipped()).unwrap(), expected, "the name is the folder's");
    let missing = Workload::from_checkpoint(&dir.path().join("none")).unwrap_err().to_string();
    assert!(missing.contains("config.json"), "{missing}");
}

#[test]
fn unknown_names_are_refused() {
    assert_eq!(
        Workload::named("vila-u-8b").unwrap_err().to_string(),
        "no workload is named 'vila-u-8b': the workloads are tiny, moving-digits, llama-1b, vila-u-7b; a model's \
         folder works too"
    );
}

/// The figures that rooflines start from: 2.147 G, 4.329 G and 2.100 G weights.
#[test]
fn vila_u_streams_the_published_weights() {
    let weights = Workload::named("vila-u-7b").unwrap().streamed_weights();
    assert_eq!(weights.attention, 32 * 4 * 4096 * 4096);
    assert_eq!(weights.mlp, 32 * 3 * 4096 * 11_008);
    assert_eq!(weights.head, 0);
    assert!((weights.codes as f64 / 2.100e9 - 1.0).abs() < 0.005, "{}", weights.codes);
    let body = Workload::named("vila-u-7b").unwrap().body_only().streamed_weights();
    assert_eq!((body.attention, body.mlp, body.codes), (weights.attention, weights.mlp, 0));
    let shipped = Workload::named("moving-digits").unwrap().streamed_weights();
    assert_eq!(
        (shipped.attention, shipped.mlp, shipped.head),
        (4 * 4 * 128 * 128, 4 * 3 * 128 * 352, 288 * 128)
    );
}

#[test]
fn every_workload_compiles_where_it_fits() {
    // Which presets hold which workload: 7 G weights need an HBM card.
    for name in Workload::NAMES {
        for config in presets().map(|config| roomy(name, config)) {
            let workload = Workload::named(name).unwrap();
            for workload in [workload.clone(), workload.body_only()] {
                let fits = match (name, config.name()) {
                    ("tiny" | "moving-digits", _) => true,
                    ("llama-1b", preset) => preset != "tiny",
                    (_, preset) => !matches!(preset, "tiny" | "edge"),
                };
                match workload.plan(&config, PackOptions::default()) {
                    Ok(plan) => {
                        assert!(fits, "{name} on {}", config.name());
                        compiles(&workload, &plan);
                    }
                    Err(error) => {
                        assert!(!fits, "{name} on {}: {error}", config.name());
                        assert!(error.to_string().contains("are left; use fewer slots"), "{error}");
                    }
                }
            }
        }
    }
}

/// The configuration, with room for the scores of both passes over the keys of `llama-1b` on `edge`.
fn roomy(workload: &str, config: AccelConfig) -> AccelConfig {
    match (workload, config.name()) {
        ("llama-1b", "edge") => {
            AccelConfig::new(ConfigFields { score_tokens: 8192, ..config.fields().clone() }).unwrap()
        }
        _ => config,
    }
}

#[test]
fn sequences_beyond_the_score_buffer_are_refused() {
    let edge = AccelConfig::preset("edge").unwrap();
    let workload = Workload::named("llama-1b").unwrap();
    let plan = workload.plan(&edge, PackOptions::default()).unwrap();
    let (config, shape) = (plan.config(), &plan.image().body.shape);
    let positions = |positions| {
        let options = CompileOptions { positions, ..workload.options(1) };
        compile(&plan, &Policy::dense(), options).map(|_| ()).map_err(|e| e.to_string())
    };
    // Four query heads share a key/value head: two passes of two columns.
    assert_eq!((config.score_tokens(), most_positions(config, shape)), (4096, 2048));
    assert_eq!(positions(2048), Ok(()));
    let error = positions(2049).unwrap_err();
    assert_eq!(error, "positions is 2049: the score buffer of preset 'edge' allows 1 to 2048");
}

fn compiles(workload: &Workload, plan: &Plan) {
    let has_codes = workload.model().codes.is_some();
    for policy in policies() {
        // References of delta decode take as much memory as a third of a 7B model: one slot's fit 8 GB.
        let slots = if matches!(policy.method(), Method::Delta { .. }) { 1 } else { 2 };
        let compiled = compile(plan, &policy, workload.options(slots))
            .unwrap_or_else(|e| panic!("{} on {}: {e}", workload.name(), plan.config().name()));
        assert_eq!(compiled.body.len(), if has_codes { 2 } else { 1 });
        assert_eq!(compiled.depth.len(), if has_codes { 4 } else { 0 });
        let has_logits = has_codes || workload.model().body.head.is_some();
        assert_eq!(!compiled.logits.is_empty(), has_logits);
    }
}
