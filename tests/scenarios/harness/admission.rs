//! A mutating webhook, as a service mesh brings one: it adds a container to Deployments, and to everything an annotation that is
//! never the same twice.

use std::fs;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::http::free_port;

/// The annotation that says how often the webhook was asked.
pub const COUNTED: &str = "mesh.example.org/counted";

/// The name of the container that it adds.
pub const SIDECAR: &str = "mesh-proxy";

/// A webhook; it ends with the test process.
pub struct Webhook {
    port: u16,
    certificate: Vec<u8>,
    asked: Arc<AtomicUsize>,
}

impl Webhook {
    /// Begins to answer, with a certificate that is made in this folder.
    pub fn start(dir: &Path) -> Self {
        let (key, certificate) = (dir.join("webhook.key"), dir.join("webhook.crt"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=127.0.0.1"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .stderr(Stdio::null())
            .status();
        assert!(made.expect("openssl runs").success(), "no certificate was made");
        let _ = rustls::crypto::ring::default_provider().install_default();
        let chain = vec![CertificateDer::from_pem_file(&certificate).expect("it is a certificate")];
        let key = PrivateKeyDer::from_pem_file(&key).expect("it is a key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let config = Arc::new(config.expect("they belong together"));
        let port = free_port();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).expect("the configuration is good");
                let (stream, counts) = (StreamOwned::new(connection, stream), counts.clone());
                // The server ends a connection whenever it likes.
                std::thread::spawn(move || serve(stream, &counts));
            }
        });
        Self { port, certificate: fs::read(certificate).expect("it was made"), asked }
    }

    /// Returns how often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Returns what has a server ask it about everything that people declare.
    pub fn configuration(&self, name: &str) -> Value {
        let groups = ["", "apps", "autoscaling", "batch", "networking.k8s.io", "policy", "rbac.authorization.k8s.io"];
        let kinds = |group: &&str| match *group {
            "" => json!(["configmaps", "services", "serviceaccounts", "replicationcontrollers", "limitranges", "pods"]),
            _ => json!(["*"]),
        };
        let rule = |group: &&str| json!({"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": kinds(group)});
        let client =
            json!({"url": format!("https://127.0.0.1:{}/", self.port), "caBundle": STANDARD.encode(&self.certificate)});
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{"name": "mesh.example.org", "clientConfig": client, "rules": groups.iter().map(rule).collect::<Vec<_>>(),
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail"}]})
    }
}

fn serve(stream: StreamOwned<ServerConnection, TcpStream>, asked: &AtomicUsize) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().to_ascii_lowercase().split_once(": ") {
                Some(("content-length", value)) => length = value.parse().ok()?,
                None if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let count = asked.fetch_add(1, Ordering::Relaxed);
        let answer = review(&serde_json::from_slice(&body).ok()?, count).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
        reader.get_mut().write_all(format!("{head}{answer}").as_bytes()).ok()?;
        reader.get_mut().flush().ok()?;
    }
}

fn review(review: &Value, count: usize) -> Value {
    let object = &review["request"]["object"];
    let mut patch = Vec::new();
    let count = count.to_string();
    if object["metadata"]["annotations"].is_object() {
        let path = format!("/metadata/annotations/{}", COUNTED.replace('/', "~1"));
        patch.push(json!({"op": "add", "path": path, "value": count}));
    } else {
        patch.push(json!({"op": "add", "path": "/metadata/annotations", "value": {COUNTED: count}}));
    }
    let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let lacks = |containers: &Vec<Value>| containers.iter().all(|container| container["name"] != SIDECAR);
    if object["kind"] == "Deployment" && containers.is_some_and(lacks) {
        let sidecar = json!({"name": SIDECAR, "image": "mesh.example.org/proxy:1"});
        patch.push(json!({"op": "add", "path": "/spec/template/spec/containers/-", "value": sidecar}));
    }
    let patch = STANDARD.encode(Value::Array(patch).to_string());
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {"uid": review["request"]["uid"], "allowed": true, "patchType": "JSONPatch", "patch": patch}})
}
