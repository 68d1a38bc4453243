use super::*;
use crate::core::commit::{Commit, CommitId, Ident};
use crate::core::guards::{Match, TrustPolicy};
use crate::core::trust::{Sighted, verdict};

impl Lab {
    fn key(&self, name: &str, args: &[&str]) -> String {
        let path = self.path(name);
        self.run("ssh-keygen", &[&["-q", "-N", "", "-f", path.to_str().unwrap()], args].concat());
        self.public(name)
    }

    fn ed25519(&self, name: &str) -> String {
        self.key(name, &["-t", "ed25519"])
    }

    /// Returns `type base64` without the comment.
    fn public(&self, name: &str) -> String {
        self.read(&format!("{name}.pub")).split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    fn sign(&self, key: &str, namespace: &str, payload: &[u8]) -> Vec<u8> {
        self.write("payload", payload);
        let _ = std::fs::remove_file(self.path("payload.sig"));
        self.run("ssh-keygen", &["-q", "-Y", "sign", "-n", namespace, "-f", key, "payload"]);
        self.read("payload.sig").into_bytes()
    }
}

#[test]
fn every_kind_of_key_that_git_signs_with() {
    let lab = Lab::new();
    for (name, args) in [
        ("ed25519", &["-t", "ed25519"][..]),
        ("p256", &["-t", "ecdsa", "-b", "256"]),
        ("p384", &["-t", "ecdsa", "-b", "384"]),
        ("rsa", &["-t", "rsa", "-b", "2048"]),
    ] {
        let public = lab.key(name, args);
        lab.write("allowed_signers", format!("alice@x {public} a comment\n"));
        let key = format!("user.signingkey={}", lab.path(name).display());
        let (payload, signature) = lab.commit(&["gpg.format=ssh", &key]);
        let keys = lab.keys();
        let Signature::Good { scheme, key, grants, revocation } = keys.check(&payload, &signature) else {
            panic!("{name}: {:?}", keys.check(&payload, &signature))
        };
        let listed = lab.run("ssh-keygen", &["-l", "-f", name]);
        assert!(String::from_utf8(listed).unwrap().contains(&*key), "{key}");
        assert_eq!(
            (scheme, revocation, grants[0].principals.join(",")),
            (Scheme::Ssh, Revocation::None, "alice@x".into())
        );
        for at in [0, payload.len() / 2, payload.len() - 1] {
            let mut other = payload.clone();
            other[at] ^= 1;
            assert!(why(keys.check(&other, &signature)).contains("not of this content"));
        }
        assert_eq!(Keys::default().check(&payload, &signature), Signature::UnknownKey { key });
    }
}

#[test]
fn another_namespace_weak_keys_and_certificates_are_bad() {
    let lab = Lab::new();
    let public = lab.ed25519("alice");
    let short = lab.key("short", &["-t", "rsa", "-b", "1024"]);
    lab.write("allowed_signers", format!("alice@x {public}\nalice@x {short}\n"));
    assert!(why(lab.keys().check(b"x", &lab.sign("alice", "file", b"x"))).contains("\"file\""));
    assert!(why(lab.keys().check(b"x", &lab.sign("short", "git", b"x"))).contains("1024 bits"));
    lab.ed25519("ca");
    lab.run("ssh-keygen", &["-q", "-s", "ca", "-I", "id", "-n", "alice@x", "alice.pub"]);
    let certified = lab.sign("alice-cert.pub", "git", b"x");
    assert!(why(lab.keys().check(b"x", &certified)).contains("certificate"));
}

#[test]
fn lines_that_cannot_be_followed_are_named() {
    let lab = Lab::new();
    let key = lab.ed25519("alice");
    for (line, reason) in [
        (format!("alice@x cert-authority {key}"), "cert-authority is not supported"),
        (format!("alice@x namespaces=\"git\",cert-authority {key}"), "cert-authority is not supported"),
        (format!("alice@x valid-before=\"soon\" {key}"), "is no time"),
        (format!("alice@x valid-before=\"20201301\" {key}"), "is no time"),
        (format!("alice@x valid-after=\"20210101\",valid-before=\"20200101\" {key}"), "not after"),
        (format!("alice@x valid-before=\"20200101\",valid-before=\"20300101\" {key}"), "twice"),
        (format!("alice@x surprise {key}"), "no option \"surprise\""),
        (format!("alice@x namespaces {key}"), "no value"),
        (format!("\"alice@x {key}"), "quote"),
        (format!("alice@x,,bob@x {key}"), "empty"),
        ("alice@x".to_owned(), "no key"),
        ("alice@x ssh-ed25519 AAAA".to_owned(), "the key"),
        ("alice@x ssh-ed25519".to_owned(), "no public key"),
        ("alice@x ssh-ed25519-cert-v01@openssh.com AAAA".to_owned(), "certificates"),
    ] {
        lab.write("allowed_signers", format!("# people\n\nbob@x {key}\n{line}\n"));
        let Err(KeysError::Line { line: 4, why, .. }) = lab.load() else { panic!("{line}: {:?}", lab.load()) };
        assert!(why.contains(reason), "{line}: {why}");
    }
    lab.write("allowed_signers", [b"alice@x ", &b"\xff"[..]].concat());
    assert!(matches!(lab.load(), Err(KeysError::Line { line: 1, .. })));
}

/// Whatever is allowed here, OpenSSH allows too, and the other way round.
#[test]
fn allowed_signers_are_read_as_openssh_reads_them() {
    let lab = Lab::new();
    let (key, other) = (lab.ed25519("alice"), lab.ed25519("other"));
    let signature = lab.sign("alice", "git", b"x");
    for (text, allowed) in [
        (format!("alice@x {key}"), true),
        (format!("  alice@x\t{key}   and words"), true),
        (format!("bob@x,alice@x {key}"), true),
        (format!("\"alice@x\" {key}"), true),
        (format!("bob@x {key}"), false),
        (format!("alice@x {other}"), false),
        (format!("*@x {key}"), true),
        (format!("*@x,!alice@x {key}"), false),
        (format!("!alice@x,*@x {key}"), false),
        (format!("*,!bob@* {key}"), true),
        (format!("alice@? {key}"), true),
        (format!("Alice@x {key}"), false),
        (format!("alice@x namespaces=\"git\" {key}"), true),
        (format!("alice@x namespaces=\"file,git\" {key}"), true),
        (format!("alice@x namespaces=\"file\" {key}"), false),
        (format!("alice@x namespaces=\"g*\" {key}"), true),
        (format!("alice@x namespaces=\"*,!git\" {key}"), false),
        (format!("alice@x NameSpaces=\"git\" {key}"), true),
        (format!("alice@x valid-after=\"20200601\" {key}"), true),
        (format!("alice@x valid-after=\"20200602\" {key}"), false),
        (format!("alice@x valid-before=\"202006011200\" {key}"), false),
        (format!("alice@x valid-before=\"20200601120001\" {key}"), true),
        (format!("alice@x valid-after=\"20200101\",valid-before=\"20210101\" {key}"), true),
        (format!("alice@x namespaces=\"file\" {key}\nalice@x {key}"), true),
        (format!("# alice@x {key}"), false),
        (format!("bob@x {other}\nalice@x {key}\n"), true),
    ] {
        let path = lab.write("allowed_signers", &text);
        // 2020-06-01 12:00:00 and half a second; a day is the machine's own, which is UTC for ssh-keygen here.
        let utc = text.replace("\" ssh", "Z\" ssh").replace("\",valid", "Z\",valid");
        let ours = if text.contains("valid-") { utc } else { text.clone() };
        lab.write("allowed_signers.utc", ours);
        let files = KeyFiles { allowed_signers: Some(lab.path("allowed_signers.utc")), ..KeyFiles::default() };
        let found = Keys::load(&files).unwrap().check(b"x", &signature);
        let policy = TrustPolicy { match_: Match::Committer, ..TrustPolicy::default() };
        let label = judged(found, &policy);
        assert_eq!(label == "verified", allowed, "{text}: {label}");
        let mut openssh = lab.command("ssh-keygen");
        openssh.args([
            "-Y",
            "verify",
            "-Overify-time=20200601120000",
            "-I",
            "alice@x",
            "-n",
            "git",
            "-s",
            "payload.sig",
        ]);
        openssh.arg("-f").arg(path).stdin(std::fs::File::open(lab.path("payload")).unwrap());
        assert_eq!(openssh.output().unwrap().status.success(), allowed || one_second_apart(&text), "{text}");
    }
}

/// OpenSSH lets a key sign in its last second, and the last second here is the one before.
fn one_second_apart(text: &str) -> bool {
    text.contains("valid-before=\"202006011200\"")
}

fn judged(signature: Signature, policy: &TrustPolicy) -> &'static str {
    let ident = Ident { name: "Alice".into(), email: "alice@x".into() };
    let committed = "2020-06-01T12:00:00Z".parse().unwrap();
    let commit = Commit {
        id: CommitId::new("0".repeat(40)),
        parents: Vec::new(),
        tree: "t".into(),
        author: ident.clone(),
        committer: ident,
        committed,
        subject: String::new(),
        signature,
    };
    let sighted =
        Sighted { commit: &commit, first_seen: committed, first_parent: true, touches: true, freeze_only: false };
    verdict(&sighted, policy, &[]).label()
}

