//! A standby that is behind.

use std::collections::BTreeSet;

use everopen_database::schema::Phase;

use crate::schemas::Change;
use crate::servers::until;

#[test]
fn a_backfill_waits_for_a_standby_and_goes_on_when_it_follows() {
    let change = Change::new();
    let place = &change.place;
    place.sql(
        "INSERT INTO orders (account, price) SELECT n, n / 100.0 FROM generate_series(1, 20000) n",
    );
    let standby = place.blue.standby(&place.path("standby"));
    let behind = "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)), -1)::bigint FROM pg_stat_replication";
    until("the standby follows", || place.blue.sql(behind) == "0");
    let mut file = change.file("\"1\"", "");
    file.schema.backfill[0].lag_mb = 1;
    standby.sql("SELECT pg_wal_replay_pause()");
    until("it stands still", || {
        standby.sql("SELECT pg_get_wal_replay_pause_state()") == "paused"
    });
    let filled = || {
        place
            .blue
            .sql("SELECT count(*) FROM orders WHERE cents IS NOT NULL")
    };
    let is_expanded = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'cents'";
    // When the controller looks how far others are behind.
    let looks = "SELECT coalesce(max(query_start)::text, '') FROM pg_stat_activity WHERE application_name = 'everopen' AND query LIKE '%replay_lsn%' AND clock_timestamp() - query_start < interval '5 s'";
    let done = std::thread::scope(|scope| {
        let applied = scope.spawn(|| change.apply(&file));
        until("the column is there", || place.blue.sql(is_expanded) == "1");
        // Each look is a new one, and no row gets its value between the first and the last of many.
        let (mut seen, mut before) = (BTreeSet::new(), filled());
        until("it waits", || {
            seen.insert(place.blue.sql(looks));
            let now = filled();
            if now != before {
                seen.clear();
                before = now;
            }
            seen.len() > 6
        });
        let mebibyte = 1 << 20;
        let lag: u64 = place.blue.sql(behind).parse().expect("a number");
        assert!(lag > mebibyte, "{lag} bytes behind");
        assert_ne!(filled(), "20000", "it had something to wait for");
        assert!(!applied.is_finished());
        standby.sql("SELECT pg_wal_replay_resume()");
        applied.join().expect("it ends")
    });
    let done = done.expect("it is expanded, and filled");
    assert_eq!(done.phase, Phase::Migrated);
    assert_eq!(filled(), "20000");
    let told = done.told.join("\n");
    let waited = told
        .split("; waited ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let waited: u64 = waited.and_then(|ms| ms.parse().ok()).expect("a time");
    assert!(waited > 1_000, "seven looks take longer: {told}");
    // The standby has it all.
    until("it has come over", || {
        standby.sql("SELECT count(*) FROM orders WHERE cents IS NOT NULL") == "20000"
    });
}
