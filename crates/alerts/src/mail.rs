use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use certward_outbound::connect_timeout;
use certward_store::{MailPassword, MailSecurity, MailSettings};
use lettre::{
    Message,
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, AsyncTokioStream},
        commands::{Data, Mail, Rcpt},
        extension::ClientId,
    },
};
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    AlertTransport, MailMessage, SendFailure, mail_status::failure_of, mail_text::compose,
    smtp_stream::SmtpStream, starttls::starttls,
};

/// For a courtesy: the mail is delivered.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

impl AlertTransport {
    /// Hands a mail to the server. Delivered: the server took it for one recipient at least; that
    /// it refuses others is logged.
    pub async fn mail(
        &self,
        settings: &MailSettings,
        password: Option<&MailPassword>,
        message: &MailMessage<'_>,
    ) -> Result<(), SendFailure> {
        let until = Instant::now() + self.mail_timeout;
        let mut connection = timeout_at(until, self.mail_until(until, settings, password, message))
            .await
            .unwrap_or(Err(SendFailure::TimedOut))?;
        // Ignored: a failure here would send the mail a second time.
        let _ = timeout(QUIT_TIMEOUT, connection.quit()).await;
        Ok(())
    }

    async fn mail_until(
        &self,
        until: Instant,
        settings: &MailSettings,
        password: Option<&MailPassword>,
        message: &MailMessage<'_>,
    ) -> Result<AsyncSmtpConnection, SendFailure> {
        let server = settings.server();
        let credentials = match (server.username(), password) {
            // lettre's copy is not wiped; it lives for one mail.
            (Some(username), Some(password)) => {
                Some(Credentials::new(username.to_owned(), password.expose().to_owned()))
            }
            (Some(_), None) => return Err(SendFailure::PasswordMissing),
            (None, _) => None,
        };
        let mail = compose(settings, message)?;
        let addresses = self.http.allow().permitted(server.host(), server.port()).await?;
        let (tcp, peer) = connect(&addresses, until).await?;
        let mut connection = self.open(settings, tcp, peer).await?;
        if let Some(credentials) = credentials {
            authenticate(&mut connection, &credentials).await?;
        }
        deliver(&mut connection, &mail).await?;
        Ok(connection)
    }

    async fn open(
        &self,
        settings: &MailSettings,
        tcp: TcpStream,
        peer: SocketAddr,
    ) -> Result<AsyncSmtpConnection, SendFailure> {
        let hello = &hello(&tcp);
        let host = settings.server().host();
        let stream: Box<dyn AsyncTokioStream> = match settings.server().security() {
            MailSecurity::Plain => Box::new(SmtpStream::new(tcp, peer)),
            MailSecurity::Tls => Box::new(SmtpStream::new(self.handshake(host, tcp).await?, peer)),
            MailSecurity::Starttls => {
                let tcp = starttls(tcp, peer, hello).await?;
                Box::new(SmtpStream::greeted(self.handshake(host, tcp).await?, peer))
            }
        };
        AsyncSmtpConnection::connect_with_transport(stream, hello).await.map_err(|e| failure_of(&e))
    }

    async fn handshake(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, SendFailure> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| SendFailure::Tls)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        connector.connect(name, tcp).await.map_err(|_| SendFailure::Tls)
    }
}

async fn connect(addresses: &[SocketAddr], until: Instant) -> Result<(TcpStream, SocketAddr), SendFailure> {
    let mut failure = SendFailure::Connect;
    for (at, address) in addresses.iter().enumerate() {
        let within = connect_timeout(until, addresses.len() - at - 1);
        match timeout(within, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok((tcp, *address)),
            Ok(Err(_)) => failure = SendFailure::Connect,
            Err(_) => failure = SendFailure::TimedOut,
        }
    }
    Err(failure)
}

/// An address literal, as there may be no name (RFC 5321 §4.1.4).
fn hello(tcp: &TcpStream) -> ClientId {
    match tcp.local_addr().map(|local| local.ip().to_canonical()) {
        Ok(IpAddr::V4(ip)) => ClientId::Ipv4(ip),
        Ok(IpAddr::V6(ip)) => ClientId::Ipv6(ip),
        Err(_) => ClientId::default(),
    }
}

async fn authenticate(
    connection: &mut AsyncSmtpConnection,
    credentials: &Credentials,
) -> Result<(), SendFailure> {
    if connection.server_info().get_auth_mechanism(DEFAULT_MECHANISMS).is_none() {
        return Err(SendFailure::AuthenticationMissing);
    }
    match connection.auth(DEFAULT_MECHANISMS, credentials).await {
        Ok(_) => Ok(()),
        Err(error) if error.is_permanent() => Err(SendFailure::AuthenticationRefused),
        Err(error) => Err(failure_of(&error)),
    }
}

/// Command by command: lettre's `send` waits for a QUIT after a refusal.
async fn deliver(connection: &mut AsyncSmtpConnection, mail: &Message) -> Result<(), SendFailure> {
    let from = mail.envelope().from().cloned();
    connection.command(Mail::new(from, Vec::new())).await.map_err(|e| failure_of(&e))?;
    let (mut accepted, mut refused) = (0, None);
    for to in mail.envelope().to() {
        match connection.command(Rcpt::new(to.clone(), Vec::new())).await {
            Ok(_) => accepted += 1,
            // A wrong address must not keep the alert from the others.
            Err(error) if error.is_permanent() => refused = Some(failure_of(&error)),
            Err(error) => return Err(failure_of(&error)),
        }
    }
    match refused {
        Some(failure) if accepted == 0 => return Err(failure),
        Some(failure) => tracing::warn!("some recipients of an alert are refused: {failure}"),
        None => {}
    }
    connection.command(Data).await.map_err(|e| failure_of(&e))?;
    connection.message(&mail.formatted()).await.map_err(|e| failure_of(&e))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_next_address_is_tried() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let closed = SocketAddr::from(([127, 0, 0, 2], there.port()));
        let until = Instant::now() + Duration::from_secs(30);
        let (_, peer) = connect(&[closed, there], until).await.unwrap();
        assert_eq!(peer, there);
        assert_eq!(connect(&[closed, closed], until).await.err(), Some(SendFailure::Connect));
    }
}
