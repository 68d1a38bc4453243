//! Renders of trees in memory; those of real repositories are in `tests/`.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Content, Limits, Problem, Render, RenderError, Renderer, field_changes};
use crate::core::commit::CommitId;
use crate::core::resource::{Id, Vitals, Want};
use crate::core::spelling::{file_digest, link_digest};
use crate::core::tree::{Kind, Oid, TreeError, Trees};

/// Trees and blobs by made-up ids; a commit is the hexadecimal id of its tree.
#[derive(Default)]
pub(super) struct Memory {
    trees: HashMap<Oid, Arc<[u8]>>,
    blobs: HashMap<Oid, Vec<u8>>,
    reads: Cell<usize>,
}

pub(super) enum Node<'a> {
    Blob(Kind, &'a [u8]),
    Tree(Vec<(&'a [u8], Self)>),
    Submodule,
}

pub(super) fn file(content: &str) -> Node<'_> {
    Node::Blob(Kind::File, content.as_bytes())
}

pub(super) fn tree<'a>(entries: impl IntoIterator<Item = (&'a str, Node<'a>)>) -> Node<'a> {
    Node::Tree(entries.into_iter().map(|(name, node)| (name.as_bytes(), node)).collect())
}

impl Memory {
    pub(super) fn commit(&mut self, root: &Node<'_>) -> CommitId {
        CommitId::new(self.add(root).1.to_string())
    }

    fn add(&mut self, node: &Node<'_>) -> (&'static str, Oid) {
        let oid = |parts: &[u8]| {
            let digest = crate::core::resource::Digest::of_parts([parts]);
            Oid::new(digest.as_bytes()[..20].try_into().unwrap())
        };
        match node {
            Node::Blob(kind, bytes) => {
                let oid = oid(&[b"blob", *bytes].concat());
                self.blobs.insert(oid, bytes.to_vec());
                let mode = match kind {
                    Kind::Executable => "100755",
                    Kind::Link => "120000",
                    _ => "100644",
                };
                (mode, oid)
            }
            Node::Submodule => ("160000", oid(b"submodule")),
            Node::Tree(entries) => {
                let mut raw: Vec<(Vec<u8>, Vec<u8>)> = entries
                    .iter()
                    .map(|(name, node)| {
                        let (mode, oid) = self.add(node);
                        let key = if mode == "40000" { [*name, b"/"].concat() } else { name.to_vec() };
                        (key, [mode.as_bytes(), b" ", *name, b"\0", oid.as_bytes()].concat())
                    })
                    .collect();
                raw.sort();
                let raw: Vec<u8> = raw.into_iter().flat_map(|(_, entry)| entry).collect();
                let oid = oid(&[b"tree", raw.as_slice()].concat());
                self.trees.insert(oid, raw.into());
                ("40000", oid)
            }
        }
    }

    fn count(&self) {
        self.reads.set(self.reads.get() + 1);
    }
}

impl Trees for Memory {
    fn tree_of(&self, commit: &CommitId) -> Result<Oid, TreeError> {
        Oid::from_hex(commit.as_str()).ok_or_else(|| TreeError::NoCommit(commit.clone()))
    }

    fn tree(&self, tree: Oid) -> Result<Arc<[u8]>, TreeError> {
        self.count();
        self.trees.get(&tree).cloned().ok_or(TreeError::Missing(tree))
    }

    fn blob_size(&self, blob: Oid) -> Result<u64, TreeError> {
        self.count();
        self.blobs.get(&blob).map(|bytes| bytes.len() as u64).ok_or(TreeError::Missing(blob))
    }

    fn blob(&self, blob: Oid, cap: u64) -> Result<Vec<u8>, TreeError> {
        let size = self.blob_size(blob)?;
        if size > cap { Err(TreeError::TooLarge { oid: blob, size, cap }) } else { Ok(self.blobs[&blob].clone()) }
    }
}

fn plain(path: &str) -> Renderer {
    Renderer::new(Render::Plain, path, Limits::default()).unwrap()
}

pub(super) fn names(wants: &[Want]) -> Vec<&str> {
    wants.iter().map(|want| want.id.as_str()).collect()
}

#[test]
fn every_file_is_a_want_sorted_by_identity() {
    let mut memory = Memory::default();
    let commit = memory.commit(&tree([(
        "etc",
        tree([
            ("nginx", tree([("nginx.conf", file("x")), ("empty", file(""))])),
            ("a", tree([("b", file("1"))])),
            ("a.conf", Node::Blob(Kind::Executable, b"#!/bin/sh")),
            ("link", Node::Blob(Kind::Link, b"a.conf")),
        ]),
    )]));
    let desired = plain("./etc/").render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["a.conf", "a/b", "link", "nginx/empty", "nginx/nginx.conf"]);
    let [script, b, link, empty, conf] = desired.wants() else { panic!("five") };
    assert_eq!(script.nature.vitals, Vitals::CONTENT.with(Vitals::EXECUTABLE));
    assert_eq!((script.nature.identity.as_deref(), script.nature.group.as_deref()), (Some("file"), None));
    assert_eq!((b.nature.group.as_deref(), b.origin.as_ref()), (Some("a"), None));
    assert_eq!((link.digest, link.nature.identity.as_deref()), (link_digest(b"a.conf"), Some("link")));
    assert_eq!(empty.nature.vitals, Vitals::default());
    assert_eq!(conf.nature.vitals, Vitals::CONTENT);
    assert!(desired.get(&Id::new("nginx/empty")).is_some());
}

