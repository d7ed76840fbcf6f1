//! Images: what they hold, and what is refused.

use crate::{config, container, image, section};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::regs::RegisterMap;
use fastcar_xclbin::image::{FORMAT_VERSION, FastcarImage, ImageError, ImageInfo, ImageKind, KERNEL, UNIT};
use fastcar_xclbin::metadata::Kernel;
use fastcar_xclbin::tables::{self, Bank, BankKind, Connection, Protocol};
use fastcar_xclbin::view::View;
use fastcar_xclbin::{Mode, SectionKind, Xclbin, XclbinError};

#[test]
fn every_preset_has_an_image() {
    for preset in AccelConfig::PRESETS {
        let (image, config) = (image(preset), config(preset));
        let bytes = image.to_bytes();
        assert_eq!(bytes, crate::image(preset).to_bytes(), "the same configuration, the same bytes");
        let xclbin = Xclbin::from_bytes(&bytes).unwrap();
        let info = ImageInfo::read(&xclbin).unwrap();
        assert_eq!(&info, image.info());
        assert_eq!((info.kind, &info.config), (ImageKind::Simulator, &config));
        assert_eq!(info.identity, Identity::of(&config));
        assert_eq!(info.banks.len(), config.channels() as usize);
        assert_eq!(xclbin.header.mode, Mode::HARDWARE_EMULATION);
        assert_eq!((info.uuid, xclbin.header.timestamp), (xclbin.header.uuid, 0));
    }
}

#[test]
fn the_register_map_is_what_a_runtime_sees() {
    let config = config("u55c");
    let info = ImageInfo::read(image("u55c").xclbin()).unwrap();
    let map = RegisterMap::new(&config);
    assert_eq!((&info.kernel.name[..], &info.units[0].name[..]), (KERNEL, UNIT));
    assert_eq!(info.kernel.protocol, Protocol::CHAIN.to_string());
    assert_eq!(info.kernel.arguments.len(), map.arguments().count());
    for (argument, register) in map.arguments() {
        let found = &info.kernel.arguments[argument.index as usize];
        assert_eq!((found.id, &found.name), (Some(argument.index), &register.name));
        assert_eq!((found.offset, found.size), (register.offset.into(), u64::from(register.bits / 8)));
        let port = argument.port.as_deref().unwrap_or("s_axi_control");
        assert_eq!(found.port, port);
        let bank = argument.port.as_ref().map(|_| register.channel.unwrap_or(0));
        assert_eq!(info.argument_banks[argument.index as usize], bank, "{}", register.name);
    }
    let hbm = |c: u32, b: &Bank| b.kind == BankKind::HBM && b.tag.as_str() == format!("HBM[{c}]");
    assert!((0..).zip(&info.banks).all(|(c, b)| hbm(c, b) && b.kib == 524_288 && b.used));
    assert_eq!(info.banks[3].base, 3 << 29);
}

#[test]
fn platforms_are_the_boards() {
    let platform = |preset| image(preset).info().platform.clone();
    assert_eq!(platform("u55c"), "xilinx_u55c_gen3x16_xdma_3_202210_1");
    assert_eq!(platform("tiny"), "fastcar_tiny");
    let tiny = image("tiny");
    let bank = &tiny.info().banks[0];
    assert_eq!((bank.kind, bank.tag.as_str()), (BankKind::DDR4, "DDR[0]"));
    assert_eq!(View::read(tiny.xclbin()).unwrap().clocks[0].mhz, 100);
}

#[test]
fn a_time_of_making_changes_the_identifier() {
    let (plain, dated) = (image("tiny"), image("tiny").with_timestamp(1_700_000_000));
    assert_eq!(dated.xclbin().header.timestamp, 1_700_000_000);
    assert_ne!(plain.info().uuid, dated.info().uuid);
    assert_eq!(ImageInfo::read(dated.xclbin()).as_ref(), Ok(dated.info()));
}

fn refusal(xclbin: &Xclbin) -> String {
    ImageInfo::read(xclbin).unwrap_err().to_string()
}

/// The tiny image with another section in place of its own.
fn with(kind: SectionKind, bytes: impl Into<Vec<u8>>) -> Xclbin {
    let mut xclbin = image("tiny").xclbin().clone();
    xclbin.insert(section(kind, bytes)).unwrap();
    xclbin
}

