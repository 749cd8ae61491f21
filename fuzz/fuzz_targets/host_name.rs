//! Any text as a host name, and any two that may cover each other.
#![no_main]

use certward_pki::HostName;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let names: Vec<HostName> =
        text.split('\n').take(4).filter_map(|line| HostName::parse(line).ok()).collect();
    for name in &names {
        let text = name.as_str();
        assert!(!text.is_empty() && text.len() <= 253);
        assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.*".contains(&b)));
        assert!(text.split('.').all(|label| !label.is_empty() && label.len() <= 63));
        assert_eq!(HostName::parse(text).as_ref(), Ok(name), "parsing again changes nothing");
        assert!(name.covers(name));
        let example = HostName::parse(&name.example("x")).expect("an example is a name");
        assert!(name.covers(&example));
        for other in &names {
            if name != other && name.covers(other) {
                assert!(name.is_wildcard() && !other.is_wildcard() && !other.covers(name));
                assert_eq!(name.as_str().strip_prefix("*."), other.parent());
            }
        }
    }
});
