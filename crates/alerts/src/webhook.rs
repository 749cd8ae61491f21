use std::{error::Error, future, io, iter, net::SocketAddr, time::Duration};

use certward_store::{Timestamp, WebhookSecret, WebhookUrl};
use reqwest::{
    Client,
    dns::{Addrs, Name, Resolve, Resolving},
    header::{CONTENT_TYPE, HeaderValue},
    redirect, retry,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Outbound, SendFailure,
    resolve::{connect_timeout, permitted},
    signature::signature,
};

/// One attempt of a webhook.
#[derive(Debug, Clone, Copy)]
pub struct WebhookMessage<'a> {
    /// The same for each attempt, by which a receiver detects repetitions.
    pub id: &'a str,
    /// Of this attempt; the receiver compares it with its clock.
    pub at: Timestamp,
    /// JSON.
    pub body: &'a str,
}

/// The one address that was checked, for any name.
struct Checked(SocketAddr);

impl Outbound {
    /// Posts a signed webhook. Delivered: the receiver answered 2xx. The answer's body is not read.
    pub async fn post(
        &self,
        url: &WebhookUrl,
        secret: &WebhookSecret,
        message: &WebhookMessage<'_>,
    ) -> Result<(), SendFailure> {
        let until = Instant::now() + self.webhook_timeout;
        timeout_at(until, self.post_until(until, url, secret, message))
            .await
            .unwrap_or(Err(SendFailure::TimedOut))
    }

    async fn post_until(
        &self,
        until: Instant,
        url: &WebhookUrl,
        secret: &WebhookSecret,
        message: &WebhookMessage<'_>,
    ) -> Result<(), SendFailure> {
        // Both are always there: the URL is http or https with a host.
        let host = url.as_url().host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = url.as_url().port_or_known_default().unwrap_or_default();
        let addresses = permitted(&self.allow, host, port).await?;
        self.post_to(&addresses, until, url, secret, message).await
    }

    /// The first address that can be connected to.
    async fn post_to(
        &self,
        addresses: &[SocketAddr],
        until: Instant,
        url: &WebhookUrl,
        secret: &WebhookSecret,
        message: &WebhookMessage<'_>,
    ) -> Result<(), SendFailure> {
        let mut failure = SendFailure::Connect;
        for (at, address) in addresses.iter().enumerate() {
            let rivals = addresses.len() - at - 1;
            let client = self.client(*address, connect_timeout(until, rivals))?;
            match attempt(&client, url, secret, message).await {
                Ok(status) => return judged(status),
                // Nothing was sent.
                Err(error) if error.is_connect() => failure = failure_of(&error),
                Err(error) => return Err(failure_of(&error)),
            }
        }
        Err(failure)
    }

    /// Of one address: it cannot reach another one.
    fn client(&self, address: SocketAddr, connect_timeout: Duration) -> Result<Client, SendFailure> {
        Client::builder()
            .tls_backend_preconfigured((*self.tls).clone())
            .dns_resolver(Checked(address))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .connect_timeout(connect_timeout)
            .user_agent(concat!("certward/", env!("CARGO_PKG_VERSION")))
            .build()
            // Only a TLS configuration of another rustls could fail.
            .map_err(|_| SendFailure::Tls)
    }
}

impl Resolve for Checked {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(iter::once(self.0));
        Box::pin(future::ready(Ok(addresses)))
    }
}

/// The status.
async fn attempt(
    client: &Client,
    url: &WebhookUrl,
    secret: &WebhookSecret,
    message: &WebhookMessage<'_>,
) -> Result<u16, reqwest::Error> {
    let seconds = message.at.0.div_euclid(1000);
    let response = client
        .post(url.as_url().clone())
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header("webhook-id", message.id)
        .header("webhook-timestamp", seconds)
        .header("webhook-signature", signature(secret, message.id, seconds, message.body))
        .body(message.body.to_owned())
        .send()
        .await?;
    Ok(response.status().as_u16())
}

fn judged(status: u16) -> Result<(), SendFailure> {
    match status {
        200..300 => Ok(()),
        300..400 => Err(SendFailure::Redirect(status)),
        _ => Err(SendFailure::Status(status)),
    }
}

fn failure_of(error: &reqwest::Error) -> SendFailure {
    match error {
        _ if error.is_timeout() => SendFailure::TimedOut,
        _ if is_tls(error) => SendFailure::Tls,
        _ if error.is_connect() => SendFailure::Connect,
        // Before anything is sent: the id is no header value.
        _ if error.is_builder() => SendFailure::InvalidMessage,
        _ => SendFailure::UnexpectedAnswer,
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
    use crate::{AlertAllow, OutboundSettings};

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
        let ca = Authority::new("Alerts CA").pem().as_bytes().to_vec();
        let settings = OutboundSettings::new(AlertAllow::default());
        let outbound = Outbound::new(OutboundSettings { ca: Some(ca), ..settings }).unwrap();
        // The name has no address: only those given can be connected to.
        let url = WebhookUrl::parse(&format!("http://hooks.invalid:{}/", there.port())).unwrap();
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = WebhookMessage { id: "msg_1", at: Timestamp(0), body: "{}" };
        let until = Instant::now() + Duration::from_secs(30);
        let refused = outbound.post_to(&[closed, closed], until, &url, &secret, &message).await;
        assert_eq!(refused, Err(SendFailure::Connect));
        let sent = outbound.post_to(&[closed, there], until, &url, &secret, &message).await;
        assert_eq!(sent, Ok(()));
        answering.await.unwrap();
    }
}
