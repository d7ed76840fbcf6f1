//! XML to [`Metadata`].

use super::{
    Argument, Instance, Kernel, KernelClock, MAX_BYTES, MAX_DEPTH, Metadata, Port, PortMode, Qualifier,
    Remap, refuse,
};
use crate::error::XclbinError;
use roxmltree::{Document, Node, ParsingOptions};

/// Most elements, texts and comments.
const MAX_NODES: u32 = 1 << 16;
/// Most attributes of an element: the parser compares each with all others.
const MAX_ATTRIBUTES: usize = 256;
/// Most declarations of a namespace: the parser copies those of the parents.
const MAX_NAMESPACES: usize = 64;

pub fn read(bytes: &[u8]) -> Result<Metadata, XclbinError> {
    let text = std::str::from_utf8(bytes).map_err(|e| refuse(e.to_string()))?;
    // Some writers count the zero that ends a text in C.
    let text = text.trim_end_matches('\0');
    check_size(text)?;
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|e| refuse(e.to_string()))?;
    check_depth(&document)?;
    project(document.root_element())
}

/// Limits that keep the parser's time and memory near the size of the text.
fn check_size(text: &str) -> Result<(), XclbinError> {
    let limit = |what: &str, found: usize, limit: usize| match found <= limit {
        true => Ok(()),
        false => Err(refuse(format!("{found} {what}: at most {limit} are read"))),
    };
    limit("bytes", text.len(), MAX_BYTES)?;
    limit("namespaces", text.matches("xmlns").count(), MAX_NAMESPACES)?;
    let attributes = text.split('<').map(|element| element.matches('=').count()).max();
    limit("attributes of an element", attributes.unwrap_or(0), MAX_ATTRIBUTES)
}

fn check_depth(document: &Document<'_>) -> Result<(), XclbinError> {
    // Nodes are numbered in the order of the text: a parent's depth is known before its children's.
    let mut depths: Vec<usize> = Vec::new();
    for node in document.descendants() {
        let parent = node.parent().and_then(|p| depths.get(p.id().get_usize()).copied());
        let depth = parent.map_or(0, |d| d + 1);
        if depth > MAX_DEPTH {
            return Err(refuse(format!("elements are nested more than {MAX_DEPTH} deep")));
        }
        depths.push(depth);
    }
    Ok(())
}

/// Elements of a name below one, in order.
fn children<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(move |n| n.tag_name().name() == name)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Result<Node<'a, 'i>, XclbinError> {
    children(node, name)
        .next()
        .ok_or_else(|| refuse(format!("<{}> has no <{name}> in it", node.tag_name().name())))
}

fn optional(node: Node<'_, '_>, name: &str) -> String {
    node.attribute(name).unwrap_or_default().to_owned()
}

fn attribute(node: Node<'_, '_>, name: &str) -> Result<String, XclbinError> {
    let missing = || refuse(format!("<{}> has no attribute {name}", node.tag_name().name()));
    node.attribute(name).map(str::to_owned).ok_or_else(missing)
}

/// A number, decimal or hexadecimal with 0x.
fn parse(node: Node<'_, '_>, name: &str, text: &str) -> Result<u64, XclbinError> {
    let number = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| XclbinError::Number {
        field: format!("{name} of <{} name=\"{}\">", node.tag_name().name(), optional(node, "name")),
        found: format!("\"{text}\""),
        allowed: format!("a number from 0 to {:#x}", u64::MAX),
    })
}

fn number(node: Node<'_, '_>, name: &str) -> Result<u64, XclbinError> {
    parse(node, name, &attribute(node, name)?)
}

fn number_or_none(node: Node<'_, '_>, name: &str) -> Result<Option<u64>, XclbinError> {
    node.attribute(name).filter(|text| !text.is_empty()).map(|text| parse(node, name, text)).transpose()
}

fn number_u32(node: Node<'_, '_>, name: &str, found: u64) -> Result<u32, XclbinError> {
    u32::try_from(found).map_err(|_| XclbinError::Number {
        field: format!("{name} of <{} name=\"{}\">", node.tag_name().name(), optional(node, "name")),
        found: found.to_string(),
        allowed: format!("a number from 0 to {}", u32::MAX),
    })
}

fn project(node: Node<'_, '_>) -> Result<Metadata, XclbinError> {
    if !node.has_tag_name("project") {
        return Err(refuse(format!("the outermost element is <{}>, not <project>", node.tag_name().name())));
    }
    let platform = child(node, "platform")?;
    let core = child(child(platform, "device")?, "core")?;
    let clocks = children(core, "kernelClocks").flat_map(|clocks| children(clocks, "clock"));
    let clock =
        |clock| KernelClock { port: optional(clock, "port"), frequency: optional(clock, "frequency") };
    Ok(Metadata {
        project: optional(node, "name"),
        platform: optional(platform, "name"),
        target: optional(core, "target"),
        clocks: clocks.map(clock).collect(),
        kernels: children(core, "kernel").map(kernel).collect::<Result<_, _>>()?,
    })
}

fn kernel(node: Node<'_, '_>) -> Result<Kernel, XclbinError> {
    Ok(Kernel {
        name: attribute(node, "name")?,
        protocol: optional(node, "hwControlProtocol"),
        work_group: number_or_none(node, "workGroupSize")?.unwrap_or(1),
        interrupt: matches!(node.attribute("interrupt"), Some("true" | "1")),
        ports: children(node, "port").map(port).collect::<Result<_, _>>()?,
        arguments: children(node, "arg").map(argument).collect::<Result<_, _>>()?,
        instances: children(node, "instance").map(instance).collect::<Result<_, _>>()?,
    })
}

fn port(node: Node<'_, '_>) -> Result<Port, XclbinError> {
    let mode = attribute(node, "mode")?;
    Ok(Port {
        name: attribute(node, "name")?,
        mode: match &mode[..] {
            "master" => PortMode::Master,
            "slave" => PortMode::Slave,
            _ => PortMode::Other(mode),
        },
        range: number(node, "range")?,
        data_bits: number_u32(node, "dataWidth", number(node, "dataWidth")?)?,
    })
}

fn argument(node: Node<'_, '_>) -> Result<Argument, XclbinError> {
    let id = number_or_none(node, "id")?.map(|id| number_u32(node, "id", id)).transpose()?;
    let qualifier = number_u32(node, "addressQualifier", number(node, "addressQualifier")?)?;
    Ok(Argument {
        name: attribute(node, "name")?,
        qualifier: Qualifier(qualifier),
        id,
        port: attribute(node, "port")?,
        size: number(node, "size")?,
        offset: number(node, "offset")?,
        host_offset: number_or_none(node, "hostOffset")?.unwrap_or(0),
        host_size: number(node, "hostSize")?,
        ty: optional(node, "type"),
    })
}

fn instance(node: Node<'_, '_>) -> Result<Instance, XclbinError> {
    let remap = |node| {
        let (port, range) = (optional(node, "port"), number_or_none(node, "range")?);
        Ok(Remap { port, base: number(node, "base")?, range })
    };
    let remaps = children(node, "addrRemap").map(remap).collect::<Result<_, _>>()?;
    Ok(Instance { name: attribute(node, "name")?, remaps })
}
