use std::process::ExitCode;

use crate::{cli::ConnectArgs, client::Client, output};

/// A page at a time: the audit may be larger than memory.
pub(super) async fn run(connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let client = Client::new(connect)?;
    let mut query = Some("order=oldest&limit=1000".to_owned());
    while let Some(wanted) = query {
        let page = client.list_page(&["audit"], &wanted).await?;
        for row in &page.items {
            if output::say_json_row(row)?.is_break() {
                return Ok(ExitCode::SUCCESS);
            }
        }
        query = page.next;
    }
    Ok(ExitCode::SUCCESS)
}
