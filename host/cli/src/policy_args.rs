//! The policy flags, and a policy in words.

use crate::exit::{Usage, usage};
use anyhow::Result;
use clap::ValueEnum;
use fastcar_host::attention::Attention;
use fastcar_host::policy::{DeltaThresholds, Gate, Method, PairCoupling, Policy, TasForm};
use std::path::PathBuf;

/// What is skipped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum PolicyKind {
    /// Nothing.
    Dense,
    /// MLP outputs, replayed from the previous frame.
    Replay,
    /// Input blocks of every linear layer that changed little since the previous frame.
    Delta,
}

/// What decides about a replay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum GateKind {
    /// Temporal Attention Score above the threshold.
    Tas,
    /// Relative change of the MLP input below the threshold.
    InputDelta,
    /// Replay always.
    Always,
    /// Replay never.
    Never,
    /// Replay a random share.
    Random,
    /// Replay a fixed share, spread evenly.
    Budget,
}

/// Queries of the Temporal Attention Score.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum TasFormKind {
    /// Before RoPE, as in the released reference code.
    Code,
    /// After RoPE, as in the paper's formula.
    Paper,
}

/// How the two rows of a guided pair settle.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum CouplingKind {
    /// Each row alone.
    Independent,
    /// Both replay only when both would.
    BothAgree,
    /// Both decide on the mean of their scores.
    Mean,
}

/// Flags that a policy file replaces.
const FLAGS: [&str; 8] =
    ["policy", "gate", "threshold", "ratio", "gate_seed", "tas_form", "coupling", "max_age"];

/// The policy flags.
#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Policy")]
pub struct PolicyArgs {
    /// What is skipped [default: dense]
    #[arg(long, value_enum)]
    policy: Option<PolicyKind>,
    /// What decides about a replay [default: tas]
    #[arg(long, value_enum)]
    gate: Option<GateKind>,
    /// Threshold of gate tas or input-delta, or of delta: one, or one per layer separated by commas
    #[arg(long, value_name = "X,..", value_delimiter = ',', allow_hyphen_values = true)]
    threshold: Vec<f32>,
    /// Share of gate random or budget, from 0 to 1
    #[arg(long, value_name = "R")]
    ratio: Option<f32>,
    /// Seed of gate random [default: 0]
    #[arg(long, value_name = "S")]
    gate_seed: Option<u64>,
    /// Queries of gate tas [default: code]
    #[arg(long, value_enum)]
    tas_form: Option<TasFormKind>,
    /// How the rows of a guided pair settle a replay [default: independent]
    #[arg(long, value_enum)]
    coupling: Option<CouplingKind>,
    /// Compute a position again after so many frames in a row were skipped
    #[arg(long, value_name = "N")]
    max_age: Option<u32>,
    /// Read the policy from a file that `fastcar calibrate` wrote
    #[arg(long, value_name = "FILE", conflicts_with_all = FLAGS)]
    policy_file: Option<PathBuf>,
    #[command(flatten)]
    attention: AttentionArgs,
}

/// The attention flag.
#[derive(clap::Args, Debug)]
pub struct AttentionArgs {
    /// Tokens that attention reads, as in sink4+local256 or prompt+frame-stride1~8; patterns separated by commas are
    /// dealt to the key/value heads in turn, layers separated by slashes [default: dense, or the policy file's]
    #[arg(long, value_name = "PATTERN", help_heading = "Policy")]
    attention: Option<Attention>,
}

impl AttentionArgs {
    /// The attention asked for, if any.
    pub fn attention(&self) -> Option<Attention> {
        self.attention.clone()
    }

    /// A policy with the attention asked for; with its own where none is.
    fn apply(&self, policy: Policy) -> Policy {
        match self.attention() {
            Some(attention) => policy.with_attention(attention),
            None => policy,
        }
    }
}

impl PolicyArgs {
    /// The policy asked for.
    ///
    /// # Errors
    /// [`Usage`] for flags that do not belong together or numbers out of range; the policy file's errors.
    pub fn build(&self) -> Result<Policy> {
        if let Some(path) = &self.policy_file {
            return Ok(self.attention.apply(Policy::load(path)?));
        }
        let method = match self.policy.unwrap_or(PolicyKind::Dense) {
            PolicyKind::Dense => self.dense()?,
            PolicyKind::Replay => self.replay()?,
            PolicyKind::Delta => self.delta()?,
        };
        let policy = Policy::new(method).map_err(|e| Usage(e.to_string()))?;
        Ok(self.attention.apply(policy))
    }

    fn dense(&self) -> Result<Method> {
        let replay =
            self.gate.is_some() || self.ratio.is_some() || self.tas_form.is_some() || self.coupling.is_some();
        if replay || !self.threshold.is_empty() || self.max_age.is_some() || self.gate_seed.is_some() {
            return usage(
                "gates, thresholds and ratios need a policy that skips something: \
                 add --policy replay or --policy delta",
            );
        }
        Ok(Method::Dense)
    }

