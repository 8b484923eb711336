//! A backlog: many commands gather while no service runs, then everything is started. Memory has to
//! stay flat and the rate must not fall while it drains.

use std::time::{Duration, Instant};

use crate::cpu;
use crate::failure::BenchError;
use crate::system::{Home, System};

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// The drain is reported in so many parts of equal length.
pub(crate) const BUCKETS: usize = 10;
/// A drain that makes no progress for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen of a drain.
#[derive(Debug)]
pub(crate) struct Drain {
    pub(crate) sagas: u64,
    pub(crate) published_in: Duration,
    pub(crate) drained_in: Duration,
    /// How far the ledger was behind at the end.
    pub(crate) ledger_behind: Duration,
    pub(crate) services: Vec<&'static str>,
    pub(crate) buckets: Vec<Bucket>,
}

/// One part of the drain.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) per_second: f64,
    /// The most memory of each service in it.
    pub(crate) peak_bytes: Vec<Option<u64>>,
}

struct Sample {
    at: Duration,
    ended: usize,
    bytes: Vec<Option<u64>>,
}

pub(crate) async fn run(home: &Home, sagas: u64, refusals: f64) -> Result<Drain, BenchError> {
    let mut system = System::without_services(home).await?;
    let began = Instant::now();
    system.publish_backlog(sagas, refusals).await?;
    let published_in = began.elapsed();
    eprintln!("backlog of {sagas} published in {published_in:.1?}; starting the services");
    let before = system.ended();
    system.start_services()?;
    let samples = watch(&system, before, sagas).await?;
    let ledger_behind = system.wait_for_ledger().await?;
    let services = system.processes.iter().map(|process| process.name);
    let drain = Drain {
        sagas,
        published_in,
        drained_in: samples.last().map_or(Duration::ZERO, |last| last.at),
        ledger_behind,
        services: services.collect(),
        buckets: buckets(&samples),
    };
    system.stop().await?;
    Ok(drain)
}

/// Samples from the first saga that ends to the last.
async fn watch(system: &System<'_>, before: usize, sagas: u64) -> Result<Vec<Sample>, BenchError> {
    let goal = usize::try_from(sagas).unwrap_or(usize::MAX);
    let (mut samples, mut first) = (Vec::<Sample>::new(), None);
    let mut progress = (0, Instant::now());
    loop {
        let ended = system.ended() - before;
        if ended > progress.0 {
            progress = (ended, Instant::now());
        }
        if progress.1.elapsed() > PATIENCE {
            let open = goal - ended;
            let after = PATIENCE;
            return Err(BenchError::Unended { open, after });
        }
        if ended > 0 {
            let first = *first.get_or_insert_with(Instant::now);
            let pids = system.processes.iter().map(|process| process.pid());
            samples.push(Sample {
                at: first.elapsed(),
                ended,
                bytes: pids.map(|pid| cpu::resident_bytes(pid?)).collect(),
            });
        }
        if ended >= goal {
            return Ok(samples);
        }
        tokio::time::sleep(SAMPLE_EVERY).await;
    }
}

fn buckets(samples: &[Sample]) -> Vec<Bucket> {
    let whole = samples.last().map_or(Duration::ZERO, |last| last.at);
    let edge = |bucket: usize| whole.mul_f64(bucket as f64 / BUCKETS as f64);
    let ended_at = |time| ended_at(samples, time);
    (0..BUCKETS)
        .map(|bucket| {
            let (from, to) = (edge(bucket), edge(bucket + 1));
            let inside = samples
                .iter()
                .filter(|sample| (from..=to).contains(&sample.at));
            Bucket {
                per_second: (ended_at(to) - ended_at(from)) / (to - from).as_secs_f64(),
                peak_bytes: inside.fold(Vec::new(), |peaks, sample| {
                    if peaks.is_empty() {
                        return sample.bytes.clone();
                    }
                    let both = peaks.into_iter().zip(&sample.bytes);
                    both.map(|(peak, bytes)| peak.max(*bytes)).collect()
                }),
            }
        })
        .collect()
}

/// Sagas ended by this time, interpolated between samples.
fn ended_at(samples: &[Sample], time: Duration) -> f64 {
    let next = samples.partition_point(|sample| sample.at < time);
    let Some(after) = samples.get(next) else {
        return samples.last().map_or(0.0, |last| last.ended as f64);
    };
    let Some(before) = next.checked_sub(1).map(|index| &samples[index]) else {
        return after.ended as f64;
    };
    let share = (time - before.at).as_secs_f64() / (after.at - before.at).as_secs_f64();
    before.ended as f64 + share * (after.ended - before.ended) as f64
}

impl Drain {
    /// The rate of the last third of the buckets against the first third.
    pub(crate) fn rate_kept(&self) -> f64 {
        let third = BUCKETS / 3;
        let rate = |buckets: &[Bucket]| buckets.iter().map(|bucket| bucket.per_second).sum::<f64>();
        rate(&self.buckets[BUCKETS - third..]) / rate(&self.buckets[..third])
    }

    /// The peak of the last third against the peak of the middle one, for each service: growth with
    /// what has passed shows there, and what a start costs does not.
    pub(crate) fn memory_growth(&self) -> Vec<Option<f64>> {
        let third = BUCKETS / 3;
        let peak = |buckets: &[Bucket], service: usize| {
            let peaks = buckets
                .iter()
                .map(|bucket| *bucket.peak_bytes.get(service)?);
            peaks.max().flatten().map(|bytes| bytes as f64)
        };
        let growth = |service| {
            let last = peak(&self.buckets[BUCKETS - third..], service)?;
            Some(last / peak(&self.buckets[third..BUCKETS - third], service)?)
        };
        (0..self.services.len()).map(growth).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(rates: [usize; BUCKETS], bytes: [u64; BUCKETS]) -> Drain {
        let mut ended = 0;
        let mut samples = vec![Sample {
            at: Duration::ZERO,
            ended,
            bytes: vec![Some(bytes[0])],
        }];
        for (second, (rate, bytes)) in (1..).zip(rates.into_iter().zip(bytes)) {
            ended += rate;
            samples.push(Sample {
                at: Duration::from_secs(second),
                ended,
                bytes: vec![Some(bytes)],
            });
        }
        Drain {
            sagas: ended as u64,
            published_in: Duration::ZERO,
            drained_in: Duration::from_secs(10),
            ledger_behind: Duration::ZERO,
            services: vec!["ticket"],
            buckets: buckets(&samples),
        }
    }

    #[test]
    fn a_falling_rate_shows_as_a_share_of_the_first_third() {
        let drain = drain(
            [400, 400, 400, 300, 300, 300, 300, 200, 200, 200],
            [1; BUCKETS],
        );
        assert!(
            (drain.rate_kept() - 0.5).abs() < 1e-9,
            "{}",
            drain.rate_kept()
        );
        assert!((drain.buckets[0].per_second - 400.0).abs() < 1e-9);
    }

    #[test]
    fn memory_that_grows_with_what_has_passed_shows() {
        let growing = drain([1; BUCKETS], [1, 2, 3, 4, 5, 6, 7, 8, 9, 14]);
        let flat = drain([1; BUCKETS], [1, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
        assert_eq!(growing.memory_growth(), [Some(2.0)]);
        assert_eq!(flat.memory_growth(), [Some(1.0)]);
    }
}
