//! Runs of the kernel through the interface: values, times, refusals and faults.
#![allow(unsafe_code, reason = "calls of a C interface")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

use common::*;
use fastcar_arch::step::{StepReport, StepTable};
use opencl_sys::*;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Mutex;

/// A rig with the copying program, a step and an input.
fn ready(cl: Cl, preset: &str) -> Rig {
    let rig = Rig::new(cl, preset, CL_QUEUE_PROFILING_ENABLE);
    rig.load(&copying(&rig.config));
    rig.write(rig.buffers[1], 0, &step(&rig.config, 2).to_bytes(LIMITS));
    rig
}

/// The words that the input of a slot holds, as they lie in the channels of a configuration with one channel.
fn input(slot: u32) -> Vec<u8> {
    (0..WORDS).flat_map(|w| ((slot * 1000 + w) as f32).to_le_bytes()).collect()
}

fn output(rig: &Rig, slot: u64) -> Vec<u8> {
    rig.read(rig.buffers[3], (OUTPUT + slot * STRIDE) as usize, WORDS as usize * 4)
}

fn values_on(cl: Cl) {
    let rig = ready(cl, "tiny");
    for slot in 0..2 {
        rig.write(rig.buffers[3], (INPUT + slot * STRIDE) as usize, &input(slot as u32));
    }
    let event = rig.run().unwrap();
    assert_eq!(rig.wait(event), 0, "{}", rig.log());
    assert_eq!(output(&rig, 0), input(0), "slot 0 computes");
    assert!(output(&rig, 1).iter().all(|&b| b == 0), "slot 1 replays and stores nothing");
    let report = StepReport::from_bytes(&rig.read(rig.buffers[2], 0, REPORT));
    assert_eq!((report.gates[0].active, report.gates[0].replay), (3, 2));
    let [queued, submit, start, end] = rig.times(event);
    assert!(queued <= submit && submit <= start && start < end);
    rig.release_event(event);
    rig.close();
}

#[test]
fn values_linked() {
    if in_process_with("values_linked", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        values_on(Cl::linked());
        assert_eq!(fastcar_icd::live_handles(), 0);
    }
}

#[test]
fn values_as_a_library() {
    if in_process_with("values_as_a_library", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        values_on(Cl::library());
    }
}

/// The time of a run is that of the simulator with program, step table and report where the buffers lie.
#[test]
fn a_run_takes_its_cycles() {
    if !in_process_with(
        "a_run_takes_its_cycles",
        &[("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_LINK", "none")],
    ) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    let event = rig.run().unwrap();
    assert_eq!(rig.wait(event), 0);
    let [_, _, start, end] = rig.times(event);
    let timer = fastcar_sim::Timer::new(rig.config.clone(), fastcar_sim::SimOptions::default()).unwrap();
    // The first three buffers are the first in bank 0.
    let placement = fastcar_sim::Placement { program: 0, step: 1 << 16, report: (1 << 16) + (1 << 14) };
    let decisions = fastcar_golden::Decisions {
        replay: vec![2],
        blocks: vec![Vec::new()],
        ..fastcar_golden::Decisions::default()
    };
    let table = step(&rig.config, 2);
    let timing = timer.run_placed(&copying(&rig.config), &table, &decisions, placement).unwrap();
    assert_eq!(end - start, timing.cycles() * 10, "at 100 MHz");
    assert_eq!(start, 0, "transfers take no time");
}

#[test]
fn timing_leaves_memory_alone() {
    if !in_process_with(
        "timing_leaves_memory_alone",
        &[("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_MODE", "timing")],
    ) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    rig.write(rig.buffers[3], INPUT as usize, &input(0));
    rig.write(rig.buffers[2], 0, &[0xff; REPORT + 1]);
    let event = rig.run().unwrap();
    assert_eq!(rig.wait(event), 0);
    assert!(output(&rig, 0).iter().all(|&b| b == 0));
    let report = rig.read(rig.buffers[2], 0, REPORT + 1);
    assert!(report[..REPORT].iter().all(|&b| b == 0) && report[REPORT] == 0xff);
    let [_, _, start, end] = rig.times(event);
    assert!(end > start);
}

