//! What a process does to others: it shares devices with them, and leaves them the CPU when it has nothing to do.
#![allow(unsafe_code, reason = "calls of a C interface")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

use common::{Cl, LIMITS, Rig, copying, image, in_process_with, step};
use opencl_sys::*;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::ptr::{null, null_mut};
use std::time::Duration;

/// The image that a user of a device loads, in its environment.
const USES: &str = "FASTCAR_TEST_USES";
/// Begins the line of what became of it.
const ANSWER: &str = "answer: ";

/// The status of loading a preset's image on the first device, and the program.
fn load(cl: &Cl, preset: &str) -> (cl_int, cl_program) {
    let image = image(preset);
    let (length, bytes, mut code) = (image.len(), image.as_ptr(), -1);
    let (mut platform, mut device) = (null_mut(), null_mut());
    // SAFETY: every call is as the specification asks.
    unsafe {
        assert_eq!((cl.clGetPlatformIDs)(1, &raw mut platform, null_mut()), 0);
        let kind = CL_DEVICE_TYPE_ACCELERATOR;
        assert_eq!((cl.clGetDeviceIDs)(platform, kind, 1, &raw mut device, null_mut()), 0);
        let none = null_mut();
        let context = (cl.clCreateContext)(null(), 1, &raw const device, none, none, &raw mut code);
        assert_eq!(code, 0);
        let (length, bytes) = (&raw const length, &raw const bytes);
        let program = (cl.clCreateProgramWithBinary)(
            context,
            1,
            &raw const device,
            length,
            bytes,
            null_mut(),
            &raw mut code,
        );
        assert_eq!((cl.clReleaseContext)(context), 0);
        (code, program)
    }
}

/// A process that loads an image, if it can, and holds it until it is told to end or is killed.
struct User {
    child: Child,
    answer: cl_int,
}

