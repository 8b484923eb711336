//! What a run means: medians over its rounds, ratios within each round, and whether the bounds that
//! the project set itself are met. Serialized, it is the one JSON line.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::arguments::Arguments;
use crate::drain::Drain;
use crate::meter::median;
use crate::rounds::{Cell, Findings};
use crate::variant::Variant;

#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) refusals: f64,
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) bare: Option<Bare>,
    pub(crate) drain: Option<DrainSummary>,
    pub(crate) bounds: Vec<Bound>,
    /// How many systems' databases were checked for the invariants.
    pub(crate) checked: usize,
    pub(crate) violations: Vec<String>,
}

/// One variant at one number of sagas in flight.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) variant: &'static str,
    pub(crate) in_flight: usize,
    pub(crate) sagas_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// By process; null where it is not known.
    pub(crate) cpu_us_per_saga: BTreeMap<&'static str, Option<f64>>,
    /// The share of the machine that processes used which are not measured.
    pub(crate) others: Option<f64>,
    pub(crate) ledger_behind_ms: Option<f64>,
    pub(crate) sagas_per_second_by_round: Vec<f64>,
}

/// The system against something else, or what callers see against the system.
#[derive(Debug, Serialize)]
pub(crate) struct Ratio {
    pub(crate) of: &'static str,
    pub(crate) to: &'static str,
    pub(crate) in_flight: usize,
    pub(crate) sagas_per_second: f64,
    pub(crate) p50: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Bare {
    pub(crate) commit_us: f64,
    pub(crate) hop_us: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct DrainSummary {
    pub(crate) sagas: u64,
    pub(crate) published_in_s: f64,
    pub(crate) drained_in_s: f64,
    pub(crate) ledger_behind_s: f64,
    pub(crate) services: Vec<&'static str>,
    pub(crate) sagas_per_second: Vec<f64>,
    /// By part of the drain, then by service.
    pub(crate) peak_mib: Vec<Vec<Option<f64>>>,
}

/// A bound and how the run stands to it.
#[derive(Debug, Serialize)]
pub(crate) struct Bound {
    pub(crate) claim: String,
    pub(crate) value: f64,
    pub(crate) limit: f64,
    pub(crate) met: bool,
}

/// At least so many times the other's sagas per second.
const THROUGHPUT: [(usize, Variant, f64); 3] = [
    (2000, Variant::Relay, 4.0),
    (2000, Variant::PackingOff, 4.0),
    (64, Variant::PackingOff, 2.5),
];
/// At one saga in flight, packing and batching may cost so much of the median.
const LONE_SAGA: f64 = 1.05;
/// At one saga in flight, the median against one commit and three hops.
const OVER_BARE: f64 = 3.0;
const HOPS: f64 = 3.0;
/// A saga's cost must not grow with the number of sagas ever run.
const HISTORY: f64 = 0.9;
/// HTTP may cost so much of the pipeline's median, at so many sagas in flight.
const OVER_HTTP: (usize, f64) = (64, 1.15);
/// Memory that grows by less while the last third of a backlog drains is flat.
const FLAT: f64 = 1.1;
/// The rate of the last third of a drain, of that of the first.
const RATE_KEPT: f64 = 0.9;

impl Summary {
    pub(crate) fn of(findings: &Findings, arguments: &Arguments) -> Self {
        let cells = Cells(&findings.cells);
        let rows: Vec<Row> = cells.rows(arguments);
        let ratios = cells.ratios(arguments);
        let bare = bare(findings);
        let mut bounds = throughput_bounds(&ratios);
        bounds.extend(history_bounds(&ratios));
        bounds.extend(http_bound(&ratios));
        bounds.extend(latency_bounds(&rows, &ratios, bare.as_ref()));
        bounds.extend(findings.drain.iter().flat_map(drain_bounds));
        Self {
            refusals: arguments.refusals,
            seconds: arguments.seconds,
            rounds: arguments.rounds,
            rows,
            ratios,
            bare,
            drain: findings.drain.as_ref().map(DrainSummary::of),
            bounds,
            checked: findings.checked,
            violations: findings.violations.clone(),
        }
    }
}

struct Cells<'a>(&'a [Cell]);

impl Cells<'_> {
    fn of(&self, variant: Variant, in_flight: usize) -> Vec<&Cell> {
        let cells = self.0.iter();
        cells
            .filter(|cell| (cell.variant, cell.in_flight) == (variant, in_flight))
            .collect()
    }

    fn rows(&self, arguments: &Arguments) -> Vec<Row> {
        let variants = &arguments.variants();
        let numbers = arguments.in_flight.iter();
        let pairs = numbers.flat_map(|number| variants.iter().map(move |v| (*v, *number)));
        pairs
            .filter_map(|(variant, number)| Row::of(variant, number, &self.of(variant, number)))
            .collect()
    }

