//! The configuration after validation: what the rest of the program sees.
//!
//! Every path here is absolute, every duration is a [`Duration`], every limit is complete. Nothing downstream of this
//! module reads what a person wrote.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::guard_digest::guard_digest;
use crate::core::guards::{FleetGuards, Guards, TrustPolicy};
use crate::core::resource::{Digest, Hasher};
use crate::core::state::Governing;

/// Everything one process works on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// What concerns the process.
    pub controller: Controller,
    /// What it keeps in sync, in the order in which it was written.
    pub applications: Vec<Application>,
}

impl Config {
    /// Finds an application by its name.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications.iter().find(|application| &*application.name == name)
    }
}

/// What concerns the process rather than one application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Controller {
    /// Its name: what it says on hosting services is known by it.
    pub name: Arc<str>,
    /// The ledger, the clones and a `FREEZE` file of last resort.
    pub state_dir: PathBuf,
    /// Where HTTP is served; `None` means it is not.
    pub listen: Option<SocketAddr>,
    /// The secrets of webhooks.
    pub webhooks: Webhooks,
    /// The secrets of the API.
    pub api: Api,
    /// Who is told on the hosting services, and whom they are asked about.
    pub forges: Vec<Forge>,
    /// Where alerts are sent.
    pub notify: Vec<Notify>,
    /// What all applications of one repository may do together.
    pub fleet: FleetGuards,
    /// The cluster whose Applications are worked on; `None` is those of the configuration's own files.
    pub cluster: Option<InCluster>,
}

/// The cluster whose Applications are worked on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InCluster {
    /// The kubeconfig; `None` is the pod's own account.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace of the Leases; `None` is the pod's own, or the context's.
    pub namespace: Option<Arc<str>>,
    /// The namespaces of the Applications; empty is all.
    pub namespaces: Vec<Arc<str>>,
    /// The folder of the files that Applications name, with a folder for each namespace.
    pub files: PathBuf,
    /// Whether an Application may name whatever this process may use.
    pub unconfined: bool,
    /// Whether an Application may have its renderers run where nothing isolates them.
    pub unconfined_renderers: bool,
    /// How many replicas share the repositories; at least one.
    pub replicas: u32,
}

/// The files with the secrets of webhooks; a service without one is not served.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Webhooks {
    /// GitHub's HMAC secret.
    pub github: Option<PathBuf>,
    /// GitLab's token.
    pub gitlab: Option<PathBuf>,
    /// Gitea's HMAC secret.
    pub gitea: Option<PathBuf>,
}

/// The files with the secrets of the API.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Api {
    /// The bearer token: reads from elsewhere, freezes, thaws, approves.
    pub token_file: Option<PathBuf>,
    /// The HMAC secret that can freeze and nothing else.
    pub freeze_secret_file: Option<PathBuf>,
}

/// A kind of hosting service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForgeKind {
    /// GitHub, hosted or Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea or Forgejo.
    Gitea,
}

impl ForgeKind {
    /// Returns the name that configuration and paths use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Gitea => "gitea",
        }
    }
}

/// A hosting service whose API is used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Forge {
    /// Which API it speaks.
    pub kind: ForgeKind,
    /// The API's base (GitHub: `https://api.github.com`; others: the site), without a slash at its end.
    pub url: String,
    /// How it is asked.
    pub auth: ForgeAuth,
    /// Whether `/holdfast approve` in a comment counts (`GUARDS.md` 5.4: opt-in).
    pub comment_approvals: bool,
}

/// How a hosting service's API is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ForgeAuth {
    /// By a token in a file.
    Token(PathBuf),
    /// As a GitHub App.
    App {
        /// The App's id.
        id: u64,
        /// Its private key, PEM.
        key_file: PathBuf,
    },
}

/// What an alert is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Event {
    /// A latch was set that nobody asked for.
    Halt,
    /// Somebody froze or thawed.
    Freeze,
    /// A resource does not converge, whatever the reason.
    Failing,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 3] = [Self::Halt, Self::Freeze, Self::Failing];

    /// Returns the name that configuration and alerts use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Freeze => "freeze",
            Self::Failing => "failing",
        }
    }
}

/// A place that alerts are sent to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notify {
    /// Where they are posted.
    pub url: String,
    /// The HMAC secret that signs them, if any.
    pub secret_file: Option<PathBuf>,
    /// Which are sent; never empty.
    pub on: Vec<Event>,
}

