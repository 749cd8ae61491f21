//! Rules: when it is said that something ends. A share is of the lifetime, so that certificates of
//! six days and of ten years are both announced in time, and none that renews at a third of it.

use std::{fmt, str::FromStr, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use certward_store::{Ending, EndingKind, Timestamp};
use thiserror::Error;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Shares count at most so much of a lifetime: a fifth of it is 30 days.
const LEAF_LIFETIME_MAX: Duration = DAY.saturating_mul(5 * 30);
/// A fifth of it is 180 days: people renew a CA over months.
const AUTHORITY_LIFETIME_MAX: Duration = DAY.saturating_mul(5 * 180);
const DAYS_MAX: u32 = 3_650;
const RULES_MAX: usize = 10;

/// When something is said about what ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryRule {
    /// `1/N` of the lifetime is left.
    Share(u32),
    /// So many days are left; never for what lives no longer than that.
    Days(u32),
    /// Nothing is left.
    End,
}

/// Why a text is no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExpiryRuleError {
    /// Another form.
    #[error("it is neither a share of the lifetime from 1/2 to 1/1000, such as 1/10, nor days, such as 7d")]
    Form,
    /// Too many rules.
    #[error("at most 10 rules are allowed")]
    TooMany,
}

impl FromStr for ExpiryRule {
    type Err = ExpiryRuleError;

    fn from_str(text: &str) -> Result<Self, ExpiryRuleError> {
        let number = |text: &str, max: u32| {
            let digits =
                !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
            text.parse::<u32>().ok().filter(|number| digits && *number <= max).ok_or(ExpiryRuleError::Form)
        };
        if let Some(share) = text.strip_prefix("1/") {
            return number(share, 1_000).and_then(|share| match share {
                1 => Err(ExpiryRuleError::Form),
                share => Ok(Self::Share(share)),
            });
        }
        number(text.strip_suffix('d').ok_or(ExpiryRuleError::Form)?, DAYS_MAX).map(Self::Days)
    }
}

impl fmt::Display for ExpiryRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "1/{share}"),
            Self::Days(days) => write!(f, "{days}d"),
            Self::End => f.write_str("end"),
        }
    }
}

impl ExpiryRule {
    /// What is left of a lifetime when it applies.
    fn left_of(self, lifetime: Duration) -> Duration {
        match self {
            Self::Share(share) => lifetime / share,
            Self::Days(days) => DAY.saturating_mul(days),
            Self::End => Duration::ZERO,
        }
    }
}

/// The rules of one class of things; the end is always among them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct RuleSet {
    rules: Vec<ExpiryRule>,
    lifetime_max: Duration,
}

impl RuleSet {
    fn new(rules: Vec<ExpiryRule>, lifetime_max: Duration) -> Self {
        Self { rules: rules.into_iter().chain([ExpiryRule::End]).collect(), lifetime_max }
    }

    /// Those of leaves, but for shares of more than a tenth: the next CRL is fetched while a tenth
    /// and more is left, and one that comes then is never announced.
    fn of_crls(leaf: &[ExpiryRule]) -> Self {
        let is_late = |rule: &&ExpiryRule| !matches!(rule, ExpiryRule::Share(share) if *share < 10);
        Self::new(leaf.iter().filter(is_late).copied().collect(), LEAF_LIFETIME_MAX)
    }

    /// Each rule's moment within the lifetime.
    fn moments(&self, life: Lifetime) -> impl Iterator<Item = (Timestamp, ExpiryRule)> {
        let counted = life.length().min(self.lifetime_max);
        self.rules.iter().filter_map(move |rule| {
            let moment = life.ends_at.before(rule.left_of(counted));
            (moment > life.begins_at || *rule == ExpiryRule::End).then_some((moment, *rule))
        })
    }
}

/// From when until when something is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// notBefore.
    pub begins_at: Timestamp,
    /// notAfter.
    pub ends_at: Timestamp,
}

impl Lifetime {
    /// Of what ends.
    pub fn of(ending: &Ending) -> Self {
        Self { begins_at: ending.begins_at, ends_at: ending.ends_at }
    }

    fn length(self) -> Duration {
        let length = self.ends_at.0.saturating_sub(self.begins_at.0);
        Duration::from_millis(u64::try_from(length).unwrap_or(0))
    }
}

/// The rules of all kinds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRules {
    leaf: RuleSet,
    authority: RuleSet,
    crl: RuleSet,
}

