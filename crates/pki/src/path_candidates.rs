//! The intermediates that may be on a path from a leaf, within bounds on the search.
//!
//! webpki tries every order of intermediates of one name and parses all of them at each step. Its
//! budgets do not count the parsing, nor a search that reaches no anchor: 60 KB of invented
//! certificates took seconds. Here the search is counted first, by names alone.

use std::collections::{HashMap, HashSet};

use rustls_pki_types::CertificateDer;

use crate::normal_name::normal_name;
use crate::tbs::Tbs;

/// Steps of the search. An honest chain takes one per intermediate; cross-signed ones take more.
const STEPS_MAX: usize = 64;
/// All candidates, parsed at each step: 2 MB in all. Uploads have the same bound.
const BYTES_MAX: usize = 32 * 1024;
/// webpki takes no longer path.
const DEPTH_MAX: usize = 8;

/// The search would take too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Those of `issuers` whose names lead to the leaf, each once; unreadable ones are dropped.
pub(crate) fn path_candidates<'a>(
    leaf: &CertificateDer<'_>,
    issuers: &'a [CertificateDer<'a>],
) -> Result<Vec<CertificateDer<'a>>, TooLong> {
    if issuers.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = Ids::default();
    let Some(leaf) = Tbs::read(leaf).map(|tbs| names.node(&tbs)) else { return Ok(Vec::new()) };
    let mut seen: HashSet<&'a [u8]> = HashSet::new();
    let nodes: Vec<(&'a CertificateDer<'a>, Node)> = issuers
        .iter()
        .filter_map(|der: &'a CertificateDer<'a>| {
            let bytes: &'a [u8] = der.as_ref();
            let tbs = Tbs::read(bytes).filter(|_| seen.insert(bytes))?;
            Some((der, names.node(&tbs)))
        })
        .collect();

    let mut wanted = HashSet::from([leaf.issuer]);
    let mut kept = vec![false; nodes.len()];
    while let Some(next) = (0..nodes.len()).find(|n| !kept[*n] && wanted.contains(&nodes[*n].1.subject)) {
        kept[next] = true;
        wanted.insert(nodes[next].1.issuer);
    }
    let candidates: Vec<_> =
        nodes.iter().zip(kept).filter(|(_, kept)| *kept).map(|(candidate, _)| candidate).collect();

    let bytes: usize = candidates.iter().map(|(der, _)| der.len()).sum();
    let graph: Vec<Node> = candidates.iter().map(|(_, node)| *node).collect();
    if bytes > BYTES_MAX || steps(&graph, &mut vec![leaf]) > STEPS_MAX {
        return Err(TooLong);
    }
    Ok(candidates.into_iter().map(|(der, _)| (*der).clone()).collect())
}

/// Ids of a certificate's names and its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Node {
    issuer: usize,
    subject: usize,
    key: usize,
}

/// Numbers for names and keys, so that comparing long ones costs nothing.
#[derive(Default)]
struct Ids(HashMap<Vec<u8>, usize>);

impl Ids {
    fn node(&mut self, tbs: &Tbs<'_>) -> Node {
        let mut id = |bytes: Vec<u8>| {
            let next = self.0.len();
            *self.0.entry(bytes).or_insert(next)
        };
        let mut name = |content: &[u8]| id(normal_name(content).unwrap_or_else(|| content.to_vec()));
        let (issuer, subject) = (name(tbs.issuer), name(tbs.subject));
        Node { issuer, subject, key: id(tbs.spki.to_vec()) }
    }
}

