//! What an image is, read from a container and checked.

use super::account::Account;
use super::expected::{Expected, KERNEL, UNIT};
use super::{ImageError, ImageKind, describe};
use crate::container::{SectionKind, Uuid, Xclbin};
use crate::metadata::Kernel;
use crate::tables::{Bank, Connection};
use crate::view::View;
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use std::collections::BTreeSet;

/// An instance of the kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ComputeUnit {
    /// Name.
    pub name: String,
    /// Address of its registers.
    pub base: u64,
}

/// What an image is: made only by [`ImageInfo::read`], so what it says has been checked.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ImageInfo {
    /// What runs the kernel.
    pub kind: ImageKind,
    /// Identity of the configuration: that of this build.
    pub identity: Identity,
    /// The configuration.
    pub config: AccelConfig,
    /// Platform that the container names.
    pub platform: String,
    /// The container's identifier.
    pub uuid: Uuid,
    /// The kernel, its ports and arguments.
    pub kernel: Kernel,
    /// Its instances.
    pub units: Vec<ComputeUnit>,
    /// The banks of the channels, in order.
    pub banks: Vec<Bank>,
    /// Bank of each argument by its number; none for plain numbers.
    pub argument_banks: Vec<Option<u32>>,
}

impl ImageInfo {
    /// Reads an image.
    ///
    /// # Errors
    /// Not an image of this accelerator, of another format version, made under another version of the contract, or
    /// its kernel, arguments or banks are not what the register map of its configuration asks for.
    pub fn read(xclbin: &Xclbin) -> Result<Self, ImageError> {
        let account = xclbin.get(SectionKind::USER_METADATA).map(Account::read).transpose()?.flatten();
        let account = account.ok_or_else(|| ImageError::Foreign { found: describe(xclbin) })?;
        let config = AccelConfig::new(account.config)?;
        let expected = Identity::of(&config);
        if account.identity != expected {
            let config = config.name().to_owned();
            return Err(ImageError::Identity { config, found: account.identity, expected });
        }
        let check = Check { config: config.name(), expected: Expected::of(&config)? };
        check.bitstream(account.kind, xclbin)?;
        let view = check.view(xclbin)?;
        let kernel = check.kernel(&view)?.clone();
        let units = check.units(&view)?;
        let banks = check.banks(&view)?;
        let connections = check.connections(&view)?;
        let bank = |id| connections.iter().find(|c| Some(c.argument) == id).map(|c| c.bank);
        Ok(Self {
            kind: account.kind,
            identity: expected,
            platform: xclbin.header.platform.to_string(),
            uuid: xclbin.header.uuid,
            argument_banks: check.expected.kernel.arguments.iter().map(|a| bank(a.id)).collect(),
            kernel,
            units,
            banks,
            config,
        })
    }
}

/// Compares what a container has with what it should have.
struct Check<'a> {
    config: &'a str,
    expected: Expected,
}

