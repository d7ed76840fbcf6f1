//! An image as JSON.

use super::info::Found;
use fastcar_xclbin::metadata::{Argument, Kernel};
use serde_json::{Value, json};

/// All of it.
pub fn of(found: &Found<'_>) -> Value {
    let (header, view) = (&found.xclbin.header, &found.view);
    json!({
        "kind": "xclbin",
        "file": found.path,
        "bytes": found.bytes,
        "platform": header.platform.as_str(),
        "mode": header.mode.to_string(),
        "version": header.version.to_string(),
        "timestamp": header.timestamp,
        "uuid": header.uuid.to_string(),
        "interface_uuid": header.interface_uuid.to_string(),
        "image": image(found),
        "refusal": found.image.as_ref().err().map(ToString::to_string),
        "sections": found.xclbin.sections().iter().map(|s| json!({
            "kind": s.kind.to_string(),
            "name": s.name.as_str(),
            "bytes": s.bytes.len(),
        })).collect::<Vec<_>>(),
        "kernels": view.kernels().iter().map(|k| kernel(found, k)).collect::<Vec<_>>(),
        "memory": view.banks.iter().map(|b| json!({
            "tag": b.tag.as_str(),
            "kind": b.kind.to_string(),
            "kib": b.kib,
            "base": b.base,
            "used": b.used,
        })).collect::<Vec<_>>(),
        "clocks": view.clocks.iter().map(|c| json!({
            "name": c.name.as_str(),
            "kind": c.kind.to_string(),
            "mhz": c.mhz,
        })).collect::<Vec<_>>(),
        "key_values": view.key_values,
    })
}

fn image(found: &Found<'_>) -> Value {
    let Ok(image) = &found.image else { return Value::Null };
    json!({
        "kind": image.kind,
        "preset": image.config.name(),
        "identity": image.identity,
        "config": image.config.fields(),
    })
}

fn kernel(found: &Found<'_>, kernel: &Kernel) -> Value {
    let argument = |a: &Argument| {
        json!({
            "number": a.id,
            "name": a.name,
            "qualifier": a.qualifier.0,
            "bytes": a.size,
            "offset": a.offset,
            "port": a.port,
            "type": a.ty,
            "banks": super::banks_of(&found.view, kernel, a),
        })
    };
    json!({
        "name": kernel.name,
        "protocol": kernel.protocol,
        "compute_units": kernel.instances.iter().map(|i| &i.name[..]).collect::<Vec<_>>(),
        "arguments": kernel.arguments.iter().map(argument).collect::<Vec<_>>(),
    })
}
