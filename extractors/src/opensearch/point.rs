//! Points in time that are open at the server for this table, one for each plan.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pipeline_core::error::Result;
use reqwest::Method;
use serde_json::json;
use tokio::sync::Mutex;

use super::connection::Connection;
use super::error::Failure;

/// Points in time by the plan that they belong to. Opened by the first slice that is read, shared by the others.
#[derive(Debug, Default)]
pub(super) struct Points {
    plans: AtomicU64,
    open: Mutex<Vec<Point>>,
}

#[derive(Debug)]
struct Point {
    plan: u64,
    id: Arc<str>,
}

impl Points {
    /// The number of a new plan: its slices see the index as it is after this call, never before.
    pub(super) fn next_plan(&self) -> u64 {
        self.plans.fetch_add(1, Ordering::Relaxed)
    }

    /// The point in time of a plan, opened if it is not yet.
    pub(super) async fn of(&self, plan: u64, connection: &Connection, index: &str) -> Result<Arc<str>, Failure> {
        let mut open = self.open.lock().await;
        if let Some(point) = open.iter().find(|point| point.plan == plan) {
            return Ok(Arc::clone(&point.id));
        }
        let keep_alive = connection.keep_alive();
        let parameters = [("keep_alive", keep_alive.as_str()), ("allow_partial_pit_creation", "false")];
        let answer = connection.call(Method::POST, &[index, "_search", "point_in_time"], &parameters, None).await?;
        let id: Arc<str> = answer.value()?.get("pit_id").and_then(|id| id.as_str()).ok_or(Failure::Reply)?.into();
        open.push(Point { plan, id: Arc::clone(&id) });
        Ok(id)
    }

    /// Deletes all at the server. That one cannot be deleted is no error: it expires by itself.
    pub(super) async fn delete_all(&self, connection: &Connection, index: &str) {
        let points = std::mem::take(&mut *self.open.lock().await);
        for point in points {
            // One by one: a point in time that the server forgot must not keep the others.
            let body = json!({"pit_id": [&*point.id]});
            match connection.call(Method::DELETE, &["_search", "point_in_time"], &[], Some(&body)).await {
                Ok(_) | Err(Failure::Forgotten) => {}
                Err(failure) => {
                    let keep_alive = connection.keep_alive();
                    tracing::warn!(index, error = %failure, keep_alive, "a point in time could not be deleted; it expires by itself");
                }
            }
        }
    }
}
