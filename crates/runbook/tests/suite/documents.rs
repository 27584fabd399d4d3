//! What is wrong with a document is named: file, line, step, field and reason.

use everopen_runbook::document::{Document, parameter};

use crate::support::Bench;

fn wrong(text: &str) -> String {
    let bench = Bench::of(text);
    let error = Document::read(&bench.path())
        .expect_err("it is wrong")
        .to_string();
    assert!(error.contains("book.yaml"), "{error}");
    error
}

#[test]
fn the_form() {
    let error =
        wrong("mainSteps:\n- name: a\n  action: sleep\n  inputs: { seconds: 1 }\n  nextstep: b\n");
    assert!(
        error.contains("nextstep") && error.contains("line 6"),
        "{error}"
    );
    let error = wrong("mainSteps:\n- name: a\n  action: dance\n");
    assert!(
        error.contains("dance") && error.contains("line 4"),
        "{error}"
    );
    let error = wrong("mainSteps:\n- name: a\n  action: sleep\n  onFailure: Give up\n");
    assert!(
        error.contains("Give up") && error.contains("step:NAME"),
        "{error}"
    );
    let error = wrong("mainSteps: [\n");
    assert!(error.contains("line"), "{error}");
    let error = wrong("mainSteps: []\n");
    assert!(error.contains("mainSteps: there is none"), "{error}");
}

