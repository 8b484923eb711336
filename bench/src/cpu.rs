//! CPU time and memory of processes, read from `/proc`. Where that is not possible (another operating
//! system, a server on another machine) the answer is "not known", never zero.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::listening::Servers;
use crate::process::Process;

/// `/proc` counts in hundredths of a second on every Linux architecture we run on (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// CPU time by process; none where it is not known.
pub(crate) type CpuTimes = Vec<(&'static str, Option<Duration>)>;

/// What everyone has used so far.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    times: CpuTimes,
    machine: Option<Machine>,
}

/// CPU time of the whole machine, over all processors.
#[derive(Clone, Copy, Debug)]
struct Machine {
    busy: Duration,
    all: Duration,
}

/// What was used between two readings.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) times: CpuTimes,
    machine: Option<Machine>,
}

/// The processes that a measurement pays for.
#[derive(Debug)]
pub(crate) struct Accounts {
    accounts: Vec<Account>,
}

#[derive(Debug)]
struct Account {
    name: &'static str,
    pid: Option<u32>,
    /// Whether what the process started counts as well.
    with_children: bool,
}

impl Accounts {
    /// These processes, this one (it makes the load), and both servers.
    pub(crate) fn of(processes: &[Process], servers: Servers) -> Self {
        let started = processes
            .iter()
            .map(|process| (process.name, process.pid()));
        let started = started.chain([("load", Some(std::process::id()))]);
        let account = |with_children| {
            move |(name, pid)| Account {
                name,
                pid,
                with_children,
            }
        };
        let servers = [("broker", servers.broker), ("postgres", servers.postgres)];
        Self {
            accounts: started
                .map(account(false))
                .chain(servers.map(account(true)))
                .collect(),
        }
    }

    /// What each has used so far.
    pub(crate) fn read(&self) -> Reading {
        let all = Stat::of_all();
        let time = |account: &Account| {
            let own = all.get(&account.pid?)?;
            Some(if account.with_children {
                tree_time(&all, account.pid?)
            } else {
                own.own
            })
        };
        let accounts = self.accounts.iter();
        Reading {
            times: accounts
                .map(|account| (account.name, time(account)))
                .collect(),
            machine: Machine::read(),
        }
    }
}

impl Reading {
    /// What was used since an earlier reading of the same accounts.
    pub(crate) fn since(&self, before: &Self) -> Usage {
        let pairs = before.times.iter().zip(&self.times);
        let used = |before: Option<Duration>, after: Option<Duration>| {
            Some(after?.saturating_sub(before?))
        };
        let times = pairs
            .map(|((name, before), (_, after))| (*name, used(*before, *after)))
            .collect();
        let machine = before.machine.zip(self.machine);
        Usage {
            times,
            machine: machine.map(|(before, after)| Machine {
                busy: after.busy.saturating_sub(before.busy),
                all: after.all.saturating_sub(before.all),
            }),
        }
    }
}

impl Usage {
    #[cfg(test)]
    pub(crate) fn of(times: CpuTimes) -> Self {
        let machine = None;
        Self { times, machine }
    }

    /// The share of the machine that other processes used.
    pub(crate) fn others(&self) -> Option<f64> {
        let ours: Option<Duration> = self.times.iter().map(|(_, time)| *time).sum();
        let Machine { busy, all } = self.machine?;
        let all = all.as_secs_f64().max(f64::EPSILON);
        Some(busy.saturating_sub(ours?).as_secs_f64() / all)
    }

    /// What was used in another stretch of time of the same accounts.
    pub(crate) fn add(&mut self, other: &Self) {
        for ((_, sum), (_, more)) in self.times.iter_mut().zip(&other.times) {
            *sum = sum.zip(*more).map(|(sum, more)| sum + more);
        }
        let machines = self.machine.zip(other.machine);
        self.machine = machines.map(|(sum, more)| Machine {
            busy: sum.busy + more.busy,
            all: sum.all + more.all,
        });
    }
}

impl Machine {
    fn read() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu user nice system idle iowait irq softirq steal …`, in ticks.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields = line.split_whitespace().take(8).map(str::parse);
        let ticks: Vec<u64> = fields.collect::<Result<_, _>>().ok()?;
        let all: u64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        let time = |ticks: u64| Duration::from_millis(ticks * 10);
        Some(Self {
            busy: time(all - idle),
            all: time(all),
        })
    }
}

/// Memory that the process holds, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// One line of `/proc/<pid>/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    own: Duration,
    /// Of children that ended and were waited for.
    ended_children: Duration,
}

impl Stat {
    fn of_all() -> HashMap<u32, Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(|pid: u32| {
            let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, Self::parse(&line)?))
        })
        .collect()
    }

    /// The name in parentheses may hold anything, so fields are counted from its end.
    fn parse(line: &str) -> Option<Self> {
        let (_, fields) = line.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let time = |first: usize| {
            let user: u32 = fields.get(first)?.parse().ok()?;
            let system: u32 = fields.get(first + 1)?.parse().ok()?;
            Some(TICK * (user + system))
        };
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: time(11)?,
            ended_children: time(13)?,
        })
    }
}

/// A server's processes come and go; what the gone ones used is on their parent's account.
fn tree_time(all: &HashMap<u32, Stat>, root: u32) -> Duration {
    let belongs = |mut pid: u32| {
        while pid != root {
            match all.get(&pid) {
                Some(stat) => pid = stat.parent,
                None => return false,
            }
        }
        true
    };
    let tree = all.iter().filter(|(pid, _)| belongs(**pid));
    tree.map(|(_, stat)| stat.own + stat.ended_children).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "7 (a) b (c)) S 3 7 7 0 -1 4194560 1 2 3 4 10 5 20 7 20 0 1 0 9";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.parent, stat.own), (3, TICK * 15));
        assert_eq!(stat.ended_children, TICK * 27);
    }

    #[test]
    fn what_is_not_ours_is_others() {
        let reading = |ours, busy: &str| Reading {
            times: vec![("load", Some(TICK * ours))],
            machine: Machine::parse(busy),
        };
        let before = reading(0, "cpu  0 0 0 0 0 0 0 0 0 0");
        let after = reading(20, "cpu  30 0 0 60 0 0 10 0 0 0");
        let others = after.since(&before).others().unwrap();
        assert!((others - 0.2).abs() < 1e-9, "{others}");
    }

    #[test]
    fn the_share_of_others_is_taken_of_all_turns_together() {
        let turn = |ours: u32, busy| Usage {
            times: vec![("load", Some(TICK * ours))],
            machine: Machine::parse(busy),
        };
        // One tick more than was busy, as readings of running processes may have it, and then one less.
        let mut usage = turn(11, "cpu  10 0 0 10 0 0 0 0 0 0");
        usage.add(&turn(9, "cpu  10 0 0 10 0 0 0 0 0 0"));
        assert_eq!(usage.others(), Some(0.0));
    }

    #[test]
    fn a_tree_counts_its_descendants_and_the_ended_ones_but_nobody_else() {
        let stat = |parent, own| Stat {
            parent,
            own: TICK * own,
            ended_children: TICK,
        };
        let all = HashMap::from([
            (1, stat(0, 9)),
            (2, stat(1, 5)),
            (3, stat(2, 7)),
            (4, stat(1, 9)),
        ]);
        assert_eq!(tree_time(&all, 2), TICK * 14);
    }
}
