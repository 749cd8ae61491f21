//! The rules: each checks one question and adds findings.
//!
//! A new rule is a function, a row in [`RULES`], a row in the table of codes, and a test. A rule
//! about the leaf is silent without one: another finding gives the reason.

mod chain;
mod client_ca;
mod key;
mod leaf;
mod names;
mod profile;
mod replaced;
mod undecodable_name;

pub use names::uncovered_hosts;
pub(crate) use names::{covers, names_in_force};

use crate::Finding;
use crate::parsed_upload::ParsedUpload;

pub(crate) type Rule = fn(&ParsedUpload<'_>, &mut Vec<Finding>);

/// In any order: findings are sorted.
pub(crate) const RULES: &[Rule] = &[
    key::key_inconsistent,
    key::key_mismatch,
    key::leaf_key_unsupported,
    undecodable_name::undecodable_name,
    leaf::unreadable_for_tls_clients,
    leaf::precertificate,
    leaf::version1,
    leaf::is_ca,
    leaf::not_for_servers,
    leaf::validity_reversed,
    leaf::expired,
    leaf::not_yet_valid,
    leaf::expires_soon,
    leaf::key_usage_unfit,
    leaf::must_staple,
    chain::weak_signature,
    chain::signature_unverified,
    chain::signature_uncommon,
    chain::critical_extension_unknown,
    chain::policy_violated,
    chain::policy_critical,
    chain::issuer_name_form,
    chain::signature_broken,
    chain::path_length_exceeded,
    chain::name_constraint_violated,
    chain::issuer_not_for_servers,
    chain::purpose_any,
    chain::issuer_key_weak,
    chain::missing_intermediate,
    chain::issuer_key_kind_differs,
    chain::left_out,
    chain::self_signed_beside_ca,
    replaced::self_signed_over_issued,
    chain::cross_signed_left_out,
    chain::root_left_out,
    chain::reordered,
    names::no_entry_point,
    names::host_not_covered,
    names::only_in_common_name,
    names::missing,
    names::wildcard_wide,
    names::unusable,
    profile::validity,
    profile::key_kind,
    client_ca::not_a_ca,
    client_ca::version1,
    client_ca::expired,
    client_ca::not_yet_valid,
    client_ca::none_valid,
    client_ca::unusable,
    client_ca::only_servers_own,
    client_ca::names_too_large,
];
