//! Programs: images, the binary section of the API, and the compiler that is not there.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Answer, Outcome, Show, call, create, info, must, status};
use crate::opencl::world::World;
use opencl_sys::*;
use std::ptr::{null, null_mut};

pub(super) fn cases() -> Vec<Case> {
    [images(), other_sources(), builds(), properties(), lives()].into_iter().flatten().collect()
}

/// Loads bytes as a program. Zeros follow them, since a runtime may read on, and should always find the same.
fn load(w: &World, bytes: &[u8]) -> Outcome {
    let room = [bytes, &[0; 1 << 16]].concat();
    let (device, size, mut binary) = (w.device()?, bytes.len(), room.as_ptr());
    let (sizes, binaries) = (&raw const size, &raw mut binary);
    let mut answer = 0;
    create!(
        w,
        clCreateProgramWithBinary(w.context()?, 1, &raw const device, sizes, binaries, &raw mut answer)
    )
}

/// Loads the image with some bytes other than they were.
fn load_changed(w: &World, at: usize, bytes: &[u8]) -> Outcome {
    let mut image = w.image().to_vec();
    image[at..at + bytes.len()].copy_from_slice(bytes);
    load(w, &image)
}

fn images() -> Vec<Case> {
    vec![
        case("program.load", |w| load(w, w.image())),
        case("program.load.binary_status", |w| {
            let (device, size, mut binary) = (w.device()?, w.image().len(), w.image().as_ptr());
            let (sizes, binaries) = (&raw const size, &raw mut binary);
            let (mut each, mut status) = (77, 0);
            let (list, each_out, out) = (&raw const device, &raw mut each, &raw mut status);
            call!(w, clCreateProgramWithBinary(w.context()?, 1, list, sizes, binaries, each_out, out));
            Ok(Answer { status, value: format!("each {each}") })
        }),
        case("program.load.again", |w| {
            w.program()?;
            load(w, w.image())
        }),
        case("program.load.in_second_context", |w| {
            w.program()?;
            let (context, device) = (w.new_context()?, w.device()?);
            let (size, mut binary) = (w.image().len(), w.image().as_ptr());
            let (sizes, binaries) = (&raw const size, &raw mut binary);
            create!(w, clCreateProgramWithBinary(context, 1, &raw const device, sizes, binaries, null_mut()))
        }),
        case("program.load.another_image", |w| {
            w.program()?;
            // The unique identifier of the image makes it another one.
            load_changed(w, 416, &[0x5A; 16])
        }),
        case("program.load.garbage", |w| load(w, &[0xA5; 4096])),
        case("program.load.zeros", |w| load(w, &[0; 4096])),
        case("program.load.magic_only", |w| load(w, b"xclbin2\0")),
        case("program.load.bad_magic", |w| load_changed(w, 0, b"xclbin9")),
        case("program.load.truncated", |w| load(w, &w.image()[..w.image().len() / 2])),
        case("program.load.half_header", |w| load(w, &w.image()[..200])),
        case("program.load.length_too_long", |w| load_changed(w, 304, &u64::MAX.to_le_bytes())),
        case("program.load.no_sections", |w| load_changed(w, 448, &0_u32.to_le_bytes())),
        case("program.load.too_many_sections", |w| load_changed(w, 448, &u32::MAX.to_le_bytes())),
        case("program.load.empty", |w| load(w, &[])),
        case("program.load.null_context", |w| {
            let (device, size, mut binary) = (w.device()?, w.image().len(), w.image().as_ptr());
            let (sizes, binaries) = (&raw const size, &raw mut binary);
            create!(w, clCreateProgramWithBinary(NULL, 1, &raw const device, sizes, binaries, null_mut()))
        }),
        case("program.load.no_devices", |w| {
            let (device, size, mut binary) = (w.device()?, w.image().len(), w.image().as_ptr());
            let (list, sizes, binaries) = (&raw const device, &raw const size, &raw mut binary);
            create!(w, clCreateProgramWithBinary(w.context()?, 0, list, sizes, binaries, null_mut()))
        }),
        case("program.load.null_devices", |w| {
            let (size, mut binary) = (w.image().len(), w.image().as_ptr());
            let (sizes, binaries) = (&raw const size, &raw mut binary);
            create!(w, clCreateProgramWithBinary(w.context()?, 1, null(), sizes, binaries, null_mut()))
        }),
        case("program.load.null_device", |w| {
            let (device, size, mut binary) = (NULL, w.image().len(), w.image().as_ptr());
            let (list, sizes, binaries) = (&raw const device, &raw const size, &raw mut binary);
            create!(w, clCreateProgramWithBinary(w.context()?, 1, list, sizes, binaries, null_mut()))
        }),
        case("program.load.null_sizes", |w| {
            let (device, mut binary) = (w.device()?, w.image().as_ptr());
            let (list, binaries) = (&raw const device, &raw mut binary);
            create!(w, clCreateProgramWithBinary(w.context()?, 1, list, null(), binaries, null_mut()))
        }),
        case("program.load.null_binaries", |w| {
            let (device, size) = (w.device()?, w.image().len());
            let (list, sizes) = (&raw const device, &raw const size);
            create!(w, clCreateProgramWithBinary(w.context()?, 1, list, sizes, null_mut(), null_mut()))
        }),
        case("program.load.null_binary", |w| {
            let (device, size, mut binary) = (w.device()?, w.image().len(), null());
            let (list, sizes, binaries) = (&raw const device, &raw const size, &raw mut binary);
            create!(w, clCreateProgramWithBinary(w.context()?, 1, list, sizes, binaries, null_mut()))
        }),
    ]
}