/// How often webpki would extend a path, until it is too often.
fn steps(graph: &[Node], path: &mut Vec<Node>) -> usize {
    let mut count = 0;
    let Some(head) = path.last().copied().filter(|_| path.len() <= DEPTH_MAX) else { return 0 };
    for node in graph.iter().filter(|node| node.subject == head.issuer) {
        // RFC 4158 §5.2: no certificate of the same name and key twice.
        if path.iter().any(|on_path| on_path.subject == node.subject && on_path.key == node.key) {
            continue;
        }
        path.push(*node);
        count += 1 + steps(graph, path);
        path.pop();
        if count > STEPS_MAX {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::der::wrap;

    /// A certificate without a signature; meaningless extensions make it long.
    fn invented(issuer: &[u8], subject: &[u8], key: u8, extensions: usize) -> CertificateDer<'static> {
        let name = |text: &[u8]| {
            let attribute = [wrap(6, &[0x55, 4, 3]), wrap(12, text)].concat();
            wrap(0x30, &wrap(0x31, &wrap(0x30, &attribute)))
        };
        let algorithm = wrap(0x30, &wrap(6, &[0x2a, 3]));
        let validity = [wrap(0x17, b"200101000000Z"), wrap(0x17, b"490101000000Z")].concat();
        let extensions = wrap(0x30, &[0x30, 4, 6, 0, 4, 0].repeat(extensions));
        let tbs = [
            vec![0xa0, 3, 2, 1, 2, 2, 1, 1],
            algorithm.clone(),
            name(issuer),
            wrap(0x30, &validity),
            name(subject),
            wrap(0x30, &[key]),
            wrap(0xa3, &extensions),
        ];
        wrap(0x30, &[wrap(0x30, &tbs.concat()), algorithm, wrap(3, &[0])].concat()).into()
    }

    #[test]
    fn a_search_that_multiplies_is_refused_before_it_begins() {
        let leaf = invented(b"N", b"leaf", 0, 0);
        let of_one_name = |count: u8| (1..=count).map(|key| invented(b"N", b"N", key, 0)).collect::<Vec<_>>();
        assert_eq!(path_candidates(&leaf, &of_one_name(4)).map(|kept| kept.len()), Ok(4));
        for count in [5, 9, 200] {
            assert_eq!(path_candidates(&leaf, &of_one_name(count)), Err(TooLong), "{count}");
        }
        // Long ones beside them lead nowhere, or are too long in all.
        let filler = invented(b"M", b"M", 0, 9_000);
        let mut chain = of_one_name(4);
        chain.push(filler);
        assert_eq!(path_candidates(&leaf, &chain).map(|kept| kept.len()), Ok(4));
        chain.push(invented(b"N", b"N", 7, 9_000));
        assert_eq!(path_candidates(&leaf, &chain), Err(TooLong));
    }

    #[test]
    fn an_honest_chain_is_kept_whatever_else_was_sent() {
        let leaf = invented(b"sub 1", b"leaf", 0, 0);
        let chain: Vec<_> = (1..=6_u8)
            .map(|n| invented(format!("sub {}", n + 1).as_bytes(), format!("sub {n}").as_bytes(), n, 3))
            .collect();
        assert_eq!(path_candidates(&leaf, &chain).as_deref(), Ok(&chain[..]));
        // In any order, twice, in another case, and beside others.
        let mut more: Vec<_> = chain.iter().rev().chain(&chain).cloned().collect();
        more.push(invented(b"elsewhere", b"other", 9, 0));
        more.push(CertificateDer::from(b"no certificate".to_vec()));
        let kept = path_candidates(&leaf, &more).unwrap();
        assert_eq!(kept.iter().collect::<HashSet<_>>(), chain.iter().collect());
        let shouted = invented(b"SUB  1", b"leaf", 0, 0);
        assert_eq!(path_candidates(&shouted, &chain).map(|kept| kept.len()), Ok(6));
    }

    #[test]
    fn cross_signed_sets_are_within_the_bound() {
        // Two certificates for each of three CAs.
        let leaf = invented(b"sub 1", b"leaf", 0, 0);
        let twice = |n: u8| {
            let (issuer, subject) = (format!("sub {}", n + 1), format!("sub {n}"));
            [n, n + 100].map(|key| invented(issuer.as_bytes(), subject.as_bytes(), key, 0))
        };
        let chain: Vec<_> = (1..=3).flat_map(twice).collect();
        assert_eq!(path_candidates(&leaf, &chain).map(|kept| kept.len()), Ok(6));
    }

    proptest! {
        #[test]
        fn what_is_kept_was_sent_and_its_search_is_bounded(
            links in prop::collection::vec((0_u8..4, 0_u8..4, 0_u8..6), 0..12),
        ) {
            let chain: Vec<_> =
                links.iter().map(|(issuer, subject, key)| invented(&[b'a' + issuer], &[b'a' + subject], *key, 0)).collect();
            if let Ok(kept) = path_candidates(&invented(b"a", b"leaf", 99, 0), &chain) {
                prop_assert!(kept.iter().all(|der| chain.contains(der)));
                let mut names = Ids::default();
                let graph: Vec<_> = kept.iter().map(|der| names.node(&Tbs::read(der).unwrap())).collect();
                let leaf = invented(b"a", b"leaf", 99, 0);
                let leaf = names.node(&Tbs::read(&leaf).unwrap());
                prop_assert!(steps(&graph, &mut vec![leaf]) <= STEPS_MAX);
            }
        }
    }
}
