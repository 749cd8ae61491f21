use std::process::ExitCode;

use anyhow::anyhow;
use reqwest::Method;

use crate::{
    cli::ConnectArgs,
    client::Client,
    commands::{deployment_id, device_id},
    output,
};

pub(super) async fn run(id: &str, device: &str, connect: &ConnectArgs) -> anyhow::Result<ExitCode> {
    let (id, device) = (deployment_id(id)?, device_id(device)?);
    let name = device.to_string();
    let path = ["deployments", id.as_str(), "devices", &name];
    let forgotten = Client::new(connect)?.change(Method::DELETE, &path, None).await;
    forgotten.map_err(|error| match error.is_code("NOT_FOUND") {
        true => anyhow!("{id} has no device {device}; `certward devices {id}` lists them"),
        false => error.into(),
    })?;
    if !connect.json {
        output::say(&format!("Forgot the device {device}."))?;
        output::note(
            "If it is connected, or connects again, nodes whose devices is \"full\" record it again within an hour.",
        );
    }
    Ok(ExitCode::SUCCESS)
}
