//! What HTTP adds: the pipeline and `POST /regist/trans` on the same running system, one right after
//! the other at each number of sagas in flight, and in the other order in every second round.

use std::time::Duration;

use super::{Cell, Run};
use crate::cpu::Accounts;
use crate::failure::BenchError;
use crate::open_files;
use crate::system::{Home, System};
use crate::variant::Variant;

impl Run<'_> {
    pub(super) async fn through_http(&mut self) -> Result<Vec<(Variant, Home)>, BenchError> {
        let connections = self.arguments.in_flight.iter().max();
        open_files::check(connections.copied().unwrap_or_default())?;
        let home = self.home(Variant::System).await?;
        for round in 0..self.arguments.rounds {
            let system = System::start(&home).await?;
            for &in_flight in &self.arguments.in_flight {
                for variant in in_turn(round) {
                    self.pipeline_or_http(&system, variant, in_flight, round)
                        .await?;
                }
            }
            system.stop().await?;
        }
        Ok(vec![(Variant::System, home)])
    }

    async fn pipeline_or_http(
        &mut self,
        system: &System<'_>,
        variant: Variant,
        in_flight: usize,
        round: usize,
    ) -> Result<(), BenchError> {
        let accounts = Accounts::of(&system.processes, self.servers);
        let before = accounts.read();
        let load = self.load(in_flight);
        let measured = match variant {
            Variant::Http => system.call(load).await?,
            _ => system.run(load).await?,
        };
        let ledger_behind: Duration = system.wait_for_ledger().await?;
        self.record(Cell {
            variant,
            in_flight,
            round,
            measured,
            cpu: accounts.read().since(&before),
            ledger_behind: Some(ledger_behind),
        });
        Ok(())
    }
}

fn in_turn(round: usize) -> [Variant; 2] {
    match round.is_multiple_of(2) {
        true => [Variant::System, Variant::Http],
        false => [Variant::Http, Variant::System],
    }
}
