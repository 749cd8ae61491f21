//! Logins: an API's URL with a key and a CA, each in a file of its own, which only its user reads.
//!
//! They belong together: a key is never sent to another URL than that it was stored for.

mod content;
mod folder;
mod name;

pub(crate) use self::{content::Login, folder::LoginFolder, name::LoginName};
