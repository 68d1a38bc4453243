//! Pull requests, halts and approvals on a real Gitea, whose people push, merge and comment.

use std::path::Path;
use std::process::Command;

use crate::harness::gitea::{Gitea, Proxy};
use crate::harness::http::free_port;
use crate::harness::keys::address;
use crate::harness::{World, content};

/// Makes a world of 60 files on Gitea, converged, in which people approve as in [`unstarted`].
fn hosted() -> (World, Gitea) {
    let (world, gitea) = unstarted();
    world.baseline();
    (world, gitea)
}

/// Makes a world of 60 files that are not on Gitea yet, in which `bob` and `carol` may approve under their accounts.
fn unstarted() -> (World, Gitea) {
    let mut world = World::new();
    let people = ["alice", "bob", "carol", "dave"]
        .map(|who| format!("{who}: [{:?}, {:?}]", address(who), format!("gitea:{who}")))
        .join(", ");
    world.app("web").trust(&format!("people: {{ {people} }}"));
    let approvers = ["alice", "bob", "carol"].map(address).join(", ");
    world.app("web").trust(&format!("approvers: [{approvers}]"));
    let gitea = Gitea::host(&mut world);
    world.repo.fill("", 0..60);
    (world, gitea)
}

/// Pushes a branch with one commit on top of the tip, and opens a pull request of it.
fn propose(world: &World, gitea: &Gitea, who: &str, branch: &str, change: impl FnOnce()) -> u64 {
    world.repo.git(&["checkout", "-q", "-b", branch, "main"]);
    change();
    world.repo.commit(branch).by(who);
    world.repo.git(&["push", "-q", "origin", branch]);
    let number = gitea.open(who, branch);
    world.repo.git(&["checkout", "-q", "main"]);
    number
}

/// Merges a branch as a listed person does, and pushes the merge.
fn merge(world: &World, gitea: &Gitea, number: u64, branch: &str, who: &str) -> String {
    let commit = world.repo.merge_no_ff(branch, &format!("merge {branch}"), who);
    world.repo.push();
    gitea.merged(number);
    commit
}

/// Returns the one comment of ours that begins like this.
#[track_caller]
fn only(gitea: &Gitea, number: u64, begins: &str) -> String {
    let said = gitea.said(number);
    let found: Vec<&String> = said.iter().filter(|body| body.starts_with(begins)).collect();
    assert_eq!(found.len(), 1, "{begins}: {said:#?}");
    found[0].clone()
}

#[track_caller]
fn says(text: &str, phrases: &[&str]) {
    for phrase in phrases {
        assert!(text.contains(phrase), "{phrase:?} is not in:\n{text}");
    }
}

/// Returns the last digest that a comment offers for approval.
#[track_caller]
fn offered(text: &str) -> String {
    let at = text.find("/holdfast approve sha256:").unwrap_or_else(|| panic!("nothing is offered:\n{text}"));
    text[at + "/holdfast approve ".len()..].chars().take("sha256:".len() + 64).collect()
}

#[test]
fn a_poisoned_pull_request_from_its_opening_to_its_revert() {
    let (world, gitea) = hosted();
    let before = world.tree("web");
    let number = propose(&world, &gitea, "dave", "tidy-up", || {
        world.repo.change("", 0..40, "0.0.0.0/0");
    });
    let head = world.repo.git(&["rev-parse", "tidy-up"]);
    world.counted_cycle();
    let plan = only(&gitea, number, "**holdfast** ·");
    says(&plan, &["`web` would **halt**", "**40 of 60 (66 %)**", "| 18 |", &head[..7], "tidy-up", "nothing is frozen"]);
    says(&plan, &["/holdfast approve sha256:", "holdfast approve web sha256:", "Operations of <code>web</code> (40)"]);
    let (state, text) = gitea.status(&head, "holdfast/web").expect("the head has a status");
    assert_eq!(state, "failure");
    says(&text, &["would halt", "40 of 60", "18"]);

    // Nothing changed, so nothing is told again.
    world.counted_cycles(2);
    assert_eq!(gitea.said(number), std::slice::from_ref(&plan));

    let merged = merge(&world, &gitea, number, "tidy-up", "dave");
    world.counted_cycle();
    assert_eq!(world.tree("web"), before, "something was written");
    let status = world.assert_latch("web", "PLAN", &["change_halt"]);
    let halt = only(&gitea, number, "**holdfast halted `web` before writing anything.**");
    says(&halt, &[&merged[..7], "@dave", "40 of 60", "Written: nothing", "detection, and healing to"]);
    says(
        &halt,
        &[
            "git revert",
            &format!(
                "/holdfast approve {}",
                status.latch("PLAN").expect("it holds")["digest"].as_str().expect("it has one")
            ),
        ],
    );
    let (state, text) = gitea.status(&merged, "holdfast/web").expect("the culprit has a status");
    assert_eq!(state, "failure");
    says(&text, &["halted (PLAN)", "40 of 60"]);
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** · merged as"), &["**halted** (PLAN)", "would **halt**"]);
    assert!(gitea.issues().is_empty(), "it was told on the pull request: {:?}", gitea.issues());

    says(&halt, &[&format!("git revert -m 1 {}", &merged[..7])]);
    world.repo.git_as("alice", &["revert", "--no-edit", "-m", "1", &merged]);
    world.repo.push();
    world.counted_cycles(2);
    world.assert_no_latch("web", "PLAN");
    assert_eq!(world.tree("web"), before);
    says(&only(&gitea, number, "**Over:** PLAN of `web` holds no longer."), &["Written: nothing"]);
    assert_eq!(gitea.said(number).len(), 2, "one about the plan, one about the halt: {:#?}", gitea.said(number));
}