    fn ratios(&self, arguments: &Arguments) -> Vec<Ratio> {
        let mut ratios = Vec::new();
        for &in_flight in &arguments.in_flight {
            let others = Variant::ALL.into_iter();
            for other in others.filter(|v| ![Variant::System, Variant::Http].contains(v)) {
                ratios.extend(self.ratio(Variant::System, other, in_flight));
            }
            ratios.extend(self.ratio(Variant::Http, Variant::System, in_flight));
        }
        ratios
    }

    /// The median of the ratios within each round.
    fn ratio(&self, one: Variant, other: Variant, in_flight: usize) -> Option<Ratio> {
        let (ours, theirs) = (self.of(one, in_flight), self.of(other, in_flight));
        let pairs: Vec<_> = ours.into_iter().zip(theirs).collect();
        if pairs.is_empty() {
            return None;
        }
        let ratio = |value: fn(&Cell) -> f64| {
            median(pairs.iter().map(|(a, b)| value(a) / value(b)).collect())
        };
        Some(Ratio {
            of: one.title(),
            to: other.title(),
            in_flight,
            sagas_per_second: ratio(|cell| cell.measured.per_second()),
            p50: ratio(|cell| micros(cell.measured.latency(0.50))),
        })
    }
}

impl Row {
    fn of(variant: Variant, in_flight: usize, cells: &[&Cell]) -> Option<Self> {
        let over = |value: fn(&Cell) -> f64| median(cells.iter().map(|cell| value(cell)).collect());
        let first = cells.first()?;
        let processes = first.cpu.times.iter().map(|(name, _)| *name);
        let behind = |cell: &&Cell| Some(micros(cell.ledger_behind?) / 1000.0);
        let behind: Option<Vec<f64>> = cells.iter().map(behind).collect();
        Some(Self {
            variant: variant.title(),
            in_flight,
            sagas_per_second: over(|cell| cell.measured.per_second()),
            p50_us: over(|cell| micros(cell.measured.latency(0.50))),
            p99_us: over(|cell| micros(cell.measured.latency(0.99))),
            cpu_us_per_saga: processes.map(|name| (name, cpu(cells, name))).collect(),
            others: cells
                .iter()
                .map(|cell| cell.cpu.others())
                .collect::<Option<Vec<f64>>>()
                .map(median),
            ledger_behind_ms: behind.map(median),
            sagas_per_second_by_round: cells
                .iter()
                .map(|cell| cell.measured.per_second())
                .collect(),
        })
    }
}

fn cpu(cells: &[&Cell], name: &str) -> Option<f64> {
    let per_saga = cells.iter().map(|cell| {
        let (_, used) = cell
            .cpu
            .times
            .iter()
            .find(|(process, _)| *process == name)?;
        Some(micros((*used)?) / cell.measured.sagas as f64)
    });
    per_saga.collect::<Option<Vec<f64>>>().map(median)
}

fn bare(findings: &Findings) -> Option<Bare> {
    if findings.bare.is_empty() {
        return None;
    }
    let over = |value: fn(&crate::bare::Bare) -> Duration| {
        median(
            findings
                .bare
                .iter()
                .map(|bare| micros(value(bare)))
                .collect(),
        )
    };
    Some(Bare {
        commit_us: over(|bare| bare.commit),
        hop_us: over(|bare| bare.hop),
    })
}

/// What is left of the rate with a long history in the tables.
fn history_bounds(ratios: &[Ratio]) -> Vec<Bound> {
    let title = Variant::Finished.title();
    let with_history = ratios.iter().filter(|ratio| ratio.to == title);
    let bound = |ratio: &Ratio| {
        let n = ratio.in_flight;
        let claim = format!("sagas/s at {n} in flight with {title} in the tables, times without");
        Bound::at_least(&claim, 1.0 / ratio.sagas_per_second, HISTORY)
    };
    with_history.map(bound).collect()
}

/// What HTTP adds to the latency of the pipeline.
fn http_bound(ratios: &[Ratio]) -> Option<Bound> {
    let (in_flight, limit) = OVER_HTTP;
    let title = Variant::Http.title();
    let ratio = ratios
        .iter()
        .find(|r| (r.in_flight, r.of) == (in_flight, title))?;
    let claim = format!("p50 {title} at {in_flight} in flight, times that of the pipeline");
    Some(Bound::at_most(&claim, ratio.p50, limit))
}

