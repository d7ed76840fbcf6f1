//! Identity: one per configuration and contract, and the same everywhere.

mod common;

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_arch::identity::{Identity, contract};
use fastcar_arch::isa::{Command, ENUMS};
use fastcar_arch::regs::RegisterMap;
use insta::assert_snapshot;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn tiny() -> AccelConfig {
    AccelConfig::preset("tiny").expect("it is valid")
}

/// A changed identity makes every packed model and built image a stranger: it must be meant, and stand in the
/// changelog.
#[test]
fn presets_keep_their_identities() {
    let line = |name: &str| format!("{name} {}\n", Identity::of(&AccelConfig::preset(name).unwrap()));
    let text: String = AccelConfig::PRESETS.into_iter().map(line).collect();
    let command = "FASTCAR_BLESS=1 cargo test -p fastcar-arch --test identity";
    common::committed("hw/arch/tests/identities.txt", &text, command);
}

#[test]
fn every_field_changes_it() {
    let changes: [fn(&mut ConfigFields); 17] = [
        |f| f.name.push('x'),
        |f| f.channels = 2,
        |f| f.beat_bytes = 32,
        |f| f.channel_bytes *= 2,
        |f| f.slots += 1,
        |f| f.columns *= 2,
        |f| f.vector_lanes *= 2,
        |f| f.vb_lines += 1,
        |f| f.ab_blocks += 1,
        |f| f.acc_rows *= 2,
        |f| f.score_tokens += 32,
        |f| f.main_beats += 1,
        |f| f.ahead_beats += 1,
        |f| f.record_beats += 1,
        |f| f.write_beats += 1,
        |f| f.read_bursts += 1,
        |f| f.clock_hz += 1,
    ];
    let mut seen = BTreeSet::from([Identity::of(&tiny())]);
    for change in changes {
        let mut fields = tiny().fields().clone();
        change(&mut fields);
        assert!(seen.insert(Identity::of(&AccelConfig::new(fields).unwrap())));
    }
}

#[test]
fn every_fact_of_the_contract_is_in_it() {
    let text = contract(&tiny());
    let count = |word: &str| text.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!(count("command "), Command::TABLE.len());
    assert_eq!(count("field "), Command::TABLE.iter().map(|c| c.fields.len()).sum::<usize>());
    assert_eq!(count("value "), ENUMS.iter().map(|e| e.rows.len()).sum::<usize>());
    assert_eq!(count("register "), RegisterMap::new(&tiny()).registers().len());
    assert_eq!((count("table "), count("[")), (5, 5));
    assert!(text.contains("\nfield 16 8 gamma Addr\n") && text.contains("\nvalue 1 swiglu\n"));
}

proptest! {
    #[test]
    fn text_and_words_round_trip(bytes in any::<[u8; 32]>()) {
        let identity = Identity::from_bytes(bytes);
        prop_assert_eq!(identity.to_string().parse(), Ok(identity));
        prop_assert_eq!(identity.to_string().to_uppercase().parse(), Ok(identity));
        prop_assert_eq!(Identity::from_words(identity.words()), identity);
        prop_assert_eq!(identity.as_bytes(), &bytes);
        let json = serde_json::to_string(&identity).unwrap();
        prop_assert_eq!(&json, &format!("\"{identity}\""));
        prop_assert_eq!(serde_json::from_str::<Identity>(&json).unwrap(), identity);
    }

    #[test]
    fn any_text_parses_without_panic(text in "\\PC{0,70}") {
        let _ = text.parse::<Identity>();
    }
}

#[test]
fn short_is_the_start() {
    let identity = Identity::from_bytes(std::array::from_fn(|i| i as u8));
    assert_snapshot!(identity.short(), @"000102030405");
    assert_eq!(identity.words()[0], 0x0302_0100);
    assert_eq!(format!("{identity:?}"), format!("Identity({identity})"));
}

#[test]
fn other_text_is_refused() {
    let error = |text: &str| text.parse::<Identity>().unwrap_err().to_string();
    assert_snapshot!(error("0001"), @"identity '0001': must be 64 hexadecimal digits");
    for text in [&"g".repeat(64), &"0".repeat(63), &"0".repeat(65), &"ä".repeat(32), ""] {
        assert_eq!(error(text), format!("identity '{text}': must be 64 hexadecimal digits"));
    }
    assert!(serde_json::from_str::<Identity>("\"00\"").is_err());
}
