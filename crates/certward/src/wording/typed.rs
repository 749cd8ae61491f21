use std::path::Path;

use super::key_source::KeySource;
use super::{
    flags::flag,
    pem_place::{PemPlace, ordinal},
};
use crate::{api_types::FindingAnswer, input};

/// What a command was given: its texts name that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Typed {
    /// The deployment that the command is about.
    pub(crate) deployment: Option<String>,
    pub(crate) files: UploadFiles,
    /// What gave the key of the request.
    pub(crate) key: KeySource,
}

/// The files of an upload, by the property that each became. Holds no content.
#[derive(Debug, Clone, Default)]
pub(crate) struct UploadFiles(Vec<UploadFile>);

#[derive(Debug, Clone)]
struct UploadFile {
    property: &'static str,
    /// `None` for standard input.
    path: Option<String>,
    name: String,
    blocks: Vec<PemPlace>,
    /// It became an item of a list, not the whole property.
    is_item: bool,
}

impl UploadFiles {
    pub(crate) fn add(&mut self, property: &'static str, path: &Path, text: &str) {
        let blocks = PemPlace::list(text);
        let name = input::name(path);
        let path = (!input::is_stdin(path)).then(|| name.clone());
        self.0.push(UploadFile { property, path, name, blocks, is_item: false });
    }

    /// The file of the next item of a list.
    pub(crate) fn add_item(&mut self, property: &'static str, path: &Path) {
        let name = input::name(path);
        self.0.push(UploadFile { property, path: None, name, blocks: Vec::new(), is_item: true });
    }

    /// A part of an upload that no file was given for.
    fn add_named(&mut self, property: &'static str, name: &str) {
        let name = name.to_owned();
        self.0.push(UploadFile { property, path: None, name, blocks: Vec::new(), is_item: false });
    }

    /// The flag that a property was given by, where it is not the usual one.
    pub(crate) fn add_flag(&mut self, property: &'static str, flag: &str) {
        self.add_named(property, flag);
    }

    pub(crate) fn add_kept_client_cas(&mut self) {
        self.add_named("cacert", "the client CAs that are kept");
    }

    fn of(&self, property: &str) -> Option<&UploadFile> {
        self.0.iter().find(|file| file.property == property && !file.is_item)
    }

    fn of_item(&self, property: &str, index: usize) -> Option<&UploadFile> {
        self.0.iter().filter(|file| file.property == property && file.is_item).nth(index)
    }
}

impl Typed {
    pub(crate) fn about(deployment: &str) -> Self {
        Self { deployment: Some(deployment.to_owned()), ..Self::default() }
    }

    /// About what is set for it: nothing was typed.
    pub(crate) fn about_what_is_set(deployment: &str) -> Self {
        let mut typed = Self::about(deployment);
        let parts =
            [("cert", "the certificate that is set"), ("key", "its key"), ("cacert", "its client CAs")];
        for (property, name) in parts {
            typed.files.add_named(property, name);
        }
        typed
    }

    /// About a change of client CAs: certificate and key are kept.
    pub(crate) fn about_what_is_kept(deployment: &str) -> Self {
        let mut typed = Self::about(deployment);
        for (property, name) in [("cert", "the certificate that is kept"), ("key", "its key")] {
            typed.files.add_named(property, name);
        }
        typed
    }

    /// About a version that is restored: nothing was typed.
    pub(crate) fn about_a_version(deployment: &str) -> Self {
        let mut typed = Self::about(deployment);
        let parts =
            [("cert", "the certificate of that version"), ("key", "its key"), ("cacert", "its client CAs")];
        for (property, name) in parts {
            typed.files.add_named(property, name);
        }
        typed
    }

    /// As a command can name it again.
    pub(super) fn file(&self, property: &str) -> Option<&str> {
        self.files.of(property)?.path.as_deref()
    }

    /// The file of a property, else its flag.
    pub(super) fn name(&self, property: &str) -> String {
        self.files.of(property).map_or_else(|| flag(property), |file| file.name.clone())
    }

    /// `1st certificate (line 1) of north.pem`.
    pub(super) fn block(&self, property: &str, index: usize) -> String {
        let place = self.files.of(property).and_then(|file| file.blocks.get(index));
        let words = place.map_or_else(|| format!("{} block", ordinal(index + 1)), |place| place.words());
        format!("{words} of {}", self.name(property))
    }

    /// Where a finding is: `north.pem, 1st certificate (line 1), CN=north.example`.
    pub(crate) fn place(&self, finding: &FindingAnswer) -> String {
        let index = finding.item.as_ref().map(|item| item.index);
        if let Some(file) = index.and_then(|index| self.files.of_item(&finding.field, index)) {
            return file.name.clone();
        }
        let mut place = self.name(&finding.field);
        if let Some(item) = &finding.item {
            let known = self.files.of(&finding.field).and_then(|file| file.blocks.get(item.index));
            place = match known {
                Some(known) => format!("{place}, {}", known.words()),
                None => format!("{place}, {}", ordinal(item.index + 1)),
            };
            if let Some(subject) = &item.subject {
                place = format!("{place}, {subject}");
            }
        }
        place
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::api_types::FindingItem;

    /// About the deployment `north`, with two files.
    pub(in crate::wording) fn typed() -> Typed {
        let mut typed = Typed::about("north");
        let block = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        typed.files.add("cert", "north.pem".as_ref(), block);
        typed.files.add("key", "the north's.key".as_ref(), "");
        typed
    }

    #[test]
    fn standard_input_is_named_and_stands_in_no_command() {
        let mut typed = Typed::about("north");
        typed.files.add("key", "-".as_ref(), "");
        assert_eq!(typed.place(&finding("key", None)), "standard input");
        assert_eq!((typed.name("key").as_str(), typed.file("key")), ("standard input", None));
        assert_eq!(
            super::super::remedy(
                &FindingAnswer { remedy: "Run openssl rsa -in FILE".into(), ..finding("key", None) },
                &typed
            ),
            "Run openssl rsa -in FILE"
        );
    }

    fn finding(field: &str, item: Option<usize>) -> FindingAnswer {
        FindingAnswer {
            field: field.into(),
            item: item.map(|index| FindingItem { index, subject: None }),
            ..FindingAnswer::default()
        }
    }

    #[test]
    fn an_item_of_a_list_is_its_file() {
        let mut typed = Typed::default();
        typed.files.add_item("certificate", "meter-7.pem".as_ref());
        typed.files.add_item("certificate", "meter-8.pem".as_ref());
        for (item, place) in
            [(Some(0), "meter-7.pem"), (Some(1), "meter-8.pem"), (Some(2), "--cert, 3rd"), (None, "--cert")]
        {
            assert_eq!(typed.place(&finding("certificate", item)), place);
        }
    }

    #[test]
    fn a_place_is_a_file_and_a_line_where_they_are_known() {
        for (field, item, place) in [
            ("cert", Some(0), "north.pem, 1st certificate (line 1)"),
            ("cert", Some(7), "north.pem, 8th"),
            ("cert", None, "north.pem"),
            ("key", None, "the north's.key"),
            ("cacert", Some(1), "--client-ca, 2nd"),
            ("hosts", Some(0), "--host, 1st"),
            ("tlsType", None, "the type of TLS"),
        ] {
            assert_eq!(typed().place(&finding(field, item)), place);
        }
    }
}