fn throughput_bounds(ratios: &[Ratio]) -> Vec<Bound> {
    let bound = |(in_flight, other, limit): (usize, Variant, f64)| {
        let mut ratios = ratios.iter();
        let ratio = ratios.find(|r| (r.in_flight, r.to) == (in_flight, other.title()))?;
        let claim = format!("sagas/s at {in_flight} in flight, times {}", other.title());
        Some(Bound::at_least(&claim, ratio.sagas_per_second, limit))
    };
    THROUGHPUT.into_iter().filter_map(bound).collect()
}

fn latency_bounds(rows: &[Row], ratios: &[Ratio], bare: Option<&Bare>) -> Vec<Bound> {
    let system = Variant::System.title();
    let lone = ratios.iter().filter(|ratio| {
        ratio.in_flight == 1 && ratio.of == system && ratio.to != Variant::Relay.title()
    });
    let lone = lone.map(|ratio| {
        let claim = format!("p50 at 1 in flight, times {}", ratio.to);
        Bound::at_most(&claim, ratio.p50, LONE_SAGA)
    });
    let row = rows
        .iter()
        .find(|row| (row.in_flight, row.variant) == (1, system));
    let over_bare = row.zip(bare).map(|(row, bare)| {
        let claim = "p50 at 1 in flight, times one commit and three hops";
        let floor = bare.commit_us + HOPS * bare.hop_us;
        Bound::at_most(claim, row.p50_us / floor, OVER_BARE)
    });
    lone.chain(over_bare).collect()
}

fn drain_bounds(drain: &Drain) -> Vec<Bound> {
    let claim = "rate of the last third of the drain, of the first";
    let growth = drain.services.iter().zip(drain.memory_growth());
    let growth = growth.filter_map(|(service, growth)| {
        let claim = format!("memory of {service} in the last third of the drain, of the middle");
        Some(Bound::at_most(&claim, growth?, FLAT))
    });
    let rate = Bound::at_least(claim, drain.rate_kept(), RATE_KEPT);
    std::iter::once(rate).chain(growth).collect()
}

impl DrainSummary {
    fn of(drain: &Drain) -> Self {
        let mib = |bytes: &Option<u64>| bytes.map(|bytes| bytes as f64 / f64::from(1 << 20));
        let buckets = drain.buckets.iter();
        Self {
            sagas: drain.sagas,
            published_in_s: drain.published_in.as_secs_f64(),
            drained_in_s: drain.drained_in.as_secs_f64(),
            ledger_behind_s: drain.ledger_behind.as_secs_f64(),
            services: drain.services.clone(),
            sagas_per_second: buckets.clone().map(|bucket| bucket.per_second).collect(),
            peak_mib: buckets
                .map(|bucket| bucket.peak_bytes.iter().map(mib).collect())
                .collect(),
        }
    }
}

impl Bound {
    fn at_least(claim: &str, value: f64, limit: f64) -> Self {
        let met = value >= limit;
        Self {
            claim: format!("{claim}: at least {limit}"),
            value,
            limit,
            met,
        }
    }

    fn at_most(claim: &str, value: f64, limit: f64) -> Self {
        let met = value <= limit;
        Self {
            claim: format!("{claim}: at most {limit}"),
            value,
            limit,
            met,
        }
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Usage;
    use crate::meter::Measured;

    fn cell(variant: Variant, round: usize, per_second: u64) -> Cell {
        Cell {
            variant,
            in_flight: 2000,
            round,
            measured: Measured::one_second_of(per_second, Duration::from_millis(1)),
            cpu: Usage::of(vec![
                ("broker", Some(Duration::from_millis(1))),
                ("postgres", None),
            ]),
            ledger_behind: None,
        }
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        // The machine was four times slower in the second and third round.
        let cells = [
            cell(Variant::System, 0, 4000),
            cell(Variant::PackingOff, 0, 800),
            cell(Variant::System, 1, 1000),
            cell(Variant::PackingOff, 1, 200),
            cell(Variant::System, 2, 1000),
            cell(Variant::PackingOff, 2, 800),
        ];
        let ratio = Cells(&cells).ratio(Variant::System, Variant::PackingOff, 2000);
        let ratio = ratio.unwrap();
        assert!((ratio.sagas_per_second - 5.0).abs() < 1e-9);
        let bounds = throughput_bounds(&[ratio]);
        assert!(matches!(bounds.as_slice(), [bound] if bound.met));
    }

    #[test]
    fn cpu_time_is_per_saga_and_unknown_stays_unknown() {
        let cells = [cell(Variant::System, 0, 10)];
        let cells: Vec<&Cell> = cells.iter().collect();
        let row = Row::of(Variant::System, 2000, &cells).unwrap();
        assert_eq!(row.cpu_us_per_saga["broker"], Some(100.0));
        assert_eq!(row.cpu_us_per_saga["postgres"], None);
    }
}
