//! A cluster's API as a test sees it: raw requests, beside holdfast and as anybody.

use serde_json::{Value, json};

/// Who asks, and where.
#[derive(Clone)]
pub struct Api {
    url: String,
    token: String,
    http: reqwest::blocking::Client,
}

impl Api {
    /// Asks a server as whoever has this token.
    pub fn new(url: &str, token: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::blocking::Client::builder().danger_accept_invalid_certs(true).no_proxy().build();
        Self { url: url.to_owned(), token: token.to_owned(), http: http.expect("the client is made") }
    }

    /// Sends one request; returns the code and what came back.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, kind: &str, body: Option<&Value>) -> (u16, Value) {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("it is a method");
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.header("content-type", kind).body(body.to_string());
        }
        let answer = request.send().unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let code = answer.status().as_u16();
        let bytes = answer.bytes().unwrap_or_else(|error| panic!("{path}: {error:?}"));
        (code, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Sends one request without a body; returns the code, `None` if nobody answers.
    pub fn try_ask(&self, method: &str, path: &str) -> Option<u16> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("it is a method");
        let sent = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token).send();
        Some(sent.ok()?.status().as_u16())
    }

    /// Reads an object; `None` if it is not there.
    #[track_caller]
    pub fn get(&self, path: &str) -> Option<Value> {
        let (code, value) = self.ask("GET", path, "", None);
        assert!(matches!(code, 200 | 404), "{path}: {code} {value}");
        (code == 200).then_some(value)
    }

    /// Makes an object.
    #[track_caller]
    pub fn create(&self, collection: &str, object: &Value) -> Value {
        let (code, value) = self.ask("POST", collection, "application/json", Some(object));
        assert_eq!(code, 201, "{collection}: {value}");
        value
    }

    /// Changes an object by a merge, as this manager.
    #[track_caller]
    pub fn merge(&self, path: &str, manager: &str, change: &Value) -> Value {
        let path = format!("{path}?fieldManager={manager}");
        let (code, value) = self.ask("PATCH", &path, "application/merge-patch+json", Some(change));
        assert_eq!(code, 200, "{path}: {value}");
        value
    }

    /// Applies an object on the server, as this manager.
    #[track_caller]
    pub fn apply(&self, path: &str, manager: &str, object: &Value) -> Value {
        let path = format!("{path}?fieldManager={manager}&force=true");
        let (code, value) = self.ask("PATCH", &path, "application/apply-patch+yaml", Some(object));
        assert!(matches!(code, 200 | 201), "{path}: {value}");
        value
    }

    /// Removes an object.
    #[track_caller]
    pub fn delete(&self, path: &str) {
        let (code, value) = self.ask("DELETE", path, "application/json", Some(&json!({})));
        assert!(matches!(code, 200 | 202), "{path}: {value}");
    }
}