#[test]
fn digests_tell_content_mode_and_kind() {
    let mut memory = Memory::default();
    let commit = memory.commit(&tree([("f", file("x")), ("x", Node::Blob(Kind::Executable, b"x"))]));
    let desired = plain(".").render(&memory, &commit).unwrap();
    let (_, oid) = memory.add(&file("x"));
    assert_eq!(desired.wants()[0].digest, file_digest(false, oid.as_bytes()));
    assert_eq!(desired.wants()[1].digest, file_digest(true, oid.as_bytes()));
}

#[test]
fn what_is_protected_and_what_is_access_control_is_marked() {
    let mut memory = Memory::default();
    let commit =
        memory.commit(&tree([("sudoers.d", tree([("ops", file("x"))])), ("motd", file("x")), ("fstab", file("x"))]));
    let desired = plain(".").render(&memory, &commit).unwrap();
    let marks =
        desired.wants().iter().map(|want| (want.id.as_str(), want.nature.protected, want.nature.access_control));
    assert_eq!(
        marks.collect::<Vec<_>>(),
        [("fstab", true, false), ("motd", false, false), ("sudoers.d/ops", true, true)]
    );
}

#[test]
fn what_freezes_is_never_rendered() {
    let mut memory = Memory::default();
    let commit = memory.commit(&tree([
        ("FREEZE", file("")),
        ("freeze.d", tree([("x", file("x"))])),
        ("freezer", file("x")),
        ("docs", tree([("freeze.md", file("x")), (".holdfast", file("x"))])),
    ]));
    let renderer = plain(".");
    let desired = renderer.render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["docs/.holdfast", "docs/freeze.md", "freezer"]);
    for id in ["FREEZE", "freeze.d/x"] {
        assert_eq!(renderer.content(&memory, &commit, &Id::new(id)).unwrap_err().problem, Problem::NotWanted);
    }
}

