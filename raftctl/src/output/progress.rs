//! Progress on stderr: drawn on a terminal, else a line every ten seconds. It always says what is
//! waited for, and for how long already.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use tokio::time::timeout;

use crate::output::units::printable;
use crate::output::{Output, units, write_stderr};

/// How often something is said where nothing can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How often a drawing moves.
const TICK: Duration = Duration::from_millis(100);

/// A measured piece of work.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    speaks: bool,
    what: String,
    total: Option<u64>,
    began: Instant,
    said: Instant,
}

impl Progress {
    /// Begins; `total` is in units of `what`.
    pub(crate) fn new(output: &Output, what: &str, total: u64) -> Self {
        Self::of(output, what, Some(total))
    }

    /// Begins; without a total, as for a pipe, only its end tells how much it was.
    pub(crate) fn of(output: &Output, what: &str, total: Option<u64>) -> Self {
        let bar = output.draws.then(|| {
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(match total {
                Some(_) => {
                    "{prefix} {bar:24.cyan} {human_pos}/{human_len} {per_sec} ETA {eta}  {msg}"
                }
                None => "{prefix} {spinner} {human_pos} so far {per_sec} ({elapsed})  {msg}",
            });
            bar.set_style(style.expect("the template is valid").progress_chars("█▉░"));
            bar.set_prefix(printable(what.as_bytes()));
            bar.enable_steady_tick(TICK);
            bar
        });
        let now = Instant::now();
        Self { bar, speaks: !output.quiet, what: what.into(), total, began: now, said: now }
    }

    /// Says how far it has come; `note` says what people should know now.
    pub(crate) fn set(&mut self, done: u64, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(printable(note.as_bytes()));
            return;
        }
        if self.speaks && self.said.elapsed() >= LINE_EVERY {
            self.said = Instant::now();
            let done = units::count(done);
            let total = match self.total {
                Some(total) => format!("of {}", units::count(total)),
                None => "so far".to_owned(),
            };
            let age = units::age(self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX));
            let note = if note.is_empty() { String::new() } else { format!("; {note}") };
            write_stderr(&format!("{}: {done} {total} after {age}{note}", self.what));
        }
    }

    /// Takes the drawing away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Waits for one thing, whose size nobody knows.
pub(crate) async fn awaited<T>(output: &Output, what: &str, thing: impl Future<Output = T>) -> T {
    let bar = output.draws.then(|| {
        let style = ProgressStyle::with_template("{prefix} {spinner}  ({elapsed})")
            .expect("the template is valid");
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(style)
            .with_prefix(printable(what.as_bytes()))
            .with_finish(ProgressFinish::AndClear);
        bar.enable_steady_tick(TICK);
        bar
    });
    let began = Instant::now();
    let mut thing = pin!(thing);
    loop {
        if let Ok(ended) = timeout(LINE_EVERY, &mut thing).await {
            return ended;
        }
        if bar.is_none() && !output.quiet {
            write_stderr(&format!("{what} ({} s)", began.elapsed().as_secs()));
        }
    }
}

/// Waiting for several things at once, a line each.
pub(crate) struct Waiting {
    drawn: Option<(MultiProgress, Vec<ProgressBar>)>,
    speaks: bool,
    names: Vec<String>,
    states: Vec<String>,
    began: Instant,
    said: Instant,
}

impl Waiting {
    /// Begins to wait for what has these names.
    pub(crate) fn new(output: &Output, names: &[String]) -> Self {
        let drawn = output.draws.then(|| {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("  {prefix}  {spinner} {msg}  ({elapsed})")
                .expect("the template is valid");
            let width = names.iter().map(String::len).max().unwrap_or(0);
            let line = |name: &String| {
                let bar = all.add(ProgressBar::new_spinner().with_style(style.clone()));
                bar.set_prefix(format!("{:width$}", printable(name.as_bytes())));
                bar.set_message("asking");
                bar.enable_steady_tick(TICK);
                bar
            };
            let bars = names.iter().map(line).collect();
            (all, bars)
        });
        let now = Instant::now();
        Self {
            drawn,
            speaks: !output.quiet,
            names: names.to_vec(),
            states: vec!["asking".into(); names.len()],
            began: now,
            said: now,
        }
    }

    /// Says how one of them does; `done` if nothing more is expected of it.
    pub(crate) fn set(&mut self, index: usize, state: &str, done: bool) {
        let changed = self.states[index] != state;
        state.clone_into(&mut self.states[index]);
        match &self.drawn {
            Some((_, bars)) if done && !bars[index].is_finished() => {
                bars[index].finish_with_message(printable(state.as_bytes()));
            }
            Some((_, bars)) => bars[index].set_message(printable(state.as_bytes())),
            None if changed && self.speaks => {
                write_stderr(&format!("  waiting     {}: {state}", self.names[index]));
            }
            None => {}
        }
    }

    /// Where nothing is drawn, repeats every ten seconds what is waited for.
    pub(crate) fn tick(&mut self, missing: &[usize]) {
        if self.drawn.is_some() || !self.speaks || self.said.elapsed() < LINE_EVERY {
            return;
        }
        self.said = Instant::now();
        let one = |index: &usize| format!("{}: {}", self.names[*index], self.states[*index]);
        let list: Vec<String> = missing.iter().map(one).collect();
        let seconds = self.began.elapsed().as_secs();
        write_stderr(&format!("  waiting     {} ({seconds} s)", list.join(" · ")));
    }

    /// Takes the drawing away.
    pub(crate) fn finish(&self) {
        if let Some((all, _)) = &self.drawn {
            // A terminal that is gone needs no cleaning.
            let _ = all.clear();
        }
    }
}
