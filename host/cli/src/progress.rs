//! Progress on standard error: a bar on a terminal, one line per stage elsewhere, nothing when asked to be
//! quiet.

use crate::interrupt;
use fastcar_host::pack::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;

/// Whether progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ui {
    /// Shown on standard error.
    Shown,
    /// Not shown.
    Quiet,
}

impl Ui {
    /// Quiet where any of the reasons holds.
    pub fn new(quiet: bool, json: bool) -> Self {
        if quiet || json { Self::Quiet } else { Self::Shown }
    }

    /// Says something that is no error.
    pub fn note(self, text: &str) {
        if self == Self::Shown {
            eprintln!("{text}");
        }
    }

    /// Starts a stage of which nothing is known but that it goes on.
    #[cfg(feature = "hardware")]
    pub fn spinner(self, stage: &str) -> Bar {
        let terminal = std::io::stderr().is_terminal();
        if self == Self::Quiet || !terminal {
            self.note(stage);
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(stage.to_owned());
        let style = ProgressStyle::with_template("{spinner} {msg}  {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Bar(bar)
    }

    /// Starts a stage of `total` units.
    pub fn bar(self, stage: &str, total: u64, unit: &str) -> Bar {
        let terminal = std::io::stderr().is_terminal();
        if !terminal {
            self.note(&format!("{stage}: {total} {unit}"));
        }
        let target = match self {
            Self::Shown if terminal => ProgressDrawTarget::stderr(),
            Self::Shown | Self::Quiet => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(stage.to_owned());
        bar.set_style(style(unit));
        Bar(bar)
    }
}

fn style(unit: &str) -> ProgressStyle {
    let template =
        format!("{{msg:<16}} {{bar:32}} {{human_pos}}/{{human_len}} {unit}  {{rate}}/s  {{eta}} left");
    ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate)
        .progress_chars("━━─")
}

/// Units a second, without a fraction.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let _ = write!(out, "{:.0}", state.per_sec());
}

/// One stage's bar; it disappears when dropped.
pub struct Bar(ProgressBar);

impl Bar {
    /// Moves to `done` units.
    pub fn set(&self, done: u64) {
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Packing reports its length with its progress, and stops on a signal.
impl Progress for Bar {
    fn advance(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}