fn other_sources() -> Vec<Case> {
    vec![
        case("program.source", |w| {
            let mut text = c"__kernel void k() {}".as_ptr();
            create!(w, clCreateProgramWithSource(w.context()?, 1, &raw mut text, null()))
        }),
        case("program.source.no_texts", |w| {
            create!(w, clCreateProgramWithSource(w.context()?, 0, null_mut(), null()))
        }),
        case("program.source.null_context", |w| {
            let mut text = c"__kernel void k() {}".as_ptr();
            create!(w, clCreateProgramWithSource(NULL, 1, &raw mut text, null()))
        }),
        case("program.built_in", |w| {
            let (device, name) = (w.device()?, c"fastcar".as_ptr());
            create!(w, clCreateProgramWithBuiltInKernels(w.context()?, 1, &raw const device, name))
        }),
        case("program.link", |w| {
            let (device, program) = (w.device()?, w.program()?);
            let (list, programs) = (&raw const device, &raw const program);
            create!(w, clLinkProgram(w.context()?, 1, list, null(), 1, programs, None, NULL))
        }),
        case("program.il", |w| create!(w, clCreateProgramWithIL(w.context()?, [0_u8; 4].as_ptr().cast(), 4))),
    ]
}

unsafe extern "C" fn built(_: cl_program, _: *mut std::ffi::c_void) {}

fn builds() -> Vec<Case> {
    vec![
        case("program.build", |w| {
            let device = w.device()?;
            status!(w, clBuildProgram(w.program()?, 1, &raw const device, null(), None, NULL))
        }),
        case("program.build.all_devices", |w| {
            status!(w, clBuildProgram(w.program()?, 0, null(), null(), None, NULL))
        }),
        case("program.build.options", |w| {
            status!(w, clBuildProgram(w.program()?, 0, null(), c"-cl-opt-disable".as_ptr(), None, NULL))
        }),
        case("program.build.null", |w| status!(w, clBuildProgram(NULL, 0, null(), null(), None, NULL))),
        case("program.build.devices_without_count", |w| {
            let device = w.device()?;
            status!(w, clBuildProgram(w.program()?, 0, &raw const device, null(), None, NULL))
        }),
        case("program.build.count_without_devices", |w| {
            status!(w, clBuildProgram(w.program()?, 1, null(), null(), None, NULL))
        }),
        case("program.build.user_data_only", |w| {
            status!(w, clBuildProgram(w.program()?, 0, null(), null(), None, garbage()))
        }),
        case("program.build.notified", |w| {
            status!(w, clBuildProgram(w.program()?, 0, null(), null(), Some(built), NULL))
        }),
        case("program.compile", |w| {
            let program = w.program()?;
            status!(w, clCompileProgram(program, 0, null(), null(), 0, null(), null_mut(), None, NULL))
        }),
    ]
}

