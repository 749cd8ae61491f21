use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use certward_test_support::unchunked;
use serde_json::{Value, json};

use crate::{DEADLINE, came_within};

/// An HTTP/1.1 client of the API, one connection per request.
#[derive(Debug, Clone)]
pub struct Api {
    /// Where certward's API listens.
    pub address: SocketAddr,
    /// The API key.
    pub key: String,
    /// Its secret.
    pub secret: String,
}

/// An answer of the API.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The value of a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The `code` of an error.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// The certificate's `status`.
    pub fn tls_status(&self) -> String {
        self.json()["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Asserts the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl Api {
    /// The base URL, `{api}` in the seed.
    pub fn base(&self) -> String {
        format!("http://{}/public_api/v1", self.address)
    }

    /// Sends a request under the base.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn try_send(&self, method: &str, path: &str, fields: &str, body: &str) -> std::io::Result<Answer> {
        self.try_send_at(method, &format!("/public_api/v1{path}"), fields, body)
    }

    /// As [`Api::try_send`], for an absolute path.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub fn try_send_at(&self, method: &str, path: &str, fields: &str, body: &str) -> std::io::Result<Answer> {
        self.try_send_within(Duration::from_secs(90), method, path, fields, body)
    }

    /// As [`Api::try_send_at`], for a client that waits so long for an answer.
    ///
    /// # Errors
    ///
    /// If the connection fails, or there is no answer in time.
    pub fn try_send_within(
        &self,
        timeout: Duration,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> std::io::Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(timeout))?;
        let user = BASE64_STANDARD.encode(format!("{}:{}", self.key, self.secret));
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Basic {user}\r\nConnection: close\r\n\
             {fields}Content-Length: {length}\r\n\r\n{body}",
            self.address
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        read_answer(&answer).ok_or_else(|| std::io::Error::other("the answer is incomplete"))
    }

    /// Sends a JSON body under the base.
    pub fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let (fields, body) = match body {
            Some(body) => ("Content-Type: application/json\r\n", body.to_string()),
            None => ("", String::new()),
        };
        self.try_send(method, path, fields, &body)
            .unwrap_or_else(|error| panic!("{method} {path} has no answer: {error}"))
    }

    /// The sum over a metric's labels; 0 if absent.
    pub fn metric(&self, name: &str) -> f64 {
        let page = self.try_send_at("GET", "/metrics", "", "").expect("metrics").expect(200).body;
        let value = |line: &str| -> Option<f64> {
            let rest = line.strip_prefix(name)?;
            let whole_name = rest.starts_with(['{', ' ']);
            whole_name.then(|| line.rsplit(' ').next()?.parse().ok()).flatten()
        };
        page.lines().filter_map(value).sum()
    }

    /// GET under the base.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    /// Creates a deployment.
    #[track_caller]
    pub fn create_deployment(&self, id: &str, upstream: &str, hosts: &[&str]) {
        self.create_deployment_with(json!({"deploymentID": id, "upstream": upstream, "hosts": hosts}));
    }

    /// Creates a deployment from these fields.
    #[track_caller]
    pub fn create_deployment_with(&self, fields: Value) {
        self.send("POST", "/deployments", Some(&fields)).expect(201);
    }

    /// GET of the certificate.
    pub fn tls(&self, id: &str) -> Answer {
        self.get(&format!("/deployments/{id}/tls"))
    }

    /// POST of a certificate.
    pub fn post_tls(&self, id: &str, upload: &Value) -> Answer {
        self.send("POST", &format!("/deployments/{id}/tls"), Some(upload))
    }

    /// PUT of a certificate.
    pub fn put_tls(&self, id: &str, upload: &Value) -> Answer {
        self.send("PUT", &format!("/deployments/{id}/tls"), Some(upload))
    }

    /// DELETE of the certificate.
    pub fn delete_tls(&self, id: &str) -> Answer {
        self.send("DELETE", &format!("/deployments/{id}/tls"), None)
    }

    /// Waits for `running`.
    #[track_caller]
    pub fn wait_running(&self, id: &str) -> Value {
        self.wait_status(id, "running")
    }

    /// Waits for this status.
    #[track_caller]
    pub fn wait_status(&self, id: &str, status: &str) -> Value {
        let mut last = String::new();
        let came = came_within(DEADLINE, || {
            let answer = self.tls(id).expect(200);
            last.clone_from(&answer.body);
            (answer.tls_status() == status).then(|| answer.json())
        });
        came.unwrap_or_else(|| panic!("the certificate of {id} is not {status}, but {last}"))
    }
}

fn read_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut answer =
        Answer { status, headers, body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned() };
    if answer.header("transfer-encoding") == Some("chunked") {
        answer.body = unchunked(&answer.body)?;
        return Some(answer);
    }
    // A truncated body is no answer: certward may have been killed.
    let whole = match answer.header("content-length") {
        Some(length) => length.parse() == Ok(answer.body.len()),
        None => status == 204 || status == 304,
    };
    whole.then_some(answer)
}
