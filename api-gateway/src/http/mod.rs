//! The routes, what they share, and the server. Whatever happens, the answer is the envelope of a
//! success or a problem with a true status; never an empty 200.

mod auth;
mod body;
mod commands;
mod dead_letters;
mod docs;
mod envelope;
mod health;
mod idempotency;
mod language;
mod openapi;
mod parameters;
mod prefer;
mod problem;
mod problems;
mod rates;
mod reads;
mod regist;
mod routes;
mod sagas;
mod server;
mod texts;
mod user_ticket;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use saga::bus::Health;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use self::server::serve;
use crate::auth::Auth;
use crate::dead_letters::DeadLetterOffice;
use crate::front::Surroundings;
use crate::http::problem::Problem;
use crate::http::rates::Rates;
use crate::http::routes::Routes;
use crate::http::sagas::events::{MOST_STREAMS, MOST_STREAMS_OF_CALLER};
use crate::http::texts::{details, kinds};
use crate::ledger::Ledger;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::settings::{GatewayConfig, Limits};
use crate::starter::Starter;

/// What every handler may use.
#[derive(Clone)]
pub(crate) struct Gateway(Arc<Shared>);

struct Shared {
    starter: Starter,
    dead_letters: DeadLetterOffice,
    auth: Auth,
    limits: Limits,
    rates: Option<Rates>,
    bus_health: watch::Receiver<Health>,
    store_health: watch::Receiver<Health>,
    ledger_health: watch::Receiver<Health>,
    render_metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// For streams of events.
    streams: Places,
}

impl Gateway {
    pub(crate) fn new(
        starter: Starter,
        dead_letters: DeadLetterOffice,
        config: &GatewayConfig,
        surroundings: &Surroundings,
        ledger_health: watch::Receiver<Health>,
    ) -> Self {
        Self(Arc::new(Shared {
            starter,
            dead_letters,
            auth: config.auth.clone(),
            limits: config.limits,
            rates: config.limits.rate_limit.map(Rates::new),
            bus_health: surroundings.bus.health(),
            store_health: surroundings.store.clone(),
            ledger_health,
            render_metrics: Arc::clone(&surroundings.render_metrics),
            streams: Places::new(MOST_STREAMS, MOST_STREAMS_OF_CALLER),
        }))
    }

    fn starter(&self) -> &Starter {
        &self.0.starter
    }

    fn dead_letters(&self) -> &DeadLetterOffice {
        &self.0.dead_letters
    }

    fn auth(&self) -> &Auth {
        &self.0.auth
    }

    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn rates(&self) -> Option<&Rates> {
        self.0.rates.as_ref()
    }

    fn ledger(&self) -> &dyn Ledger {
        self.0.starter.ledger.as_ref()
    }

    /// Connected, and answers are delivered.
    fn bus_health(&self) -> Health {
        match self.0.bus_health.borrow().clone() {
            Health::Up if !*self.0.starter.listens.borrow() => Health::Down {
                waiting_for: "the queue of replies".to_owned(),
            },
            health => health,
        }
    }

    fn store_health(&self) -> Health {
        self.0.store_health.borrow().clone()
    }

    /// Whether the ledger is up to date.
    fn ledger_health(&self) -> Health {
        self.0.ledger_health.borrow().clone()
    }

    fn is_stopping(&self) -> bool {
        self.0.starter.stop.is_cancelled()
    }

    fn streams(&self) -> &Places {
        &self.0.streams
    }

    fn render_metrics(&self) -> String {
        (self.0.render_metrics)()
    }
}

/// Every route, one line each; a path below `src/http` mirrors the URL.
#[rustfmt::skip]
fn routes() -> Routes {
    use {dead_letters as letters, user_ticket as ticket};
    Routes::new()
        .get("/userTicket", ticket::read::FIND, ticket::read::find)
        .post("/userTicket", ticket::create::POST, ticket::create::post)
        .put("/userTicket", ticket::change::PUT, ticket::change::put)
        .delete("/userTicket", ticket::delete::ONE, ticket::delete::one)
        .get("/userTicket/list", ticket::read::LIST, ticket::read::list)
        .post("/userTicket/add-rollback", ticket::delete::ROLLBACK, ticket::delete::one)
        .delete("/userTicket/delete-batch", ticket::delete::BATCH, ticket::delete::batch)
        .get("/regist", regist::read::FIND, regist::read::find)
        .post("/regist", regist::create::POST, regist::create::post)
        .put("/regist", regist::change::PUT, regist::change::put)
        .delete("/regist", regist::delete::ONE, regist::delete::one)
        .get("/regist/list", regist::read::LIST, regist::read::list)
        .post("/regist/regist-rollback", regist::delete::ROLLBACK, regist::delete::rollback)
        .delete("/regist/delete-batch", regist::delete::BATCH, regist::delete::batch)
        .post("/regist/trans", regist::trans::POST, regist::trans::post)
        .get("/sagas", sagas::list::GET, sagas::list::get)
        .get("/sagas/{id}", sagas::find::GET, sagas::find::get)
        .get("/sagas/{id}/events", sagas::events::GET, sagas::events::get)
        .get("/dead-letters", letters::groups::GET, letters::groups::get)
        .get("/dead-letters/messages", letters::messages::LIST, letters::messages::list)
        .get("/dead-letters/messages/{id}", letters::messages::ONE, letters::messages::one)
        .post("/dead-letters/requeue", letters::deeds::REQUEUE, letters::deeds::requeue)
        .post("/dead-letters/drop", letters::deeds::DROP, letters::deeds::drop)
        .get("/dead-letters/runs", letters::runs::LIST, letters::runs::list)
        .get("/dead-letters/runs/{id}", letters::runs::GET, letters::runs::get)
        .post("/dead-letters/runs/{id}/stop", letters::runs::STOP, letters::runs::stop)
        .get("/dead-letters/log", letters::log::GET, letters::log::get)
        .get("/livez", health::LIVEZ, health::livez)
        .get("/readyz", health::READYZ, health::readyz)
        .get("/metrics", health::METRICS, health::metrics)
        .get("/openapi.json", docs::DOCUMENT, docs::document)
        .get("/docs", docs::PAGE, docs::page)
        .get("/problems", problems::LIST, problems::list)
        .get("/problems/{name}", problems::PAGE, problems::page)
}

pub(crate) fn router(gateway: Gateway) -> Router {
    routes()
        .router
        .route_layer(from_fn_with_state(gateway.clone(), auth::admit))
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_route)
        .layer(DefaultBodyLimit::max(body::BODY_LIMIT))
        .layer(from_fn(problem::in_the_callers_language))
        .layer(from_fn(measure))
        .with_state(gateway)
}

async fn measure(request: Request, next: Next) -> Response {
    let (start, method) = (Instant::now(), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    Metrics::request(&method, route, response.status().as_u16(), start.elapsed());
    response
}

async fn no_route(method: Method, uri: Uri) -> Problem {
    let detail = details::no_route(&method, &uri.path());
    Problem::new(&kinds::ROUTE_NOT_FOUND, detail)
}

/// The router adds the `Allow` header.
async fn wrong_method(method: Method, uri: Uri) -> Problem {
    let detail = details::wrong_method(&uri.path(), &method);
    Problem::new(&kinds::METHOD_NOT_ALLOWED, detail)
}
