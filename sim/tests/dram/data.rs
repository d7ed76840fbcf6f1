//! Data files: valid as shipped, refused with reasons when they are not.

use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_sim::memory::{MemoryFields, MemorySpec};

fn fields() -> MemoryFields {
    MemorySpec::named("hbm2").expect("a memory of the project").fields().clone()
}

/// A change of a memory.
type Change<'a> = &'a dyn Fn(&mut MemoryFields);

/// The error of a memory after a change.
fn refused(change: impl FnOnce(&mut MemoryFields)) -> String {
    let mut fields = fields();
    change(&mut fields);
    MemorySpec::new(fields).expect_err("an invalid memory").to_string()
}

#[test]
fn every_memory_of_the_project_is_valid_and_survives_toml() {
    for name in MemorySpec::NAMES {
        let spec = MemorySpec::named(name).expect("a memory of the project");
        assert_eq!(spec.name(), name);
        let text = toml::to_string(spec.fields()).expect("TOML");
        assert_eq!(MemorySpec::from_toml(&text).expect("the same memory"), spec);
        assert_eq!(spec.burst_bytes().get(), 1024);
    }
    let unknown = MemorySpec::named("sdram").expect_err("no such memory").to_string();
    assert_eq!(unknown, "no memory is named 'sdram'; the memories are hbm2, hbm2-8h, ddr4-2400, ideal");
}

#[test]
fn capacities_are_those_of_the_boards() {
    let capacity = |name| {
        let channel = MemorySpec::named(name).expect("a memory of the project").fields().channel.clone();
        let dram = fastcar_sim::dram::Dram::new(&channel, fastcar_arch::units::Hertz(250_000_000), 0);
        let dram = dram.expect("a valid channel");
        (dram.capacity() >> 20, dram.window_bytes(), dram.atom_bytes())
    };
    assert_eq!(capacity("hbm2"), (256, 2048, 32));
    assert_eq!(capacity("hbm2-8h"), (512, 2048, 32));
    assert_eq!(capacity("ddr4-2400"), (2048, 16384, 64));
}

#[test]
fn a_configuration_finds_its_memory() {
    for (preset, memory) in
        [("tiny", "ddr4-2400"), ("edge", "ddr4-2400"), ("u50", "hbm2"), ("u280", "hbm2"), ("u55c", "hbm2-8h")]
    {
        let config = AccelConfig::preset(preset).expect("a preset");
        assert_eq!(MemorySpec::for_config(&config).expect("a memory").name(), memory);
    }
    let u55c = AccelConfig::preset("u55c").expect("a preset");
    let small = ConfigFields { channel_bytes: 128 << 20, ..u55c.fields().clone() };
    let small = AccelConfig::new(small).expect("a configuration");
    assert_eq!(MemorySpec::for_config(&small).expect("a memory").name(), "hbm2");
}

#[test]
fn unknown_keys_and_missing_ones_are_refused() {
    let text = toml::to_string(&fields()).expect("TOML");
    let unknown =
        MemorySpec::from_toml(&format!("colour = \"red\"\n{text}")).expect_err("unknown key").to_string();
    assert!(unknown.contains("unknown field `colour`"), "{unknown}");
    let nested = text.replace("n_cl = 14", "n_cl = 14\nn_extra = 1");
    let nested = MemorySpec::from_toml(&nested).expect_err("unknown key").to_string();
    assert!(nested.contains("unknown field `n_extra`"), "{nested}");
    let missing =
        MemorySpec::from_toml(&text.replace("t_rfc_ps = 260000", "")).expect_err("missing").to_string();
    assert!(missing.contains("missing field `t_rfc_ps`"), "{missing}");
}

#[test]
fn every_figure_has_a_source() {
    assert_eq!(
        refused(|f| drop(f.sources.remove("channel.clock_hz"))),
        "memory.channel.clock_hz has no source: add sources.\"channel.clock_hz\", with the document or how it was found"
    );
    assert!(
        refused(|f| drop(f.sources.remove("channel.timing")))
            .starts_with("memory.channel.timing.n_cl has no")
    );
    let blank = refused(|f| drop(f.sources.insert("request_ps".into(), " ".into())));
    assert!(blank.starts_with("memory.request_ps has no source"), "{blank}");
    let stray = refused(|f| drop(f.sources.insert("channel.timing.t_rcdx".into(), "x".into())));
    assert!(
        stray.starts_with("memory.sources.\"channel.timing.t_rcdx\" is no figure of a memory"),
        "{stray}"
    );
}

