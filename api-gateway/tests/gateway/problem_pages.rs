//! The `type` of every problem is the address of a page about it.

use reqwest::StatusCode;
use serde_json::Value;

use crate::fake_bus::FakeBus;
use crate::running::Running;
use crate::tokens::{KeyFiles, Signer};

/// A gateway that wants tokens, and every kind of problem that it can answer with: its document
/// has a response for each, made from the one list there is.
async fn gateway_and_kinds() -> (Running, Vec<(String, u64)>) {
    let files = KeyFiles::new();
    let auth = files.config(&[&Signer::ed25519("one")]);
    let gateway = Running::guarded(FakeBus::without_workers(), auth).await;
    let document: Value = gateway.get("/openapi.json").await.json().await.unwrap();
    let responses = document["components"]["responses"].as_object().unwrap();
    let kind = |response: &Value| {
        let examples = &response["content"]["application/problem+json"]["examples"];
        let example = &examples.as_object().unwrap().values().next().unwrap()["value"];
        let kind = example["type"].as_str().unwrap().to_owned();
        (kind, example["status"].as_u64().unwrap())
    };
    let kinds = responses.values().map(kind).collect();
    (gateway, kinds)
}

#[tokio::test]
async fn every_problem_has_a_page_in_both_languages_with_an_example() {
    let (gateway, kinds) = gateway_and_kinds().await;
    assert_eq!(kinds.len(), 15, "{kinds:?}");
    let index = gateway.get("/problems").await.text().await.unwrap();
    for (kind, status) in kinds {
        assert!(index.contains(&format!("href=\"{kind}\"")), "{kind}");
        let response = gateway.get(&kind).await;
        assert_eq!(response.status(), StatusCode::OK, "{kind}");
        assert_eq!(
            response.headers()["content-type"],
            "text/html; charset=utf-8"
        );
        let page = response.text().await.unwrap();
        for part in [
            &format!("<h1>{status} "),
            "What happened",
            "What to do",
            "发生了什么",
            "怎么办",
            &format!("\"type\": \"{kind}\""),
        ] {
            assert!(page.contains(part), "{kind}: {part} is not in {page}");
        }
        assert!(!page.contains("://"), "it names another place: {page}");
        let (texts, _example) = page.split_once("<pre>").unwrap();
        assert!(!texts.contains('`'), "markup is left in {texts}");
    }
}

#[tokio::test]
async fn the_page_about_refusals_has_every_reason_of_the_document() {
    let (gateway, _) = gateway_and_kinds().await;
    let page = gateway.get("/problems/refused").await.text().await.unwrap();
    // As a refusal has them, and not as its kind would have them if it had no reason.
    assert!(
        page.contains("<td>409<td") && !page.contains("1001"),
        "{page}"
    );
    let document = gateway.get("/openapi.json").await.text().await.unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let mut reasons = 0;
    for operation in document["paths"].as_object().unwrap().values() {
        for (_, told) in operation.as_object().unwrap() {
            let schema = &told["responses"]["409"]["content"]["application/problem+json"]["schema"];
            for reason in schema["properties"]["reason"]["enum"]
                .as_array()
                .into_iter()
                .flatten()
            {
                let reason = reason.as_str().unwrap();
                assert!(page.contains(&format!("<code>{reason}</code>")), "{reason}");
                reasons += 1;
            }
        }
    }
    assert!(reasons > 10, "{reasons}");
}

#[tokio::test]
async fn a_problem_that_there_is_not_is_404() {
    let (gateway, _) = gateway_and_kinds().await;
    for name in ["gone", "%3Cscript%3E", "%ff", "NOT-FOUND"] {
        let response = gateway.get(&format!("/problems/{name}")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["type"], "/problems/not-found");
        assert!(
            body["detail"].as_str().unwrap().contains("/problems"),
            "{body}"
        );
    }
}
