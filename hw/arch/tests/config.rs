//! Configurations: presets, limits, text.

use fastcar_arch::config::{AccelConfig, ConfigError, ConfigFields};
use insta::assert_snapshot;

fn tiny() -> ConfigFields {
    AccelConfig::preset("tiny").expect("it is valid").fields().clone()
}

fn refusal(change: impl FnOnce(&mut ConfigFields)) -> String {
    let mut fields = tiny();
    change(&mut fields);
    AccelConfig::new(fields).expect_err("the configuration is refused").to_string()
}

fn accepted(change: impl FnOnce(&mut ConfigFields)) {
    let mut fields = tiny();
    change(&mut fields);
    AccelConfig::new(fields).expect("the configuration is valid");
}

#[test]
fn presets_are_valid_and_named_after_themselves() {
    for name in AccelConfig::PRESETS {
        assert_eq!(AccelConfig::preset(name).unwrap().name(), name);
    }
}

#[test]
fn toml_round_trips() {
    for name in AccelConfig::PRESETS {
        let config = AccelConfig::preset(name).unwrap();
        assert_eq!(AccelConfig::from_toml(&config.to_toml()), Ok(config));
    }
}

#[test]
fn limits_themselves_are_allowed() {
    accepted(|f| (f.channels, f.vector_lanes, f.beat_bytes, f.channel_bytes) = (32, 32, 64, 1 << 40));
    accepted(|f| (f.channels, f.vector_lanes) = (4, 4));
    (1..=4).filter(|&columns| columns != 3).for_each(|columns| accepted(|f| f.columns = columns));
    accepted(|f| f.channel_bytes = 1 << 20);
    accepted(|f| (f.slots, f.columns, f.vector_lanes) = (32, 32, 32));
    accepted(|f| (f.slots, f.columns, f.vector_lanes) = (1, 1, 1));
    accepted(|f| (f.vb_lines, f.ab_blocks, f.acc_rows, f.score_tokens) = (65_536, 65_536, 65_536, 32_768));
    accepted(|f| (f.vb_lines, f.ab_blocks, f.acc_rows, f.score_tokens) = (16, 4, 16, 32));
    accepted(|f| f.clock_hz = 1_000_000);
    accepted(|f| f.clock_hz = 1_000_000_000);
    accepted(|f| f.name = format!("a{}", "9".repeat(31)));
}

#[test]
fn each_lower_limit_is_refused_below() {
    assert_snapshot!(refusal(|f| f.channels = 0), @"config.channels = 0: must be from 1 to 32, because a card has at most 32 memory channels");
    assert_snapshot!(refusal(|f| f.beat_bytes = 8), @"config.beat_bytes = 8: must be from 16 to 64, because AXI4 data buses here are 128 to 512 bits wide");
    assert_snapshot!(refusal(|f| f.channel_bytes = (1 << 20) - 4096), @"config.channel_bytes = 1044480: must be from 1048576 to 1099511627776, because addresses inside a channel are 40 bits");
    assert_snapshot!(refusal(|f| f.slots = 0), @"config.slots = 0: must be from 1 to 32, because the Index Register has 32 bits");
    assert_snapshot!(refusal(|f| f.columns = 0), @"config.columns = 0: must be from 1 to 4, because a column serves one slot at a time");
    assert_snapshot!(refusal(|f| f.vector_lanes = 0), @"config.vector_lanes = 0: must be from 1 to 32, because a line of the vector buffer has 32 words");
    assert_snapshot!(refusal(|f| f.vb_lines = 15), @"config.vb_lines = 15: must be from 16 to 65536, because a command names a line in 16 bits");
    assert_snapshot!(refusal(|f| f.ab_blocks = 3), @"config.ab_blocks = 3: must be from 4 to 65536, because a command names a block in 16 bits");
    assert_snapshot!(refusal(|f| f.acc_rows = 0), @"config.acc_rows = 0: must be from 16 to 65536, because the accumulator RAM is addressed in 16 bits");
    assert_snapshot!(refusal(|f| f.score_tokens = 0), @"config.score_tokens = 0: must be from 32 to 32768, because weighted sums of values must fit 48 bits");
    assert_snapshot!(refusal(|f| f.clock_hz = 999_999), @"config.clock_hz = 999999: must be from 1000000 to 1000000000, because this is the range of FPGA kernel clocks");
}

