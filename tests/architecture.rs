//! Dependencies run one way, and core decides without touching the world.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each folder of `src` with the others that it may name.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("config", &["core"]),
    ("git", &["core", "config"]),
    ("manifest", &["core"]),
    ("render", &["core", "config", "manifest"]),
    ("targets", &["core", "config", "manifest"]),
    ("store", &["core", "config"]),
    ("signatures", &["core", "config"]),
    ("cluster", &["core", "config"]),
    ("alerts", &["core", "config"]),
    ("forges", &["core", "config"]),
    ("server", &["core", "config"]),
    (
        "controller",
        &[
            "core",
            "config",
            "git",
            "manifest",
            "render",
            "targets",
            "store",
            "signatures",
            "cluster",
            "alerts",
            "forges",
            "server",
        ],
    ),
    (
        "cli",
        &[
            "core",
            "config",
            "git",
            "manifest",
            "render",
            "targets",
            "store",
            "signatures",
            "cluster",
            "alerts",
            "forges",
            "server",
            "controller",
        ],
    ),
];

/// What core must not name: it has no clock, no environment, no files, no runtime and no log.
const IMPURE: [&str; 7] = [".await", "std::fs", "std::env", "time::SystemTime", "time::Instant", "tokio", "tracing"];

/// Modules that serve all edges: where tests crash the program, and the machine's clock.
const SHARED: [&str; 3] = ["crash", "clock", "process"];

fn source() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("src")
}

fn files(under: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the lines of code of a folder with their places; comments and tests apart.
fn lines(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    files(&source().join(folder), &mut found);
    assert!(!found.is_empty(), "{folder} has no file");
    let tests =
        |path: &PathBuf| path.components().any(|part| matches!(part.as_os_str().to_str(), Some("tests" | "tests.rs")));
    found.retain(|path| !tests(path));
    let mut lines = Vec::new();
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for (at, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            lines.push((format!("{}:{}", path.display(), at + 1), line.to_owned()));
        }
    }
    lines
}

/// Returns the modules of this crate that a line names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::")
        .skip(1)
        .map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or(""))
}

#[test]
fn dependencies_run_one_way() {
    let mut wrong = Vec::new();
    for &(folder, allowed) in MAY_USE {
        for (place, line) in lines(folder) {
            for name in named(&line) {
                let fine = name.is_empty()
                    || name == folder
                    || allowed.contains(&name)
                    || (folder != "core" && SHARED.contains(&name));
                if !fine {
                    wrong.push(format!("{place}: {folder} uses {name}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_folder_has_its_place() {
    let folders: BTreeSet<String> = fs::read_dir(source())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = MAY_USE.iter().map(|(folder, _)| (*folder).to_owned()).collect();
    assert_eq!(folders, listed);
}

#[test]
fn core_touches_nothing() {
    let impure = |(place, line): (String, String)| {
        IMPURE.iter().find(|word| line.contains(**word)).map(|word| format!("{place}: {word}"))
    };
    let wrong: Vec<String> = lines("core").into_iter().filter_map(impure).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_lines_sees_what_is_forbidden() {
    assert_eq!(named("use crate::store::Ledger;").collect::<Vec<_>>(), ["store"]);
    assert!(lines("controller").iter().any(|(_, line)| named(line).any(|name| name == "store")));
    assert!(lines("store").iter().any(|(_, line)| line.contains("std::fs")));
}
