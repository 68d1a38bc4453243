//! GitHub by its own API description: every request that the client makes is checked by Prism, and every example that the description
//! has for its answer is read.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

/// A server that answers by the description, and writes down what does not fit it.
struct Prism {
    child: Child,
    dir: tempfile::TempDir,
    url: String,
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prism {
    fn start() -> Self {
        let laid = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/github-api"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("it runs");
        assert!(laid.status.success(), "the description cannot be had: see above");
        let laid = PathBuf::from(String::from_utf8(laid.stdout).expect("a path is text").trim());
        let dir = tempfile::tempdir().expect("a folder is made");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port is free").port();
        let log = fs::File::create(dir.path().join("log")).expect("the log is made");
        let child = Command::new("setpriv")
            .args(["--pdeathsig=KILL", "node"])
            .arg(laid.join("node_modules/@stoplight/prism-cli/dist/index.js"))
            .args(["mock", "--host", "127.0.0.1", "--port", &port.to_string()])
            .arg(laid.join("github.json"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log is shared"))
            .stderr(log)
            .spawn()
            .expect("node runs");
        let prism = Self { child, dir, url: format!("http://127.0.0.1:{port}") };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(120), "it does not start:\n{}", prism.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        prism
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).expect("the log is readable")
    }

    /// Returns what did not fit, of requests: GitHub's own examples do not all fit its description.
    fn violations(&self) -> Vec<String> {
        self.log().lines().filter(|line| line.contains("Violation: request")).map(str::to_owned).collect()
    }

    /// Returns which operations were asked for.
    fn asked(&self) -> Vec<String> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains("Request received"));
        lines.filter_map(|line| line.split("[HTTP SERVER] ").nth(1)?.split(" ℹ").next().map(str::to_owned)).collect()
    }

    fn client(&self, app: bool) -> Client {
        let file = |name: &str| self.dir.path().join(name);
        fs::write(file("token"), "token\n").expect("the token is written");
        let auth = if app {
            let made = Command::new("openssl").args(["genrsa", "-traditional", "-out"]).arg(file("key")).output();
            assert!(made.expect("openssl runs").status.success());
            ForgeAuth::App { id: 12, key_file: file("key") }
        } else {
            ForgeAuth::Token(file("token"))
        };
        let forge = Forge { kind: ForgeKind::Github, url: self.url.clone(), auth, comment_approvals: true };
        let pace = Pace { connect: Duration::from_secs(5), whole: Duration::from_secs(60), between: Duration::ZERO };
        Client::with(&forge, &Network::default(), pace).expect("the client is made")
    }
}

fn status(state: StatusState) -> Status {
    Status {
        context: "holdfast/web".to_owned(),
        state,
        description: "would halt: 40 deletions".to_owned(),
        url: Some("https://holdfast.example/web".to_owned()),
        summary: "*what* would change".to_owned(),
    }
}

/// Asks for everything that there is to ask for.
async fn everything(client: &Client, url: &str) -> Result<(), ForgeError> {
    let repo = client.repo(&format!("{url}/octocat/Hello-World.git")).expect("it is there");
    let (commit, mark) = (CommitId::new("6dcb09b5b57875f334f61aebed695e2e4193db5e"), mark());
    assert!(!client.whoami(&repo).await?.login.is_empty());
    // The example's branch is another one, so that the list is read and nothing is left of it.
    assert_eq!(client.open_pulls(&repo, "main").await?, Fresh::New(Vec::new()));
    assert_eq!(client.pull(&repo, 1347).await?.number, 1347);
    assert_eq!(client.pulls_of(&repo, &commit).await?.len(), 1);
    assert_eq!(client.commit_author(&repo, &commit).await?.map(|author| author.login), Some("octocat".to_owned()));
    let since = "2011-04-14T16:00:49Z".parse().ok();
    assert_eq!(client.comments(&repo, 1347, since).await?.len(), 1);
    let id = client.put_comment(&repo, 1347, &mark, "one").await?;
    assert_eq!(client.put_comment(&repo, 1347, &mark, "two").await?, id);
    client.edit_comment(&repo, 1347, id, &mark, "three").await?;
    for state in [StatusState::Pending, StatusState::Success, StatusState::Failure, StatusState::Error] {
        client.set_status(&repo, &commit, &status(state)).await?;
    }
    if client.has_summaries() {
        // One that is there is changed; of the example's name there is one always.
        let Service::Github(github) = &client.service else { panic!("it is GitHub's") };
        github.create_check_run(&repo, &commit, &status(StatusState::Failure)).await?;
    }
    client.delete_comment(&repo, 1347, id).await?;
    client.create_issue(&repo, "halted", "why").await?;
    for open in [true, true, false] {
        let issue = Issue { title: "halted", body: "why", open };
        assert!(client.put_issue(&repo, &mark, &issue, None).await?.is_some());
    }
    assert!(client.permission(&repo, "octocat").await? >= Permission::Read);
    let findings = client.check(&repo, MachineClock::wall()).await;
    assert!(!findings.is_empty());
    Ok(())
}

#[tokio::test]
async fn every_request_to_github_fits_its_own_description() {
    let prism = Prism::start();
    for app in [false, true] {
        let done = everything(&prism.client(app), &prism.url).await;
        assert_eq!(done, Ok(()), "app {app}: {:#?}\n{}", prism.violations(), prism.log());
    }
    assert_eq!(prism.violations(), [""; 0]);
    let asked = prism.asked();
    for operation in [
        "get /user",
        "get /repos/octocat/Hello-World/installation",
        "post /app/installations/",
        "get /repos/octocat/Hello-World/pulls",
        "get /repos/octocat/Hello-World/pulls/1347",
        "get /repos/octocat/Hello-World/commits",
        "get /repos/octocat/Hello-World/issues/1347/comments",
        "post /repos/octocat/Hello-World/issues/1347/comments",
        "patch /repos/octocat/Hello-World/issues/comments/",
        "post /repos/octocat/Hello-World/statuses/",
        "post /repos/octocat/Hello-World/check-runs",
        "patch /repos/octocat/Hello-World/check-runs/",
        "delete /repos/octocat/Hello-World/issues/comments/",
        "get /repos/octocat/Hello-World/issues",
        "post /repos/octocat/Hello-World/issues",
        "patch /repos/octocat/Hello-World/issues/",
        "get /repos/octocat/Hello-World/collaborators/octocat/permission",
    ] {
        assert!(asked.iter().any(|line| line.starts_with(operation)), "{operation} was not asked for: {asked:#?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_seen() {
    let prism = Prism::start();
    let client = prism.client(false);
    let repo = client.repo(&format!("{}/octocat/Hello-World.git", prism.url)).expect("it is there");
    let Service::Github(github) = &client.service else { panic!("it is GitHub's") };
    let strange =
        super::super::ask::Ask::post("/repos/octocat/Hello-World/issues/1/comments", serde_json::json!({}), "");
    let told = github.reach.ask(&repo, strange).await;
    assert!(matches!(told, Err(ForgeError::Rejected { status: 422, .. })), "{told:?}");
    assert_eq!(prism.violations().len(), 1);
}
