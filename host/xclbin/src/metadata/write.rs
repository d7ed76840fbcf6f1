//! [`Metadata`] to XML.

use super::{Argument, Instance, Kernel, Metadata, Port};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, Event};
use std::io::Result;

type Out = Writer<Vec<u8>>;

/// Work items are one: a kernel is not replicated over a range.
const ONE: [(&str, &str); 3] = [("x", "1"), ("y", "1"), ("z", "1")];

pub fn write(metadata: &Metadata) -> Result<Vec<u8>> {
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 2);
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let project = out.create_element("project").with_attribute(("name", &metadata.project[..]));
    project.write_inner_content(|out| {
        let platform = out.create_element("platform").with_attribute(("name", &metadata.platform[..]));
        platform.write_inner_content(|out| {
            let device = out.create_element("device").with_attribute(("name", "fpga0"));
            device.write_inner_content(|out| core(out, metadata))?;
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(out.into_inner())
}

/// A kernel as the vendor's packager reads it: `kernel.xml`.
pub fn write_kernel(kernel: &Kernel, vlnv: &str) -> Result<Vec<u8>> {
    let mut out = Writer::new_with_indent(Vec::new(), b' ', 2);
    out.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let (work_group, interrupt) = (kernel.work_group.to_string(), kernel.interrupt.to_string());
    let root = out.create_element("root").with_attributes([("versionMajor", "1"), ("versionMinor", "6")]);
    root.write_inner_content(|out| {
        let element = out.create_element("kernel").with_attributes([
            ("name", &kernel.name[..]),
            ("language", "ip_c"),
            ("vlnv", vlnv),
            ("attributes", ""),
            ("preferredWorkGroupSizeMultiple", "0"),
            ("workGroupSize", &work_group[..]),
            ("interrupt", &interrupt[..]),
            ("hwControlProtocol", &kernel.protocol[..]),
        ]);
        element.write_inner_content(|out| {
            let (ports, arguments) = (&kernel.ports, &kernel.arguments);
            out.create_element("ports")
                .write_inner_content(|out| ports.iter().try_for_each(|p| port(out, p)))?;
            out.create_element("args")
                .write_inner_content(|out| arguments.iter().try_for_each(|a| argument(out, a)))?;
            Ok(())
        })?;
        Ok(())
    })?;
    let mut bytes = out.into_inner();
    bytes.push(b'\n');
    Ok(bytes)
}

fn core(out: &mut Out, metadata: &Metadata) -> Result<()> {
    let core = out.create_element("core").with_attributes([
        ("name", "OCL_REGION_0"),
        ("target", &metadata.target[..]),
        ("type", "clc_region"),
    ]);
    core.write_inner_content(|out| {
        if !metadata.clocks.is_empty() {
            out.create_element("kernelClocks").write_inner_content(|out| clocks(out, metadata))?;
        }
        metadata.kernels.iter().try_for_each(|k| kernel(out, k))
    })?;
    Ok(())
}

fn clocks(out: &mut Out, metadata: &Metadata) -> Result<()> {
    metadata.clocks.iter().try_for_each(|clock| {
        let attributes = [("port", &clock.port[..]), ("frequency", &clock.frequency[..])];
        out.create_element("clock").with_attributes(attributes).write_empty().map(drop)
    })
}

fn kernel(out: &mut Out, kernel: &Kernel) -> Result<()> {
    let (work_group, interrupt) = (kernel.work_group.to_string(), kernel.interrupt.to_string());
    let element = out.create_element("kernel").with_attributes([
        ("name", &kernel.name[..]),
        ("language", "ip"),
        ("hwControlProtocol", &kernel.protocol[..]),
        ("workGroupSize", &work_group[..]),
        ("interrupt", &interrupt[..]),
    ]);
    element.write_inner_content(|out| {
        kernel.ports.iter().try_for_each(|p| port(out, p))?;
        kernel.arguments.iter().try_for_each(|a| argument(out, a))?;
        out.create_element("compileWorkGroupSize").with_attributes(ONE).write_empty()?;
        out.create_element("maxWorkGroupSize").with_attributes(ONE).write_empty()?;
        kernel.instances.iter().try_for_each(|i| instance(out, i))
    })?;
    Ok(())
}

fn hex(value: u64) -> String {
    format!("{value:#x}")
}

fn port(out: &mut Out, port: &Port) -> Result<()> {
    let (range, data_bits) = (hex(port.range), port.data_bits.to_string());
    let element = out.create_element("port").with_attributes([
        ("name", &port.name[..]),
        ("mode", port.mode.as_str()),
        ("range", &range[..]),
        ("dataWidth", &data_bits[..]),
        ("portType", "addressable"),
        ("base", "0x0"),
    ]);
    element.write_empty().map(drop)
}

fn argument(out: &mut Out, argument: &Argument) -> Result<()> {
    let qualifier = argument.qualifier.0.to_string();
    let id = argument.id.map_or(String::new(), |id| id.to_string());
    let [size, offset, host_offset, host_size] =
        [argument.size, argument.offset, argument.host_offset, argument.host_size].map(hex);
    let element = out.create_element("arg").with_attributes([
        ("name", &argument.name[..]),
        ("addressQualifier", &qualifier[..]),
        ("id", &id[..]),
        ("port", &argument.port[..]),
        ("size", &size[..]),
        ("offset", &offset[..]),
        ("hostOffset", &host_offset[..]),
        ("hostSize", &host_size[..]),
        ("type", &argument.ty[..]),
    ]);
    element.write_empty().map(drop)
}

fn instance(out: &mut Out, instance: &Instance) -> Result<()> {
    let element = out.create_element("instance").with_attribute(("name", &instance.name[..]));
    element.write_inner_content(|out| {
        instance.remaps.iter().try_for_each(|remap| {
            let (base, range) = (hex(remap.base), remap.range.map(hex));
            let mut attributes = vec![("base", &base[..]), ("port", &remap.port[..])];
            attributes.extend(range.iter().map(|range| ("range", &range[..])));
            out.create_element("addrRemap").with_attributes(attributes).write_empty().map(drop)
        })
    })?;
    Ok(())
}
