//! The venue as several processes: each may die, be missed by nobody for long, and come back.

mod support;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::Value;
use support::operator::{
    everopen, leader, place, place_at_last, same_everywhere, statuses, until, voters,
};
use support::{Client, Process, Venue, is_running, kill_all, signal, wait_until_gone};

/// Sends orders without pause, over a new connection when the old one is gone.
fn load(venue: &Arc<Venue>, name: &str, acknowledged: &Mutex<Vec<String>>, stop: &AtomicBool) {
    let mut client = None;
    for number in 0u64.. {
        if stop.load(Relaxed) {
            return;
        }
        let Some(open) = client.as_mut() else {
            client = Client::connect(venue).ok();
            continue;
        };
        let id = format!("{name}-{number}");
        match place(open, &id) {
            Ok((200, _)) => {
                // Most are canceled: a member may only have so many open ones.
                if number % 8 != 0 {
                    let canceled = open.call("DELETE", &format!("/orders/client:{id}"), "");
                    if canceled.is_err() {
                        client = None;
                    }
                }
                acknowledged.lock().unwrap().push(id);
            }
            // Busy, no leader, or outcome unknown, also because the gateway ended in the middle of it: the
            // next order is tried.
            Ok((502..=504, _)) => {}
            Ok((status, answer)) => panic!("{status}: {answer}"),
            Err(_) => client = None,
        }
    }
}

#[test]
fn each_process_may_be_killed_and_trading_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let venue = Arc::new(Venue::start(folder.path(), &["--replicas", "3"]).expect("start"));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|number| {
            let (venue, stop) = (Arc::clone(&venue), Arc::clone(&stop));
            let acknowledged = Arc::clone(&acknowledged);
            let name = format!("c{number}");
            std::thread::spawn(move || load(&venue, &name, &acknowledged, &stop))
        })
        .collect();
    let count = || acknowledged.lock().unwrap().len();
    until("the load runs", || (count() > 20).then_some(()));

    let named = venue.processes();
    let roles: Vec<&str> = named.iter().map(|process| process.role.as_str()).collect();
    assert_eq!(
        roles,
        [
            "supervisor",
            "replica",
            "replica",
            "replica",
            "edge",
            "gateway"
        ]
    );
    for victim in named.into_iter().skip(1) {
        let begun = Instant::now();
        signal(victim.pid, "KILL");
        let before = until("the victim is gone", || {
            (!is_running(victim.pid)).then(count)
        });
        until("trading goes on", || (count() > before + 10).then_some(()));
        let traded = begun.elapsed();
        let back = until("endpoints.json names a new process", || {
            let processes = venue.processes();
            processes.into_iter().find(|process| {
                (&process.role, process.id) == (&victim.role, victim.id)
                    && process.pid != victim.pid
            })
        });
        assert!(is_running(back.pid));
        println!(
            "{} {}: trading again after {traded:?}, a new process after {:?}",
            victim.role,
            victim.id,
            begun.elapsed()
        );
        // The next one may only be missed when this one counts again.
        until("it has caught up", || {
            let statuses = statuses(folder.path());
            let applied: Vec<u64> = statuses
                .iter()
                .filter_map(|status| status["applied"].as_u64())
                .collect();
            let newest = applied.iter().max()?;
            (applied.len() == 3 && applied.iter().all(|at| at + 500 > *newest)).then_some(())
        });
    }
    stop.store(true, Relaxed);
    for client in clients {
        client.join().expect("a client");
    }
    let mut client = Client::connect(&venue).expect("connect");
    for id in acknowledged.lock().unwrap().iter() {
        let (status, order) = client
            .call("GET", &format!("/orders/client:{id}"), "")
            .expect("ask for an order");
        assert_eq!(status, 200, "acknowledged order {id} is lost: {order}");
    }
    same_everywhere(folder.path());
}