impl Default for ExpiryRules {
    /// A fifth, a tenth, a thirtieth, the end: at most 30, 15 and 5 days; for CAs 180, 90 and 30.
    fn default() -> Self {
        let shares = vec![ExpiryRule::Share(5), ExpiryRule::Share(10), ExpiryRule::Share(30)];
        Self {
            crl: RuleSet::of_crls(&shares),
            leaf: RuleSet::new(shares.clone(), LEAF_LIFETIME_MAX),
            authority: RuleSet::new(shares, AUTHORITY_LIFETIME_MAX),
        }
    }
}

impl ExpiryRules {
    /// The defaults with other rules for leaves and API keys, or for CAs.
    ///
    /// # Errors
    /// [`ExpiryRuleError::TooMany`].
    pub fn with(
        leaf: Option<Vec<ExpiryRule>>,
        authority: Option<Vec<ExpiryRule>>,
    ) -> Result<Self, ExpiryRuleError> {
        if leaf.iter().chain(&authority).any(|rules| rules.len() > RULES_MAX) {
            return Err(ExpiryRuleError::TooMany);
        }
        let mut rules = Self::default();
        if let Some(given) = leaf {
            rules.crl = RuleSet::of_crls(&given);
            rules.leaf = RuleSet::new(given, LEAF_LIFETIME_MAX);
        }
        if let Some(given) = authority {
            rules.authority = RuleSet::new(given, AUTHORITY_LIFETIME_MAX);
        }
        Ok(rules)
    }

    /// The rule with the least left that applies at `now`.
    pub fn applying(&self, kind: EndingKind, life: Lifetime, now: Timestamp) -> Option<ExpiryRule> {
        let passed = self.of(kind).moments(life).filter(|(moment, _)| *moment <= now);
        passed.max_by_key(|(moment, _)| *moment).map(|(_, rule)| rule)
    }

    /// When the next rule applies after `now`; `None` after the end.
    pub fn next(&self, kind: EndingKind, life: Lifetime, now: Timestamp) -> Option<Timestamp> {
        self.of(kind).moments(life).map(|(moment, _)| moment).filter(|moment| *moment > now).min()
    }

    /// When something found at `now` is first to be looked at: now if a rule applies already.
    pub fn first(&self, kind: EndingKind, life: Lifetime, now: Timestamp) -> Option<Timestamp> {
        match self.applying(kind, life, now) {
            Some(_) => Some(now),
            None => self.next(kind, life, now),
        }
    }

    /// No rule applies at `now` to what ends later.
    pub(crate) fn horizon(&self, now: Timestamp) -> Timestamp {
        let left = [&self.leaf, &self.authority, &self.crl]
            .into_iter()
            .flat_map(|set| set.rules.iter().map(|rule| rule.left_of(set.lifetime_max)));
        now.after(left.max().unwrap_or_default())
    }

    /// Differs for other rules; never 0.
    pub(crate) fn mark(&self) -> i64 {
        let text = format!("{self:?}");
        let digest = digest(&SHA256, text.as_bytes());
        let first = digest.as_ref().first_chunk::<8>().map_or(1, |bytes| i64::from_be_bytes(*bytes));
        first | 1
    }