#[test]
fn the_names_of_holdfast_s_own_files_are_refused_and_may_be_removed() {
    let ours = [
        (".holdfast", tree([(".holdfast", file("x"))])),
        (".holdfast/x", tree([(".holdfast", tree([("x", file("x"))]))])),
        ("a/.holdfast-tmp-1", tree([("a", tree([(".holdfast-tmp-1", file("x"))]))])),
    ];
    for (path, root) in ours {
        assert_eq!(problem(".", &root), (path.to_owned(), Problem::Reserved));
        let mut memory = Memory::default();
        let (old, new) = (memory.commit(&root), memory.commit(&tree([("b", file("b"))])));
        let changes = plain(".").changes(&memory, &old, &new).unwrap();
        assert_eq!(changes.iter().map(|change| change.id.as_str()).collect::<Vec<_>>(), ["b"]);
    }
}

fn problem(path: &str, root: &Node<'_>) -> (String, Problem) {
    let mut memory = Memory::default();
    let commit = memory.commit(root);
    let RenderError { path, problem } = plain(path).render(&memory, &commit).unwrap_err();
    (path.to_string(), problem)
}

#[test]
fn what_cannot_be_rendered_is_told_with_its_place() {
    let long = "x".repeat(256);
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n";
    let deep = |node| tree([("app", tree([("d", node)]))]);
    let named = |name| deep(tree([(name, file("x"))]));
    let cases: Vec<(Node<'_>, &str, &str)> = vec![
        (tree([("other", file("x"))]), "app", "path_missing"),
        (tree([("app", file("x"))]), "app", "not_a_directory"),
        (tree([("app", Node::Blob(Kind::Link, b"other"))]), "app", "not_a_directory"),
        (tree([("app", Node::Submodule)]), "app", "submodule"),
        (deep(Node::Submodule), "app/d", "submodule"),
        (deep(tree([("big.bin", file(lfs))])), "app/d/big.bin", "lfs_pointer"),
        (named(".."), "app/d/..", "name"),
        (named("."), "app/d/.", "name"),
        (deep(tree([(".Git", tree([("config", file("x"))]))])), "app/d/.Git/config", "name"),
        (named(&long), "", "name"),
        (deep(tree([("l", Node::Blob(Kind::Link, b""))])), "app/d/l", "link"),
        (deep(tree([("l", Node::Blob(Kind::Link, b"a\0b"))])), "app/d/l", "link"),
    ];
    for (root, place, code) in cases {
        let (path, problem) = problem("app", &root);
        assert_eq!(problem.code(), code, "{path}: {problem}");
        assert!(place.is_empty() || path == place, "{path}");
    }
}

#[test]
fn names_that_do_not_print_are_spelt() {
    let mut memory = Memory::default();
    let commit = memory.commit(&Node::Tree(vec![(b"a\\b\xff\n".as_slice(), file("x"))]));
    let renderer = plain(".");
    let desired = renderer.render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["a\\x5cb\\xff\\x0a"]);
    let content = renderer.content(&memory, &commit, &desired.wants()[0].id).unwrap();
    assert_eq!(content, Content::File { bytes: b"x".to_vec(), executable: false });
}

#[test]
fn a_path_that_cannot_be_one_is_refused() {
    for path in ["/etc", "../x", "a/../b", "a\0b"] {
        assert_eq!(
            Renderer::new(Render::Plain, path, Limits::default()).unwrap_err().problem,
            Problem::BadPath,
            "{path:?}"
        );
    }
}

#[test]
fn limits_end_a_render() {
    let mut memory = Memory::default();
    let commit = memory.commit(&tree([("a", file("12345")), ("b", file("x")), ("c", file("y"))]));
    let render = |limits| {
        let renderer = Renderer::new(Render::Plain, ".", limits).unwrap();
        renderer.render(&memory, &commit).map_err(|error| error.problem.code())
    };
    assert_eq!(render(Limits { entries: 3, ..Limits::default() }), Err("too_many"));
    assert!(render(Limits { entries: 4, ..Limits::default() }).is_ok());
    assert_eq!(render(Limits { blob: 4, ..Limits::default() }), Err("too_large"));
    assert_eq!(render(Limits { time: Duration::ZERO, ..Limits::default() }), Err("time"));
}

