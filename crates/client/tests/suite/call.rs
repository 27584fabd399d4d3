//! Operators' questions.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use everopen_client::call;
use everopen_rpc::Name;
use serde_json::json;

use crate::support::*;

#[test]
fn a_question_has_an_answer_or_a_reason() {
    let cluster = Cluster::start(1);
    let node = &cluster.nodes[0];
    let operator = identity(Name::Operator);
    let ask = |id, question, patience| call(&node.address, id, &operator, &question, patience);
    let answer = ask(1, json!({"ask": "status"}), PATIENCE);
    assert_eq!(answer, Ok(json!({"role": "leader"})));
    let answer = ask(1, json!({"ask": "what"}), PATIENCE);
    assert_eq!(answer, Err("no such question".into()));
    let why = ask(2, json!({"ask": "status"}), PATIENCE).unwrap_err();
    assert!(why.starts_with("node 2 at "), "{why}");
    let started = Instant::now();
    let patience = Duration::from_millis(200);
    let why = ask(1, json!({"ask": "nothing"}), patience).unwrap_err();
    assert!(why.ends_with("does not answer"), "{why}");
    assert!(started.elapsed() >= patience);
}

#[test]
fn nobody_at_the_address_is_said_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let operator = identity(Name::Operator);
    let why = call(
        &address.to_string(),
        1,
        &operator,
        &json!({"ask": "status"}),
        PATIENCE,
    )
    .unwrap_err();
    assert!(why.contains("not reachable"), "{why}");
}
