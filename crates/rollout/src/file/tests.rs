//! What a file may say, and how it is told what is wrong with it.

use super::*;

const GOOD: &str = r#"
service = "greeter"
version = "2"
edge = "edge.sock"

[start]
command = ["python3", "server.py", "{port}"]
ready = "/health"

[strategy]
percent = [10, 50]
bake_ms = 100
"#;

fn read(text: &str) -> Result<File, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rollout.toml");
    std::fs::write(&path, text).unwrap();
    File::read(&path).map_err(|error| error.to_string())
}

#[test]
fn the_published_schema_is_that_of_the_file() {
    let published = include_str!("../../../../docs/rollout.schema.json");
    let published: serde_json::Value = serde_json::from_str(published).unwrap();
    // Not compared by assert_eq: nobody could read what it would print.
    assert!(
        published == File::schema(),
        "write it anew: everopen rollout schema > docs/rollout.schema.json"
    );
}

#[test]
fn a_short_file_is_enough() {
    let file = read(GOOD).unwrap();
    assert!(file.edge.is_absolute() && file.start.dir.is_absolute());
    assert_eq!((file.start.instances, file.after.warm_ms), (1, 3_600_000));
    assert!(file.journey.is_none() && file.checks.is_empty());
}

#[test]
fn what_is_wrong_is_named_with_line_field_and_reason() {
    for (from, to, found) in [
        ("percent", "per_cent", vec!["line 11", "per_cent"]),
        ("\"2\"", "2", vec!["line 3", "version", "string"]),
        ("\"2\"", "\"a/b\"", vec!["version", "a/b"]),
        (
            "[10, 50]",
            "[50, 10]",
            vec!["strategy.percent", "10 after 50"],
        ),
        ("[10, 50]", "[101]", vec!["strategy.percent", "101 after 0"]),
        ("\"/health\"", "\"health\"", vec!["start.ready", "no path"]),
        (
            "[\"python3\", \"server.py\", \"{port}\"]",
            "[]",
            vec!["start.command", "no program"],
        ),
        ("bake_ms = 100", "bake_ms = -1", vec!["line 12", "bake_ms"]),
    ] {
        let error = read(&GOOD.replace(from, to)).unwrap_err();
        for part in found {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let long = format!("{GOOD}\n[after]\nwarm_ms = 172800001\n");
    assert!(read(&long).unwrap_err().contains("48 hours"));
}
