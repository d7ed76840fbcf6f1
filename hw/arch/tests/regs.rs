//! Register map: aligned, without overlaps, and what a Vitis RTL kernel needs.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::isa::ISA_VERSION;
use fastcar_arch::regs::{Access, ERROR_CODES, MAGIC, MAP_BYTES, Register, RegisterMap, Reset, UNITS};
use std::collections::BTreeSet;

fn maps() -> Vec<(AccelConfig, RegisterMap)> {
    let shaped = |channels| {
        let mut fields = AccelConfig::preset("tiny").expect("it is valid").fields().clone();
        (fields.channels, fields.vector_lanes) = (channels, 16);
        AccelConfig::new(fields).expect("it is valid")
    };
    let presets = AccelConfig::PRESETS.iter().map(|name| AccelConfig::preset(name).expect("it is valid"));
    presets.chain([2, 8, 16].map(shaped)).map(|c| (c.clone(), RegisterMap::new(&c))).collect()
}

fn end(register: &Register) -> u32 {
    register.offset + register.bits / 8
}

#[test]
fn registers_are_aligned_and_do_not_overlap() {
    for (config, map) in maps() {
        let registers = map.registers();
        assert!(registers.is_sorted_by(|a, b| end(a) <= b.offset), "{}", config.name());
        for r in registers {
            assert!(matches!(r.bits, 32 | 64) && r.offset.is_multiple_of(r.bits / 8), "{}", r.name);
            assert!(end(r) <= MAP_BYTES && !r.doc.is_empty(), "{}", r.name);
        }
        let names: BTreeSet<&str> = registers.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names.len(), registers.len());
    }
}

#[test]
fn bit_fields_do_not_overlap() {
    for register in RegisterMap::new(&AccelConfig::preset("tiny").unwrap()).registers() {
        let mut taken = 0u64;
        for field in register.fields {
            let mask = ((1u64 << field.width) - 1) << field.low;
            assert_eq!(taken & mask, 0, "{}.{}", register.name, field.name);
            assert!(field.width > 0 && field.low + field.width <= register.bits && !field.doc.is_empty());
            taken |= mask;
        }
    }
}

#[test]
fn control_is_that_of_a_vitis_kernel() {
    let map = RegisterMap::new(&AccelConfig::preset("u55c").unwrap());
    let offsets = ["CTRL", "GIE", "IER", "ISR", "PROGRAM"].map(|name| map.get(name).unwrap().offset);
    assert_eq!(offsets, [0, 4, 8, 12, 16]);
    let bits: Vec<(&str, u32)> = map.get("CTRL").unwrap().fields.iter().map(|f| (f.name, f.low)).collect();
    let expected = [
        ("ap_start", 0),
        ("ap_done", 1),
        ("ap_idle", 2),
        ("ap_ready", 3),
        ("ap_continue", 4),
        ("auto_restart", 7),
    ];
    assert_eq!(bits, expected);
    assert_eq!(map.get("CTRL").unwrap().reset, Reset::Value(4));
}

#[test]
fn arguments_count_up_and_name_their_ports() {
    for (config, map) in maps() {
        let arguments: Vec<_> = map.arguments().collect();
        assert_eq!(arguments.len() as u32, 4 + config.channels());
        for (i, (argument, register)) in arguments.iter().enumerate() {
            assert_eq!((argument.index as usize, register.access), (i, Access::ReadWrite));
            assert_eq!(argument.port.is_some(), register.bits == 64, "pointers are 64 bits wide");
        }
        let ports: Vec<&str> = arguments[4..].iter().filter_map(|(a, _)| a.port.as_deref()).collect();
        let expected: Vec<String> = (0..config.channels()).map(|c| format!("m_axi_gmem{c}")).collect();
        assert_eq!(ports, expected);
    }
}