#[test]
fn a_small_pull_request_passes_and_is_followed_until_it_is_converged() {
    let (world, gitea) = hosted();
    let number = propose(&world, &gitea, "dave", "small", || {
        world.repo.change("", 0..3, "omega");
    });
    let head = world.repo.git(&["rev-parse", "small"]);
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** ·"), &["`web` passes", "3 of 60 (5 %)", "every commit verifies"]);
    assert_eq!(gitea.status(&head, "holdfast/web").expect("it has a status").0, "success");
    let merged = merge(&world, &gitea, number, "small", "dave");
    world.converge("web");
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** · merged as"), &[&merged[..7], "`web` converged in", "✓"]);
    assert_eq!(gitea.said(number).len(), 1);
}

#[test]
fn an_unsigned_pull_request_does_not_verify_and_a_broken_one_conflicts() {
    let (world, gitea) = hosted();
    let number = propose(&world, &gitea, "dave", "signed", || {
        world.repo.change("", 0..1, "omega");
    });
    world.repo.git(&["checkout", "-q", "signed"]);
    world.repo.change("", 1..2, "omega");
    let unsigned = world.repo.commit("unsigned").unsigned_by("dave");
    world.repo.git(&["push", "-q", "origin", "signed"]);
    world.repo.git(&["checkout", "-q", "main"]);
    let other = propose(&world, &gitea, "carol", "both", || {
        world.repo.change("", 5..6, "theirs");
    });
    world.repo.change("", 5..6, "ours");
    world.repo.publish("ours");
    world.converge("web");
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** ·"), &["does **not verify**", &unsigned[..7]]);
    assert_eq!(gitea.status(&unsigned, "holdfast/web").expect("it has a status").0, "failure");
    says(&only(&gitea, other, "**holdfast** ·"), &["cannot be merged", "both sides changed"]);
}

#[test]
fn a_halt_without_a_pull_request_is_an_issue_that_is_closed_with_it() {
    let (world, gitea) = hosted();
    world.repo.change("", 0..40, "omega");
    let pushed = world.repo.publish("pushed to the branch itself");
    world.counted_cycle();
    let issues = gitea.issues();
    assert_eq!(issues.len(), 1, "{issues:?}");
    let (number, state, title, body) = &issues[0];
    assert_eq!(state, "open");
    says(title, &["holdfast halted web", "PLAN", "40 of 60"]);
    says(body, &[&pushed[..7], "Written: nothing", "holdfast approve web sha256:"]);
    world.counted_cycles(3);
    assert_eq!(gitea.issues(), issues, "nothing new is to be told");
    world.repo.revert(&pushed, "alice");
    world.repo.push();
    world.counted_cycles(2);
    let issues = gitea.issues();
    assert_eq!((issues.len(), issues[0].0, issues[0].1.as_str()), (1, *number, "closed"));
    says(&issues[0].3, &["**Over:** PLAN of `web` holds no longer."]);

    // Another halt is another issue.
    world.repo.change("", 0..41, "sigma");
    world.repo.publish("again");
    world.counted_cycle();
    assert_eq!(gitea.issues().iter().map(|issue| issue.1.as_str()).collect::<Vec<_>>(), ["open", "closed"]);
}

/// Returns what holdfast said on an issue once it said more than so much: a service under load may need another cycle.
fn answered(world: &World, gitea: &Gitea, number: u64, told: usize) -> Vec<String> {
    for _ in 0..5 {
        world.counted_cycle();
        let said = gitea.said(number);
        if said.len() > told {
            return said;
        }
    }
    gitea.said(number)
}

