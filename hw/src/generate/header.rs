//! `fastcar_registers.h`: the register map for programs in C.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::{ERROR_CODES, MAP_BYTES, Register, RegisterMap, Reset};
use std::fmt::Write;

const RULES: &str = "\
/*
 * The AXI4-Lite slave s_axi_control. Of each register: FASTCAR_REG_<name>_OFFSET in bytes (the low word; the high word
 * of a register of 64 bits is 4 bytes on), _BITS, _RESET (its value after reset), _ARGUMENT (its number, if it is a
 * kernel argument). Of each field: FASTCAR_REG_<name>_<FIELD>_SHIFT and _MASK, in place.
 */
";

/// The header of a configuration.
pub(super) fn text(config: &AccelConfig) -> String {
    let identity = Identity::of(config);
    let mut out =
        format!("/* Registers of the fastcar kernel of configuration '{}'. Generated. */\n", config.name());
    out.push_str("#ifndef FASTCAR_REGISTERS_H\n#define FASTCAR_REGISTERS_H\n\n");
    let _ = writeln!(out, "#define FASTCAR_REG_IDENTITY \"{identity}\"");
    define(&mut out, "MAP_BYTES", format!("{MAP_BYTES:#x}u"));
    let _ = write!(out, "\n{RULES}");
    for map_register in RegisterMap::new(config).registers() {
        register(&mut out, map_register, &identity);
    }
    out.push_str("\n/* What the field CODE of ERROR says. */\n");
    for (code, name, doc) in ERROR_CODES {
        let _ = writeln!(out, "#define FASTCAR_ERROR_{} {code}u /* {doc} */", name.to_uppercase());
    }
    out.push_str("\n#endif\n");
    out
}

fn define(out: &mut String, name: &str, value: impl std::fmt::Display) {
    let _ = writeln!(out, "#define FASTCAR_REG_{name} {value}");
}

fn register(out: &mut String, register: &Register, identity: &Identity) {
    let name = &register.name;
    let _ = writeln!(out, "\n/* {}: {} */", register.access, register.doc);
    define(out, &format!("{name}_OFFSET"), format!("{:#05x}u", register.offset));
    define(out, &format!("{name}_BITS"), format!("{}u", register.bits));
    let suffix = if register.bits == 64 { "ull" } else { "u" };
    define(out, &format!("{name}_RESET"), format!("{:#x}{suffix}", reset(register, identity)));
    if let Some(argument) = &register.argument {
        define(out, &format!("{name}_ARGUMENT"), format!("{}u", argument.index));
    }
    for field in register.fields {
        let (field_name, mask) = (field.name.to_uppercase(), ((1u64 << field.width) - 1) << field.low);
        define(out, &format!("{name}_{field_name}_SHIFT"), format!("{}u", field.low));
        let meaning = format!("{mask:#x}u /* {}: {} */", field.access, field.doc);
        define(out, &format!("{name}_{field_name}_MASK"), meaning);
    }
}

fn reset(register: &Register, identity: &Identity) -> u64 {
    match register.reset {
        Reset::Value(value) | Reset::Constant(value) | Reset::Configuration(value) => value,
        Reset::Identity(word) => identity.words()[word].into(),
    }
}
