//! The xclbin reader never panics, and what it reads it writes back. The input is a container, XML, and a list of
//! changes to a valid image, since few inputs find their way through a whole container.
#![no_main]

use fastcar_arch::config::AccelConfig;
use fastcar_xclbin::Xclbin;
use fastcar_xclbin::image::{FastcarImage, ImageInfo};
use fastcar_xclbin::metadata::Metadata;
use fastcar_xclbin::view::View;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let config = AccelConfig::preset("tiny").expect("preset");
    FastcarImage::simulator(&config).expect("image").to_bytes()
});

/// The valid image with a byte changed for every three of the input: two say where, one what.
fn changed(data: &[u8]) -> Vec<u8> {
    let mut bytes = IMAGE.clone();
    for change in data.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        bytes.get_mut(at).into_iter().for_each(|byte| *byte = change[2]);
    }
    bytes
}

fn read(bytes: &[u8]) {
    let Ok(xclbin) = Xclbin::from_bytes(bytes) else { return };
    assert_eq!(Xclbin::from_bytes(&xclbin.to_bytes()).as_ref(), Ok(&xclbin));
    let _ = View::read(&xclbin);
    let _ = ImageInfo::read(&xclbin);
}

fuzz_target!(|data: &[u8]| {
    read(data);
    read(&changed(data));
    let _ = Metadata::from_bytes(data);
});
