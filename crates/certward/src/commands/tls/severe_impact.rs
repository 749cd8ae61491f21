//! What `tls set` does about a change that would cut devices off: a person is asked, a script is
//! stopped.

use anyhow::bail;
use certward_store::DeploymentId;

use crate::{api_types::ImpactAnswer, impact, output, terminal};

/// Returns if the change is to be made all the same.
///
/// # Errors
/// Otherwise: nothing was changed.
pub(in crate::commands) fn decide(id: &DeploymentId, severe: &ImpactAnswer) -> anyhow::Result<()> {
    let numbers = impact::indented(&impact::lines(severe));
    if !terminal::is_attended() {
        bail!(
            "{id} was not changed, for this would cut devices off:\n{numbers}\n--force changes it all the same"
        );
    }
    output::note(&format!("This would cut devices of {id} off:\n{numbers}"));
    if !terminal::confirm("Change it all the same?")? {
        bail!("nothing was changed");
    }
    Ok(())
}
