//! Scraping metrics and holding them against their bounds.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::file::MetricAlarm;
use crate::http;

/// How long one scrape may take.
const SCRAPE: Duration = Duration::from_secs(2);

/// The values of the series of a metric that have all these labels, added; 0 if the metric is known and
/// none does.
///
/// # Errors
/// Nothing in the text names the metric, or a line of it is not in the format.
fn value(text: &str, metric: &str, labels: &BTreeMap<String, String>) -> Result<f64, String> {
    let mut sum = 0.0;
    let mut is_known = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        // A metric without a series yet is announced all the same.
        let announced = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split(' ').next());
        is_known |= announced.is_some_and(|name| {
            let kinds = ["", "_total", "_bucket", "_sum", "_count"];
            kinds
                .iter()
                .any(|kind| metric.strip_suffix(kind) == Some(name))
        });
        let Some(rest) = line.strip_prefix(metric).filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (has, rest) = match rest.strip_prefix('{') {
            Some(inside) => match series(inside) {
                Some(read) => read,
                None => return Err(format!("line {}: {line:?}", number + 1)),
            },
            // Another metric, whose name only begins like this one's.
            None if !rest.starts_with([' ', '\t']) => continue,
            None => (BTreeMap::new(), rest),
        };
        is_known = true;
        if labels
            .iter()
            .any(|(name, value)| has.get(name) != Some(value))
        {
            continue;
        }
        let number_of = rest.split_whitespace().next().and_then(|text| match text {
            "+Inf" => Some(f64::INFINITY),
            "-Inf" => Some(f64::NEG_INFINITY),
            text => text.parse::<f64>().ok(),
        });
        match number_of {
            Some(one) => sum += one,
            None => return Err(format!("line {}: {line:?}", number + 1)),
        }
    }
    match is_known {
        true => Ok(sum),
        false => Err("there is no such metric".into()),
    }
}

/// Labels up to their closing brace, and what follows it.
fn series(text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, after) = rest.split_once('=')?;
        let quoted = after.trim_start().strip_prefix('"')?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(name.trim().to_string(), value);
        rest = quoted[end..].trim_start();
        rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    }
}

/// What is known of one alarm from one look to the next.
#[derive(Debug, Default)]
struct Past {
    /// By place: what was read last, and when.
    last: BTreeMap<String, (f64, Instant)>,
    broken_since: Option<Instant>,
}

/// All metric alarms of a rollout.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    past: Vec<Past>,
}

impl Metrics {
    /// Looks once: why the rollout is to come back, if it is. The places are those of the instances.
    pub async fn look(
        &mut self,
        alarms: &[MetricAlarm],
        new: &[String],
        old: &[String],
    ) -> Option<String> {
        self.past.resize_with(alarms.len(), Past::default);
        for (alarm, past) in alarms.iter().zip(&mut self.past) {
            let broken = match look(alarm, past, new, old).await {
                Ok(broken) => broken,
                Err(error) => Some(format!("metric {}: {error}", alarm.metric)),
            };
            let now = Instant::now();
            match broken {
                None => past.broken_since = None,
                Some(reason) => {
                    let since = *past.broken_since.get_or_insert(now);
                    if now.duration_since(since) >= Duration::from_millis(alarm.for_ms) {
                        return Some(format!("{reason}, for {} ms", alarm.for_ms));
                    }
                }
            }
        }
        None
    }
}

async fn look(
    alarm: &MetricAlarm,
    past: &mut Past,
    new: &[String],
    old: &[String],
) -> Result<Option<String>, String> {
    let one;
    let places = match &alarm.at {
        Some(at) => {
            one = [at.clone()];
            &one[..]
        }
        None => new,
    };
    let values = read(alarm, past, places).await?;
    let Some(most) = values.iter().copied().reduce(f64::max) else {
        return Ok(None);
    };
    let least = values.iter().copied().fold(most, f64::min);
    let unit = if alarm.per_second { " a second" } else { "" };
    let name = &alarm.metric;
    if let Some(bound) = alarm.above.filter(|bound| most > *bound) {
        return Ok(Some(format!("{name} is {most}{unit}, above {bound}")));
    }
    if let Some(bound) = alarm.below.filter(|bound| least < *bound) {
        return Ok(Some(format!("{name} is {least}{unit}, below {bound}")));
    }
    let Some(times) = alarm.times_old else {
        return Ok(None);
    };
    let before = read(alarm, past, old).await?;
    let before = before.iter().copied().reduce(f64::max);
    Ok(before.filter(|before| most > before * times).map(|before| {
        format!("{name} is {most}{unit}, more than {times} times the old version's {before}")
    }))
}

/// The values at these places; of a rate none where there is no earlier value yet.
async fn read(alarm: &MetricAlarm, past: &mut Past, places: &[String]) -> Result<Vec<f64>, String> {
    let mut values = Vec::new();
    for place in places {
        let answer = http::get(place, &alarm.path, SCRAPE).await;
        let answer = answer.map_err(|error| format!("scrape {place}{}: {error}", alarm.path))?;
        if answer.status != 200 {
            let status = answer.status;
            return Err(format!("scrape {place}{}: status {status}", alarm.path));
        }
        let text = String::from_utf8_lossy(&answer.body);
        let found = value(&text, &alarm.metric, &alarm.labels)
            .map_err(|line| format!("scrape {place}{}: {line}", alarm.path))?;
        let now = Instant::now();
        if !alarm.per_second {
            values.push(found);
            continue;
        }
        let before = past.last.insert(place.clone(), (found, now));
        if let Some((before, then)) = before {
            // A counter that fell began anew.
            let more = if found < before {
                found
            } else {
                found - before
            };
            values.push(more / now.duration_since(then).as_secs_f64().max(0.001));
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
# HELP requests_total All requests.
# TYPE requests_total counter
requests_total{code="200",path="/a \"b\" \\c"} 10 1700000000000
requests_total{path="/", code="500",} 2
requests_totally 99
depth 7.5
depth_max +Inf
"#;

    fn of(metric: &str, labels: &[(&str, &str)]) -> f64 {
        let labels = labels
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        value(TEXT, metric, &labels).expect("the format")
    }

    #[test]
    fn series_are_chosen_by_name_and_labels_and_added() {
        assert_eq!(of("requests_total", &[]), 12.0);
        assert_eq!(of("requests_total", &[("code", "500")]), 2.0);
        assert_eq!(of("requests_total", &[("path", "/a \"b\" \\c")]), 10.0);
        assert_eq!(of("requests_total", &[("code", "404")]), 0.0);
        assert_eq!(of("depth", &[]), 7.5);
        assert_eq!(of("depth_max", &[]), f64::INFINITY);
        let announced = value("# TYPE lost counter", "lost_total", &BTreeMap::new());
        assert_eq!(announced, Ok(0.0));
    }

    #[test]
    fn what_is_not_the_format_is_named_by_its_line() {
        for text in ["\nx{a=\"b} 1", "\nx{a} 1", "\nx one", "\nx"] {
            let error = value(text, "x", &BTreeMap::new());
            let error = error.expect_err(text);
            let found = match text {
                "\nx" => "no such metric",
                _ => "line 2",
            };
            assert!(error.contains(found), "{error}");
        }
    }
}
