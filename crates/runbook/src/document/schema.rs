//! The JSON Schema of a document: the types' own, and for each action which inputs it has.

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::Document;
use super::action::{Approve, Assert, Branch, Http, Script, Sleep, Untranslated, WaitFor};

/// Makes it.
pub(super) fn schema() -> Value {
    let mut types = SchemaGenerator::default();
    fn of<T: JsonSchema>(types: &mut SchemaGenerator) -> Value {
        types.subschema_for::<T>().to_value()
    }
    let inputs = [
        ("script", of::<Script>(&mut types)),
        ("http", of::<Http>(&mut types)),
        ("sleep", of::<Sleep>(&mut types)),
        ("approve", of::<Approve>(&mut types)),
        ("branch", of::<Branch>(&mut types)),
        ("waitFor", of::<WaitFor>(&mut types)),
        ("assert", of::<Assert>(&mut types)),
        ("untranslated", of::<Untranslated>(&mut types)),
    ];
    let each: Vec<Value> = inputs
        .into_iter()
        .map(|(action, inputs)| {
            json!({
                "if": { "properties": { "action": { "const": action } } },
                "then": { "properties": { "inputs": inputs } },
            })
        })
        .collect();
    let mut schema = types.into_root_schema_for::<Document>().to_value();
    for name in ["Step", "Undo"] {
        if let Some(one) = schema.pointer_mut(&format!("/$defs/{name}")) {
            one["allOf"] = Value::Array(each.clone());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_published_schema_is_that_of_the_types() {
        let published = include_str!("../../../../docs/runbook.schema.json");
        let published: serde_json::Value = serde_json::from_str(published).expect("JSON");
        // Not compared by assert_eq: nobody could read what it would print.
        assert!(
            published == super::schema(),
            "write it anew: everopen runbook schema > docs/runbook.schema.json"
        );
    }
}
