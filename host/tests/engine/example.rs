//! The program that the page on sessions shows.

use std::process::Command;

#[test]
fn the_example_serves_through_the_loss_of_a_card() {
    let beside = std::env::current_exe().unwrap();
    let example = beside.parent().unwrap().with_file_name("examples").join("serve");
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models/moving-digits");
    let run = |fault: Option<&str>| {
        let mut command = Command::new(&example);
        for name in ["LINK", "AS_XRT", "FAULT", "LOCK"] {
            command.env_remove(format!("FASTCAR_SIM_{name}"));
        }
        command
            .arg(model)
            .env("OPENCL_DYLIB_PATH", beside.with_file_name("libfastcar_icd.so"))
            .env("FASTCAR_SIM_DEVICES", "edge*2")
            .env("FASTCAR_SIM_MODE", "functional");
        let output = command.envs(fault.map(|f| ("FASTCAR_SIM_FAULT", f))).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        // Clients end in any order.
        let (mut clients, rest): (Vec<_>, Vec<_>) =
            text.lines().map(str::to_owned).partition(|l| l.contains(" positions, "));
        clients.sort();
        (clients, rest)
    };
    let (clients, rest) = run(None);
    assert_eq!(clients.len(), 5);
    assert!(clients.iter().all(|l| l.contains(": 128 positions, 49.")), "{clients:?}");
    assert_eq!(rest, ["card 0: live", "card 1: live", "5 of 5 finished, 0 moves"]);
    let (same, rest) = run(Some("lost@60:0"));
    assert_eq!(same, clients);
    assert!(rest[0].starts_with("card 0: lost: opencl: clEnqueue") && rest[1] == "card 1: live", "{rest:?}");
    assert!(rest[2].starts_with("5 of 5 finished, ") && !rest[2].ends_with(" 0 moves"), "{rest:?}");
}