#[test]
fn every_way_to_take_a_key_back() {
    let lab = Lab::new();
    let (alice, bob) = (lab.ed25519("alice"), lab.ed25519("bob"));
    let fingerprint = |name: &str| {
        let line = String::from_utf8(lab.run("ssh-keygen", &["-l", "-f", name])).unwrap();
        line.split(' ').nth(1).unwrap().to_owned()
    };
    let (alice_sum, bob_sum) = (fingerprint("alice"), fingerprint("bob"));
    lab.write("allowed_signers", format!("alice@x {alice}\nbob@x {bob}\n"));
    let (by_alice, by_bob) = (lab.sign("alice", "git", b"x"), lab.sign("bob", "git", b"x"));
    lab.write("serials", "serial: 1-9\nid: somebody\n");
    lab.ed25519("ca");
    lab.write("sum1", format!("sha1: {alice}\n"));
    lab.write("sum256", format!("sha256: {alice}\n"));
    lab.write("hash", format!("hash: {alice_sum}\n"));
    for args in [
        vec!["alice.pub"],
        vec!["sum1"],
        vec!["sum256"],
        vec!["hash"],
        vec!["-s", "ca.pub", "-z", "7", "serials", "alice.pub"],
    ] {
        lab.run("ssh-keygen", &[vec!["-q", "-k", "-f", "revocations"], args.clone()].concat());
        let keys = lab.keys();
        assert_eq!(revocation(keys.check(b"x", &by_alice)), Revocation::Revoked, "{args:?}");
        assert_eq!(revocation(keys.check(b"x", &by_bob)), Revocation::None, "{args:?}");
        assert_eq!(keys.revocation(&alice_sum), Revocation::Revoked, "{args:?}");
        assert_eq!(keys.revocation(&bob_sum), Revocation::None, "{args:?}");
    }
    lab.write("revocations", format!("# lost\n\n{alice} alice's laptop\n"));
    assert_eq!(revocation(lab.keys().check(b"x", &by_alice)), Revocation::Revoked);
    assert_eq!(revocation(lab.keys().check(b"x", &by_bob)), Revocation::None);
    // Taken out of the signers as well: known as taken back, so that nobody can vouch for it.
    lab.write("allowed_signers", format!("bob@x {bob}\n"));
    assert_eq!(revocation(lab.keys().check(b"x", &by_alice)), Revocation::Revoked);
    assert_eq!(lab.keys().revocation(&alice_sum), Revocation::Revoked);
}

