//! `event-replay coverage`: which paths of the choreography table recordings contain.

use std::path::PathBuf;

use clap::Args;
use event_replay::coverage::{Coverage, Gathering, Path, every_path};
use events::choreography::SAGAS;
use serde_json::json;

use super::progress::{FileError, open, warn_of};
use super::{Done, Outcome};

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Recordings, taken together
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Fail unless all of these are contained: success, refusal, compensation, deadline, duplicate,
    /// all, a kind of saga, or a path as it is printed
    #[arg(long, value_delimiter = ',', value_name = "SETS", value_parser = set)]
    require: Vec<String>,
    /// Fail if less than so many of 100 paths are contained
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min: Option<u8>,
    /// Print only the paths that are missing
    #[arg(long)]
    missing: bool,
}

fn set(name: &str) -> Result<String, String> {
    match every_path().any(|path| path.is_in(name)) {
        true => Ok(name.to_owned()),
        false => {
            let kinds: Vec<&str> = SAGAS.iter().map(|saga| saga.name).collect();
            Err(format!(
                "there is no such set; there are {}, all, and {}",
                Path::SETS.join(", "),
                kinds.join(", ")
            ))
        }
    }
}

pub(super) fn run(flags: &Flags, as_json: bool) -> Outcome {
    let mut coverage = Coverage::default();
    for file in &flags.files {
        let mut recording = open(file, "reading")?;
        let mut gathering = Gathering::default();
        for entry in &mut recording {
            gathering.add(&entry.map_err(FileError::of(file))?.event);
        }
        warn_of(file, &recording.into_ending());
        coverage.add(gathering);
    }
    let verdict = Verdict::of(&coverage, flags);
    match as_json {
        true => println!("{}", verdict.to_json(&coverage)),
        false => verdict.print(&coverage, flags.missing),
    }
    Ok(match verdict.is_enough() {
        true => Done::AsExpected,
        false => Done::Otherwise,
    })
}

struct Verdict {
    covered: usize,
    paths: Vec<Path>,
    /// Required, and not there.
    lacking: Vec<Path>,
    min: Option<u8>,
}

impl Verdict {
    fn of(coverage: &Coverage, flags: &Flags) -> Self {
        let paths: Vec<Path> = every_path().collect();
        let is_there = |path: &&Path| coverage.count(path) > 0;
        let is_required = |path: &&Path| flags.require.iter().any(|set| path.is_in(set));
        let lacking = paths.iter().filter(|path| !is_there(path));
        Self {
            covered: paths.iter().filter(is_there).count(),
            lacking: lacking.filter(is_required).cloned().collect(),
            min: flags.min,
            paths,
        }
    }

    /// Rounded down, so that only all of them are 100.
    fn percent(&self) -> usize {
        self.covered * 100 / self.paths.len()
    }

    fn is_enough(&self) -> bool {
        let min = self.min.map_or(0, usize::from);
        self.lacking.is_empty() && self.percent() >= min
    }

    fn print(&self, coverage: &Coverage, only_missing: bool) {
        let width = self.paths.iter().map(|path| path.to_string().len()).max();
        let width = width.unwrap_or_default();
        println!("{:<width$}  {:>8}", "PATH", "SAGAS");
        for path in &self.paths {
            match coverage.count(path) {
                0 => println!("{:<width$}  {:>8}", path.to_string(), "MISSING"),
                _ if only_missing => {}
                count => println!("{:<width$}  {count:>8}", path.to_string()),
            }
        }
        for (path, count) in coverage.unlisted() {
            println!(
                "{:<width$}  {count:>8}  which no rule is known to lead to",
                path.to_string()
            );
        }
        let (covered, all) = (self.covered, self.paths.len());
        println!(
            "\n{covered} of {all} paths are covered, {} %.",
            self.percent()
        );
        if let Some(min) = self.min.filter(|min| self.percent() < usize::from(*min)) {
            println!("That is less than the {min} % required.");
        }
        for path in &self.lacking {
            println!("Required and missing: {path}");
        }
    }

    fn to_json(&self, coverage: &Coverage) -> serde_json::Value {
        let count = |path: &Path| json!({"path": path.to_string(), "sagas": coverage.count(path)});
        let unlisted = coverage.unlisted();
        let unlisted = unlisted.iter().map(|(path, _)| count(path));
        let names = self.lacking.iter().map(Path::to_string);
        json!({
            "paths": self.paths.iter().map(count).collect::<Vec<_>>(),
            "unlisted": unlisted.collect::<Vec<_>>(),
            "covered": self.covered,
            "percent": self.percent(),
            "required": {"min": self.min, "lacking": names.collect::<Vec<_>>()},
            "isEnough": self.is_enough(),
        })
    }
}
