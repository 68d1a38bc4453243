//! `holdfast demo` through the real binary.

use std::process::{Command, Output};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_demonstration_shows_all_eight_acts_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a folder is made");
    let ran = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .current_dir(dir.path())
        .env("TMPDIR", dir.path())
        .args(["demo", "--output", "json"])
        .output()
        .expect("the binary runs");
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).expect("the report is JSON");
    let acts = report["acts"].as_array().expect("acts are listed");
    let titles: Vec<&str> = acts.iter().filter_map(|act| act["title"].as_str()).collect();
    let told =
        ["Observe", "Converge", "by hand", "nobody signed", "the third poisoned", "FREEZE", "approval", "The revert"];
    assert_eq!(titles.len(), told.len(), "{titles:?}");
    for (title, word) in titles.iter().zip(told) {
        assert!(title.contains(word), "{title:?} is not about {word:?}");
    }
    assert!(acts.iter().all(|act| act["ok"] == true), "{report:#}");
    let status = |act: usize| acts[act - 1]["status"].to_string();
    assert!(status(4).contains("SIGNATURE") && status(4).contains("healing goes on"), "{}", status(4));
    assert!(status(5).contains("44 of 60") && status(5).contains("Tidy up the base"), "{}", status(5));
    assert!(status(6).contains("FROZEN") && status(6).contains("drift 1"), "{}", status(6));
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("the folder is readable").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_demonstration_without_git_says_what_to_install() {
    let dir = tempfile::tempdir().expect("a folder is made");
    let ran = Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .env("PATH", dir.path())
        .args(["demo"])
        .output()
        .expect("the binary runs");
    let said = said(&ran);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("git and ssh-keygen") && said.contains("apt-get install"), "{said}");
}
