//! The resource model: what it counts, that it grows with every size, and that the presets fit their boards.

mod common;

use fastcar_arch::board::Board;
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::resources::{Amounts, BLESS, Resource, ResourceUse, Resources, markdown};
use std::collections::BTreeSet;

fn preset(name: &str) -> AccelConfig {
    AccelConfig::preset(name).expect("it is valid")
}

fn with(name: &str, change: impl FnOnce(&mut ConfigFields)) -> Resources {
    let mut fields = preset(name).fields().clone();
    change(&mut fields);
    Resources::of(&AccelConfig::new(fields).expect("it is valid"))
}

/// What all instances of a block take.
fn block(resources: &Resources, name: &str) -> Amounts {
    resources.blocks.iter().find(|b| b.name == name).expect("the block exists").total()
}

#[test]
fn page_is_up_to_date() {
    common::committed("docs/resources.md", &markdown(), BLESS);
}

/// Each preset on a board of its class, within the shares that designs are placed at.
#[test]
fn presets_fit_boards_of_their_class() {
    let classes = [("tiny", "kv260"), ("edge", "zcu104"), ("u50", "u50"), ("u55c", "u55c"), ("u280", "u280")];
    let mut beyond = Vec::new();
    for (name, board) in classes {
        let board = Board::named(board).unwrap();
        assert!(board.fits(&preset(name)).is_ok(), "{name}");
        for u in Resources::of(&preset(name)).fit(&board).iter().filter(|u| !u.fits()) {
            beyond.push(format!(
                "{name}: {} of {} {} are {:.1} %, the limit is {:.0} %",
                u.used,
                u.available,
                u.resource,
                100.0 * u.share,
                100.0 * u.limit
            ));
        }
    }
    assert!(beyond.is_empty(), "{beyond:#?}");
}

/// Figures that follow from the sizes alone, worked out by hand.
#[test]
fn large_memories_and_multipliers_are_counted_exactly() {
    let big = with("u55c", |f| {
        (f.channels, f.beat_bytes, f.slots, f.columns, f.vector_lanes) = (32, 64, 32, 4, 32);
        (f.vb_lines, f.ab_blocks, f.acc_rows, f.score_tokens) = (2048, 1024, 2048, 8192);
        (f.main_beats, f.ahead_beats, f.record_beats, f.write_beats) = (4096, 4096, 512, 512);
    });
    // 64 bytes a beat, 14 second codes of each group of 32, two pairs of columns, 32 clusters.
    assert_eq!(block(&big, "MAC array: products").dsp, (64 + 2 * 14) * 2 * 32);
    // A sum for each of four rows and columns.
    assert_eq!(block(&big, "MAC array: sums").dsp, 4 * 4 * 32);
    // 8 MB: lines of 32 words, two words a row of an UltraRAM, 4096 rows.
    assert_eq!(block(&big, "vector buffer").uram, 16 * (32 * 2048 / 4096));
    // 264 bits for each of 32 x 1024 blocks.
    assert_eq!(block(&big, "activation buffer").uram, 4 * 8);
    // 512 bits, 8192 beats.
    assert_eq!(block(&big, "stream buffers").uram, 8 * 2 * 32);
    // Four rows of four columns of 48 bits, 512 words.
    assert_eq!(block(&big, "accumulators").bram36, 11 * 32);
    // Two scores of 32 bits, 8192 tokens.
    assert_eq!(block(&big, "score buffer").uram, 2 * 32);
    // 512 bits, 512 beats.
    assert_eq!(block(&big, "record buffer").bram36, 8 * 32);
    // A bit for each of 32 slots and 2048 blocks.
    assert_eq!(block(&big, "block masks").bram36, 2);
    let single = with("u55c", |f| f.columns = 1);
    assert_eq!(
        block(&single, "MAC array: products").dsp,
        (64 + 2 * 14) * 32,
        "a single column takes half a pair"
    );
    let narrow = with("edge", |f| (f.channels, f.columns) = (4, 2));
    assert_eq!(block(&narrow, "MAC array: products").dsp, (16 + 16) * 4);
}

