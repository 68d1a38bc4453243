//! Fetching: ways, credentials, failures and bounds.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::repo::{Repo, Server};
use super::{Here, unchecked};
use crate::core::commit::CommitId;
use crate::git::{Credentials, FetchError, Limits, Phase, Remote, Wanted};

#[test]
fn paths_file_urls_and_http_bring_the_tip() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let file = Remote::new(format!("file://{}", repo.path().display()), "main");
    for remote in [repo.remote(), file, server.remote("")] {
        let here = Here::new();
        let first = here.fetch(&remote).unwrap();
        assert_eq!((first.tip.clone(), first.changed, first.shallow), (repo.head(), true, false));
        assert!(first.received > 0);
        let again = here.fetch(&remote).unwrap();
        assert_eq!((again.tip, again.changed, again.received), (first.tip.clone(), false, 0));
        let snapshot = here.mirror.snapshot().unwrap();
        assert_eq!(snapshot.tip("main"), Some(first.tip.clone()));
        assert_eq!(snapshot.commit(&first.tip, &unchecked).unwrap().subject, "c0");
    }
}

#[test]
fn an_unchanged_remote_is_asked_for_names_only() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let here = Here::new();
    here.fetch(&server.remote("")).unwrap();
    let posts = || std::fs::read_to_string(repo.above().join("access.log")).unwrap().matches("POST").count();
    let before = posts();
    here.fetch(&server.remote("")).unwrap();
    assert_eq!(posts() - before, 1, "the listing of names");
}

#[test]
fn credentials_are_read_anew_at_each_fetch_and_never_told() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let here = Here::new();
    let token = here.path().join("token");
    let mut remote = server.remote("/auth");
    let none = here.fetch(&remote).unwrap_err();
    assert!(matches!(none, FetchError::Unauthorized { given: false, .. }), "{none:?}");
    remote.credentials = Credentials::Token { file: token.clone() };
    let missing = here.fetch(&remote).unwrap_err();
    assert!(matches!(missing, FetchError::Credentials { .. }), "{missing:?}");
    std::fs::write(&token, "wrong-sekret\n").unwrap();
    let wrong = here.fetch(&remote).unwrap_err();
    assert!(matches!(wrong, FetchError::Unauthorized { given: true, .. }), "{wrong:?}");
    assert!(!format!("{wrong} {wrong:?}").contains("sekret"), "{wrong:?}");
    std::fs::write(&token, "sekret-token\n").unwrap();
    assert_eq!(here.fetch(&remote).unwrap().tip, repo.head());
}

#[test]
fn names_and_passwords_work_from_files_and_from_the_url() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let here = Here::new();
    let (username, password) = (here.path().join("u"), here.path().join("p"));
    std::fs::write(&username, "x-access-token").unwrap();
    std::fs::write(&password, "sekret-token").unwrap();
    let mut remote = server.remote("/auth");
    remote.credentials = Credentials::Password { username, password };
    here.fetch(&remote).unwrap();
    let inline =
        Remote::new(format!("http://x-access-token:sekret-token@127.0.0.1:{}/auth/repo/.git", server.port), "main");
    assert_eq!(Here::new().fetch(&inline).unwrap().tip, repo.head());
    let bad = Remote::new(format!("http://x:wrong-sekret@127.0.0.1:{}/auth/repo/.git", server.port), "main");
    let error = Here::new().fetch(&bad).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sekret"), "{error:?}");
}

/// Trusts the server's own certificate.
fn trusting(mut remote: Remote, repo: &Repo) -> Remote {
    remote.network.ca = Some(std::fs::read(repo.above().join("tls.crt")).unwrap().into());
    remote
}