#[test]
fn a_comment_of_a_listed_person_approves_a_halt() {
    let (world, gitea) = hosted();
    world.repo.change("", 0..40, "omega");
    world.repo.publish("large on purpose");
    world.counted_cycle();
    let (number, _, _, body) = gitea.issues().remove(0);
    let digest = offered(&body);
    // The author may not; nor may whoever cannot write, whatever they copy.
    for (who, text, answer) in [
        ("alice", format!("/holdfast approve {digest}"), "another listed person must approve"),
        ("mallory", format!("/holdfast approve {digest}"), "does not confirm that you may write"),
        ("carol", format!("> /holdfast approve {digest}"), "not quoted"),
        ("carol", format!("/h\u{43e}ldfast approve {digest}"), "as it is written here"),
        ("carol", "/holdfast approve sha256:5d1e".to_owned(), "whole digest"),
        ("dave", format!("/holdfast approve {digest}"), "not a listed approver"),
        ("carol", format!("/holdfast approve sha256:{}", "0".repeat(64)), "nothing that is held"),
    ] {
        let told = gitea.said(number).len();
        gitea.comment(who, number, &text);
        let said = answered(&world, &gitea, number, told);
        assert_eq!(said.len(), told + 1, "{who} {text}: {said:#?}");
        says(&said[told], &["**Not approved:**", answer]);
    }
    // Agreement that is turned into an approval afterwards is none.
    let edited = gitea.comment("bob", number, "let me look");
    world.counted_cycle();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    gitea.edit("bob", edited, &format!("/holdfast approve {digest}"));
    world.counted_cycle();
    says(gitea.said(number).last().expect("it was answered"), &["**Not approved:**", "edited"]);
    // Who was removed meanwhile does not count.
    gitea.remove("carol");
    gitea.comment("carol", number, &format!("/holdfast approve {digest}"));
    world.counted_cycle();
    says(gitea.said(number).last().expect("it was answered"), &["**Not approved:**", "may write"]);
    world.assert_latch("web", "PLAN", &[]);

    let told = gitea.said(number).len();
    gitea.comment("bob", number, &format!("/holdfast approve {digest}\n\nIt is the new base."));
    world.counted_cycle();
    says(&gitea.said(number)[told], &["**Approved** by `gitea:bob` for `web`"]);
    world.converge("web");
    world.assert_no_latch("web", "PLAN");
    world.counted_cycle();
    assert_eq!(gitea.issues()[0].1, "closed");
    assert_eq!(gitea.said(number).len(), told + 1, "nothing is answered twice");
    assert_eq!(world.live("web", &crate::harness::name(0)), content(0, "omega"));
}

#[test]
fn a_pre_approval_on_the_pull_request_lets_its_merge_go() {
    let (world, gitea) = hosted();
    let number = propose(&world, &gitea, "dave", "large", || {
        world.repo.change("", 0..40, "omega");
    });
    world.counted_cycle();
    let digest = offered(&only(&gitea, number, "**holdfast** ·"));
    gitea.comment("carol", number, &format!("/holdfast approve {digest}"));
    world.counted_cycle();
    says(gitea.said(number).last().expect("it was answered"), &["**Approved** by `gitea:carol`"]);
    merge(&world, &gitea, number, "large", "alice");
    world.converge("web");
    world.assert_no_latch("web", "PLAN");
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** · merged as"), &["`web` converged in"]);
    assert!(gitea.issues().is_empty(), "{:?}", gitea.issues());
}

#[test]
fn a_service_that_is_down_slows_no_cycle_and_is_told_later_once() {
    let (mut world, gitea) = unstarted();
    let mut proxy = Proxy::to(&gitea);
    let (service, through) = (gitea.url.clone(), proxy.url());
    world.config.controller.iter_mut().for_each(|line| *line = line.replace(&service, &through));
    world.app("web").url = world.app("web").url.replace(&service, &through);
    world.baseline();
    proxy.refuse(true);
    world.repo.change("", 0..40, "omega");
    let pushed = world.repo.publish("while nobody answers");
    world.counted_cycles(3);
    world.assert_latch("web", "PLAN", &["change_halt"]);
    assert!(gitea.issues().is_empty());
    proxy.refuse(false);
    world.counted_cycles(2);
    let issues = gitea.issues();
    assert_eq!(issues.len(), 1, "{issues:?}");
    says(&issues[0].3, &[&pushed[..7]]);
    // Each answer is lost once after the service did what it was asked for.
    proxy.lose(true);
    world.repo.change("", 0..41, "sigma");
    world.repo.publish("and more");
    for _ in 0..6 {
        world.counted_cycle();
        proxy.lose(false);
    }
    assert_eq!(gitea.issues().len(), 1, "{:?}", gitea.issues());
}

