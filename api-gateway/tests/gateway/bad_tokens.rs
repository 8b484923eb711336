//! Who is let in: the bearer of a token that is signed by a known key, of the issuer, for the
//! audience, and not over. Everybody else is told why not.

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running, Sent};
use crate::stories::completed;
use crate::tokens::{KeyFiles, Signer, claims, now, part};

const BUY: Sent = ("POST", "/regist/trans", GOOD);

/// Need no token.
const OPEN: [&str; 6] = [
    "/livez",
    "/readyz",
    "/docs",
    "/openapi.json",
    "/problems",
    "/problems/{name}",
];

/// Method and path of every other route, as the gateway itself tells of them.
async fn routes(gateway: &Running) -> Vec<(String, String)> {
    let document: Value = gateway.get("/openapi.json").await.json().await.unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let guarded = paths.filter(|(path, _)| !OPEN.contains(&path.as_str()));
    let routes = guarded.flat_map(|(path, methods)| {
        let path = path.replace("{id}", "01934f00-0000-7000-8000-000000000001");
        let methods = methods.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    routes.collect()
}

/// Checks that nobody was let in, and returns what the caller is told in the header.
async fn refused(response: Response) -> String {
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = response.headers()["www-authenticate"].to_str().unwrap();
    let challenge = challenge.to_owned();
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (&body["code"], &body["message"], &body["type"]),
        (
            &json!(403),
            &json!("您没有访问权限！"),
            &json!("/problems/unauthorized")
        ),
        "{body}"
    );
    challenge
}

#[tokio::test]
async fn without_a_token_a_caller_is_told_to_bring_one_on_every_route() {
    let files = KeyFiles::new();
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    let routes = routes(&gateway).await;
    assert!(routes.len() > 20, "{routes:?}");
    for (method, path) in routes {
        let url = format!("{}{path}", gateway.url);
        let request = gateway.client.request(method.parse().unwrap(), url);
        let nothing = request.try_clone().unwrap().send().await.unwrap();
        assert_eq!(refused(nothing).await, "Bearer", "{method} {path}");
        let password = request.basic_auth("7", Some("x")).send().await.unwrap();
        assert_eq!(refused(password).await, "Bearer", "{method} {path}");
    }
    for open in OPEN {
        let open = open.replace("{name}", "unauthorized");
        assert_eq!(gateway.get(&open).await.status(), StatusCode::OK, "{open}");
    }
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_token_of_each_kind_of_key_is_taken() {
    let (files, ed, rsa) = (KeyFiles::new(), Signer::ed25519("ed"), Signer::rsa("rsa"));
    let auth = files.config(&[&ed, &rsa]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    for key in [&ed, &rsa, &Signer::secret()] {
        let token = key.token(&claims("7", ""));
        assert_eq!(gateway.send(&token, BUY).await.status(), StatusCode::OK);
    }
    // The name of the scheme may be written as one likes, and a token need not name its key.
    let anonymous = ed.token_with(&json!({"alg": "EdDSA"}), &claims("7", ""));
    let header = format!("bEARER {anonymous}");
    let response = gateway.post_with(GOOD, &[("authorization", &header)]).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_token_that_claims_the_wrong_things_is_refused_with_the_reason() {
    let files = KeyFiles::new();
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    for (claim, value, why) in [
        ("exp", json!(now() - 60), "the token has expired"),
        ("exp", Value::Null, "lacks a claim"),
        ("exp", json!("never"), "lacks a claim"),
        ("nbf", json!(now() + 120), "the token is not valid yet"),
        ("aud", json!("another"), "the token is for another audience"),
        ("aud", Value::Null, "the token is for another audience"),
        ("iss", json!("https://id.other"), "of another issuer"),
        ("iss", Value::Null, "of another issuer"),
        ("sub", Value::Null, "lacks a claim"),
        ("sub", json!(""), "lacks a claim"),
        ("sub", json!(7), "lacks a claim"),
    ] {
        let mut claims = claims("7", "");
        claims[claim] = value;
        let token = Signer::secret().token(&claims);
        let told = refused(gateway.send(&token, BUY).await).await;
        assert!(
            told.starts_with("Bearer error=\"invalid_token\", "),
            "{told}"
        );
        assert!(told.contains(why), "{claims}: {told}");
    }
    assert!(gateway.bus.published.lock().unwrap().is_empty());
}

/// Tokens that were made from a good one.
fn mangled(ed: &Signer, claims: &Value) -> Vec<(&'static str, String)> {
    let good = ed.token(claims);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let [header, none, body] = [
        json!({"alg": "EdDSA", "kid": "ed"}),
        json!({"alg": "none"}),
        claims.clone(),
    ]
    .map(|json| part(&json));
    let mut other = claims.clone();
    other["sub"] = json!("8");
    let other = part(&other);
    vec![
        ("no JWT", "x".to_owned()),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("no signature", format!("{message}.")),
        ("half of one", format!("{message}.{}", &signature[..40])),
        ("alg none", format!("{none}.{body}.")),
        ("alg none, signed", format!("{none}.{body}.{signature}")),
        ("other claims", format!("{header}.{other}.{signature}")),
    ]
}

/// Tokens whose signature fits, in a way.
fn forged(rsa: &Signer, ed: &Signer, claims: &Value) -> Vec<(&'static str, String)> {
    // What everybody knows of the public key, as if it were a secret.
    let jwk = rsa.jwk();
    let public = |field: &str| Signer::Secret(jwk[field].as_str().unwrap().to_owned());
    let (modulus, exponent) = (public("n"), public("e"));
    let (own, another) = (Signer::ed25519("own"), Signer::Secret("x".repeat(32)));
    let as_secret = json!({"alg": "HS256", "kid": "rsa"});
    let with = |key: &Signer, header: Value| key.token_with(&header, claims);
    let critical = json!({"alg": "EdDSA", "kid": "ed", "crit": ["b64"], "b64": true});
    vec![
        ("a key of that name", Signer::ed25519("ed").token(claims)),
        ("an unknown key", own.token(claims)),
        ("another secret", another.token(claims)),
        ("the modulus as secret", with(&modulus, as_secret.clone())),
        ("the exponent as secret", with(&exponent, as_secret)),
        (
            "rsa as eddsa",
            with(rsa, json!({"alg": "EdDSA", "kid": "rsa"})),
        ),
        (
            "eddsa as rsa",
            with(ed, json!({"alg": "RS256", "kid": "rsa"})),
        ),
        ("rs512", with(rsa, json!({"alg": "RS512", "kid": "rsa"}))),
        (
            "its own key",
            with(&own, json!({"alg": "EdDSA", "jwk": own.jwk()})),
        ),
        ("unknown extensions", with(ed, critical)),
    ]
}

#[tokio::test]
async fn a_token_that_no_known_key_signed_in_its_own_way_is_refused() {
    let (files, rsa, ed) = (KeyFiles::new(), Signer::rsa("rsa"), Signer::ed25519("ed"));
    let auth = files.config(&[&rsa, &ed]);
    let gateway = Running::guarded(FakeBus::new(completed), auth).await;
    let claims = claims("7", "operator");
    let all = [mangled(&ed, &claims), forged(&rsa, &ed, &claims)];
    for (what, token) in all.concat() {
        let told = refused(gateway.send(&token, BUY).await).await;
        let told = told.strip_prefix("Bearer error=\"invalid_token\", error_description=");
        assert!(told.is_some(), "{what}: {told:?}");
    }
    let good = ed.token(&claims);
    let twice = gateway.client.post(format!("{}/regist/trans", gateway.url));
    let twice = twice.bearer_auth(&good).bearer_auth(&good).body(GOOD);
    refused(twice.send().await.unwrap()).await;
    assert!(gateway.bus.published.lock().unwrap().is_empty());
    assert_eq!(gateway.send(&good, BUY).await.status(), StatusCode::OK);
}
