//! The repository: commits that desire maps, with signatures of every worth. What a range is, it says; what it is worth, core does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use jiff::Timestamp;

use crate::controller::edges::{Judged, Rendered, Trusted};
use crate::core::commit::{Commit, CommitId, Grant, Ident, Revocation, Scheme, Signature, Tag};
use crate::core::culprit::WantChange;
use crate::core::freeze;
use crate::core::guards::TrustPolicy;
use crate::core::reason::Reason;
use crate::core::resource::{Desired, Digest, Id, Nature, Want};
use crate::core::state::State;
use crate::core::trust::{self, Outcome, Sighted};

/// People who may sign.
pub const PEOPLE: [&str; 3] = ["alice@example.org", "bob@example.org", "carol@example.org"];

/// A key that ran out at the beginning of every script.
pub const EXPIRED_KEY: &str = "key-expired";

/// What a commit wants of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thing {
    /// Its content.
    pub content: u32,
    /// What the rules need to know of it.
    pub nature: Arc<Nature>,
    /// Whether it does not work once written.
    pub sick: bool,
}

impl Thing {
    /// Returns what serves as desired and live digest, as for files.
    pub fn digest(&self) -> Digest {
        Digest::of_parts([
            &self.content.to_le_bytes()[..],
            &[u8::from(self.sick)],
            &self.nature.vitals.0.to_le_bytes(),
            self.nature.identity.as_deref().unwrap_or_default().as_bytes(),
        ])
    }

    /// Returns a value that a cluster does not let anybody change in place.
    pub const fn fixed(&self) -> bool {
        self.content % 16 == 5
    }
}

/// What a commit wants of one application.
pub type Tree = BTreeMap<Id, Thing>;

/// What a commit renders to for one application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A map, possibly empty.
    Tree(Rc<Tree>),
    /// The path is not there.
    Missing,
    /// It does not render.
    Broken,
}

impl Source {
    /// Returns what is wanted, if that can be told.
    pub fn tree(&self) -> Option<Rc<Tree>> {
        match self {
            Self::Tree(tree) => Some(tree.clone()),
            Self::Missing => Some(Rc::default()),
            Self::Broken => None,
        }
    }
}

/// How a commit is signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Signed {
    /// By one of [`PEOPLE`].
    By(usize),
    /// Not at all.
    Unsigned,
    /// By a key that nothing names.
    Foreign,
    /// By a key that had expired, back-dated to before that.
    Expired,
}

/// One commit.
#[derive(Clone, Debug)]
pub struct SimCommit {
    /// Its parents.
    pub parents: Vec<CommitId>,
    /// What it wants, by application.
    pub sources: Vec<Source>,
    /// Its `FREEZE` entries by path.
    pub freezes: BTreeMap<Arc<str>, Vec<u8>>,
    /// How it is signed.
    pub signed: Signed,
    /// Who wrote it.
    pub author: usize,
    /// When it says it was made.
    pub committed: Timestamp,
    rendered: Vec<Rendered>,
}

/// The repository as its host serves it.
#[derive(Debug)]
pub struct Repository {
    /// Every commit ever pushed: what was accepted stays pinned.
    pub commits: BTreeMap<CommitId, SimCommit>,
    /// The tracked branch.
    pub tip: CommitId,
    /// Keys that were taken back.
    pub revoked: BTreeSet<usize>,
    /// Commits that an approver vouches for.
    pub vouched: BTreeSet<CommitId>,
    next: u32,
    /// Nothing is ever taken out of the repository, so what leads where stays as it is.
    ranges: RefCell<HashMap<(CommitId, CommitId), Rc<Range>>>,
}

/// What lies between two commits.
#[derive(Debug)]
pub struct Range {
    /// What is reachable from the tip and not from the base, parents first.
    pub all: Vec<CommitId>,
    /// Those of it on the first-parent chain.
    pub first: BTreeSet<CommitId>,
    /// Whether the base is on that chain.
    pub on_chain: bool,
}

