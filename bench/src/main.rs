//! The benchmark: see [`arguments::Arguments`].

mod arguments;
mod failure;
mod meter;
mod process;
mod relay;
mod sample;

use std::time::Duration;

use clap::Parser;

#[tokio::main]
async fn main() {
    let arguments = arguments::Arguments::parse();
    if let Some(arguments::Role::RelayHop { service, namespace }) = &arguments.role {
        relay::run_hop(&arguments.amqp_url, namespace, service)
            .await
            .unwrap();
        return;
    }
    let ns = format!("bench-{}", uuid::Uuid::now_v7().simple());
    for _ in 0..arguments.rounds {
        let mut relay = relay::Relay::start(&arguments.amqp_url, &ns).await.unwrap();
        for &in_flight in &arguments.in_flight {
            let load = meter::Load {
                in_flight,
                refusals: arguments.refusals,
                warm_up: Duration::from_secs_f64(arguments.warm_up),
                seconds: Duration::from_secs_f64(arguments.seconds),
                most: arguments.sagas,
            };
            let m = relay.run(load).await.unwrap();
            println!(
                "{in_flight:5} {:8.0}/s {:?} {:?} ({} sagas)",
                m.per_second, m.p50, m.p99, m.sagas
            );
        }
        relay.stop().await.unwrap();
    }
}