#[test]
fn each_upper_limit_is_refused_above() {
    type Change = (&'static str, fn(&mut ConfigFields));
    let changes: [Change; 11] = [
        ("channels", |f| f.channels = 64),
        ("beat_bytes", |f| f.beat_bytes = 128),
        ("channel_bytes", |f| f.channel_bytes = (1 << 40) + 4096),
        ("slots", |f| f.slots = 33),
        ("columns", |f| f.columns = f.slots + 1),
        ("vector_lanes", |f| f.vector_lanes = 64),
        ("vb_lines", |f| f.vb_lines = 65_537),
        ("ab_blocks", |f| f.ab_blocks = u32::MAX),
        ("acc_rows", |f| f.acc_rows = 65_552),
        ("score_tokens", |f| f.score_tokens = 32_800),
        ("clock_hz", |f| f.clock_hz = u64::MAX),
    ];
    for (field, change) in changes {
        let text = refusal(change);
        assert!(text.starts_with(&format!("config.{field} = ")) && text.contains("must be from "), "{text}");
    }
}

#[test]
fn powers_and_multiples_are_held() {
    assert_snapshot!(refusal(|f| f.channels = 3), @"config.channels = 3: must be a power of two, because records are dealt to channels by address bits");
    assert_snapshot!(refusal(|f| f.beat_bytes = 48), @"config.beat_bytes = 48: must be a power of two, because AXI4 data buses are");
    assert_snapshot!(refusal(|f| f.channel_bytes += 64), @"config.channel_bytes = 268435520: must be a multiple of 4096, because a burst may not cross a 4 KB page");
    assert_snapshot!(refusal(|f| f.vector_lanes = 12), @"config.vector_lanes = 12: must be a power of two, because a line is processed in whole groups of lanes");
    assert_snapshot!(refusal(|f| f.acc_rows = 48), @"config.acc_rows = 48: must be a power of two, because products follow each other around the accumulator RAM");
    assert_snapshot!(refusal(|f| f.columns = 3), @"config.columns = 3: must be a multiple of 2, because attention weighs values in pairs of columns, or in a single one");
    assert_snapshot!(refusal(|f| f.channels = 8), @"config.channels = 8: must be from 1 to 4, because a row of a product comes from each in a cycle, and a lane of the vector unit takes one");
    assert_snapshot!(refusal(|f| f.score_tokens = 40), @"config.score_tokens = 40: must be a multiple of 32, because the KV cache is read in blocks of 32 tokens");
}

#[test]
fn names_are_names() {
    for name in ["", "9a", "A", "a-b", "a b", "ä", "_a", &"a".repeat(33), "a/../b"] {
        let text = refusal(|f| f.name = name.to_owned());
        assert!(text.starts_with(&format!("config.name = '{name}': must be 1 to 32")), "{text}");
    }
}

#[test]
fn text_errors_name_the_key() {
    let toml = |text: &str| AccelConfig::from_toml(text).unwrap_err().to_string();
    let unknown = format!("{}lanes = 3\n", AccelConfig::preset("tiny").unwrap().to_toml());
    assert!(toml(&unknown).contains("unknown field `lanes`"), "{}", toml(&unknown));
    assert!(toml("name = \"x\"").contains("missing field `channels`"));
    assert!(toml("name = ").starts_with("configuration text: "));
    let negative = AccelConfig::preset("tiny").unwrap().to_toml().replace("slots = 4", "slots = -4");
    assert!(matches!(AccelConfig::from_toml(&negative), Err(ConfigError::Toml { .. })));
    let unknown = AccelConfig::preset("u250").unwrap_err();
    assert_snapshot!(unknown, @"no preset is named 'u250'; the presets are tiny, edge, u50, u55c, u280");
}