/// A machine that stops in memory mode: to its replica, the last run was in another start of the
/// machine.
#[test]
fn in_memory_mode_machines_stop_and_trading_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let settings = ["--replicas", "3", "--durability", "memory"];
    let venue = Arc::new(Venue::start(dir, &settings).expect("start"));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let client = {
        let (venue, stop) = (Arc::clone(&venue), Arc::clone(&stop));
        let acknowledged = Arc::clone(&acknowledged);
        std::thread::spawn(move || load(&venue, "m", &acknowledged, &stop))
    };
    let count = || acknowledged.lock().unwrap().len();
    until("the load runs", || (count() > 20).then_some(()));
    let votes_in = |node: u64, life: u64| {
        until("it votes in its next life", || {
            let all = statuses(dir);
            let own = all.iter().find(|status| status["node"] == node)?;
            let whole = own["life"] == life
                && (own["role"] == "follower" || own["role"] == "leader")
                && own["voters"].as_array()?.len() == 3
                && own["learners"].as_array()?.is_empty();
            whole.then_some(())
        });
    };
    // The leader's machine each time, so that another one has to vote for the next.
    let mut lives = [0; 4];
    for _ in 0..3 {
        let victim = until("a leader", || leader(dir));
        let process = venue
            .processes()
            .into_iter()
            .find(|p| p.role == "replica" && p.id == victim);
        let note = dir.join(format!("node-{victim}/log.boot"));
        std::fs::write(note, "the machine's start before").expect("written");
        signal(process.expect("its process").pid, "KILL");
        let before = count();
        until("trading goes on", || (count() > before + 10).then_some(()));
        lives[victim as usize] += 1;
        votes_in(victim, lives[victim as usize]);
    }
    stop.store(true, Relaxed);
    client.join().expect("the load");
    same_everywhere(dir);
    let mut client = Client::connect(&venue).expect("connect");
    let acknowledged = acknowledged.lock().unwrap();
    for id in acknowledged.iter() {
        let (status, answer) = client
            .call("GET", &format!("/orders/client:{id}"), "")
            .expect("an answer");
        assert_eq!(status, 200, "{id}: {answer}");
    }
}

#[test]
fn a_market_outlives_its_supervisor_and_the_next_one_takes_it_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let venue = Venue::start_untied(dir, &["--replicas", "3"]).expect("start");
    let rest = venue.text("rest");
    let mut client = Client::connect(&venue).expect("connect");
    assert_eq!(place(&mut client, "before").expect("an answer").0, 200);
    let _ends = Leftovers(venue.processes());
    let others = venue.kill_supervisor().expect("kill");
    assert_eq!(place(&mut client, "without").expect("an answer").0, 200);

    let venue = Venue::start_untied(dir, &["--replicas", "3"]).expect("start again");
    assert_eq!(venue.processes().split_off(1), others, "the same processes");
    assert_eq!(venue.text("rest"), rest);
    assert_eq!(place(&mut client, "after").expect("an answer").0, 200);
    // It cares for them as for its own.
    let gateway = others.last().expect("a gateway");
    signal(gateway.pid, "KILL");
    place_at_last(&venue, "with-another-gateway");
    let second = Venue::start_untied(dir, &[]).map(|_| ()).unwrap_err();
    assert!(second.to_string().contains("in use"), "{second}");
    let last = venue.processes();
    assert!(venue.stop().expect("stop"));
    let pids: Vec<u32> = last.iter().map(|process| process.pid).collect();
    wait_until_gone(&pids).expect("nothing is left");
    assert!(!dir.join("endpoints.json").exists());
}

/// Ends what a test may have left running when it fails.
struct Leftovers(Vec<Process>);

impl Drop for Leftovers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = kill_all(self.0.iter());
        }
    }
}