    fn replay(&self) -> Result<Method> {
        let coupling = match self.coupling {
            None | Some(CouplingKind::Independent) => PairCoupling::Independent,
            Some(CouplingKind::BothAgree) => PairCoupling::BothAgree,
            Some(CouplingKind::Mean) => PairCoupling::Mean,
        };
        Ok(Method::Replay { gate: self.gate()?, coupling, max_age: self.max_age })
    }

    fn gate(&self) -> Result<Gate> {
        let kind = self.gate.unwrap_or(GateKind::Tas);
        self.only("--threshold", !self.threshold.is_empty(), kind, &[GateKind::Tas, GateKind::InputDelta])?;
        self.only("--tas-form", self.tas_form.is_some(), kind, &[GateKind::Tas])?;
        self.only("--ratio", self.ratio.is_some(), kind, &[GateKind::Random, GateKind::Budget])?;
        self.only("--gate-seed", self.gate_seed.is_some(), kind, &[GateKind::Random])?;
        let form = match self.tas_form {
            None | Some(TasFormKind::Code) => TasForm::Code,
            Some(TasFormKind::Paper) => TasForm::Paper,
        };
        Ok(match kind {
            GateKind::Tas => Gate::Tas { form, thresholds: self.thresholds("gate tas")? },
            GateKind::InputDelta => Gate::InputDelta { thresholds: self.thresholds("gate input-delta")? },
            GateKind::Always => Gate::Always,
            GateKind::Never => Gate::Never,
            GateKind::Random => Gate::Random { ratio: self.share()?, seed: self.gate_seed.unwrap_or(0) },
            GateKind::Budget => Gate::Budget { ratio: self.share()? },
        })
    }

    fn delta(&self) -> Result<Method> {
        if self.gate.is_some()
            || self.ratio.is_some()
            || self.tas_form.is_some()
            || self.coupling.is_some()
            || self.gate_seed.is_some()
        {
            return usage(
                "policy delta takes --threshold and --max-age only; \
                 --gate, --gate-seed, --ratio, --tas-form and --coupling belong to --policy replay",
            );
        }
        let thresholds = self.thresholds("policy delta")?.into_iter().map(DeltaThresholds::uniform).collect();
        Ok(Method::Delta { thresholds, max_age: self.max_age })
    }

    fn only(&self, flag: &str, given: bool, kind: GateKind, gates: &[GateKind]) -> Result<()> {
        if !given || gates.contains(&kind) {
            return Ok(());
        }
        let names: Vec<String> = gates.iter().map(|&g| name(g)).collect();
        usage(format!(
            "{flag} belongs to gate {}, and the gate is {}: change --gate or leave it out",
            names.join(" or "),
            name(kind)
        ))
    }

    fn thresholds(&self, what: &str) -> Result<Vec<f32>> {
        if self.threshold.is_empty() {
            return usage(format!(
                "{what} needs --threshold X, one number or one per layer (`fastcar calibrate` finds them)"
            ));
        }
        Ok(self.threshold.clone())
    }

    fn share(&self) -> Result<f32> {
        self.ratio
            .ok_or_else(|| Usage("gates random and budget need --ratio R, from 0 to 1".to_owned()).into())
    }
}

fn name(kind: impl ValueEnum) -> String {
    kind.to_possible_value().map(|v| v.get_name().to_owned()).unwrap_or_default()
}

/// A policy on one line.
pub fn describe(policy: &Policy) -> String {
    let method = match policy.method() {
        Method::Dense => "dense".to_owned(),
        Method::Replay { gate, coupling, .. } => {
            format!("replay, {}{}", describe_gate(gate), describe_coupling(*coupling))
        }
        Method::Delta { thresholds, .. } => {
            let all: Vec<f32> = thresholds.iter().flat_map(DeltaThresholds::all).collect();
            format!("delta, change > {}", numbers(&all))
        }
    };
    let skipping = policy.max_age().map_or(method.clone(), |age| format!("{method}, at most {age} in a row"));
    let attention = policy.attention();
    if attention.is_dense() { skipping } else { format!("{skipping}, attention {attention}") }
}

fn describe_gate(gate: &Gate) -> String {
    match gate {
        Gate::Tas { form: TasForm::Code, thresholds } => format!("TAS > {}", numbers(thresholds)),
        Gate::Tas { form: TasForm::Paper, thresholds } => {
            format!("TAS (paper's form) > {}", numbers(thresholds))
        }
        Gate::InputDelta { thresholds } => format!("input change < {}", numbers(thresholds)),
        Gate::Always => "always".to_owned(),
        Gate::Never => "never".to_owned(),
        Gate::Random { ratio, .. } => format!("random {ratio}"),
        Gate::Budget { ratio } => format!("budget {ratio}"),
    }
}

fn describe_coupling(coupling: PairCoupling) -> &'static str {
    match coupling {
        PairCoupling::Independent => "",
        PairCoupling::BothAgree => ", rows must agree",
        PairCoupling::Mean => ", mean of the rows",
    }
}

/// One number, or the range of several.
fn numbers(all: &[f32]) -> String {
    let low = all.iter().copied().fold(f32::INFINITY, f32::min);
    let high = all.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if low == high { low.to_string() } else { format!("{low}..{high}") }
}
