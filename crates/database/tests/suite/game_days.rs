//! A plan is tried on a clone of production, with faults; production notices nothing.

use std::fs;
use std::path::Path;

use everopen_database::file::File;
use everopen_database::gameday::{self, Day, Seen};
use everopen_database::run::Side;

use crate::place::Place;
use crate::servers::{OLD, is_long, new, run_by};

fn section(more: &str) -> String {
    format!(
        "{more}\n[database.game_day]\nfolder = \"day\"\nbin = \"{OLD}\"\ngreen_bin = \"{}\"\nload = \"day.sql\"\nclients = 4\nrate = 100\n{}\n",
        new().display(),
        run_by()
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
        match is_long() {
            true => &[],
            false => &[
                "none",
                "the controller is killed at: send clients",
                "green dies at: hold clients",
            ],
        },
    );
    all_well(&all);
    for seen in all {
        let fault = seen.fault.to_string();
        let (serving, failed) = (seen.ended.serving, seen.transactions[2]);
        let starts = |text: &str| fault.starts_with(text);
        if starts("none") {
            assert_eq!((serving, failed), (Side::Green, 0));
            assert!(seen.held.is_some());
        } else if starts("the controller is killed at: send") {
            assert_eq!((serving, failed), (Side::Green, 0));
        } else if starts("green dies at: hold") {
            assert_eq!((serving, failed), (Side::Blue, 0));
        } else if starts("blue dies at: copy") {
            assert_eq!(serving, Side::Blue);
            assert!(failed > 0, "clients were to notice it");
        } else if starts("a transaction stays open") {
            assert_eq!(failed, 0);
        }
    }
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
        match is_long() {
            true => &[],
            false => &["none", "the controller is killed at: make green"],
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

#[test]
fn a_plan_that_does_not_come_to_the_fault_is_not_well() {
    let place = Place::new();
    place.blue.sql("CREATE UNLOGGED TABLE loose (n int)");
    let file = place.file(&section(""));
    let all = play(&place, &file, &["none", "green dies at: hold"]);
    let wrong = |at: usize| all[at].wrong.join(" ");
    assert!(
        wrong(0).contains("does not go well") && wrong(0).contains("unlogged tables"),
        "{}",
        wrong(0)
    );
    assert!(wrong(1).contains("was not thrown in"), "{}", wrong(1));
}
