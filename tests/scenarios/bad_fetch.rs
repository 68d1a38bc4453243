//! Servers that say nothing, never end, or lie: the fetch ends in time, and what was accepted is kept and healed.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{World, content};

/// A Git server over HTTP that goes bad when it is told to; see `tests/fixtures/gitserver.py`.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn over(folder: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitserver.py");
        let mut command = Command::new("python3");
        command.arg(script).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("python3 runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut line).expect("the server says its port");
        Self { child, port: line.trim().parse().expect("its port is a number") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets a server go bad after the baseline; asserts that this is told, that healing goes on, and that all ends well.
#[track_caller]
fn assert_bears(trouble: &str, why: &[&str]) {
    let mut world = World::new();
    let server = Server::over(world.dir());
    world.app("web").url = format!("http://127.0.0.1:{}/origin.git", server.port);
    world.app("web").source.push("timeout: 8s".to_owned());
    world.repo.fill("", 0..12);
    world.baseline();
    let file = world.dir().join("trouble");
    fs::write(&file, trouble).expect("the trouble begins");
    let accepted = world.repo.head();
    world.repo.change("", 0..2, "omega");
    world.repo.publish("what does not arrive");
    assert_kept(&world, &accepted, why);
    fs::remove_file(&file).expect("the trouble ends");
    world.converge("web");
    world.assert_converged("web");
}

/// Asserts that what cannot be fetched is told for one of these reasons, and that what was accepted is kept and healed.
#[track_caller]
fn assert_kept(world: &World, accepted: &str, why: &[&str]) {
    world.remove_live("web", "f005.conf");
    world.counted_cycle();
    let status = world.assert_latch("web", "RENDER", &["fetch"]);
    let latch = status.latch("RENDER").expect("it was just asserted").to_string();
    assert!(why.iter().any(|why| latch.contains(why)), "none of {why:?} is told: {latch}");
    assert_eq!(status.converged(), Some(accepted));
    assert!(status.latch("FAILURE").is_none(), "a fetch is no failed write");
    world.counted_cycle();
    assert_eq!(world.live("web", "f005.conf"), content(5, "alpha"), "healing stopped");
    assert_eq!(world.live("web", "f000.conf"), content(0, "alpha"));
}

#[test]
fn a_server_that_never_answers_is_given_up_in_time() {
    assert_bears("stall", &["took longer than 8 s"]);
}

#[test]
fn a_server_that_never_sends_the_pack_is_given_up_in_time() {
    assert_bears("stallpost", &["took longer than 8 s"]);
}

#[test]
fn a_server_that_never_ends_is_given_up_in_time() {
    assert_bears("endless", &["took longer than 8 s"]);
}

#[test]
fn a_pack_that_is_cut_off_changes_nothing() {
    assert_bears("cut", &["pack", "end", "eof"]);
}

#[test]
fn a_pack_of_garbage_changes_nothing() {
    assert_bears("garbage", &["pack"]);
}

#[test]
fn an_object_that_unfolds_beyond_the_limit_changes_nothing() {
    let world = World::new();
    world.repo.fill("", 0..12);
    let accepted = world.baseline();
    // Zeros: a pack of some hundred kilobytes.
    let large = fs::File::create(world.repo.work.join("large.bin")).expect("the file is made");
    large.set_len((256 << 20) + 1).expect("the file grows");
    world.repo.change("", 0..2, "omega");
    world.repo.publish("a disk image");
    assert_kept(&world, &accepted, &["the object is larger than 268435456 bytes"]);
    world.converge_without(&accepted);
}

#[test]
fn a_listener_that_never_answers_is_given_up_over_every_protocol() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it has an address").port();
    // Whoever connects is kept, and never answered.
    std::thread::spawn(move || {
        let kept: Vec<_> = listener.incoming().take(64).collect();
        drop(kept);
    });
    for scheme in ["http", "https", "ssh"] {
        let mut world = World::new();
        world.repo.fill("", 0..3);
        world.repo.publish("baseline");
        let user = if scheme == "ssh" { "git@" } else { "" };
        world.app("web").url = format!("{scheme}://{user}127.0.0.1:{port}/origin.git");
        world.app("web").source.push("timeout: 2s".to_owned());
        if scheme == "ssh" {
            let key = crate::harness::keys::private("alice");
            let known = world.dir().join("known_hosts");
            fs::write(&known, "").expect("the hosts are written");
            let credentials = format!("credentials: {{ sshKeyFile: {key:?}, knownHostsFile: {known:?} }}");
            world.app("web").source.push(credentials);
        }
        world.counted_cycle();
        let status = world.assert_latch("web", "RENDER", &["fetch"]);
        let latch = status.latch("RENDER").expect("it was just asserted").to_string();
        assert!(latch.contains("took longer than 2 s"), "{scheme}: {latch}");
        assert!(world.tree("web").is_empty(), "{scheme}");
    }
}
