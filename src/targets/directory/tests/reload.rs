//! Commands after writing.

use std::time::{Duration, Instant};

use super::*;
use crate::core::resource::Health;

fn entry(matches: &str, run: &str, check: &str) -> Reload {
    let shell = |script: &str| match script {
        "" => vec![],
        script => vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
    };
    // Far more than any of them takes; those that shall be killed say so.
    Reload { matches: matches.to_owned(), run: shell(run), check: shell(check), timeout: Duration::from_secs(60) }
}

fn ids(ids: &[&str]) -> Vec<Id> {
    ids.iter().map(|id| Id::new(*id)).collect()
}

#[test]
fn a_command_runs_once_for_all_that_matches_and_not_otherwise() {
    let fixture = Fixture::new();
    let directory = fixture.with(
        false,
        vec![
            entry("*.conf", "echo conf >> log", ""),
            entry("sites/*/x", "echo sites >> log", ""),
            entry("**/deep", "echo deep >> log", ""),
            entry("other", "echo other >> log", ""),
        ],
    );
    let reloaded = directory.reload(&ids(&["a.conf", "d/b.conf", "sites/one/x", "sites/one/two/x", "a/b/deep", "z"]));
    let told: Vec<_> = reloaded.iter().map(|(id, health, _)| (id.as_str(), *health)).collect();
    let healthy = Health::Healthy;
    assert_eq!(told, [("a.conf", healthy), ("a/b/deep", healthy), ("d/b.conf", healthy), ("sites/one/x", healthy)]);
    assert_eq!(fixture.read("log"), "conf\nsites\ndeep\n");
    assert!(directory.reload(&ids(&["nothing"])).is_empty());
    assert!(directory.reload(&[]).is_empty());
}

#[test]
fn a_check_that_fails_makes_what_it_matches_unhealthy_with_its_output() {
    let fixture = Fixture::new();
    let check = "echo out; echo err >&2; exit 3";
    let directory = fixture.with(false, vec![entry("*.conf", "", "true"), entry("a*", "", check)]);
    let mut told = directory.settle_health(&ids(&["a.conf", "b.conf", "c"])).into_iter();
    let (id, health, why) = told.next().unwrap();
    let why = why.unwrap();
    assert_eq!((id.as_str(), health), ("a.conf", Health::Unhealthy));
    assert!(why.contains("exit status: 3") && why.contains("out\nerr"), "{why}");
    assert_eq!(told.next().unwrap(), (Id::new("b.conf"), Health::Healthy, None));
    assert_eq!(told.next(), None);
}

#[test]
fn only_the_end_of_the_output_is_kept_and_it_is_safe_to_show() {
    let fixture = Fixture::new();
    let script = "yes 0123456789 | head -n 100000; printf '\\033[31mthe end\\n'; exit 1";
    let told = fixture.with(false, vec![entry("*", script, "")]).reload(&ids(&["a"]));
    let why = told[0].2.as_deref().unwrap();
    assert!(why.len() < 5000 && why.ends_with("[31mthe end") && !why.contains('\x1b'), "{} bytes", why.len());
}

#[test]
fn a_command_that_takes_too_long_is_killed_with_all_that_it_started() {
    let fixture = Fixture::new();
    let fifo = fixture.root.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    // Ends when the last process that writes to it is gone.
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(fs::read(fifo)));
    let script = "exec 3> fifo; sleep 1000 & echo started; wait";
    let slow = Reload { timeout: Duration::from_millis(500), ..entry("*", script, "") };
    let told = fixture.with(false, vec![slow]).reload(&ids(&["a"]));
    let why = told[0].2.as_deref().unwrap();
    assert!(why.contains("was killed after 500ms: started"), "{why}");
    end.recv_timeout(Duration::from_secs(60)).expect("what it started is gone").unwrap();
}

#[test]
fn what_a_command_left_running_is_not_waited_for() {
    let fixture = Fixture::new();
    // It keeps the pipe open until it is killed below.
    let script = "sleep 1000 & echo $! > left; echo done";
    let started = Instant::now();
    let told = fixture.with(false, vec![entry("*", script, "")]).reload(&ids(&["a"]));
    assert_eq!(told, [(Id::new("a"), Health::Healthy, None)]);
    let pid = rustix::process::Pid::from_raw(fixture.read("left").trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it still runs");
    assert!(started.elapsed() < Duration::from_secs(60), "the time-out ended it, not its own end");
}

#[test]
fn a_program_that_does_not_exist_is_a_failure_that_says_so() {
    let fixture = Fixture::new();
    let missing = Reload { run: vec!["/no/such/program".to_owned()], ..entry("*", "", "") };
    let told = fixture.with(false, vec![missing]).reload(&ids(&["a"]));
    assert_eq!(told[0].1, Health::Unhealthy);
    assert!(told[0].2.as_deref().unwrap().contains("could not be started"));
}

#[tokio::test]
async fn commands_run_from_a_blocking_thread_of_a_runtime() {
    let fixture = Fixture::new();
    let directory = fixture.with(false, vec![entry("*", "true", "")]);
    let told = tokio::task::spawn_blocking(move || directory.reload(&ids(&["a"]))).await.unwrap();
    assert_eq!(told[0].1, Health::Healthy);
}