#[test]
fn a_webhook_brings_the_judgement_the_answer_and_the_cycle_at_once() {
    let (mut world, gitea) = unstarted();
    let port = free_port();
    let secret = world.dir().join("hook");
    std::fs::write(&secret, "a secret of the service\n").expect("the secret is written");
    world.config.controller.push(format!("listen: 127.0.0.1:{port}"));
    world.config.controller.push(format!("webhooks: {{ gitea: {{ secretFile: {secret:?} }} }}"));
    world.baseline();
    gitea.hook(port, "a secret of the service");
    // No time passes for the world and the interval is a day: only deliveries can begin anything.
    world.app("web").interval("24h");
    let mut controller = world.controller();
    crate::s07_replay::ready(&mut controller, port);
    let number = propose(&world, &gitea, "dave", "large", || {
        world.repo.change("", 0..40, "omega");
    });
    let plan = controller.until("the plan", || gitea.said(number).first().cloned());
    says(&plan, &["`web` would **halt**"]);
    gitea.comment("carol", number, &format!("/holdfast approve {}", offered(&plan)));
    let answer = controller.until("the answer", || gitea.said(number).get(1).cloned());
    says(&answer, &["**Approved** by `gitea:carol`"]);
    let merged = merge(&world, &gitea, number, "large", "alice");
    controller.until_status("the push's cycle", "web", |status| status.at("/source/tip") == merged.as_str());
    world.assert_no_latch("web", "PLAN");
    controller.until("what became of it", || {
        gitea.said(number).iter().any(|body| body.starts_with("**holdfast** · merged as")).then_some(())
    });
}

#[test]
fn a_freeze_that_is_committed_on_the_service_s_page_freezes_and_is_told_on_pull_requests() {
    let (world, gitea) = hosted();
    let number = propose(&world, &gitea, "dave", "small", || {
        world.repo.change("", 0..3, "omega");
    });
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** ·"), &["nothing is frozen ✓"]);
    gitea.write("bob", "FREEZE", "reason: the pager rings\n");
    world.counted_cycle();
    world.assert_latch("web", "FREEZE", &["freeze"]);
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** ·"), &["`web` is held by FREEZE now", "the pager rings"]);
    assert!(gitea.issues().is_empty(), "a freeze is somebody's wish: {:?}", gitea.issues());
}

#[test]
fn a_squash_that_the_service_made_and_nobody_signed_is_held_and_told_where_it_came_from() {
    let (world, gitea) = hosted();
    let number = propose(&world, &gitea, "dave", "small", || {
        world.repo.change("", 0..3, "omega");
    });
    world.counted_cycle();
    says(&only(&gitea, number, "**holdfast** ·"), &["`web` passes"]);
    gitea.merge("alice", number, "squash");
    world.counted_cycle();
    world.assert_latch("web", "SIGNATURE", &["unsigned"]);
    says(
        &only(&gitea, number, "**holdfast halted `web` (SIGNATURE).**"),
        &["is to blame", "not signed", "**To clear it:**"],
    );
    let tip = gitea.get("/branches/main")["commit"]["id"].as_str().expect("it has one").to_owned();
    assert_eq!(gitea.status(&tip, "holdfast/web").expect("it has a status").0, "failure");
}

#[test]
fn a_pull_request_from_a_fork_gets_a_plan_without_values_and_approves_nothing() {
    let (world, gitea) = hosted();
    world.repo.git(&["checkout", "-q", "-b", "from-outside", "main"]);
    world.repo.change("", 0..40, "hunter2");
    let head = world.repo.commit("from outside").by("mallory");
    world.repo.git(&["checkout", "-q", "main"]);
    let number = gitea.open_from_fork(&world, "mallory", "from-outside");
    let before = world.tree("web");
    world.counted_cycle();
    let plan = only(&gitea, number, "**holdfast** ·");
    says(
        &plan,
        &["does **not verify**", &head[..7], "40 of 60", "no values are shown", "Operations of <code>web</code> (40)"],
    );
    assert!(!plan.contains("hunter2") && !plan.contains("/holdfast approve"), "{plan}");
    assert_eq!(gitea.status(&head, "holdfast/web").expect("it has a status").0, "failure");
    let digest = world.plan("web").at("/plan").to_string();
    assert!(!digest.contains("hunter2"), "what is proposed reached the application's own plan: {digest}");
    gitea.comment("mallory", number, &format!("/holdfast approve sha256:{}", "0".repeat(64)));
    world.counted_cycle();
    says(gitea.said(number).last().expect("it was answered"), &["**Not approved:**", "may write"]);
    assert_eq!(world.tree("web"), before);
}

