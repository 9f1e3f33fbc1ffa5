//! A staged generation on a share of the sessions, beside the active one, and the way back that needs nobody.

use serde_json::{Value, json};

use crate::admin::{Administered, push};
use crate::reload::{NEW, revised};
use crate::support::*;

/// A pack that refuses what the one before translates: members that the records of these tests have.
fn refusing(revision: u32) -> Value {
    let map = "{ map = \"/kind\", values = [[\"a\", \"b\"]], otherwise = \"refuse\" },";
    json!({"name": "pushed.toml", "pack": revised(revision, "worse").replace("{ add =", &format!("{map} {{ add ="))})
}

fn staged(mut push: Value) -> Value {
    push["intent"] = json!("stage");
    push
}

/// Which pack answered, by what it put in: `r1`; or the status.
async fn answered(admin: &Administered, session: &str, record: &str) -> String {
    let reply = post(&admin.gateway, &format!("/sessions/{session}/join"), record.to_owned()).await;
    match serde_json::from_slice::<Value>(&reply.body)
        .ok()
        .and_then(|record| record["legacy"].as_str().map(String::from))
    {
        Some(legacy) => legacy,
        None => reply.status.as_u16().to_string(),
    }
}

#[tokio::test]
async fn a_canary_has_its_share_of_the_sessions_and_always_the_same_ones() {
    let admin = Administered::new("canary-share", "").await;
    admin.said("POST", "/v1/generations", staged(push(2))).await;
    for number in 0..20 {
        assert_eq!(
            answered(&admin, &format!("before{number}"), NEW).await,
            "r1",
            "what is staged has no share unasked"
        );
    }
    admin.said("PUT", "/v1/canary", json!({"percent": 30})).await;
    let mut of_two = Vec::new();
    for number in 0..200 {
        if answered(&admin, &format!("s{number}"), NEW).await == "r2" {
            of_two.push(number);
        }
    }
    assert!((35..=85).contains(&of_two.len()), "{} of 200", of_two.len());
    // What the directory holds of these sessions would restore what the first answer put in: others of the same ids.
    for number in &of_two {
        let reply = post(&admin.gateway, &format!("/sessions/s{number}/join"), NEW).await.ok();
        assert!(reply.text().contains("r2"), "session {number} has moved: {}", reply.text());
    }
    admin.said("PUT", "/v1/canary", json!({"percent": 0})).await;
    assert_eq!(answered(&admin, "after", NEW).await, "r1");
    assert_eq!(admin.refused("PUT", "/v1/canary", json!({"percent": 101})).await.0, 422);
    admin.said("PUT", "/v1/canary", json!({"percent": 100})).await;
    assert_eq!(answered(&admin, "all", NEW).await, "r2");
    admin.said("POST", "/v1/promote", Value::Null).await;
    assert_eq!(answered(&admin, "promoted", NEW).await, "r2");
    admin.said("POST", "/v1/rollback", Value::Null).await;
    assert_eq!(answered(&admin, "back", NEW).await, "r1", "no canary is left behind");
}

#[tokio::test]
async fn a_canary_that_does_worse_is_put_aside_by_itself_and_a_good_one_is_not() {
    let record = |kind: &str| format!("{{\"session_id\":\"s\",\"bitrate\":3000,\"schema\":2,\"kind\":\"{kind}\"}}");
    for (worse, next) in [(true, refusing(2)), (false, push(2))] {
        let admin = Administered::new("canary-worse", "[rollout]\nguard_calls = 40\n").await;
        admin.said("POST", "/v1/generations", staged(next)).await;
        admin.said("PUT", "/v1/canary", json!({"percent": 50})).await;
        let mut refused = 0;
        for number in 0..160 {
            let answer = answered(&admin, &format!("w{number}"), &record("z")).await;
            refused += u32::from(answer == "422");
        }
        assert_eq!(refused > 10, worse, "{refused} refused");
        let status = async || admin.said("GET", "/v1/status", Value::Null).await;
        if worse {
            for _ in 0..500 {
                if status().await["staged"].is_null() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
            let status = status().await;
            assert!(status["staged"].is_null(), "{status}");
            let life = status["generations"].as_array().unwrap().iter().find(|life| life["revision"] == 2).unwrap();
            assert!(life["reason"].as_str().unwrap().starts_with("it goes back by itself: "), "{life}");
            for number in 0..40 {
                assert_eq!(answered(&admin, &format!("x{number}"), &record("z")).await, "r1");
            }
            let again = admin.refused("POST", "/v1/generations", refusing(2)).await;
            assert_eq!(again.0, 409, "{}", again.1);
        } else {
            assert_eq!(status().await["staged"]["revision"], json!(2));
        }
    }
}

#[tokio::test]
async fn what_a_source_made_active_goes_back_by_itself_and_what_a_person_did_stays() {
    let record = "{\"session_id\":\"s\",\"schema\":2,\"kind\":\"z\"}";
    for person in [false, true] {
        let admin = Administered::new("guard", "[rollout]\nguard_calls = 30\n").await;
        for number in 0..40 {
            assert_eq!(answered(&admin, &format!("g{number}"), record).await, "r1");
        }
        let next = refusing(2);
        match person {
            true => drop(admin.said("POST", "/v1/generations", next).await),
            false => admin.folder.write(next["pack"].as_str().unwrap()),
        }
        until("it is active", || admin.gateway.counts().swaps == 2).await;
        for number in 0..60 {
            answered(&admin, &format!("h{number}"), record).await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let now = answered(&admin, "now", record).await;
        assert_eq!(now, if person { "422" } else { "r1" });
    }
}

#[tokio::test]
async fn a_shadow_counts_what_would_differ_by_place_and_nobody_sees_it() {
    let admin = Administered::new("shadow", "[rollout]\nshadow_one_of = 1\n").await;
    admin.said("POST", "/v1/generations", staged(push(2))).await;
    for number in 0..30 {
        assert_eq!(answered(&admin, &format!("v{number}"), NEW).await, "r1");
    }
    let mut shadow = Value::Null;
    for _ in 0..500 {
        shadow = admin.said("GET", "/v1/status", Value::Null).await["shadow"].clone();
        if shadow["differ"].as_u64().is_some_and(|differ| differ > 5) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((&shadow["same"], &shadow["refused"]), (&json!(0), &json!(0)), "{shadow}");
    assert_eq!(shadow["places"].as_object().unwrap().keys().collect::<Vec<_>>(), ["2 to 1: /legacy"], "{shadow}");
    assert!(!shadow.to_string().contains("r2"), "no content: {shadow}");
}
