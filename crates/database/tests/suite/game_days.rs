//! A plan is tried on a clone of production, with faults; production notices nothing.

use std::fs;
use std::path::Path;

use everopen_database::file::File;
use everopen_database::gameday::{self, Day, Seen};
use everopen_database::run::Side;

use crate::place::Place;
use crate::servers::{OLD, is_root, new};

fn section(more: &str) -> String {
    let run_by = match is_root() {
        true => {
            "run_by = [\"setpriv\", \"--reuid=postgres\", \"--regid=postgres\", \"--clear-groups\"]"
        }
        false => "",
    };
    format!(
        "{more}\n[database.game_day]\nfolder = \"day\"\nbin = \"{OLD}\"\ngreen_bin = \"{}\"\nload = \"day.sql\"\nclients = 4\nrate = 100\n{run_by}\n",
        new().display()
    )
}

/// Those of these faults, one after the other, on a clone of what runs there.
fn play(place: &Place, file: &File, wanted: &[&str]) -> Vec<Seen> {
    fs::write(
        place.path("day.sql"),
        "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1 + (random() * 1000)::int;\nINSERT INTO orders (account) VALUES (1);\n",
    )
    .expect("written");
    let before = place.left();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let all = runtime.block_on(async {
        let day = Day::begin(file, &|_: &Path| Vec::new()).await;
        let mut day = day.unwrap_or_else(|error| panic!("{error}"));
        let faults = gameday::faults(file);
        let is_wanted =
            |told: &str| wanted.is_empty() || wanted.iter().any(|wanted| told.starts_with(wanted));
        let mut all = Vec::new();
        for fault in faults
            .into_iter()
            .filter(|fault| is_wanted(&fault.to_string()))
        {
            let seen = day.play(fault, &mut |_| {}).await;
            let seen = seen.unwrap_or_else(|error| panic!("{fault}: {error}"));
            println!("{fault}: {seen:?}");
            all.push(seen);
        }
        day.end().expect("removed");
        all
    });
    assert!(wanted.is_empty() || all.len() == wanted.len());
    assert!(!place.path("day").exists());
    assert_eq!(place.left(), before, "production is as before");
    assert_eq!(
        place
            .blue
            .sql("SELECT to_regclass('everopen_game_day') IS NULL"),
        "t"
    );
    all
}

#[track_caller]
fn all_well(all: &[Seen]) {
    for seen in all {
        assert!(seen.wrong.is_empty(), "{}: {seen:?}", seen.fault);
    }
}

/// In the long suite with all faults.
#[test]
fn an_upgrade_is_tried_with_faults() {
    let place = Place::new();
    let all = play(
        &place,
        &place.file(&section("")),
        match std::env::var_os("EVEROPEN_LONG") {
            Some(_) => &[],
            None => &[
                "none",
                "the controller is killed at: send clients",
                "green dies at: hold clients",
                "blue dies at: copy all",
                "the first pooler dies, and comes back at: hold",
                "a transaction stays open",
            ],
        },
    );
    all_well(&all);
    let of = |fault: &str| {
        let found = all
            .iter()
            .find(|seen| seen.fault.to_string().starts_with(fault));
        found.expect("played")
    };
    assert_eq!(of("none").ended.serving, Side::Green);
    assert_eq!(of("none").transactions[2], 0, "nothing failed");
    assert!(of("none").held.is_some());
    assert_eq!(
        of("the controller is killed at: send").ended.serving,
        Side::Green
    );
    assert_eq!(of("green dies at: hold").ended.serving, Side::Blue);
    assert_eq!(of("blue dies at: copy").ended.serving, Side::Blue);
    assert!(
        of("blue dies at: copy").transactions[2] > 0,
        "it was there for clients"
    );
    assert_eq!(of("a transaction stays open").transactions[2], 0);
}

/// In the long suite with all faults.
#[test]
fn a_clone_is_tried_with_faults() {
    let place = Place::new();
    fs::write(place.path("change.sql"), "CREATE INDEX ON orders (price);").expect("written");
    let clone = format!(
        "strategy = \"clone\"\nchange = [\"change.sql\"]\n[database.clone]\nhow = \"base_backup\"\nbin = \"{OLD}\"\ndata = \"made\"\n"
    );
    let all = play(
        &place,
        &place.file(&section(&clone)),
        match std::env::var_os("EVEROPEN_LONG") {
            Some(_) => &[],
            None => &[
                "none",
                "the controller is killed at: make green",
                "blue dies at: hold or refuse",
            ],
        },
    );
    all_well(&all);
    assert!(
        all[0].transactions[1] > 0,
        "writes were refused: {:?}",
        all[0]
    );
}

#[test]
fn what_is_lost_is_found() {
    let place = Place::new();
    fs::write(
        place.path("change.sql"),
        "CREATE RULE lose AS ON INSERT TO everopen_game_day DO INSTEAD NOTHING;",
    )
    .expect("written");
    let file = place.file(&section("change = [\"change.sql\"]"));
    let all = play(&place, &file, &["none"]);
    assert!(
        all[0]
            .wrong
            .join(" ")
            .contains("acknowledged are not on green"),
        "{:?}",
        all[0]
    );
}
