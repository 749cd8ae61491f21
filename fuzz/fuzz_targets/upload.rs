//! Any text in any property: `flags cert US key US cacert US keyPassword`, where US is the unit
//! separator (0x1f).
#![no_main]

use certward_fuzz::{judged, text};
use certward_pki::{Profile, Upload};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((flags, rest)) = data.split_first() else { return };
    let rest = String::from_utf8_lossy(rest);
    let mut fields = rest.splitn(4, '\u{1f}');
    let mut field = || fields.next().map(text).unwrap_or_default();
    let (cert, key, cacert, key_password) = (field(), field(), field(), field());
    let tls_type = text(if flags & 1 == 0 { "one-way" } else { "two-way" });
    let profile = if flags & 2 == 0 { Profile::Default } else { Profile::EmqxCloud };
    judged(&Upload { tls_type, cert, key, key_password, cacert, added_to: Vec::new() }, profile);
});
