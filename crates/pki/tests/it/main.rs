//! What the intake promises, seen from outside. One program, for it links fast; one file per aspect.

mod catalogue;
mod clients;
mod findings;
mod openssl;
mod order;
mod properties;
mod stage;
mod text;
