//! The port that is listened on, and the receivers of alerts.

use std::io::ErrorKind;
use std::net::TcpListener;

use super::{Notes, chain};
use crate::alerts;
use crate::config::Config;

/// Checks that the address can be listened on, or that the running controller does.
pub(super) fn listen(config: &Config, running: Option<&str>, notes: &mut Notes<'_>) {
    let Some(address) = config.controller.listen else {
        return notes.warning(
            "",
            "nothing is served over HTTP: no health, no metrics, no pages, no webhooks",
            "write `listen: 127.0.0.1:8686` in the Controller, if that is not intended",
        );
    };
    match (TcpListener::bind(address), running) {
        (Ok(_), None) => notes.ok(address, "free"),
        (Ok(_), Some(pid)) => notes.warning(
            address,
            format!("the running controller (process {pid}) does not listen there"),
            "restart it, so that it reads this configuration",
        ),
        (Err(error), Some(pid)) if error.kind() == ErrorKind::AddrInUse => {
            notes.ok(address, format!("in use, and a controller is running (process {pid})"));
        }
        (Err(error), _) => {
            let advice = match error.kind() {
                ErrorKind::AddrInUse => {
                    format!("find out who has it (`ss -ltnp 'sport = :{}'`), or listen elsewhere", address.port())
                }
                ErrorKind::PermissionDenied => {
                    "listen on a port from 1024 on, or grant CAP_NET_BIND_SERVICE".to_owned()
                }
                _ => "listen on an address of this machine, such as 127.0.0.1".to_owned(),
            };
            notes.problem(address, format!("cannot be listened on: {error}"), advice);
        }
    }
}

/// Connects to each receiver and hangs up: nothing is sent.
pub(super) fn notify(config: &Config, notes: &mut Notes<'_>) {
    let proxied =
        ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].iter().find(|name| std::env::var_os(name).is_some());
    let mut urls: Vec<&str> = config.controller.notify.iter().map(|to| to.url.as_str()).collect();
    urls.sort_unstable();
    urls.dedup();
    for url in urls {
        match alerts::reach(url) {
            Ok(host) => notes.ok(host, "answers; no alert was sent"),
            Err(error) => {
                let message = format!("alerts would not arrive: {}", chain(&error));
                match proxied {
                    Some(name) => notes.warning(
                        "",
                        message,
                        format!("it was tried without the proxy of {name}: look at its log instead"),
                    ),
                    None => notes.problem("", message, "correct `notify.webhook.url`, or let this machine reach it"),
                }
            }
        }
    }
}
