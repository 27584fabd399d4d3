//! Whether a condition holds.

use serde_json::Value;

use crate::document::action::Condition;
use crate::document::parameter::text;
use crate::values::Values;

impl Condition {
    /// The comparisons that it has.
    fn comparisons(&self) -> Vec<(&'static str, &Value)> {
        let all = [
            ("equals", &self.equals),
            ("notEquals", &self.not_equals),
            ("equalsIgnoreCase", &self.equals_ignore_case),
            ("startsWith", &self.starts_with),
            ("endsWith", &self.ends_with),
            ("contains", &self.contains),
            ("greater", &self.greater),
            ("greaterOrEquals", &self.greater_or_equals),
            ("less", &self.less),
            ("lessOrEquals", &self.less_or_equals),
        ];
        let given = all.into_iter();
        given
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
            .collect()
    }

    /// Whether it says one thing: a variable with one comparison, or one of `and`, `or` and `not`.
    pub(crate) fn check(&self) -> Result<(), String> {
        let comparisons = self.comparisons();
        let parts = usize::from(self.variable.is_some())
            + usize::from(!self.and.is_empty())
            + usize::from(!self.or.is_empty())
            + usize::from(self.not.is_some());
        if parts != 1 {
            return Err("a condition has one of `variable`, `and`, `or` and `not`".into());
        }
        let wanted = usize::from(self.variable.is_some());
        if comparisons.len() != wanted {
            let names: Vec<&str> = comparisons.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "a variable has one comparison, and this has {}: {}",
                names.len(),
                names.join(", ")
            ));
        }
        self.parts().try_for_each(Condition::check)
    }

    fn parts(&self) -> impl Iterator<Item = &Condition> {
        let not = self.not.iter().map(|not| &**not);
        self.and.iter().chain(&self.or).chain(not)
    }

    /// Whether it holds.
    ///
    /// # Errors
    /// Something in it has no value.
    pub(crate) fn holds(&self, values: &Values) -> Result<bool, String> {
        if let Some(variable) = &self.variable {
            let variable = values.fill(variable)?;
            return match self.comparisons().first() {
                Some((name, with)) => compare(name, &variable, &values.fill(with)?),
                None => Err("a variable is compared with nothing".into()),
            };
        }
        // Like every choice: what decides is found first, and what comes after is not asked.
        if !self.and.is_empty() {
            for part in &self.and {
                if !part.holds(values)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        for part in &self.or {
            if part.holds(values)? {
                return Ok(true);
            }
        }
        match &self.not {
            Some(not) => Ok(!not.holds(values)?),
            None => Ok(false),
        }
    }

    /// In words, with what its variables were.
    pub(crate) fn tell(&self, values: &Values) -> String {
        if let Some(variable) = &self.variable {
            let is = values
                .fill(variable)
                .map_or_else(|why| why, |is| is.to_string());
            let mut said = text(variable);
            for (name, with) in self.comparisons() {
                said += &format!(" {name} {with}");
            }
            let is: String = is.chars().take(200).collect();
            return format!("{said} (it is {is})");
        }
        let parts = |all: &[Condition], word: &str| {
            let told: Vec<String> = all.iter().map(|one| one.tell(values)).collect();
            told.join(word)
        };
        match &self.not {
            Some(not) => format!("not ({})", not.tell(values)),
            None if self.and.is_empty() => parts(&self.or, " or "),
            None => parts(&self.and, " and "),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text
            .trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(_), _) | (_, Value::Number(_)) => {
            one == other || number(one).is_some() && number(one) == number(other)
        }
        _ => text(one) == text(other),
    }
}

fn compare(how: &str, variable: &Value, with: &Value) -> Result<bool, String> {
    let texts = || (text(variable), text(with));
    let numbers = || {
        let of = |value| number(value).ok_or_else(|| format!("{value} is no number"));
        Ok::<_, String>((of(variable)?, of(with)?))
    };
    Ok(match how {
        "equals" => is_same(variable, with),
        "notEquals" => !is_same(variable, with),
        "equalsIgnoreCase" => texts().0.to_lowercase() == texts().1.to_lowercase(),
        "startsWith" => texts().0.starts_with(&texts().1),
        "endsWith" => texts().0.ends_with(&texts().1),
        "contains" => match variable {
            Value::Array(list) => list.iter().any(|one| is_same(one, with)),
            _ => texts().0.contains(&texts().1),
        },
        "greater" => numbers()?.0 > numbers()?.1,
        "greaterOrEquals" => numbers()?.0 >= numbers()?.1,
        "less" => numbers()?.0 < numbers()?.1,
        "lessOrEquals" => numbers()?.0 <= numbers()?.1,
        other => return Err(format!("there is no comparison {other:?}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn holds(condition: Value) -> Result<bool, String> {
        let condition: Condition = serde_json::from_value(condition).expect("a condition");
        condition.check()?;
        let values = Values {
            parameters: BTreeMap::from([
                ("n".to_string(), json!(10)),
                ("name".to_string(), json!("Green-1")),
                ("list".to_string(), json!(["a", 2])),
            ]),
            ..Values::default()
        };
        condition.holds(&values)
    }

    #[test]
    fn each_comparison_can_hold_and_not_hold() {
        for (variable, how, yes, no) in [
            ("{{ n }}", "equals", json!("10.0"), json!(9)),
            ("{{ name }}", "equals", json!("Green-1"), json!("green-1")),
            ("{{ n }}", "notEquals", json!(9), json!(10)),
            (
                "{{ name }}",
                "equalsIgnoreCase",
                json!("gREEN-1"),
                json!("green"),
            ),
            ("{{ name }}", "startsWith", json!("Green"), json!("1")),
            ("{{ name }}", "endsWith", json!("1"), json!("Green")),
            ("{{ name }}", "contains", json!("een"), json!("x")),
            ("{{ list }}", "contains", json!("2"), json!("b")),
            // As numbers, not as text: "9" is above "10" there.
            ("{{ n }}", "greater", json!(9), json!("10")),
            ("{{ n }}", "greaterOrEquals", json!(10), json!(11)),
            ("{{ n }}", "less", json!("10.5"), json!(9)),
            ("{{ n }}", "lessOrEquals", json!(10), json!(9)),
        ] {
            let with = |value| holds(json!({ "variable": variable, how: value }));
            assert_eq!(with(yes), Ok(true), "{how}");
            assert_eq!(with(no), Ok(false), "{how}");
        }
        let error = holds(json!({ "variable": "{{ name }}", "less": 3 })).expect_err("no number");
        assert!(error.contains("Green-1"), "{error}");
    }

    #[test]
    fn conditions_together() {
        let n = |with: i32| json!({ "variable": "{{ n }}", "equals": with });
        assert_eq!(holds(json!({ "and": [n(10), { "not": n(9) }] })), Ok(true));
        assert_eq!(holds(json!({ "and": [n(10), n(9)] })), Ok(false));
        assert_eq!(holds(json!({ "or": [n(9), n(10)] })), Ok(true));
        assert_eq!(holds(json!({ "or": [n(9), n(8)] })), Ok(false));
        for wrong in [
            json!({}),
            json!({ "variable": "x" }),
            json!({ "variable": "x", "equals": 1, "less": 2 }),
            json!({ "equals": 1 }),
            json!({ "and": [n(1)], "or": [n(1)] }),
            json!({ "and": [{}] }),
        ] {
            let said = holds(wrong.clone()).expect_err("no condition");
            assert!(said.contains("one"), "{wrong}: {said}");
        }
    }
}
