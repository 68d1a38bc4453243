//! Ten thousand objects on a real API server: a steady cycle beside `kubectl diff --server-side` and beside the per-object way, one
//! GET and one dry-run for each, which is what other controllers do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::world::World;
use super::{Row, median, show, timed};

/// How many requests the per-object way has under way at the same time.
const AT_ONCE: usize = 8;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(3_000);

const TOKEN: &str = "admintoken";

/// etcd and an API server; they end with it.
struct Server {
    port: u16,
    parts: [Child; 2],
    http: reqwest::blocking::Client,
}

impl Drop for Server {
    fn drop(&mut self) {
        for part in &mut self.parts {
            let _ = part.kill();
            let _ = part.wait();
        }
    }
}

/// Returns where a server of the tests is, built if it has not been.
fn program(name: &str) -> PathBuf {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/build");
    let built = Command::new(build).arg(name).stderr(Stdio::inherit()).output().expect("tests/servers/build runs");
    assert!(built.status.success(), "tests/servers/build {name} failed");
    String::from_utf8_lossy(&built.stdout).trim().into()
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.local_addr().expect("it listens").port()
}

impl Server {
    fn start(world: &World) -> Self {
        let dir = world.path("server");
        fs::create_dir(&dir).expect("the folder is made");
        let [client, peer, port] = [free_port(), free_port(), free_port()];
        for arguments in ["genrsa -out sa.key 2048", "rsa -in sa.key -pubout -out sa.pub"] {
            let made =
                Command::new("openssl").current_dir(&dir).args(arguments.split(' ')).stderr(Stdio::null()).status();
            assert!(made.is_ok_and(|made| made.success()), "openssl {arguments}");
        }
        fs::write(dir.join("tokens.csv"), format!("{TOKEN},admin,admin,system:masters\n")).expect("it is written");
        let etcd = format!("http://127.0.0.1:{client}");
        let beside = format!("http://127.0.0.1:{peer}");
        let first = format!(
            "--data-dir=etcd --listen-client-urls={etcd} --advertise-client-urls={etcd} --listen-peer-urls={beside} \
             --initial-advertise-peer-urls={beside} --initial-cluster=default={beside}"
        );
        let second = format!(
            "--etcd-servers={etcd} --secure-port={port} --bind-address=127.0.0.1 --cert-dir=certs \
             --service-account-issuer=https://127.0.0.1:{port} --service-account-key-file=sa.pub \
             --service-account-signing-key-file=sa.key --token-auth-file=tokens.csv --authorization-mode=RBAC \
             --service-cluster-ip-range=10.0.0.0/16 --disable-admission-plugins=ServiceAccount"
        );
        let part = |name: &str, arguments: &str| {
            let log = fs::File::create(dir.join(format!("{name}.log"))).expect("the log is made");
            let mut command = Command::new("setpriv");
            command.arg("--pdeathsig=KILL").arg(program(name)).args(arguments.split_whitespace());
            command.current_dir(&dir).stdout(Stdio::null()).stderr(log).spawn().expect("it starts")
        };
        let parts = [part("etcd", &first), part("kube-apiserver", &second)];
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::blocking::Client::builder().danger_accept_invalid_certs(true).no_proxy().build();
        let server = Self { port, parts, http: http.expect("the client is made") };
        let begun = Instant::now();
        while !matches!(server.ask("GET", "/api/v1/namespaces/default", None), Some((200, _))) {
            assert!(begun.elapsed() < Duration::from_secs(120), "the API server starts");
            std::thread::sleep(Duration::from_millis(200));
        }
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: t, clusters: [{{name: t, cluster: {{server: \"https://127.0.0.1:{port}\", \
             insecure-skip-tls-verify: true}}}}], users: [{{name: t, user: {{token: {TOKEN}}}}}], \
             contexts: [{{name: t, context: {{cluster: t, user: t}}}}]}}"
        );
        fs::write(world.path("kubeconfig"), text).expect("the kubeconfig is written");
        server
    }

    /// Sends one request; `None` if nobody answers.
    fn ask(&self, method: &str, path: &str, body: Option<&str>) -> Option<(u16, serde_json::Value)> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("it is a method");
        let url = format!("https://127.0.0.1:{}{path}", self.port);
        let mut request = self.http.request(method, url).bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.header("content-type", "application/apply-patch+yaml").body(body.to_owned());
        }
        let answer = request.send().ok()?;
        let code = answer.status().as_u16();
        Some((code, answer.json().unwrap_or_default()))
    }

    /// Returns the processor time that both have used, in seconds.
    fn processor(&self) -> f64 {
        self.parts.iter().map(processor).sum()
    }
}

/// Returns the processor time of a process, in seconds.
fn processor(of: &Child) -> f64 {
    let text = fs::read_to_string(format!("/proc/{}/stat", of.id())).unwrap_or_default();
    let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace()).into_iter().flatten();
    // The system counts hundredths of a second.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// One object: its path, and what is declared.
struct Object {
    path: String,
    text: String,
}

/// Declares so many objects of six kinds in a namespace, `part_of` a set where somebody else is to find them as they are.
fn objects(namespace: &str, count: usize, part_of: Option<&str>) -> Vec<Object> {
    let label = part_of.map_or_else(String::new, |id| format!(", labels: {{applyset.kubernetes.io/part-of: {id}}}"));
    let one = |number: usize| {
        let name = format!("o{number:05}");
        let rbac = "rbac.authorization.k8s.io/v1";
        let (version, kind, plural, rest) = match number % 10 {
            0..=2 => (
                "v1",
                "ConfigMap",
                "configmaps",
                format!("data: {{a: one, b: {name}, c: \"a longer value of {name}\"}}"),
            ),
            3 | 4 => ("v1", "Secret", "secrets", "type: Opaque\ndata: {key: c2VjcmV0}".to_owned()),
            5 | 6 => ("v1", "ServiceAccount", "serviceaccounts", "automountServiceAccountToken: false".to_owned()),
            7 => (
                rbac,
                "Role",
                "roles",
                "rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get, list]}]".to_owned(),
            ),
            8 => {
                let role = "roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}";
                let of =
                    format!("{role}\nsubjects: [{{kind: User, name: {name}, apiGroup: rbac.authorization.k8s.io}}]");
                (rbac, "RoleBinding", "rolebindings", of)
            }
            // What has a template and needs no controller: without one nothing else is ever healthy.
            _ => {
                let container =
                    "{name: c, image: \"nginx:1\", ports: [{containerPort: 80}], env: [{name: A, value: \"1\"}]}";
                let of = format!(
                    "template:\n  metadata: {{labels: {{app: {name}}}}}\n  spec: {{containers: [{container}]}}"
                );
                ("v1", "PodTemplate", "podtemplates", of)
            }
        };
        let meta = format!("metadata: {{name: {name}, namespace: {namespace}{label}}}");
        let api = if version.contains('/') { "apis" } else { "api" };
        Object {
            path: format!("/{api}/{version}/namespaces/{namespace}/{plural}/{name}"),
            text: format!("apiVersion: {version}\nkind: {kind}\n{meta}\n{rest}\n"),
        }
    };
    (0..count).map(one).collect()
}

/// Writes objects as files of a thousand each.
fn write(objects: &[Object], folder: &Path) {
    fs::create_dir_all(folder).expect("the folder is made");
    for (number, chunk) in objects.chunks(1_000).enumerate() {
        let mut text = String::new();
        for object in chunk {
            let _ = write!(text, "---\n{}", object.text);
        }
        fs::write(folder.join(format!("{number:02}.yaml")), text).expect("the file is written");
    }
}

/// What a controller says of itself.
#[derive(Default)]
struct Said {
    cycles: f64,
    seconds: f64,
    requests: f64,
    drifted: f64,
    written: f64,
}

fn said(port: u16, http: &reqwest::blocking::Client) -> Option<Said> {
    let text = http.get(format!("http://127.0.0.1:{port}/metrics")).send().ok()?.text().ok()?;
    let sum = |name: &str, takes: &dyn Fn(&str) -> bool| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(name) && takes(line));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    let all = |_: &str| true;
    Some(Said {
        cycles: sum("holdfast_cycle_seconds_count", &all),
        seconds: sum("holdfast_cycle_seconds_sum", &all),
        requests: sum("holdfast_api_requests_total{", &|line| !line.contains("\"watch\"")),
        drifted: sum("holdfast_drifted_resources{", &all),
        written: sum("holdfast_actions_total{", &|line| line.contains("outcome=\"done\"")),
    })
}

/// Waits until something is so.
fn until<T>(what: &str, every: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(every);
    }
}

