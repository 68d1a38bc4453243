//! The configuration as a person writes it: the names, and which values may stand where.
//!
//! These types are the source of the JSON Schema, of the structural check ([`super::check`]) and of the reference. Every
//! field is optional for serde, because the structural check reports what is missing or wrong, all at once, and what is left is still
//! read so that the rest can be validated.

mod controller;
mod guards;
mod scalar;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use controller::*;
pub use guards::*;
pub use scalar::*;

/// The version of every document.
pub const API_VERSION: &str = "holdfast.dev/v1alpha1";

/// Names a document.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// A DNS label: lower case letters, digits and hyphens, at most 63; unique among applications.
    #[schemars(required)]
    pub name: Option<String>,
    /// For the custom resource in Kubernetes; without meaning here.
    #[expect(dead_code, reason = "accepted and not read")]
    pub namespace: Option<String>,
    /// Free labels; without meaning here.
    #[expect(dead_code, reason = "accepted and not read")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Free annotations; without meaning here.
    #[expect(dead_code, reason = "accepted and not read")]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// A document of kind `Application`: what is kept in sync with one path of one branch.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Application")]
pub struct ApplicationDocument {
    /// `holdfast.dev/v1alpha1`.
    #[expect(dead_code, reason = "checked by the schema")]
    #[schemars(required)]
    pub api_version: Option<ApiVersion>,
    /// `Application`.
    #[expect(dead_code, reason = "checked by the schema")]
    #[schemars(required)]
    pub kind: Option<ApplicationKind>,
    /// Names the application.
    #[schemars(required)]
    pub metadata: Option<Metadata>,
    /// What is kept in sync, and how.
    #[schemars(required)]
    pub spec: Option<ApplicationSpec>,
}

/// The version of a document.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
pub enum ApiVersion {
    /// The only one there is.
    #[serde(rename = "holdfast.dev/v1alpha1")]
    V1alpha1,
}

/// The kind of an application's document.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
pub enum ApplicationKind {
    /// The only one there is.
    Application,
}

/// What is kept in sync, and how.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ApplicationSpec {
    /// `observe` writes nothing; `converge` writes what the guards let through. Default `observe`.
    pub mode: Option<RawMode>,
    /// The length of a counted cycle. Default `3m`.
    pub interval: Option<RawDuration>,
    /// A freeze by configuration: `true`, or who froze, why and until when.
    pub freeze: Option<RawFreeze>,
    /// Where desired state comes from.
    #[schemars(required)]
    pub source: Option<RawSource>,
    /// Who may change it, and who may approve.
    pub trust: Option<RawTrust>,
    /// What is kept in sync; exactly one of its fields.
    #[schemars(required)]
    pub target: Option<RawTarget>,
    /// What stops the loop.
    pub guards: Option<RawGuards>,
    /// How live drift is answered.
    pub drift: Option<RawDrift>,
}

/// Whether anything may be written.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawMode {
    /// Nothing is written.
    Observe,
    /// What the guards let through is written.
    Converge,
}

/// A freeze by configuration.
#[derive(Deserialize, JsonSchema, Debug)]
#[serde(untagged)]
pub enum RawFreeze {
    /// `true` freezes without saying why.
    Flag(bool),
    /// A freeze that says why.
    Told(RawFreezeFields),
}

/// Who froze, why and until when.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawFreezeFields {
    /// Why.
    pub reason: Option<String>,
    /// Who asked.
    pub owner: Option<String>,
    /// Until when, RFC 3339 with an offset; absent: until it is taken out.
    pub until: Option<String>,
}

/// Where desired state comes from.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawSource {
    /// The repository: `https`, `ssh`, `file`, `user@host:path` or a path.
    #[schemars(required)]
    pub url: Option<String>,
    /// The branch that is tracked. Default `main`.
    pub branch: Option<String>,
    /// The path below the repository's root. Default `.`.
    pub path: Option<String>,
    /// What the repository asks for; secrets stay in files.
    pub credentials: Option<RawCredentials>,
    /// How the tree becomes resources; exactly one of its fields. Default `{plain: {}}`.
    pub render: Option<RawRender>,
    /// An HTTP proxy, such as `http://proxy.example:3128`.
    pub proxy: Option<String>,
    /// A file of certificate authorities (PEM) trusted besides the system's.
    pub ca_file: Option<String>,
    /// How long one fetch may take. Default `2m`.
    pub timeout: Option<RawDuration>,
}

/// What a repository asks for: `tokenFile`, or `usernameFile` and `passwordFile`, or `sshKeyFile` and `knownHostsFile`.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawCredentials {
    /// A file with an access token.
    pub token_file: Option<String>,
    /// A file with the user's name.
    pub username_file: Option<String>,
    /// A file with the password.
    pub password_file: Option<String>,
    /// A private SSH key.
    pub ssh_key_file: Option<String>,
    /// OpenSSH's `known_hosts`.
    pub known_hosts_file: Option<String>,
}

/// How the tree becomes resources: exactly one of `plain`, `kustomize`, `helm`, and `sops` beside it.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawRender {
    /// Every file is a resource, or declares some.
    pub plain: Option<RawPlain>,
    /// The path is a kustomization (a cluster's targets alone).
    pub kustomize: Option<RawKustomize>,
    /// The path is a Helm chart (a cluster's targets alone).
    pub helm: Option<RawHelm>,
    /// How objects are decrypted that SOPS encrypted (a cluster's targets alone).
    pub sops: Option<RawSops>,
}

