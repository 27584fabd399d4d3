//! The floors of the house: a crate may depend only on the rooms below it that the table names.

use super::Finding;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeMap;

const PREFIX: &str = "everopen-";

/// One crate of ours.
struct Room {
    name: &'static str,
    /// Higher floors may stand on lower ones, never the other way round.
    floor: u8,
    /// The rooms it may depend on.
    may: &'static [&'static str],
    /// For the kernel: the only outside crates it may link. `None` leaves the choice to review.
    outside: Option<&'static [&'static str]>,
}

const ROOMS: &[Room] = &[
    // serde is an optional feature for readers of the log; the kernel is built without it.
    Room {
        name: "domain",
        floor: 0,
        may: &[],
        outside: Some(&["serde"]),
    },
    Room {
        name: "book",
        floor: 1,
        may: &["domain"],
        outside: Some(&["hashbrown"]),
    },
    Room {
        name: "ledger",
        floor: 1,
        may: &["domain"],
        outside: Some(&["hashbrown"]),
    },
    Room {
        name: "wire",
        floor: 1,
        may: &["domain"],
        // twox-hash: a hash fixed by a specification, no_std. proptest: only behind the feature that tests switch on.
        outside: Some(&["twox-hash", "proptest"]),
    },
    // The journal stores bytes; it has no business knowing what they mean.
    Room {
        name: "journal",
        floor: 1,
        may: &[],
        outside: None,
    },
    Room {
        name: "identity",
        floor: 1,
        may: &[],
        outside: None,
    },
    Room {
        name: "venue",
        floor: 2,
        may: &["domain", "book", "ledger"],
        outside: Some(&["hashbrown"]),
    },
    Room {
        name: "orderflow",
        floor: 2,
        may: &["domain"],
        outside: None,
    },
    Room {
        name: "views",
        floor: 2,
        may: &["domain"],
        outside: None,
    },
    // It moves frames; it has no business knowing what they mean.
    Room {
        name: "rpc",
        floor: 2,
        may: &["identity"],
        outside: None,
    },
    Room {
        name: "replica",
        floor: 3,
        may: &["domain", "identity", "rpc", "venue", "wire", "journal"],
        outside: None,
    },
    Room {
        name: "client",
        floor: 3,
        may: &["domain", "identity", "rpc", "wire"],
        outside: None,
    },
    Room {
        name: "testkit",
        floor: 3,
        may: &["domain", "orderflow"],
        outside: None,
    },
    // The gateway asks for what it needs through traits of its own; it must not link the writer of the log.
    Room {
        name: "edge",
        floor: 3,
        may: &["identity"],
        outside: None,
    },
    // It drives an edge through its operators' socket.
    Room {
        name: "rollout",
        floor: 4,
        may: &["edge"],
        outside: None,
    },
    // Shares the journal and the locks of rollouts; no other room speaks to databases.
    Room {
        name: "database",
        floor: 5,
        may: &["edge", "rollout"],
        outside: None,
    },
    // A leaf: what is behind rollout's port to clusters, with a large crate that nothing else needs.
    Room {
        name: "kubernetes",
        floor: 5,
        may: &["rollout"],
        outside: None,
    },
    // It runs programs, makes requests and keeps a journal as rollouts do.
    Room {
        name: "runbook",
        floor: 5,
        may: &["rollout"],
        outside: None,
    },
    Room {
        name: "gateway",
        floor: 3,
        may: &["domain", "views"],
        outside: None,
    },
    // Drives the real rooms below it; `everopen` shows it to people.
    Room {
        name: "sim",
        floor: 4,
        may: &["domain", "wire", "journal", "venue", "replica"],
        outside: None,
    },
    Room {
        name: "everopen",
        floor: 6,
        may: &[
            "domain",
            "book",
            "ledger",
            "wire",
            "journal",
            "identity",
            "venue",
            "rpc",
            "orderflow",
            "views",
            "replica",
            "sim",
            "client",
            "edge",
            "rollout",
            "runbook",
            "kubernetes",
            "database",
            "gateway",
        ],
        outside: None,
    },
];

/// Crates that tests and benchmarks of any room may use: they make input and measure, and know only `domain`.
const TEST_ROOMS: &[&str] = &["orderflow", "testkit"];

/// How one package depends on another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Normal,
    Test,
}

#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    kind: Kind,
    ours: bool,
}

/// Compares the workspace's dependencies with the table.
pub fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let packages = metadata["packages"]
        .as_array()
        .context("metadata without packages")?;
    let ours: BTreeMap<&str, &Value> = packages
        .iter()
        .filter(|package| package["source"].is_null())
        .filter_map(|package| Some((package["name"].as_str()?, package)))
        .filter(|(name, _)| *name != "xtask")
        .collect();
    let mut edges = Vec::new();
    for (name, package) in &ours {
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let to = dependency["name"]
                .as_str()
                .context("a dependency without a name")?;
            edges.push(Edge {
                from: room_name(name).to_owned(),
                to: room_name(to).to_owned(),
                kind: match dependency["kind"].as_str() {
                    Some("dev") => Kind::Test,
                    _ => Kind::Normal,
                },
                ours: ours.contains_key(to),
            });
        }
    }
    let mut findings = judge(&edges);
    for name in ours.keys().map(|name| room_name(name)) {
        if room(name).is_none() {
            findings.push(Finding::new(
                format!("crates/{name}"),
                "not in the table of floors; give it a floor and its allowed edges in \
                 xtask/src/tidy/floors.rs, and a line in ARCHITECTURE.md",
            ));
        }
    }
    Ok(findings)
}