/// A first apply.
struct Applied {
    config: PathBuf,
    port: u16,
    /// How long it took after the cycle that only looks.
    took: Duration,
    /// The most memory that it took, in MB.
    peak: u64,
}

/// Applies objects for the first time, as fast as the guards let.
fn first_apply(world: &World, server: &Server, namespace: &str, many: usize, rate: &str) -> Applied {
    let made = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}}}\n");
    server
        .ask("PATCH", &format!("/api/v1/namespaces/{namespace}?fieldManager=bench"), Some(&made))
        .expect("it answers");
    write(&objects(namespace, many, None), &world.path("work").join("files"));
    world.commit("all objects", true);
    world.push();
    let port = free_port();
    let config = world.configure_cluster(namespace, "1s", port, &["writeCap: disabled", "settle: 1s", rate]);
    let mut running = world.start(&config);
    let every = Duration::from_millis(200);
    until("the first cycle", every, || said(port, &server.http).filter(|said| said.cycles >= 1.0));
    let took = timed(|| {
        until("everything is applied", every, || said(port, &server.http).filter(|said| said.written as usize == many))
    });
    let (peak, _) = running.memory();
    running.stop();
    Applied { config, port, took, peak }
}

/// A first apply with a rate, beside what the rate alone takes.
fn paced(server: &Server, kubeconfig: &Path, many: usize) -> Row {
    const RATE: usize = 50;
    let world = World::new();
    fs::copy(kubeconfig, world.path("kubeconfig")).expect("the kubeconfig is copied");
    let applied = first_apply(&world, server, "paced", many, &format!("rate: {{ perSecond: {RATE}, burst: 1 }}"));
    let alone = Duration::from_secs_f64(many as f64 / RATE as f64);
    let what = format!("first apply of {many} objects, {RATE} writes a second");
    Row::compared(&what, applied.took, "the rate alone", alone, "the rate alone limits")
}