#[test]
fn a_merge_of_each_kind_that_the_service_makes_keeps_the_pre_approval() {
    for how in ["merge", "squash", "rebase"] {
        let (mut world, gitea) = unstarted();
        world.app("web").trust("serviceMerges: true");
        world.baseline();
        let number = propose(&world, &gitea, "dave", "large", || {
            world.repo.change("", 0..20, "omega");
            world.repo.commit("the first half").by("dave");
            world.repo.change("", 20..40, "omega");
        });
        // The branch went on meanwhile: neither is a fast-forward.
        world.repo.change("", 50..52, "sigma");
        world.repo.publish("meanwhile");
        world.converge("web");
        world.counted_cycle();
        let digest = offered(&only(&gitea, number, "**holdfast** ·"));
        gitea.comment("carol", number, &format!("/holdfast approve {digest}"));
        world.counted_cycle();
        says(gitea.said(number).last().expect("it was answered"), &["**Approved** by `gitea:carol`"]);
        gitea.merge("alice", number, how);
        world.repo.git(&["fetch", "-q", "origin"]);
        world.repo.git(&["reset", "-q", "--hard", "origin/main"]);
        let signed = world.repo.git(&["log", "-1", "--format=%G?"]);
        assert_eq!(signed, "N", "{how}: the service signed it");
        world.converge("web");
        world.assert_no_latch("web", "PLAN");
        world.assert_no_latch("web", "SIGNATURE");
        world.counted_cycle();
        says(&only(&gitea, number, "**holdfast** · merged as"), &["`web` converged in"]);
    }
}

#[test]
fn what_holds_all_applications_of_a_repository_together_is_told_once() {
    let mut world = World::empty();
    let names: Vec<String> = (0..12).map(|number| format!("app-{number:02}")).collect();
    for name in &names {
        world.add_app(name).path(&format!("apps/{name}"));
        world.repo.fill(&format!("apps/{name}"), 0..6);
    }
    let gitea = Gitea::host(&mut world);
    world.baseline();
    for name in &names {
        world.repo.change(&format!("apps/{name}"), 2..3, "omega");
    }
    let pushed = world.repo.publish("a little everywhere");
    world.counted_cycles(3);
    let digests: std::collections::BTreeSet<String> =
        names.iter().flat_map(|name| world.status(name).digests_to_approve("PLAN")).collect();
    assert_eq!(digests.len(), 1, "{digests:?}");
    let issues = gitea.issues();
    assert_eq!(issues.len(), 1, "{issues:#?}");
    says(&issues[0].2, &["holdfast halted every application: PLAN"]);
    says(&issues[0].3, &["every application of this repository", &pushed[..7], digests.first().expect("there is one")]);
    world.repo.revert(&pushed, "alice");
    world.repo.push();
    world.counted_cycles(2);
    assert_eq!(gitea.issues().iter().map(|issue| issue.1.as_str()).collect::<Vec<_>>(), ["closed"]);
}

#[test]
#[ignore = "takes the pictures of docs/git-hosting.md: needs Chromium, and Gitea's pages built"]
fn pictures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let take = |gitea: &Gitea, page: &str, name: &str, height: u32| {
        let ran = Command::new("chromium")
            .args(["--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1"])
            .args([format!("--window-size=1100,{height}"), format!("--screenshot={}", folder.join(name).display())])
            .arg(format!("{}/acme/{}{page}", gitea.url, gitea.name))
            .output()
            .expect("chromium runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    };
    let (world, gitea) = hosted();
    let number = propose(&world, &gitea, "dave", "tidy-up-base-template", || {
        world.repo.change("", 0..40, "0.0.0.0/0");
    });
    world.counted_cycle();
    take(&gitea, &format!("/pulls/{number}"), "pull-request.png", 1300);
    let merged = merge(&world, &gitea, number, "tidy-up-base-template", "dave");
    world.counted_cycles(2);
    take(&gitea, &format!("/pulls/{number}"), "pull-request-halted.png", 1190);
    take(&gitea, "/commits/branch/main", "commit-status.png", 500);
    world.repo.git_as("alice", &["revert", "--no-edit", "-m", "1", &merged]);
    world.repo.push();
    world.counted_cycles(2);
    world.repo.change("", 0..40, "192.0.2.0/24");
    world.repo.publish("move everybody to the new network");
    world.counted_cycle();
    let (issue, ..) = gitea.issues().remove(0);
    take(&gitea, &format!("/issues/{issue}"), "halt-issue.png", 900);
}
