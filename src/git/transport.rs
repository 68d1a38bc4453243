//! The ways to a repository: a child process for ssh and local paths, HTTP in process.
//!
//! gix could start the child itself; then nobody could kill one that hangs, keep the user's configuration of ssh out, or
//! quote what the child said.

use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use gix::bstr::{BString, ByteSlice};
use gix::url::{ArgumentSafety, Scheme};
use gix_transport::client::blocking_io::http;
use gix_transport::client::git::{ConnectMode, blocking_io::Connection};
use rustix::process::Pid;

use super::credentials::{Identity, Redacted};
use super::fetch::FetchError;
use super::guard::{Guard, Watched};
use super::remote::{Network, Remote};

/// A parsed URL, its userinfo taken out.
pub(super) struct Address {
    pub(super) url: gix::Url,
    pub(super) kind: Way,
}

/// How an address is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Http,
    Ssh,
    Local,
}

/// Parses a remote's URL; a password in it serves where no credentials are configured.
pub(super) fn address(remote: &Remote, identity: &mut Identity) -> Result<Address, FetchError> {
    let bad = |why: &str| FetchError::Url { url: remote.url.clone(), why: why.into() };
    // The parser's own message would repeat the URL, secrets included.
    let mut url = gix::url::parse(remote.url.secret()).map_err(|_| bad("it is neither a URL nor a path"))?;
    let kind = match url.scheme {
        Scheme::Https | Scheme::Http => Way::Http,
        Scheme::Ssh => Way::Ssh,
        Scheme::File => Way::Local,
        _ => return Err(bad("its scheme is none of https, http, ssh and file")),
    };
    match kind {
        Way::Http => {
            let user = url.set_user(None);
            let password = url.set_password(None);
            if let (Identity::None, Some(password)) = (&identity, password) {
                *identity = Identity::Basic { user: user.unwrap_or_default(), password: Redacted::new(password) };
            } else if let (Identity::None, Some(token)) = (&identity, user) {
                *identity = Identity::Basic { user: "x-access-token".into(), password: Redacted::new(token) };
            }
            if matches!(identity, Identity::Basic { .. }) && url.scheme == Scheme::Http && !is_loopback(&url) {
                return Err(bad("its credentials would travel in clear text; use https"));
            }
            if matches!(identity, Identity::Key { .. }) {
                return Err(bad("an ssh key is no credential for http: use a token, or an ssh URL"));
            }
        }
        Way::Ssh | Way::Local => {
            url.set_password(None);
            if matches!(identity, Identity::Basic { .. }) {
                return Err(bad("a token or password is a credential for https only: use an ssh key, or an https URL"));
            }
        }
    }
    Ok(Address { url, kind })
}

