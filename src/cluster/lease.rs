//! The Lease of one replica: who may write for its repositories (`coordination.k8s.io/v1`).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::client::{ApiError, Client};
use super::events::micro;
use crate::core::tenure::{Candidate, DURATION_MS, Move, Seen};

/// The annotation that carries the anchor's epoch: how many starts the holder's ledger has seen.
const EPOCH: &str = "holdfast.dev/epoch";

/// A Lease that this process wants.
pub struct Lease {
    client: Client,
    namespace: Arc<str>,
    name: Arc<str>,
    me: Arc<str>,
    epoch: u64,
    candidate: Candidate,
}

/// Whether it is ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Tenure {
    /// It is, as of a moment ago.
    Ours,
    /// Another process holds it.
    Others(Arc<str>),
}

impl Lease {
    /// Wants a Lease as `me`, a name that no other process has.
    pub fn new(client: Client, namespace: &str, name: &str, me: &str, epoch: u64) -> Self {
        let me: Arc<str> = me.into();
        let candidate = Candidate::new(me.clone());
        Self { client, namespace: namespace.into(), name: name.into(), me, epoch, candidate }
    }

    /// Takes or renews it, if that may be done now; `uptime_ms` was read before anything was asked.
    ///
    /// # Errors
    /// What the server said, or that it did not answer: whether it is ours then is a matter of time.
    pub fn attempt(&mut self, uptime_ms: i64, wall: Timestamp) -> Result<Tenure, ApiError> {
        let present = match self.client.get(&self.path()) {
            Ok(object) => Some(object),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        let seen = present.as_ref().map(seen);
        let spec = self.spec(present.as_ref(), wall);
        let done = match self.candidate.next(seen.as_ref(), uptime_ms) {
            Move::Wait => return Ok(Tenure::Others(seen.map(|seen| seen.holder).unwrap_or_default())),
            Move::Create => self.client.post(&self.collection(), &self.body(None, &spec)),
            Move::Take | Move::Renew => {
                let version = seen.as_ref().map(|seen| &*seen.version);
                self.client.put(&self.path(), &self.body(version, &spec))
            }
        };
        match done {
            Ok(_) => Ok(Tenure::Ours),
            Err(error) if error.is_conflict() => Ok(Tenure::Others("a process that was faster".into())),
            Err(error) => Err(error),
        }
    }

    /// Gives it back, so that another process need not wait.
    ///
    /// # Errors
    /// What the server said, or that it did not answer.
    pub fn give_back(&self) -> Result<(), ApiError> {
        let present = self.client.get(&self.path())?;
        let seen = seen(&present);
        if seen.holder != self.me {
            return Ok(());
        }
        let mut spec = present["spec"].clone();
        spec["holderIdentity"] = json!("");
        self.client.put(&self.path(), &self.body(Some(&seen.version), &spec)).map(|_| ())
    }

    fn spec(&self, present: Option<&Value>, wall: Timestamp) -> Value {
        let before = present.map(|object| &object["spec"]);
        let held = before.is_some_and(|before| before["holderIdentity"] == *self.me);
        let moved = before.and_then(|before| before["leaseTransitions"].as_i64()).unwrap_or(0) + i64::from(!held);
        let acquired = before.filter(|_| held).map(|before| before["acquireTime"].clone());
        json!({
            "holderIdentity": self.me, "leaseDurationSeconds": DURATION_MS / 1000, "renewTime": micro(wall),
            "acquireTime": acquired.unwrap_or_else(|| json!(micro(wall))),
            "leaseTransitions": if before.is_some() { moved } else { 0 },
        })
    }

    fn body(&self, version: Option<&str>, spec: &Value) -> Value {
        let mut body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": self.name, "namespace": self.namespace,
                "labels": { "app.kubernetes.io/managed-by": "holdfast" },
                "annotations": { EPOCH: self.epoch.to_string() },
            },
            "spec": spec,
        });
        if let Some(version) = version {
            body["metadata"]["resourceVersion"] = json!(version);
        }
        body
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }
}

fn seen(object: &Value) -> Seen {
    Seen {
        holder: object["spec"]["holderIdentity"].as_str().unwrap_or_default().into(),
        version: object["metadata"]["resourceVersion"].as_str().unwrap_or_default().into(),
        duration_ms: object["spec"]["leaseDurationSeconds"].as_i64().unwrap_or_default().saturating_mul(1000),
    }
}
