//! Board descriptions: complete, sourced, and honest about what fits.

use fastcar_arch::board::{Board, BoardError, BoardFields};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::units::Bytes;
use insta::assert_snapshot;
use std::path::Path;

fn board(name: &str) -> Board {
    Board::named(name).expect("it is valid")
}

fn refusal(change: impl FnOnce(&mut BoardFields)) -> String {
    let mut fields = board("u55c").fields().clone();
    change(&mut fields);
    Board::new(fields).expect_err("the board is refused").to_string()
}

#[test]
fn every_folder_is_a_board_of_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../constraints/boards");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut named = Board::NAMES.map(str::to_owned);
    found.sort_unstable();
    named.sort_unstable();
    assert_eq!(found, named);
    for name in Board::NAMES {
        assert_eq!(board(name).name(), name);
    }
}

#[test]
fn every_figure_has_a_source() {
    for name in Board::NAMES {
        for (figure, _, source) in board(name).figures() {
            assert!(source.len() >= 10 && source.ends_with('.'), "{name}: {figure}: '{source}'");
        }
    }
}

#[test]
fn uncertain_figures_say_so() {
    let uncertain = |name: &str, figure: &str| board(name).source(figure).starts_with("Uncertain");
    assert!(uncertain("u50", "memory.channel_rate_bytes_hz"));
    assert!(uncertain("u55c", "power.limit_w"));
    assert!(!uncertain("u280", "memory.channel_rate_bytes_hz"));
}

#[test]
fn bandwidths_add_up() {
    assert_eq!(board("u55c").peak_rate_bytes_hz(), 460_000_000_000);
    assert_eq!(board("u50").peak_rate_bytes_hz(), 316_000_000_000);
    assert_eq!(board("kv260").peak_rate_bytes_hz(), 19_200_000_000);
    assert_eq!(board("u55c").capacity(), Bytes(16 << 30));
    assert_eq!(board("zcu104").capacity(), Bytes(2 << 30));
}

#[test]
fn presets_fit_their_boards() {
    let fits = |name: &str, preset: &str| board(name).fits(&AccelConfig::preset(preset).unwrap()).is_ok();
    let table: Vec<(&str, Vec<&str>)> = Board::NAMES
        .iter()
        .map(|name| (*name, AccelConfig::PRESETS.into_iter().filter(|preset| fits(name, preset)).collect()))
        .collect();
    let expected = [
        ("u55c", vec!["tiny", "edge", "u50", "u55c", "u280"]),
        ("u50", vec!["tiny", "u50", "u280"]),
        ("u280", vec!["tiny", "u50", "u280"]),
        ("zcu104", vec!["tiny", "edge"]),
        ("kv260", vec!["tiny", "edge"]),
        ("zcu102", vec!["tiny", "edge"]),
    ];
    assert_eq!(table, expected);
}

#[test]
fn a_misfit_names_the_figure_and_a_way_out() {
    let misfit = |name: &str, preset: &str, change: fn(&mut fastcar_arch::config::ConfigFields)| {
        let mut fields = AccelConfig::preset(preset).unwrap().fields().clone();
        change(&mut fields);
        board(name).fits(&AccelConfig::new(fields).unwrap()).unwrap_err().to_string()
    };
    assert_snapshot!(misfit("kv260", "u55c", |_| {}), @"configuration 'u55c' does not fit board 'kv260': channels asks for 32 channels, the board has 4 channels; the nearest preset that fits is 'edge'");
    assert_snapshot!(misfit("u50", "u55c", |_| {}), @"configuration 'u55c' does not fit board 'u50': channel_bytes asks for 536870912 bytes, the board has 268435456 bytes; the nearest preset that fits is 'u280'");
    assert_snapshot!(misfit("kv260", "edge", |f| f.beat_bytes = 32), @"configuration 'edge' does not fit board 'kv260': beat_bytes asks for 32 bytes, the board has 16 bytes; the nearest preset that fits is 'edge'");
    assert_snapshot!(misfit("zcu104", "edge", |f| f.channel_bytes = 1 << 30), @"configuration 'edge' does not fit board 'zcu104': channel_bytes asks for 1073741824 bytes, the board has 536870912 bytes; the nearest preset that fits is 'edge'");
    assert_snapshot!(misfit("u55c", "tiny", |f| f.clock_hz = 500_000_000), @"configuration 'tiny' does not fit board 'u55c': clock_hz asks for 500000000 Hz, the board has 450000000 Hz; the nearest preset that fits is 'tiny'");
    let mut fields = board("zcu104").fields().clone();
    fields.memory.channel_bytes = 1 << 20;
    let none = Board::new(fields).unwrap().fits(&AccelConfig::preset("tiny").unwrap()).unwrap_err();
    assert_snapshot!(none, @"configuration 'tiny' does not fit board 'zcu104': channel_bytes asks for 268435456 bytes, the board has 1048576 bytes; no preset fits this board");
}