/// What is kept in sync with one path of one branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// A DNS label, unique.
    pub name: Arc<str>,
    /// Where desired state comes from.
    pub source: Source,
    /// Who may change it.
    pub trust: Trust,
    /// What is kept in sync.
    pub target: Target,
    /// What stops the loop; `mode`, `interval` and `drift` are part of it.
    pub guards: Guards,
    /// A freeze by configuration (`GUARDS.md` 2).
    pub freeze: Option<Freeze>,
    /// Where it was written, for messages.
    pub origin: Origin,
}

impl Application {
    /// Hashes what an approval of one of its plans depends on (`GUARDS.md` 5.4).
    pub fn guards_digest(&self) -> Digest {
        guard_digest(&self.guards, &self.trust.policy, self.target.identity())
    }

    /// Returns the configuration as it would govern.
    pub fn governing(&self) -> Governing {
        Governing { guards: self.guards.clone(), trust: self.trust.policy.clone(), digest: self.guards_digest() }
    }
}

/// Where something was written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The line on which its document begins, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A freeze written into an application's configuration.
///
/// Whether `until` is over is for core to say: one that was past when it was first seen never expires (`GUARDS.md` 4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Freeze {
    /// Why.
    pub reason: Option<String>,
    /// Who asked.
    pub owner: Option<String>,
    /// Until when; `None` is until it is taken out.
    pub until: Option<Timestamp>,
}

/// Where desired state comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// The repository as written; a local path is absolute here.
    pub url: String,
    /// How the repository is reached.
    pub transport: Transport,
    /// The branch, without `refs/heads/`.
    pub branch: String,
    /// The path below the repository's root, with single slashes, none at either end; empty is the root.
    pub path: String,
    /// What the repository asks for.
    pub credentials: Credentials,
    /// An HTTP proxy's URL.
    pub proxy: Option<String>,
    /// Certificate authorities (PEM) trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one fetch may take.
    pub timeout: Duration,
    /// How the tree becomes resources.
    pub render: Render,
    /// How objects are decrypted that SOPS encrypted.
    pub sops: Option<Sops>,
}

/// How a repository is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// `https://` or `http://`.
    Http,
    /// `ssh://` or `user@host:path`.
    Ssh,
    /// `file://` or a path.
    Local,
}

impl Transport {
    /// Tells how an address that is accepted is reached.
    pub fn of(url: &str) -> Self {
        match url.split_once("://") {
            Some(("https" | "http", _)) => Self::Http,
            Some(("ssh" | "git+ssh" | "ssh+git", _)) => Self::Ssh,
            Some(_) => Self::Local,
            // As Git has it: a colon before the first slash makes it a host.
            None if url.split_once(':').is_some_and(|(host, _)| !host.contains('/')) => Self::Ssh,
            None => Self::Local,
        }
    }
}

/// What a repository asks for. Secrets stay in their files and are read when used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Credentials {
    /// Nothing; no helper of the machine is asked either.
    #[default]
    None,
    /// HTTP: a token as the password of any user.
    Token(PathBuf),
    /// HTTP: a user and a password.
    Basic {
        /// The file with the user's name.
        username_file: PathBuf,
        /// The file with the password.
        password_file: PathBuf,
    },
    /// SSH: a key, and the hosts it may be shown to.
    Ssh {
        /// The private key.
        key_file: PathBuf,
        /// OpenSSH's `known_hosts`.
        known_hosts_file: PathBuf,
    },
}

/// How a tree becomes resources.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Render {
    /// Every file is a resource, or declares some.
    #[default]
    Plain,
    /// A kustomization.
    Kustomize {
        /// Where the program is, if not in `PATH`.
        program: Option<PathBuf>,
        /// Whether it may run on a machine that cannot isolate it.
        unconfined: bool,
    },
    /// A Helm chart.
    Helm(Helm),
}

/// How a chart is rendered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Helm {
    /// Where the program is, if not in `PATH`.
    pub program: Option<PathBuf>,
    /// Whether it may run on a machine that cannot isolate it.
    pub unconfined: bool,
    /// The release's name, if not the application's.
    pub release: Option<String>,
    /// Files of values, relative to the chart.
    pub values_files: Vec<String>,
    /// Whether `crds/` are desired too.
    pub include_crds: bool,
    /// The version of Kubernetes that templates see.
    pub kube_version: Option<String>,
}

