//! Every refusal of a model, word for word: what was asked, what was found, the limit, a way out.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

use fastcar_host::model::testing::{LlamaSpec, Tensors, VideoSpec, WeightFormat};
use fastcar_host::model::{
    Checkpoint, Codebook, HeaderFault, IndexFault, LinearRole, Model, ModelConfig, ModelError,
    PromptTokenizer, TensorFile,
};
use serde_json::json;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn video() -> (Self, Model) {
        let folder = Self::new();
        VideoSpec::default().write(folder.path()).unwrap();
        let model = Model::open(folder.path()).unwrap();
        (folder, model)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, contents).unwrap();
        path
    }

    /// The message with the folder's name taken out.
    fn say<T>(&self, result: Result<T, ModelError>) -> String {
        match result {
            Ok(_) => panic!("nothing was refused"),
            Err(e) => e.to_string().replace(&self.path().display().to_string(), "<dir>"),
        }
    }
}

/// A file with this header and that many bytes of data.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut out = (header.len() as u64).to_le_bytes().to_vec();
    out.extend(header.as_bytes());
    out.resize(out.len() + data, 0);
    out
}

#[test]
fn io() {
    let f = Folder::new();
    assert_eq!(
        f.say(Model::open(f.path())),
        "cannot open <dir>/config.json: No such file or directory (os error 2); check that the path exists and is \
         readable"
    );
    assert_eq!(
        f.say(TensorFile::open(f.path())),
        "cannot map <dir>: not a regular file; check that the path exists and is readable"
    );
}

#[test]
fn file_too_large() {
    let f = Folder::new();
    let path = f.write("tokenizer.json", "");
    fs::File::options().write(true).open(&path).unwrap().set_len((64 << 20) + 1).unwrap();
    assert_eq!(
        f.say(PromptTokenizer::open(&path, None)),
        "<dir>/tokenizer.json is 67108865 bytes long and the limit is 67108864; this does not look like a file of \
         that name, check that the download is the right one"
    );
}

#[test]
fn no_weights() {
    let f = Folder::new();
    f.write("config.json", LlamaSpec::default().config().to_string());
    assert_eq!(
        f.say(Model::open(f.path())),
        "no weights in <dir>: looked for model.safetensors and model.safetensors.index.json; point at the folder \
         that holds them"
    );
    f.write("pytorch_model-00001-of-00002.bin", "");
    assert_eq!(
        f.say(Model::open(f.path())),
        "no weights in <dir>: looked for model.safetensors and model.safetensors.index.json; it holds \
         pytorch_model*.bin, which is not read: save the model as safetensors"
    );
}