#[test]
fn a_tree_of_trees_that_multiplies_is_ended() {
    let mut memory = Memory::default();
    // Ten to the tenth directories, from eleven objects.
    let (_, mut below) = memory.add(&tree([]));
    for level in 0..10 {
        let entries = (0..10).map(|name| [format!("40000 {name}\0").as_bytes(), below.as_bytes()].concat());
        let above = Oid::new([level; 20]);
        memory.trees.insert(above, entries.collect::<Vec<_>>().concat().into());
        below = above;
    }
    let renderer = Renderer::new(Render::Plain, ".", Limits { entries: 1000, ..Limits::default() }).unwrap();
    let error = renderer.render(&memory, &CommitId::new(below.to_string())).unwrap_err();
    assert_eq!(error.problem, Problem::TooMany(1000));
}

#[test]
fn the_same_inputs_are_rendered_once() {
    let mut memory = Memory::default();
    let app = || tree([("a", file("x")), ("b", tree([("c", file("y"))]))]);
    let one = memory.commit(&tree([("app", app()), ("README", file("1"))]));
    let two = memory.commit(&tree([("app", app()), ("README", file("2"))]));
    let renderer = plain("app");
    let first = renderer.render(&memory, &one).unwrap();
    memory.reads.set(0);
    let second = renderer.render(&memory, &two).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(memory.reads.get(), 1, "the root, to find the source path");
    assert_eq!(renderer.inputs_at(&memory, &two).unwrap(), first.inputs);
    assert_ne!(plain(".").inputs_at(&memory, &one).unwrap(), first.inputs);
}

#[test]
fn changes_are_what_two_renders_differ_in_and_cost_no_more() {
    let mut memory = Memory::default();
    let many: Vec<String> = (0..50).map(|n| format!("f{n:02}")).collect();
    let dir = |content| Node::Tree(many.iter().map(|name| (name.as_bytes(), file(content))).collect());
    let old = memory.commit(&tree([(
        "app",
        tree([("same", dir("s")), ("d", tree([("x", file("1")), ("y", file("1"))])), ("FREEZE", file("1"))]),
    )]));
    let new = memory.commit(&tree([(
        "app",
        tree([("same", dir("s")), ("d", tree([("x", file("2")), ("z", file("1"))])), ("e", file("1"))]),
    )]));
    let renderer = plain("app");
    let changes = renderer.changes(&memory, &old, &new).unwrap();
    let shape: Vec<_> = changes.iter().map(|c| (c.id.as_str(), c.old.is_some(), c.new.is_some())).collect();
    assert_eq!(shape, [("d/x", true, true), ("d/y", true, false), ("d/z", false, true), ("e", false, true)]);
    assert!(memory.reads.get() < 20, "{} reads", memory.reads.get());
    let (before, after) = (renderer.render(&memory, &old).unwrap(), renderer.render(&memory, &new).unwrap());
    for change in &changes {
        assert_eq!((before.get(&change.id), after.get(&change.id)), (change.old.as_ref(), change.new.as_ref()));
    }
}