/// Tells whether a host is this machine by its spelling; a name that resolves to it may resolve elsewhere tomorrow.
fn is_loopback(url: &gix::Url) -> bool {
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A child that speaks Git's protocol on its pipes; killed with its whole group when dropped.
pub(super) struct Process {
    child: Child,
    stderr: Receiver<String>,
    guard: Arc<Guard>,
}

/// What gix talks to.
pub(super) type Pipe = Connection<Watched<ChildStdout>, Watched<ChildStdin>>;

impl Process {
    /// Starts the child for an ssh or local address.
    pub(super) fn start(
        address: &Address,
        remote: &Remote,
        identity: &Identity,
        guard: &Arc<Guard>,
    ) -> Result<(Self, Pipe), FetchError> {
        let mut command = match address.kind {
            Way::Local => local(address, remote)?,
            Way::Ssh | Way::Http => ssh(address, remote, identity)?,
        };
        hermetic(&mut command);
        command.env("GIT_PROTOCOL", "version=2").env("LC_ALL", "C").env("LANG", "C");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let program = command.get_program().to_owned();
        let mut child =
            command.spawn().map_err(|e| FetchError::Program { program: program.clone().into(), why: e.to_string() })?;
        guard.adopt(Pid::from_child(&child));
        let stderr = drain(child.stderr.take().expect("stderr is piped"));
        let read = Watched { inner: child.stdout.take().expect("stdout is piped"), guard: guard.clone() };
        let write = Watched { inner: child.stdin.take().expect("stdin is piped"), guard: guard.clone() };
        let path = address.url.path.clone();
        let pipe = Connection::new(
            read,
            write,
            gix_transport::Protocol::V2,
            path,
            None::<(String, Option<u16>)>,
            ConnectMode::Process,
            false,
        )
        .custom_url(Some(BString::from(remote.url.to_string())));
        Ok((Self { child, stderr, guard: guard.clone() }, pipe))
    }

    /// Ends the child and returns what it complained about.
    pub(super) fn complaint(mut self) -> String {
        // It has closed its pipes or was killed already; what is left of its group holds nothing we want.
        self.end();
        // A grandchild that left the group may hold the pipe open for ever.
        self.stderr.recv_timeout(Duration::from_secs(1)).unwrap_or_default()
    }

    fn end(&mut self) {
        self.guard.release();
        let _reaped = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// Reads a child's complaints on a thread of its own, keeping the first few lines.
fn drain(mut stderr: std::process::ChildStderr) -> Receiver<String> {
    const KEEP: u64 = 4096;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let _read = stderr.by_ref().take(KEEP).read_to_end(&mut kept);
        // The receiver may be gone; nobody wants it then.
        let _sent = send.send(kept.to_str_lossy().into_owned());
        let _drained = std::io::copy(&mut stderr, &mut std::io::sink());
    });
    receive
}

/// Keeps out what the surrounding shell may have set for another repository.
pub(super) fn hermetic(command: &mut Command) {
    for name in [
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CEILING_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_TRACE",
        "GIT_WORK_TREE",
        "GIT_EXEC_PATH",
    ] {
        command.env_remove(name);
    }
    // What a repository replaces or grafts is nobody's signed history.
    command.env("GIT_NO_REPLACE_OBJECTS", "1").env("GIT_TERMINAL_PROMPT", "0");
}

fn local(address: &Address, remote: &Remote) -> Result<Command, FetchError> {
    let path = Path::new(std::ffi::OsStr::from_bytes(&address.url.path));
    if !path.is_dir() {
        return Err(FetchError::NotFound { url: remote.url.clone(), detail: "there is no such directory".into() });
    }
    let mut command = Command::new(&remote.network.git);
    command.arg("upload-pack").arg("--").arg(path);
    Ok(command)
}

fn ssh(address: &Address, remote: &Remote, identity: &Identity) -> Result<Command, FetchError> {
    let bad = |why: &str| FetchError::Url { url: remote.url.clone(), why: why.into() };
    let host = match (address.url.user_as_argument(), address.url.host_as_argument()) {
        (ArgumentSafety::Usable(user), ArgumentSafety::Usable(host)) => format!("{user}@{host}"),
        (ArgumentSafety::Absent, ArgumentSafety::Usable(host)) => host.into(),
        _ => return Err(bad("its user or host is missing, or could be taken for an option")),
    };
    let mut command = Command::new(&remote.network.ssh);
    let seconds = |time: Duration| time.as_secs().max(1);
    for option in [
        "BatchMode=yes".into(),
        "StrictHostKeyChecking=yes".into(),
        "SendEnv=GIT_PROTOCOL".into(),
        "ForwardAgent=no".into(),
        "ClearAllForwardings=yes".into(),
        "PermitLocalCommand=no".into(),
        format!("ConnectTimeout={}", seconds(remote.limits.connect)),
        format!("ServerAliveInterval={}", seconds(remote.limits.idle)),
        "ServerAliveCountMax=1".into(),
    ] {
        command.arg("-o").arg(option);
    }
    if let Identity::Key { key, known_hosts } = identity {
        // With a key of its own nothing of the user's configuration, agent or other keys has a say.
        command.arg("-F").arg("/dev/null").arg("-o").arg("IdentitiesOnly=yes").arg("-o").arg("IdentityAgent=none");
        command.arg("-o").arg("GlobalKnownHostsFile=/dev/null");
        command.arg("-o").arg(option("UserKnownHostsFile", known_hosts).ok_or_else(|| bad("known_hosts has a quote"))?);
        command.arg("-i").arg(key);
    }
    if let Some(port) = address.url.port {
        command.arg("-p").arg(port.to_string());
    }
    let path = gix::url::expand_path::for_shell(address.url.path.clone());
    let mut remote_command = b"git-upload-pack ".to_vec();
    remote_command.extend_from_slice(&quote(&path));
    command.arg("--").arg(host).arg(std::ffi::OsStr::from_bytes(&remote_command));
    Ok(command)
}

/// An option of ssh whose value may have spaces.
fn option(name: &str, path: &Path) -> Option<String> {
    let path = path.to_str().filter(|path| !path.contains(['"', '\n']))?;
    Some(format!("{name}=\"{}\"", path.replace('%', "%%")))
}

/// Quotes for the remote shell; a leading `~` stays outside the quotes, so that it still means a home.
fn quote(path: &[u8]) -> Vec<u8> {
    let home = if path.starts_with(b"~") { path.iter().position(|b| *b == b'/').unwrap_or(path.len()) } else { 0 };
    let plain = path[..home].iter().all(|b| b.is_ascii_alphanumeric() || b"~-_.".contains(b));
    let (home, path) = path.split_at(if plain { home } else { 0 });
    let mut out = home.to_vec();
    out.push(b'\'');
    out.extend_from_slice(&path.replace("'", "'\\''"));
    out.push(b'\'');
    out
}

/// The options that gix does not take from Git's configuration: proxy, certificates, time-outs.
pub(super) fn http_options(
    repo: &gix::Repository,
    url: &gix::Url,
    remote: &Remote,
    identity: &Identity,
    guard: &Arc<Guard>,
) -> Result<Box<dyn std::any::Any>, gix::Error> {
    // Once per process; whoever was first with a provider is fine.
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));

    let text = url.to_bstring();
    let mut options =
        repo.transport_options(text.as_bstr(), None)?.unwrap_or_else(|| Box::new(http::Options::default()));
    let (network, limits, guard) = (remote.network.clone(), remote.limits.clone(), guard.clone());
    let backend = http::reqwest::Options {
        configure_client: Some(Box::new(move |_| {
            let mut builder = reqwest::ClientBuilder::new()
                .http1_title_case_headers()
                .connect_timeout(limits.connect)
                // Of each request, of which a fetch has at most four; between them the watchdog's word is heard.
                .timeout(guard.left())
                .no_proxy();
            builder = with_proxy(builder, &network)?;
            if let Some(ca) = &network.ca {
                let certificates = reqwest::Certificate::from_pem_bundle(ca).map_err(gix::Error::from_error)?;
                builder = builder.tls_certs_merge(certificates);
            }
            // Of each read: the asynchronous read_timeout wants a runtime that this client does not enter.
            Ok(reqwest::blocking::ClientBuilder::from(builder).timeout(limits.idle))
        })),
        configure_request: None,
    };
    if let Some(options) = options.downcast_mut::<http::Options>() {
        options.backend = Some(Arc::new(Mutex::new(backend)));
        // gix gives credentials to https alone; a forge on this machine is fine, and with a header of ours it follows no
        // redirect away from it.
        if let (Identity::Basic { user, password }, Scheme::Http) = (identity, &url.scheme) {
            let basic = base64(format!("{user}:{}", password.expose()).as_bytes());
            options.extra_headers.push(format!("Authorization: Basic {basic}"));
        }
    }
    Ok(options)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk.iter().enumerate().fold(0_u32, |all, (at, byte)| all | u32::from(*byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = DIGITS[(all >> (18 - 6 * at)) as usize & 63];
            out.push(if at > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    out
}

fn with_proxy(builder: reqwest::ClientBuilder, network: &Network) -> Result<reqwest::ClientBuilder, gix::Error> {
    let Some(proxy) = &network.proxy else { return Ok(builder) };
    let exempt = network.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
    let proxy = reqwest::Proxy::all(proxy.secret()).map_err(|e| gix::Error::from_error(e.without_url()))?;
    Ok(builder.proxy(proxy.no_proxy(exempt)))
}

/// Answers gix's question for credentials: ours for the configured host, nothing for any other.
pub(super) fn answer(
    identity: &Identity,
    url: &gix::Url,
    action: gix::credentials::helper::Action,
) -> Result<Option<gix::credentials::protocol::Outcome>, gix::Error> {
    let gix::credentials::helper::Action::Get(context) = action else { return Ok(None) };
    let Identity::Basic { user, password } = identity else { return Ok(None) };
    // Over http the header went along already, and was refused. A redirect must not carry the secret to a host that nobody configured.
    let asked = context.url.as_ref().and_then(|asked| gix::url::parse(asked.as_bstr()).ok());
    let same = url.scheme == Scheme::Https
        && asked.is_some_and(|asked| {
            asked.scheme == url.scheme && asked.host() == url.host() && asked.port_or_default() == url.port_or_default()
        });
    Ok(same.then(|| gix::credentials::protocol::Outcome {
        identity: gix::sec::identity::Account {
            username: user.clone(),
            password: password.expose().into(),
            oauth_refresh_token: None,
        },
        next: context.into(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_cannot_leave_their_quotes() {
        assert_eq!(quote(b"/a b'; rm -rf /").to_str_lossy(), r"'/a b'\''; rm -rf /'");
        assert_eq!(quote(b"~git/a b").to_str_lossy(), "~git'/a b'");
        assert_eq!(quote(b"~$(id)/a").to_str_lossy(), "'~$(id)/a'");
    }

    #[test]
    fn base64_is_padded() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("fooba?>", "Zm9vYmE/Pg==")] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn hosts_that_look_like_options_are_refused() {
        for url in ["ssh://-oProxyCommand=id/a.git", "ssh://-x@host/a.git"] {
            let remote = Remote::new(url, "main");
            let refused = address(&remote, &mut Identity::None).and_then(|a| ssh(&a, &remote, &Identity::None));
            assert!(matches!(refused, Err(FetchError::Url { .. })), "{url}");
        }
    }

    #[test]
    fn programs_are_not_urls() {
        for url in ["ext::sh -c id", "git://host/a.git", "ftp://host/a", "foo::bar"] {
            assert!(address(&Remote::new(url, "main"), &mut Identity::None).is_err(), "{url}");
        }
    }
}