#[test]
fn tls_is_verified_against_the_system_and_the_given_certificates() {
    let repo = Repo::new();
    let server = Server::with_tls(&repo);
    let here = Here::new();
    let unknown = here.fetch(&server.remote("")).unwrap_err();
    assert!(matches!(unknown, FetchError::Unreachable { .. }), "{unknown:?}");
    assert_eq!(here.fetch(&trusting(server.remote(""), &repo)).unwrap().tip, repo.head());
    let mut broken = server.remote("");
    broken.network.ca = Some(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n".as_slice().into());
    here.fetch(&broken).unwrap_err();
}

#[test]
fn a_redirect_does_not_carry_credentials_elsewhere() {
    let repo = Repo::new();
    let (first, second) = (Server::with_tls(&repo), Server::with_tls(&repo));
    let here = Here::new();
    let token = here.path().join("token");
    std::fs::write(&token, "sekret-token").unwrap();
    let mut remote = trusting(first.remote("/auth"), &repo);
    remote.credentials = Credentials::Token { file: token };
    assert_eq!(here.fetch(&remote).unwrap().tip, repo.head());
    let log = repo.above().join("access.log");
    assert!(std::fs::read_to_string(&log).unwrap().contains("auth=True"));
    std::fs::remove_file(&log).unwrap();
    remote.url = trusting(first.remote(&format!("/redirect/{}/auth", second.port)), &repo).url;
    here.fetch(&remote).unwrap_err();
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("GET /auth/") && !log.contains("auth=True"), "{log}");
}

#[test]
fn credentials_do_not_travel_in_clear_text_past_this_machine() {
    let here = Here::new();
    let token = here.path().join("token");
    std::fs::write(&token, "sekret-token").unwrap();
    let mut remote = Remote::new("http://git.example.com/a.git", "main");
    remote.credentials = Credentials::Token { file: token };
    let error = here.fetch(&remote).unwrap_err();
    assert!(matches!(error, FetchError::Url { .. }) && error.to_string().contains("https"), "{error:?}");
}

