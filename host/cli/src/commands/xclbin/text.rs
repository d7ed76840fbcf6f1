//! An image as text: facts, then tables.

use super::info::Found;
use crate::table::{pairs, size, table};
use fastcar_xclbin::metadata::{Argument, Kernel, Qualifier};

/// All of it.
pub fn of(found: &Found<'_>) -> String {
    let mut parts = vec![facts(found), sections(found)];
    parts.extend(found.view.kernels().iter().map(|kernel| arguments(found, kernel)));
    if !found.view.banks.is_empty() {
        parts.push(memory(found));
    }
    parts.join("\n")
}

/// Text of a file as a terminal may have it: without control characters.
fn plain(text: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
    text.chars().map(plain).collect()
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(plain).to_vec()
}

fn facts(found: &Found<'_>) -> String {
    let header = &found.xclbin.header;
    let made = match header.timestamp {
        0 => "not recorded".to_owned(),
        seconds => format!("{seconds} s after 1970"),
    };
    let mut rows = vec![
        ("file", found.path.display().to_string()),
        ("size", size(found.bytes)),
        ("platform", plain(header.platform.as_str())),
        ("mode", header.mode.to_string()),
        ("version", header.version.to_string()),
        ("made", made),
        ("uuid", header.uuid.to_string()),
    ];
    match &found.image {
        Ok(image) => {
            rows.push(("image", format!("for the {}", image.kind)));
            rows.push(("preset", image.config.name().to_owned()));
            rows.push(("identity", image.identity.to_string()));
        }
        Err(e) => rows.push(("image", plain(&e.to_string()))),
    }
    rows.extend(
        found
            .view
            .clocks
            .iter()
            .map(|c| ("clock", format!("{} at {} MHz ({})", plain(c.name.as_str()), c.mhz, c.kind))),
    );
    rows.extend(found.view.key_values.iter().map(|kv| ("key", plain(&format!("{}: {}", kv.key, kv.value)))));
    pairs(&rows)
}

fn sections(found: &Found<'_>) -> String {
    let mut rows = vec![row(["section", "name", "bytes"])];
    rows.extend(found.xclbin.sections().iter().map(|section| {
        row([&section.kind.to_string(), section.name.as_str(), &section.bytes.len().to_string()])
    }));
    table(&rows)
}

fn arguments(found: &Found<'_>, kernel: &Kernel) -> String {
    let instances: Vec<&str> = kernel.instances.iter().map(|i| &i.name[..]).collect();
    let (name, protocol) = (&kernel.name, &kernel.protocol);
    let head = plain(&format!("kernel {name}, {protocol}, compute units {}", instances.join(", ")));
    let mut rows = vec![row(["argument", "number", "kind", "bytes", "offset", "port", "bank"])];
    rows.extend(kernel.arguments.iter().map(|a| argument(found, kernel, a)));
    format!("{head}\n{}", table(&rows))
}

fn argument(found: &Found<'_>, kernel: &Kernel, argument: &Argument) -> Vec<String> {
    let kind = match argument.qualifier {
        Qualifier::SCALAR => "scalar".to_owned(),
        Qualifier::GLOBAL => "pointer".to_owned(),
        Qualifier(other) => format!("qualifier {other}"),
    };
    let banks = super::banks_of(&found.view, kernel, argument);
    let tag = |&bank: &u32| found.view.banks.get(bank as usize).map_or("", |b| b.tag.as_str());
    let banks: Vec<&str> = banks.iter().map(tag).collect();
    row([
        &argument.name,
        &argument.id.map_or(String::new(), |id| id.to_string()),
        &kind,
        &argument.size.to_string(),
        &format!("{:#x}", argument.offset),
        &argument.port,
        &banks.join(" "),
    ])
}

fn memory(found: &Found<'_>) -> String {
    let mut rows = vec![row(["bank", "kind", "size", "base", "used"])];
    rows.extend(found.view.banks.iter().map(|bank| {
        let used = if bank.used { "yes" } else { "no" };
        let bytes = size(bank.kib.saturating_mul(1024));
        row([bank.tag.as_str(), &bank.kind.to_string(), &bytes, &format!("{:#x}", bank.base), used])
    }));
    table(&rows)
}
