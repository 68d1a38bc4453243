use super::*;

/// GnuPG's directory, its agent ended with it.
struct Gnupg {
    lab: Lab,
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = self.lab.command("gpgconf").args(["--kill", "all"]).output();
    }
}

impl Gnupg {
    fn new() -> Self {
        let lab = Lab::new();
        #[cfg(unix)]
        std::fs::set_permissions(lab.dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { lab }
    }

    /// Runs gpg as of a date (`20200101T000000`), with answers to what it asks.
    fn gpg(&self, date: &str, args: &[&str], answers: &str) -> Vec<u8> {
        use std::io::Write as _;
        let mut command = self.lab.command("gpg");
        command.args(["--batch", "--no-tty", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]);
        command.args(["--faked-system-time", date]);
        if !answers.is_empty() {
            // Asking is not for batches.
            command = self.lab.command("gpg");
            command.args(["--no-tty", "--yes", "--pinentry-mode", "loopback", "--passphrase", ""]);
            command.args(["--faked-system-time", date, "--command-fd", "0"]);
        }
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(answers.as_bytes()).unwrap();
        let done = child.wait_with_output().unwrap();
        assert!(done.status.success(), "gpg {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    /// Makes a key, and returns its fingerprint.
    fn key(&self, date: &str, user: &str, kind: &str, expire: &str) -> String {
        self.gpg(date, &["--quick-gen-key", user, kind, "sign", expire], "");
        let listed = self.gpg(date, &["--with-colons", "--list-keys", &format!("={user}")], "");
        let text = String::from_utf8(listed).unwrap();
        text.lines().find(|line| line.starts_with("fpr")).unwrap().split(':').nth(9).unwrap().to_owned()
    }

    fn sign(&self, date: &str, key: &str, args: &[&str]) -> Vec<u8> {
        self.lab.write("payload", b"x");
        self.gpg(date, &[args, &["-u", key, "--armor", "--detach-sign", "-o", "-", "payload"]].concat(), "")
    }

    fn export(&self) -> Vec<u8> {
        self.gpg(NOW, &["--armor", "--export"], "")
    }

    fn keyring(&self) -> Keys {
        self.lab.write("keyring", self.export());
        self.lab.keys()
    }
}

const NOW: &str = "20250601T120000";
const ALICE: &str = "Alice <alice@x>";

fn at(text: &str) -> jiff::Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_commit_signed_with_gnupg() {
    let gnupg = Gnupg::new();
    for kind in ["ed25519", "rsa2048", "nistp256"] {
        let user = format!("{kind} <{kind}@x>");
        let fingerprint = gnupg.key(NOW, &user, kind, "0");
        let (payload, signature) = gnupg.lab.commit(&[&format!("user.signingkey={fingerprint}")]);
        let keys = gnupg.keyring();
        let Signature::Good { scheme, key, grants, revocation } = keys.check(&payload, &signature) else {
            panic!("{kind}: {:?}", keys.check(&payload, &signature))
        };
        assert_eq!((scheme, &*key, revocation), (Scheme::Openpgp, &*fingerprint, Revocation::None));
        let [grant] = &grants[..] else { panic!("{grants:?}") };
        assert_eq!(grant.principals, [format!("{kind}@x"), fingerprint]);
        assert_eq!((grant.valid_after, grant.valid_before), (Some(at("2025-06-01T12:00:00Z")), None));
        let mut other = payload.clone();
        other[10] ^= 1;
        assert!(why(keys.check(&other, &signature)).contains("not of this content"));
        assert_eq!(Keys::default().check(&payload, &signature), Signature::UnknownKey { key });
    }
}

#[test]
fn keyrings_of_every_make() {
    let gnupg = Gnupg::new();
    let (alice, bob) = (gnupg.key(NOW, ALICE, "ed25519", "0"), gnupg.key(NOW, "Bob <bob@x>", "ed25519", "0"));
    let by_bob = gnupg.sign(NOW, &bob, &[]);
    let one = |key: &str| gnupg.gpg(NOW, &["--armor", "--export", key], "");
    let binary = gnupg.gpg(NOW, &["--export"], "");
    for keyring in [gnupg.export(), binary, [one(&alice), one(&bob), one(&bob)].concat()] {
        gnupg.lab.write("keyring", keyring);
        assert_eq!(grants(gnupg.lab.keys().check(b"x", &by_bob)).len(), 1);
    }
    for (keyring, reason) in [(&b""[..], "no OpenPGP certificate"), (b"hello", "not a readable"), (&by_bob, "")] {
        gnupg.lab.write("keyring", keyring);
        let Err(KeysError::Keyring { why, .. }) = gnupg.lab.load() else { panic!("{reason}") };
        assert!(why.contains(reason), "{why}");
    }
}

#[test]
fn an_expired_key_verifies_with_its_dates() {
    let gnupg = Gnupg::new();
    let key = gnupg.key("20200101T000000", ALICE, "ed25519", "2021-01-01");
    let found = gnupg.keyring().check(b"x", &gnupg.sign("20200601T000000", &key, &[]));
    let [grant] = &grants(found)[..] else { panic!("one grant") };
    assert_eq!(grant.valid_after, Some(at("2020-01-01T00:00:00Z")));
    let before = grant.valid_before.unwrap();
    assert!(at("2020-12-31T00:00:00Z") < before && before < at("2021-01-02T00:00:00Z"), "{before}");
    // A signature that ends earlier than its key.
    let brief = gnupg.sign("20200601T000000", &key, &["--default-sig-expire", "2020-07-01"]);
    let [grant] = &grants(gnupg.keyring().check(b"x", &brief))[..] else { panic!("one grant") };
    assert!(grant.valid_before.unwrap() < at("2020-07-02T00:00:00Z"));
}

#[test]
fn a_key_taken_back_for_good_and_one_retired() {
    let gnupg = Gnupg::new();
    let revoke = |user: &str, reason: &str| {
        let key = gnupg.key("20200101T000000", user, "ed25519", "0");
        let signature = gnupg.sign("20200201T000000", &key, &[]);
        gnupg.lab.write(&format!("{key}.rev"), {
            let answers = format!("y\n{reason}\n\ny\n");
            gnupg.gpg("20200301T000000", &["--armor", "--gen-revoke", &key], &answers)
        });
        gnupg.gpg("20200301T000000", &["--import", &format!("{key}.rev")], "");
        (key, signature)
    };
    let (lost, by_lost) = revoke("Alice <alice@x>", "1");
    let (retired, by_retired) = revoke("Bob <bob@x>", "3");
    let (silent, by_silent) = revoke("Carol <carol@x>", "0");
    let keys = gnupg.keyring();
    // Also what was signed before: whoever stole it writes the dates.
    for (key, signature) in [(lost, by_lost), (silent, by_silent)] {
        assert_eq!(revocation(keys.check(b"x", &signature)), Revocation::Revoked);
        assert_eq!(keys.revocation(&key), Revocation::Revoked);
    }
    let [grant] = &grants(keys.check(b"x", &by_retired))[..] else { panic!("one grant") };
    assert_eq!(grant.valid_before, Some(at("2020-03-01T00:00:00Z")));
    assert_eq!(keys.revocation(&retired), Revocation::None);
}

#[test]
fn a_signing_subkey_speaks_for_its_certificate() {
    let gnupg = Gnupg::new();
    let primary = gnupg.key(NOW, ALICE, "ed25519", "0");
    gnupg.gpg(NOW, &["--quick-add-key", &primary, "ed25519", "sign", "0"], "");
    gnupg.gpg(NOW, &["--quick-add-key", &primary, "cv25519", "encr", "0"], "");
    let signature = gnupg.sign(NOW, &primary, &[]);
    let keys = gnupg.keyring();
    let Signature::Good { key, grants, .. } = keys.check(b"x", &signature) else { panic!("good") };
    assert_ne!(*key, *primary);
    assert_eq!(grants[0].principals, ["alice@x".to_owned(), primary.clone()]);
    // Its revocation alone takes it back.
    gnupg.gpg(NOW, &["--edit-key", &primary], "key 1\nrevkey\ny\n1\n\ny\nsave\n");
    let keys = gnupg.keyring();
    assert_eq!(revocation(keys.check(b"x", &signature)), Revocation::Revoked);
    assert_eq!((keys.revocation(&key), keys.revocation(&primary)), (Revocation::Revoked, Revocation::None));
}

#[test]
fn addresses_that_would_be_patterns_or_were_taken_back_name_nobody() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(NOW, ALICE, "ed25519", "0");
    gnupg.gpg(NOW, &["--allow-freeform-uid", "--quick-add-uid", &key, "Eve <*@x>"], "");
    gnupg.gpg(NOW, &["--quick-add-uid", &key, "Alice <old@x>"], "");
    gnupg.gpg(NOW, &["--quick-revoke-uid", &key, "Alice <old@x>"], "");
    let found = gnupg.keyring().check(b"x", &gnupg.sign(NOW, &key, &[]));
    assert_eq!(grants(found)[0].principals, ["alice@x".to_owned(), key]);
}

#[test]
fn weak_and_unfit_signatures_are_bad() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(NOW, ALICE, "rsa2048", "0");
    let short = gnupg.key(NOW, "Short <short@x>", "rsa1024", "0");
    let keys = gnupg.keyring();
    let sha1 = gnupg.sign(NOW, &key, &["--digest-algo", "SHA1"]);
    assert!(why(keys.check(b"x", &sha1)).contains("SHA1"));
    assert!(why(keys.check(b"x", &gnupg.sign(NOW, &short, &[]))).contains("refused"));
    let text = gnupg.sign(NOW, &key, &["--textmode"]);
    assert!(why(keys.check(b"x", &text)).contains("not one over content"));
    let inline = gnupg.gpg(NOW, &["-u", &key, "--armor", "--sign", "-o", "-", "payload"], "");
    assert!(why(keys.check(b"x", &inline)).contains("not one OpenPGP signature"));
    let two = gnupg.sign(NOW, &key, &["-u", &short]);
    assert!(why(keys.check(b"x", &two)).contains("not one OpenPGP signature"));
}

#[test]
fn an_unreadable_revocation_list_holds_for_openpgp_too() {
    let gnupg = Gnupg::new();
    let key = gnupg.key(NOW, ALICE, "ed25519", "0");
    let signature = gnupg.sign(NOW, &key, &[]);
    gnupg.lab.write("revocations", b"nonsense");
    assert!(matches!(revocation(gnupg.keyring().check(b"x", &signature)), Revocation::Unreadable(_)));
}
