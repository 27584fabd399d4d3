//! Looks at what a version needs, once, without becoming a load on it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::net::TcpStream;

use crate::file::{Dependency, Health};
use crate::http;

/// Dependencies that are asked at the same time.
const AT_ONCE: usize = 4;

/// What became of one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Found {
    Well(Duration),
    Failed(String),
    /// Something that it needs is not well.
    NotAsked(String),
}

/// Asks everything that is needed: what was found, if all that is critical is well.
///
/// # Errors
/// What is critical and not well, and what else was found.
pub(crate) async fn look(health: &Health) -> Result<String, String> {
    let ordered = health
        .ordered()
        .map_err(|(field, detail)| format!("{field}: {detail}"))?;
    let until = tokio::time::Instant::now() + Duration::from_millis(health.within_ms);
    let mut found: BTreeMap<&str, Found> = BTreeMap::new();
    let mut asked: Vec<&str> = Vec::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        for one in &ordered {
            let name = one.name.as_str();
            if found.contains_key(name) || asked.contains(&name) {
                continue;
            }
            let missing = one.needs.iter().find(|need| {
                found
                    .get(need.as_str())
                    .is_some_and(|found| !matches!(found, Found::Well(_)))
            });
            if let Some(missing) = missing {
                found.insert(name, Found::NotAsked(missing.clone()));
                continue;
            }
            let are_known = one
                .needs
                .iter()
                .all(|need| found.contains_key(need.as_str()));
            if are_known && under_way.len() < AT_ONCE {
                asked.push(name);
                under_way.push(async move { (name, ask(one).await) });
            }
        }
        if found.len() == ordered.len() {
            break;
        }
        match tokio::time::timeout_at(until, under_way.next()).await {
            Ok(Some((name, answer))) => drop(found.insert(name, answer)),
            Ok(None) => {
                unreachable!("invariant: whatever is not found is asked, or needs one that is")
            }
            Err(_) => {
                for one in &ordered {
                    let late = Found::Failed(format!("not within {} ms in all", health.within_ms));
                    found.entry(one.name.as_str()).or_insert(late);
                }
                break;
            }
        }
    }
    let told: Vec<String> = ordered
        .iter()
        .map(|one| tell(one, &found[one.name.as_str()]))
        .collect();
    let told = told.join("; ");
    let is_critical =
        |one: &&&Dependency| one.critical && !matches!(found[one.name.as_str()], Found::Well(_));
    match ordered.iter().find(is_critical) {
        None => Ok(told),
        Some(_) => Err(told),
    }
}

fn tell(one: &Dependency, found: &Found) -> String {
    let name = &one.name;
    let minor = if one.critical { "" } else { " (not critical)" };
    match found {
        Found::Well(took) => format!("{name} well in {} ms", took.as_millis()),
        Found::Failed(why) => format!("{name} FAILED{minor}: {why}"),
        Found::NotAsked(need) => format!("{name} not asked{minor}, since it needs {need}"),
    }
}

async fn ask(one: &Dependency) -> Found {
    let began = Instant::now();
    let patience = Duration::from_millis(one.within_ms);
    let failed = match &one.path {
        None => match tokio::time::timeout(patience, TcpStream::connect(&one.at)).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no connection within {} ms", one.within_ms)),
        },
        Some(path) => match http::get(&one.at, path, patience).await {
            Ok(answer) if answer.status == 200 => None,
            Ok(answer) => Some(format!("{path} answers {}", answer.status)),
            Err(error) => Some(format!("{path}: {error}")),
        },
    };
    match failed {
        None => Found::Well(began.elapsed()),
        Some(why) => Found::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use tokio::net::TcpListener;

    fn health(text: &str) -> Health {
        toml::from_str(text).expect("a health check")
    }

    fn dependency(name: &str, at: &str, more: &str) -> String {
        format!("[[dependency]]\nname = {name:?}\nat = {at:?}\n{more}\n")
    }

    /// Takes connections and counts them.
    async fn server() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, SeqCst);
                kept.push(stream);
            }
        });
        (address, count)
    }

    #[tokio::test]
    async fn each_is_asked_once_however_many_need_it() {
        let (at, count) = server().await;
        let mut text = dependency("base", &at, "");
        for number in 0..10 {
            text += &dependency(&format!("n{number}"), &at, "needs = [\"base\"]");
        }
        let told = look(&health(&text)).await.expect("all are well");
        assert!(told.starts_with("base well in "), "{told}");
        let deadline = Instant::now() + Duration::from_secs(10);
        while count.load(SeqCst) < 11 && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert_eq!(count.load(SeqCst), 11);
    }

    #[tokio::test]
    async fn what_needs_something_that_fails_is_not_asked() {
        let (at, count) = server().await;
        let text = dependency("disk", "127.0.0.1:1", "")
            + &dependency("database", &at, "needs = [\"disk\"]")
            + &dependency("service", &at, "needs = [\"database\"]");
        let told = look(&health(&text)).await.expect_err("it has failed");
        assert!(told.contains("disk FAILED"), "{told}");
        assert!(
            told.contains("service not asked, since it needs database"),
            "{told}"
        );
        assert_eq!(count.load(SeqCst), 0);
    }

    #[tokio::test]
    async fn what_is_not_critical_is_only_told_of_and_time_is_bounded() {
        let (at, _) = server().await;
        let text =
            dependency("cache", "127.0.0.1:1", "critical = false") + &dependency("it", &at, "");
        let told = look(&health(&text))
            .await
            .expect("what is critical is well");
        assert!(told.contains("cache FAILED (not critical)"), "{told}");
        // It takes connections and never answers.
        let silent = "within_ms = 300\n".to_string()
            + &dependency("silent", &at, "path = \"/health\"\nwithin_ms = 60000");
        let began = Instant::now();
        let told = look(&health(&silent)).await.expect_err("it is silent");
        assert!(told.contains("not within 300 ms in all"), "{told}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_is_no_tree_is_named() {
        let of = |text: &str| health(text).ordered().map(|_| ()).expect_err("no tree");
        let at = "127.0.0.1:1";
        let circle =
            dependency("a", at, "needs = [\"b\"]") + &dependency("b", at, "needs = [\"a\"]");
        assert!(of(&circle).1.contains("needs itself"));
        let unknown = of(&dependency("a", at, "needs = [\"c\"]"));
        assert_eq!(unknown.1, "there is no \"c\"");
        let twice = dependency("a", at, "").repeat(2);
        assert!(of(&twice).1.contains("another dependency"));
        assert!(
            of(&dependency("a", at, "path = \"health\""))
                .1
                .contains("no path")
        );
    }
}
