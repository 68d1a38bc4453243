//! The command line, as `INTERFACE.md` has it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A GitOps controller that cannot be made to amplify a bad commit.
///
/// It tracks a Git repository as desired state, compares it with what runs, reports drift and converges it; and it halts,
/// before the first write, what a bad commit would do.
#[derive(Parser, Debug)]
#[command(name = "holdfast", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// A configuration file or directory [default: ./holdfast.yaml, then /etc/holdfast/]
    #[arg(short, long, global = true, env = "HOLDFAST_CONFIG")]
    pub config: Option<PathBuf>,
    /// How to print results
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Log filter, such as `info` or `holdfast=debug`
    #[arg(long, global = true, env = "HOLDFAST_LOG", default_value = "info")]
    pub log: String,
    /// Log as JSON lines
    #[arg(long, global = true)]
    pub log_json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Tell the whole story in a temporary directory, with real Git, real signatures and a real target
    Demo(Demo),
    /// Write a commented configuration for a repository and a target
    Init(Init),
    /// Run the controller
    Run(Run),
    /// Fetch and judge what would be done; nothing is written
    Plan(Plan),
    /// Show state and latches, with what clears each
    Status(Apps),
    /// Show drift per resource, with diffs
    Drift(Apps),
    /// Show the journal
    History(History),
    /// Stop all writing of applications; detection goes on
    Freeze(Freeze),
    /// Lift freezes that were set by command, API or webhook
    Thaw(Thaw),
    /// Let a held plan, a parked operation or a loosened configuration go
    Approve(Approve),
    /// Keep a resource from being written for a while
    Hold(Hold),
    /// End a hold or a quarantine; without one, have what somebody changed taken back
    Release(Release),
    /// Accept a new beginning after STATE or HISTORY
    Reanchor(Reanchor),
    /// Give the verdict on every commit of a range
    Verify(Verify),
    /// Show what the guards would have done on past pushes
    Backtest(Backtest),
    /// Check configuration, credentials, reachability, permissions and clock
    Doctor,
    /// Print the JSON Schema of the configuration, or the custom resource's definition
    Schema(Schema),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// `schema`
#[derive(Args, Debug)]
pub struct Schema {
    /// Print the CustomResourceDefinition of applications instead, for `kubectl apply --server-side -f -`
    #[arg(long)]
    pub crd: bool,
}

/// `demo`
#[derive(Args, Debug)]
pub struct Demo {
    /// Keep the temporary directory and say where it is
    #[arg(long)]
    pub keep: bool,
}

/// `init`
#[derive(Args, Debug)]
pub struct Init {
    /// The repository: https, ssh, file, or a path
    #[arg(long)]
    pub repo: String,
    /// The branch
    #[arg(long, default_value = "main")]
    pub branch: String,
    /// The directory of the repository that holds the desired files
    #[arg(long, default_value = ".")]
    pub path: String,
    /// The directory that is to look like it
    #[arg(long)]
    pub root: PathBuf,
    /// OpenSSH's allowed_signers file of those who may sign
    #[arg(long)]
    pub allowed_signers: Option<PathBuf>,
    /// OpenPGP certificates of those who may sign
    #[arg(long)]
    pub keyring: Option<PathBuf>,
    /// The application's name
    #[arg(long, default_value = "app")]
    pub name: String,
    /// Where to write it [default: holdfast.yaml]; `-` prints it
    #[arg(long, default_value = "holdfast.yaml")]
    pub to: PathBuf,
}

/// `run`
#[derive(Args, Debug)]
pub struct Run {
    /// One cycle of each application, then end
    #[arg(long)]
    pub once: bool,
    /// In a cluster: the pod's name, whose number says which replica this is
    #[arg(long, env = "HOLDFAST_POD")]
    pub pod: Option<String>,
}

