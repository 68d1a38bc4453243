//! The command line of the plug-in: as kubectl's, where both have an option.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::cli::args::Output;

/// Look at, freeze and approve the Applications of a cluster
///
/// Installed as `kubectl-holdfast` in the search path, it is `kubectl holdfast`. Status, freeze and thaw need no more than the
/// right to read or write Applications. Plans, drift, the journal and approvals are asked of the controller's pod by the API
/// server's proxy (the right to `get` or `create` on `pods/proxy`), with a token of the controller's API.
#[derive(Parser, Debug)]
#[command(name = "kubectl-holdfast", version, propagate_version = true, arg_required_else_help = true)]
pub struct Plugin {
    /// The kubeconfig [default: $KUBECONFIG, then ~/.kube/config]
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// The Applications' namespace [default: the context's]
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,
    /// How to print results
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// A file with a token of the controller's API
    #[arg(long, global = true, env = "HOLDFAST_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// The port of the controller's pods
    #[arg(long, global = true, default_value_t = 8686)]
    pub port: u16,
    /// What to do
    #[command(subcommand)]
    pub command: PluginCommand,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum PluginCommand {
    /// Show state and latches, with what clears each
    Status(Status),
    /// Judge now what would be done; nothing is written
    Plan(One),
    /// Show drift per resource, with diffs, as it is now
    Drift(One),
    /// Show the journal
    History(History),
    /// Stop all writing of Applications, by their field `spec.freeze`; detection goes on
    Freeze(Freeze),
    /// Take `spec.freeze` out again
    Thaw(Thaw),
    /// Let a held plan, a parked operation or a loosened configuration go
    Approve(Approve),
}

/// `status`
#[derive(Args, Debug)]
pub struct Status {
    /// Which Application [default: all of the namespace]
    pub name: Option<String>,
    /// Those of all namespaces
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub all_namespaces: bool,
}

/// Commands about one Application.
#[derive(Args, Debug)]
pub struct One {
    /// Which Application
    pub name: String,
}

/// `history`
#[derive(Args, Debug)]
pub struct History {
    /// Which Application
    pub name: String,
    /// How many rows, the newest first
    #[arg(long, default_value_t = 50)]
    pub last: usize,
}

/// `freeze`
#[derive(Args, Debug)]
pub struct Freeze {
    /// Which Applications
    #[arg(required = true)]
    pub names: Vec<String>,
    /// Why; everybody will read it
    #[arg(long)]
    pub reason: String,
    /// Who asks
    #[arg(long)]
    pub owner: Option<String>,
    /// Until when: RFC 3339 with offset; without it, until thawed
    #[arg(long)]
    pub until: Option<String>,
}

/// `thaw`
#[derive(Args, Debug)]
pub struct Thaw {
    /// Which Applications
    #[arg(required = true)]
    pub names: Vec<String>,
}

/// `approve`
#[derive(Args, Debug)]
pub struct Approve {
    /// Which Application
    pub name: String,
    /// The digest, as `status` or `plan` print it
    pub digest: String,
    /// Why; it is logged
    #[arg(long)]
    pub reason: Option<String>,
}