#[test]
fn what_a_card_is_stands_where_it_does_not_depend_on_what_it_is() {
    let fixed = |map: &RegisterMap| {
        let registers = map.registers().iter().filter(|r| r.channel.is_none());
        registers.map(|r| (r.name.clone(), r.offset)).collect::<Vec<_>>()
    };
    let all = maps();
    for (_, map) in &all {
        assert_eq!(fixed(map), fixed(&all[0].1));
    }
}

#[test]
fn constants_describe_the_configuration() {
    for (config, map) in maps() {
        let value = |name: &str| match map.get(name).unwrap().reset {
            Reset::Value(v) | Reset::Constant(v) | Reset::Configuration(v) => v,
            Reset::Identity(_) => panic!("{name} is a word of the identity"),
        };
        let fields = config.fields();
        assert_eq!((value("MAGIC"), value("ISA_VERSION")), (MAGIC.into(), ISA_VERSION.into()));
        assert_eq!(value("CHANNELS"), fields.channels.into());
        assert_eq!(value("BEAT_BYTES"), fields.beat_bytes.into());
        assert_eq!(value("CHANNEL_BYTES"), fields.channel_bytes);
        assert_eq!(value("SLOTS"), fields.slots.into());
        assert_eq!(value("COLUMNS"), fields.columns.into());
        assert_eq!(value("VECTOR_LANES"), fields.vector_lanes.into());
        assert_eq!(value("VB_LINES"), fields.vb_lines.into());
        assert_eq!(value("AB_BLOCKS"), fields.ab_blocks.into());
        assert_eq!(value("ACC_ROWS"), fields.acc_rows.into());
        assert_eq!(value("SCORE_TOKENS"), fields.score_tokens.into());
        assert_eq!(value("MAIN_BEATS"), fields.main_beats.into());
        assert_eq!(value("AHEAD_BEATS"), fields.ahead_beats.into());
        assert_eq!(value("RECORD_BEATS"), fields.record_beats.into());
        assert_eq!(value("WRITE_BEATS"), fields.write_beats.into());
        assert_eq!(value("READ_BURSTS"), fields.read_bursts.into());
        assert_eq!(value("CLOCK_HZ"), fields.clock_hz);
        let configuration = map.registers().iter().filter(|r| matches!(r.reset, Reset::Configuration(_)));
        assert_eq!(configuration.count(), 16, "every field but the name");
    }
}

#[test]
fn identity_words_follow_each_other() {
    let config = AccelConfig::preset("u50").unwrap();
    let map = RegisterMap::new(&config);
    let first = map.get("IDENTITY0").unwrap().offset;
    for word in 0..8 {
        let register = map.get(&format!("IDENTITY{word}")).unwrap();
        assert_eq!((register.offset, register.reset), (first + 4 * word as u32, Reset::Identity(word)));
    }
    let identity = Identity::of(&config);
    assert_eq!(Identity::from_words(identity.words()), identity);
}

#[test]
fn every_unit_and_channel_is_counted() {
    for (config, map) in maps() {
        for unit in UNITS {
            for what in ["BUSY", "STALLED"] {
                assert_eq!(map.get(&format!("{}_{what}", unit.name)).unwrap().bits, 64);
            }
        }
        for channel in 0..config.channels() {
            for what in ["READ_BYTES", "WRITE_BYTES"] {
                let register = map.get(&format!("{what}{channel}")).unwrap();
                assert_eq!((register.bits, register.channel), (64, Some(channel)));
            }
        }
        assert_eq!(map.get(&format!("READ_BYTES{}", config.channels())), None);
    }
}

#[test]
fn offsets_find_their_register() {
    let map = RegisterMap::new(&AccelConfig::preset("edge").unwrap());
    for register in map.registers() {
        for offset in register.offset..end(register) {
            assert_eq!(map.at(offset), Some(register));
        }
    }
    assert_eq!((map.at(MAP_BYTES), map.at(0x1F0)), (None, None));
}

#[test]
fn error_codes_count_up() {
    assert!(ERROR_CODES.iter().enumerate().all(|(i, e)| e.0 as usize == i));
}
