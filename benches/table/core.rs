//! What deciding costs without any input or output: 100,000 resources, of which one commit changes 1,000.

use std::sync::Arc;

use holdfast::core::commit::CommitId;
use holdfast::core::compare::{Comparison, View, compare};
use holdfast::core::guards::Guards;
use holdfast::core::judge::{Inputs, Wanting, judge};
use holdfast::core::op::Op;
use holdfast::core::plan::{Details, Plan};
use holdfast::core::resource::{AnchorSeen, Desired, Digest, Health, Here, Id, Live, Nature, Observed, Version, Want};
use holdfast::core::state::{About, Abouts, Accepted, Purpose, Resource, State};

use super::{Row, median, show, timed};

const RESOURCES: usize = 100_000;
const CHANGED: usize = 1_000;

fn digest(what: &str, number: usize) -> Digest {
    Digest::of_parts([what.as_bytes(), number.to_string().as_bytes()])
}

/// Compares, plans and judges.
pub fn compare_and_judge() -> Vec<Row> {
    let (old, tip) = (commit("a"), commit("b"));
    let mut state = State::default();
    let mut wants = Vec::with_capacity(RESOURCES);
    let mut seen = Vec::with_capacity(RESOURCES);
    let mut abouts = Abouts::default();
    for number in 0..RESOURCES {
        let id = Id::new(format!("files/{:03}/{number:06}.conf", number / 1_000));
        let (before, nature) = (digest("old", number), Arc::new(Nature::default()));
        let after = if number < CHANGED { digest("new", number) } else { before };
        wants.push(Want { id: id.clone(), digest: after, nature: nature.clone(), rank: 0, origin: None });
        let here = Here {
            digest: before,
            version: Version::new("1"),
            nature: nature.clone(),
            health: Health::Healthy,
            more: None,
        };
        seen.push((id.clone(), Live::Here(here)));
        let about = About { commit: old.clone(), origin: None, nature, created: None, rank: 0, fields: None };
        let accepted = Accepted { desired: before, live: before, about: abouts.get(about) };
        state.resources.insert(id, Resource { accepted: Some(Arc::new(accepted)), trouble: None });
    }
    let desired = Desired::new(digest("inputs", 0), wants);
    let observed = Observed { seen, failure: None, anchor: AnchorSeen::Absent, same: Vec::new() };
    let guards = Guards::default();
    let times = (0..10).map(|_| {
        // As a new commit's is: not yet hashed.
        let desired = Desired::new(desired.inputs, desired.wants().to_vec());
        timed(|| decide(&state, &desired, &observed, &guards, &tip))
    });
    let times = times.skip(1).collect();
    vec![Row::alone("compare, plan and judge 100,000 resources", show(median(times)), "under 50 ms")]
}

fn decide(state: &State, desired: &Desired, observed: &Observed, guards: &Guards, tip: &CommitId) -> usize {
    let view = View { desired: Some((desired, tip)), observed, state, guards, now: state.now() };
    let comparison: Comparison = compare(view);
    let of = digest("guards", 0);
    let plan = |purpose, ops: Vec<Op>| Plan::new(purpose, ops, &Details::new(), &of, |_| false);
    let promote = plan(Purpose::Promote, comparison.promote.clone());
    let heal = plan(Purpose::Heal, comparison.heal.clone());
    let inputs = Inputs {
        name: "web",
        guards,
        policy: &holdfast::core::guards::TrustPolicy::default(),
        guards_digest: of,
        tip: Some(tip),
        wanting: Wanting::Rendered(desired),
        history: None,
        signature: Vec::new(),
        accepted_revoked: None,
        keys: Vec::new(),
        freezes: Vec::new(),
        misplaced: None,
        unobserved: None,
        comparison: &comparison,
        promote: &promote,
        heal: &heal,
        heal_beside: &heal,
        unhealthy: &[],
        contributors: &[],
        fleet: None,
        reconfigured: None,
        counted: true,
        commits: &[],
        prefix: None,
    };
    assert_eq!(promote.ops.len(), CHANGED, "the changed ones and no others");
    judge(state, &inputs).facts.len()
}

fn commit(digit: &str) -> CommitId {
    CommitId::new(digit.repeat(40))
}
