//! One decode step as files, for host programs that know nothing of this project: `tests/clients/README.md` has the
//! layout.

use fastcar_arch::config::AccelConfig;
use fastcar_arch::isa;
use fastcar_arch::layout::RecordLayout;
use fastcar_arch::program::Program;
use fastcar_arch::step::{ACTIVE, GateReport, OUTPUT, SlotEntry, StepTable};
use fastcar_golden::{Golden, Memory};
use fastcar_host::compile::{CompileOptions, Compiled, compile};
use fastcar_host::model::Model;
use fastcar_host::pack::{PackOptions, pack};
use fastcar_host::policy::Policy;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

/// Positions that the sequence has room for.
const POSITIONS: u32 = 64;

/// Writes the step that reads the last token of the first held-out prompt of a model, after the tokens before it.
///
/// # Errors
/// The model, the preset or a file.
pub fn write(folder: &Path, model: &Model, preset: &str) -> Result<(), Box<dyn Error>> {
    let config = AccelConfig::preset(preset)?;
    let packed = pack(model, &config, PackOptions::default(), &())?;
    // One sequence that is decoded densely has no frames.
    let options = CompileOptions { slots: 1, positions: POSITIONS, period: 0 };
    let compiled = compile(packed.plan(), &Policy::dense(), options)?;
    let program = compiled.body.first().ok_or("the model has no program")?;
    let heldout = model.heldout()?;
    let prompt = &heldout.clips().first().ok_or("the model has no held-out videos")?.prompt;
    let (&last, before) = prompt.split_last().ok_or("the prompt is empty")?;

    let room = compiled.map.used().get() as usize;
    let mut channels: Vec<Vec<u8>> =
        (0..config.channels() as usize).map(|c| packed.channel(c).to_vec()).collect();
    channels.iter_mut().for_each(|channel| channel.resize(room, 0));
    let mut machine = Golden::new(config.clone(), Memory::from_channels(&config, channels)?);
    for (pos, &token) in before.iter().enumerate() {
        machine.run(program, &table(pos, token, 0))?;
    }
    let step = table(before.len(), last, OUTPUT);
    write_inputs(folder, &config, program, &step, machine.memory())?;
    machine.run(program, &step)?;
    fs::write(folder.join("logits.bin"), logits(&compiled, machine.memory()))?;
    let layout = layout(&config, &compiled, program);
    fs::write(folder.join("layout.txt"), layout)?;
    fs::write(folder.join("image.xclbin"), super::image(preset)?)?;
    Ok(())
}

/// The step that reads one token.
fn table(pos: usize, token: u32, output: u32) -> StepTable {
    let mut table = StepTable::new(1, 0);
    let token = [token, 0, 0, 0];
    table.slots[0] = SlotEntry { flags: ACTIVE | output, pos: pos as u32, token, ..SlotEntry::idle() };
    table
}

fn write_inputs(
    folder: &Path,
    config: &AccelConfig,
    program: &Program,
    step: &StepTable,
    memory: &Memory,
) -> io::Result<()> {
    fs::write(folder.join("program.bin"), isa::encode(program.commands()))?;
    fs::write(folder.join("step.bin"), step.to_bytes(program.limits()))?;
    for channel in 0..config.channels() as usize {
        fs::write(folder.join(format!("channel{channel}.bin")), memory.channel(channel))?;
    }
    Ok(())
}

/// The logits of the only slot.
fn logits(compiled: &Compiled, memory: &Memory) -> Vec<u8> {
    let mut logits = Vec::new();
    for record in &compiled.logits {
        let mut bytes = vec![0; record.words as usize * 4];
        memory.read_record(record.addr, &mut bytes);
        logits.extend(bytes);
    }
    logits
}

fn layout(config: &AccelConfig, compiled: &Compiled, program: &Program) -> String {
    let report = size_of::<GateReport>() * program.limits().gates.max(1) as usize;
    let (channels, commands) = (config.channels(), program.commands().len());
    let mut out = format!("channels {channels}\ncommands {commands}\nreport {report}\n");
    let records = RecordLayout::new(config);
    for record in &compiled.logits {
        for (place, range) in records.pieces(u64::from(record.words) * 4) {
            let offset = record.addr + place.offset;
            let _ = writeln!(out, "piece {} {offset} {}", place.channel, range.len());
        }
    }
    out
}
