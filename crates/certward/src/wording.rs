//! Texts of the API in the words of the command line.
//!
//! The API names properties (`cacert`) and routes (`GET /projects`). A user of the command line
//! gave files and flags, and is shown those. The server's texts stay as they are, and JSON has them
//! unchanged.

mod api_words;
mod flags;
mod key_source;
mod pem_place;
mod remedies;
mod reworded;
mod typed;

pub(crate) use key_source::KeySource;
pub(crate) use reworded::{error_message, message, remedy};
pub(crate) use typed::{Typed, UploadFiles};
