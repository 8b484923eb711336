//! The OpenAPI document: checked in as it is served, with the routes that there are, and examples that
//! are as it says. `BLESS=1 cargo test -p api-gateway` writes it; once more if examples changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use api_gateway::{AuthConfig, Limits, RateLimit};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fake_bus::FakeBus;
use crate::running::{GOOD, Running};

const UNKNOWN: &str = "/sagas/01934f00-0000-7000-8000-000000000001";
const TICKET: &str = "/userTicket?id=01934f00-0000-7000-8000-000000000001";

const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE",
];
/// Whose answers are large, always different, or pages.
const WITHOUT_EXAMPLE: [&str; 5] = [
    "/metrics",
    "/openapi.json",
    "/docs",
    "/problems",
    "/problems/{name}",
];

async fn served() -> (Running, String) {
    let gateway = Running::with(FakeBus::without_workers()).await;
    let text = gateway.get("/openapi.json").await.text().await.unwrap();
    (gateway, text)
}

async fn document() -> Value {
    serde_json::from_str(&served().await.1).unwrap()
}

fn members(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten()
}

/// Each operation with its path and method.
fn operations(document: &Value) -> impl Iterator<Item = (&str, String, &Value)> {
    members(&document["paths"]).flat_map(|(path, methods)| {
        let of_path = members(methods);
        of_path.map(move |(method, operation)| (path.as_str(), method.to_uppercase(), operation))
    })
}

#[tokio::test]
async fn the_document_checked_in_is_the_one_that_is_served() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let (_, served) = served().await;
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        served == written,
        "docs/openapi.json is stale: BLESS=1 writes it"
    );
}

#[tokio::test]
async fn the_document_has_the_methods_that_the_router_has() {
    let (gateway, text) = served().await;
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut told: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        let of_path = told.entry(path).or_default();
        if method == "GET" {
            of_path.insert("HEAD".to_owned());
        }
        of_path.insert(method);
    }
    assert!(told.len() >= 16, "{told:?}");
    for (path, told) in told {
        for method in METHODS {
            let url = format!(
                "{}{}",
                gateway.url,
                path.replace("{id}", "x").replace("{name}", "x")
            );
            let request = gateway
                .client
                .request(method.parse::<Method>().unwrap(), url);
            let answer = request.send().await.unwrap();
            let there = answer.status() != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(there, told.contains(method), "{method} {path}");
            if !there {
                let allowed = answer.headers()["allow"].to_str().unwrap().split(',');
                let allowed: BTreeSet<String> = allowed.map(str::to_owned).collect();
                assert_eq!(allowed, told, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn every_operation_has_a_name_of_its_own_and_an_example_of_its_success() {
    let document = document().await;
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(
            names.insert(operation["operationId"].to_string()),
            "{method} {path}"
        );
        let contents = members(&operation["responses"]["200"]["content"]);
        let examples: usize = contents
            .map(|(_, one)| members(&one["examples"]).count())
            .sum();
        let expected = !WITHOUT_EXAMPLE.contains(&path);
        assert_eq!(examples > 0, expected, "{method} {path} has {examples}");
    }
    for (name, response) in members(&document["components"]["responses"]) {
        let examples = &response["content"]["application/problem+json"]["examples"];
        assert!(members(examples).count() > 0, "{name} has no example");
    }
}

#[tokio::test]
async fn every_example_is_as_the_document_says_with_no_field_more() {
    let mut document = document().await;
    forbid_more(&mut document["components"]["schemas"]);
    let mut checked = 0;
    let responses =
        operations(&document).flat_map(|(_, _, operation)| members(&operation["responses"]));
    let bodies = operations(&document).map(|(_, _, operation)| &operation["requestBody"]);
    let common = members(&document["components"]["responses"]).map(|(_, response)| response);
    let all = responses
        .map(|(_, response)| response)
        .chain(bodies)
        .chain(common);
    for (_, content) in all.flat_map(|one| members(&one["content"])) {
        let mut schema = content["schema"].clone();
        forbid_more(&mut schema);
        schema["components"] = document["components"].clone();
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .unwrap();
        for (name, example) in members(&content["examples"]) {
            let wrong: Vec<String> = (validator.iter_errors(&example["value"]))
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}\n{}", example["value"]);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked} examples");
}

/// Callers must expect new members one day; a test must not.
fn forbid_more(schema: &mut Value) {
    if schema["type"] == "object" && schema["properties"].is_object() {
        schema["additionalProperties"] = json!(false);
    }
    match schema {
        Value::Object(members) => members.values_mut().for_each(forbid_more),
        Value::Array(items) => items.iter_mut().for_each(forbid_more),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere() {
    let (gateway, _) = served().await;
    let page = gateway.get("/docs").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    let page = page.text().await.unwrap();
    assert!(page.contains("fetch(\"/openapi.json\")"));
    assert!(!page.contains("://"), "it names another place");
}

/// Headers of the connection and of the body, which no operation tells of.
const OF_HTTP: [&str; 3] = ["content-type", "content-length", "date"];

#[tokio::test]
async fn every_header_of_an_answer_is_in_the_document_and_every_one_that_is_always_there_comes() {
    let (requests, window) = (6, Duration::from_secs(3600));
    let limits = Limits {
        rate_limit: Some(RateLimit { requests, window }),
        ..Limits::default()
    };
    let gateway = Running::limited(FakeBus::without_workers(), limits, AuthConfig::default()).await;
    let document: Value = gateway.get("/openapi.json").await.json().await.unwrap();
    for (method, path, route, status) in [
        ("POST", "/regist/trans", "/regist/trans", 202),
        ("GET", "/sagas", "/sagas", 200),
        ("GET", "/sagas/x", "/sagas/{id}", 400),
        ("GET", UNKNOWN, "/sagas/{id}", 404),
        ("GET", TICKET, "/userTicket", 504),
        ("DELETE", "/regist", "/regist", 400),
        ("GET", "/sagas", "/sagas", 429),
        ("GET", "/problems", "/problems", 200),
        ("GET", "/problems/x", "/problems/{name}", 404),
    ] {
        let url = format!("{}{path}", gateway.url);
        let request = gateway.client.request(method.parse().unwrap(), url);
        let request = request.header("prefer", "respond-async").body(GOOD);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{method} {path}");
        let method = method.to_lowercase();
        let responses = &document["paths"][route][method]["responses"];
        let told = &resolved(&document, &responses[status.to_string()])["headers"];
        let names: BTreeSet<String> = members(told).map(|(name, _)| name.to_lowercase()).collect();
        for name in answer.headers().keys() {
            let name = name.as_str();
            let is_told = names.contains(name) || OF_HTTP.contains(&name);
            assert!(is_told, "{path} {status}: {name}");
        }
        for (name, header) in members(told) {
            if resolved(&document, header)["required"] == true {
                assert!(
                    answer.headers().contains_key(name),
                    "{path} {status}: {name}"
                );
            }
        }
    }
}

/// What a `$ref` refers to, or the object itself.
fn resolved<'a>(document: &'a Value, object: &'a Value) -> &'a Value {
    match object["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => object,
    }
}