/// How kustomize is run.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawKustomize {
    /// Where the program is. Default: `kustomize` in `PATH`.
    pub program: Option<String>,
    /// Whether it may run on a machine that cannot isolate it. Default false.
    pub unconfined: Option<bool>,
}

/// How Helm is run.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawHelm {
    /// Where the program is. Default: `helm` in `PATH`.
    pub program: Option<String>,
    /// Whether it may run on a machine that cannot isolate it. Default false.
    pub unconfined: Option<bool>,
    /// The release's name. Default: the application's.
    pub release_name: Option<String>,
    /// Files of values in the repository, relative to the chart, later ones winning.
    pub values_files: Option<Vec<String>>,
    /// Whether the chart's `crds/` are desired too. Default false.
    pub include_crds: Option<bool>,
    /// The version of Kubernetes that templates see. Default: Helm's own.
    pub kube_version: Option<String>,
}

/// How SOPS is run.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawSops {
    /// Where the program is. Default: `sops` in `PATH`.
    pub program: Option<String>,
    /// Whether it may run on a machine that cannot isolate it. Default false.
    pub unconfined: Option<bool>,
    /// The file with the age identity.
    #[schemars(required)]
    pub age_key_file: Option<String>,
}

/// Options of plain files: none yet.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawPlain {}

/// Who may change an application, and who may approve.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawTrust {
    /// Which commits must verify: `repository`, all of a range; `path`, those that change what this application reads.
    /// Default `repository`.
    pub verify: Option<RawVerify>,
    /// Who must match: `signer`, a listed principal; `committer`, one that is also the committer's address. Default
    /// `signer`.
    #[serde(rename = "match")]
    pub matches: Option<RawMatch>,
    /// The first commit that is taken as verified, as a full id; otherwise the first tip that verifies.
    pub anchor: Option<String>,
    /// SSH signatures, in OpenSSH's formats.
    pub ssh: Option<RawSshTrust>,
    /// OpenPGP signatures.
    pub openpgp: Option<RawOpenpgpTrust>,
    /// Principals that may sign. Default: every principal of the files.
    pub signers: Option<Vec<String>>,
    /// Principals that may approve and vouch. Default: nobody.
    pub approvers: Option<Vec<String>>,
    /// Several addresses and keys that are one person.
    pub people: Option<BTreeMap<String, Vec<String>>>,
    /// Whether merges, squashes and rebases that the hosting service made are covered where all that was merged verifies and
    /// our own merge gives the same tree. Default `false`.
    pub service_merges: Option<bool>,
}

/// Which commits must verify.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawVerify {
    /// All of a range.
    Repository,
    /// Those that change what this application reads.
    Path,
}

/// Who must match.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawMatch {
    /// A listed principal.
    Signer,
    /// A listed principal that is also the committer's address.
    Committer,
}

/// SSH signatures, in OpenSSH's formats.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawSshTrust {
    /// The `allowed_signers` file.
    #[schemars(required)]
    pub allowed_signers: Option<String>,
    /// A key revocation list; one that cannot be read is a failure.
    pub revocations: Option<String>,
}

/// OpenPGP signatures.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawOpenpgpTrust {
    /// A file of certificates, armored or binary.
    #[schemars(required)]
    pub keyring: Option<String>,
}

/// What is kept in sync: exactly one of these.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawTarget {
    /// The files of a directory.
    pub directory: Option<RawDirectory>,
    /// The objects of a cluster.
    pub kubernetes: Option<RawKubernetes>,
    /// A program of yours that speaks JSON lines.
    pub exec: Option<RawExec>,
}

/// The files of a directory.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawDirectory {
    /// The directory.
    #[schemars(required)]
    pub root: Option<String>,
    /// Whether files that nothing declares are drift, and so removed after the grace. Default `false`.
    pub exclusive: Option<bool>,
    /// What is run after a batch that wrote a matching file.
    pub reload: Option<Vec<RawReload>>,
}

/// Commands after a batch that wrote a matching file.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawReload {
    /// A glob over the paths below the root. Default `**`.
    #[serde(rename = "match")]
    pub matches: Option<String>,
    /// The program and its arguments; no shell.
    #[schemars(required)]
    pub run: Option<Vec<String>>,
    /// The program and its arguments that tell, by their exit code, whether it works.
    pub check: Option<Vec<String>>,
    /// How long either may take. Default `30s`.
    pub timeout: Option<RawDuration>,
}

/// A cluster, and as whom it is reached.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawKubernetes {
    /// The kubeconfig. Default: the pod's own account.
    pub kubeconfig: Option<String>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace of what names none, and of the object that holdfast keeps for itself. Default `default`.
    pub namespace: Option<String>,
    /// The service account that is impersonated: `NAMESPACE/NAME`, or a name in that namespace.
    pub service_account: Option<String>,
}

/// A program of yours that speaks JSON lines.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawExec {
    /// The program and its arguments; no shell. A program with a slash is relative to the configuration's file.
    #[schemars(required)]
    pub run: Option<Vec<String>>,
    /// How long one call may take. Default `1m`.
    pub timeout: Option<RawDuration>,
}