fn room_name(package: &str) -> &str {
    package.strip_prefix(PREFIX).unwrap_or(package)
}

fn room(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

fn judge(edges: &[Edge]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for edge in edges {
        let Some(from) = room(&edge.from) else {
            continue;
        };
        let place = format!("crates/{}/Cargo.toml", from.name);
        if !edge.ours {
            if let (Kind::Normal, Some(outside)) = (edge.kind, from.outside)
                && !outside.contains(&edge.to.as_str())
            {
                findings.push(Finding::new(
                    place,
                    format!(
                        "the kernel may not link the outside crate {}; do without it, or add it to the table in \
                         xtask/src/tidy/floors.rs after a decision that it is no_std and deterministic",
                        edge.to
                    ),
                ));
            }
            continue;
        }
        let Some(to) = room(&edge.to) else { continue };
        let allowed = match edge.kind {
            Kind::Normal => from.may.contains(&to.name),
            // A crate may name itself to switch on a feature for its own tests.
            Kind::Test if to.name == from.name => true,
            // Tests of a reader may drive the real kernel instead of a stand-in for it.
            Kind::Test => {
                from.may.contains(&to.name)
                    || TEST_ROOMS.contains(&to.name)
                    || to.floor < from.floor
                    || (from.outside.is_none() && to.outside.is_some())
            }
        };
        if !allowed {
            let may = if from.may.is_empty() {
                "nothing of ours".into()
            } else {
                from.may.join(", ")
            };
            findings.push(Finding::new(
                place,
                format!(
                    "{} (floor {}) may not depend on {} (floor {}); it may use {may}. Move the shared part down, or \
                     ask for it through a trait of {} that `everopen` plugs in",
                    from.name, from.floor, to.name, to.floor, from.name
                ),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn edge(from: &str, to: &str, kind: Kind) -> Edge {
        Edge {
            from: from.into(),
            to: to.into(),
            kind,
            ours: room(to).is_some(),
        }
    }

    #[test]
    fn every_allowed_edge_of_the_table_leads_down() {
        for from in ROOMS {
            for to in from.may {
                let to = room(to).unwrap_or_else(|| panic!("{} names no room", to));
                assert!(to.floor < from.floor, "{} -> {}", from.name, to.name);
            }
        }
    }

    #[test]
    fn a_deliberately_wrong_edge_is_found() {
        for (from, to) in [
            ("book", "venue"),
            ("gateway", "replica"),
            ("gateway", "venue"),
            ("gateway", "journal"),
            ("venue", "wire"),
            ("journal", "domain"),
            ("book", "ledger"),
            ("rpc", "wire"),
            ("client", "replica"),
        ] {
            let findings = judge(&[edge(from, to, Kind::Normal)]);
            assert_eq!(findings.len(), 1, "{from} -> {to}");
            assert_eq!(findings[0].place, format!("crates/{from}/Cargo.toml"));
        }
    }

    #[test]
    fn tests_may_reach_lower_floors_and_generators_but_never_up() {
        assert!(judge(&[edge("book", "orderflow", Kind::Test)]).is_empty());
        assert!(judge(&[edge("replica", "ledger", Kind::Test)]).is_empty());
        assert!(judge(&[edge("book", "book", Kind::Test)]).is_empty());
        assert!(judge(&[edge("views", "venue", Kind::Test)]).is_empty());
        assert_eq!(judge(&[edge("views", "venue", Kind::Normal)]).len(), 1);
        assert_eq!(judge(&[edge("book", "orderflow", Kind::Normal)]).len(), 1);
        assert_eq!(judge(&[edge("gateway", "replica", Kind::Test)]).len(), 1);
        assert_eq!(judge(&[edge("book", "venue", Kind::Test)]).len(), 1);
    }

    #[test]
    fn the_kernel_links_no_outside_crate_that_the_table_does_not_name() {
        assert!(judge(&[edge("ledger", "hashbrown", Kind::Normal)]).is_empty());
        assert_eq!(judge(&[edge("ledger", "rand", Kind::Normal)]).len(), 1);
        assert!(judge(&[edge("ledger", "proptest", Kind::Test)]).is_empty());
        assert!(judge(&[edge("gateway", "tokio", Kind::Normal)]).is_empty());
    }

    #[test]
    fn metadata_is_read_and_an_unknown_room_is_found() {
        let metadata = json!({"packages": [
            {"name": "everopen-book", "source": null,
             "dependencies": [{"name": "everopen-venue", "kind": null}]},
            {"name": "everopen-venue", "source": null, "dependencies": []},
            {"name": "everopen-cellar", "source": null, "dependencies": []},
            {"name": "serde", "source": "registry", "dependencies": []},
        ]});
        let findings = check(&metadata).expect("readable");
        assert_eq!(findings.len(), 2);
        assert!(findings[0].what.contains("may not depend on venue"));
        assert_eq!(findings[1].place, "crates/cellar");
    }
}
