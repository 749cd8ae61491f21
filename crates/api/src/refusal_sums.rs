//! Refusals for the audit, summed so that no client can flood it: pushed out are only old rows.
//!
//! The first refusal of an API key, action and code becomes a row at once. Those that follow become
//! one row a minute, then every two minutes, up to every ten, until none comes within that time.
//! Failed logins, which strangers can cause, become one row a minute for all.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    net::IpAddr,
    time::Duration,
};

use certward_store::{ApiKey, AuditEntry, AuditOrigin, DeploymentId};
use tokio::time::Instant;

use crate::refusal_code::RefusalCode;

const FIRST_WINDOW: Duration = Duration::from_secs(60);
const LAST_WINDOW: Duration = Duration::from_secs(10 * 60);
/// Of one row.
const SUBJECTS_NAMED: usize = 10;
/// 14 actions and some 20 codes of a few keys; more are only counted.
const SUMS_MAX: usize = 4_096;
const ADDRESSES_MAX: usize = 1_000;

/// A change that an authenticated key was refused.
#[derive(Debug, Clone)]
pub(crate) struct RefusedChange {
    pub(crate) key: ApiKey,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) deployment: Option<DeploymentId>,
    pub(crate) code: String,
    pub(crate) origin: AuditOrigin,
}

#[derive(Debug, Default)]
pub(crate) struct RefusalSums {
    sums: HashMap<(ApiKey, &'static str, String), RefusalSum>,
    logins: Option<LoginSum>,
    /// To be written.
    rows: Vec<AuditEntry>,
}

#[derive(Debug)]
struct RefusalSum {
    window: Duration,
    until: Instant,
    /// By subject, the first [`SUBJECTS_NAMED`].
    counts: BTreeMap<String, u64>,
    count: u64,
    /// The newest.
    last: RefusedChange,
}

#[derive(Debug)]
struct LoginSum {
    until: Instant,
    count: u64,
    addresses: HashSet<IpAddr>,
    example: Option<IpAddr>,
}

impl RefusalSums {
    /// Whether there is a row to write now.
    pub(crate) fn refused(&mut self, refused: RefusedChange, now: Instant) -> bool {
        let place = (refused.key.clone(), refused.action, refused.code.clone());
        if let Some(sum) = self.sums.get_mut(&place) {
            sum.add(refused);
            return false;
        }
        if self.sums.len() >= SUMS_MAX {
            return false;
        }
        self.rows.push(refused.entry());
        let (until, counts) = (now + FIRST_WINDOW, BTreeMap::new());
        self.sums.insert(place, RefusalSum { window: FIRST_WINDOW, until, counts, count: 0, last: refused });
        true
    }

    pub(crate) fn login_failed(&mut self, address: Option<IpAddr>, now: Instant) {
        let new =
            || LoginSum { until: now + FIRST_WINDOW, count: 0, addresses: HashSet::new(), example: address };
        let sum = self.logins.get_or_insert_with(new);
        sum.count += 1;
        if let Some(address) = address.filter(|_| sum.addresses.len() < ADDRESSES_MAX) {
            sum.addresses.insert(address);
        }
    }

    /// The rows to write now; `ending`: all that is known.
    pub(crate) fn take_due(&mut self, now: Instant, ending: bool) -> Vec<AuditEntry> {
        let rows = &mut self.rows;
        self.sums.retain(|_, sum| {
            if !ending && now < sum.until {
                return true;
            }
            let Some(row) = sum.summary() else { return false };
            rows.push(row);
            sum.window = (2 * sum.window).min(LAST_WINDOW);
            sum.until = now + sum.window;
            (sum.count, sum.counts) = (0, BTreeMap::new());
            true
        });
        if self.logins.as_ref().is_some_and(|sum| ending || now >= sum.until) {
            rows.extend(self.logins.take().map(LoginSum::into_row));
        }
        std::mem::take(rows)
    }
}

impl RefusedChange {
    fn entry(&self) -> AuditEntry {
        AuditEntry {
            deployment: self.deployment.clone(),
            refusal: Some(self.code.clone()),
            ..AuditEntry::new(self.origin.clone(), self.action, self.subject.as_str())
        }
    }
}

impl RefusalSum {
    fn add(&mut self, refused: RefusedChange) {
        self.count += 1;
        if self.counts.len() < SUBJECTS_NAMED || self.counts.contains_key(&refused.subject) {
            *self.counts.entry(refused.subject.clone()).or_default() += 1;
        }
        self.last = refused;
    }

