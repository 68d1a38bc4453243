//! A real API server (and its etcd), started once for all tests that need one, each in a namespace of its own.
//!
//! With the controllers, a scheduler, and KWOK in the place of kubelets: workloads become ready, Jobs complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::http::free_port;
use super::run::Ran;
use super::servers::{self, Start};

/// How long the servers may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);

static SERVER: OnceLock<Server> = OnceLock::new();

/// The administrator's token.
pub const ADMIN: &str = "admintoken";

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The running server.
pub struct Server {
    /// Removed with the machine's temporary files: whoever runs tests is gone before a static is dropped.
    pub dir: PathBuf,
    /// Where it listens.
    pub port: u16,
}

/// A namespace of a real API server.
pub struct Cluster {
    /// The namespace.
    pub namespace: String,
    dir: PathBuf,
    port: u16,
}

/// Returns a fresh namespace with the custom resource's definition beside it.
pub fn cluster() -> Cluster {
    let server = server();
    in_a_namespace(&server.dir, server.port)
}

/// Returns a fresh namespace of another server, whose folder this is, with the custom resource's definition beside it.
pub fn cluster_at(dir: &Path, port: u16) -> Cluster {
    let cluster = in_a_namespace(dir, port);
    define(&cluster);
    cluster
}

fn in_a_namespace(dir: &Path, port: u16) -> Cluster {
    let namespace = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let cluster = Cluster { namespace: namespace.clone(), dir: dir.to_owned(), port };
    cluster.kubectl(&["create", "namespace", &namespace]).ok();
    cluster
}

/// Defines the custom resource, and waits until it is served.
fn define(cluster: &Cluster) {
    let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/holdfast/crds");
    cluster.kubectl(&["apply", "--server-side", "-f", &crds.to_string_lossy()]).ok();
    let wait = ["wait", "--for=condition=Established", "--timeout=60s", "crd/applications.holdfast.dev"];
    cluster.kubectl(&wait).ok();
}

