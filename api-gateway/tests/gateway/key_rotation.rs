//! Keys come and go without a restart, and nobody can make the gateway ask for them all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api_gateway::{AuthConfig, Http, HttpConfig};
use axum::Router;
use axum::http::StatusCode as Status;
use axum::routing::get;
use reqwest::StatusCode;
use saga::Tasks;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running, Sent, recorder};
use crate::stories::completed;
use crate::tokens::{KeyFiles, Signer, claims, key_set};

const BUY: Sent = ("POST", "/regist/trans", GOOD);

async fn status(gateway: &Running, key: &Signer) -> StatusCode {
    gateway
        .send(&key.token(&claims("7", "")), BUY)
        .await
        .status()
}

#[tokio::test]
async fn a_new_key_in_the_file_counts_at_once_and_the_old_one_no_more() {
    let (files, old, new) = (KeyFiles::new(), Signer::ed25519("old"), Signer::rsa("new"));
    let auth = files.config(&[&old]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    assert_eq!(status(&gateway, &old).await, StatusCode::OK);
    files.write("keys.json", &key_set(&[&new]));
    assert_eq!(status(&gateway, &new).await, StatusCode::OK);
    assert_eq!(status(&gateway, &old).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_new_secret_in_the_file_counts_at_once() {
    let (files, ed) = (KeyFiles::new(), Signer::ed25519("ed"));
    let auth = files.config(&[&ed]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    assert_eq!(status(&gateway, &Signer::secret()).await, StatusCode::OK);
    let new = "another secret of tests, long enough";
    files.write("secret", new);
    let new = Signer::Secret(new.to_owned());
    assert_eq!(status(&gateway, &new).await, StatusCode::OK);
    let old = status(&gateway, &Signer::secret()).await;
    assert_eq!(old, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_key_that_is_taken_out_stops_to_count_without_anybody_asking() {
    let (files, old) = (KeyFiles::new(), Signer::ed25519("old"));
    let auth = files.config(&[&old]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    files.write("keys.json", &key_set(&[&Signer::ed25519("new")]));
    while status(&gateway, &old).await != StatusCode::UNAUTHORIZED {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_file_that_is_half_written_leaves_the_keys_as_they_were() {
    let (files, key) = (KeyFiles::new(), Signer::ed25519("one"));
    let auth = files.config(&[&key]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    files.write("keys.json", &key_set(&[&key])[..40]);
    // A token of an unknown key has it read.
    let unknown = status(&gateway, &Signer::ed25519("new")).await;
    assert_eq!(unknown, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&gateway, &key).await, StatusCode::OK);
}

/// An identity provider that publishes its keys, and how often it was asked for them.
struct Provider {
    url: String,
    published: watch::Sender<Option<String>>,
    asked: Arc<AtomicUsize>,
    tasks: Tasks,
}

impl Provider {
    async fn start(published: Option<String>) -> Self {
        let (published, asked) = (watch::Sender::new(published), Arc::<AtomicUsize>::default());
        let (keys, count) = (published.subscribe(), Arc::clone(&asked));
        let answer = get(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let keys = keys.borrow().clone();
            async move { keys.ok_or(Status::SERVICE_UNAVAILABLE) }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let tasks = Tasks::new();
        tasks.spawn("provider", async move {
            let router = Router::new().route("/keys", answer);
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            url,
            published,
            asked,
            tasks,
        }
    }

    fn config(&self) -> AuthConfig {
        AuthConfig {
            jwt_keys: Some(self.url.clone()),
            jwt_audience: Some(crate::tokens::AUDIENCE.to_owned()),
            ..AuthConfig::default()
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

#[tokio::test]
async fn a_new_key_at_the_address_counts_at_once_and_made_up_keys_are_asked_for_once() {
    let (old, new) = (Signer::ed25519("old"), Signer::ed25519("new"));
    let provider = Provider::start(Some(key_set(&[&old]))).await;
    let gateway = Running::guarded(FakeBus::new(completed), provider.config()).await;
    assert_eq!(status(&gateway, &old).await, StatusCode::OK);
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    provider
        .published
        .send_replace(Some(key_set(&[&old, &new])));
    assert_eq!(status(&gateway, &new).await, StatusCode::OK);
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    for _ in 0..50 {
        let made_up = status(&gateway, &Signer::ed25519("made up")).await;
        assert_eq!(made_up, StatusCode::UNAUTHORIZED);
    }
    // One more, if these took longer than the pause between two questions.
    assert!(provider.asked.load(Ordering::SeqCst) <= 3);
}

#[tokio::test]
async fn while_the_provider_was_never_reached_nobody_is_let_in_and_nobody_is_called_a_liar() {
    let key = Signer::ed25519("one");
    let provider = Provider::start(None).await;
    let gateway = Running::guarded(FakeBus::new(completed), provider.config()).await;
    let response = gateway.send(&key.token(&claims("7", "")), BUY).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "1");
    provider.published.send_replace(Some(key_set(&[&key])));
    let gateway = Running::guarded(FakeBus::new(completed), provider.config()).await;
    assert_eq!(status(&gateway, &key).await, StatusCode::OK);
    // What was read last counts while the provider is away.
    provider.published.send_replace(None);
    let unknown = status(&gateway, &Signer::ed25519("new")).await;
    assert_eq!(unknown, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&gateway, &key).await, StatusCode::OK);
}

async fn start(listen: &str, auth: AuthConfig) -> Result<SocketAddr, String> {
    let config = HttpConfig {
        listen: listen.parse().unwrap(),
        auth,
        ..HttpConfig::default()
    };
    let bound = Http::bind(&config, recorder()).await;
    bound
        .map(|http| http.address())
        .map_err(|error| saga::failure::chain(&error))
}

#[tokio::test]
async fn a_gateway_without_authentication_does_not_listen_to_the_world_unless_told_so() {
    let open = AuthConfig::default();
    start("127.0.0.1:0", open.clone()).await.unwrap();
    let error = start("0.0.0.0:0", open.clone()).await.unwrap_err();
    assert!(
        error.contains("--insecure-no-auth") && error.contains("--jwt-keys"),
        "{error}"
    );
    let told = AuthConfig {
        insecure_no_auth: true,
        ..open
    };
    start("0.0.0.0:0", told).await.unwrap();
    let files = KeyFiles::new();
    let closed = files.config(&[&Signer::rsa("one")]);
    start("0.0.0.0:0", closed).await.unwrap();
}

#[tokio::test]
async fn a_gateway_does_not_start_with_keys_that_it_cannot_use() {
    let files = KeyFiles::new();
    let keys = |text: &str| AuthConfig {
        jwt_keys: Some(text.to_owned()),
        ..AuthConfig::default()
    };
    let secret = |text: &str| AuthConfig {
        jwt_secret_file: Some(files.write("short", text)),
        ..AuthConfig::default()
    };
    for (auth, why) in [
        (keys("/no/such/file"), "\"/no/such/file\" cannot be read"),
        (
            keys(&files.write("none", "[]")),
            "--jwt-keys cannot be used: this is no JSON",
        ),
        (
            keys(&files.write("empty", r#"{"keys":[]}"#)),
            "no key for RS256 or EdDSA",
        ),
        (keys("http://id.example/keys"), "is not https"),
        (keys("https://"), "is no URL"),
        (
            secret("short"),
            "--jwt-secret-file cannot be used: the secret has 5 bytes",
        ),
    ] {
        let error = start("127.0.0.1:0", auth).await.unwrap_err();
        assert!(error.contains(why), "{error}");
    }
}