/// Everything about ten thousand objects; `HOLDFAST_BENCH_OBJECTS` says how many instead.
pub fn objects_on_a_server() -> Vec<Row> {
    let many = std::env::var("HOLDFAST_BENCH_OBJECTS").ok().and_then(|many| many.parse().ok()).unwrap_or(10_000);
    let world = World::new();
    let server = Server::start(&world);
    let Applied { config, port, took, peak } = first_apply(&world, &server, "bench", many, "rate: disabled");
    let each = many as f64 / took.as_secs_f64();
    let what = format!("first apply of {many} objects without a rate");
    let mut rows = vec![Row::alone(&what, format!("{}, {each:.0} a second", show(took)), "")];
    rows.push(Row::alone("memory in it", format!("at most {peak} MB"), ""));
    rows.push(paced(&server, &world.path("kubeconfig"), many));

    let mut running = world.start(&config);
    let now = || said(port, &server.http);
    until("the first cycles", Duration::from_millis(50), || now().filter(|said| said.cycles >= 3.0));
    running.forget_peak();
    let (from, cost) = (now().expect("it answers"), server.processor());
    let to = until("more cycles", Duration::from_millis(50), || now().filter(|said| said.cycles >= from.cycles + 10.0));
    let cost = server.processor() - cost;
    let (peak, _) = running.memory();
    running.stop();
    let cycles = to.cycles - from.cycles;
    let (requests, took) = ((to.requests - from.requests) / cycles, (to.seconds - from.seconds) / cycles);
    let took = Duration::from_secs_f64(took);

    let parent = server.ask("GET", "/api/v1/namespaces/bench/configmaps/holdfast-web", None).expect("it answers").1;
    let id = parent["metadata"]["labels"]["applyset.kubernetes.io/id"].as_str().expect("it has an id").to_owned();
    let labelled = objects("bench", many, Some(&id));
    let (per_object, sent, per_object_cost) = one_by_one(&server, &labelled);
    let (kubectl, kubectl_cost) = kubectl_diff(&world, &server, &labelled);

    let what = format!("a steady cycle of {many} objects");
    rows.push(Row::compared(&what, took, "`kubectl diff --server-side`", kubectl, "under 0.6 s"));
    rows.push(Row::compared("the same", took, "one GET and one dry-run for each, eight at once", per_object, ""));
    rows.push(Row::counted(
        "its requests",
        requests,
        &format!("per object: {sent}"),
        requests / sent as f64,
        "under 60",
    ));
    let cost = cost / cycles;
    let beside = format!("kubectl: {kubectl_cost:.1} s, per object: {per_object_cost:.1} s");
    rows.push(Row::counted(
        "the server's processor time in it, in s",
        cost,
        &beside,
        cost / per_object_cost,
        "under 1",
    ));
    rows.push(Row::alone("memory in steady cycles", format!("at most {peak} MB"), "under 150 MB"));
    rows.push(told(&world, &server));
    rows
}

