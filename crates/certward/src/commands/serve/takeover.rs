//! The take-over of a node by a second process.

mod inherited_sockets;
mod predecessor;
mod protocol;
mod successor;

pub(super) use self::{
    inherited_sockets::InheritedSockets,
    predecessor::{Offer, TakeoverListener},
    protocol::{Channel, Message},
    successor::{HandedOver, Handover, Predecessor},
};
