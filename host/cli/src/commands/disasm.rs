//! `fastcar disasm`: step programs as assembly text.

use crate::constants::Names;
use crate::exit::usage;
use crate::output;
use crate::policy_args::{PolicyArgs, describe};
use crate::progress::Ui;
use crate::source::{MachineArgs, Source};
use anyhow::{Context, Result, bail};
use fastcar_arch::asm::{disassemble, disassemble_with, in_regions};
use fastcar_arch::config::AccelConfig;
use fastcar_arch::identity::Identity;
use fastcar_arch::isa::{Addr, COMMAND_BYTES, decode, encode};
use fastcar_arch::layout::Region;
use fastcar_arch::program::Program;
use fastcar_host::compile::{CompileOptions, Compiled, compile, most_positions};
use fastcar_host::image::Image;
use fastcar_host::policy::Policy;
use std::path::{Path, PathBuf};

/// Arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Model folder or packed file
    #[arg(long, value_name = "DIR|FILE.fcar", required_unless_present = "binary", conflicts_with = "binary")]
    model: Option<PathBuf>,
    #[command(flatten)]
    machine: MachineArgs,
    /// Which program: body (or body0, body1 where prompt and picture positions differ), depth0, depth1, ..
    #[arg(long, value_name = "NAME")]
    program: Option<String>,
    /// Slots to lay the state out for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    slots: u32,
    /// Disassemble an encoded program instead
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Also write the encoded program
    #[arg(long, value_name = "FILE", conflicts_with = "binary")]
    emit: Option<PathBuf>,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// Runs the command.
///
/// # Errors
/// The model does not compile, the program is not one of its own, or a file cannot be read or written.
pub fn run(args: &Args) -> Result<()> {
    match (&args.binary, &args.model) {
        (Some(path), _) => output::print(&binary_text(path)?),
        (None, Some(path)) => model(args, path),
        (None, None) => usage("give --model or --binary"),
    }
}

fn binary_text(path: &Path) -> Result<String> {
    let raw = std::fs::read(path).with_context(|| format!("cannot read program file {}", path.display()))?;
    let commands = decode(&raw).with_context(|| format!("{} is not an encoded program", path.display()))?;
    Ok(format!("# {}: {}\n{}", path.display(), length(commands.len()), disassemble(&commands)))
}

fn length(commands: usize) -> String {
    format!("{commands} commands of {COMMAND_BYTES} bytes, {} bytes", commands * COMMAND_BYTES)
}

fn model(args: &Args, path: &Path) -> Result<()> {
    let policy = args.policy.build()?;
    let opened = Source::find(path, None)?.load(&args.machine, false, Ui::Quiet)?;
    let packed = &opened.packed;
    let (config, image) = (packed.config(), packed.image());
    let positions = most_positions(config, &image.body.shape);
    let options = CompileOptions { slots: args.slots, positions, period: image.period.unwrap_or(0) };
    let compiled = compile(packed.plan(), &policy, options)?;
    let (name, program) = choose(&compiled, args.program.as_deref())?;
    if let Some(path) = &args.emit {
        output::write_file(path, &encode(program.commands()))?;
    }
    let head = heading(&opened.name, config, options, &policy) + &regions(&compiled);
    let title = format!("#\n# program {name}: {}\n", length(program.commands().len()));
    output::print(&format!("{head}{title}{}", listing(image, &compiled, program)))
}

/// Every program by name.
fn programs(compiled: &Compiled) -> Vec<(String, &Program)> {
    let body = |i: usize| if compiled.body.len() == 1 { "body".to_owned() } else { format!("body{i}") };
    let bodies = compiled.body.iter().enumerate().map(|(i, p)| (body(i), p));
    bodies.chain(compiled.depth.iter().enumerate().map(|(i, p)| (format!("depth{i}"), p))).collect()
}

/// The program asked for; the first where none is.
fn choose<'a>(compiled: &'a Compiled, asked: Option<&str>) -> Result<(String, &'a Program)> {
    let all = programs(compiled);
    let names: Vec<String> = all.iter().map(|p| p.0.clone()).collect();
    let found = all.into_iter().find(|p| asked.is_none_or(|name| name == p.0));
    match (found, asked) {
        (Some(program), _) => Ok(program),
        (None, asked) => bail!(
            "this model has no program {:?}: its programs are {}",
            asked.unwrap_or_default(),
            names.join(", ")
        ),
    }
}

fn heading(model: &str, config: &AccelConfig, options: CompileOptions, policy: &Policy) -> String {
    let (preset, identity) = (config.name(), Identity::of(config).short());
    let (policy, slots, positions) = (describe(policy), options.slots, options.positions);
    format!(
        "# {model} for preset {preset}, identity {identity}\n\
         # policy {policy}; slots {slots}, positions {positions}\n"
    )
}

fn regions(compiled: &Compiled) -> String {
    let line = |r: &Region| format!("#   0x{:08x}  {:>12}  {}\n", r.start, r.size.get(), r.name);
    let lines: String = compiled.map.regions().iter().map(line).collect();
    format!("#\n# regions of each channel: start, bytes, name\n{lines}")
}

/// Constants go by their own names, state by its region's.
fn listing(image: &Image, compiled: &Compiled, program: &Program) -> String {
    let names = Names::of(image);
    let region = in_regions(compiled.map.regions());
    let state = compiled.state_start;
    let name = |addr: Addr| if addr.0 < state { names.at(addr.0) } else { region(addr) };
    disassemble_with(program.commands(), name)
}