/// One GET and one dry-run for each object: how long it takes, how many requests, and what the server spends.
fn one_by_one(server: &Server, objects: &[Object]) -> (Duration, usize, f64) {
    let (next, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cost = server.processor();
    let took = timed(|| {
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let tried = format!("{}?fieldManager=holdfast&force=true&dryRun=All", object.path);
                        for (method, path, body) in
                            [("GET", &object.path, None), ("PATCH", &tried, Some(object.text.as_str()))]
                        {
                            let (code, said) = server.ask(method, path, body).expect("it answers");
                            assert_eq!(code, 200, "{path}: {said}");
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    });
    (took, sent.into_inner(), server.processor() - cost)
}

/// `kubectl diff --server-side` over everything, which finds nothing.
fn kubectl_diff(world: &World, server: &Server, objects: &[Object]) -> (Duration, f64) {
    let folder = world.path("labelled");
    write(objects, &folder);
    let cost = server.processor();
    let mut command = Command::new(program("kubectl"));
    command.env("KUBECONFIG", world.path("kubeconfig")).env("HOME", world.path("server"));
    command.args(["diff", "--server-side", "--force-conflicts", "--field-manager=holdfast", "-f"]).arg(folder);
    let mut ended = None;
    let took = timed(|| ended = Some(command.output().expect("kubectl runs")));
    let ended = ended.expect("it ran");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(ended.stdout.is_empty(), "kubectl finds a difference");
    (took, server.processor() - cost)
}

/// From a change in the cluster until the controller says so, with an interval of ten minutes.
fn told(world: &World, server: &Server) -> Row {
    let port = free_port();
    let config = world.configure_cluster("bench", "10m", port, &["writeCap: disabled", "rate: disabled"]);
    let mut running = world.start(&config);
    until("it looked", Duration::from_millis(50), || said(port, &server.http).filter(|said| said.cycles >= 1.0));
    // Watches begin where it looked.
    std::thread::sleep(Duration::from_secs(2));
    let mut times: BTreeMap<usize, Duration> = BTreeMap::new();
    for round in 1..=5 {
        let path = format!("/api/v1/namespaces/bench/configmaps/o{:05}?fieldManager=by-hand&force=true", round * 10);
        let changed =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: o{:05}}}\ndata: {{a: two}}\n", round * 10);
        let (code, answer) = server.ask("PATCH", &path, Some(&changed)).expect("it answers");
        assert_eq!(code, 200, "{answer}");
        let known = |said: &Said| said.drifted >= round as f64;
        times.insert(
            round,
            timed(|| until("it is told", Duration::from_millis(2), || said(port, &server.http).filter(known))),
        );
        // The first of several changes wakes at once, the next ones ten seconds later.
        std::thread::sleep(Duration::from_secs(11));
    }
    running.stop();
    let worst = times.values().max().copied().unwrap_or_default();
    let shown = format!("{}, at most {}", show(median(times.into_values().collect())), show(worst));
    Row::alone("from a change in the cluster to its report", shown, "under 1 s")
}
