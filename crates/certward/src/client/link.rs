/// The query of the link with `rel="next"` (RFC 8288), without its origin and path: the secret goes
/// to the known base only.
pub(super) fn next_query(header: &str) -> Option<&str> {
    let next = header.split(',').find(|link| {
        link.split(';').skip(1).any(|parameter| parameter.trim().eq_ignore_ascii_case("rel=\"next\""))
    })?;
    let (target, _) = next.trim().strip_prefix('<')?.split_once('>')?;
    let (_, query) = target.split_once('?')?;
    (!query.is_empty()).then_some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_query_of_the_next_page_is_taken() {
        for (header, query) in [
            ("</public_api/v1/expiring?within=30d&after=7.8>; rel=\"next\"", Some("within=30d&after=7.8")),
            ("<https://other.example/x?after=1.2>; rel=\"next\"", Some("after=1.2")),
            ("</a?b=1>; rel=\"prev\", </a?b=2>; rel=\"next\"", Some("b=2")),
            ("</a?b=1>; rel=\"prev\"", None),
            ("</a>; rel=\"next\"", None),
            ("</a?>; rel=\"next\"", None),
            ("/a?b=1; rel=\"next\"", None),
            ("<", None),
            ("", None),
        ] {
            assert_eq!(next_query(header), query, "{header}");
        }
    }
}
