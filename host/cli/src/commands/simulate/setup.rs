//! From flags to a scenario: what one point of a sweep may change, and what stays.

use super::values::{ActiveShares, ReplayShare, Rows, Setting, fault, positions};
use crate::exit::{Usage, usage};
use crate::policy_args::CouplingKind;
use crate::source::Weights;
use anyhow::{Context, Result};
use clap::ValueEnum;
use fastcar_arch::config::{AccelConfig, ConfigFields};
use fastcar_host::attention::Attention;
use fastcar_host::image::Format;
use fastcar_host::pack::PackOptions;
use fastcar_host::policy::{DeltaThresholds, Gate, Method, PairCoupling, Policy, TasForm};
use fastcar_host::simulate::{Batch, Scenario, Statistics};
use fastcar_host::workload::Workload;
use fastcar_sim::memory::{Fault, MemorySpec};
use fastcar_sim::{Advance, Policy as Scheduling, SimOptions};
use serde_json::Value;
use std::ops::Range;
use std::path::Path;

/// When a replay is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum GateKind {
    /// Early, from queries and keys.
    Tas,
    /// Late, from the MLP's input.
    InputDelta,
}

/// How cycles are found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum AdvanceKind {
    /// Burst by burst.
    Bulk,
    /// Every beat and every cycle: slow, the same cycles.
    Step,
}

/// What stays the same over a sweep.
#[derive(clap::Args, Clone, Debug)]
pub struct Fixed {
    /// Workload by name (tiny, moving-digits, llama-1b, vila-u-7b), or a model folder, of which only config.json is read
    #[arg(long, value_name = "NAME|DIR", default_value = "vila-u-7b")]
    pub workload: String,
    /// Only the transformer that runs once per position: no output head, no residual codes
    #[arg(long)]
    pub body_only: bool,
    /// Tokens of the prompt [default: the workload's]
    #[arg(long, value_name = "N")]
    pub prompt: Option<u32>,
    /// Frames to generate [default: the workload's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub frames: Option<u32>,
    /// Simulate only these generated positions, without B
    #[arg(long, value_name = "A..B", value_parser = positions)]
    pub positions: Option<Range<u32>>,
    /// Simulate only N evenly spaced positions, which stand for all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// Format of the output head [default: mxint8]
    #[arg(long, value_enum)]
    pub head: Option<Weights>,
    /// Neighbouring rows of the batch are pairs of a guided sequence
    #[arg(long)]
    pub guided: bool,
    /// Correlation of a pair's two decisions, 0 to 1
    #[arg(long, value_name = "C", default_value_t = 0.0)]
    pub correlation: f64,
    /// How the rows of a pair settle a replay [default: independent]
    #[arg(long, value_enum)]
    pub coupling: Option<CouplingKind>,
    /// Both rows of a pair replay only when both would: --coupling both-agree
    #[arg(long, conflicts_with = "coupling")]
    pub coupled: bool,
    /// What decides about a replay [default: tas]
    #[arg(long, value_enum)]
    pub gate: Option<GateKind>,
    /// Weights of the layers in the replays, repeated over the layers [default: all alike]
    #[arg(long, value_name = "W,..", value_delimiter = ',')]
    pub profile: Vec<f64>,
    /// Memory: hbm2, hbm2-8h, ddr4-2400 or ideal [default: the configuration's]
    #[arg(long, value_name = "NAME", value_parser = MemorySpec::named)]
    pub memory: Option<MemorySpec>,
    /// Phase of the memory's refresh
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub memory_seed: u64,
    /// Seed of the decisions
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub seed: u64,
    /// How cycles are found
    #[arg(long, value_enum, default_value = "bulk")]
    pub advance: AdvanceKind,
    /// Put a fault into the memory, as in ecc:3:0x1000..0x2000 or stuck:0:5000
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    pub fault: Vec<Fault>,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
}

/// What is skipped, and how much of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Skip {
    /// Nothing.
    Dense,
    /// MLP outputs.
    Replay(ReplayShare),
    /// Input blocks.
    Delta(ActiveShares),
}

/// What a sweep may change from point to point.
#[derive(Clone, Debug)]
pub struct Point {
    /// Preset, or a configuration file.
    pub preset: String,
    /// Fields set after that.
    pub settings: Vec<Setting>,
    /// Weights of the layers.
    pub weights: Weights,
    /// Batch.
    pub rows: Rows,
    /// What is skipped.
    pub skip: Skip,
    /// How slots share the columns.
    pub scheduling: Scheduling,
    /// Which tokens are attended.
    pub attention: Attention,
}

impl Point {
    /// The same with nothing skipped and everything attended: what speed-ups are measured against.
    pub fn dense(&self) -> Self {
        Self { skip: Skip::Dense, attention: Attention::dense(), ..self.clone() }
    }

    /// Whether it is its own baseline.
    pub fn is_dense(&self) -> bool {
        self.skip == Skip::Dense && self.attention.is_dense()
    }
}

impl Fixed {
    /// The scenario of a point.
    ///
    /// # Errors
    /// No such preset, workload or field; flags that do not belong together; a number outside its range.
    pub fn scenario(&self, point: &Point) -> Result<Scenario> {
        self.check(point)?;
        let mut scenario = Scenario {
            workload: self.workload()?,
            config: configuration(&point.preset, &point.settings)?,
            formats: PackOptions { weights: Format::from(point.weights), head: self.head.map(Format::from) },
            policy: self.policy(point.skip)?.with_attention(point.attention.clone()),
            sim: self.options(point.scheduling),
            batch: Batch { paired: point.rows.0.paired || self.guided, ..point.rows.0 },
            statistics: self.statistics(),
            positions: self.positions.clone(),
        };
        match point.skip {
            Skip::Dense => {}
            Skip::Replay(ReplayShare::Cap) => scenario.statistics.replay = scenario.replay_limit(),
            Skip::Replay(ReplayShare::Share(share)) => scenario.statistics.replay = share,
            Skip::Delta(shares) => scenario.statistics.active_blocks = shares.0,
        }
        Ok(scenario)
    }

