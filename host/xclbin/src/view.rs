//! What the sections of a container say together.

use crate::container::{SectionKind, Xclbin};
use crate::error::XclbinError;
use crate::keyvalue::{self, KeyValue};
use crate::metadata::{Kernel, Metadata};
use crate::tables::{self, Bank, Clock, Connection, Ip};
use std::collections::BTreeSet;

/// The sections that a runtime looks at, read and checked against each other. A section that is not there is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct View {
    /// Kernels, arguments and ports.
    pub metadata: Option<Metadata>,
    /// Memory banks.
    pub banks: Vec<Bank>,
    /// Memory banks, and groups of them.
    pub groups: Vec<Bank>,
    /// Instances on the control bus.
    pub ips: Vec<Ip>,
    /// Which argument of which instance reaches which bank.
    pub connections: Vec<Connection>,
    /// Which argument of which instance reaches which bank or group.
    pub group_connections: Vec<Connection>,
    /// Clocks.
    pub clocks: Vec<Clock>,
    /// Keys and values.
    pub key_values: Vec<KeyValue>,
}

impl View {
    /// Reads the sections and checks them.
    ///
    /// # Errors
    /// A section cannot be read, or refers to what another one does not have.
    pub fn read(xclbin: &Xclbin) -> Result<Self, XclbinError> {
        let metadata = xclbin.get(SectionKind::EMBEDDED_METADATA).map(Metadata::from_bytes).transpose()?;
        let view = Self {
            metadata,
            banks: entries(xclbin, SectionKind::MEM_TOPOLOGY, tables::read_banks)?,
            groups: entries(xclbin, SectionKind::ASK_GROUP_TOPOLOGY, tables::read_banks)?,
            ips: entries(xclbin, SectionKind::IP_LAYOUT, tables::read_ips)?,
            connections: entries(xclbin, SectionKind::CONNECTIVITY, tables::read_connections)?,
            group_connections: entries(
                xclbin,
                SectionKind::ASK_GROUP_CONNECTIVITY,
                tables::read_connections,
            )?,
            clocks: entries(xclbin, SectionKind::CLOCK_FREQ_TOPOLOGY, tables::read_clocks)?,
            key_values: entries(xclbin, SectionKind::KEYVALUE_METADATA, keyvalue::read)?,
        };
        view.check()?;
        Ok(view)
    }

    /// The kernels of the metadata.
    #[must_use]
    pub fn kernels(&self) -> &[Kernel] {
        self.metadata.as_ref().map_or(&[], |m| &m.kernels)
    }

    fn check(&self) -> Result<(), XclbinError> {
        self.kernels().iter().try_for_each(check_arguments)?;
        self.check_instances()?;
        self.check_connections("CONNECTIVITY", &self.connections, &self.banks)?;
        self.check_connections("ASK_GROUP_CONNECTIVITY", &self.group_connections, &self.groups)
    }

    /// Every instance of the metadata is on the control bus.
    fn check_instances(&self) -> Result<(), XclbinError> {
        let names: BTreeSet<&str> = self.ips.iter().map(|ip| ip.name.as_str()).collect();
        for kernel in self.kernels() {
            let mut instances = kernel.instances.iter().map(|i| format!("{}:{}", kernel.name, i.name));
            if let Some(found) = instances.find(|name| !names.contains(&name[..])) {
                let what = "an instance in EMBEDDED_METADATA".to_owned();
                return Err(XclbinError::Dangling { what, found, existing: list(&names) });
            }
        }
        Ok(())
    }

    fn check_connections(
        &self,
        section: &str,
        connections: &[Connection],
        banks: &[Bank],
    ) -> Result<(), XclbinError> {
        for (at, connection) in connections.iter().enumerate() {
            let ends = [("instance", connection.ip, self.ips.len()), ("bank", connection.bank, banks.len())];
            if let Some((what, found, count)) = ends.into_iter().find(|e| e.1 as usize >= e.2) {
                return Err(XclbinError::Dangling {
                    what: format!("connection {at} of {section}"),
                    found: format!("{what} {found}"),
                    existing: format!("{count} of them"),
                });
            }
        }
        Ok(())
    }
}

fn entries<T>(
    xclbin: &Xclbin,
    kind: SectionKind,
    read: fn(&[u8]) -> Result<Vec<T>, XclbinError>,
) -> Result<Vec<T>, XclbinError> {
    xclbin.get(kind).map_or_else(|| Ok(Vec::new()), read)
}

fn list(names: &BTreeSet<&str>) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().copied().collect::<Vec<_>>().join(", ") }
}

/// Arguments are numbered from 0 without gaps, and go through ports that exist; those of a kernel in software, none.
fn check_arguments(kernel: &Kernel) -> Result<(), XclbinError> {
    let mut ids: Vec<u32> = kernel.arguments.iter().filter_map(|a| a.id).collect();
    ids.sort_unstable();
    if let Some((expected, found)) = (0..).zip(&ids).find(|&(expected, &found)| expected != found) {
        return Err(XclbinError::Number {
            field: format!("the number of an argument of kernel '{}'", kernel.name),
            found: found.to_string(),
            allowed: format!("{expected}: arguments are numbered from 0, each number once"),
        });
    }
    let ports: BTreeSet<&str> = kernel.ports.iter().map(|p| &p.name[..]).collect();
    let stray = kernel.arguments.iter().find(|a| !a.port.is_empty() && !ports.contains(&a.port[..]));
    stray.map_or(Ok(()), |argument| {
        Err(XclbinError::Dangling {
            what: format!("argument '{}' of kernel '{}'", argument.name, kernel.name),
            found: format!("port '{}'", argument.port),
            existing: list(&ports),
        })
    })
}
