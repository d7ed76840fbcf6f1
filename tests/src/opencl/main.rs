//! Makes the calls of the table on an OpenCL library and prints what each answered, as CSV.
//!
//! `opencl-status LIBRARY IMAGE` runs every case in a process of its own with this process's environment,
//! `opencl-status --case NAME LIBRARY IMAGE` one case in this process, `opencl-status --xrt` every case on the
//! installed XRT with its no-op device and the recordings' image, `opencl-status --image PRESET FILE` writes the image
//! of a preset, and `opencl-status --list` lists the cases.
#![allow(unsafe_code, reason = "one case is run in this process, which it may bring down")]

use fastcar_tests::opencl::platforms::Platform;
use fastcar_tests::opencl::record::{answer, record, to_csv};
use fastcar_tests::opencl::{PRESET, cases, image};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str =
    "usage: opencl-status LIBRARY IMAGE | --case NAME LIBRARY IMAGE | --xrt | --image PRESET FILE | --list";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    match arguments {
        ["--list"] => cases().iter().for_each(|case| println!("{}", case.name)),
        ["--image", preset, file] => std::fs::write(file, image(preset)?)?,
        ["--case", name, library, image] => {
            // SAFETY: this process does nothing else; whoever started it sees how it ends.
            unsafe { answer(name, Path::new(library), Path::new(image)) }?;
        }
        ["--xrt"] => {
            let scratch = tempfile::tempdir()?;
            let platform = Platform::xrt(scratch.path())?
                .ok_or("XRT 2.13 is not installed: on Debian 12, apt install libxrt1")?;
            let file = scratch.path().join("image.xclbin");
            std::fs::write(&file, image(PRESET)?)?;
            print_all(&platform, &file)?;
        }
        [library, image] if !library.starts_with('-') => {
            print_all(&Platform::of_environment(library.into()), Path::new(image))?;
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

fn print_all(platform: &Platform, image: &Path) -> Result<(), Box<dyn Error>> {
    let rows = record(&std::env::current_exe()?, platform, image)?;
    print!("{}", to_csv(&rows));
    Ok(())
}
