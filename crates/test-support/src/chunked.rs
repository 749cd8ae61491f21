/// Decodes a chunked HTTP body (RFC 9112 §7.1); `None` if it is incomplete.
pub fn unchunked(mut body: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (len, rest) = body.split_once("\r\n")?;
        let (chunk, rest) = rest.split_at_checked(usize::from_str_radix(len, 16).ok()?)?;
        body = rest.strip_prefix("\r\n")?;
        if chunk.is_empty() {
            return Some(text);
        }
        text += chunk;
    }
}