/// The tiny image with a change of its own account.
fn with_account(from: &str, to: &str) -> Xclbin {
    let image = image("tiny");
    let account =
        String::from_utf8(image.xclbin().require(SectionKind::USER_METADATA).unwrap().to_vec()).unwrap();
    assert!(account.contains(from), "{account}");
    with(SectionKind::USER_METADATA, account.replacen(from, to, 1))
}

fn with_kernel(preset: &str, change: impl FnOnce(&mut Vec<Kernel>)) -> Xclbin {
    let mut xclbin = image(preset).xclbin().clone();
    let mut metadata = View::read(&xclbin).unwrap().metadata.unwrap();
    change(&mut metadata.kernels);
    xclbin.insert(section(SectionKind::EMBEDDED_METADATA, metadata.to_bytes().unwrap())).unwrap();
    xclbin
}

#[test]
fn containers_of_others() {
    let advice = ": make one with `fastcar xclbin pack`, or add the metadata to a fastcar bitstream with \
                  `fastcar xclbin pack --bitstream`";
    assert_eq!(
        refusal(&container([])),
        format!(
            "this is no fastcar image but an xclbin without a bitstream for platform 'card' without kernels{advice}"
        )
    );
    let theirs = with(SectionKind::USER_METADATA, *b"{\"made by\": \"others\"}");
    assert_eq!(
        refusal(&theirs),
        format!(
            "this is no fastcar image but an xclbin without a bitstream for platform 'fastcar_tiny' \
             with kernels fastcar{advice}"
        )
    );
    let bitstream = container([section(SectionKind::BITSTREAM, [0; 99])]);
    assert!(refusal(&bitstream).contains("but a bitstream for platform 'card' without kernels"));
    let huge = with(SectionKind::USER_METADATA, format!("{{\"fastcar\":{{}}{}}}", " ".repeat(1 << 16)));
    assert!(matches!(ImageInfo::read(&huge), Err(ImageError::Foreign { .. })));
}

#[test]
fn accounts_of_other_versions_or_none() {
    let next = FORMAT_VERSION + 1;
    let other = with_account("\"format\":1", &format!("\"format\":{next},\"news\":[]"));
    assert_eq!(
        refusal(&other),
        "the image's metadata has format version 2, this build reads version 1: \
         write the image again with `fastcar xclbin pack`"
    );
    let account = "the image's metadata cannot be read:";
    for (from, to, reason) in [
        ("\"format\":1,", "", "`format` is missing or no number"),
        ("simulator", "emulator", "unknown variant `emulator`"),
        ("\"identity\":\"", "\"identity\":\"xyz", "must be 64 hexadecimal digits"),
        ("\"slots\":4,", "", "missing field `slots`"),
        ("\"slots\":4,", "\"slots\":4,\"seats\":4,", "unknown field `seats`"),
    ] {
        let found = refusal(&with_account(from, to));
        assert!(found.starts_with(account) && found.contains(reason), "{found}");
    }
    let found = refusal(&with_account("\"channels\":1,", "\"channels\":3,"));
    assert!(found.starts_with("the image's configuration is refused: config.channels = 3"), "{found}");
}

#[test]
fn an_identity_of_another_build() {
    let identity = Identity::of(&config("tiny")).to_string();
    let other = "0".repeat(64);
    assert_eq!(
        refusal(&with_account(&identity, &other)),
        format!(
            "the image of configuration 'tiny' has identity {other}, this build makes it {identity}: \
             image and software are of different versions; write the image again with this version"
        )
    );
}

#[test]
fn sections_that_a_runtime_needs() {
    let image = image("tiny");
    use SectionKind as Kind;
    for kind in [Kind::EMBEDDED_METADATA, Kind::IP_LAYOUT, Kind::MEM_TOPOLOGY, Kind::CONNECTIVITY] {
        let mut xclbin = Xclbin::new(image.xclbin().header);
        let others = image.xclbin().sections().iter().filter(|s| s.kind != kind);
        others.for_each(|s| xclbin.insert(s.clone()).unwrap());
        let found = ImageInfo::read(&xclbin).unwrap_err();
        let ImageError::Container(XclbinError::SectionMissing { kind: missing, .. }) = found else {
            panic!("{kind}: {found}");
        };
        assert_eq!(missing, kind.to_string());
    }
}

