//! The cluster that the controller works in fails under it: nothing is written without the Lease, and what was watched goes on.

use std::fs;

use serde_json::{Value, json};

use crate::harness::apiserver;
use crate::harness::cluster::{Cluster, Part};
use crate::harness::{Controller, World, copy};
use crate::incluster::{application, controller_document, last_cycle, root, until, world};

/// Waits for so many more cycles.
#[track_caller]
fn more_cycles(controller: &mut Controller<'_>, cycles: u64) {
    let world = controller.world();
    let begun = last_cycle(world);
    controller.until("more cycles", || (last_cycle(world) >= begun + cycles).then_some(()));
}

/// Waits until `status` says that the Lease withholds writes, for this reason.
#[track_caller]
fn until_withheld(controller: &mut Controller<'_>, why: &str) {
    let world = controller.world();
    controller.until("the Lease withholds writes", || {
        let document = world.holdfast(&["status", "--output", "json"]).json();
        let web = &document["applications"][0];
        let told = web["latches"].to_string().contains(why);
        (told && web["writes"] == json!({ "promotion": false, "healing": false })).then_some(())
    });
}

#[test]
fn a_controller_whose_cluster_goes_away_writes_nothing_meanwhile_and_goes_on_by_itself() {
    let own = Cluster::own();
    let cluster = own.inside();
    let world = world(&cluster);
    let mut controller = world.controller();
    cluster.apply(&application(&world, "web"), &[]).ok();
    until(&mut controller, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    for (round, part) in [None, Some(Part::Etcd), Some(Part::Api)].into_iter().enumerate() {
        match part {
            None => own.kill(Part::Api),
            Some(part) => own.pause(part),
        }
        until_withheld(&mut controller, "not renewed in time");
        let healed = root(&world, "web").join("f003.conf");
        fs::remove_file(&healed).expect("the file is removed");
        let name = format!("new-{round}.conf");
        world.repo.write(&name, "new");
        world.repo.publish("a new file");
        more_cycles(&mut controller, 3);
        assert!(!healed.exists() && !root(&world, "web").join(&name).exists(), "written without the Lease");
        let document = world.holdfast(&["status", "--output", "json"]).ok().json();
        assert_eq!(document["applications"][0]["drift"]["missing"], 1, "drift is not told: {document:#}");
        match part {
            None => own.start(Part::Api),
            Some(part) => own.go_on(part),
        }
        own.until_ready();
        controller.until("it is healed and promoted", || {
            (healed.exists() && root(&world, "web").join(&name).exists()).then_some(())
        });
        // What is asked of the cluster from now on is taken up without waiting for the next list of everything.
        let more = format!("more-{round}");
        fs::create_dir(root(&world, &more)).expect("the root is made");
        cluster.apply(&application(&world, &more), &[]).ok();
        let told = until(&mut controller, &cluster, &more, "it converged", |app| app["status"]["state"] == "Converged");
        assert_eq!(told["status"]["source"]["converged"], *world.repo.head(), "{told:#}");
        until(&mut controller, &cluster, "web", "it is told", |web| {
            web["status"]["state"] == "Converged" && web["status"]["source"]["converged"] == *world.repo.head()
        });
    }
    assert_eq!(controller.stop().code(), Some(0));
}

/// Writes ConfigMaps of a namespace into the work clone.
fn config_maps(world: &World, cluster: &apiserver::Cluster, numbers: std::ops::Range<usize>, value: &str) {
    for number in numbers {
        let text = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: c{number:03}, namespace: {} }}\ndata: {{ value: {value} }}\n",
            cluster.namespace
        );
        world.repo.write(&format!("maps/c{number:03}.yaml"), &text);
    }
}

/// Returns an Application that converges these into the same cluster, four writes a second.
fn of_maps(world: &World, own: &Cluster, cluster: &apiserver::Cluster) -> Value {
    let mut app = application(world, "web");
    app["spec"]["source"]["path"] = json!("maps");
    app["spec"]["target"] = json!({ "kubernetes": { "kubeconfig": own.kubeconfig(), "namespace": cluster.namespace } });
    app["spec"]["guards"] = json!({ "rate": { "perSecond": 4, "burst": 1 }, "writeCap": "disabled" });
    app
}

#[test]
fn a_leader_that_is_paused_in_the_middle_of_an_apply_leaves_it_to_the_next_and_writes_nothing_more() {
    let own = Cluster::own();
    let cluster = own.inside();
    let world = world(&cluster);
    config_maps(&world, &cluster, 0..40, "one");
    world.repo.publish("forty");
    cluster.apply(&of_maps(&world, &own, &cluster), &[]).ok();
    let mut first = world.controller();
    until(&mut first, &cluster, "web", "it converged", |web| web["status"]["state"] == "Converged");
    let writes = || {
        let all = own.writes("configmaps", &cluster.namespace).into_iter();
        all.filter(|(name, _)| name.starts_with('c')).map(|(_, times)| times).collect::<Vec<u64>>()
    };
    let twice = || writes().into_iter().filter(|times| *times == 2).count();
    config_maps(&world, &cluster, 0..12, "two");
    let two = world.repo.publish("a dozen changes");
    first.until("some are written", || (twice() >= 3).then_some(()));
    first.signal("STOP");
    let written = twice();
    assert!(written < 12, "it was too late to be in the middle");

    // Another process of the same replica, on what the volume held.
    copy(&world.dir().join("state"), &world.dir().join("taken"));
    let before = cluster.read("lease", "holdfast-0").expect("there is a Lease")["spec"].clone();
    let text = controller_document(&world, &cluster, &cluster.kubeconfig(), "taken");
    let mut second = world.controller_with("second.yaml", &text);
    until(&mut second, &cluster, "web", "the second finished it", |web| {
        web["status"]["source"]["converged"] == *two && web["status"]["state"] == "Converged"
    });
    let after = cluster.read("lease", "holdfast-0").expect("there is a Lease")["spec"].clone();
    assert_ne!(after["holderIdentity"], before["holderIdentity"]);
    let done = writes();
    let count = |times: u64| done.iter().filter(|known| **known == times).count();
    assert_eq!((count(1), count(2)), (28, 12), "each is written once: {done:?}");

    // The first goes on where it was: it believed that it may write the rest.
    first.signal("CONT");
    until_withheld(&mut first, "the Lease is held by");
    more_cycles(&mut first, 3);
    assert_eq!(writes(), done, "the paused one wrote");
    config_maps(&world, &cluster, 0..1, "three");
    let three = world.repo.publish("one more");
    until(&mut second, &cluster, "web", "the second goes on", |web| {
        web["status"]["source"]["converged"] == *three && web["status"]["state"] == "Converged"
    });
    more_cycles(&mut first, 3);
    assert_eq!((writes()[0], twice()), (3, 11), "the paused one wrote");
    assert_eq!((second.stop().code(), first.stop().code()), (Some(0), Some(0)));
}
