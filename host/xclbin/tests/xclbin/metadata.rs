//! EMBEDDED_METADATA: round trips, what other writers leave out, and refusals.

use crate::{container, image, section};
use fastcar_xclbin::metadata::{
    Argument, Instance, Kernel, KernelClock, Metadata, Port, PortMode, Qualifier, Remap,
};
use fastcar_xclbin::view::View;
use fastcar_xclbin::{SectionKind, XclbinError};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[!-~\u{e4}\u{4e2d}][ -~\u{e4}\u{4e2d}]{0,9}").unwrap()
}

prop_compose! {
    fn argument()(
        names in [text(), text(), text()],
        qualifier in any::<u32>(),
        id in any::<Option<u32>>(),
        numbers in any::<[u64; 4]>(),
    ) -> Argument {
        let [name, port, ty] = names;
        let [size, offset, host_offset, host_size] = numbers;
        Argument { name, qualifier: Qualifier(qualifier), id, port, size, offset, host_offset, host_size, ty }
    }
}

prop_compose! {
    fn port()(name in text(), mode in 0..3, range in any::<u64>(), data_bits in any::<u32>()) -> Port {
        let mode = [PortMode::Master, PortMode::Slave, PortMode::Other("read_only".to_owned())][mode as usize].clone();
        Port { name, mode, range, data_bits }
    }
}

prop_compose! {
    fn instance()(name in text(), port in text(), base in any::<u64>(), range in any::<Option<u64>>()) -> Instance {
        Instance { name, remaps: vec![Remap { port, base, range }] }
    }
}

prop_compose! {
    fn kernel()(
        name in text(),
        protocol in text(),
        work_group in any::<u64>(),
        interrupt in any::<bool>(),
        ports in prop::collection::vec(port(), 0..4),
        arguments in prop::collection::vec(argument(), 0..4),
        instances in prop::collection::vec(instance(), 0..4),
    ) -> Kernel {
        Kernel { name, protocol, work_group, interrupt, ports, arguments, instances }
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        names in [text(), text(), text()],
        clocks in prop::collection::vec([text(), text()], 0..3),
        kernels in prop::collection::vec(kernel(), 0..3),
    ) {
        let [project, platform, target] = names;
        let clock = |[port, frequency]: [String; 2]| KernelClock { port, frequency };
        let clocks = clocks.into_iter().map(clock).collect();
        let metadata = Metadata { project, platform, target, clocks, kernels };
        prop_assert_eq!(Metadata::from_bytes(&metadata.to_bytes().unwrap()), Ok(metadata));
    }
}

/// A document around one kernel.
fn document(kernel: &str) -> String {
    format!("<project><platform><device><core>{kernel}</core></device></platform></project>")
}

fn refusal(xml: &str) -> String {
    Metadata::from_bytes(xml.as_bytes()).unwrap_err().to_string()
}

#[test]
fn texts_that_do_not_survive_are_not_written() {
    for project in ["a\u{1}", "\u{fffe}"] {
        let metadata = Metadata { project: project.to_owned(), ..Metadata::default() };
        assert!(matches!(metadata.to_bytes(), Err(XclbinError::Metadata { .. })), "{project:?}");
    }
}

#[test]
fn what_other_writers_leave_out() {
    let xml = document(
        "<kernel name='k'>\
         <port name='M' mode='master' range='0xFFFFFFFF' dataWidth='512'/>\
         <arg name='a' addressQualifier='1' id='' port='M' size='0x8' offset='16' hostSize='8'/>\
         <instance name='k_1'><addrRemap base='0x1800000' port='S'/></instance></kernel>",
    );
    let metadata = Metadata::from_bytes(format!("<?xml version='1.0'?>\n{xml}\n\0").as_bytes()).unwrap();
    let kernel = metadata.kernel("k").unwrap();
    assert_eq!((kernel.work_group, kernel.interrupt, &kernel.protocol[..]), (1, false, ""));
    let argument = &kernel.arguments[0];
    assert_eq!((argument.id, argument.size, argument.offset, argument.host_offset), (None, 8, 16, 0));
    assert_eq!((kernel.ports[0].range, kernel.ports[0].data_bits), (0xffff_ffff, 512));
    assert_eq!(kernel.instances[0].remaps[0].range, None);
}

