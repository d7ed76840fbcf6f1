//! Maps and migrations.

use super::queue;
use crate::opencl::api::{Answer, Outcome, Show, UNTOUCHED, call, done, info, must, status};
use crate::opencl::cases::{Case, NULL, case, garbage};
use crate::opencl::world::{Made, PAGE, World};
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};

/// Maps a page and waits.
pub(super) fn mapped(w: &World, buffer: cl_mem, flags: cl_map_flags) -> Made {
    let queue = queue(w)?;
    let mut status = CL_SUCCESS;
    let (out, none) = (&raw mut status, null_mut());
    let place = call!(w, clEnqueueMapBuffer(queue, buffer, CL_TRUE, flags, 0, PAGE, 0, null(), none, out));
    done("clEnqueueMapBuffer", status)?;
    Ok(place)
}

/// Maps some bytes of a page.
pub(super) fn map(w: &World, buffer: cl_mem, flags: cl_map_flags, offset: usize, size: usize) -> Outcome {
    let queue = queue(w)?;
    let mut status = UNTOUCHED;
    let (out, none) = (&raw mut status, null_mut());
    let place =
        call!(w, clEnqueueMapBuffer(queue, buffer, CL_TRUE, flags, offset, size, 0, null(), none, out));
    Ok(Answer::object(place, status))
}

pub(super) fn maps() -> Vec<Case> {
    const MAPS: [(&str, cl_map_flags, usize, usize); 9] = [
        ("read", CL_MAP_READ, 0, PAGE),
        ("write", CL_MAP_WRITE, 0, PAGE),
        ("both", CL_MAP_READ | CL_MAP_WRITE, 64, 64),
        ("invalidate", CL_MAP_WRITE_INVALIDATE_REGION, 0, PAGE),
        ("invalidate_and_read", CL_MAP_WRITE_INVALIDATE_REGION | CL_MAP_READ, 0, PAGE),
        ("no_flags", 0, 0, PAGE),
        ("unknown_flag", 1 << 20, 0, PAGE),
        ("empty", CL_MAP_READ, 0, 0),
        ("beyond", CL_MAP_READ, 64, PAGE),
    ];
    let maps = MAPS.into_iter().map(|(name, flags, offset, size)| {
        case(format!("transfer.map.{name}"), move |w| map(w, w.placed()?, flags, offset, size))
    });
    maps.chain(other_maps()).collect()
}

/// Unmaps a place of a buffer.
fn unmap(w: &World, buffer: cl_mem, place: *mut c_void) -> Outcome {
    status!(w, clEnqueueUnmapMemObject(queue(w)?, buffer, place, 0, null(), null_mut()))
}

fn other_maps() -> Vec<Case> {
    vec![
        case("transfer.map.null_buffer", |w| map(w, NULL, CL_MAP_READ, 0, 64)),
        case("transfer.map.null_queue", |w| {
            let (buffer, mut status) = (w.placed()?, UNTOUCHED);
            let (out, none) = (&raw mut status, null_mut());
            let place = call!(w, clEnqueueMapBuffer(NULL, buffer, CL_TRUE, 1, 0, 64, 0, null(), none, out));
            Ok(Answer::object(place, status))
        }),
        case("transfer.map.twice", |w| {
            let buffer = w.placed()?;
            mapped(w, buffer, CL_MAP_READ)?;
            map(w, buffer, CL_MAP_READ, 0, PAGE)
        }),
        case("transfer.map.count", |w| {
            let buffer = w.placed()?;
            mapped(w, buffer, CL_MAP_READ)?;
            info!(w, Show::Number, clGetMemObjectInfo(buffer, CL_MEM_MAP_COUNT))
        }),
        case("transfer.unmap", |w| {
            let buffer = w.placed()?;
            unmap(w, buffer, mapped(w, buffer, CL_MAP_READ)?)
        }),
        case("transfer.unmap.never_mapped", |w| unmap(w, w.placed()?, garbage())),
        case("transfer.unmap.null_place", |w| unmap(w, w.placed()?, NULL)),
        case("transfer.unmap.null_buffer", |w| unmap(w, NULL, garbage())),
        case("transfer.unmap.other_place", |w| {
            let buffer = w.placed()?;
            mapped(w, buffer, CL_MAP_READ)?;
            unmap(w, buffer, garbage())
        }),
        case("transfer.unmap.twice", |w| {
            let buffer = w.placed()?;
            let place = mapped(w, buffer, CL_MAP_READ)?;
            unmap(w, buffer, place)?;
            must!(w, clFinish(queue(w)?));
            unmap(w, buffer, place)
        }),
    ]
}

/// Migrates objects and waits.
fn migrate(w: &World, count: cl_uint, list: *const cl_mem, flags: cl_mem_migration_flags) -> Outcome {
    let queue = queue(w)?;
    status!(w, clEnqueueMigrateMemObjects(queue, count, list, flags, 0, null(), null_mut()))
}

pub(super) fn migrations() -> Vec<Case> {
    const FLAGS: [(&str, cl_mem_migration_flags); 4] = [
        ("to_device", 0),
        ("to_host", CL_MIGRATE_MEM_OBJECT_HOST),
        ("undefined", CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED),
        ("unknown_flag", 1 << 20),
    ];
    let flags = FLAGS.into_iter().map(|(name, flags)| {
        case(format!("transfer.migrate.{name}"), move |w| {
            let buffer = w.placed()?;
            migrate(w, 1, &raw const buffer, flags)
        })
    });
    flags
        .chain([
            case("transfer.migrate.nothing", |w| {
                let buffer = w.placed()?;
                migrate(w, 0, &raw const buffer, 0)
            }),
            case("transfer.migrate.null_list", |w| migrate(w, 1, null(), 0)),
            case("transfer.migrate.null_buffer", |w| {
                let buffer = NULL;
                migrate(w, 1, &raw const buffer, 0)
            }),
            case("transfer.migrate.null_queue", |w| {
                let buffer = w.placed()?;
                status!(w, clEnqueueMigrateMemObjects(NULL, 1, &raw const buffer, 0, 0, null(), null_mut()))
            }),
        ])
        .collect()
}
