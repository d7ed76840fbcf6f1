//! The report for people.

use super::report::{Report, SequenceReport, Timings};
use crate::metrics::Difference;
use crate::policy_args::describe;
use crate::table::{pairs, percent, table};
use fastcar_host::sampler::Sampling;

/// Heading and cell; a column without a single cell is left out.
type Column = (&'static str, fn(&SequenceReport) -> Option<String>);

const COLUMNS: [Column; 9] = [
    ("sequence", |s| Some(s.title())),
    ("replayed", |s| s.savings.replay_ratio.map(percent)),
    ("both rows", |s| s.savings.r_joint.map(percent)),
    ("weight traffic", |s| Some(percent(s.savings.weight_traffic))),
    ("agrees with dense", |s| s.against_dense.as_ref()?.token_agreement.map(percent)),
    ("tokens as dense", |s| s.against_dense.as_ref()?.tokens_equal.map(percent)),
    ("PSNR to dense", |s| s.against_dense.as_ref()?.frames.map(decibel)),
    ("PSNR to truth", |s| s.against_truth.as_ref()?.frames.map(decibel)),
    ("dense to truth", |s| s.against_truth.as_ref()?.dense_frames.map(decibel)),
];

fn decibel(d: Difference) -> String {
    d.psnr_db.map_or("identical".to_owned(), |p| format!("{p:.1} dB"))
}

/// The report as tables.
pub fn text(report: &Report) -> String {
    let facts = pairs(&[
        ("model", format!("{}, weights {}", report.model, report.weights)),
        (
            "machine",
            format!("{}, preset {}, identity {}", report.backend, report.preset, report.identity.short()),
        ),
        ("policy", describe(&report.policy)),
        ("sampling", sampling(report)),
        ("time", timings(&report.timings)),
    ]);
    let files: String = report.files.iter().map(|f| format!("wrote {}\n", f.display())).collect();
    let simulated = report.simulated.as_ref().map_or_else(String::new, |s| format!("\n{}", s.text()));
    #[cfg(feature = "hardware")]
    let simulated =
        simulated + &report.hardware.as_ref().map_or_else(String::new, |h| format!("\n{}", h.text()));
    let device = report.device.as_ref().map_or_else(String::new, |d| format!("\n{}", d.text()));
    format!("{facts}\n{}{}{simulated}{device}\n{files}", sequences(&report.sequences), layers(report))
}

fn sampling(report: &Report) -> String {
    let Sampling { temperature, top_k, top_p, seed } = report.sampling;
    let draws = match temperature {
        0.0 => "greedy".to_owned(),
        _ => format!("temperature {temperature}, top-k {top_k}, top-p {top_p}, seed {seed}"),
    };
    report.cfg.map_or(draws.clone(), |scale| format!("{draws}, guided with scale {scale}"))
}

fn timings(t: &Timings) -> String {
    let Timings { pack_seconds, prefill_seconds, decode_seconds, tokens_per_second } = t;
    format!(
        "pack {pack_seconds:.2} s, prefill {prefill_seconds:.2} s, decode {decode_seconds:.2} s, \
         {tokens_per_second:.0} tokens/s"
    )
}

fn sequences(all: &[SequenceReport]) -> String {
    let used: Vec<&Column> = COLUMNS.iter().filter(|c| all.iter().any(|s| c.1(s).is_some())).collect();
    let mut rows: Vec<Vec<String>> = vec![used.iter().map(|c| c.0.to_owned()).collect()];
    rows.extend(all.iter().map(|s| used.iter().map(|c| c.1(s).unwrap_or_default()).collect()));
    let guided = all.iter().any(|s| s.savings.r_joint.is_some());
    let note = "weight traffic is the conditional row's; the pair shares what both rows replay\n";
    table(&rows) + if guided { note } else { "" }
}

fn layers(report: &Report) -> String {
    let Some(layers) = &report.total.replay_ratio_by_layer else { return String::new() };
    let numbers = (0..layers.len()).map(|i| i.to_string());
    let heading = std::iter::once("layer".to_owned()).chain(numbers).collect();
    let row = std::iter::once("replayed".to_owned()).chain(layers.iter().map(|&r| percent(r))).collect();
    format!("\n{}", table(&[heading, row]))
}