#[test]
fn a_revocation_list_that_cannot_be_read_concludes_nothing() {
    let lab = Lab::new();
    let alice = lab.ed25519("alice");
    lab.write("allowed_signers", format!("alice@x {alice}\n"));
    let signature = lab.sign("alice", "git", b"x");
    lab.run("ssh-keygen", &["-q", "-k", "-f", "krl", "alice.pub"]);
    let krl = std::fs::read(lab.path("krl")).unwrap();
    // Wherever it is cut, but at the two ends of a section.
    let header = 8 + 4 + 24 + 4 + 4;
    for cut in (1..krl.len()).filter(|cut| *cut != header) {
        lab.write("revocations", &krl[..cut]);
        let found = revocation(lab.keys().check(b"x", &signature));
        assert!(matches!(found, Revocation::Unreadable(_)), "{cut}: {found:?}");
    }
    let mut section = krl.clone();
    section[header] = 99;
    let extension = [&krl[..], &[255, 0, 0, 0, 10, 0, 0, 0, 1, b'x', 1, 0, 0, 0, 0]].concat();
    for list in [section, extension, b"no key\n".to_vec(), b"\xff\xfe".to_vec()] {
        lab.write("revocations", list);
        assert!(matches!(revocation(lab.keys().check(b"x", &signature)), Revocation::Unreadable(_)));
        assert!(matches!(lab.keys().revocation("SHA256:abc"), Revocation::Unreadable(_)));
    }
    lab.write("revocations", "");
    assert_eq!(revocation(lab.keys().check(b"x", &signature)), Revocation::None);
}