#[test]
fn totals_and_shares_add_up() {
    for name in AccelConfig::PRESETS {
        let resources = Resources::of(&preset(name));
        let names: BTreeSet<&str> = resources.blocks.iter().map(|b| b.name).collect();
        assert_eq!(names.len(), resources.blocks.len());
        for resource in Resource::ALL {
            let sum: u64 = resources.blocks.iter().map(|b| b.count * b.each.get(resource)).sum();
            assert_eq!(resources.total().get(resource), sum);
        }
        for b in &resources.blocks {
            assert!(Resource::ALL.iter().any(|&r| b.total().get(r) > 0), "{name}: {} takes nothing", b.name);
        }
        let uses = resources.fit(&Board::named("u55c").unwrap());
        assert_eq!(uses.iter().map(|u| u.resource).collect::<Vec<_>>(), Resource::ALL);
        for u in uses {
            assert_eq!(u.used, resources.total().get(u.resource));
            assert_eq!(u.share, u.used as f64 / u.available as f64);
        }
    }
    let limits = |board: &str| Resource::ALL.map(|r| r.limit(&Board::named(board).unwrap()));
    assert_eq!(limits("u55c"), [0.65, 0.65, 0.8, 0.8, 0.8]);
    assert_eq!(limits("kv260"), [0.7; 5]);
    let at = |share| ResourceUse { share, limit: 0.7, resource: Resource::Dsp, used: 7, available: 10 };
    assert!(at(0.7).fits() && !at(0.701).fits());
}

#[test]
fn block_rams_stand_in_where_there_is_no_ultra_ram() {
    let resources = Resources::of(&preset("edge"));
    let (total, uses) = (resources.total(), resources.fit(&Board::named("zcu102").unwrap()));
    let of = |r| uses.iter().find(|u| u.resource == r).map(|u| (u.used, u.available)).unwrap();
    assert!(total.uram > 0);
    assert_eq!(of(Resource::Uram), (0, 0));
    assert_eq!(of(Resource::Bram36), (total.bram36 + 8 * total.uram, 912));
    assert!(uses.iter().all(|u| u.share.is_finite()));
}

/// A larger machine never takes less of anything, and each size costs something.
#[test]
fn every_size_costs() {
    type Change = fn(&mut ConfigFields);
    let changes: [(&str, Change); 13] = [
        ("channels", |f| f.channels *= 2),
        ("beat_bytes", |f| f.beat_bytes *= 2),
        ("slots", |f| f.slots *= 2),
        ("columns", |f| f.columns *= 2),
        ("vector_lanes", |f| f.vector_lanes *= 2),
        ("vb_lines", |f| f.vb_lines *= 8),
        ("ab_blocks", |f| f.ab_blocks *= 8),
        ("acc_rows", |f| f.acc_rows *= 8),
        ("score_tokens", |f| f.score_tokens *= 8),
        ("main_beats", |f| f.main_beats *= 8),
        ("ahead_beats", |f| f.ahead_beats *= 8),
        ("record_beats", |f| f.record_beats *= 16),
        ("write_beats", |f| f.write_beats *= 16),
    ];
    for name in ["tiny", "edge"] {
        let before = Resources::of(&preset(name)).total();
        for (field, change) in changes {
            let after = with(name, change).total();
            // A memory may move from block RAM to UltraRAM, which holds eight times as much.
            let memory = |a: Amounts| a.bram36 + 8 * a.uram;
            assert!(after.lut >= before.lut && after.ff >= before.ff && after.dsp >= before.dsp, "{field}");
            assert!(after != before && memory(after) >= memory(before), "{name}: {field}");
        }
    }
}

#[test]
fn the_largest_and_smallest_machines_are_counted() {
    let largest = with("u55c", |f| {
        (f.slots, f.columns, f.vector_lanes, f.beat_bytes, f.channels) = (32, 32, 32, 64, 32);
        (f.vb_lines, f.ab_blocks, f.acc_rows, f.score_tokens) = (65_536, 65_536, 65_536, 32_768);
        (f.main_beats, f.ahead_beats, f.record_beats, f.write_beats) = (1 << 20, 1 << 20, 1 << 20, 1 << 20);
    });
    let uses = largest.fit(&Board::named("u55c").unwrap());
    let beyond: Vec<Resource> = uses.iter().filter(|u| u.share > 1.0).map(|u| u.resource).collect();
    assert_eq!(beyond, [Resource::Lut, Resource::Ff, Resource::Dsp, Resource::Uram]);
    let smallest = with("tiny", |f| {
        (f.slots, f.columns, f.vector_lanes, f.vb_lines, f.ab_blocks) = (1, 1, 1, 16, 4);
        (f.acc_rows, f.score_tokens) = (16, 32);
    });
    assert!(smallest.fit(&Board::named("kv260").unwrap()).iter().all(ResourceUse::fits));
}

#[test]
fn json_names_blocks_and_amounts() {
    let json = serde_json::to_value(Resources::of(&preset("tiny"))).unwrap();
    let lanes = json["blocks"].as_array().unwrap().iter().find(|b| b["name"] == "vector lane").unwrap();
    assert_eq!(lanes["count"], preset("tiny").vector_lanes());
    assert!(["lut", "ff", "dsp", "bram36", "uram"].iter().all(|key| lanes[key].is_u64()), "{lanes}");
}