    /// `None`: nothing was refused since.
    fn summary(&self) -> Option<AuditEntry> {
        if self.count == 0 {
            return None;
        }
        let mut detail = format!("{} more within {} s", self.count, self.window.as_secs());
        let mut named = self.counts.iter().filter(|(subject, _)| !subject.is_empty()).peekable();
        if named.peek().is_some() {
            detail.push(':');
        }
        for (subject, count) in named {
            // Writing to a String cannot fail.
            let _ = write!(detail, " {subject} {count}");
        }
        let only_one = self.counts.len() == 1;
        let last = self.last.entry();
        Some(match only_one {
            true => AuditEntry { detail, ..last },
            false => AuditEntry { detail, subject: String::new(), deployment: None, ..last },
        })
    }
}

impl LoginSum {
    fn into_row(self) -> AuditEntry {
        let Self { count, addresses, example, .. } = self;
        let many = if addresses.len() < ADDRESSES_MAX { "" } else { " or more" };
        let detail = format!(
            "{count} failed logins within {} s, addresses: {}{many}",
            FIRST_WINDOW.as_secs(),
            addresses.len()
        );
        let origin = AuditOrigin { actor: "unknown".to_owned(), address: example, request: None };
        AuditEntry {
            detail,
            refusal: Some(RefusalCode::Unauthorized.as_str().to_owned()),
            ..AuditEntry::new(origin, "login", "api")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn refused(subject: &str, code: &str) -> RefusedChange {
        let key = ApiKey::parse("k1").unwrap();
        RefusedChange {
            origin: AuditOrigin::key(&key),
            key,
            action: "tls.replace",
            subject: subject.to_owned(),
            deployment: DeploymentId::parse(subject).ok(),
            code: code.to_owned(),
        }
    }

    fn said(rows: &[AuditEntry]) -> Vec<(String, String)> {
        rows.iter().map(|row| (row.subject.clone(), row.detail.clone())).collect()
    }

    fn row(subject: &str, detail: &str) -> (String, String) {
        (subject.to_owned(), detail.to_owned())
    }

    #[test]
    fn the_first_refusal_is_a_row_and_the_following_are_one_a_window() {
        let (mut sums, start) = (RefusalSums::default(), Instant::now());
        assert!(sums.refused(refused("north", "RATE_LIMITED"), start));
        assert_eq!(said(&sums.take_due(start, false)), [row("north", "")]);
        for _ in 0..500 {
            assert!(!sums.refused(refused("north", "RATE_LIMITED"), start));
        }
        assert!(sums.take_due(start + MINUTE - Duration::from_millis(1), false).is_empty());
        let first = sums.take_due(start + MINUTE, false);
        assert_eq!(said(&first), [row("north", "500 more within 60 s: north 500")]);
        assert_eq!(first[0].refusal.as_deref(), Some("RATE_LIMITED"));
        assert!(first[0].deployment.is_some());
        // Once nothing came for a window, the next one is a row at once again.
        assert!(sums.take_due(start + 3 * MINUTE, false).is_empty());
        assert!(sums.refused(refused("north", "RATE_LIMITED"), start + 3 * MINUTE));
    }

    #[test]
    fn a_script_that_never_stops_gets_a_row_every_ten_minutes() {
        let (mut sums, start) = (RefusalSums::default(), Instant::now());
        let mut rows = 0;
        for second in 0..24 * 60 * 60 {
            let now = start + Duration::from_secs(second);
            sums.refused(refused("north", "RATE_LIMITED"), now);
            rows += sums.take_due(now, false).len();
        }
        assert!((140..=150).contains(&rows), "{rows}");
    }

    #[test]
    fn a_sum_names_some_subjects_and_other_codes_are_apart() {
        let (mut sums, now) = (RefusalSums::default(), Instant::now());
        for number in 0..30 {
            sums.refused(refused(&format!("d{number:02}"), "NO_ACCESS"), now);
        }
        sums.refused(refused("d00", "KEY_MISMATCH"), now);
        let mut rows = said(&sums.take_due(now, true));
        rows.sort();
        let named: Vec<String> = (1..=10).map(|number| format!("d{number:02} 1")).collect();
        let summed = format!("29 more within 60 s: {}", named.join(" "));
        assert_eq!(rows, [row("", &summed), row("d00", ""), row("d00", "")]);
    }

    #[test]
    fn failed_logins_of_all_addresses_are_one_row_a_minute() {
        let (mut sums, start) = (RefusalSums::default(), Instant::now());
        for number in 0..5_000u32 {
            sums.login_failed(Some(IpAddr::V4((0x0a00_0000 + number).into())), start);
        }
        assert!(sums.take_due(start, false).is_empty());
        let rows = sums.take_due(start + MINUTE, false);
        assert_eq!(said(&rows), [row("api", "5000 failed logins within 60 s, addresses: 1000 or more")]);
        assert_eq!(rows[0].origin.address, Some("10.0.0.0".parse().unwrap()));
        assert!(sums.take_due(start + 2 * MINUTE, false).is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut sums, now) = (RefusalSums::default(), Instant::now());
        for number in 0..10_000 {
            sums.refused(refused("north", &format!("CODE_{number}")), now);
        }
        assert_eq!(sums.sums.len(), SUMS_MAX);
        assert_eq!(sums.take_due(now, true).len(), SUMS_MAX);
        assert!(sums.take_due(now + 10 * MINUTE, false).is_empty());
        assert!(sums.sums.is_empty());
    }
}
