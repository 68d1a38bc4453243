//! The document of kind `Controller` as written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::guards::RawFleet;
use super::{ApiVersion, Metadata};

/// A document of kind `Controller`: what concerns the process rather than one application. Optional; at most one.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = "Controller")]
pub struct ControllerDocument {
    /// `holdfast.dev/v1alpha1`.
    #[expect(dead_code, reason = "checked by the schema")]
    #[schemars(required)]
    pub api_version: Option<ApiVersion>,
    /// `Controller`.
    #[expect(dead_code, reason = "checked by the schema")]
    #[schemars(required)]
    pub kind: Option<ControllerKind>,
    /// Names the controller: two that say something on one hosting service have names of their own.
    pub metadata: Option<Metadata>,
    /// What concerns the process.
    pub spec: Option<ControllerSpec>,
}

/// The kind of the controller's document.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
pub enum ControllerKind {
    /// The only one there is.
    Controller,
}

/// What concerns the process.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControllerSpec {
    /// The ledger, the clones and a `FREEZE` file of last resort. Default `./.holdfast-state`.
    pub state_dir: Option<String>,
    /// Where HTTP is served, such as `127.0.0.1:8686`; absent: it is not.
    pub listen: Option<String>,
    /// The secrets of webhooks; a service without one is not served.
    pub webhooks: Option<RawWebhooks>,
    /// The secrets of the API.
    pub api: Option<RawApi>,
    /// The hosting services that are told, and asked.
    pub forges: Option<Vec<RawForge>>,
    /// Where alerts are sent.
    pub notify: Option<Vec<RawNotify>>,
    /// What all applications of one repository may do together.
    pub fleet: Option<RawFleet>,
    /// The cluster whose Applications are worked on; absent: those of the configuration's own files.
    pub kubernetes: Option<RawInCluster>,
}

/// The cluster whose Applications are worked on.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawInCluster {
    /// The kubeconfig. Default: the pod's own account.
    pub kubeconfig: Option<String>,
    /// The context of the kubeconfig.
    pub context: Option<String>,
    /// The namespace of the Leases. Default: the pod's own, or the context's.
    pub namespace: Option<String>,
    /// Which Applications, and what they may name. Default: those of all namespaces.
    pub applications: Option<RawApplications>,
    /// How many replicas share the repositories. Default `1`.
    pub replicas: Option<u32>,
}

/// Which Applications of a cluster are worked on, and what they may name.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawApplications {
    /// Their namespaces. Default: all.
    pub namespaces: Option<Vec<String>>,
    /// The folder of the files that Applications name: those of a namespace are in the folder of its name. Default
    /// `/etc/holdfast/files`.
    pub files: Option<String>,
    /// Whether an Application may name whatever this process may use: any file, local repositories, directories, programs.
    /// Only where whoever may write an Application may do all that the controller may. Default `false`.
    pub unconfined: Option<bool>,
    /// Whether an Application may say `unconfined: true` for its renderers, where nothing isolates a program. Default `false`.
    pub unconfined_renderers: Option<bool>,
}

/// The secrets of webhooks.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawWebhooks {
    /// GitHub's HMAC secret.
    pub github: Option<RawSecret>,
    /// GitLab's token.
    pub gitlab: Option<RawSecret>,
    /// Gitea's HMAC secret.
    pub gitea: Option<RawSecret>,
}

/// A secret in a file: one secret a line; several lines while it is being replaced.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawSecret {
    /// The file; it is read again when it changes.
    #[schemars(required)]
    pub secret_file: Option<String>,
}

/// The secrets of the API.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawApi {
    /// Bearer tokens, one a line: reads from elsewhere, freezes, thaws. `PRINCIPAL TOKEN` on a line also approves, as that
    /// principal.
    pub token_file: Option<String>,
    /// The HMAC secret that can freeze and nothing else.
    pub freeze_secret_file: Option<String>,
}

/// A hosting service whose API is used.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawForge {
    /// Which API it speaks.
    #[schemars(required)]
    pub kind: Option<RawForgeKind>,
    /// The API's base (GitHub: `https://api.github.com`, its default) or the site.
    pub url: Option<String>,
    /// A GitHub App; otherwise `tokenFile`.
    pub app: Option<RawApp>,
    /// A file with an access token; otherwise `app`.
    pub token_file: Option<String>,
    /// Whether `/holdfast approve` in a comment counts. Default `false`.
    pub comment_approvals: Option<bool>,
}

/// Which API a hosting service speaks.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawForgeKind {
    /// GitHub, hosted or Enterprise.
    Github,
    /// GitLab.
    Gitlab,
    /// Gitea or Forgejo.
    Gitea,
}

/// A GitHub App.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawApp {
    /// The App's id.
    #[schemars(required)]
    pub id: Option<u64>,
    /// Its private key, PEM.
    #[schemars(required)]
    pub key_file: Option<String>,
}

/// A place that alerts are sent to.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawNotify {
    /// Where they are posted, as JSON.
    #[schemars(required)]
    pub webhook: Option<RawNotifyWebhook>,
    /// Which alerts are sent. Default: all.
    pub on: Option<Vec<RawEvent>>,
}

/// Where alerts are posted.
#[derive(Deserialize, JsonSchema, Debug, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RawNotifyWebhook {
    /// The address.
    #[schemars(required)]
    pub url: Option<String>,
    /// A file with the HMAC secret that signs them.
    pub secret_file: Option<String>,
}

/// What an alert is about.
#[derive(Deserialize, JsonSchema, Debug, Clone, Copy)]
#[serde(rename_all = "camelCase")]
pub enum RawEvent {
    /// A latch was set that nobody asked for.
    Halt,
    /// Somebody froze or thawed.
    Freeze,
    /// A resource does not converge.
    Failing,
}
