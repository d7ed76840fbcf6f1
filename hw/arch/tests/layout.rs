//! Layouts: every datum has a place of its own, inside the room that the layout asks for.

use fastcar_arch::config::{AccelConfig, KV_BLOCK_TOKENS, ROW_GRANULE};
use fastcar_arch::isa::WeightFormat;
use fastcar_arch::layout::{KvLayout, ListLayout, MemoryMap, PAGE_BYTES, Place, RecordLayout, WeightLayout};
use fastcar_arch::units::Bytes;
use insta::assert_snapshot;
use proptest::prelude::*;

/// Which bytes of every channel are taken.
struct Image {
    taken: Vec<Vec<bool>>,
}

impl Image {
    fn new(config: &AccelConfig, local: Bytes) -> Self {
        Self { taken: vec![vec![false; local.get() as usize]; config.channels() as usize] }
    }

    /// Takes bytes that nobody has; panics when they are taken or outside.
    fn take(&mut self, place: Place, bytes: u64) {
        let range = place.offset as usize..(place.offset + bytes) as usize;
        for byte in &mut self.taken[place.channel][range] {
            assert!(!*byte, "{place:?} is taken");
            *byte = true;
        }
    }
}

fn preset() -> impl Strategy<Value = AccelConfig> {
    (0..AccelConfig::PRESETS.len())
        .prop_map(|i| AccelConfig::preset(AccelConfig::PRESETS[i]).expect("it is valid"))
}

fn format() -> impl Strategy<Value = WeightFormat> {
    prop_oneof![Just(WeightFormat::Int8), Just(WeightFormat::Fp4)]
}

/// Presets, and machines of any channel count and beat.
fn config() -> impl Strategy<Value = AccelConfig> {
    let shaped = (0u32..6, 4u32..7).prop_map(|(channels, beat)| {
        let mut fields = AccelConfig::preset("tiny").expect("it is valid").fields().clone();
        (fields.channels, fields.beat_bytes, fields.vector_lanes) = (1 << channels, 1 << beat, 32);
        AccelConfig::new(fields).expect("it is valid")
    });
    prop_oneof![preset(), shaped]
}

fn check_weights(config: &AccelConfig, rows: u32, blocks: u32, format: WeightFormat) {
    let layout = WeightLayout::new(config, rows, blocks, format);
    let (elem_bytes, run) = (WeightLayout::elem_bytes_of(format), layout.block_run().get());
    let mut image = Image::new(config, layout.local_bytes());
    assert_eq!(layout.local_bytes().get() % config.beat().get(), 0);
    for block in 0..u64::from(blocks) {
        for row in 0..u64::from(rows) {
            let (scale, elements) = layout.place(row, block);
            let dealt = (row % u64::from(config.channels())) as usize;
            assert_eq!((scale.channel, elements.channel), (dealt, dealt));
            // A block's bytes lie in its own run: skipping the block skips the run.
            assert_eq!((scale.offset / run, (elements.offset + elem_bytes - 1) / run), (block, block));
            assert_eq!(elements.offset % elem_bytes.min(config.beat().get()), 0);
            image.take(scale, 1);
            image.take(elements, elem_bytes);
        }
    }
}

fn check_groups(config: &AccelConfig, rows: u32, format: WeightFormat) {
    let layout = WeightLayout::new(config, rows, 2, format);
    let elem_bytes = WeightLayout::elem_bytes_of(format);
    // Channel 0 holds the most rows; what it has room for beyond them is padding.
    let held: Vec<u64> = layout.rows_of(0).collect();
    let (mut next, mut end, mut placed) = (0, 0, 0);
    for group in layout.groups() {
        // Groups follow each other without gaps, in rows and in bytes: one burst reads a block run.
        assert_eq!((group.first_row, group.scales), (next, end));
        assert_eq!(group.elements, group.scales + config.beat().get());
        for (i, &row) in held.iter().skip(group.first_row as usize).take(group.rows as usize).enumerate() {
            let (i, (scale, elements)) = (i as u64, layout.place(row, 0));
            assert_eq!((scale.offset, elements.offset), (group.scales + i, group.elements + i * elem_bytes));
            placed += 1;
        }
        (next, end) = (next + group.rows, group.elements + group.rows * elem_bytes);
    }
    assert_eq!((next, end, placed), (layout.chunk_rows(), layout.block_run().get(), held.len()));
}

