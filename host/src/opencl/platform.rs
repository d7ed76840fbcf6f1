//! Platforms and devices: what there is, and which one is meant.

use super::status::failure;
use super::{OpenClError, library};
use opencl3::device::{CL_DEVICE_TYPE_ALL, Device as Handle};
use opencl3::error_codes::{CL_PLATFORM_NOT_FOUND_KHR, ClError};
use opencl3::platform::{Platform, get_platforms};
use serde::Serialize;

/// What `--device` calls the simulator that is linked into the program.
pub const LINKED_IN: &str = "sim";

/// A device of the library.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceEntry {
    /// Number among all devices.
    pub index: usize,
    /// Number of its platform.
    pub platform_index: usize,
    /// Number among its platform's devices.
    pub device_index: usize,
    /// Its platform's name.
    pub platform: String,
    /// The version that its platform names.
    pub version: String,
    /// Its name.
    pub name: String,
    /// Bytes of its memory.
    pub memory_bytes: u64,
    /// Whether it takes work; a device that another process holds may not.
    pub available: bool,
    #[serde(skip)]
    pub(super) handle: Handle,
}

impl DeviceEntry {
    fn text(&self) -> String {
        format!("{} '{}' of {}", self.index, self.name, self.platform)
    }
}

/// All devices of all platforms.
///
/// # Errors
/// [`OpenClError::Library`], [`OpenClError::NoPlatform`], [`OpenClError::NoDevice`], or a failed call.
pub fn devices() -> Result<Vec<DeviceEntry>, OpenClError> {
    library::check()?;
    let platforms = match get_platforms() {
        Ok(platforms) => platforms,
        Err(ClError(CL_PLATFORM_NOT_FOUND_KHR)) => return Err(OpenClError::NoPlatform),
        Err(ClError(code)) => return Err(failure("clGetPlatformIDs", code, "the list of platforms")),
    };
    if platforms.is_empty() {
        return Err(OpenClError::NoPlatform);
    }
    let mut out = Vec::new();
    let mut names = Vec::new();
    for (index, platform) in platforms.iter().enumerate() {
        names.push(append(&mut out, index, platform)?);
    }
    if out.is_empty() { Err(OpenClError::NoDevice { platforms: names.join(", ") }) } else { Ok(out) }
}

/// Appends a platform's devices; returns its name.
fn append(out: &mut Vec<DeviceEntry>, index: usize, platform: &Platform) -> Result<String, OpenClError> {
    let ask = |e: ClError| failure("clGetPlatformInfo", e.0, format!("platform {index}"));
    let (name, version) = (platform.name().map_err(ask)?, platform.version().map_err(ask)?);
    let handles = platform
        .get_devices(CL_DEVICE_TYPE_ALL)
        .map_err(|e| failure("clGetDeviceIDs", e.0, format!("platform '{name}'")))?;
    for (device_index, handle) in handles.into_iter().map(Handle::new).enumerate() {
        let ask = |e: ClError| failure("clGetDeviceInfo", e.0, format!("device {index}:{device_index}"));
        out.push(DeviceEntry {
            index: out.len(),
            platform_index: index,
            device_index,
            platform: name.clone(),
            version: version.clone(),
            name: Some(handle.name().map_err(ask)?).filter(|n| !n.is_empty()).unwrap_or_else(unnamed),
            memory_bytes: handle.global_mem_size().map_err(ask)?,
            available: handle.available().map_err(ask)?,
            handle,
        });
    }
    Ok(name)
}

/// What stands for the name that a runtime without a card leaves empty.
fn unnamed() -> String {
    "unnamed device".to_owned()
}

