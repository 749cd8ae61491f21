//! How far a rekey is.

use certward_store::{KeyHolder, MasterKeyId, RekeyState, StoreError};
use serde::Serialize;

use super::opened_store::OpenedStore;
use crate::{
    api_time,
    config::{Config, ReadMasterKeys},
    output, store_remedy,
    table::TextTable,
};

/// The states of the store's module `rekey`, as this command's configuration sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum RekeyPhase {
    Settled,
    Offered,
    Switched,
    Resealed,
    /// But the configured key is the one before.
    Finished,
}

impl RekeyPhase {
    fn of(state: &RekeyState, keys: &ReadMasterKeys) -> Self {
        match state.under_way() {
            Some(rekey) if rekey.resealed_at.is_none() => Self::Switched,
            Some(_) => Self::Resealed,
            None if MasterKeyId::of(&keys.current) != state.key => Self::Finished,
            None if keys.next.is_some() => Self::Offered,
            None => Self::Settled,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Settled => "no rekey is under way",
            Self::Offered => "a next master key is there; `certward rekey` changes to it",
            Self::Switched => {
                "new records are sealed under the new key, older ones are being; `certward rekey` continues"
            }
            Self::Resealed => {
                "all records are sealed under the new key; `certward rekey` waits for the nodes' snapshots"
            }
            Self::Finished => "finished; the file of the new key is not in its place yet: `certward rekey`",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusOutput {
    phase: RekeyPhase,
    master_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// Records under another key.
    records_left: u64,
    nodes: Vec<NodeOutput>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NodeOutput {
    node: String,
    heard_at: String,
    /// `null`: of a release that does not report them.
    master_keys: Option<Vec<String>>,
    replica_key: Option<String>,
}

pub(super) async fn show(
    config: &Config,
    opened: &OpenedStore,
    keys: &ReadMasterKeys,
    json: bool,
) -> anyhow::Result<()> {
    let store = &opened.store;
    let read = async {
        let state = store.rekey_state().await?;
        let now = store.now().await?;
        Ok::<_, StoreError>((state, store.count_unsealed().await?, store.read().key_holders(now).await?))
    };
    let (state, records_left, holders) = read.await.map_err(store_remedy::explain)?;
    let phase = RekeyPhase::of(&state, keys);
    let nodes: Vec<NodeOutput> = holders.iter().map(NodeOutput::of).collect();
    let from = state.under_way().map(|rekey| rekey.from.to_string());
    let master_key = state.key.to_string();
    if json {
        return output::say_json(&StatusOutput { phase, master_key, from, records_left, nodes });
    }
    let mut text = format!("state        {}\nmaster key   {master_key}", phase.words());
    if let Some(from) = from {
        text.push_str(&format!("\nbefore       {from}"));
    }
    if let Some(next) = &keys.next {
        let place = config.master_key_sources().next.place();
        text.push_str(&format!("\nnext         {}, in {place}", MasterKeyId::of(next)));
    }
    text.push_str(&format!("\nrecords left {records_left}"));
    if !nodes.is_empty() {
        text.push_str(&format!("\n\n{}", table(&nodes)));
    }
    output::say(&text)
}

impl NodeOutput {
    fn of(holder: &KeyHolder) -> Self {
        let texts = |ids: &Vec<MasterKeyId>| ids.iter().map(ToString::to_string).collect();
        Self {
            node: holder.node.to_string(),
            heard_at: api_time::show(holder.heard_at.to_time()),
            master_keys: holder.keys.as_ref().map(texts),
            replica_key: holder.replica.map(|key| key.to_string()),
        }
    }
}

fn table(nodes: &[NodeOutput]) -> String {
    let mut table = TextTable::new(["NODE", "LAST HEARD", "MASTER KEYS", "SNAPSHOT"]);
    for NodeOutput { node, heard_at, master_keys, replica_key } in nodes {
        let keys = master_keys.as_ref().map_or("not reported".to_owned(), |keys| keys.join(" "));
        table.row([node, heard_at, &keys, replica_key.as_deref().unwrap_or_default()]);
    }
    table.text()
}