impl Check<'_> {
    fn equal<T: PartialEq + ToString>(&self, what: &str, found: T, expected: T) -> Result<(), ImageError> {
        if found == expected {
            return Ok(());
        }
        Err(self.mismatch(what, found.to_string(), expected.to_string()))
    }

    /// As [`Check::equal`], for names that the vendor's tools write in either case.
    fn same(&self, what: &str, found: &str, expected: &str) -> Result<(), ImageError> {
        if found.eq_ignore_ascii_case(expected) {
            return Ok(());
        }
        Err(self.mismatch(what, format!("'{found}'"), format!("'{expected}'")))
    }

    fn mismatch(&self, what: &str, found: String, expected: String) -> ImageError {
        ImageError::Mismatch { config: self.config.to_owned(), what: what.to_owned(), found, expected }
    }

    fn bitstream(&self, kind: ImageKind, xclbin: &Xclbin) -> Result<(), ImageError> {
        let found = match xclbin.get(SectionKind::BITSTREAM) {
            Some(_) => ImageKind::Bitstream,
            None => ImageKind::Simulator,
        };
        self.equal("the image's kind by its sections", found, kind)
    }

    fn view(&self, xclbin: &Xclbin) -> Result<View, ImageError> {
        use SectionKind as Kind;
        for kind in [Kind::EMBEDDED_METADATA, Kind::IP_LAYOUT, Kind::MEM_TOPOLOGY, Kind::CONNECTIVITY] {
            xclbin.require(kind)?;
        }
        Ok(View::read(xclbin)?)
    }

    fn kernel<'v>(&self, view: &'v View) -> Result<&'v Kernel, ImageError> {
        let expected = &self.expected.kernel;
        let [kernel] = view.kernels() else {
            let names: Vec<&str> = view.kernels().iter().map(|k| &k.name[..]).collect();
            return Err(self.mismatch("the list of kernels", quoted(&names), quoted(&[KERNEL])));
        };
        self.equal("the kernel's name", &kernel.name, &expected.name)?;
        self.equal("the kernel's control protocol", &kernel.protocol, &expected.protocol)?;
        self.equal("the kernel's work group size", kernel.work_group, expected.work_group)?;
        self.ports(kernel)?;
        self.arguments(kernel)?;
        Ok(kernel)
    }

    fn ports(&self, kernel: &Kernel) -> Result<(), ImageError> {
        for expected in &self.expected.kernel.ports {
            let found = kernel.ports.iter().find(|p| p.name.eq_ignore_ascii_case(&expected.name));
            let Some(found) = found else {
                let names: Vec<&str> = kernel.ports.iter().map(|p| &p.name[..]).collect();
                return Err(self.mismatch("the list of ports", quoted(&names), quoted(&[&expected.name])));
            };
            let what = |field: &str| format!("{field} of port '{}'", expected.name);
            self.equal(&what("the direction"), found.mode.as_str(), expected.mode.as_str())?;
            self.equal(&what("the data width"), found.data_bits, expected.data_bits)?;
        }
        self.equal("the number of ports", kernel.ports.len(), self.expected.kernel.ports.len())
    }

    fn arguments(&self, kernel: &Kernel) -> Result<(), ImageError> {
        let expected = &self.expected.kernel.arguments;
        self.equal("the number of arguments", kernel.arguments.len(), expected.len())?;
        for expected in expected {
            // `View::read` has seen that every number from 0 is there once.
            let Some(found) = kernel.arguments.iter().find(|a| a.id == expected.id) else {
                return Err(self.mismatch(
                    "the list of arguments",
                    "short".to_owned(),
                    expected.name.clone(),
                ));
            };
            let what = |field: &str| format!("{field} of argument '{}'", expected.name);
            self.same(&what("the name"), &found.name, &expected.name)?;
            self.equal(&what("the address qualifier"), found.qualifier.0, expected.qualifier.0)?;
            self.same(&what("the port"), &found.port, &expected.port)?;
            self.equal(&what("the size"), found.size, expected.size)?;
            self.equal(&what("the register offset"), found.offset, expected.offset)?;
            self.equal(&what("the host's size"), found.host_size, expected.host_size)?;
        }
        Ok(())
    }

    fn units(&self, view: &View) -> Result<Vec<ComputeUnit>, ImageError> {
        let units = view.ips.iter().filter_map(|ip| Some((ip.kernel()?, ip)));
        let units: Vec<ComputeUnit> = units
            .filter(|((kernel, _), _)| *kernel == KERNEL)
            .map(|((_, name), ip)| ComputeUnit { name: name.to_owned(), base: ip.base })
            .collect();
        let names: Vec<&str> = units.iter().map(|u| &u.name[..]).collect();
        if names != [UNIT] {
            return Err(self.mismatch("the list of compute units", quoted(&names), quoted(&[UNIT])));
        }
        Ok(units)
    }

    fn banks(&self, view: &View) -> Result<Vec<Bank>, ImageError> {
        let expected = &self.expected.banks;
        let Some(found) = view.banks.get(..expected.len()) else {
            let (found, expected) = (view.banks.len().to_string(), expected.len().to_string());
            return Err(self.mismatch("the number of memory banks", found, expected));
        };
        for (channel, (found, expected)) in found.iter().zip(expected).enumerate() {
            let what = |field: &str| format!("{field} of memory bank {channel}");
            self.equal(&what("the use"), found.used, true)?;
            if found.kib < expected.kib {
                let (found, expected) = (format!("{} KiB", found.kib), format!("{} KiB", expected.kib));
                return Err(self.mismatch(&what("the capacity"), found, expected));
            }
        }
        Ok(found.to_vec())
    }

    /// The connections of the compute unit.
    fn connections(&self, view: &View) -> Result<Vec<Connection>, ImageError> {
        let unit = format!("{KERNEL}:{UNIT}");
        let of_unit =
            |c: &&Connection| view.ips.get(c.ip as usize).is_some_and(|ip| ip.name.as_str() == unit);
        let found: Vec<Connection> = view.connections.iter().filter(of_unit).copied().collect();
        let reached = |connections: &[Connection], argument: Option<u32>| {
            let banks = connections.iter().filter(|c| Some(c.argument) == argument);
            let banks: BTreeSet<u32> = banks.map(|c| c.bank).collect();
            let banks: Vec<String> = banks.iter().map(u32::to_string).collect();
            if banks.is_empty() { "none".to_owned() } else { banks.join(", ") }
        };
        for argument in &self.expected.kernel.arguments {
            let banks = [&found, &self.expected.connections].map(|c| reached(c, argument.id));
            let [found, expected] = banks;
            self.equal(&format!("the memory bank of argument '{}'", argument.name), found, expected)?;
        }
        Ok(found)
    }
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|n| format!("'{n}'")).collect();
    if names.is_empty() { "empty".to_owned() } else { names.join(", ") }
}