/// How objects are decrypted that SOPS encrypted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sops {
    /// Where the program is, if not in `PATH`.
    pub program: Option<PathBuf>,
    /// Whether it may run on a machine that cannot isolate it.
    pub unconfined: bool,
    /// The file with the age identity.
    pub age_key_file: PathBuf,
}

impl Render {
    /// Returns the name that configuration uses.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Kustomize { .. } => "kustomize",
            Self::Helm(_) => "helm",
        }
    }
}

/// Who may change an application: the policy that core judges by, and the files that the edge does cryptography with.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trust {
    /// What core judges by.
    pub policy: TrustPolicy,
    /// What signatures are checked against.
    pub files: TrustFiles,
}

/// The files that signatures are checked against.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrustFiles {
    /// OpenSSH's `allowed_signers`.
    pub allowed_signers: Option<PathBuf>,
    /// OpenSSH's key revocation list, or public keys line by line.
    pub revocations: Option<PathBuf>,
    /// OpenPGP certificates.
    pub keyring: Option<PathBuf>,
}

/// What is kept in sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The files of a directory.
    Directory(DirectoryTarget),
    /// A cluster.
    Kubernetes(KubernetesTarget),
    /// Whatever a program of the user's reaches.
    Exec(ExecTarget),
}

impl Target {
    /// Returns the name that configuration uses.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => "directory",
            Self::Kubernetes(_) => "kubernetes",
            Self::Exec(_) => "exec",
        }
    }

    /// Hashes which target it is, apart from how it is treated: another value is another target (`GUARDS.md` 3.6).
    pub fn identity(&self) -> Digest {
        let mut hash = Hasher::new();
        hash.part(self.kind().as_bytes());
        match self {
            Self::Directory(DirectoryTarget { root, exclusive: _, reload: _ }) => {
                hash.part(root.as_os_str().as_encoded_bytes());
            }
            Self::Kubernetes(KubernetesTarget { kubeconfig, context, namespace, service_account: _ }) => {
                let kubeconfig = kubeconfig.as_deref().map_or(&[][..], |path| path.as_os_str().as_encoded_bytes());
                hash.part(kubeconfig);
                hash.part(context.as_deref().unwrap_or_default().as_bytes());
                hash.part(namespace.as_deref().unwrap_or_default().as_bytes());
            }
            Self::Exec(ExecTarget { run, timeout: _ }) => {
                for word in run {
                    hash.part(word.as_bytes());
                }
            }
        }
        hash.finish()
    }

    /// Returns the namespace of what names none, where the target has such.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Kubernetes(cluster) => cluster.namespace.as_deref(),
            Self::Directory(_) | Self::Exec(_) => None,
        }
    }

    /// Names what several applications may write to together; `None` where a target belongs to one application.
    pub fn shared(&self) -> Option<Digest> {
        match self {
            Self::Kubernetes(KubernetesTarget { kubeconfig, context, namespace: _, service_account: _ }) => {
                let kubeconfig = kubeconfig.as_deref().map_or(&[][..], |path| path.as_os_str().as_encoded_bytes());
                Some(Digest::of_parts([
                    &b"kubernetes"[..],
                    kubeconfig,
                    context.as_deref().unwrap_or_default().as_bytes(),
                ]))
            }
            Self::Directory(_) | Self::Exec(_) => None,
        }
    }

    /// Returns the directory's root, if it is a directory.
    pub fn root(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(&directory.root),
            Self::Kubernetes(_) | Self::Exec(_) => None,
        }
    }
}

/// The files of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryTarget {
    /// The directory; absolute and without `.` or `..`.
    pub root: PathBuf,
    /// Whether files that nothing declares are reported as drift rather than invisible.
    pub exclusive: bool,
    /// What is run after files were written.
    pub reload: Vec<Reload>,
}

/// Commands after a batch that wrote a matching file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reload {
    /// A glob over identities.
    pub matches: Arc<str>,
    /// The program and its arguments, once per batch.
    pub run: Vec<String>,
    /// The program and its arguments that tell whether it worked, by exit code; empty for none.
    pub check: Vec<String>,
    /// How long either may take.
    pub timeout: Duration,
}

/// A cluster, and as whom it is reached.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KubernetesTarget {
    /// The kubeconfig; `None` is the pod's own.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace of what names none.
    pub namespace: Option<String>,
    /// The service account that is impersonated.
    pub service_account: Option<String>,
}

/// A program of the user's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecTarget {
    /// The program and its arguments; a program with a slash is absolute here.
    pub run: Vec<String>,
    /// How long one call may take.
    pub timeout: Duration,
}
