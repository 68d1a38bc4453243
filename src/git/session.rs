//! One conversation with a remote: what it has, and what we lack of that.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use gix::bstr::ByteSlice;
use gix::remote::fetch::{Shallow, Status, Tags};
use gix::{Count, NestedProgress, ObjectId, Progress};
use gix_transport::client::blocking_io::Transport;

use super::classify;
use super::credentials::Identity;
use super::fetch::FetchError;
use super::guard::Guard;
use super::remote::Remote;
use super::transport::{self, Address, Process, Way};

/// What a conversation is about.
pub(super) struct Topic<'a> {
    pub(super) remote: &'a Remote,
    pub(super) identity: &'a Identity,
    pub(super) address: &'a Address,
    pub(super) guard: &'a Arc<Guard>,
    /// What to ask for, as refspecs.
    pub(super) specs: Vec<String>,
    /// How much history to ask for.
    pub(super) depth: Depth,
}

/// How much history is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Depth {
    /// What is missing here.
    AsHere,
    /// All of it, whatever is here.
    Whole,
    /// The tips alone.
    Tips,
}

/// What the remote has of what was asked for: local names to object ids (a tag's own, not what it points at).
pub(super) type Advertised = BTreeMap<String, ObjectId>;

/// What was received.
#[derive(Default)]
pub(super) struct Received {
    /// Whether objects came, or only names moved.
    pub(super) pack: Option<std::path::PathBuf>,
}

impl Topic<'_> {
    /// Asks what there is, and receives it if `wanted` says so.
    pub(super) fn talk(
        &self,
        repo: &gix::Repository,
        wanted: &mut dyn FnMut(&Advertised) -> bool,
    ) -> Result<(Advertised, Option<Received>), FetchError> {
        // Past the first reason to stop, whatever gix says is only its echo.
        let ended = |error: FetchError| self.guard.verdict(self.remote).unwrap_or(error);
        if let Some(cut) = self.guard.verdict(self.remote) {
            return Err(cut);
        }
        if self.address.kind == Way::Http {
            return self.over_http(repo, wanted).map_err(|e| ended(classify::http(self.remote, self.identity, &e)));
        }
        let (process, pipe) = Process::start(self.address, self.remote, self.identity, self.guard)?;
        let talked = self.over_pipe(repo, pipe, wanted);
        talked.map_err(|e| {
            ended(classify::child(self.remote, self.identity, self.address.kind, &e, &process.complaint()))
        })
    }

    fn over_http(
        &self,
        repo: &gix::Repository,
        wanted: &mut dyn FnMut(&Advertised) -> bool,
    ) -> Result<(Advertised, Option<Received>), gix::Error> {
        let remote = self.named(repo)?;
        let mut connection = remote.connect(gix::remote::Direction::Fetch)?;
        let url = self.address.url.clone();
        connection.set_credentials(move |action| transport::answer(self.identity, &url, action));
        connection.set_transport_options(transport::http_options(
            repo,
            &self.address.url,
            self.remote,
            self.identity,
            self.guard,
        )?);
        self.converse(connection, wanted)
    }

    fn over_pipe(
        &self,
        repo: &gix::Repository,
        pipe: transport::Pipe,
        wanted: &mut dyn FnMut(&Advertised) -> bool,
    ) -> Result<(Advertised, Option<Received>), gix::Error> {
        let remote = self.named(repo)?;
        let mut connection = remote.to_connection_with_transport(pipe);
        // Without this gix would run the credential helpers that it finds.
        connection.set_credentials(|_| Ok(None));
        self.converse(connection, wanted)
    }

    fn named<'r>(&self, repo: &'r gix::Repository) -> Result<gix::Remote<'r>, gix::Error> {
        let specs = self.specs.iter().map(|spec| spec.as_bytes().as_bstr());
        repo.remote_at_without_url_rewrite(self.address.url.clone())?
            .with_fetch_tags(Tags::None)
            .with_refspecs(specs, gix::remote::Direction::Fetch)
    }

    fn converse<T: Transport>(
        &self,
        connection: gix::remote::Connection<'_, '_, '_, T>,
        wanted: &mut dyn FnMut(&Advertised) -> bool,
    ) -> Result<(Advertised, Option<Received>), gix::Error> {
        let meter = Meter::new(self.guard.clone());
        let prepared = connection.prepare_fetch(meter.child(false), Default::default())?;
        let mut advertised = Advertised::new();
        for mapping in &prepared.ref_map().mappings {
            if let (Some(local), Some(id)) = (&mapping.local, mapping.remote.as_id()) {
                advertised.insert(local.to_str_lossy().into_owned(), id.to_owned());
            }
        }
        if !wanted(&advertised) {
            return Ok((advertised, None));
        }
        let shallow = match self.depth {
            Depth::AsHere => Shallow::NoChange,
            Depth::Whole => Shallow::undo(),
            Depth::Tips => Shallow::DepthAtRemote(NonZeroU32::MIN),
        };
        let outcome =
            prepared.with_write_packed_refs_only(true).with_shallow(shallow).receive(meter, &self.guard.stop)?;
        let pack = match outcome.status {
            Status::Change { write_pack_bundle, .. } => write_pack_bundle.data_path,
            Status::NoPackReceived { .. } => None,
        };
        Ok((advertised, Some(Received { pack })))
    }
}

/// Counts the bytes of packs as they come in, which is where gix has no limit of its own.
struct Meter {
    guard: Arc<Guard>,
    counts: bool,
    steps: Arc<AtomicUsize>,
}

impl Meter {
    fn new(guard: Arc<Guard>) -> Self {
        Self { guard, counts: false, steps: Arc::default() }
    }

    fn child(&self, counts: bool) -> Self {
        Self { guard: self.guard.clone(), counts, steps: Arc::default() }
    }
}

impl Count for Meter {
    fn set(&self, _step: usize) {}

    fn step(&self) -> usize {
        self.steps.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn inc_by(&self, step: usize) {
        self.steps.fetch_add(step, std::sync::atomic::Ordering::Relaxed);
        if self.counts {
            self.guard.count(step as u64);
        }
    }

    fn counter(&self) -> Arc<AtomicUsize> {
        self.steps.clone()
    }
}

impl Progress for Meter {
    fn init(&mut self, _max: Option<usize>, _unit: Option<gix::progress::Unit>) {}

    fn set_name(&mut self, _name: String) {}

    fn name(&self) -> Option<String> {
        None
    }

    fn id(&self) -> gix::progress::Id {
        gix::progress::UNKNOWN
    }

    fn message(&self, _level: gix::progress::MessageLevel, _message: String) {}
}

impl NestedProgress for Meter {
    type SubProgress = Self;

    fn add_child(&mut self, _name: impl Into<String>) -> Self {
        self.child(false)
    }

    fn add_child_with_id(&mut self, _name: impl Into<String>, id: gix::progress::Id) -> Self {
        let bytes: gix::progress::Id = gix::odb::pack::bundle::write::ProgressId::ReadPackBytes.into();
        self.child(id == bytes)
    }
}
