//! The levels of logic that are counted between registers, on circuits whose depth is known.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use fastcar_hw::rtl::{Builder, RamStyle, RtlError, Wire, emit};
use fastcar_tests::TestResult;
use fastcar_tests::rtl::{Depth, depth, gather, skipped};

/// The depth of what lies between two registers, of which the first has the width.
fn between(
    width: u32,
    f: impl for<'m> Fn(&'m Builder, Wire<'m>) -> Wire<'m>,
) -> Result<Depth, Box<dyn std::error::Error>> {
    let m = Builder::new("between");
    let first = m.register("first", m.input("data_i", width));
    m.output("data_o", m.register("last", f(&m, first)));
    Ok(depth(&emit(&m.finish()?)?)?)
}

/// A table takes six bits, and a register behind a register has no table between.
#[test]
fn six_bits_are_a_level() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let found = between(6, |_, first| first.parity())?;
    assert_eq!((found.levels, found.to.as_str()), (1, "last.D"), "{found:?}");
    assert!(found.from.starts_with("first["), "{found:?}");
    assert_eq!(between(6, |_, first| first)?.levels, 0);
    Ok(())
}

/// The carry chain of a sum is not counted, nor what happens within a DSP block; the table before the chain is.
#[test]
fn chains_and_dsp_blocks_are_not_counted() -> TestResult {
    if skipped() {
        return Ok(());
    }
    assert_eq!(between(64, |_, first| first.slice(0, 32) + first.slice(32, 32))?.levels, 1);
    // A table before either chain, which ABC cannot move through it, and one behind.
    let twice = between(64, |_, first| {
        let operand = |index: u32| first.slice(16 * index, 16);
        let second = ((operand(0) + operand(1)) ^ operand(2)) + operand(3);
        second.slice(10, 6).parity()
    })?;
    assert_eq!(twice.levels, 3, "{twice:?}");
    assert_eq!(between(32, |_, first| first.slice(0, 16).mul_signed(first.slice(16, 16)))?.levels, 0);
    Ok(())
}

/// From a register through the address of a distributed RAM, which is a level, and to a port.
#[test]
fn a_read_of_distributed_ram_is_a_level() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let m = Builder::new("ram_read");
    let ram = m.memory("words", 4, 32, RamStyle::Distributed);
    let (enable, address) = (m.input("enable_i", 1), m.input("address_i", 5));
    ram.write(enable, address, m.input("data_i", 4));
    m.output("data_o", ram.read(m.register("address", m.input("read_i", 5))));
    let found = depth(&emit(&m.finish()?)?)?;
    assert_eq!(found.levels, 1, "{found:?}");
    assert!(found.to.starts_with("data_o"), "{found:?}");
    Ok(())
}

/// A path goes through modules as through one.
#[test]
fn modules_are_looked_through() -> TestResult {
    if skipped() {
        return Ok(());
    }
    let m = Builder::new("reduction");
    m.output("data_o", m.input("data_i", 6).all());
    let found = depth(&emit(&gather("around", &[("inner", m.finish()?)])?)?)?;
    assert_eq!((found.levels, found.to.as_str()), (1, "inner_data_o"), "{found:?}");
    Ok(())
}

/// A design without a path of any length has none.
#[test]
fn a_constant_has_no_depth() -> Result<(), RtlError> {
    if skipped() {
        return Ok(());
    }
    let m = Builder::new("constant");
    m.output("data_o", m.lit(1, 1));
    let found = depth(&emit(&m.finish()?)?).unwrap();
    assert_eq!(found, Depth { levels: 0, from: String::new(), to: String::new() });
    Ok(())
}
