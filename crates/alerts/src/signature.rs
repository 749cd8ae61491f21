use aws_lc_rs::hmac;
use base64::{Engine, prelude::BASE64_STANDARD};
use certward_store::WebhookSecret;

/// The header `webhook-signature`: `v1,` and base64 of HMAC-SHA256 (Standard Webhooks).
pub(crate) fn signature(secret: &WebhookSecret, id: &str, seconds: i64, body: &str) -> String {
    let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose_key()));
    signed.update(format!("{id}.{seconds}.").as_bytes());
    signed.update(body.as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(signed.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the tests of the reference implementations.
    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