fn properties() -> Vec<Case> {
    const PROPERTIES: [(&str, cl_program_info, Show); 10] = [
        ("reference_count", CL_PROGRAM_REFERENCE_COUNT, Show::Number),
        ("context", CL_PROGRAM_CONTEXT, Show::Size),
        ("num_devices", CL_PROGRAM_NUM_DEVICES, Show::Number),
        ("devices", CL_PROGRAM_DEVICES, Show::Size),
        ("source", CL_PROGRAM_SOURCE, Show::Nothing),
        ("binary_sizes", CL_PROGRAM_BINARY_SIZES, Show::Size),
        ("num_kernels", CL_PROGRAM_NUM_KERNELS, Show::Number),
        ("kernel_names", CL_PROGRAM_KERNEL_NAMES, Show::Exact),
        ("il", CL_PROGRAM_IL, Show::Nothing),
        ("unknown", 0x9999, Show::Nothing),
    ];
    const BUILDS: [(&str, cl_program_build_info, Show); 5] = [
        ("status", CL_PROGRAM_BUILD_STATUS, Show::Number),
        ("options", CL_PROGRAM_BUILD_OPTIONS, Show::Text),
        ("log", CL_PROGRAM_BUILD_LOG, Show::Text),
        ("binary_type", CL_PROGRAM_BINARY_TYPE, Show::Number),
        ("unknown", 0x9999, Show::Nothing),
    ];
    let info = PROPERTIES.into_iter().map(|(name, param, show)| {
        case(format!("program.info.{name}"), move |w| info!(w, show, clGetProgramInfo(w.program()?, param)))
    });
    let builds = BUILDS.into_iter().map(|(name, param, show)| {
        case(format!("program.build_info.{name}"), move |w| {
            info!(w, show, clGetProgramBuildInfo(w.program()?, w.device()?, param))
        })
    });
    let mut cases: Vec<Case> = info.chain(builds).collect();
    cases.extend([
        case("program.info.null", |w| info!(w, Show::Number, clGetProgramInfo(NULL, CL_PROGRAM_NUM_KERNELS))),
        case("program.info.binaries", |w| {
            let mut room = vec![0_u8; w.image().len()];
            let mut binary = room.as_mut_ptr();
            let (program, value) = (w.program()?, (&raw mut binary).cast());
            let size = size_of::<*mut u8>();
            let status = call!(w, clGetProgramInfo(program, CL_PROGRAM_BINARIES, size, value, null_mut()));
            let value = if room == w.image() { "the image" } else { "other bytes" };
            Ok(Answer { status, value: value.to_owned() })
        }),
        case("program.info.too_small", |w| {
            let (mut byte, program) = (0_u8, w.program()?);
            let value = (&raw mut byte).cast();
            status!(w, clGetProgramInfo(program, CL_PROGRAM_NUM_DEVICES, 1, value, null_mut()))
        }),
        case("program.build_info.null_program", |w| {
            info!(w, Show::Number, clGetProgramBuildInfo(NULL, w.device()?, CL_PROGRAM_BUILD_STATUS))
        }),
        case("program.build_info.null_device", |w| {
            info!(w, Show::Number, clGetProgramBuildInfo(w.program()?, NULL, CL_PROGRAM_BUILD_STATUS))
        }),
        case("program.build_info.status_after_build", |w| {
            must!(w, clBuildProgram(w.program()?, 0, null(), null(), None, NULL));
            info!(w, Show::Number, clGetProgramBuildInfo(w.program()?, w.device()?, CL_PROGRAM_BUILD_STATUS))
        }),
    ]);
    cases
}

fn lives() -> Vec<Case> {
    vec![
        case("program.retain", |w| status!(w, clRetainProgram(w.program()?))),
        case("program.retain.null", |w| status!(w, clRetainProgram(NULL))),
        case("program.release", |w| status!(w, clReleaseProgram(w.program()?))),
        case("program.release.null", |w| status!(w, clReleaseProgram(NULL))),
        case("program.release.garbage", |w| status!(w, clReleaseProgram(garbage()))),
        case("program.release.twice", |w| {
            must!(w, clReleaseProgram(w.program()?));
            status!(w, clReleaseProgram(w.program()?))
        }),
        case("program.release.with_kernel", |w| {
            w.kernel()?;
            status!(w, clReleaseProgram(w.program()?))
        }),
        case("program.release.then_another_image", |w| {
            must!(w, clReleaseProgram(w.program()?));
            load_changed(w, 416, &[0x5A; 16])
        }),
    ]
}