fn check_kv(config: &AccelConfig, kv_heads: u32, head_dim: u32, tokens: u32) {
    let layout = KvLayout::new(config, kv_heads, head_dim, tokens);
    let (scales, elements) = (u64::from(head_dim / 32), u64::from(head_dim));
    let mut image = Image::new(config, layout.local_bytes());
    assert_eq!(layout.local_bytes().get() % config.beat().get(), 0);
    for head in 0..u64::from(kv_heads) {
        for token in 0..u64::from(tokens) {
            let at = layout.token(head, token);
            let block = layout.block_place(head, token / u64::from(KV_BLOCK_TOKENS));
            assert_eq!(at.channel, block.channel);
            let inside = block.offset..block.offset + layout.block_bytes().get();
            for (offset, bytes) in
                [(at.key_scales, scales), (at.value_scales, scales), (at.key, elements), (at.value, elements)]
            {
                assert!(inside.contains(&offset) && offset + bytes <= inside.end);
                image.take(Place { channel: at.channel, offset }, bytes);
            }
        }
    }
}

fn check_record(config: &AccelConfig, bytes: u64) {
    let layout = RecordLayout::new(config);
    let mut image = Image::new(config, layout.local_bytes(bytes));
    let mut next = 0;
    for (place, range) in layout.pieces(bytes) {
        assert_eq!(range.start, next);
        assert!(!range.is_empty() && range.len() as u64 <= config.beat().get());
        next = range.end;
        image.take(place, range.len() as u64);
    }
    assert_eq!(next as u64, bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn weights_do_not_overlap(config in config(), rows in 1u32..1500, blocks in 1u32..4, format in format()) {
        check_weights(&config, rows, blocks, format);
        check_groups(&config, rows, format);
    }

    #[test]
    fn caches_do_not_overlap(config in config(), heads in 1u32..48, dim in 1u32..5, tokens in 1u32..150) {
        check_kv(&config, heads, dim * 32, tokens);
    }

    #[test]
    fn used_blocks_are_those_of_the_first_tokens(
        config in config(), heads in 1u32..48, dim in 1u32..5, tokens in 1u32..150, more in 0u32..150,
    ) {
        let layout = KvLayout::new(&config, heads, dim * 32, tokens + more);
        let used: Vec<_> = layout.used(tokens.into()).collect();
        let within = |at: u64| used.iter().any(|r| r.contains(&at));
        for token in 0..tokens + more {
            let first = (0..heads).map(|head| layout.token(head.into(), token.into()));
            let first = first.filter(|p| !within(p.key_scales) || !within(p.value + u64::from(dim) * 32 - 1));
            prop_assert!(token >= tokens || first.count() == 0, "token {token}");
        }
        // No room for other positions is in them.
        let length = |layout: KvLayout| layout.used(tokens.into()).map(|r| r.end - r.start).sum::<u64>();
        prop_assert_eq!(length(layout), length(KvLayout::new(&config, heads, dim * 32, tokens)));
        prop_assert!(used.iter().all(|r| r.end <= layout.local_bytes().get()));
    }

    #[test]
    fn records_do_not_overlap(config in config(), bytes in 0u64..20_000) {
        check_record(&config, bytes);
    }

    #[test]
    fn rows_are_dealt_once(config in config(), rows in 1u32..100_000) {
        let layout = WeightLayout::new(&config, rows, 1, WeightFormat::Fp4);
        let channels = config.channels() as usize;
        let mut channel_of = vec![None; rows as usize];
        for channel in 0..channels {
            let mut held = 0;
            for (nth, row) in layout.rows_of(channel).enumerate() {
                prop_assert_eq!(channel_of[row as usize].replace(channel), None);
                // One row a cycle from each channel is the rows in order.
                prop_assert_eq!(row, (nth * channels + channel) as u64);
                prop_assert_eq!(layout.place(row, 0).0.channel, channel);
                held += 1;
            }
            prop_assert!(held <= layout.chunk_rows());
        }
        prop_assert!(channel_of.iter().all(Option::is_some));
        let granule = u64::from(ROW_GRANULE);
        let needed = u64::from(rows).div_ceil(channels as u64).next_multiple_of(granule);
        prop_assert_eq!(layout.chunk_rows(), needed);
    }

    #[test]
    fn regions_do_not_overlap(config in config(), sizes in proptest::collection::vec(0u64..100_000, 1..9)) {
        let mut map = MemoryMap::new(&config);
        for size in &sizes {
            let start = map.allocate("r", Bytes(*size)).unwrap();
            prop_assert_eq!(start % PAGE_BYTES, 0);
        }
        prop_assert!(map.regions().is_sorted_by(|a, b| a.start + a.size.get() <= b.start));
        prop_assert!(map.regions().iter().zip(&sizes).all(|(r, size)| r.size.get() >= *size));
    }
}

#[test]
fn layouts_hold_for_every_preset() {
    for name in AccelConfig::PRESETS {
        let config = AccelConfig::preset(name).unwrap();
        for format in [WeightFormat::Int8, WeightFormat::Fp4] {
            for rows in [1, 16, 17, 64, 513, 2048] {
                check_weights(&config, rows, 3, format);
                check_groups(&config, rows, format);
            }
        }
        for (kv_heads, head_dim, tokens) in
            [(1, 32, 33), (4, 64, 96), (5, 32, 70), (32, 128, 40), (40, 32, 1)]
        {
            check_kv(&config, kv_heads, head_dim, tokens);
        }
        for bytes in [0, 1, 16, 64, 2048, 2049] {
            check_record(&config, bytes);
        }
    }
}

#[test]
fn sizes_of_records() {
    let layout = RecordLayout::new(&AccelConfig::preset("u55c").unwrap());
    assert_eq!(layout.vector_bytes(4096), Bytes(4096 * 4 / 32));
    assert_eq!(layout.act_bytes(128), Bytes((128_u64 * 33).div_ceil(2048) * 64));
}

/// Every block of a list stands on the channel that holds it, and nothing twice.
#[test]
fn lists_are_where_their_blocks_are() {
    for (preset, kv_heads) in [("tiny", 1), ("tiny", 3), ("edge", 1), ("edge", 3), ("edge", 8), ("u55c", 5)] {
        let config = AccelConfig::preset(preset).unwrap();
        let (pos, entries) =
            (32 * 37 + 31, ListLayout::most_entries(&config, config.slots(), kv_heads).min(40));
        let (lists, cache) =
            (ListLayout::new(&config, kv_heads, entries), KvLayout::new(&config, kv_heads, 64, 2048));
        let of =
            |head: u32| (0..38).filter(move |block| block % 3 != head % 3).map(|block| (block, block + 1));
        let all: Vec<Vec<_>> = (0..kv_heads).map(|head| of(head).collect()).collect();
        let record = lists.record(pos, &all);
        let word = |channel: usize, at: u64| {
            let bytes: [u8; 8] = record[channel][at as usize..][..8].try_into().unwrap();
            (u64::from_le_bytes(bytes) as u32, (u64::from_le_bytes(bytes) >> 32) as u32)
        };
        for (head, list) in (0..).zip(&all) {
            let mut found = Vec::new();
            for residue in 0..lists.share() {
                let place = lists.place(head, residue);
                let channel = place.header.channel;
                let (count, own) = word(channel, place.header.offset);
                assert!(count <= lists.rows(37, residue));
                for entry in 0..u64::from(count) {
                    let (row, mask) = word(channel, place.entries + 8 * entry);
                    let block = row * lists.share() + residue;
                    assert_eq!(cache.block_place(head.into(), block.into()).channel, channel);
                    found.push((block, mask));
                }
                found.extend((own != 0).then_some((37, own)));
            }
            found.sort_unstable();
            assert_eq!(&found, list);
        }
        assert!(record.iter().all(|bytes| bytes.len() as u64 == lists.local_bytes().get()));
    }
}

#[test]
fn a_full_map_says_what_is_left() {
    let mut map = MemoryMap::new(&AccelConfig::preset("tiny").unwrap());
    assert_eq!((map.used(), map.allocate("weights", Bytes(1))), (Bytes(0), Ok(0)));
    assert_eq!(map.used(), Bytes(PAGE_BYTES));
    let full = map.allocate("kv cache", Bytes(256 << 20)).unwrap_err();
    assert_snapshot!(full, @"memory map: region 'kv cache' needs 268435456 bytes on each channel, 268431360 bytes of 268435456 bytes are left; use fewer slots, a smaller weight format, or a board with more memory");
    assert!(map.allocate("endless", Bytes(u64::MAX)).is_err());
    assert_eq!(map.allocate("rest", Bytes((256 << 20) - PAGE_BYTES)), Ok(PAGE_BYTES));
    assert!(map.allocate("one more", Bytes(1)).is_err());
    assert_eq!(map.regions().len(), 2);
}
