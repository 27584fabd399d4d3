//! Progress of long work: a bar with rate and time left on a terminal, nothing elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that appears only if the work takes a moment.
pub struct Bar {
    bar: ProgressBar,
    begun: std::time::Instant,
}

/// Shorter work shows no bar.
const PATIENCE: Duration = Duration::from_millis(300);

impl Bar {
    /// `what` is being done, counted in `unit`.
    pub fn new(what: &'static str, unit: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let template = format!(
            "{{msg}} [{{wide_bar}}] {{percent}} % · {{human_pos}} of {{human_len}} {unit} · {{per_sec}} · {{eta}} left"
        );
        bar.set_style(
            ProgressStyle::with_template(&template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        bar.set_message(what);
        Self {
            bar,
            begun: std::time::Instant::now(),
        }
    }

    /// The bar in bytes of a file, shown from the start.
    pub fn bytes(what: String, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(
            ProgressStyle::with_template("{msg} [{wide_bar}] {percent} % · {prefix} · {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> "),
        );
        bar.set_message(what);
        Self {
            bar,
            begun: std::time::Instant::now(),
        }
    }

    /// So much is done of so much.
    pub fn update(&mut self, done: u64, total: u64) {
        if self.bar.is_hidden() && self.begun.elapsed() > PATIENCE && done < total {
            self.bar
                .set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// A text beside the bar, for instance a rate.
    pub fn note(&mut self, text: String) {
        self.bar.set_prefix(text);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}
