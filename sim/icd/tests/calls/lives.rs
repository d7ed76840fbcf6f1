//! Objects that come and go: references, what keeps what alive, and nothing left behind.

use crate::common::{Cl, LIMITS, Rig, copying, in_process_with, step};
use opencl_sys::*;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

static FAREWELLS: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" fn farewell(_: cl_mem, order: *mut c_void) {
    // The callbacks come last one first: 2, then 1.
    assert_eq!(order.addr() % 2, FAREWELLS.fetch_add(1, Ordering::SeqCst) % 2);
}

#[test]
fn nothing_is_left_behind() {
    if !in_process_with("lives::nothing_is_left_behind", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    for round in 0..200 {
        let properties = if round % 2 == 0 { 0 } else { CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE };
        let rig = Rig::new(Cl::linked(), "tiny", properties);
        rig.load(&copying(&rig.config));
        rig.write(rig.buffers[1], 0, &step(&rig.config, 1).to_bytes(LIMITS));
        let mem = rig.buffer(0, 100).unwrap();
        let events: Vec<_> = (0..5).map(|_| rig.run().unwrap()).collect();
        // SAFETY: live objects; each is released as often as it is retained or made.
        unsafe {
            for order in [1, 2] {
                let order = std::ptr::without_provenance_mut(order);
                assert_eq!((rig.cl.clSetMemObjectDestructorCallback)(mem, Some(farewell), order), 0);
            }
            assert_eq!((rig.cl.clRetainMemObject)(mem), 0);
            assert_eq!((rig.cl.clReleaseMemObject)(mem), 0);
            assert_eq!((rig.cl.clReleaseMemObject)(mem), 0);
            assert_eq!((rig.cl.clReleaseMemObject)(mem), CL_INVALID_MEM_OBJECT);
        }
        events.into_iter().for_each(|e| rig.release_event(e));
        // SAFETY: a live queue.
        assert_eq!(unsafe { (rig.cl.clFinish)(rig.queue) }, 0);
        rig.close();
        assert_eq!(fastcar_icd::live_handles(), 0, "round {round}");
    }
    assert_eq!(FAREWELLS.load(Ordering::SeqCst), 400);
}

/// A context that the application has released lives on under what was made in it, and goes with the last of that.
#[test]
fn what_is_needed_stays_alive() {
    if !in_process_with("lives::what_is_needed_stays_alive", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let rig = Rig::new(Cl::linked(), "tiny", 0);
    let cl = &rig.cl;
    let region = cl_buffer_region { origin: 0, size: 64 };
    let mut code = -1;
    // SAFETY: live objects, but where death is what is asked for.
    unsafe {
        let whole = rig.buffer(0, 4096).unwrap();
        let region = (&raw const region).cast();
        let part = (cl.clCreateSubBuffer)(whole, 0, CL_BUFFER_CREATE_TYPE_REGION, region, &raw mut code);
        assert_eq!(code, 0);
        assert_eq!((cl.clReleaseMemObject)(whole), 0);
        assert_eq!(
            (cl.clReleaseMemObject)(whole),
            CL_INVALID_MEM_OBJECT,
            "the application's last reference is gone"
        );
        let mut found: cl_mem = null_mut();
        let query = CL_MEM_ASSOCIATED_MEMOBJECT;
        let code = (cl.clGetMemObjectInfo)(part, query, 8, (&raw mut found).cast(), null_mut());
        assert_eq!((code, found), (0, whole));
        let mut size = 0usize;
        let code = (cl.clGetMemObjectInfo)(whole, CL_MEM_SIZE, 8, (&raw mut size).cast(), null_mut());
        assert_eq!((code, size), (0, 4096), "the whole lives under its part");
        assert_eq!((cl.clReleaseMemObject)(part), 0);
        let code = (cl.clGetMemObjectInfo)(whole, CL_MEM_SIZE, 8, (&raw mut size).cast(), null_mut());
        assert_eq!(code, CL_INVALID_MEM_OBJECT, "and not beyond it");
        // The context is named by its queue, after the application has let go of it.
        assert_eq!((cl.clRetainContext)(rig.context), 0);
        assert_eq!((cl.clReleaseContext)(rig.context), 0);
        let mut event = null_mut();
        assert_eq!((cl.clEnqueueMarkerWithWaitList)(rig.queue, 0, null(), &raw mut event), 0);
        let mut context: cl_context = null_mut();
        let code = (cl.clGetEventInfo)(event, CL_EVENT_CONTEXT, 8, (&raw mut context).cast(), null_mut());
        assert_eq!((code, context), (0, rig.context));
        assert_eq!((cl.clReleaseEvent)(event), 0);
    }
    rig.close();
    assert_eq!(fastcar_icd::live_handles(), 0);
}