#[test]
fn a_commit_is_rendered_onto_the_one_before_and_is_what_a_whole_rendering_has() {
    let mut memory = Memory::default();
    let many: Vec<String> = (0..50).map(|n| format!("f{n:02}")).collect();
    let same = || Node::Tree(many.iter().map(|name| (name.as_bytes(), file("s"))).collect());
    let link = || Node::Blob(Kind::Link, b"a".as_slice());
    let trees = [
        tree([("a", file("1")), ("b", tree([("x", file("1")), ("y", file("2"))])), ("same", same())]),
        tree([("a", file("2")), ("b", file("1")), ("b.c", file("1")), ("same", same())]),
        tree([("a", link()), ("a.b", file("1")), ("b", tree([("z", file("2"))])), ("same", same())]),
        tree([("FREEZE", file("1")), ("same", same()), ("zz", file("1"))]),
        tree([("b", tree([("x", file("1")), ("y", file("2"))])), ("same", same())]),
    ];
    let commits: Vec<_> = trees.into_iter().map(|app| memory.commit(&tree([("app", app)]))).collect();
    let renderer = plain("app");
    renderer.render(&memory, &commits[0]).unwrap();
    for commit in &commits {
        let before = memory.reads.get();
        let onto = renderer.render(&memory, commit).unwrap();
        assert!(memory.reads.get() - before < 20, "{} reads", memory.reads.get() - before);
        assert_eq!(onto, plain("app").render(&memory, commit).unwrap());
    }
    let bad = memory.commit(&tree([("app", tree([(".holdfast", file("1")), ("same", same())]))]));
    let why = |renderer: &Renderer| renderer.render(&memory, &bad).unwrap_err().to_string();
    assert_eq!(why(&renderer), why(&plain("app")));
}

#[test]
fn a_commit_that_crosses_the_limit_of_entries_little_by_little_is_refused_as_a_whole_one_is() {
    let mut memory = Memory::default();
    let names: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    let app = |count| Node::Tree(names.iter().take(count).map(|name| (name.as_bytes(), file("s"))).collect());
    let commits: Vec<_> = (8..=12).map(|count| memory.commit(&tree([("app", app(count))]))).collect();
    let limits = || Limits { entries: 11, ..Limits::default() };
    let renderer = Renderer::new(Render::Plain, "app", limits()).unwrap();
    for commit in &commits {
        let whole = Renderer::new(Render::Plain, "app", limits()).unwrap().render(&memory, commit);
        assert_eq!(
            renderer.render(&memory, commit).map_err(|error| error.to_string()),
            whole.map_err(|error| error.to_string())
        );
    }
    assert!(renderer.render(&memory, &commits[2]).is_ok(), "ten files and their folder");
    assert!(renderer.render(&memory, &commits[3]).is_err());
}

#[test]
fn a_source_path_that_goes_away_takes_everything_with_it() {
    let mut memory = Memory::default();
    let old = memory.commit(&tree([("app", tree([("a", file("x")), ("b", file("y"))]))]));
    let new = memory.commit(&tree([("moved", tree([("a", file("x"))]))]));
    let renderer = plain("app");
    let changes = renderer.changes(&memory, &old, &new).unwrap();
    assert!(changes.len() == 2 && changes.iter().all(|change| change.new.is_none()));
    assert!(renderer.render(&memory, &new).unwrap_err().is_path_missing());
}

#[test]
fn contents_are_read_by_identity_and_not_shown() {
    let mut memory = Memory::default();
    let commit = memory
        .commit(&tree([("s", Node::Blob(Kind::Executable, b"sekret")), ("l", Node::Blob(Kind::Link, b"sekret"))]));
    let renderer = plain(".");
    let script = renderer.content(&memory, &commit, &Id::new("s")).unwrap();
    assert_eq!(script, Content::File { bytes: b"sekret".to_vec(), executable: true });
    let link = renderer.content(&memory, &commit, &Id::new("l")).unwrap();
    assert_eq!(link, Content::Link(b"sekret".to_vec()));
    assert!(!format!("{script:?}{link:?}").contains("sekret"));
    for id in ["none", "s/x", "", "a\\"] {
        assert_eq!(renderer.content(&memory, &commit, &Id::new(id)).unwrap_err().problem, Problem::NotWanted, "{id}");
    }
}

fn told(old: &str, new: &str, path: &str) -> Vec<(String, Option<String>, Option<String>)> {
    let changes = field_changes(Some(old.as_bytes()), Some(new.as_bytes()), path);
    changes.into_iter().map(|change| (change.path, change.old, change.new)).collect()
}

fn change(path: &str, old: &str, new: &str) -> (String, Option<String>, Option<String>) {
    let value = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    (path.into(), value(old), value(new))
}

