//! Bounds that figures are held to, and what became of each.

use std::fmt;

use serde_json::{Value, json};

/// Which side of the limit is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The figure must not be above the limit.
    AtMost,
    /// The figure must not be below it.
    AtLeast,
}

/// What became of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The figure is within the bound.
    Pass,
    /// It is not.
    Fail,
    /// It is not, and this machine is not one on which it is asked for.
    Excused,
    /// The figure or what it is compared with is missing. Never counts as passed.
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Excused => "MISSED, NOT ASKED FOR HERE",
            Self::NotMeasured => "NOT MEASURED",
        })
    }
}

/// A figure and its limit.
#[derive(Clone, Debug)]
pub struct Bound {
    /// What is held to it.
    pub what: String,
    /// The unit of both.
    pub unit: &'static str,
    /// Which side is good.
    pub side: Side,
    /// The figure, if it was measured.
    pub figure: Option<f64>,
    /// The limit, if it is known: it may come from another measurement of the same run.
    pub limit: Option<f64>,
    /// Why a miss is not held against it on this machine.
    pub excuse: Option<String>,
}

impl Bound {
    /// What became of it.
    pub fn verdict(&self) -> Verdict {
        let (Some(figure), Some(limit)) = (self.figure, self.limit) else {
            return Verdict::NotMeasured;
        };
        let held = match self.side {
            Side::AtMost => figure <= limit,
            Side::AtLeast => figure >= limit,
        };
        match (held, &self.excuse) {
            (true, _) => Verdict::Pass,
            (false, None) => Verdict::Fail,
            (false, Some(_)) => Verdict::Excused,
        }
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        json!({
            "what": self.what, "unit": self.unit, "figure": self.figure, "limit": self.limit,
            "side": match self.side { Side::AtMost => "at most", Side::AtLeast => "at least" },
            "verdict": self.verdict().to_string(), "excuse": self.excuse,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(side: Side, figure: Option<f64>, limit: Option<f64>) -> Verdict {
        Bound {
            what: "p50".into(),
            unit: "us",
            side,
            figure,
            limit,
            excuse: None,
        }
        .verdict()
    }

    #[test]
    fn both_sides_include_the_limit() {
        assert_eq!(bound(Side::AtMost, Some(1.5), Some(1.5)), Verdict::Pass);
        assert_eq!(bound(Side::AtMost, Some(1.6), Some(1.5)), Verdict::Fail);
        assert_eq!(bound(Side::AtLeast, Some(1.5), Some(1.5)), Verdict::Pass);
        assert_eq!(bound(Side::AtLeast, Some(1.4), Some(1.5)), Verdict::Fail);
    }

    #[test]
    fn an_excuse_helps_only_what_was_measured_and_missed() {
        let mut bound = Bound {
            what: "p99".into(),
            unit: "us",
            side: Side::AtMost,
            figure: Some(2.0),
            limit: Some(1.0),
            excuse: Some("two cores".into()),
        };
        assert_eq!(bound.verdict(), Verdict::Excused);
        bound.figure = Some(0.5);
        assert_eq!(bound.verdict(), Verdict::Pass);
        bound.figure = None;
        assert_eq!(bound.verdict(), Verdict::NotMeasured);
    }

    #[test]
    fn what_is_missing_or_no_number_never_passes() {
        for side in [Side::AtMost, Side::AtLeast] {
            assert_eq!(bound(side, None, Some(1.0)), Verdict::NotMeasured);
            assert_eq!(bound(side, Some(1.0), None), Verdict::NotMeasured);
            assert_eq!(bound(side, Some(f64::NAN), Some(1.0)), Verdict::Fail);
        }
    }
}