#[test]
fn programs_that_reach_too_far_are_refused() {
    if !in_process_with("programs_that_reach_too_far_are_refused", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    let refused = |what: &str| {
        let event = rig.run().unwrap();
        assert_eq!(rig.wait(event), CL_OUT_OF_RESOURCES, "{what}");
        let log = rig.log();
        let last = log.lines().last().unwrap();
        assert!(last.contains(what), "'{last}' says nothing of '{what}'");
    };
    // More commands than the buffer holds, then some that are none.
    assert_eq!(rig.set(1, &(1u32 << 20)), 0);
    refused("the program needs 67108864 bytes, its buffer has 65536");
    assert_eq!(rig.set(1, &3u32), 0);
    refused("only 'end'");
    rig.load(&copying(&rig.config));
    // A channel that is too small.
    let small = rig.buffer(0, 4096).unwrap();
    assert_eq!(rig.set(4, &small), 0);
    refused("of channel 0, the buffer of CHANNEL0 has");
    assert_eq!(rig.set(4, &rig.buffers[3]), 0);
    // A step table that says it is longer than it is, and one that names no slot.
    rig.write(rig.buffers[1], 0, &u32::MAX.to_le_bytes());
    refused("step table");
    rig.write(rig.buffers[1], 0, &StepTable::new(0, 1).to_bytes(LIMITS));
    refused("slots");
    // And all is well again.
    rig.write(rig.buffers[1], 0, &step(&rig.config, 1).to_bytes(LIMITS));
    let event = rig.run().unwrap();
    assert_eq!(rig.wait(event), 0, "{}", rig.log());
}

#[test]
fn every_channel_has_its_bank() {
    if !in_process_with("every_channel_has_its_bank", &[("FASTCAR_SIM_DEVICES", "u55c")]) {
        return;
    }
    let rig = ready(Cl::linked(), "u55c");
    let other = rig.buffer(1, 4096).unwrap();
    assert_eq!(rig.set(4, &other), CL_MEM_OBJECT_ALLOCATION_FAILURE, "CHANNEL0 is in bank 0");
    assert_eq!(rig.set(5, &other), 0);
    assert_eq!(rig.buffer(32, 4096), Err(CL_MEM_OBJECT_ALLOCATION_FAILURE));
    assert_eq!(rig.buffer(0, 1 << 29), Err(CL_MEM_OBJECT_ALLOCATION_FAILURE), "bank 0 is in use");
    assert_eq!(rig.buffer(0, (1 << 29) + 1), Err(CL_INVALID_BUFFER_SIZE));
    let whole = rig.buffer(31, (1 << 29) - CHANNEL).unwrap();
    assert_eq!(rig.buffer(31, 1), Err(CL_MEM_OBJECT_ALLOCATION_FAILURE));
    // SAFETY: a live object.
    assert_eq!(unsafe { (rig.cl.clReleaseMemObject)(whole) }, 0);
    rig.buffer(31, 1).unwrap();
    assert_eq!(rig.set(5, &rig.buffers[4]), 0);
    let event = rig.run().unwrap();
    assert_eq!(rig.wait(event), 0, "{}", rig.log());
}

#[test]
fn a_lost_device_fails_everything() {
    let environment = [("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_FAULT", "lost@2")];
    if !in_process_with("a_lost_device_fails_everything", &environment) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    assert_eq!(rig.wait(rig.run().unwrap()), 0);
    assert_eq!(rig.wait(rig.run().unwrap()), CL_DEVICE_NOT_AVAILABLE);
    assert_eq!(rig.wait(rig.run().unwrap()), CL_DEVICE_NOT_AVAILABLE);
    let mut byte = 0u8;
    // SAFETY: a blocking read of a byte.
    let code = unsafe {
        (rig.cl.clEnqueueReadBuffer)(
            rig.queue,
            rig.buffers[0],
            CL_TRUE,
            0,
            1,
            (&raw mut byte).cast(),
            0,
            std::ptr::null(),
            std::ptr::null_mut(),
        )
    };
    assert_eq!(code, CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST);
    assert!(rig.log().contains("lost"));
}

#[test]
fn a_hanging_run_never_ends_and_all_can_be_released() {
    let environment = [("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_FAULT", "hang@1")];
    if !in_process_with("a_hanging_run_never_ends_and_all_can_be_released", &environment) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    let event = rig.run().unwrap();
    // SAFETY: a live object.
    assert_eq!(unsafe { (rig.cl.clFlush)(rig.queue) }, 0);
    let begins = std::time::Instant::now();
    while rig.status(event) != CL_RUNNING && begins.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(rig.status(event), CL_RUNNING);
    rig.release_event(event);
    rig.close();
    assert_eq!(fastcar_icd::live_handles(), 0);
}

static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

unsafe extern "C" fn told_of_error(text: *const c_char, _: *const c_void, _: usize, data: *mut c_void) {
    assert_eq!(data.addr(), 7);
    // SAFETY: a text that ends with a zero byte.
    let text = unsafe { CStr::from_ptr(text) }.to_str().unwrap();
    TOLD.lock().unwrap().push(text.to_owned());
}

unsafe extern "C" fn told_of_status(event: cl_event, status: cl_int, data: *mut c_void) {
    assert!(!event.is_null());
    TOLD.lock().unwrap().push(format!("{}: {status}", data.addr()));
}

/// The application hears of a refused run in words, and of an event's statuses.
#[test]
fn callbacks_are_called() {
    if !in_process_with("callbacks_are_called", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let cl = Cl::linked();
    let notify = told_of_error as *mut c_void;
    let rig = Rig::with_notify(cl, "tiny", 0, notify, std::ptr::without_provenance_mut(7));
    rig.load(&copying(&rig.config));
    let mut code = -1;
    // SAFETY: live objects.
    unsafe {
        let gate = (rig.cl.clCreateUserEvent)(rig.context, &raw mut code);
        let mut event = null_mut();
        assert_eq!((rig.cl.clEnqueueTask)(rig.queue, rig.kernel, 1, &raw const gate, &raw mut event), 0);
        for (number, status) in [(1, CL_SUBMITTED), (2, CL_RUNNING), (3, CL_COMPLETE)] {
            let data = std::ptr::without_provenance_mut(number);
            assert_eq!((rig.cl.clSetEventCallback)(event, status, Some(told_of_status), data), 0);
        }
        let mut marker = null_mut();
        let list = &raw const event;
        assert_eq!((rig.cl.clEnqueueMarkerWithWaitList)(rig.queue, 1, list, &raw mut marker), 0);
        rig.release_event(event);
        assert_eq!(rig.status(event), CL_QUEUED, "it lives until its callbacks have been called");
        assert_eq!((rig.cl.clSetUserEventStatus)(gate, 0), 0);
        let failed = CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST;
        assert_eq!(rig.wait(marker), failed, "the step table is empty");
        rig.release_event(marker);
        rig.release_event(gate);
    }
    // The last callback may come a little after the status.
    while TOLD.lock().unwrap().len() < 4 {
        std::thread::yield_now();
    }
    // Callbacks of different statuses come from different threads, so in any order.
    let mut told = TOLD.lock().unwrap().clone();
    told.sort();
    assert_eq!(told[..3], ["1: 2", "2: 1", "3: -5"]);
    assert!(told[3].contains("step table"), "{told:?}");
    rig.close();
    // What the last callback held goes with it.
    while fastcar_icd::live_handles() > 0 {
        std::thread::yield_now();
    }
}

/// Threads share a queue, a kernel and buffers.
#[test]
fn threads_share_objects() {
    if !in_process_with("threads_share_objects", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let rig = Rig::new(Cl::library(), "tiny", CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    rig.load(&copying(&rig.config));
    rig.write(rig.buffers[1], 0, &step(&rig.config, 1).to_bytes(LIMITS));
    struct Shared(Rig);
    // SAFETY: handles may be used by any thread.
    unsafe impl Sync for Shared {}
    let shared = Shared(rig);
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let shared = &shared;
            scope.spawn(move || {
                let rig = &shared.0;
                let mem = rig.buffers[3];
                for round in 0..50u8 {
                    let at = 0x2_0000 + 4096 * usize::from(thread);
                    rig.write(mem, at, &[thread ^ round; 64]);
                    let event = rig.run().unwrap();
                    assert_eq!(rig.wait(event), 0);
                    rig.release_event(event);
                    assert_eq!(rig.read(mem, at, 64), [thread ^ round; 64]);
                }
            });
        }
    });
    shared.0.close();
}

/// Where there are several banks, a buffer has to have one before it is used.
#[test]
fn a_buffer_without_a_bank_waits_for_its_argument() {
    if !in_process_with("a_buffer_without_a_bank_waits_for_its_argument", &[("FASTCAR_SIM_DEVICES", "u55c")])
    {
        return;
    }
    let rig = ready(Cl::linked(), "u55c");
    let (mut code, bytes) = (-1, [1u8; 16]);
    // SAFETY: live objects, and bytes that are there.
    unsafe {
        let (cl, none) = (&rig.cl, null_mut());
        let mem = (cl.clCreateBuffer)(rig.context, CL_MEM_READ_WRITE, CHANNEL, none, &raw mut code);
        assert_eq!(code, 0);
        let write = || {
            let (queue, from) = (rig.queue, bytes.as_ptr().cast());
            (cl.clEnqueueWriteBuffer)(queue, mem, CL_TRUE, 0, 16, from, 0, null(), null_mut())
        };
        assert_eq!(write(), CL_MEM_OBJECT_ALLOCATION_FAILURE);
        assert_eq!(rig.set(9, &mem), 0);
        assert_eq!(write(), 0);
        assert_eq!(rig.set(8, &mem), CL_MEM_OBJECT_ALLOCATION_FAILURE, "its bank is that of CHANNEL5");
        assert_eq!(rig.read(mem, 0, 16), bytes);
    }
}

/// Reads of one queue overlap with writes and runs of others; each unit does one thing at a time.
#[test]
fn transfers_and_runs_overlap() {
    if !in_process_with("transfers_and_runs_overlap", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    let mut code = -1;
    let properties = CL_QUEUE_PROFILING_ENABLE | CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
    // SAFETY: live objects; the bytes outlive the commands.
    unsafe {
        let cl = &rig.cl;
        let queue = (cl.clCreateCommandQueue)(rig.context, rig.device, properties, &raw mut code);
        let (mut bytes, none) = (vec![0u8; 9300], null_mut());
        let gate = (cl.clCreateUserEvent)(rig.context, &raw mut code);
        let mut events = [none; 4];
        let size = bytes.len();
        let (pointer, mem) = (bytes.as_mut_ptr().cast(), rig.buffers[3]);
        for event in &mut events[..2] {
            let code = (cl.clEnqueueWriteBuffer)(
                queue,
                mem,
                0,
                0,
                size,
                pointer,
                1,
                &raw const gate,
                &raw mut *event,
            );
            assert_eq!(code, 0);
        }
        let code = (cl.clEnqueueReadBuffer)(
            queue,
            rig.buffers[0],
            0,
            0,
            size,
            pointer,
            1,
            &raw const gate,
            &raw mut events[2],
        );
        assert_eq!(code, 0);
        let code = (cl.clEnqueueTask)(queue, rig.kernel, 1, &raw const gate, &raw mut events[3]);
        assert_eq!(code, 0);
        assert_eq!((cl.clSetUserEventStatus)(gate, 0), 0);
        assert_eq!((cl.clWaitForEvents)(4, events.as_ptr()), 0);
        let [first, second, read, run] = events.map(|e| rig.times(e));
        assert_eq!(first[3] - first[2], 21_000, "20 us and 9300 bytes at 9.3 GB/s");
        assert_eq!(
            (second[2], second[3]),
            (first[2], first[3] + 1_000),
            "set up side by side, then one behind the other"
        );
        assert_eq!((read[2], run[2]), (first[2], first[2]), "the others are free");
        events.into_iter().for_each(|e| rig.release_event(e));
        rig.release_event(gate);
        assert_eq!((cl.clReleaseCommandQueue)(queue), 0);
    }
}

/// What is mapped is the buffer's contents, and what is written there is in the buffer when it is unmapped.
#[test]
fn mapped_memory_comes_and_goes() {
    if !in_process_with("mapped_memory_comes_and_goes", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    let (mem, mut code) = (rig.buffers[3], -1);
    rig.write(mem, 100, &[1, 2, 3, 4]);
    let map = |flags, code: &mut cl_int| {
        // SAFETY: a live buffer.
        let start = unsafe {
            (rig.cl.clEnqueueMapBuffer)(rig.queue, mem, CL_TRUE, flags, 100, 4, 0, null(), null_mut(), code)
        };
        assert_eq!(*code, 0);
        start.cast::<[u8; 4]>()
    };
    // SAFETY: 4 bytes are mapped, until they are unmapped.
    unsafe {
        let start = map(CL_MAP_READ | CL_MAP_WRITE, &mut code);
        assert_eq!(*start, [1, 2, 3, 4]);
        *start = [5, 6, 7, 8];
        assert_eq!(rig.read(mem, 100, 4), [1, 2, 3, 4], "not yet");
        let unmap = |start: *mut [u8; 4]| {
            (rig.cl.clEnqueueUnmapMemObject)(rig.queue, mem, start.cast(), 0, null(), null_mut())
        };
        assert_eq!(unmap(start), 0);
        assert_eq!(rig.read(mem, 99, 6), [0, 5, 6, 7, 8, 0]);
        assert_eq!(unmap(start), CL_INVALID_VALUE, "once");
        // What is mapped to be read only is not written back.
        let start = map(CL_MAP_READ, &mut code);
        *start = [9; 4];
        assert_eq!(unmap(start), 0);
        assert_eq!(rig.read(mem, 100, 4), [5, 6, 7, 8]);
    }
}

/// Memory of the caller goes to the device and comes back by migration.
#[test]
fn memory_of_the_caller_migrates() {
    if !in_process_with("memory_of_the_caller_migrates", &[("FASTCAR_SIM_DEVICES", "tiny")]) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    let (mut bytes, mut code) = (vec![3u8; 4096], -1);
    // SAFETY: the bytes outlive the buffer.
    unsafe {
        let pointer = bytes.as_mut_ptr().cast();
        let mem = (rig.cl.clCreateBuffer)(rig.context, CL_MEM_USE_HOST_PTR, 4096, pointer, &raw mut code);
        assert_eq!(code, 0);
        assert_eq!(rig.read(mem, 0, 2), [3, 3]);
        pointer.cast::<u8>().write(4);
        let migrate = |flags| {
            let queue = rig.queue;
            assert_eq!(
                (rig.cl.clEnqueueMigrateMemObjects)(queue, 1, &raw const mem, flags, 0, null(), null_mut()),
                0
            );
            assert_eq!((rig.cl.clFinish)(queue), 0);
        };
        migrate(0);
        assert_eq!(rig.read(mem, 0, 2), [4, 3]);
        rig.write(mem, 1, &[5]);
        migrate(CL_MIGRATE_MEM_OBJECT_HOST);
        assert_eq!((pointer.cast::<u8>().read(), pointer.cast::<u8>().add(1).read()), (4, 5));
        assert_eq!((rig.cl.clReleaseMemObject)(mem), 0);
    }
    assert_eq!(bytes[..3], [4, 5, 3]);
}

/// A device keeps the image of a live program; another image is refused until that is gone.
#[test]
fn a_second_image_is_refused() {
    if !in_process_with("a_second_image_is_refused", &[("FASTCAR_SIM_DEVICES", "u55c")]) {
        return;
    }
    let rig = Rig::new(Cl::linked(), "tiny", 0);
    let other = image("edge");
    let load = || {
        let (mut code, length, bytes) = (-1, other.len(), other.as_ptr());
        // SAFETY: one device, one length, one image.
        let program = unsafe {
            let (length, bytes) = (&raw const length, &raw const bytes);
            let device = &raw const rig.device;
            (rig.cl.clCreateProgramWithBinary)(
                rig.context,
                1,
                device,
                length,
                bytes,
                null_mut(),
                &raw mut code,
            )
        };
        (program, code)
    };
    assert_eq!(load().1, CL_OUT_OF_RESOURCES);
    // SAFETY: live objects: the kernel keeps its program alive.
    unsafe {
        assert_eq!((rig.cl.clReleaseProgram)(rig.program), 0);
        assert_eq!(load().1, CL_OUT_OF_RESOURCES);
        assert_eq!((rig.cl.clReleaseKernel)(rig.kernel), 0);
        let (program, code) = load();
        assert_eq!(code, 0);
        assert_eq!((rig.cl.clReleaseProgram)(program), 0);
    }
}

fn text(call: impl FnOnce(*mut c_void, *mut usize) -> cl_int) -> String {
    let (mut bytes, mut size) = (vec![0u8; 256], 0);
    assert_eq!(call(bytes.as_mut_ptr().cast(), &raw mut size), 0);
    String::from_utf8(bytes[..size - 1].to_vec()).unwrap()
}

#[test]
fn the_platform_can_go_by_the_vendors_name() {
    let environment = [("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_AS_XRT", "1")];
    if !in_process_with("the_platform_can_go_by_the_vendors_name", &environment) {
        return;
    }
    let rig = Rig::new(Cl::linked(), "tiny", 0);
    // SAFETY: room as said.
    let platform = |q| text(|v, r| unsafe { (rig.cl.clGetPlatformInfo)(rig.platform, q, 256, v, r) });
    // SAFETY: as above.
    let device = |q| text(|v, r| unsafe { (rig.cl.clGetDeviceInfo)(rig.device, q, 256, v, r) });
    assert_eq!(platform(CL_PLATFORM_NAME), "Xilinx");
    assert_eq!(platform(CL_PLATFORM_VENDOR), "Xilinx");
    assert_eq!(platform(CL_PLATFORM_VERSION), "OpenCL 1.0");
    assert_eq!(platform(CL_PLATFORM_PROFILE), "EMBEDDED_PROFILE");
    assert_eq!((device(CL_DEVICE_VENDOR), device(CL_DEVICE_VERSION)), ("Xilinx".into(), "OpenCL 1.0".into()));
    assert_eq!(device(CL_DEVICE_NAME), "tiny (simulated)");
}

#[test]
fn an_environment_without_sense_has_no_platform() {
    if !in_process_with("an_environment_without_sense_has_no_platform", &[("FASTCAR_SIM_DEVICES", "u99")]) {
        return;
    }
    let cl = Cl::linked();
    // SAFETY: a place for the number.
    let code = unsafe { (cl.clGetPlatformIDs)(0, null_mut(), &mut 0) };
    assert_eq!(code, CL_PLATFORM_NOT_FOUND_KHR);
}

fn slave_error(test: &str, mode: &str) {
    let environment =
        [("FASTCAR_SIM_DEVICES", "tiny"), ("FASTCAR_SIM_FAULT", "slverr@1"), ("FASTCAR_SIM_MODE", mode)];
    if !in_process_with(test, &environment) {
        return;
    }
    let rig = ready(Cl::linked(), "tiny");
    assert_eq!(rig.wait(rig.run().unwrap()), CL_OUT_OF_RESOURCES);
    assert!(rig.log().contains("SLVERR"), "{}", rig.log());
    assert_eq!(rig.wait(rig.run().unwrap()), 0, "the fault is that run's");
}

macro_rules! slave_errors {
    ($($name:ident $mode:literal)*) => {$(
        #[test]
        fn $name() {
            slave_error(stringify!($name), $mode);
        }
    )*};
}

slave_errors! {
    an_error_of_the_memory_ends_a_run_with_values "values"
    an_error_of_the_memory_ends_a_functional_run "functional"
    an_error_of_the_memory_ends_a_timing_run "timing"
    an_error_of_the_memory_ends_an_instant_run "instant"
}

/// The fourth command of a device gets no memory: it alone fails, and changes nothing.
#[test]
fn a_command_without_memory_fails_alone() {
    let environment = [("FASTCAR_SIM_DEVICES", "tiny*2"), ("FASTCAR_SIM_FAULT", "memory@4:0")];
    if !in_process_with("a_command_without_memory_fails_alone", &environment) {
        return;
    }
    // The program and the step table are the first two transfers.
    let rig = ready(Cl::linked(), "tiny");
    let mem = rig.buffers[3];
    rig.write(mem, 0, &[1; 64]);
    let (bytes, mut event) = ([2u8; 64], null_mut());
    // SAFETY: bytes that are there until the event is waited for.
    let code = unsafe {
        let from = bytes.as_ptr().cast();
        (rig.cl.clEnqueueWriteBuffer)(rig.queue, mem, CL_FALSE, 0, 64, from, 0, null(), &raw mut event)
    };
    assert_eq!(code, 0, "memory is allocated late");
    assert_eq!(rig.wait(event), CL_MEM_OBJECT_ALLOCATION_FAILURE);
    rig.release_event(event);
    assert_eq!(rig.read(mem, 0, 64), [1; 64]);
    let event = rig.run().unwrap();
    assert_eq!(rig.wait(event), 0, "{}", rig.log());
    rig.release_event(event);
    rig.close();
}