/// One change of a kernel, and what the refusal says of it.
type Change = (fn(&mut Kernel), &'static str);

#[test]
fn kernels_that_the_register_map_does_not_ask_for() {
    let changes: [Change; 12] = [
        (
            |k| k.protocol = "ap_ctrl_hs".to_owned(),
            "the kernel's control protocol is ap_ctrl_hs, expected is ap_ctrl_chain",
        ),
        (|k| k.work_group = 64, "the kernel's work group size is 64, expected is 1"),
        (|k| k.ports[1].data_bits = 256, "the data width of port 'm_axi_gmem0' is 256, expected is 128"),
        (
            |k| k.ports[1].mode = k.ports[0].mode.clone(),
            "the direction of port 'm_axi_gmem0' is slave, expected is master",
        ),
        (|k| k.ports.push(k.ports[1].clone()), "the number of ports is 3, expected is 2"),
        (
            |k| {
                k.ports[1].name = "m_axi_gmem7".to_owned();
                k.arguments
                    .iter_mut()
                    .filter(|a| a.port == "m_axi_gmem0")
                    .for_each(|a| a.port = "m_axi_gmem7".to_owned());
            },
            "the list of ports is 's_axi_control', 'm_axi_gmem7', expected is 'm_axi_gmem0'",
        ),
        (|k| drop(k.arguments.pop()), "the number of arguments is 4, expected is 5"),
        (
            |k| k.arguments[2].name = "TABLE".to_owned(),
            "the name of argument 'STEP' is 'TABLE', expected is 'STEP'",
        ),
        (|k| k.arguments[1].size = 8, "the size of argument 'COMMANDS' is 8, expected is 4"),
        (
            |k| k.arguments[1].offset = 0x1c,
            "the register offset of argument 'COMMANDS' is 28, expected is 24",
        ),
        (
            |k| k.arguments[0].qualifier.0 = 0,
            "the address qualifier of argument 'PROGRAM' is 0, expected is 1",
        ),
        (
            |k| k.arguments[4].port = "s_axi_control".to_owned(),
            "the port of argument 'CHANNEL0' is 's_axi_control', expected is",
        ),
    ];
    for (change, expected) in changes {
        let found = refusal(&with_kernel("tiny", |kernels| change(&mut kernels[0])));
        assert!(found.starts_with("the image does not fit configuration 'tiny': "), "{found}");
        assert!(found.contains(expected), "{found}");
    }
    let none = refusal(&with_kernel("tiny", Vec::clear));
    assert!(none.contains("the list of kernels is empty, expected is 'fastcar'"), "{none}");
}

#[test]
fn names_in_capitals_are_the_same() {
    let capitals = with_kernel("tiny", |kernels| {
        let kernel = &mut kernels[0];
        kernel.ports.iter_mut().for_each(|p| p.name.make_ascii_uppercase());
        kernel.arguments.iter_mut().for_each(|a| a.port.make_ascii_uppercase());
        kernel.arguments.iter_mut().for_each(|a| a.name.make_ascii_lowercase());
    });
    assert_eq!(ImageInfo::read(&capitals).unwrap().identity, Identity::of(&config("tiny")));
}

#[test]
fn instances_banks_and_connections_of_others() {
    let edge = image("edge");
    let view = View::read(edge.xclbin()).unwrap();
    let with = |kind, bytes: Result<Vec<u8>, XclbinError>| {
        let mut xclbin = edge.xclbin().clone();
        xclbin.insert(section(kind, bytes.unwrap())).unwrap();
        refusal(&xclbin)
    };
    let ips = [
        view.ips[0],
        tables::Ip { name: fastcar_xclbin::Text::new("ip", "fastcar:two").unwrap(), ..view.ips[0] },
    ];
    let found = with(SectionKind::IP_LAYOUT, tables::write_ips(&ips));
    assert!(
        found.contains("the list of compute units is 'fastcar_1', 'two', expected is 'fastcar_1'"),
        "{found}"
    );

    let mut banks = view.banks.clone();
    banks[1].used = false;
    let found = with(SectionKind::MEM_TOPOLOGY, tables::write_banks(&banks));
    assert!(found.contains("the use of memory bank 1 is false, expected is true"), "{found}");
    banks[1] = Bank { kib: 1024, ..view.banks[1] };
    let found = with(SectionKind::MEM_TOPOLOGY, tables::write_banks(&banks));
    assert!(found.contains("the capacity of memory bank 1 is 1024 KiB, expected is 524288 KiB"), "{found}");

    let mut connections = view.connections.clone();
    let last = connections.last_mut().unwrap();
    *last = Connection { bank: 0, ..*last };
    let found = with(SectionKind::CONNECTIVITY, tables::write_connections(&connections));
    assert!(found.contains("the memory bank of argument 'CHANNEL3' is 0, expected is 3"), "{found}");
    let found = with(SectionKind::CONNECTIVITY, tables::write_connections(&connections[1..]));
    assert!(found.contains("the memory bank of argument 'PROGRAM' is none, expected is 0"), "{found}");
    connections.push(Connection { argument: 1, ip: 0, bank: 2 });
    let found = with(SectionKind::CONNECTIVITY, tables::write_connections(&connections));
    assert!(found.contains("the memory bank of argument 'COMMANDS' is 2, expected is none"), "{found}");
}

/// What the vendor's linker would write for a preset: a bitstream, no account.
fn linked(preset: &str) -> Xclbin {
    let image = image(preset);
    let ours = image.xclbin().sections().iter().filter(|s| s.kind != SectionKind::USER_METADATA).cloned();
    let mut xclbin = container(ours.chain([section(SectionKind::BITSTREAM, [0xaa; 1000])]));
    xclbin.header.timestamp = 5;
    xclbin.header.uuid = fastcar_xclbin::Uuid([9; 16]);
    xclbin
}

#[test]
fn a_bitstream_gets_an_account() {
    let linked = linked("edge");
    let image = FastcarImage::bitstream(linked.clone(), &config("edge")).unwrap();
    assert_eq!(image.info().kind, ImageKind::Bitstream);
    let kept = image.xclbin().sections().iter().filter(|s| s.kind != SectionKind::USER_METADATA);
    assert!(kept.eq(linked.sections()));
    assert_eq!(image.xclbin().header.timestamp, 5);
    assert_ne!(image.info().uuid, linked.header.uuid);
    let again = FastcarImage::bitstream(image.xclbin().clone(), &config("edge")).unwrap();
    assert_eq!(again.xclbin().sections(), image.xclbin().sections());
}

#[test]
fn bitstreams_that_are_refused() {
    let wrong = FastcarImage::bitstream(linked("edge"), &config("tiny")).unwrap_err().to_string();
    assert!(
        wrong.starts_with("the image does not fit configuration 'tiny': the number of ports is"),
        "{wrong}"
    );
    let none = FastcarImage::bitstream(image("tiny").xclbin().clone(), &config("tiny")).unwrap_err();
    assert_eq!(
        none.to_string(),
        "the xclbin holds no bitstream but an xclbin without a bitstream for platform 'fastcar_tiny' with kernels \
         fastcar: give the xclbin that the vendor's linker wrote for a card"
    );
    let mut theirs = linked("tiny");
    theirs.insert(section(SectionKind::USER_METADATA, *b"theirs")).unwrap();
    let occupied = FastcarImage::bitstream(theirs, &config("tiny")).unwrap_err();
    assert_eq!(
        occupied.to_string(),
        "the xclbin has user metadata of its own (6 bytes), which would be lost: \
         link it without, or remove it first (xclbinutil --remove-section USER_METADATA)"
    );
}

#[test]
fn the_kind_is_that_of_the_sections() {
    let bitstream = with(SectionKind::BITSTREAM, [1]);
    assert!(
        refusal(&bitstream).contains("the image's kind by its sections is bitstream, expected is simulator")
    );
    let empty = with_account("simulator", "bitstream");
    assert!(refusal(&empty).contains("the image's kind by its sections is simulator, expected is bitstream"));
}