    fn of(&self, kind: EndingKind) -> &RuleSet {
        match kind {
            EndingKind::Crl => &self.crl,
            kind if kind.is_authority() => &self.authority,
            _ => &self.leaf,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_MS: i64 = 60 * 60 * 1000;
    const DAY_MS: i64 = 24 * HOUR_MS;

    fn life(days: i64) -> Lifetime {
        Lifetime { begins_at: Timestamp(0), ends_at: Timestamp(days * DAY_MS) }
    }

    /// Each rule with the hours that are left when it applies.
    fn walked(rules: &ExpiryRules, kind: EndingKind, life: Lifetime) -> Vec<(String, i64)> {
        let (mut now, mut walked) = (life.begins_at, Vec::new());
        while let Some(next) = rules.next(kind, life, now) {
            now = next;
            let rule = rules.applying(kind, life, now).unwrap();
            walked.push((rule.to_string(), (life.ends_at.0 - now.0) / HOUR_MS));
        }
        walked
    }

    #[test]
    fn the_default_rules_are_relative_to_the_lifetime_and_bounded() {
        let cases = [
            (EndingKind::Leaf, 6, [28, 14, 4]),
            (EndingKind::Leaf, 47, [225, 112, 37]),
            (EndingKind::Leaf, 398, [30 * 24, 15 * 24, 5 * 24]),
            (EndingKind::ApiKey, 365, [30 * 24, 15 * 24, 5 * 24]),
            (EndingKind::ClientCa, 100, [480, 240, 80]),
            (EndingKind::Intermediate, 3_650, [180 * 24, 90 * 24, 30 * 24]),
        ];
        for (kind, days, [fifth, tenth, thirtieth]) in cases {
            let expected = [("1/5", fifth), ("1/10", tenth), ("1/30", thirtieth), ("end", 0)];
            let expected = expected.map(|(rule, hours)| (rule.to_owned(), hours));
            assert_eq!(
                walked(&ExpiryRules::default(), kind, life(days)),
                expected,
                "{kind:?} of {days} days"
            );
        }
    }

    #[test]
    fn a_crl_is_announced_late() {
        let walked = |rules: &ExpiryRules| walked(rules, EndingKind::Crl, life(30));
        let expected = [("1/10", 72), ("1/30", 24), ("end", 0)].map(|(rule, hours)| (rule.to_owned(), hours));
        assert_eq!(walked(&ExpiryRules::default()), expected);
        let given = vec![ExpiryRule::Share(2), ExpiryRule::Days(2)];
        let rules = ExpiryRules::with(Some(given), None).unwrap();
        assert_eq!(walked(&rules), [("2d".to_owned(), 48), ("end".to_owned(), 0)]);
    }

    #[test]
    fn no_rule_applies_to_what_renews_at_a_third() {
        for days in [1, 6, 47, 90, 398, 3_650] {
            let life = life(days);
            let third = Timestamp(life.ends_at.0 - life.ends_at.0 / 3);
            assert_eq!(ExpiryRules::default().applying(EndingKind::Leaf, life, third), None, "{days} days");
        }
    }

    #[test]
    fn days_apply_to_what_lives_longer() {
        let rules = ExpiryRules::with(Some(vec![ExpiryRule::Days(30), ExpiryRule::Days(1)]), None).unwrap();
        let of = |days| walked(&rules, EndingKind::Leaf, life(days));
        assert_eq!(of(47), [("30d".into(), 720), ("1d".into(), 24), ("end".into(), 0)]);
        assert_eq!(of(6), [("1d".into(), 24), ("end".into(), 0)]);
        assert_ne!(rules.mark(), ExpiryRules::default().mark());
    }

    #[test]
    fn rules_are_read_in_their_two_forms() {
        for text in ["1/2", "1/5", "1/1000", "1d", "3650d"] {
            assert_eq!(text.parse::<ExpiryRule>().unwrap().to_string(), text);
        }
        for text in ["", "end", "1/1", "1/0", "1/1001", "2/5", "d", "0d", "07d", "+7d", "3651d", "7", "7h"] {
            assert_eq!(text.parse::<ExpiryRule>(), Err(ExpiryRuleError::Form), "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_rule_applies_from_its_moment_on_and_time_only_makes_it_more_urgent(
            begins in -1_000_000_000_000_i64..2_000_000_000_000, length in 0_i64..400_000_000_000,
            moments in prop::collection::vec(-1_000_000_000_i64..400_000_000_000, 1..20),
        ) {
            let life = Lifetime { begins_at: Timestamp(begins), ends_at: Timestamp(begins + length) };
            let rules = ExpiryRules::default();
            let left = |rule: Option<ExpiryRule>| match rule {
                None => 0,
                Some(ExpiryRule::Share(share)) => share,
                Some(ExpiryRule::Days(_)) => unreachable!("not by default"),
                Some(ExpiryRule::End) => u32::MAX,
            };
            let mut moments = moments;
            moments.sort_unstable();
            let mut before = 0;
            for now in moments.into_iter().map(|moment| Timestamp(begins + moment)) {
                let applying = left(rules.applying(EndingKind::Leaf, life, now));
                prop_assert!(applying >= before);
                before = applying;
                if let Some(next) = rules.next(EndingKind::Leaf, life, now) {
                    prop_assert!(next > now && next <= life.ends_at);
                    prop_assert!(left(rules.applying(EndingKind::Leaf, life, next)) > applying);
                } else {
                    prop_assert_eq!(applying, u32::MAX);
                }
            }
        }
    }
}
