//! The configurations in `examples/` are valid, and say what their comments say.

use std::path::Path;

use holdfast::config::{Config, load};
use holdfast::core::guards::Mode;

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name).join("holdfast.yaml");
    load(Some(&path)).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn observe_only_writes_nothing() {
    let config = example("observe-only");
    assert_eq!(config.application("web").unwrap().guards.mode, Mode::Observe);
}

#[test]
fn host_config_converges_and_takes_approvals_from_others_only() {
    let config = example("host-config");
    let nginx = config.application("nginx").unwrap();
    assert_eq!(nginx.guards.mode, Mode::Converge);
    assert!(!nginx.guards.local_approval);
    assert!(nginx.guards.protected.iter().any(|glob| &**glob == "tls/**"));
}
