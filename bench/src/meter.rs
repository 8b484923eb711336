//! How long a load runs, and what is counted of it: sagas that end inside the measured window, which
//! opens after the warm-up and closes when no further saga is started.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// One closed-loop load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) in_flight: usize,
    /// Share of sagas that are to be refused at registration.
    pub(crate) refusals: f64,
    pub(crate) warm_up: Duration,
    pub(crate) seconds: Duration,
    /// Stop after this many started sagas, if that comes first.
    pub(crate) most: Option<u64>,
}

impl Load {
    /// Bounded by its number only.
    pub(crate) const UNLIMITED: Self = Self {
        in_flight: 1,
        refusals: 0.0,
        warm_up: Duration::ZERO,
        seconds: Duration::from_secs(3600),
        most: None,
    };

    /// One saga, to see that everyone is there.
    pub(crate) const PROBE: Self = Self {
        seconds: Duration::from_secs(60),
        most: Some(1),
        ..Self::UNLIMITED
    };
}

/// Counts one load.
#[derive(Debug)]
pub(crate) struct Meter {
    load: Load,
    opens: Instant,
    closed: Option<Instant>,
    started: u64,
    ended: u64,
    /// In microseconds.
    latencies: Histogram<u64>,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// All sagas, those of the warm-up and those that ended late included.
    pub(crate) sagas: u64,
    window: Duration,
    /// Of the sagas that ended inside the window, in microseconds.
    latencies: Histogram<u64>,
}

impl Measured {
    /// Sagas that ended in each second of the window.
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.window.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency that so large a share of the sagas stayed within.
    pub(crate) fn latency(&self, share: f64) -> Duration {
        Duration::from_micros(self.latencies.value_at_quantile(share))
    }

    /// More of the same load, measured at another time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sagas += other.sagas;
        self.window += other.window;
        self.latencies
            .add(&other.latencies)
            .expect("both have the same digits and grow as needed");
    }

    /// So many sagas in one second, each of this latency.
    #[cfg(test)]
    pub(crate) fn one_second_of(sagas: u64, latency: Duration) -> Self {
        let mut latencies = histogram();
        let micros = u64::try_from(latency.as_micros()).expect("a latency of a test");
        latencies
            .record_n(micros, sagas)
            .expect("it grows as needed");
        Self {
            sagas,
            window: Duration::from_secs(1),
            latencies,
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

impl Meter {
    pub(crate) fn start(load: Load) -> Self {
        Self {
            load,
            opens: Instant::now() + load.warm_up,
            closed: None,
            started: 0,
            ended: 0,
            latencies: histogram(),
        }
    }

    /// Whether another saga is to be started. Once it is not, it never is again.
    pub(crate) fn is_open(&mut self) -> bool {
        if self.closed.is_none() {
            let now = Instant::now();
            let enough = self.load.most.is_some_and(|most| self.started >= most);
            if enough || now >= self.opens + self.load.seconds {
                self.closed = Some(now);
            }
        }
        self.closed.is_none()
    }

    /// A saga starts; says whether it is one of those to be refused.
    pub(crate) fn begin(&mut self) -> bool {
        let due = |sagas: u64| (sagas as f64 * self.load.refusals) as u64;
        self.started += 1;
        due(self.started) > due(self.started - 1)
    }

    pub(crate) fn end(&mut self, began: Instant, ended: Instant) {
        self.ended += 1;
        let in_time = self.closed.is_none_or(|closed| ended <= closed);
        if ended >= self.opens && in_time {
            let micros = ended.saturating_duration_since(began).as_micros();
            let micros = u64::try_from(micros).unwrap_or(u64::MAX);
            self.latencies.record(micros).expect("it grows as needed");
        }
    }

    /// Sagas started and not ended.
    pub(crate) fn open_sagas(&self) -> u64 {
        self.started - self.ended
    }

    pub(crate) fn measured(&self) -> Measured {
        let closed = self.closed.unwrap_or_else(Instant::now);
        Measured {
            sagas: self.ended,
            window: closed.saturating_duration_since(self.opens),
            latencies: self.latencies.clone(),
        }
    }
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2);
    let lower = values.get(values.len().saturating_sub(1) / 2);
    upper.zip(lower).map_or(0.0, |(a, b)| f64::midpoint(*a, *b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_refusals_is_exact_and_spread_evenly() {
        let load = Load {
            refusals: 0.2,
            ..Load::PROBE
        };
        let mut meter = Meter::start(load);
        let refused: Vec<bool> = (0..100).map(|_| meter.begin()).collect();
        assert!(
            refused
                .chunks(5)
                .all(|five| five.iter().filter(|r| **r).count() == 1)
        );
    }

    #[test]
    fn only_sagas_that_end_inside_the_window_are_counted() {
        let load = Load {
            warm_up: Duration::from_secs(60),
            ..Load::PROBE
        };
        let mut meter = Meter::start(load);
        meter.begin();
        meter.end(Instant::now(), Instant::now());
        let measured = meter.measured();
        assert_eq!((measured.sagas, measured.latencies.len()), (1, 0));
    }

    #[test]
    fn turns_add_up_to_one_measurement() {
        let mut measured = Measured::one_second_of(100, Duration::from_millis(1));
        measured.add(&Measured::one_second_of(300, Duration::from_millis(3)));
        assert_eq!(measured.sagas, 400);
        assert!((measured.per_second() - 200.0).abs() < 1e-9);
        let quartile = measured.latency(0.25).as_millis();
        assert_eq!((quartile, measured.latency(0.26).as_millis()), (1, 3));
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }

    #[test]
    fn a_bounded_load_starts_no_more_than_its_number() {
        let mut meter = Meter::start(Load {
            most: Some(2),
            ..Load::PROBE
        });
        let started = std::iter::from_fn(|| meter.is_open().then(|| meter.begin())).count();
        assert_eq!((started, meter.open_sagas()), (2, 2));
    }
}