#[test]
fn a_new_release_replaces_everything_while_trading_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    std::fs::create_dir(&dir).expect("a folder");
    // A release is another file; this one also knows an older version of the rules only.
    let earlier = folder.path().join("everopen");
    std::fs::copy(env!("CARGO_BIN_EXE_everopen"), &earlier).expect("copy");
    let old = Venue::spawn(
        std::process::Command::new(&earlier),
        &dir,
        &["--replicas", "3", "--logic-max", "1"],
        &folder.path().join("earlier.txt"),
        |_| dir.clone(),
    )
    .expect("start the earlier release");
    let before = old.processes();
    let _ends = Leftovers(before.clone());
    let early = everopen(&dir, &["cluster", "activate", "2"]).unwrap_err();
    println!("too early: {early}");

    let venue = Arc::new(
        Venue::start_untied(&dir, &["--take-over", "--replicas", "3"]).expect("take over"),
    );
    assert!(old.was_taken_over().expect("the earlier supervisor"));
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let trading = {
        let (venue, stop) = (Arc::clone(&venue), Arc::clone(&stop));
        let acknowledged = Arc::clone(&acknowledged);
        std::thread::spawn(move || load(&venue, "roll", &acknowledged, &stop))
    };
    until("every process is another one", || {
        let now = venue.processes();
        let is_new = |process: &Process| before.iter().all(|old| old.pid != process.pid);
        // A gateway that served before is kept to go back to.
        let now: Vec<_> = now.into_iter().filter(|p| p.role != "standby").collect();
        (now.len() == 6 && now.iter().all(is_new)).then_some(())
    });
    let count = || acknowledged.lock().unwrap().len();
    let so_far = count();
    until("trading goes on", || (count() > so_far + 10).then_some(()));
    until("every replica knows the newer rules", || {
        let statuses = statuses(&dir);
        (statuses.len() == 3 && statuses.iter().all(|status| status["logic_max"] == 2))
            .then_some(())
    });
    until("the newer rules hold", || {
        everopen(&dir, &["cluster", "activate", "2"]).ok()
    });
    until("on every replica", || {
        statuses(&dir)
            .iter()
            .all(|status| status["logic"] == 2)
            .then_some(())
    });
    stop.store(true, Relaxed);
    trading.join().expect("a client");
    let mut client = Client::connect(&venue).expect("connect");
    for id in acknowledged.lock().unwrap().iter() {
        let (status, order) = client
            .call("GET", &format!("/orders/client:{id}"), "")
            .expect("ask for an order");
        assert_eq!(status, 200, "acknowledged order {id} is lost: {order}");
    }
    same_everywhere(&dir);
    let venue = Arc::into_inner(venue).expect("nobody else uses it");
    assert!(venue.stop().expect("stop"));
}

#[test]
fn tied_processes_end_with_their_supervisor() {
    let folder = tempfile::tempdir().expect("a folder");
    let venue = Venue::start(folder.path(), &["--replicas", "3"]).expect("start");
    let _ends = Leftovers(venue.processes());
    let others = venue.kill_supervisor().expect("kill");
    assert_eq!(others.len(), 5);
    let pids: Vec<u32> = others.iter().map(|process| process.pid).collect();
    wait_until_gone(&pids).expect("all end");
}

#[test]
fn a_venue_grows_shrinks_and_lets_another_lead() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let venue = Venue::start(dir, &["--replicas", "1"]).expect("start");
    place_at_last(&venue, "alone");
    assert_eq!(voters(dir), 1);
    assert!(venue.stop().expect("stop"));

    let venue = Venue::start(dir, &["--replicas", "3"]).expect("start with three");
    place_at_last(&venue, "in-company");
    until("three vote", || (voters(dir) == 3).then_some(()));
    same_everywhere(dir);

    let before = until("somebody leads", || leader(dir));
    let other = before % 3 + 1;
    everopen(dir, &["cluster", "transfer-leader", &other.to_string()]).expect("transfer");
    until("the other leads", || {
        (leader(dir) == Some(other)).then_some(())
    });
    place_at_last(&venue, "under-another");

    let said = everopen(dir, &["cluster", "add"]).expect("add");
    assert!(said.contains("replica 4 has caught up and votes"), "{said}");
    assert_eq!(voters(dir), 4);
    assert!(venue.processes().iter().any(|process| process.id == 4));
    everopen(dir, &["cluster", "remove", "4"]).expect("remove");
    until("three vote again", || (voters(dir) == 3).then_some(()));
    until("its process is gone", || {
        (!venue.processes().iter().any(|process| process.id == 4)).then_some(())
    });
    place_at_last(&venue, "in-the-end");

    let table = everopen(dir, &["cluster", "status"]).expect("status");
    assert!(
        table.contains("leader") && table.contains("voter"),
        "{table}"
    );
    let doctor = everopen(dir, &["cluster", "doctor"]).expect("doctor");
    assert!(
        doctor.contains("3 voters: the loss of 1 is survived"),
        "{doctor}"
    );
    assert!(
        doctor.contains("all replicas are on this machine"),
        "{doctor}"
    );
    let doctor = everopen(dir, &["cluster", "doctor", "--json"]).expect("doctor");
    let doctor: Value = serde_json::from_str(&doctor).expect("JSON");
    assert_eq!(doctor["nodes"].as_array().map(Vec::len), Some(3));

    let stopped = everopen(dir, &["admin", "status"]).expect("a running venue");
    assert!(stopped.contains("\"running\": true"), "{stopped}");
    assert!(venue.stop().expect("stop"));
    let error = everopen(dir, &["admin", "status"]).unwrap_err();
    assert!(error.contains("does not run"), "{error}");
    let verified = everopen(dir, &["log", "verify"]).expect("verify");
    let hashes: Vec<&str> = verified
        .lines()
        .filter(|line| line.starts_with("state hash"))
        .collect();
    assert_eq!(hashes.len(), 3, "{verified}");
}

