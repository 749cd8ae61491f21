//! Where a channel's alerts go, from a body.

use certward_store::{
    AlertReceiver, MailAddress, MailPassword, MailSecurity, MailServer, MailServerError, MailSettings,
    WebhookSecret, WebhookUrl,
};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{property::Properties, refusal_code::RefusalCode};

const TYPE_INVALID: RefusalCode = RefusalCode::ChannelTypeInvalid;
const URL_INVALID: RefusalCode = RefusalCode::WebhookUrlInvalid;
const SECRET_INVALID: RefusalCode = RefusalCode::WebhookSecretInvalid;
const MAIL_SERVER_INVALID: RefusalCode = RefusalCode::MailServerInvalid;
const MAIL_ADDRESS_INVALID: RefusalCode = RefusalCode::MailAddressInvalid;

const TYPE_REMEDY: &str = "Use webhook or mail.";
const URL_REMEDY: &str = "Give an http or https URL, for example https://hooks.example.com/certward.";
const SECRET_REMEDY: &str = "Give whsec_ and 24 to 64 bytes in base64, or leave it out: one is drawn.";
const SERVER_REMEDY: &str =
    "Give host, port, security (tls, starttls or plain), and with a user name a password.";
const ADDRESS_REMEDY: &str = "Give a plain address, for example ops@example.com.";

#[derive(Clone, Copy)]
enum ReceiverKind {
    Webhook,
    Mail,
}

impl Properties {
    /// `None`: a fault was noted. `drawn` makes the secret of a webhook that gives none.
    pub(crate) fn receiver(&mut self, drawn: Zeroizing<[u8; 32]>) -> Option<AlertReceiver> {
        self.require("type", TYPE_INVALID, TYPE_REMEDY);
        let kind = self.text("type", TYPE_INVALID, TYPE_REMEDY, |text| match text {
            "webhook" => Ok(ReceiverKind::Webhook),
            "mail" => Ok(ReceiverKind::Mail),
            _ => Err("there is no such type"),
        })?;
        match kind {
            ReceiverKind::Webhook => self.webhook(&drawn),
            ReceiverKind::Mail => self.mail(),
        }
    }

    fn webhook(&mut self, drawn: &Zeroizing<[u8; 32]>) -> Option<AlertReceiver> {
        self.require("url", URL_INVALID, URL_REMEDY);
        let url = self.text("url", URL_INVALID, URL_REMEDY, WebhookUrl::parse);
        let secret = self.text_or("secret", SECRET_INVALID, SECRET_REMEDY, WebhookSecret::parse, || {
            WebhookSecret::generate(drawn)
        });
        Some(AlertReceiver::Webhook { url: url?, secret: secret? })
    }

    fn mail(&mut self) -> Option<AlertReceiver> {
        let security = self.text_or("security", MAIL_SERVER_INVALID, SERVER_REMEDY, read_security, || {
            MailSecurity::Starttls
        })?;
        let username = self.text("username", MAIL_SERVER_INVALID, SERVER_REMEDY, |text| {
            Ok::<_, MailServerError>(text.to_owned())
        });
        let port = if self.is_given("port") {
            self.value("port", MAIL_SERVER_INVALID, SERVER_REMEDY, port)?
        } else {
            security.usual_port()
        };
        self.require("host", MAIL_SERVER_INVALID, SERVER_REMEDY);
        let server = self.text("host", MAIL_SERVER_INVALID, SERVER_REMEDY, |host| {
            MailServer::parse(host, port, security, username.as_deref())
        });
        let given_password = self.is_given("password");
        let password = self.text("password", MAIL_SERVER_INVALID, SERVER_REMEDY, MailPassword::parse);
        if username.is_some() != given_password {
            self.refuse(
                "password",
                MAIL_SERVER_INVALID,
                "a user name needs a password, and the reverse",
                SERVER_REMEDY,
            );
        }
        self.require("from", MAIL_ADDRESS_INVALID, ADDRESS_REMEDY);
        let from = self.text("from", MAIL_ADDRESS_INVALID, ADDRESS_REMEDY, MailAddress::parse);
        self.require("to", MAIL_ADDRESS_INVALID, ADDRESS_REMEDY);
        let to =
            self.list("to", MAIL_ADDRESS_INVALID, ADDRESS_REMEDY, MailSettings::RECIPIENTS_MAX, |text| {
                MailAddress::parse(text).map_err(|error| error.to_string())
            })?;
        let (server, from) = (server?, from?);
        match MailSettings::new(server, from, to) {
            Ok(settings) => Some(AlertReceiver::Mail { settings, password }),
            Err(error) => {
                self.refuse("to", MAIL_ADDRESS_INVALID, &error.to_string(), ADDRESS_REMEDY);
                None
            }
        }
    }
}

fn read_security(text: &str) -> Result<MailSecurity, &'static str> {
    MailSecurity::parse(text).ok_or("it is neither tls nor starttls nor plain")
}

fn port(value: &Value) -> Result<u16, MailServerError> {
    value.as_u64().and_then(|port| u16::try_from(port).ok()).ok_or(MailServerError::Port)
}
