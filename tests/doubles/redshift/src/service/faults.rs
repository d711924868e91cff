//! Faults on demand, each fired once, and what was called.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What happens instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// The statement runs to its end, then the connection closes without a response.
    LostResponse,
    /// The statement runs to its end, then the response is a server's error.
    ErrorAfter,
    /// A server's error, and nothing ran.
    ErrorBefore,
    /// ThrottlingException.
    Throttle,
    /// ActiveStatementsExceededException.
    ActiveStatements,
    /// ActiveSessionsExceededException.
    ActiveSessions,
    /// The statement runs, is rolled back, and ends FAILED with error 1023.
    Serialization,
    /// The call's session is closed before the call.
    SessionClosed,
    /// The statement waits so many `seconds` before it runs.
    Slow,
}

/// One fault, armed for the `nth` matching call from now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// Such as `BatchExecuteStatement`; any operation when absent.
    pub(crate) operation: Option<String>,
    /// Only calls with this in some statement's text.
    pub(crate) sql_contains: Option<String>,
    #[serde(default = "first")]
    pub(crate) nth: u32,
    pub(crate) kind: FaultKind,
    /// How long a slow statement waits.
    #[serde(default)]
    pub(crate) seconds: f64,
    /// The HTTP status of `error_before` and `error_after`.
    #[serde(default = "internal")]
    pub(crate) status: u16,
}

fn first() -> u32 {
    1
}

fn internal() -> u16 {
    500
}

/// A call that brought statements.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Call {
    pub(crate) operation: String,
    pub(crate) statements: Vec<String>,
    pub(crate) client_token: Option<String>,
}

/// Armed faults and calls received.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    armed: Vec<(Fault, u32)>,
    counts: BTreeMap<String, u64>,
    calls: Vec<Call>,
    /// Calls answered with an earlier call's statement.
    token_replays: u64,
    /// Of those, calls whose statements were not the earlier call's.
    token_conflicts: u64,
}

/// What is kept of calls, in calls.
const CALLS_KEPT_MAX: usize = 100_000;

impl Ledger {
    pub(crate) fn arm(&mut self, faults: Vec<Fault>) {
        self.armed.extend(faults.into_iter().map(|fault| (fault, 0)));
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Notes a call, and takes the faults that fire at it.
    pub(crate) fn receive(&mut self, call: Call) -> Vec<Fault> {
        *self.counts.entry(call.operation.clone()).or_default() += 1;
        let mut fired = Vec::new();
        self.armed.retain_mut(|(fault, seen)| {
            let operation = fault.operation.as_ref().is_none_or(|operation| *operation == call.operation);
            let text = fault.sql_contains.as_ref().is_none_or(|wanted| call.statements.iter().any(|statement| statement.contains(wanted)));
            if !operation || !text {
                return true;
            }
            *seen += 1;
            if *seen == fault.nth {
                fired.push(fault.clone());
            }
            *seen < fault.nth
        });
        if !call.statements.is_empty() && self.calls.len() < CALLS_KEPT_MAX {
            self.calls.push(call);
        }
        fired
    }

    pub(crate) fn replayed(&mut self, same: bool) {
        self.token_replays += 1;
        self.token_conflicts += u64::from(!same);
    }

    /// The calls as JSON.
    pub(crate) fn report(&self) -> serde_json::Value {
        serde_json::json!({
            "operations": self.counts,
            "total": self.counts.values().sum::<u64>(),
            "calls": self.calls,
            "token_replays": self.token_replays,
            "token_conflicts": self.token_conflicts,
            "armed": self.armed.iter().map(|(fault, _)| fault).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: &str, statement: &str) -> Call {
        Call { operation: operation.into(), statements: vec![statement.into()], client_token: None }
    }

    #[test]
    fn a_fault_fires_once_at_the_nth_matching_call() {
        let mut ledger = Ledger::default();
        let faults =
            serde_json::from_str(r#"[{"operation":"ExecuteStatement","sql_contains":"copy","nth":2,"kind":"lost_response"}]"#).unwrap();
        ledger.arm(faults);
        assert!(ledger.receive(call("ExecuteStatement", "copy a")).is_empty());
        assert!(ledger.receive(call("DescribeStatement", "copy a")).is_empty());
        assert!(ledger.receive(call("ExecuteStatement", "select 1")).is_empty());
        assert_eq!(ledger.receive(call("ExecuteStatement", "copy b")).len(), 1);
        assert!(ledger.receive(call("ExecuteStatement", "copy c")).is_empty());
        assert_eq!(ledger.report()["operations"]["ExecuteStatement"], 4);
    }

    #[test]
    fn unknown_faults_are_refused() {
        assert!(serde_json::from_str::<Vec<Fault>>(r#"[{"kind":"meteor"}]"#).is_err());
        assert!(serde_json::from_str::<Vec<Fault>>(r#"[{"kind":"slow","second":1}]"#).is_err());
    }
}
