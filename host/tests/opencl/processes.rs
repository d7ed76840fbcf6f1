//! Several processes on one device.

use crate::alone::platform;
use crate::{cause, decoded, model};
use fastcar_host::backend::{GoldenBackend, OpenClBackend};
use fastcar_host::opencl::{DeviceOptions, OpenClError};
use fastcar_host::packed::PackedModel;
use fastcar_host::policy::Policy;
use fastcar_host::session::{Session, SessionOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

const TEST: &str = "processes::two_processes_share_an_image_and_a_third_is_refused_another";
/// In a user's environment: the preset whose image it loads.
const USES: &str = "FASTCAR_TEST_USES";
/// Begins a user's line to the test.
const ANSWER: &str = "answer: ";

fn session(backend: Box<dyn fastcar_host::backend::Backend>, model: &Arc<PackedModel>) -> Session {
    let options = SessionOptions { slots: 1, positions: 40 };
    Session::open(backend, Arc::clone(model), Policy::dense(), options).unwrap()
}

/// What a decode answers.
fn said(session: &mut Session) -> String {
    let (tokens, failed) = decoded(session);
    failed.map_or_else(|| format!("{tokens:?}"), |error| error.to_string())
}

/// The process of a user: says whether it has the device, and decodes as often as it gets a line.
fn use_device(preset: &str) {
    let model = model(preset);
    let options = DeviceOptions { device: Some("edge".to_owned()), ..DeviceOptions::default() };
    match OpenClBackend::open(&options, model.config()) {
        Err(error) => {
            assert!(matches!(cause(&error), OpenClError::InUse { .. }), "{error}");
            println!("{ANSWER}{error}");
        }
        Ok(backend) => {
            println!("{ANSWER}ready");
            let mut session = session(Box::new(backend), &model);
            for line in std::io::stdin().lines() {
                assert_eq!(line.unwrap(), "decode");
                println!("{ANSWER}{}", said(&mut session));
            }
        }
    }
}

struct User {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl User {
    fn new(folder: &Path, preset: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", TEST, "--nocapture"]).env(USES, preset);
        command.env("OPENCL_DYLIB_PATH", platform()).env("FASTCAR_SIM_DEVICES", "edge");
        command.env("FASTCAR_SIM_MODE", "functional").env("FASTCAR_SIM_LOCK", folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn answer(&mut self) -> String {
        // The first line may begin with the name of the test.
        let answers = self.lines.by_ref().map(Result::unwrap);
        let mut answers = answers.filter_map(|line| Some(line.split_once(ANSWER)?.1.to_owned()));
        answers.next().expect("the user has ended without an answer")
    }

    fn decode(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"decode\n").unwrap();
    }

    fn end(mut self) {
        drop(self.child.stdin.take());
        let rest: Vec<String> = self.lines.map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success(), "{rest:?}");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn two_processes_share_an_image_and_a_third_is_refused_another() {
    if let Ok(preset) = std::env::var(USES) {
        return use_device(&preset);
    }
    let folder = tempfile::tempdir().unwrap();
    let user = |preset| User::new(folder.path(), preset);
    let expected = {
        let model = model("edge");
        said(&mut session(Box::new(GoldenBackend::new()), &model))
    };
    assert!(expected.starts_with('['), "{expected}");
    let mut users = [user("edge"), user("edge")];
    for user in &mut users {
        assert_eq!(user.answer(), "ready");
    }
    // Both at once, and once more after another image has been refused.
    users.iter_mut().for_each(User::decode);
    for user in &mut users {
        assert_eq!(user.answer(), expected);
    }
    let mut refused = user("tiny");
    assert_eq!(
        refused.answer(),
        "the device does not take the simulator's image of 'tiny' on device 'edge (simulated)': it is in use by another \
         process that runs another image on it, or its driver cannot load this one (its log says which); end that \
         process, choose another device by --device, or load the image that it runs by --xclbin"
    );
    refused.end();
    users[0].decode();
    assert_eq!(users[0].answer(), expected);
    let [first, second] = users;
    first.end();
    second.kill();
    let mut free = user("tiny");
    assert_eq!(free.answer(), "ready", "a process that is killed leaves the device");
    free.end();
}