/// The device that is meant: by number, by `platform:number`, or by a part of its name or its platform's. Without a
/// choice (or with `sim` alone) it is the only one, or the one whose name has the preset in it: cards and simulated
/// devices are both named after their board.
///
/// # Errors
/// [`OpenClError::UnknownDevice`] or [`OpenClError::AmbiguousDevice`].
pub fn choose<'a>(
    all: &'a [DeviceEntry],
    asked: Option<&str>,
    preset: &str,
) -> Result<&'a DeviceEntry, OpenClError> {
    let asked = asked.filter(|a| *a != LINKED_IN);
    let found: Vec<&DeviceEntry> = match asked {
        Some(text) => all.iter().filter(|d| is_meant(d, text)).collect(),
        None if all.len() == 1 => all.iter().collect(),
        None => all.iter().filter(|d| contains(&d.name, preset)).collect(),
    };
    let list = |devices: &[&DeviceEntry]| devices.iter().map(|d| d.text()).collect::<Vec<_>>().join(", ");
    let asked = || asked.unwrap_or(preset).to_owned();
    // Devices of one name are alike: the first that is free will do.
    match &found[..] {
        [] => {
            Err(OpenClError::UnknownDevice { asked: asked(), known: list(&all.iter().collect::<Vec<_>>()) })
        }
        [first, rest @ ..]
            if rest.iter().all(|d| (&d.name, &d.platform) == (&first.name, &first.platform)) =>
        {
            Ok(found.iter().find(|d| d.available).unwrap_or(first))
        }
        several => Err(OpenClError::AmbiguousDevice { asked: asked(), found: list(several) }),
    }
}

fn is_meant(device: &DeviceEntry, text: &str) -> bool {
    if let Ok(index) = text.parse::<usize>() {
        return device.index == index;
    }
    let pair = text.split_once(':').map(|(p, d)| (p.parse::<usize>(), d.parse::<usize>()));
    if let Some((Ok(platform), Ok(index))) = pair {
        return (device.platform_index, device.device_index) == (platform, index);
    }
    contains(&device.name, text) || contains(&device.platform, text)
}

fn contains(name: &str, part: &str) -> bool {
    name.to_lowercase().contains(&part.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: usize, platform: (usize, &str), device_index: usize, name: &str) -> DeviceEntry {
        DeviceEntry {
            index,
            platform_index: platform.0,
            device_index,
            platform: platform.1.to_owned(),
            version: "OpenCL 1.2".to_owned(),
            name: name.to_owned(),
            memory_bytes: 1 << 30,
            available: index != 1,
            handle: Handle::new(std::ptr::null_mut()),
        }
    }

    fn all() -> Vec<DeviceEntry> {
        let sim = (0, "fastcar simulator");
        let xilinx = (1, "Xilinx");
        vec![
            entry(0, sim, 0, "edge (simulated)"),
            entry(1, sim, 1, "tiny (simulated)"),
            entry(2, sim, 2, "tiny (simulated)"),
            entry(3, xilinx, 0, "xilinx_u55c_gen3x16_xdma_base_3"),
        ]
    }

    fn chosen(asked: Option<&str>, preset: &str) -> Result<usize, String> {
        choose(&all(), asked, preset).map(|d| d.index).map_err(|e| e.to_string())
    }

    #[test]
    fn devices_are_chosen_by_number_place_and_name() {
        assert_eq!(chosen(Some("3"), "tiny"), Ok(3));
        assert_eq!(chosen(Some("1:0"), "tiny"), Ok(3));
        assert_eq!(chosen(Some("0:1"), "u55c"), Ok(1));
        assert_eq!(chosen(Some("XILINX"), "tiny"), Ok(3));
        assert_eq!(chosen(Some("edge"), "tiny"), Ok(0));
        assert_eq!(chosen(Some("tiny"), "edge"), Ok(2), "of two alike the free one");
    }

    #[test]
    fn without_a_choice_the_preset_decides() {
        assert_eq!(chosen(None, "u55c"), Ok(3));
        assert_eq!(chosen(Some("sim"), "edge"), Ok(0));
        let one = [entry(0, (0, "Xilinx"), 0, "xilinx_u250")];
        assert_eq!(choose(&one, None, "tiny").map(|d| d.index).map_err(|e| e.to_string()), Ok(0));
    }

    #[test]
    fn what_fits_none_or_several_is_refused_with_the_devices_there_are() {
        let known = "there is 0 'edge (simulated)' of fastcar simulator, 1 'tiny (simulated)' of fastcar simulator, \
                     2 'tiny (simulated)' of fastcar simulator, 3 'xilinx_u55c_gen3x16_xdma_base_3' of Xilinx";
        assert_eq!(chosen(Some("u280"), "tiny"), Err(format!("no OpenCL device is 'u280': {known}")));
        assert_eq!(chosen(Some("7"), "tiny"), Err(format!("no OpenCL device is '7': {known}")));
        assert_eq!(chosen(None, "u50"), Err(format!("no OpenCL device is 'u50': {known}")));
        let several = chosen(Some("simulated"), "tiny").map_err(|e| e.contains("name one by its number"));
        assert_eq!(several, Err(true));
    }
}
