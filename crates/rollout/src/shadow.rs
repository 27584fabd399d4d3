//! The step in which the new version is asked what clients ask, and its answers are compared.

use std::time::{Duration, Instant};

use everopen_edge::shadow::ShadowStatus;
use serde_json::json;
use tokio::task::block_in_place;

use crate::alarm;
use crate::controller::Controller;
use crate::file::Shadow;

/// Between two looks at what came of it.
const LOOK: Duration = Duration::from_millis(500);

impl Controller<'_> {
    pub(crate) async fn shadow(&mut self) -> Result<String, String> {
        let shadow = self.plan.file.strategy.shadow.clone();
        let shadow = shadow.ok_or("the plan has no shadow")?;
        self.begin_shadow(&shadow)?;
        if let Some(meter) = &self.meter {
            meter.traffic_moves();
        }
        let came = self.watch_shadow(&shadow).await;
        let ended = self.end_shadow();
        let came = came?;
        ended?;
        Ok(came)
    }

    fn begin_shadow(&self, shadow: &Shadow) -> Result<(), String> {
        let told = json!(shadow.shadowing(&self.plan.to));
        let begun = self.order("PUT", "shadow", &told);
        begun
            .map(drop)
            .map_err(|error| format!("begin the shadow: {error}"))
    }

    pub(crate) fn end_shadow(&self) -> Result<(), String> {
        let ended = self.order("DELETE", "shadow", &json!({}));
        ended
            .map(drop)
            .map_err(|error| format!("end the shadow: {error}"))
    }

    async fn watch_shadow(&mut self, shadow: &Shadow) -> Result<String, String> {
        let begun = self.begin_watch()?;
        let deadline = Instant::now() + Duration::from_millis(shadow.for_ms);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(LOOK)).await;
            self.wait_while_paused()
                .await
                .map_err(|fault| fault.to_string())?;
            // Its processes, the probes, and what it counts itself.
            let (old, _) = self.watch(&begun).await?;
            let Some(seen) = self.seen()? else {
                // The edge was started again. What was counted there counts no more.
                self.begin_shadow(shadow)?;
                continue;
            };
            if let Some(breach) = breach(shadow, &seen) {
                return Err(breach);
            }
            if let Some(slower) = alarm::slower(&self.plan.file.alarms, &old, &seen.reading) {
                return Err(format!("as a shadow: {slower}"));
            }
            if Instant::now() < deadline {
                continue;
            }
            if seen.compared() < shadow.requests_min {
                return Err(format!(
                    "only {} requests were compared, and {} must be: {} were too long, {} too many at once",
                    seen.compared(),
                    shadow.requests_min,
                    seen.too_long,
                    seen.dropped
                ));
            }
            return Ok(format!(
                "{} answers compared: {} the same, {} different, {} did not come; p99 {} us, {} us at the old version{}",
                seen.compared(),
                seen.same,
                seen.different,
                seen.unanswered,
                seen.reading.latency.percentile(99.0).unwrap_or(0),
                old.latency.percentile(99.0).unwrap_or(0),
                seen.samples.last().map_or_else(String::new, |last| format!(
                    "; the last difference: {} {}: {}",
                    last.method, last.path, last.what
                ))
            ));
        }
    }

    fn seen(&self) -> Result<Option<ShadowStatus>, String> {
        let status = block_in_place(|| self.edge.status())
            .map_err(|error| format!("ask the edge: {error}"))?;
        let service = status.services.get(&self.plan.file.service);
        Ok(service.and_then(|service| service.shadow.clone()))
    }
}

/// Whether too many answers differ.
fn breach(shadow: &Shadow, seen: &ShadowStatus) -> Option<String> {
    let compared = seen.compared();
    if compared == 0 || compared < shadow.requests_min {
        return None;
    }
    let wrong = seen.different + seen.unanswered;
    let percent = wrong as f64 * 100.0 / compared as f64;
    if percent <= shadow.different_percent {
        return None;
    }
    let last = seen.samples.last().map_or_else(String::new, |last| {
        format!("; the last: {} {}: {}", last.method, last.path, last.what)
    });
    Some(format!(
        "{percent:.2} % of {compared} answers are not those of the old version ({} differ, {} did not come){last}",
        seen.different, seen.unanswered
    ))
}