#[test]
fn yaml_and_json_are_compared_by_structure() {
    let old = "image: nginx:1.26 # why\nreplicas: 2\nports: [80, 443]\n";
    let new = "replicas: 3\nimage: nginx:1.27\nports: [80, 8443]\n";
    let expected = [
        change("/image", "nginx:1.26", "nginx:1.27"),
        change("/ports/1", "443", "8443"),
        change("/replicas", "2", "3"),
    ];
    assert_eq!(told(old, new, "a.yaml"), expected);
    assert_eq!(told(r#"{"a":{"b/c":1}}"#, r#"{"a":{"b/c":2}}"#, "a.json"), [change("/a/b~1c", "1", "2")]);
}

#[test]
fn documents_are_told_apart_and_front_insertions_do_not_shift_all() {
    assert_eq!(told("a: 1\n---\nb: 1\n", "a: 1\n---\nb: 2\n", "a.yml"), [change("/1/b", "1", "2")]);
    assert_eq!(told("l: [b, c]", "l: [a, b, c]", "a.yml"), [change("/l/0", "", "a")]);
}

#[test]
fn what_does_not_parse_and_comments_are_compared_by_lines() {
    assert_eq!(told("a: [1\n", "a: [2\n", "a.yaml"), [change("/a", "[1", "[2")]);
    assert_eq!(told("a: 1\n# x\n", "a: 1\n# y\n", "a.yaml"), [change("/line 2", "# x", "# y")]);
}

#[test]
fn lines_of_one_key_are_one_change() {
    let old = "server {\n  upstream 10.0.0.0/8;\n  listen 80;\n}\n";
    let new = "server {\n  upstream 10.0.0.0/0;\n  listen 80;\n}\n";
    assert_eq!(told(old, new, "nginx.conf"), [change("/upstream", "10.0.0.0/8", "10.0.0.0/0")]);
    assert_eq!(told("K=1\nV = 2\n", "K=3\nV = 4\n", "x.env"), [change("/K", "1", "3"), change("/V", "2", "4")]);
    assert_eq!(told("a\n", "a\nadded 1\n", "x"), [change("/added", "", "1")]);
    assert_eq!(told("{\n", "}\n", "x"), [change("/line 1", "{", "}")]);
}

#[test]
fn secrets_are_never_told() {
    for (old, new, path) in [
        ("db_password = sekret1", "db_password = sekret2", "app.ini"),
        ("x sekret1", "x sekret2", "etc/shadow"),
        ("a: {apiKey: sekret1}", "a: {apiKey: sekret2}", "a.yaml"),
        ("env: [{name: DB_PASSWORD, value: sekret1}]", "env: [{name: DB_PASSWORD, value: sekret2}]", "a.yaml"),
        ("kind: Secret\ndata: {a: sekret1}", "kind: Secret\ndata: {a: sekret2}", "a.yaml"),
        ("a: 1", "a: {token: sekret1}", "a.yaml"),
        ("url http://u:sekret1@h/", "url http://u:sekret2@h/", "a.conf"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nsekret1\n-----END",
            "-----BEGIN RSA PRIVATE KEY-----\nsekret2\n-----END",
            "x.pem",
        ),
        ("run --token=sekret1 x", "run --token=sekret2 x", "x.service"),
    ] {
        let changes = told(old, new, path);
        assert!(!format!("{changes:?}").contains("sekret"), "{changes:?}");
        assert!(!changes.is_empty());
    }
    let created = field_changes(None, Some(b"password: sekret"), "a.yaml");
    assert!(
        !format!("{created:?}").contains("sekret") && created[0].new.as_deref() == Some("(redacted, 6 bytes)"),
        "{created:?}"
    );
}

#[test]
fn values_and_their_number_are_bounded() {
    let lines = |n: usize| (0..200).map(|at| format!("key{at} = {}\n", n + at)).collect::<String>();
    let changes = told(&lines(0), &lines(1000), "a.conf");
    assert_eq!((changes.len(), changes[49].0.as_str()), (50, "(151 more)"));
    let long = told("a = x", &format!("a = {}", "y".repeat(1000)), "a.conf");
    assert_eq!(long[0].2.as_ref().unwrap().chars().count(), 200);
}

#[test]
fn binaries_are_told_by_size() {
    let changes = field_changes(Some(b"\xff\xfe"), Some(b"\0"), "a.bin");
    assert_eq!((changes.len(), changes[0].path.as_str(), changes[0].old.as_deref()), (1, "", Some("2 bytes")));
    assert_eq!(field_changes(Some(b"a"), Some(b"a"), "x"), []);
    assert_eq!(field_changes(Some(b"a\n"), Some(b"a"), "x").len(), 1, "a lost last newline is a change");
    assert_eq!(field_changes(Some(b"\xff"), None, "x")[0].new, None);
}

fn manifests() -> Renderer {
    plain("apps").with_rules(crate::core::effect::Rules::Kubernetes)
}

fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: {name} }}\ndata: {{ a: {value} }}\n")
}

