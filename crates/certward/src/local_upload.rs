//! An upload from files, judged without a server: same rehearsal, same findings.

use std::{path::Path, sync::Arc};

use certward_gateway::NoGateway;
use certward_lifecycle::Rehearsal;
use certward_pki::{Circumstances, Finding, Judgement, Text, Upload, judge};
use certward_store::SystemClock;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{input, usage::UsageError, wording::Typed};

/// Where the parts of an upload are.
pub(crate) struct UploadPaths<'a> {
    pub(crate) cert: &'a Path,
    pub(crate) key: &'a Path,
    pub(crate) key_password: Option<&'a Path>,
    pub(crate) client_ca: Option<&'a Path>,
}

/// An upload, and what it was made of.
pub(crate) struct LocalUpload {
    pub(crate) upload: Upload,
    pub(crate) typed: Typed,
}

impl LocalUpload {
    /// # Errors
    /// [`UsageError`] names the file that cannot be read.
    pub(crate) fn read(
        mut typed: Typed,
        tls_type: &str,
        paths: &UploadPaths<'_>,
    ) -> Result<Self, UsageError> {
        let mut file = |property, path: &Path| {
            let text = input::read_text(path)?;
            typed.files.add(property, path, &text);
            Ok::<_, UsageError>(Text::Given(text))
        };
        let upload = Upload {
            tls_type: Text::Given(Zeroizing::new(tls_type.to_owned())),
            cert: file("cert", paths.cert)?,
            key: file("key", paths.key)?,
            cacert: paths.client_ca.map_or(Ok(Text::Absent), |path| file("cacert", path))?,
            key_password: match paths.key_password {
                Some(path) => Text::Given(input::read_password(path)?),
                None => Text::Absent,
            },
            added_to: Vec::new(),
        };
        if upload.keeps_client_trust() {
            typed.files.add_kept_client_cas();
        }
        Ok(Self { upload, typed })
    }

    /// As the API takes it.
    pub(crate) fn body(&self) -> Value {
        let Upload { tls_type, cert, key, key_password, cacert, added_to: _ } = &self.upload;
        let properties = [
            ("tlsType", tls_type),
            ("cert", cert),
            ("key", key),
            ("keyPassword", key_password),
            ("cacert", cacert),
        ];
        let given = properties.into_iter().filter_map(|(name, text)| match text {
            Text::Given(text) => Some((name.to_owned(), text.as_str().into())),
            Text::Absent | Text::NotText => None,
        });
        Value::Object(given.collect())
    }

    /// Judges, and builds the configuration that would serve it; opens nothing.
    pub(crate) fn judge(&self, circumstances: &Circumstances<'_>) -> Judgement {
        let mut judgement = judge(&self.upload, circumstances);
        let Some(material) = &judgement.material else { return judgement };
        if let Err(reason) = NoGateway::new(Arc::new(SystemClock)).rehearse(material) {
            judgement.findings.insert(0, Finding::not_servable(&reason));
            judgement.material = None;
        }
        judgement
    }
}
