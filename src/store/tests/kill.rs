//! A process that commits is killed: nothing that it was told is durable may be gone.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{accepted, converged, dir, noticed, writer};
use crate::core::state::State;
use crate::store::FoldCheck;

/// Every commit of the child has this many facts.
const FACTS: u64 = 3;

fn child(dir: &Path, commits: u32, crash: Option<u64>) -> Child {
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", "store::tests::kill::child_commits", "--ignored", "--nocapture"]);
    command.env("HOLDFAST_STORE_DIR", dir).env("HOLDFAST_STORE_COMMITS", commits.to_string());
    if let Some(crash) = crash {
        command.env("HOLDFAST_TEST_CRASH", crash.to_string());
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts")
}

#[test]
#[ignore = "runs as the child of another test"]
fn child_commits() {
    let dir = PathBuf::from(std::env::var_os("HOLDFAST_STORE_DIR").expect("set by the parent"));
    let commits: u32 = std::env::var("HOLDFAST_STORE_COMMITS").expect("set by the parent").parse().expect("a number");
    let ledger = writer(&dir);
    let mut state = ledger.load("web").expect("loads");
    for n in 0..commits {
        let facts = [accepted(&format!("r{}", n % 50), "1111"), noticed("x".repeat(2000)), converged(&format!("c{n}"))];
        let seq = ledger.commit("web", state.seq, &facts, &mut state, None).expect("commits");
        let mut out = std::io::stdout().lock();
        writeln!(out, "durable {seq}").and_then(|()| out.flush()).expect("the parent reads");
    }
    crate::crash::report();
}

/// Reads how far the child says it came; `until` that many acknowledgements it is left alone, then killed.
fn follow(child: &mut Child, until: Option<usize>) -> u64 {
    let mut durable = 0;
    let mut told = 0;
    let out = BufReader::new(child.stdout.take().expect("piped"));
    for line in out.lines().map_while(Result::ok) {
        // The test harness prints the test's name without a line's end before it.
        let Some((_, seq)) = line.split_once("durable ") else { continue };
        durable = seq.parse().expect("a number");
        told += 1;
        if Some(told) == until {
            child.kill().expect("is killed");
        }
    }
    durable
}

fn assert_kept(dir: &Path, durable: u64) -> State {
    let ledger = writer(dir);
    let state = ledger.load("web").expect("loads");
    assert!(state.seq >= durable, "told {durable}, found {}", state.seq);
    assert_eq!(state.seq % FACTS, 0, "half a commit");
    assert_eq!(ledger.verify_fold("web").expect("reads"), FoldCheck::Same);
    state
}

#[test]
fn kill_9_loses_nothing_acknowledged() {
    let dir = dir();
    let mut before = 0;
    for round in 1..=12 {
        let mut child = child(dir.path(), 1_000_000, None);
        let durable = follow(&mut child, Some(round * 5 % 37 + 1));
        let status = child.wait().expect("ended");
        assert!(!status.success() && durable > before, "round {round}: {status}, {durable} after {before}");
        before = assert_kept(dir.path(), durable).seq;
    }
}

#[cfg(debug_assertions)]
#[test]
fn killed_at_every_durable_step() {
    const COMMITS: u32 = 3;
    let mut killed = 0;
    for step in 1.. {
        let dir = dir();
        let mut child = child(dir.path(), COMMITS, Some(step));
        let durable = follow(&mut child, None);
        let output = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert_eq!(said.lines().last(), Some(format!("holdfast-test-steps: {killed}").as_str()));
            break;
        }
        assert!(said.contains("holdfast-test-crash"), "{said}");
        killed += 1;
        let state = assert_kept(dir.path(), durable);
        assert!(state.seq <= durable + FACTS);
        // It goes on from there.
        let mut next = self::child(dir.path(), COMMITS, None);
        let durable = follow(&mut next, None);
        assert!(next.wait().expect("ended").success());
        assert_eq!(durable, state.seq + u64::from(COMMITS) * FACTS);
    }
    // Making the file has four steps (one transaction, one rename), each commit two.
    assert_eq!(killed, 4 + 2 * u64::from(COMMITS));
}
