//! Attention patterns against a naive set of tokens, as text, and within their bounds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_host::attention::{Attention, AttentionError, Pattern, Place};
use fastcar_host::policy::{Gate, Policy};
use proptest::prelude::*;

/// The terms of a pattern, kept apart from the code under test.
#[derive(Clone, Debug)]
struct Terms {
    sink: Option<u32>,
    local: Option<u32>,
    prompt: bool,
    frames: Option<(u32, u32)>,
}

impl Terms {
    fn text(&self) -> String {
        let mut terms: Vec<String> = Vec::new();
        terms.extend(self.local.map(|n| format!("local{n}")));
        terms.extend(self.prompt.then(|| "prompt".to_owned()));
        terms.extend(self.frames.map(|(every, near)| format!("frame-stride{every}~{near}")));
        terms.extend(self.sink.map(|n| format!("sink{n}")));
        terms.join("+")
    }

    /// Whether token `t` is read, by the definition of each term.
    fn reads(&self, t: u32, Place { token, prompt, period }: Place) -> bool {
        let frames = |(every, near): (u32, u32)| {
            if token < prompt || period == 0 {
                return true;
            }
            if t < prompt {
                return false;
            }
            let (now, then) = (token - prompt, t - prompt);
            let back = now / period - then / period;
            let distance = (now % period).abs_diff(then % period);
            back == 0 || (back.is_multiple_of(every) && distance <= near)
        };
        t <= token
            && (self.sink.is_some_and(|n| t < n)
                || self.local.is_some_and(|n| token - t < n)
                || (self.prompt && t < prompt)
                || self.frames.is_some_and(frames))
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let sizes = || prop_oneof![1u32..6, 28u32..70, 1u32..400];
    let frames = (1u32..5, prop_oneof![0u32..5, 0u32..80]);
    (prop::option::of(sizes()), prop::option::of(sizes()), any::<bool>(), prop::option::of(frames))
        .prop_map(|(sink, local, prompt, frames)| Terms { sink, local, prompt, frames })
        .prop_filter("the own token is read", |t| t.local.is_some() || t.frames.is_some())
}

fn pattern(text: &str) -> Pattern {
    text.parse::<Attention>().unwrap().patterns(0, 1)[0]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lists_are_the_set_of_tokens(
        terms in terms(), token in 0u32..500, prompt in 0u32..60, period in prop_oneof![1 => Just(0u32), 4 => 1u32..100],
    ) {
        let place = Place { token, prompt, period };
        let pattern = pattern(&terms.text());
        let expected: Vec<u32> = (0..600).filter(|&t| terms.reads(t, place)).collect();
        prop_assert!(expected.contains(&token), "a token reads itself");
        let ranges = pattern.ranges(place);
        prop_assert!(ranges.windows(2).all(|w| w[0].end < w[1].start) && ranges.iter().all(|r| !r.is_empty()));
        prop_assert_eq!(ranges.into_iter().flatten().collect::<Vec<_>>(), expected.clone());
        let blocks = pattern.blocks(place);
        prop_assert!(blocks.windows(2).all(|w| w[0].0 < w[1].0), "ascending: {:?}", blocks);
        prop_assert!(blocks.iter().all(|b| b.1 != 0), "no empty block");
        let listed: Vec<u32> =
            blocks.iter().flat_map(|&(b, mask)| (0..32).filter(move |i| mask >> i & 1 == 1).map(move |i| b * 32 + i)).collect();
        prop_assert_eq!(listed, expected);
    }

    #[test]
    fn lists_fit_their_room(terms in terms(), positions in 1u32..500, prompt in 0u32..60, period in 0u32..100) {
        let pattern = pattern(&terms.text());
        let room = pattern.most_entries(positions);
        prop_assert!(room <= positions.div_ceil(32));
        for token in 0..positions {
            let entries = pattern.blocks(Place { token, prompt, period }).len() as u32;
            prop_assert!(entries <= room, "{} entries at {}, room for {}", entries, token, room);
        }
    }

    #[test]
    fn texts_round_trip(layers in prop::collection::vec(prop::collection::vec(prop::option::of(terms()), 1..4), 1..4)) {
        let text = |heads: &Vec<Option<Terms>>| {
            let heads: Vec<String> = heads.iter().map(|t| t.as_ref().map_or("dense".to_owned(), Terms::text)).collect();
            heads.join(",")
        };
        let text: Vec<String> = layers.iter().map(text).collect();
        let attention: Attention = text.join("/").parse().unwrap();
        prop_assert_eq!(attention.to_string().parse::<Attention>(), Ok(attention.clone()));
        let dense = layers.iter().flatten().all(Option::is_none);
        prop_assert_eq!(attention.layers(), if dense { 1 } else { layers.len() });
        for (layer, heads) in layers.iter().enumerate() {
            for (head, found) in attention.patterns(layer, 7).into_iter().enumerate() {
                prop_assert_eq!(found.is_dense(), heads[head % heads.len()].is_none(), "dealt in turn");
            }
        }
        let policy = Policy::replay(Gate::Always).unwrap().with_attention(attention);
        prop_assert_eq!(Policy::from_toml(&policy.to_toml().unwrap()).unwrap(), policy);
    }

    #[test]
    fn any_text_parses_without_panic(text in "[a-z0-9+,/~ -]{0,40}|\\PC{0,30}") {
        let _ = text.parse::<Attention>();
    }
}

/// A window of W tokens touches one block more than its length says, at some position: the room is not larger.
#[test]
fn room_of_windows_is_tight() {
    for (text, room) in [("local1", 1), ("local2", 2), ("local33", 2), ("local34", 3), ("sink4+local256", 10)]
    {
        let pattern = pattern(text);
        let reached =
            (0..1024).map(|token| pattern.blocks(Place { token, prompt: 0, period: 0 }).len()).max();
        assert_eq!((pattern.most_entries(1024), reached), (room, Some(room as usize)), "{text}");
    }
    assert_eq!(pattern("sink4+local256").most_entries(64), 2, "never more than there are");
    assert_eq!(pattern("dense").most_entries(65), 3);
}

#[test]
fn the_whole_sequence_is_dense() {
    let place = Place { token: 700, prompt: 4, period: 64 };
    let dense = Pattern::DENSE.blocks(place);
    assert_eq!((dense.len(), dense[0], dense[21]), (22, (0, u32::MAX), (21, (1 << 29) - 1)));
    assert_eq!(pattern("local5000").blocks(place), dense);
    assert_eq!(pattern("sink5000+local1").blocks(place), dense);
    assert_eq!(pattern("prompt+frame-stride1~63").blocks(place), dense);
    assert!(!pattern("local5000").is_dense(), "only dense is read without a list");
}

#[test]
fn bad_texts_are_refused() {
    let refused = |text: &str| text.parse::<Attention>().unwrap_err();
    for (text, term) in [
        ("", ""),
        ("local", "local"),
        ("local0", "local0"),
        ("local-4", "local-4"),
        ("local4294967295", "local4294967295"),
        ("sink4+local8+local9", "local9"),
        ("sink4 local8", "sink4 local8"),
        ("dense+local4", "dense"),
        ("local8,", ""),
        ("local8//dense", ""),
        ("frame-stride2", "frame-stride2"),
        ("frame-stride0~2", "frame-stride0~2"),
        ("window16", "window16"),
    ] {
        let expected = AttentionError::Term { text: text.to_owned(), term: term.to_owned() };
        assert_eq!(refused(text), expected, "{text}");
    }
    assert_eq!(
        refused("sink4+locl256").to_string(),
        "attention 'sink4+locl256': 'locl256' is not one of dense, sinkN, localN, prompt and frame-strideK~W, each \
         once in a pattern, with N and K of at least 1; as in sink4+local256 or prompt+frame-stride1~8"
    );
    assert_eq!(
        refused("dense,sink4+prompt").to_string(),
        "attention 'dense,sink4+prompt': pattern 'sink4+prompt' does not reach the position's own token; add localN \
         or frame-strideK~W"
    );
}

/// Every example of docs/policies.md is a policy, and the file that it would be written to.
#[test]
fn examples_of_the_page_are_policies() {
    let page = include_str!("../../docs/policies.md");
    let examples: Vec<&str> =
        page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(examples.len(), 5);
    for text in &examples {
        let policy = Policy::from_toml(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(Policy::from_toml(&policy.to_toml().unwrap()).unwrap(), policy);
    }
    let attentions = examples.iter().filter(|text| !Policy::from_toml(text).unwrap().attention().is_dense());
    assert_eq!(attentions.count(), 2);
    for term in ["sinkN", "localN", "prompt", "frame-strideK~W"] {
        assert!(page.contains(&format!("| `{term}` |")), "{term} has a row");
    }
}

#[test]
fn policies_carry_it() {
    let text =
        "version = 1\nkind = \"dense\"\n\n[attention]\nlayers = [\"sink4+local64\", \"dense,local8\"]\n";
    let policy = Policy::from_toml(text).unwrap();
    assert_eq!(policy.attention().to_string(), "sink4+local64/dense,local8");
    assert!(!Policy::dense().to_toml().unwrap().contains("attention"), "dense attention goes without saying");
    let refused = |layers: &str| {
        let text = format!("version = 1\nkind = \"dense\"\n[attention]\n{layers}");
        Policy::from_toml(&text).unwrap_err().to_string()
    };
    assert!(refused("layers = [\"sink4\"]").contains("does not reach the position's own token"));
    assert!(refused("layers = []").contains("is not one of dense"));
    assert!(refused("pattern = \"dense\"").contains("pattern"));
    let error = policy.check_layers(4).unwrap_err().to_string();
    assert_eq!(
        error,
        "policy.attention.layers has 2 entries: give 1, or one for each of the model's 4 layers"
    );
    let error = policy.check_heads(1).unwrap_err().to_string();
    assert_eq!(
        error,
        "policy.attention deals 2 patterns to the model's 1 key/value heads: give at most one for each"
    );
}
