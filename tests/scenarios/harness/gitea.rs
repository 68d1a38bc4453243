//! A real Gitea, started once for all tests that need one, each in a repository of its own.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::http::free_port;
use super::servers::{self, Start};
use super::{World, keys, temporary};

/// How long it may take to start on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Everybody's password.
const PASSWORD: &str = "correct horse battery staple";

/// Who owns the repositories; the administrator.
const OWNER: &str = "acme";

/// The account that holdfast uses.
pub const BOT: &str = "holdfast-bot";

static SERVER: OnceLock<Server> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(0);

struct Server {
    url: String,
}

/// A repository of a real Gitea.
pub struct Gitea {
    /// Its name.
    pub name: String,
    /// Where the service is.
    pub url: String,
    http: reqwest::blocking::Client,
}

/// Returns the folder that Gitea's own files are in, which its module has beside the code; its pages have no styles there.
fn module() -> PathBuf {
    if let Some(built) = std::env::var_os("HOLDFAST_GITEA_STATIC") {
        return PathBuf::from(built);
    }
    let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/gitea");
    let listed = Command::new("go")
        .current_dir(servers)
        .args(["list", "-m", "-f", "{{.Dir}}", "code.gitea.io/gitea"])
        .stdin(Stdio::null())
        .output()
        .expect("go runs");
    assert!(listed.status.success(), "go list: {}", String::from_utf8_lossy(&listed.stderr));
    PathBuf::from(String::from_utf8(listed.stdout).expect("a path is text").trim())
}

