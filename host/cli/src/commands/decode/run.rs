//! One decode of all sequences.

use super::args::Args;
use super::plan::Plan;
use super::watch::{Watch, Watched};
use crate::interrupt;
use crate::progress::Ui;
use crate::source::Opened;
use anyhow::Result;
use fastcar_arch::units::Bytes;
use fastcar_host::backend::Backend;
use fastcar_host::policy::Policy;
use fastcar_host::session::{DecodeStats, SequenceId, Session, SessionOptions};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a decode gave.
pub struct Run {
    /// Tokens by sequence, position and code.
    pub tokens: Vec<Vec<Vec<u32>>>,
    /// What would have been chosen, where tokens were given.
    pub chosen: Vec<Vec<Vec<u32>>>,
    /// Counts by sequence.
    pub stats: Vec<DecodeStats>,
    /// Seconds until the prompts were processed.
    pub prefill: f64,
    /// Seconds from there.
    pub decode: f64,
    /// Time of the device, where it keeps time.
    pub device: DeviceTime,
    /// Cycles, decisions and timeline, where they were asked for.
    pub watched: Watched,
}

/// Time that a device took, by its own clock.
#[derive(Clone, Copy, Default)]
pub struct DeviceTime {
    /// Until the prompts were processed.
    pub prompt: Duration,
    /// From there.
    pub decode: Duration,
    /// Runs of programs in all.
    pub runs: u64,
}

/// Opens a session for a plan.
///
/// # Errors
/// The model does not fit, or the device fails.
pub fn session(
    args: &Args,
    backend: Box<dyn Backend>,
    opened: &Opened,
    policy: &Policy,
    plan: &Plan,
) -> Result<Session> {
    let options = SessionOptions { slots: plan.slots(), positions: plan.longest() };
    let (model, policy) = (Arc::clone(&opened.packed), policy.clone());
    if !args.streamed {
        return Ok(Session::open(backend, model, policy, options)?);
    }
    let memory = args.device_memory.map_or(model.config().channel_capacity(), Bytes);
    Ok(Session::open_streamed(backend, model, policy, options, memory)?)
}

/// Decodes all sequences, with progress, watching the runs; `given` holds all tokens of every sequence where they are not to be
/// chosen.
///
/// # Errors
/// A request is refused, the device fails, or the user interrupts.
pub fn run(
    mut session: Session,
    mut watch: Watch,
    plan: &Plan,
    given: Option<&[Vec<Vec<u32>>]>,
    stage: &str,
    ui: Ui,
) -> Result<Run> {
    let mut ids = Vec::new();
    for (i, sequence) in plan.sequences.iter().enumerate() {
        ids.push(session.start(plan.request(sequence, given.map(|all| &all[i][..])))?);
    }
    let count = ids.len();
    let mut run = Run {
        tokens: vec![Vec::new(); count],
        chosen: vec![Vec::new(); count],
        stats: Vec::new(),
        prefill: 0.0,
        decode: 0.0,
        device: DeviceTime::default(),
        watched: Watched::default(),
    };
    let bar = ui.bar(stage, u64::from(plan.positions), "positions");
    let started = Instant::now();
    while run.tokens.iter().any(|t| t.len() < plan.positions as usize) {
        let done = run.tokens.iter().map(Vec::len).min().unwrap_or(0);
        interrupt::check(|| place(stage, done, plan))?;
        bar.set(done as u64);
        run.step(&mut session, &mut watch, &ids, started)?;
    }
    run.decode = started.elapsed().as_secs_f64() - run.prefill;
    run.watched = watch.finish(&session, ui)?;
    run.stats = ids.into_iter().map(|id| session.finish(id)).collect::<Result<_, _>>()?;
    Ok(run)
}

impl Run {
    fn step(
        &mut self,
        session: &mut Session,
        watch: &mut Watch,
        ids: &[SequenceId],
        started: Instant,
    ) -> Result<()> {
        let mut time = Duration::ZERO;
        let generated = session.step_with(&mut |run| {
            watch.observe(&run);
            time += run.device_time.unwrap_or_default();
            self.device.runs += 1;
        })?;
        watch.check()?;
        if generated.is_empty() {
            self.prefill = started.elapsed().as_secs_f64();
            self.device.prompt += time;
        } else {
            self.device.decode += time;
        }
        for position in generated {
            if let Some(at) = ids.iter().position(|&id| id == position.sequence) {
                self.tokens[at].push(position.tokens);
                self.chosen[at].push(position.chosen);
            }
        }
        Ok(())
    }
}

fn place(stage: &str, done: usize, plan: &Plan) -> String {
    let frame = plan.period.map_or(String::new(), |p| format!(" (frame {})", done / p as usize));
    format!("while {stage}, at position {done} of {}{frame}", plan.positions)
}
