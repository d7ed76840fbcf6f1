//! A table of calls and the status that each answers, and objects that come and go.
#![allow(unsafe_code, reason = "calls of a C interface, wrong ones on purpose")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod events;
mod lives;
mod objects;
mod world;

use common::in_process_with;
use opencl_sys::cl_int;
use world::World;

/// A call and the status that it answers.
pub struct Case {
    /// The function and what is special about the call.
    pub name: &'static str,
    /// The status.
    pub expected: cl_int,
    /// The call.
    pub call: fn(&World) -> cl_int,
}

/// Writes cases as a table: name, status, call.
macro_rules! cases {
    ($($name:literal $expected:ident $call:expr;)+) => {
        pub const CASES: &[crate::Case] = &[
            // SAFETY: the handles are the world's, alive or dead on purpose; other pointers are null or valid.
            $(crate::Case { name: $name, expected: $expected, call: |w| unsafe { crate::world::call(w, $call) } }),+
        ];
    };
}
pub(crate) use cases;

/// Each call answers its status, and leaves the world so that every other call answers the same.
#[test]
fn calls_answer_their_status() {
    if !in_process_with("calls_answer_their_status", &[("FASTCAR_SIM_DEVICES", "tiny*2")]) {
        return;
    }
    let cases: Vec<&Case> = [objects::CASES, commands::CASES, events::CASES].into_iter().flatten().collect();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    let world = World::new();
    for round in 0..2 {
        let wrong: Vec<String> = cases
            .iter()
            .map(|case| (case, (case.call)(&world)))
            .filter(|(case, found)| *found != case.expected)
            .map(|(case, found)| format!("{}: {found}, expected {}", case.name, case.expected))
            .collect();
        assert!(wrong.is_empty(), "round {round}:\n{}", wrong.join("\n"));
    }
    world.close();
    assert_eq!(fastcar_icd::live_handles(), 0);
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let mut names: Vec<&str> =
        [objects::CASES, commands::CASES, events::CASES].into_iter().flatten().map(|c| c.name).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|w| w[0] == w[1]);
    assert_eq!(twice, None);
}
