//! What the intake promises, seen from outside. One program, for it links fast; one file per aspect.

mod order;
mod stage;
