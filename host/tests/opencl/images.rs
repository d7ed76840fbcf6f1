//! Images that are refused before anything is written.

use crate::alone::alone;
use crate::{model, refusal};
use fastcar_arch::config::AccelConfig;
use fastcar_host::backend::{Backend, OpenClBackend};
use fastcar_host::opencl::{DeviceOptions, OpenClError};
use fastcar_xclbin::image::FastcarImage;
use std::path::{Path, PathBuf};

fn image(preset: &str) -> Vec<u8> {
    FastcarImage::simulator(&AccelConfig::preset(preset).unwrap()).unwrap().to_bytes()
}

fn written(dir: &Path, bytes: &[u8]) -> PathBuf {
    let path = dir.join("image.xclbin");
    std::fs::write(&path, bytes).unwrap();
    path
}

fn open(path: &Path, preset: &str) -> Result<OpenClBackend, OpenClError> {
    let options = DeviceOptions { image: Some(path.to_owned()), ..DeviceOptions::default() };
    OpenClBackend::open(&options, &AccelConfig::preset(preset).unwrap())
}

#[test]
fn an_image_from_a_file_is_loaded() {
    if alone("images::an_image_from_a_file_is_loaded", &[]) {
        let dir = tempfile::tempdir().unwrap();
        let mut backend = open(&written(dir.path(), &image("edge")), "edge").unwrap();
        assert_eq!(backend.device().image().info().config.name(), "edge");
        crate::load(&mut backend, &model("edge"));
    }
}

#[test]
fn another_presets_image_is_refused_with_both_identities() {
    if alone("images::another_presets_image_is_refused_with_both_identities", &[]) {
        let dir = tempfile::tempdir().unwrap();
        let error = refusal(open(&written(dir.path(), &image("edge")), "tiny"));
        assert!(error.contains("(preset 'edge'), the weights are packed for identity"), "{error}");
        assert!(
            error.ends_with("load an image of preset 'tiny', or pack the model for preset 'edge'"),
            "{error}"
        );
    }
}

#[test]
fn weights_of_another_preset_are_refused_before_the_first_write() {
    if alone("images::weights_of_another_preset_are_refused_before_the_first_write", &[]) {
        let dir = tempfile::tempdir().unwrap();
        let mut backend = open(&written(dir.path(), &image("tiny")), "tiny").unwrap();
        let other = model("edge");
        let error = refusal(backend.load(&other, other.constants()));
        assert!(error.contains("the image is of identity"), "{error}");
        let error = refusal(backend.read_channel(0, 0, &mut [0; 4]));
        assert!(error.contains("no model is loaded on device 'tiny (simulated)'"), "{error}");
    }
}

#[test]
fn an_image_for_another_device_is_refused_by_the_device() {
    if alone("images::an_image_for_another_device_is_refused_by_the_device", &[]) {
        let options = DeviceOptions { device: Some("tiny".to_owned()), ..DeviceOptions::default() };
        let error = refusal(OpenClBackend::open(&options, &AccelConfig::preset("edge").unwrap()));
        assert!(error.starts_with("clCreateProgramWithBinary answered CL_INVALID_"), "{error}");
        assert!(error.contains("the simulator's image of 'edge' on device 'tiny (simulated)'"), "{error}");
    }
}

#[test]
fn files_that_are_no_images_are_refused() {
    if alone("images::files_that_are_no_images_are_refused", &[]) {
        let dir = tempfile::tempdir().unwrap();
        let refused = |bytes: &[u8]| refusal(open(&written(dir.path(), bytes), "tiny"));
        let whole = image("tiny");
        for (bytes, expected) in [
            (&b"garbage"[..], "not an xclbin: the first bytes are \"garbage\""),
            (&[7; 4096][..], "not an xclbin: the first bytes are"),
            (&whole[..whole.len() - 1], "it is cut short or damaged"),
            (&whole[..500], ""),
        ] {
            let error = refused(bytes);
            assert!(error.contains("image.xclbin") && error.contains(expected), "{error}");
        }
        let missing = refusal(open(&dir.path().join("none.xclbin"), "tiny"));
        assert!(missing.starts_with("cannot read image") && missing.contains("No such file"), "{missing}");
    }
}

#[test]
fn a_vendors_image_without_our_metadata_says_what_it_is() {
    if alone("images::a_vendors_image_without_our_metadata_says_what_it_is", &[]) {
        use fastcar_xclbin::{SectionKind, Xclbin};
        let dir = tempfile::tempdir().unwrap();
        let ours = Xclbin::from_bytes(&image("tiny")).unwrap();
        let mut foreign = Xclbin::new(ours.header);
        for section in ours.sections().iter().filter(|s| s.kind != SectionKind::USER_METADATA) {
            foreign.insert(section.clone()).unwrap();
        }
        let error = refusal(open(&written(dir.path(), &foreign.to_bytes()), "tiny"));
        assert!(error.contains("this is no fastcar image but an xclbin without a bitstream"), "{error}");
    }
}
