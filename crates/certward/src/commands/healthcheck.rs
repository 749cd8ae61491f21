//! Asks the certward of this machine whether it is ready, for images without curl.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use reqwest::{StatusCode, redirect};

use super::block_on;
use crate::{
    cli::ConfigArgs,
    config::{Config, ConfigSource},
    output::{self, plain},
    usage::UsageError,
};

/// Docker and Kubernetes commonly allow more; the store is pinged within 1 s.
const TIMEOUT: Duration = Duration::from_secs(5);

/// certward's has less than 1 KiB; another program may have the port.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = ConfigSource::gather(args.config.as_deref(), std::env::vars_os())?.load()?.config;
    let url = ready_url(&config)?;
    let (status, body) = block_on(ask(&url))?;
    if status != StatusCode::OK {
        bail!("{url} answers {}: {}", status.as_u16(), plain(body.trim()));
    }
    output::say(&plain(body.trim()))?;
    Ok(ExitCode::SUCCESS)
}

async fn ask(url: &str) -> anyhow::Result<(StatusCode, String)> {
    let unreachable =
        || format!("no answer from {url}; is `certward serve` running with this configuration?");
    let http = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(TIMEOUT)
        // By address, no name is covered. The request holds no secret, and a renewed certificate
        // that is not served yet makes no node unready.
        .tls_danger_accept_invalid_certs(true)
        .build()
        .context("the HTTP client cannot be set up")?;
    let mut answer = http.get(url).send().await.with_context(unreachable)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.with_context(unreachable)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            bail!("what answers at {url} is not certward");
        }
        body.extend_from_slice(&chunk);
    }
    Ok((answer.status(), String::from_utf8_lossy(&body).into_owned()))
}

fn ready_url(config: &Config) -> Result<String, UsageError> {
    let listen = config.api.listen;
    if listen.port() == 0 {
        return Err(UsageError::new(
            "api.listen has port 0, so only the log knows the port; give it one for this command",
        ));
    }
    let scheme = if config.api.cert.is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{}/readyz", SocketAddr::new(reachable(listen.ip()), listen.port())))
}

/// From this machine, a socket of all addresses is reached by the loopback address.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_address_is_asked() {
        for (listen, https, expected) in [
            ("127.0.0.1:8080", false, Some("http://127.0.0.1:8080/readyz")),
            ("0.0.0.0:8443", true, Some("https://127.0.0.1:8443/readyz")),
            ("[::]:8443", true, Some("https://[::1]:8443/readyz")),
            ("192.0.2.7:8443", true, Some("https://192.0.2.7:8443/readyz")),
            ("127.0.0.1:0", false, None),
        ] {
            let mut config = Config::default();
            config.api.listen = listen.parse().unwrap();
            config.api.cert = https.then(|| "/etc/certward/api.pem".into());
            assert_eq!(ready_url(&config).ok().as_deref(), expected, "{listen}");
        }
    }
}
