//! `kubectl holdfast`: the commands against a cluster, with the rights of whoever asks.

pub mod args;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use serde_json::{Value, json};

use self::args::{Plugin, PluginCommand};
use super::args::Output;
use super::{Done, Failure, history_text, print_json, put, text};
use crate::clock::MachineClock;
use crate::cluster::applications::{Applications, Found};
use crate::cluster::client::{Access, ApiError, Client};
use crate::cluster::status::{Configuration, Plan};
use crate::controller::report;
use crate::core::plan::Magnitude;

/// The name under which kubectl finds the program.
pub const NAME: &str = "kubectl-holdfast";

/// Who owns what the plug-in writes.
const MANAGER: &str = "kubectl-holdfast";

/// Runs the plug-in's command line.
pub(super) fn main() -> Done {
    let plugin = match Plugin::try_parse() {
        Ok(plugin) => plugin,
        Err(error) => {
            let _ = error.print();
            return Ok(if error.use_stderr() { ExitCode::from(super::USAGE) } else { ExitCode::SUCCESS });
        }
    };
    let kubeconfig = plugin.kubeconfig.clone().or_else(|| {
        let listed = std::env::var_os("KUBECONFIG").filter(|listed| !listed.is_empty());
        let first = listed.and_then(|listed| std::env::split_paths(&listed).find(|path| path.exists()));
        first.or_else(|| std::env::home_dir().map(|home| home.join(".kube/config")))
    });
    let client = Client::open(&Access { kubeconfig, context: plugin.context.clone() })?;
    let namespace = plugin.namespace.clone().unwrap_or_else(|| client.namespace().to_owned());
    let asked = Asked { plugin: &plugin, client, namespace };
    match &plugin.command {
        PluginCommand::Status(status) => asked.status(status),
        PluginCommand::Plan(one) => asked.judged("plan", &one.name),
        PluginCommand::Drift(one) => asked.judged("drift", &one.name),
        PluginCommand::History(history) => asked.history(history),
        PluginCommand::Freeze(freeze) => asked.freeze(freeze),
        PluginCommand::Thaw(thaw) => asked.thaw(thaw),
        PluginCommand::Approve(approve) => asked.approve(approve),
    }
}

/// What is asked of a pod's API.
struct Request {
    method: &'static str,
    /// Below `/api/v1/`.
    path: String,
    /// What does the same in the pod itself, after the program's name.
    command: String,
}

/// What is asked, of which cluster.
struct Asked<'a> {
    plugin: &'a Plugin,
    client: Client,
    namespace: String,
}

