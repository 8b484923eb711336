//! A gateway as its callers have it: a running one, on a port of its own.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api_gateway::ledger::{
    AtStep, Claim, Lease, Ledger, LedgerError, Listed, Mark, Projection, Removed, Row, Saved,
    StepLimit, UnreadableRow, Which,
};
use api_gateway::{AuthConfig, Front, GatewayConfig, Limits, Surroundings};
use async_trait::async_trait;
use events::{SagaId, Timestamp};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use reqwest::{Client, RequestBuilder, Response};
use saga::Tasks;
use saga::bus::Health;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::databases::OnSqlite;
use crate::fake_bus::FakeBus;

/// A running gateway on a port of its own.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) bus: Arc<FakeBus>,
    pub(crate) store: watch::Sender<Health>,
    pub(crate) ledger: Arc<Watched>,
    pub(crate) tasks: Tasks,
    pub(crate) client: Client,
    pub(crate) database: OnSqlite,
}

/// A ledger that tells when it was written to, and that can be away.
pub(crate) struct Watched {
    ledger: Arc<dyn Ledger>,
    saved: watch::Sender<Option<i64>>,
    pub(crate) away: watch::Sender<bool>,
}

impl Running {
    pub(crate) async fn with(bus: Arc<FakeBus>) -> Self {
        Self::waiting(bus, Duration::from_secs(10)).await
    }

    pub(crate) async fn waiting(bus: Arc<FakeBus>, wait_limit: Duration) -> Self {
        let (gateway, front) = Self::open(bus, wait_limit).await;
        gateway.in_full(front).await
    }

    /// It tells its callers apart.
    pub(crate) async fn guarded(bus: Arc<FakeBus>, auth: AuthConfig) -> Self {
        Self::limited(bus, Limits::default(), auth).await
    }

    pub(crate) async fn limited(bus: Arc<FakeBus>, limits: Limits, auth: AuthConfig) -> Self {
        let config = GatewayConfig {
            limits,
            auth: auth.open().await.unwrap(),
            ..GatewayConfig::default()
        };
        let (gateway, front) = Self::configured(bus, config).await;
        gateway.in_full(front).await
    }

    async fn in_full(self, mut front: Front) -> Self {
        front.take_replies(&self.tasks).await.unwrap();
        front.project(&self.tasks);
        self.ledger_is("up").await;
        self
    }

    /// It serves HTTP, and no more than that yet.
    pub(crate) async fn open(bus: Arc<FakeBus>, wait_limit: Duration) -> (Self, Front) {
        let config = GatewayConfig {
            wait_limit,
            ..GatewayConfig::default()
        };
        Self::configured(bus, config).await
    }

    async fn configured(bus: Arc<FakeBus>, config: GatewayConfig) -> (Self, Front) {
        let database = OnSqlite::new().await;
        let ledger = Arc::new(Watched {
            ledger: database.ledger(),
            saved: watch::Sender::new(None),
            away: watch::Sender::new(false),
        });
        let store = watch::Sender::new(Health::Up);
        let metrics = recorder();
        let surroundings = Surroundings {
            bus: bus.clone(),
            ledger: ledger.clone(),
            store: store.subscribe(),
            render_metrics: Arc::new(move || metrics.render()),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let tasks = Tasks::new();
        let front = Front::open(
            config,
            listener,
            CancellationToken::new(),
            surroundings,
            &tasks,
        );
        let gateway = Self {
            url,
            bus,
            store,
            ledger,
            tasks,
            client: Client::new(),
            database,
        };
        (gateway, front)
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Response {
        self.post_with(body, &[]).await
    }

    pub(crate) async fn post_with(
        &self,
        body: impl Into<reqwest::Body>,
        headers: &[(&str, &str)],
    ) -> Response {
        let post = self.client.post(format!("{}/regist/trans", self.url));
        let with = |post: RequestBuilder, (name, value): &(&str, &str)| post.header(*name, *value);
        let post = headers.iter().fold(post, with);
        post.body(body).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let url = format!("{}{path}", self.url);
        self.client.get(url).send().await.unwrap()
    }

    /// As the bearer of this token; the path and body as they are.
    pub(crate) async fn send(&self, token: &str, (method, path, body): Sent<'_>) -> Response {
        let url = format!("{}{path}", self.url);
        let method = method.parse().unwrap();
        let request = self.client.request(method, url).bearer_auth(token);
        request.body(body.to_owned()).send().await.unwrap()
    }

    /// Waits until this is what readiness says of the ledger, and returns all that it says.
    pub(crate) async fn ledger_is(&self, state: &str) -> Value {
        loop {
            let readiness: Value = self.get("/readyz").await.json().await.unwrap();
            if readiness["ledger"]["state"] == state {
                return readiness;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the ledger has the journal up to here.
    pub(crate) async fn projected(&self, position: i64) {
        let mut saved = self.ledger.saved.subscribe();
        saved.wait_for(|at| *at >= Some(position)).await.unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

/// One recorder for the whole test process, which is all there can be.
pub(crate) fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || PrometheusBuilder::new().install_recorder().unwrap();
    RECORDER.get_or_init(install).clone()
}

#[async_trait]
impl Ledger for Watched {
    async fn find(&self, saga: SagaId) -> Result<Option<Row>, LedgerError> {
        self.here()?;
        self.ledger.find(saga).await
    }

    async fn load(&self, sagas: &[SagaId]) -> Result<Vec<Result<Row, UnreadableRow>>, LedgerError> {
        self.here()?;
        self.ledger.load(sagas).await
    }

    async fn list(&self, which: Which, before: Mark, limit: usize) -> Result<Listed, LedgerError> {
        self.here()?;
        self.ledger.list(which, before, limit).await
    }

    async fn unfinished(
        &self,
        after: Mark,
        before: Timestamp,
        limit: usize,
    ) -> Result<Listed, LedgerError> {
        self.here()?;
        self.ledger.unfinished(after, before, limit).await
    }

    async fn claim(&self, lease: &Lease<'_>) -> Result<Claim, LedgerError> {
        self.here()?;
        self.ledger.claim(lease).await
    }

    async fn release(&self, owner: &str) -> Result<(), LedgerError> {
        self.here()?;
        self.ledger.release(owner).await
    }

    async fn save(&self, page: &Projection<'_>) -> Result<Saved, LedgerError> {
        self.here()?;
        let saved = self.ledger.save(page).await?;
        self.saved.send_replace(page.to.map(|position| position.0));
        Ok(saved)
    }

    async fn waiting(&self, steps: &[StepLimit]) -> Result<Vec<AtStep>, LedgerError> {
        self.here()?;
        self.ledger.waiting(steps).await
    }

    async fn remove_ended(
        &self,
        before: Timestamp,
        after: Mark,
        limit: usize,
    ) -> Result<Removed, LedgerError> {
        self.here()?;
        self.ledger.remove_ended(before, after, limit).await
    }
}

impl Watched {
    fn here(&self) -> Result<(), LedgerError> {
        match *self.away.borrow() {
            true => Err(LedgerError::Database(sqlx::Error::PoolTimedOut)),
            false => Ok(()),
        }
    }
}

/// Method, path and body.
pub(crate) type Sent<'a> = (&'a str, &'a str, &'a str);

pub(crate) const GOOD: &str = r#"{"userId":7,"ticketId":42}"#;