#[test]
fn what_is_no_metadata() {
    let section = "section EMBEDDED_METADATA cannot be read:";
    assert_eq!(refusal("<a/>"), format!("{section} the outermost element is <a>, not <project>"));
    assert_eq!(refusal("<project/>"), format!("{section} <project> has no <platform> in it"));
    let device = "<project><platform><device/></platform></project>";
    assert_eq!(refusal(device), format!("{section} <device> has no <core> in it"));
    assert_eq!(refusal(&document("<kernel/>")), format!("{section} <kernel> has no attribute name"));
    let port = document("<kernel name='k'><port name='p' mode='master' range='64k'/></kernel>");
    assert_eq!(
        refusal(&port),
        "range of <port name=\"p\"> is \"64k\": must be a number from 0 to 0xffffffffffffffff"
    );
    let port =
        document("<kernel name='k'><port name='p' mode='master' range='1' dataWidth='4294967296'/></kernel>");
    assert_eq!(
        refusal(&port),
        "dataWidth of <port name=\"p\"> is 4294967296: must be a number from 0 to 4294967295"
    );
    for broken in ["", "<", "<project>", "no xml", "<!DOCTYPE a [<!ENTITY b \"c\">]><project/>"] {
        assert!(refusal(broken).starts_with(section), "{broken}");
    }
    assert!(Metadata::from_bytes(&[0xff, 0xfe]).is_err());
}

#[test]
fn documents_that_would_take_long() {
    let section = "section EMBEDDED_METADATA cannot be read:";
    let long = format!("<project>{}</project>", " ".repeat(1 << 20));
    assert_eq!(refusal(&long), format!("{section} 1048595 bytes: at most 1048576 are read"));
    let attributes: String = (0..300).map(|i| format!(" a{i}='>'")).collect();
    let wide = format!("<project{attributes}/>");
    assert_eq!(refusal(&wide), format!("{section} 300 attributes of an element: at most 256 are read"));
    let spaces: String = (0..65).map(|i| format!("<a xmlns:n{i}='u{i}'/>")).collect();
    assert_eq!(refusal(&document(&spaces)), format!("{section} 65 namespaces: at most 64 are read"));
    let deep = document(&("<a>".repeat(40) + &"</a>".repeat(40)));
    assert_eq!(refusal(&deep), format!("{section} elements are nested more than 32 deep"));
    let abyss = document(&("<a>".repeat(60_000) + &"</a>".repeat(60_000)));
    assert_eq!(refusal(&abyss), format!("{section} elements are nested more than 32 deep"));
    assert!(refusal(&document(&"<a/>".repeat(70_000))).starts_with(section));
}

/// A view of the shipped metadata with a change.
fn view(change: impl FnOnce(&mut Kernel)) -> Result<View, XclbinError> {
    let image = image("tiny");
    let mut view = View::read(image.xclbin()).unwrap();
    let metadata = view.metadata.as_mut().unwrap();
    change(&mut metadata.kernels[0]);
    let ips = image.xclbin().require(SectionKind::IP_LAYOUT).unwrap();
    View::read(&container([
        section(SectionKind::EMBEDDED_METADATA, metadata.to_bytes().unwrap()),
        section(SectionKind::IP_LAYOUT, ips),
    ]))
}

#[test]
fn metadata_that_contradicts_other_sections() {
    assert!(view(|_| ()).is_ok());
    assert_eq!(
        view(|k| k.instances[0].name = "fastcar_2".to_owned()).unwrap_err().to_string(),
        "an instance in EMBEDDED_METADATA refers to fastcar:fastcar_2, which does not exist: there are fastcar:fastcar_1"
    );
    let numbered = "the number of an argument of kernel 'fastcar' is";
    let rule = "arguments are numbered from 0, each number once";
    assert_eq!(
        view(|k| k.arguments[1].id = Some(7)).unwrap_err().to_string(),
        format!("{numbered} 2: must be 1: {rule}")
    );
    assert_eq!(
        view(|k| k.arguments[1].id = Some(0)).unwrap_err().to_string(),
        format!("{numbered} 0: must be 1: {rule}")
    );
    assert_eq!(
        view(|k| k.arguments[4].port = "m_axi_gmem9".to_owned()).unwrap_err().to_string(),
        "argument 'CHANNEL0' of kernel 'fastcar' refers to port 'm_axi_gmem9', which does not exist: \
         there are m_axi_gmem0, s_axi_control"
    );
}