impl Cluster {
    /// Returns the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Runs kubectl as the administrator.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> Ran {
        self.kubectl_with(&self.kubeconfig(), arguments)
    }

    /// Runs kubectl with a kubeconfig.
    #[track_caller]
    pub fn kubectl_with(&self, kubeconfig: &Path, arguments: &[&str]) -> Ran {
        let output = Command::new(servers::program("kubectl"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.dir)
            .env("KUBECONFIG", kubeconfig)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("kubectl runs");
        Ran {
            command: format!("kubectl {}", arguments.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Applies a document in the namespace.
    #[track_caller]
    pub fn apply(&self, document: &Value, more: &[&str]) -> Ran {
        let file = self.dir.join(format!("apply-{}.json", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::write(&file, document.to_string()).expect("the document is written");
        let file = file.to_string_lossy().into_owned();
        let mut arguments = vec!["apply", "--server-side", "-n", &self.namespace, "-f", &file];
        arguments.extend(more);
        self.kubectl(&arguments)
    }

    /// Reads an object of the namespace; `None` if it is not there.
    #[track_caller]
    pub fn read(&self, kind: &str, name: &str) -> Option<Value> {
        let ran = self.kubectl(&["get", kind, name, "-n", &self.namespace, "-o", "json"]);
        (ran.code == Some(0)).then(|| ran.json())
    }

    /// Writes the kubeconfig of a service account of a namespace, with a token that the server gave.
    #[track_caller]
    pub fn account(&self, namespace: &str, name: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", name, "-n", namespace]).ok().stdout;
        let file = self.dir.join(format!("{namespace}-{name}.kubeconfig"));
        fs::write(&file, kubeconfig(self.port, token.trim(), namespace)).expect("the kubeconfig is written");
        file
    }
}

/// Writes down how a server is reached with a token.
pub fn kubeconfig(port: u16, token: &str, namespace: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: t\n\
         clusters: [{{name: t, cluster: {{server: \"https://127.0.0.1:{port}\", insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: t, user: {{token: \"{token}\"}}}}]\n\
         contexts: [{{name: t, context: {{cluster: t, user: t, namespace: {namespace}}}}}]\n"
    )
}

/// Returns the running server, started if it was not.
pub fn server() -> &'static Server {
    SERVER.get_or_init(start)
}

/// Returns the arguments of what works beside an API server in its folder.
pub fn control() -> Vec<String> {
    ["--kubeconfig=kubeconfig", "--leader-elect=false", "--secure-port=0"].map(str::to_owned).into()
}

/// Returns those of the controllers.
pub fn controllers() -> Vec<String> {
    let more = [
        "--service-account-private-key-file=sa.key",
        "--root-ca-file=certs/apiserver.crt",
        "--controllers=*,-nodeipam,-nodelifecycle,-ttl",
    ];
    control().into_iter().chain(more.map(str::to_owned)).collect()
}

/// Returns those of what says that pods run.
pub fn nodes() -> Vec<String> {
    let stages = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/kwok/stages.yaml");
    [
        "--kubeconfig=kubeconfig".to_owned(),
        format!("--config={}", stages.display()),
        "--manage-all-nodes=true".to_owned(),
    ]
    .into()
}

/// Removes what the servers of processes that are gone have left: a static is never dropped.
fn sweep(beside: &Path) {
    for entry in fs::read_dir(beside).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with("hf-api-");
        let owner = fs::read_to_string(entry.path().join("owner")).unwrap_or_default();
        if ours && !owner.is_empty() && !Path::new("/proc").join(&owner).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn start() -> Server {
    let dir = super::temporary("hf-api-").keep();
    sweep(dir.parent().expect("it is in a folder"));
    fs::write(dir.join("owner"), std::process::id().to_string()).expect("the owner is written");
    let (etcd, peer, port) = (free_port(), free_port(), free_port());
    let openssl = |arguments: &[&str]| {
        let done = Command::new("openssl").current_dir(&dir).args(arguments).stderr(Stdio::null()).status();
        assert!(done.expect("openssl runs").success(), "openssl {arguments:?}");
    };
    openssl(&["genrsa", "-out", "sa.key", "2048"]);
    openssl(&["rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub"]);
    fs::write(dir.join("tokens.csv"), "admintoken,admin,admin,system:masters\n").expect("the tokens are written");
    fs::write(dir.join("kubeconfig"), kubeconfig(port, ADMIN, "default")).expect("the kubeconfig is written");
    let (etcd_url, peer_url) = (format!("http://127.0.0.1:{etcd}"), format!("http://127.0.0.1:{peer}"));
    let one = |name, arguments: &[&str]| Start {
        name,
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        environment: Vec::new(),
    };
    let first = vec![
        one(
            "etcd",
            &[
                "--data-dir=etcd",
                &format!("--listen-client-urls={etcd_url}"),
                &format!("--advertise-client-urls={etcd_url}"),
                &format!("--listen-peer-urls={peer_url}"),
                &format!("--initial-advertise-peer-urls={peer_url}"),
                &format!("--initial-cluster=default={peer_url}"),
                "--unsafe-no-fsync",
            ],
        ),
        one(
            "kube-apiserver",
            &[
                &format!("--etcd-servers={etcd_url}"),
                &format!("--secure-port={port}"),
                "--bind-address=127.0.0.1",
                "--cert-dir=certs",
                &format!("--service-account-issuer=https://127.0.0.1:{port}"),
                "--service-account-key-file=sa.pub",
                "--service-account-signing-key-file=sa.key",
                "--token-auth-file=tokens.csv",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/16",
                // Pods need no token, and the only node may be used as soon as it is ready.
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
            ],
        ),
    ];
    let server = Server { dir, port };
    servers::start(&server.dir, first);
    let cluster = Cluster { namespace: "default".to_owned(), dir: server.dir.clone(), port };
    let begun = Instant::now();
    while cluster.kubectl(&["get", "--raw", "/readyz"]).stdout != "ok" {
        let log = || fs::read_to_string(server.dir.join("kube-apiserver.log")).unwrap_or_default();
        assert!(begun.elapsed() < START, "the API server does not start:\n{}", log());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let more = [("kube-controller-manager", controllers()), ("kube-scheduler", control()), ("kwok", nodes())];
    let more = more.map(|(name, arguments)| Start { name, arguments, environment: Vec::new() }).into();
    servers::start(&server.dir, more);
    let node = serde_json::json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node", "labels": { "disk": "ssd" } } });
    cluster.apply(&node, &[]).ok();
    // A new node is tainted as not ready, and the controller that takes that away again watches kubelets.
    cluster.kubectl(&["patch", "node", "node", "--type=merge", "-p", r#"{"spec":{"taints":null}}"#]).ok();
    define(&cluster);
    server
}