impl Repository {
    /// Makes a repository with a first commit.
    pub fn new(sources: Vec<Source>, at: Timestamp) -> Self {
        let mut repository = Self {
            commits: BTreeMap::new(),
            tip: CommitId::new(""),
            revoked: BTreeSet::new(),
            vouched: BTreeSet::new(),
            next: 1,
            ranges: RefCell::default(),
        };
        let first = repository.add(Vec::new(), sources, BTreeMap::new(), Signed::By(0), 0, at);
        repository.tip = first;
        repository
    }

    /// Adds a commit without moving the branch.
    pub fn add(
        &mut self,
        parents: Vec<CommitId>,
        sources: Vec<Source>,
        freezes: BTreeMap<Arc<str>, Vec<u8>>,
        signed: Signed,
        author: usize,
        committed: Timestamp,
    ) -> CommitId {
        let id = CommitId::new(format!("{:07x}{:033x}", self.next, 0));
        self.next += 1;
        let rendered: Vec<Rendered> = sources.iter().map(render).collect();
        self.commits.insert(id.clone(), SimCommit { parents, sources, freezes, signed, author, committed, rendered });
        id
    }

    /// Finds a commit.
    pub fn get(&self, id: &CommitId) -> Option<&SimCommit> {
        self.commits.get(id)
    }

    /// Returns the branch's commit.
    pub fn at_tip(&self) -> &SimCommit {
        &self.commits[&self.tip]
    }

    /// Renders a commit for an application.
    pub fn render(&self, id: &CommitId, app: usize) -> Rendered {
        self.get(id).map_or_else(|| Rendered::Broken("no such commit".into()), |commit| commit.rendered[app].clone())
    }

    /// Returns what lies between two commits.
    pub fn range(&self, base: &CommitId, tip: &CommitId) -> Rc<Range> {
        let key = (base.clone(), tip.clone());
        if let Some(known) = self.ranges.borrow().get(&key) {
            return known.clone();
        }
        let range = Rc::new(self.walk(base, tip));
        self.ranges.borrow_mut().insert(key, range.clone());
        range
    }

    fn walk(&self, base: &CommitId, tip: &CommitId) -> Range {
        let below = self.ancestors(base);
        let mut all: Vec<CommitId> = Vec::new();
        let mut stack = vec![(tip.clone(), false)];
        let mut seen = BTreeSet::new();
        while let Some((id, after)) = stack.pop() {
            if after {
                all.push(id);
            } else if !below.contains(&id) && seen.insert(id.clone()) {
                let parents = self.get(&id).map(|commit| commit.parents.clone()).unwrap_or_default();
                stack.push((id, true));
                stack.extend(parents.into_iter().rev().map(|parent| (parent, false)));
            }
        }
        let mut first = BTreeSet::new();
        let mut at = Some(tip.clone());
        let mut on_chain = false;
        while let Some(id) = at {
            if id == *base {
                on_chain = true;
                break;
            }
            at = self.get(&id).and_then(|commit| commit.parents.first().cloned());
            if !below.contains(&id) {
                first.insert(id);
            }
        }
        Range { all, first, on_chain }
    }

    fn ancestors(&self, of: &CommitId) -> BTreeSet<CommitId> {
        let mut seen = BTreeSet::new();
        let mut stack = vec![of.clone()];
        while let Some(id) = stack.pop() {
            if seen.insert(id.clone())
                && let Some(commit) = self.get(&id)
            {
                stack.extend(commit.parents.iter().cloned());
            }
        }
        seen
    }

    /// Tells whether all a commit does to its first parent is to add or widen a freeze.
    pub fn freezes_only(&self, id: &CommitId, now: Timestamp) -> bool {
        let Some(commit) = self.get(id) else { return false };
        let Some(parent) = commit.parents.first().and_then(|parent| self.get(parent)) else { return false };
        parent.sources == commit.sources
            && parent.freezes != commit.freezes
            && parent.freezes.iter().all(|(path, bytes)| {
                let new = commit.freezes.get(path).map(|bytes| freeze::parse(bytes, now));
                !freeze::narrows(&freeze::parse(bytes, now), new.as_ref())
            })
    }