#[test]
fn new_rules_are_tried_on_the_live_log_and_switched_on_at_one_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let venue = Venue::start(dir, &["--replicas", "3"]).expect("start");
    place_at_last(&venue, "first");
    let logic = |status: &Value| status["logic"].as_u64();
    let of_all = || statuses(dir).iter().filter_map(logic).collect::<Vec<_>>();
    assert_eq!(of_all(), [1, 1, 1]);

    // Rules 2 refuse a withdrawal to a member whose kill switch is engaged.
    let withdraw = |client: &mut Client| {
        let body = r#"{"currency":"USD","amount":0.01,"crypto_address":"somewhere"}"#;
        client
            .call("POST", "/withdrawals/crypto", body)
            .expect("an answer")
    };
    let mut client = Client::connect(&venue).expect("connect");
    let mut shadow = |args: &[&str]| {
        std::thread::scope(|scope| {
            let shadow = scope.spawn(|| everopen(dir, args));
            while !shadow.is_finished() {
                let (status, answer) = withdraw(&mut client);
                assert_eq!(status, 200, "rules 1 let it pass: {answer}");
            }
            shadow.join().expect("it ends")
        })
    };
    // The rules in force do to the log what the replicas did; others do not.
    let alike = shadow(&["shadow", "--seconds", "2"]).expect("no difference");
    assert!(alike.contains("no difference in"), "{alike}");
    everopen(dir, &["admin", "kill", "demo"]).expect("kill");
    let differs = shadow(&["shadow", "--activate", "2", "--seconds", "60"]).unwrap_err();
    assert!(
        differs.contains("differs at its event") && differs.contains("CommandRejected"),
        "{differs}"
    );

    let refused = everopen(dir, &["cluster", "activate", "3"]).unwrap_err();
    assert!(
        refused.contains("only 2 can be activated next"),
        "{refused}"
    );
    let activated = everopen(dir, &["cluster", "activate", "2"]).expect("activate");
    assert!(activated.contains("rules 2 are in force"), "{activated}");
    until("all use them", || (of_all() == [2, 2, 2]).then_some(()));
    let (status, answer) = withdraw(&mut client);
    assert_ne!(status, 200, "rules 2 refuse it: {answer}");
    everopen(dir, &["admin", "release", "demo"]).expect("release");
    assert_eq!(withdraw(&mut client).0, 200);
    same_everywhere(dir);

    // A replica that does not know them stops before it applies them, and says so.
    let leads = until("somebody leads", || leader(dir));
    let victim = leads % 3 + 1;
    let folder = dir.join(format!("node-{victim}"));
    let (config, log) = (folder.join("node.toml"), folder.join("node.log"));
    let text = std::fs::read_to_string(&config).expect("its settings");
    std::fs::write(&config, format!("logic_max = 1\n{text}")).expect("older rules");
    let pid = |venue: &Venue| {
        let found = venue.processes().into_iter();
        let mut found = found.filter(|process| (&*process.role, process.id) == ("replica", victim));
        found.next().map(|process| process.pid)
    };
    signal(pid(&venue).expect("it runs"), "KILL");
    until("it says why it stops", || {
        let said = std::fs::read_to_string(&log).expect("its log");
        said.contains("knows up to 1").then_some(())
    });
    assert_eq!(withdraw(&mut client).0, 200, "the others trade");
    std::fs::write(&config, text).expect("the rules that it knows");
    until("it is back", || (of_all() == [2, 2, 2]).then_some(()));
    same_everywhere(dir);
}

#[test]
fn what_is_wrong_with_a_replica_is_said_and_the_start_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let venue = Venue::start(dir, &["--replicas", "1"]).expect("start");
    place_at_last(&venue, "one");
    assert!(venue.stop().expect("stop"));
    // Its log cannot be a folder any more.
    std::fs::remove_dir_all(dir.join("node-1/log")).expect("remove");
    std::fs::write(dir.join("node-1/log"), "not a folder").expect("write");
    let error = Venue::start(dir, &["--replicas", "1"])
        .map(|_| ())
        .unwrap_err();
    let said = error.to_string();
    assert!(said.contains("the replica 1 does not come up"), "{said}");
    assert!(said.contains("node-1/log"), "{said}");
}