#[test]
fn what_is_not_there_is_told_apart() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let here = Here::new();
    let nowhere = Remote::new(format!("http://127.0.0.1:{}/nope.git", server.port), "main");
    assert!(matches!(here.fetch(&nowhere), Err(FetchError::NotFound { .. })));
    assert!(matches!(here.fetch(&Remote::new("/nonexistent/repo", "main")), Err(FetchError::NotFound { .. })));
    let above = Remote::new(repo.above().to_str().unwrap(), "main");
    assert!(matches!(here.fetch(&above), Err(FetchError::NotFound { .. })), "{:?}", here.fetch(&above));
    let refused = here.fetch(&Remote::new("http://127.0.0.1:1/repo.git", "main")).unwrap_err();
    assert!(matches!(refused, FetchError::Unreachable { .. }), "{refused:?}");
    let mut branch = repo.remote();
    branch.branch = "master".into();
    match here.fetch(&branch) {
        Err(FetchError::BranchMissing { branch, others, .. }) => {
            assert_eq!((branch.as_str(), others), ("master", vec!["main".to_owned()]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_repository_is_told_as_such() {
    let repo = Repo::empty();
    let server = Server::of(&repo);
    for remote in [repo.remote(), server.remote("")] {
        let error = Here::new().fetch(&remote).unwrap_err();
        assert!(matches!(error, FetchError::Empty { .. }), "{error:?}");
    }
}

#[test]
fn a_branch_that_goes_away_leaves_what_was_fetched() {
    let repo = Repo::new();
    let here = Here::new();
    let tip = here.fetch(&repo.remote()).unwrap().tip;
    repo.git(&["branch", "-m", "main", "other"]);
    assert!(matches!(here.fetch(&repo.remote()), Err(FetchError::BranchMissing { .. })));
    assert_eq!(here.mirror.snapshot().unwrap().tip("main"), Some(tip));
}

fn impatient(mut remote: Remote) -> Remote {
    remote.limits.idle = Duration::from_millis(300);
    remote
}

#[test]
fn a_server_that_stalls_is_given_up() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    for mode in ["/stall", "/stallpost"] {
        let error = Here::new().fetch(&impatient(server.remote(mode))).unwrap_err();
        assert!(matches!(error, FetchError::TimedOut { .. }), "{mode}: {error:?}");
    }
    let mut total = server.remote("/stall");
    total.limits.total = Duration::from_millis(300);
    assert!(matches!(Here::new().fetch(&total), Err(FetchError::TimedOut { .. })));
}

#[test]
fn a_child_that_hangs_is_killed_with_its_children() {
    let repo = Repo::new();
    let here = Here::new();
    let mut remote = impatient(repo.remote());
    // The grandchild holds the pipes open; only the group's death ends the read.
    remote.network.git = here.program("git", "sleep 1000 & sleep 1000");
    match here.fetch(&remote) {
        Err(FetchError::TimedOut { phase: Phase::Idle, .. }) => {}
        other => panic!("{other:?}"),
    }
    remote.limits = Limits { total: Duration::from_millis(200), ..Limits::default() };
    match here.fetch(&remote) {
        Err(FetchError::TimedOut { phase: Phase::Total, .. }) => {}
        other => panic!("{other:?}"),
    }
    let stop = AtomicBool::new(true);
    let interrupted = here.mirror.fetch(&repo_with(&remote, Limits::default()), &Wanted::default(), &stop);
    assert!(matches!(interrupted, Err(FetchError::Interrupted)), "{interrupted:?}");
}

fn repo_with(remote: &Remote, limits: Limits) -> Remote {
    Remote { limits, ..remote.clone() }
}

#[test]
fn ssh_is_run_with_the_key_and_known_hosts_alone() {
    let repo = Repo::new();
    let here = Here::new();
    let (key, known_hosts) = (here.path().join("key"), here.path().join("known hosts"));
    std::fs::write(&key, "k").unwrap();
    std::fs::write(&known_hosts, "h").unwrap();
    let mut remote = Remote::new(format!("ssh://git@host.example:2222{}", repo.path().display()), "main");
    remote.credentials = Credentials::Ssh { key, known_hosts };
    let log = here.path().join("log");
    let script = format!("echo \"$@\" > {}; for last; do :; done; exec sh -c \"$last\"", log.display());
    remote.network.ssh = here.program("ssh", &script);
    assert_eq!(here.fetch(&remote).unwrap().tip, repo.head());
    let args = std::fs::read_to_string(log).unwrap();
    for expected in [
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
        "-F /dev/null",
        "-p 2222 -- git@host.example",
        "known hosts\"",
        "IdentityAgent=none",
    ] {
        assert!(args.contains(expected), "{expected} in {args}");
    }
}

#[test]
fn what_ssh_complains_about_is_told_apart() {
    let here = Here::new();
    let mut remote = Remote::new("git@host.example:repo.git", "main");
    for (complaint, code) in [
        ("Host key verification failed.", "host_key"),
        ("git@host: Permission denied (publickey).", "unauthorized"),
        ("ssh: Could not resolve hostname host.example: Name or service not known", "unreachable"),
        ("ssh: connect to host host.example port 22: Connection refused", "unreachable"),
        ("ssh: connect to host host.example port 22: Connection timed out", "timed_out"),
        ("ERROR: Repository not found.", "not_found"),
    ] {
        remote.network.ssh = here.program("ssh", &format!("echo '{complaint}' >&2; exit 255"));
        let error = here.fetch(&remote).unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(error.to_string().contains(complaint) || code == "timed_out", "{error}");
    }
    remote.network.ssh = "/nonexistent/ssh".into();
    assert_eq!(here.fetch(&remote).unwrap_err().code(), "program");
}

#[test]
fn packs_and_objects_over_the_limit_are_refused() {
    let repo = Repo::new();
    repo.file("app/large.bin", Repo::noise(400_000));
    repo.commit("large");
    let server = Server::of(&repo);
    for remote in [repo.remote(), server.remote("")] {
        let pack = repo_with(&remote, Limits { pack: 50_000, ..Limits::default() });
        let error = Here::new().fetch(&pack).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { what: "pack", .. }), "{error:?}");
        let object = repo_with(&remote, Limits { object: 100_000, ..Limits::default() });
        let here = Here::new();
        let error = here.fetch(&object).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { what: "object", .. }), "{error:?}");
        assert_eq!(here.fetch(&remote).unwrap().tip, repo.head(), "nothing was left behind that hinders");
    }
}

#[test]
fn a_pack_that_is_cut_off_or_garbage_changes_nothing() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let here = Here::new();
    let before = here.fetch(&server.remote("")).unwrap().tip;
    repo.file("app/b.conf", "two\n".repeat(1000));
    let after = repo.commit("c1");
    for mode in ["/cut", "/garbage"] {
        let error = here.fetch(&server.remote(mode)).unwrap_err();
        assert!(matches!(error, FetchError::Protocol { .. } | FetchError::Unreachable { .. }), "{mode}: {error:?}");
        assert_eq!(here.mirror.snapshot().unwrap().tip("main"), Some(before.clone()));
    }
    let done = here.fetch(&server.remote("")).unwrap();
    assert_eq!((done.tip, done.rebuilt), (after, None));
}