impl User {
    fn new(test: &str, folder: &Path, preset: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(USES, preset);
        command.env("FASTCAR_SIM_DEVICES", "edge").env("FASTCAR_SIM_LOCK", folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
        // The first line may begin with the name of the test.
        let answer = lines.filter_map(|line| line.split_once(ANSWER).map(|l| l.1.to_owned())).next();
        let answer = answer.expect("the user has ended without an answer").parse().unwrap();
        Self { child, answer }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Lets it release what it holds, and waits for its end.
    fn end(mut self) {
        drop(self.child.stdin.take());
        // Nobody else reads what the test program has to say at its end.
        self.child.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

/// Does what a [`User`] does, if this process is one.
fn is_user() -> bool {
    let Ok(preset) = std::env::var(USES) else { return false };
    let cl = Cl::library();
    let (code, program) = load(&cl, &preset);
    println!("{ANSWER}{code}");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    if code == 0 {
        // SAFETY: a live program.
        assert_eq!(unsafe { (cl.clReleaseProgram)(program) }, 0);
    }
    true
}

/// A card runs one image, for as many processes as want it, for as long as one of them is there.
#[test]
fn processes_share_an_image_and_refuse_another() {
    if is_user() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let user = |preset| User::new("processes_share_an_image_and_refuse_another", folder.path(), preset);
    let (first, second) = (user("edge"), user("edge"));
    assert_eq!((first.answer, second.answer), (CL_SUCCESS, CL_SUCCESS));
    let refused = user("tiny");
    assert_eq!(refused.answer, CL_INVALID_PROGRAM);
    refused.end();
    first.end();
    let refused = user("tiny");
    assert_eq!(refused.answer, CL_INVALID_PROGRAM, "one is still there");
    refused.end();
    // However it ends, the device is free.
    second.kill();
    let third = user("tiny");
    assert_eq!(third.answer, CL_SUCCESS);
    let refused = user("edge");
    assert_eq!(refused.answer, CL_INVALID_PROGRAM);
    refused.end();
    third.end();
    let last = user("edge");
    assert_eq!(last.answer, CL_SUCCESS);
    last.end();
}

/// A process that has released its programs may load another image; one that is refused may try again.
#[test]
fn a_device_is_free_when_its_programs_are_released() {
    let folder = tempfile::tempdir().unwrap();
    let environment =
        [("FASTCAR_SIM_DEVICES", "edge"), ("FASTCAR_SIM_LOCK", folder.path().to_str().unwrap())];
    if is_user() || !in_process_with("a_device_is_free_when_its_programs_are_released", &environment) {
        return;
    }
    let folder = std::env::var("FASTCAR_SIM_LOCK").unwrap();
    let user =
        |preset| User::new("a_device_is_free_when_its_programs_are_released", Path::new(&folder), preset);
    let cl = Cl::linked();
    let (code, program) = load(&cl, "tiny");
    assert_eq!(code, CL_SUCCESS);
    assert_eq!(load(&cl, "edge").0, CL_OUT_OF_RESOURCES, "XRT's answer within a process");
    let refused = user("edge");
    assert_eq!(refused.answer, CL_INVALID_PROGRAM);
    refused.end();
    // SAFETY: a live program.
    assert_eq!(unsafe { (cl.clReleaseProgram)(program) }, 0);
    let other = user("edge");
    assert_eq!(other.answer, CL_SUCCESS);
    assert_eq!(load(&cl, "tiny").0, CL_INVALID_PROGRAM);
    let (code, shared) = load(&cl, "edge");
    assert_eq!(code, CL_SUCCESS);
    other.end();
    // SAFETY: a live program.
    assert_eq!(unsafe { (cl.clReleaseProgram)(shared) }, 0);
    assert_eq!(load(&cl, "tiny").0, CL_SUCCESS);
}

/// CPU time of this process so far, in ticks of 10 ms.
fn ticks() -> u64 {
    let line = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = line.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // User and system time are fields 14 and 15; the name, which is cut off, is the second.
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// A device that has just worked, and a thread that waits for a command that does not come, use no CPU.
#[test]
fn whoever_has_nothing_to_do_sleeps() {
    let environment = [("FASTCAR_SIM_DEVICES", "tiny*2"), ("FASTCAR_SIM_MODE", "instant")];
    if !in_process_with("whoever_has_nothing_to_do_sleeps", &environment) {
        return;
    }
    let rig = Rig::new(Cl::linked(), "tiny", 0);
    rig.load(&copying(&rig.config));
    rig.write(rig.buffers[1], 0, &step(&rig.config, 1).to_bytes(LIMITS));
    for _ in 0..1000 {
        let event = rig.run().unwrap();
        assert_eq!(rig.wait(event), 0);
        rig.release_event(event);
    }
    let mut code = -1;
    // SAFETY: a live context.
    let gate = unsafe { (rig.cl.clCreateUserEvent)(rig.context, &raw mut code) };
    assert_eq!(code, 0);
    let mut held = null_mut();
    // SAFETY: live objects.
    unsafe {
        assert_eq!((rig.cl.clEnqueueTask)(rig.queue, rig.kernel, 1, &raw const gate, &raw mut held), 0);
    }
    let (wait, event) = (rig.cl.clWaitForEvents, held as usize);
    std::thread::scope(|scope| {
        // SAFETY: the event lives until the threads have ended.
        let waiter = scope.spawn(move || unsafe { wait(1, [event as cl_event].as_ptr()) });
        std::thread::sleep(Duration::from_millis(50));
        let before = ticks();
        std::thread::sleep(Duration::from_secs(1));
        let used = ticks() - before;
        assert!(used <= 3, "{} ms of CPU in a second of nothing", used * 10);
        // SAFETY: a live event.
        assert_eq!(unsafe { (rig.cl.clSetUserEventStatus)(gate, 0) }, 0);
        assert_eq!(waiter.join().unwrap(), 0);
    });
    rig.release_event(gate);
    rig.release_event(held);
    rig.close();
}
