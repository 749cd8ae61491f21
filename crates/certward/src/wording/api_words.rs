//! Words of the API wherever they stand in a text.

use super::{
    flags::{ALSO_ENGLISH_FROM, WORDS, flag},
    pem_place::ordinal,
    typed::Typed,
};

/// Replaces each word by the file or flag that was typed.
pub(super) fn replace(text: &str, typed: &Typed) -> String {
    let mut text = blocks(text, typed);
    text = named_properties(&text);
    // `key` is a word of its own in most sentences.
    text = text.replace("cert and key may", &format!("{} and {} may", typed.name("cert"), typed.name("key")));
    for beginning in ["key is ", "key holds ", "key has ", "key was "] {
        if let Some(rest) = text.strip_prefix(beginning) {
            text = format!("{}{}{rest}", typed.name("key"), &beginning["key".len()..]);
        }
    }
    for (word, flag) in &WORDS[..ALSO_ENGLISH_FROM] {
        let by = if flag.starts_with("--") { typed.name(word) } else { (*flag).to_owned() };
        text = replace_word(&text, word, &by);
    }
    text
}

/// `Block 0 of cert` becomes `The 1st certificate of north.pem (line 1)`.
fn blocks(text: &str, typed: &Typed) -> String {
    let mut reworded = String::with_capacity(text.len());
    let mut field = "cert";
    let mut rest = text;
    while let Some((at, block)) = next_block(rest) {
        reworded.push_str(&rest[..at]);
        field = block.field.unwrap_or(field);
        let place = typed.block(field, block.index);
        reworded.push_str(if at == 0 && reworded.is_empty() { "The " } else { "the " });
        reworded.push_str(&place);
        rest = &rest[at + block.bytes..];
    }
    reworded + rest
}

struct NamedBlock<'a> {
    index: usize,
    field: Option<&'a str>,
    bytes: usize,
}

fn next_block(text: &str) -> Option<(usize, NamedBlock<'_>)> {
    text.match_indices("lock ").find_map(|(at, word)| {
        let start = at.checked_sub(1).filter(|start| matches!(text.as_bytes()[*start], b'B' | b'b'))?;
        let behind = &text[at + word.len()..];
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let index = behind[..digits].parse().ok()?;
        let mut bytes = 1 + word.len() + digits;
        let named = behind[digits..].strip_prefix(" of ").map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            &rest[..end]
        });
        let field = named.filter(|field| ["cert", "key", "cacert", "crl"].contains(field));
        bytes += field.map_or(0, |field| " of ".len() + field.len());
        Some((start, NamedBlock { index, field, bytes }))
    })
}

/// `The property hosts[1] is wrong` becomes `The 2nd --host is wrong`.
fn named_properties(text: &str) -> String {
    const BEGINNING: &str = "The property ";
    let Some(rest) = text.strip_prefix(BEGINNING) else { return text.to_owned() };
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
    let (property, behind) = rest.split_at(end);
    let index = behind.strip_prefix('[').and_then(|behind| behind.split_once(']'));
    match index.and_then(|(index, behind)| Some((index.parse::<usize>().ok()?, behind))) {
        Some((index, behind)) => {
            format!("The {} {}{behind}", ordinal(index + 1), flag(property))
        }
        None => format!("{}{behind}", flag(property)),
    }
}

/// Whole words only, so not `cert` in `certificate`, nor in a path or a flag.
fn replace_word(text: &str, word: &str, by: &str) -> String {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None;
    while let Some(at) = rest.find(word) {
        let (start, behind) = (&rest[..at], &rest[at + word.len()..]);
        let left = start.chars().next_back().or(before);
        // A full stop ends a sentence.
        let right = behind.trim_start_matches('.').chars().next();
        let is_end = behind.starts_with('.') && right.is_none_or(char::is_whitespace);
        let whole = !left.is_some_and(is_part) && (is_end || !behind.chars().next().is_some_and(is_part));
        replaced.push_str(start);
        replaced.push_str(if whole { by } else { word });
        before = word.chars().next_back();
        rest = behind;
    }
    replaced + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_routes_become_flags_and_commands() {
        for (api, shown) in [
            (
                "Name a project that GET /projects lists.",
                "Name a project that `certward project list` lists.",
            ),
            ("Set tlsType to one-way.", "Set the type of TLS to one-way."),
            (
                "cacert holds 2 certificates; a path a/cert.pem stays.",
                "--client-ca holds 2 certificates; a path a/cert.pem stays.",
            ),
            ("No CA in cacert is valid now.", "No CA in --client-ca is valid now."),
            ("keyPassword does not open it.", "--key-password-file does not open it."),
            ("key holds no private key.", "--key holds no private key."),
            ("The private key is not the leaf's.", "The private key is not the leaf's."),
            ("Send only certificates in cert.", "Send only certificates in --cert."),
            (
                "key holds a certificate; cert and key may have been swapped.",
                "--key holds a certificate; --cert and --key may have been swapped.",
            ),
            ("The property upstream is wrong: it is x.", "--upstream is wrong: it is x."),
            ("The property hosts[1] is wrong: it is x.", "The 2nd --host is wrong: it is x."),
            ("The property type is wrong: it is missing.", "--type is wrong: it is missing."),
            ("The address is used.", "The address is used."),
        ] {
            assert_eq!(replace(api, &Typed::default()), shown);
        }
    }

    #[test]
    fn blocks_have_a_place_in_their_file() {
        let block = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let mut typed = Typed::default();
        typed.files.add("cert", "north.pem".as_ref(), &format!("text\n{block}{block}"));
        typed.files.add("crl", "d1.key".as_ref(), &block.replace("CERTIFICATE", "PRIVATE KEY"));
        for (api, shown) in [
            (
                "Block 0 of cert has no END line.",
                "The 1st certificate (line 2) of north.pem has no END line.",
            ),
            (
                "Block 0 of cert names its issuer in other bytes than block 1 names itself.",
                "The 1st certificate (line 2) of north.pem names its issuer in other bytes than the 2nd certificate (line 5) of \
                 north.pem names itself.",
            ),
            (
                "The CA in block 1 of cert (CN=a) is.",
                "The CA in the 2nd certificate (line 5) of north.pem (CN=a) is.",
            ),
            ("Block 3 of cacert is a key.", "The 4th block of --client-ca is a key."),
            (
                "Block 0 of crl is a private key, not a CRL.",
                "The 1st private key (line 1) of d1.key is a private key, not a CRL.",
            ),
            ("Block 1 of crl is", "The 2nd block of d1.key is"),
            ("A block that ends; blocks of cert", "A block that ends; blocks of north.pem"),
        ] {
            assert_eq!(replace(api, &typed), shown);
        }
    }
}