    /// Returns a commit's facts as the edge that does cryptography would.
    pub fn facts(&self, id: &CommitId, expiry: Timestamp) -> Option<Commit> {
        let commit = self.get(id)?;
        let ident = Ident { name: PEOPLE[commit.author].to_owned(), email: PEOPLE[commit.author].to_owned() };
        let grant = |who: &str, before| Grant {
            principals: vec![who.to_owned()],
            valid_after: None,
            valid_before: before,
            namespace_allowed: true,
        };
        let signature = match commit.signed {
            Signed::By(key) => Signature::Good {
                scheme: Scheme::Ssh,
                key: format!("key-{key}").into(),
                grants: vec![grant(PEOPLE[key], None)],
                revocation: if self.revoked.contains(&key) { Revocation::Revoked } else { Revocation::None },
            },
            Signed::Unsigned => Signature::Unsigned,
            Signed::Foreign => Signature::UnknownKey { key: "key-foreign".into() },
            Signed::Expired => Signature::Good {
                scheme: Scheme::Ssh,
                key: EXPIRED_KEY.into(),
                grants: vec![grant(PEOPLE[0], Some(expiry))],
                revocation: Revocation::None,
            },
        };
        Some(Commit {
            id: id.clone(),
            parents: commit.parents.clone(),
            tree: "".into(),
            author: ident.clone(),
            committer: ident,
            committed: commit.committed,
            subject: format!("change {}", id.short()),
            signature,
        })
    }

    /// Judges the range to a tip as the real edge does: ancestry here, every signature in core.
    pub fn trust(
        &self,
        state: &State,
        tip: &CommitId,
        policy: &TrustPolicy,
        now: Timestamp,
        expiry: Timestamp,
    ) -> Result<Trusted, Arc<str>> {
        let base = state.app.base().cloned();
        let range = match base.clone().or_else(|| policy.anchor.clone()) {
            Some(base) if self.get(&base).is_none() => return Err("a commit is missing".into()),
            Some(base) => self.range(&base, tip),
            None => Rc::new(Range { all: vec![tip.clone()], first: [tip.clone()].into(), on_chain: true }),
        };
        let Range { all, first, on_chain } = &*range;
        let vouches: Vec<(Tag, Timestamp)> = self.vouched.iter().map(|id| (vouch(id, now), now)).collect();
        let mut trusted = Trusted::default();
        for id in all {
            let Some(commit) = self.facts(id, expiry) else { return Err("a commit is missing".into()) };
            let sighted = Sighted {
                commit: &commit,
                first_seen: state.app.sights.get(id).copied().unwrap_or(now),
                first_parent: first.contains(id),
                touches: true,
                freeze_only: self.freezes_only(id, now),
            };
            let verdict = trust::verdict(&sighted, policy, &vouches);
            let mut signer = None;
            match &verdict.outcome {
                Outcome::Verified { principal: who, key } | Outcome::Vouched { by: who, key } => {
                    signer = Some(who.clone());
                    if !trusted.keys.contains(key) {
                        trusted.keys.push(key.clone());
                    }
                }
                Outcome::Merged { .. } | Outcome::Exempt(_) => {}
                Outcome::Failed { code, message } => {
                    trusted.signature.push(Reason::new(code.as_str(), message.clone()))
                }
            }
            let first_parent = first.contains(id);
            let verdict = verdict.label().into();
            trusted.commits.push(Judged { commit, first_parent, signer, verdict, why: None, brought: Vec::new() });
        }
        if !on_chain {
            trusted.history = Some(Reason::new("history", "the branch was rewritten"));
        }
        if let Some(last) = state.app.last_verified.as_ref().filter(|last| Some(*last) != base.as_ref())
            && !self.range(last, tip).on_chain
        {
            trusted.history = Some(Reason::new("history", "the branch was rewritten"));
        }
        let accepted = state.app.converged.as_ref().or(state.app.last_verified.as_ref());
        if let Some(commit) = accepted.and_then(|id| self.facts(id, expiry))
            && let Signature::Good { key, revocation: Revocation::Revoked, .. } = &commit.signature
            && state.app.vouched_by.contains(key)
        {
            trusted.accepted_revoked = Some(Reason::new("revoked_key", "the accepted state's key was revoked"));
        }
        Ok(trusted)
    }