#[test]
fn figures_out_of_range_are_refused_with_the_reason() {
    let cases: &[(Change, &str)] = &[
        (&|f| f.name = "HBM 2".into(), "memory.name = 'HBM 2': must be 1 to 32 of a-z, 0-9 and '-'"),
        (
            &|f| f.burst_bytes = 4096,
            "memory.burst_bytes = 4096: must be a power of two from 64 to 2048, because a burst may cross neither a page \
             of 4 KB nor a row window of the channel's map",
        ),
        (
            &|f| f.burst_bytes = 1000,
            "memory.burst_bytes = 1000: must be a power of two from 64 to 2048, because a burst may cross neither a page \
             of 4 KB nor a row window of the channel's map",
        ),
        (
            &|f| f.response_ps = 20_000_000,
            "memory.response_ps = 20000000: must be at most 10000000, because no controller takes longer; the unit is \
             the picosecond",
        ),
        (
            &|f| f.channel.clock_hz = 900,
            "memory.channel.clock_hz = 900: must be from 100000000 to 4000000000, because this is the range of DRAM clocks",
        ),
        (
            &|f| f.channel.bus_bits = 48,
            "memory.channel.bus_bits = 48: must be a power of two, because a bus is a power of two of bytes wide",
        ),
        (
            &|f| f.channel.burst_length = 1,
            "memory.channel.burst_length = 1: must be from 2 to 16, because bursts of DRAM are powers of two",
        ),
        (
            &|f| f.channel.timing.n_cl = 14_000,
            "memory.channel.timing.n_cl = 14000: must be from 0 to 100, because no DRAM takes more clocks; a time belongs \
             into a field of picoseconds",
        ),
        (
            &|f| f.channel.timing.t_rp_ps = 2_000_000,
            "memory.channel.timing.t_rp_ps = 2000000: must be from 0 to 1000000, because no DRAM takes a microsecond for \
             a command; the unit is the picosecond",
        ),
        (
            &|f| f.channel.timing.n_ccd_l = 1,
            "memory.channel.timing.n_ccd_l = 1: must be at least 2, because what holds within a bank group is no shorter \
             than what holds between them",
        ),
        (
            &|f| f.channel.timing.t_refi_ps = 500_000,
            "memory.channel.timing.t_refi_ps = 500000: must be from 548000 to 100000000, because half of the time at \
             least must be left for data",
        ),
        (
            &|f| f.channel.timing.t_refi_ps = 0,
            "memory.channel.timing.t_rfc_ps = 260000: must be 0, because there is no refresh: t_refi_ps is 0",
        ),
        (
            &|f| f.channel.xor_row_bits = 4,
            "memory.channel.xor_row_bits = 4: must be from 0 to 3, because there are no more bank bits that do not \
             interleave, or no more row bits",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(refused(change), *expected);
    }
}

#[test]
fn maps_that_are_none_are_refused() {
    let refused = |map: &str| refused(|f| f.channel.map = map.to_owned());
    let cases = [
        ("", "a field is a width of 1 to 24 and a letter"),
        ("14R-G-2B-5C", "a field is a width of 1 to 24 and a letter"),
        ("14R-1G-0B-5C-1G", "a field is a width of 1 to 24 and a letter"),
        ("14R-1G-2B-5X-1G", "a field is one of R, G, B and C"),
        ("14R-5C-1G-2B", "the columns are below banks and rows, since a row window is contiguous"),
        ("14R-1G-2B-2C-3C-1G", "each field stands once, and G once more at the low end"),
        ("14R-1G-2B-1G-5C-1G", "each field stands once, and G once more at the low end"),
        ("14R-2B-1G", "there are rows and columns"),
    ];
    for (map, reason) in cases {
        let expected = format!("memory.channel.map = '{map}': {reason}; an example is 14R-1G-2B-5C-1G");
        assert_eq!(refused(map), expected);
    }
    assert!(
        refused("14R-3G-4B-5C-1G")
            .contains("map = 256: must be from 1 to 64, because no DRAM has more banks")
    );
    assert!(refused("24R-2B-12C").contains("map = 43: must be from 1 to 40"));
}
