//! The corpus: recordings of every path there is, made by the real participants and kept in the
//! repository, so that a change of behaviour shows here, and in review.
//!
//! `BLESS=1 cargo test -p event-replay --test corpus` records it anew.

mod scenes;
mod system;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::PathBuf;

use event_replay::coverage::{Coverage, Gathering, every_path};
use event_replay::recording::{Ending, Reader};
use event_replay::verify::{Cast, Options, Order, Report, verify};

use scenes::CORPUS;
use system::System;

const SEEDS: u64 = 20;

fn path(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    folder.join(format!("{name}.jsonl"))
}

/// The files of the corpus, recorded anew if that was asked for.
fn corpus() -> Vec<PathBuf> {
    static RECORDED: std::sync::Once = std::sync::Once::new();
    RECORDED.call_once(|| {
        if std::env::var_os("BLESS").is_some() {
            block_on(record());
        }
    });
    CORPUS.iter().map(|scene| path(scene.name)).collect()
}

async fn record() {
    for (number, scene) in (1..).zip(CORPUS) {
        let mut system = System::start(number).await;
        (scene.play)(&mut system).await;
        fs::write(path(scene.name), system.record().await).expect("the corpus can be written");
    }
}

fn block_on<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(what)
}

fn replay(file: &PathBuf, options: &Options) -> Report {
    let recording = File::open(file).expect("the corpus is there");
    let mut silent = |_| {};
    let verified = verify(recording, Cast::as_shipped(), options, &mut silent);
    let verified = block_on(verified).expect("it can be read");
    assert!(matches!(verified.ending, Ending::Whole(_)), "{file:?}");
    verified.report
}

fn told(report: &Report) -> String {
    report.differences.iter().map(ToString::to_string).collect()
}

#[test]
fn the_corpus_replays_as_recorded() {
    for file in corpus() {
        let report = replay(&file, &Options::default());
        assert!(report.differences.is_empty(), "{file:?}\n{}", told(&report));
        assert_eq!(report.replayed, report.sagas, "{file:?}");
        assert!(report.duplicates > 0 || file.ends_with("competition.jsonl"));
    }
}

#[test]
fn no_order_nor_duplicate_nor_crash_changes_what_may_not_change() {
    for file in corpus() {
        for order in [Order::Recorded, Order::Reversed, Order::Shuffled] {
            for seed in 0..SEEDS {
                let options = Options {
                    order,
                    duplicate: 0.3,
                    crash: 0.1,
                    seed,
                    ..Options::default()
                };
                let report = replay(&file, &options);
                let context = format!("{file:?} {options:?}\n{}", told(&report));
                assert_eq!((report.different, report.undetermined), (0, 0), "{context}");
            }
        }
    }
}

#[test]
fn with_the_recorded_arbitration_nothing_changes_in_any_order() {
    for file in corpus() {
        for order in [Order::Reversed, Order::Shuffled] {
            for seed in 0..SEEDS {
                let options = Options {
                    order,
                    keeps_arbitration: true,
                    duplicate: 0.3,
                    crash: 0.1,
                    seed,
                    saga: None,
                };
                let report = replay(&file, &options);
                let context = format!("{file:?} {options:?}\n{}", told(&report));
                assert_eq!((report.different, report.changed), (0, 0), "{context}");
            }
        }
    }
}

#[test]
fn in_another_order_other_competitors_win() {
    corpus();
    let changed = (0..SEEDS).map(|seed| {
        let options = Options {
            order: Order::Shuffled,
            seed,
            ..Options::default()
        };
        replay(&path("competition"), &options).changed
    });
    let changed: Vec<u64> = changed.collect();
    assert!(changed.iter().any(|count| *count > 0), "{changed:?}");
    assert!(
        changed.iter().all(|count| count % 2 == 0 && *count <= 4),
        "of each four one wins, so a new winner is a new loser: {changed:?}"
    );
}

#[test]
fn the_corpus_has_every_path_and_no_other() {
    let mut coverage = Coverage::default();
    for file in corpus() {
        let file = File::open(file).expect("the corpus is there");
        let mut gathering = Gathering::default();
        for entry in Reader::new(BufReader::new(file)).expect("a recording") {
            gathering.add(&entry.expect("a message").event);
        }
        coverage.add(gathering);
    }
    let missing = every_path().filter(|path| coverage.count(path) == 0);
    let missing: Vec<String> = missing.map(|path| path.to_string()).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let unlisted = coverage.unlisted();
    assert!(unlisted.is_empty(), "{unlisted:?}");
}

/// Leaves the recording in `target/tmp/large.jsonl`, for measurements.
#[test]
#[ignore = "records 20,000 sagas, which takes a while in a debug build"]
fn a_large_recording_replays_in_every_order() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("large.jsonl");
    block_on(async {
        let mut system = System::start(100).await;
        scenes::many_purchases(&mut system, 20_000).await;
        fs::write(&path, system.record().await).expect("it can be written");
    });
    for order in [Order::Recorded, Order::Reversed, Order::Shuffled] {
        let options = Options {
            order,
            duplicate: 0.3,
            ..Options::default()
        };
        let report = replay(&path, &options);
        assert_eq!(report.replayed, 20_000);
        assert_eq!(report.grouped, 8_000, "every fifth has a competitor");
        assert!(report.differences.is_empty(), "{}", told(&report));
    }
}