#[test]
fn header() {
    let f = Folder::new();
    let a = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    for (bytes, text) in [
        (b"abc".to_vec(), "it is 3 bytes long and the length field alone takes 8; download it again"),
        (Vec::new(), "it is 0 bytes long and the length field alone takes 8; download it again"),
        (
            u64::MAX.to_le_bytes().to_vec(),
            "it declares a header of 18446744073709551615 bytes where at most 0 are possible; it is truncated or of \
             another format, download it again",
        ),
        (
            file("[]", 0),
            "its header does not parse: invalid type: sequence, expected an object from tensor name to {dtype, \
             shape, data_offsets} at line 1 column 0; save the file again",
        ),
        (
            file(&format!("{a},{}", &a[1..]), 8),
            "its header does not parse: EOF while parsing an object at line 1 column 106; save the file again",
        ),
        (
            file(&format!("{a},{}}}", &a[1..]), 8),
            "tensor a is listed twice; each name may occur once, save the file again",
        ),
        (
            file(r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#, 1),
            "tensor a has the unknown dtype \"F4\"; known: BOOL, U8, I8, F8_E5M2, F8_E4M3, I16, U16, F16, BF16, \
             I32, U32, F32, F64, I64, U64; convert the checkpoint",
        ),
        (
            file(&format!("{a}}}"), 7),
            "tensor a claims bytes 0..8 where 7 follow the header; it is truncated, download it again",
        ),
        (
            file(r#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, 8),
            "tensor a spans 8 bytes where its shape takes 12; save the file again",
        ),
        (
            file(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, 0),
            "tensor a spans 0 bytes where its shape takes more than 2^64; save the file again",
        ),
        (
            file(&format!(r#"{a},"b":{{"dtype":"U8","shape":[2],"data_offsets":[6,8]}}}}"#), 8),
            "tensor b begins at byte 6, before the previous one ends at 8; tensors may not share bytes, save the \
             file again",
        ),
        (
            file(&format!(r#"{a},"b":{{"dtype":"U8","shape":[2],"data_offsets":[9,11]}}}}"#), 11),
            "bytes 8..9 belong to no tensor; tensors must follow each other without gaps, save the file again",
        ),
        (
            file(&format!("{a}}}"), 12),
            "bytes 8..12 belong to no tensor; tensors must follow each other without gaps, save the file again",
        ),
    ] {
        let path = f.write("x.safetensors", bytes);
        assert_eq!(
            f.say(TensorFile::open(&path)),
            format!("<dir>/x.safetensors is not a valid safetensors file: {text}")
        );
    }
}

#[test]
fn header_longer_than_the_format_allows() {
    let f = Folder::new();
    let path = f.write("x.safetensors", 100_000_001u64.to_le_bytes());
    fs::File::options().write(true).open(&path).unwrap().set_len(100_000_100).unwrap();
    match TensorFile::open(&path) {
        Err(ModelError::Header { fault, .. }) => {
            assert_eq!(fault, HeaderFault::Length { declared_bytes: 100_000_001, limit_bytes: 100_000_000 })
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn index() {
    let f = Folder::new();
    f.write("config.json", "{}");
    let mut tensors = Tensors::default();
    tensors.floats("a", &[1], WeightFormat::F32, &[1.0]);
    f.write("one.safetensors", tensors.to_file().unwrap());
    f.write("two.safetensors", tensors.to_file().unwrap());
    let fault = |map: &str| {
        f.write("model.safetensors.index.json", format!(r#"{{"weight_map":{map}}}"#));
        f.say(Checkpoint::open(f.path()))
    };
    let start = "<dir>/model.safetensors.index.json does not match its shards: ";
    for (map, text) in [
        ("{}", "weight_map lists no tensor; at least one is needed, save the model again"),
        (
            r#"{"a":"one.safetensors","a":"two.safetensors"}"#,
            "tensor a occurs more than once (one.safetensors, two.safetensors); each may occur once, save the model \
             again",
        ),
        (
            r#"{"a":"one.safetensors","b":"two.safetensors"}"#,
            "tensor a occurs more than once (one.safetensors, two.safetensors); each may occur once, save the model \
             again",
        ),
        (
            r#"{"a":"three.safetensors"}"#,
            "the shard three.safetensors is not in the folder; download all the files that the index names",
        ),
        (
            r#"{"b":"one.safetensors"}"#,
            "tensor b is not in one.safetensors, where the index puts it; index and shards must come from the same \
             download",
        ),
    ] {
        assert_eq!(fault(map), format!("{start}{text}"));
    }
    for name in ["../one.safetensors", "/etc/passwd", "x/y", "..", ".", "", "a\\b", "c:d", "one.safetensors/"]
    {
        let shown = IndexFault::ShardName { shard: name.to_owned() }.to_string();
        assert_eq!(fault(&json!({ "a": name }).to_string()), format!("{start}{shown}"));
    }
    assert_eq!(
        IndexFault::ShardName { shard: "../x".to_owned() }.to_string(),
        "it names the shard \"../x\"; a shard is a plain file name in the same folder, without separators or .."
    );
    assert!(
        fault("[]")
            .starts_with("<dir>/model.safetensors.index.json is not valid JSON of the expected form: ")
    );
}

#[test]
fn missing_tensor() {
    let f = Folder::new();
    let spec = LlamaSpec::default();
    let mut tensors = spec.tensors();
    tensors.remove("model.layers.1.mlp.up_proj.weight");
    tensors.write(f.path(), 1).unwrap();
    f.write("config.json", spec.config().to_string());
    assert_eq!(
        f.say(Model::open(f.path())),
        "tensor model.layers.1.mlp.up_proj.weight is missing from <dir> (the nearest name there is \
         model.layers.0.mlp.up_proj.weight); the checkpoint is incomplete or uses other names than its config.json \
         implies"
    );
}

#[test]
fn shape_dtype_and_values() {
    let f = Folder::new();
    let mut tensors = Tensors::default();
    tensors.floats("w", &[2, 3], WeightFormat::F32, &[0.0, 0.0, 0.0, 0.0, f32::NEG_INFINITY, f32::NAN]);
    let path = f.write("w.safetensors", tensors.to_file().unwrap());
    let open = TensorFile::open(path).unwrap();
    let w = open.tensor("w").unwrap();
    assert_eq!(
        f.say(w.expect_shape(&[3, 2])),
        "tensor w has shape [2, 3] where [3, 2] is expected; config.json and the weights must come from the same \
         model"
    );
    assert_eq!(
        f.say(w.expect_rank(3)),
        "tensor w has shape [2, 3] where [?, ?, ?] is expected; config.json and the weights must come from the same \
         model"
    );
    assert_eq!(f.say(w.to_i32()), "tensor w is stored as F32 where I32 is accepted; convert the checkpoint");
    assert_eq!(
        f.say(w.to_f32(0..6)),
        "tensor w holds -inf at element 4; weights must be finite, the checkpoint is damaged or was saved after \
         training diverged"
    );
}

#[test]
fn configuration() {
    let f = Folder::new();
    let path = f.path().join("config.json");
    let mut config = LlamaSpec::default().config();
    config["intermediate_size"] = json!(100);
    assert_eq!(
        f.say(ModelConfig::parse(&config.to_string(), &path)),
        "<dir>/config.json: intermediate_size is 100; it must be a multiple of 32, the block of the number formats, \
         up to 262144; pad the matrices with zeros to the next multiple, or choose another width when training"
    );
    config["hidden_size"] = json!("x".repeat(500));
    let long = f.say(ModelConfig::parse(&config.to_string(), &path));
    assert!(
        long.contains("xxx...; it must be a whole number from 1 to 65536;") && long.len() < 250,
        "{long}"
    );
    config["architectures"] = json!(["MambaForCausalLM"]);
    assert_eq!(
        f.say(ModelConfig::parse(&config.to_string(), &path)),
        "<dir>/config.json declares architecture MambaForCausalLM; the known ones are LlamaForCausalLM and \
         VILAULlamaModel; convert the model to one of these if its layers are the same"
    );
    assert_eq!(
        f.say(ModelConfig::parse("{", &path)),
        "<dir>/config.json is not valid JSON of the expected form: EOF while parsing an object at line 1 column 1"
    );
}

#[test]
fn layer_and_role() {
    let (f, model) = Folder::video();
    assert_eq!(f.say(model.weights(2)), "layer 2 was asked for and the body transformer has 2; count from 0");
    assert_eq!(
        f.say(model.weights(0).unwrap().linear(LinearRole::Fc2)),
        "a SwiGLU layer has no fc2 matrix; its matrices are q, k, v, o, gate, up, down"
    );
}

#[test]
fn tokenizer() {
    let f = Folder::new();
    let path = f.write("tokenizer.json", "{}");
    let text = f.say(PromptTokenizer::open(&path, None));
    assert!(text.starts_with("<dir>/tokenizer.json is not a usable tokenizer: "), "{text}");
    assert!(text.ends_with("; use the tokenizer.json saved with the model"), "{text}");
}

#[test]
fn prompts() {
    let (f, model) = Folder::video();
    let tokenizer = model.prompt_tokenizer().unwrap();
    assert_eq!(
        f.say(tokenizer.encode("one sideways plain")),
        "the prompt's word \"sideways\" is not in the vocabulary; known words: dots left one plain up-right zero"
    );
    assert_eq!(
        f.say(tokenizer.encode("one left")),
        "the prompt \"one left\" makes 3 tokens and the model takes exactly 4; word it like the model's examples"
    );
}

#[test]
fn picture_tokens() {
    let (f, model) = Folder::video();
    let codebook = model.codebook().unwrap();
    let mut tokens = vec![0; 24];
    tokens[13] = 48;
    assert_eq!(
        f.say(codebook.render(&tokens)),
        "token 48 at position 13 is outside the picture codes 0..=47; render only tokens that were sampled from \
         that range"
    );
    assert_eq!(
        f.say(codebook.render(&tokens[..13])),
        "13 tokens are not a whole number of frames of 12; pass whole frames"
    );
    assert!(
        f.say(Codebook::open(f.path().join("none"), model.video().unwrap()))
            .starts_with("cannot open <dir>/none")
    );
}

#[test]
fn not_a_video_model() {
    let f = Folder::new();
    LlamaSpec::default().write(f.path()).unwrap();
    let model = Model::open(f.path()).unwrap();
    assert_eq!(
        f.say(model.codebook()),
        "<dir> describes no video: picture patches come from the object \"fastcar_video\" in config.json"
    );
    assert_eq!(
        f.say(model.heldout()),
        "<dir> describes no video: held-out videos come from the object \"fastcar_video\" in config.json"
    );
}
