//! Real clusters as tests of the target use them: the one that all share, with controllers and a node whose pods run, and
//! bare API servers of one test's own, which it may end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::json;

use super::api::Api;
use super::apiserver;
use super::http::free_port;
use super::place::unique;
use super::servers::program;

/// How long anything may take on a busy machine; never reached when all is well.
const DEADLINE: Duration = Duration::from_secs(240);

/// A cluster; cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    dir: PathBuf,
    port: u16,
    api: Api,
    /// Of a cluster of its own: what runs, and where etcd listens.
    own: Option<Arc<Own>>,
}

struct Own {
    dir: PathBuf,
    etcd: [u16; 2],
    running: Mutex<BTreeMap<&'static str, Child>>,
}

/// What a cluster of a test's own is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Where everything is kept.
    Etcd,
    /// The API server.
    Api,
    /// The controllers that come with it.
    Controllers,
    /// What gives pods a node.
    Scheduler,
    /// What runs pods, or says so: KWOK.
    Nodes,
}

impl Part {
    const fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Api => "kube-apiserver",
            Self::Controllers => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Nodes => "kwok",
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for child in self.running.get_mut().expect("no test holds it").values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Cluster {
    /// Returns the cluster that tests share, each in namespaces of its own.
    pub fn shared() -> Self {
        let server = apiserver::server();
        Self::at(server.dir.clone(), server.port, None)
    }

    fn at(dir: PathBuf, port: u16, own: Option<Arc<Own>>) -> Self {
        Self { dir, port, api: Api::new(&format!("https://127.0.0.1:{port}"), apiserver::ADMIN), own }
    }

    fn mine(&self) -> &Own {
        self.own.as_ref().expect("it is a cluster of the test's own")
    }

    /// Makes an API server of its own for one test, without any controller.
    pub fn own() -> Self {
        let dir = super::temporary("hf-cluster-").keep();
        let (port, etcd) = (free_port(), [free_port(), free_port()]);
        let openssl = |arguments: &[&str]| {
            let done = Command::new("openssl").current_dir(&dir).args(arguments).stderr(Stdio::null()).status();
            assert!(done.expect("openssl runs").success(), "openssl {arguments:?}");
        };
        openssl(&["genrsa", "-out", "sa.key", "2048"]);
        openssl(&["rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub"]);
        let tokens = format!("{},admin,admin,system:masters\n", apiserver::ADMIN);
        fs::write(dir.join("tokens.csv"), tokens).expect("the tokens are written");
        let text = apiserver::kubeconfig(port, apiserver::ADMIN, "default");
        fs::write(dir.join("kubeconfig"), text).expect("the kubeconfig is written");
        let own = Own { dir: dir.clone(), etcd, running: Mutex::default() };
        let cluster = Self::at(dir, port, Some(Arc::new(own)));
        cluster.start(Part::Etcd);
        cluster.start(Part::Api);
        cluster.until_ready();
        cluster
    }

    /// Makes one with the controllers of a whole cluster, and a node whose pods run.
    pub fn whole() -> Self {
        let cluster = Self::own();
        for part in [Part::Controllers, Part::Scheduler, Part::Nodes] {
            cluster.start(part);
        }
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node", "labels": {"disk": "ssd"}}});
        cluster.api().apply("/api/v1/nodes/node", "test", &node);
        // A new node is tainted as not ready, and the controller that takes that away again watches kubelets.
        cluster.api().merge("/api/v1/nodes/node", "test", &json!({"spec": {"taints": null}}));
        cluster
    }

    /// Starts a part, on the data and the ports that it had before. Does not wait until it answers.
    pub fn start(&self, part: Part) {
        let [client, peer] = self.mine().etcd.map(|port| format!("http://127.0.0.1:{port}"));
        let arguments = match part {
            Part::Etcd => vec![
                "--data-dir=etcd".to_owned(),
                format!("--listen-client-urls={client}"),
                format!("--advertise-client-urls={client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster=default={peer}"),
                // What a disk's fsync costs shows nothing here.
                "--unsafe-no-fsync".to_owned(),
            ],
            Part::Api => vec![
                format!("--etcd-servers={client}"),
                format!("--secure-port={}", self.port),
                "--bind-address=127.0.0.1".to_owned(),
                "--cert-dir=certs".to_owned(),
                format!("--service-account-issuer=https://127.0.0.1:{}", self.port),
                "--service-account-key-file=sa.pub".to_owned(),
                "--service-account-signing-key-file=sa.key".to_owned(),
                "--token-auth-file=tokens.csv".to_owned(),
                "--authorization-mode=RBAC".to_owned(),
                "--service-cluster-ip-range=10.0.0.0/16".to_owned(),
                "--allow-privileged=true".to_owned(),
                // Whoever waits for an etcd that hangs is answered sooner than after a minute; by the same answer.
                "--request-timeout=10s".to_owned(),
                // Pods need no token, and the only node may be used as soon as it is ready.
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
            ],
            Part::Controllers => apiserver::controllers(),
            Part::Scheduler => apiserver::control(),
            Part::Nodes => apiserver::nodes(),
        };
        self.spawn(part.program(), &arguments);
    }

    /// Waits until the API server reads and writes.
    #[track_caller]
    pub fn until_ready(&self) {
        self.until("the API server is ready", |api| {
            (api.try_ask("GET", "/readyz")? == 200 && api.try_ask("GET", "/api/v1/namespaces/default")? == 200)
                .then_some(())
        });
    }

    /// Ends a part at once, as a crash does.
    pub fn kill(&self, part: Part) {
        let child = self.mine().running.lock().expect("no test failed with it").remove(part.program());
        let mut child = child.expect("it was running");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Has a part do nothing at all, while its connections stay open.
    pub fn pause(&self, part: Part) {
        self.signal(part, "STOP");
    }

    /// Lets a part that was paused go on.
    pub fn go_on(&self, part: Part) {
        self.signal(part, "CONT");
    }

    fn signal(&self, part: Part, signal: &str) {
        let running = self.mine().running.lock().expect("no test failed with it");
        let child = running.get(part.program()).expect("it is running");
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Tells how often each object of a kind in a namespace was written since it was made, by its name: etcd counts. A
    /// write that changed nothing is none.
    #[track_caller]
    pub fn writes(&self, plural: &str, namespace: &str) -> BTreeMap<String, u64> {
        let base64 = base64::engine::general_purpose::STANDARD;
        let (from, to) = (format!("/registry/{plural}/{namespace}/"), format!("/registry/{plural}/{namespace}0"));
        let asked = json!({"key": base64.encode(&from), "range_end": base64.encode(to), "keys_only": true});
        let answer = self.ask_etcd("kv/range", &asked);
        let row = |row: &serde_json::Value| {
            let key = base64.decode(row["key"].as_str()?).ok()?;
            let name = String::from_utf8(key).ok()?.strip_prefix(&from)?.to_owned();
            Some((name, row["version"].as_str()?.parse().ok()?))
        };
        answer["kvs"].as_array().into_iter().flatten().map(|kv| row(kv).expect("etcd says it so")).collect()
    }

    /// Has etcd forget what was before now: whoever goes on from there finds that it expired.
    #[track_caller]
    pub fn forget_history(&self) {
        let now = self.ask_etcd("kv/range", &json!({"key": "AA=="}))["header"]["revision"].clone();
        self.ask_etcd("kv/compaction", &json!({"revision": now, "physical": true}));
    }

    #[track_caller]
    fn ask_etcd(&self, what: &str, body: &serde_json::Value) -> serde_json::Value {
        let http = reqwest::blocking::Client::builder().no_proxy().build().expect("the client is made");
        let sent = http.post(format!("http://127.0.0.1:{}/v3/{what}", self.mine().etcd[0])).json(body).send();
        let answer = sent.and_then(reqwest::blocking::Response::error_for_status);
        answer.unwrap_or_else(|error| panic!("{what}: {error:?}")).json().expect("etcd answers JSON")
    }

    fn spawn(&self, name: &'static str, arguments: &[String]) {
        let log = fs::File::options().create(true).append(true).open(self.dir.join(format!("{name}.log")));
        let log = log.expect("the log is made");
        let child = Command::new("setpriv")
            .arg("--pdeathsig=KILL")
            .arg(program(name))
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} starts: {error}"));
        self.mine().running.lock().expect("no test failed with it").insert(name, child);
    }

    /// Returns the API as an administrator sees it.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns where the API server listens.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Returns the same cluster as tests of the controller inside it see it, in a fresh namespace.
    pub fn inside(&self) -> apiserver::Cluster {
        apiserver::cluster_at(&self.dir, self.port)
    }

    /// Returns the administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// Writes the kubeconfig of whoever has a token into a folder.
    pub fn kubeconfig_of(&self, folder: &Path, token: &str) -> PathBuf {
        let file = folder.join("kubeconfig");
        fs::write(&file, apiserver::kubeconfig(self.port, token, "default")).expect("the kubeconfig is written");
        file
    }

    /// Makes a service account that may do nothing; returns the user that it is, and a token.
    pub fn user(&self, namespace: &str) -> (String, String) {
        let (name, accounts) = (unique("user"), format!("/api/v1/namespaces/{namespace}/serviceaccounts"));
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        self.api().create(&accounts, &account);
        let wanted = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let made = self.api().create(&format!("{accounts}/{name}/token"), &wanted);
        let token = made["status"]["token"].as_str().expect("a token is text").to_owned();
        (format!("system:serviceaccount:{namespace}:{name}"), token)
    }

    /// Defines a kind that takes any fields, and waits until it is served.
    pub fn define(&self, group: &str, kind: &str, plural: &str) {
        let name = format!("{plural}.{group}");
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
        let names = json!({"kind": kind, "plural": plural});
        let spec = json!({"group": group, "scope": "Namespaced", "names": names, "versions": [version]});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name}, "spec": spec});
        self.api().apply(&path, "test", &definition);
        self.until("the kind is served", |api| {
            (api.try_ask("GET", &format!("/apis/{group}/v1/{plural}"))? == 200).then_some(())
        });
    }

    /// Runs kubectl as the administrator; returns what it printed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let ran = Command::new(program("kubectl"))
            .env_clear()
            .env("HOME", &self.dir)
            .env("KUBECONFIG", self.kubeconfig())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("kubectl runs");
        assert!(ran.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).expect("kubectl prints text")
    }

    /// Waits until something holds, and returns it.
    #[track_caller]
    pub fn until<T>(&self, what: &str, look: impl Fn(&Api) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = look(self.api()) {
                return found;
            }
            let log = || fs::read_to_string(self.dir.join("kube-apiserver.log")).unwrap_or_default();
            assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}:\n{}", log());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }
}
