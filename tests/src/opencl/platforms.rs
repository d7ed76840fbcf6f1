//! The two implementations that are compared, as libraries with the environment that each wants.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// A library, and the environment of a process that uses it.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The library.
    pub library: PathBuf,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// XRT's OpenCL library in the version that the recording is of, which Debian 12 has.
pub const XRT_LIBRARY: &str = "libxilinxopencl.so.2.13.0";
/// Folders of Debian's libraries.
const LIBRARY_FOLDERS: [&str; 2] = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];

/// The simulator's platform, as a library.
///
/// It lies beside the running test: a test depends on the crate, and Cargo writes the shared library of a dependency
/// into the folder of test programs, built with the same profile.
///
/// # Errors
/// It is not there.
pub fn simulator_library() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let beside = program.with_file_name("libfastcar_icd.so");
    if beside.exists() {
        return Ok(beside);
    }
    let message =
        format!("{} is not there: is fastcar-icd still a dependency of the tests?", beside.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

/// The folder that OpenCL's loader is to search for drivers: one file that names one library.
///
/// # Errors
/// It cannot be written.
pub fn vendors(scratch: &Path, library: &Path) -> io::Result<PathBuf> {
    let folder = scratch.join("vendors");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("only.icd"), format!("{}\n", library.display()))?;
    Ok(folder)
}

/// The system's OpenCL loader, which `scripts/setup-test.sh` installs; as [`tool`] where it is absent.
///
/// # Errors
/// As [`tool`].
pub fn loader() -> io::Result<Option<PathBuf>> {
    let places = LIBRARY_FOLDERS.map(|folder| Path::new(folder).join("libOpenCL.so.1"));
    let found = places.iter().find(|place| place.exists());
    tool(found.unwrap_or(&places[0]))
}

/// Says on the terminal that a part of the tests does not run. Not by `println`, which a passing test keeps to itself.
pub fn not_run(what: &str) {
    // A terminal that is gone does not matter to the test.
    let _ = writeln!(io::stderr(), "NOT RUN: {what}");
}

/// A tool that `scripts/setup-test.sh` installs; none, said on the terminal, where SKIP_SETUP=1 allows it to be absent.
///
/// # Errors
/// It is absent, and should not be.
pub fn tool(path: &Path) -> io::Result<Option<PathBuf>> {
    if path.exists() {
        return Ok(Some(path.to_owned()));
    }
    let absent = format!("{} is missing: scripts/setup-test.sh installs it", path.display());
    if env::var_os("SKIP_SETUP").is_some_and(|v| v == "1") {
        not_run(&absent);
        return Ok(None);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, absent))
}

impl Platform {
    /// The simulator's platform behaving as XRT's with one card that computes nothing.
    #[must_use]
    pub fn simulator(library: PathBuf, preset: &str) -> Self {
        let settings = [
            ("FASTCAR_SIM_DEVICES", preset),
            ("FASTCAR_SIM_MODE", "instant"),
            ("FASTCAR_SIM_LINK", "none"),
            ("FASTCAR_SIM_AS_XRT", "1"),
        ];
        Self::with(library, settings)
    }

    /// A library and its environment.
    #[must_use]
    pub fn with<const N: usize>(library: PathBuf, environment: [(&str, &str); N]) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { library, environment }
    }

    /// A library with what this process's environment says to libraries like it.
    #[must_use]
    pub fn of_environment(library: PathBuf) -> Self {
        Self { library, environment: env::vars_os().filter(|(name, _)| is_setting(name)).collect() }
    }

    /// XRT 2.13 with its no-op device, where it is installed. `scratch` gets the folder that XRT takes for its
    /// installation.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn xrt(scratch: &Path) -> io::Result<Option<Self>> {
        let installed = |folder: &&str| Path::new(folder).join(XRT_LIBRARY).exists();
        let Some(folder) = LIBRARY_FOLDERS.into_iter().find(installed) else { return Ok(None) };
        let root = scratch.join("xrt");
        if !root.join("lib").exists() {
            fs::create_dir_all(&root)?;
            std::os::unix::fs::symlink(folder, root.join("lib"))?;
        }
        let environment =
            vec![("XILINX_XRT".into(), root.into()), ("XCL_EMULATION_MODE".into(), "noop".into())];
        Ok(Some(Self { library: Path::new(folder).join(XRT_LIBRARY), environment }))
    }

    /// A program with the library's environment, and nothing of this process's that would change it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for (name, _) in env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Whether a variable changes what an OpenCL library does.
fn is_setting(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    ["FASTCAR_SIM_", "XILINX_", "XCL_", "OCL_", "OPENCL_"].iter().any(|start| name.starts_with(start))
}
