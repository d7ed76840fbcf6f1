//! Damaged images: whatever happens to the bytes, readers answer.

use crate::image;
use fastcar_xclbin::image::{FastcarImage, ImageInfo};
use fastcar_xclbin::view::View;
use fastcar_xclbin::{SectionKind, Xclbin};
use proptest::prelude::*;

/// Reads bytes in every way there is, and says how far it came.
fn read(bytes: &[u8]) -> u32 {
    let Ok(xclbin) = Xclbin::from_bytes(bytes) else { return 0 };
    // What was read can be written, and reads back the same.
    assert_eq!(Xclbin::from_bytes(&xclbin.to_bytes()).as_ref(), Ok(&xclbin));
    if View::read(&xclbin).is_err() {
        return 1;
    }
    match ImageInfo::read(&xclbin) {
        Ok(info) => {
            // What passes is whole: the identity is that of the configuration.
            assert_eq!(FastcarImage::simulator(&info.config).unwrap().info().identity, info.identity);
            3
        }
        Err(e) => {
            assert!(!e.to_string().is_empty());
            2
        }
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = image("tiny").to_bytes();
    (0..bytes.len()).for_each(|end| assert_eq!(read(&bytes[..end]), 0, "{end}"));
}

#[test]
fn every_byte_may_be_wrong() {
    let bytes = image("tiny").to_bytes();
    let mut reached = [0; 4];
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        reached[read(&bytes) as usize] += 1;
    }
    // Some bytes break the container, some a section, some the image; some only say when it was made.
    assert!(reached.iter().all(|&n| n > 20), "{reached:?}");
}

/// Offset and length of a section's contents.
fn place(bytes: &[u8], kind: SectionKind) -> std::ops::Range<usize> {
    let contents = Xclbin::from_bytes(bytes).unwrap().require(kind).unwrap().to_vec();
    let start = bytes.windows(contents.len()).rposition(|w| w == contents).unwrap();
    start..start + contents.len()
}

#[test]
fn a_changed_configuration_is_no_image() {
    let bytes = image("tiny").to_bytes();
    let place = place(&bytes, SectionKind::USER_METADATA);
    for at in place.filter(|&at| bytes[at].is_ascii_digit()) {
        let mut bytes = bytes.clone();
        bytes[at] = b'0' + (bytes[at] - b'0' + 1) % 10;
        assert!(read(&bytes) < 3, "{at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_damage_is_answered(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        let mut bytes = image_bytes().to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
            // A length that fits leads past the first check.
            let length = (bytes.len() as u64).to_le_bytes();
            if let Some(field) = bytes.get_mut(304..312) {
                field.copy_from_slice(&length);
            }
        }
        read(&bytes);
    }
}

/// The image that is damaged, made once.
fn image_bytes() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| image("edge").to_bytes())
}
