//! The committed header is the one that the crate makes, in C and in the library.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

/// In the order in which the header has them.
const MODULES: [&str; 6] = ["status", "version", "progress", "policy", "model", "device"];
const LAST: [&str; 2] = ["session", "stored"];
/// Set to 1, it writes the header instead of comparing it.
const BLESS: &str = "FASTCAR_BLESS";

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The version that a program was compiled with.
fn version_macros() -> String {
    let parts =
        [env!("CARGO_PKG_VERSION_MAJOR"), env!("CARGO_PKG_VERSION_MINOR"), env!("CARGO_PKG_VERSION_PATCH")];
    let names = ["MAJOR", "MINOR", "PATCH"];
    let mut out =
        String::from("\n/* The version of this file; fastcar_version() is that of the library. */\n");
    for (name, part) in names.iter().zip(parts) {
        out += &format!("#define FASTCAR_VERSION_{name} {part}\n");
    }
    let text = env!("CARGO_PKG_VERSION");
    out + &format!(
        "#define FASTCAR_VERSION \"{text}\"\n#define FASTCAR_VERSION_NUMBER \\\n    \
         (1000000 * FASTCAR_VERSION_MAJOR + 1000 * FASTCAR_VERSION_MINOR + FASTCAR_VERSION_PATCH)"
    )
}

fn generated() -> String {
    let mut config = cbindgen::Config::from_file(folder().join("cbindgen.toml")).unwrap();
    config.after_includes = Some(version_macros());
    let builder = cbindgen::Builder::new().with_config(config);
    let modules = MODULES.iter().chain(&LAST).map(|m| folder().join(format!("src/{m}.rs")));
    let bindings = modules.fold(builder, |b, module| b.with_src(module)).generate().unwrap();
    let mut out = Vec::new();
    bindings.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_header_is_what_the_crate_makes() {
    let path = folder().join("include/fastcar.h");
    let expected = generated();
    if std::env::var_os(BLESS).is_some_and(|v| v == "1") {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "include/fastcar.h is not what the crate makes now: run `{BLESS}=1 cargo test -p fastcar-capi --test header`"
    );
}

/// Every function of the crate's is in the header.
#[test]
fn no_function_is_left_out() {
    let header = generated();
    let mut found = 0;
    for module in std::fs::read_dir(folder().join("src")).unwrap() {
        let text = std::fs::read_to_string(module.unwrap().path()).unwrap();
        for rest in text.split("extern \"C\" fn fastcar_").skip(1) {
            let name = rest.split('(').next().unwrap();
            assert!(header.contains(&format!("fastcar_{name}(")), "fastcar_{name} is not in the header");
            found += 1;
        }
    }
    assert!(found > 25, "only {found} functions found");
}
