use lettre::transport::smtp;

use crate::SendFailure;

/// lettre's texts hold those of the server, so only the status is kept.
pub(crate) fn failure_of(error: &smtp::Error) -> SendFailure {
    match error.status() {
        Some(code) => SendFailure::SmtpStatus(code.into()),
        None => SendFailure::UnexpectedAnswer,
    }
}
