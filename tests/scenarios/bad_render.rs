//! Renders that take too much: of time, of memory, of output, or of one file. RENDER says which, and what was accepted is healed.

use crate::harness::{Place, servers};

/// Makes a world whose application is a chart of one template; the template that is there at first makes three objects.
fn chart() -> Place {
    let mut place = Place::new();
    place.app("web").source.push(format!("render: {{ helm: {{ program: {:?} }} }}", servers::program("helm")));
    place.repo.write("Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n");
    template(&place, "\"one\"");
    place.publish("three objects");
    place
}

/// Has the template give three objects a value, which it computes.
fn template(place: &Place, value: &str) {
    let text = format!(
        "{{{{ range until 3 }}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: \"c00{{{{ . }}}}\" }}\ndata: {{ value: {{{{ {value} }}}} }}\n{{{{ end }}}}\n"
    );
    place.repo.write("templates/all.yaml", &text);
}

/// Publishes what does not render; asserts that nothing of it is written, why, that healing goes on, and that a revert ends it.
#[track_caller]
fn assert_held(place: &Place, told: &[&str]) {
    let held = place.held();
    let bad = place.repo.publish("too much");
    let collection = format!("/api/v1/namespaces/{}/configmaps", place.namespace);
    place.counted_cycle();
    place.api().delete(&place.path("c001"));
    let versions = place.versions(&collection);
    place.counted_cycle();
    let status = place.assert_latch("web", "RENDER", &["render"]);
    let message = status.reason("RENDER", "render")["message"].as_str().unwrap_or_default();
    for phrase in told {
        assert!(message.contains(phrase), "{phrase:?} is not told: {message}");
    }
    assert!(!status.writes("promotion") && status.writes("healing"));
    assert_ne!(status.converged(), Some(&*bad));
    assert_eq!(place.held(), held, "it is not healed to what was accepted");
    let after = place.versions(&collection);
    assert!(versions.iter().all(|(name, version)| after[name] == *version || name.contains("holdfast")), "written");
    place.repo.revert(&bad, "alice");
    place.repo.push();
    place.settle();
    place.assert_no_latch("web", "RENDER");
    assert_eq!(place.held(), held);
    place.assert_free("web");
}

#[test]
fn k8s_a_chart_that_prints_more_than_the_limit_is_held() {
    let place = chart();
    template(&place, "repeat 30000000 \"x\"");
    assert_held(&place, &["helm printed more than 67108864 bytes"]);
}

#[test]
fn k8s_a_chart_that_takes_more_memory_than_the_limit_is_held() {
    let place = chart();
    template(&place, "until 2000000000 | len");
    assert_held(&place, &["helm wanted more memory than the 4294967296 bytes"]);
}

#[test]
fn k8s_a_chart_that_never_ends_is_held_in_time() {
    let place = chart();
    let held = place.held();
    template(&place, "range until 100000 }}{{ range until 100000 }}{{ end }}{{ end }}{{ 1");
    place.repo.publish("too much");
    // One cycle: each takes a minute and more.
    place.counted_cycle();
    let status = place.assert_latch("web", "RENDER", &["render"]);
    let message = status.reason("RENDER", "render")["message"].as_str().unwrap_or_default();
    assert!(message.contains("rendering took longer than 60 s"), "{message}");
    assert_eq!(place.held(), held);
}

#[test]
fn k8s_a_manifest_that_is_larger_than_any_may_be_or_unfolds_to_it_is_held() {
    let place = Place::new();
    place.config_maps(0..3, "one").publish("three objects");
    let large = std::fs::File::create(place.repo.work.join("large.yaml")).expect("the file is made");
    large.set_len((64 << 20) + 1).expect("the file grows");
    assert_held(&place, &["large.yaml", "67108865 bytes", "67108864"]);

    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let below = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", "));
    }
    place.repo.write("bomb.yaml", &bomb);
    assert_held(&place, &["bomb.yaml"]);
}