fn start() -> Server {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = temporary("hf-gitea-").keep();
    let port = free_port();
    let url = format!("http://127.0.0.1:{port}");
    let user = Command::new("id").arg("-un").output().expect("id runs");
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    let ini = format!(
        "RUN_MODE = prod\nRUN_USER = {user}\nI_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\nAPP_NAME = Gitea\n\
         [server]\nHTTP_ADDR = 127.0.0.1\nHTTP_PORT = {port}\nROOT_URL = {url}/\nSTATIC_ROOT_PATH = {}\nDISABLE_SSH = true\n\
         OFFLINE_MODE = true\nLFS_START_SERVER = false\n\
         [database]\nDB_TYPE = sqlite3\n[security]\nINSTALL_LOCK = true\nPASSWORD_HASH_ALGO = pbkdf2_v1\n\
         [webhook]\nALLOWED_HOST_LIST = loopback\n[indexer]\nISSUE_INDEXER_TYPE = db\n[log]\nLEVEL = Warn\n\
         [service]\nDEFAULT_ALLOW_CREATE_ORGANIZATION = false\n[cron]\nENABLED = false\n[actions]\nENABLED = false\n",
        module().display()
    );
    let config = dir.join("app.ini");
    fs::write(&config, ini).expect("the configuration is written");
    let at = |arguments: &[&str]| {
        let (dir, config) = (dir.to_string_lossy().into_owned(), config.to_string_lossy().into_owned());
        let mut all = vec!["--work-path".to_owned(), dir, "--config".to_owned(), config];
        all.extend(arguments.iter().map(|word| (*word).to_owned()));
        all
    };
    let run = |arguments: &[&str]| {
        let ran = Command::new(servers::program("gitea"))
            .args(at(arguments))
            .env("HOME", &dir)
            .stdin(Stdio::null())
            .output()
            .expect("gitea runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "gitea {arguments:?}: {said}");
    };
    run(&["migrate"]);
    let email = keys::address(OWNER);
    let new = ["admin", "user", "create", "--admin", "--username", OWNER, "--password", PASSWORD, "--email", &email];
    run(&[&new[..], &["--must-change-password=false"]].concat());
    servers::start(&dir, vec![Start { name: "gitea", arguments: at(&["web"]), environment: Vec::new() }]);
    let begun = Instant::now();
    let http = client();
    while !http.get(format!("{url}/api/v1/version")).send().is_ok_and(|answer| answer.status().is_success()) {
        let log = || fs::read_to_string(dir.join("gitea.log")).unwrap_or_default();
        assert!(begun.elapsed() < START, "Gitea did not start:\n{}", log());
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let gitea = Gitea { name: String::new(), url: url.clone(), http };
    for who in ["alice", "bob", "carol", "dave", "mallory", BOT] {
        let email = keys::address(who);
        let user = json!({ "username": who, "email": email, "password": PASSWORD, "must_change_password": false });
        gitea.did(201, gitea.ask(OWNER, "POST", "/admin/users", Some(&user)));
    }
    Server { url }
}

fn client() -> reqwest::blocking::Client {
    reqwest::blocking::Client::builder().no_proxy().build().expect("the client is made")
}

#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < START, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

impl Gitea {
    /// Makes a repository to which everybody but `mallory` may write, and lets a world's work clone and application use it.
    pub fn host(world: &mut World) -> Self {
        let url = SERVER.get_or_init(start).url.clone();
        let name = format!("fleet-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let gitea = Self { name: name.clone(), url, http: client() };
        let repo = json!({ "name": name, "default_branch": "main" });
        gitea.did(201, gitea.ask(OWNER, "POST", "/user/repos", Some(&repo)));
        // A merge that somebody pushes is one too.
        let merges = json!({ "allow_manual_merge": true, "autodetect_manual_merge": true, "has_pull_requests": true });
        gitea.did(200, gitea.ask(OWNER, "PATCH", &format!("/repos/{OWNER}/{name}"), Some(&merges)));
        for who in ["alice", "bob", "carol", "dave", BOT] {
            let path = format!("/repos/{OWNER}/{name}/collaborators/{who}");
            // Gitea tells only an administrator of a repository what others may do there.
            let permission = if who == BOT { "admin" } else { "write" };
            gitea.did(204, gitea.ask(OWNER, "PUT", &path, Some(&json!({ "permission": permission }))));
        }
        let token = json!({ "name": name, "scopes": ["write:repository", "write:issue", "read:user"] });
        let token = gitea.did(201, gitea.ask(BOT, "POST", &format!("/users/{BOT}/tokens"), Some(&token)));
        let file = world.dir().join("gitea.token");
        fs::write(&file, token["sha1"].as_str().expect("a token is text")).expect("the token is written");
        world.config.controller.push(format!(
            "forges: [ {{ kind: gitea, url: {:?}, tokenFile: {file:?}, commentApprovals: true }} ]",
            gitea.url
        ));
        let clone = format!("{}/{OWNER}/{name}.git", gitea.url);
        for app in &mut world.config.apps {
            app.url.clone_from(&clone);
        }
        let (scheme, rest) = gitea.url.split_once("://").expect("it is an address");
        let password = PASSWORD.replace(' ', "%20");
        world.repo.git(&[
            "remote",
            "set-url",
            "origin",
            &format!("{scheme}://{OWNER}:{password}@{rest}/{OWNER}/{name}.git"),
        ]);
        gitea
    }

    /// Sends one request as somebody; returns the code and what came back.
    #[track_caller]
    pub fn ask(&self, who: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("it is a method");
        let mut request =
            self.http.request(method, format!("{}/api/v1{path}", self.url)).basic_auth(who, Some(PASSWORD));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let code = answer.status().as_u16();
        let text = answer.text().unwrap_or_else(|error| panic!("{path}: {error:?}"));
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    #[track_caller]
    fn did(&self, code: u16, (got, value): (u16, Value)) -> Value {
        assert_eq!(got, code, "{value}");
        value
    }

    fn path(&self, rest: &str) -> String {
        format!("/repos/{OWNER}/{}{rest}", self.name)
    }

    /// Reads something of the repository.
    #[track_caller]
    pub fn get(&self, rest: &str) -> Value {
        self.did(200, self.ask(OWNER, "GET", &self.path(rest), None))
    }

    /// Opens a pull request of a branch that was pushed; returns its number.
    #[track_caller]
    pub fn open(&self, who: &str, branch: &str) -> u64 {
        let pull = json!({ "head": branch, "base": "main", "title": format!("{branch} of {who}") });
        // The service takes note of a pushed branch in the background.
        let made = until("the branch", || {
            let (code, value) = self.ask(who, "POST", &self.path("/pulls"), Some(&pull));
            (code != 404).then(|| self.did(201, (code, value)))
        });
        made["number"].as_u64().expect("a pull request has a number")
    }

    /// Opens a pull request of a branch of somebody's own copy, to which it is pushed first; returns its number.
    #[track_caller]
    pub fn open_from_fork(&self, world: &World, who: &str, branch: &str) -> u64 {
        let fork = json!({ "name": format!("{}-of-{who}", self.name) });
        self.did(202, self.ask(who, "POST", &self.path("/forks"), Some(&fork)));
        let (scheme, rest) = self.url.split_once("://").expect("it is an address");
        let password = PASSWORD.replace(' ', "%20");
        let copy = format!("{scheme}://{who}:{password}@{rest}/{who}/{}-of-{who}.git", self.name);
        world.repo.git(&["push", "-q", &copy, branch]);
        self.open(who, &format!("{who}:{branch}"))
    }

    /// Merges a pull request as the service does: `merge`, `squash`, `rebase`.
    #[track_caller]
    pub fn merge(&self, who: &str, number: u64, how: &str) {
        let path = self.path(&format!("/pulls/{number}/merge"));
        // The service looks in the background whether it can be merged, and refuses until it knows.
        until("the merge", || (self.ask(who, "POST", &path, Some(&json!({ "Do": how }))).0 == 200).then_some(()));
    }

    /// Waits until the service has noticed that a pull request was merged by a push.
    #[track_caller]
    pub fn merged(&self, number: u64) {
        until("the pull request to be merged", || {
            (self.get(&format!("/pulls/{number}"))["merged"] == true).then_some(())
        });
    }

    /// Comments as somebody; returns the comment's id.
    #[track_caller]
    pub fn comment(&self, who: &str, number: u64, text: &str) -> u64 {
        let path = self.path(&format!("/issues/{number}/comments"));
        let made = self.did(201, self.ask(who, "POST", &path, Some(&json!({ "body": text }))));
        made["id"].as_u64().expect("a comment has an id")
    }

    /// Changes a comment.
    #[track_caller]
    pub fn edit(&self, who: &str, comment: u64, text: &str) {
        let path = self.path(&format!("/issues/comments/{comment}"));
        self.did(200, self.ask(who, "PATCH", &path, Some(&json!({ "body": text }))));
    }

    /// Returns holdfast's comments on a pull request or issue, oldest first.
    #[track_caller]
    pub fn said(&self, number: u64) -> Vec<String> {
        let comments = self.get(&format!("/issues/{number}/comments"));
        let ours = comments.as_array().into_iter().flatten().filter(|comment| comment["user"]["login"] == BOT);
        ours.map(|comment| comment["body"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Returns the newest status of a commit under a context: its state and its text.
    #[track_caller]
    pub fn status(&self, commit: &str, context: &str) -> Option<(String, String)> {
        let all = self.get(&format!("/commits/{commit}/status"));
        let one = all["statuses"].as_array()?.iter().find(|status| status["context"] == context)?.clone();
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("description")))
    }

    /// Returns the issues that holdfast opened: number, state, title and body.
    #[track_caller]
    pub fn issues(&self) -> Vec<(u64, String, String, String)> {
        let all = self.get("/issues?state=all&type=issues");
        let text = |issue: &Value, key: &str| issue[key].as_str().unwrap_or_default().to_owned();
        let ours = all.as_array().into_iter().flatten().filter(|issue| issue["user"]["login"] == BOT);
        ours.map(|issue| {
            let number = issue["number"].as_u64().expect("an issue has a number");
            (number, text(issue, "state"), text(issue, "title"), text(issue, "body"))
        })
        .collect()
    }

    /// Lets the service call a webhook of the controller.
    #[track_caller]
    pub fn hook(&self, port: u16, secret: &str) {
        let config =
            json!({ "url": format!("http://127.0.0.1:{port}/hooks/gitea"), "content_type": "json", "secret": secret });
        let events = ["push", "pull_request", "issue_comment"];
        let hook = json!({ "type": "gitea", "active": true, "events": events, "config": config });
        self.did(201, self.ask(OWNER, "POST", &self.path("/hooks"), Some(&hook)));
    }

    /// Commits a new file on the branch as the service's own editor does: unsigned.
    #[track_caller]
    pub fn write(&self, who: &str, path: &str, text: &str) {
        let file = json!({ "content": BASE64.encode(text), "branch": "main", "message": format!("add {path}") });
        self.did(201, self.ask(who, "POST", &self.path(&format!("/contents/{path}")), Some(&file)));
    }

    /// Takes somebody's right to write away.
    #[track_caller]
    pub fn remove(&self, who: &str) {
        self.did(204, self.ask(OWNER, "DELETE", &self.path(&format!("/collaborators/{who}")), None));
    }
}

/// Stands between holdfast and the service, and can fail.
pub struct Proxy {
    port: u16,
    refusing: Arc<AtomicBool>,
    losing: Arc<AtomicBool>,
}

impl Proxy {
    /// Forwards to the service.
    pub fn to(gitea: &Gitea) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (refusing, losing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let upstream = gitea.url.trim_start_matches("http://").to_owned();
        let (refuse, lose) = (refusing.clone(), losing.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Only what is asked of the API fails: the repository is still read.
                let mut begins = [0; 256];
                let read = client.peek(&mut begins).unwrap_or(0);
                let api = String::from_utf8_lossy(&begins[..read]).contains("/api/v1");
                if api && refuse.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(&upstream) else { continue };
                let lose = lose.clone();
                std::thread::spawn(move || {
                    let (mut up, mut down) = (client.try_clone()?, server.try_clone()?);
                    std::thread::spawn(move || std::io::copy(&mut up, &mut down));
                    let (mut from, mut to) = (server, client);
                    let mut buffer = [0; 65_536];
                    loop {
                        let read = from.read(&mut buffer)?;
                        // The service has done what it was asked for; the answer is lost.
                        if read == 0 || (api && lose.load(Ordering::Relaxed)) {
                            let _ = from.shutdown(Shutdown::Both);
                            return to.shutdown(Shutdown::Both);
                        }
                        to.write_all(&buffer[..read])?;
                    }
                });
            }
        });
        Self { port, refusing, losing }
    }

    /// Returns where it listens.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Takes no connection, or takes them again.
    pub fn refuse(&mut self, yes: bool) {
        self.refusing.store(yes, Ordering::Relaxed);
    }

    /// Loses every answer, or none any longer.
    pub fn lose(&mut self, yes: bool) {
        self.losing.store(yes, Ordering::Relaxed);
    }
}