#[test]
fn a_force_push_moves_the_tip_back() {
    let repo = Repo::new();
    let c0 = repo.head();
    let c1 = repo.change("c1");
    let here = Here::new();
    assert_eq!(here.fetch(&repo.remote()).unwrap().tip, c1);
    repo.git(&["reset", "-q", "--hard", c0.as_str()]);
    let back = here.fetch(&repo.remote()).unwrap();
    assert_eq!((back.tip, back.changed), (c0, true));
}

#[test]
fn a_branch_may_take_the_place_of_a_former_ones_directory() {
    let repo = Repo::new();
    let here = Here::new();
    let mut remote = repo.remote();
    for name in ["a", "a/b", "a"] {
        repo.git(&["branch", "-qm", "aside"]);
        repo.git(&["branch", "-qm", name]);
        remote.branch = name.into();
        let fetched = here.fetch(&remote).unwrap();
        assert_eq!((fetched.tip.clone(), fetched.rebuilt), (repo.head(), None));
        assert_eq!(here.mirror.snapshot().unwrap().tip(name), Some(fetched.tip));
    }
}

#[test]
fn revisions_are_fetched_by_name_and_by_id() {
    let repo = Repo::new();
    let main = repo.head();
    repo.git(&["checkout", "-q", "-b", "feature"]);
    let feature = repo.change("feature");
    repo.git(&["update-ref", "refs/pull/7/head", feature.as_str()]);
    repo.git(&["checkout", "-q", "main"]);
    repo.git(&["branch", "-qD", "feature"]);
    let server = Server::of(&repo);
    for remote in [repo.remote(), server.remote("")] {
        for rev in ["refs/pull/7/head", feature.as_str()] {
            let here = Here::new();
            let wanted = Wanted { revs: vec![rev.into(), "refs/pull/8/head".into()] };
            for _again in 0..2 {
                let fetched = here.mirror.fetch(&remote, &wanted, &AtomicBool::new(false)).unwrap();
                assert_eq!((fetched.tip, fetched.revs), (main.clone(), vec![Some(feature.clone()), None]));
            }
            let snapshot = here.mirror.snapshot().unwrap();
            assert_eq!(snapshot.resolve("main", feature.short()).unwrap(), feature);
            assert_eq!(snapshot.resolve("main", "main").unwrap(), main);
            assert_eq!(snapshot.resolve("main", "HEAD").unwrap(), main);
        }
    }
    let odd = Wanted { revs: vec!["main".into()] };
    assert!(matches!(
        Here::new().mirror.fetch(&repo.remote(), &odd, &AtomicBool::new(false)),
        Err(FetchError::Url { .. })
    ));
}

#[test]
fn an_unreachable_proxy_is_used_and_told_without_its_password() {
    let repo = Repo::new();
    let server = Server::of(&repo);
    let here = Here::new();
    let mut remote = server.remote("");
    remote.network = remote.network.with_proxy("http://user:sekret@127.0.0.1:1");
    let error = here.fetch(&remote).unwrap_err();
    assert!(matches!(error, FetchError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?} {remote:?}").contains("sekret"), "{error:?}");
    remote.network.no_proxy = Some("127.0.0.1".into());
    assert_eq!(here.fetch(&remote).unwrap().tip, repo.head());
}

#[test]
fn a_branch_name_cannot_be_something_else() {
    let repo = Repo::new();
    for branch in ["", "a..b", "a b", "a:b", "*", "-x/../y"] {
        let mut remote = repo.remote();
        remote.branch = branch.into();
        assert!(matches!(Here::new().fetch(&remote), Err(FetchError::Url { .. })), "{branch}");
    }
}

#[test]
fn unknown_commits_are_told_apart_from_unproven_ancestry() {
    let repo = Repo::new();
    let here = Here::new();
    here.fetch(&repo.remote()).unwrap();
    let snapshot = here.mirror.snapshot().unwrap();
    let none = CommitId::new("0123456789012345678901234567890123456789");
    assert!(!snapshot.has(&none));
    assert!(snapshot.commit(&none, &unchecked).is_err());
    assert!(snapshot.resolve("main", "nope").is_err());
}
