//! Systems Manager Automation documents.

use everopen_runbook::document::{Document, Kind};
use everopen_runbook::import;
use everopen_runbook::run::Outcome;

use crate::support::Bench;

const BOOK: &str = r#"
description: Looks at a fleet, waits, and says what it found
schemaVersion: "0.3"
assumeRole: "{{ AutomationAssumeRole }}"
parameters:
  AutomationAssumeRole: { type: "AWS::IAM::Role::Arn", default: "" }
  InstanceIds: { type: "List<AWS::EC2::Instance::Id>", default: ["i-1", "i-2"], minItems: 1 }
  Wait: { type: String, default: "0.2" }
  Percent: { type: Integer, allowedValues: [10, 50], default: 50 }
mainSteps:
  - name: count
    action: aws:executeScript
    maxAttempts: 2
    timeoutSeconds: 60
    onFailure: step:tell
    inputs:
      Runtime: python3.11
      Handler: handler
      Script: |
        def handler(events, context):
            print("this is not what it returns")
            n = len(events["ids"])
            return {"count": n, "part": n * events["percent"] // 100, "list": [{"id": i} for i in events["ids"]]}
      InputPayload: { ids: "{{ InstanceIds }}", percent: "{{ Percent }}" }
    outputs:
      - { Name: part, Selector: $.Payload.part, Type: Integer }
      - { Name: second, Selector: "$.Payload.list[1].id", Type: String }
      - { Name: all, Selector: "$.Payload.list..id", Type: StringList }
  - name: choose
    action: aws:branch
    inputs:
      Choices:
        - NextStep: rest
          And:
            - { Variable: "{{ count.part }}", NumericGreaterOrEquals: 1 }
            - Not: { Variable: "{{count.Payload.count}}", NumericEquals: 3 }
      Default: tell
  - name: rest
    action: aws:sleep
    isCritical: false
    inputs: { Duration: "PT{{ Wait }}S" }
  - name: tell
    action: aws:executeScript
    isEnd: true
    inputs:
      Runtime: python3.8
      Handler: run
      Script: |
        def run(events, context):
            return events["text"]
      InputPayload: { text: "{{ count.second }} on {{ global:DATE }}" }
outputs: [count.part, tell.Payload]
"#;

fn translate(text: &str) -> (Bench, Vec<String>, Vec<String>) {
    let bench = Bench::new("");
    std::fs::write(bench.path(), text).expect("written");
    let imported = import::read(&bench.path()).expect("it is of schema 0.3");
    let of = |is_missing: bool| {
        let all = imported
            .findings
            .iter()
            .filter(|one| one.is_missing == is_missing);
        all.map(|one| format!("{}: {}", one.place, one.what))
            .collect()
    };
    let (missing, changed) = (of(true), of(false));
    let text = import::to_yaml(&imported.document).expect("YAML");
    std::fs::write(bench.path(), &text).expect("written");
    let read = Document::parse(&bench.path(), &text);
    assert_eq!(
        read.expect("it is one of ours"),
        imported.document,
        "{text}"
    );
    (bench, missing, changed)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_translated_runs_and_what_can_not_is_named() {
    let (bench, missing, changed) = translate(BOOK);
    let starts = |all: &[String], wanted: &[&str]| {
        assert_eq!(all.len(), wanted.len(), "{all:#?}");
        for (one, start) in all.iter().zip(wanted) {
            assert!(one.starts_with(start), "{one} is not {start}");
        }
    };
    starts(
        &missing,
        &[
            "parameters.InstanceIds: minItems: 1",
            "assumeRole: ",
            "step count: output all: $.Payload.list..id",
        ],
    );
    starts(
        &changed,
        &[
            "parameters.AutomationAssumeRole: type AWS::IAM::Role::Arn is text",
            "parameters.InstanceIds: type List<AWS::EC2::Instance::Id> is a list",
            "step count: python3.11 is the python3",
            "step tell: python3.8 is the python3",
        ],
    );
    let (_, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.progress);
    assert_eq!(ended.outputs["count.part"], 1);
    assert!(ended.progress.results.contains_key("rest"));
    let told = ended.outputs["tell.json"].as_str().expect("text");
    assert!(told.starts_with("i-2 on 20"), "{told}");
    // Below 10 % of two there is nothing: the other way.
    let (_, ended) = bench.run(&[("Percent", "10")]).await;
    assert_eq!(ended.outputs["count.part"], 0);
    assert!(!ended.progress.results.contains_key("rest"));
}

#[test]
fn actions_that_are_aws_stay_in_their_places_and_nothing_runs_them() {
    let text = r#"{
      "schemaVersion": "0.3",
      "variables": {"x": {"type": "String"}},
      "mainSteps": [
        {"name": "launch", "action": "aws:runInstances", "maxAttempts": 3, "onFailure": "Continue",
         "inputs": {"ImageId": "ami-1"}, "outputs": [{"Name": "id", "Selector": "$.Instances[0].Id", "Type": "String"}]},
        {"name": "shell", "action": "aws:runCommand", "inputs": {"DocumentName": "AWS-RunShellScript", "InstanceIds": ["{{ launch.id }}"]}},
        {"name": "ps", "action": "aws:executeScript", "inputs": {"Runtime": "PowerShell Core 6.0", "Script": "x"}},
        {"name": "ask", "action": "aws:approve", "inputs": {"NotificationArn": "arn:aws:sns:x", "Message": "well?", "MinRequiredApprovals": 1, "Approvers": ["arn:aws:iam::1:user/a"]}},
        {"name": "rest", "action": "aws:pause", "inputs": {}, "newKey": 1},
        {"name": "odd", "action": "aws:branch", "isEnd": true, "inputs": {"Choices": [{"NextStep": "rest", "Variable": "{{ launch.id }}", "Matches": "x"}]}}
      ]
    }"#;
    let (bench, missing, changed) = translate(text);
    for (part, why) in [
        ("document: variables", "x"),
        ("step launch: aws:runInstances", "aws command"),
        ("step shell: aws:runCommand", "ssh"),
        ("step ps: aws:executeScript", "PowerShell"),
        ("step ask: NotificationArn", "arn:aws:sns:x"),
        ("step rest: newKey", "1"),
        ("step odd: aws:branch", "Matches"),
    ] {
        let found = missing.iter().find(|one| one.starts_with(part));
        assert!(
            found.is_some_and(|one| one.contains(why)),
            "{part}: {missing:#?}"
        );
    }
    assert_eq!(missing.len(), 7, "{missing:#?}");
    assert_eq!(changed.len(), 1, "{changed:#?}");
    let document = Document::read(&bench.path()).expect("a document");
    let kinds: Vec<Kind> = document.main_steps.iter().map(|step| step.action).collect();
    use Kind::{Approve, Untranslated};
    assert_eq!(
        kinds,
        [
            Untranslated,
            Untranslated,
            Untranslated,
            Approve,
            Approve,
            Untranslated
        ]
    );
    assert_eq!(document.main_steps[0].max_attempts, 3);
    assert_eq!(document.main_steps[0].inputs["inputs"]["ImageId"], "ami-1");
    let error = bench.begin(&[]).expect_err("it is not whole");
    assert!(
        error.contains("launch") && error.contains("not translated"),
        "{error}"
    );
}

#[test]
fn what_is_no_such_document_is_refused() {
    for (text, why) in [
        ("schemaVersion: '2.2'\nmainSteps: []\n", "2.2"),
        ("mainSteps: []\n", "schemaVersion"),
        ("schemaVersion: '0.3'\n", "mainSteps"),
        (
            "schemaVersion: '0.3'\nmainSteps: [{ name: x }]\n",
            "no action",
        ),
        (
            "schemaVersion: '0.3'\nmainSteps: [{ action: 'aws:sleep' }]\n",
            "no name",
        ),
        ("[1, 2]\n", "mapping"),
        ("a: [\n", "book.yaml"),
    ] {
        let bench = Bench::new("");
        std::fs::write(bench.path(), text).expect("written");
        let error = import::read(&bench.path())
            .expect_err("refused")
            .to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

#[test]
fn what_has_another_form_than_expected_is_named_and_never_dropped() {
    let (bench, missing, _) = translate(
        r#"
schemaVersion: "0.3"
description: [not, text]
parameters:
  Who: { type: StringList, default: [] }
  Kind: { type: String, allowedValues: "{{ Who }}", allowedPattern: 7 }
outputs: [{ not: text }]
mainSteps:
  - name: ask
    action: aws:approve
    inputs: { Approvers: "{{ Who }}", MinRequiredApprovals: 1 }
  - name: count
    action: aws:approve
    inputs: { Approvers: [ada], MinRequiredApprovals: "{{ Kind }}" }
  - name: both
    action: aws:branch
    inputs: { Choices: [{ NextStep: rest, Variable: "{{ Kind }}", StringEquals: a, StartsWith: b }], Default: rest }
  - name: rest
    action: aws:sleep
    timeoutSeconds: "{{ Kind }}"
    maxAttempts: "{{ Kind }}"
    isEnd: maybe
    isCritical: "{{ Kind }}"
    onFailure: 7
    nextStep: [rest]
    outputs: { Name: x }
    inputs: { Duration: PT1S }
"#,
    );
    for place in [
        "document: description",
        "parameters.Kind: allowedValues",
        "parameters.Kind: allowedPattern",
        "document: outputs",
        // Without them anybody could say yes: the step stays to be written.
        "step ask: aws:approve: Approvers",
        "step count: aws:approve: MinRequiredApprovals",
        "step both: aws:branch: a condition of",
        "step rest: timeoutSeconds",
        "step rest: maxAttempts",
        "step rest: isEnd",
        "step rest: isCritical",
        "step rest: onFailure",
        "step rest: nextStep",
        "step rest: outputs",
    ] {
        assert!(
            missing.iter().any(|one| one.starts_with(place)),
            "{place}: {missing:#?}"
        );
    }
    let document = Document::read(&bench.path()).expect("a document");
    assert_eq!(document.untranslated().len(), 3);
}
