//! Step table and report.

use fastcar_arch::program::Limits;
use fastcar_arch::step::*;
use insta::assert_snapshot;
use proptest::prelude::*;

fn entry() -> impl Strategy<Value = SlotEntry> {
    (0u32..8, any::<u32>(), prop_oneof![Just(NO_RING), any::<u32>()], any::<[u32; 4]>())
        .prop_map(|(flags, pos, ring, token)| SlotEntry { flags, pos, ring, token, reserved: [0; 9] })
}

fn table() -> impl Strategy<Value = StepTable> {
    let gate = any::<(u32, u32)>().prop_map(|(allow, force)| GateEntry { allow, force });
    let (slots, gates) = (proptest::collection::vec(entry(), 0..=32), proptest::collection::vec(gate, 0..70));
    (slots, gates).prop_map(|(slots, gates)| StepTable { slots, gates })
}

fn limits(table: &StepTable) -> Limits {
    let (slots, gates) = (table.slots.len() as u32, table.gates.len() as u32);
    Limits { slots, positions: 300, ring: 64, tokens: 512, gates }
}

proptest! {
    #[test]
    fn tables_survive_bytes(table in table()) {
        let bytes = table.to_bytes(limits(&table));
        prop_assert_eq!(bytes.len(), SLOT_BYTES * (1 + table.slots.len()) + 8 * table.gates.len());
        prop_assert_eq!(StepTable::from_bytes(&bytes), Ok((table.clone(), limits(&table))));
    }

    #[test]
    fn any_other_length_is_refused(table in table(), cut in 1usize..200) {
        let mut bytes = table.to_bytes(limits(&table));
        bytes.push(0);
        prop_assert!(StepTable::from_bytes(&bytes).is_err());
        bytes.truncate(bytes.len().saturating_sub(1 + cut));
        prop_assert!(StepTable::from_bytes(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(raw in proptest::collection::vec(any::<u8>(), 0..300), head in 0u8..4) {
        let _ = StepTable::from_bytes(&raw);
        let mut raw = raw;
        raw.resize(raw.len().max(8), 0);
        raw[..8].copy_from_slice(&[head, 0, 0, 0, head, 0, 0, 0]);
        let _ = StepTable::from_bytes(&raw);
    }

    #[test]
    fn masks_hold_active_slots(table in table()) {
        for flag in [ACTIVE, OUTPUT, PAIRED] {
            for i in 0..32 {
                let has = table.slots.get(i).is_some_and(|s| s.flags & ACTIVE != 0 && s.flags & flag != 0);
                prop_assert_eq!(table.mask(flag) >> i & 1 == 1, has);
            }
        }
    }
}

#[test]
fn impossible_heads_are_refused() {
    let mut raw = vec![0; 64 * 34];
    raw[0] = 33;
    let error = StepTable::from_bytes(&raw).unwrap_err();
    assert_snapshot!(error, @"step table: head says 33 slots (at most 32) and 0 gates, which is 2176 bytes, but 2176 bytes are given");
    raw[..8].fill(0xFF);
    assert!(StepTable::from_bytes(&raw).is_err());
    let error = StepTable::from_bytes(&[1, 0, 0]).unwrap_err();
    assert_snapshot!(error, @"step table: head says 0 slots (at most 32) and 0 gates, which is 64 bytes, but 3 bytes are given");
}

#[test]
fn a_new_table_does_nothing() {
    let table = StepTable::new(4, 2);
    assert_eq!((table.mask(ACTIVE), table.slots[3].ring()), (0, None));
    assert!(table.gates.iter().all(|g| *g == GateEntry::default()));
    assert_eq!(SlotEntry { ring: 5, ..SlotEntry::idle() }.ring(), Some(5));
}

#[test]
fn more_slots_than_a_mask_has_bits_are_left_out() {
    let mut table = StepTable::new(40, 0);
    table.slots.iter_mut().for_each(|s| s.flags = ACTIVE);
    assert_eq!(table.mask(ACTIVE), u32::MAX);
}

#[test]
fn structures_have_the_sizes_of_the_page() {
    assert_eq!((size_of::<SlotEntry>(), size_of::<GateEntry>()), (SLOT_BYTES, 8));
    assert_eq!(size_of::<GateReport>(), 320);
    assert!(size_of::<GateReport>().is_multiple_of(64), "whole beats");
    assert!(GateReport::default().score.iter().all(|s| s.is_nan()));
}

#[test]
fn reports_survive_the_trip_through_memory() {
    let gate =
        |i: u32| GateReport { active: i, replay: i * 3, score: [i as f32; 32], ..GateReport::default() };
    let report = StepReport { gates: (0..5).map(gate).collect() };
    assert_eq!(StepReport::from_bytes(&report.to_bytes()), report);
}
