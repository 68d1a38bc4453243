//! Who may sign, and whether what is at the tip now would be let through.

use jiff::SignedDuration;

use super::source::Seen;
use super::{Notes, files};
use crate::clock::MachineClock;
use crate::config::Application;
use crate::core::guards::Mode;
use crate::core::trust::{self, Outcome, Sighted};
use crate::signatures::{KeyFiles, Keys};

/// A committer's clock may differ from ours by what an ordinary machine's does.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Reads the files that say who may sign; returns the keys, if they can be read.
pub(super) fn files(app: &Application, notes: &mut Notes<'_>) -> Option<Keys> {
    let named = &app.trust.files;
    let given = [
        ("trust.ssh.allowedSigners", &named.allowed_signers),
        ("trust.ssh.revocations", &named.revocations),
        ("trust.openpgp.keyring", &named.keyring),
    ];
    for (field, path) in given.iter().filter_map(|(field, path)| path.as_deref().map(|path| (field, path))) {
        files::trusted(field, path, notes);
    }
    if named.allowed_signers.is_none() && named.keyring.is_none() {
        let message = "nobody may sign: `trust` names neither `ssh.allowedSigners` nor `openpgp.keyring`";
        let advice = "write `trust: {ssh: {allowedSigners: FILE}}`; docs/reference/configuration.md shows the format";
        if app.guards.mode == Mode::Observe {
            notes.warning("", format!("{message}; every commit is held as long as that is so"), advice);
        } else {
            notes.problem("", message, advice);
        }
        return None;
    }
    let keys = match Keys::load(&KeyFiles {
        allowed_signers: named.allowed_signers.clone(),
        revocations: named.revocations.clone(),
        keyring: named.keyring.clone(),
    }) {
        Ok(keys) => keys,
        Err(error) => {
            notes.problem(
                "",
                format!("nobody is trusted: {error}"),
                "mend that line or file; until then every commit is held",
            );
            return None;
        }
    };
    if let Some(why) = keys.revocations_unreadable() {
        notes.problem(
            "",
            format!("the revocation list cannot be read: {why}"),
            "make it readable; until then every commit is held",
        );
    }
    listed(app, &keys, notes);
    Some(keys)
}

fn listed(app: &Application, keys: &Keys, notes: &mut Notes<'_>) {
    let policy = &app.trust.policy;
    match keys.count() {
        0 => notes.problem("", "nobody is listed: every commit is held", "add a line per key: NAME@HOST ssh-ed25519 AAAA…"),
        count => notes.ok("", format!("{count} keys are listed; signatures are checked by holdfast itself, which needs neither gpg nor ssh-keygen")),
    }
    if app.trust.files.keyring.is_none() {
        let named = policy.signers.iter().chain(&policy.approvers);
        let mut without: Vec<&str> =
            named.map(|who| &**who).filter(|who| !who.contains(['*', '?', '!']) && !keys.lists(who)).collect();
        without.sort_unstable();
        without.dedup();
        if !without.is_empty() {
            notes.warning(
                "",
                format!("no key is listed for {}", without.join(", ")),
                "add their keys, or correct `trust.signers` and `trust.approvers`",
            );
        }
    }
    if policy.approvers.is_empty() && !app.guards.local_approval {
        notes.problem(
            "",
            "nobody may approve: no approvers are listed, and `guards.localApproval` is off",
            "list somebody in `trust.approvers`",
        );
    } else if policy.approvers.is_empty() {
        notes.warning(
            "",
            "no approvers are listed: a held plan can be let go on this machine alone (`holdfast approve`)",
            "list people in `trust.approvers` who do not write what they approve",
        );
    }
}

/// Says what the tip's signature is worth, and whether its time can be true.
pub(super) fn tip(app: &Application, keys: &Keys, seen: &Seen, notes: &mut Notes<'_>) {
    let Ok(snapshot) = &seen.glimpse.snapshot else { return };
    let check = |payload: &[u8], signature: &[u8]| keys.check(payload, signature);
    let tip = &seen.glimpse.tip;
    let commit = match snapshot.commit(tip, &check) {
        Ok(commit) => commit,
        Err(error) => {
            return notes.problem(
                "",
                format!("the tip {} cannot be read: {error}", tip.short()),
                "push a commit that Git accepts (`git fsck`)",
            );
        }
    };
    let now = MachineClock::wall();
    let vouches = snapshot.tags(&check).unwrap_or_default().into_iter().map(|tag| (tag, now)).collect::<Vec<_>>();
    // Alone it cannot be compared with its parent, so it counts as covered by the policy.
    let sighted = Sighted { commit: &commit, first_seen: now, first_parent: true, touches: true, freeze_only: false };
    let verdict = trust::verdict(&sighted, &app.trust.policy, &vouches);
    match &verdict.outcome {
        Outcome::Verified { principal, .. } => notes.ok("", format!("the tip {} is signed by {principal}", tip.short())),
        Outcome::Vouched { by, .. } => notes.ok("", format!("the tip {} is vouched for by {by}", tip.short())),
        Outcome::Merged { .. } => notes.ok("", format!("the tip {} is a merge of what verifies", tip.short())),
        Outcome::Exempt(why) => notes.ok("", format!("the tip {} needs no signature: {why}", tip.short())),
        // Alone it cannot be merged again either.
        Outcome::Failed { .. } if trust::may_be_merged(&verdict, &app.trust.policy) => notes.ok(
            "",
            format!(
                "the tip {} has no signature that counts; `holdfast verify` says whether the hosting service made it of what \
                 verifies",
                tip.short()
            ),
        ),
        Outcome::Failed { code, message } => notes.warning(
            "",
            format!("the tip would be held ({code}): {message}"),
            "`holdfast verify` says it of every commit since the last one that was verified; see docs/runbook/signature.md",
        ),
    }
    if commit.committed.duration_since(now) > AHEAD {
        notes.warning(
            "",
            format!("the tip {} is from the future: {}, and it is {now} here", tip.short(), commit.committed),
            "set the clock of this machine, or of whoever made the commit (NTP)",
        );
    }
}
