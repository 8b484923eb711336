//! `event-replay verify`: replays recordings with the participants of this build and compares.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};
use event_replay::recording::Ending;
use event_replay::verify::{Cast, Options, Order, Progress, Report, Verified, VerifyError, verify};
use events::SagaId;
use indicatif::ProgressBar;
use serde_json::json;
use uuid::Uuid;

use super::progress::{message_bar, warn_of};
use super::{Done, Outcome};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Recordings, each replayed in a world of its own
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// In which order the sagas are replayed
    #[arg(long, value_enum, default_value_t = OrderFlag::Recorded)]
    order: OrderFlag,
    /// In another order, those that compete stay in the recorded one among themselves; then nothing
    /// may change
    #[arg(long)]
    keep_arbitration: bool,
    /// How likely each event is delivered once more, later: 0.3 or 30%
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    duplicate: f64,
    /// How likely a participant dies between its commit and its answer, at each event
    #[arg(long, value_name = "P", default_value = "0", value_parser = probability)]
    crash: f64,
    /// Of the chance that shuffles, duplicates and crashes: the same seed, the same replay
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Only this saga, and those that may influence it
    #[arg(long, value_name = "ID")]
    saga: Option<Uuid>,
    /// Show no more than so many of the sagas that differ
    #[arg(long, value_name = "N", default_value_t = 10)]
    show: usize,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OrderFlag {
    /// Every participant decides in the order in which it decided
    Recorded,
    /// The last saga first, overlapping
    Reversed,
    /// At random, overlapping
    Shuffled,
}

/// Above this, an event would be handed over without end.
const MOST_LIKELY: f64 = 0.99;

fn probability(text: &str) -> Result<f64, String> {
    let (number, unit) = match text.strip_suffix('%') {
        Some(number) => (number, 100.0),
        None => (text, 1.0),
    };
    let number = number.trim().parse::<f64>().map(|number| number / unit);
    match number {
        Ok(number) if (0.0..=MOST_LIKELY).contains(&number) => Ok(number),
        _ => Err(format!(
            "it is a number from 0 to {MOST_LIKELY}, or a percentage"
        )),
    }
}

impl Flags {
    fn options(&self) -> Options {
        Options {
            order: match self.order {
                OrderFlag::Recorded => Order::Recorded,
                OrderFlag::Reversed => Order::Reversed,
                OrderFlag::Shuffled => Order::Shuffled,
            },
            keeps_arbitration: self.keep_arbitration,
            duplicate: self.duplicate,
            crash: self.crash,
            seed: self.seed,
            saga: self.saga.map(SagaId),
        }
    }
}

/// A recording that cannot be replayed, by its file.
#[derive(Debug, thiserror::Error)]
#[error("{}", path.display())]
struct NotReplayed {
    path: PathBuf,
    source: VerifyError,
}

pub(super) fn run(flags: &Flags, as_json: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut done = Done::AsExpected;
    let mut reports = Vec::new();
    for file in &flags.files {
        let begun = std::time::Instant::now();
        let replayed = runtime.block_on(replay(file, &flags.options()));
        let verified = replayed.map_err(|source| NotReplayed {
            path: file.clone(),
            source,
        })?;
        warn_of(file, &verified.ending);
        // A recording of nothing shows nothing: its selection was wrong.
        if !verified.report.is_as_recorded() || verified.report.replayed == 0 {
            done = Done::Otherwise;
        }
        match as_json {
            true => reports.push(to_json(file, &verified)),
            false => print(file, &verified.report, begun.elapsed(), flags.show),
        }
    }
    if as_json {
        println!("{}", json!(reports));
    }
    Ok(done)
}

async fn replay(path: &Path, options: &Options) -> Result<Verified, VerifyError> {
    let opened = File::open(path).map_err(event_replay::recording::ReadError::from)?;
    let reading = ProgressBar::new_spinner().with_message("reading");
    let bar = message_bar("replaying");
    let mut progress = |progress| match progress {
        Progress::Read => reading.inc(1),
        Progress::Replayed { of } => {
            reading.finish_and_clear();
            bar.set_length(of);
            bar.inc(1);
        }
    };
    let verified = verify(opened, Cast::as_shipped(), options, &mut progress).await;
    bar.finish_and_clear();
    verified
}

fn print(path: &Path, report: &Report, took: Duration, show: usize) {
    for difference in report.differences.iter().take(show) {
        println!("{difference}");
    }
    let shown = show.min(report.differences.len()) as u64;
    let all = report.different + report.undetermined;
    if all > shown {
        println!("… and {} more\n", all - shown);
    }
    print_counts(path, report);
    let seconds = took.as_secs_f64();
    let speed = report.messages as f64 / seconds;
    println!("  {speed:.0} messages/s, {seconds:.2} s");
    match (report.different, report.undetermined) {
        (0, _) if report.replayed == 0 => println!("  NOTHING to replay: no command of any saga"),
        (0, 0) => println!("  as recorded"),
        (0, undetermined) => println!("  as recorded, but for {undetermined} undetermined"),
        (different, _) => println!("  {different} sagas DIFFER"),
    }
}

fn print_counts(path: &Path, report: &Report) {
    let Report {
        messages,
        replayed,
        deliveries,
        duplicates,
        crashes,
        groups,
        grouped,
        changed,
        ..
    } = report;
    println!(
        "{}: {messages} messages, {replayed} sagas replayed",
        path.display()
    );
    println!("  {deliveries} deliveries, of them {duplicates} again and {crashes} after a crash");
    if *groups > 0 {
        println!(
            "  {grouped} sagas may influence one another, in {groups} group{}; {changed} of them \
             came out otherwise",
            if *groups == 1 { "" } else { "s" }
        );
    }
    for (count, what) in [
        (
            report.without_end,
            "are recorded up to somewhere before their end",
        ),
        (
            report.without_command,
            "began before the recording, and are passed over",
        ),
        (
            report.undetermined,
            "differ, perhaps because of what the recording lacks",
        ),
    ] {
        if count > 0 {
            println!("  {count} sagas {what}");
        }
    }
}

fn to_json(path: &Path, verified: &Verified) -> serde_json::Value {
    json!({
        "file": path,
        "source": verified.header.source,
        "isWhole": matches!(verified.ending, Ending::Whole(_)),
        "isAsRecorded": verified.report.is_as_recorded(),
        "report": verified.report,
    })
}
