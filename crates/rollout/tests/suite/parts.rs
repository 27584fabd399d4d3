//! A service as a part of a plan: where it is, whoever was killed and whatever was done alone.

use everopen_rollout::execute::By;
use everopen_rollout::journal::Line;
use everopen_rollout::parts::{End, Part, Place as At, Service};
use everopen_rollout::plan::Plan;
use serde_json::json;

use super::support::{Place, SERVICE, site};

/// Does something with the part.
fn with<T>(
    place: &Place,
    plan: &Plan,
    before: &Option<String>,
    work: impl AsyncFnOnce(&mut Service<'_>) -> T,
) -> T {
    let (root, by) = (place.root(), By::default());
    let mut tell = |_: &Line| {};
    let mut part = Service::new(site(&root, &by), plan, before.clone(), &mut tell);
    place.runtime.block_on(work(&mut part))
}

#[test]
fn a_service_is_where_the_edge_and_its_state_say() {
    let place = Place::new();
    place.bring("1");
    let (root, by) = (place.root(), By::default());
    let plan = place.plan(&place.file("2", "", ""));
    let before = Service::before(&site(&root, &by), &plan).expect("read");
    assert!(before.is_some(), "the first version was rolled out");
    let at = || with(&place, &plan, &before, async |part| part.place());
    let go = |to| with(&place, &plan, &before, async |part| part.go(to).await);
    let settle = |to| with(&place, &plan, &before, async |part| part.settle(to).await);
    assert_eq!(at(), Ok(At::At(End::Old)));
    go(End::New).expect("it goes");
    assert_eq!(at(), Ok(At::At(End::New)));
    place.only("2");
    go(End::Old).expect("it goes back");
    assert_eq!(at(), Ok(At::At(End::Old)));
    place.only("1");
    go(End::New).expect("and forth: it is warm");
    place.only("2");

    // The controller was killed when the edge was told to go back, and nobody else.
    let edge = everopen_edge::admin::Client::new(&place.config.admin);
    let weights = json!({ plan.to.as_str(): 0, plan.from.as_deref().expect("one"): 100 });
    let what = format!("/services/{SERVICE}/weights");
    let told = edge.call("PUT", &what, &weights, std::time::Duration::from_secs(5));
    told.expect("told");
    assert_eq!(at(), Ok(At::Between));
    settle(End::New).expect("what it was told is brought to its end");
    assert_eq!(at(), Ok(At::At(End::Old)));
    place.only("1");
    go(End::New).expect("it goes");
    place.only("2");

    // Another version comes alone; that it comes back does not make it what it was.
    place.bring("3");
    let is_elsewhere = |found| matches!(found, Ok(At::Elsewhere(_)));
    assert!(is_elsewhere(at()), "{:?}", at());
    place.roll_back();
    place.only("2");
    assert!(is_elsewhere(at()), "{:?}", at());
}

#[test]
fn a_service_that_fails_is_where_it_was_and_says_why() {
    let place = Place::new();
    place.bring("1");
    let plan = place.plan(&place.file("2", "broken", ""));
    let (root, by) = (place.root(), By::default());
    let before = Service::before(&site(&root, &by), &plan).expect("read");
    let gone = with(&place, &plan, &before, async |part| part.go(End::New).await);
    let why = gone.expect_err("it is broken");
    assert!(why.contains("status 500"), "{why}");
    let at = with(&place, &plan, &before, async |part| part.place());
    assert_eq!(at, Ok(At::At(End::Old)));
    place.only("1");
}
