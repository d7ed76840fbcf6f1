//! Prompts, pictures and recorded videos of a video model.
#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use fastcar_host::model::testing::{Tensors, VideoSpec, WeightFormat};
use fastcar_host::model::{Codebook, Heldout, Model, ModelError};

fn model() -> (tempfile::TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    VideoSpec::default().write(dir.path()).unwrap();
    let model = Model::open(dir.path()).unwrap();
    (dir, model)
}

#[test]
fn prompts_become_tokens() {
    let (_dir, model) = model();
    let tokenizer = model.prompt_tokenizer().unwrap();
    assert_eq!(tokenizer.encode("one up-right dots").unwrap(), [54, 49, 51, 53]);
    assert_eq!(tokenizer.encode("  zero   left\tplain ").unwrap(), [54, 48, 50, 52]);
    assert_eq!(tokenizer.words(), ["dots", "left", "one", "plain", "up-right", "zero"]);
    assert_eq!(tokenizer.decode(&[54, 49, 51, 53]).unwrap(), "one up-right dots");
    for (prompt, word) in
        [("ONE left plain", "ONE"), ("[UNK] left plain", "[UNK]"), ("one left plain café", "café")]
    {
        match tokenizer.encode(prompt) {
            Err(ModelError::UnknownWord { word: w, .. }) => assert_eq!(w, word),
            other => panic!("{prompt}: {other:?}"),
        }
    }
    for prompt in ["", "one", "one left plain dots"] {
        assert!(
            matches!(tokenizer.encode(prompt), Err(ModelError::PromptLength { expected: 4, .. })),
            "{prompt}"
        );
    }
    assert_eq!(model.frame_period(), Some(12));
}

#[test]
fn tokens_become_pictures() {
    let (dir, model) = model();
    let video = model.video().unwrap();
    // A codebook whose patch c has pixel p equal to (c + p) / 255, and two values outside the range of a
    // picture.
    let mut values: Vec<f32> = (0..48 * 6).map(|i| ((i / 6 + i % 6) as f32) / 255.0).collect();
    (values[0], values[5]) = (-0.5, 2.0);
    let mut tensors = Tensors::default();
    tensors.floats("codebook", &[48, 6], WeightFormat::F32, &values);
    let path = dir.path().join("other.safetensors");
    std::fs::write(&path, tensors.to_file().unwrap()).unwrap();
    let codebook = Codebook::open(&path, video).unwrap();
    let tokens: Vec<u32> = (0..24).map(|t| 10 + t).collect();
    let frames = codebook.render(&tokens).unwrap();
    assert_eq!(frames.len(), 2);
    for (f, frame) in frames.iter().enumerate() {
        assert_eq!((frame.height, frame.width, frame.channels, frame.pixels.len()), (6, 12, 1, 72));
        for y in 0..6 {
            for x in 0..12 {
                let token = tokens[f * 12 + y / 2 * 4 + x / 3];
                let pixel = (y % 2 * 3 + x % 3) as u32;
                assert_eq!(
                    u32::from(frame.pixels[y * 12 + x]),
                    token + pixel,
                    "frame {f} row {y} column {x}"
                );
            }
        }
    }
    let clamped = &codebook.render(&[0; 12]).unwrap()[0];
    assert_eq!((clamped.pixels[0], clamped.pixels[1], clamped.pixels[14]), (0, 1, 255));
    assert_eq!(codebook.render(&[]).unwrap(), []);
    assert!(matches!(codebook.render(&[u32::MAX; 12]), Err(ModelError::TokenRange { position: 0, .. })));
}

#[test]
fn recorded_videos() {
    let (dir, model) = model();
    let heldout = model.heldout().unwrap();
    assert_eq!(heldout.clips().len(), 3);
    for (i, clip) in heldout.clips().iter().enumerate() {
        assert_eq!(clip.prompt, [54, 48 + i as u32 % 2, 50 + i as u32 % 2, 52 + i as u32 % 2]);
        assert_eq!((clip.tokens.len(), clip.frames.len()), (48, 4));
        assert!(clip.tokens.iter().all(|&t| t < 48));
        assert!(clip.frames.iter().all(|f| (f.width, f.height, f.pixels.len()) == (12, 6, 72)));
        assert_eq!(model.codebook().unwrap().render(&clip.tokens).unwrap().len(), 4);
    }

    let write = |prompt: &[i32], tokens: &[i32], frames: usize| {
        let mut t = Tensors::default();
        t.ints("prompt", &[1, prompt.len()], prompt);
        t.ints("tokens", &[1, tokens.len() / 12, 12], tokens);
        t.bytes("frames", &[1, frames, 6, 12], &vec![0; frames * 72]);
        let path = dir.path().join("bad.safetensors");
        std::fs::write(&path, t.to_file().unwrap()).unwrap();
        Heldout::open(path, model.video().unwrap())
    };
    assert!(write(&[0, 1, 2, 3], &[0; 24], 2).is_ok());
    assert!(matches!(write(&[0, 1, 2], &[0; 24], 2), Err(ModelError::Shape { .. })));
    assert!(matches!(write(&[0, 1, 2, 3], &[0; 24], 3), Err(ModelError::Shape { .. })));
    assert!(matches!(
        write(&[0, -1, 2, 3], &[0; 24], 2),
        Err(ModelError::TokenRange { position: 1, token: -1, .. })
    ));
    let mut tokens = [0; 24];
    tokens[20] = 48;
    assert!(matches!(
        write(&[0; 4], &tokens, 2),
        Err(ModelError::TokenRange { position: 20, token: 48, .. })
    ));
}
