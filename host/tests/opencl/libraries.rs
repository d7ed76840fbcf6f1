//! Finding library, platform and device.

use crate::alone::alone;
use crate::{impatient, model, open, refusal};
use fastcar_host::backend::Backend;
use fastcar_host::opencl::library::use_linked_in;
use fastcar_host::opencl::platform::devices;
use std::path::Path;
use std::process::Command;

/// Compiles a library of a few calls.
fn library(dir: &Path, code: &str) -> String {
    let (source, library) = (dir.join("stub.c"), dir.join("libstub.so"));
    std::fs::write(&source, code).unwrap();
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(status.unwrap().success());
    library.to_string_lossy().into_owned()
}

#[test]
fn devices_are_listed_with_their_platform() {
    if alone("libraries::devices_are_listed_with_their_platform", &[("FASTCAR_SIM_DEVICES", "tiny*2,u55c")]) {
        let all = devices().unwrap();
        let names: Vec<&str> = all.iter().map(|d| &d.name[..]).collect();
        assert_eq!(names, ["tiny (simulated)", "tiny (simulated)", "u55c (simulated)"]);
        assert!(all.iter().all(|d| d.platform == "fastcar simulator" && d.available));
        assert_eq!(all[2].memory_bytes, 32 * (512 << 20));
    }
}

#[test]
fn a_path_that_does_not_load_is_refused_although_the_system_has_a_library() {
    let name = "libraries::a_path_that_does_not_load_is_refused_although_the_system_has_a_library";
    if alone(name, &[("OPENCL_DYLIB_PATH", "/nowhere/libcard.so;/nowhere/libother.so")]) {
        let error = refusal(devices());
        assert!(
            error.starts_with(
                "OPENCL_DYLIB_PATH is '/nowhere/libcard.so;/nowhere/libother.so', and none of it loads ("
            ),
            "{error}"
        );
        assert!(
            error.contains("libother.so")
                && error.ends_with("or unset it to use the system's OpenCL library"),
            "{error}"
        );
    }
}

#[test]
fn a_library_that_is_not_opencl_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = library(dir.path(), "int answer(void) { return 42; }");
    if alone("libraries::a_library_that_is_not_opencl_is_refused", &[("OPENCL_DYLIB_PATH", &path)]) {
        assert_eq!(
            refusal(devices()),
            "clGetPlatformIDs answered DLOPEN_FUNCTION_NOT_AVAILABLE (-2001) for the list of platforms: \
             the library is no OpenCL library, or lacks this call: check OPENCL_DYLIB_PATH"
        );
    }
}

#[test]
fn a_loader_without_platforms_says_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let path =
        library(dir.path(), "int clGetPlatformIDs(unsigned n, void *p, unsigned *c) { return -1001; }");
    if alone("libraries::a_loader_without_platforms_says_what_to_install", &[("OPENCL_DYLIB_PATH", &path)]) {
        assert_eq!(
            refusal(devices()),
            "the OpenCL library knows no platform: install the device's runtime (for a card, XRT) \
             or use the simulator by --device sim"
        );
    }
}

#[test]
fn a_platform_without_devices_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let code = r#"
        #include <stddef.h>
        #include <string.h>
        int clGetPlatformIDs(unsigned n, void **p, unsigned *c) {
            if (c) *c = 1;
            if (p) p[0] = (void *)1;
            return 0;
        }
        int clGetPlatformInfo(void *p, unsigned what, size_t n, void *out, size_t *size) {
            if (size) *size = 6;
            if (out) memcpy(out, "Empty", 6);
            return 0;
        }
        int clGetDeviceIDs(void *p, unsigned long type, unsigned n, void **d, unsigned *c) {
            if (c) *c = 0;
            return -1;
        }
    "#;
    let path = library(dir.path(), code);
    if alone("libraries::a_platform_without_devices_is_named", &[("OPENCL_DYLIB_PATH", &path)]) {
        assert_eq!(
            refusal(devices()),
            "no OpenCL device on Empty: check that the card is seated and its driver is loaded, \
             or use the simulator by --device sim"
        );
    }
}

#[test]
fn a_preset_without_a_device_names_the_devices_there_are() {
    if alone("libraries::a_preset_without_a_device_names_the_devices_there_are", &[]) {
        assert_eq!(
            refusal(open(&model("u50"))),
            "no OpenCL device is 'u50': there is 0 'tiny (simulated)' of fastcar simulator, \
             1 'edge (simulated)' of fastcar simulator"
        );
    }
}

#[test]
fn the_linked_in_platform_is_chosen_before_threads_run() {
    let name = "libraries::the_linked_in_platform_is_chosen_before_threads_run";
    if alone(name, &[]) {
        let error = refusal(use_linked_in("tiny"));
        assert!(error.contains("must be settled before other threads start"), "{error}");
    }
}

#[test]
fn names_as_a_card_has_them_change_nothing() {
    let name = "libraries::names_as_a_card_has_them_change_nothing";
    if alone(name, &[("FASTCAR_SIM_AS_XRT", "1"), ("FASTCAR_SIM_DEVICES", "tiny")]) {
        let all = devices().unwrap();
        assert_eq!((&all[0].platform[..], &all[0].version[..10]), ("Xilinx", "OpenCL 1.0"));
        let model = model("tiny");
        let mut backend = impatient(&model);
        crate::load(&mut backend, &model);
        let mut first = [0; 64];
        backend.read_channel(0, 0, &mut first).unwrap();
        assert_eq!(first, model.channel(0)[..64]);
    }
}