#[test]
fn the_sense() {
    let sleep = "- name: a\n  action: sleep\n  inputs: { seconds: 1 }\n";
    for (steps, line, parts) in [
        (format!("{sleep}- name: b\n  action: sleep\n"), 6, &["step \"b\"", "seconds"][..]),
        (format!("{sleep}{sleep}"), 6, &["\"a\": name", "another step"]),
        (format!("{sleep}  nextStep: c\n"), 3, &["nextStep", "no step \"c\""]),
        (format!("{sleep}  onFailure: step:c\n"), 3, &["onFailure", "\"c\""]),
        (format!("{sleep}  isEnd: true\n  nextStep: a\n"), 3, &["nextStep", "isEnd"]),
        (format!("{sleep}  maxAttempts: 0\n"), 3, &["maxAttempts", "0 is not"]),
        (format!("{sleep}  timeoutSeconds: 0\n"), 3, &["timeoutSeconds"]),
        (format!("{sleep}  outputs: {{ x: /y }}\n"), 3, &["outputs", "/y"]),
        (format!("{sleep}  undo: {{ action: branch }}\n"), 3, &["undo.action", "branch"]),
        (
            format!("{sleep}  undo: {{ action: script, inputs: {{ command: ['{{{{ b.c }}}}'] }} }}\n"),
            3,
            &["undo.inputs", "no step \"b\""],
        ),
        (
            "- name: a\n  action: script\n  inputs: { comand: [x] }\n".into(),
            3,
            &["inputs", "comand"],
        ),
        ("- name: a\n  action: script\n".into(), 3, &["names no program"]),
        (
            "- name: a\n  action: http\n  inputs: { url: 'ftp://x/' }\n".into(),
            3,
            &["inputs.url", "ftp"],
        ),
        (
            "- name: a\n  action: assert\n  inputs: { that: { variable: '{{ nobody }}', equals: 1 } }\n".into(),
            3,
            &["nobody", "no such parameter"],
        ),
        (
            "- name: a\n  action: assert\n  inputs: { that: { variable: '{{ probe.x }}', equals: 1 } }\n".into(),
            3,
            &["no probe here"],
        ),
        (
            "- name: a\n  action: assert\n  inputs: { that: { variable: 1, equals: 1, less: 2 } }\n".into(),
            3,
            &["inputs.that", "one comparison"],
        ),
        (
            "- name: a\n  action: branch\n  inputs: { choices: [{ when: { variable: 1, equals: 1 }, nextStep: z }] }\n".into(),
            3,
            &["inputs.choices", "\"z\""],
        ),
        (
            "- name: a\n  action: approve\n  inputs: { approvers: [ada], minRequiredApprovals: 2 }\n".into(),
            3,
            &["minRequiredApprovals", "2 of 1"],
        ),
        (
            "- name: a\n  action: sleep\n  inputs: { until: soon }\n".into(),
            3,
            &["inputs.until"],
        ),
        (
            "- name: a\n  action: sleep\n  inputs: { duration: P1M }\n".into(),
            3,
            &["inputs.duration", "P1M"],
        ),
        (
            format!("{sleep}- name: b\n  action: assert\n  inputs: {{ that: {{ variable: '{{{{ a.x }}}}', equals: 1 }} }}\n"),
            6,
            &["a.x", "step \"a\" has only"],
        ),
    ] {
        let error = wrong(&format!("mainSteps:\n{steps}"));
        assert!(error.contains(&format!("book.yaml:{line}: ")), "{error}");
        for part in parts {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    let error =
        wrong("outputs: [a.b]\nmainSteps:\n- name: a\n  action: sleep\n  inputs: { seconds: 1 }\n");
    assert!(error.contains("outputs: {{ a.b }}"), "{error}");
}

#[test]
fn json_is_yaml() {
    let text = r#"{"schemaVersion": "everopen-1", "mainSteps": [{"name": "a", "action": "sleep", "inputs": {"seconds": 0}}]}"#;
    let path = std::path::Path::new("book.json");
    assert!(Document::parse(path, text).is_ok());
    let error = Document::parse(path, &text.replace("everopen-1", "0.3")).expect_err("another");
    assert!(error.to_string().contains("runbook import"), "{error}");
    let error = Document::parse(path, &text.replace("seconds", "minutes")).expect_err("wrong");
    assert!(error.to_string().contains("minutes"), "{error}");
}

#[test]
fn parameters() {
    let bench = Bench::of(
        r#"
parameters:
  kind: { type: String, allowedValues: [blue, green], default: blue }
  host: { type: String, allowedPattern: "[a-z]+[0-9]" }
  count: { type: Integer, default: 1 }
  hosts: { type: StringList, default: [], allowedPattern: "[a-z]+" }
  map: { type: StringMap, default: {} }
  dry: { type: Boolean, default: false }
mainSteps:
- { name: a, action: sleep, inputs: { seconds: 0 } }
"#,
    );
    let document = Document::read(&bench.path()).expect("a document");
    let given = |all: &[(&str, &str)]| {
        let mut all: Vec<(String, String)> = all
            .iter()
            .map(|(n, v)| (n.to_string(), v.to_string()))
            .collect();
        if !all.iter().any(|(name, _)| name == "host") {
            all.push(("host".into(), "a1".into()));
        }
        parameter::values(&document, &all)
    };
    let values = given(&[
        ("hosts", "a, b"),
        ("count", "3"),
        ("dry", "true"),
        ("map", r#"{"a":1}"#),
    ]);
    let values = serde_json::to_value(values.expect("all are well")).expect("JSON");
    assert_eq!(
        values,
        serde_json::json!({
            "kind": "blue", "host": "a1", "count": 3, "hosts": ["a", "b"], "dry": true, "map": {"a": 1}
        })
    );
    for (name, value, why) in [
        ("kind", "red", "none of"),
        ("host", "a1x", "does not match"),
        ("count", "1.5", "Integer"),
        ("count", "many", "whole number"),
        ("hosts", "a,B", "does not match"),
        ("dry", "yes", "true or false"),
        ("other", "1", "the document has"),
    ] {
        let error = given(&[(name, value)]).expect_err("wrong");
        assert!(error.contains(name) && error.contains(why), "{error}");
    }
    let error = wrong(
        "parameters: { n: { type: Integer, default: x } }\nmainSteps: [{ name: a, action: sleep }]\n",
    );
    assert!(error.contains("parameters.n: default"), "{error}");
}

#[test]
fn the_schema_knows_the_inputs_of_each_action() {
    let schema = Document::schema();
    let text = schema.to_string();
    for name in [
        "mainSteps",
        "undo",
        "minRequiredApprovals",
        "everySeconds",
        "afterFailure",
    ] {
        assert!(text.contains(name), "{name}");
    }
    let rules = schema["$defs"]["Step"]["allOf"].as_array().expect("rules");
    assert_eq!(rules.len(), 8);
}
