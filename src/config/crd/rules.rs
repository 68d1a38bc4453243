//! What validation refuses and the API server can refuse as well, in its own words (CEL).
//!
//! Whatever needs more than the document itself (files, other applications, unions that have no structural form) stays
//! with the controller alone. Lengths are bounded because the server estimates what a rule may cost.

use serde_json::{Value, json};

/// Puts defaults, bounds and rules where they belong.
///
/// # Panics
/// If a rule is about a field that there is no longer: that is a mistake of this table.
pub(super) fn add(spec: &mut Value) {
    for (path, more) in bounds().into_iter().chain(rules()) {
        let node = at(spec, path).unwrap_or_else(|| panic!("there is no field {path:?} in the schema"));
        for (key, value) in more.as_object().into_iter().flatten() {
            node[key] = value.clone();
        }
    }
}

/// Finds a field's schema; `[]` are a list's items.
fn at<'a>(spec: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    path.split('.').filter(|step| !step.is_empty()).try_fold(spec, |node, step| match step {
        "[]" => node.get_mut("items"),
        name => node.get_mut("properties")?.get_mut(name),
    })
}

/// Defaults that can never mean anything else, and how long what rules look at may be.
fn bounds() -> Vec<(&'static str, Value)> {
    let globs = json!({ "maxItems": 1000 });
    vec![
        ("mode", json!({ "default": "observe" })),
        ("source.branch", json!({ "default": "main", "minLength": 1, "maxLength": 255 })),
        ("source.path", json!({ "default": ".", "maxLength": 1024 })),
        ("source.url", json!({ "minLength": 1, "maxLength": 2048 })),
        ("trust.anchor", json!({ "pattern": "^([0-9a-fA-F]{40}|[0-9a-fA-F]{64})$" })),
        ("trust.signers", json!({ "minItems": 1, "maxItems": 1000 })),
        ("trust.signers.[]", json!({ "pattern": "^[^\\s,*?]+$", "maxLength": 320 })),
        ("trust.approvers", globs.clone()),
        ("trust.approvers.[]", json!({ "pattern": "^[^\\s,*?]+$", "maxLength": 320 })),
        ("guards.protected", globs.clone()),
        ("guards.protected.[]", json!({ "minLength": 1, "maxLength": 1024 })),
        ("guards.observeFor", json!({ "maxLength": 40 })),
        ("drift.ignore", globs),
        ("drift.ignore.[].kind", json!({ "minLength": 1, "maxLength": 253 })),
        ("drift.ignore.[].resource", json!({ "minLength": 1, "maxLength": 1024 })),
        ("drift.ignore.[].paths", json!({ "maxItems": 100 })),
        ("drift.ignore.[].paths.[]", json!({ "pattern": "^/", "maxLength": 1024 })),
    ]
}

fn rules() -> Vec<(&'static str, Value)> {
    let rule = |rule: &str, message: &str| json!({ "rule": rule, "message": message });
    let rules = |rules: &[Value]| json!({ "x-kubernetes-validations": rules });
    let not_zero = json!({ "maxLength": 40, "x-kubernetes-validations": [rule("self.matches('[1-9]')", "must be a duration of at least 1s")] });
    let mut all: Vec<(&'static str, Value)> =
        ["interval", "source.timeout", "target.exec.timeout", "guards.backoff.initial", "guards.backoff.max"]
            .into_iter()
            .map(|path| (path, not_zero.clone()))
            .collect();
    all.push((
        "",
        rules(&[rule(
            "!has(self.mode) || self.mode != 'converge' || (has(self.trust) && (has(self.trust.ssh) || has(self.trust.openpgp)))",
            "mode converge needs trust.ssh or trust.openpgp: without keys no commit could ever verify",
        )]),
    ));
    all.push((
        "source.url",
        rules(&[
            rule(
                "!self.matches('^https?://[^/]*@')",
                "holds a user or password: name a file with it in source.credentials",
            ),
            rule(
                "!self.contains('://') || self.matches('^(https?|ssh|git[+]ssh|ssh[+]git|file)://')",
                "write https://…, ssh://… or user@host:path",
            ),
            rule("!self.startsWith('-')", "is no repository"),
        ]),
    ));
    all.push((
        "source.branch",
        rules(&[
            rule("!self.startsWith('refs/heads/')", "write the branch without refs/heads/"),
            rule("!self.startsWith('-') && !self.contains('..') && !self.contains(' ')", "is no branch's name"),
        ]),
    ));
    all.push((
        "source.path",
        rules(&[
            rule("!self.startsWith('/')", "write a path below the repository's root"),
            rule("!self.split('/').exists(part, part == '..')", "leaves the repository: write it without .."),
        ]),
    ));
    all.push((
        "source.render",
        rules(&[rule(
            "[has(self.plain), has(self.kustomize), has(self.helm)].filter(given, given).size() == 1",
            "write exactly one of plain, kustomize and helm",
        )]),
    ));
    all.push((
        "source.credentials",
        rules(&[
            rule("has(self.usernameFile) == has(self.passwordFile)", "usernameFile and passwordFile go together"),
            rule("has(self.sshKeyFile) == has(self.knownHostsFile)", "sshKeyFile and knownHostsFile go together"),
            rule(
                "[has(self.tokenFile), has(self.usernameFile), has(self.sshKeyFile)].filter(given, given).size() == 1",
                "write one way to prove who asks: tokenFile; or usernameFile and passwordFile; or sshKeyFile and knownHostsFile",
            ),
        ]),
    ));
    all.push((
        "target",
        rules(&[rule(
            "[has(self.directory), has(self.kubernetes), has(self.exec)].filter(given, given).size() == 1",
            "write exactly one of directory, kubernetes and exec",
        )]),
    ));
    all.push((
        "drift.ignore.[]",
        rules(&[rule("has(self.kind) || has(self.resource)", "would ignore all drift: write kind, resource, or both")]),
    ));
    all
}