impl Asked<'_> {
    fn applications(&self, all: bool) -> Applications {
        let namespaces = if all { Vec::new() } else { vec![self.namespace.as_str().into()] };
        Applications::new(self.client.clone(), &namespaces)
    }

    fn read(&self, name: &str) -> Result<Found, Failure> {
        let found = self.applications(false).read(&self.namespace, name).map_err(|error| match error {
            error if error.is_missing() => {
                Failure::usage(format!("there is no Application {name:?} in {}", self.namespace))
            }
            error => Failure::from(error),
        })?;
        found.ok_or_else(|| {
            Failure::new(format!("the Application {name:?} has no name: this is no API server's answer"))
        })
    }

    fn status(&self, args: &args::Status) -> Done {
        let found = match &args.name {
            Some(name) => vec![self.read(name)?],
            None => self.applications(args.all_namespaces).list()?,
        };
        if self.plugin.output == Output::Json {
            let spell = |found: &Found| {
                let mut value = json!(found.status);
                if !value.is_object() {
                    value = json!({});
                }
                value["name"] = json!(found.place.name);
                value["namespace"] = json!(found.place.namespace);
                value
            };
            return print_json(&json!({ "applications": found.iter().map(spell).collect::<Vec<_>>() }));
        }
        let text: String = found.iter().map(status_text).collect();
        put(&text)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Asks the pod for a fresh judgement.
    fn judged(&self, view: &str, name: &str) -> Done {
        let asked =
            Request { method: "GET", path: format!("{view}?application={name}"), command: format!("{view} {name}") };
        let document = self.ask(&asked, name, None)?;
        if self.plugin.output == Output::Json {
            return print_json(&document);
        }
        for one in document["applications"].as_array().into_iter().flatten() {
            if view == "plan" {
                let status: report::Status = serde_json::from_value(one.clone())?;
                put(&text::plan(&status, text::Style { colour: false }))?;
            } else {
                let found: report::Drifted = serde_json::from_value(one.clone())?;
                put(&text::drift(&found, MachineClock::wall(), text::Style { colour: false }))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn history(&self, args: &args::History) -> Done {
        let asked = Request {
            method: "GET",
            path: format!("history?application={}&last={}", args.name, args.last),
            command: format!("history {} --last {}", args.name, args.last),
        };
        let document = self.ask(&asked, &args.name, None)?;
        if self.plugin.output == Output::Json {
            return print_json(&document);
        }
        let mut out = String::new();
        for row in document["history"].as_array().into_iter().flatten() {
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            let (at, seq) = (text("at").parse().unwrap_or_default(), row["seq"].as_u64().unwrap_or_default());
            out.push_str(&history_text::row(at, text("application"), seq, text("kind"), &row["fact"]));
        }
        put(&out)?;
        Ok(ExitCode::SUCCESS)
    }

    fn freeze(&self, args: &args::Freeze) -> Done {
        if let Some(until) = &args.until {
            super::operate::until(Some(until))?;
        }
        let mut freeze = json!({ "reason": args.reason });
        for (name, value) in [("owner", &args.owner), ("until", &args.until)] {
            if let Some(value) = value {
                freeze[name] = json!(value);
            }
        }
        for name in &args.names {
            self.merge(name, &json!({ "freeze": freeze }))?;
            println!("frozen: {name}. Nothing is written to its target; drift is still detected and reported.");
        }
        println!("to lift it: kubectl holdfast thaw -n {} {}", self.namespace, args.names.join(" "));
        Ok(ExitCode::SUCCESS)
    }

    fn thaw(&self, args: &args::Thaw) -> Done {
        for name in &args.names {
            let frozen = self.read(name)?.spec.get("freeze").is_some();
            if frozen {
                self.merge(name, &json!({ "freeze": null }))?;
                println!("thawed: {name}. A fresh observation and a new plan come first.");
            } else {
                println!("{name} was not frozen by its field; what else freezes it: kubectl holdfast status {name}");
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    fn merge(&self, name: &str, spec: &Value) -> Result<(), Failure> {
        let merged = self.applications(false).merge_spec(&self.namespace, name, spec, MANAGER);
        merged.map_err(|error| Failure::from(error).hint("it takes the right to patch applications.holdfast.dev"))
    }

    fn approve(&self, args: &args::Approve) -> Done {
        let mut body = json!({ "application": args.name, "digest": args.digest });
        if let Some(reason) = &args.reason {
            body["reason"] = json!(reason);
        }
        let asked = Request {
            method: "POST",
            path: "approve".to_owned(),
            command: format!("approve {} {}", args.name, args.digest),
        };
        let answer = self.ask(&asked, &args.name, Some(&body))?;
        if self.plugin.output == Output::Json {
            return print_json(&answer);
        }
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        println!("approved: {}, by {}", text("what"), text("by"));
        Ok(ExitCode::SUCCESS)
    }

    /// Asks the API of the pod that owns an Application, by the API server's proxy.
    fn ask(&self, asked: &Request, name: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let Request { method, path, command } = asked;
        let found = self.read(name)?;
        let replica = found.status.and_then(|status| status.replica);
        let replica = replica.ok_or_else(|| {
            Failure::new(format!("{name} was not worked on yet: no replica of the controller has said so"))
                .hint("is the controller running, and does it work on this namespace?")
        })?;
        let (namespace, pod) = replica.split_once('/').unwrap_or((&self.namespace, &replica));
        let at = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{}/proxy/api/v1/{path}", self.plugin.port);
        let token = self.token()?;
        let mut headers = vec![("accept", "application/json")];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        if let Some(token) = &token {
            headers.push(("x-holdfast-token", token.as_str()));
        }
        let answer = self.client.text(method, &at, &headers, body).map_err(|error| {
            let failure = Failure::new(format!("ask {replica}: {error}"));
            match error {
                ApiError::Refused { code: 401 | 403, .. } => failure.hint(
                    "it takes the right to pods/proxy there, and --token-file with a token of the controller's API",
                ),
                // Asked otherwise it would say the same.
                ApiError::Refused { code: 400..500, .. } => failure,
                _ => {
                    failure.hint(format!("in the pod itself: kubectl exec -n {namespace} {pod} -- holdfast {command}"))
                }
            }
        })?;
        serde_json::from_str(&answer).map_err(|error| Failure::new(format!("{replica} did not answer JSON: {error}")))
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.plugin.token_file else { return Ok(None) };
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("read the token in {}: {error}", file.display())))?;
        Ok(text.lines().next().and_then(|line| line.split_whitespace().last()).map(str::to_owned))
    }
}

fn status_text(found: &Found) -> String {
    let mut out = String::new();
    let place = &found.place;
    let Some(status) = &found.status else {
        let _ = writeln!(out, "{}/{:<20} not worked on yet", place.namespace, place.name);
        return out;
    };
    let drift = status.drift.as_ref().map_or(0, |drift| drift.total);
    let revision = status.revision.as_deref().unwrap_or("-");
    let _ = writeln!(
        out,
        "{}/{:<20} {:<12} {:<9} revision {revision} · {} resources · {drift} drifted",
        place.namespace,
        place.name,
        status.state,
        status.mode,
        status.inventory.unwrap_or(0),
    );
    if status.observed_generation != Some(found.generation) {
        let _ = writeln!(out, "  its newest spec was not taken up yet");
    }
    for error in &status.errors {
        let _ = writeln!(out, "  {}: {}\n      {}", error.field, error.what, error.hint);
    }
    for latch in &status.latches {
        for reason in &latch.reasons {
            let _ = writeln!(out, "  {:<11} {}", latch.name, reason.message);
        }
        let age = latch.since.parse().map(|since| text::age(MachineClock::wall(), since)).unwrap_or_default();
        let _ = writeln!(out, "      since {age} · withholds {} · to clear it: {}", latch.scope, latch.clear);
    }
    if let Some(plan) = &status.plan {
        let Plan { digest, creates, updates, deletes, bumps, culprit } = plan;
        let (creates, updates, deletes, bumps) = (*creates, *updates, *deletes, *bumps);
        let effects = text::effects(&Magnitude { creates, updates, deletes, bumps, ..Magnitude::default() });
        let culprit = culprit.as_ref().map(|culprit| format!(" · most of it by {culprit}")).unwrap_or_default();
        let _ = writeln!(out, "  planned: {effects}{culprit}\n      {digest}");
    }
    if let Some(rollout) = &status.rollout {
        let _ = writeln!(out, "  rolling out {} of {}", rollout.done, rollout.total);
    }
    if let Some(error) = status.source.as_ref().and_then(|source| source.error.as_ref()) {
        let _ = writeln!(out, "  the repository could not be read: {error}");
    }
    for parked in &status.parked {
        let _ = writeln!(out, "  parked {} ({}): approve {}", parked.resource, parked.reason, parked.digest);
    }
    if let Some(Configuration { loosened, digest }) = &status.configuration {
        let loosened = loosened.join(", ");
        let _ = writeln!(
            out,
            "  its spec loosens {loosened}; until that is approved the stricter one governs: approve {digest}"
        );
    }
    out
}
