use std::{error::Error, future, io, iter, net::SocketAddr, sync::Arc, time::Duration};

use reqwest::{
    Client, RequestBuilder, Response,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect, retry,
};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::{OutboundAllow, ReachFailure, resolve::connect_timeout};

/// Makes HTTP requests, each on a connection of its own to an address that was checked. Follows no
/// redirect, uses no proxy, repeats nothing and decompresses nothing.
#[derive(Debug, Clone)]
pub struct OutboundHttp {
    allow: OutboundAllow,
    tls: Arc<ClientConfig>,
}

/// The one address that was checked, for any name.
struct Checked(SocketAddr);

impl OutboundHttp {
    /// With the permitted networks, and the configuration for https.
    pub fn new(allow: OutboundAllow, tls: Arc<ClientConfig>) -> Self {
        Self { allow, tls }
    }

    /// Where requests may go to.
    pub fn allow(&self) -> &OutboundAllow {
        &self.allow
    }

    /// Sends the request to the first address of the URL's host that can be connected to, and
    /// returns the head of the answer. `connected_by` bounds look-up, connect and TLS handshake;
    /// the caller bounds the rest.
    pub async fn request(
        &self,
        url: &Url,
        connected_by: Instant,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Response, ReachFailure> {
        // Both are always there: the URL is http or https with a host.
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.port_or_known_default().unwrap_or_default();
        let permitted = timeout_at(connected_by, self.allow.permitted(host, port)).await;
        let addresses = permitted.unwrap_or(Err(ReachFailure::TimedOut))?;
        self.request_from(&addresses, connected_by, request).await
    }

    async fn request_from(
        &self,
        addresses: &[SocketAddr],
        connected_by: Instant,
        request: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Response, ReachFailure> {
        let mut failure = ReachFailure::Connect;
        for (at, address) in addresses.iter().enumerate() {
            let rivals = addresses.len() - at - 1;
            let client = self.client(*address, connect_timeout(connected_by, rivals))?;
            match request(&client).send().await {
                Ok(response) => return Ok(response),
                // Nothing was sent.
                Err(error) if error.is_connect() => failure = failure_of(&error),
                Err(error) => return Err(failure_of(&error)),
            }
        }
        Err(failure)
    }

    /// Of one address: it cannot reach another one.
    fn client(&self, address: SocketAddr, connect_timeout: Duration) -> Result<Client, ReachFailure> {
        Client::builder()
            .tls_backend_preconfigured((*self.tls).clone())
            .dns_resolver(Checked(address))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            // Not compiled in today; a dependency could turn one on.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(connect_timeout)
            .user_agent(concat!("certward/", env!("CARGO_PKG_VERSION")))
            .build()
            // Only a TLS configuration of another rustls could fail.
            .map_err(|_| ReachFailure::Tls)
    }
}

impl Resolve for Checked {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(iter::once(self.0));
        Box::pin(future::ready(Ok(addresses)))
    }
}

/// Of a request, or of the body of its answer.
pub(crate) fn failure_of(error: &reqwest::Error) -> ReachFailure {
    match error {
        _ if error.is_timeout() => ReachFailure::TimedOut,
        _ if is_tls(error) => ReachFailure::Tls,
        _ if error.is_connect() => ReachFailure::Connect,
        // Before anything is sent.
        _ if error.is_builder() => ReachFailure::InvalidRequest,
        _ => ReachFailure::UnexpectedAnswer,
    }
}

/// Whether rustls is a cause. `io::Error` hides what it wraps from `source`, and hyper-rustls
/// wraps one in another.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>()
        || wrapped.is_some_and(|inner| is_tls(inner))
        || error.source().is_some_and(is_tls)
}

#[cfg(test)]
mod tests {
    use certward_test_support::Authority;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::client_config;

    #[tokio::test]
    async fn the_next_address_is_tried_and_no_other() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = SocketAddr::from(([127, 0, 0, 2], there.port()));
        let answering = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let _ = tcp.read(&mut [0; 1024]).await;
            tcp.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        });
        let tls = client_config(Some(Authority::new("Outbound CA").pem().as_bytes())).unwrap();
        let http = OutboundHttp::new(OutboundAllow::default(), Arc::new(tls));
        // The name has no address: only those given can be connected to.
        let url = format!("http://hooks.invalid:{}/", there.port());
        let until = Instant::now() + Duration::from_secs(30);
        let from = async |addresses: &[SocketAddr]| {
            let answer = http.request_from(addresses, until, |client| client.get(&url)).await;
            answer.map(|response| response.status().as_u16())
        };
        assert_eq!(from(&[closed, closed]).await, Err(ReachFailure::Connect));
        assert_eq!(from(&[closed, there]).await, Ok(204));
        answering.await.unwrap();
    }
}