#[test]
fn texts_are_checked() {
    assert_snapshot!(refusal(|f| f.name = "U55C".to_owned()), @"board.name = 'U55C': must be of a-z, 0-9 and '_', because it names a folder");
    assert_snapshot!(refusal(|f| f.title = " ".to_owned()), @"board.title = ' ': must be a name to show");
    assert_snapshot!(refusal(|f| f.part = "u55c".to_owned()), @"board.part = 'u55c': must be a part number, such as xcu55c-fsvh2892-2L-e");
    assert_snapshot!(refusal(|f| f.platform.name = String::new()), @"board.platform.name = '': must be a platform name of letters, digits, '_', '-' and '.'");
    assert_snapshot!(refusal(|f| f.platform.shell = Some("a b".to_owned())), @"board.platform.shell = 'a b': must be a platform name of letters, digits, '_', '-' and '.'");
}

#[test]
fn figures_are_checked() {
    assert_snapshot!(refusal(|f| f.slrs = 0), @"board.slrs = 0: must be from 1 to 4, because a package holds at most 4 dies");
    assert_snapshot!(refusal(|f| f.resources.dsp = 0), @"board.resources.dsp = 0: must be from 1 to 20000, because no chip of these families holds none, or more");
    assert_snapshot!(refusal(|f| f.memory.channels = 33), @"board.memory.channels = 33: must be from 1 to 32, because a card has at most 32 memory channels");
    assert_snapshot!(refusal(|f| f.memory.channel_rate_bytes_hz = 14), @"board.memory.channel_rate_bytes_hz = 14: must be from 100000000 to 100000000000, because a channel that is slower or faster than any memory is a slip of units");
    assert_snapshot!(refusal(|f| f.memory.port_bits = 64), @"board.memory.port_bits = 64: must be 128, 256 or 512, because AXI4 data buses here are 128 to 512 bits wide");
    assert_snapshot!(refusal(|f| f.clock.default_hz = 500_000_000), @"board.clock.default_hz = 500000000: must be from 1000000 to 450000000, because the default is within the range");
    let changes: [fn(&mut BoardFields); 11] = [
        |f| f.resources.lut = 0,
        |f| f.resources.ff = 0,
        |f| f.resources.bram36 = 0,
        |f| f.resources.uram = 10_001,
        |f| f.memory.channel_bytes = 0,
        |f| f.memory.kernel_port_bits = 1024,
        |f| f.clock.max_hz = 2_000_000_000,
        |f| f.power.limit_w = 0,
        |f| f.pcie.as_mut().unwrap().generation = 0,
        |f| f.pcie.as_mut().unwrap().lanes = 32,
        |f| f.slrs = 5,
    ];
    for change in changes {
        let text = refusal(change);
        assert!(text.contains("must be ") && text.contains(", because "), "{text}");
    }
}

#[test]
fn sources_are_checked() {
    assert_snapshot!(refusal(|f| _ = f.sources.remove("power")), @r#"board.power.limit_w has no source: add sources."power.limit_w", with the document or how it was found"#);
    assert_snapshot!(refusal(|f| _ = f.sources.insert("part".to_owned(), " ".to_owned())), @r#"board.part has no source: add sources."part", with the document or how it was found"#);
    let stray = refusal(|f| _ = f.sources.insert("resources.luts".to_owned(), "A document.".to_owned()));
    assert!(
        stray.starts_with(
            r#"board.sources."resources.luts" is no figure of this board; the figures are part, slrs,"#
        ),
        "{stray}"
    );
    let pcie = Board::named("kv260").unwrap().fields().clone();
    let mut with_source = pcie.clone();
    with_source.sources.insert("pcie".to_owned(), "A document.".to_owned());
    assert!(
        matches!(Board::new(with_source), Err(BoardError::StraySource { .. })),
        "no link, no source for it"
    );
    assert!(Board::new(pcie).is_ok());
}

#[test]
fn text_errors_name_the_key() {
    let text = include_str!("../../../constraints/boards/u55c/board.toml");
    let toml = |text: &str| Board::from_toml(text).unwrap_err().to_string();
    assert!(toml(&text.replace("uram =", "ultraram =")).contains("unknown field `ultraram`"));
    assert!(toml(&text.replace("slrs = 3\n", "")).contains("missing field `slrs`"));
    assert!(toml(&text.replace("\"hbm2\"", "\"hbm3\"")).contains("unknown variant `hbm3`"));
    assert!(toml("x").starts_with("board text: "));
    assert_snapshot!(Board::named("vcu128").unwrap_err(), @"no board is named 'vcu128'; the boards are u55c, u50, u280, zcu104, kv260, zcu102");
}