    /// For the dense baseline of a point: without what says how replays come about.
    pub fn without_replays(&self) -> Self {
        Self {
            gate: None,
            profile: Vec::new(),
            correlation: 0.0,
            coupling: None,
            coupled: false,
            ..self.clone()
        }
    }

    fn check(&self, point: &Point) -> Result<()> {
        let replays = matches!(point.skip, Skip::Replay(_));
        if !replays && (self.gate.is_some() || !self.profile.is_empty()) {
            return usage("--gate and --profile say how replays come about: add --replay SHARE");
        }
        let pairs = self.coupled || self.coupling.is_some() || self.correlation != 0.0;
        let paired = point.rows.0.paired || self.guided;
        if pairs && !(paired && replays) {
            return usage(
                "--correlation, --coupling and --coupled are about the replays of guided pairs: \
                 add --replay SHARE and --batch cfg or --guided",
            );
        }
        Ok(())
    }

    fn workload(&self) -> Result<Workload> {
        let path = Path::new(&self.workload);
        let mut workload = match path.is_dir() {
            true => Workload::from_checkpoint(path)?,
            false => Workload::named(&self.workload)?,
        };
        if self.body_only {
            workload = workload.body_only();
        }
        if let Some(prompt) = self.prompt {
            workload = workload.with_prompt(prompt);
        }
        if let Some(frames) = self.frames {
            let Some(period) = workload.period() else {
                return usage(format!("--frames: workload '{}' has no frames", workload.name()));
            };
            let positions = frames.checked_mul(period);
            let positions = positions.ok_or_else(|| Usage(format!("--frames {frames} is too many")))?;
            workload = workload.with_generated(positions);
        }
        Ok(workload)
    }

    /// Thresholds do not matter where decisions are drawn, so any will do.
    fn policy(&self, skip: Skip) -> Result<Policy> {
        let method = match skip {
            Skip::Dense => Method::Dense,
            Skip::Replay(_) => {
                let gate = match self.gate {
                    None | Some(GateKind::Tas) => Gate::Tas { form: TasForm::Code, thresholds: vec![0.0] },
                    Some(GateKind::InputDelta) => Gate::InputDelta { thresholds: vec![0.0] },
                };
                Method::Replay { gate, coupling: self.pair_coupling(), max_age: None }
            }
            Skip::Delta(_) => {
                Method::Delta { thresholds: vec![DeltaThresholds::uniform(0.0)], max_age: None }
            }
        };
        Ok(Policy::new(method)?)
    }

    fn pair_coupling(&self) -> PairCoupling {
        match self.coupling {
            _ if self.coupled => PairCoupling::BothAgree,
            None | Some(CouplingKind::Independent) => PairCoupling::Independent,
            Some(CouplingKind::BothAgree) => PairCoupling::BothAgree,
            Some(CouplingKind::Mean) => PairCoupling::Mean,
        }
    }

    fn options(&self, policy: Scheduling) -> SimOptions {
        let advance = match self.advance {
            AdvanceKind::Bulk => Advance::Bulk,
            AdvanceKind::Step => Advance::Step,
        };
        SimOptions {
            policy,
            advance,
            memory: self.memory.clone(),
            memory_seed: self.memory_seed,
            faults: self.fault.clone(),
            ..SimOptions::default()
        }
    }

    fn statistics(&self) -> Statistics {
        Statistics {
            profile: self.profile.clone(),
            correlation: self.correlation,
            seed: self.seed,
            ..Statistics::default()
        }
    }
}

/// A preset or a configuration file, with some fields set.
///
/// # Errors
/// No such preset, file or field, or a number that the configuration refuses.
pub fn configuration(preset: &str, settings: &[Setting]) -> Result<AccelConfig> {
    let base = if Path::new(preset).extension().is_some_and(|e| e == "toml") {
        let text = std::fs::read_to_string(preset)
            .with_context(|| format!("cannot read configuration file {preset}"))?;
        AccelConfig::from_toml(&text).with_context(|| format!("configuration file {preset} is refused"))?
    } else {
        AccelConfig::preset(preset).map_err(|e| Usage(e.to_string()))?
    };
    if settings.is_empty() {
        return Ok(base);
    }
    let mut fields = serde_json::to_value(base.fields())?;
    for setting in settings {
        set(&mut fields, setting)?;
    }
    let fields: ConfigFields = serde_json::from_value(fields)
        .map_err(|e| Usage(format!("--set: a number is beyond what the field holds: {e}")))?;
    Ok(AccelConfig::new(fields).map_err(|e| Usage(e.to_string()))?)
}

fn set(fields: &mut Value, setting: &Setting) -> Result<()> {
    let numbers = fields.as_object_mut().into_iter().flatten().filter(|f| f.1.is_number());
    let mut names = Vec::new();
    for (name, value) in numbers {
        if *name == setting.field {
            *value = setting.value.into();
            return Ok(());
        }
        names.push(name.clone());
    }
    usage(format!("--set: a configuration has no field '{}'; it has {}", setting.field, names.join(", ")))
}
