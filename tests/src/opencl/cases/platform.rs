//! Platforms.

use super::{Case, NULL, case, garbage};
use crate::opencl::api::{Show, info, status};
use opencl_sys::*;
use std::ptr::null_mut;

const TEXTS: [(&str, cl_platform_info, Show); 5] = [
    ("profile", CL_PLATFORM_PROFILE, Show::Exact),
    ("version", CL_PLATFORM_VERSION, Show::Text),
    ("name", CL_PLATFORM_NAME, Show::Exact),
    ("vendor", CL_PLATFORM_VENDOR, Show::Exact),
    ("extensions", CL_PLATFORM_EXTENSIONS, Show::Text),
];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = TEXTS
        .into_iter()
        .map(|(name, param, show)| {
            case(format!("platform.info.{name}"), move |w| {
                info!(w, show, clGetPlatformInfo(w.platform(), param))
            })
        })
        .collect();
    cases.extend([
        case("platform.ids.count", |w| {
            let mut count = 0;
            status!(w, clGetPlatformIDs(0, null_mut(), &raw mut count))
        }),
        case("platform.ids.nothing_asked", |w| status!(w, clGetPlatformIDs(0, null_mut(), null_mut()))),
        case("platform.ids.no_room", |w| {
            let mut platform = NULL;
            status!(w, clGetPlatformIDs(0, &raw mut platform, null_mut()))
        }),
        case("platform.ids.more_room", |w| {
            let mut platforms = [NULL; 4];
            status!(w, clGetPlatformIDs(4, platforms.as_mut_ptr(), null_mut()))
        }),
        case("platform.info.unknown", |w| info!(w, Show::Nothing, clGetPlatformInfo(w.platform(), 0x9999))),
        case("platform.info.null_platform", |w| {
            info!(w, Show::Text, clGetPlatformInfo(NULL, CL_PLATFORM_NAME))
        }),
        case("platform.info.garbage_platform", |w| {
            info!(w, Show::Text, clGetPlatformInfo(garbage(), CL_PLATFORM_NAME))
        }),
        case("platform.info.size_only", |w| {
            let mut size = 0;
            status!(w, clGetPlatformInfo(w.platform(), CL_PLATFORM_NAME, 0, NULL, &raw mut size))
        }),
        case("platform.info.too_small", |w| {
            let mut text = [0_u8; 2];
            let room = text.len();
            status!(
                w,
                clGetPlatformInfo(w.platform(), CL_PLATFORM_NAME, room, text.as_mut_ptr().cast(), null_mut())
            )
        }),
        case("platform.info.nothing_asked", |w| {
            status!(w, clGetPlatformInfo(w.platform(), CL_PLATFORM_NAME, 0, NULL, null_mut()))
        }),
        case("platform.unload_compiler", |w| status!(w, clUnloadPlatformCompiler(w.platform()))),
        case("platform.unload_compiler.null", |w| status!(w, clUnloadPlatformCompiler(NULL))),
        case("platform.unload_compiler.old", |w| status!(w, clUnloadCompiler())),
    ]);
    cases
}