    /// Compares what two commits want of an application.
    pub fn changes(&self, old: &CommitId, new: &CommitId, app: usize) -> Result<Vec<WantChange>, Arc<str>> {
        let side = |id: &CommitId| match self.render(id, app) {
            Rendered::Desired(desired) => Ok(desired.wants().to_vec()),
            Rendered::Missing(_) => Ok(Vec::new()),
            Rendered::Broken(why) => Err(why),
        };
        let mut sides: BTreeMap<Id, (Option<Want>, Option<Want>)> = BTreeMap::new();
        for want in side(old)? {
            let id = want.id.clone();
            sides.entry(id).or_default().0 = Some(want);
        }
        for want in side(new)? {
            let id = want.id.clone();
            sides.entry(id).or_default().1 = Some(want);
        }
        let changed = |(old, new): &(Option<Want>, Option<Want>)| {
            old.as_ref().map(|want| want.digest) != new.as_ref().map(|want| want.digest)
        };
        let changes = sides.into_iter().filter(|(_, sides)| changed(sides));
        Ok(changes.map(|(id, (old, new))| WantChange { id, old, new }).collect())
    }

    /// Tells, without core, whether a commit counts as verified.
    pub fn is_good(&self, id: &CommitId, revoked: &BTreeSet<usize>, now: Timestamp) -> bool {
        let Some(commit) = self.get(id) else { return false };
        let signed = matches!(commit.signed, Signed::By(key) if !revoked.contains(&key));
        let vouched = self.vouched.contains(id) && matches!(commit.signed, Signed::Unsigned | Signed::Foreign);
        signed || vouched || self.freezes_only(id, now)
    }

    /// Returns everybody with a part in what a range does to some resources of an application.
    pub fn contributors(
        &self,
        base: &CommitId,
        tip: &CommitId,
        app: usize,
        resources: &BTreeSet<&Id>,
    ) -> BTreeSet<&'static str> {
        let mut people = BTreeSet::new();
        for commit in self.range(base, tip).all.iter().filter_map(|id| self.get(id)) {
            let parent = commit.parents.first().and_then(|parent| self.get(parent));
            let of = |commit: &SimCommit, id: &Id| commit.sources[app].tree()?.get(id).map(Thing::digest);
            // What does not render has a part in everything.
            let whole = |commit: &SimCommit| !matches!(commit.sources[app], Source::Broken);
            let same = |parent: &SimCommit| {
                parent.sources[app] == commit.sources[app]
                    || whole(parent) && whole(commit) && resources.iter().all(|id| of(parent, id) == of(commit, id))
            };
            if !parent.is_some_and(same) {
                people.insert(PEOPLE[commit.author]);
            }
        }
        people
    }
}

fn vouch(id: &CommitId, now: Timestamp) -> Tag {
    let carol = PEOPLE[2];
    Tag {
        name: format!("holdfast-vouch/{id}"),
        target: id.clone(),
        tagger: Ident { name: carol.to_owned(), email: carol.to_owned() },
        tagged: now,
        signature: Signature::Good {
            scheme: Scheme::Ssh,
            key: "key-2".into(),
            grants: vec![Grant {
                principals: vec![carol.to_owned()],
                valid_after: None,
                valid_before: None,
                namespace_allowed: true,
            }],
            revocation: Revocation::None,
        },
    }
}

fn render(source: &Source) -> Rendered {
    let tree = match source {
        Source::Tree(tree) => tree,
        Source::Missing => return Rendered::Missing("the path is missing".into()),
        Source::Broken => return Rendered::Broken("a document does not parse".into()),
    };
    let want = |(id, thing): (&Id, &Thing)| Want {
        id: id.clone(),
        digest: thing.digest(),
        nature: thing.nature.clone(),
        rank: 0,
        origin: Some(format!("deploy/{id}").into()),
    };
    let wants = tree.iter().map(want).collect();
    Rendered::Desired(Arc::new(Desired::new(Digest::of_parts([b"inputs"]), wants)))
}