#[test]
fn of_manifests_each_object_is_a_want_and_other_files_are_none_of_ours() {
    let mut memory = Memory::default();
    let both = format!("{}---\n{}", map("b", "x"), map("a", "x"));
    let commit = memory.commit(&tree([(
        "apps",
        tree([
            ("FREEZE.yaml", file("reason: x")),
            ("README.md", file("# not an object")),
            ("both.yaml", file(&both)),
            ("c", tree([("c.json", file(r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"c"}}"#))])),
        ]),
    )]));
    let desired = manifests().render(&memory, &commit).unwrap();
    assert_eq!(names(desired.wants()), ["/ConfigMap/default/a", "/ConfigMap/default/b", "/Namespace//c"]);
    assert_eq!(desired.wants()[0].origin.as_deref(), Some("apps/both.yaml"));
    let Content::Object { json, digest, secret: false } =
        manifests().content(&memory, &commit, &desired.wants()[0].id).unwrap()
    else {
        panic!("it is an object")
    };
    assert_eq!((digest, crate::manifest::digest(&json)), (desired.wants()[0].digest, digest));
    let elsewhere = manifests().with_namespace(Some("shop")).render(&memory, &commit).unwrap();
    assert_eq!(elsewhere.wants()[0].id.as_str(), "/ConfigMap/shop/a");
}

#[test]
fn an_object_that_moves_to_another_file_changes_nothing_and_one_commit_costs_its_files() {
    let mut memory = Memory::default();
    let many: Vec<(String, String)> =
        (0..50).map(|at| (format!("f{at:02}.yaml"), map(&format!("m{at}"), "x"))).collect();
    let at = |memory: &mut Memory, moved: &str, a: &str| {
        let mut files: Vec<(&str, Node<'_>)> = many.iter().map(|(name, text)| (name.as_str(), file(text))).collect();
        let (text, b) = (map("moves", "x"), map("changes", a));
        let nodes = [(moved, file(&text)), ("z.yaml", file(&b))];
        files.extend(nodes);
        memory.commit(&tree([("apps", tree(files))]))
    };
    let (old, new) = (at(&mut memory, "p.yaml", "x"), at(&mut memory, "q.yaml", "y"));
    let renderer = manifests();
    let reads = memory.reads.get();
    let (changes, details) =
        renderer.changes_with_details(&memory, &old, &new, super::Look { files: 10, bytes: 1000 }).unwrap();
    assert_eq!(changes.iter().map(|change| change.id.as_str()).collect::<Vec<_>>(), ["/ConfigMap/default/changes"]);
    assert_eq!(details[&changes[0].id][0].path, "/data/a");
    assert_eq!(changes, renderer.changes(&memory, &old, &new).unwrap());
    assert!(memory.reads.get() - reads < 20, "{} reads", memory.reads.get() - reads);
}

#[test]
fn two_files_that_declare_one_object_do_not_render() {
    let mut memory = Memory::default();
    let commit =
        memory.commit(&tree([("apps", tree([("a.yaml", file(&map("m", "x"))), ("b.yaml", file(&map("m", "y")))]))]));
    let error = manifests().render(&memory, &commit).unwrap_err().to_string();
    assert!(error.contains("apps/b.yaml") && error.contains("apps/a.yaml"), "{error}");
    let commit = memory.commit(&tree([("apps", tree([("values.yaml", file("a: 1\n"))]))]));
    let error = manifests().render(&memory, &commit).unwrap_err().to_string();
    assert!(error.contains("apps/values.yaml") && error.contains("apiVersion"), "{error}");
    assert_eq!(manifests().lenient().render(&memory, &commit).unwrap().wants().len(), 0);
}

fn definition(kind: &str, scope: &str) -> String {
    format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{ name: {kind}s.x.org }}\n\
         spec: {{ group: x.org, scope: {scope}, names: {{ kind: {kind}, plural: {kind}s }} }}\n"
    )
}

fn custom(kind: &str, metadata: &str) -> String {
    format!("apiVersion: x.org/v1\nkind: {kind}\nmetadata: {{ {metadata} }}\n")
}

#[test]
fn custom_objects_are_where_the_definitions_in_the_same_tree_say_and_elsewhere_where_they_say_themselves() {
    let mut memory = Memory::default();
    let (a, b, w) = (definition("A", "Namespaced"), definition("B", "Cluster"), custom("A", "name: w"));
    let objects = [w.clone(), custom("A", "name: x, namespace: shop"), custom("B", "name: e"), custom("C", "name: z")];
    let with = |memory: &mut Memory, crds: &[&str], objects: &str| {
        let crds = crds.join("---\n");
        let folder = tree([("crds.yaml", file(&crds))]);
        memory.commit(&tree([("apps", tree([("crds", folder), ("objects.yaml", file(objects))]))]))
    };
    let both = with(&mut memory, &[&a, &b], &objects.join("---\n"));
    let renderer = manifests();
    let desired = renderer.render(&memory, &both).unwrap();
    let found: Vec<&str> = names(desired.wants()).into_iter().filter(|id| id.starts_with("x.org")).collect();
    assert_eq!(found, ["x.org/A/default/w", "x.org/A/shop/x", "x.org/B//e", "x.org/C//z"]);
    let spelt = with(&mut memory, &[&a, &b], &custom("A", "name: w, namespace: default"));
    assert_eq!(renderer.render(&memory, &spelt).unwrap().wants()[2].digest, desired.wants()[2].digest);

    // A definition that comes or goes moves objects in files that nobody touched.
    let (without, alone) = (with(&mut memory, &[&b], &w), with(&mut memory, &[&a, &b], &w));
    let more = with(&mut memory, &[&a, &b], &[w.clone(), custom("A", "name: v")].join("---\n"));
    let changes = |old, new| {
        let changes = renderer.changes(&memory, old, new).unwrap();
        changes.iter().map(|change| (change.id.to_string(), change.new.is_some())).collect::<Vec<_>>()
    };
    let moved = [("x.org/A//w".to_owned(), false), ("x.org/A/default/w".to_owned(), true)];
    assert_eq!(changes(&without, &alone)[1..], moved);
    // Of a definition in a file that did not change, the one that did knows.
    assert_eq!(changes(&alone, &more), [("x.org/A/default/v".to_owned(), true)]);

    let wrong = with(&mut memory, &[&a, &b], &custom("B", "name: e, namespace: shop"));
    let error = renderer.render(&memory, &wrong).unwrap_err().to_string();
    assert!(error.contains("apps/objects.yaml") && error.contains("outside of namespaces"), "{error}");
}