/// `plan`
#[derive(Args, Debug)]
pub struct Plan {
    /// Which application [default: all]
    pub app: Option<String>,
    /// A branch, tag or commit instead of the tracked branch's tip
    #[arg(long)]
    pub rev: Option<String>,
    /// Exit with 0 when there is nothing to do, 2 for changes or drift, 3 when it would halt
    #[arg(long)]
    pub exit_code: bool,
}

/// Commands that take applications.
#[derive(Args, Debug)]
pub struct Apps {
    /// Which application [default: all]
    pub app: Option<String>,
}

/// `history`
#[derive(Args, Debug)]
pub struct History {
    /// Which application [default: all]
    pub app: Option<String>,
    /// How many rows, the newest first
    #[arg(long, default_value_t = 50)]
    pub last: usize,
}

/// `freeze`
#[derive(Args, Debug)]
pub struct Freeze {
    /// Which applications
    pub apps: Vec<String>,
    /// All applications
    #[arg(long, conflicts_with = "apps")]
    pub all: bool,
    /// Why; everybody will read it
    #[arg(long)]
    pub reason: String,
    /// Until when: RFC 3339 with offset; without it, until thawed
    #[arg(long)]
    pub until: Option<String>,
}

/// `thaw`
#[derive(Args, Debug)]
pub struct Thaw {
    /// Which applications
    pub apps: Vec<String>,
    /// All applications
    #[arg(long, conflicts_with = "apps")]
    pub all: bool,
    /// Why
    #[arg(long)]
    pub reason: Option<String>,
}

/// `approve`
#[derive(Args, Debug)]
pub struct Approve {
    /// Which application
    pub app: String,
    /// The digest, as `status` or `plan` print it
    pub digest: String,
}

/// `hold`
#[derive(Args, Debug)]
pub struct Hold {
    /// The resource, as `drift` prints it
    pub resource: String,
    /// Which application, if several have it
    #[arg(long)]
    pub app: Option<String>,
    /// How long, such as `4h`; without it, until released
    #[arg(long = "for")]
    pub time: Option<String>,
    /// Why; everybody will read it
    #[arg(long)]
    pub reason: String,
}

/// `release`
#[derive(Args, Debug)]
pub struct Release {
    /// The resource, as `drift` prints it
    pub resource: String,
    /// Which application, if several have it
    #[arg(long)]
    pub app: Option<String>,
}

/// `reanchor`
#[derive(Args, Debug)]
pub struct Reanchor {
    /// Which application
    pub app: String,
    /// The commit that is taken as verified: full, or abbreviated
    pub commit: String,
    /// Why; it is journalled
    #[arg(long)]
    pub reason: String,
}

/// `verify`
#[derive(Args, Debug)]
pub struct Verify {
    /// Which application [default: all]
    pub app: Option<String>,
    /// `BASE..TIP` [default: from what was verified to the tip]
    pub range: Option<String>,
}

/// What counts as a resource of a repository that no configuration is about.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenderAs {
    /// Each file
    Files,
    /// Each object of Kubernetes manifests; files that are none are passed over
    Manifests,
}

/// `backtest`
#[derive(Args, Debug)]
pub struct Backtest {
    /// Which application
    pub app: Option<String>,
    /// A repository instead of an application's: needs no configuration
    #[arg(long, conflicts_with = "app")]
    pub repo: Option<PathBuf>,
    /// With --repo: the path in it
    #[arg(long, default_value = ".")]
    pub path: String,
    /// With --repo: the branch, tag or commit to start from
    #[arg(long, default_value = "HEAD")]
    pub rev: String,
    /// With --repo: what is a resource; an application has its own
    #[arg(long, value_enum, default_value_t = RenderAs::Files)]
    pub render: RenderAs,
    /// Only the newest so many pushes
    #[arg(long)]
    pub last: Option<usize>,
    /// Only pushes since a date (2025-01-31) or so long ago (90d)
    #[arg(long)]
    pub since: Option<String>,
    /// Another value of a guard, such as guards.changeHalt.percent=20
    #[arg(long = "set")]
    pub set: Vec<String>,
}
