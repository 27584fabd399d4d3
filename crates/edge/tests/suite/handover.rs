//! The next version takes the sockets over while clients connect without pause; and one that was
//! killed goes on with what operators had set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use everopen_edge::Edge;
use serde_json::json;

use super::support::{Client, Place, Server, count, get, until};

#[test]
fn no_connection_is_refused_when_the_edge_replaces_itself() {
    let server = Server::start("served");
    let place = Place::new(&[server.address], &[], (1, 0));
    let mut edge = place.start();
    let (stop, failed, served) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicUsize::new(0)),
    );
    let address = place.public();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (stop, failed, served) =
                (Arc::clone(&stop), Arc::clone(&failed), Arc::clone(&served));
            std::thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let outcome = if get(address) == (200, "served".into()) {
                        &served
                    } else {
                        &failed
                    };
                    outcome.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    // A connection of the first edge that is idle at the moment of the change.
    let mut kept = Client::connect(address).expect("connected");
    assert_eq!(kept.send("POST", "", "one").expect("an answer").0, 200);
    for round in 1..=5 {
        let before = served.load(SeqCst);
        until("clients are served", || served.load(SeqCst) > before + 50);
        let next = place.runtime.block_on(Edge::start(&place.config, true));
        let next = next.unwrap_or_else(|error| panic!("round {round}: {error}"));
        place.runtime.block_on(edge.handed_over());
        let stopping = place.runtime.spawn(edge.stop(Duration::from_secs(5)));
        if round == 1 {
            // From when it stops on, which another thread has been told.
            until("it asks its clients to leave", || {
                let (status, head, _) = kept
                    .send("POST", "", "two")
                    .expect("an answer all the same");
                assert_eq!(status, 200);
                head.to_lowercase().contains("connection: close")
            });
        }
        let cut = place.runtime.block_on(stopping).expect("it stops");
        assert_eq!(cut, 0, "round {round}: what was under way has ended");
        edge = next;
    }
    let before = served.load(SeqCst);
    until("clients are served", || served.load(SeqCst) > before + 50);
    stop.store(true, SeqCst);
    for client in clients {
        client.join().expect("a client");
    }
    assert_eq!(failed.load(SeqCst), 0, "of {}", served.load(SeqCst));
    let status = place.operator().status().expect("the last one's status");
    assert!(status.services["api"].groups["blue"].reading.requests > 0);
}

#[test]
fn an_edge_whose_successor_does_not_come_up_goes_on() {
    let server = Server::start("served");
    let mut place = Place::new(&[server.address], &[], (1, 0));
    let _edge = place.start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    place.config.listeners[1].address = taken.local_addr().expect("an address");
    let refused = place.runtime.block_on(Edge::start(&place.config, true));
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("listener \"test\": listen on"),
        "{refused}"
    );
    assert_eq!(count(place.public(), 20)["served"], 20);
    // And it still gives its sockets to one that does.
    drop(taken);
    let next = place.runtime.block_on(Edge::start(&place.config, true));
    assert!(next.is_ok(), "{next:?}");
    assert_eq!(count(place.public(), 20)["served"], 20);
}

#[test]
fn nobody_to_take_over_from_is_an_error() {
    let place = Place::new(&[], &[], (1, 0));
    let refused = place.runtime.block_on(Edge::start(&place.config, true));
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("take over from the edge that runs"),
        "{refused}"
    );
}

#[test]
fn an_edge_that_was_killed_goes_on_with_the_last_weights_and_targets() {
    let (blue, green) = (Server::start("blue"), Server::start("green"));
    let place = Place::new(&[blue.address], &[], (1, 0));
    let edge = place.start();
    place
        .order(
            "PUT",
            "/services/api/groups/green/targets",
            &json!([green.address]),
        )
        .expect("set");
    place
        .order(
            "PUT",
            "/services/api/weights",
            &json!({ "blue": 0, "green": 1 }),
        )
        .expect("shifted");
    place
        .order("PUT", "/services/api/groups/blue/targets", &json!([]))
        .expect("taken away");
    place.runtime.block_on(edge.stop(Duration::ZERO));
    let again = place.start();
    assert_eq!(count(place.public(), 20)["green"], 20);
    let status = again.table().status();
    assert!(status["api"].groups["blue"].targets.is_empty());
    place.runtime.block_on(again.stop(Duration::ZERO));
    let kept = place.config.admin.with_extension("weights.json");
    std::fs::write(&kept, "{ not JSON").expect("written");
    let refused = place.runtime.block_on(Edge::start(&place.config, false));
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("weights.json"), "{refused}");
}
